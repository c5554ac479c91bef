//! The parsers of what people and programs type, fed with what nobody would.
//!
//! 1. Whatever the bytes, a parser answers with what it read or what is wrong; it never panics.
//! 2. A failure tells the seed and the input.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, panic};

use olivine_testkit::fuzz::mutate;
use olivine_vfs::Random;

use super::{call::Call, commands, json::Json, shell};

/// Inputs of each parser.
const EXECUTIONS: u64 = 60_000;

/// Feeds `parse` with changed `inputs`; it says whether it took one. Some must be taken.
fn feed(inputs: &[Vec<u8>], mut parse: impl FnMut(&[u8]) -> bool) {
    let mut taken = 0;
    for seed in 0..EXECUTIONS {
        let mut random = Random::new(seed);
        let mut bytes = inputs[random.index(inputs.len())].clone();
        let other = &inputs[random.index(inputs.len())];
        mutate(&mut random, &mut bytes, other, true);
        let answer = panic::catch_unwind(panic::AssertUnwindSafe(|| parse(&bytes)));
        let was_taken = answer.ok();
        assert!(was_taken.is_some(), "seed {seed}: {}", bytes.escape_ascii());
        taken += u64::from(was_taken == Some(true));
    }
    assert!(EXECUTIONS / 100 < taken, "of {EXECUTIONS} inputs only {taken} were taken");
}

fn lines(lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

#[test]
fn lines_of_the_shell() {
    let inputs = lines(&[
        "SET key a value with blanks",
        "get key",
        "DEL \\x00\\xff",
        "SCAN a z LIMIT 10",
        "scan limit 18446744073709551615",
        "KEYS prefix",
        "STATS",
        "  ",
    ]);
    feed(&inputs, shell::takes);
}

#[test]
fn arguments_of_every_command() {
    for command in commands() {
        let mut inputs: Vec<Vec<u8>> =
            command.examples.iter().map(|example| example.as_bytes().to_vec()).collect();
        inputs
            .extend(lines(&["olivine x --json --db=/a -- -b", "olivine x --db /a --memory 64MiB"]));
        feed(&inputs, |bytes| {
            let words = bytes.split(|byte| *byte == b' ').skip(2);
            let words: Vec<OsString> =
                words.map(|word| OsString::from_vec(word.to_vec())).collect();
            Call::parse(command, &words).is_ok()
        });
    }
}

#[test]
fn json_lines() {
    let inputs = lines(&[
        r#"{"keyspace":"main","key":"apple","value":"red\u00e9\n\ud83d\ude00"}"#,
        r#"{"a":[1,-2.5e3,true,false,null,{"b":{}}],"c_base64":"AAEC/w=="}"#,
        r"[[[[[[[[[[]]]]]]]]]]",
        r#""\\\"\/\b\f\n\r\t""#,
    ]);
    feed(&inputs, |bytes| Json::parse(&String::from_utf8_lossy(bytes)).is_ok());
}
