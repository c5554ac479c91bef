//! Both clients beside a node that is made of a script: what it gets, what it says, and when it hangs up.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use olivine_vfs::{Clock as _, RealClock};
use tokio::runtime;

use super::*;

/// What the node does when a request has come.
#[derive(Clone, Copy)]
enum Does {
    Says(&'static str),
    /// It says so when nobody waits any more.
    SaysLate(&'static str),
    SaysAndHangsUp(&'static str),
    HangsUp,
    Nothing,
}
use Does::{HangsUp, Nothing, Says, SaysAndHangsUp, SaysLate};

const OK: &str = "{\"status\":\"ok\",\"message\":\"so\"}";
const FOUND: &str = "{\"status\":\"ok\",\"value\":\"red\"}";
const FOUND_OTHER: &str = "{\"status\":\"ok\",\"value\":\"blue\"}";
const BUSY: &str = "{\"status\":\"error\",\"message\":\"m\",\"code\":\"busy\"}";
const AWAY: &str = "{\"status\":\"error\",\"message\":\"m\",\"code\":\"unavailable\"}";
const FORBIDDEN: &str = "{\"status\":\"error\",\"message\":\"no\",\"code\":\"forbidden\"}";

type Script = Mutex<std::slice::Iter<'static, Does>>;

/// Does with the requests of one connection what the script says.
fn serve(mut stream: &TcpStream, script: &Script, got: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut next = || {
        let line = lines.next()?.ok()?;
        got.lock().unwrap().push(line);
        Some(())
    };
    let mut say = |text: &str| writeln!(stream, "{text}").is_ok();
    while next().is_some() {
        let does = script.lock().unwrap().next();
        let goes_on = match does {
            None | Some(HangsUp) => false,
            Some(Says(text)) => say(text),
            Some(SaysLate(text)) => {
                RealClock::new().sleep(Duration::from_millis(900));
                say(text)
            }
            Some(SaysAndHangsUp(text)) => {
                say(text);
                false
            }
            Some(Nothing) => true,
        };
        if !goes_on {
            return;
        }
    }
}

/// A node that does what the script says, request by request, whatever connections they come over.
struct Node {
    address: SocketAddr,
    got: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn new(script: &'static [Does]) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (shared, ends) = (Arc::clone(&got), Arc::clone(&over));
        let script = Arc::new(Mutex::new(script.iter()));
        let work = move || {
            let mut threads = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Relaxed) {
                    break;
                }
                let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
                threads
                    .push(Builder::new().spawn(move || serve(&stream, &script, &shared)).unwrap());
            }
            for thread in threads {
                thread.join().unwrap();
            }
        };
        let thread = Some(Builder::new().spawn(work).unwrap());
        Node { address, got, over, thread }
    }

    fn got(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        TcpStream::connect(self.address).ok();
        self.thread.take().unwrap().join().ok();
    }
}

/// What somebody does with either client.
enum Either {
    Blocking(Client),
    Async(AsyncClient, runtime::Runtime),
}

impl Either {
    fn run<T>(&self, ask: &Ask<T>) -> Result<T> {
        match self {
            Either::Blocking(client) => client.run(ask),
            Either::Async(client, runtime) => runtime.block_on(client.run(ask)),
        }
    }
}

fn quick() -> Options {
    Options { time_max: Duration::from_millis(600), connections_max: 1, ..Options::default() }
}

/// Has both clients, each beside a node of its own with this script, do the same.
fn each(script: &'static [Does], options: Options, claim: impl Fn(&Either, &Node)) {
    let node = Node::new(script);
    let address = node.address.to_string();
    let client = Either::Blocking(Client::connect(&address, options.clone()).unwrap());
    claim(&client, &node);
    drop(client);
    let node = Node::new(script);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(AsyncClient::connect(&node.address.to_string(), options));
    let client = Either::Async(client.unwrap(), runtime);
    claim(&client, &node);
    drop(client);
}

#[test]
fn what_reads_is_asked_again_when_the_connection_breaks() {
    each(&[HangsUp, HangsUp, Says(FOUND)], quick(), |client, node| {
        assert_eq!(client.run(&Ask::get("a")).unwrap().unwrap(), b"red");
        assert_eq!(node.got(), 3);
    });
}

#[test]
fn a_write_whose_answer_was_lost_is_not_sent_again() {
    each(&[HangsUp, Says(OK)], quick(), |client, node| {
        let error = client.run(&Ask::put("a", "red")).unwrap_err();
        assert!(matches!(error, Error::Unanswered { .. }) && error.is_uncertain(), "{error:?}");
        assert_eq!(node.got(), 1);
        client.run(&Ask::put("a", "red")).unwrap();
    });
    each(&[Says(AWAY)], quick(), |client, node| {
        let error = client.run(&Ask::put("a", "red")).unwrap_err();
        assert!(error.is_uncertain() && error.code() == Some("unavailable"), "{error:?}");
        assert_eq!(node.got(), 1);
    });
}

#[test]
fn what_was_refused_for_a_moment_is_asked_again() {
    each(&[Says(BUSY), Says(BUSY), Says(OK)], quick(), |client, node| {
        client.run(&Ask::put("a", "red")).unwrap();
        assert_eq!(node.got(), 3);
    });
    each(&[Says(FORBIDDEN), Says(OK)], quick(), |client, node| {
        let error = client.run(&Ask::put("a", "red")).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (Some("forbidden"), "no"));
        assert_eq!(node.got(), 1);
        // The connection is as good as before.
        client.run(&Ask::put("a", "red")).unwrap();
    });
}

#[test]
fn no_call_takes_longer_than_it_has_time() {
    each(&[Nothing, Says(OK)], quick(), |client, _| {
        let error = client.run(&Ask::put("a", "red")).unwrap_err();
        assert!(matches!(error, Error::Late { .. }) && error.is_uncertain(), "{error:?}");
    });
    // Answers that come too late are not taken for those of others: the connection is not used again.
    each(&[SaysLate(FOUND), Says(FOUND_OTHER)], quick(), |client, node| {
        assert!(matches!(client.run(&Ask::get("a")), Err(Error::Late { .. })));
        assert_eq!(client.run(&Ask::get("b")).unwrap().unwrap(), b"blue");
        assert_eq!(node.got(), 2);
    });
}

#[test]
fn strange_answers_are_told_as_such() {
    each(&[Says("HTTP/1.1 400 Bad Request")], quick(), |client, _| {
        let error = client.run(&Ask::get("a")).unwrap_err();
        assert!(error.to_string().contains("none of Olivine's"), "{error}");
    });
}

#[test]
fn who_says_who_they_are_says_so_first_and_again() {
    let login = Some(Login::Token("t".to_owned()));
    let options = Options { login, ..quick() };
    each(&[Says(OK), HangsUp, Says(OK), Says(FOUND)], options, |client, node| {
        assert_eq!(client.run(&Ask::get("a")).unwrap().unwrap(), b"red");
        let got = node.got.lock().unwrap();
        let auth = "{\"command\":\"auth\",\"token\":\"t\"}";
        let get = "{\"command\":\"get\",\"key\":\"a\"}";
        assert_eq!(*got, [auth, get, auth, get]);
    });
    let node = Node::new(&[Says(FORBIDDEN)]);
    let options = Options { login: Some(Login::Token("t".to_owned())), ..quick() };
    let error = Client::connect(&node.address.to_string(), options).unwrap_err();
    assert_eq!(error.code(), Some("forbidden"));
}

#[test]
fn nobody_there_is_told_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Client::connect(&free.to_string(), Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to `127.0.0.1:"), "{error}");
    assert!(matches!(Client::connect("nowhere", Options::default()), Err(Error::Misused { .. })));
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    each(&[SaysAndHangsUp(OK), Says(OK)], quick(), |client, node| {
        client.run(&Ask::put("a", "1")).unwrap();
        match client {
            Either::Blocking(_) => RealClock::new().sleep(Duration::from_millis(100)),
            Either::Async(_, runtime) => {
                runtime.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
            }
        }
        // A write that could not be told from one that was lost, if it went over the old one.
        client.run(&Ask::put("a", "2")).unwrap();
        assert_eq!(node.got(), 2);
    });
}
