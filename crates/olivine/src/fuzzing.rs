//! A door to the parsers of what people and programs type, for whoever feeds them garbage; not a part
//! of what users call.
//!
//! 1. Whatever the bytes, `parse` answers with what it read or what is wrong; it never panics.
//! 2. `parse` takes what `sample` made.
//! 3. What was read is written down and read again, and must come to the same.

use std::{ffi::OsString, fmt::Write as _, os::unix::ffi::OsStringExt as _, path::Path};

use olivine_vfs::Random;

use crate::{
    call::{Call, Command, Kind, Opt},
    commands,
    config::{self, CONFIG, File},
    json::Json,
    shell,
    transfer::{self, Form, Reader},
    unknown,
};

/// What is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The words behind `olivine`, a blank between two.
    Arguments,
    /// A line of the shell.
    Line,
    /// A document of JSON.
    Json,
    /// What `load` reads: lines of JSON, or what `rocksdb_dump` writes.
    Entries,
    /// A configuration file.
    Configuration,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 5] =
        [Target::Arguments, Target::Line, Target::Json, Target::Entries, Target::Configuration];
}

/// Parses `bytes`: how many things they hold, or what is wrong with them.
pub fn parse(target: Target, bytes: &[u8]) -> Result<u64, String> {
    match target {
        Target::Arguments => parse_arguments(bytes),
        Target::Line => shell::parse_line(bytes).map(u64::from),
        Target::Json => parse_json(&String::from_utf8_lossy(bytes)),
        Target::Entries => parse_entries(bytes),
        Target::Configuration => parse_configuration(bytes),
    }
}

fn parse_arguments(bytes: &[u8]) -> Result<u64, String> {
    let words = bytes.split(|byte| *byte == b' ').map(|word| OsString::from_vec(word.to_vec()));
    let words: Vec<OsString> = words.collect();
    let (name, rest) = words.split_first().ok_or("there is no command")?;
    let name = name.to_string_lossy();
    let command = commands().find(|command| command.name == name);
    let command = command.ok_or_else(|| unknown(&name))?;
    let call = Call::parse(command, rest)?;
    let mut given = 0;
    for option in command.options() {
        given += u64::from(call.has(option.name));
        read_value(&call, option.name, option.value);
    }
    Ok(given)
}

/// Reads a value in every way there is; being refused is as good as being taken.
fn read_value(call: &Call, name: &str, value: &str) {
    if !value.is_empty() {
        std::hint::black_box((
            call.texts(name).is_ok(),
            call.count(name).is_ok(),
            call.bytes(name).is_ok(),
            call.one_of(name, &["json", "rocksdb"]).is_ok(),
        ));
    }
}

fn parse_json(text: &str) -> Result<u64, String> {
    let json = Json::parse(text).map_err(|(_, what)| what.to_owned())?;
    let again = Json::parse(&json.to_string());
    assert!(again.as_ref() == Ok(&json), "a document that was written is read differently");
    Ok(things(&json))
}

/// How many values a document holds.
fn things(json: &Json) -> u64 {
    match json {
        Json::List(values) => 1 + values.iter().map(things).sum::<u64>(),
        Json::Object(members) => 1 + members.iter().map(|(_, value)| things(value)).sum::<u64>(),
        _ => 1,
    }
}

fn parse_entries(bytes: &[u8]) -> Result<u64, String> {
    let mut reader = Reader::new(bytes)?;
    let (mut again, mut entries) = (Vec::new(), Vec::new());
    let wrote = "writing to memory does not fail";
    transfer::begin(&mut again, reader.form()).expect(wrote);
    while let Some(entry) = reader.next()? {
        let keyspace = entry.keyspace.as_deref().unwrap_or("main");
        transfer::write(&mut again, reader.form(), keyspace, &entry.key, &entry.value)
            .expect(wrote);
        entries.push(entry);
    }
    let mut reader = Reader::new(&again[..])?;
    for entry in &entries {
        let read = reader.next()?.unwrap_or_default();
        let same = (&read.key, &read.value) == (&entry.key, &entry.value);
        assert!(same, "an entry that was written is read differently");
    }
    Ok(entries.len() as u64)
}

/// A file that configures all commands, whether they take part in that or not.
fn parse_configuration(bytes: &[u8]) -> Result<u64, String> {
    let commands: Vec<&'static Command> = commands().collect();
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let parse = |text| File::parse(Path::new("f"), text, &commands);
    let file = parse(text).map_err(|failure| failure.text().to_owned())?;
    let again = parse(&file.text())
        .unwrap_or_else(|failure| panic!("a file that was written is refused: {}", failure.text()));
    for command in commands.iter().copied() {
        let said = |file: &File| -> Vec<_> {
            file.of(command).into_iter().map(|given| (given.option, given.value)).collect()
        };
        assert_eq!(said(&file), said(&again), "a file that was written is read differently");
    }
    Ok(file.len() as u64)
}

/// Bytes that `parse` takes, drawn from `seed`.
pub fn sample(target: Target, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    match target {
        Target::Arguments => sample_arguments(&mut random, seed),
        Target::Line => sample_line(&mut random),
        Target::Json => sample_json(&mut random, 0).to_string().into_bytes(),
        Target::Entries => sample_entries(&mut random, seed),
        Target::Configuration => sample_configuration(&mut random),
    }
}

/// A call of each command in turn, with what its table says it takes.
fn sample_arguments(random: &mut Random, seed: u64) -> Vec<u8> {
    let all: Vec<&Command> = commands().collect();
    let command = all[seed as usize % all.len()];
    let mut words = vec![command.name.to_owned()];
    for option in command.options() {
        if random.chance(1, 2) {
            continue;
        }
        let name = option.also.first().filter(|_| random.chance(1, 4)).unwrap_or(&option.name);
        let value = ["64MiB", "1", "data/try", "-", "a=b"][random.index(5)];
        match option.value {
            "" => words.push((*name).to_owned()),
            _ if random.chance(1, 2) => words.push(format!("{name}={value}")),
            _ => words.extend([(*name).to_owned(), value.to_owned()]),
        }
    }
    if random.chance(1, 3) {
        words.push("--".to_owned());
    }
    words.join(" ").into_bytes()
}

fn sample_line(random: &mut Random) -> Vec<u8> {
    let lines = [
        "SET key a value with  blanks ",
        "get key",
        "DEL \\x00\\xff",
        "SCAN a z LIMIT 10",
        "scan limit 18446744073709551615",
        "KEYS prefix",
        "EXPLAIN apple",
        "STATS",
        "  ",
    ];
    lines[random.index(lines.len())].into()
}

fn sample_text(random: &mut Random) -> String {
    let texts = ["", "apple", "red\u{e9}\n\u{1f600}", "\"\\\u{0}\u{1f}", "AAEC/w==", "a/b\t"];
    texts[random.index(texts.len())].to_owned()
}

fn sample_json(random: &mut Random, depth: u64) -> Json {
    match random.below(if depth < 4 { 8 } else { 5 }) {
        0 if 0 < depth => Json::Null,
        1 if 0 < depth => random.chance(1, 2).into(),
        2 if 0 < depth => {
            Json::Number(["0", "-2.5e3", "1e-7", "18446744073709551615"][random.index(4)].into())
        }
        3 | 4 if 0 < depth => sample_text(random).into(),
        5 | 6 => {
            let members = (0..random.below(5)).map(|number| {
                let name = format!("{number}{}", sample_text(random));
                (name, sample_json(random, depth + 1))
            });
            Json::Object(members.collect())
        }
        _ => {
            let values = (0..random.below(5)).map(|_| sample_json(random, depth + 1));
            Json::list(values.collect::<Vec<_>>())
        }
    }
}

fn sample_entries(random: &mut Random, seed: u64) -> Vec<u8> {
    let form = [Form::Json, Form::Rocksdb][seed as usize % 2];
    let mut bytes = Vec::new();
    let wrote = "writing to memory does not fail";
    transfer::begin(&mut bytes, form).expect(wrote);
    for _ in 0..random.between(1, 6) {
        let mut text = || {
            let mut text = sample_text(random).into_bytes();
            text.truncate(random.between(3, 9) as usize);
            text
        };
        let (key, value) = (text(), text());
        transfer::write(&mut bytes, form, "main", &key, &value).expect(wrote);
    }
    bytes
}

/// Options outside of tables, and in those of some commands.
fn sample_configuration(random: &mut Random) -> Vec<u8> {
    let all: Vec<&Command> = commands().collect();
    let mut text = String::from("# a comment\n");
    let mut options: Vec<&Opt> = all.iter().flat_map(|command| command.options()).collect();
    options.sort_by_key(|option| option.name);
    options.dedup_by_key(|option| option.name);
    // A key and a table cannot share a name.
    options.retain(|option| all.iter().all(|command| command.name != config::key(option)));
    sample_options(random, &mut text, &options);
    for command in all {
        if random.chance(1, 4) {
            let _infallible = writeln!(text, "\n[{}]", command.name);
            sample_options(random, &mut text, &command.options().collect::<Vec<_>>());
        }
    }
    text.into_bytes()
}

fn sample_options(random: &mut Random, text: &mut String, options: &[&Opt]) {
    for option in options.iter().filter(|option| option.name != CONFIG.name) {
        if random.chance(2, 3) {
            continue;
        }
        let value = match (option.kind(), random.below(3)) {
            (Kind::Switch, 0) => "true",
            (Kind::Switch, _) => "false",
            (Kind::Number | Kind::Bytes, 0) => "0x1_00",
            (Kind::Number, _) => "7000",
            (Kind::Bytes, _) => "\"64MiB\"",
            (Kind::List, 0) => "[\"json\",\n  'http']",
            (_, 0) if option.many => "[\"a\", 'b', \"\\u00e9\\n\"]",
            (_, 1) => "\"\"\"\n\\\"a\\\\\"\"\"",
            _ => "'data/try'",
        };
        let _infallible = writeln!(text, "{} = {value}", config::key(option));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_parse() {
        for target in Target::ALL {
            for seed in 0..60 {
                let bytes = sample(target, seed);
                let parsed = parse(target, &bytes);
                assert!(parsed.is_ok(), "{target:?}, seed {seed}: {parsed:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (target, bytes, said) in [
            (Target::Arguments, &b"shel"[..], "no command `shel`; did you mean `shell`?"),
            (Target::Line, b"GET a b", "usage: GET key"),
            (Target::Json, b"[1", "a comma or ] should be here"),
            (Target::Entries, b"{}", "line 1: `key` is missing"),
            (
                Target::Configuration,
                b"\nmemroy = 1",
                "f:2: no option `memroy`; did you mean `memory`?",
            ),
        ] {
            assert_eq!(parse(target, bytes).unwrap_err(), said);
        }
    }
}
