//! A node of the program: one process, or two.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use olivine_vfs::{EntryKind, Random, RealVfs, Vfs as _};

use crate::kill::PLANTED;

/// In how many processes a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Two,
}

/// Ports of the doors that are written through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ports {
    pub(super) json: u16,
    pub(super) http: u16,
}

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn kill(&mut self) -> Result<(), String> {
        self.0
            .kill()
            .and_then(|()| self.0.wait())
            .map_err(|error| format!("cannot kill: {error}"))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(super) struct Node {
    /// The doors, and the store with them unless it is apart.
    doors: Option<Process>,
    storage: Option<Process>,
    ports: Ports,
}

/// Which process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Victim {
    Doors,
    Storage,
    Both,
}

/// How a node is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) planted: Option<&'a str>,
    pub(super) dir: &'a Path,
    pub(super) shape: Shape,
    pub(super) durability: &'a str,
}

impl Node {
    pub(super) fn start(start: &Start<'_>) -> Result<Node, String> {
        let node = Node { doors: None, storage: None, ports: Ports::default() };
        node.restart(start)
    }

    /// Starts what does not run.
    pub(super) fn restart(mut self, start: &Start<'_>) -> Result<Node, String> {
        let Start { shape, durability, .. } = *start;
        let store = ["--durability", durability, "--memory", "24MiB"];
        let doors = ["--doors", "json,http", "--json-port", "0", "--http-port", "0"];
        let (first, more) = match shape {
            Shape::One => ("serve", &store[..]),
            Shape::Two => ("coordinator", &[][..]),
        };
        if shape == Shape::Two && self.storage.is_none() {
            self.storage = Some(start.process("storage", &store)?.0);
        }
        if self.doors.is_none() {
            let (process, greeting) = start.process(first, &[&doors[..], more].concat())?;
            let port = |door: &str| -> Result<u16, String> {
                let line = greeting.lines().find(|line| line.trim_start().starts_with(door));
                let word = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
                let port = word.rsplit(':').next().and_then(|port| port.parse().ok());
                port.ok_or_else(|| format!("no port of {door} in {greeting}"))
            };
            self.ports = Ports { json: port("json")?, http: port("http")? };
            self.doors = Some(process);
        }
        Ok(self)
    }

    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    /// Draws which process is killed next.
    pub(super) fn victim(&self, random: &mut Random) -> Victim {
        match (&self.storage, random.index(3)) {
            (None, _) | (_, 0) => Victim::Doors,
            (_, 1) => Victim::Both,
            _ => Victim::Storage,
        }
    }

    pub(super) fn kill(&mut self, victim: Victim) -> Result<(), String> {
        if let Victim::Doors | Victim::Both = victim
            && let Some(mut process) = self.doors.take()
        {
            process.kill()?;
        }
        if let Victim::Storage | Victim::Both = victim
            && let Some(mut process) = self.storage.take()
        {
            process.kill()?;
        }
        Ok(())
    }
}

impl Start<'_> {
    /// A process of the program that has said that it is ready, and what it said.
    fn process(&self, command: &str, more: &[&str]) -> Result<(Process, String), String> {
        let mut child = Command::new(self.program);
        child.arg(command).arg("--data-dir").arg(self.dir);
        // That it is killed and comes again is no news here.
        child.args(["--log-level", "error"]).args(more);
        if let Some(bug) = self.planted {
            child.env(PLANTED, bug);
        }
        let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child =
            child.map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        ready(child, command)
    }
}

fn ready(child: Child, command: &str) -> Result<(Process, String), String> {
    let mut process = Process(child);
    let out = process.0.stdout.take().ok_or("no output")?;
    let (mut out, mut greeting) = (BufReader::new(out), String::new());
    while !greeting.contains("\nready") {
        let read = out.read_line(&mut greeting).map_err(|error| error.to_string())?;
        if read == 0 {
            return Err(format!("{command} ended before it was ready: {greeting}"));
        }
    }
    Ok((process, greeting))
}

/// Removes a directory and all in it.
pub(crate) fn remove(dir: &Path) {
    for entry in RealVfs.list(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir => remove(&path),
            _ => drop(RealVfs.remove_file(&path)),
        }
    }
    RealVfs.remove_dir(dir).ok();
}
