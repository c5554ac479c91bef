//! A node in a memory cgroup: its budget is a part of the limit, and nothing that clients do takes more.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::{Dir, node::Node};

const LIMIT: u64 = 256 << 20;
/// What is stored, in values of `VALUE_BYTES`.
const KEYS: usize = 6_400;
const VALUE_BYTES: usize = 64 << 10;

/// A memory cgroup that goes with the test.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one, of whichever version the machine has; nothing where none can be made.
    pub(crate) fn new(limit: u64) -> Option<Cgroup> {
        let mine = fs::read_to_string("/proc/self/cgroup").ok()?;
        let version1 = mine.lines().find_map(|line| line.split_once(":memory:"));
        let (root, file, place) = match version1 {
            Some((_, place)) => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", place),
            None => ("/sys/fs/cgroup", "memory.max", mine.lines().next()?.splitn(3, ':').nth(2)?),
        };
        for parent in [Path::new(root).join(place.trim_start_matches('/')), root.into()] {
            let dir = parent.join(format!("olivine-confined-{}-{limit}", std::process::id()));
            if fs::create_dir(&dir).is_ok() {
                let cgroup = Cgroup(dir);
                if fs::write(cgroup.0.join(file), limit.to_string()).is_ok() {
                    return Some(cgroup);
                }
            }
        }
        None
    }
}

impl Cgroup {
    /// The program, started within it.
    pub(crate) fn command(&self) -> Command {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_olivine")]);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}

/// A value of a key that does not compress, and that no other key has.
fn value(key: usize) -> String {
    let mut random = olivine_vfs::Random::new(key as u64);
    let mut value = String::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        write!(value, "{:016x}", random.next_u64()).unwrap();
    }
    value
}

#[test]
#[ignore = "stores 400 MiB; `cargo xtask test --only clients`"]
fn a_node_stays_within_the_cgroup_it_is_put_in() {
    let Some(cgroup) = Cgroup::new(LIMIT) else {
        let skipped = std::io::stderr().write_all(b"SKIPPED: no memory cgroup can be made here\n");
        return skipped.unwrap();
    };
    let dir = Dir::new("confined");
    let mut command = cgroup.command();
    command.args(["serve", "--data-dir", dir.path(), "--durability", "os", "--doors", "json"]);
    let mut node = Node::from(command.args(["--json-port", "0"]).stdout(Stdio::piped()));
    let address = format!("127.0.0.1:{}", node.port("json"));

    // Requests and answers at once: a node that does not read on while its answers wait is right to.
    let stream = TcpStream::connect(&address).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut writing = stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for key in 0..KEYS {
            let value = value(key);
            let line =
                format!("{{\"command\":\"put\",\"key\":\"{key:06}\",\"value\":\"{value}\"}}\n");
            writing.write_all(line.as_bytes()).unwrap();
        }
    });
    for _ in 0..KEYS {
        let answer = answers.next().unwrap().unwrap();
        assert_eq!(answer, "{\"status\":\"ok\",\"message\":\"Key-value pair stored\"}");
    }
    writer.join().unwrap();
    // A scan that asks for everything gets pages, and every key once.
    let (mut after, mut seen) = (String::new(), 0);
    let mut asking = stream;
    loop {
        let line = format!("{{\"command\":\"scan\",\"limit\":10000,\"after\":\"{after}\"}}\n");
        asking.write_all(line.as_bytes()).unwrap();
        let answer = answers.next().unwrap().unwrap();
        let mut rest = answer.strip_prefix("{\"status\":\"ok\",\"data\":[").unwrap();
        while let Some(behind) = rest.strip_prefix(&format!("[\"{seen:06}\",\"{}\"]", value(seen)))
        {
            rest = behind.trim_start_matches(',');
            seen += 1;
        }
        assert!(rest.starts_with(']'), "key {seen} is missing");
        let next = answer.rsplit_once("\"next\":").unwrap().1;
        let Some(next) = next.strip_prefix('"') else { break };
        next[..6].clone_into(&mut after);
    }
    assert_eq!(seen, KEYS);
    assert!(node.is_there(), "the kernel ended the node");
}
