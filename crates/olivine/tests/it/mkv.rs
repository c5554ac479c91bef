//! A master that speaks as minikeyvalue, with its command line, its uploads and its subvolumes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use olivine_blobs::{mkv_path, mkv_subvolume};

use crate::{Dir, node::Node, olivine, text};

/// An answer: its status, its head and its body.
type Told = (u16, String, Vec<u8>);

fn ask(port: &str, method: &str, target: &str, body: &[u8]) -> Told {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = text(&answer[..end]).to_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
}

fn status(port: &str, method: &str, target: &str, body: &[u8]) -> u16 {
    ask(port, method, target, body).0
}

fn location(told: &Told) -> &str {
    told.1.lines().find_map(|line| line.strip_prefix("location: ")).unwrap()
}

/// What lies under a key, wherever one is sent for it.
fn got(port: &str, target: &str) -> Vec<u8> {
    let told = ask(port, "GET", target, b"");
    if told.0 == 200 {
        return told.2;
    }
    let rest = location(&told).strip_prefix("http://").unwrap();
    let (address, target) = rest.split_at(rest.find('/').unwrap());
    let told = ask(address.rsplit_once(':').unwrap().1, "GET", target, b"");
    assert_eq!(told.0, 200);
    told.2
}

fn started(dir: &Dir, command: &str, words: &[&str]) -> Node {
    let key = format!("{}/blob.key", dir.path());
    let data = format!("{}/{command}", dir.path());
    fs::create_dir_all(&data).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_olivine"));
    program.args([command, "--data-dir", &data, "--key-file", &key, "--memory", "16MiB"]);
    Node::from(program.args(["--port", "0"]).args(words).stdout(Stdio::piped()))
}

#[test]
fn minikeyvalues_command_line_serves_what_it_served() {
    let dir = Dir::new("mkv-master");
    let objects = format!("{}/objects", dir.path());
    let layout = ["--layout", "mkv", "--subvolumes", "3", "--volume-dir", &objects];
    let volume = started(&dir, "volume", &layout);
    let volumes = format!("127.0.0.1:{}", volume.port("volume"));
    let index = format!("{}/index", dir.path());
    let words = [
        ["--manner", "mkv"],
        ["-volumes", &volumes],
        ["-db", &index],
        ["-replicas", "1"],
        ["-subvolumes", "1"],
        ["-fallback", "old.example:3000"],
        ["--heal-after", "5m"],
    ];
    let words = [&words.concat()[..], &["-protect=true"]].concat();
    let master = started(&dir, "master", &words);
    let port = master.port("blob");
    let begun = || loop {
        // Until the volume has answered the master.
        let (status, _, body) = ask(&port, "POST", "/b/large?uploads", b"");
        if status == 200 {
            return text(&body).split(['<', '>']).nth(4).unwrap().to_owned();
        }
        thread::sleep(Duration::from_millis(50));
    };
    let id = begun();
    let begin: Vec<u8> = (0..2_000_000_u32).map(|place| (place % 241) as u8).collect();
    let part = |port: &str, number: u32, body: &[u8]| {
        status(port, "PUT", &format!("/b/large?partNumber={number}&uploadId={id}"), body)
    };
    assert_eq!(part(&port, 1, &begin), 200);
    // It is killed, and what it had acknowledged is there.
    master.kill();
    let master = started(&dir, "master", &words);
    let port = master.port("blob");
    while part(&port, 2, b"and the end") != 200 {
        thread::sleep(Duration::from_millis(50));
    }
    let document = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>\
        <Part><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
    let complete = format!("/b/large?uploadId={id}");
    assert_eq!(status(&port, "POST", &complete, document.as_bytes()), 201);
    assert!(got(&port, "/b/large") == [&begin[..], b"and the end"].concat());
    // A file each, where minikeyvalue would look for them in one of three subvolumes.
    for number in 0..20 {
        let (key, value) = (format!("/b/{number}"), format!("value {number}"));
        assert_eq!(status(&port, "PUT", &key, value.as_bytes()), 201);
        assert_eq!(got(&port, &key), value.as_bytes());
        let subvolume = mkv_subvolume(key.as_bytes(), 3);
        let file = format!("{objects}/{subvolume}/{}", mkv_path(key.as_bytes()));
        assert_eq!(fs::read(file).unwrap(), value.as_bytes());
    }
    for subvolume in ["sv00", "sv01", "sv02"] {
        assert!(Path::new(&objects).join(subvolume).is_dir());
    }
    let none = ask(&port, "GET", "/b/none", b"");
    assert_eq!((none.0, location(&none)), (302, "http://old.example:3000/b/none"));
    let delete = b"<Delete><Object><Key>large</Key></Object><Object><Key>7</Key></Object></Delete>";
    assert_eq!(status(&port, "POST", "/b?delete", delete), 403, "they are protected");
    for key in ["/b/large", "/b/7"] {
        assert_eq!(status(&port, "UNLINK", key, b""), 204);
    }
    assert_eq!(status(&port, "POST", "/b?delete", delete), 204);
    let (_, _, unlinked) = ask(&port, "GET", "/?unlinked", b"");
    assert_eq!(text(&unlinked), r#"{"next":"","keys":[]}"#);
}

#[test]
fn what_is_of_volumes_or_of_another_manner_is_refused_with_what_would_do() {
    for (words, said) in [
        (&["master", "-subvolumes", "10"][..], "each disk is a volume of its own"),
        (&["volume", "--subvolumes", "10"], "is of the layout mkv, and --layout is packed"),
        (&["volume", "--layout", "mkv", "--subvolumes", "257"], "may be 1 to 256"),
        (&["master", "-fallback", "old:3000"], "is of the manner mkv, and --manner is smol"),
        (&["master", "--manner", "mkv", "-fallback=ftp://old"], "wants HOST:PORT"),
        (&["master", "--manner", "mkv", "--fallback", "old/?x"], "wants HOST:PORT"),
        (&["master", "-replica", "2"], "did you mean `--replicas`?"),
        (&["blob", "export", "v", "--subvolumes", "2", "--db", "d", "--to", "t"], "--layout mkv"),
    ] {
        let output = olivine(words, "");
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(said), "{words:?}: {told}");
    }
}

/// What `olivine blob` came to: its exit code, and what it said as JSON.
fn blob(words: &[&str]) -> (Option<i32>, String) {
    let output = olivine(&[&["blob"], words, &["--json", "--memory", "16MiB"]].concat(), "");
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Out of a tree with the subvolumes that minikeyvalue drew, into one with ours, and back into extents.
#[test]
fn trees_with_subvolumes_are_imported_and_exported() {
    let dir = Dir::new("mkv-subvolumes");
    let at = |name: &str| format!("{}/{name}", dir.path());
    let keys: Vec<String> = (0..40).map(|number| format!("/k {number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        let path = format!("{}/sv{:02X}/{}", at("theirs"), number % 10, mkv_path(key.as_bytes()));
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, key).unwrap();
    }
    let [theirs, one, db1] = ["theirs", "one", "db1"].map(at);
    let spread = ["--layout", "mkv", "--subvolumes", "16"];
    let import = ["import", &theirs, "--to", &one, "--db", &db1];
    let (code, said) = blob(&[&import[..], &spread].concat());
    assert!(code == Some(0) && said.contains(r#""objects":40"#), "{said}");
    let is_spread = |tree: &str, count| {
        for key in &keys {
            let subvolume = mkv_subvolume(key.as_bytes(), count);
            let path = format!("{}/{subvolume}/{}", at(tree), mkv_path(key.as_bytes()));
            assert_eq!(fs::read(path).unwrap(), key.as_bytes());
        }
    };
    is_spread("one", 16);
    let export = |from: &str, db: &str, to: &str, new: &str, how: &[&str]| {
        let [from, db, to, new] = [from, db, to, new].map(at);
        let words = ["export", &from, "--db", &db, "--to", &to, "--new-db", &new];
        let (code, said) = blob(&[&words[..], how].concat());
        assert!(code == Some(0) && said.contains(r#""objects":40"#), "{said}");
    };
    export("one", "db1", "two", "db2", &["--layout", "packed"]);
    export("two", "db2", "three", "db3", &["--layout", "mkv", "--subvolumes", "4"]);
    is_spread("three", 4);
    // Nobody has to say over how many a volume that is there spreads them, and nobody may say otherwise.
    let more = ["import", &theirs, "--to", &one, "--db", &db1];
    assert!(blob(&more).1.contains(r#""kept":40"#));
    let (code, said) = blob(&[&more[..], &["--layout", "mkv", "--subvolumes", "10"]].concat());
    assert!(code == Some(2) && said.contains("over 16 subvolumes, not 10"), "{said}");
}
