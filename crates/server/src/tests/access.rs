//! Who is let in, and to what.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use olivine_command::{Command, Principal, Reply, Role, Token, User};
use olivine_vfs::{Open, RealClock, RealVfs, Vfs as _};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::{Dir, Running, halves::halves, settings};
use crate::{Door, Half, Local, Node, Problem, Settings, StorageAt, TlsSetting, secret};

const PASSWORD: &str = "correct horse";

/// Makes a user with `PASSWORD`.
fn add(local: &mut Local, name: &str, role: Role, prefix: &str) {
    let stored = secret::of_password(PASSWORD.as_bytes()).unwrap();
    let Principal { user, prefix, .. } = Principal::named(name, role, prefix);
    let user =
        User { name: user.into(), role, prefix: prefix.into(), secret: stored.as_slice().into() };
    let reply = local.ask(&Command::SetUser { user }).unwrap();
    assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
}

/// Gives a user another role, and leaves the password as it is.
fn change_role(local: &mut Local, name: &str, role: Role) {
    let who = olivine_command::Who::User(name.as_bytes().into());
    let Ok(Reply::Principal(Some(known))) = local.ask(&Command::Principal { who }) else {
        panic!("there is no user {name}");
    };
    let Principal { user, prefix, secret, .. } = known;
    let user = User { name: user.into(), role, prefix: prefix.into(), secret: secret.into() };
    assert_eq!(local.ask(&Command::SetUser { user }).unwrap(), Reply::Done(false));
}

/// Makes a token of a user.
fn token(local: &mut Local, user: &str, expiry: Option<u64>) -> secret::NewToken {
    let made = secret::new_token().unwrap();
    let token = Token {
        id: made.id.as_bytes().into(),
        user: user.as_bytes().into(),
        secret: made.stored.as_slice().into(),
        expiry,
    };
    assert_eq!(local.ask(&Command::SetToken { token }).unwrap(), Reply::Done(true));
    made
}

fn done(local: &mut Local, command: &Command<'_>) {
    assert_eq!(local.ask(command).unwrap(), Reply::Done(true));
}

/// A data directory with an admin, a writer of keys that begin with `w:`, and a reader.
pub(super) fn peopled(settings: &Settings) {
    let mut local = Local::open(&settings.data_dir).unwrap();
    assert!(!local.is_running());
    add(&mut local, "ada", Role::Admin, "");
    add(&mut local, "will", Role::Writer, "w:");
    add(&mut local, "rita", Role::Reader, "");
    local.close().unwrap();
}

fn basic(user: &str, password: &str) -> String {
    let text = olivine_doors::base64::encode(format!("{user}:{password}").as_bytes());
    format!("authorization: Basic {text}\r\n")
}

/// Status and body of a request with more headers.
fn http(node: &Running, headers: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = node.connect(Door::Http);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A connection over lines that stays.
struct Lines {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Lines {
    fn new(node: &Running, door: Door) -> Lines {
        let stream = node.connect(door);
        let answers = BufReader::new(stream.try_clone().unwrap());
        Lines { stream, answers }
    }

    fn ask(&mut self, line: &str) -> String {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

#[test]
fn nobody_is_served_who_does_not_say_who_they_are() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let node = Running::start(&settings);
    let said =
        node.say(Door::Json, "{\"command\":\"get\",\"key\":\"a\"}\n{\"command\":\"ping\"}\n");
    assert!(
        said.starts_with("{\"status\":\"error\",\"message\":\"say who you are first"),
        "{said}"
    );
    assert!(
        said.contains("\"code\":\"unauthenticated\"") && said.ends_with("\"pong\"}\n"),
        "{said}"
    );
    assert!(node.say(Door::Line, "GET a\n").starts_with("ERROR say who you are first"));
    for path in ["/kv/a", "/kv", "/metrics", "/slow"] {
        let (status, body) = http(&node, "", "GET", path, "");
        assert_eq!(status, 401, "{path}");
        assert!(body.contains("\"code\":\"unauthenticated\""), "{body}");
    }
    // Whoever watches a node need not know anybody.
    for path in ["/livez", "/readyz", "/health", "/openapi.json", "/"] {
        assert_eq!(http(&node, "", "GET", path, "").0, 200, "{path}");
    }
    for headers in [basic("ada", "wrong"), basic("nobody", PASSWORD), "authorization: x\r\n".into()]
    {
        assert_eq!(http(&node, &headers, "GET", "/kv/a", "").0, 401, "{headers}");
    }
    assert_eq!(http(&node, &basic("ada", PASSWORD), "GET", "/kv/a", "").0, 404);
    assert_eq!(http(&node, &basic("rita", PASSWORD), "GET", "/metrics", "").0, 200);
    for (name, status) in [("rita", 403), ("will", 403), ("ada", 200)] {
        assert_eq!(http(&node, &basic(name, PASSWORD), "GET", "/slow", "").0, status, "{name}");
    }
}

#[test]
fn each_door_lets_in_who_proves_who_they_are() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let node = Running::start(&settings);
    let mut local = Local::open(&settings.data_dir).unwrap();
    assert!(local.is_running());
    let token = token(&mut local, "will", None);

    let mut lines = Lines::new(&node, Door::Line);
    assert_eq!(lines.ask("AUTH will wrong horse"), "ERROR user or password is wrong");
    assert_eq!(lines.ask(&format!("AUTH will {PASSWORD}")), "OK");
    assert_eq!(lines.ask("PUT w:1 one"), "OK");
    assert_eq!(lines.ask("PUT x one"), "ERROR `will` may reach only keys that begin with \"w:\"");
    assert!(lines.ask("AUTH olv_x").starts_with("ERROR there is no such token"));
    assert!(
        lines.ask("GET w:1").starts_with("ERROR say who you are"),
        "a failed login ends the one before"
    );
    assert_eq!(lines.ask(&format!("AUTH {}", token.text)), "OK");
    assert_eq!(lines.ask("GET w:1"), "OK one");

    // What was sent behind a login in one go is carried out for whoever logged in, in order.
    let auth =
        format!("{{\"command\":\"auth\",\"id\":1,\"user\":\"rita\",\"password\":\"{PASSWORD}\"}}");
    let get = "{\"command\":\"get\",\"key\":\"w:1\"}";
    let put = "{\"command\":\"put\",\"key\":\"w:1\",\"value\":\"two\"}";
    let said = node.say(Door::Json, format!("{get}\n{auth}\n{get}\n{put}\n{get}\n"));
    let codes: Vec<&str> = said.lines().collect();
    assert!(codes[0].contains("unauthenticated"), "{said}");
    assert_eq!(codes[1], "{\"status\":\"ok\",\"message\":\"Authenticated\",\"id\":1}");
    assert_eq!(codes[2], "{\"status\":\"ok\",\"value\":\"one\"}");
    assert!(codes[3].contains("`rita` is a reader, and this takes a writer"), "{said}");
    assert!(codes[3].contains("\"code\":\"forbidden\""), "{said}");
    assert_eq!(codes[4], codes[2]);

    let bearer = format!("authorization: Bearer {}\r\n", token.text);
    assert_eq!(http(&node, &bearer, "PUT", "/kv/w:2", "x").0, 204);
    assert_eq!(http(&node, &bearer, "GET", "/kv?prefix=w:", "").0, 200);
    assert_eq!(http(&node, &bearer, "GET", "/kv", "").0, 403);
    let (status, body) = http(&node, &bearer, "POST", "/kv", &format!("{get}\n{auth}\n"));
    assert_eq!(status, 200);
    assert!(body.contains("auth is for connections"), "{body}");
}

/// A backup has everything, the proofs of users included.
#[test]
fn only_admins_of_everything_make_backups() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let mut local = Local::open(&settings.data_dir).unwrap();
    add(&mut local, "part", Role::Admin, "w:");
    local.close().unwrap();
    let node = Running::start(&settings);
    let (status, begun) = http(&node, &basic("ada", PASSWORD), "POST", "/backup", "");
    assert_eq!(status, 200, "{begun}");
    let id = begun["{\"backup\":".len()..].split(',').next().unwrap();
    // The end of a file, which is text as well.
    let piece = format!("/backup/{id}/0?offset=1000000000");
    let end = format!("/backup/{id}?kept=true");
    for (method, path) in [("POST", "/backup"), ("GET", &piece), ("DELETE", &end)] {
        assert_eq!(http(&node, "", method, path, "").0, 401, "{method} {path}");
        for user in ["will", "rita", "part"] {
            let (status, body) = http(&node, &basic(user, PASSWORD), method, path, "");
            assert_eq!(status, 403, "{user}, {method} {path}: {body}");
        }
    }
    assert_eq!(http(&node, &basic("ada", PASSWORD), "GET", &piece, "").0, 200);
    assert_eq!(http(&node, &basic("ada", PASSWORD), "DELETE", &end, "").0, 204);
}

/// Every change to users and tokens holds for connections that are there.
#[test]
fn what_is_taken_away_is_gone_at_once() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let node = Running::start(&settings);
    let mut local = Local::open(&settings.data_dir).unwrap();
    let made = token(&mut local, "rita", None);
    let mut by_token = Lines::new(&node, Door::Line);
    assert_eq!(by_token.ask(&format!("AUTH {}", made.text)), "OK");
    let mut by_password = Lines::new(&node, Door::Line);
    assert_eq!(by_password.ask(&format!("AUTH rita {PASSWORD}")), "OK");
    assert_eq!(by_token.ask("GET a"), "NOT_FOUND");

    done(&mut local, &Command::DropToken { id: made.id.as_bytes().into() });
    assert!(by_token.ask("GET a").starts_with("ERROR the user or the token was taken away"));
    assert!(by_token.ask("GET a").starts_with("ERROR say who you are"));
    assert_eq!(by_password.ask("GET a"), "NOT_FOUND", "others stay");
    let bearer = format!("authorization: Bearer {}\r\n", made.text);
    assert_eq!(http(&node, &bearer, "GET", "/kv/a", "").0, 401);

    assert!(by_password.ask("PUT a 1").starts_with("ERROR `rita` is a reader"));
    change_role(&mut local, "rita", Role::Writer);
    assert_eq!(by_password.ask("PUT a 1"), "OK", "a new role as well");
    // Another password, though it were the same, is another proof.
    add(&mut local, "rita", Role::Writer, "");
    assert!(by_password.ask("GET a").starts_with("ERROR the password was changed"));
    assert_eq!(by_password.ask(&format!("AUTH rita {PASSWORD}")), "OK");
    done(&mut local, &Command::DropUser { name: b"rita".as_slice().into() });
    assert!(by_password.ask("GET a").starts_with("ERROR the user or the token"));
    done(&mut local, &Command::DropUser { name: b"will".as_slice().into() });
    done(&mut local, &Command::DropUser { name: b"ada".as_slice().into() });
    assert_eq!(by_password.ask("GET a"), "OK 1", "without users nobody is asked");
    add(&mut local, "ada", Role::Admin, "");
    assert!(by_password.ask("GET a").starts_with("ERROR say who you are"));
}

#[test]
fn a_token_proves_nothing_once_its_time_has_come() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let node = Running::start(&settings);
    let mut local = Local::open(&settings.data_dir).unwrap();
    let expiry = local.now() + 1_500;
    let made = token(&mut local, "rita", Some(expiry));
    let mut lines = Lines::new(&node, Door::Line);
    assert_eq!(lines.ask(&format!("AUTH {}", made.text)), "OK");
    assert_eq!(lines.ask("GET a"), "NOT_FOUND");
    while local.now() < expiry {
        super::pause();
    }
    assert!(lines.ask("GET a").starts_with("ERROR the token has expired"));
    assert!(lines.ask(&format!("AUTH {}", made.text)).starts_with("ERROR there is no such token"));
}

/// The coordinator learns of users from the storage.
#[test]
fn both_halves_agree_on_who_is_let_in() {
    let dir = Dir::new();
    let (storage, coordinator) = halves(&dir);
    let store = Running::start(&storage);
    let doors = Running::start(&coordinator);
    while doors.say(Door::Line, "GET a\n") != "NOT_FOUND\n" {
        super::pause();
    }
    let Half::Storage(_) = storage.half else { panic!() };
    let mut local = Local::open(&storage.data_dir).unwrap();
    assert!(local.is_running());
    add(&mut local, "ada", Role::Admin, "");
    // Within a second, it is said.
    let mut tries = 0;
    while !doors.say(Door::Line, "GET a\n").starts_with("ERROR say who you are") {
        super::pause();
        tries += 1;
        assert!(tries < 1_000, "the coordinator did not learn of the user");
    }
    let mut lines = Lines::new(&doors, Door::Line);
    assert_eq!(lines.ask(&format!("AUTH ada {PASSWORD}")), "OK");
    assert_eq!(lines.ask("PUT a 1"), "OK");
    assert_eq!(lines.ask("GET a"), "OK 1");
    drop(store);
}

#[test]
fn whoever_guesses_passwords_waits_and_others_do_not() {
    let dir = Dir::new();
    let settings = settings(&dir);
    peopled(&settings);
    let node = Running::start(&settings);
    let mut known = Lines::new(&node, Door::Line);
    assert_eq!(known.ask(&format!("AUTH ada {PASSWORD}")), "OK");
    let mut guessing = Lines::new(&node, Door::Line);
    let mut refused = 0;
    for guess in 0..10_000 {
        let said = guessing.ask(&format!("AUTH ada guess{guess}"));
        assert_ne!(said, "OK");
        refused += u32::from(said.starts_with("ERROR more than `guesses-max`, 5, logins"));
        if guess % 100 == 0 {
            assert_eq!(known.ask("GET a"), "NOT_FOUND");
        }
    }
    assert!(9_980 < refused, "{refused} of 10,000 were refused unseen");
    // Even the right password has to wait now, but for those who were known before.
    assert!(
        guessing.ask(&format!("AUTH ada {PASSWORD}")).starts_with("ERROR more than `guesses-max`")
    );
    assert_eq!(http(&node, &basic("rita", PASSWORD), "GET", "/kv/a", "").0, 429);
}

/// A name that is not known takes as long as one that is.
#[test]
fn names_are_not_told_by_how_long_an_answer_takes() {
    let passwords = crate::passwords::Passwords::start().unwrap();
    let stored = secret::of_password(PASSWORD.as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let clock = RealClock::new();
    let time = |stored: Option<Vec<u8>>| {
        let start = olivine_vfs::Clock::now(&clock);
        let is_right = runtime.block_on(passwords.check(stored, b"wrong")).unwrap();
        assert!(!is_right);
        olivine_vfs::Clock::now(&clock).saturating_sub(start)
    };
    // The fastest of many, and a wide bound: machines are shared. Without the hash, an answer comes
    // a thousand times sooner.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..30 {
        known = known.min(time(Some(stored.clone())));
        unknown = unknown.min(time(None));
    }
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    assert!((0.3..3.0).contains(&ratio), "{unknown:?} against {known:?}");
}

#[test]
fn strangers_are_few_and_brief() {
    let dir = Dir::new();
    let settings = Settings { strangers_max: 3, ..settings(&dir) };
    peopled(&settings);
    let node = Running::start(&settings);
    let mut known = Lines::new(&node, Door::Line);
    assert_eq!(known.ask(&format!("AUTH ada {PASSWORD}")), "OK");
    let mut strangers: Vec<Lines> = (0..3).map(|_| Lines::new(&node, Door::Line)).collect();
    for stranger in &mut strangers {
        assert_eq!(stranger.ask("PING"), "OK PONG");
    }
    let said = node.say(Door::Line, "PING\n");
    assert!(said.starts_with("ERROR there are `strangers-max`, 3, connections"), "{said}");
    // Who has logged in is no stranger, and makes room for another.
    assert_eq!(strangers[0].ask(&format!("AUTH ada {PASSWORD}")), "OK");
    assert_eq!(node.say(Door::Line, "PING\n"), "OK PONG\n");
    // A long line is for those who are known.
    let long = "x".repeat(20 << 10);
    let said = node.say(Door::Line, format!("PING {long}\n"));
    assert!(said.contains("before anybody has logged in"), "{said}");
    assert_eq!(known.ask(&format!("PUT a {long}")), "OK");
    // Who says nothing is sent away, and who is known stays.
    let mut rest = String::new();
    strangers[1].answers.read_to_string(&mut rest).unwrap();
    assert_eq!(known.ask("PING"), "OK PONG");
}

#[test]
fn a_node_that_others_can_reach_needs_tls_and_users() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    for door in &mut settings.doors {
        door.address.set_ip(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    }
    let told = |settings: &Settings| match Node::start(settings) {
        Ok(_) => None,
        Err(Problem::Settings(text)) => Some(text),
        Err(problem) => panic!("{problem}"),
    };
    let text = told(&settings).unwrap();
    assert!(text.contains("without TLS") && text.contains("--tls-cert"), "{text}");
    settings.tls = Some(TlsSetting::Auto);
    let text = told(&settings).unwrap();
    assert!(text.contains("olivine init") && text.contains("no users"), "{text}");
    peopled(&settings);
    assert_eq!(told(&settings), None);
    // A coordinator does not know the users when it starts, and lets in nobody before it does.
    let (_, coordinator) = halves(&dir);
    let coordinator =
        Settings { doors: settings.doors.clone(), tls: settings.tls.clone(), ..coordinator };
    let doors = Running::start(&coordinator);
    let mut stream = tls_to(&doors, Door::Line, &settings.data_dir.join("tls/cert.pem"));
    stream.write_all(b"GET a\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("ERROR the storage cannot be reached"), "{answer}");
    // Who says that it may be without gets it without.
    let bare = Settings { tls: None, insecure: true, ..settings };
    assert_eq!(told(&bare), None);
}

fn read(path: &Path) -> Vec<u8> {
    let file = RealVfs.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// A connection that trusts this certificate, and nothing else.
fn tls_to(
    node: &Running,
    door: Door,
    certificate: &Path,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read(certificate)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, node.connect(door))
}

#[test]
fn doors_with_tls_speak_nothing_else() {
    let dir = Dir::new();
    let settings = Settings { tls: Some(TlsSetting::Auto), ..settings(&dir) };
    let node = Running::start(&settings);
    let certificate = settings.data_dir.join("tls/cert.pem");
    assert!(node.say(Door::Json, "{\"command\":\"ping\"}\n").contains("this port speaks only TLS"));
    assert_eq!(node.say(Door::Line, "PING\n"), "ERROR this port speaks only TLS\n");
    let said = node.say(Door::Http, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 400") && said.ends_with("only TLS\n"), "{said}");

    let value = "v".repeat(1 << 20);
    for door in Door::ALL {
        let mut stream = tls_to(&node, door, &certificate);
        let (ask, told) = match door {
            Door::Json => (
                format!(
                    "{{\"command\":\"put\",\"key\":\"a\",\"value\":\"{value}\"}}\n{{\"command\":\"get\",\"key\":\"a\"}}\n"
                ),
                format!(
                    "{{\"status\":\"ok\",\"message\":\"Key-value pair stored\"}}\n{{\"status\":\"ok\",\"value\":\"{value}\"}}\n"
                ),
            ),
            Door::Line => ("GET a\n".to_owned(), format!("OK {value}\n")),
            Door::Influx | Door::Select | Door::Ingest => (
                "GET /ping?verbose=true HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                    .to_owned(),
                format!("{{\"version\":\"1.8.10-olivine.{}\"}}", env!("CARGO_PKG_VERSION")),
            ),
            Door::Blob => (
                "GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
                "key not found\n".to_owned(),
            ),
            Door::Volume => (
                "GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
                "start the volume with --open\n".to_owned(),
            ),
            Door::Http => (
                "GET /kv/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
                value.clone(),
            ),
        };
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = vec![0; told.len()];
        if !matches!(door, Door::Json | Door::Line) {
            answer.clear();
            // That it is closed without a word of TLS is what HTTP allows.
            stream.read_to_end(&mut answer).ok();
            assert!(answer.ends_with(told.as_bytes()));
        } else {
            stream.read_exact(&mut answer).unwrap();
            assert!(answer == told.as_bytes(), "{door:?}");
        }
    }
    // The certificate stays the same when the node starts again.
    let before = read(&certificate);
    node.end();
    let node = Running::start(&settings);
    assert_eq!(read(&certificate), before);
    tls_to(&node, Door::Line, &certificate).write_all(b"PING\n").unwrap();
}

/// Writes a certificate and its key, valid from `now` for some days.
fn write_pair(
    dir: &Path,
    name: &str,
    now: Duration,
    days: i64,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = crate::tls::made(&[], now, days).unwrap();
    let paths = [format!("{name}.crt"), format!("{name}.key")].map(|name| dir.join(name));
    for (path, text) in paths.iter().zip([certificate, key]) {
        RealVfs.remove_file(path).ok();
        let file = RealVfs.open(path, Open::Create).unwrap();
        file.write_at(text.as_bytes(), 0).unwrap();
    }
    let [certificate, key] = paths;
    (certificate, key)
}

#[test]
fn certificates_that_cannot_be_are_refused_by_name() {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
    let dir = Dir::new();
    RealVfs.create_dir(&dir.0).unwrap();
    let now = olivine_vfs::Clock::wall(&RealClock::new());
    let day = Duration::from_hours(24);
    let (certificate, key) = write_pair(&dir.0, "good", now, 30);
    let (old, old_key) = write_pair(&dir.0, "old", now.checked_sub(60 * day).unwrap(), 30);
    let (early, early_key) = write_pair(&dir.0, "early", now + 30 * day, 30);
    let (_, other_key) = write_pair(&dir.0, "other", now, 30);
    let (open, open_key) = write_pair(&dir.0, "open", now, 30);
    std::fs::set_permissions(&open_key, Permissions::from_mode(0o644)).unwrap();
    let start = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let tls = Some(TlsSetting::Files { certificate, key });
        Node::start(&Settings { tls, ..settings(&dir) }).map(|_| ())
    };
    start(&certificate, &key).unwrap();
    let absent = dir.0.join("absent");
    for (certificate, key, told) in [
        (&old, &old_key, "has expired"),
        (&early, &early_key, "not valid yet"),
        (&certificate, &other_key, "it is not the key of"),
        (&open, &open_key, "others may read or change this key (mode 644); chmod 600 it"),
        (&key, &key, "there is no certificate in it"),
        (&certificate, &certificate, "there is no private key in it"),
        (&absent, &key, "--tls-cert"),
        (&certificate, &absent, "--tls-key"),
    ] {
        let problem = start(certificate, key).unwrap_err().to_string();
        assert!(problem.contains(told), "{problem}");
    }
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let dir = Dir::new();
    RealVfs.create_dir(&dir.0).unwrap();
    let now = olivine_vfs::Clock::wall(&RealClock::new());
    let (certificate, key) = write_pair(&dir.0, "shown", now, 30);
    let tls = TlsSetting::Files { certificate: certificate.clone(), key: key.clone() };
    let vfs: Arc<dyn olivine_vfs::Vfs> = Arc::new(RealVfs);
    let held = crate::tls::Tls::start(&tls, &dir.0, &vfs, &[], now).unwrap();
    let first = held.fingerprint();
    write_pair(&dir.0, "shown", now, 60);
    held.reload(now).unwrap();
    let second = held.fingerprint();
    assert_ne!(first, second);
    // One that cannot be leaves the one there is.
    RealVfs.remove_file(&key).unwrap();
    assert!(held.reload(now).is_err());
    assert_eq!(held.fingerprint(), second);
}

/// A coordinator and a storage on two machines take nobody for whom their authority does not vouch.
#[test]
fn halves_on_two_machines_know_each_other() {
    let dir = Dir::new();
    RealVfs.create_dir(&dir.0).unwrap();
    let now = olivine_vfs::Clock::wall(&RealClock::new());
    let put = |name: &str, text: &str| {
        let path = dir.0.join(name);
        let file = RealVfs.open(&path, Open::Create).unwrap();
        file.write_at(text.as_bytes(), 0).unwrap();
        path
    };
    let party = |authority: &crate::Authority, file: &str, name: &str| {
        let (certificate, key) = crate::vouched(&authority.key, name, now, 30).unwrap();
        crate::PeerSetting {
            authority: put(&format!("{file}-ca.pem"), &authority.certificate),
            certificate: put(&format!("{file}.pem"), &certificate),
            key: put(&format!("{file}-key.pem"), &key),
        }
    };
    let ours = crate::authority(now, 30).unwrap();
    let theirs = crate::authority(now, 30).unwrap();
    let (storage, coordinator) = halves(&dir);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let problem = Node::start(&Settings { listen, ..storage.clone() }).map(|_| ()).unwrap_err();
    assert!(problem.to_string().contains("--peer-ca"), "{problem}");
    let storage = Settings { listen, peers: Some(party(&ours, "storage", "localhost")), ..storage };
    let store = Node::start(&storage).unwrap();
    let address = store.started().listening.unwrap();
    let stop = store.stopper();
    let thread = thread::Builder::new().spawn(move || store.run()).unwrap();

    let at = |name: &str, peers| Settings {
        half: Half::Coordinator(StorageAt::Host { name: name.to_owned(), port: address.port() }),
        peers,
        ..coordinator.clone()
    };
    let problem = Node::start(&at("localhost", None)).map(|_| ()).unwrap_err();
    assert!(problem.to_string().contains("olivine certify"), "{problem}");
    let doors = Running::start(&at("localhost", Some(party(&ours, "coordinator", "elsewhere"))));
    let mut tries = 0;
    while doors.say(Door::Line, "PUT a 1\n") != "OK\n" {
        super::pause();
        tries += 1;
        assert!(tries < 1_000, "the coordinator did not come to the storage");
    }
    let long = "v".repeat(3 << 20);
    assert_eq!(doors.say(Door::Line, format!("PUT b {long}\nGET b\n")), format!("OK\nOK {long}\n"));
    // Vouched for by another authority; called by a name that the storage's certificate does not have.
    let stranger = Running::start(&at("localhost", Some(party(&theirs, "stranger", "localhost"))));
    let misnamed = Running::start(&at("127.0.0.1", Some(party(&ours, "misnamed", "localhost"))));
    // Somebody without any certificate, who speaks frames as they are.
    let mut bare = TcpStream::connect(address).unwrap();
    bare.write_all(&[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    bare.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = Vec::new();
    bare.read_to_end(&mut answer).ok();
    assert!(answer.first().is_none_or(|kind| *kind == 21), "a TLS alert at most: {answer:?}");
    for _ in 0..100 {
        super::pause();
    }
    for doors in [&stranger, &misnamed] {
        let said = doors.say(Door::Line, "GET a\n");
        assert_eq!(said, "ERROR the storage cannot be reached; it is tried again and again\n");
    }
    assert_eq!(doors.say(Door::Line, "GET a\n"), "OK 1\n");
    stop.stop();
    thread.join().unwrap().unwrap();
}

/// One of every command, each of them about the key `k`, where it is about keys.
fn one_of_each() -> Vec<Command<'static>> {
    use olivine_command::{Bound, Condition, Copying, Entry, Expiry, Form, Statement, Value, Who};
    let key = || b"k".as_slice().into();
    let value = Value { form: Form::Bytes, bytes: b"v".as_slice().into() };
    let entry = Entry { key: key(), value };
    let (condition, expiry) = (Condition::Always, Expiry::Never);
    let user = User { name: key(), role: Role::Admin, prefix: key(), secret: key() };
    let token = Token { id: key(), user: key(), secret: key(), expiry: None };
    let (start, end) = (Bound::Included(key()), Bound::Included(key()));
    vec![
        Command::Get { key: key() },
        Command::GetMany { keys: vec![key()] },
        Command::Look { key: key() },
        Command::Put { entry: entry.clone(), condition, expiry },
        Command::PutMany { entries: vec![entry], expiry },
        Command::Delete { key: key(), condition },
        Command::DeleteMany { keys: vec![key()] },
        Command::Expire { key: key(), expiry },
        Command::Scan { start, end, limit: 1, backward: false },
        Command::Count,
        Command::Numbers,
        Command::Sweep { limit: 1 },
        Command::Principal { who: Who::User(key()) },
        Command::Principals,
        Command::SetUser { user },
        Command::DropUser { name: key() },
        Command::SetToken { token },
        Command::DropToken { id: key() },
        Command::Access,
        Command::Copy(Copying::Begin),
        Command::WritePoints {
            database: key(),
            policy: key(),
            points: key(),
            makes_database: true,
            all_or_none: false,
        },
        Command::Query { statement: Statement::default() },
        Command::Alter { statement: Statement::default(), defines: false },
        Command::Alter { statement: Statement::default(), defines: true },
        Command::Settle,
    ]
}

/// Every command against every role, as the document for operators has it: a command without a row fails here.
pub(super) fn table_of_rights() -> String {
    use std::fmt::Write as _;
    let commands = one_of_each();
    let mut places: Vec<usize> = commands.iter().map(Command::place).collect();
    places.dedup();
    assert_eq!(places, (0..Command::NAMES.len()).collect::<Vec<_>>(), "one of each, in order");
    let mut table =
        "| command | reader | writer | admin | kept to keys of a prefix |\n|---|---|---|---|---|\n"
            .to_owned();
    for command in &commands {
        let roles = Role::ALL.map(|role| if role.has(command.needs()) { "yes" } else { "" });
        let [reader, writer, admin] = roles;
        let kept = match (command.stays_within(b"k"), command.stays_within(b"x")) {
            (true, false) => "those keys only",
            (true, true) => "yes: it names no keys",
            (false, false) => "",
            (false, true) => panic!("{command:?} stays within what it does not reach"),
        };
        let name = match command {
            Command::Alter { defines: true, .. } => "`alter` of databases and policies".to_owned(),
            command => format!("`{}`", command.name()),
        };
        let _infallible = writeln!(table, "| {name} | {reader} | {writer} | {admin} | {kept} |");
    }
    table
}

/// A coordinator that has just started answers what its storage can, and one whose storage is not there says
/// so: neither takes those who ask for strangers.
#[test]
fn a_coordinator_that_knows_nothing_yet_asks_nobody_who_they_are() {
    let dir = Dir::new();
    let (storage, coordinator) = halves(&dir);
    let alone = Running::start(&coordinator);
    let (status, body) = http(&alone, "", "GET", "/kv/a", "");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("the storage cannot be reached"), "{body}");
    drop(alone);
    let store = Running::start(&storage);
    for _ in 0..20 {
        let doors = Running::start(&coordinator);
        assert_eq!(http(&doors, "", "PUT", "/kv/a", "1").0, 204, "at once");
        assert_eq!(doors.say(Door::Line, "GET a\n"), "OK 1\n");
    }
    drop(store);
}
