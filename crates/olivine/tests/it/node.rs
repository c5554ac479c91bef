//! `olivine serve` as people start it, spoken to by clients that nobody here wrote.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use olivine_vfs::Interrupt;

use crate::{Dir, olivine, text};

/// A node of its own, on ports that were free.
pub(crate) struct Node {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) greeting: String,
}

impl Node {
    pub(crate) fn start(dir: &Dir, more: &[&str]) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
        command.args(["serve", "--data-dir", dir.path(), "--memory", "16MiB"]);
        command.args(["--json-port", "0", "--line-port", "0", "--http-port", "0"]);
        command.args([
            "--influx-port",
            "0",
            "--select-port",
            "0",
            "--ingest-port",
            "0",
            "--blob-port",
            "0",
            "--volume-port",
            "0",
        ]);
        Node::from(command.args(more).stdout(Stdio::piped()))
    }

    /// Starts what a command says, and waits until it is ready.
    pub(crate) fn from(command: &mut Command) -> Node {
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("\nready") {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "{greeting}");
        }
        Node { child, out, greeting }
    }

    /// The port of a door, as the greeting has it.
    pub(crate) fn port(&self, door: &str) -> String {
        let line = self.greeting.lines().find(|line| line.trim_start().starts_with(door)).unwrap();
        let address = line.split_whitespace().nth(1).unwrap();
        address.rsplit_once(':').unwrap().1.to_owned()
    }

    /// Whether the process is still there.
    pub(crate) fn is_there(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a power cut would, as far as a process can be.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn end(mut self, interrupt: Interrupt) {
        interrupt.send(self.child.id()).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a shell command prints, with the ports of the node in `$JSON`, `$LINE` and `$HTTP`.
pub(crate) fn sh(node: &Node, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", script])
        .env("JSON", node.port("json"))
        .env("LINE", node.port("line"))
        .env("HTTP", node.port("http"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
#[ignore = "needs curl; `cargo xtask test --only clients`"]
fn a_node_says_where_its_doors_are_and_keeps_what_it_acknowledged() {
    let dir = Dir::new("node");
    let node = Node::start(&dir, &[]);
    assert!(node.greeting.starts_with("olivine "), "{}", node.greeting);
    assert!(node.greeting.ends_with("ready; Ctrl-C ends it\n"), "{}", node.greeting);
    let curl = "curl -sS -X PUT --data-binary red localhost:$HTTP/kv/apple && curl -sS localhost:$JSON/kv/apple";
    assert_eq!(sh(&node, curl), "red");
    let locked =
        olivine(&["serve", "--data-dir", dir.path(), "--http-port", "0", "--doors", "http"], "");
    assert_eq!(locked.status.code(), Some(6), "{}", text(&locked.stderr));
    node.end(Interrupt::Term);
    let node = Node::start(&dir, &["--durability", "os"]);
    assert_eq!(sh(&node, "curl -sS localhost:$HTTP/kv/apple"), "red");
    node.end(Interrupt::Int);
    let store = format!("{}/store", dir.path());
    let checked = olivine(&["check", &store], "");
    assert!(checked.status.success(), "{}", text(&checked.stdout));
}

/// What a health check asks, and what it ends with when there is no node.
#[test]
fn a_ping_tells_whether_a_node_serves() {
    let dir = Dir::new("node-ping");
    let node = Node::start(&dir, &[]);
    let (json, http) = (node.port("json"), node.port("http"));
    let output = olivine(&["ping", "--port", &json], "");
    assert_eq!(text(&output.stdout), format!("json://127.0.0.1:{json} serves\n"));
    assert!(output.status.success());
    for url in [format!("http://localhost:{http}"), format!("http://127.0.0.1:{json}/readyz")] {
        let output = olivine(&["ping", &url], "");
        assert!(output.status.success(), "{url}: {}", text(&output.stderr));
    }
    let output = olivine(&["ping", "--data-dir", dir.path()], "");
    let socket = format!("{}/run/storage.sock", dir.path());
    assert_eq!(text(&output.stdout), format!("{socket} serves\n"));
    assert!(output.status.success());
    // The door for words of lines answers, and something else.
    let output = olivine(&["ping", "--port", &node.port("line")], "");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("answers, but not that it serves: `ERR"), "{said}");
    node.end(Interrupt::Term);
    let output = olivine(&["ping", "--port", &json], "");
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    let cannot = format!("error: cannot connect to json://127.0.0.1:{json}: ");
    assert!(said.starts_with(&cannot), "{said}");
    let output = olivine(&["ping", "--data-dir", dir.path()], "");
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("error: cannot connect to {socket}: ")), "{said}");
    let output = olivine(&["ping", "--data-dir", dir.path(), "--port", "1"], "");
    assert_eq!(output.status.code(), Some(2));
}

/// The client of the Python server that the JSON door takes over from, as its documentation shows it.
#[test]
#[ignore = "needs python3; `cargo xtask test --only clients`"]
fn python_speaks_json_lines() {
    let dir = Dir::new("node-python");
    let node = Node::start(&dir, &[]);
    let script = r#"
import json, os, socket
stream = socket.create_connection(("localhost", int(os.environ["JSON"])))
file = stream.makefile("rw")
def ask(**request):
    file.write(json.dumps(request) + "\n")
    file.flush()
    return json.loads(file.readline())
assert ask(command="put", key="user:1000", value="John Doe") == {"status": "ok", "message": "Key-value pair stored"}
assert ask(command="get", key="user:1000") == {"status": "ok", "value": "John Doe"}
keys = ["user:1001", "user:1002", "user:1003"]
values = ["Alice", {"nested": [1, 2.5, None]}, "\u00fc\U0001f600"]
assert ask(command="batch_put", keys=keys, values=values)["message"] == "3 key-value pairs stored"
found = ask(command="get_range", start_key="user:1000", end_key="user:1003")["data"]
assert found == [["user:1000", "John Doe"]] + [list(pair) for pair in zip(keys, values)], found
assert ask(command="delete", key="user:1000")["message"] == "Key deleted"
assert ask(command="get", key="user:1000") == {"status": "not_found", "message": "Key not found"}
assert ask(command="fly")["message"] == "Unknown command: fly"
print("done")
"#;
    let script = format!("python3 - <<'END'\n{script}\nEND");
    assert_eq!(sh(&node, &script), "done\n");
}

/// What the README's first five minutes show is what comes of typing them.
#[test]
#[ignore = "needs curl and nc; `cargo xtask test --only clients`"]
fn the_five_minutes_of_the_readme() {
    let readme = include_str!("../../../../README.md");
    let session = readme.split("```console\n").nth(1).and_then(|rest| rest.split("```").next());
    let dir = Dir::new("node-readme");
    let node = Node::start(&dir, &[]);
    let ports = [
        ("9999", "json"),
        ("7000", "line"),
        ("8080", "http"),
        ("8086", "influx"),
        ("8088", "select"),
        ("9000", "blob"),
    ];
    let mut typed = 0;
    for step in session.unwrap().strip_prefix("$ ").unwrap().split("\n$ ") {
        let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
        let command = ports.iter().fold(command.to_owned(), |command, (port, door)| {
            command
                .replace(&format!("localhost {port}"), &format!("localhost {}", node.port(door)))
                .replace(&format!("localhost:{port}"), &format!("localhost:{}", node.port(door)))
        });
        assert_eq!(sh(&node, &command).trim_end(), shown.trim_end(), "{command}");
        typed += 1;
    }
    assert!(8 < typed, "{typed}");
}
