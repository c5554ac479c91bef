//! An index from nothing but the volumes.
//!
//! Of all that the volumes say of a key the highest generation holds: an object that was put, that it was unlinked, or
//! that it is gone. Where bytes of a higher one prove to count for nothing, because it was refused, what they hid is read
//! once more.
//!
//! 1. What was acknowledged is there again, and what was deleted is not, whichever volume is read first; what was
//!    unlinked is unlinked.
//! 2. What is damaged is told, and loses nothing but itself.
//! 3. Memory does not grow with the number of objects.

use olivine_engine::{Batch, Durability, Keyspace};

use super::{Index, Replica, Row, no_row};
use crate::{
    Attributes, Damage, Error, Found, Kind, Record, State, Volume,
    bytes::{Take, put_varint},
    row::REPLICAS_MAX,
    state,
};

/// What is gone, unlinked or elsewhere, while an index is rebuilt.
const GONE: &str = "gone";
/// What keys begin with there.
const BURIED: u8 = b'b';
const UNLINKED: u8 = b'u';
const LEFT: u8 = b'l';
const AGAIN: u8 = b'a';
/// Extents that are asked for at once.
const EXTENTS: usize = 1_000;

/// How far rebuilding has come.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// Extents that were read.
    pub extents: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Deletions among them.
    pub deletions: u64,
    /// What was unlinked, and copies that were moved to other volumes.
    pub states: u64,
    /// What does not verify.
    pub damaged: Vec<Damage>,
}

/// Why an index could not be rebuilt.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The index failed.
    Index(olivine_engine::Error),
    /// A volume did.
    Volume(Error),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Index(error) => error.fmt(f),
            Stop::Volume(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Stop {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Stop::Index(error) => error.source(),
            Stop::Volume(error) => error.source(),
        }
    }
}

impl From<olivine_engine::Error> for Stop {
    fn from(error: olivine_engine::Error) -> Stop {
        Stop::Index(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Volume(error)
    }
}

impl Index {
    /// Whether nothing was ever in it.
    pub fn is_new(&self) -> olivine_engine::Result<bool> {
        Ok(self.objects.iter()?.next().is_none() && self.blobs.iter()?.next().is_none())
    }

    /// Makes this index, in which there is nothing, of what volumes have. `told` hears how far it has come.
    pub fn rebuild(
        &self,
        volumes: &[Volume],
        told: &mut dyn FnMut(&Rebuilt),
    ) -> Result<Rebuilt, Stop> {
        let gone = self.db.keyspace(GONE)?;
        let (mut rebuilt, mut highest) = (Rebuilt::default(), 0);
        self.read_volumes(volumes, |number, volume, found| {
            match found {
                Some(Found::Record(record)) => {
                    highest = highest.max(record.generation);
                    if record.kind == Kind::State {
                        let state =
                            State::parse(&record.note).ok_or_else(|| unknown(volume, &record))?;
                        self.restore_state(&gone, number, &record, &state)?;
                        rebuilt.states += 1;
                    }
                    rebuilt.records += 1;
                    rebuilt.bytes += record.record_bytes;
                    rebuilt.deletions += u64::from(record.kind == Kind::Tombstone);
                    self.restore(&gone, number, &record)?;
                }
                Some(Found::Damage(damage)) => rebuilt.damaged.push(damage),
                None => {
                    rebuilt.extents += 1;
                    told(&rebuilt);
                }
            }
            Ok(())
        })?;
        if self.has_hidden(&gone)? {
            self.read_volumes(volumes, |number, _, found| {
                if let Some(Found::Record(record)) = found
                    && record.kind == Kind::Put
                    && gone.get(&[&[AGAIN], &record.key[..]].concat())?.is_some()
                {
                    self.restore(&gone, number, &record)?;
                }
                Ok(())
            })?;
        }
        self.advance_generation(highest)?;
        self.drop_lost_parts()?;
        self.db.drop_keyspace(&gone)?;
        self.db.sync()?;
        Ok(rebuilt)
    }

    /// Reads all records of volumes, in their order. `found` hears of nothing at the end of each extent.
    fn read_volumes(
        &self,
        volumes: &[Volume],
        mut found: impl FnMut(u32, &Volume, Option<Found>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for volume in volumes {
            let number = self.number_of(&volume.identity().uuid)?;
            let mut from = 0;
            loop {
                let extents = volume.extents(from, EXTENTS)?;
                for extent in &extents {
                    for one in volume.scan(extent.number, 0)? {
                        found(number, volume, Some(one?))?;
                    }
                    found(number, volume, None)?;
                }
                match extents.last() {
                    Some(last) if extents.len() == EXTENTS => from = last.number + 1,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Whether under some key something may be that was older than what counts for nothing. Forgets the other keys.
    fn has_hidden(&self, gone: &Keyspace) -> olivine_engine::Result<bool> {
        let mut has_hidden = false;
        for entry in gone.prefix(&[AGAIN])? {
            let (row_key, value) = entry?;
            let (key, left) = (&row_key[1..], Take(&value).varint().unwrap_or_default());
            let is_there = self.there(key)?.is_some_and(|row| left <= row.generation);
            if is_there || left <= generation_in(gone, BURIED, key)? {
                let mut batch = Batch::new();
                batch.delete(gone, &row_key)?;
                self.db.write_with(batch, Durability::Os)?;
            } else {
                has_hidden = true;
            }
        }
        Ok(has_hidden)
    }

    fn restore(&self, gone: &Keyspace, volume: u32, record: &Record) -> olivine_engine::Result<()> {
        let Record { kind, key, generation, place, expiry, md5, attributes, .. } = record;
        let buried = generation_in(gone, BURIED, key)?;
        let there = self.there(key)?;
        let mut batch = Batch::new();
        match kind {
            Kind::Tombstone => {
                if buried < *generation {
                    put_generation(&mut batch, gone, BURIED, key, *generation)?;
                }
                if there.is_some_and(|row| row.generation < *generation) {
                    batch.delete(&self.objects, key)?;
                }
            }
            // It has been heeded.
            Kind::State => return Ok(()),
            Kind::Put => {
                let unlinked = generation_in(gone, UNLINKED, key)?;
                let replica = Replica { volume, extent: place.extent, offset: place.offset };
                if *generation < buried.max(unlinked) || gone.get(&left_key(&replica))?.is_some() {
                    return Ok(());
                }
                let row = match there {
                    Some(row) if *generation < row.generation => return Ok(()),
                    Some(mut row) if *generation == row.generation => {
                        // One that was being moved, or was mended, lies on a volume twice; the newer copy is the better.
                        match row.replicas.iter().position(|there| there.volume == volume) {
                            Some(older) => row.replicas[older] = replica,
                            None if row.replicas.len() == REPLICAS_MAX => return Ok(()),
                            None => row.replicas.push(replica),
                        }
                        row
                    }
                    _ => Row {
                        attributes: match &attributes[..] {
                            [] => None,
                            bytes => {
                                let parsed = Attributes::parse(bytes);
                                Some(Box::new(parsed.ok_or_else(|| no_row(&self.dir, key))?))
                            }
                        },
                        generation: *generation,
                        bytes: place.bytes,
                        digest: *md5,
                        expiry: *expiry,
                        is_unlinked: *generation == unlinked,
                        replicas: vec![replica],
                    },
                };
                batch.put(&self.objects, key, &row.encode())?;
            }
        }
        if !batch.is_empty() {
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }

    fn restore_state(
        &self,
        gone: &Keyspace,
        volume: u32,
        record: &Record,
        state: &State,
    ) -> olivine_engine::Result<()> {
        let Record { key, generation, .. } = record;
        let there = self.there(key)?;
        let mut batch = Batch::new();
        match state {
            State::Unlinked => {
                if generation_in(gone, UNLINKED, key)? < *generation {
                    put_generation(&mut batch, gone, UNLINKED, key, *generation)?;
                }
                match there {
                    Some(row) if row.generation == *generation => {
                        let row = Row { is_unlinked: true, ..row };
                        batch.put(&self.objects, key, &row.encode())?;
                    }
                    // There was one that was put behind it, wherever that is.
                    Some(row) if row.generation < *generation => {
                        batch.delete(&self.objects, key)?;
                    }
                    _ => {}
                }
            }
            State::Left(place) => {
                let left = Replica { volume, extent: place.extent, offset: place.offset };
                batch.put(gone, &left_key(&left), b"")?;
                if let Some(mut row) = there.filter(|row| row.generation == *generation) {
                    row.replicas.retain(|replica| *replica != left);
                    if row.replicas.is_empty() {
                        batch.delete(&self.objects, key)?;
                        if generation_in(gone, AGAIN, key)? < *generation {
                            put_generation(&mut batch, gone, AGAIN, key, *generation)?;
                        }
                    } else {
                        batch.put(&self.objects, key, &row.encode())?;
                    }
                }
            }
        }
        if !batch.is_empty() {
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }

    fn there(&self, key: &[u8]) -> olivine_engine::Result<Option<Row>> {
        let value = self.objects.get(key)?;
        value.map(|value| self.parse(key, &value)).transpose()
    }
}

/// The generation that is kept of a key; 0 if none is.
fn generation_in(gone: &Keyspace, kind: u8, key: &[u8]) -> olivine_engine::Result<u64> {
    let value = gone.get(&[&[kind], key].concat())?;
    Ok(value.and_then(|value| Take(&value).varint()).unwrap_or_default())
}

fn put_generation(
    batch: &mut Batch,
    gone: &Keyspace,
    kind: u8,
    key: &[u8],
    generation: u64,
) -> olivine_engine::Result<()> {
    let mut value = Vec::new();
    put_varint(&mut value, generation);
    batch.put(gone, &[&[kind], key].concat(), &value)
}

fn left_key(replica: &Replica) -> Vec<u8> {
    let Replica { volume, extent, offset } = replica;
    [&[LEFT][..], &volume.to_be_bytes(), &extent.to_be_bytes(), &offset.to_be_bytes()].concat()
}

/// A newer release wrote something down that may be heeded by that release alone.
fn unknown(volume: &Volume, record: &Record) -> Error {
    let found = record.note.first().copied().unwrap_or_default();
    let (found, newest) = (u32::from(found), u32::from(state::VERSION));
    Error::Format { path: volume.dir().to_owned(), found, newest }
}
