//! Where volumes are damaged, until nothing that is named lies there any more.
//!
//! 1. Damage that was told is known after a start, too.
//! 2. A spot is *settled* when all rows were looked at after it was told, and none has anything in it.

use std::{collections::BTreeMap, path::Path};

use olivine_engine::{Batch, Durability, Keyspace, Result};

use super::{DAMAGE, Index, no_row};
use crate::{
    bytes::{Take, put_varint},
    row::{Replica, Row},
    volume::record_bytes,
};

/// Bytes of a volume that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The extent.
    pub extent: u32,
    /// Where in it they begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// All spots, by volume, extent and offset.
#[derive(Debug, Default)]
pub(super) struct Damages {
    spots: BTreeMap<SpotKey, Told>,
    /// How often something was told.
    count: u64,
}

/// Volume, extent and offset.
pub type SpotKey = (u32, u32, u64);

#[derive(Clone, Copy, Debug)]
struct Told {
    bytes: u64,
    is_settled: bool,
    /// The count when it was told.
    count: u64,
}

impl Damages {
    pub(super) fn read(blobs: &Keyspace, dir: &Path) -> Result<Damages> {
        let mut damages = Damages::default();
        for entry in blobs.prefix(DAMAGE)? {
            let (row_key, value) = entry?;
            let mut take = Take(&row_key[DAMAGE.len()..]);
            let at = (take.array(), take.array(), take.array());
            let mut take = Take(&value);
            let said = take.varint().zip(take.byte());
            let ((Some(volume), Some(extent), Some(offset)), Some((bytes, is_settled))) =
                (at, said)
            else {
                return Err(no_row(dir, &row_key));
            };
            let at = (
                u32::from_be_bytes(volume),
                u32::from_be_bytes(extent),
                u64::from_be_bytes(offset),
            );
            damages.spots.insert(at, Told { bytes, is_settled: is_settled == 1, count: 0 });
        }
        Ok(damages)
    }

    /// The spot that bytes from `offset` up to `end` touch, if one does.
    fn touching(&self, volume: u32, extent: u32, offset: u64, end: u64) -> Option<SpotKey> {
        let before = self.spots.range((volume, extent, 0)..(volume, extent, end)).rev();
        // Spots may lie within one another, and there are few in an extent.
        let mut touching = before.filter(|(at, told)| offset < at.2.saturating_add(told.bytes));
        touching.find(|(_, told)| !told.is_settled).map(|(at, _)| *at)
    }
}

impl Index {
    /// A volume is damaged there. Says for each spot whether something that is named may lie in it.
    pub fn add_damage(&self, volume: u32, spots: &[Spot]) -> Result<Vec<bool>> {
        let mut damages = super::write(&self.damages);
        let (mut batch, mut each) = (Batch::new(), Vec::with_capacity(spots.len()));
        for Spot { extent, offset, bytes } in spots {
            let at = (volume, *extent, *offset);
            let known = damages.spots.get(&at).copied();
            if let Some(known) = known.filter(|known| *bytes <= known.bytes) {
                each.push(!known.is_settled);
                continue;
            }
            damages.count += 1;
            let told = Told { bytes: *bytes, is_settled: false, count: damages.count };
            damages.spots.insert(at, told);
            put(&mut batch, &self.blobs, at, told)?;
            each.push(true);
        }
        if !batch.is_empty() {
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(each)
    }

    /// How often damage was told: what was told by now is settled by who looks at all rows from now on.
    pub fn damage_count(&self) -> u64 {
        super::read(&self.damages).count
    }

    /// Whether anything is told as damaged that is not settled.
    pub fn has_damage(&self) -> bool {
        super::read(&self.damages).spots.values().any(|told| !told.is_settled)
    }

    /// The spot that a copy of an object touches, if one does.
    pub fn damage_of(&self, key: &[u8], row: &Row, replica: &Replica) -> Option<SpotKey> {
        let damages = super::read(&self.damages);
        if damages.spots.is_empty() {
            return None;
        }
        let Row { generation, bytes, digest, expiry, attributes, .. } = row;
        let attributes = attributes.as_ref().map_or(0, |attributes| attributes.encode().len());
        let has_md5 = digest.is_some();
        let length = record_bytes(key, *generation, *bytes, *expiry, has_md5, attributes);
        let Replica { volume, extent, offset } = *replica;
        damages.touching(volume, extent, offset, offset.saturating_add(length))
    }

    /// All rows were looked at after damage had been told `count` times, and of that only `left` has something in it
    /// that is named.
    pub fn settle_damage(&self, count: u64, left: &[SpotKey]) -> Result<()> {
        let mut damages = super::write(&self.damages);
        let mut batch = Batch::new();
        for (at, told) in &mut damages.spots {
            if told.count <= count && !told.is_settled && !left.contains(at) {
                told.is_settled = true;
                put(&mut batch, &self.blobs, *at, *told)?;
            }
        }
        if !batch.is_empty() {
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }
}

fn put(batch: &mut Batch, blobs: &Keyspace, at: SpotKey, told: Told) -> Result<()> {
    let (volume, extent, offset) = at;
    let (volume, extent) = (volume.to_be_bytes(), extent.to_be_bytes());
    let row_key = [DAMAGE, &volume, &extent, &offset.to_be_bytes()].concat();
    let mut value = Vec::new();
    put_varint(&mut value, told.bytes);
    value.push(told.is_settled.into());
    batch.put(blobs, &row_key, &value)
}
