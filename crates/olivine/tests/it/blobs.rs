//! Blobs as clients that nobody here wrote put and get them, and what that costs the disk.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::{Dir, node::Node, text};

/// A node with the doors of blobs, on these ports.
fn started(dir: &Dir, under: &[&str], ports: &[&str]) -> Node {
    let words =
        [under, &[env!("CARGO_BIN_EXE_olivine"), "serve", "--doors", "blob,volume"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--data-dir", dir.path(), "--memory", "16MiB"]).args(ports);
    Node::from(command.stdout(Stdio::piped()))
}

/// What a shell command prints, with the port of the master in `$BLOB`.
fn sh(node: &Node, script: &str) -> String {
    let output =
        Command::new("sh").args(["-c", script]).env("BLOB", node.port("blob")).output().unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

const ANY: [&str; 4] = ["--blob-port", "0", "--volume-port", "0"];

/// The lines of the source, as they stand there; where somebody else has its ports, with others.
#[test]
#[ignore = "needs curl; `cargo xtask test --only clients`"]
fn curl_puts_gets_and_deletes() {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let ports = if is_free(9_000) && is_free(9_001) { &[][..] } else { &ANY };
    let dir = Dir::new("blobs-curl");
    let node = started(&dir, &[], ports);
    let lines = |node: &Node, line: &str| {
        let line = line.replace("localhost:9000", &format!("localhost:{}", node.port("blob")));
        sh(node, &format!("{line} -s -w ' %{{http_code}} %{{num_redirects}}'"))
    };
    let put = "curl -X PUT -d bigswag http://localhost:9000/k1 -L";
    let (get, delete) =
        ("curl -L http://localhost:9000/k1", "curl -X DELETE http://localhost:9000/k1 -L");
    assert_eq!(lines(&node, get), "key not found\n 404 0", "the master knows");
    assert_eq!(lines(&node, put), " 201 1");
    assert_eq!(lines(&node, get), "bigswag 200 1");
    // It is killed, and what it had acknowledged is there.
    node.kill();
    let node = started(&dir, &[], ports);
    assert_eq!(lines(&node, get), "bigswag 200 1");
    assert_eq!(lines(&node, &put.replace("bigswag", "other")), " 201 1", "it is put over");
    assert_eq!(lines(&node, get), "other 200 1");
    assert_eq!(lines(&node, "curl -L http://localhost:9000/k1 -r 1-3"), "the 206 1");
    assert_eq!(lines(&node, delete), " 200 1");
    assert_eq!(lines(&node, get), "key not found\n 404 0", "the master knows of deletions");
    assert_eq!(lines(&node, delete), "key not found\n 404 0");
    assert!(lines(&node, &put.replace("bigswag", "''")).ends_with(" 411 0"));
    assert_eq!(
        lines(&node, "curl 'http://localhost:9000/?list'"),
        "{\"next\":\"\",\"keys\":[]} 200 0"
    );
}

/// What curl does not send before it is asked for it, and what comes in many pieces.
#[test]
#[ignore = "needs curl; `cargo xtask test --only clients`"]
fn curl_brings_large_objects() {
    let dir = Dir::new("blobs-large");
    let node = started(&dir, &[], &ANY);
    let file = format!("{}/large", dir.path());
    let script = format!(
        "head -c 9000001 /dev/urandom > {file} && \
         curl -sS -L -T {file} -o /dev/null -w '%{{http_code}} ' localhost:$BLOB/a/large%20one && \
         curl -sS -L localhost:$BLOB/a/large%20one | cmp - {file} && \
         tail -c 1000 {file} > {file}.end && curl -sS -L -r -1000 localhost:$BLOB/a/large%20one | cmp - {file}.end && \
         curl -sS 'localhost:$BLOB/a/?list'"
    );
    let script = script.replace("'localhost:$BLOB/a/?list'", "\"localhost:$BLOB/a/?list\"");
    assert_eq!(sh(&node, &script), "201 {\"next\":\"\",\"keys\":[\"/a/large one\"]}");
}

/// One read of the disk, wherever an object lies, though nothing of it is in memory.
#[test]
#[ignore = "needs curl and strace; `cargo xtask test --only clients`"]
fn a_cold_get_costs_one_read() {
    const OBJECTS: usize = 40;
    let dir = Dir::new("blobs-strace");
    let node = started(&dir, &[], &ANY);
    let all = |curl: &str| format!("for i in $(seq {OBJECTS}); do {curl} || exit 1; done");
    let value = "$(printf 'value %1018d' $i)";
    sh(&node, &all(&format!("curl -sSf -L -X PUT -d \"{value}\" localhost:$BLOB/cold/$i")));
    node.end(olivine_vfs::Interrupt::Term);
    let log = format!("{}/strace", dir.path());
    let calls = "trace=pread64,preadv,preadv2,read,readv";
    let node = started(&dir, &["strace", "-D", "-f", "-y", "-e", calls, "-o", &log], &ANY);
    let reads = || {
        let log = fs::read_to_string(&log).unwrap();
        // What a call that was interrupted came to stands in a line of its own. Behind the last object of a file
        // one call more finds that there are no more bytes.
        let is_read = |line: &&str| {
            line.contains("/extents/") && !line.contains("resumed>") && !line.ends_with(" = 0")
        };
        log.lines().filter(is_read).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = reads().len();
    let got = sh(&node, &all("curl -sSf -L localhost:$BLOB/cold/$i"));
    assert_eq!(got.len(), OBJECTS * 1024);
    node.end(olivine_vfs::Interrupt::Term);
    let reads = reads();
    assert_eq!(reads.len() - before, OBJECTS, "{:#?}", &reads[before..]);
}

/// All that was known of where objects are is lost, and they are not.
#[test]
#[ignore = "needs curl; `cargo xtask test --only clients`"]
fn an_index_is_made_anew_of_its_volume() {
    let dir = Dir::new("blobs-rebuild");
    let node = started(&dir, &[], &ANY);
    let all = |script: &str| format!("for i in $(seq 30); do {script} || exit 1; done");
    sh(&node, &all("curl -sSf -L -X PUT -d \"value $i\" localhost:$BLOB/of/$i"));
    sh(&node, "for i in 3 5 8; do curl -sSf -L -X DELETE localhost:$BLOB/of/$i || exit 1; done");
    node.end(olivine_vfs::Interrupt::Term);
    let (index, volume) =
        (format!("{}/olivedb", dir.path()), format!("{}/volumes/volume1", dir.path()));
    let rebuild = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
        let output = command.args(["blob", "rebuild", &volume, "--db", &index]).output().unwrap();
        (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (code, _, told) = rebuild();
    assert!(code == Some(2) && told.contains("has an index already"), "{code:?} {told}");
    fs::remove_dir_all(&index).unwrap();
    let (code, said, told) = rebuild();
    assert_eq!(code, Some(0), "{told}");
    assert!(said.contains("read 33 records of 1 extent, 3 deletions among them"), "{said}");
    let node = started(&dir, &[], &ANY);
    let got = sh(&node, &all("curl -sS -L localhost:$BLOB/of/$i && echo"));
    for (line, number) in got.lines().filter(|line| !line.is_empty()).zip(1..) {
        let is_gone = [3, 5, 8].contains(&number);
        let wanted = if is_gone { "key not found".to_owned() } else { format!("value {number}") };
        assert_eq!(line, wanted);
    }
    sh(&node, "curl -sSf -L -X PUT -d new localhost:$BLOB/of/3");
    assert_eq!(sh(&node, "curl -sSf -L localhost:$BLOB/of/3"), "new");
}
