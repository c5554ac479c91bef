//! What to compact next: a pure choice from a version.
//!
//! 1. The same version, options and places give the same job.
//! 2. A job's tables cover every table of their levels that overlaps them, as far as order demands:
//!    no version of a key goes below an older one of the same key.

use std::{path::Path, sync::Arc};

use crate::{
    options::Options,
    version::{LEVELS, LiveTable, Version},
};

/// Tables to merge, and where they stand.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The level of `upper`; `lower` and the outputs stand on the next.
    pub(crate) level: usize,
    pub(crate) upper: Vec<Arc<LiveTable>>,
    pub(crate) lower: Vec<Arc<LiveTable>>,
}

/// How many times more than the one above a level holds.
const FANOUT: u64 = 10;

impl Job {
    /// Whether the tables can go down as they are.
    pub(crate) fn is_move(&self) -> bool {
        let disjoint = self.level != 0 || self.upper.len() == 1;
        disjoint && self.lower.is_empty()
    }

    /// The file of an input.
    pub(crate) fn path(&self) -> &Path {
        self.inputs().next().map_or(Path::new(""), |(_, file)| &file.path)
    }

    pub(crate) fn inputs(&self) -> impl Iterator<Item = (usize, &Arc<LiveTable>)> {
        let upper = self.upper.iter().map(|file| (self.level, file));
        upper.chain(self.lower.iter().map(|file| (self.level + 1, file)))
    }
}

/// The most urgent job, and how urgent: 1 is due.
pub(crate) fn pick(
    version: &Version,
    options: &Options,
    compacted_to: &[Vec<u8>; LEVELS],
) -> Option<(f64, Job)> {
    let mut best: Option<(f64, usize)> = None;
    for level in 0..LEVELS - 1 {
        let score = score(version, options, level);
        if 1.0 <= score && best.is_none_or(|(most, _)| most < score) {
            best = Some((score, level));
        }
    }
    let (score, level) = best?;
    let job = if level == 0 {
        from_level0(version)
    } else {
        from_level(version, level, &compacted_to[level])
    };
    Some((score, job))
}

fn score(version: &Version, options: &Options, level: usize) -> f64 {
    let tables = &version.levels[level];
    if level == 0 {
        return tables.tables().len() as f64 / options.level0_tables_max as f64;
    }
    let bytes_max = options.level_bytes_base.saturating_mul(FANOUT.pow(level as u32 - 1));
    // Strictly above: a level that is exactly full is not due.
    let score = tables.bytes() as f64 / bytes_max as f64;
    if 1.0 < score { score } else { 0.0 }
}

/// All of level 0 with what it overlaps below.
pub(crate) fn from_level0(version: &Version) -> Job {
    let upper = version.levels[0].tables().to_vec();
    let first = upper.iter().map(|file| &file.info.first_key).min();
    let last = upper.iter().map(|file| &file.info.last_key).max();
    let lower = match (first, last) {
        (Some(first), Some(last)) => version.levels[1].overlapping(first, last),
        _ => Vec::new(),
    };
    Job { level: 0, upper, lower }
}

/// The table of `level` behind the last one compacted, with what it overlaps below.
fn from_level(version: &Version, level: usize, compacted_to: &[u8]) -> Job {
    let tables = version.levels[level].tables();
    let next = tables.iter().find(|file| compacted_to < file.info.last_key.as_slice());
    let upper: Vec<_> = next.or(tables.first()).cloned().into_iter().collect();
    let lower = match upper.first() {
        Some(file) => {
            version.levels[level + 1].overlapping(&file.info.first_key, &file.info.last_key)
        }
        None => Vec::new(),
    };
    Job { level, upper, lower }
}
