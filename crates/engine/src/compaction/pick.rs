//! What to compact next: a pure choice from a version.
//!
//! Levels 1 and on are sorted runs, newest first, and the last level is where all of them end up. Few
//! rewrites come from merging tables of level 0 into a run of their own, runs of like size with each
//! other, and all of them into the last level only when together they are worth it; few places to look
//! at come from doing the rest when nobody writes.
//!
//! ```text
//!  0   ▪ ▪ ▪ ▪        tables as flushed: merged when there are several
//!  ...
//!  4   ▪▪▪▪           up to four runs, the newest on top
//!  5   ▪▪▪▪▪▪▪▪
//!  6   ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪   merged into when the runs above hold three quarters as much
//! ```
//!
//! 1. The same version and situation give the same job.
//! 2. A job's tables cover every table between its levels that overlaps them: no version of a key goes
//!    below an older one of the same key.
//! 3. Whatever is done as often as a job is due comes to an end: tables go down or become fewer.

use std::sync::Arc;

use super::{
    crawl::{CRAWL_FOR_ENTRY, Crawl},
    job::{How, Job},
    window,
};
use crate::{
    key::SeqNo,
    options::{CompactionStyle, Options},
    version::{LEVELS, LiveTable, Version},
};

/// The level below all others.
pub(super) const LAST: usize = LEVELS - 1;
/// Runs between level 0 and the last level that are left beside each other.
const RUNS_MAX: usize = 4;
/// What the runs above may hold for each byte of the last level before they are merged into it.
const ABOVE_SHARE: f64 = 0.75;
/// A run is merged with newer ones that hold this part of it or more.
const LIKE_SHARE: f64 = 0.5;
/// A table of the last level is rewritten when this part of its entries are deletions.
const TOMBSTONE_SHARE: f64 = 0.25;
/// What level 0 scores beside its height: it goes before everything else.
pub(super) const LEVEL0_SCORE: f64 = 100.0;
/// The score of what only pays when nobody writes.
pub(super) const CONVERGE_SCORE: f64 = 0.0;
/// Tables that a keyspace should have at least, and bytes below which one is too small for that.
const TABLES_AIM: u64 = 32;
const TABLE_BYTES_LEAST: u64 = 4 << 20;
/// The highest score of a merge into the last level.
pub(super) const DEEP_SCORE_MAX: f64 = 90.0;

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urge {
    /// What reads and disk need.
    Due,
    /// Also what pays when nobody writes.
    Idle,
    /// Also what pays when somebody asks for it.
    Settle,
}

impl Urge {
    /// Bytes of the last level that may be rewritten for each byte above it.
    fn patience(self) -> Option<f64> {
        match self {
            Urge::Due => None,
            Urge::Idle => Some(16.0),
            Urge::Settle => Some(64.0),
        }
    }
}

/// What a choice depends on beside the version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) options: &'a Options,
    pub(crate) style: CompactionStyle,
    pub(crate) urge: Urge,
    /// No reader can ask for anything older than the newest version at or below this number.
    pub(crate) oldest: SeqNo,
    /// Tables of so many bytes are not put together: there was no memory to make larger ones.
    pub(crate) joined_bytes: u64,
}

/// The most urgent job, and how urgent.
pub(crate) fn pick(version: &Version, situation: Situation<'_>) -> Option<(f64, Job)> {
    if situation.style == CompactionStyle::TimeWindow {
        return window::pick(version, situation);
    }
    let runs = Runs::of(version);
    // A merge of level 0 that was left off goes on, though there are fewer tables now.
    if level0_is_due(version, situation.options) || runs.is_cut(0) {
        let height = version.levels[0].tables().len() as f64;
        return Some((LEVEL0_SCORE + height, runs.merge_level0(situation.options)));
    }
    if 1.0 <= runs.debt() || runs.begun().is_some() {
        return Some((runs.debt().clamp(1.0, DEEP_SCORE_MAX), runs.merge_into_last()));
    }
    if let Some(job) = runs.full_of_tombstones(situation.oldest) {
        return Some((1.0, job));
    }
    let patience = situation.urge.patience()?;
    Some((CONVERGE_SCORE, runs.converge(situation.options, patience)?))
}

/// Whether level 0 should be merged.
pub(crate) fn level0_is_due(version: &Version, options: &Options) -> bool {
    options.level0_tables_max <= version.levels[0].tables().len()
}

/// A job that merges a table with all that is older, into the last level; of level 0 all tables.
pub(crate) fn bring_down(version: &Version, level: usize, table: &Arc<LiveTable>) -> Job {
    let level0 = || version.levels[0].tables().iter().map(|file| (0, Arc::clone(file))).collect();
    let chosen = if level == 0 { level0() } else { vec![(level, Arc::clone(table))] };
    Job { how: How::Merge, ..Runs::of(version).job(chosen, LAST) }
}

/// A job that rewrites tables of a level where they are. Level 0 goes down instead.
pub(crate) fn rewrite(version: &Version, level: usize, tables: Vec<Arc<LiveTable>>) -> Job {
    if let (0, Some(table)) = (level, tables.first()) {
        return bring_down(version, 0, table);
    }
    let inputs = tables.into_iter().map(|file| (level, file)).collect();
    Job { inputs, target: level, how: How::Merge, is_deep: true }
}

/// How far the runs above the last level are towards a merge into it, where 1 is due.
pub(super) fn debt(version: &Version) -> f64 {
    Runs::of(version).debt()
}

/// How much the runs above the last level hold of what they may hold, for keyspaces of some size.
pub(crate) fn overload(version: &Version, options: &Options) -> f64 {
    let runs = Runs::of(version);
    runs.above() / (runs.last_bytes() * ABOVE_SHARE).max(options.level_bytes_base as f64)
}

/// The job that has the deletions gone which walks met between two keys, once it costs no more than the
/// walks did; or why there is none.
pub(super) fn sweep(version: &Version, crawl: &Crawl, oldest: SeqNo) -> Result<Job, NoSweep> {
    let runs = Runs::of(version);
    let mut chosen: Vec<(usize, Arc<LiveTable>)> = Vec::new();
    for level in 0..LEVELS {
        for file in runs.tables(level) {
            let within = file.info.first_key <= crawl.last && !file.info.ends_before(&crawl.first);
            if within || Spans::of(&chosen).overlap(file) {
                chosen.push((level, Arc::clone(file)));
            }
        }
    }
    let could_go = |file: &LiveTable| {
        let info = &file.info;
        info.tombstones + info.range_deletes != 0 && info.seqno_min <= oldest
    };
    if !chosen.iter().any(|(_, file)| could_go(file)) {
        return Err(NoSweep::Useless);
    }
    let entries: u64 = chosen.iter().map(|(_, file)| file.info.entries).sum();
    if crawl.steps < entries.saturating_mul(CRAWL_FOR_ENTRY) {
        return Err(NoSweep::Early);
    }
    Ok(Job { inputs: chosen, target: LAST, how: How::Merge, is_deep: true })
}

/// Why deletions that walks met are left where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSweep {
    /// Merging costs more than the walks did so far.
    Early,
    /// Nothing could be dropped.
    Useless,
}

/// What tables written now may hold: so much that there are some dozens, within what the options say.
/// Small tables let a merge of few keys be small, and give way to each other in the cache step by step.
/// Those of windows are as large as may be, or they would have to grow with the store.
pub(super) fn table_bytes(version: &Version, options: &Options, style: CompactionStyle) -> u64 {
    if style == CompactionStyle::TimeWindow {
        return options.table_bytes_max;
    }
    let bytes: u64 = version.levels.iter().map(|level| level.bytes()).sum();
    (bytes / TABLES_AIM).max(TABLE_BYTES_LEAST).min(options.table_bytes_max)
}

/// A version, and what its levels weigh.
pub(super) struct Runs<'a> {
    pub(super) version: &'a Version,
    /// Bytes of each level, and of what its tombstones may kill.
    weights: [f64; LEVELS],
    /// Levels between 0 and the last that hold something, newest first.
    between: Vec<usize>,
}

impl<'a> Runs<'a> {
    pub(super) fn of(version: &'a Version) -> Runs<'a> {
        let tables = |level: usize| version.levels[level].tables();
        let entries: u64 = tables(LAST).iter().map(|file| file.info.entries).sum();
        let killed = version.levels[LAST].bytes() as f64 / entries.max(1) as f64;
        let mut weights = [0.0; LEVELS];
        for (level, weight) in weights.iter_mut().enumerate() {
            let tombstones: u64 = tables(level).iter().map(|file| file.info.tombstones).sum();
            *weight = version.levels[level].bytes() as f64 + tombstones as f64 * killed;
        }
        let between = (1..LAST).filter(|level| !tables(*level).is_empty()).collect();
        Runs { version, weights, between }
    }

    pub(super) fn tables(&self, level: usize) -> &'a [Arc<LiveTable>] {
        self.version.levels[level].tables()
    }

    /// Whether a merge of this run downwards was begun.
    fn is_cut(&self, level: usize) -> bool {
        self.tables(level).iter().any(|file| file.info.is_cut())
    }

    /// The newest run that a merge downwards has begun to give up, by its place in `between`.
    fn begun(&self) -> Option<usize> {
        self.between.iter().position(|level| self.is_cut(*level))
    }

    fn last_bytes(&self) -> f64 {
        (self.version.levels[LAST].bytes() as f64).max(1.0)
    }

    fn above(&self) -> f64 {
        self.between.iter().map(|level| self.weights[*level]).sum()
    }

    fn debt(&self) -> f64 {
        self.above() / (self.last_bytes() * ABOVE_SHARE)
    }

    /// All of level 0, and where it goes.
    fn merge_level0(&self, options: &Options) -> Job {
        let level0 = self.tables(0).iter().map(|file| (0, Arc::clone(file))).collect::<Vec<_>>();
        let whole = self.weights[0] + self.above();
        let bytes = whole + self.last_bytes();
        if self.begun().is_none()
            && self.last_bytes() * ABOVE_SHARE <= whole
            && bytes <= options.level_bytes_base as f64
        {
            return self.job(level0, LAST);
        }
        let spans = Spans::of(&level0);
        // What a begun merge has left of a run is not mixed with what comes later, or it would not end.
        let overlapped = (1..=LAST).find(|level| {
            let overlaps = self.tables(*level).iter().any(|file| spans.overlap(file));
            overlaps || *level != LAST && self.is_cut(*level)
        });
        let Some(overlapped) = overlapped else { return self.job(level0, LAST) };
        let runs = self.between.iter().filter(|level| !self.is_cut(**level)).count();
        let slot = overlapped - 1;
        let joins = slot != 0 && !self.tables(slot).is_empty();
        if joins || slot != 0 && runs < RUNS_MAX {
            return self.job(level0, slot);
        }
        if let Some(job) = self.shift().filter(|_| slot == 0) {
            return job;
        }
        // No room for one more run: this one grows, and so do those below it that it is like.
        let (mut target, mut weight) = (overlapped, self.weights[0] + self.weights[overlapped]);
        for level in self.between.iter().copied().filter(|level| overlapped < *level) {
            if self.is_cut(level) || weight < self.weights[level] * LIKE_SHARE {
                break;
            }
            (target, weight) = (level, weight + self.weights[level]);
        }
        self.job(level0, target)
    }

    /// Moves a run down to the empty level below it, so that one becomes free above.
    fn shift(&self) -> Option<Job> {
        let free = (2..LAST).rev().find(|level| self.tables(*level).is_empty())?;
        let run = self.between.iter().rev().copied().find(|level| *level < free)?;
        let inputs = self.tables(run).iter().map(|file| (run, Arc::clone(file))).collect();
        Some(Job { inputs, target: free, how: How::Move, is_deep: false })
    }

    /// All runs into the last level; or those that a merge before did not bring to its end.
    fn merge_into_last(&self) -> Job {
        let begun = self.begun();
        let mut from = begun.unwrap_or(0);
        if let Some(begun) = begun {
            // What is above and has nothing before the place reached belongs to that merge, too.
            let first = |level: usize| &self.tables(level)[0].info.first_key;
            let reached = self.between[begun..].iter().map(|level| first(*level)).min();
            while from != 0 && reached <= Some(first(self.between[from - 1])) {
                from -= 1;
            }
        }
        let runs = self.between[from..].iter();
        let tables = runs.flat_map(|level| self.tables(*level).iter().map(|file| (*level, file)));
        let chosen = tables.map(|(level, file)| (level, Arc::clone(file))).collect();
        Job { is_deep: true, ..self.job(chosen, LAST) }
    }

    /// A table of the last level that is mostly deletions which nobody needs any more.
    pub(super) fn full_of_tombstones(&self, oldest: SeqNo) -> Option<Job> {
        let full = |file: &&Arc<LiveTable>| {
            let info = &file.info;
            info.entries as f64 * TOMBSTONE_SHARE <= info.tombstones as f64
                && info.tombstones != 0
                && info.seqno_max <= oldest
        };
        let file = self.tables(LAST).iter().find(full)?;
        let inputs = vec![(LAST, Arc::clone(file))];
        Some(Job { inputs, target: LAST, how: How::Merge, is_deep: true })
    }

    /// Everything into the last level if that pays, into one run if not.
    fn converge(&self, options: &Options, patience: f64) -> Option<Job> {
        let upper = (0..LAST).flat_map(|level| self.tables(level).iter().map(move |f| (level, f)));
        let chosen: Vec<_> = upper.map(|(level, file)| (level, Arc::clone(file))).collect();
        let above = self.weights[0] + self.above();
        if chosen.is_empty() {
            return None;
        }
        let small = self.last_bytes() <= options.table_bytes_max as f64 / 8.0;
        if small || self.last_bytes() <= above * patience {
            return Some(Job { is_deep: true, ..self.job(chosen, LAST) });
        }
        if self.tables(0).len() + self.between.len() <= 1 {
            return None;
        }
        Some(Job { is_deep: true, ..self.job(chosen, LAST - 1) })
    }

    /// The merge that brings `chosen` to `target`, with all that they overlap on the way.
    pub(super) fn merge(&self, chosen: Vec<(usize, Arc<LiveTable>)>, target: usize) -> Job {
        Job { how: How::Merge, ..self.job(chosen, target) }
    }

    /// The job that brings `chosen` to `target`, with all that they overlap on the way.
    fn job(&self, mut chosen: Vec<(usize, Arc<LiveTable>)>, target: usize) -> Job {
        let top = chosen.first().map_or(0, |(level, _)| *level);
        for level in top.max(1)..=target {
            let spans = Spans::of(&chosen);
            let known = chosen.iter().filter(|(known, _)| *known == level);
            let known: Vec<u64> = known.map(|(_, file)| file.info.id).collect();
            let more = self.tables(level).iter();
            let more = more.filter(|file| !known.contains(&file.info.id) && spans.overlap(file));
            let more: Vec<_> = more.map(|file| (level, Arc::clone(file))).collect();
            chosen.extend(more);
        }
        chosen.sort_by(|(a_level, a), (b_level, b)| {
            // Level 0 keeps its order.
            let key = |level: usize, file: &'_ Arc<LiveTable>| {
                (level != 0).then(|| file.info.first_key.clone())
            };
            a_level.cmp(b_level).then_with(|| key(*a_level, a).cmp(&key(*b_level, b)))
        });
        let how = if self.can_move(&chosen, target) { How::Move } else { How::Merge };
        Job { inputs: chosen, target, how, is_deep: false }
    }

    /// Whether tables can go to `target` as they are: none overlaps another, and there is nothing to
    /// drop, neither entries nor, of one that is cut, what no longer shows.
    fn can_move(&self, chosen: &[(usize, Arc<LiveTable>)], target: usize) -> bool {
        let is_bottom = (target + 1..LEVELS).all(|level| self.tables(level).is_empty());
        let mut files: Vec<_> = chosen.iter().map(|(_, file)| file).collect();
        files.sort_by(|a, b| a.info.first_key.cmp(&b.info.first_key));
        let apart = |pair: &[&Arc<LiveTable>]| pair[0].info.ends_before(&pair[1].info.first_key);
        chosen.iter().all(|(level, file)| *level != target && !file.info.is_cut())
            && !(is_bottom && files.iter().any(|file| file.info.tombstones != 0))
            && files.windows(2).all(apart)
    }
}

/// The stretches of keys that tables cover.
pub(super) struct Spans<'a>(Vec<Span<'a>>);

#[derive(Clone, Copy)]
struct Span<'a> {
    first: &'a [u8],
    last: &'a [u8],
    last_is_excluded: bool,
}

impl Span<'_> {
    fn ends_before(&self, key: &[u8]) -> bool {
        self.last < key || self.last_is_excluded && self.last == key
    }
}

impl<'a> Spans<'a> {
    pub(super) fn of(tables: &'a [(usize, Arc<LiveTable>)]) -> Spans<'a> {
        let span = |file: &'a LiveTable| Span {
            first: &file.info.first_key,
            last: &file.info.last_key,
            last_is_excluded: file.info.last_is_excluded,
        };
        let mut all: Vec<_> = tables.iter().map(|(_, file)| span(file)).collect();
        all.sort_unstable_by_key(|span| span.first);
        let mut spans: Vec<Span<'_>> = Vec::with_capacity(all.len());
        for span in all {
            match spans.last_mut() {
                Some(before) if !before.ends_before(span.first) => {
                    let end = |span: &Span<'a>| (span.last, !span.last_is_excluded);
                    if end(before) < end(&span) {
                        *before = Span { first: before.first, ..span };
                    }
                }
                _ => spans.push(span),
            }
        }
        Spans(spans)
    }

    pub(super) fn overlap(&self, file: &LiveTable) -> bool {
        let at = self.0.partition_point(|span| span.ends_before(&file.info.first_key));
        self.0.get(at).is_some_and(|span| !file.info.ends_before(span.first))
    }
}
