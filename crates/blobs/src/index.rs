//! What there is, and where it lies: the master's index, a store of its own. To the byte: `docs/format/blobs.md`.
//!
//! ```text
//! objects   key                        →  a row: generation, length, where it lies
//! blobs     "generation"               →  up to where generations may have been given out (8)
//!           "volume" · number (4)      →  uuid (16): what the rows call by that number
//!           "bury" · number (4) · key  →  generation · place: a volume is yet to write down that what it has is gone
//!           "note" · number (4) · …    →  the same of states
//!           "damage" · number (4) · …  →  where a volume is damaged
//! ```
//!
//! 1. A key is there if and only if its row is. A row is written after the bytes it names were kept.
//! 2. Of two objects of one key the one with the higher generation stays, whichever is published first; one that
//!    is published behind its own deletion is as if it had come before that.
//! 3. A generation is given out once, whatever happens between.
//! 4. What is returned may be told when the store is durable up to the position that came with it.
//! 5. Bytes of an object that was not published are remembered as such until their volumes have it written down: an
//!    index that is made of the volumes must not take them for what is under the key.

mod damage;
mod groups;
mod healing;
mod parts;
mod rebuild;
#[cfg(test)]
mod tests;

pub use damage::{Spot, SpotKey};
pub use groups::{Entry, Grouped, Grouping, behind};
pub use healing::{Note, Replacing, Walked};
pub use rebuild::{Rebuilt, Stop};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use olivine_engine::{Batch, Db, Durability, Environment, Error, Keyspace, Options, Result, SeqNo};

use crate::{
    Place, State,
    bytes::{Take, put_varint},
    own,
    row::{Replica, Row},
};
use damage::Damages;

const OBJECTS: &str = "objects";
const BLOBS: &str = "blobs";
const GENERATION: &[u8] = b"generation";
const VOLUME: &[u8] = b"volume";
const BURY: &[u8] = b"bury";
const NOTE: &[u8] = b"note";
const DAMAGE: &[u8] = b"damage";
/// Generations that are given out before it is written down how far.
const GENERATIONS: u64 = 1 << 16;
/// Bytes of deletions that are remembered, for objects that are published behind them.
const DELETED_BYTES_MAX: usize = 16 << 20;
/// What a deletion takes beside its key, twice, about.
const DELETION_BYTES: usize = 128;

/// What must be under a key for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// This generation.
    Is(u64),
}

impl Condition {
    /// As a grant has it.
    pub fn of_known(known: Option<u64>) -> Condition {
        match known {
            None => Condition::Any,
            Some(0) => Condition::Absent,
            Some(generation) => Condition::Is(generation),
        }
    }

    /// As a grant has it.
    pub fn known(self) -> Option<u64> {
        match self {
            Condition::Any => None,
            Condition::Absent => Some(0),
            Condition::Is(generation) => Some(generation),
        }
    }

    /// Whether it holds for what is under a key.
    pub fn holds(self, row: Option<&Row>) -> bool {
        match self {
            Condition::Any => true,
            Condition::Absent => row.is_none(),
            Condition::Is(generation) => row.is_some_and(|row| row.generation == generation),
        }
    }
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is so now.
    Done,
    /// It was so for no time: something newer is under the key, or it was deleted since.
    Superseded,
    /// What is under the key is not as the condition wants it.
    Refused,
    /// There is nothing under the key.
    Absent,
    /// Whether it was deleted since is not known any more; it must be put again.
    Late,
}

/// What else must be so, and becomes so, when something is published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Within<'a> {
    /// A key under which something must be, of a bucket or an upload: else nothing is published.
    pub needs: Option<&'a [u8]>,
    /// The object is made of the parts of an upload, which ends with that: those that are kept.
    kept: Option<&'a [(u32, u64)]>,
}

impl Within<'_> {
    /// Something must be under this key.
    pub fn needing(key: &[u8]) -> Within<'_> {
        Within { needs: Some(key), kept: None }
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Keys and their rows, in order.
    pub rows: Vec<(Vec<u8>, Row)>,
    /// Where the next part begins, if there is one.
    pub next: Option<Vec<u8>>,
}

/// What is to be listed.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// What keys begin with.
    pub prefix: &'a [u8],
    /// The first key.
    pub start: &'a [u8],
    /// Most keys.
    pub limit: usize,
    /// Those that are unlinked, instead of those that are not.
    pub unlinked: bool,
    /// The time.
    pub now: u64,
}

/// Something that a volume is yet to write down as deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burial {
    /// The key.
    pub key: Vec<u8>,
    /// What is of before this generation is gone.
    pub generation: u64,
    /// Where it lies.
    pub place: Place,
}

/// What there is, and where it lies.
pub struct Index {
    dir: PathBuf,
    db: Db,
    objects: Keyspace,
    blobs: Keyspace,
    generations: Mutex<Generations>,
    /// One change at a time: each looks at what is there.
    changing: Mutex<Deleted>,
    volumes: RwLock<Vec<[u8; 16]>>,
    damages: RwLock<Damages>,
}

/// Generations that may be given out.
struct Generations {
    next: u64,
    until: u64,
}

/// What was deleted of late.
struct Deleted {
    generations: BTreeMap<Vec<u8>, u64>,
    keys: BTreeMap<u64, Vec<u8>>,
    /// Up to here it is forgotten.
    forgotten: u64,
    /// What it takes of memory, about.
    bytes: usize,
}

impl Deleted {
    fn remember(&mut self, key: &[u8], generation: u64) {
        match self.generations.insert(key.to_vec(), generation) {
            Some(before) => drop(self.keys.remove(&before)),
            None => self.bytes += 2 * key.len() + DELETION_BYTES,
        }
        self.keys.insert(generation, key.to_vec());
        while DELETED_BYTES_MAX < self.bytes
            && let Some((generation, key)) = self.keys.pop_first()
        {
            self.bytes -= 2 * key.len() + DELETION_BYTES;
            self.generations.remove(&key);
            self.forgotten = generation;
        }
    }

    /// What becomes of an object that is published where nothing is; nothing if it stays.
    fn check(&self, key: &[u8], generation: u64) -> Option<Changed> {
        match self.generations.get(key) {
            Some(deleted) if generation < *deleted => Some(Changed::Superseded),
            Some(_) => None,
            None => (generation <= self.forgotten).then_some(Changed::Late),
        }
    }
}

impl Index {
    /// Opens the index in a directory, or makes it.
    pub fn open(environment: &Environment, dir: &Path, options: Options) -> Result<Index> {
        let db = Db::open(environment, dir, options)?;
        let objects = db.keyspace(OBJECTS)?;
        let blobs = db.keyspace(BLOBS)?;
        let until = match blobs.get(GENERATION)? {
            None => 1,
            Some(value) => {
                let bytes = <[u8; 8]>::try_from(&value[..]);
                u64::from_le_bytes(bytes.map_err(|_| no_row(dir, GENERATION))?)
            }
        };
        let mut volumes = Vec::new();
        for entry in blobs.prefix(VOLUME)? {
            let (key, uuid) = entry?;
            let number = <[u8; 4]>::try_from(&key[VOLUME.len()..]).map(u32::from_be_bytes);
            match (number, <[u8; 16]>::try_from(&uuid[..])) {
                (Ok(number), Ok(uuid)) if number as usize == volumes.len() => volumes.push(uuid),
                _ => return Err(no_row(dir, &key)),
            }
        }
        let damages = Damages::read(&blobs, dir)?;
        let deleted = Deleted {
            generations: BTreeMap::new(),
            keys: BTreeMap::new(),
            // What was granted before this start may have been deleted since.
            forgotten: until - 1,
            bytes: 0,
        };
        Ok(Index {
            dir: dir.to_owned(),
            db,
            objects,
            blobs,
            generations: Mutex::new(Generations { next: until, until }),
            changing: Mutex::new(deleted),
            volumes: RwLock::new(volumes),
            damages: RwLock::new(damages),
        })
    }

    /// The store.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Closes the store.
    pub fn close(self) -> Result<()> {
        self.db.close()
    }

    /// A generation that nobody was given before.
    pub fn generation(&self) -> Result<u64> {
        let mut generations = lock(&self.generations);
        if generations.next == generations.until {
            let until = generations.until + GENERATIONS;
            let mut batch = Batch::new();
            batch.put(&self.blobs, GENERATION, &until.to_le_bytes())?;
            self.db.write_with(batch, Durability::Sync)?;
            generations.until = until;
        }
        generations.next += 1;
        Ok(generations.next - 1)
    }

    /// No generation up to this one is given out any more: for an index that is rebuilt from objects.
    pub fn advance_generation(&self, generation: u64) -> Result<()> {
        let mut generations = lock(&self.generations);
        if generations.next <= generation {
            let until = generation + 1;
            let mut batch = Batch::new();
            batch.put(&self.blobs, GENERATION, &until.to_le_bytes())?;
            self.db.write_with(batch, Durability::Sync)?;
            *generations = Generations { next: until, until };
        }
        Ok(())
    }

    /// What the rows call a volume; one that was never seen gets the next number.
    pub fn number_of(&self, uuid: &[u8; 16]) -> Result<u32> {
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = volumes.iter().position(|known| known == uuid) {
            return Ok(number as u32);
        }
        let number = volumes.len() as u32;
        let mut batch = Batch::new();
        batch.put(&self.blobs, &[VOLUME, &number.to_be_bytes()[..]].concat(), uuid)?;
        self.db.write_with(batch, Durability::Sync)?;
        volumes.push(*uuid);
        Ok(number)
    }

    /// The volume that the rows call by a number.
    pub fn uuid_of(&self, number: u32) -> Option<[u8; 16]> {
        let volumes = self.volumes.read().unwrap_or_else(PoisonError::into_inner);
        volumes.get(number as usize).copied()
    }

    /// What is under a key, unlinked or not.
    pub fn get(&self, key: &[u8], now: u64) -> Result<Option<Row>> {
        if key.is_empty() {
            return Ok(None);
        }
        let Some(value) = self.objects.get(key)? else { return Ok(None) };
        let row = self.parse(key, &value)?;
        Ok(Some(row).filter(|row| !row.has_expired(now)))
    }

    /// Puts an object under a key whose bytes are kept where `row` says. Where it does not become so, the volumes are to
    /// write down that these bytes count for nothing, as [`leave`](Self::leave) has it.
    pub fn publish(
        &self,
        key: &[u8],
        row: &Row,
        condition: Condition,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        self.publish_within(key, row, condition, &Within::default(), now)
    }

    /// The same, where more must be so or become so.
    pub fn publish_within(
        &self,
        key: &[u8],
        row: &Row,
        condition: Condition,
        within: &Within<'_>,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let changing = lock(&self.changing);
        let there = self.get(key, now)?;
        let changed = match &there {
            // Whoever put it brings it again, or something else with the same grant.
            Some(there) if row.generation == there.generation => {
                if there.replicas == row.replicas {
                    Changed::Superseded
                } else {
                    Changed::Refused
                }
            }
            Some(there) if row.generation < there.generation => Changed::Superseded,
            _ if !self.has(within.needs, now)? => Changed::Absent,
            there if !condition.holds(there.as_ref()) => Changed::Refused,
            Some(_) => Changed::Done,
            None => changing.check(key, row.generation).unwrap_or(Changed::Done),
        };
        if changed != Changed::Done {
            return Ok((changed, self.leave_unpublished(key, row, there.as_ref())?));
        }
        // What lies where the new one does is known to be older by whoever reads that volume.
        let lies_there = |volume| row.replicas.iter().any(|replica| replica.volume == volume);
        let mut batch = Batch::new();
        batch.put(&self.objects, key, &row.encode())?;
        if let Some(there) = &there {
            self.bury(&mut batch, key, row.generation, there, lies_there)?;
        }
        let upload = row.parts().map(|parts| parts.upload);
        if let Some(before) = there.as_ref().and_then(Row::parts)
            && Some(before.upload) != upload
        {
            self.drop_parts(&mut batch, before.upload, row.generation, &[])?;
        }
        if let Some((upload, kept)) = upload.zip(within.kept) {
            let upload_key = own::upload_key(key, upload);
            if !self.end_upload(&mut batch, &upload_key, upload, row.generation, kept)? {
                let seqno = self.leave_unpublished(key, row, there.as_ref())?;
                return Ok((Changed::Refused, seqno));
            }
        }
        Ok((changed, self.db.write_unled(batch)?.seqno()))
    }

    /// Takes away what was under a key before `generation`. `buried` says which volumes have written that down.
    pub fn remove(
        &self,
        key: &[u8],
        generation: u64,
        condition: Condition,
        buried: impl Fn(u32) -> bool,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let mut changing = lock(&self.changing);
        let there = self.get(key, now)?;
        let changed = match &there {
            there if !condition.holds(there.as_ref()) => Changed::Refused,
            None => Changed::Absent,
            Some(there) if generation <= there.generation => Changed::Superseded,
            Some(_) => Changed::Done,
        };
        if changed != Changed::Done {
            return Ok((changed, self.db.visible()));
        }
        let mut batch = Batch::new();
        batch.delete(&self.objects, key)?;
        if let Some(there) = &there {
            self.bury(&mut batch, key, generation, there, &buried)?;
            if let Some(parts) = there.parts() {
                self.drop_parts(&mut batch, parts.upload, generation, &[])?;
            }
        }
        let seqno = self.db.write_unled(batch)?.seqno();
        changing.remember(key, generation);
        Ok((changed, seqno))
    }

    /// Has an object be deleted to those who read, and keeps it. `noted` says which volumes have written that down.
    pub fn unlink(
        &self,
        key: &[u8],
        generation: u64,
        noted: impl Fn(u32) -> bool,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let _one = lock(&self.changing);
        match self.get(key, now)? {
            Some(row) if row.generation == generation && !row.is_unlinked => {
                let mut batch = Batch::new();
                for replica in row.replicas.iter().filter(|replica| !noted(replica.volume)) {
                    let volume = replica.volume;
                    self.note(&mut batch, volume, 0, key, generation, &State::Unlinked)?;
                }
                batch.put(&self.objects, key, &Row { is_unlinked: true, ..row }.encode())?;
                Ok((Changed::Done, self.db.write_unled(batch)?.seqno()))
            }
            Some(_) => Ok((Changed::Superseded, self.db.visible())),
            None => Ok((Changed::Absent, self.db.visible())),
        }
    }

    /// Whether this is where a volume has what is under a key. What has expired is taken away with that.
    pub fn names(
        &self,
        volume: u32,
        key: &[u8],
        generation: u64,
        place: &Place,
        now: u64,
    ) -> Result<bool> {
        let Some(value) = self.objects.get(key)? else { return Ok(false) };
        let mut row = self.parse(key, &value)?;
        if row.has_expired(now) {
            let _one = lock(&self.changing);
            let Some(value) = self.objects.get(key)? else { return Ok(false) };
            row = self.parse(key, &value)?;
            if row.has_expired(now) {
                let mut batch = Batch::new();
                batch.delete(&self.objects, key)?;
                // It is not there for anybody, whether or not this lasts.
                self.db.write_with(batch, Durability::Os)?;
                return Ok(false);
            }
        }
        let is_it = |replica: &Replica| *replica == replica_at(volume, place);
        Ok(row.generation == generation && row.replicas.iter().any(is_it))
    }

    /// A volume has moved an object. Anything but `Done` means that nobody is sent to the new place.
    pub fn relocate(
        &self,
        volume: u32,
        key: &[u8],
        generation: u64,
        from: &Place,
        to: &Place,
    ) -> Result<(Changed, SeqNo)> {
        let _one = lock(&self.changing);
        let row = match self.objects.get(key)? {
            Some(value) => self.parse(key, &value)?,
            None => return Ok((Changed::Absent, self.db.visible())),
        };
        let mut row = if row.generation == generation {
            row
        } else {
            return Ok((Changed::Superseded, self.db.visible()));
        };
        let from = replica_at(volume, from);
        let Some(replica) = row.replicas.iter_mut().find(|replica| **replica == from) else {
            return Ok((Changed::Superseded, self.db.visible()));
        };
        *replica = replica_at(volume, to);
        self.write(key, &row).map(|seqno| (Changed::Done, seqno))
    }

    /// A part of a list of what there is.
    pub fn list(&self, listing: &Listing<'_>) -> Result<Listed> {
        let Listing { prefix, start, limit, unlinked, now } = *listing;
        let mut listed = Listed::default();
        let mut cursor = self.objects.cursor()?;
        // Keys of the store's own are listed only to who asks for them.
        let first = if own::is_own(prefix) { prefix } else { prefix.max(own::BEHIND) };
        cursor.seek(start.max(first))?;
        while cursor.valid() {
            let key = cursor.key();
            if !key.starts_with(prefix) {
                break;
            }
            if limit <= listed.rows.len() {
                listed.next = Some(key.to_vec());
                break;
            }
            let row = self.parse(key, cursor.value()?)?;
            if row.is_unlinked == unlinked && !row.has_expired(now) {
                listed.rows.push((key.to_vec(), row));
            }
            cursor.next()?;
        }
        Ok(listed)
    }

    /// Has the volumes of a row that is gone, but for some, write that down some time.
    fn bury(
        &self,
        batch: &mut Batch,
        key: &[u8],
        generation: u64,
        gone: &Row,
        but_for: impl Fn(u32) -> bool,
    ) -> Result<()> {
        for replica in gone.replicas.iter().filter(|replica| !but_for(replica.volume)) {
            let Replica { volume, extent, offset } = *replica;
            let mut value = Vec::new();
            put_varint(&mut value, generation);
            Place { extent, offset, bytes: gone.bytes }.encode(&mut value);
            batch.put(&self.blobs, &bury_key(volume, key), &value)?;
        }
        Ok(())
    }

    /// Some of what a volume is yet to write down as deleted.
    pub fn burials(&self, volume: u32, count: usize) -> Result<Vec<Burial>> {
        let mut burials = Vec::new();
        let prefix = bury_key(volume, b"");
        for entry in self.blobs.prefix(&prefix)?.take(count) {
            let (row_key, value) = entry?;
            let mut take = Take(&value);
            let parsed = take.varint().zip(Place::decode(take.0));
            let Some((generation, (place, []))) = parsed else {
                return Err(no_row(&self.dir, &row_key));
            };
            burials.push(Burial { key: row_key[prefix.len()..].to_vec(), generation, place });
        }
        Ok(burials)
    }

    /// A volume has written something down as deleted.
    pub fn buried(&self, volume: u32, burial: &Burial) -> Result<()> {
        let _one = lock(&self.changing);
        let row_key = bury_key(volume, &burial.key);
        let Some(value) = self.blobs.get(&row_key)? else { return Ok(()) };
        // Another one may have come since.
        if Take(&value).varint() == Some(burial.generation) {
            let mut batch = Batch::new();
            batch.delete(&self.blobs, &row_key)?;
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }

    /// Whether something is under a key, if one is named.
    fn has(&self, key: Option<&[u8]>, now: u64) -> Result<bool> {
        match key {
            None => Ok(true),
            Some(key) => Ok(self.get(key, now)?.is_some()),
        }
    }

    fn write(&self, key: &[u8], row: &Row) -> Result<SeqNo> {
        let mut batch = Batch::new();
        batch.put(&self.objects, key, &row.encode())?;
        Ok(self.db.write_unled(batch)?.seqno())
    }

    fn parse(&self, key: &[u8], value: &[u8]) -> Result<Row> {
        Row::parse(value).ok_or_else(|| no_row(&self.dir, key))
    }
}

fn bury_key(volume: u32, key: &[u8]) -> Vec<u8> {
    [BURY, &volume.to_be_bytes(), key].concat()
}

/// What lies under a key is no row of ours.
fn no_row(dir: &Path, key: &[u8]) -> Error {
    let what = format!("what is under \"{}\" is no row of an index", key.escape_ascii());
    Error::Corrupt { path: dir.to_owned(), offset: 0, what }
}

/// Where a volume has something, as the rows say it.
pub fn replica_at(volume: u32, place: &Place) -> Replica {
    Replica { volume, extent: place.extent, offset: place.offset }
}

/// No volume.
fn nobody(_: u32) -> bool {
    false
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
