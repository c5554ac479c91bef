//! When a table is worth nothing any more: all that it holds expires, and the last of it then.
//!
//! 1. A table that holds a value which does not expire, or an operand, has no such time.
//! 2. The time is among the properties, so nobody reads entries to learn it.

use super::{
    format::{FOOTER_BYTES, u64_at},
    reader::{Table, open_block},
};
use crate::{
    error::Result,
    key::{Kind, Stamp, split_expiry},
};

/// The property's name.
pub(super) const EXPIRES_BY: &str = "expires_by";

/// What the entries of a table being written say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    /// Nothing but deletions, and values that expire; the last of them then.
    By(u64),
    Never,
}

impl Expiry {
    pub(super) fn note(&mut self, stamp: Stamp, value: &[u8]) {
        let Expiry::By(last) = *self else { return };
        *self = match (stamp.kind(), split_expiry(value)) {
            (Some(Kind::Delete), _) => Expiry::By(last),
            (Some(Kind::PutExpiring), Some((expiry, _))) => Expiry::By(last.max(expiry)),
            _ => Expiry::Never,
        };
    }

    /// The property's value; none where nothing expires.
    pub(super) fn encode(self) -> Option<[u8; 8]> {
        match self {
            Expiry::By(last) if last != 0 => Some(last.to_le_bytes()),
            _ => None,
        }
    }
}

impl Table {
    /// The time by which all values of the table have expired, if all do.
    pub(crate) fn expires_by(&self) -> Result<Option<u64>> {
        let (source, footer) = self.open()?;
        let at = footer.properties_at;
        let stored = footer.file_bytes - FOOTER_BYTES as u64 - at;
        let block = open_block(&source, at, source.payload(at, stored as usize)?)?;
        let view = block.view();
        let nth = view.lower_bound(EXPIRES_BY.as_bytes(), Stamp(u64::MAX));
        let is_it = nth < view.count()
            && EXPIRES_BY.as_bytes().strip_prefix(view.prefix()) == Some(view.suffix(nth))
            && view.value(nth).len() == 8;
        Ok(is_it.then(|| u64_at(view.value(nth), 0)))
    }
}
