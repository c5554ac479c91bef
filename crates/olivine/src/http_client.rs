//! A small client of HTTP/1.1, which waits for its answers: what a command needs to talk to a node elsewhere.
//!
//! Requests may be sent before the answers to those before have come; answers come in the same order.
//!
//! 1. Nothing that a server says is believed further than its bounds: a head is read no further than
//!    `HEAD_BYTES_MAX`, a body no further than its caller allows, and memory is taken as bytes come.
//! 2. No call waits for ever: connecting and each reading and writing have their time.
//! 3. A failure says which server it is about; one that a later try may not have is exit code 4.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

#[cfg(feature = "node")]
use olivine_client::Trust;

use crate::{
    call::{Call, Opt},
    ending::{Ending, Failure},
    files::Sequential,
    json::Json,
};

/// A program without its node speaks no TLS.
#[cfg(not(feature = "node"))]
#[derive(Clone, Debug)]
enum Trust {}

#[cfg(not(feature = "node"))]
impl Trust {
    fn wrap(&self, _: TcpStream, _: &str) -> io::Result<TcpStream> {
        match *self {}
    }
}

/// Those who vouch for servers: whom `--ca` names, or else whom the system trusts.
#[cfg(feature = "node")]
fn trust(authority: Option<&Path>) -> Result<Trust, Failure> {
    let read = authority.map_or_else(Trust::of_system, Trust::read);
    read.map_err(|error| Failure::misused(format!("{error}; see {}", CA.name)))
}

#[cfg(not(feature = "node"))]
fn trust(_: Option<&Path>) -> Result<Trust, Failure> {
    Err(Failure::misused("this program was built without TLS; it has no https"))
}

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may say nothing, or take nothing.
const PATIENCE: Duration = Duration::from_mins(2);
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// The longest body of an error that is looked at.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

pub(crate) const TOKEN_FILE: Opt = Opt::value(
    "--token-file",
    "FILE",
    "says to a server who asks: the first line of FILE is a token",
);
pub(crate) const CA: Opt = Opt::value(
    "--ca",
    "FILE",
    "whom to believe that an https server is the right one (whom the system believes)",
);

/// Where a node is: `http://HOST:PORT`, or `https://HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// As `Host` headers name it, and failures.
    host: String,
    /// As it is connected to: without the brackets of an address.
    name: String,
    port: u16,
    trust: Option<Trust>,
    /// What should be there.
    door: &'static str,
    /// The value of `Authorization`, if there is one.
    authorization: Option<String>,
}

impl Server {
    /// The server that an option names, and what `--ca` and `--token-file` say of it.
    pub(crate) fn of(call: &Call, option: &str, url: &str) -> Result<Server, Failure> {
        let mut server = Server::parse(option, url)?;
        let authority = call.value(CA.name).map(Path::new);
        if url.starts_with("https://") {
            server.trust = Some(trust(authority)?);
        } else if authority.is_some() {
            return Err(Failure::misused(format!("`{}` is for servers at https://", CA.name)));
        }
        if let Some(path) = call.value(TOKEN_FILE.name) {
            server.authorization = Some(format!("Bearer {}", token(Path::new(path))?));
        }
        Ok(server)
    }

    /// Reads the value of an option.
    fn parse(option: &str, url: &str) -> Result<Server, Failure> {
        let wrong = |what: &str| {
            let example = "http://localhost:8080";
            Failure::misused(format!(
                "`{option}` wants a server such as {example}, not `{url}`{what}"
            ))
        };
        let (rest, standard_port) =
            match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
                (Some(rest), _) => (rest, 80),
                (None, Some(rest)) => (rest, 443),
                (None, None) => return Err(wrong("")),
            };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.contains('@') {
            return Err(wrong(": no user is named there"));
        }
        if host.contains(['/', '?', '#']) {
            return Err(wrong(": nothing stands behind the port"));
        }
        // Only the colon behind the brackets of an address is one before a port.
        let bare = host.rfind(']').map_or(0, |end| end + 1);
        let (name, port) = match host[bare..].rsplit_once(':') {
            None => (host, standard_port),
            Some((_, port)) => {
                let number = port.parse().ok().filter(|number| *number != 0);
                let number = number.ok_or_else(|| wrong(": the port is none"))?;
                (&host[..host.len() - port.len() - 1], number)
            }
        };
        let name = match name.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').ok_or_else(|| wrong(""))?,
            None => name,
        };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if name.is_empty() || !name.bytes().all(known) {
            return Err(wrong(": that is no name of a host"));
        }
        let (host, name) = (host.to_owned(), name.to_owned());
        Ok(Server { host, name, port, trust: None, door: "HTTP door", authorization: None })
    }

    /// The same, where another door should be.
    pub(crate) fn at_door(self, door: &'static str) -> Server {
        Server { door, ..self }
    }

    /// Connects to it.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let failed = |error: io::Error| {
            let host = &self.host;
            let what = format!(
                "cannot connect to {host}: {error}; is the node there, and its {} at this port?",
                self.door
            );
            Failure::new(Ending::Unreachable, what)
        };
        let addresses = (self.name.as_str(), self.port).to_socket_addrs().map_err(failed)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(stream) => return Client::new(self.clone(), stream).map_err(failed),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What an error says for people, or its status where it says nothing.
    pub(crate) fn problem(&self) -> String {
        let text = str::from_utf8(&self.body).unwrap_or_default();
        let detail = match Json::parse(text) {
            Ok(Json::Object(members)) => members.into_iter().find_map(|member| match member {
                (name, Json::Text(text)) if name == "detail" || name == "error" => Some(text),
                _ => None,
            }),
            _ => None,
        };
        detail.unwrap_or_else(|| format!("it answers with status {}", self.status))
    }
}

/// A connection to a server.
pub(crate) struct Client {
    server: Server,
    stream: BufReader<Box<dyn ReadWrite>>,
}

/// What bytes are read from and written to.
trait ReadWrite: io::Read + io::Write {}

impl<T: io::Read + io::Write> ReadWrite for T {}

/// The token in a file, which nobody else may read.
fn token(path: &Path) -> Result<String, Failure> {
    let option = TOKEN_FILE.name;
    let shown = path.display();
    let permissions = olivine_vfs::permissions(path);
    let permissions =
        permissions.map_err(Failure::io(format!("cannot read {shown}; see {option}")))?;
    if permissions.mode & 0o077 != 0 {
        let what = format!("others may read the token in {shown}; chmod 600 it");
        return Err(Failure::misused(what));
    }
    let mut text = String::new();
    let read = Sequential::open(path)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(Failure::io(format!("cannot read {shown}; see {option}")))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if token.is_empty() || !token.bytes().all(fits) {
        let what = "; `olivine token create` makes one";
        return Err(Failure::misused(format!("the first line of {shown} is no token{what}")));
    }
    Ok(token.to_owned())
}

impl Client {
    fn new(server: Server, stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stream: Box<dyn ReadWrite> = match &server.trust {
            Some(trust) => Box::new(trust.wrap(stream, &server.name)?),
            None => Box::new(stream),
        };
        Ok(Client { server, stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Sends a request without a body.
    pub(crate) fn send(&mut self, method: &str, target: &str) -> Result<(), Failure> {
        self.send_with(method, target, b"")
    }

    /// Sends a request with a body.
    pub(crate) fn send_with(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<(), Failure> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.server.host);
        if let Some(authorization) = &self.server.authorization {
            let _infallible = write!(head, "authorization: {authorization}\r\n");
        }
        if method != "GET" {
            let _infallible = write!(head, "content-length: {}\r\n", body.len());
        }
        let _infallible = write!(head, "user-agent: olivine/{}\r\n\r\n", env!("CARGO_PKG_VERSION"));
        let stream = self.stream.get_mut();
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let sent = sent.and_then(|()| stream.flush());
        sent.map_err(|error| self.lost(&error))
    }

    /// The next answer, with a body of at most `body_bytes_max`.
    pub(crate) fn receive(&mut self, body_bytes_max: u64) -> Result<Response, Failure> {
        self.read(body_bytes_max).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                let what = format!("{} does not answer as a node does: {error}", self.server.host);
                Failure::new(Ending::Failed, what)
            }
            _ => self.lost(&error),
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        target: &str,
        body_bytes_max: u64,
    ) -> Result<Response, Failure> {
        self.send(method, target)?;
        self.receive(body_bytes_max)
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let host = &self.server.host;
        let what = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{host} said nothing for {} s", PATIENCE.as_secs())
            }
            io::ErrorKind::UnexpectedEof => format!("{host} ended the connection"),
            _ => format!("the connection to {host} is lost: {error}"),
        };
        Failure::new(Ending::Unreachable, what)
    }

    fn read(&mut self, body_bytes_max: u64) -> io::Result<Response> {
        let mut head_bytes = HEAD_BYTES_MAX;
        let first = self.line(&mut head_bytes)?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| first.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
            .ok_or_else(|| wrong("its first line is not one of HTTP/1.1"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line(&mut head_bytes)?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| wrong("a header has no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        // What is wrong is told in short, however little its caller wants of what is right.
        let most = if status < 400 { body_bytes_max } else { body_bytes_max.max(ERROR_BYTES_MAX) };
        match (response.header("transfer-encoding"), response.header("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
                response.body = self.chunks(most, &mut head_bytes)?;
            }
            (Some(_), _) => return Err(wrong("its body is coded in a way that is not known here")),
            (None, Some(length)) => {
                let length = length.parse().map_err(|_| wrong("its length is no number"))?;
                self.body(length, most, &mut response.body)?;
            }
            (None, None) if matches!(status, 204 | 304) => {}
            (None, None) => return Err(wrong("it does not say how long its body is")),
        }
        Ok(response)
    }

    /// A body in chunks, each behind its length.
    fn chunks(&mut self, most: u64, head_bytes: &mut u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(head_bytes)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16);
            let length = length.map_err(|_| wrong("the length of a chunk is no number"))?;
            if length == 0 {
                while !self.line(head_bytes)?.is_empty() {}
                return Ok(body);
            }
            self.body(length, most, &mut body)?;
            // The lines between chunks are bounded one by one: there may be many.
            *head_bytes = HEAD_BYTES_MAX;
            if !self.line(head_bytes)?.is_empty() {
                return Err(wrong("a chunk is longer than it says"));
            }
        }
    }

    /// Adds so many bytes to a body that may have `most`.
    fn body(&mut self, length: u64, most: u64, body: &mut Vec<u8>) -> io::Result<()> {
        if most.saturating_sub(body.len() as u64) < length {
            return Err(wrong("its body is longer than it should be"));
        }
        let read = (&mut self.stream).take(length).read_to_end(body)?;
        if (read as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The next line of a head, of which there may be `left` bytes more.
    fn line(&mut self, left: &mut u64) -> io::Result<String> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(*left).read_until(b'\n', &mut line)?;
        *left -= read as u64;
        if line.pop() != Some(b'\n') {
            let all = *left == 0;
            return Err(if all {
                wrong("its head is too long")
            } else {
                io::ErrorKind::UnexpectedEof.into()
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| wrong("its head is no text"))
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An answer, for tests of who reads them.
#[cfg(test)]
pub(crate) fn answer_for_tests(status: u16, body: &str) -> Response {
    Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    #[test]
    fn a_server_is_named_by_its_url() {
        let read =
            |url: &str| Server::parse("--server", url).map(|server| (server.name, server.port));
        for (url, name, port) in [
            ("http://localhost:8080", "localhost", 8080),
            ("http://localhost:8080/", "localhost", 8080),
            ("http://db.example", "db.example", 80),
            ("http://[::1]:9999", "::1", 9999),
            ("http://[::1]", "::1", 80),
            ("http://10.0.0.7:1", "10.0.0.7", 1),
            ("https://db.example", "db.example", 443),
            ("https://[::1]:8443/", "::1", 8443),
        ] {
            assert_eq!(read(url).unwrap(), (name.to_owned(), port), "{url}");
        }
        for url in [
            "",
            "localhost:8080",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://user@a",
            "http://a/backup",
            "http://a?b",
            "http://a b",
            "http://a\r\nx: y",
            "http://[::1",
            "ftp://a",
            "http://a:",
            "http://ü",
        ] {
            let failure = read(url).unwrap_err();
            assert!(failure.text().contains("`--server` wants a server such as"), "{url}");
            assert_eq!(failure.ending(), Ending::Misused);
        }
    }

    /// What comes of a server that sends these bytes and ends.
    fn answered(bytes: &'static [u8], most: u64) -> Result<Response, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = thread::Builder::new().spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(bytes).ok();
            stream.shutdown(std::net::Shutdown::Write).ok();
            // Until the client has gone, lest it is cut off.
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let mut client = Server::parse("--server", &url).unwrap().connect().unwrap();
        let response = client.ask("GET", "/", most);
        drop(client);
        thread.unwrap().join().unwrap();
        response
    }

    #[test]
    fn answers_are_read_to_their_ends() {
        let whole =
            answered(b"HTTP/1.1 200 OK\r\nX-A:  b \r\nContent-Length: 3\r\n\r\nabcd", 3).unwrap();
        assert_eq!(
            (whole.status, &whole.body[..], whole.header("x-a")),
            (200, &b"abc"[..], Some("b"))
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: u\r\n\r\n";
        assert_eq!(answered(chunked, 3).unwrap().body, b"abc");
        assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n", 0).unwrap().body, b"");
        let problem =
            answered(b"HTTP/1.1 503 x\r\ncontent-length: 16\r\n\r\n{\"detail\":\"why\"}", 0)
                .unwrap();
        assert_eq!(problem.problem(), "why");
        let other = answered(b"HTTP/1.1 502 x\r\ncontent-length: 2\r\n\r\nno", 0).unwrap();
        assert_eq!(other.problem(), "it answers with status 502");
    }

    #[test]
    fn what_is_no_answer_is_told_and_never_a_panic() {
        let long: &'static [u8] = Box::leak(vec![b'a'; 100 << 10].into_boxed_slice());
        for (bytes, ending, what) in [
            (&b""[..], Ending::Unreachable, "ended the connection"),
            (b"HTTP/1.1 200 OK\r\n", Ending::Unreachable, "ended the connection"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Ending::Unreachable, "ended"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd", Ending::Failed, "longer than"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Ending::Failed, "no number"),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", Ending::Failed, "how long its body is"),
            (b"HTTP/1.1 200 OK\r\ncolon\r\n\r\n", Ending::Failed, "no colon"),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", Ending::Failed, "first line"),
            (b"{\"status\":\"error\"}\n", Ending::Failed, "first line"),
            (b"\xff\xff\n", Ending::Failed, "no text"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Ending::Failed, "coded"),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
                Ending::Failed,
                "a chunk",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n",
                Ending::Failed,
                "longer",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
                Ending::Failed,
                "a chunk",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                Ending::Failed,
                "longer",
            ),
            (long, Ending::Failed, "too long"),
        ] {
            let failure = answered(bytes, 3).unwrap_err();
            assert_eq!(failure.ending(), ending, "{}", failure.text());
            assert!(failure.text().contains(what), "{what}: {}", failure.text());
        }
    }

    #[test]
    fn where_nobody_listens_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = Server::parse("--server", &url).unwrap().connect().map(drop).unwrap_err();
        assert_eq!(failure.ending(), Ending::Unreachable);
        assert!(failure.text().starts_with("cannot connect to 127.0.0.1:"), "{}", failure.text());
    }
}
