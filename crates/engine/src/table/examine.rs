//! A table looked at piece by piece, sound or not: what check, repair and inspection read with.
//!
//! It must survive every damage, and find what is still readable behind it.
//!
//! 1. Nothing is believed that did not verify; what does not verify is told once and left out.
//! 2. Where the index does not tell any more where data blocks are, they are found by their
//!    checksums, which fit no other place.
//! 3. Memory is the index and the filter of the table, one block, and a window of the file.

mod dictionary;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use olivine_vfs::{Open, Vfs};
use xxhash_rust::xxh3::Xxh3;

use super::{
    block::{Block, View},
    filter::Filter,
    format::{
        Codec, DICTIONARY, FEATURE_RANGE_DELETES, FOOTER_BYTES, Fault, FileSeed, Footer,
        HEADER_BYTES, LINE_BYTES, LINES_PER_BLOCK, PAYLOAD_BYTES_MAX, RANGE_DELETES, TRAILER_BYTES,
        mix, u32_at, u64_at,
    },
    info::TableInfo,
    reader::{footer_error, open_block, read_dictionary, read_filter},
    source::{Source, Window},
    zstd::Unpacker,
};
use crate::{
    error::{Error, Result},
    key::Stamp,
    pointer::ValueUses,
    ranges::RangeDeletes,
};

/// Bytes read at once.
const WINDOW_BYTES: u64 = 256 << 10;
/// How far behind a damaged block the beginning of another is looked for,
const BEHIND_STARTS_MAX: usize = 80 << 10;
/// and how far its end.
const BEHIND_BYTES_MAX: u64 = 256 << 10;

/// A table's file, open to be looked at.
#[derive(Debug)]
pub(crate) struct Examiner {
    source: Source,
    seed: FileSeed,
    bytes: u64,
    /// The footer and its checksum, or why there is none.
    footer: Result<(Footer, u64)>,
    /// Why the dictionary cannot be read.
    no_dictionary: Option<Error>,
    window: Window,
}

/// What a footer says, for who does not need all of it.
#[derive(Clone, Debug)]
pub(crate) struct FooterFacts {
    pub(crate) features: u64,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) seqno_min: u64,
    pub(crate) seqno_max: u64,
    pub(crate) data_blocks: u64,
    pub(crate) checksum: u64,
    /// What filter there is, in words.
    pub(crate) filter: String,
    /// The parts of the file and where each begins, in order; the last one ends the file.
    pub(crate) parts: Vec<(&'static str, u64)>,
}

/// What follows in the part of the file that holds entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A data block, and at least its last key.
    Block { offset: u64, stored: u32, separator: Box<[u8]> },
    /// Blocks of which the index does not tell any more where they are.
    Unknown { offset: u64, end: u64 },
}

/// What the parts of a table beside its data blocks say.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// All of the part with entries, in order, without a gap.
    pub(crate) pieces: Vec<Piece>,
    filter: Option<Filter>,
    pub(crate) properties: Option<BTreeMap<String, Vec<u8>>>,
    pub(crate) range_deletes: RangeDeletes,
    /// Where the stored blocks behind the data are, and what each is; in order.
    pub(crate) tail: Vec<(&'static str, u64, u32)>,
}

/// A data block that verified.
#[derive(Debug)]
pub(crate) struct Entries {
    block: Block,
    /// The checksum it is stored with.
    pub(crate) checksum: u64,
}

impl Entries {
    fn view(&self) -> View<'_> {
        self.block.view()
    }

    pub(crate) fn count(&self) -> usize {
        self.view().count()
    }

    /// Puts the key of entry `at` into `key`.
    pub(crate) fn copy_key(&self, at: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(self.view().prefix());
        key.extend_from_slice(self.view().suffix(at));
    }

    /// Whether the next block begins with the last key of this one.
    pub(crate) fn continues(&self) -> bool {
        self.view().continues()
    }

    pub(crate) fn stamp(&self, at: usize) -> Stamp {
        self.view().stamp(at)
    }

    pub(crate) fn value(&self, at: usize) -> &[u8] {
        self.view().value(at)
    }
}

impl Layout {
    /// Whether the filter lets the key and its prefix through; true when there is none.
    pub(crate) fn may_contain(&self, key: &[u8]) -> bool {
        self.filter.as_ref().is_none_or(|filter| !filter.denies(key))
    }

    /// A property that is a number of `N` bytes.
    pub(crate) fn number<const N: usize>(&self, name: &str) -> Option<u64> {
        let value = self.properties.as_ref()?.get(name)?;
        let mut word = [0; 8];
        word[..N].copy_from_slice(value.first_chunk::<N>().filter(|_| value.len() == N)?);
        Some(u64::from_le_bytes(word))
    }
}

impl Examiner {
    /// Opens the file at `path`, which should be `table` of `store`. Fails only when the disk does, or
    /// when a later release wrote it.
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path, store: u64, table: u64) -> Result<Examiner> {
        let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
        let seed = FileSeed::new(store, table);
        let mut source = Source::new(file, Arc::from(path), seed);
        let bytes = source.len()?;
        let footer = read_footer(&source, path, bytes, store, table)
            .or_else(|_| read_footer(&source, path, bytes, store, table));
        if let Err(error @ (Error::Format { .. } | Error::Unusable { .. } | Error::Io { .. })) =
            footer
        {
            return Err(error);
        }
        let read = footer.as_ref().map_or(Ok(None), |(footer, _)| read_dictionary(&source, footer));
        let (unpacker, no_dictionary) = match read {
            Ok(unpacker) => (unpacker, None),
            Err(error) => (None, Some(error)),
        };
        source.unpack_with(unpacker);
        Ok(Examiner { source, seed, bytes, footer, no_dictionary, window: Window::default() })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the footer says, or what is wrong with it.
    pub(crate) fn footer(&self) -> Result<FooterFacts> {
        let (footer, checksum) = self.footer.as_ref().map_err(Error::clone)?;
        Ok(FooterFacts {
            features: footer.features,
            entries: footer.entries,
            tombstones: footer.tombstones,
            seqno_min: footer.seqno_min,
            seqno_max: footer.seqno_max,
            data_blocks: footer.data_blocks,
            checksum: *checksum,
            filter: match footer.filter_how() {
                Some(how) if footer.filter_lines != 0 => how.describe(),
                _ => "none".into(),
            },
            parts: {
                let dictionary = footer.dictionary().map(|(at, _)| ("dictionary", at));
                let parts = [
                    Some(("header", 0)),
                    Some(("data blocks", HEADER_BYTES)),
                    Some(("filter blocks", footer.filter_at)),
                    dictionary,
                    Some(("index partitions", footer.index_at)),
                    Some(("top of the index", footer.top_at)),
                    Some(("properties", footer.properties_at)),
                    Some(("footer", self.bytes - FOOTER_BYTES as u64)),
                ];
                parts.into_iter().flatten().collect()
            },
        })
    }

    /// What the manifest would say of this table, if the file is to be believed: footer and properties
    /// must be readable.
    pub(crate) fn describe(&mut self, table: u64) -> Result<TableInfo> {
        let facts = self.footer()?;
        let (at, stored) = match &self.footer {
            Ok((footer, _)) => {
                let end = self.bytes - FOOTER_BYTES as u64;
                (footer.properties_at, (end - footer.properties_at) as u32)
            }
            Err(error) => return Err(error.clone()),
        };
        let mut properties = properties_of(&self.block(at, stored)?);
        let list = range_deletes_of(&properties).unwrap_or_default();
        let mut info = TableInfo {
            id: table,
            bytes: self.bytes,
            entries: facts.entries,
            tombstones: facts.tombstones,
            first_key: properties.remove("first_key").unwrap_or_default(),
            last_key: properties.remove("last_key").unwrap_or_default(),
            seqno_min: facts.seqno_min,
            seqno_max: facts.seqno_max,
            checksum: facts.checksum,
            range_deletes: list.count(),
            last_is_excluded: properties.contains_key("last_is_excluded"),
            whole: None,
            values: self.values_in(properties.get("values"))?,
        };
        info.widen(&list);
        Ok(info)
    }

    /// What the properties say that entries point to in value files.
    fn values_in(&self, property: Option<&Vec<u8>>) -> Result<ValueUses> {
        let Some(bytes) = property else { return Ok(ValueUses::default()) };
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        ValueUses::from_words(&words).filter(|_| rest.is_empty()).ok_or_else(|| {
            let at = self.footer.as_ref().map_or(0, |(footer, _)| footer.properties_at);
            self.source.corrupt(at, "the list of values used does not decode")
        })
    }

    /// Reads everything but the data blocks. What is damaged goes to `damage`.
    pub(crate) fn layout(&mut self, damage: &mut dyn FnMut(Error)) -> Layout {
        let footer = match &self.footer {
            Ok((footer, _)) => footer.clone(),
            Err(error) => {
                damage(error.clone());
                self.find_dictionary();
                let end = self.bytes.max(HEADER_BYTES);
                let pieces = vec![Piece::Unknown { offset: HEADER_BYTES, end }];
                return Layout { pieces, ..Layout::default() };
            }
        };
        let mut layout = Layout::default();
        if let Err(error) = self.check_header(&footer) {
            damage(error);
        }
        match read_filter(&self.source, &footer, &mut Window::default()) {
            Ok(filter) => layout.filter = Some(filter),
            Err(error) => damage(error),
        }
        let mut at = footer.filter_at;
        let mut lines = footer.filter_lines;
        while lines != 0 {
            let here = lines.min(LINES_PER_BLOCK as u64);
            let stored = here as usize * LINE_BYTES + TRAILER_BYTES;
            layout.tail.push(("filter", at, stored as u32));
            at += stored as u64;
            lines -= here;
        }
        if let Some((at, stored)) = footer.dictionary() {
            layout.tail.push(("dictionary", at, stored as u32));
        }
        if let Some(error) = &self.no_dictionary {
            damage(error.clone());
        }
        if let Err(error) = self.index(&footer, &mut layout, damage) {
            damage(error);
            let (offset, end) = (HEADER_BYTES, footer.filter_at);
            layout.pieces = vec![Piece::Unknown { offset, end }];
        }
        let top_bytes = (footer.properties_at - footer.top_at) as u32;
        layout.tail.push(("top of the index", footer.top_at, top_bytes));
        let properties_bytes = (self.bytes - FOOTER_BYTES as u64 - footer.properties_at) as u32;
        layout.tail.push(("properties", footer.properties_at, properties_bytes));
        match self.block(footer.properties_at, properties_bytes) {
            Ok(block) => {
                let properties = properties_of(&block);
                let listed = footer.features & FEATURE_RANGE_DELETES != 0;
                match range_deletes_of(&properties) {
                    Some(list) if list.is_empty() != listed => layout.range_deletes = list,
                    _ => {
                        let what = "the list of deleted ranges does not decode";
                        damage(self.source.corrupt(footer.properties_at, what));
                    }
                }
                self.take_copy(&properties);
                layout.properties = Some(properties);
            }
            Err(error) => damage(error),
        }
        layout
    }

    /// Whether the header is the one of this table; readers do without it.
    fn check_header(&self, footer: &Footer) -> Result<()> {
        let mut bytes = [0; HEADER_BYTES as usize];
        self.source.read(&mut bytes, 0)?;
        if bytes != super::format::header(footer.store, footer.table) {
            return Err(self.source.corrupt(0, "the header is not the one of this table"));
        }
        Ok(())
    }

    /// Reads the index as far as it can be read. An error is one of its top, without which there is
    /// none.
    fn index(
        &mut self,
        footer: &Footer,
        layout: &mut Layout,
        damage: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let top = self.block(footer.top_at, (footer.properties_at - footer.top_at) as u32)?;
        let wrong = |what| self.source.corrupt(footer.top_at, what);
        let mut partitions = Vec::new();
        for nth in 0..top.count() {
            let value = top.value(nth);
            if value.len() != 20 {
                return Err(wrong("the index does not fit the table"));
            }
            partitions.push((u64_at(value, 0), u32_at(value, 8), u64_at(value, 12)));
        }
        let data_starts = partitions.iter().map(|(.., data_at)| *data_at);
        let bounds: Vec<u64> = data_starts.chain([footer.filter_at]).collect();
        if bounds[0] != HEADER_BYTES || !bounds.is_sorted() {
            return Err(wrong("the index does not cover the table"));
        }
        for (nth, (at, stored, data_at)) in partitions.into_iter().enumerate() {
            let end = bounds[nth + 1];
            layout.tail.push(("index partition", at, stored));
            let read = self.block(at, stored).and_then(|block| {
                pieces_of(&block, data_at, end).ok_or_else(|| {
                    let what = "an index partition does not cover its part of the table";
                    self.source.corrupt(at, what)
                })
            });
            match read {
                Ok(pieces) => layout.pieces.extend(pieces),
                Err(error) => {
                    damage(error);
                    layout.pieces.push(Piece::Unknown { offset: data_at, end });
                }
            }
        }
        Ok(())
    }

    /// The block of `stored` bytes at `offset`.
    pub(crate) fn block(&mut self, offset: u64, stored: u32) -> Result<Entries> {
        let end = offset.saturating_add(u64::from(stored));
        if self.bytes < end || (stored as usize) < TRAILER_BYTES {
            return Err(self.source.corrupt(offset, "no block of this length fits here"));
        }
        let around = offset..end.max(self.bytes.min(offset + WINDOW_BYTES));
        let payload = self.window.payload(&self.source, offset, stored as usize, around)?;
        let checksum = match self.window.stored(offset, stored as usize) {
            Some(stored) => u64_at(stored, stored.len() - 8),
            None => self.checksum(offset, stored)?,
        };
        Ok(Entries { block: open_block(&self.source, offset, payload)?, checksum })
    }

    /// The checksum that a block is stored with, itself not verified here.
    fn checksum(&self, offset: u64, stored: u32) -> Result<u64> {
        let mut bytes = [0; 8];
        self.source.read(&mut bytes, offset + u64::from(stored) - 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The checksum over all blocks that the footer should have, from that of the data blocks on.
    pub(crate) fn blocks_checksum(&self, data: u64, layout: &Layout) -> Result<u64> {
        layout.tail.iter().try_fold(data, |all, (_, offset, stored)| {
            Ok(mixed(all, self.checksum(*offset, *stored)?))
        })
    }

    /// The checksum over all blocks that the footer has.
    pub(crate) fn expected_blocks_checksum(&self) -> Option<u64> {
        self.footer.as_ref().ok().map(|(footer, _)| footer.blocks_checksum)
    }

    /// Finds the next data block from `offset` on, before `end`, by its checksum: where it is, its
    /// stored bytes, and whether something that does not verify was passed over. Properties found on
    /// the way go to `layout`.
    pub(crate) fn find_block(
        &mut self,
        mut offset: u64,
        end: u64,
        layout: &mut Layout,
    ) -> Result<(Option<(u64, u32)>, bool)> {
        let end = end.min(self.bytes);
        let mut passed = false;
        while offset < end {
            let (at, stored) = if let Some(stored) = self.block_at(offset, end)? {
                (offset, stored)
            } else {
                passed = true;
                let Some(found) = self.block_behind(offset, end)? else { break };
                found
            };
            match self.block(at, stored) {
                Ok(block) if block.view().is_tagged() => return Ok((Some((at, stored)), passed)),
                Ok(block) => {
                    let properties = properties_of(&block);
                    if properties.contains_key("block_bytes") {
                        if let Some(list) = range_deletes_of(&properties) {
                            layout.range_deletes = list;
                        }
                        layout.properties = Some(properties);
                    }
                }
                // A block of the filter holds no entries.
                Err(_) => {}
            }
            offset = at + u64::from(stored);
        }
        Ok((None, passed))
    }

    /// The stored bytes of the block that begins at `offset`, if one does: the trailer whose checksum
    /// fits everything before it.
    fn block_at(&self, offset: u64, end: u64) -> Result<Option<u32>> {
        let mut hasher = Xxh3::with_seed(self.seed.at(offset));
        let (mut bytes, mut hashed) = (Vec::new(), 0);
        let most = (end - offset).min((PAYLOAD_BYTES_MAX + TRAILER_BYTES) as u64) as usize;
        let mut wanted = (16 << 10).min(most);
        let mut at = 1;
        loop {
            bytes.resize(wanted, 0);
            self.source.read(&mut bytes, offset)?;
            while at + TRAILER_BYTES <= bytes.len() {
                if may_be_trailer(at, &bytes[at..at + 5]) {
                    hasher.update(&bytes[hashed..at + 5]);
                    hashed = at + 5;
                    if hasher.digest() == u64_at(&bytes, at + 5) {
                        return Ok(Some((at + TRAILER_BYTES) as u32));
                    }
                }
                at += 1;
            }
            if wanted == most {
                return Ok(None);
            }
            wanted = (4 * wanted).min(most);
        }
    }

    /// The first block that begins behind `offset`, where it is not further off than a few blocks of
    /// ordinary size.
    fn block_behind(&self, offset: u64, end: u64) -> Result<Option<(u64, u32)>> {
        let mut bytes = vec![0; (end - offset).min(BEHIND_BYTES_MAX) as usize];
        self.source.read(&mut bytes, offset)?;
        let last = bytes.len().saturating_sub(TRAILER_BYTES);
        let could_end: Vec<usize> =
            (1..=last).filter(|at| may_be_trailer(0, &bytes[*at..at + 5])).collect();
        for start in 1..last.min(BEHIND_STARTS_MAX) {
            let mut hasher = Xxh3::with_seed(self.seed.at(offset + start as u64));
            let mut hashed = start;
            for &at in &could_end[could_end.partition_point(|at| *at <= start)..] {
                if may_be_trailer(at - start, &bytes[at..at + 5]) {
                    hasher.update(&bytes[hashed..at + 5]);
                    hashed = at + 5;
                    if hasher.digest() == u64_at(&bytes, at + 5) {
                        let stored = (at + TRAILER_BYTES - start) as u32;
                        return Ok(Some((offset + start as u64, stored)));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Whether these five bytes can be the codec and the length of a payload that is stored in `stored`
/// bytes; of any number of bytes when that is 0.
fn may_be_trailer(stored: usize, bytes: &[u8]) -> bool {
    let length = u32_at(bytes, 1) as usize;
    if bytes[0] == Codec::Raw as u8 {
        return length == stored || stored == 0 && length <= BEHIND_BYTES_MAX as usize;
    }
    bytes[0] <= CODEC_MAX && stored < length && length <= PAYLOAD_BYTES_MAX
}

/// No codec has a higher number.
const CODEC_MAX: u8 = 7;

/// The checksums of blocks, one more of them mixed in.
pub(crate) fn mixed(all: u64, checksum: u64) -> u64 {
    mix(all ^ checksum)
}

/// The store and the number that a table's file says it has: its footer if that verifies, and else
/// its header, which proves nothing.
pub(crate) fn identity(vfs: &dyn Vfs, path: &Path) -> Result<Option<(u64, u64, bool)>> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let bytes = file.len().map_err(Error::io("get the length of", path))?;
    let source = Source::new(file, Arc::from(path), FileSeed::new(0, 0));
    let mut footer = [0; FOOTER_BYTES];
    if let Some(at) = bytes.checked_sub(FOOTER_BYTES as u64)
        && source.read(&mut footer, at).is_ok()
    {
        let (store, table) = (u64_at(&footer, 0), u64_at(&footer, 8));
        if Footer::decode(&footer, store, table, bytes).is_ok() {
            return Ok(Some((store, table, true)));
        }
    }
    let mut header = [0; HEADER_BYTES as usize];
    if source.read(&mut header, 0).is_err() || header[..8] != super::format::MAGIC {
        return Ok(None);
    }
    Ok(Some((u64_at(&header, 16), u64_at(&header, 24), false)))
}

fn read_footer(
    source: &Source,
    path: &Path,
    file_bytes: u64,
    store: u64,
    table: u64,
) -> Result<(Footer, u64)> {
    let mut bytes = [0; FOOTER_BYTES];
    let Some(at) = file_bytes.checked_sub(FOOTER_BYTES as u64) else {
        return Err(source.corrupt(0, "the file is too short for a table"));
    };
    source.read(&mut bytes, at)?;
    Footer::decode(&bytes, store, table, file_bytes)
        .map_err(|fault: Fault| footer_error(source, path, at, fault))
}

/// The data blocks of a partition, if they fill their part of the file.
fn pieces_of(partition: &Entries, mut offset: u64, end: u64) -> Option<Vec<Piece>> {
    let view = partition.view();
    let mut pieces = Vec::with_capacity(view.count());
    for nth in 0..view.count() {
        let stored = u32::from_le_bytes(*view.value(nth).first_chunk::<4>()?);
        let mut separator = Vec::new();
        partition.copy_key(nth, &mut separator);
        pieces.push(Piece::Block { offset, stored, separator: separator.into() });
        offset = offset.checked_add(u64::from(stored))?;
    }
    (offset == end).then_some(pieces)
}

/// The list of deleted ranges that properties hold: empty when there is none, `None` when it does not
/// decode.
fn range_deletes_of(properties: &BTreeMap<String, Vec<u8>>) -> Option<RangeDeletes> {
    properties
        .get(RANGE_DELETES)
        .map_or(Some(RangeDeletes::default()), |list| RangeDeletes::decode(list))
}

fn properties_of(block: &Entries) -> BTreeMap<String, Vec<u8>> {
    let mut properties = BTreeMap::new();
    let mut name = Vec::new();
    for at in 0..block.count() {
        block.copy_key(at, &mut name);
        properties.insert(String::from_utf8_lossy(&name).into_owned(), block.value(at).to_vec());
    }
    properties
}
