//! What a store consists of, told from its manifest alone: nothing is opened, locked or changed.
//!
//! 1. Works beside a process that has the store open: what is told is one moment of its manifest.
//! 2. No table is read; the figures are those that the manifest repeats.

use std::path::Path;

use crate::{
    check::{numbered, survey},
    environment::Environment,
    error::{Error, Result},
    key::SeqNo,
    manifest::{self, KeyspaceRecord},
    options::KeyspaceOptions,
    version::LEVELS,
};

/// The tables of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelDescription {
    /// Tables on the level.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries in them, versions and deletions counted.
    pub entries: u64,
    /// Deletions of keys among them.
    pub tombstones: u64,
    /// Deletions of ranges that they list.
    pub range_deletes: u64,
}

/// What a keyspace consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceDescription {
    /// Its name.
    pub name: String,
    /// What it was made with.
    pub options: KeyspaceOptions,
    /// Every write up to here is in its tables.
    pub flushed: SeqNo,
    /// Its levels, from 0 on.
    pub levels: [LevelDescription; LEVELS],
    /// Files of values that stand apart from the tables, and their bytes.
    pub value_files: u64,
    /// Bytes of these files.
    pub value_bytes: u64,
}

/// What a store consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDescription {
    /// The number drawn when it was made.
    pub store: u64,
    /// The format it is written in.
    pub format: u32,
    /// The last edit of its manifest.
    pub edit: u64,
    /// The keyspaces, by name.
    pub keyspaces: Vec<KeyspaceDescription>,
    /// Segments of the log that are needed, and those made ahead.
    pub log_segments: u64,
    /// Bytes of these segments.
    pub log_bytes: u64,
    /// Bytes of all files of the directory.
    pub bytes: u64,
}

/// Tells what the store in the directory `path` consists of.
pub fn describe(environment: &Environment, path: impl AsRef<Path>) -> Result<StoreDescription> {
    let (vfs, dir) = (environment.vfs().as_ref(), path.as_ref());
    let read = || {
        let current = manifest::read_current(vfs, dir)?;
        Ok::<_, Error>((current, manifest::read(vfs, dir, current)?))
    };
    let sizes = survey(vfs, dir)?;
    // A store that serves may replace its manifest between the two readings; not twice.
    let (current, read) = read().or_else(|_| read())?;
    let catalog = read.catalog;
    let log: Vec<u64> = sizes
        .iter()
        .filter(|(name, _)| numbered(name, "log-").is_some_and(|n| catalog.log_start <= n))
        .filter_map(|(_, bytes)| *bytes)
        .collect();
    let mut keyspaces: Vec<_> = catalog.keyspaces.values().map(describe_keyspace).collect();
    keyspaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(StoreDescription {
        store: current.store,
        format: manifest::FORMAT,
        edit: catalog.edit,
        keyspaces,
        log_segments: log.len() as u64,
        log_bytes: log.iter().sum(),
        bytes: sizes.values().flatten().sum(),
    })
}

fn describe_keyspace(record: &KeyspaceRecord) -> KeyspaceDescription {
    let mut levels = [LevelDescription::default(); LEVELS];
    for (level, table) in record.tables.values() {
        let Some(level) = levels.get_mut(usize::from(*level)) else { continue };
        level.tables += 1;
        level.bytes += table.bytes;
        level.entries += table.entries;
        level.tombstones += table.tombstones;
        level.range_deletes += table.range_deletes;
    }
    KeyspaceDescription {
        name: record.name.clone(),
        options: record.options.clone(),
        flushed: record.flushed,
        levels,
        value_files: record.values.len() as u64,
        value_bytes: record.values.values().map(|values| values.bytes).sum(),
    }
}
