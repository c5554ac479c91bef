//! Opening what a crash left of a packed volume.
//!
//! Of each shared extent but the last, the next one's header says where it ends. The last one is walked from
//! somewhat before its end: what was written and never synced lies there, if anything.
//!
//! 1. What was acknowledged is kept. What does not verify there is damage, which is told and left as it is.
//! 2. A stretch of the last group that does not verify was torn by the crash: at the end it is cut off, before a
//!    record that does verify it becomes a void. Both are told.
//! 3. Where it cannot be known whether something was acknowledged, it is kept.
//! 4. All that is kept is synced before anything is written behind it.
//! 5. A volume that is opened to be read only is not changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{EntryKind, File, Open};

use crate::error::{Error, Result};

use super::{
    commit::{GROUP_BYTES_MAX, Tail},
    extents::{ExtentHeader, Extents, HEADER_BYTES, Named, Sort, named, read_at},
    marker::{MARKER_BYTES, Stage},
    options::{AHEAD_BYTES_MAX, PACKED_BYTES_MAX},
    record::Void,
    scan::{Damage, Scan, ScanSource, Stand},
};

/// The last group begins no further from the end of its file than this: two records more than a group has, and the
/// zeros behind them.
const WINDOW_BYTES: u64 = GROUP_BYTES_MAX as u64 + 3 * PACKED_BYTES_MAX + 2 * AHEAD_BYTES_MAX;

/// What was found when a volume was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// What a crash tore, and was cut off or made void. None of it was acknowledged.
    pub cut: Vec<Cut>,
    /// What is damaged. More may be: only the ends of extents are looked at.
    pub damaged: Vec<Damage>,
    /// Extents there are.
    pub extents: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Unfinished extents and files that were removed.
    pub leftovers: u64,
    /// Whether the volume was made now.
    pub is_new: bool,
}

/// A stretch that a crash tore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where the stretch begins.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
}

/// What the opening found, and the extent to go on with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) opened: Opened,
    pub(super) tail: Option<Tail>,
    pub(super) before: (u32, u64),
}

/// Takes stock of all extents, and mends the end of the last one.
pub(super) fn recover(extents: &Extents, extent_min: u32, read_only: bool) -> Result<Recovered> {
    let mut recovery =
        Recovery { extents, read_only, opened: Opened::default(), strange: BTreeSet::new() };
    let lengths = recovery.list(extent_min)?;
    let mut ends = recovery.read_headers(&lengths)?;
    let last = lengths.last_key_value().map(|(number, length)| (*number, *length));
    for (number, length) in &lengths {
        if last.is_some_and(|(last, _)| *number < last) {
            let end = recovery.settle(*number, *length, ends.get(number).copied())?;
            ends.insert(*number, end);
        }
    }
    ends.retain(|number, _| lengths.contains_key(number));
    let mut tail = None;
    if let Some((number, length)) = last {
        tail = recovery.mend(number, length)?;
        ends.insert(number, tail.as_ref().map_or(length, |tail| tail.end));
    }
    let before = ends.last_key_value().map_or((0, 0), |(number, end)| (*number, *end));
    if read_only {
        tail = None;
    }
    let mut state = extents.state();
    state.current = tail.as_ref().map(|tail| tail.number);
    state.ends = ends;
    let mut opened = recovery.opened;
    opened.extents = state.soles + state.ends.len() as u64;
    opened.bytes = state.sole_bytes + state.ends.values().sum::<u64>();
    drop(state);
    Ok(Recovered { opened, tail, before })
}

struct Recovery<'a> {
    extents: &'a Extents,
    read_only: bool,
    opened: Opened,
    /// Extents whose headers are damaged, or those of others: they are left as they are.
    strange: BTreeSet<u32>,
}

impl Recovery<'_> {
    /// Counts what there is, removes what is unfinished, and returns the lengths of the shared extents.
    fn list(&mut self, extent_min: u32) -> Result<BTreeMap<u32, u64>> {
        let mut lengths = BTreeMap::new();
        let mut local_sole = None;
        let mut far = BTreeMap::new();
        let (mut soles, mut sole_bytes, mut next) = (0, 0, extent_min.max(1));
        for shard in self.extents.shards()? {
            let dir = self.extents.shard_dir(shard);
            let vfs = &self.extents.vfs;
            for entry in vfs.list(&dir).map_err(Error::io("list", &dir))? {
                if entry.kind != EntryKind::File {
                    continue;
                }
                let number = match entry.name.to_str().map_or(Named::Other, named) {
                    Named::Extent(number, Sort::Shared) => {
                        lengths.insert(number, entry.bytes);
                        number
                    }
                    Named::Extent(number, Sort::Sole) => {
                        soles += 1;
                        sole_bytes += entry.bytes;
                        // The marker of the same number comes next, if there is one.
                        local_sole = Some(number);
                        number
                    }
                    Named::Marker(number, sort, Stage::Far) => {
                        let is_local = match sort {
                            Sort::Shared => lengths.contains_key(&number),
                            Sort::Sole => local_sole == Some(number),
                        };
                        if let Some(bytes) = self.find_far(number, sort, is_local)? {
                            far.insert(number, bytes);
                            if sort == Sort::Shared {
                                lengths.insert(number, bytes);
                            } else if !is_local {
                                soles += 1;
                                sole_bytes += bytes;
                            }
                        }
                        number
                    }
                    Named::Marker(number, ..) => number,
                    Named::Unfinished(number) => {
                        if !self.read_only {
                            let path = dir.join(&entry.name);
                            vfs.remove_file(&path).map_err(Error::io("remove", &path))?;
                            self.opened.leftovers += 1;
                        }
                        number
                    }
                    Named::Other => continue,
                };
                next = next.max(number.saturating_add(1));
            }
        }
        if let (Some(number), None) = (far.keys().next(), &self.extents.far) {
            let what = format!(
                "extent {number} and {} others lie in a bucket; name it (--tier)",
                far.len() - 1
            );
            return Err(Error::Unusable { path: self.extents.dir.clone(), what });
        }
        let mut state = self.extents.state();
        (state.far_bytes, state.far) = (far.values().sum(), far);
        (state.soles, state.sole_bytes, state.next) = (soles, sole_bytes, next);
        Ok(lengths)
    }

    /// The length of an extent that a marker says to be in the bucket; nothing if the one that is here is to be read.
    fn find_far(&mut self, number: u32, sort: Sort, is_local: bool) -> Result<Option<u64>> {
        match self.extents.marker(number, sort, Stage::Far) {
            Ok(_) if is_local && self.read_only => Ok(None),
            Ok(marker) => {
                if is_local {
                    self.extents.drop_local(number, sort)?;
                }
                Ok(Some(marker.bytes))
            }
            Err(Error::Corrupt { .. }) if is_local => {
                if !self.read_only {
                    let path = self.extents.marker_path(number, sort, Stage::Far);
                    self.extents.vfs.remove_file(&path).map_err(Error::io("remove", &path))?;
                }
                Ok(None)
            }
            Err(Error::Corrupt { path, .. }) => {
                let (offset, bytes) = (0, MARKER_BYTES as u64);
                let what = "the marker of an extent in the bucket is damaged";
                let extent = number;
                let damage = Damage { path, extent, offset, bytes, what, claim: None };
                self.opened.damaged.push(damage);
                self.strange.insert(number);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where extents end, as the headers of those after them say.
    fn read_headers(&mut self, lengths: &BTreeMap<u32, u64>) -> Result<BTreeMap<u32, u64>> {
        let mut ends = BTreeMap::new();
        for number in lengths.keys().copied() {
            if self.extents.is_far(number) {
                let marker = self.extents.marker(number, Sort::Shared, Stage::Far)?;
                ends.insert(marker.header.before.0, marker.header.before.1);
                continue;
            }
            let path = self.extents.path(number, Sort::Shared);
            let file = self.extents.open(number, Sort::Shared)?;
            let mut bytes = [0; HEADER_BYTES as usize];
            let read = read_at(&*file, &path, &mut bytes, 0)?;
            let header = ExtentHeader::decode(&bytes[..read])
                .and_then(|header| self.extents.own(header, number, Sort::Shared));
            match header {
                Ok(header) => drop(ends.insert(header.before.0, header.before.1)),
                Err(what) => {
                    self.damaged(number, 0, HEADER_BYTES, what);
                    self.strange.insert(number);
                }
            }
        }
        Ok(ends)
    }

    fn damaged(&mut self, extent: u32, offset: u64, bytes: u64, what: &'static str) {
        let path = self.extents.path(extent, Sort::Shared);
        self.opened.damaged.push(Damage { path, extent, offset, bytes, what, claim: None });
    }

    /// Cuts an extent that is not the last off where it ends. Returns that.
    fn settle(&mut self, number: u32, length: u64, end: Option<u64>) -> Result<u64> {
        let Some(end) = end.filter(|_| !self.extents.is_far(number)) else { return Ok(length) };
        if length < end {
            self.damaged(number, length, end - length, "it is shorter than it was");
            return Ok(length);
        }
        if end < length {
            let path = self.extents.path(number, Sort::Shared);
            let file = self.open_to_write(number)?;
            self.cut(&*file, &path, end, length)?;
        }
        Ok(end)
    }

    /// Cuts a file off at `end`, and tells of it unless all behind that is zeros.
    fn cut(&mut self, file: &dyn File, path: &Path, end: u64, length: u64) -> Result<()> {
        let mut block = vec![0; 64 << 10];
        let mut position = end;
        while position < length {
            let read = read_at(file, path, &mut block, position)?;
            let bytes = block.get(..read).unwrap_or_default();
            if read == 0 || bytes.iter().any(|byte| *byte != 0) {
                self.opened.cut.push(Cut { path: path.into(), offset: end, bytes: length - end });
                break;
            }
            position += read as u64;
        }
        if self.read_only {
            return Ok(());
        }
        file.set_len(end).map_err(Error::io("cut", path))?;
        file.sync().map_err(Error::io("sync", path))
    }

    fn open_to_write(&self, number: u32) -> Result<Arc<dyn File>> {
        let path = self.extents.path(number, Sort::Shared);
        let how = if self.read_only { Open::Read } else { Open::Write };
        self.extents.vfs.open(&path, how).map_err(Error::io("open", &path))
    }

    /// Finds where the last shared extent ends, and makes it end there.
    fn mend(&mut self, number: u32, length: u64) -> Result<Option<Tail>> {
        let path = self.extents.path(number, Sort::Shared);
        if self.strange.contains(&number) || self.extents.is_far(number) {
            return Ok(None);
        }
        let file = self.open_to_write(number)?;
        let walked = self.walk(number, &file, length)?;
        for (offset, bytes, what) in &walked.damaged {
            self.damaged(number, *offset, *bytes, what);
        }
        if WINDOW_BYTES < length - walked.end {
            // More than a crash can tear.
            self.damaged(number, walked.end, length - walked.end, "no record begins here");
            return Ok(None);
        }
        let bonds = self.extents.bonds(number);
        for (offset, bytes) in walked.torn {
            let void = bonds.void(Void { bytes, begins_group: false }, offset);
            if bytes < void.len() as u64 {
                // No record is so short: it is not a torn one.
                self.damaged(number, offset, bytes, "no record begins here");
                continue;
            }
            self.opened.cut.push(Cut { path: path.clone(), offset, bytes });
            if !self.read_only {
                file.write_at(&void, offset).map_err(Error::io("write", &path))?;
            }
        }
        self.cut(&*file, &path, walked.end, length)?;
        let (end, length) = (walked.end, walked.end);
        Ok(Some(Tail { number, file, path, end, length, is_written: false }))
    }

    fn walk(&self, number: u32, file: &Arc<dyn File>, length: u64) -> Result<Walked> {
        let path = self.extents.path(number, Sort::Shared);
        let bonds = self.extents.bonds(number);
        let source =
            || ScanSource { file: Arc::clone(file), path: path.clone(), extent: number, bonds };
        let start = length.saturating_sub(WINDOW_BYTES).max(HEADER_BYTES);
        let mut scan = Scan::new(source(), start, length, true);
        if HEADER_BYTES < start {
            scan.seek()?;
            if scan.offset() == length {
                // Nothing verifies for so long a stretch: then it is to be seen where that begins.
                scan = Scan::new(source(), HEADER_BYTES, length, true);
            }
        }
        Walked::of(&mut scan)
    }
}

/// What a walk to the end of the last extent came by.
#[derive(Debug)]
struct Walked {
    /// Behind the last record.
    end: u64,
    /// What does not verify, though it was durable once.
    damaged: Vec<(u64, u64, &'static str)>,
    /// What does not verify within the last group.
    torn: Vec<(u64, u64)>,
}

impl Walked {
    fn of(scan: &mut Scan) -> Result<Walked> {
        let mut walked = Walked { end: scan.offset(), damaged: Vec::new(), torn: Vec::new() };
        let mut unclear: Vec<(u64, u64, &'static str)> = Vec::new();
        while scan.offset() < scan.end {
            let offset = scan.offset();
            let (bytes, begins_group) = match scan.stand()? {
                Stand::Record(header) => (header.record_bytes(), header.begins_group),
                Stand::Void(void) => (void.bytes, void.begins_group),
                Stand::Damaged(what, _) => {
                    scan.seek()?;
                    unclear.push((offset, scan.offset() - offset, what));
                    continue;
                }
            };
            if begins_group {
                walked.damaged.append(&mut unclear);
            }
            scan.position = offset + bytes;
            walked.end = scan.offset();
        }
        unclear.retain(|(offset, _, _)| *offset < walked.end);
        walked.torn = unclear.into_iter().map(|(offset, bytes, _)| (offset, bytes)).collect();
        Ok(walked)
    }
}
