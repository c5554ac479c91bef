//! Keys and values: which, in which order, and how they compress.
//!
//! A record is named by a number. Present records have even numbers and absent ones odd numbers, so
//! that a missing key lies between present ones and only a filter or a search can tell.
//!
//! 1. The same number gives the same key and value in every process.
//! 2. Records are written in an order that has nothing to do with the order of their keys.
//! 3. A value is 50 random bytes, twice, and a large one a row of such: lz4 halves it, whatever
//!    stands around it.

use std::str::FromStr;

/// Longest key of any kind.
const KEY_BYTES_MAX: usize = 40;
const VALUE_BYTES: usize = 100;
/// Of records made by `Records::large`.
const LARGE_VALUE_BYTES: usize = 16 << 10;
const SHARED_PREFIX: &[u8; 30] = b"tenant/0000042/orders/by-date/";

/// What keys look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// 16 bytes without any order.
    Hashed,
    /// `user:%012d`, 17 bytes.
    User,
    /// 40 bytes, of which the first 30 are always the same.
    Shared,
}

impl KeyKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            KeyKind::Hashed => "hashed",
            KeyKind::User => "user",
            KeyKind::Shared => "shared",
        }
    }
}

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(name: &str) -> Result<KeyKind, String> {
        [KeyKind::Hashed, KeyKind::User, KeyKind::Shared]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("no kind of key is called {name:?}"))
    }
}

/// One key, without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct KeyBuf {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl KeyBuf {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The records of a run: which key and which value the `i`-th has.
pub(crate) struct Records {
    kind: KeyKind,
    count: u64,
    half_bits: u32,
    value_bytes: usize,
    pool: Vec<u8>,
}

impl Records {
    /// Records `0..count` in a random order of their keys; further ones follow in ascending order.
    pub(crate) fn new(kind: KeyKind, count: u64) -> Records {
        let bits = 64 - count.max(4).leading_zeros();
        let half_bits = bits.div_ceil(2);
        Records { kind, count, half_bits, value_bytes: VALUE_BYTES, pool: value_pool() }
    }

    /// Records whose keys ascend with their numbers.
    pub(crate) fn ascending() -> Records {
        Records::new(KeyKind::User, 0)
    }

    /// The same as `new` gives for hashed keys, with values of 16 KiB.
    pub(crate) fn large(count: u64) -> Records {
        Records { value_bytes: LARGE_VALUE_BYTES, ..Records::new(KeyKind::Hashed, count) }
    }

    /// The length of each value.
    pub(crate) fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Whether `value` is one that some version of some record could have.
    pub(crate) fn is_plausible(&self, value: &[u8]) -> bool {
        let halves = value.len() == self.value_bytes;
        halves && value[..VALUE_BYTES / 2] == value[VALUE_BYTES / 2..VALUE_BYTES]
    }

    /// The key of record `index`.
    pub(crate) fn key(&self, index: u64) -> KeyBuf {
        self.key_of_number(2 * self.place(index))
    }

    /// A key beside that of record `index`, which no record has.
    pub(crate) fn absent_key(&self, index: u64) -> KeyBuf {
        self.key_of_number(2 * self.place(index) + 1)
    }

    /// The value of record `index` after its `version`-th overwrite.
    pub(crate) fn value(&self, index: u64, version: u64) -> &[u8] {
        let slots = ((self.pool.len() - self.value_bytes) / VALUE_BYTES + 1) as u64;
        let slot = mix(index.wrapping_add(version << 40)) % slots;
        let start = slot as usize * VALUE_BYTES;
        &self.pool[start..start + self.value_bytes]
    }

    fn key_of_number(&self, number: u64) -> KeyBuf {
        let mut bytes = [0; KEY_BYTES_MAX];
        let len = match self.kind {
            KeyKind::Hashed => {
                bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
                bytes[8..16].copy_from_slice(&mix(!number).to_be_bytes());
                16
            }
            KeyKind::User => {
                bytes[..5].copy_from_slice(b"user:");
                write_decimal(&mut bytes[5..17], number);
                17
            }
            KeyKind::Shared => {
                bytes[..30].copy_from_slice(SHARED_PREFIX);
                write_decimal(&mut bytes[30..40], number);
                40
            }
        };
        KeyBuf { bytes, len }
    }

    /// Where record `index` stands among the keys: a permutation of `0..count`, by a small Feistel
    /// network that is applied until its result lies in the range.
    pub(crate) fn place(&self, index: u64) -> u64 {
        if self.count <= index {
            return index;
        }
        let mask = (1 << self.half_bits) - 1;
        let mut place = index;
        loop {
            let (mut left, mut right) = (place >> self.half_bits, place & mask);
            for round in 0..3 {
                (left, right) = (right, left ^ (mix(right + (round << 56)) & mask));
            }
            place = (left << self.half_bits) | right;
            if place < self.count {
                return place;
            }
        }
    }
}

fn value_pool() -> Vec<u8> {
    let mut random = Random::new(0x5eed);
    let mut pool = Vec::with_capacity(VALUE_BYTES * 10_000);
    for _ in 0..10_000 {
        let half: Vec<u8> = (0..VALUE_BYTES / 2).map(|_| random.next() as u8).collect();
        pool.extend_from_slice(&half);
        pool.extend_from_slice(&half);
    }
    pool
}

fn write_decimal(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Spreads a number over 64 bits, without collisions.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Random numbers that are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws numbers of which few are drawn often, as YCSB does.
pub(crate) struct Zipf {
    count: u64,
    theta: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    pub(crate) fn new(count: u64, theta: f64) -> Zipf {
        let zeta: f64 = (1..=count).map(|rank| (rank as f64).powf(-theta)).sum();
        let zeta2 = 1.0 + 0.5_f64.powf(theta);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta2 / zeta);
        Zipf { count, theta, zeta, eta }
    }

    /// A rank from 0, the most frequent.
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        let u = random.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let spread = (self.eta * (u - 1.0) + 1.0).powf(1.0 / (1.0 - self.theta));
        ((self.count as f64 * spread) as u64).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_record_has_a_key_of_its_own_and_absent_ones_have_none() {
        for kind in [KeyKind::Hashed, KeyKind::User, KeyKind::Shared] {
            let records = Records::new(kind, 3000);
            let keys: BTreeSet<Vec<u8>> =
                (0..3500).map(|i| records.key(i).as_bytes().to_vec()).collect();
            assert_eq!(keys.len(), 3500);
            for i in 0..3500 {
                assert!(!keys.contains(records.absent_key(i).as_bytes()));
            }
        }
    }

    #[test]
    fn ascending_records_ascend_and_large_ones_are_large() {
        let records = Records::ascending();
        for i in 0..2000 {
            assert!(records.key(i).as_bytes() < records.key(i + 1).as_bytes());
        }
        let large = Records::large(50);
        for i in 0..50 {
            assert_eq!(large.value(i, 0).len(), 16 << 10);
            assert!(large.is_plausible(large.value(i, 3)) && !large.is_plausible(b"short"));
        }
    }

    #[test]
    fn zipf_prefers_low_ranks() {
        let (zipf, mut random) = (Zipf::new(1000, 0.99), Random::new(1));
        let draws: Vec<u64> = (0..10_000).map(|_| zipf.draw(&mut random)).collect();
        let hot = draws.iter().filter(|&&rank| rank < 10).count();
        assert!(draws.iter().all(|&rank| rank < 1000));
        assert!((3000..5000).contains(&hot), "{hot} of 10,000 draws hit the ten hottest");
    }
}
