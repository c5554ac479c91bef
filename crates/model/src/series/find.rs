//! Tells which series of a table have some tags.
//!
//! What a filter says of single values is looked up in the postings of each partition; whatever comes of that is
//! then asked the whole filter by its own tags, so that postings may be used as far as they help and no
//! further.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use olivine_command::points::split_key;
use olivine_engine::{Error, Result};
use olivine_query::{
    Stop,
    source::{Series, TagFilter},
};

use super::{
    SeriesStore, State,
    catalog::damage,
    layout::{posting_prefix, posting_rest, row},
};

/// A table, and which of its partitions are asked.
pub(crate) struct Asked {
    pub(crate) bucket: u32,
    pub(crate) table: u32,
    pub(crate) partitions: Vec<i64>,
}

/// How much finding may take.
pub(crate) struct Patience<'a> {
    /// Memory of the tags of all that is found.
    pub(crate) bytes_max: usize,
    pub(crate) stop: &'a (dyn Fn() -> Option<Stop> + Sync),
}

impl Patience<'_> {
    /// Asks now and then whether to go on.
    fn look(&self, place: usize) -> Result<(), NotFound> {
        if place.is_multiple_of(STEP) && (self.stop)().is_some() {
            return Err(NotFound::Stopped);
        }
        Ok(())
    }
}

/// Why series were not found.
#[derive(Debug)]
pub(crate) enum NotFound {
    Failed(Error),
    /// Nobody waits any more, or it took too long.
    Stopped,
    /// Their tags take more memory than this.
    TooMany(usize),
}

impl From<Error> for NotFound {
    fn from(error: Error) -> NotFound {
        NotFound::Failed(error)
    }
}

/// Numbers of series with their keys.
pub(super) type Keys = Vec<(u32, Arc<[u8]>)>;

/// Series that are looked at before it is asked whether to go on.
const STEP: usize = 1_024;

impl SeriesStore {
    /// The series that a filter lets through, in the order of their tags.
    pub(crate) fn find(
        &self,
        asked: &Asked,
        filter: &TagFilter,
        patience: &Patience<'_>,
    ) -> Result<Vec<Series>, NotFound> {
        let (mut numbers, mut different) = (Vec::new(), 0);
        for partition in &asked.partitions {
            let here = match self.candidates(asked, *partition, filter, patience)? {
                Some(here) => here,
                None => self.of_value(asked, *partition, ("", ""), patience)?,
            };
            numbers.extend(here);
            // Most partitions have the same series.
            if 2 * different + STEP < numbers.len() {
                different = sort_out(&mut numbers, patience)?;
            }
        }
        sort_out(&mut numbers, patience)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for numbers in numbers.chunks(STEP) {
            if (patience.stop)().is_some() {
                return Err(NotFound::Stopped);
            }
            for series in self.known(asked.bucket, numbers)? {
                if holds(filter, &series.tags) {
                    let text = |(tag, value): &(String, String)| tag.len() + value.len() + 64;
                    bytes += size_of::<Series>() + series.tags.iter().map(text).sum::<usize>();
                    if patience.bytes_max < bytes {
                        return Err(NotFound::TooMany(patience.bytes_max));
                    }
                    found.push(series);
                }
            }
        }
        found.sort_by(|a, b| a.tags.cmp(&b.tags));
        Ok(found)
    }

    /// Series among which all are that the filter lets through, sorted; nothing if postings do not tell.
    fn candidates(
        &self,
        asked: &Asked,
        partition: i64,
        filter: &TagFilter,
        patience: &Patience<'_>,
    ) -> Result<Option<Vec<u32>>, NotFound> {
        Ok(match filter {
            TagFilter::Is(tag, value) if !value.is_empty() => {
                Some(self.of_value(asked, partition, (tag, value), patience)?)
            }
            TagFilter::Matches(tag, matcher, true) if !(matcher.matches)("") => {
                let mut is_last: Option<(String, bool)> = None;
                let mut wanted = |value: &str| match &is_last {
                    Some((last, is)) if last == value => *is,
                    _ => {
                        let is = (matcher.matches)(value);
                        is_last = Some((value.to_owned(), is));
                        is
                    }
                };
                Some(self.of_values(asked, partition, tag, &mut wanted, patience)?)
            }
            TagFilter::IsNot(tag, value) if value.is_empty() => {
                Some(self.of_values(asked, partition, tag, &mut |_| true, patience)?)
            }
            TagFilter::And(filters) => {
                let mut all: Option<Vec<u32>> = None;
                for filter in filters {
                    // A few are quicker asked by their tags than looked for.
                    if all.as_ref().is_some_and(|all| all.len() < 64) {
                        break;
                    }
                    if let Some(more) = self.candidates(asked, partition, filter, patience)? {
                        all = Some(match all {
                            None => more,
                            Some(all) => {
                                all.into_iter().filter(|n| more.binary_search(n).is_ok()).collect()
                            }
                        });
                    }
                }
                all
            }
            TagFilter::Or(filters) => {
                let mut all = Vec::new();
                for filter in filters {
                    match self.candidates(asked, partition, filter, patience)? {
                        Some(more) => all.extend(more),
                        None => return Ok(None),
                    }
                }
                all.sort_unstable();
                all.dedup();
                Some(all)
            }
            TagFilter::All | TagFilter::Is(..) | TagFilter::IsNot(..) | TagFilter::Matches(..) => {
                None
            }
        })
    }

    /// The series with a value of a tag, sorted; all, if both are empty.
    fn of_value(
        &self,
        asked: &Asked,
        partition: i64,
        (tag, value): (&str, &str),
        patience: &Patience<'_>,
    ) -> Result<Vec<u32>, NotFound> {
        let prefix = posting_prefix(asked.bucket, partition, asked.table, tag);
        let stretch = [&prefix[..], value.as_bytes(), &[0]].concat();
        let mut numbers = Vec::new();
        for (place, entry) in self.postings.prefix(&stretch)?.enumerate() {
            patience.look(place)?;
            let (key, _) = entry?;
            let (_, number) =
                posting_rest(&prefix, &key).ok_or_else(|| damage(&self.postings, &key))?;
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// The series with values of a tag that are wanted, sorted.
    fn of_values(
        &self,
        asked: &Asked,
        partition: i64,
        tag: &str,
        wanted: &mut dyn FnMut(&str) -> bool,
        patience: &Patience<'_>,
    ) -> Result<Vec<u32>, NotFound> {
        let prefix = posting_prefix(asked.bucket, partition, asked.table, tag);
        let mut numbers = Vec::new();
        for (place, entry) in self.postings.prefix(&prefix)?.enumerate() {
            patience.look(place)?;
            let (key, _) = entry?;
            let (value, number) =
                posting_rest(&prefix, &key).ok_or_else(|| damage(&self.postings, &key))?;
            if wanted(&value) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The tags of series by their numbers; those that are gone are left out.
    fn known(&self, bucket: u32, numbers: &[u32]) -> Result<Vec<Series>> {
        let (mut known, cold) = Self::keys_met(&self.lock(), bucket, numbers);
        self.add_cold_keys(bucket, &cold, &mut known)?;
        let series = known.iter().map(|(number, key)| {
            let key = split_key(key).map_err(|_| damage(&self.series, key))?;
            let tags =
                key.tags.into_iter().map(|(tag, value)| (tag.into_owned(), value.into_owned()));
            Ok(Series { id: (*number).into(), tags: tags.collect() })
        });
        series.collect()
    }

    /// The keys of those series that were met, and the numbers of the others.
    pub(super) fn keys_met(state: &State, bucket: u32, numbers: &[u32]) -> (Keys, Vec<u32>) {
        let (mut known, mut cold) = (Keys::with_capacity(numbers.len()), Vec::new());
        for number in numbers {
            match state.slots.find_number(bucket, *number) {
                Some(slot) => {
                    known.push((*number, Arc::clone(&state.slots.all[slot as usize].key)));
                }
                None => cold.push(*number),
            }
        }
        (known, cold)
    }

    /// Reads the keys of series by their numbers; those that are gone are left out.
    pub(super) fn add_cold_keys(&self, bucket: u32, cold: &[u32], known: &mut Keys) -> Result<()> {
        let rows: Vec<Vec<u8>> =
            cold.iter().map(|number| row(b'r', &[bucket, *number], &[])).collect();
        for (numbers, rows) in cold.chunks(256).zip(rows.chunks(256)) {
            let keys: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            for (number, value) in numbers.iter().zip(self.series.multi_get(&keys)?) {
                if let Some(key) = value.as_ref().and_then(|value| value.get(4..)) {
                    known.push((*number, key.into()));
                }
            }
        }
        Ok(())
    }

    /// How many series a table has.
    pub(crate) fn count_series(
        &self,
        asked: &Asked,
        patience: &Patience<'_>,
    ) -> Result<u64, NotFound> {
        let mut numbers: Vec<u32> = Vec::new();
        for partition in &asked.partitions {
            if (patience.stop)().is_some() {
                return Err(NotFound::Stopped);
            }
            numbers.extend(self.of_value(asked, *partition, ("", ""), patience)?);
            sort_out(&mut numbers, patience)?;
        }
        Ok(numbers.len() as u64)
    }

    /// How many different values some tags of a table have together. Postings have them in order, partition by
    /// partition and tag by tag; the walks over them go on side by side, so that none is kept.
    pub(crate) fn count_values(
        &self,
        asked: &Asked,
        tags: &[String],
        patience: &Patience<'_>,
    ) -> Result<u64, NotFound> {
        let mut walks = Vec::new();
        let mut next = BinaryHeap::new();
        for partition in &asked.partitions {
            for tag in tags {
                let prefix = posting_prefix(asked.bucket, *partition, asked.table, tag);
                let mut walk =
                    Values { store: self, entries: self.postings.prefix(&prefix)?, prefix };
                if let Some(value) = walk.next("")? {
                    next.push(Reverse((value, walks.len())));
                }
                walks.push(walk);
            }
        }
        let (mut count, mut last) = (0, None);
        for step in 0_usize.. {
            let Some(Reverse((value, walk))) = next.pop() else { break };
            if step % STEP == 0 && (patience.stop)().is_some() {
                return Err(NotFound::Stopped);
            }
            if let Some(behind) = walks[walk].next(&value)? {
                next.push(Reverse((behind, walk)));
            }
            if last.as_ref() != Some(&value) {
                count += 1;
                last = Some(value);
            }
        }
        Ok(count)
    }
}

/// Leaves each number once, in order. Returns how many there are.
fn sort_out(numbers: &mut Vec<u32>, patience: &Patience<'_>) -> Result<usize, NotFound> {
    numbers.sort_unstable();
    numbers.dedup();
    if patience.bytes_max < numbers.len() * size_of::<u32>() {
        return Err(NotFound::TooMany(patience.bytes_max));
    }
    Ok(numbers.len())
}

/// The values of a tag in a partition, in order.
struct Values<'s, E> {
    store: &'s SeriesStore,
    entries: E,
    prefix: Vec<u8>,
}

impl<K: AsRef<[u8]>, V, E: Iterator<Item = Result<(K, V)>>> Values<'_, E> {
    /// The next value that is not the one before.
    fn next(&mut self, before: &str) -> Result<Option<String>> {
        for entry in &mut self.entries {
            let (key, _) = entry?;
            let rest = posting_rest(&self.prefix, key.as_ref());
            let (value, _) = rest.ok_or_else(|| damage(&self.store.postings, key.as_ref()))?;
            if value != before {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// Whether a filter lets tags through, which are in the order of their keys.
pub(crate) fn holds(filter: &TagFilter, tags: &[(String, String)]) -> bool {
    let value = |tag: &str| {
        let place = tags.binary_search_by(|(key, _)| key.as_str().cmp(tag));
        place.map_or("", |place| tags[place].1.as_str())
    };
    match filter {
        TagFilter::All => true,
        TagFilter::And(filters) => filters.iter().all(|filter| holds(filter, tags)),
        TagFilter::Or(filters) => filters.iter().any(|filter| holds(filter, tags)),
        TagFilter::Is(tag, wanted) => value(tag) == wanted,
        TagFilter::IsNot(tag, unwanted) => value(tag) != unwanted,
        TagFilter::Matches(tag, matcher, wanted) => (matcher.matches)(value(tag)) == *wanted,
    }
}
