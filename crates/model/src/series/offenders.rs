//! Tells who has all the series, when there may be no more of them.
//!
//! 1. What it costs is bounded, whatever there is: some of the series are looked at, evenly spread over the order
//!    in which they came, and what they come to is kept for a while.
//! 2. What is told is what was counted: of how many series, and how many different values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use olivine_command::points::split_key;
use olivine_engine::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::{SeriesStore, State, layout::row};

/// Series that are looked at.
const LOOKED_AT_MAX: u64 = 2_048;
/// How long what they came to is told again, in milliseconds.
const KEPT_MS: u64 = 60_000;
/// Measurements that are told, and tags of each.
const MEASUREMENTS_MAX: usize = 3;
const TAGS_MAX: usize = 3;
/// Characters that are shown of a name.
const NAME_CHARS_MAX: usize = 64;

/// What the series of a measurement come to that were looked at.
#[derive(Default)]
struct Tally {
    series: u64,
    /// The different values of each tag, as hashes.
    values: BTreeMap<String, BTreeSet<u64>>,
}

impl SeriesStore {
    /// Why a bucket gets no new series, and who has those that there are.
    pub(crate) fn too_many(&self, state: &mut State, bucket: u32, now: u64) -> Result<String> {
        if let Some((then, known)) = state.offenders.get(&bucket)
            && now.abs_diff(*then) < KEPT_MS
        {
            return Ok(known.clone());
        }
        let tallies = self.tallies(state, bucket)?;
        let database = state.catalog.bucket(bucket).map_or("", |known| known.database.as_str());
        let text = told(self.series_max, database, tallies);
        state.offenders.insert(bucket, (now, text.clone()));
        Ok(text)
    }

    fn tallies(&self, state: &State, bucket: u32) -> Result<BTreeMap<String, Tally>> {
        let given_out = state.catalog.counted(&row(b'r', &[bucket], &[]));
        let step = given_out.div_ceil(LOOKED_AT_MAX).max(1);
        let numbers: Vec<u32> = (0..given_out as u32).step_by(step as usize).collect();
        let (mut keys, cold) = Self::keys_met(state, bucket, &numbers);
        self.add_cold_keys(bucket, &cold, &mut keys)?;
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for (_, key) in keys {
            let Ok(key) = split_key(&key) else { continue };
            let tally = tallies.entry(key.measurement.into_owned()).or_default();
            tally.series += 1;
            for (tag, value) in key.tags {
                let values = tally.values.entry(tag.into_owned()).or_default();
                values.insert(xxh3_64(value.as_bytes()));
            }
        }
        Ok(tallies)
    }
}

fn told(series_max: u64, database: &str, tallies: BTreeMap<String, Tally>) -> String {
    let all: u64 = tallies.values().map(|tally| tally.series).sum();
    let mut text = format!(
        "max-series-per-database limit exceeded: ({series_max}): the database {database:?} gets no new series \
         (`series-max` is the limit), those it has go on"
    );
    let mut worst: Vec<(String, Tally)> = tallies.into_iter().collect();
    worst.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.series));
    for (nth, (name, tally)) in worst.iter().take(MEASUREMENTS_MAX).enumerate() {
        let series = tally.series;
        let lead =
            if nth == 0 { format!("; of {all} that were looked at ") } else { ", ".to_owned() };
        let are = if nth == 0 { if series == 1 { "is " } else { "are " } } else { "" };
        let _infallible = write!(text, "{lead}{series} {are}of {}", shown(name));
        let mut tags: Vec<(&String, usize)> =
            tally.values.iter().map(|(tag, values)| (tag, values.len())).collect();
        tags.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (nth, (tag, count)) in tags.iter().take(TAGS_MAX).enumerate() {
            let lead = if nth == 0 { " (different values: " } else { ", " };
            let _infallible = write!(text, "{lead}{count} of tag {}", shown(tag));
        }
        text.push_str(if tags.is_empty() { "" } else { ")" });
    }
    let _infallible =
        write!(text, "; SHOW SERIES EXACT CARDINALITY ON {database:?} counts them by measurement");
    text
}

fn shown(name: &str) -> String {
    let cut: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("{cut:?}{}", if cut.len() < name.len() { "..." } else { "" })
}
