//! What a master has volumes do, and what it is told of it, beside what volumes ask (`talk`).
//!
//! 1. Every message parses to what it was written from, and no other bytes do.

use super::{Fields, push_bytes, push_place, push_some};
use crate::{
    Place,
    bytes::{Take, put_varint},
};

/// The longest value that is ordered to be kept; longer objects go piece by piece.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// What a master has a volume do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// Keep an object.
    Keep {
        /// Its key.
        key: &'a [u8],
        /// Which it is.
        generation: u64,
        /// When it is there no more, in milliseconds since 1970.
        expiry: Option<u64>,
        /// Whether its MD5 is wanted.
        wants_digest: bool,
        /// All of it.
        value: &'a [u8],
    },
    /// Write down that an object is deleted.
    Bury {
        /// The key.
        key: &'a [u8],
        /// The generation of the deletion.
        generation: u64,
        /// Where the object lies.
        place: Place,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is on the disk.
    Kept {
        /// The MD5, if it was wanted.
        digest: Option<[u8; 16]>,
        /// Where it lies.
        place: Place,
    },
    /// It cannot be done now, and why.
    Away(String),
    /// It failed, and why.
    Failed(String),
}

impl<'a> Order<'a> {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let out = &mut bytes;
        match self {
            Order::Keep { key, generation, expiry, wants_digest, value } => {
                out.reserve(key.len() + value.len() + 32);
                out.push(1);
                push_bytes(key, out);
                put_varint(out, *generation);
                push_some(*expiry, out);
                out.push((*wants_digest).into());
                push_bytes(value, out);
            }
            Order::Bury { key, generation, place } => {
                out.push(2);
                push_bytes(key, out);
                put_varint(out, *generation);
                push_place(place, out);
            }
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no order.
    pub fn parse(bytes: &'a [u8]) -> Option<Order<'a>> {
        let mut fields = Fields(Take(bytes));
        let order = match fields.byte()? {
            1 => Order::Keep {
                key: fields.key_bytes()?,
                generation: fields.number()?,
                expiry: fields.some()?.0,
                wants_digest: fields.flag()?,
                value: fields.bytes(VALUE_BYTES_MAX)?,
            },
            2 => Order::Bury {
                key: fields.key_bytes()?,
                generation: fields.number()?,
                place: fields.place()?,
            },
            _ => return None,
        };
        fields.0.0.is_empty().then_some(order)
    }
}

impl Done {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let out = &mut bytes;
        match self {
            Done::Kept { digest, place } => {
                out.push(1);
                push_bytes(digest.as_ref().map_or(&[], |digest| &digest[..]), out);
                push_place(place, out);
            }
            Done::Away(why) => {
                out.push(2);
                push_bytes(why.as_bytes(), out);
            }
            Done::Failed(why) => {
                out.push(3);
                push_bytes(why.as_bytes(), out);
            }
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no answer to an order.
    pub fn parse(bytes: &[u8]) -> Option<Done> {
        let mut fields = Fields(Take(bytes));
        let done = match fields.byte()? {
            1 => Done::Kept { digest: fields.digest()?.0, place: fields.place()? },
            2 => Done::Away(fields.text()?),
            3 => Done::Failed(fields.text()?),
            _ => return None,
        };
        fields.0.0.is_empty().then_some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_and_nothing_else_is_one() {
        let place = Place { extent: 3, offset: 1 << 33, bytes: 9 };
        let (key, value) = (&b"k1"[..], &[7; 300][..]);
        let orders = [
            Order::Keep { key, generation: 1 << 60, expiry: Some(4), wants_digest: true, value },
            Order::Keep { key, generation: 0, expiry: None, wants_digest: false, value: b"v" },
            Order::Bury { key, generation: 300, place },
        ];
        for order in orders {
            let bytes = order.encode();
            assert_eq!(Order::parse(&bytes), Some(order));
            for length in 0..bytes.len() {
                assert_eq!(Order::parse(&bytes[..length]), None, "{order:?}");
            }
            assert_eq!(Order::parse(&[&bytes[..], b"\0"].concat()), None);
            for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert_ne!(Order::parse(&altered), Some(order));
            }
        }
        let outcomes = [
            Done::Kept { digest: None, place },
            Done::Kept { digest: Some([1; 16]), place },
            Done::Away("full".to_owned()),
            Done::Failed(String::new()),
        ];
        for done in outcomes {
            let bytes = done.encode();
            assert_eq!(Done::parse(&bytes).as_ref(), Some(&done));
            for length in 0..bytes.len() {
                assert_eq!(Done::parse(&bytes[..length]), None, "{done:?}");
            }
        }
    }
}
