//! An index from nothing but the volumes.
//!
//! Of all that the volumes say of a key the highest generation holds: an object that was put, or that it is gone.
//!
//! 1. What was acknowledged is there again, and what was deleted is not, whichever volume is read first.
//! 2. What is damaged is told, and loses nothing but itself.
//! 3. Memory does not grow with the number of objects.

use olivine_engine::{Batch, Durability, Keyspace};

use super::{Index, Replica, Row, no_row};
use crate::{
    Attributes, Damage, Error, Found, Kind, Record, Volume,
    bytes::{Take, put_varint},
    row::REPLICAS_MAX,
};

/// What is gone, while an index is rebuilt.
const GONE: &str = "gone";
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
        for volume in volumes {
            let number = self.number_of(&volume.identity().uuid)?;
            let mut from = 0;
            loop {
                let extents = volume.extents(from, EXTENTS)?;
                for extent in &extents {
                    for found in volume.scan(extent.number, 0)? {
                        match found? {
                            Found::Record(record) => {
                                highest = highest.max(record.generation);
                                self.restore(&gone, number, &record, &mut rebuilt)?;
                            }
                            Found::Damage(damage) => rebuilt.damaged.push(damage),
                        }
                    }
                    rebuilt.extents += 1;
                    told(&rebuilt);
                }
                match extents.last() {
                    Some(last) if extents.len() == EXTENTS => from = last.number + 1,
                    _ => break,
                }
            }
        }
        self.advance_generation(highest)?;
        self.drop_lost_parts()?;
        self.db.drop_keyspace(&gone)?;
        self.db.sync()?;
        Ok(rebuilt)
    }

    fn restore(
        &self,
        gone: &Keyspace,
        volume: u32,
        record: &Record,
        rebuilt: &mut Rebuilt,
    ) -> olivine_engine::Result<()> {
        let Record { kind, key, generation, place, expiry, md5, attributes, .. } = record;
        rebuilt.records += 1;
        rebuilt.bytes += record.record_bytes;
        let buried = match gone.get(key)? {
            Some(value) => Take(&value).varint().unwrap_or_default(),
            None => 0,
        };
        let there = match self.objects.get(key)? {
            Some(value) => Some(self.parse(key, &value)?),
            None => None,
        };
        let mut batch = Batch::new();
        match kind {
            Kind::Tombstone => {
                rebuilt.deletions += 1;
                if buried < *generation {
                    let mut value = Vec::new();
                    put_varint(&mut value, *generation);
                    batch.put(gone, key, &value)?;
                }
                if there.is_some_and(|row| row.generation < *generation) {
                    batch.delete(&self.objects, key)?;
                }
            }
            // Nobody writes these yet.
            Kind::State => return Ok(()),
            Kind::Put => {
                if *generation < buried {
                    return Ok(());
                }
                let replica = Replica { volume, extent: place.extent, offset: place.offset };
                let row = match there {
                    Some(row) if *generation < row.generation => return Ok(()),
                    Some(mut row) if *generation == row.generation => {
                        // One that was being moved lies on a volume twice.
                        if row.replicas.iter().any(|there| there.volume == volume)
                            || row.replicas.len() == REPLICAS_MAX
                        {
                            return Ok(());
                        }
                        row.replicas.push(replica);
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
                        is_unlinked: false,
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
}
