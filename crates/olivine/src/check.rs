//! `olivine check`: proves that a store is what it should be.
//!
//! 1. Every finding names the file, the place in it, what is wrong and what to do.
//! 2. The exit code is 5 when something is damaged, and 0 when all that was found is harmless.

use std::io::{self, Write};

use olivine_engine::{
    CheckReport, Environment, EnvironmentOptions, Error, Finding, Severity, check,
};

use crate::{
    call::{Call, Command, DB, JSON, MEMORY, QUIET},
    ending::{Ending, Failure},
    json::Json,
    progress::{self, Progress, Unit},
    shown::counted,
};

pub(crate) const COMMAND: Command = Command {
    name: "check",
    what: "prove that a store is sound: every block, reference and order",
    about: "Check proves that a store is what it should be: that every table the manifest names is there, \
        every block matches its checksum, keys are in order within tables and levels, counts and filters \
        are right, and the log begins and ends where it must. Nothing is changed.",
    operands: &["DIR"],
    options: &[&[DB, JSON, QUIET, MEMORY]],
    notes: "The store must be closed; one that is open elsewhere is named with its process (exit code 6). \
        Damage is exit code 5. What a crash leaves behind is noted and is none.",
    examples: &["olivine check data/store", "olivine check data/store --json > report.json"],
    run,
};

/// The environment that a command works in.
pub(crate) fn environment(call: &Call) -> Result<Environment, Failure> {
    environment_of(call.bytes("--memory")?)
}

/// An environment that may use so much memory, or a part of the machine's.
pub(crate) fn environment_of(memory_bytes: Option<u64>) -> Result<Environment, Failure> {
    let mut options = EnvironmentOptions::default();
    if let Some(bytes) = memory_bytes {
        options.memory_bytes = bytes;
    }
    Environment::new(options).map_err(|error| match error {
        Error::Invalid { field: "memory_bytes", what } if memory_bytes.is_some() => {
            Failure::misused(format!("`--memory` {what}"))
        }
        error => error.into(),
    })
}

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let environment = environment(call)?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let report = check(&environment, &dir, &mut |done, whole| progress.at(done, whole))?;
    drop(progress);
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", json(&report))?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.is_sound() { Ending::Good } else { Ending::Damaged })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Orphan => "orphan",
        Severity::Damage => "damage",
    }
}

fn place(finding: &Finding) -> String {
    match finding.offset {
        Some(offset) => format!("{} at byte {offset}", finding.path.display()),
        None => finding.path.display().to_string(),
    }
}

fn print(out: &mut impl Write, report: &CheckReport) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}: {}: {}", word(finding.severity), place(finding), finding.what)?;
        writeln!(out, "  to do: {}", finding.remedy)?;
    }
    if report.findings_left_out != 0 {
        writeln!(
            out,
            "and {}",
            counted(report.findings_left_out, "more finding", "more findings")
        )?;
    }
    writeln!(
        out,
        "checked {} with {} in {}, {} in {}, {} in {} of the log",
        counted(report.keyspaces, "keyspace", "keyspaces"),
        counted(report.entries, "entry", "entries"),
        counted(report.blocks, "block", "blocks"),
        progress::bytes(report.table_bytes),
        counted(report.tables, "table", "tables"),
        counted(report.log_records, "record", "records"),
        counted(report.log_segments, "segment", "segments"),
    )?;
    match report.damages {
        0 => writeln!(out, "sound"),
        damages => writeln!(out, "damaged: {}", counted(damages, "finding", "findings")),
    }
}

fn json(report: &CheckReport) -> Json {
    let finding = |finding: &Finding| {
        Json::object([
            ("severity", word(finding.severity).into()),
            ("path", finding.path.display().to_string().into()),
            ("offset", finding.offset.into()),
            ("what", finding.what.as_str().into()),
            ("to_do", finding.remedy.into()),
        ])
    };
    Json::object([
        ("sound", report.is_sound().into()),
        ("damages", report.damages.into()),
        ("store", report.store.map(|store| format!("{store:016x}")).into()),
        ("keyspaces", report.keyspaces.into()),
        ("tables", report.tables.into()),
        ("table_bytes", report.table_bytes.into()),
        ("blocks", report.blocks.into()),
        ("entries", report.entries.into()),
        ("deletions", report.tombstones.into()),
        ("log_segments", report.log_segments.into()),
        ("log_records", report.log_records.into()),
        ("bytes", report.bytes.into()),
        ("findings", Json::list(report.findings.iter().map(finding))),
        ("findings_left_out", report.findings_left_out.into()),
    ])
}
