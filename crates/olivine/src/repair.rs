//! `olivine repair`: makes a store of what is still readable of a damaged one.
//!
//! 1. Nothing is removed, and with `--dry-run` nothing is changed.
//! 2. Every range of keys that may not read as it was written is named.

use std::io::{self, Write};

use olivine_engine::{Loss, RepairReport, repair};

use crate::{
    call::{Call, Command, DB, JSON, MEMORY, Opt, QUIET},
    check::environment,
    ending::{Ending, Failure},
    json::{Json, bytes_member},
    progress::{Progress, Unit},
    shown::{Shown, counted},
};

pub(crate) const COMMAND: Command = Command {
    name: "repair",
    what: "make a store of what is readable of a damaged one; removes nothing",
    about: "Repair makes a store of what is still readable of a damaged one: of damaged tables the readable rest \
        is written anew, a lost manifest is made again from what the tables say, a damaged log is gone \
        through frame by frame. Files that are not used any more are moved into `damaged-TIME` within the \
        store's directory; none is removed. It reports which keys may be missing, or may show older values.",
    operands: &["DIR"],
    options: &[&[
        DB,
        Opt::switch("--dry-run", "say what would be done and what would be lost; change nothing"),
        JSON,
        QUIET,
        MEMORY,
    ]],
    notes: "Copy the directory first if there is room, and try --dry-run. Restoring from a backup is better where \
        there is one: repair cannot bring back what cannot be read. A store that is sound is left as it is. \
        The exit code is 5 when something is lost, 0 when nothing is.",
    examples: &[
        "olivine repair data/store --dry-run",
        "olivine repair data/store --json > lost.json",
    ],
    run,
};

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let environment = environment(call)?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let dry_run = call.has("--dry-run");
    let report = repair(&environment, &dir, dry_run, &mut |done, whole| progress.at(done, whole))?;
    drop(progress);
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", json(&report))?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.losses.is_empty() { Ending::Good } else { Ending::Damaged })
}

fn print(out: &mut impl Write, report: &RepairReport) -> io::Result<()> {
    if !report.needed {
        return writeln!(out, "the store is sound; nothing was done");
    }
    for step in &report.steps {
        writeln!(out, "{}: {step}", if report.done { "done" } else { "to do" })?;
    }
    for loss in &report.losses {
        writeln!(out, "lost: {}", lost(loss))?;
        writeln!(out, "  because of {}: {}", loss.path.display(), loss.why)?;
    }
    let entries = counted(report.entries_salvaged, "entry", "entries");
    let made = counted(report.tables_made, "table", "tables");
    let kept = counted(report.tables_kept, "table", "tables");
    writeln!(out, "{kept} kept as they are, {entries} written anew in {made}")?;
    match (report.losses.len() as u64, report.done) {
        (0, true) => writeln!(out, "repaired, and nothing is lost"),
        (0, false) => writeln!(out, "nothing would be lost; nothing was changed"),
        (losses, true) => {
            writeln!(out, "repaired; {} lost", counted(losses, "range is", "ranges are"))
        }
        (losses, false) => {
            let ranges = counted(losses, "range", "ranges");
            writeln!(out, "{ranges} would be lost; nothing was changed")
        }
    }
}

/// A range of keys in words.
fn lost(loss: &Loss) -> String {
    let bound = |bound: &Option<Vec<u8>>, none: &str| match bound {
        Some(key) => format!("\"{}\"", Shown(key)),
        None => none.to_owned(),
    };
    let keyspace = match &loss.keyspace {
        Some(name) => format!("keyspace {name:?}"),
        None => "any keyspace".to_owned(),
    };
    let (from, to) = (bound(&loss.from, "the first key"), bound(&loss.to, "the last key"));
    let effect = if loss.may_be_stale {
        "may be missing, show older values, or show again although deleted"
    } else {
        "may be missing"
    };
    format!("{keyspace}, keys from {from} to {to} {effect}")
}

fn json(report: &RepairReport) -> Json {
    let loss = |loss: &Loss| {
        let mut members = vec![("keyspace".to_owned(), loss.keyspace.clone().into())];
        for (name, bound) in [("from", &loss.from), ("to", &loss.to)] {
            members.push(match bound {
                Some(key) => bytes_member(name, key),
                None => (name.to_owned(), Json::Null),
            });
        }
        members.push(("may_be_stale".to_owned(), loss.may_be_stale.into()));
        members.push(("path".to_owned(), loss.path.display().to_string().into()));
        members.push(("why".to_owned(), loss.why.as_str().into()));
        Json::Object(members)
    };
    let aside = report.aside.as_ref().map(|path| path.display().to_string());
    Json::object([
        ("needed", report.needed.into()),
        ("done", report.done.into()),
        ("steps", Json::list(report.steps.iter().map(String::as_str))),
        ("losses", Json::list(report.losses.iter().map(loss))),
        ("aside", aside.into()),
        ("moved", Json::list(report.moved.iter().map(|path| path.display().to_string()))),
        ("tables_kept", report.tables_kept.into()),
        ("tables_made", report.tables_made.into()),
        ("entries_salvaged", report.entries_salvaged.into()),
        ("records_salvaged", report.records_salvaged.into()),
    ])
}
