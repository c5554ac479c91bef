//! Situations and claims in text: points, queries, answers.

use crate::{json, memory::Memory};
use olivine_query::{Dialect, Limits, Settings, Stop, answer, moment::Zone, parse};
use olivine_testkit::run_script;

pub(crate) const NOW: i64 = 1_700_000_000_000_000_000;

/// Nothing ends a query early.
pub(crate) fn never() -> Option<Stop> {
    None
}

/// A place two hours ahead of UTC, one in winter.
struct East;

impl Zone for East {
    fn ahead(&self, at: i64) -> i64 {
        let summer = (1_427_590_800..1_445_734_800).contains(&(at / 1_000_000_000));
        if summer { 7_200_000_000_000 } else { 3_600_000_000_000 }
    }
}

fn zone(name: &str) -> Option<Box<dyn Zone>> {
    (name == "Europe/Berlin").then(|| Box::new(East) as Box<dyn Zone>)
}

pub(crate) fn settings<'a>(limits: Limits) -> Settings<'a> {
    Settings { now: NOW, database: "db", policy: "", limits, stop: &never, zone: &zone }
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
            Err(error) => out.push_str(&format!("error: {error}\n")),
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
        ("relaxed", _) => ask(memory, rest, Dialect::Relaxed, Limits::default()),
        ("print", dialect) => {
            let dialect = if dialect == "relaxed" { Dialect::Relaxed } else { Dialect::Strict };
            match parse(rest, dialect) {
                Ok(statements) => statements
                    .iter()
                    .map(|statement| format!("{:?}: {statement}\n", statement.class()))
                    .collect(),
                Err(error) => format!("{error} (byte {})\n", error.offset),
            }
        }
        _ => ask(memory, commands, Dialect::Strict, Limits::default()),
    }
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
