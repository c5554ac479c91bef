//! A binary fuse filter: eight bits of every key, found again by exclusive or from three places.
//!
//! Keys go to three places each, in segments that follow each other. Whoever is alone in a place is
//! taken away, which leaves others alone, until none is left; in the reverse order each key's place is
//! then free to be set so that the three come to the key's fingerprint. It takes about nine bits a key
//! and lets one absent key in 256 through, where lines of bits take ten for one in a hundred; but the keys
//! must all be known before, and making it costs several times as much.
//! (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022.)
//!
//! What is here is on disk, so neither places nor fingerprints may change within a format.
//!
//! 1. A key that was built in is never denied.
//! 2. Building may fail for a seed, and goes on with the next one; it takes some 42 bytes a key meanwhile.
//! 3. Any shape that `Shape::of` accepts, and any fingerprints, can be asked about any hash.

use super::format::{LINE_BYTES, mix};

/// More keys are left to other filters: building would take too much memory.
pub(super) const FUSE_KEYS_MAX: usize = 1 << 20;

/// Seeds tried before building is given up: of all sets of keys it fails for one seed at a time in a
/// hundred or less.
pub(super) const SEEDS: u8 = 64;

/// Whole lines, so that blocks of the file hold them.
const SEGMENT_LOG2_MIN: u32 = LINE_BYTES.trailing_zeros();
const SEGMENT_LOG2_MAX: u32 = 18;

/// Parts into which hashes are put in order before a filter is built of them, as a power of two.
const PARTS_LOG2: u32 = 8;

/// Segments over which the places of one key are spread.
const PLACES: usize = 3;

/// How the places of keys are told from their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Which of the seeds; the first that worked.
    seed: u8,
    segment_log2: u8,
    /// Where the first place of keys can be: all segments but the last two.
    firsts: u32,
}

impl Shape {
    /// The shape of `bytes` fingerprints; `None` when there is none.
    pub(super) fn of(seed: u8, segment_log2: u8, bytes: u64) -> Option<Shape> {
        let segment_bytes = 1_u64.checked_shl(segment_log2.into())?;
        let is_sound = seed < SEEDS
            && (SEGMENT_LOG2_MIN..=SEGMENT_LOG2_MAX).contains(&segment_log2.into())
            && bytes.is_multiple_of(segment_bytes)
            && PLACES as u64 * segment_bytes <= bytes;
        let firsts = u32::try_from(bytes.checked_sub(2 * segment_bytes)?).ok()?;
        is_sound.then_some(Shape { seed, segment_log2, firsts })
    }

    /// The one for so many keys.
    fn for_keys(keys: usize) -> Shape {
        let ln = (keys.max(2) as f64).ln();
        let segment_log2 = (ln / 3.33_f64.ln() + 2.25) as u32;
        let segment_log2 = segment_log2.clamp(SEGMENT_LOG2_MIN, SEGMENT_LOG2_MAX);
        let spare = (0.875 + 0.25 * 1e6_f64.ln() / ln).max(1.125);
        let places = (keys as f64 * spare) as u64;
        let segments = places.div_ceil(1 << segment_log2).max(PLACES as u64);
        let firsts = ((segments - 2) << segment_log2) as u32;
        Shape { seed: 0, segment_log2: segment_log2 as u8, firsts }
    }

    pub(super) fn seed(self) -> u8 {
        self.seed
    }

    pub(super) fn segment_log2(self) -> u8 {
        self.segment_log2
    }

    fn bytes(self) -> usize {
        self.firsts as usize + (2 << self.segment_log2)
    }

    /// The places of a key, and its fingerprint.
    #[inline]
    fn places(self, hash: u64) -> ([usize; PLACES], u8) {
        self.places_of_mixed(self.mixed(hash))
    }

    fn mixed(self, hash: u64) -> u64 {
        mix(hash.wrapping_add(u64::from(self.seed)))
    }

    #[inline]
    fn places_of_mixed(self, hash: u64) -> ([usize; PLACES], u8) {
        let segment = 1_u64 << self.segment_log2;
        let first = ((u128::from(hash) * u128::from(self.firsts)) >> 64) as u64;
        let second = (first + segment) ^ (hash >> 18 & (segment - 1));
        let third = (first + 2 * segment) ^ (hash & (segment - 1));
        ([first as usize, second as usize, third as usize], (hash ^ hash >> 32) as u8)
    }

    /// The mixed hashes, roughly in the order of their first places, so that what is built of them is
    /// touched from one end to the other.
    fn in_order(self, hashes: &[u64]) -> Vec<u64> {
        let mut ends = [0; 1 << PARTS_LOG2];
        let part = |hash: u64| (hash >> (64 - PARTS_LOG2)) as usize;
        for hash in hashes {
            ends[part(self.mixed(*hash))] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        let mut mixed = vec![0; hashes.len()];
        for hash in hashes {
            let hash = self.mixed(*hash);
            let place = &mut ends[part(hash)];
            mixed[*place] = hash;
            *place += 1;
        }
        mixed
    }
}

/// A filter in memory.
#[derive(Debug)]
pub(super) struct Fuse {
    shape: Shape,
    fingerprints: Box<[u8]>,
}

impl Fuse {
    /// The filter of these hashes; `None` when there are too many, or no seed works. They may come out
    /// in another order, and without those that were there twice.
    pub(super) fn build(hashes: &mut Vec<u64>) -> Option<Fuse> {
        if FUSE_KEYS_MAX < hashes.len() {
            return None;
        }
        let mut shape = Shape::for_keys(hashes.len());
        for seed in 0..SEEDS {
            shape.seed = seed;
            if let Some(fuse) = Fuse::try_build(shape, hashes) {
                return Some(fuse);
            }
            // Two keys of one hash are alone nowhere.
            if seed == 0 {
                hashes.sort_unstable();
                hashes.dedup();
                shape = Shape::for_keys(hashes.len());
            }
        }
        None
    }

    fn try_build(shape: Shape, hashes: &[u64]) -> Option<Fuse> {
        let order = peel(shape, &shape.in_order(hashes))?;
        let mut fuse = Fuse::empty(shape);
        for (hash, place) in order.into_iter().rev() {
            let (places, fingerprint) = shape.places_of_mixed(hash);
            fuse.fingerprints[places[usize::from(place)]] = fingerprint ^ fuse.together(places);
        }
        Some(fuse)
    }

    /// A filter to be filled by `decode`.
    pub(super) fn empty(shape: Shape) -> Fuse {
        Fuse { shape, fingerprints: vec![0; shape.bytes()].into() }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn lines(&self) -> usize {
        self.fingerprints.len() / LINE_BYTES
    }

    /// Whether the key of this hash may have been built in.
    #[inline]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let (places, fingerprint) = self.shape.places(hash);
        self.together(places) == fingerprint
    }

    #[inline]
    fn together(&self, places: [usize; PLACES]) -> u8 {
        let [first, second, third] = places;
        self.fingerprints[first] ^ self.fingerprints[second] ^ self.fingerprints[third]
    }

    /// Lines `from..to` as they are on disk.
    pub(super) fn encode(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprints[from * LINE_BYTES..to * LINE_BYTES]);
    }

    /// Takes lines from `from` on out of `bytes`; false when there are not so many.
    pub(super) fn decode(&mut self, from: usize, bytes: &[u8]) -> bool {
        let place = self.fingerprints.get_mut(from * LINE_BYTES..);
        let Some(place) = place.and_then(|place| place.get_mut(..bytes.len())) else {
            return false;
        };
        place.copy_from_slice(bytes);
        true
    }
}

/// Who goes to a place: the exclusive or of their hashes; four times how many they are, and in the
/// lowest two bits the exclusive or of which of their three places this is.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hashes: u64,
    count: u32,
}

impl Slot {
    fn change(&mut self, hash: u64, nth: u32, count: u32) {
        self.hashes ^= hash;
        self.count = self.count.wrapping_add(count) ^ nth;
    }
}

const ONE: u32 = 4;

/// The mixed hashes in the order in which keys were found alone, and in which of their places that was;
/// `None` when some keys are alone nowhere.
fn peel(shape: Shape, hashes: &[u64]) -> Option<Vec<(u64, u8)>> {
    let mut slots = vec![Slot::default(); shape.bytes()];
    for hash in hashes {
        for (nth, place) in (0..).zip(shape.places_of_mixed(*hash).0) {
            slots[place].change(*hash, nth, ONE);
        }
    }
    let mut order = Vec::with_capacity(hashes.len());
    let mut alone: Vec<u32> = Vec::new();
    for start in 0..slots.len() {
        alone.push(start as u32);
        while let Some(at) = alone.pop() {
            let slot = slots[at as usize];
            if slot.count / ONE != 1 {
                continue;
            }
            order.push((slot.hashes, (slot.count % ONE) as u8));
            for (nth, place) in (0..).zip(shape.places_of_mixed(slot.hashes).0) {
                let other = &mut slots[place];
                other.change(slot.hashes, nth, ONE.wrapping_neg());
                if other.count / ONE == 1 {
                    alone.push(place as u32);
                }
            }
        }
    }
    (order.len() == hashes.len()).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::key_hash;

    fn hashes(keys: std::ops::Range<u64>) -> Vec<u64> {
        keys.map(|n| key_hash(&n.to_be_bytes())).collect()
    }

    /// About nine bits a key let through one absent key in 256.
    #[test]
    fn false_positives_and_bits() {
        for (keys, bits_max) in [(2_000, 11.5), (300_000, 9.4), (1 << 20, 9.2)] {
            let fuse = Fuse::build(&mut hashes(0..keys)).unwrap();
            assert!(hashes(0..keys).into_iter().all(|hash| fuse.may_contain(hash)));
            let absent = hashes(keys..keys + 200_000);
            let positives = absent.iter().filter(|hash| fuse.may_contain(**hash)).count();
            assert!(positives < 200_000 / 200, "{positives} of 200000");
            let bits = 8.0 * fuse.fingerprints.len() as f64 / keys as f64;
            assert!(bits < bits_max, "{bits} bits for each of {keys} keys");
        }
    }

    #[test]
    fn few_keys_build() {
        for keys in 0..200 {
            let fuse = Fuse::build(&mut hashes(0..keys)).unwrap();
            assert!(hashes(0..keys).into_iter().all(|hash| fuse.may_contain(hash)));
        }
    }

    /// As long as they were not taken out, no seed worked.
    #[test]
    fn keys_of_one_hash_build() {
        let mut twice = [hashes(0..1000), hashes(500..600), vec![7; 5000]].concat();
        let fuse = Fuse::build(&mut twice).unwrap();
        assert!(hashes(0..1000).into_iter().all(|hash| fuse.may_contain(hash)));
        assert!(fuse.may_contain(7));
    }

    #[test]
    fn too_many_keys_are_refused() {
        assert!(Fuse::build(&mut vec![0; FUSE_KEYS_MAX + 1]).is_none());
    }

    #[test]
    fn only_sound_shapes_are_taken() {
        let fuse = Fuse::build(&mut hashes(0..5000)).unwrap();
        let (shape, bytes) = (fuse.shape, fuse.fingerprints.len() as u64);
        assert_eq!(Shape::of(shape.seed, shape.segment_log2, bytes), Some(shape));
        let (seed, log2) = (shape.seed, shape.segment_log2);
        let wrong = [
            (SEEDS, log2, bytes),
            (seed, 5, bytes),
            (seed, 19, bytes),
            (seed, 255, bytes),
            (seed, log2, bytes - 64),
            (seed, log2, 2 << log2),
            (seed, log2, 0),
            (seed, 6, u64::MAX << 6),
        ];
        for (seed, log2, bytes) in wrong {
            assert_eq!(Shape::of(seed, log2, bytes), None, "{seed} {log2} {bytes}");
        }
    }

    /// Every shape that is taken can be asked for every hash.
    #[test]
    fn no_hash_leads_outside() {
        for log2 in 6..=18 {
            for segments in [3, 4, 7] {
                let shape = Shape::of(0, log2, segments << log2).unwrap();
                let fuse = Fuse::empty(shape);
                let asked = (0..10_000).chain([u64::MAX]).map(|n| mix(n) | n << 40);
                asked.for_each(|hash| _ = fuse.may_contain(hash));
            }
        }
    }

    /// The filter is on disk: places and fingerprints must not change.
    #[test]
    fn stable_bytes() {
        let fuse = Fuse::build(&mut hashes(0..1000)).unwrap();
        let mut bytes = Vec::new();
        fuse.encode(0, fuse.lines(), &mut bytes);
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 13128991806226584813);
    }
}
