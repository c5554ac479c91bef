//! Changes to an input, as an accident or a malicious hand would make them.
//!
//! 1. The same draws make the same changes.

use olivine_vfs::Random;

/// Numbers at which parsers go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Changes `bytes` in one to four places; pieces may come from `other`. With `moves`, what follows a
/// change may move.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8], moves: bool) {
    for _ in 0..random.between(1, 4) {
        change(random, bytes, other, moves);
    }
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8], moves: bool) {
    let at = random.index(bytes.len().max(1));
    match random.below(if moves { 16 } else { 12 }) {
        _ if bytes.is_empty() => bytes.extend_from_slice(&other[..other.len().min(64)]),
        0..4 => bytes[at] ^= 1 << random.below(8),
        4..6 => bytes[at] = random.below(256) as u8,
        6..10 => number(random, bytes, at),
        12 => {
            // A piece is gone.
            let to = (at + random.between(1, 64) as usize).min(bytes.len());
            bytes.drain(at..to);
        }
        13 => {
            // A piece is there twice.
            let to = (at + random.between(1, 64) as usize).min(bytes.len());
            let piece = bytes[at..to].to_vec();
            let place = random.index(bytes.len());
            bytes.splice(place..place, piece);
        }
        14 => {
            // A piece of another input stands there.
            if !other.is_empty() {
                let from = random.index(other.len());
                let piece = &other[from..(from + random.between(1, 128) as usize).min(other.len())];
                let to = (at + piece.len()).min(bytes.len());
                bytes.splice(at..to, piece.iter().copied());
            }
        }
        15 => bytes.truncate(at),
        10 => {
            let to = (at + random.between(1, 32) as usize).min(bytes.len());
            let byte = [0, 0xff][random.index(2)];
            bytes[at..to].fill(byte);
        }
        _ => {
            // Two pieces change places.
            let len = random.between(1, 32) as usize;
            let place = random.index(bytes.len());
            for step in 0..len {
                if at + step < bytes.len() && place + step < bytes.len() {
                    bytes.swap(at + step, place + step);
                }
            }
        }
    }
}

/// A number of one to eight bytes becomes another one, or a little more or less.
fn number(random: &mut Random, bytes: &mut [u8], at: usize) {
    let width = [1, 2, 4, 8][random.index(4)];
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let mut word = [0; 8];
    word[..width].copy_from_slice(place);
    let word = match random.below(3) {
        0 => NUMBERS[random.index(NUMBERS.len())],
        1 => u64::from_le_bytes(word).wrapping_add(random.between(1, 16)),
        _ => u64::from_le_bytes(word).wrapping_sub(random.between(1, 16)),
    };
    place.copy_from_slice(&word.to_le_bytes()[..width]);
}
