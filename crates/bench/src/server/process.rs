//! Servers that are measured: processes that print their port when they listen.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::store::Result;

/// The plain server.
const PLAIN: &str = include_str!("plain.py");

/// A server that runs, and ends with its owner.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// Kept, so that the server can go on printing.
    out: BufReader<ChildStdout>,
}

impl Server {
    /// Olivine's JSON door alone.
    pub(crate) fn olivine(dir: &Path, durability: &str) -> Result<Server> {
        let mut command = Command::new(beside("olivine")?);
        command.args(["serve", "json", "--port", "0", "--durability", durability, "--data-dir"]);
        Server::start(command.arg(dir))
    }

    /// The same in two processes.
    pub(crate) fn split(dir: &Path, durability: &str) -> Result<(Server, Server)> {
        let mut storage = Command::new(beside("olivine")?);
        storage.args(["storage", "--durability", durability, "--data-dir"]);
        let storage =
            Server::start_until(storage.arg(dir), |line| line.starts_with("ready").then_some(0))?;
        let mut coordinator = Command::new(beside("olivine")?);
        coordinator.args(["coordinator", "json", "--port", "0", "--data-dir"]);
        Ok((storage, Server::start(coordinator.arg(dir))?))
    }

    /// A thread a connection, in Python.
    pub(crate) fn plain(dir: &Path) -> Result<Server> {
        let script = dir.join("plain.py");
        fs::write(&script, PLAIN)?;
        Server::start(Command::new("python3").arg(script).arg(dir))
    }

    /// What sends back what it gets.
    pub(crate) fn echo(arguments: &[&str]) -> Result<Server> {
        Server::start(Command::new(beside("olivine-echo")?).args(arguments))
    }

    fn start(command: &mut Command) -> Result<Server> {
        Server::start_until(command, port)
    }

    /// Starts a server that is there when one of its lines tells a port.
    fn start_until(command: &mut Command, told: impl Fn(&str) -> Option<u16>) -> Result<Server> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("a server without an output")?;
        let mut server = Server { child, port: 0, out: BufReader::new(out) };
        let mut line = String::new();
        loop {
            line.clear();
            if server.out.read_line(&mut line)? == 0 {
                return Err(format!("{command:?} ended before it told its port").into());
            }
            if let Some(port) = told(&line) {
                server.port = port;
                return Ok(server);
            }
        }
    }

    /// Memory that the server has.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.child.id())
    }

    /// Processor time that the server has taken.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Memory that a process has.
pub(crate) fn resident_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or("the process does not tell its memory")? * 1024)
}

/// Processor time that a process has taken.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').ok_or("no such process")?.1;
    let ticks = |field: &str| field.parse::<u64>().unwrap_or(0);
    let used: u64 = fields.split_whitespace().skip(11).take(2).map(ticks).sum();
    Ok(Duration::from_millis(used * 10))
}

/// The port in a line that a server prints: a number alone, or `json 127.0.0.1:9999 …`.
fn port(line: &str) -> Option<u16> {
    line.split_whitespace().find_map(|word| word.rsplit(':').next()?.parse().ok())
}

/// A program that was built together with this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    if !path.exists() {
        let missing = format!("{} is missing; use `cargo xtask bench`", path.display());
        return Err(missing.into());
    }
    Ok(path)
}
