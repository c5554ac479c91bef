//! `olivine ctl` as people call it, over real processes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use olivine_vfs::{Interrupt, Lock, RealVfs, Vfs as _};

use crate::{Dir, text};

const PORTS: &str = "json-port = 0\nline-port = 0\nhttp-port = 0\ninflux-port = 0\nselect-port = 0\n\
    ingest-port = 0\nblob-port = 0\nvolume-port = 0\nmemory = '16MiB'\n";

/// A directory with a configuration, in which `olivine ctl` is called; what still runs at the end is ended.
struct Place(Dir);

impl Place {
    fn new(name: &str, more: &str) -> Place {
        let dir = Dir::new(name);
        fs::create_dir(&dir.0).unwrap();
        fs::write(dir.0.join("olivine.toml"), format!("{PORTS}{more}")).unwrap();
        Place(dir)
    }

    /// Exit code and all that was said.
    fn call(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_olivine"))
            .args(arguments)
            .current_dir(&self.0.0)
            .output()
            .unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.code().unwrap(), said)
    }

    fn ctl(&self, line: &str) -> (i32, String) {
        let words: Vec<&str> = line.split(' ').collect();
        self.call(&[&["ctl"], words.as_slice()].concat())
    }

    /// What `ctl` says when all is well.
    fn good(&self, line: &str) -> String {
        let (code, said) = self.ctl(line);
        assert_eq!(code, 0, "{line}: {said}");
        said
    }

    /// What stands behind `"name":` in the JSON that tells how a service stands.
    fn told(&self, service: &str, name: &str) -> String {
        let (_, said) = self.ctl(&format!("status {service} --json"));
        let (_, rest) =
            said.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{said}"));
        let rest = rest.trim_start_matches('"');
        rest[..rest.find(['"', ',', '}']).unwrap()].to_owned()
    }

    fn pid(&self, service: &str) -> u32 {
        self.told(service, "pid").parse().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ctl("stop all --force --timeout 5");
    }
}

/// What a door over HTTP answers.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether there is still something of a process.
fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn services_start_answer_and_stop() {
    let place = Place::new("ctl", "");
    let stopped = place.ctl("status");
    assert_eq!(stopped.0, 3, "{}", stopped.1);
    assert!(!place.0.0.join("data").exists(), "looking makes nothing");
    let all = ["volume", "master", "select", "insert", "kv", "storage"]
        .map(|name| format!("{name}: does not run\n"));
    assert_eq!(place.good("stop"), all.concat());

    let said = place.good("start");
    assert!(said.starts_with("storage: started, process "), "{said}");
    assert!(said.contains("\nkv: started, process "), "{said}");
    let http = place.told("kv", "http");
    assert!(said.contains(&format!("http {http}")) && !http.ends_with(":0"), "{said}");
    assert!(get(&http, "/readyz").starts_with("HTTP/1.1 200 "));
    let (storage, kv) = (place.pid("storage"), place.pid("kv"));
    let pid_file = fs::read_to_string(place.0.0.join("data/run/kv.pid")).unwrap();
    assert_eq!(pid_file, format!("{kv}\n"));

    let again = place.good("start");
    let told = format!("storage: runs already, process {storage}: socket data/run/storage.sock");
    assert!(again.starts_with(&told), "{again}");
    assert!(again.contains(&format!("kv: runs already, process {kv}: json 127.0.0.1:")), "{again}");
    let table = place.good("status");
    for (line, begin) in
        table.lines().zip(["service  state    pid", "storage  running  ", "kv       running  "])
    {
        assert!(line.starts_with(begin), "{table}");
    }
    assert!(table.contains("KiB") && table.contains("socket data/run/storage.sock"), "{table}");

    assert_eq!(place.good("stop vm-storage.py"), format!("storage: stopped, process {storage}\n"));
    assert_eq!(place.ctl("status storage").0, 3);
    // The coordinator may take a moment to notice.
    while place.told("kv", "state") != "not ready" {}
    assert!(get(&http, "/readyz").starts_with("HTTP/1.1 503 "));
    place.good("start storage");
    assert_ne!(place.pid("storage"), storage);
    assert_eq!(place.pid("kv"), kv, "it went on");

    let said = place.good("restart");
    assert!(said.contains(&format!("\nkv: stopped, process {kv}\nstorage: stopped, ")), "{said}");
    let said = place.good("stop --json");
    assert!(
        said.starts_with(r#"{"services":[{"service":"volume","did":"stopped","pid":"#),
        "{said}"
    );
    let left: Vec<_> = fs::read_dir(place.0.0.join("data/run")).unwrap().collect();
    assert_eq!(left.len(), 1, "ctl.lock alone: {left:?}");
}

/// The end of the terminal, or of who called, is not theirs.
#[test]
fn a_service_has_a_session_of_its_own() {
    let place = Place::new("ctl-session", "");
    place.good("start storage");
    let pid = place.pid("storage");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name: state, parent, group, session.
    let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string());
}

#[test]
fn what_a_crash_left_is_told_from_what_runs() {
    let place = Place::new("ctl-crash", "");
    place.good("start");
    let (storage, kv) = (place.pid("storage"), place.pid("kv"));
    signal("-KILL", storage);
    // The lock goes with the process, which may take a moment; so does that of the store.
    while place.told("storage", "state") != "dead" || is_there(storage) {}
    let (code, said) = place.ctl("status storage");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&format!("process {storage} ended without taking its pid file away")),
        "{said}"
    );
    assert_eq!(place.ctl("status").0, 1, "of several the worst");
    let said = place.good("start");
    assert!(said.contains(&format!("storage: process {storage} ended without")), "{said}");
    assert!(said.contains("it is started anew\nstorage: started, process "), "{said}");
    assert!(said.contains(&format!("kv: runs already, process {kv}")), "{said}");
    signal("-KILL", kv);
    while place.told("kv", "state") != "dead" || is_there(kv) {}
    let said = place.good("stop kv");
    assert!(
        said.contains(&format!("process {kv} ended without")) && said.contains("done now"),
        "{said}"
    );
    assert_eq!(place.ctl("status kv").0, 3);
}

/// A number in a pid file that nobody holds is nobody's: what has this number now is not touched.
#[test]
fn a_process_that_is_not_ours_is_never_ended() {
    let place = Place::new("ctl-foreign", "");
    let mut foreign = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    fs::create_dir_all(place.0.0.join("data/run")).unwrap();
    let pid = foreign.id();
    fs::write(place.0.0.join("data/run/kv.pid"), format!("{pid}\n")).unwrap();
    let state =
        format!(r#"{{"service":"kv","pid":{pid},"started_ms":1,"doors":[],"left_out":[]}}"#);
    fs::write(place.0.0.join("data/run/kv.json"), state).unwrap();
    assert_eq!(place.told("kv", "state"), "dead");
    let said = place.good("stop kv --force");
    assert!(said.starts_with("kv: does not run; "), "{said}");
    assert!(foreign.try_wait().unwrap().is_none(), "it goes on");
    drop(foreign.stdin.take());
    assert!(foreign.wait().unwrap().success());
}

#[test]
fn a_service_that_does_not_end_is_killed_only_when_told_so() {
    let place = Place::new("ctl-force", "");
    place.good("start storage");
    let pid = place.pid("storage");
    signal("-STOP", pid);
    let (code, said) = place.ctl("stop storage --timeout 1");
    assert_eq!(code, 1);
    let told = format!("error: storage: process {pid} was asked to end and still runs after 1 s;");
    assert!(said.starts_with(&told) && said.contains("--force"), "{said}");
    let said = place.good("stop storage --timeout 1 --force");
    assert_eq!(said, format!("storage: killed, process {pid}\n"));
    assert_eq!(place.ctl("status storage").0, 3);
}

#[test]
fn a_service_that_ends_at_once_is_told_with_its_log() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new("ctl-port", &format!("[coordinator]\njson-port = {port}\n"));
    let (code, said) = place.ctl("start");
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("storage: started, "), "{said}");
    assert!(
        said.contains(
            "error: kv: it ended at once (exit status: 1)\nits log is data/log/kv.log; it said:\n"
        ),
        "{said}"
    );
    let why = format!(
        "  error: cannot open the json door at 127.0.0.1:{port}; see --json-port: Address already in use"
    );
    assert!(said.contains(&why), "{said}");
    assert_eq!((place.ctl("status kv").0, place.ctl("status storage").0), (3, 0));
    // What an earlier try said is not shown again.
    let (_, said) = place.ctl("start");
    assert_eq!(said.matches("\n  error: cannot open").count(), 1, "{said}");
}

/// A process that somebody starts by hand, and what it says until it is ready.
fn by_hand(place: &Place, command: &str) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .arg(command)
        .current_dir(&place.0.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    while !greeting.contains("\nready") {
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut greeting).unwrap(), 0, "{greeting}");
    }
    (child, greeting)
}

#[test]
fn a_data_directory_that_a_node_has_is_left_to_it() {
    let place = Place::new("ctl-serve", "");
    let (mut node, _) = by_hand(&place, "serve");
    let told = format!("`olivine serve`, process {}, has the data directory data", node.id());
    let (code, said) = place.ctl("start");
    assert_eq!(code, 6, "{said}");
    assert!(said.contains(&told) && said.contains("end that one first"), "{said}");
    let (code, said) = place.ctl("status");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("{told}: json 127.0.0.1:")), "{said}");
    let stopping = format!("storage: does not run; `olivine serve`, process {}, does, ", node.id());
    assert!(place.good("stop").contains(&stopping));
    assert!(node.try_wait().unwrap().is_none());
    Interrupt::Term.send(node.id()).unwrap();
    assert!(node.wait().unwrap().success());
    assert!(!place.ctl("status").1.contains("olivine serve"));
    place.good("start");
    place.good("stop");
}

/// A process that somebody else started is found by what it leaves, like one of ours.
#[test]
fn a_storage_that_was_started_by_hand_is_found_and_stopped() {
    let place = Place::new("ctl-hand", "");
    let (mut storage, greeting) = by_hand(&place, "storage");
    assert!(!greeting.contains("olivine ctl"), "{greeting}");
    assert_eq!(place.told("storage", "state"), "running");
    assert_eq!(place.pid("storage"), storage.id());
    assert_eq!(
        place.good("stop"),
        format!(
            "volume: does not run\nmaster: does not run\nselect: does not run\ninsert: does not run\nkv: does not run\nstorage: stopped, process {}\n",
            storage.id()
        )
    );
    assert!(storage.wait().unwrap().success());
}

/// Of two coordinators at one storage the first is the service; the second says that it is not.
#[test]
fn a_second_coordinator_says_that_it_is_not_the_service() {
    let place = Place::new("ctl-second", "");
    place.good("start");
    let kv = place.pid("kv");
    let (mut second, greeting) = by_hand(&place, "coordinator");
    let told = "  `olivine ctl` does not find this process: another process has data/run/kv.pid,";
    assert!(greeting.contains(told), "{greeting}");
    assert_eq!(place.pid("kv"), kv);
    assert_eq!(place.good("stop kv"), format!("kv: stopped, process {kv}\n"));
    assert!(second.try_wait().unwrap().is_none(), "it is not touched");
    Interrupt::Term.send(second.id()).unwrap();
    assert!(second.wait().unwrap().success());
}

/// The coordinator is told where the storage was put.
#[test]
fn a_storage_elsewhere_is_found_by_its_coordinator() {
    let place = Place::new("ctl-socket", "data-dir = 'd'\n[storage]\nsocket = 'elsewhere.sock'\n");
    let said = place.good("start");
    assert!(said.contains("socket elsewhere.sock"), "{said}");
    assert!(!said.contains("unavailable"), "{said}");
    assert!(place.0.0.join("d/run/kv.pid").exists());
    assert!(get(&place.told("kv", "http"), "/readyz").starts_with("HTTP/1.1 200 "));
    place.good("stop");
}

#[test]
fn what_cannot_be_is_told_before_anything_is_started() {
    let place = Place::new("ctl-wrong", "");
    fs::write(place.0.0.join("bad.toml"), "[coordinator]\nhttp-port = 70000\n").unwrap();
    for (line, exit, told) in [
        (
            "start --config bad.toml",
            78,
            "error: kv: bad.toml:2: `http-port` wants a number, not `70000`",
        ),
        ("statr", 2, "error: no action `statr`; did you mean `start`?"),
        (
            "start vm-alert.py",
            2,
            "error: no service `vm-alert.py`; there are storage, kv, insert, select, master, volume, and all",
        ),
        ("start kv more", 2, "error: `more` is one too many"),
    ] {
        let (code, said) = place.ctl(line);
        assert_eq!(code, exit, "{said}");
        assert!(said.starts_with(told), "{said}");
    }
    assert!(!place.0.0.join("data").exists());
    fs::create_dir_all(place.0.0.join("data/run")).unwrap();
    let lock = RealVfs.lock(&place.0.0.join("data/run/ctl.lock")).unwrap();
    assert!(matches!(lock, Lock::Held(_)));
    let (code, said) = place.ctl("stop");
    assert_eq!(code, 6);
    assert!(
        said.contains(&format!(
            "another `olivine ctl`, process {}, is at work",
            std::process::id()
        )),
        "{said}"
    );
}

/// Doors that speak TLS are asked through it, whoever vouches for their certificate.
#[test]
fn doors_with_tls_are_known_to_answer() {
    let place = Place::new("ctl-tls", "tls = 'auto'\n");
    place.good("start");
    assert_eq!(place.told("kv", "state"), "running");
    let state = fs::read_to_string(place.0.0.join("data/run/kv.json")).unwrap();
    assert!(state.contains("\"certificate\":\""), "its doors speak TLS: {state}");
    place.good("stop storage");
    // The coordinator may take a moment to notice.
    while place.told("kv", "state") != "not ready" {}
    assert!(place.told("kv", "why").contains("HTTP/1.1 503 "));
}

/// The system lets go of a killed process's pid file before its store: a start in between waits for that, and one
/// that waits in vain says who has the store.
#[test]
fn a_store_that_is_let_go_of_in_a_moment_is_waited_for() {
    let place = Place::new("ctl-release", "");
    place.good("start storage");
    place.good("stop storage");
    let hold = || RealVfs.lock(&place.0.0.join("data/store/LOCK")).unwrap();
    let held = hold();
    assert!(matches!(held, Lock::Held(_)));
    let said = std::thread::scope(|scope| {
        let starting = scope.spawn(|| place.good("start storage"));
        let log = place.0.0.join("data/log/storage.out");
        while !fs::read_to_string(&log).unwrap().contains("the store is open in process") {}
        drop(held);
        starting.join().unwrap()
    });
    assert!(said.starts_with("storage: started, process "), "{said}");
    place.good("stop storage");
    let _held = hold();
    let (code, said) = place.ctl("start storage");
    assert_eq!(code, 6, "{said}");
    assert!(
        said.contains(&format!("the store is open in process {}", std::process::id())),
        "{said}"
    );
}

/// A service is not its caller's: what manages the caller hears nothing of it, and cannot keep it from starting.
#[test]
fn a_service_does_not_speak_to_the_manager_of_who_started_it() {
    let place = Place::new("ctl-manager", "");
    let output = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(["ctl", "start", "storage"])
        .current_dir(&place.0.0)
        .env("NOTIFY_SOCKET", "no socket at all")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(place.told("storage", "state"), "running");
}

/// A coordinator alone says what it lacks, and serves as soon as that is there.
#[test]
fn a_coordinator_without_its_storage_says_so() {
    let place = Place::new("ctl-alone", "");
    let said = place.good("start kv");
    assert!(
        said.ends_with(
            "kv: it answers `unavailable` until storage runs: `olivine ctl start storage`\n"
        ),
        "{said}"
    );
    place.good("start storage");
    while place.told("kv", "state") != "running" {}
}

/// Events go to a file that the process rotates itself, and not to what it says when it starts.
#[test]
fn the_log_of_a_service_rotates_while_it_runs() {
    let more = "slow-millis = 0\nlog-file-bytes-max = '4KiB'\nlog-files-max = 3\n";
    let place = Place::new("ctl-rotate", more);
    place.good("start storage");
    place.good("start kv");
    let http = place.told("kv", "http");
    let log = |name: &str| place.0.0.join("data/log").join(name);
    while !log("kv.log.2").exists() {
        assert!(get(&http, "/kv/a").starts_with("HTTP/1.1 404 "));
    }
    assert!(!log("kv.log.3").exists());
    assert!(fs::metadata(log("kv.log.1")).unwrap().len() <= 4 << 10);
    let said = fs::read_to_string(log("kv.out")).unwrap();
    assert!(said.ends_with("ready; Ctrl-C ends it\n") && !said.contains("slow_request"), "{said}");
    // Where it is put elsewhere, it is there.
    place.good("stop");
    let file = place.0.0.join("olivine.toml");
    let text = fs::read_to_string(&file).unwrap() + "[storage]\nlog-file = 'own.log'\n";
    fs::write(&file, text).unwrap();
    fs::remove_file(log("storage.log")).unwrap();
    place.good("start storage");
    place.good("start kv");
    let own = fs::read_to_string(place.0.0.join("own.log")).unwrap();
    assert!(own.contains("store_opened") && !log("storage.log").exists(), "{own}");
}

/// Who looks after users, or after health, need not repeat what the configuration says.
#[test]
fn users_and_pings_find_the_node_by_its_configuration() {
    let place = Place::new("ctl-config", "data-dir = 'here'\n");
    place.good("start storage");
    place.good("start kv");
    let (code, said) = place.call(&["ping"]);
    assert_eq!((code, said.as_str()), (0, "here/run/storage.sock serves\n"), "no port is known");
    let json = place.told("kv", "json");
    let port = json.rsplit_once(':').unwrap().1.to_owned();
    let file = place.0.0.join("other.toml");
    fs::write(&file, format!("json-port = {port}\nbind = '0.0.0.0'\n")).unwrap();
    let (code, said) = place.call(&["ping", "--config", "other.toml"]);
    assert_eq!((code, said), (0, format!("json://127.0.0.1:{port} serves\n")));
    let (code, said) = place.call(&["init"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = place.call(&["user", "list"]);
    assert!(code == 0 && said.contains("admin"), "{said}");
    assert!(!place.0.0.join("data").exists());
    fs::write(&file, "dta-dir = 'here'\n").unwrap();
    assert_eq!(place.call(&["token", "list", "--config", "other.toml"]).0, 78);
}

/// What cannot be is refused for good: a service manager need not try again.
#[test]
fn a_node_that_cannot_be_as_it_is_told_ends_with_78() {
    let place = Place::new("ctl-refused", "bind = '0.0.0.0'\n");
    let (code, said) = place.call(&["serve"]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("would be open to other machines"), "{said}");
    assert_eq!(place.ctl("start kv").0, 78);
}
