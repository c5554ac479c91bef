//! A table being read.
//!
//! 1. Making a `Table` touches no disk. Its index, filter and dictionary are loaded by the first
//!    reader that may read the disk, as one unit, and charged before they are allocated.
//! 2. `evict_meta` may be called at any time; readers in the middle of a call keep what they hold, and
//!    the charge ends when the last of them is done.
//! 3. A reader that may not read the disk answers `WouldBlock` instead, also when the file is not open.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};
use olivine_vfs::{File, Open, Vfs};

use super::{
    block::{Block, Lookup, Slice},
    filter::Filter,
    format::{
        FEATURE_NUMBERED_LATER, FEATURE_RANGE_DELETES, FOOTER_BYTES, FORMAT, Fault, FileSeed,
        Footer, LINE_BYTES, LINES_PER_BLOCK, RANGE_DELETES, TRAILER_BYTES, u32_at, u64_at,
    },
    index::{Index, IndexBuilder},
    source::{Source, Window},
    zstd::Unpacker,
};
use crate::{
    cache::BlockCache,
    error::{Error, Result},
    key::{SeqNo, Stamp},
    options::KeyPrefix,
    ranges::RangeDeletes,
    sync::Mutex,
};

/// What a reader may do, and what it is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadHow {
    /// Without it, what is not in memory is `WouldBlock`.
    pub(crate) may_read_disk: bool,
    /// Whether blocks read from disk go into the cache.
    pub(crate) fill_cache: bool,
    /// Whether most of the table will be read: cursors read far ahead and leave the cache alone.
    pub(crate) scan: bool,
    /// Bytes that the reader has set aside for what a scan reads ahead. Without it a cursor asks the
    /// budget itself.
    pub(crate) ahead_bytes: Option<u32>,
}

impl ReadHow {
    /// A read by a user who waits for it.
    pub(crate) const DISK: ReadHow =
        ReadHow { may_read_disk: true, fill_cache: true, scan: false, ahead_bytes: None };
    /// A read by a user who does not.
    pub(crate) const MEMORY: ReadHow =
        ReadHow { may_read_disk: false, fill_cache: false, scan: false, ahead_bytes: None };
    /// A read of everything.
    pub(crate) const SCAN: ReadHow =
        ReadHow { may_read_disk: true, fill_cache: false, scan: true, ahead_bytes: None };

    /// A read of everything, by one who has set aside what it may read ahead.
    pub(crate) fn scan_within(ahead_bytes: u32) -> ReadHow {
        ReadHow { ahead_bytes: Some(ahead_bytes), ..ReadHow::SCAN }
    }
}

/// Accounts for the memory of indexes and filters.
pub(crate) trait MetaCharge: Send + Sync + Debug {
    /// So many bytes are about to be allocated. May evict the metadata of any table to make room.
    fn take(&self, bytes: u64);

    /// So many bytes were freed.
    fn give(&self, bytes: u64);

    /// A table's file is about to be opened.
    fn open_file(&self) {}

    /// A table's file was closed.
    fn close_file(&self) {}
}

/// Where a table is and what it must be, as the manifest knows.
#[derive(Clone, Debug)]
pub(crate) struct TableFile {
    pub(crate) path: PathBuf,
    pub(crate) store: u64,
    pub(crate) table: u64,
    /// `TableInfo::bytes`.
    pub(crate) bytes: u64,
    /// `TableInfo::checksum`.
    pub(crate) checksum: u64,
    /// `TableInfo::seqno_max`: the number of every entry, if the table was to be numbered later.
    pub(crate) seqno: SeqNo,
    /// What its blocks are known by in the cache; a new number when there is none yet.
    pub(crate) cache_id: Option<u64>,
}

/// A table of a store.
#[derive(Debug)]
pub(crate) struct Table {
    vfs: Arc<dyn Vfs>,
    file: TableFile,
    path: Arc<Path>,
    cache: Arc<BlockCache>,
    /// This table's name in the cache.
    cache_id: u64,
    /// The file, if it may be gone when it is needed.
    pinned: OnceLock<Arc<dyn File>>,
    charge: Arc<dyn MetaCharge>,
    meta: ArcSwapOption<Meta>,
    /// Whether the metadata was used since it was last asked.
    touched: AtomicBool,
    loading: Mutex<()>,
}

/// What a reader needs of a table beside its blocks.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) source: Source,
    pub(super) index: Index,
    filter: Filter,
    pub(super) numbered: Numbered,
    range_deletes: Arc<RangeDeletes>,
    _charged: Charged,
}

impl Meta {
    /// What the filter says of the key of this hash.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        self.filter.may_contain(hash)
    }

    /// What the filter says of the prefix of this hash, if it was built for this rule.
    pub(super) fn may_contain_prefix(&self, rule: KeyPrefix, hash: u64) -> Option<bool> {
        self.filter.may_contain_prefix(rule, hash)
    }
}

/// Where the entries of a table have their sequence numbers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    /// From their stamps.
    Here,
    /// They all have this one, from the manifest.
    Later(SeqNo),
}

impl Numbered {
    /// The stamp of an entry whose block says `stamp`.
    pub(super) fn stamp(self, stamp: Stamp) -> Stamp {
        match self {
            Numbered::Here => stamp,
            Numbered::Later(seqno) => Stamp(seqno << 8 | stamp.0 & 0xff),
        }
    }

    /// The deletions of a table that lists `listed`.
    fn ranges(self, listed: RangeDeletes) -> RangeDeletes {
        match self {
            Numbered::Here => listed,
            Numbered::Later(seqno) => listed.numbered(seqno),
        }
    }

    /// The bound on stamps in blocks for a reader of what is at most `newest`; `None` when it may see
    /// no entry.
    pub(super) fn bound(self, newest: Stamp) -> Option<Stamp> {
        match self {
            Numbered::Here => Some(newest),
            Numbered::Later(seqno) => (seqno <= newest.seqno()).then_some(Stamp(u64::MAX)),
        }
    }
}

impl Table {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        file: TableFile,
        cache: Arc<BlockCache>,
        charge: Arc<dyn MetaCharge>,
    ) -> Table {
        let cache_id = file.cache_id.unwrap_or_else(|| cache.new_id());
        let path = Arc::from(file.path.as_path());
        Table {
            vfs,
            file,
            path,
            cache,
            cache_id,
            pinned: OnceLock::new(),
            charge,
            meta: ArcSwapOption::empty(),
            touched: AtomicBool::new(false),
            loading: Mutex::new(()),
        }
    }

    /// What `BlockCache::remove_tables` knows it by.
    pub(crate) fn cache_id(&self) -> u64 {
        self.cache_id
    }

    pub(super) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    fn wrong_length(&self, found: u64) -> Error {
        let expected = self.file.bytes;
        let what = format!("the table has {found} bytes and was written with {expected}");
        Error::corrupt(&*self.path, found.min(expected), what)
    }

    /// The newest entry of `key` that is not newer than `newest`. `hash` is `key_hash(key)`.
    pub(crate) fn get(
        &self,
        key: &[u8],
        hash: u64,
        newest: Stamp,
        how: ReadHow,
    ) -> Result<Option<(Stamp, Slice)>> {
        let guard = self.meta.load();
        let loaded;
        let meta = if let Some(meta) = &*guard {
            meta
        } else {
            loaded = self.load_meta(how)?;
            &loaded
        };
        self.touch();
        if !meta.filter.may_contain(hash) {
            return Ok(None);
        }
        let Some(newest) = meta.numbered.bound(newest) else { return Ok(None) };
        for number in meta.index.find(key)..meta.index.len() {
            let block = self.block(meta, number, how)?;
            let view = block.view();
            match view.get(key, hash, newest) {
                Lookup::Found(at) => {
                    return Ok(Some((meta.numbered.stamp(view.stamp(at)), block.value(view, at))));
                }
                Lookup::Absent => return Ok(None),
                Lookup::Continues => {}
            }
        }
        Ok(None)
    }

    /// Whether keys with the prefix of this hash, which `rule` finds, may be here. What cannot be read is
    /// told to whoever reads on.
    pub(crate) fn may_contain_prefix(&self, rule: KeyPrefix, hash: u64, how: ReadHow) -> bool {
        let meta = self.meta(how);
        meta.ok().and_then(|meta| meta.may_contain_prefix(rule, hash)).unwrap_or(true)
    }

    /// Takes out of the cache the blocks that hold keys from `first` on and none from `next` on.
    pub(crate) fn forget_blocks(&self, first: &[u8], next: Option<&[u8]>) {
        let Some(meta) = self.meta.load_full() else { return };
        let end = next.map_or(meta.index.len(), |next| meta.index.find(next));
        self.cache.remove_blocks(self.cache_id, meta.index.find(first)..end);
    }

    /// Whether the look for `key` goes on in the block behind block `number`.
    pub(super) fn continues(
        &self,
        meta: &Meta,
        number: usize,
        key: &[u8],
        hash: u64,
        newest: Stamp,
    ) -> Result<bool> {
        let block = self.block(meta, number, ReadHow::DISK)?;
        Ok(block.view().get(key, hash, newest) == Lookup::Continues)
    }

    /// Whether index or filter were used since this was last asked.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    /// Loads index and filter before a reader has to. What cannot be read is told to that reader.
    pub(crate) fn warm(&self) {
        self.meta(ReadHow::DISK).ok();
    }

    /// Lets go of index, filter and file. The next reader loads them again.
    pub(crate) fn evict_meta(&self) {
        self.meta.store(None);
    }

    fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn meta(&self, how: ReadHow) -> Result<Arc<Meta>> {
        self.touch();
        match Guard::into_inner(self.meta.load()) {
            Some(meta) => Ok(meta),
            None => self.load_meta(how),
        }
    }

    #[cold]
    fn load_meta(&self, how: ReadHow) -> Result<Arc<Meta>> {
        if !how.may_read_disk {
            return Err(Error::WouldBlock);
        }
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meta) = self.meta.load_full() {
            return Ok(meta);
        }
        let meta = Arc::new(self.read_meta()?);
        self.meta.store(Some(Arc::clone(&meta)));
        Ok(meta)
    }

    fn read_meta(&self) -> Result<Meta> {
        let (mut source, footer) = self.open()?;
        let filter_bytes = footer.filter_lines * LINE_BYTES as u64;
        let index_bytes = Index::bytes_max(footer.data_blocks, footer.separator_bytes);
        let dictionary_bytes = footer.dictionary().map_or(0, |_| DICTIONARY_MEMORY_BYTES);
        let most = META_BYTES + filter_bytes + dictionary_bytes + index_bytes;
        let mut charged = Charged::take(&self.charge, most);
        let mut window = Window::default();
        let filter = read_filter(&source, &footer, &mut window)?;
        let index = read_index(&source, &footer, &mut window)?;
        let numbered = match footer.features & FEATURE_NUMBERED_LATER {
            0 => Numbered::Here,
            _ => Numbered::Later(self.file.seqno),
        };
        let range_deletes = numbered.ranges(read_range_deletes(&source, &footer)?);
        // Last, so that no other block than those of data is taken that zstd packed.
        source.unpack_with(read_dictionary(&source, &footer)?);
        let arrays = filter_bytes + source.dictionary_bytes() + index.bytes();
        charged.become_bytes(META_BYTES + arrays + range_deletes.bytes());
        let range_deletes = Arc::new(range_deletes);
        Ok(Meta { source, index, filter, numbered, range_deletes, _charged: charged })
    }

    /// Stored bytes of the data blocks that may hold keys from `from` up to `to`, whole blocks counted.
    pub(crate) fn bytes_between(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<u64> {
        let meta = self.meta(ReadHow::DISK)?;
        let Some(last) = meta.index.len().checked_sub(1) else { return Ok(0) };
        let first = from.map_or(0, |key| meta.index.find(key));
        let to = to.map_or(last, |key| meta.index.find(key).min(last));
        if to < first {
            return Ok(0);
        }
        let (end, stored) = meta.index.place(to);
        Ok(end + stored as u64 - meta.index.place(first).0)
    }

    /// The deletions of ranges that the table lists.
    pub(crate) fn range_deletes(&self, how: ReadHow) -> Result<Arc<RangeDeletes>> {
        Ok(Arc::clone(&self.meta(how)?.range_deletes))
    }

    /// Opens the file and keeps it open as long as the table lives, whatever becomes of its name.
    pub(crate) fn pin(&self) -> Result<()> {
        let file = self.file()?;
        self.pinned.get_or_init(|| file);
        Ok(())
    }

    /// The file.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = self.pinned.get() {
            return Ok(Arc::clone(file));
        }
        let path = &self.file.path;
        self.vfs.open(path, Open::Read).map_err(Error::io("open", path))
    }

    pub(super) fn open(&self) -> Result<(Source, Footer)> {
        let file = self.file()?;
        let seed = FileSeed::new(self.file.store, self.file.table);
        let source = Source::new(file, Arc::clone(&self.path), seed);
        let bytes = source.len()?;
        if bytes != self.file.bytes {
            return Err(self.wrong_length(bytes));
        }
        let footer = self.read_footer(&source).or_else(|_| self.read_footer(&source))?;
        Ok((source, footer))
    }

    fn read_footer(&self, source: &Source) -> Result<Footer> {
        let mut bytes = [0; FOOTER_BYTES];
        let Some(at) = self.file.bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(source.corrupt(0, "the file is too short for a table"));
        };
        source.read(&mut bytes, at)?;
        let TableFile { store, table, bytes: file_bytes, .. } = self.file;
        match Footer::decode(&bytes, store, table, file_bytes) {
            Ok((footer, checksum)) if checksum == self.file.checksum => Ok(footer),
            Ok(_) => Err(source.corrupt(at, "the table is not the one that was written here")),
            Err(fault) => Err(footer_error(source, &self.file.path, at, fault)),
        }
    }

    /// Block `number`, out of the cache or off the disk.
    fn block(&self, meta: &Meta, number: usize, how: ReadHow) -> Result<Block> {
        if let Some(block) = self.cache.get(self.cache_id, number) {
            return Ok(block);
        }
        self.read_block(meta, number, how)
    }

    #[cold]
    fn read_block(&self, meta: &Meta, number: usize, how: ReadHow) -> Result<Block> {
        if !how.may_read_disk {
            return Err(Error::WouldBlock);
        }
        let (offset, stored) = meta.index.place(number);
        let block = open_block(&meta.source, offset, meta.source.payload(offset, stored)?)?;
        if how.fill_cache && !self.cache.insert(self.cache_id, number, &block) {
            self.cache.count_held(&block);
        }
        Ok(block)
    }
}

#[cfg(test)]
use crate::pointer::ValueUses;

#[cfg(test)]
impl Table {
    pub(super) fn footer(&self) -> Result<Footer> {
        Ok(self.open()?.1)
    }

    pub(crate) fn data_blocks(&self) -> Result<u64> {
        Ok(self.footer()?.data_blocks)
    }

    /// What `TableWriter::finish` said of this table, as the file tells it.
    pub(super) fn describe(&self) -> Result<super::TableInfo> {
        let (source, footer) = self.open()?;
        let at = footer.properties_at;
        let stored = footer.file_bytes - FOOTER_BYTES as u64 - at;
        let block = open_block(&source, at, source.payload(at, stored as usize)?)?;
        let property = |name: &str| {
            let view = block.view();
            let at = view.lower_bound(name.as_bytes(), Stamp(u64::MAX));
            if at < view.count() { view.value(at).to_vec() } else { Vec::new() }
        };
        let uses = property("values");
        let uses: Vec<u64> = uses.as_chunks::<8>().0.iter().map(|word| u64_at(word, 0)).collect();
        Ok(super::TableInfo {
            id: footer.table,
            bytes: footer.file_bytes,
            entries: footer.entries,
            tombstones: footer.tombstones,
            values: ValueUses::from_words(&uses).unwrap_or_default(),
            first_key: property("first_key"),
            last_key: property("last_key"),
            seqno_min: footer.seqno_min,
            seqno_max: footer.seqno_max,
            checksum: self.file.checksum,
            whole: None,
            range_deletes: 0,
            last_is_excluded: false,
        })
    }

    /// Where all blocks of the file are but those of the filter.
    pub(super) fn stored_places(&self) -> Result<Vec<(u64, usize)>> {
        let (source, footer) = self.open()?;
        let index = read_index(&source, &footer, &mut Window::default())?;
        let mut places: Vec<_> = (0..index.len()).map(|n| index.place(n)).collect();
        let top_bytes = (footer.properties_at - footer.top_at) as usize;
        let top = open_block(&source, 0, source.payload(footer.top_at, top_bytes)?)?;
        places.extend((0..top.view().count()).map(|nth| {
            let entry = top.view().value(nth);
            (u64_at(entry, 0), u32_at(entry, 8) as usize)
        }));
        places.push((footer.top_at, top_bytes));
        let end = footer.file_bytes - FOOTER_BYTES as u64;
        places.push((footer.properties_at, (end - footer.properties_at) as usize));
        Ok(places)
    }
}

/// Why a footer at `at` was not accepted, as an error.
pub(super) fn footer_error(source: &Source, path: &Path, at: u64, fault: Fault) -> Error {
    match fault {
        Fault::Damage(what) => source.corrupt(at, what),
        Fault::Format(found) => Error::Format { path: path.into(), found, newest: FORMAT },
        Fault::Features(bits) => Error::Unusable {
            path: path.into(),
            what: format!(
                "it uses features {bits:#x}, which this release does not know; \
                 open it with the release that wrote it, or a newer one"
            ),
        },
        Fault::LeftOut => Error::Unusable {
            path: path.into(),
            what: "its blocks are compressed by zstd, which this build was made without; \
                   build olivine-engine with its cargo feature `zstd`"
                .into(),
        },
    }
}

/// What a table's metadata takes beside its arrays: the structures, the open file.
const META_BYTES: u64 = 1024;

/// What a dictionary takes that is ready for use, at most: itself, and tables of fixed size.
const DICTIONARY_MEMORY_BYTES: u64 = 44 << 10;

/// Bytes read at once while metadata is loaded.
const META_WINDOW_BYTES: u64 = 256 << 10;

pub(super) fn open_block(source: &Source, offset: u64, payload: Arc<[u8]>) -> Result<Block> {
    Block::open(payload).map_err(|what| source.corrupt(offset, what))
}

fn read_range_deletes(source: &Source, footer: &Footer) -> Result<RangeDeletes> {
    if footer.features & FEATURE_RANGE_DELETES == 0 {
        return Ok(RangeDeletes::default());
    }
    let at = footer.properties_at;
    let stored = footer.file_bytes - FOOTER_BYTES as u64 - at;
    let block = open_block(source, at, source.payload(at, stored as usize)?)?;
    let view = block.view();
    let nth = (0..view.count()).find(|nth| {
        let named = [view.prefix(), view.suffix(*nth)].concat();
        named == RANGE_DELETES.as_bytes()
    });
    let list = nth.and_then(|nth| RangeDeletes::decode(view.value(nth)));
    list.ok_or_else(|| source.corrupt(at, "the list of deleted ranges does not decode"))
}

/// What unpacks the blocks that zstd packed; `None` when there are none.
pub(super) fn read_dictionary(source: &Source, footer: &Footer) -> Result<Option<Unpacker>> {
    if !footer.has_zstd() {
        return Ok(None);
    }
    let Some((at, stored)) = footer.dictionary() else { return Ok(Unpacker::new(&[])) };
    let unpacker = Unpacker::new(&source.payload(at, stored)?);
    let wrong = || source.corrupt(at, "the dictionary of the table is none");
    Ok(Some(unpacker.ok_or_else(wrong)?))
}

pub(super) fn read_filter(source: &Source, footer: &Footer, window: &mut Window) -> Result<Filter> {
    let lines = footer.filter_lines as usize;
    let wrong = || source.corrupt(footer.filter_at, "the footer tells of no filter there is");
    let mut filter = Filter::empty(footer.filter_how().ok_or_else(wrong)?, lines);
    let mut at = footer.filter_at;
    for from in (0..lines).step_by(LINES_PER_BLOCK) {
        let stored = (lines - from).min(LINES_PER_BLOCK) * LINE_BYTES + TRAILER_BYTES;
        let end = at + stored as u64;
        let payload = window.payload(source, at, stored, at..end)?;
        if payload.len() != stored - TRAILER_BYTES || !filter.decode(from, &payload) {
            return Err(source.corrupt(at, "a filter block has the wrong length"));
        }
        at = end;
    }
    Ok(filter)
}

/// Loads the index: the block over the partitions, then all of them.
fn read_index(source: &Source, footer: &Footer, window: &mut Window) -> Result<Index> {
    let top_bytes = (footer.properties_at - footer.top_at) as usize;
    let top = open_block(source, footer.top_at, source.payload(footer.top_at, top_bytes)?)?;
    let top = top.view();
    let (blocks, separators) = (footer.data_blocks as usize, footer.separator_bytes as usize);
    let mut index = IndexBuilder::with_capacity(blocks, separators);
    let mut at = footer.index_at;
    for nth in 0..top.count() {
        let wrong = || source.corrupt(footer.top_at, "the index does not fit the table");
        let entry = top.value(nth);
        if entry.len() != 20 || u64_at(entry, 0) != at || u64_at(entry, 12) != index.end() {
            return Err(wrong());
        }
        let stored = u32_at(entry, 8);
        let end = at + u64::from(stored);
        if footer.top_at < end {
            return Err(wrong());
        }
        let around = at..footer.top_at.min(end.max(at + META_WINDOW_BYTES));
        let payload = window.payload(source, at, stored as usize, around)?;
        let partition = open_block(source, at, payload)?;
        read_partition(partition.view(), &mut index).map_err(|what| source.corrupt(at, what))?;
        at = end;
    }
    let index = index.finish();
    let data_end = index.len().checked_sub(1).map(|last| index.place(last));
    match data_end.map(|(start, stored)| start + stored as u64) {
        Some(end) if end == footer.filter_at && at == footer.top_at && index.len() == blocks => {
            Ok(index)
        }
        _ => Err(source.corrupt(footer.top_at, "the index does not cover the table")),
    }
}

fn read_partition(
    partition: super::block::View<'_>,
    index: &mut IndexBuilder,
) -> Result<(), &'static str> {
    let mut separator = Vec::new();
    for at in 0..partition.count() {
        separator.clear();
        separator.extend_from_slice(partition.prefix());
        separator.extend_from_slice(partition.suffix(at));
        let Some(stored) = partition.value(at).first_chunk::<4>() else {
            return Err("an index entry has the wrong length");
        };
        index.push(&separator, u32::from_le_bytes(*stored))?;
    }
    Ok(())
}

/// Memory charged for as long as this lives.
#[derive(Debug)]
struct Charged {
    charge: Arc<dyn MetaCharge>,
    bytes: u64,
}

impl Charged {
    fn take(charge: &Arc<dyn MetaCharge>, bytes: u64) -> Charged {
        charge.open_file();
        charge.take(bytes);
        Charged { charge: Arc::clone(charge), bytes }
    }

    /// Corrects the charge to what turned out to be needed.
    fn become_bytes(&mut self, bytes: u64) {
        if self.bytes < bytes {
            self.charge.take(bytes - self.bytes);
        } else {
            self.charge.give(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.charge.give(self.bytes);
        self.charge.close_file();
    }
}
