//! zstd for blocks, with a dictionary that belongs to one table: what blocks of that table have in common
//! is then not stored in each of them.
//!
//! It must survive dictionaries and blocks that were not made here: their checksums matched, and nothing
//! else is known of them.
//!
//! 1. What is unpacked fits the place that was made for it, whatever the bytes say.
//! 2. The same samples make the same dictionary, and the same payloads the same blocks.
//! 3. A block that was packed with a dictionary is unpacked with that one only: `Codec::is_bound_to_table`.

use std::{cell::RefCell, fmt};

use ::zstd::{
    bulk::Compressor,
    dict::from_continuous,
    zstd_safe::{CParameter, DCtx, DDict},
};

use super::format::{Codec, DICTIONARY_BYTES_MAX, DICTIONARY_MAGIC};

/// How hard is tried: 1 saves a little time, and beyond 3 a few per cent cost several times as much.
const LEVEL: i32 = 3;
/// So many bytes of samples make one byte of the dictionary: of less it would hold what only they have.
const SAMPLES_PER_BYTE: usize = 64;
/// Less than this is no dictionary for zstd,
const DICTIONARY_BYTES_LEAST: usize = 256;
/// and of less than this none is tried.
const SAMPLES_BYTES_LEAST: usize = 4 << 10;

thread_local! {
    /// What unpacking needs beside the dictionary. About 94 KiB a thread that reads.
    static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Packs the blocks of one table.
pub(super) struct Packer {
    compressor: Compressor<'static>,
    dictionary: Vec<u8>,
    /// Whether a block was stored as packed.
    is_used: bool,
}

impl Packer {
    /// Packs with a dictionary made of `samples`, which have these lengths, or without one where they
    /// make none, or none that saves more than so many times its own bytes. `None` when zstd cannot be set
    /// up.
    pub(super) fn trained(samples: &[u8], lengths: &[usize], cost: usize) -> Option<Packer> {
        let mut without = Packer::with(Vec::new())?;
        let Some(dictionary) = train(samples, lengths) else { return Some(without) };
        let cost = cost * dictionary.len();
        let mut with = Packer::with(dictionary)?;
        let mut bytes = (0, 0);
        let (mut rest, mut out) = (samples, Vec::new());
        for length in lengths {
            let (sample, behind) = rest.split_at(*length);
            rest = behind;
            for (packer, sum) in [(&mut with, &mut bytes.0), (&mut without, &mut bytes.1)] {
                out.clear();
                let is_packed = packer.pack(sample, sample.len(), &mut out);
                *sum += if is_packed { out.len() } else { sample.len() };
                packer.is_used = false;
            }
        }
        Some(if bytes.0 + cost < bytes.1 { with } else { without })
    }

    fn with(dictionary: Vec<u8>) -> Option<Packer> {
        let mut compressor = Compressor::with_dictionary(LEVEL, &dictionary).ok()?;
        // The place of the dictionary says which one it is.
        compressor.set_parameter(CParameter::DictIdFlag(false)).ok()?;
        Some(Packer { compressor, dictionary, is_used: false })
    }

    /// What a packed block is stored as.
    pub(super) fn codec(&self) -> Codec {
        if self.dictionary.is_empty() { Codec::Zstd } else { Codec::ZstdDictionary }
    }

    /// Appends `payload` to `out`, packed into at most `bytes_max`; false, and nothing appended, where it
    /// does not become so small.
    pub(super) fn pack(&mut self, payload: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.resize(start + bytes_max, 0);
        let packed = self.compressor.compress_to_buffer(payload, &mut out[start..]);
        out.truncate(start + packed.as_ref().map_or(0, |bytes| *bytes));
        self.is_used |= packed.is_ok();
        packed.is_ok()
    }

    /// Whether a block was packed.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// The dictionary; empty when there is none.
    pub(super) fn into_dictionary(self) -> Vec<u8> {
        self.dictionary
    }
}

/// The dictionary that `samples` make, if they make one.
fn train(samples: &[u8], lengths: &[usize]) -> Option<Vec<u8>> {
    if samples.len() < SAMPLES_BYTES_LEAST {
        return None;
    }
    let bytes = samples.len() / SAMPLES_PER_BYTE;
    let bytes = bytes.clamp(DICTIONARY_BYTES_LEAST, DICTIONARY_BYTES_MAX);
    let trained = from_continuous(samples, lengths, bytes).ok()?;
    let is_one = trained.starts_with(&DICTIONARY_MAGIC) && trained.len() <= DICTIONARY_BYTES_MAX;
    is_one.then_some(trained)
}

/// Unpacks the blocks of one table.
pub(super) struct Unpacker {
    dictionary: Option<DDict<'static>>,
}

impl Unpacker {
    /// For a table with this dictionary, which is empty where it has none. `None` when it is no
    /// dictionary.
    pub(super) fn new(dictionary: &[u8]) -> Option<Unpacker> {
        if dictionary.is_empty() {
            return Some(Unpacker { dictionary: None });
        }
        // Without the magic, zstd would take any bytes for one.
        let is_one = dictionary.starts_with(&DICTIONARY_MAGIC);
        let prepared = is_one.then(|| DDict::try_create(dictionary)).flatten()?;
        Some(Unpacker { dictionary: Some(prepared) })
    }

    /// Unpacks `packed`, with the dictionary if it is bound to the table by that, into `place`. Returns the
    /// bytes it came to.
    pub(super) fn unpack(&self, is_bound: bool, packed: &[u8], place: &mut [u8]) -> Option<usize> {
        CONTEXT.with_borrow_mut(|context| {
            if is_bound {
                let dictionary = self.dictionary.as_ref()?;
                context.decompress_using_ddict(place, packed, dictionary).ok()
            } else {
                context.decompress(place, packed).ok()
            }
        })
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.dictionary.as_ref().map_or(0, DDict::sizeof) as u64
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("memory_bytes", &self.memory_bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;

    fn rows(random: &mut Random, count: u64) -> Vec<u8> {
        let row = |random: &mut Random| {
            format!("{{\"user\":{},\"city\":\"city of {}\"}}", random.below(9999), random.below(7))
        };
        (0..count).flat_map(|_| row(random).into_bytes()).collect()
    }

    fn packer(random: &mut Random) -> Packer {
        let blocks: Vec<Vec<u8>> = (0..40).map(|_| rows(random, 20)).collect();
        let lengths: Vec<usize> = blocks.iter().map(Vec::len).collect();
        Packer::trained(&blocks.concat(), &lengths, 1).unwrap()
    }

    fn packed(packer: &mut Packer, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(packer.pack(payload, payload.len(), &mut out));
        out
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let mut random = Random::new(4);
        let (mut with, mut without) = (packer(&mut random), Packer::trained(&[], &[], 1).unwrap());
        assert_eq!((with.codec(), without.codec()), (Codec::ZstdDictionary, Codec::Zstd));
        let mut bytes = (0, 0);
        for _ in 0..300 {
            let count = random.between(5, 40);
            let payload = rows(&mut random, count);
            let (one, other) = (packed(&mut with, &payload), packed(&mut without, &payload));
            bytes = (bytes.0 + one.len(), bytes.1 + other.len());
            let unpacker = Unpacker::new(&with.dictionary).unwrap();
            for (is_bound, packed) in [(true, one), (false, other)] {
                let mut place = vec![0; payload.len()];
                assert_eq!(unpacker.unpack(is_bound, &packed, &mut place), Some(payload.len()));
                assert_eq!(place, payload);
                // A place too small is told, not left.
                assert_eq!(unpacker.unpack(is_bound, &packed, &mut place[1..]), None);
            }
        }
        assert!(bytes.0 < bytes.1 * 9 / 10, "{bytes:?}");
    }

    #[test]
    fn what_does_not_become_small_enough_is_not_packed() {
        let mut random = Random::new(5);
        let mut packer = packer(&mut random);
        let noise: Vec<u8> = (0..4000).map(|_| random.below(256) as u8).collect();
        let mut out = vec![1, 2, 3];
        assert!(!packer.pack(&noise, 3500, &mut out));
        assert_eq!((out, packer.is_used()), (vec![1, 2, 3], false));
        let payload = rows(&mut random, 30);
        assert!(packed(&mut packer, &payload).len() < payload.len());
        assert!(packer.is_used());
    }

    #[test]
    fn bytes_that_nobody_packed_never_panic() {
        let mut random = Random::new(6);
        let mut packer = packer(&mut random);
        let payload = rows(&mut random, 30);
        let packed = packed(&mut packer, &payload);
        let mut place = vec![0; payload.len()];
        for _ in 0..3000 {
            let (mut dictionary, mut changed) = (packer.dictionary.clone(), packed.clone());
            let at = random.index(dictionary.len().min(200));
            dictionary[at] ^= 1 << random.below(8);
            let at = random.index(changed.len());
            changed[at] ^= 1 << random.below(8);
            changed.truncate(random.index(2 * packed.len()));
            for dictionary in [&packer.dictionary, &dictionary] {
                let Some(unpacker) = Unpacker::new(dictionary) else { continue };
                unpacker.unpack(true, &changed, &mut place);
                unpacker.unpack(false, &changed, &mut place);
            }
        }
        assert!(Unpacker::new(b"no dictionary").is_none());
    }

    /// The same table is the same file, on every run.
    #[test]
    fn the_same_samples_make_the_same_dictionary() {
        let made = || packer(&mut Random::new(7)).into_dictionary();
        assert_eq!(made(), made());
    }
}
