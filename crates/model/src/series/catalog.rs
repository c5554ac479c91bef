//! What there is: databases, their policies, measurements, fields, tags and partitions.
//!
//! All of it is in memory, and each of it is a row; series are not here, of which there may be many.
//!
//! 1. What is new is added here first and handed out as rows; whoever adds sees to it that they are in the
//!    same batch as what needs them, or in one before (`Unstored`).
//! 2. A field keeps its type as long as its measurement is there.

use std::collections::{BTreeMap, BTreeSet};

use olivine_command::points::FieldType;
use olivine_engine::{Error, Keyspace, Result};

use super::layout::{VERSION, row, take, time_bytes, time_of};

/// The policy that a database has when nobody says otherwise.
pub(crate) const POLICY_DEFAULT: &str = "autogen";
const HOUR: i64 = 3_600_000_000_000;

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) databases: BTreeMap<String, Database>,
    buckets: BTreeMap<u32, Bucket>,
    /// Numbers that were never given out, by what is counted.
    counters: BTreeMap<Vec<u8>, u64>,
}

/// A database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Its policies, by name.
    pub(crate) policies: BTreeMap<String, u32>,
}

/// A database under one policy.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) id: u32,
    pub(crate) database: String,
    pub(crate) policy: Policy,
    /// The numbers of its measurements.
    pub(crate) names: BTreeMap<String, u32>,
    /// Its measurements.
    pub(crate) tables: BTreeMap<u32, Table>,
    /// How many series it has.
    pub(crate) series: u64,
    /// Where its partitions begin, and how long each is: those made before the policy was changed keep their
    /// length, and may overlap others.
    pub(crate) partitions: BTreeMap<i64, i64>,
}

/// How long points are kept, and in stretches of which length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) name: String,
    /// In nanoseconds; 0 is for ever.
    pub(crate) duration: i64,
    /// In nanoseconds.
    pub(crate) partition: i64,
    pub(crate) is_default: bool,
}

impl Policy {
    /// A policy as one gets it who says only how long points are kept.
    pub(crate) fn lasting(name: &str, duration: i64, is_default: bool) -> Policy {
        Policy { name: name.to_owned(), duration, partition: partition_for(duration), is_default }
    }

    /// Where the partition begins that has the time.
    pub(crate) fn partition_of(&self, time: i64) -> i64 {
        let start = i128::from(time).div_euclid(self.partition.into()) * i128::from(self.partition);
        i64::try_from(start).unwrap_or(i64::MIN)
    }
}

/// How long partitions are where nobody says: an hour where points are kept for less than two days, a day
/// where for at most half a year, and a week otherwise.
fn partition_for(duration: i64) -> i64 {
    match duration {
        1.. if duration < 48 * HOUR => HOUR,
        1.. if duration <= 183 * 24 * HOUR => 24 * HOUR,
        _ => 7 * 24 * HOUR,
    }
}

/// A measurement in a bucket.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// Number and type of its fields.
    pub(crate) fields: BTreeMap<String, (u32, FieldType)>,
    /// The keys of its tags.
    pub(crate) tags: BTreeSet<String>,
}

/// Rows that are to be in the next batch.
pub(crate) type Unstored = Vec<(Vec<u8>, Vec<u8>)>;

/// The error of a row that cannot be one.
pub(crate) fn damage(keyspace: &Keyspace, key: &[u8]) -> Error {
    let what = format!("has a row that is none of time series: {}", key.escape_ascii());
    Error::Unusable { path: keyspace.name().into(), what }
}

impl Catalog {
    /// Reads what there is.
    pub(crate) fn open(rows: &Keyspace) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        // Of these kinds, in this order: each needs those before it.
        for kind in [b'n', b'd', b'p', b'm', b'f', b't', b'w', b'c'] {
            for entry in rows.prefix(&[kind])? {
                let (key, value) = entry?;
                catalog.read(kind, &key[1..], &value).ok_or_else(|| damage(rows, &key))?;
            }
        }
        Ok(catalog)
    }

    fn read(&mut self, kind: u8, mut key: &[u8], mut value: &[u8]) -> Option<()> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        match kind {
            b'n' => {
                self.counters.insert(key.to_vec(), u64::from_le_bytes(value.try_into().ok()?));
            }
            b'd' => {
                self.databases.entry(text(key)?).or_default();
            }
            b'p' => {
                let id = u32::from_be_bytes(key.try_into().ok()?);
                let [VERSION] = take(&mut value)? else { return None };
                let duration = i64::from_le_bytes(take(&mut value)?);
                let partition = i64::from_le_bytes(take(&mut value)?);
                let [is_default] = take(&mut value)?;
                let length = u32::from_le_bytes(take(&mut value)?);
                let (database, name) = value.split_at_checked(length as usize)?;
                let (database, name, is_default) = (text(database)?, text(name)?, is_default == 1);
                if partition <= 0 || duration < 0 {
                    return None;
                }
                self.put_bucket(id, &database, Policy { name, duration, partition, is_default });
            }
            kind => {
                let bucket = self.buckets.get_mut(&u32::from_be_bytes(take(&mut key)?))?;
                match kind {
                    b'm' => {
                        let id = u32::from_be_bytes(value.try_into().ok()?);
                        bucket.put_table(id, &text(key)?);
                    }
                    b'f' => {
                        let table = bucket.tables.get_mut(&u32::from_be_bytes(take(&mut key)?))?;
                        let field = u32::from_be_bytes(key.try_into().ok()?);
                        let (kind, name) = value.split_first()?;
                        let kind = FieldType::numbered(*kind)?;
                        table.fields.insert(text(name)?, (field, kind));
                    }
                    b't' => {
                        let table = bucket.tables.get_mut(&u32::from_be_bytes(take(&mut key)?))?;
                        table.tags.insert(text(key)?);
                    }
                    b'c' => bucket.series = u64::from_le_bytes(value.try_into().ok()?),
                    _ => {
                        let length = i64::from_le_bytes(value.try_into().ok()?);
                        bucket.partitions.insert(time_of(key.try_into().ok()?), length);
                    }
                }
            }
        }
        Some(())
    }

    fn put_bucket(&mut self, id: u32, database: &str, policy: Policy) {
        let known = self.databases.entry(database.to_owned()).or_default();
        known.policies.insert(policy.name.clone(), id);
        let database = database.to_owned();
        let bucket = Bucket {
            id,
            database,
            policy,
            names: BTreeMap::new(),
            tables: BTreeMap::new(),
            series: 0,
            partitions: BTreeMap::new(),
        };
        self.buckets.insert(id, bucket);
    }

    /// Gives out a number.
    pub(crate) fn count(&mut self, what: &[u8], unstored: &mut Unstored) -> Option<u32> {
        /// Numbers that are given out before the next row is written.
        const STEP: u64 = 1_024;
        let next = self.counters.entry(what.to_vec()).or_default();
        let number = u32::try_from(*next).ok()?;
        *next += 1;
        // After a crash it goes on behind all that may have been given out.
        if number == 0 || u64::from(number) % STEP == 0 {
            let upper = u64::from(number) + STEP;
            unstored.push((row(b'n', &[], what), upper.to_le_bytes().to_vec()));
        }
        Some(number)
    }

    /// How many numbers were given out, or a few more.
    pub(crate) fn counted(&self, what: &[u8]) -> u64 {
        self.counters.get(what).copied().unwrap_or(0).min(u32::MAX.into())
    }

    /// Makes a database, with a policy that keeps points for ever unless another is given. Nothing happens to
    /// one that is there.
    pub(crate) fn make_database(
        &mut self,
        name: &str,
        policy: Option<Policy>,
        unstored: &mut Unstored,
    ) {
        if self.databases.contains_key(name) {
            return;
        }
        unstored.push((row(b'd', &[], name.as_bytes()), vec![VERSION]));
        self.databases.insert(name.to_owned(), Database::default());
        let policy = policy.unwrap_or_else(|| Policy::lasting(POLICY_DEFAULT, 0, true));
        self.set_policy(name, policy, unstored);
    }

    /// Makes a policy, or changes one.
    pub(crate) fn set_policy(
        &mut self,
        database: &str,
        policy: Policy,
        unstored: &mut Unstored,
    ) -> Option<u32> {
        let known = self.databases.get(database)?;
        let before = known.policies.get(&policy.name).copied();
        let others: Vec<u32> =
            known.policies.values().copied().filter(|id| Some(*id) != before).collect();
        if policy.is_default {
            for id in others {
                if let Some(bucket) =
                    self.buckets.get_mut(&id).filter(|other| other.policy.is_default)
                {
                    bucket.policy.is_default = false;
                    unstored.push(bucket.row());
                }
            }
        }
        let id = match before {
            Some(id) => id,
            None => self.count(b"bucket", unstored)?,
        };
        match self.buckets.get_mut(&id) {
            Some(bucket) => bucket.policy = policy,
            None => self.put_bucket(id, database, policy),
        }
        unstored.extend(self.buckets.get(&id).map(Bucket::row));
        Some(id)
    }

    /// The bucket of a database and a policy; of the default policy, if it is empty.
    pub(crate) fn find(&self, database: &str, policy: &str) -> Option<&Bucket> {
        let known = self.databases.get(database)?;
        if !policy.is_empty() {
            return self.buckets.get(known.policies.get(policy)?);
        }
        let mut all = known.policies.values().filter_map(|id| self.buckets.get(id));
        all.find(|bucket| bucket.policy.is_default)
    }

    /// The bucket of this number.
    pub(crate) fn bucket(&self, id: u32) -> Option<&Bucket> {
        self.buckets.get(&id)
    }

    /// The bucket of this number.
    pub(crate) fn bucket_mut(&mut self, id: u32) -> Option<&mut Bucket> {
        self.buckets.get_mut(&id)
    }

    /// All buckets.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values()
    }

    /// All buckets of a database.
    pub(crate) fn buckets_of(&self, database: &str) -> impl Iterator<Item = &Bucket> {
        let known = self.databases.get(database);
        known
            .into_iter()
            .flat_map(|known| known.policies.values())
            .filter_map(|id| self.buckets.get(id))
    }

    /// The number of a measurement, which is made if it is not there.
    pub(crate) fn table(
        &mut self,
        bucket: u32,
        name: &str,
        unstored: &mut Unstored,
    ) -> Option<u32> {
        if let Some(table) = self.buckets.get(&bucket)?.names.get(name) {
            return Some(*table);
        }
        let id = self.count(&row(b'm', &[bucket], &[]), unstored)?;
        unstored.push((row(b'm', &[bucket], name.as_bytes()), id.to_be_bytes().to_vec()));
        self.buckets.get_mut(&bucket)?.put_table(id, name);
        Some(id)
    }

    /// Takes a bucket away, from memory.
    pub(crate) fn forget_bucket(&mut self, id: u32) {
        if let Some(bucket) = self.buckets.remove(&id)
            && let Some(database) = self.databases.get_mut(&bucket.database)
        {
            database.policies.remove(&bucket.policy.name);
        }
    }
}

impl Bucket {
    /// The row that says so.
    fn row(&self) -> (Vec<u8>, Vec<u8>) {
        let Policy { name, duration, partition, is_default } = &self.policy;
        let mut value = vec![VERSION];
        value.extend_from_slice(&duration.to_le_bytes());
        value.extend_from_slice(&partition.to_le_bytes());
        value.push((*is_default).into());
        value.extend_from_slice(&(self.database.len() as u32).to_le_bytes());
        value.extend_from_slice(self.database.as_bytes());
        value.extend_from_slice(name.as_bytes());
        (row(b'p', &[self.id], &[]), value)
    }

    fn put_table(&mut self, id: u32, name: &str) {
        self.names.insert(name.to_owned(), id);
        self.tables.insert(id, Table { name: name.to_owned(), ..Table::default() });
    }

    /// The measurement of this name.
    pub(crate) fn table(&self, name: &str) -> Option<(u32, &Table)> {
        let id = *self.names.get(name)?;
        Some((id, self.tables.get(&id)?))
    }

    /// Notes how many series there are.
    pub(crate) fn count_series(&mut self, count: u64, unstored: &mut Unstored) {
        /// How far back it is looked whether that was noted already.
        const NEAR: usize = 32;
        self.series = count;
        let (key, value) = (row(b'c', &[self.id], &[]), count.to_le_bytes().to_vec());
        match unstored.iter_mut().rev().take(NEAR).find(|(noted, _)| *noted == key) {
            Some((_, noted)) => *noted = value,
            None => unstored.push((key, value)),
        }
    }

    /// Notes that there is a partition.
    pub(crate) fn note_partition(&mut self, start: i64, unstored: &mut Unstored) {
        let length = self.policy.partition;
        let known = self.partitions.get(&start).copied();
        if known.is_none_or(|known| known < length) {
            self.partitions.insert(start, length);
            let key = row(b'w', &[self.id], &time_bytes(start));
            unstored.push((key, length.to_le_bytes().to_vec()));
        }
    }

    /// The partitions that may have rows in a stretch of time.
    pub(crate) fn partitions_in(&self, from: i64, to: i64) -> Vec<i64> {
        let before = self.partitions.range(..=to);
        let meets = |(start, length): (&i64, &i64)| {
            start.checked_add(*length).is_none_or(|end| from < end).then_some(*start)
        };
        before.filter_map(meets).collect()
    }
}
