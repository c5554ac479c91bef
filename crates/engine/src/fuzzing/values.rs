//! Value files and the pointers into them, parsed and made.
//!
//! An input of value files is the file and, behind it, a pointer of somebody who may be wrong.
//!
//! 1. A record that the walk found right is read through its pointer, whole and as a stream, and both
//!    are the same bytes.
//! 2. A pointer that leads anywhere is an answer.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use olivine_vfs::{MemoryVfs, Random};

use super::{STORE, disk, read, root, sample_key};
use crate::{
    error::{Error, Result},
    pointer::{POINTER_BYTES, Pointer, UseCount, ValueUses},
    table::{Codec, FileSeed},
    values::{
        LiveValues, OpenValues, RecordFacts, ValuesInfo, ValuesWalk, ValuesWriter, mend_record,
        mend_values_footer, stored_records,
    },
};

const FILE: u64 = 1;

/// Where the pointer behind a file begins.
fn pointer_at(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(POINTER_BYTES)
}

pub(super) fn parse(bytes: &[u8]) -> Result<u64> {
    let (file, wild) = bytes.split_at(pointer_at(bytes));
    let path = root().join("values");
    let vfs = disk(&[(path.clone(), file)])?;
    let walk = ValuesWalk::open(vfs.as_ref(), &path, STORE, FILE)?;
    let (records, checksum) = walk.footer()?;
    let (mut facts, mut damage) = (Vec::new(), None);
    walk.verify(&mut |fact| facts.push(fact), &mut |error| {
        damage.get_or_insert(error);
    });
    let info = ValuesInfo { file: FILE, bytes: file.len() as u64, records, checksum };
    let values =
        LiveValues::new(vfs, Arc::new(OpenValues::new()), STORE, path, info, Arc::default());
    let values = Arc::new(values);
    for fact in &facts {
        if let Some(pointer) = pointer_to(file, fact) {
            read_both_ways(&values, &pointer)?;
        }
    }
    if let Some(pointer) = Pointer::decode(wild) {
        read_both_ways(&values, &pointer)?;
    }
    damage.map_or(Ok(facts.len() as u64), Err)
}

/// The pointer that leads to a record that was walked over.
fn pointer_to(file: &[u8], fact: &RecordFacts) -> Option<Pointer> {
    let RecordFacts { offset, record_bytes, value_bytes, .. } = *fact;
    let end = usize::try_from(offset + record_bytes).ok()?;
    let checksum = file.get(..end)?.last_chunk::<8>()?;
    let checksum = u64::from_le_bytes(*checksum);
    Some(Pointer { file: FILE, offset, record_bytes, value_bytes, checksum })
}

fn read_both_ways(values: &Arc<LiveValues>, pointer: &Pointer) -> Result<()> {
    let whole = values.read(pointer);
    let mut piecewise = Vec::new();
    let streamed = values.stream(pointer).and_then(|mut reader| {
        let told = |error: io::Error| Error::Invalid { field: "stream", what: error.to_string() };
        reader.read_to_end(&mut piecewise).map_err(told)
    });
    // Damage that one way meets the other meets too, if at another place.
    if let Ok(whole) = &whole {
        assert!(streamed.is_ok() && *whole == piecewise, "a stream reads something else");
    }
    whole.map(drop)
}

/// Where the records stand in what `sample` made.
pub(super) fn seams(bytes: &[u8]) -> Vec<(usize, usize)> {
    stored_records(&bytes[..pointer_at(bytes)])
}

pub(super) fn mend(bytes: &mut [u8], seams: &[(usize, usize)]) {
    let (file, wild) = bytes.split_at_mut(pointer_at(bytes));
    let seed = FileSeed::new(STORE, FILE);
    let hashes = seams.iter().map(|(start, end)| mend_record(file, *start, *end, seed));
    let hashes: Vec<u64> = hashes.collect();
    mend_values_footer(file, STORE, FILE, &hashes);
    if let Some(mut pointer) = Pointer::decode(wild)
        && let Some(end) = pointer.offset.checked_add(pointer.record_bytes)
        && let Some(record) = usize::try_from(end).ok().and_then(|end| file.get(..end))
        && let Some(checksum) = record.last_chunk::<8>()
    {
        pointer.checksum = u64::from_le_bytes(*checksum);
        wild.copy_from_slice(&pointer.encode());
    }
}

pub(super) fn sample(random: &mut Random) -> Result<Vec<u8>> {
    let (vfs, path) = (MemoryVfs::new(), root().join("values"));
    let codec = [Codec::Raw, Codec::Lz4][random.index(2)];
    let mut writer = ValuesWriter::create(&vfs, path.clone(), STORE, FILE, codec, 64 << 10)?;
    let mut pointers = Vec::new();
    for number in 0..random.between(1, 6) {
        let value = vec![number as u8; random.below(200) as usize];
        pointers.push(writer.add(&sample_key(random), &value)?);
    }
    writer.finish()?;
    let mut bytes = read(&vfs, &path)?;
    bytes.extend_from_slice(&pointers[random.index(pointers.len())].encode());
    Ok(bytes)
}

/// A pointer, and behind it what a table says of the files that it points into.
pub(super) fn parse_pointer(bytes: &[u8]) -> std::result::Result<u64, String> {
    let (pointer, uses) = bytes.split_at(bytes.len().min(POINTER_BYTES));
    let decoded = Pointer::decode(pointer).ok_or("no pointer")?;
    assert!(decoded.encode() == pointer, "a pointer that was read is written differently");
    let (words, rest) = uses.as_chunks::<8>();
    if !rest.is_empty() {
        return Err("no whole words".into());
    }
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let uses = ValueUses::from_words(&words).ok_or("no uses")?;
    assert!(uses.words() == words, "uses that were read are written differently");
    std::hint::black_box((uses.bytes(), uses.count()));
    Ok(1 + uses.files.len() as u64)
}

pub(super) fn sample_pointer(random: &mut Random) -> Vec<u8> {
    let mut draw = || Pointer {
        file: random.between(1, 9),
        offset: random.between(32, 1 << 30),
        record_bytes: random.between(27, 1 << 20),
        value_bytes: random.below(1 << 20),
        checksum: random.next_u64(),
    };
    let pointer = draw();
    let mut count = UseCount::default();
    for number in 0..6 {
        count.add(&draw(), number % 3 == 0);
    }
    let words = count.uses().words();
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    pointer.encode().into_iter().chain(words).collect()
}
