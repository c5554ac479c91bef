//! Space of values that nobody can read any more is given back.
//!
//! Each table says how many bytes of each value file its entries point to. What no table and no
//! memtable points to is garbage, and a file of nothing else goes at once. Beyond a bound, the files
//! that are garbage most are collected: the tables that point into them are rewritten in place, and the
//! records still pointed to are copied on the way.
//!
//! When nothing more urgent is due, the bytes of all value files come down to 1.3 times those that
//! reads can reach:
//!
//! - `GARBAGE`: total at most 1.2 times what tables point to;
//! - `DOUBT`: of what tables point to, at most a 25th may be hidden by newer entries in other tables,
//!   or may be old versions of which the last snapshot is gone. Merging brings either to light.
//!
//! 1. Counts are exact: they are made from the entries as these are written, and stand in the same edit.
//! 2. A file goes after an edit that says so; readers that may still point into it hold it.
//! 3. Every job ends nearer to the bound, so collecting ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    background::Duty,
    compaction::{Job, Urge, bring_down, rewrite},
    error::Result,
    key::SeqNo,
    keyspace::{State, Tree},
    manifest::Change,
    planted::{Bug, planted},
    store::Store,
    values::{FILE_BYTES_LEAST, LiveValues},
    version::{LEVELS, LiveTable, Version},
};

/// Collecting begins when all files together have more than so many tenths of what is pointed to...
const GARBAGE_BEGINS: u64 = 12;
/// ...and takes files until they would have so many.
const GARBAGE_ENDS: u64 = 11;
/// Of what is pointed to, one part in so many may be in doubt.
const DOUBT: u64 = 25;
/// Tables rewritten by one job.
const JOB_TABLES_MAX: usize = 8;

/// What to do for the space of values.
#[derive(Debug)]
struct Collection {
    job: Job,
    /// The files whose records are copied on the way.
    files: BTreeSet<u64>,
}

impl Store {
    /// One step towards the bound, when no compaction is due; false when there is none to do. The
    /// caller has the compaction's lock.
    pub(crate) fn collect_one(&self) -> Result<bool> {
        for tree in self.trees() {
            if self.drop_dead_values(&tree)? {
                return Ok(true);
            }
        }
        let boundaries = self.snapshots.boundaries(|| self.visible());
        let oldest = boundaries.first().copied().unwrap_or_default();
        for tree in self.trees() {
            let state = Arc::clone(&tree.state());
            let held = held_files(&state);
            if let Some(collection) = pick(&state.version, &held, oldest) {
                let Collection { job, files } = collection;
                let task = self.task(&tree, &state.version, Urge::Due, job, files);
                drop(state);
                self.run_task(task)?;
                self.measure_pile();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets the value files into which nothing points; false when there are none.
    fn drop_dead_values(&self, tree: &Tree) -> Result<bool> {
        if dead_files(tree).is_empty() {
            return Ok(false);
        }
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            return Ok(false);
        }
        // Now no flush and no compaction changes which tables there are.
        let dead = dead_files(tree);
        let forget = |file: &Arc<LiveValues>| Change::RemoveValues {
            keyspace: tree.id,
            file: file.info.file,
        };
        manifest.commit(dead.iter().map(forget).collect())?;
        let edit = manifest.last_edit();
        tree.change_state(|state| State {
            active: Arc::clone(&state.active),
            frozen: state.frozen.clone(),
            version: Arc::new(state.version.as_ref().clone().with_values(&dead, &[])),
        });
        drop(manifest);
        for file in &dead {
            file.mark_obsolete();
        }
        self.note_edit(edit);
        self.environment.signal(Duty::Prepare);
        Ok(!dead.is_empty())
    }
}

/// The value files of a keyspace into which nothing points.
fn dead_files(tree: &Tree) -> Vec<Arc<LiveValues>> {
    let quiet = |file: &&Arc<LiveValues>| !file.is_in_flight();
    let mut files: Vec<_> = tree.state().version.values.values().filter(quiet).cloned().collect();
    if files.is_empty() {
        return files;
    }
    // After the flights were looked at: a file that has landed since is in a memtable of this state,
    // or in a table.
    let state = tree.state();
    let held = held_files(&state);
    let used = used_bytes(&state.version);
    let is_held = |file: &u64| held.contains(file) && !planted(Bug::CollectedEarly);
    files.retain(|file| !used.contains_key(&file.info.file) && !is_held(&file.info.file));
    files
}

/// The value files that something in memory points into, or will.
fn held_files(state: &State) -> BTreeSet<u64> {
    let files = state.version.values.values().filter(|file| file.is_in_flight()).cloned();
    let in_memory = state.memtables().flat_map(|memtable| memtable.values());
    files.chain(in_memory).map(|file| file.info.file).collect()
}

/// The bytes of each file that tables point to.
fn used_bytes(version: &Version) -> BTreeMap<u64, u64> {
    let mut used = BTreeMap::new();
    for table in version.tables() {
        for part in &table.info.values.files {
            *used.entry(part.file).or_default() += part.bytes;
        }
    }
    used
}

/// What to do next for the space of a keyspace's values: a pure choice. `held` are files that cannot go
/// now, `oldest` is the oldest moment that a reader may ask for.
fn pick(version: &Version, held: &BTreeSet<u64>, oldest: SeqNo) -> Option<Collection> {
    if version.values.is_empty() {
        return None;
    }
    let used = used_bytes(version);
    let live: u64 = used.values().sum();
    let bring_to_light = || {
        pick_overlap(version, live / DOUBT).or_else(|| pick_hidden(version, live / DOUBT, oldest))
    };
    let job = bring_to_light().map(|job| Collection { job, files: BTreeSet::new() });
    job.or_else(|| pick_garbage(version, held, &used, live))
}

/// Merges the shallowest table that may hide something, when all of them may hide more than
/// `bytes_max` of what deeper tables point to.
fn pick_overlap(version: &Version, bytes_max: u64) -> Option<Job> {
    let mut doubtful = 0;
    let mut shallowest = None;
    for level in 0..LEVELS - 1 {
        for (place, table) in version.levels[level].tables().iter().enumerate() {
            let bytes = hidden_bytes_max(version, level, place, table);
            if bytes != 0 {
                doubtful += bytes;
                shallowest.get_or_insert((level, table));
            }
        }
    }
    let (level, table) = shallowest.filter(|_| bytes_max < doubtful)?;
    Some(bring_down(version, level, table))
}

/// The most bytes of values that the entries of `table` may hide in older tables: each entry one.
fn hidden_bytes_max(version: &Version, level: usize, place: usize, table: &LiveTable) -> u64 {
    let (first, last) = (&table.info.first_key, &table.info.last_key);
    let (mut bytes, mut most) = (0u64, 0u64);
    let mut count = |older: &LiveTable| {
        let uses = &older.info.values;
        if !uses.is_empty() && older.overlaps(first, last) {
            bytes += uses.bytes();
            most = most.max(uses.bytes().div_ceil(uses.count().max(1)));
        }
    };
    if level == 0 {
        version.levels[0].tables()[place + 1..].iter().for_each(|older| count(older));
    }
    let listed = table.info.range_deletes != 0;
    for deeper in &version.levels[(level + 1).max(1)..] {
        let from = deeper.seek(first);
        let reached = |older: &&Arc<LiveTable>| older.info.first_key <= *last;
        deeper.tables()[from..].iter().take_while(reached).for_each(|older| count(older));
    }
    if listed { bytes } else { bytes.min(table.info.entries.saturating_mul(most)) }
}

/// Rewrites a table with old versions that no snapshot needs any more, or with deleted ranges that
/// have nothing left to hide below, when these point to more than `bytes_max`.
fn pick_hidden(version: &Version, bytes_max: u64, oldest: SeqNo) -> Option<Job> {
    let holds = |level: &usize| !version.levels[*level].tables().is_empty();
    let deepest = (0..LEVELS).rev().find(holds).unwrap_or(0);
    let freed = |level: usize, table: &LiveTable| {
        let uses = &table.info.values;
        match table.info.range_deletes {
            _ if oldest < table.info.seqno_max => 0,
            0 => uses.hidden_bytes,
            _ if level == deepest => uses.bytes(),
            _ => uses.hidden_bytes,
        }
    };
    let mut hidden = 0;
    let mut first = None;
    for (level, tables) in version.levels.iter().enumerate() {
        for table in tables.tables() {
            let bytes = freed(level, table);
            hidden += bytes;
            if bytes != 0 && first.is_none() {
                first = Some((level, table));
            }
        }
    }
    let (level, table) = first.filter(|_| bytes_max < hidden)?;
    Some(rewrite(version, level, vec![Arc::clone(table)]))
}

/// Collects the files that are garbage most, until few enough bytes are.
fn pick_garbage(
    version: &Version,
    held: &BTreeSet<u64>,
    used: &BTreeMap<u64, u64>,
    live: u64,
) -> Option<Collection> {
    let mut total: u64 = version.values.values().map(|file| file.info.bytes).sum();
    if total.saturating_mul(10) <= live.saturating_mul(GARBAGE_BEGINS) {
        return None;
    }
    let garbage = |file: &LiveValues| {
        let used = used.get(&file.info.file).copied().unwrap_or_default();
        file.info.bytes.saturating_sub(used + FILE_BYTES_LEAST)
    };
    let collectable = |file: &&Arc<LiveValues>| {
        let number = &file.info.file;
        used.contains_key(number) && !held.contains(number) && !file.is_damaged()
    };
    let mut worst: Vec<_> = version
        .values
        .values()
        .filter(collectable)
        .map(|file| (garbage(file), file.info.bytes, file.info.file))
        .filter(|(garbage, ..)| *garbage != 0)
        .collect();
    let share = |(garbage, bytes, _): &(u64, u64, u64)| *garbage as f64 / *bytes as f64;
    worst.sort_by(|a, b| share(b).total_cmp(&share(a)).then(a.2.cmp(&b.2)));
    let mut files = BTreeSet::new();
    for (garbage, _, file) in worst {
        if total.saturating_mul(10) <= live.saturating_mul(GARBAGE_ENDS) {
            break;
        }
        files.insert(file);
        total -= garbage;
    }
    let job = tables_into(version, &files)?;
    Some(Collection { job, files })
}

/// A job that rewrites tables which point into `files`: the first of the first level that has such,
/// and those behind it.
fn tables_into(version: &Version, files: &BTreeSet<u64>) -> Option<Job> {
    let points = |table: &&Arc<LiveTable>| table.info.values.names(|file| files.contains(&file));
    (0..LEVELS).find_map(|level| {
        let tables = version.levels[level].tables().iter();
        // Only neighbours: what is written must fit between the tables that stay.
        let run = tables.skip_while(|table| !points(table)).take_while(points);
        let run: Vec<_> = run.take(JOB_TABLES_MAX).cloned().collect();
        (!run.is_empty()).then(|| rewrite(version, level, run))
    })
}
