//! What to compact next in a keyspace whose keys come in the order of time: a pure choice from a
//! version.
//!
//! Tables hardly overlap there, so new rows need not rewrite old ones: a table goes to the last level
//! as it is. Rows that come late are cut out of the tables that brought them, at the ends of the tables
//! of the last level, and wait until they are worth rewriting the ones they belong to.
//!
//! ```text
//!  0             ▪ ▪ ▪   as flushed; what overlaps nothing goes down without being read
//!  5   ▪   ▪             late rows, each table above one of the last level
//!  6   ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪   never rewritten but for late rows, and small ones together once
//! ```
//!
//! 1. The same version and situation give the same job.
//! 2. A job's tables cover every table between its levels that overlaps them.
//! 3. A table of the last level that is not small is read only for rows that lie between its keys, or
//!    for deletions that it holds.
//! 4. Whatever is done as often as a job is due comes to an end: tables go down, small ones become
//!    fewer, and deletions go.

use std::sync::Arc;

use super::{
    job::{How, Job},
    pick::{
        CONVERGE_SCORE, DEEP_SCORE_MAX, LAST, LEVEL0_SCORE, Runs, Situation, Spans, Urge,
        level0_is_due, rewrite,
    },
};
use crate::version::{LiveTable, Version};

/// Where late rows wait.
pub(super) const LATE: usize = LAST - 1;
/// The score of what costs no more than an edit.
const MOVE_SCORE: f64 = 92.0;
/// Bytes of late rows for each byte of the tables that they are merged into, once they are due.
const LATE_SHARE: f64 = 0.25;
/// The same while nobody writes.
const LATE_SHARE_IDLE: f64 = 1.0 / 16.0;
/// Tables of late rows beyond which those that pay most are merged anyway.
const LATE_TABLES_MAX: usize = 64;
/// The score of putting small tables together.
const SMALL_SCORE: f64 = 0.5;
/// Small tables beside each other that are put together although that makes no large one.
const SMALL_TABLES_MAX: usize = 32;

/// The most urgent job, and how urgent.
pub(super) fn pick(version: &Version, situation: Situation<'_>) -> Option<(f64, Job)> {
    let windows = Windows { runs: Runs::of(version), situation };
    if level0_is_due(version, situation.options) {
        let height = version.levels[0].tables().len() as f64;
        return Some((LEVEL0_SCORE + height, windows.take_level0()?));
    }
    if let Some(job) = windows.lower() {
        return Some((MOVE_SCORE, job));
    }
    if let Some((share, job)) = windows.merge_late() {
        return Some((share.clamp(1.0, DEEP_SCORE_MAX), job));
    }
    if let Some(job) = windows.runs.full_of_tombstones(situation.oldest) {
        return Some((1.0, job));
    }
    if let Some(job) = windows.join_small() {
        return Some((SMALL_SCORE, job));
    }
    if situation.urge == Urge::Due {
        return None;
    }
    let job = windows.take_level0().or_else(|| windows.drop_ranges())?;
    Some((CONVERGE_SCORE, job))
}

/// A version, and what the choice depends on beside it.
struct Windows<'a> {
    runs: Runs<'a>,
    situation: Situation<'a>,
}

type Chosen = Vec<(usize, Arc<LiveTable>)>;

impl Windows<'_> {
    fn tables(&self, level: usize) -> &[Arc<LiveTable>] {
        self.runs.tables(level)
    }

    /// Tables of level 0 that go down as they are; or all of them, merged with the late rows that they
    /// overlap.
    fn take_level0(&self) -> Option<Job> {
        let level0 = self.tables(0);
        let clear = |file: &Arc<LiveTable>| {
            let others = level0.iter().filter(|other| !Arc::ptr_eq(other, file));
            file.info.range_deletes == 0 && self.is_clear(file, 1) && is_apart(file, others)
        };
        let apart: Chosen = chosen(0, level0.iter().filter(|file| clear(file)));
        if !apart.is_empty() {
            return Some(moved(apart));
        }
        if level0.is_empty() {
            return None;
        }
        let job = self.runs.merge(chosen(0, level0), LATE);
        let spans = Spans::of(&job.inputs);
        if self.tables(LAST).iter().any(|file| spans.overlap(file)) {
            return Some(job);
        }
        Some(Job { target: LAST, ..job })
    }

    /// Whether no table from `level` down overlaps `file`.
    fn is_clear(&self, file: &Arc<LiveTable>, level: usize) -> bool {
        (level..=LAST).all(|level| is_apart(file, self.tables(level)))
    }

    /// Tables between level 0 and the last that overlap nothing below them go there as they are.
    fn lower(&self) -> Option<Job> {
        let level = (1..LAST)
            .rev()
            .find(|level| self.tables(*level).iter().any(|file| self.is_clear(file, level + 1)))?;
        let clear = self.tables(level).iter().filter(|file| self.is_clear(file, level + 1));
        Some(moved(chosen(level, clear)))
    }

    /// Late rows that are worth rewriting what they overlap, and how much there is of them for each byte
    /// of that.
    fn merge_late(&self) -> Option<(f64, Job)> {
        let count: usize = (1..LAST).map(|level| self.tables(level).len()).sum();
        let least = match self.situation.urge {
            _ if LATE_TABLES_MAX < count => 0.0,
            Urge::Due => LATE_SHARE,
            Urge::Idle => LATE_SHARE_IDLE,
            Urge::Settle => 0.0,
        };
        let late = (1..LAST).flat_map(|level| self.tables(level).iter().map(move |f| (level, f)));
        let jobs = late.map(|(level, file)| self.with_overlapped(level, file));
        let due = jobs.filter(|(share, _)| least <= *share);
        due.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// A merge of a table into those of the last level that it overlaps, with all of its level that
    /// overlap those, too.
    fn with_overlapped(&self, level: usize, file: &Arc<LiveTable>) -> (f64, Job) {
        let mut job = self.runs.merge(vec![(level, Arc::clone(file))], LAST);
        loop {
            let spans = Spans::of(&job.inputs);
            let group = chosen(level, self.tables(level).iter().filter(|file| spans.overlap(file)));
            let wider = self.runs.merge(group, LAST);
            if wider.inputs.len() == job.inputs.len() {
                break;
            }
            job = wider;
        }
        let bytes = |is_late: bool| -> u64 {
            let of = job.inputs.iter().filter(|(at, _)| (*at == level) == is_late);
            of.map(|(_, file)| file.info.visible_bytes()).sum()
        };
        (bytes(true) as f64 / bytes(false).max(1) as f64, Job { is_deep: true, ..job })
    }

    /// Small tables beside each other in the last level that make up a sensible one. What a merge has left
    /// of a table for later, with what overlaps it above, is not mixed with what it has written: it
    /// would begin anew, and never end.
    fn join_small(&self) -> Option<Job> {
        let full = self.situation.options.table_bytes_max;
        let is_above = |file| (0..LAST).any(|level| !is_apart(file, self.tables(level)));
        let (mut together, mut bytes): (Vec<&Arc<LiveTable>>, u64) = (Vec::new(), 0);
        for file in self.tables(LAST) {
            let more = file.info.visible_bytes();
            let is_taken = file.info.is_cut() && is_above(file);
            if is_taken || self.small_bytes() <= more || full < bytes + more {
                if self.is_worth_joining(together.len(), bytes) {
                    break;
                }
                (together, bytes) = (Vec::new(), 0);
            }
            if !is_taken && more < self.small_bytes() {
                together.push(file);
                bytes += more;
            }
        }
        if !self.is_worth_joining(together.len(), bytes) {
            return None;
        }
        Some(Job { inputs: chosen(LAST, together), target: LAST, how: How::Merge, is_deep: true })
    }

    /// Bytes from which on a table is not small: half of a full one, or what putting some together came to
    /// when there was no memory for more.
    fn small_bytes(&self) -> u64 {
        (self.situation.options.table_bytes_max / 2).min(self.situation.joined_bytes)
    }

    fn is_worth_joining(&self, count: usize, bytes: u64) -> bool {
        let full = self.situation.options.table_bytes_max;
        let settles = self.situation.urge == Urge::Settle;
        2 <= count && (settles || full / 2 <= bytes || SMALL_TABLES_MAX <= count)
    }

    /// A table of the last level that lists deletions of ranges which delete nothing any more.
    fn drop_ranges(&self) -> Option<Job> {
        let done = |file: &&Arc<LiveTable>| {
            file.info.range_deletes != 0 && file.info.seqno_max <= self.situation.oldest
        };
        let file = self.tables(LAST).iter().find(done)?;
        Some(rewrite(self.runs.version, LAST, vec![Arc::clone(file)]))
    }
}

fn chosen<'a>(level: usize, files: impl IntoIterator<Item = &'a Arc<LiveTable>>) -> Chosen {
    files.into_iter().map(|file| (level, Arc::clone(file))).collect()
}

/// Tables that go to the last level as they are.
fn moved(inputs: Chosen) -> Job {
    Job { inputs, target: LAST, how: How::Move, is_deep: false }
}

/// Whether `file` overlaps none of `others`.
fn is_apart<'a>(
    file: &Arc<LiveTable>,
    others: impl IntoIterator<Item = &'a Arc<LiveTable>>,
) -> bool {
    let ends_before = |a: &LiveTable, b: &LiveTable| a.info.ends_before(&b.info.first_key);
    others.into_iter().all(|other| ends_before(file, other) || ends_before(other, file))
}

#[cfg(test)]
mod tests;
