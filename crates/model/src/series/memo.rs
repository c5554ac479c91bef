//! Finds numbers by the hash of bytes: an open table, without the bytes.
//!
//! Whoever looks something up is handed the numbers whose hash is the same, and compares.

/// Numbers by hash.
#[derive(Debug)]
pub(crate) struct Memo {
    /// Hash and number, the number plus one; 0 where there is nothing.
    places: Vec<(u64, u32)>,
    count: usize,
}

impl Default for Memo {
    fn default() -> Memo {
        Memo { places: vec![(0, 0); 16], count: 0 }
    }
}

impl Memo {
    /// The first number under `hash` that is the one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (found, number) = self.places[at];
            if number == 0 {
                return None;
            }
            if found == hash && is(number - 1) {
                return Some(number - 1);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a number, which is less than `u32::MAX`.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        if self.places.len() <= 2 * self.count {
            let larger = vec![(0, 0); 2 * self.places.len()];
            for (hash, number) in std::mem::replace(&mut self.places, larger) {
                if number != 0 {
                    self.place(hash, number);
                }
            }
        }
        self.place(hash, number + 1);
        self.count += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        while self.places[at].1 != 0 {
            at = (at + 1) & mask;
        }
        self.places[at] = (hash, number);
    }

    /// Memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.places.len() * size_of::<(u64, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found() {
        let mut memo = Memo::default();
        // Hashes that meet.
        for number in 0..1_000_u32 {
            memo.insert(u64::from(number % 7) * 16, number);
        }
        for number in 0..1_000_u32 {
            let hash = u64::from(number % 7) * 16;
            assert_eq!(memo.find(hash, |found| found == number), Some(number));
        }
        assert_eq!(memo.find(8, |_| true), None);
        assert_eq!(memo.find(16, |found| found == 1_001), None);
    }
}
