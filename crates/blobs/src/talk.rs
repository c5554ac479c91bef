//! What volumes ask their master, and what they are answered: as values, and as bytes between two processes.
//!
//! ```text
//! frame      length of what follows (4, little endian) · number of the question (8) · message
//! message    kind (1) · its fields; numbers are LEB128, texts and keys have their length before them
//! ```
//!
//! 1. Every message parses to what it was written from, and no other bytes do.
//! 2. What was sent is never believed to be as long as it says: nothing is reserved for more than what came.

pub(crate) mod fuzzing;
mod order;

pub use order::{Done, Order, VALUE_BYTES_MAX};

use crate::{
    KEY_BYTES_MAX, Place,
    bytes::{Take, put_varint},
    index::{Changed, Spot},
    row::REPLICAS_MAX,
};

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Records that are asked about together.
pub const RECORDS_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 16 << 10;

/// An object whose bytes are kept, to be known from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its key.
    pub key: Vec<u8>,
    /// Which it is.
    pub generation: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its MD5, if somebody wanted it.
    pub digest: Option<[u8; 16]>,
    /// When it is there no more, in milliseconds since 1970.
    pub expiry: Option<u64>,
    /// What must be under the key; 0 for nothing.
    pub known: Option<u64>,
    /// Where it lies.
    pub places: Vec<([u8; 16], Place)>,
}

/// A record of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lying {
    /// The key.
    pub key: Vec<u8>,
    /// The generation.
    pub generation: u64,
    /// Where it lies.
    pub place: Place,
}

/// How a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Bytes that it has room for.
    pub room: u64,
    /// Whether it takes objects.
    pub takes_writes: bool,
    /// Bytes of it that lie in a bucket.
    pub far_bytes: u64,
}

/// What a volume asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That an object be known.
    Publish(Published),
    /// That what was under a key before a generation be there no more.
    Remove {
        /// The key.
        key: Vec<u8>,
        /// The generation of its deletion.
        generation: u64,
        /// What must be under the key.
        known: Option<u64>,
        /// Who asks, and has written it down.
        volume: [u8; 16],
    },
    /// Where somebody would be sent who came without having been.
    Grant {
        /// The method.
        verb: u8,
        /// The key.
        key: Vec<u8>,
    },
    /// Where else an object goes that somebody brings.
    Others {
        /// The key.
        key: Vec<u8>,
        /// Its generation.
        generation: u64,
        /// When it is there no more.
        expiry: Option<u64>,
        /// Whether its MD5 is wanted.
        wants_digest: bool,
        /// Who asks.
        volume: [u8; 16],
    },
    /// That an object lie also where others are to have it, one that is short and that somebody brings.
    Spread {
        /// The key.
        key: Vec<u8>,
        /// Its generation.
        generation: u64,
        /// When it is there no more.
        expiry: Option<u64>,
        /// Whether its MD5 is wanted.
        wants_digest: bool,
        /// Who asks, and keeps it.
        volume: [u8; 16],
        /// All of it.
        value: Vec<u8>,
    },
    /// Which of some records are what lies under their keys.
    Names {
        /// Who asks.
        volume: [u8; 16],
        /// The records.
        records: Vec<Lying>,
    },
    /// That records were moved.
    Moved {
        /// Who asks.
        volume: [u8; 16],
        /// Where they lay.
        records: Vec<Lying>,
        /// Where they lie, one each.
        places: Vec<Place>,
    },
    /// Nothing: how the volume is.
    Is(State),
    /// That bytes of it are not what was written. It is answered for each spot whether something that is named may lie
    /// in it.
    Damaged {
        /// Who asks.
        volume: [u8; 16],
        /// What was looked for there, if something was: if that is elsewhere by now, it is no news.
        sought: Option<Lying>,
        /// Where.
        spots: Vec<Spot>,
    },
    /// Which of some objects are unlinked, and lie on this volume.
    Unlinked {
        /// Who asks.
        volume: [u8; 16],
        /// The objects; where they lie does not matter.
        records: Vec<Lying>,
    },
}

/// What a volume is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What came of a change.
    Changed(Changed),
    /// What came of each of several things, in their order.
    Each(Vec<bool>),
    /// URLs.
    Urls(Vec<([u8; 16], String)>),
    /// Where else an object lies now.
    Places(Vec<([u8; 16], Place)>),
    /// There is no such object.
    Absent,
    /// It cannot be done now, and why.
    Away(String),
    /// It failed, and why.
    Failed(String),
    /// Nothing was asked.
    Nothing,
}

fn push_bytes(field: &[u8], bytes: &mut Vec<u8>) {
    put_varint(bytes, field.len() as u64);
    bytes.extend_from_slice(field);
}

fn push_some(number: Option<u64>, bytes: &mut Vec<u8>) {
    bytes.push(number.is_some().into());
    if let Some(number) = number {
        put_varint(bytes, number);
    }
}

fn push_place(place: &Place, bytes: &mut Vec<u8>) {
    for number in [u64::from(place.extent), place.offset, place.bytes] {
        put_varint(bytes, number);
    }
}

fn push_places(places: &[([u8; 16], Place)], bytes: &mut Vec<u8>) {
    put_varint(bytes, places.len() as u64);
    for (uuid, place) in places {
        bytes.extend(uuid);
        push_place(place, bytes);
    }
}

fn push_records(records: &[Lying], bytes: &mut Vec<u8>) {
    put_varint(bytes, records.len() as u64);
    for Lying { key, generation, place } in records {
        push_bytes(key, bytes);
        put_varint(bytes, *generation);
        push_place(place, bytes);
    }
}

impl Asked {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let out = &mut bytes;
        match self {
            Asked::Publish(published) => {
                out.push(1);
                push_bytes(&published.key, out);
                put_varint(out, published.generation);
                put_varint(out, published.bytes);
                push_bytes(published.digest.as_ref().map_or(&[], |digest| &digest[..]), out);
                push_some(published.expiry, out);
                push_some(published.known, out);
                push_places(&published.places, out);
            }
            Asked::Remove { key, generation, known, volume } => {
                out.push(2);
                push_bytes(key, out);
                put_varint(out, *generation);
                push_some(*known, out);
                out.extend(volume);
            }
            Asked::Grant { verb, key } => {
                out.extend([3, *verb]);
                push_bytes(key, out);
            }
            Asked::Others { key, generation, expiry, wants_digest, volume } => {
                out.push(4);
                push_bytes(key, out);
                put_varint(out, *generation);
                push_some(*expiry, out);
                out.push((*wants_digest).into());
                out.extend(volume);
            }
            Asked::Names { volume, records } => {
                out.push(5);
                out.extend(volume);
                push_records(records, out);
            }
            Asked::Moved { volume, records, places } => {
                out.push(6);
                out.extend(volume);
                push_records(records, out);
                for place in places {
                    push_place(place, out);
                }
            }
            Asked::Is(State { room, takes_writes, far_bytes }) => {
                // Releases that knew no buckets know no 11.
                out.push(if *far_bytes == 0 { 7 } else { 11 });
                put_varint(out, *room);
                out.push((*takes_writes).into());
                if 0 < *far_bytes {
                    put_varint(out, *far_bytes);
                }
            }
            Asked::Spread { key, generation, expiry, wants_digest, volume, value } => {
                out.push(8);
                push_bytes(key, out);
                put_varint(out, *generation);
                push_some(*expiry, out);
                out.push((*wants_digest).into());
                out.extend(volume);
                push_bytes(value, out);
            }
            Asked::Damaged { volume, sought, spots } => {
                out.push(9);
                out.extend(volume);
                push_records(sought.as_slice(), out);
                put_varint(out, spots.len() as u64);
                for Spot { extent, offset, bytes } in spots {
                    push_place(&Place { extent: *extent, offset: *offset, bytes: *bytes }, out);
                }
            }
            Asked::Unlinked { volume, records } => {
                out.push(10);
                out.extend(volume);
                push_records(records, out);
            }
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no question.
    pub fn parse(bytes: &[u8]) -> Option<Asked> {
        let mut fields = Fields(Take(bytes));
        let asked = match fields.byte()? {
            1 => Asked::Publish(fields.published()?),
            2 => Asked::Remove {
                key: fields.key()?,
                generation: fields.number()?,
                known: fields.some()?.0,
                volume: fields.uuid()?,
            },
            3 => Asked::Grant { verb: fields.byte()?, key: fields.key()? },
            4 => Asked::Others {
                key: fields.key()?,
                generation: fields.number()?,
                expiry: fields.some()?.0,
                wants_digest: fields.flag()?,
                volume: fields.uuid()?,
            },
            5 => Asked::Names { volume: fields.uuid()?, records: fields.records()? },
            6 => {
                let (volume, records) = (fields.uuid()?, fields.records()?);
                let places = records.iter().map(|_| fields.place()).collect::<Option<_>>()?;
                Asked::Moved { volume, records, places }
            }
            7 => Asked::Is(State {
                room: fields.number()?,
                takes_writes: fields.flag()?,
                far_bytes: 0,
            }),
            11 => Asked::Is(State {
                room: fields.number()?,
                takes_writes: fields.flag()?,
                far_bytes: fields.number().filter(|bytes| *bytes != 0)?,
            }),
            8 => Asked::Spread {
                key: fields.key()?,
                generation: fields.number()?,
                expiry: fields.some()?.0,
                wants_digest: fields.flag()?,
                volume: fields.uuid()?,
                value: fields.bytes(VALUE_BYTES_MAX)?.to_vec(),
            },
            9 => {
                let (volume, mut sought) = (fields.uuid()?, fields.records()?);
                let count = fields.count(RECORDS_MAX)?;
                let spot = |Place { extent, offset, bytes }| Spot { extent, offset, bytes };
                let spots = (0..count).map(|_| fields.place().map(spot)).collect::<Option<_>>()?;
                if 1 < sought.len() {
                    return None;
                }
                Asked::Damaged { volume, sought: sought.pop(), spots }
            }
            10 => Asked::Unlinked { volume: fields.uuid()?, records: fields.records()? },
            _ => return None,
        };
        fields.0.0.is_empty().then_some(asked)
    }
}

const CHANGES: [Changed; 5] =
    [Changed::Done, Changed::Superseded, Changed::Refused, Changed::Absent, Changed::Late];

impl Answer {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let out = &mut bytes;
        match self {
            Answer::Changed(changed) => {
                let place = CHANGES.iter().position(|known| known == changed);
                out.extend([1, place.unwrap_or_default() as u8]);
            }
            Answer::Each(each) => {
                out.push(2);
                put_varint(out, each.len() as u64);
                out.extend(each.iter().map(|is_so| u8::from(*is_so)));
            }
            Answer::Urls(urls) => {
                out.push(3);
                put_varint(out, urls.len() as u64);
                for (uuid, url) in urls {
                    out.extend(uuid);
                    push_bytes(url.as_bytes(), out);
                }
            }
            Answer::Absent => out.push(4),
            Answer::Away(why) => {
                out.push(5);
                push_bytes(why.as_bytes(), out);
            }
            Answer::Failed(why) => {
                out.push(6);
                push_bytes(why.as_bytes(), out);
            }
            Answer::Nothing => out.push(7),
            Answer::Places(places) => {
                out.push(8);
                push_places(places, out);
            }
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no answer.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        let mut fields = Fields(Take(bytes));
        let answer = match fields.byte()? {
            1 => Answer::Changed(*CHANGES.get(usize::from(fields.byte()?))?),
            2 => {
                let count = fields.count(RECORDS_MAX)?;
                Answer::Each((0..count).map(|_| fields.flag()).collect::<Option<_>>()?)
            }
            3 => {
                let count = fields.count(REPLICAS_MAX)?;
                let mut url = || Some((fields.uuid()?, fields.text()?));
                Answer::Urls((0..count).map(|_| url()).collect::<Option<_>>()?)
            }
            4 => Answer::Absent,
            5 => Answer::Away(fields.text()?),
            6 => Answer::Failed(fields.text()?),
            7 => Answer::Nothing,
            8 => Answer::Places(fields.places()?),
            _ => return None,
        };
        fields.0.0.is_empty().then_some(answer)
    }
}

/// What was not read yet of a message.
struct Fields<'a>(Take<'a>);

/// What was read of a number that may be missing.
struct Maybe(Option<u64>);

/// What was read of an MD5 that may be missing.
struct Digest(Option<[u8; 16]>);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.0.byte()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.0.varint()
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= most).then_some(count)
    }

    /// A number that may be missing.
    fn some(&mut self) -> Option<Maybe> {
        if self.flag()? {
            self.number().map(|number| Maybe(Some(number)))
        } else {
            Some(Maybe(None))
        }
    }

    fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let length = self.count(most)?;
        let (field, rest) = self.0.0.split_at_checked(length)?;
        self.0 = Take(rest);
        Some(field)
    }

    fn key_bytes(&mut self) -> Option<&'a [u8]> {
        self.bytes(KEY_BYTES_MAX).filter(|key| !key.is_empty())
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        self.key_bytes().map(<[u8]>::to_vec)
    }

    /// An MD5 that may be missing.
    fn digest(&mut self) -> Option<Digest> {
        match self.bytes(16)? {
            [] => Some(Digest(None)),
            digest => Some(Digest(Some(digest.try_into().ok()?))),
        }
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes(TEXT_BYTES_MAX)?.to_vec()).ok()
    }

    fn uuid(&mut self) -> Option<[u8; 16]> {
        self.0.array()
    }

    fn place(&mut self) -> Option<Place> {
        let extent = self.number()?.try_into().ok()?;
        Some(Place { extent, offset: self.number()?, bytes: self.number()? })
    }

    fn records(&mut self) -> Option<Vec<Lying>> {
        let count = self.count(RECORDS_MAX)?;
        let mut record =
            || Some(Lying { key: self.key()?, generation: self.number()?, place: self.place()? });
        (0..count).map(|_| record()).collect()
    }

    fn places(&mut self) -> Option<Vec<([u8; 16], Place)>> {
        let count = self.count(REPLICAS_MAX)?;
        let mut place = || Some((self.uuid()?, self.place()?));
        (0..count).map(|_| place()).collect()
    }

    fn published(&mut self) -> Option<Published> {
        let (key, generation, bytes) = (self.key()?, self.number()?, self.number()?);
        let (digest, expiry, known) = (self.digest()?.0, self.some()?.0, self.some()?.0);
        let places = self.places()?;
        let is_somewhere = !places.is_empty();
        let published = Published { key, generation, bytes, digest, expiry, known, places };
        is_somewhere.then_some(published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(extent: u32) -> Place {
        Place { extent, offset: 1 << 40, bytes: 77 }
    }

    fn questions() -> Vec<Asked> {
        let key = || b"k1".to_vec();
        let record = |extent| Lying { key: key(), generation: 9, place: place(extent) };
        let published = Published {
            key: key(),
            generation: u64::MAX,
            bytes: 5 << 40,
            digest: Some([3; 16]),
            expiry: Some(1),
            known: Some(0),
            places: vec![([1; 16], place(1)), ([2; 16], place(u32::MAX))],
        };
        let plain = Published { digest: None, expiry: None, known: None, ..published.clone() };
        let volume = [7; 16];
        vec![
            Asked::Publish(published),
            Asked::Publish(plain),
            Asked::Remove { key: key(), generation: 300, known: None, volume },
            Asked::Grant { verb: 2, key: key() },
            Asked::Others {
                key: key(),
                generation: 1,
                expiry: Some(5),
                wants_digest: true,
                volume,
            },
            Asked::Names { volume, records: vec![record(1), record(2)] },
            Asked::Moved { volume, records: vec![record(1)], places: vec![place(4)] },
            Asked::Is(State { room: 1 << 50, takes_writes: true, far_bytes: 0 }),
            Asked::Is(State { room: 1 << 50, takes_writes: true, far_bytes: 1 << 40 }),
            Asked::Damaged {
                volume,
                sought: Some(record(3)),
                spots: vec![Spot { extent: 3, offset: 1 << 33, bytes: 70_000 }],
            },
            Asked::Damaged { volume, sought: None, spots: Vec::new() },
            Asked::Unlinked { volume, records: vec![record(1)] },
            Asked::Spread {
                key: key(),
                generation: 4,
                expiry: Some(5),
                wants_digest: true,
                volume,
                value: vec![9; 200],
            },
        ]
    }

    fn answers() -> Vec<Answer> {
        let mut answers: Vec<Answer> = CHANGES.map(Answer::Changed).into();
        answers.extend([
            Answer::Each(vec![true, false]),
            Answer::Urls(vec![([1; 16], "http://a:1/k".to_owned())]),
            Answer::Absent,
            Answer::Away("full".to_owned()),
            Answer::Failed(String::new()),
            Answer::Nothing,
            Answer::Places(vec![([1; 16], place(1)), ([2; 16], place(2))]),
        ]);
        answers
    }

    #[test]
    fn messages_come_back_and_nothing_else_is_one() {
        for asked in questions() {
            let bytes = asked.encode();
            assert_eq!(Asked::parse(&bytes).as_ref(), Some(&asked));
            for length in 0..bytes.len() {
                assert_eq!(Asked::parse(&bytes[..length]), None, "{asked:?}");
            }
            assert_eq!(Asked::parse(&[&bytes[..], b"\0"].concat()), None);
        }
        for answer in answers() {
            let bytes = answer.encode();
            assert_eq!(Answer::parse(&bytes).as_ref(), Some(&answer));
            for length in 0..bytes.len() {
                assert_eq!(Answer::parse(&bytes[..length]), None, "{answer:?}");
            }
        }
    }

    #[test]
    fn altered_messages_are_refused_or_mean_something_else() {
        for asked in questions() {
            let bytes = asked.encode();
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut altered = bytes.clone();
                    altered[place] ^= 1 << bit;
                    assert_ne!(Asked::parse(&altered).as_ref(), Some(&asked));
                }
            }
        }
    }
}
