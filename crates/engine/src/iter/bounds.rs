//! The keys that a walk may show.
//!
//! 1. What a walk does not look at because of its bounds has no key within them.

use std::ops::{Bound, RangeBounds};

use crate::{key::KEY_BYTES_MAX, options::KeyPrefix, table::TableInfo};

/// The keys that a walk may show.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Bounds {
    pub(crate) fn all() -> Bounds {
        Bounds { lower: Bound::Unbounded, upper: Bound::Unbounded }
    }

    pub(crate) fn of<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> Bounds {
        let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Bounds { lower: own(range.start_bound()), upper: own(range.end_bound()) }
    }

    pub(crate) fn of_prefix(prefix: &[u8]) -> Bounds {
        // The first key behind all that begin with `prefix`: its last byte that can grow, grown.
        let mut behind = prefix.to_vec();
        while behind.last() == Some(&0xff) {
            behind.pop();
        }
        if let Some(last) = behind.last_mut() {
            *last += 1;
        }
        let upper = if behind.is_empty() { Bound::Unbounded } else { Bound::Excluded(behind) };
        Bounds { lower: Bound::Included(prefix.to_vec()), upper }
    }

    /// The key that all within are at least, if there is one.
    pub(crate) fn lower(&self) -> Option<&[u8]> {
        match &self.lower {
            Bound::Unbounded => None,
            Bound::Included(lower) | Bound::Excluded(lower) => Some(lower),
        }
    }

    /// The key that all within are at most, if there is one.
    pub(crate) fn upper(&self) -> Option<&[u8]> {
        match &self.upper {
            Bound::Unbounded => None,
            Bound::Included(upper) | Bound::Excluded(upper) => Some(upper),
        }
    }

    /// Bytes of the keys that bound it.
    pub(crate) fn bytes(&self) -> usize {
        self.lower().map_or(0, <[u8]>::len) + self.upper().map_or(0, <[u8]>::len)
    }

    /// The prefix that all keys within have by `rule`, if they have one and the same.
    pub(super) fn prefix(&self, rule: KeyPrefix) -> Option<&[u8]> {
        let prefix = rule.of(self.lower()?)?;
        let ends_with_it = match (&self.upper, Bounds::of_prefix(prefix).upper) {
            (_, Bound::Unbounded) => true,
            (Bound::Included(upper), Bound::Excluded(behind)) => *upper < behind,
            (Bound::Excluded(upper), Bound::Excluded(behind)) => *upper <= behind,
            _ => false,
        };
        ends_with_it.then_some(prefix)
    }

    /// Whether the table may hold keys within.
    pub(crate) fn meets_table(&self, info: &TableInfo) -> bool {
        !self.is_above(&info.first_key) && self.lower().is_none_or(|lower| !info.ends_before(lower))
    }

    /// Whether the table holds only keys within.
    pub(crate) fn holds_table(&self, info: &TableInfo) -> bool {
        self.contains(&info.first_key) && self.contains(&info.last_key)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        !self.is_below(key) && !self.is_above(key)
    }

    /// Whether keys from `start` up to `end`, which is excluded, may lie within.
    pub(crate) fn meets(&self, start: &[u8], end: &[u8]) -> bool {
        !self.is_above(start) && self.lower().is_none_or(|lower| lower < end)
    }

    pub(crate) fn is_below(&self, key: &[u8]) -> bool {
        match &self.lower {
            Bound::Unbounded => false,
            Bound::Included(lower) => key < lower.as_slice(),
            Bound::Excluded(lower) => key <= lower.as_slice(),
        }
    }

    /// The first key within the bounds and the first one behind; `None` where there is no bound, or its
    /// key would be longer than a key can be.
    pub(crate) fn clip(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let after = |key: &[u8]| (key.len() < KEY_BYTES_MAX).then(|| [key, &[0]].concat());
        let from = match &self.lower {
            Bound::Unbounded => None,
            Bound::Included(lower) => Some(lower.clone()),
            Bound::Excluded(lower) => after(lower),
        };
        let to = match &self.upper {
            Bound::Unbounded => None,
            Bound::Included(upper) => after(upper),
            Bound::Excluded(upper) => Some(upper.clone()),
        };
        (from, to)
    }

    pub(crate) fn is_above(&self, key: &[u8]) -> bool {
        match &self.upper {
            Bound::Unbounded => false,
            Bound::Included(upper) => upper.as_slice() < key,
            Bound::Excluded(upper) => upper.as_slice() <= key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_within_one_prefix_tell_it() {
        let rule = KeyPrefix::Delimiter(b':', 1);
        let told = |bounds: Bounds| bounds.prefix(rule).map(<[u8]>::to_vec);
        let one = Some(b"a:".to_vec());
        assert_eq!(told(Bounds::of_prefix(b"a:")), one);
        assert_eq!(told(Bounds::of_prefix(b"a:xy")), one);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..b"a:9")), one);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..=b"a:9")), one);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..b"a;")), one);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..=b"a;")), None);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..b"b:")), None);
        assert_eq!(told(Bounds::of(b"a:1".as_slice()..)), None);
        assert_eq!(told(Bounds::of(..b"a:1".as_slice())), None);
        assert_eq!(told(Bounds::of_prefix(b"a")), None);
        assert_eq!(told(Bounds::of(b"a".as_slice()..b"a:9")), None);
        let last = Bounds::of_prefix(&[0xff, 0xff]);
        assert_eq!(last.prefix(KeyPrefix::Length(2)), Some([0xff, 0xff].as_slice()));
    }

    #[test]
    fn the_bound_behind_a_prefix_grows_the_last_byte_that_can() {
        let upper = |prefix: &[u8]| Bounds::of_prefix(prefix).upper;
        assert_eq!(upper(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(upper(b"a\xff\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(upper(b"\xff"), Bound::Unbounded);
        assert_eq!(upper(b""), Bound::Unbounded);
    }
}
