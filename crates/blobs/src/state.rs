//! What a volume writes down of an object beside its bytes and its end: that it was unlinked, or that the copy which
//! lies somewhere on this volume is none of the object's any more. To the byte: `docs/format/blobs.md`.
//!
//! ```text
//! version (1) · what (1): 1 unlinked, 2 left · of 2: extent · offset · bytes, as LEB128
//! ```
//!
//! 1. `State::parse(state.encode()) == Some(state)`, and no other bytes parse to it.
//! 2. What a newer release wrote down is refused, not passed over: what it says may be that something is gone.

use crate::{Place, bytes::Take};

/// The newest version.
pub(crate) const VERSION: u8 = 1;
const UNLINKED: u8 = 1;
const LEFT: u8 = 2;

/// The longest state.
pub const STATE_BYTES_MAX: usize = 2 + Place::ENCODED_BYTES_MAX;

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The object is deleted to those who read, and its bytes are kept.
    Unlinked,
    /// What lies at this place of the volume counts as no copy of the object any more: it has others.
    Left(Place),
}

impl State {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            State::Unlinked => vec![VERSION, UNLINKED],
            State::Left(place) => {
                let mut bytes = vec![VERSION, LEFT];
                place.encode(&mut bytes);
                bytes
            }
        }
    }

    /// What bytes stand for; nothing if they are no state that this release knows.
    pub fn parse(bytes: &[u8]) -> Option<State> {
        let mut take = Take(bytes);
        let state = match take.array()? {
            [VERSION, UNLINKED] => State::Unlinked,
            [VERSION, LEFT] => {
                let (place, rest) = Place::decode(take.0)?;
                take = Take(rest);
                State::Left(place)
            }
            _ => return None,
        };
        take.0.is_empty().then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back_and_nothing_else_is_one() {
        let place = Place { extent: u32::MAX, offset: u64::MAX, bytes: u64::MAX };
        for state in [State::Unlinked, State::Left(place)] {
            let bytes = state.encode();
            assert!(bytes.len() <= STATE_BYTES_MAX);
            assert_eq!(State::parse(&bytes), Some(state));
            for length in 0..bytes.len() {
                assert_eq!(State::parse(&bytes[..length]), None);
            }
            assert_eq!(State::parse(&[&bytes[..], b"\0"].concat()), None);
            assert_eq!(State::parse(&[&[VERSION + 1], &bytes[1..]].concat()), None);
        }
    }
}
