//! Makes a failing history shorter.
//!
//! 1. What is answered fails as the original did, by the word of the caller's test.
//! 2. Operations keep their order, and every sub-list of a history is one (see `history`).

use std::cell::Cell;

/// How many shorter lists are tried before the shortest so far is taken.
const TRIES_MAX: usize = 2_000;

/// The shortest sub-list of `items` found for which `fails` holds, as it does for `items`.
pub fn shrink<T: Clone>(items: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let tries = Cell::new(0);
    let fails = |items: &[T]| {
        tries.set(tries.get() + 1);
        tries.get() <= TRIES_MAX && fails(items)
    };
    let mut items = items.to_vec();
    let mut chunk = items.len().div_ceil(2);
    while 0 < chunk {
        let mut start = 0;
        let before = items.len();
        while start < items.len() {
            let mut shorter = items.clone();
            shorter.drain(start..items.len().min(start + chunk));
            if fails(&shorter) {
                items = shorter;
            } else {
                start += chunk;
            }
        }
        if chunk == 1 && items.len() == before || TRIES_MAX <= tries.get() {
            break;
        }
        chunk = if chunk == 1 { 1 } else { chunk / 2 };
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_goes() {
        let items: Vec<u32> = (0..1_000).collect();
        let fails = |items: &[u32]| items.contains(&17) && items.contains(&800);
        assert_eq!(shrink(&items, fails), [17, 800]);
    }

    #[test]
    fn what_fails_only_whole_stays_whole() {
        let items: Vec<u32> = (0..50).collect();
        assert_eq!(shrink(&items, |shorter| shorter.len() == 50), items);
    }
}
