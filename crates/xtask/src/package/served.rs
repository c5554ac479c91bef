//! Nodes that were started to see whether they serve.
//!
//! 1. A node ends with its value, whatever came before.
//! 2. Waiting has an end: a node that says nothing is ended, and told of.

use super::{Trouble, typed};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// The longest that a start, an answer or an end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node that has started.
pub(super) struct Served {
    child: Child,
    told: String,
    greeting: String,
}

impl Served {
    /// Starts a node, and waits until it says that it is ready.
    pub(super) fn start(command: &mut Command) -> Result<Served, Trouble> {
        let told = typed(command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child
            .spawn()
            .map_err(|error| Trouble::failed(format!("cannot run {told}: {error}")))?;
        let out = child.stdout.take();
        let mut served = Served { child, told, greeting: String::new() };
        let (lines, said) = mpsc::channel();
        thread::spawn(move || {
            let lines_of = out.map(|out| BufReader::new(out).lines());
            for line in lines_of.into_iter().flatten().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        while !served.greeting.contains("ready") {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                return Err(served.not_ready());
            };
            served.greeting = format!("{}{line}\n", served.greeting);
        }
        Ok(served)
    }

    /// Ends what does not get ready, and tells what it said.
    fn not_ready(mut self) -> Trouble {
        self.child.kill().ok();
        let mut complaint = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut complaint).ok();
        }
        self.failed(&format!("does not get ready: {}{complaint}", self.greeting))
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where a door is, as the greeting has it.
    pub(super) fn door(&self, name: &str) -> Result<SocketAddr, Trouble> {
        let mut lines = self.greeting.lines().map(str::split_whitespace);
        let address = lines.find_map(|mut words| {
            (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
        });
        address.ok_or_else(|| self.failed(&format!("has no door {name}: {}", self.greeting)))
    }

    /// Puts a key over HTTP and gets it again.
    pub(super) fn keeps_what_it_is_given(&self) -> Result<(), Trouble> {
        let address = self.door("http")?;
        let put = self.asked(address, "PUT /kv/packaged", "as it should be")?;
        let got = self.asked(address, "GET /kv/packaged", "")?;
        if put.starts_with("HTTP/1.1 204") && got.ends_with("\r\n\r\nas it should be") {
            return Ok(());
        }
        Err(self.failed(&format!("answers a PUT with {put:?}, and a GET with {got:?}")))
    }

    /// Writes a point at this node's door and asks for it at another's.
    pub(super) fn takes_points_for(&self, other: &Served) -> Result<(), Trouble> {
        let written = self.asked(self.door("influx")?, "POST /write?db=packaged", "m x=1i 7")?;
        let ask = "GET /?db=packaged&query=select%20x%20from%20m";
        let got = other.asked(other.door("select")?, ask, "")?;
        if written.starts_with("HTTP/1.1 204") && got.contains("\"x\":1}") {
            return Ok(());
        }
        Err(self.failed(&format!("answers a write with {written:?}, and a query with {got:?}")))
    }

    fn asked(&self, address: SocketAddr, request: &str, body: &str) -> Result<String, Trouble> {
        let length = body.len();
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let head = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
            write!(stream, "{head}content-length: {length}\r\n\r\n{body}")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().map_err(|error: std::io::Error| self.failed(&format!("at {address}: {error}")))
    }

    /// Asks it to end, as a service manager does, and waits for that.
    pub(super) fn end(mut self) -> Result<(), Trouble> {
        super::ran(Command::new("kill").arg(self.child.id().to_string()))?;
        for _ in 0..PATIENCE.as_millis() / 10 {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) if status.success() => return Ok(()),
                ended => return Err(self.failed(&format!("ended badly: {ended:?}"))),
            }
        }
        Err(self.failed("does not end when it is asked to"))
    }

    fn failed(&self, what: &str) -> Trouble {
        Trouble::failed(format!("{}: {what}", self.told))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
