//! `olivine stats`: what a store consists of, level by level.

use std::io::{self, Write};

use olivine_engine::{
    CompactionStyle, CompressionLast, KeyPrefix, KeyspaceDescription, KeyspaceOptions,
    LevelDescription, StoreDescription, describe,
};

use crate::{
    call::{Call, Command, DB, JSON, MEMORY},
    check::environment,
    ending::{Ending, Failure},
    json::Json,
    progress::bytes,
};

pub(crate) const COMMAND: Command = Command {
    name: "stats",
    what: "show what a store consists of: keyspaces, levels, tables, log",
    about: "Stats shows what a store consists of, as its manifest has it: keyspaces and their levels with tables, \
        bytes, entries and deletions, files of values that stand apart, and the log.",
    operands: &["DIR"],
    options: &[&[DB, JSON, MEMORY]],
    notes: "Nothing is locked, opened or changed, so it works beside a process that has the store open.",
    examples: &["olivine stats data/store", "olivine stats data/store --json | jq .keyspaces"],
    run,
};

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let described = describe(&environment(call)?, &dir)?;
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", json(&described))?;
    } else {
        print(&mut out, &described)?;
    }
    Ok(Ending::Good)
}

fn print(out: &mut impl Write, store: &StoreDescription) -> io::Result<()> {
    let StoreDescription { format, edit, .. } = store;
    writeln!(out, "store {:016x}, format {format}, edit {edit}", store.store)?;
    writeln!(out, "files {}", bytes(store.bytes))?;
    writeln!(out, "log   {} in {} segments", bytes(store.log_bytes), store.log_segments)?;
    for keyspace in &store.keyspaces {
        if keyspace.name.is_empty() {
            writeln!(out, "\nthe store's own, flushed up to write {}", keyspace.flushed)?;
            writeln!(out, "  appended records that are replayed when it is opened")?;
        } else {
            let KeyspaceDescription { name, flushed, .. } = keyspace;
            writeln!(out, "\nkeyspace {name:?}, flushed up to write {flushed}")?;
        }
        for (name, value) in set(&keyspace.options) {
            writeln!(out, "  {name} {value}")?;
        }
        writeln!(out, "  level  tables       bytes     entries   deletions  ranges")?;
        let levels = keyspace.levels.iter().enumerate().filter(|(_, level)| level.tables != 0);
        for (nth, level) in levels {
            row(out, &nth.to_string(), level)?;
        }
        row(out, "all", &total(keyspace))?;
        if keyspace.value_files != 0 {
            let size = bytes(keyspace.value_bytes);
            writeln!(out, "  values apart: {size} in {} files", keyspace.value_files)?;
        }
    }
    Ok(())
}

/// The options that are not as they are by themselves.
fn set(options: &KeyspaceOptions) -> impl Iterator<Item = (&'static str, String)> {
    let merge = options.merge.clone().map(|name| ("merge", name));
    let filter = options.filter.clone().map(|name| ("filter", name));
    let ttl = options.ttl.map(|ttl| ("ttl", ttl.to_string()));
    let windows = options.style != CompactionStyle::Leveled;
    let style = windows.then(|| ("style", style_name(options.style).to_owned()));
    let prefix = options.prefix.map(|prefix| ("prefix", prefix_shown(prefix)));
    let log = options.unlogged.then(|| ("log", "off".to_owned()));
    let last = options.compression_last;
    let last = (last != CompressionLast::Same).then(|| ("compression-last", last.to_string()));
    [merge, filter, ttl, style, prefix, log, last].into_iter().flatten()
}

fn prefix_shown(prefix: KeyPrefix) -> String {
    match prefix {
        KeyPrefix::Length(1) => "the first byte".to_owned(),
        KeyPrefix::Length(length) => format!("the first {length} bytes"),
        KeyPrefix::Delimiter(byte, 1) => format!("up to {:?}", char::from(byte)),
        KeyPrefix::Delimiter(byte, nth) => format!("up to {:?} number {nth}", char::from(byte)),
    }
}

fn row(out: &mut impl Write, name: &str, level: &LevelDescription) -> io::Result<()> {
    let LevelDescription { tables, entries, tombstones, range_deletes, .. } = level;
    let size = bytes(level.bytes);
    writeln!(
        out,
        "  {name:>5}  {tables:>6}  {size:>10}  {entries:>10}  {tombstones:>10}  {range_deletes:>6}"
    )
}

fn style_name(style: CompactionStyle) -> &'static str {
    match style {
        CompactionStyle::Leveled => "leveled",
        CompactionStyle::TimeWindow => "time-window",
    }
}

fn total(keyspace: &KeyspaceDescription) -> LevelDescription {
    keyspace.levels.iter().fold(LevelDescription::default(), |all, level| LevelDescription {
        tables: all.tables + level.tables,
        bytes: all.bytes + level.bytes,
        entries: all.entries + level.entries,
        tombstones: all.tombstones + level.tombstones,
        range_deletes: all.range_deletes + level.range_deletes,
    })
}

fn json(store: &StoreDescription) -> Json {
    let level = |(nth, level): (usize, &LevelDescription)| {
        Json::object([
            ("level", nth.into()),
            ("tables", level.tables.into()),
            ("bytes", level.bytes.into()),
            ("entries", level.entries.into()),
            ("deletions", level.tombstones.into()),
            ("range_deletes", level.range_deletes.into()),
        ])
    };
    let keyspace = |keyspace: &KeyspaceDescription| {
        Json::object([
            ("name", keyspace.name.as_str().into()),
            ("merge", keyspace.options.merge.clone().into()),
            ("filter", keyspace.options.filter.clone().into()),
            ("ttl", keyspace.options.ttl.into()),
            ("style", style_name(keyspace.options.style).into()),
            ("prefix", keyspace.options.prefix.map(prefix_shown).into()),
            ("unlogged", keyspace.options.unlogged.into()),
            ("compression_last", keyspace.options.compression_last.to_string().into()),
            ("flushed", keyspace.flushed.into()),
            ("levels", Json::list(keyspace.levels.iter().enumerate().map(level))),
            ("value_files", keyspace.value_files.into()),
            ("value_bytes", keyspace.value_bytes.into()),
        ])
    };
    Json::object([
        ("store", format!("{:016x}", store.store).into()),
        ("format", u64::from(store.format).into()),
        ("edit", store.edit.into()),
        ("bytes", store.bytes.into()),
        ("log_segments", store.log_segments.into()),
        ("log_bytes", store.log_bytes.into()),
        ("keyspaces", Json::list(store.keyspaces.iter().map(keyspace))),
    ])
}
