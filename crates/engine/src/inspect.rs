//! One file of a store, told piece by piece: what it is, what it says, and whether that verifies.
//!
//! It must survive any file: damaged, cut, of another store or of none.
//!
//! 1. What kind a file is follows from its first or last bytes, not from its name.
//! 2. Nothing is held that was told: a file of any length takes a window of memory.
//! 3. Damage is told where it stands, and the telling goes on behind it.

use std::path::{Path, PathBuf};

use olivine_vfs::{Open, Vfs};

use crate::{
    batch::Operations,
    check::numbered,
    environment::Environment,
    error::{Error, Result},
    ingest::naming_edit,
    log::{self, FrameKind, Head, salvage},
    manifest::{self, CURRENT, Change, Edit},
    table::{Examiner, Piece, TableInfo, identity},
    values::{RecordFacts, ValuesWalk},
};

/// What a file of a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Names the manifest that counts.
    Current,
    /// Which tables and keyspaces there are.
    Manifest,
    /// A segment of the log.
    Log,
    /// Entries in order.
    Table,
    /// Large values.
    Values,
}

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Each block of a table.
    pub blocks: bool,
    /// Each entry of a table, each operation of a log, each record of a value file.
    pub entries: bool,
}

/// One thing that a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is: `header`, `block`, `frame`, `edit`, `entry` and so on.
    pub what: &'static str,
    /// Where in the file it stands.
    pub offset: u64,
    /// What it says, by name.
    pub details: Vec<(&'static str, Detail)>,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// What a fact says of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A count, a length, a sequence number.
    Number(u64),
    /// A number that is only compared: a checksum, a store's number.
    Word(u64),
    /// A name.
    Text(String),
    /// A key or a value.
    Bytes(Vec<u8>),
}

impl Fact {
    fn new(what: &'static str, offset: u64, details: Vec<(&'static str, Detail)>) -> Fact {
        Fact { what, offset, details, damage: None }
    }

    fn damage(what: &'static str, offset: u64, damage: impl Into<String>) -> Fact {
        Fact { what, offset, details: Vec::new(), damage: Some(damage.into()) }
    }
}

type Visit<'a> = &'a mut dyn FnMut(Fact);

fn number(number: u64) -> Detail {
    Detail::Number(number)
}

fn text(text: impl Into<String>) -> Detail {
    Detail::Text(text.into())
}

/// Tells `visit` what the file at `path` says, and returns what kind of file it is. An error is one of
/// the disk, or that the file is none of a store's.
pub fn inspect(
    environment: &Environment,
    path: impl AsRef<Path>,
    depth: Depth,
    visit: &mut dyn FnMut(Fact),
) -> Result<FileKind> {
    let (vfs, path) = (environment.vfs().as_ref(), path.as_ref());
    let kind = kind_of(vfs, path)?;
    match kind {
        FileKind::Current => inspect_current(vfs, path, visit)?,
        FileKind::Manifest => inspect_manifest(vfs, path, visit)?,
        FileKind::Log => inspect_log(vfs, path, depth, visit)?,
        FileKind::Table => inspect_table(vfs, path, depth, visit)?,
        FileKind::Values => inspect_values(vfs, path, depth, visit)?,
    }
    Ok(kind)
}

/// Tells the kinds of files apart, by their magic and, where that is damaged, by their names.
fn kind_of(vfs: &dyn Vfs, path: &Path) -> Result<FileKind> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let bytes = file.len().map_err(Error::io("measure", path))?;
    let mut first = [0; 8];
    let read = file.read_at(&mut first, 0).map_err(Error::io("read", path))?;
    let mut last = [0; 8];
    let at = bytes.saturating_sub(8);
    file.read_at(&mut last, at).map_err(Error::io("read", path))?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let named = |prefix: &str| numbered(&name, prefix).is_some();
    Ok(match &first[..read] {
        b"olivine " => FileKind::Current,
        b"OLVMANIF" => FileKind::Manifest,
        b"OLIVLOG\0" => FileKind::Log,
        b"OLVTABLE" => FileKind::Table,
        b"OLVVALUE" => FileKind::Values,
        _ if last == *b"OLVVALUE" || named("values-") => FileKind::Values,
        _ if last == *b"OLVTABLE" || named("table-") => FileKind::Table,
        _ if named("log-") || named("spare-") || named("draft-") => FileKind::Log,
        _ if named("manifest-") => FileKind::Manifest,
        _ if name == CURRENT => FileKind::Current,
        _ => {
            let what = "it is no file of a store: CURRENT, a manifest, a log segment, a table or a value file";
            return Err(Error::Unusable { path: path.into(), what: what.into() });
        }
    })
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        _ => ".".into(),
    }
}

fn number_in_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let (_, digits) = name.split_once('-')?;
    digits.parse().ok()
}

fn inspect_current(vfs: &dyn Vfs, path: &Path, visit: Visit<'_>) -> Result<()> {
    match manifest::read_current_at(vfs, path) {
        Ok(current) => visit(Fact::new(
            "current",
            0,
            vec![
                ("format", number(u64::from(manifest::FORMAT))),
                ("store", Detail::Word(current.store)),
                ("manifest", number(current.manifest)),
            ],
        )),
        Err(Error::Corrupt { offset, what, .. }) => visit(Fact::damage("current", offset, what)),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The number of the store that a file belongs to which does not say it itself.
fn store_beside(vfs: &dyn Vfs, path: &Path) -> Result<u64> {
    let dir = folder(path);
    if let Ok(current) = manifest::read_current(vfs, &dir) {
        return Ok(current.store);
    }
    for entry in vfs.list(&dir).map_err(Error::io("list", &dir))? {
        let name = entry.name.to_string_lossy();
        let beside = dir.join(&entry.name);
        if numbered(&name, "table-").is_some()
            && let Ok(Some((store, _, true))) = identity(vfs, &beside)
        {
            return Ok(store);
        }
        if let Some(segment) = numbered(&name, "log-")
            && let Ok(Head::Ours(header, _)) = salvage::head(vfs, &beside, None, segment)
        {
            return Ok(header.store);
        }
    }
    let what =
        "its frames are bound to their store, and no CURRENT, table or log beside it names that";
    Err(Error::Unusable { path: path.into(), what: what.into() })
}

fn inspect_manifest(vfs: &dyn Vfs, path: &Path, visit: Visit<'_>) -> Result<()> {
    let store = store_beside(vfs, path)?;
    let number_of = number_in_name(path).ok_or_else(|| Error::Unusable {
        path: path.into(),
        what: "the number that its frames are bound to is in its name, which has none".into(),
    })?;
    visit(Fact::new(
        "header",
        0,
        vec![("store", Detail::Word(store)), ("manifest", number(number_of))],
    ));
    manifest::salvage::walk(vfs, path, store, number_of, &mut |offset, found| match found {
        manifest::salvage::Found::Damage(end, why) => {
            visit(Fact::damage(
                "frame",
                offset,
                format!("{why}; {} bytes are no frame", end - offset),
            ));
        }
        manifest::salvage::Found::Frame(frame, payload) if frame.kind == FrameKind::Edit => {
            match Edit::decode(payload) {
                None => visit(Fact::damage("edit", offset, "it does not decode")),
                Some(edit) => {
                    let details = vec![
                        ("number", number(edit.number)),
                        ("changes", number(edit.changes.len() as u64)),
                    ];
                    visit(Fact::new("edit", offset, details));
                    for change in &edit.changes {
                        visit(change_fact(offset, change));
                    }
                }
            }
        }
        manifest::salvage::Found::Frame(frame, _) => {
            let details =
                vec![("edit", number(frame.first_seq)), ("below", number(frame.durable.into()))];
            visit(Fact::new("durable", offset, details));
        }
    })?;
    Ok(())
}

fn change_fact(offset: u64, change: &Change) -> Fact {
    let keyspace_of = |keyspace: u32| ("keyspace", number(u64::from(keyspace)));
    let (what, details) = match change {
        Change::CreateKeyspace { keyspace, name } => {
            ("create keyspace", vec![keyspace_of(*keyspace), ("name", text(name.clone()))])
        }
        Change::DropKeyspace { keyspace } => ("drop keyspace", vec![keyspace_of(*keyspace)]),
        Change::AddTable { keyspace, level, table } => {
            let mut details = vec![keyspace_of(*keyspace), ("level", number((*level).into()))];
            details.extend(table_details(table));
            ("add table", details)
        }
        Change::RemoveTable { keyspace, level, table } => (
            "remove table",
            vec![
                keyspace_of(*keyspace),
                ("level", number((*level).into())),
                ("table", number(*table)),
            ],
        ),
        Change::CutTable { keyspace, level, table, part } => (
            "cut table",
            vec![
                keyspace_of(*keyspace),
                ("level", number((*level).into())),
                ("table", number(*table)),
                ("entries", number(part.entries)),
                ("deletions", number(part.tombstones)),
                ("first_key", Detail::Bytes(part.first_key.clone())),
                ("last_key", Detail::Bytes(part.last_key.clone())),
                ("last_is_excluded", number(part.last_is_excluded.into())),
                ("value_bytes_used", number(part.values.bytes())),
            ],
        ),
        Change::Flushed { keyspace, seqno } => {
            ("flushed", vec![keyspace_of(*keyspace), ("seqno", number(*seqno))])
        }
        Change::LogStart { segment } => ("log start", vec![("segment", number(*segment))]),
        Change::LogDurable { position } => (
            "log durable",
            vec![
                ("segment", number(position.segment())),
                ("offset", number(position.offset().into())),
            ],
        ),
        Change::AddValues { keyspace, values } => (
            "add values",
            vec![
                keyspace_of(*keyspace),
                ("file", number(values.file)),
                ("bytes", number(values.bytes)),
                ("records", number(values.records)),
                ("checksum", Detail::Word(values.checksum)),
            ],
        ),
        Change::RemoveValues { keyspace, file } => {
            ("remove values", vec![keyspace_of(*keyspace), ("file", number(*file))])
        }
        Change::NextTable { table } => ("next table", vec![("table", number(*table))]),
        Change::NextKeyspace { keyspace } => ("next keyspace", vec![keyspace_of(*keyspace)]),
        Change::NextSeqno { seqno } => ("next seqno", vec![("seqno", number(*seqno))]),
        Change::SetOptions { keyspace, options } => {
            ("set options", vec![keyspace_of(*keyspace), ("options", text(format!("{options:?}")))])
        }
        Change::ExpiryMark { keyspace, mark } => {
            ("expiry mark", vec![keyspace_of(*keyspace), ("mark", number(*mark))])
        }
        Change::Position { keyspace, range, position } => (
            "position",
            vec![
                keyspace_of(*keyspace),
                ("range", Detail::Bytes(range.clone())),
                ("position", Detail::Bytes(position.clone())),
            ],
        ),
        Change::Applied { keyspace, seqno } => {
            ("applied", vec![keyspace_of(*keyspace), ("seqno", number(*seqno))])
        }
    };
    Fact::new(what, offset, details)
}

fn table_details(table: &TableInfo) -> Vec<(&'static str, Detail)> {
    vec![
        ("table", number(table.id)),
        ("bytes", number(table.bytes)),
        ("entries", number(table.entries)),
        ("deletions", number(table.tombstones)),
        ("seqno_min", number(table.seqno_min)),
        ("seqno_max", number(table.seqno_max)),
        ("range_deletes", number(table.range_deletes)),
        ("checksum", Detail::Word(table.checksum)),
        ("first_key", Detail::Bytes(table.first_key.clone())),
        ("last_key", Detail::Bytes(table.last_key.clone())),
        ("range_deletes", number(table.range_deletes)),
        ("last_is_excluded", number(table.last_is_excluded.into())),
        ("value_bytes_used", number(table.values.bytes())),
    ]
}

fn inspect_log(vfs: &dyn Vfs, path: &Path, depth: Depth, visit: Visit<'_>) -> Result<()> {
    let named = number_in_name(path).unwrap_or(0);
    let head = salvage::head(vfs, path, None, named)?;
    let header = head.header();
    match header {
        None => visit(Fact::damage("header", 0, head.what())),
        Some(header) => {
            let details = vec![
                ("store", Detail::Word(header.store)),
                ("segment", number(header.number)),
                ("bytes", number(header.bytes.into())),
                ("first_seqno", number(header.first_seq)),
                ("previous", number(header.previous.number)),
                ("previous_ends", number(header.previous.length.into())),
                ("durable_segment", number(header.durable.segment())),
                ("durable_offset", number(header.durable.offset().into())),
                ("manifest_edit", number(header.manifest_edit)),
            ];
            visit(Fact::new("header", 0, details));
        }
    }
    let store = match header {
        Some(header) => header.store,
        None => store_beside(vfs, path)?,
    };
    let segment = header.map_or(named, |header| header.number);
    salvage::walk(vfs, path, store, segment, &mut |offset, found| {
        match found {
            salvage::Found::Unused(end) => {
                let details = vec![("bytes", number(end - offset))];
                visit(Fact::new("unused", offset, details));
            }
            salvage::Found::Damage(end, why) => {
                let what = format!("{why}; {} bytes are no frame", end - offset);
                visit(Fact::damage("frame", offset, what));
            }
            salvage::Found::Frame(frame, payload) => {
                let kind = log::kind_name(frame.kind);
                let mut details = vec![
                    ("kind", text(kind)),
                    ("seqno", number(frame.first_seq)),
                    ("count", number(frame.count.into())),
                    ("bytes", number(frame.payload_len.into())),
                ];
                if frame.durable != 0 {
                    details.push(("durable_below", number(frame.durable.into())));
                }
                visit(Fact::new("frame", offset, details));
                if depth.entries && frame.kind == FrameKind::Record {
                    inspect_operations(offset, frame.first_seq, payload, visit);
                }
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn inspect_operations(offset: u64, first_seq: u64, payload: &[u8], visit: Visit<'_>) {
    if let Some(edit) = naming_edit(payload) {
        let details = vec![("seqno", number(first_seq)), ("edit", number(edit))];
        return visit(Fact::new("number of an ingest", offset, details));
    }
    for (nth, operation) in Operations::new(payload).enumerate() {
        let Ok(operation) = operation else {
            return visit(Fact::damage("operation", offset, "the batch does not decode"));
        };
        let details = vec![
            ("keyspace", number(operation.keyspace.into())),
            ("seqno", number(first_seq + nth as u64)),
            ("kind", text(format!("{:?}", operation.kind).to_lowercase())),
            ("key", Detail::Bytes(operation.key.to_vec())),
            ("value", Detail::Bytes(operation.value.to_vec())),
        ];
        visit(Fact::new("operation", offset, details));
    }
}

fn inspect_table(vfs: &dyn Vfs, path: &Path, depth: Depth, visit: Visit<'_>) -> Result<()> {
    let (store, table) = match identity(vfs, path)? {
        Some((store, table, _)) => (store, table),
        None => (store_beside(vfs, path)?, number_in_name(path).unwrap_or(0)),
    };
    let mut examiner = Examiner::open(vfs, path, store, table)?;
    let details = vec![("store", Detail::Word(store)), ("table", number(table))];
    visit(Fact::new("header", 0, details));
    let mut damages = Vec::new();
    let layout = examiner.layout(&mut |error| damages.push(error));
    if let Ok(facts) = examiner.footer() {
        for pair in facts.parts.windows(2) {
            let ((name, at), (_, end)) = (pair[0], pair[1]);
            visit(Fact::new("part", at, vec![("name", text(name)), ("bytes", number(end - at))]));
        }
        let at = facts.parts.last().map_or(0, |(_, at)| *at);
        let details = vec![
            ("bytes", number(examiner.bytes())),
            ("entries", number(facts.entries)),
            ("deletions", number(facts.tombstones)),
            ("seqno_min", number(facts.seqno_min)),
            ("seqno_max", number(facts.seqno_max)),
            ("data_blocks", number(facts.data_blocks)),
            ("features", number(facts.features)),
            ("filter", text(&facts.filter)),
            ("checksum", Detail::Word(facts.checksum)),
        ];
        visit(Fact::new("footer", at, details));
        let properties = facts.parts.iter().find(|(name, _)| *name == "properties");
        let properties_at = properties.map_or(0, |(_, at)| *at);
        for (name, value) in layout.properties.iter().flatten() {
            if name == "range_deletes" || name == "dictionary" {
                continue;
            }
            let value = property(name, value);
            visit(Fact::new(
                "property",
                properties_at,
                vec![("name", text(name)), ("value", value)],
            ));
        }
    }
    for piece in layout.range_deletes.pieces() {
        let newest = piece.seqnos.first().copied().unwrap_or(0);
        let details = vec![
            ("from", Detail::Bytes(piece.start.clone())),
            ("to", Detail::Bytes(piece.end.clone())),
            ("deletions", number(piece.seqnos.len() as u64)),
            ("newest_seqno", number(newest)),
        ];
        visit(Fact::new("deleted range", 0, details));
    }
    for error in damages {
        match error {
            Error::Corrupt { offset, what, .. } => visit(Fact::damage("part", offset, what)),
            error => return Err(error),
        }
    }
    inspect_blocks(&mut examiner, layout, depth, visit)
}

fn inspect_values(vfs: &dyn Vfs, path: &Path, depth: Depth, visit: Visit<'_>) -> Result<()> {
    let (store, file) = match ValuesWalk::identity(vfs, path)? {
        Some(identity) => identity,
        None => (store_beside(vfs, path)?, number_in_name(path).unwrap_or(0)),
    };
    let walk = ValuesWalk::open(vfs, path, store, file)?;
    visit(Fact::new("header", 0, vec![("store", Detail::Word(store)), ("file", number(file))]));
    if let Ok((records, checksum)) = walk.footer() {
        let details = vec![
            ("bytes", number(walk.bytes)),
            ("records", number(records)),
            ("checksum", Detail::Word(checksum)),
        ];
        visit(Fact::new("footer", walk.bytes, details));
    }
    let mut damages = Vec::new();
    let mut record = |facts: RecordFacts| {
        if depth.entries {
            let details = vec![
                ("key", Detail::Bytes(facts.key)),
                ("bytes", number(facts.record_bytes)),
                ("value_bytes", number(facts.value_bytes)),
                ("compressed", number(facts.compressed.into())),
            ];
            visit(Fact::new("record", facts.offset, details));
        }
    };
    walk.verify(&mut record, &mut |error| damages.push(error));
    for error in damages {
        match error {
            Error::Corrupt { offset, what, .. } => visit(Fact::damage("record", offset, what)),
            error => return Err(error),
        }
    }
    Ok(())
}

fn inspect_blocks(
    examiner: &mut Examiner,
    mut layout: crate::table::Layout,
    depth: Depth,
    visit: Visit<'_>,
) -> Result<()> {
    let mut nth = 0;
    let mut pieces = std::mem::take(&mut layout.pieces).into_iter();
    let mut unknown = None;
    loop {
        let (offset, stored) = match unknown.take() {
            Some((from, end)) => match examiner.find_block(from, end, &mut layout)?.0 {
                Some((offset, stored)) => {
                    unknown = Some((offset + u64::from(stored), end));
                    (offset, stored)
                }
                None => continue,
            },
            None => match pieces.next() {
                Some(Piece::Block { offset, stored, .. }) => (offset, stored),
                Some(Piece::Unknown { offset, end }) => {
                    unknown = Some((offset, end));
                    continue;
                }
                None => return Ok(()),
            },
        };
        inspect_block(examiner, nth, offset, stored, depth, visit)?;
        nth += 1;
    }
}

fn inspect_block(
    examiner: &mut Examiner,
    nth: u64,
    offset: u64,
    stored: u32,
    depth: Depth,
    visit: Visit<'_>,
) -> Result<()> {
    let block = match examiner.block(offset, stored) {
        Ok(block) => block,
        Err(Error::Corrupt { offset, what, .. }) => {
            visit(Fact::damage("block", offset, what));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let (mut first, mut last) = (Vec::new(), Vec::new());
    block.copy_key(0, &mut first);
    block.copy_key(block.count() - 1, &mut last);
    if depth.blocks {
        let details = vec![
            ("block", number(nth)),
            ("stored", number(stored.into())),
            ("entries", number(block.count() as u64)),
            ("first_key", Detail::Bytes(first)),
            ("last_key", Detail::Bytes(last)),
            ("checksum", Detail::Word(block.checksum)),
        ];
        visit(Fact::new("block", offset, details));
    }
    if depth.entries {
        let mut key = Vec::new();
        for at in 0..block.count() {
            block.copy_key(at, &mut key);
            let stamp = block.stamp(at);
            let kind = match stamp.kind() {
                Some(kind) => format!("{kind:?}").to_lowercase(),
                None => format!("unknown {:#x}", stamp.0 & 0xff),
            };
            let details = vec![
                ("seqno", number(stamp.seqno())),
                ("kind", text(kind)),
                ("key", Detail::Bytes(key.clone())),
                ("value", Detail::Bytes(block.value(at).to_vec())),
            ];
            visit(Fact::new("entry", offset, details));
        }
    }
    Ok(())
}

/// A property as what its name says that it is.
fn property(name: &str, value: &[u8]) -> Detail {
    let is_bytes = name == "first_key" || name == "last_key";
    let mut word = [0; 8];
    match word.get_mut(..value.len()) {
        Some(start) if !is_bytes && name != "keyspace_name" => {
            start.copy_from_slice(value);
            number(u64::from_le_bytes(word))
        }
        _ if name == "keyspace_name" => text(String::from_utf8_lossy(value)),
        _ => Detail::Bytes(value.to_vec()),
    }
}
