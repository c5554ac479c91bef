//! The oracle must see what is wrong, so here it is shown what is wrong on purpose.

use super::*;

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

/// A batch of puts (`k=v`) and deletes (`k`) in keyspace `a`.
fn write(changes: &str) -> Event {
    let change = |text: &str| match text.split_once('=') {
        Some((key, value)) => ("a".to_owned(), key.into(), Some(bytes(value))),
        None => ("a".to_owned(), text.into(), None),
    };
    Event::Write(changes.split(' ').map(change).collect())
}

fn contents(entries: &str) -> Contents {
    let entry = |text: &str| {
        let (key, value) = text.split_once('=').expect("key=value");
        (key.into(), bytes(value))
    };
    let keys = entries.split(' ').filter(|text| !text.is_empty()).map(entry).collect();
    Contents::from([("a".to_owned(), keys)])
}

/// Positions: 1 the keyspace, 2 x=1, 3 y=1 and z=1, 4 x=2, 5 z deleted.
fn log() -> CommitLog {
    let mut log = CommitLog::default();
    log.push(Event::Create("a".to_owned()));
    for changes in ["x=1", "y=1 z=1", "x=2", "z"] {
        log.push(write(changes));
    }
    log
}

fn refusal(found: &Contents, acknowledged: usize) -> Loss {
    log().check_recovered(found, acknowledged).expect_err("refused").loss
}

#[test]
fn every_first_part_from_the_acknowledged_one_on_is_accepted() {
    let log = log();
    for position in 0..=log.position() {
        let found = log.contents(position);
        assert_eq!(log.check_recovered(&found, 0), Ok(position));
        assert_eq!(log.check_recovered(&found, position), Ok(position));
    }
}

#[test]
fn a_lost_acknowledgement_is_seen() {
    for position in 0..5 {
        let found = log().contents(position);
        assert_eq!(refusal(&found, position + 1), Loss::Lost, "position {position}");
    }
}

#[test]
fn a_hole_is_seen() {
    // x=2 is there, and what was written between x=1 and it is not.
    assert_eq!(refusal(&contents("x=2"), 2), Loss::Hole);
    // The keys of the second batch are gone again before it was written.
    assert_eq!(refusal(&contents("x=2"), 0), Loss::Hole);
}

#[test]
fn half_a_batch_is_seen() {
    assert_eq!(refusal(&contents("x=1 y=1"), 0), Loss::Hole);
    assert_eq!(refusal(&contents("x=1 z=1"), 0), Loss::Hole);
}

#[test]
fn what_nobody_wrote_is_seen() {
    assert_eq!(refusal(&contents("x=3"), 0), Loss::Wrong);
    assert_eq!(refusal(&contents("x=1 w=1"), 0), Loss::Wrong);
    let mut found = log().contents(5);
    found.insert("b".to_owned(), BTreeMap::new());
    assert_eq!(refusal(&found, 5), Loss::Wrong);
}

#[test]
fn a_delete_undone_is_seen() {
    assert_eq!(refusal(&contents("x=2 y=1 z=1"), 5), Loss::Lost);
}

#[test]
fn a_value_under_another_key_is_seen() {
    assert_eq!(refusal(&contents("x=1 y=1 z=2"), 0), Loss::Wrong);
}

#[test]
fn keyspaces_are_part_of_the_order() {
    let mut log = log();
    log.push(Event::Drop("a".to_owned()));
    log.push(Event::Create("b".to_owned()));
    log.push(Event::Create("a".to_owned()));
    assert_eq!(log.contents(6), Contents::new());
    assert_eq!(log.contents(8)["a"], BTreeMap::new());
    for position in 5..=8 {
        assert_eq!(log.check_recovered(&log.contents(position), 5), Ok(position));
    }
    // b stands although a, dropped before, still holds its keys.
    let mut found = log.contents(5);
    found.insert("b".to_owned(), BTreeMap::new());
    assert_eq!(log.check_recovered(&found, 0).expect_err("refused").loss, Loss::Hole);
    // a came back from the dead.
    let mut found = log.contents(8);
    found.insert("a".to_owned(), log.contents(5).remove("a").expect("a"));
    assert!(log.check_recovered(&found, 8).is_err());
}

#[test]
fn a_failed_write_may_be_there_or_not_but_only_whole() {
    let mut log = log();
    let doubtful = log.push(write("p=1 q=1"));
    log.doubt(doubtful);
    log.push(write("r=1"));
    let (with, without) = ("x=2 y=1 p=1 q=1 r=1", "x=2 y=1 r=1");
    assert_eq!(log.check_recovered(&contents(with), 7), Ok(7));
    assert_eq!(log.check_recovered(&contents(without), 7), Ok(7));
    assert!(log.check_recovered(&contents("x=2 y=1 p=1 r=1"), 7).is_err());
    assert!(log.check_recovered(&contents("x=2 y=1"), 7).is_err());
    // The live store is seen without it, and must stay so.
    assert!(log.decide(&[doubtful], &contents("x=2 y=1 p=1 r=1")).is_err());
    assert_eq!(log.decide(&[doubtful], &contents(without)), Ok(()));
    assert_eq!(log.check_live(&contents(without), 7), Ok(()));
    assert!(log.check_live(&contents(with), 7).is_err());
}

#[test]
fn the_live_store_is_one_state_only() {
    let log = log();
    assert_eq!(log.check_live(&contents("x=2 y=1"), 5), Ok(()));
    assert!(log.check_live(&contents("x=2 y=1 z=1"), 5).is_err());
    assert_eq!(log.check_live(&contents("x=2 y=1 z=1"), 4), Ok(()));
    assert_eq!(log.get(4, "a", b"z"), Some(&bytes("1")));
    assert_eq!(log.get(5, "a", b"z"), None);
}

#[test]
fn a_log_goes_on_from_what_was_found() {
    let mut log = CommitLog::from_contents(contents("x=2 y=1"));
    log.push(write("y"));
    assert_eq!(log.check_recovered(&contents("x=2"), 1), Ok(1));
    assert_eq!(log.check_recovered(&contents("x=2 y=1"), 0), Ok(0));
    assert!(log.check_recovered(&contents("x=2 y=1"), 1).is_err());
}
