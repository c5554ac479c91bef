//! `olivine inspect`: one file of a store, told piece by piece.
//!
//! 1. A line for each thing the file says, in the file's order; with `--json`, an object for each.
//! 2. Damage stands where it was found, and makes the exit code.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use olivine_engine::{Depth, Detail, Fact, FileKind, inspect};
use olivine_vfs::{EntryKind, RealVfs, Vfs as _};

use crate::{
    call::{Call, Command, JSON, MEMORY, Opt},
    check::environment,
    ending::{Ending, Failure},
    json::Json,
    shown::Shown,
};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    what: "show what a file of a store says: log, table, manifest, CURRENT",
    about: "Inspect shows what one file of a store says. A log segment, a table, a manifest and CURRENT are told \
        apart by their first bytes.",
    operands: &["FILE"],
    options: &[&[
        Opt::switch("--blocks", "each block of a table"),
        Opt::switch("--entries", "each entry of a table, each operation of a log or its batches"),
        JSON,
        MEMORY,
    ]],
    notes: "Works on a store that is open, and on a copy of a file too as long as it keeps its name and lies \
        beside a CURRENT, a table or a log of its store. Damage is exit code 5.",
    examples: &[
        "olivine inspect data/store/manifest-000000000001",
        "olivine inspect data/store/table-000000000007 --blocks",
        "olivine inspect data/store/log-000000000002 --entries --json | jq .key",
    ],
    run,
};

fn run(call: &Call) -> Result<Ending, Failure> {
    let Some(file) = call.operand(0) else {
        return Err(Failure::misused("`FILE` says what to look at, and is missing"));
    };
    let path = Path::new(file);
    match RealVfs::new().entry(path) {
        Ok(Some(entry)) if entry.kind == EntryKind::Dir => {
            let what = "is a directory; name one file in it, such as its CURRENT";
            return Err(Failure::new(Ending::Failed, format!("{} {what}", path.display())));
        }
        Ok(None) => {
            let what = "is not there; name a file of a store";
            return Err(Failure::new(Ending::Failed, format!("{} {what}", path.display())));
        }
        // Whatever else there is, is told by who opens it.
        _ => {}
    }
    let environment = environment(call)?;
    let depth = Depth { blocks: call.has("--blocks"), entries: call.has("--entries") };
    let as_json = call.has("--json");
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut damaged, mut failed) = (false, Ok(()));
    let kind = inspect(&environment, file, depth, &mut |fact| {
        damaged |= fact.damage.is_some();
        if failed.is_ok() {
            let line = if as_json { json(&fact).to_string() } else { line(&fact) };
            failed = writeln!(out, "{line}");
        }
    })?;
    failed?;
    if !as_json {
        let kind = match kind {
            FileKind::Current => "CURRENT",
            FileKind::Manifest => "a manifest",
            FileKind::Log => "a log segment",
            FileKind::Table => "a table",
            FileKind::Values => "a value file",
        };
        let state = if damaged { "damaged" } else { "sound as far as was looked" };
        writeln!(out, "this is {kind}, {state}")?;
    }
    out.flush()?;
    Ok(if damaged { Ending::Damaged } else { Ending::Good })
}

/// A value longer than this is cut for people.
const SHOWN_BYTES_MAX: usize = 120;

fn line(fact: &Fact) -> String {
    let mut line = format!("{:>10}  {:16}", fact.offset, fact.what);
    for (name, detail) in &fact.details {
        let _infallible = match detail {
            Detail::Number(number) => write!(line, " {name} {number}"),
            Detail::Word(word) => write!(line, " {name} {word:016x}"),
            Detail::Text(text) => write!(line, " {name} {}", Shown(text.as_bytes())),
            Detail::Bytes(bytes) if SHOWN_BYTES_MAX < bytes.len() => {
                let start = Shown(&bytes[..SHOWN_BYTES_MAX]);
                write!(line, " {name} \"{start}\"... ({} bytes)", bytes.len())
            }
            Detail::Bytes(bytes) => write!(line, " {name} \"{}\"", Shown(bytes)),
        };
    }
    if let Some(damage) = &fact.damage {
        let _infallible = write!(line, " DAMAGED: {damage}");
    }
    line
}

fn json(fact: &Fact) -> Json {
    let mut members =
        vec![("what".to_owned(), fact.what.into()), ("offset".to_owned(), fact.offset.into())];
    for (name, detail) in &fact.details {
        let (name, value) = match detail {
            Detail::Number(number) => ((*name).to_owned(), (*number).into()),
            Detail::Word(word) => ((*name).to_owned(), format!("{word:016x}").into()),
            Detail::Text(text) => ((*name).to_owned(), text.as_str().into()),
            Detail::Bytes(bytes) => crate::json::bytes_member(name, bytes),
        };
        members.push((name, value));
    }
    members.extend(fact.damage.iter().map(|damage| ("damage".to_owned(), damage.as_str().into())));
    Json::Object(members)
}
