//! Texts of a column: each different one once, compressed together, and which of them each row has.
//!
//! ```text
//! texts   how many different ones · form (1) · bytes before · bytes after · [lengths, then the texts]
//!         form of the numbers (1) · which of them each row has      only if neither all are alike nor all differ
//! ```
//!
//! 1. The texts of a column come to [`TEXT_BYTES_MAX`] at most, counted for each row.

use super::{
    Damage, Effort, Unfit,
    bytes::{Bytes, push_varint},
    numbers,
};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use std::collections::BTreeMap;

/// How many bytes the texts of a column may come to, each row's counted.
pub const TEXT_BYTES_MAX: usize = 256 << 20;

/// As they are.
const STORED: u8 = 0;
/// By lz4.
const LZ4: u8 = 1;

/// How much shorter lz4 makes anything, at most.
const LZ4_RATIO_MAX: usize = 256;

/// Appends the texts.
pub(super) fn encode(texts: &[&str], effort: Effort, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let bytes = texts.iter().fold(0usize, |sum, text| sum.saturating_add(text.len()));
    if TEXT_BYTES_MAX < bytes {
        return Err(Unfit("the texts of a column come to more than 256 MiB"));
    }
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut different, mut which) = (Vec::new(), Vec::with_capacity(texts.len()));
    for text in texts {
        let number = *numbers.entry(text).or_insert_with(|| {
            different.push(*text);
            different.len() as u64 - 1
        });
        which.push(number);
    }
    let mut plain = Vec::new();
    for text in &different {
        push_varint(&mut plain, text.len() as u64);
    }
    for text in &different {
        plain.extend_from_slice(text.as_bytes());
    }
    push_varint(out, different.len() as u64);
    push_compressed(&plain, out);
    if different.len() != 1 && different.len() != texts.len() {
        let place = out.len();
        out.push(0);
        out[place] = numbers::encode(&which, effort, out);
    }
    Ok(())
}

fn push_compressed(plain: &[u8], out: &mut Vec<u8>) {
    let mut packed = vec![0; get_maximum_output_size(plain.len())];
    let (form, bytes) = match compress_into(plain, &mut packed) {
        Ok(length) if length < plain.len() => (LZ4, &packed[..length]),
        _ => (STORED, plain),
    };
    out.push(form);
    push_varint(out, plain.len() as u64);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// `count` texts.
pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<Box<str>>, Damage> {
    let mut bytes = Bytes(bytes);
    let different = bytes.count(count)?;
    let plain = take_compressed(&mut bytes)?;
    let texts = split(&plain, different)?;
    let which: Vec<u64> = if different == count {
        (0..count as u64).collect()
    } else if different == 1 {
        vec![0; count]
    } else {
        let mut which = Vec::new();
        let codec = bytes.byte()?;
        numbers::decode(codec, bytes.0, count, 0..count, &mut which)?;
        bytes.0 = &[];
        which
    };
    bytes.end()?;
    let (mut all, mut left) = (Vec::with_capacity(count), TEXT_BYTES_MAX);
    for number in which {
        let text = usize::try_from(number).ok().and_then(|number| texts.get(number));
        let text = *text.ok_or(Damage("a text of a chunk is none of its texts"))?;
        let rest = left.checked_sub(text.len());
        left = rest.ok_or(Damage("the texts of a chunk are too long"))?;
        all.push(text.into());
    }
    Ok(all)
}

fn take_compressed(bytes: &mut Bytes<'_>) -> Result<Vec<u8>, Damage> {
    let form = bytes.byte()?;
    let plain = bytes.count(TEXT_BYTES_MAX * 2)?;
    let packed = bytes.count(bytes.0.len())?;
    let packed = bytes.take(packed)?;
    let damaged = Damage("the texts of a chunk do not decompress");
    match form {
        STORED if packed.len() == plain => Ok(packed.to_vec()),
        LZ4 if plain <= packed.len().saturating_mul(LZ4_RATIO_MAX) => {
            let mut read = vec![0; plain];
            let length = decompress_into(packed, &mut read).map_err(|_| damaged)?;
            if length == plain { Ok(read) } else { Err(damaged) }
        }
        STORED | LZ4 => Err(damaged),
        _ => Err(Damage("the texts of a chunk have a form that this release does not know")),
    }
}

/// The texts that stand behind their lengths.
fn split(plain: &[u8], different: usize) -> Result<Vec<&str>, Damage> {
    let mut bytes = Bytes(plain);
    let mut lengths = Vec::with_capacity(different);
    for _ in 0..different {
        lengths.push(bytes.count(plain.len())?);
    }
    let mut texts = Vec::with_capacity(different);
    for length in lengths {
        let text = bytes.take(length)?;
        texts.push(str::from_utf8(text).map_err(|_| Damage("a text of a chunk is not UTF-8"))?);
    }
    bytes.end()?;
    Ok(texts)
}
