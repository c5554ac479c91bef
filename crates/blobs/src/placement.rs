//! Which volumes a key goes to: rendezvous hashing with weights, so that a volume that comes or goes moves no
//! more than what it must.
//!
//! 1. The same volumes and weights give the same answer everywhere and for ever: the hash is part of no format,
//!    but changing it would move everything.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A volume that something may be put on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The volume.
    pub uuid: [u8; 16],
    /// How much of all it is to have, beside the others; of nothing or less it gets nothing.
    pub weight: f64,
}

/// The places of the volumes that a key belongs on, the best first.
pub fn order(key: &[u8], choices: &[Choice]) -> Vec<usize> {
    let hash = xxh3_64_with_seed(key, 0);
    let mut scored: Vec<(f64, usize)> = choices
        .iter()
        .enumerate()
        .filter(|(_, choice)| 0.0 < choice.weight)
        .map(|(place, choice)| (score(hash, choice), place))
        .collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.into_iter().map(|(_, place)| place).collect()
}

/// The higher the better. Each volume wins a share of the keys that is its share of the weights.
fn score(hash: u64, choice: &Choice) -> f64 {
    let drawn = xxh3_64_with_seed(&choice.uuid, hash);
    // Between 0 and 1, and neither.
    let drawn = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -choice.weight / drawn.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(name: u8, weight: f64) -> Choice {
        Choice { uuid: [name; 16], weight }
    }

    fn best(key: u32, choices: &[Choice]) -> u8 {
        choices[order(&key.to_be_bytes(), choices)[0]].uuid[0]
    }

    #[test]
    fn each_volume_gets_its_share() {
        let choices = [choice(1, 1.0), choice(2, 2.0), choice(3, 1.0), choice(4, 0.0)];
        let mut counts = [0_u32; 5];
        for key in 0..40_000 {
            counts[usize::from(best(key, &choices))] += 1;
        }
        for (name, share) in [(1, 10_000), (2, 20_000), (3, 10_000), (4, 0_u32)] {
            assert!(counts[name].abs_diff(share) < 400, "{counts:?}");
        }
    }

    #[test]
    fn a_volume_that_goes_moves_only_what_it_had() {
        let all = [choice(1, 1.0), choice(2, 1.0), choice(3, 1.0)];
        for key in 0..5_000 {
            let before = best(key, &all);
            if before != 3 {
                assert_eq!(best(key, &all[..2]), before);
            }
        }
    }
}
