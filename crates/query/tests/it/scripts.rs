//! Situations and claims in text: points, queries, answers.

use crate::{json, memory::Memory};
use olivine_command::points::PointReader;
use olivine_query::{
    Dialect, Doomed, Limits, Settings, Statement, Stop, answer, doomed, moment::Zone, parse,
    written,
};
use olivine_testkit::run_script;
use std::fmt::Write as _;

pub(crate) const NOW: i64 = 1_700_000_000_000_000_000;

/// Nothing ends a query early.
pub(crate) fn never() -> Option<Stop> {
    None
}

/// A place two hours ahead of UTC, one in winter.
struct East;

impl Zone for East {
    fn ahead(&self, at: i64) -> i64 {
        // From March to October of 2015.
        let summer = (1_427_590_800..1_445_734_800).contains(&(at / 1_000_000_000));
        if summer { 7_200_000_000_000 } else { 3_600_000_000_000 }
    }
}

fn zone(name: &str) -> Option<Box<dyn Zone>> {
    (name == "Europe/Berlin").then(|| Box::new(East) as Box<dyn Zone>)
}

pub(crate) fn settings<'a>(limits: Limits) -> Settings<'a> {
    Settings {
        now: NOW,
        database: "db",
        policy: "",
        limits,
        stop: &never,
        zone: &zone,
        helpers: None,
    }
}

/// What a text of queries comes to, by statements.
pub(crate) fn ask(memory: &Memory, text: &str, dialect: Dialect, limits: Limits) -> String {
    let statements = match parse(text, dialect) {
        Ok(statements) => statements,
        Err(error) => return format!("{error}\n"),
    };
    let mut out = String::new();
    for statement in statements {
        match answer(&statement, memory, &settings(limits)) {
            Ok(answer) => out.push_str(&json::lines(&answer)),
            Err(error) => writeln!(out, "error: {error}").unwrap(),
        }
    }
    out
}

fn run(memory: &mut Memory, commands: &str) -> String {
    let (first, rest) = commands.split_once('\n').unwrap_or((commands, ""));
    let tight = Limits { points_max: 50, bytes_max: 4000, buckets_max: 20, series_max: 2 };
    match first.split_once(' ').unwrap_or((first, "")) {
        ("write", database) => {
            memory.write(database, rest);
            String::new()
        }
        ("limited", _) => ask(memory, rest, Dialect::Strict, tight),
        ("stopped", _) => {
            let stop = || Some(Stop::TooLong);
            let settings = Settings { stop: &stop, ..settings(Limits::default()) };
            let statement = &parse(rest, Dialect::Strict).unwrap()[0];
            answer(statement, memory, &settings).unwrap_err().to_string()
        }
        ("doomed", _) => doom(memory, rest),
        ("written", _) => write(memory, rest),
        ("relaxed", _) => ask(memory, rest, Dialect::Relaxed, Limits::default()),
        ("print", dialect) => {
            let dialect = if dialect == "relaxed" { Dialect::Relaxed } else { Dialect::Strict };
            match parse(rest, dialect) {
                Ok(statements) => {
                    let shown =
                        |statement: &Statement| format!("{:?}: {statement}", statement.class());
                    statements.iter().map(shown).collect::<Vec<_>>().join("\n")
                }
                Err(error) => format!("{error} (byte {})\n", error.offset),
            }
        }
        _ => ask(memory, commands, Dialect::Strict, Limits::default()),
    }
}

/// What a deletion comes to.
fn doom(memory: &Memory, text: &str) -> String {
    let statement = &parse(text, Dialect::Strict).unwrap()[0];
    match doomed(statement, memory, &settings(Limits::default())) {
        Err(error) => format!("error: {error}\n"),
        Ok(found) => found
            .iter()
            .map(|doomed| {
                let Doomed { policy, measurement, filter, from, to, rows, .. } = doomed;
                let rows = rows.iter().flatten().map(|(series, times)| {
                    let tags: Vec<String> =
                        series.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    format!("\n  {} at {times:?}", tags.join(","))
                });
                let rows: Vec<String> = rows.collect();
                format!("{policy}.{measurement} {filter:?} {from}..={to}{}", rows.concat())
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// The points that a SELECT writes.
fn write(memory: &Memory, text: &str) -> String {
    let Statement::Select(select) = &parse(text, Dialect::Strict).unwrap()[0] else {
        return String::new();
    };
    let statement = Statement::Select(select.clone());
    let settings = settings(Limits::default());
    let answer = answer(&statement, memory, &settings).unwrap();
    let written = written(select, &answer, &settings).unwrap();
    let mut out = format!("{} points in {}.{}\n", written.count, written.database, written.policy);
    let mut reader = PointReader::new(&written.points);
    while let Some(point) = reader.next().unwrap() {
        let key = String::from_utf8_lossy(point.key).into_owned();
        let fields = &reader.shapes()[point.shape].fields;
        let names: Vec<String> =
            fields.iter().map(|(kind, name)| format!("{name}:{}", kind.name())).collect();
        writeln!(out, "{key} {} {}", names.join(","), point.time).unwrap();
    }
    out
}

#[test]
fn print() {
    run_script("testdata/print", Memory::new(3, false), run);
}

#[test]
fn limits() {
    run_script("testdata/limits", Memory::new(3, false), run);
}

#[test]
fn change() {
    run_script("testdata/change", Memory::new(3, false), run);
}

#[test]
fn select() {
    run_script("testdata/select", Memory::new(3, false), run);
    run_script("testdata/select", Memory::new(2, true), run);
}

#[test]
fn relaxed() {
    run_script("testdata/relaxed", Memory::new(3, false), run);
}
