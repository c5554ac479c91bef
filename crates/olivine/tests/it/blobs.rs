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

/// What `olivine blob` came to: its exit code, and what it said as JSON.
fn blob(words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    let output = command.arg("blob").args(words).args(["--json", "--memory", "16MiB"]).output();
    let output = output.unwrap();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Objects of a directory that minikeyvalue wrote go through every layout, and are what they were.
#[test]
fn objects_go_from_layout_to_layout() {
    use olivine_blobs::{mkv_path, smol_path};
    let dir = Dir::new("blobs-layouts");
    let at = |name: &str| format!("{}/{name}", dir.path());
    let large: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    let objects = [("/a", &b"small"[..]), ("/b/c d", &large)];
    for (key, value) in objects {
        let path = format!("{}/{}", at("theirs"), mkv_path(key.as_bytes()));
        fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, value).unwrap();
    }
    fs::write(at("theirs/stray"), "?").unwrap();
    let [theirs, one, db1] = ["theirs", "one", "db1"].map(at);
    let import = ["import", &theirs, "--to", &one, "--db", &db1];
    let (code, said) = blob(&import);
    assert_eq!(code, Some(1), "a stray was not taken: {said}");
    assert!(said.contains(r#""objects":2,"bytes":3000005,"kept":0"#), "{said}");
    assert!(said.contains(r#""skipped":1"#) && said.contains("stray"), "{said}");
    let (_, said) = blob(&import);
    assert!(said.contains(r#""objects":0,"bytes":0,"kept":2"#), "what is there stays: {said}");
    let export = |from: &str, db: &str, to: &str, layout: &str, new: &str| {
        let [from, db, to, new] = [from, db, to, new].map(at);
        let (code, said) = blob(&[
            "export", &from, "--db", &db, "--to", &to, "--layout", layout, "--new-db", &new,
        ]);
        assert!(said.contains(r#""objects":2,"bytes":3000005"#), "{said}");
        assert_eq!(code, Some(0), "{said}");
    };
    export("one", "db1", "two", "smol", "db2");
    export("two", "db2", "three", "packed", "db3");
    export("three", "db3", "four", "mkv", "db4");
    for (key, value) in objects {
        let uri = key.replace(' ', "%20");
        assert!(fs::read(format!("{}/{}", at("two"), smol_path(uri.as_bytes()))).unwrap() == value);
        assert!(fs::read(format!("{}/{}", at("four"), mkv_path(key.as_bytes()))).unwrap() == value);
    }
    // The names of smol's files tell no keys.
    let [two, five, db5, keys] = ["two", "five", "db5", "keys"].map(at);
    let import = ["import", &two, "--from", "smol", "--to", &five, "--db", &db5];
    assert_eq!(blob(&import).0, Some(2));
    fs::write(&keys, "/a\n/b/c%20d\n/none\n").unwrap();
    let (code, said) = blob(&[&import[..], &["--keys", &keys]].concat());
    assert_eq!(code, Some(1), "one is not there: {said}");
    assert!(said.contains(r#""objects":2"#) && said.contains(r#""skipped":1"#), "{said}");
    // What is damaged is told, and the other is taken.
    let sole = fs::read_dir(at("five/extents/000000")).unwrap().map(|entry| entry.unwrap().path());
    let sole = sole.into_iter().find(|path| path.extension().is_some_and(|end| end == "sole"));
    let (path, mut bytes) = (sole.clone().unwrap(), fs::read(sole.unwrap()).unwrap());
    bytes[1_000_000] ^= 1;
    fs::write(path, bytes).unwrap();
    let [six, none] = ["six", "none"].map(at);
    let export = ["export", &five, "--to", &six, "--layout", "mkv"];
    let (code, said) = blob(&[&export[..], &["--db", &db5]].concat());
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains(r#""objects":1"#) && said.contains(r#""key":"b/c d""#), "{said}");
    let (code, said) = blob(&[&export[..], &["--db", &none]].concat());
    assert!(code == Some(2) && said.contains("has no index"), "{said}");
}
