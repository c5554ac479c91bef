//! Objects that lie elsewhere from now on, and what volumes are yet to write down of that.
//!
//! 1. A row changes its places only while it is of the generation that was copied, and has the place that is replaced.
//! 2. A copy that is none of the object's any more is written down as that on its volume, or an index that is made of
//!    the volumes might count it.

use olivine_engine::{Batch, Durability, Result, SeqNo};

use super::{Changed, Index, NOTE, lock, no_row, replica_at};
use crate::{
    Place, State,
    bytes::{Take, put_varint},
    row::{REPLICAS_MAX, Replica, Row},
};

/// Something that a volume is yet to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    row_key: Vec<u8>,
    /// The object's key.
    pub key: Vec<u8>,
    /// Its generation.
    pub generation: u64,
    /// What there is to be written down.
    pub state: State,
}

/// How an object's places change.
#[derive(Clone, Copy, Debug)]
pub struct Replacing {
    /// The place that is one of its places no more.
    pub from: Option<Replica>,
    /// The place that is one from now on.
    pub to: Option<Replica>,
    /// When the volume of `from` is to write down that what lies there does not count; nothing if there is no such
    /// volume any more.
    pub leaves_at: Option<u64>,
}

/// Some of all rows.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Keys and rows, in order, unlinked or not.
    pub rows: Vec<(Vec<u8>, Row)>,
    /// Where the next begin, if there are any.
    pub next: Option<Vec<u8>>,
}

impl Index {
    /// An object lies elsewhere. Anything but `Done` means that nobody is sent to the new place.
    pub fn replace(
        &self,
        key: &[u8],
        generation: u64,
        replacing: &Replacing,
    ) -> Result<(Changed, SeqNo)> {
        let Replacing { from, to, leaves_at } = *replacing;
        let _one = lock(&self.changing);
        let row = match self.objects.get(key)? {
            Some(value) => self.parse(key, &value)?,
            None => return Ok((Changed::Absent, self.db.visible())),
        };
        let superseded = (Changed::Superseded, self.db.visible());
        if row.generation != generation {
            return Ok(superseded);
        }
        let mut replicas = row.replicas.clone();
        let at = from.map(|from| replicas.iter().position(|replica| *replica == from));
        match at {
            Some(None) => return Ok(superseded),
            Some(Some(at)) => drop(replicas.remove(at)),
            None => {}
        }
        if let Some(to) = to {
            if replicas.iter().any(|replica| replica.volume == to.volume) {
                return Ok(superseded);
            }
            // In its place, so that the order of the others stays.
            replicas.insert(at.flatten().unwrap_or(replicas.len()), to);
        }
        if !(1..=REPLICAS_MAX).contains(&replicas.len()) {
            return Ok((Changed::Refused, self.db.visible()));
        }
        let mut batch = Batch::new();
        if let Some((from, due)) = from.zip(leaves_at) {
            let place = Place { extent: from.extent, offset: from.offset, bytes: row.bytes };
            self.note(&mut batch, from.volume, due, key, generation, &State::Left(place))?;
        }
        batch.put(&self.objects, key, &Row { replicas, ..row }.encode())?;
        Ok((Changed::Done, self.db.write_unled(batch)?.seqno()))
    }

    /// A copy that was made for nothing is to be written down as none of the object's.
    pub fn leave(&self, volume: u32, key: &[u8], generation: u64, place: &Place) -> Result<()> {
        let mut batch = Batch::new();
        self.note(&mut batch, volume, 0, key, generation, &State::Left(*place))?;
        self.db.write_with(batch, Durability::Os)?;
        Ok(())
    }

    /// The bytes of an object that is not published lie on volumes, in places that no row names.
    pub(super) fn leave_unpublished(
        &self,
        key: &[u8],
        row: &Row,
        there: Option<&Row>,
    ) -> Result<SeqNo> {
        let mut batch = Batch::new();
        for replica in &row.replicas {
            let is_named = there.is_some_and(|there| {
                there.generation == row.generation && there.replicas.contains(replica)
            });
            // All files of a volume have one place, and nobody makes an index of them.
            if is_named || replica.extent == 0 {
                continue;
            }
            let Replica { volume, extent, offset } = *replica;
            let left = State::Left(Place { extent, offset, bytes: row.bytes });
            self.note(&mut batch, volume, 0, key, row.generation, &left)?;
        }
        if batch.is_empty() {
            return Ok(self.db.visible());
        }
        Ok(self.db.write_unled(batch)?.seqno())
    }

    /// Whether a volume is yet to write down what [`leave`](Self::leave) has it write down.
    pub fn is_to_leave(&self, volume: u32, generation: u64, place: &Place) -> Result<bool> {
        Ok(self.blobs.get(&note_row_key(volume, 0, generation, place))?.is_some())
    }

    /// A volume has written down what [`leave`](Self::leave) has it write down.
    pub fn has_left(&self, volume: u32, generation: u64, place: &Place) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(&self.blobs, &note_row_key(volume, 0, generation, place))?;
        self.db.write_with(batch, Durability::Os)?;
        Ok(())
    }

    /// Has a volume write something down, some time from `due` on.
    pub(super) fn note(
        &self,
        batch: &mut Batch,
        volume: u32,
        due: u64,
        key: &[u8],
        generation: u64,
        state: &State,
    ) -> Result<()> {
        let place = match state {
            State::Unlinked => Place { extent: 0, offset: 0, bytes: 0 },
            State::Left(place) => *place,
        };
        let row_key = note_row_key(volume, due, generation, &place);
        let mut value = Vec::new();
        put_varint(&mut value, key.len() as u64);
        value.extend_from_slice(key);
        value.extend(state.encode());
        batch.put(&self.blobs, &row_key, &value)
    }

    /// Some of what a volume is yet to write down, and may by now.
    pub fn notes(&self, volume: u32, now: u64, count: usize) -> Result<Vec<Note>> {
        let mut notes = Vec::new();
        let prefix = note_key(volume);
        for entry in self.blobs.prefix(&prefix)?.take(count) {
            let (row_key, value) = entry?;
            let mut take = Take(&row_key[prefix.len()..]);
            let (due, generation) = (take.array(), take.array());
            let Some((due, generation)) = due.zip(generation) else {
                return Err(no_row(&self.dir, &row_key));
            };
            if now < u64::from_be_bytes(due) {
                break;
            }
            let mut take = Take(&value);
            let length = take.varint().and_then(|length| usize::try_from(length).ok());
            let key = length.and_then(|length| take.slice(length));
            let Some((key, state)) = key.zip(State::parse(take.0)) else {
                return Err(no_row(&self.dir, &row_key));
            };
            let (key, generation) = (key.to_vec(), u64::from_be_bytes(generation));
            notes.push(Note { row_key: row_key.clone(), key, generation, state });
        }
        Ok(notes)
    }

    /// A volume has written something down.
    pub fn noted(&self, note: &Note) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(&self.blobs, &note.row_key)?;
        self.db.write_with(batch, Durability::Os)?;
        Ok(())
    }

    /// Whether an object is unlinked, and a volume has it: then that is still to be read there.
    pub fn is_unlinked_on(&self, volume: u32, key: &[u8], generation: u64) -> Result<bool> {
        let Some(value) = self.objects.get(key)? else { return Ok(false) };
        let row = self.parse(key, &value)?;
        let is_there = row.replicas.iter().any(|replica| replica.volume == volume);
        Ok(row.generation == generation && row.is_unlinked && is_there)
    }

    /// Takes over a row of another index, into one that is being made.
    pub fn adopt(&self, key: &[u8], row: &Row) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(&self.objects, key, &row.encode())?;
        self.db.write_with(batch, Durability::Os)?;
        Ok(())
    }

    /// Up to `count` rows from a key on, whatever they are.
    pub fn walk(&self, from: &[u8], count: usize, now: u64) -> Result<Walked> {
        let mut walked = Walked::default();
        let mut cursor = self.objects.cursor()?;
        cursor.seek(from)?;
        while cursor.valid() {
            let key = cursor.key();
            if count <= walked.rows.len() {
                walked.next = Some(key.to_vec());
                break;
            }
            let row = self.parse(key, cursor.value()?)?;
            if !row.has_expired(now) {
                walked.rows.push((key.to_vec(), row));
            }
            cursor.next()?;
        }
        Ok(walked)
    }

    /// How many volumes the rows have numbers for.
    pub fn volume_count(&self) -> u32 {
        let volumes = self.volumes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        volumes.len() as u32
    }
}

fn note_key(volume: u32) -> Vec<u8> {
    [NOTE, &volume.to_be_bytes()[..]].concat()
}

fn note_row_key(volume: u32, due: u64, generation: u64, place: &Place) -> Vec<u8> {
    let mut row_key = note_key(volume);
    row_key.extend(due.to_be_bytes());
    row_key.extend(generation.to_be_bytes());
    row_key.extend(place.extent.to_be_bytes());
    row_key.extend(place.offset.to_be_bytes());
    row_key
}

impl Replacing {
    /// A copy on a volume in place of another, or beside the others.
    pub fn by(volume: u32, place: &Place, from: Option<Replica>) -> Replacing {
        Replacing { from, to: Some(replica_at(volume, place)), leaves_at: None }
    }
}
