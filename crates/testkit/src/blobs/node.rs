//! A store of blobs: one process, or a master and its volumes.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use olivine_vfs::Random;

use crate::kill::PLANTED;

/// In how many processes a store runs, and in which manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Everything in one process.
    One,
    /// A master and two volumes, and so many replicas.
    Split(usize),
    /// The same with two replicas, and the master brings objects to the volumes.
    Brought,
}

const VOLUMES: usize = 2;

impl Shape {
    pub(super) const ALL: [Shape; 4] =
        [Shape::One, Shape::Split(1), Shape::Split(2), Shape::Brought];

    /// Whether what is there may be put over.
    pub(super) fn overwrites(self) -> bool {
        self != Shape::Brought
    }

    /// Makes every shape's run another one.
    pub(super) fn salt(self) -> u64 {
        let place = Shape::ALL.iter().position(|shape| *shape == self).unwrap_or(0) as u64;
        (place + 1) << 32
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::One => write!(f, "one process"),
            Shape::Split(replicas) => write!(f, "split, {replicas} of {VOLUMES} volumes"),
            Shape::Brought => write!(f, "split, brought to {VOLUMES} volumes"),
        }
    }
}

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn kill(&mut self) -> Result<(), String> {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed.map(drop).map_err(|error| format!("cannot kill: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The master, or everything, and the volumes.
pub(super) struct Node {
    processes: Vec<Option<Process>>,
    /// Of each of them.
    ports: Vec<u16>,
}

/// How a store is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) planted: Option<&'a str>,
    pub(super) dir: &'a Path,
    pub(super) shape: Shape,
}

impl Node {
    pub(super) fn start(start: &Start<'_>) -> Result<Node, String> {
        let count = if start.shape == Shape::One { 1 } else { 1 + VOLUMES };
        let ports = free_ports(count)?;
        let mut node = Node { processes: (0..count).map(|_| None).collect(), ports };
        node.restart(start)?;
        Ok(node)
    }

    /// Starts what does not run.
    pub(super) fn restart(&mut self, start: &Start<'_>) -> Result<(), String> {
        for place in (0..self.processes.len()).rev() {
            if self.processes[place].is_none() {
                self.processes[place] = Some(start.process(place, &self.ports)?);
            }
        }
        Ok(())
    }

    /// Where clients ask.
    pub(super) fn master(&self) -> u16 {
        self.ports[0]
    }

    /// Draws which processes are killed next: one of them, and now and then all.
    pub(super) fn victims(&self, random: &mut Random) -> Vec<usize> {
        let count = self.processes.len();
        if 1 < count && random.chance(1, 5) {
            return (0..count).collect();
        }
        vec![random.index(count)]
    }

    pub(super) fn kill(&mut self, victims: &[usize]) -> Result<(), String> {
        for victim in victims {
            if let Some(mut process) = self.processes[*victim].take() {
                process.kill()?;
            }
        }
        Ok(())
    }
}

impl Start<'_> {
    /// The process at a place, once it has said that it is ready.
    fn process(&self, place: usize, ports: &[u16]) -> Result<Process, String> {
        let mut child = Command::new(self.program);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut words: Vec<String> = Vec::new();
        let mut push = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        let port = ports[place].to_string();
        let (key, db) = (text(&self.dir.join("blob.key")), text(&self.dir.join("olivedb")));
        let own = text(&self.dir.join(format!("process{place}")));
        let volume = text(&self.dir.join(format!("volume{place}")));
        let volumes: Vec<String> =
            ports[1..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let volumes = volumes.join(",");
        match (self.shape, place) {
            (Shape::One, _) => {
                push(&["serve", "--doors", "blob,volume", "--blob-port", &port]);
                push(&["--volume-port", "0"]);
            }
            (shape, 0) => {
                let replicas = if shape == Shape::Split(1) { "1" } else { "2" };
                let manner = if shape == Shape::Brought { "mkv" } else { "smol" };
                push(&["master", "--port", &port, "--replicas", replicas, "--manner", manner]);
                push(&["--volumes", &volumes, "--key-file", &key, "--db", &db]);
            }
            _ => push(&["volume", "--port", &port, "--key-file", &key, "--volume-dir", &volume]),
        }
        // That it is killed and comes again is no news here.
        push(&["--data-dir", &own, "--log-level", "error", "--memory", "24MiB"]);
        child.args(words);
        if let Some(bug) = self.planted {
            child.env(PLANTED, bug);
        }
        let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child =
            child.map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        ready(child)
    }
}

fn ready(child: Child) -> Result<Process, String> {
    let mut process = Process(child);
    let out = process.0.stdout.take().ok_or("no output")?;
    let (mut out, mut greeting) = (BufReader::new(out), String::new());
    while !greeting.contains("\nready") {
        if out.read_line(&mut greeting).map_err(|error| error.to_string())? == 0 {
            return Err(format!("a process ended before it was ready: {greeting}"));
        }
    }
    Ok(process)
}

/// Ports that nobody listens on, and that nobody is given who only wants any: they are needed again and again.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let free = (0..2_000)
        .map(|more| first + more)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    if ports.len() < count { Err("no free ports".to_owned()) } else { Ok(ports) }
}
