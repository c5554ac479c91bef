//! The client for programs in Rust, beside a node.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use olivine_client::{
    Ask, AsyncClient, Client, Condition, Login, Options, Pipeline, Put, Result, Scan, Trust,
};
use tokio::runtime::{Builder, Runtime};

use crate::{Dir, node::Node, users::said};

#[path = "../../../client/examples/tour.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod tour;

fn address(node: &Node) -> String {
    format!("localhost:{}", node.port("json"))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Everything that can be asked, done by `run` and its like.
fn asks(client: &Client) -> Result<()> {
    client.ping()?;
    assert_eq!(client.get("apple")?, None);
    client.put("apple", "red")?;
    assert_eq!(client.get("apple")?.as_deref(), Some(&b"red"[..]));
    // Every byte there is, in keys and in values, also beside text.
    let all: Vec<u8> = (0..=u8::MAX).collect();
    client.put(&all, &all)?;
    assert_eq!(client.get(&all)?, Some(all.clone()));
    assert_eq!(
        client.batch_get([&b"apple"[..], &all, b"none"])?,
        [Some(b"red".to_vec()), Some(all.clone()), None]
    );
    assert_eq!(client.batch_delete([&all[..], b"none"])?, 1);

    assert!(client.put_with(&Put::json("cfg", "{\"a\": [1, 2]}"))?);
    assert_eq!(client.get("cfg")?.as_deref(), Some(&b"{\"a\":[1,2]}"[..]));
    assert_eq!(client.info("cfg")?.unwrap().kind, "json");
    assert!(!client.put_with(&Put::new("cfg", "x").when(Condition::Absent))?);
    let revision = client.info("cfg")?.unwrap().revision;
    assert!(client.put_with(&Put::new("cfg", "x").when(Condition::Revision(revision)))?);
    assert!(!client.delete_when("cfg", Condition::Revision(revision))?);
    assert!(client.put_with(&Put::new("brief", "x").ttl(Duration::from_secs(100)))?);
    assert!(client.info("brief")?.unwrap().expires_at_ms.is_some());
    assert!(client.expire("brief", None)?);
    assert_eq!(client.info("brief")?.unwrap().expires_at_ms, None);
    assert!(!client.expire("none", None)?);
    assert_eq!(client.info("none")?, None);

    assert_eq!(client.batch_put((0..1_000).map(|n| (format!("n{n:04}"), n.to_string())))?, 1_000);
    let some = client.get_range("n0010", "n0012")?;
    assert_eq!(some.len(), 3);
    assert_eq!(some[2], (b"n0012".to_vec(), b"12".to_vec()));
    for scan in [Scan::prefix("n"), Scan::prefix("n").page(7).backward(), Scan::range("n", "nz")] {
        let entries = client.scan(scan.clone()).collect::<Result<Vec<_>>>()?;
        assert_eq!(entries.len(), 1_000, "{scan:?}");
    }
    assert_eq!(client.scan(Scan::all()).count(), 1_003);
    client.delete("apple")?;
    assert_eq!(client.get("apple")?, None);
    assert!(client.stats()?.contains(&("takes_writes".to_owned(), 1)));
    let error = client.put("k".repeat(5_000), "v").unwrap_err();
    assert_eq!(error.code(), Some("too_large"), "{error}");
    assert!(error.to_string().contains("key-bytes-max"), "{error}");
    Ok(())
}

#[test]
fn everything_can_be_asked_from_rust() {
    let dir = Dir::new("client-asks");
    let node = Node::start(&dir, &["--durability", "os"]);
    let client = Client::connect(&address(&node), Options::default()).unwrap();
    asks(&client).unwrap();
    tour::tour(&address(&node)).unwrap();
    runtime().block_on(tour::tour_of_tasks(&address(&node))).unwrap();
}

/// Answers that are far larger than what sockets hold come while the requests are still being sent.
#[test]
fn a_pipeline_is_answered_whatever_its_size() {
    const COUNT: usize = 2_000;
    let dir = Dir::new("client-pipeline");
    let node = Node::start(&dir, &["--durability", "os"]);
    let value = "v".repeat(16 << 10);
    let made = || {
        let mut pipeline = Pipeline::new();
        pipeline.add(&Ask::put("large", &value));
        let mut slots = Vec::new();
        for number in 0..COUNT {
            pipeline.add(&Ask::put(format!("p{number}"), number.to_string()));
            slots.push(pipeline.add(&Ask::get("large")));
            slots.push(pipeline.add(&Ask::get(format!("p{number}"))));
        }
        (pipeline, slots)
    };
    let client = Client::connect(&address(&node), Options::default()).unwrap();
    let runtime = runtime();
    let tasks = runtime.block_on(AsyncClient::connect(&address(&node), Options::default()));
    let tasks = tasks.unwrap();
    for is_async in [false, true] {
        let (pipeline, slots) = made();
        assert_eq!(pipeline.len(), 1 + 3 * COUNT);
        let answers = if is_async {
            runtime.block_on(tasks.run_all(pipeline))
        } else {
            client.run_all(pipeline)
        };
        let mut answers = answers.unwrap();
        answers.all_done().unwrap();
        for (place, slot) in slots.into_iter().enumerate() {
            let wanted = if place % 2 == 0 { value.clone() } else { (place / 2).to_string() };
            assert!(answers.take(slot).unwrap().unwrap() == wanted.into_bytes(), "{place}");
        }
    }
}

#[test]
fn threads_and_tasks_share_a_client() {
    let dir = Dir::new("client-shared");
    let node = Node::start(&dir, &["--durability", "os", "--connections-max", "6"]);
    let options = || Options { connections_max: 3, ..Options::default() };
    let client = Client::connect(&address(&node), options()).unwrap();
    thread::scope(|scope| {
        for one in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for number in 0..100 {
                    let (key, value) = (format!("t{one}-{number}"), format!("{one}/{number}"));
                    client.put(&key, &value).unwrap();
                    assert_eq!(client.get(&key).unwrap().unwrap(), value.into_bytes());
                }
            });
        }
    });
    // The node takes no more connections than those of both clients, which are all open.
    runtime().block_on(async {
        let client = AsyncClient::connect(&address(&node), options()).await.unwrap();
        let tasks: Vec<_> = (0..500)
            .map(|one| {
                let client = client.clone();
                tokio::spawn(async move {
                    let (key, value) = (format!("a{one}"), one.to_string());
                    client.put(&key, &value).await.unwrap();
                    assert_eq!(client.get(&key).await.unwrap().unwrap(), value.into_bytes());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Tasks that go away before their answers leave the others theirs.
        for number in 0..200 {
            let brief = tokio::time::timeout(Duration::from_micros(number), client.get("a1")).await;
            drop(brief);
            assert_eq!(client.get("a2").await.unwrap().unwrap(), b"2");
        }
        let page = client.page(&Scan::prefix("a").page(400), None).await.unwrap();
        let rest = client.page(&Scan::prefix("a").page(400), page.next.as_deref()).await.unwrap();
        assert_eq!((page.entries.len(), rest.entries.len(), rest.next), (400, 100, None));
    });
}

/// A node that is killed and started again is waited for by what reads.
#[test]
fn a_node_that_comes_back_is_found_again() {
    let dir = Dir::new("client-back");
    let start = |port: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
        command.args(["serve", "--data-dir", dir.path(), "--doors", "json", "--json-port", port]);
        Node::from(command.stdout(Stdio::piped()))
    };
    let node = start("0");
    let (address, port) = (address(&node), node.port("json"));
    let client = Client::connect(&address, Options::default()).unwrap();
    let runtime = runtime();
    let tasks = runtime.block_on(AsyncClient::connect(&address, Options::default())).unwrap();
    client.put("apple", "red").unwrap();
    node.kill();
    thread::scope(|scope| {
        let read = scope.spawn(|| client.get("apple"));
        let read_too = runtime.spawn({
            let tasks = tasks.clone();
            async move { tasks.get("apple").await }
        });
        thread::sleep(Duration::from_millis(300));
        let _node = start(&port);
        assert_eq!(read.join().unwrap().unwrap().unwrap(), b"red");
        assert_eq!(runtime.block_on(read_too).unwrap().unwrap().unwrap(), b"red");
        client.put("apple", "green").unwrap();
    });
}

#[test]
fn tls_and_tokens_are_spoken() {
    let dir = Dir::new("client-tls");
    let d = ["--data-dir", dir.path()];
    said(&[&["init", "--password-file", "-"][..], &d].concat(), "correct horse\n");
    let node = Node::start(&dir, &["--tls", "auto"]);
    let token = said(&[&["token", "create", "admin"][..], &d].concat(), "");
    let token = token.lines().last().unwrap().to_owned();
    let trust = Trust::read(format!("{}/tls/cert.pem", dir.path()).as_ref()).unwrap();
    let password = Login::Password { user: "admin".into(), password: "correct horse".into() };
    let runtime = runtime();
    for login in [Login::Token(token), password] {
        let options =
            Options { login: Some(login), trust: Some(trust.clone()), ..Options::default() };
        let client = Client::connect(&address(&node), options.clone()).unwrap();
        for number in 0..20 {
            client.put("apple", number.to_string()).unwrap();
            assert_eq!(client.get("apple").unwrap().unwrap(), number.to_string().into_bytes());
        }
        runtime.block_on(async {
            let client = AsyncClient::connect(&address(&node), options).await.unwrap();
            assert_eq!(client.get("apple").await.unwrap().unwrap(), b"19");
        });
    }
    let wrong = Options {
        login: Some(Login::Token("wrong".into())),
        trust: Some(trust.clone()),
        ..Options::default()
    };
    let error = Client::connect(&address(&node), wrong).unwrap_err();
    assert_eq!(error.code(), Some("unauthenticated"), "{error:?}");
    let nobody = Options { trust: Some(trust), ..Options::default() };
    let error = Client::connect(&address(&node), nobody).unwrap().get("apple").unwrap_err();
    assert_eq!(error.code(), Some("unauthenticated"), "{error:?}");
    // The system vouches for no node of this kind.
    let system = Options { trust: Trust::of_system().ok(), ..Options::default() };
    if system.trust.is_some() {
        let error = Client::connect(&address(&node), system).unwrap_err();
        assert!(error.to_string().starts_with("cannot connect"), "{error}");
    }
    // Who speaks plainly to TLS is refused in words.
    let plain = Client::connect(&address(&node), Options::default()).unwrap();
    plain.ping().unwrap_err();
}
