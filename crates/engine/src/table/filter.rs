//! The filter of a table: says of almost every absent key, and prefix of keys, that it is absent.
//!
//! Which kind a table has is chosen when it is written, and said in its footer. Filters are on disk, so
//! no hash may change within a format.
//!
//! 1. What was added is never denied; a filter without lines denies nothing.
//! 2. Prefixes have hashes of their own, so that none is taken for a key.
//! 3. Prefixes are asked for only by the rule that they were added by.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    bloom::Bloom,
    format::LINE_BYTES,
    fuse::{Fuse, SEEDS, Shape},
};
use crate::{digest::key_hash, options::KeyPrefix};

const PREFIX_SEED: u64 = 0x6f6c_6976_696e_6532;

/// The hash of a prefix of keys.
pub(crate) fn prefix_hash(prefix: &[u8]) -> u64 {
    xxh3_64_with_seed(prefix, PREFIX_SEED)
}

/// What a footer says of the filter, beside its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterHow {
    kind: Kind,
    /// How the prefixes were found that the filter holds beside the keys.
    pub(super) prefix: Option<KeyPrefix>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bloom { probes: u8 },
    Fuse(Shape),
}

const PROBES_MAX: u8 = 64;

impl FilterHow {
    /// What the footer's `word` says, of a filter of `lines` lines; `None` when that cannot be.
    pub(super) fn of(word: u64, lines: u64, is_fuse: bool) -> Option<FilterHow> {
        let [first, segment_log2, prefix @ ..] = word.to_le_bytes();
        let kind = if is_fuse {
            let bytes = lines.checked_mul(LINE_BYTES as u64)?;
            Kind::Fuse(Shape::of(first, segment_log2, bytes)?)
        } else {
            let is_sound = first <= PROBES_MAX && segment_log2 == 0;
            is_sound.then_some(Kind::Bloom { probes: first })?
        };
        let prefix = match prefix {
            [0, 0, 0, 0, 0, 0] => None,
            [tag, low, high, 0, 0, 0] => Some(KeyPrefix::decode([tag, low, high])?),
            _ => return None,
        };
        Some(FilterHow { kind, prefix })
    }

    /// The word that `of` reads.
    pub(super) fn word(self) -> u64 {
        let (first, segment_log2) = match self.kind {
            Kind::Bloom { probes } => (probes, 0),
            Kind::Fuse(shape) => (shape.seed(), shape.segment_log2()),
        };
        let [tag, low, high] = self.prefix.map_or([0; 3], KeyPrefix::encode);
        u64::from_le_bytes([first, segment_log2, tag, low, high, 0, 0, 0])
    }

    pub(super) fn is_fuse(self) -> bool {
        matches!(self.kind, Kind::Fuse(_))
    }

    /// In words, for people.
    pub(super) fn describe(self) -> String {
        let kind = match self.kind {
            Kind::Bloom { probes } => format!("Bloom, {probes} probes"),
            Kind::Fuse(shape) => format!("binary fuse, seed {} of {SEEDS}", shape.seed()),
        };
        match self.prefix {
            None => kind,
            Some(prefix) => format!("{kind}, with prefixes of {prefix}"),
        }
    }
}

/// A filter in memory.
#[derive(Debug)]
pub(super) struct Filter {
    held: Held,
    prefix: Option<KeyPrefix>,
}

#[derive(Debug)]
enum Held {
    Bloom(Bloom),
    Fuse(Fuse),
}

impl Filter {
    /// The filter of these hashes, of keys and of prefixes found by `prefix`; with no bits per key it has
    /// no lines. With `fuse` it takes what such a filter takes, where one can be made.
    pub(super) fn build(
        mut hashes: Vec<u64>,
        bits_per_key: u8,
        fuse: bool,
        prefix: Option<KeyPrefix>,
    ) -> Filter {
        if fuse
            && bits_per_key != 0
            && let Some(fuse) = Fuse::build(&mut hashes)
        {
            return Filter { held: Held::Fuse(fuse), prefix };
        }
        let mut bloom = Bloom::new(hashes.len() as u64, bits_per_key);
        for hash in hashes {
            bloom.insert(hash);
        }
        Filter { held: Held::Bloom(bloom), prefix }
    }

    /// A filter of `lines` lines to be filled by `decode`.
    pub(super) fn empty(how: FilterHow, lines: usize) -> Filter {
        let held = match how.kind {
            Kind::Bloom { probes } => Held::Bloom(Bloom::with_lines(lines, probes.into())),
            Kind::Fuse(shape) => Held::Fuse(Fuse::empty(shape)),
        };
        Filter { held, prefix: how.prefix }
    }

    pub(super) fn how(&self) -> FilterHow {
        let kind = match &self.held {
            Held::Bloom(bloom) => Kind::Bloom { probes: bloom.probes() as u8 },
            Held::Fuse(fuse) => Kind::Fuse(fuse.shape()),
        };
        FilterHow { kind, prefix: self.prefix }
    }

    pub(super) fn lines(&self) -> usize {
        match &self.held {
            Held::Bloom(bloom) => bloom.lines(),
            Held::Fuse(fuse) => fuse.lines(),
        }
    }

    /// Whether the key of this hash may have been added.
    #[inline]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        match &self.held {
            Held::Bloom(bloom) => bloom.may_contain(hash),
            Held::Fuse(fuse) => fuse.may_contain(hash),
        }
    }

    /// Whether keys with the prefix of this hash, found by `rule`, may have been added; `None` when
    /// the filter was not built for that rule.
    pub(super) fn may_contain_prefix(&self, rule: KeyPrefix, hash: u64) -> Option<bool> {
        let knows = self.prefix == Some(rule) && self.lines() != 0;
        knows.then(|| self.may_contain(hash))
    }

    /// Whether `key` is denied by its own hash or by that of its prefix.
    pub(super) fn denies(&self, key: &[u8]) -> bool {
        let prefix = self.prefix.and_then(|rule| rule.of(key));
        let denies_prefix = prefix.is_some_and(|prefix| !self.may_contain(prefix_hash(prefix)));
        denies_prefix || !self.may_contain(key_hash(key))
    }

    /// Appends lines `from..to` as they are on disk.
    pub(super) fn encode(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        match &self.held {
            Held::Bloom(bloom) => bloom.encode(from, to, out),
            Held::Fuse(fuse) => fuse.encode(from, to, out),
        }
    }

    /// Takes lines from `from` on out of `bytes`; false when they are not whole lines of ours.
    pub(super) fn decode(&mut self, from: usize, bytes: &[u8]) -> bool {
        match &mut self.held {
            Held::Bloom(bloom) => bloom.decode(from, bytes),
            Held::Fuse(fuse) => fuse.decode(from, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use olivine_vfs::{Clock, RealClock};

    use super::*;

    /// Hashes are on disk and must not change.
    #[test]
    fn stable_hashes() {
        assert_eq!(key_hash(b""), 208525696656822127);
        assert_eq!(key_hash(b"olivine"), 9118229124005078461);
        assert_ne!(key_hash(b"olivine"), prefix_hash(b"olivine"));
    }

    #[test]
    fn what_a_footer_says_comes_back() {
        let rules = [None, Some(KeyPrefix::Length(300)), Some(KeyPrefix::Delimiter(b':', 2))];
        for (fuse, prefix) in
            [false, true].into_iter().flat_map(|fuse| rules.map(|rule| (fuse, rule)))
        {
            let filter = Filter::build((0..500).collect(), 10, fuse, prefix);
            let (how, lines) = (filter.how(), filter.lines() as u64);
            assert_eq!(how.is_fuse(), fuse);
            assert_eq!(FilterHow::of(how.word(), lines, fuse), Some(how));
            for bit in (0..64).map(|bit| 1 << bit) {
                if let Some(other) = FilterHow::of(how.word() ^ bit, lines, fuse) {
                    assert_ne!(other, how);
                }
            }
        }
        assert_eq!(FilterHow::of(65, 1, false), None);
        assert_eq!(FilterHow::of(6 | 3 << 16, 1, false), None);
        assert_eq!(FilterHow::of(6 | 1 << 16, 1, false), None);
    }

    /// Bits a key, false positives, and the time to build and to ask, of the filters of a table of 32 MiB:
    /// `cargo test --release -p olivine-engine kinds_compared -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    fn kinds_compared() {
        const KEYS: u64 = 300_000;
        let clock = RealClock::new();
        let hash = |n: u64| key_hash(&n.to_be_bytes());
        let present: Vec<u64> = (0..KEYS).map(hash).collect();
        let absent: Vec<u64> = (KEYS..8 * KEYS).map(hash).collect();
        println!("kind   bits/key  false permille  build ns/key  hit ns  miss ns");
        for (kind, bits, fuse) in [("bloom", 10, false), ("bloom", 16, false), ("fuse ", 10, true)]
        {
            let hashes = present.clone();
            let began = clock.now();
            let since = |began| clock.now().saturating_sub(began).as_nanos() as f64;
            let filter = Filter::build(hashes, bits, fuse, None);
            let build = since(began) / KEYS as f64;
            let ask = |hashes: &[u64]| {
                let began = clock.now();
                let let_through = hashes.iter().filter(|hash| filter.may_contain(**hash)).count();
                let each = since(began) / hashes.len() as f64;
                (let_through as f64, each)
            };
            let (hits, hit) = ask(&present);
            assert_eq!(hits as u64, KEYS);
            let (wrong, miss) = ask(&absent);
            let permille = 1000.0 * wrong / absent.len() as f64;
            let bits = (8 * LINE_BYTES * filter.lines()) as f64 / KEYS as f64;
            println!("{kind}  {bits:8.2}  {permille:14.2}  {build:12.1}  {hit:6.1}  {miss:7.1}");
        }
    }

    #[test]
    fn no_bits_deny_nothing() {
        for fuse in [false, true] {
            let filter = Filter::build(vec![1, 2, 3], 0, fuse, Some(KeyPrefix::Length(1)));
            assert_eq!(filter.lines(), 0);
            assert!(filter.may_contain(9));
            assert_eq!(filter.may_contain_prefix(KeyPrefix::Length(1), 9), None);
        }
    }
}
