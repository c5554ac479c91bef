//! Databases and policies are made, changed and dropped; measurements, series and points are taken away.
//!
//! Points are taken away from chunks: rows in memory are made chunks of first, so that nothing of them is in the
//! log any more that could come again.
//!
//! 1. What is dropped goes in one batch where it is stretches of keys, and in several where it is single
//!    series or rows: who is interrupted does it again.
//! 2. Nobody makes chunks meanwhile, or rewrites them.

use olivine_command::{Code, Refusal};
use olivine_engine::Batch;
use olivine_query::source::Series;

use super::{
    SeriesStore, bad_chunk,
    catalog::{POLICY_DEFAULT, Policy},
    layout::{ChunkKey, after, chunk_prefix, posting, row},
    seal::BATCH_BYTES,
};
use crate::refused::Stop;

const HOUR: i64 = 3_600_000_000_000;
const NAME_BYTES_MAX: usize = 255;

/// What is said of a policy; nothing where it is not said.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyChange {
    pub(crate) duration: Option<i64>,
    pub(crate) partition: Option<i64>,
    pub(crate) is_default: bool,
}

/// Rows of one series that are to go.
#[derive(Clone, Debug)]
pub(crate) struct Doomed {
    pub(crate) series: Series,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Only these, in order; nothing for all.
    pub(crate) times: Option<Vec<i64>>,
}

impl Doomed {
    fn keeps(&self, time: i64) -> bool {
        let is_within = self.from <= time && time <= self.to;
        !is_within || self.times.as_ref().is_some_and(|times| times.binary_search(&time).is_err())
    }
}

fn invalid(text: impl Into<String>) -> Stop {
    Stop::Refused(Refusal::new(Code::Invalid, text))
}

fn missing(text: String) -> Stop {
    Stop::Refused(Refusal::new(Code::Missing, text))
}

fn check_name(name: &str, what: &str) -> Result<(), Stop> {
    let is_fine = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(|char| char.is_control() || char == '/' || char == '\\');
    if is_fine && name != "." && name != ".." {
        Ok(())
    } else {
        Err(invalid(format!("invalid name for {what}")))
    }
}

/// The policy that comes of what is said and what there was.
fn policy_of(name: &str, change: &PolicyChange, before: Option<&Policy>) -> Result<Policy, Stop> {
    let duration = change.duration.or(before.map(|before| before.duration)).unwrap_or(0);
    if duration < 0 || (0 < duration && duration < HOUR) {
        return Err(invalid("retention policy duration must be at least 1h0m0s"));
    }
    let is_default = change.is_default || before.is_some_and(|before| before.is_default);
    let mut policy = Policy::lasting(name, duration, is_default);
    match change.partition.filter(|length| *length != 0) {
        Some(length) if length < 0 => return Err(invalid("invalid duration")),
        // As short as InfluxDB has them.
        Some(length) => policy.partition = length.max(HOUR),
        None if change.duration.is_none() => {
            policy.partition = before.map_or(policy.partition, |before| before.partition);
        }
        None => {}
    }
    if 0 < duration && duration < policy.partition {
        return Err(invalid("retention policy duration must be greater than the shard duration"));
    }
    Ok(policy)
}

impl SeriesStore {
    /// Makes a database.
    pub(crate) fn create_database(
        &self,
        name: &str,
        policy: Option<(&str, &PolicyChange)>,
    ) -> Result<(), Stop> {
        check_name(name, "database")?;
        let wanted = match policy {
            None => None,
            Some((policy, change)) => {
                let policy = if policy.is_empty() { POLICY_DEFAULT } else { policy };
                check_name(policy, "retention policy")?;
                let change = PolicyChange { is_default: true, ..change.clone() };
                Some(policy_of(policy, &change, None)?)
            }
        };
        let mut state = self.lock();
        if state.catalog.databases.contains_key(name) {
            let Some(wanted) = wanted else { return Ok(()) };
            let is_same =
                state.catalog.find(name, "").is_some_and(|bucket| bucket.policy == wanted);
            return if is_same {
                Ok(())
            } else {
                Err(invalid("retention policy conflicts with an existing policy"))
            };
        }
        let state = &mut *state;
        state.catalog.make_database(name, wanted, &mut state.unstored);
        self.store_unstored(state)
    }

    /// Makes a policy, or changes one that is there.
    pub(crate) fn set_policy(
        &self,
        database: &str,
        name: &str,
        change: &PolicyChange,
        makes: bool,
    ) -> Result<(), Stop> {
        check_name(name, "retention policy")?;
        let mut state = self.lock();
        if !state.catalog.databases.contains_key(database) {
            return Err(missing(format!("database not found: {database}")));
        }
        let before = state.catalog.find(database, name).map(|bucket| bucket.policy.clone());
        let policy = policy_of(name, change, before.as_ref())?;
        match (before, makes) {
            (None, false) => return Err(missing(format!("retention policy not found: {name}"))),
            (Some(before), true) if before != policy => {
                return Err(invalid("retention policy already exists"));
            }
            (Some(_), true) => return Ok(()),
            _ => {}
        }
        let state = &mut *state;
        if let Some(id) = state.catalog.set_policy(database, policy, &mut state.unstored) {
            // Rows may belong elsewhere from now on.
            for slot in state.slots.all.iter_mut().filter(|slot| slot.bucket == id) {
                slot.partition = None;
            }
        }
        self.store_unstored(state)
    }

    fn store_unstored(&self, state: &mut super::State) -> Result<(), Stop> {
        let mut batch = Batch::new();
        self.add_unstored(state, &mut batch)?;
        if !batch.is_empty() {
            let position = state.position;
            self.put_behind(batch)?;
            // No record was written: what the log may let go of is as before.
            state.stored(position, 0);
        }
        Ok(())
    }

    /// Drops a database, or one of its policies, with all that is in it. One that is not there is no error.
    pub(crate) fn drop_buckets(&self, database: &str, policy: Option<&str>) -> Result<(), Stop> {
        let _working = self.hold_work();
        let mut state = self.lock();
        self.store_unstored(&mut state)?;
        let buckets: Vec<u32> = match policy {
            Some(policy) => {
                state.catalog.find(database, policy).iter().map(|bucket| bucket.id).collect()
            }
            None => state.catalog.buckets_of(database).map(|bucket| bucket.id).collect(),
        };
        let mut batch = Batch::new();
        for bucket in &buckets {
            let prefix = bucket.to_be_bytes();
            for keyspace in [&self.chunks, &self.postings] {
                batch.delete_range(keyspace, &prefix, &after(&prefix))?;
            }
            for kind in [b'm', b'f', b't', b'w', b'k', b'r'] {
                let prefix = row(kind, &[*bucket], &[]);
                batch.delete_range(&self.series, &prefix, &after(&prefix))?;
            }
            batch.delete(&self.series, &row(b'p', &[*bucket], &[]))?;
            batch.delete(&self.series, &row(b'c', &[*bucket], &[]))?;
        }
        if policy.is_none() {
            batch.delete(&self.series, &row(b'd', &[], database.as_bytes()))?;
        }
        self.put_behind(batch)?;
        for bucket in &buckets {
            state.catalog.forget_bucket(*bucket);
        }
        if policy.is_none() {
            state.catalog.databases.remove(database);
        }
        state.unsettled.retain(|(bucket, _), _| !buckets.contains(bucket));
        state.drop_slots(|bucket, _, _| buckets.contains(&bucket));
        Ok(())
    }

    /// Drops a measurement with all that is in it, under all policies of a database. Returns whether it was
    /// there.
    pub(crate) fn drop_measurement(&self, database: &str, name: &str) -> Result<bool, Stop> {
        let _working = self.hold_work();
        let mut state = self.lock();
        self.store_unstored(&mut state)?;
        let found: Vec<(u32, u32, Vec<i64>)> = state
            .catalog
            .buckets_of(database)
            .filter_map(|bucket| {
                let (table, _) = bucket.table(name)?;
                Some((bucket.id, table, bucket.partitions.keys().copied().collect()))
            })
            .collect();
        let mut batch = Batch::new();
        for (bucket, table, partitions) in &found {
            for partition in partitions {
                let mut prefix = super::layout::partition_prefix(*bucket, *partition);
                prefix.extend_from_slice(&table.to_be_bytes());
                for keyspace in [&self.chunks, &self.postings] {
                    batch.delete_range(keyspace, &prefix, &after(&prefix))?;
                }
            }
            for entry in self.series.prefix(&row(b'k', &[*bucket, *table], &[]))? {
                let (_, number) = entry?;
                batch.delete(
                    &self.series,
                    &[&row(b'r', &[*bucket], &[])[..], &number[..]].concat(),
                )?;
            }
            for kind in [b'f', b't', b'k'] {
                let prefix = row(kind, &[*bucket, *table], &[]);
                batch.delete_range(&self.series, &prefix, &after(&prefix))?;
            }
            batch.delete(&self.series, &row(b'm', &[*bucket], name.as_bytes()))?;
        }
        self.put_behind(batch)?;
        for (bucket, table, _) in &found {
            if let Some(bucket) = state.catalog.bucket_mut(*bucket) {
                bucket.names.remove(name);
                bucket.tables.remove(table);
            }
        }
        state.layout_numbers.clear();
        state.drop_slots(|bucket, table, _| {
            found.iter().any(|(b, t, _)| (*b, *t) == (bucket, table))
        });
        Ok(!found.is_empty())
    }

    /// Drops series of a measurement with all their points.
    pub(crate) fn drop_series(
        &self,
        database: &str,
        policy: &str,
        measurement: &str,
        series: &[Series],
    ) -> Result<(), Stop> {
        let _working = self.hold_work();
        let mut state = self.lock();
        self.store_unstored(&mut state)?;
        let Some(bucket) = state.catalog.find(database, policy) else { return Ok(()) };
        let Some((table, _)) = bucket.table(measurement) else { return Ok(()) };
        let (bucket, partitions) =
            (bucket.id, bucket.partitions.keys().copied().collect::<Vec<i64>>());
        let mut batch = Batch::new();
        for one in series {
            let number = one.id as u32;
            for partition in &partitions {
                let prefix = chunk_prefix(bucket, *partition, table, number);
                batch.delete_range(&self.chunks, &prefix, &after(&prefix))?;
                let tags = one.tags.iter().map(|(tag, value)| (tag.as_str(), value.as_str()));
                for tag in tags.chain([("", "")]) {
                    let key = posting(bucket, *partition, table, tag, number);
                    batch.delete(&self.postings, &key)?;
                }
            }
            let mut key = Vec::new();
            olivine_command::points::write_key(measurement, &one.tags, &mut key);
            batch.delete(&self.series, &row(b'k', &[bucket, table], &key))?;
            batch.delete(&self.series, &row(b'r', &[bucket, number], &[]))?;
        }
        if let Some(bucket) = state.catalog.bucket_mut(bucket) {
            let mut counted = Vec::new();
            bucket.count_series(bucket.series.saturating_sub(series.len() as u64), &mut counted);
            for (key, value) in counted {
                batch.put(&self.series, &key, &value)?;
            }
        }
        self.put_behind(batch)?;
        let mut numbers: Vec<u32> = series.iter().map(|series| series.id as u32).collect();
        numbers.sort_unstable();
        state.drop_slots(|of, _, number| of == bucket && numbers.binary_search(&number).is_ok());
        Ok(())
    }

    /// Takes rows of a measurement away.
    pub(crate) fn delete_rows(
        &self,
        database: &str,
        policy: &str,
        measurement: &str,
        doomed: &[Doomed],
    ) -> Result<(), Stop> {
        self.seal_all()?;
        let _working = self.hold_work();
        let found = {
            let state = self.lock();
            state.catalog.find(database, policy).and_then(|bucket| {
                let (table, _) = bucket.table(measurement)?;
                let partitions = |one: &Doomed| bucket.partitions_in(one.from, one.to);
                Some((bucket.id, table, doomed.iter().map(partitions).collect::<Vec<_>>()))
            })
        };
        let Some((bucket, table, partitions)) = found else { return Ok(()) };
        let snapshot = self.db.snapshot();
        let (mut batch, mut bytes) = (Batch::new(), 0);
        for (one, partitions) in doomed.iter().zip(partitions) {
            for partition in partitions {
                let prefix = chunk_prefix(bucket, partition, table, one.series.id as u32);
                let mut cursor = snapshot.cursor(&self.chunks)?;
                cursor.seek(&prefix)?;
                while cursor.valid() && cursor.key().starts_with(&prefix) {
                    let key = ChunkKey::decode(cursor.key())
                        .ok_or_else(|| bad_chunk(&self.chunks, cursor.key(), "its key is none"))?;
                    if key.first <= one.to && one.from <= key.last {
                        bytes += 64
                            + self
                                .rewrite(&snapshot, &[key], &mut batch, &|time| one.keeps(time))?;
                    }
                    cursor.next()?;
                }
            }
            if BATCH_BYTES < bytes {
                self.put_behind(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.put_behind(batch)?;
        Ok(())
    }

    fn hold_work(&self) -> std::sync::MutexGuard<'_, Option<super::settle::Settling>> {
        self.working.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl super::State {
    /// Forgets the slots of what was dropped.
    fn drop_slots(&mut self, is_dropped: impl Fn(u32, u32, u32) -> bool) {
        for number in 0..self.slots.all.len() {
            let slot = &self.slots.all[number];
            if !slot.is_gone && is_dropped(slot.bucket, slot.table, slot.series) {
                let bytes = self.slots.drop_slot(number as u32);
                self.head_bytes = self.head_bytes.saturating_sub(bytes);
            }
        }
        self.charge();
    }
}
