//! What a program does with a node, first waiting for each answer and then with tasks.
//!
//! `cargo run --release -- serve` in one terminal, `cargo run -p olivine-client --example tour` in another.

use std::time::Duration;

use olivine_client::{Ask, AsyncClient, Client, Condition, Options, Pipeline, Put, Result, Scan};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:9999".to_owned());
    tour(&address)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(tour_of_tasks(&address))?;
    Ok(())
}

pub(crate) fn tour(address: &str) -> Result<()> {
    // One client for all threads: it has some connections, and makes them again when they break.
    let options = Options { time_max: Duration::from_secs(5), ..Options::default() };
    let client = Client::connect(address, options)?;

    client.put("fruit/apple", "red")?;
    client.batch_put([("fruit/lime", "green"), ("fruit/plum", "blue")])?;
    assert_eq!(client.get("fruit/apple")?.as_deref(), Some(&b"red"[..]));
    assert_eq!(client.get("fruit/fig")?, None);

    // Keys are in order, whatever comes first: pages are fetched as they are needed.
    for entry in client.scan(Scan::prefix("fruit/")) {
        let (key, value) = entry?;
        assert!(key.starts_with(b"fruit/") && !value.is_empty());
    }

    // Only one of many can be the first; and what it has taken goes by itself.
    let lock = Put::new("lock", "mine").when(Condition::Absent).ttl(Duration::from_secs(10));
    assert!(client.put_with(&lock)?);
    assert!(!client.put_with(&lock)?);
    client.delete("lock")?;

    // What waits for nothing goes together: one way there and back for all of it.
    let mut pipeline = Pipeline::new();
    let apple = pipeline.add(&Ask::get("fruit/apple"));
    let gone = pipeline.add(&Ask::batch_delete(["fruit/lime", "fruit/fig"]));
    let mut answers = client.run_all(pipeline)?;
    assert_eq!(answers.take(apple)?.as_deref(), Some(&b"red"[..]));
    assert_eq!(answers.take(gone)?, 1);

    // An error says whether to try again, and whether a write may have been carried out.
    if let Err(error) = client.put("k".repeat(100_000), "v") {
        assert_eq!(error.code(), Some("too_large"));
        assert!(!error.may_pass() && !error.is_uncertain());
    }
    Ok(())
}

pub(crate) async fn tour_of_tasks(address: &str) -> Result<()> {
    let client = AsyncClient::connect(address, Options::default()).await?;
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            // Requests of all tasks share connections, and go together.
            tokio::spawn(async move { client.put(format!("task/{number}"), "done").await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics")?;
    }
    assert_eq!(client.get("task/99").await?.as_deref(), Some(&b"done"[..]));
    Ok(())
}
