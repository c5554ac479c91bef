//! Randomness from a seed: the only one below the server.
//!
//! It must survive being compared: a failing run is repeated from the seed it printed.
//!
//! 1. The same seed gives the same numbers on every machine and in every release.
//! 2. It is quick and evenly spread; it keeps no secret.

/// A stream of pseudo-random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream that belongs to `seed`; neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// A stream of its own for one part of the work, so that parts do not disturb each other.
    pub fn fork(&mut self) -> Random {
        Random::new(self.next_u64())
    }

    /// Any number, all equally likely.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of length `len`; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included; `low` when they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of `items`, or `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    /// Puts `items` into any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Overwrites all of `buffer`.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// `len` bytes of anything.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of SplitMix64: a seed in an old bug report must keep its meaning.
    #[test]
    fn numbers_never_change() {
        let mut random = Random::new(1234567);
        assert_eq!(random.next_u64(), 6457827717110365317);
        assert_eq!(random.next_u64(), 3203168211198807973);
        assert_eq!(random.next_u64(), 9817491932198370423);
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn between_includes_both_ends() {
        let mut random = Random::new(2);
        let drawn: Vec<u64> = (0..100).map(|_| random.between(3, 5)).collect();
        assert!((3..=5).all(|number| drawn.contains(&number)));
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        assert_eq!(random.between(9, 2), 9);
        random.between(0, u64::MAX);
    }

    #[test]
    fn chance_keeps_its_share() {
        let mut random = Random::new(3);
        let hits = (0..10_000).filter(|_| random.chance(1, 4)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
        assert!(!random.chance(0, 4));
        assert!(random.chance(4, 4));
    }

    #[test]
    fn shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(4).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_have_the_length_asked_for() {
        let mut random = Random::new(5);
        for len in [0, 1, 7, 8, 9, 100] {
            assert_eq!(random.bytes(len).len(), len);
        }
    }

    #[test]
    fn pick_takes_from_the_items() {
        let mut random = Random::new(6);
        assert!([1, 2, 3].contains(random.pick(&[1, 2, 3]).unwrap()));
        assert_eq!(random.pick::<u8>(&[]), None);
    }

    #[test]
    fn a_fork_is_another_stream() {
        let mut random = Random::new(7);
        let mut fork = random.fork();
        assert_ne!(fork.next_u64(), random.next_u64());
    }
}
