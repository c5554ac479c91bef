//! Conversations, and what the options mean.

use super::*;
use olivine_engine::{Environment, EnvironmentOptions, Parts, Work};
use olivine_testkit::run_script;
use olivine_vfs::{ManualClock, MemoryVfs};
use std::{ffi::OsString, sync::Arc};

fn environment() -> Environment {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(ManualClock::new()),
        work: Work::Stepped { seed: 1 },
    };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap()
}

fn opened(environment: &Environment, capacity: Option<u64>) -> Store {
    let settings = Settings {
        db: PathBuf::from("/db"),
        keyspace: "default".to_owned(),
        capacity,
        memory_bytes: None,
        durability: Durability::Sync,
    };
    Store::open_in(environment, &settings).unwrap()
}

/// What the shell says to `input`: its answers, its errors, and how it ended.
fn talk(store: &Store, interactive: bool, input: &[u8]) -> (String, String, End) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    let mut dialogue = Dialogue { store, answers: &mut answers, errors: &mut errors, interactive };
    let end = dialogue.run(input).unwrap();
    (String::from_utf8(answers).unwrap(), String::from_utf8(errors).unwrap(), end)
}

#[test]
fn conversations() {
    let store = opened(&environment(), None);
    run_script("testdata/shell", store, |store, lines| {
        let (answers, errors, _) = talk(store, false, lines.as_bytes());
        answers + &errors
    });
}

#[test]
fn a_person_sees_a_prompt_and_errors_among_the_answers() {
    let store = opened(&environment(), None);
    let (answers, errors, end) = talk(&store, true, b"set a 1\npop\nclear\nget a\n");
    assert_eq!(
        answers,
        "Olivine shell. HELP shows the commands, EXIT leaves.\n\
         olivine> OK\n\
         olivine> error: no command `pop`; there are SET, GET, DEL, SCAN, KEYS, FLUSH, EXPLAIN, \
         COMPACT, STATS, HELP, CLEAR, EXIT, QUIT\n\
         olivine> \x1b[2J\x1b[Holivine> 1\n\
         olivine> \n"
    );
    assert_eq!((errors.as_str(), end), ("", End::SomeFailed));
}

#[test]
fn a_pipe_sees_answers_alone_and_errors_with_their_line() {
    let store = opened(&environment(), None);
    let (answers, errors, end) =
        talk(&store, false, b"set a 1\n\npop\nclear\nget a\nexit\nget a\n");
    assert_eq!(answers, "OK\n1\n");
    assert!(errors.starts_with("error: line 3: no command `pop`; "), "{errors}");
    assert_eq!(end, End::SomeFailed);
    assert_eq!(talk(&store, false, b"get a\nquit\n"), ("1\n".into(), String::new(), End::Good));
    assert_eq!(talk(&store, false, b""), (String::new(), String::new(), End::Good));
}

#[test]
fn keys_and_values_may_be_any_bytes() {
    let store = opened(&environment(), None);
    let (answers, ..) = talk(&store, false, b"SET \xff\x01 a\x00b\xfe \nGET \xff\x01\nKEYS\n");
    assert_eq!(answers, "OK\na\\x00b\\xfe \n\\xff\\x01\n(1 key)\n");
}

/// The sources' word for a memtable's size is a number of entries.
#[test]
fn a_memtable_is_flushed_after_its_capacity() {
    let environment = environment();
    let store = opened(&environment, Some(10));
    for key in 0..25 {
        talk(&store, false, format!("SET {key} x\n").as_bytes());
    }
    while environment.step() {}
    let (figures, ..) = talk(&store, false, b"STATS\n");
    let figure = |name: &str| -> u64 {
        let line = figures.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!(figure("memtable entries") <= 10, "{figures}");
    assert!(1 <= figure("table files"), "{figures}");
    assert_eq!(figure("memtable entries") + figure("table entries"), 25, "{figures}");
    let (answers, ..) = talk(&store, false, b"KEYS\n");
    assert!(answers.ends_with("(25 keys)\n"), "{answers}");
}

/// From where a value comes is told place by place, and the telling ends where the read does.
#[test]
fn a_read_is_explained() {
    let environment = environment();
    let store = opened(&environment, None);
    let (told, ..) = talk(&store, false, b"SET a 1\nEXPLAIN a\nEXPLAIN b\n");
    let expected = "OK\nmemtable: put of write 1\nvalue of 1 bytes, as of write 1\n\
        memtable: nothing\n(absent), as of write 1\n";
    assert_eq!(told, expected);
    let (told, ..) =
        talk(&store, false, b"SET c 3\nFLUSH\nEXPLAIN a\nEXPLAIN a\nEXPLAIN b\nEXPLAIN z\n");
    let block = "level 0, table 1: the filter says maybe, block 0 of ";
    assert_eq!(told.matches(block).count(), 2, "{told}");
    assert_eq!(told.matches("in the cache: put of write 1\nvalue of 1 bytes").count(), 2, "{told}");
    assert!(told.contains("table 1: the filter says no\n(absent)"), "{told}");
    assert!(told.contains("table 1: the key is not in its range\n(absent)"), "{told}");
    let (told, ..) = talk(&store, false, b"DEL a\nEXPLAIN a\nCOMPACT\nEXPLAIN a\n");
    assert!(
        told.starts_with("OK\nmemtable: delete of write 3\n(absent), as of write 3\nOK\n"),
        "{told}"
    );
}

#[test]
fn what_was_set_is_there_after_closing_and_opening() {
    let environment = environment();
    let store = opened(&environment, None);
    talk(&store, false, b"SET a 1\nSET b 2\nDEL a\n");
    store.close().unwrap();
    let store = opened(&environment, None);
    assert_eq!(talk(&store, false, b"SCAN\n").0, "b = 2\n(1 entry)\n");
}

fn parsed(text: &str) -> Result<Settings, String> {
    let arguments: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
    let call = Call::parse(&COMMAND, &arguments)?;
    settings(&call).map_err(|failure| failure.text().to_owned())
}

#[test]
fn options_say_how_to_open() {
    let said = parsed("--db d --keyspace k --capacity 5 --memory 1MiB --durability=os").unwrap();
    let settings = Settings {
        db: "d".into(),
        keyspace: "k".into(),
        capacity: Some(5),
        memory_bytes: Some(1 << 20),
        durability: Durability::Os,
    };
    assert_eq!(said, settings);
    assert_eq!(parsed("d --memtable-size 5").unwrap().capacity, Some(5));
    assert_eq!(parsed("d --memtable-size 5 --capacity 5").unwrap().capacity, Some(5));
}

#[test]
fn options_that_make_no_sense_are_told_with_those_that_do() {
    for (text, said) in [
        ("", "`DIR` says where the store is, and is missing"),
        ("--db", "`--db` wants DIR"),
        ("d --capacity 0", "`--capacity` wants a whole number from 1, not `0`"),
        (
            "d --capacity 5 --memtable-size 6",
            "`--capacity` and `--memtable-size` mean the same, and differ",
        ),
        ("d --durability maybe", "`--durability` wants one of sync, os, interval, not `maybe`"),
        (
            "d --memory lots",
            "`--memory` wants a number of bytes such as 67108864 or 64MiB, not `lots`",
        ),
        ("d --durabilty os", "no option `--durabilty`; did you mean `--durability`?"),
    ] {
        assert_eq!(parsed(text).unwrap_err(), said, "{text}");
    }
}
