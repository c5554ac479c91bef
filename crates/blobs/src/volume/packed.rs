//! A packed volume: its extents, and the thread that writes the current one.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use olivine_vfs::{EntryKind, Open, Vfs, make_dirs};

use crate::error::{Error, Result};

use super::{
    ExtentInfo, Head, NewRecord, VolumeOptions,
    commit::{Committer, Done, Queue, Waiting},
    extents::{Extents, Named, Sort, named, shard_of},
    far::{Far, Store},
    identity::VolumeFile,
    marker::Stage,
    place::Place,
    reading::{self, Reading},
    record::{self, Draft, Kind, encode},
    recover::{Opened, recover},
    room::{Purpose, Room},
    scan::{Scan, ScanSource},
    sole::SoleWriter,
};

#[derive(Debug)]
pub(super) struct Packed {
    pub(super) extents: Arc<Extents>,
    pub(super) room: Arc<Room>,
    pub(super) queue: Arc<Queue>,
    /// A longer value has an extent of its own.
    pub(super) small_bytes_max: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Packed {
    pub(super) fn open(
        vfs: Arc<dyn Vfs>,
        room: Arc<Room>,
        dir: &Path,
        file: &VolumeFile,
        options: &VolumeOptions,
        bucket: Option<Arc<dyn Far>>,
    ) -> Result<(Packed, Opened)> {
        let extents_dir = dir.join("extents");
        if !options.read_only {
            make_dirs(&*vfs, &extents_dir).map_err(Error::io("create", &extents_dir))?;
            vfs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        let uuid = file.identity.uuid;
        let far = bucket.map(|bucket| {
            let bytes = Some(options.tier_cache_bytes).filter(|_| !options.read_only);
            Arc::new(Store::new(bucket, uuid, Arc::clone(&vfs), dir, bytes))
        });
        let extents = Extents::new(vfs, extents_dir, (uuid, file.salt), far);
        let (extents, queue) = (Arc::new(extents), Arc::default());
        let recovered = recover(&extents, file.extent_min, options.read_only)?;
        let committer = Committer {
            extents: Arc::clone(&extents),
            room: Arc::clone(&room),
            queue: Arc::clone(&queue),
            dir: dir.into(),
            extent_bytes_max: options.extent_bytes_max,
            ahead_bytes: options.ahead_bytes,
            tail: recovered.tail,
            before: recovered.before,
            buffer: Vec::new(),
            zeros: Vec::new(),
        };
        let thread = if options.read_only {
            queue.close();
            None
        } else {
            let builder = thread::Builder::new().name("olivine-volume".into());
            Some(builder.spawn(|| committer.run()).map_err(Error::io("start a thread for", dir))?)
        };
        let small_bytes_max = options.packed_bytes_max;
        let thread = Mutex::new(thread);
        Ok((Packed { extents, room, queue, small_bytes_max, thread }, recovered.opened))
    }

    pub(super) fn append(&self, record: &NewRecord<'_>, done: Done) {
        self.queue.push([Packed::waiting(record, done)]);
    }

    pub(super) fn waiting(record: &NewRecord<'_>, done: Done) -> Waiting {
        let digest = if record.wants_md5 { Some(record::md5(record.value)) } else { None };
        let NewRecord { kind, key, generation, expiry, attributes, value, .. } = *record;
        let draft = Draft { kind, key, generation, expiry, md5: digest, attributes };
        let purpose = if kind == Kind::Put { Purpose::Store } else { Purpose::Free };
        let (record, value_bytes) = (encode(&draft, value), value.len() as u64);
        Waiting { record, value_bytes, digest, purpose, done }
    }

    pub(super) fn begin_sole(&self, head: &Head<'_>) -> Result<SoleWriter> {
        let md5 = if head.wants_md5 { Some([0; 16]) } else { None };
        let Head { key, generation, expiry, attributes, .. } = *head;
        let draft = Draft { kind: Kind::Put, key, generation, expiry, md5, attributes };
        SoleWriter::begin(Arc::clone(&self.extents), Arc::clone(&self.room), &draft)
    }

    pub(super) fn read(&self, place: &Place, key: &[u8], generation: u64) -> Result<Reading> {
        let read = reading::read(&self.extents, place, key, generation);
        if !matches!(read, Err(Error::Corrupt { .. })) || !self.extents.is_far(place.extent) {
            return read;
        }
        // What came of the bucket may have been damaged on its way, and be in the cache like that.
        if let Some(store) = &self.extents.far {
            store.forget(place.extent);
        }
        reading::read(&self.extents, place, key, generation)
    }

    /// A walk over what is durable of an extent now.
    pub(super) fn scan(&self, extent: u32, from: u64, is_deep: bool) -> Result<Scan> {
        let sort = self.extents.sort_of(extent);
        let path = self.extents.path(extent, sort);
        let file = self.extents.open_to_walk(extent, sort)?;
        let end = match self.extents.state().ends.get(&extent) {
            Some(end) => *end,
            None => file.len().map_err(Error::io("measure", &path))?,
        };
        let bonds = self.extents.bonds(extent);
        let source = ScanSource { file, path, extent, bonds };
        let mut scan = Scan::new(source, from, end, sort == Sort::Shared);
        scan.is_deep = is_deep;
        Ok(scan)
    }

    /// Up to `count` extents from number `from` on, in order.
    pub(super) fn extents_from(&self, from: u32, count: usize) -> Result<Vec<ExtentInfo>> {
        let mut infos = Vec::new();
        for shard in self.extents.shards()? {
            if shard < shard_of(from) || count <= infos.len() {
                continue;
            }
            let dir = self.extents.shard_dir(shard);
            for entry in self.extents.vfs.list(&dir).map_err(Error::io("list", &dir))? {
                let named = entry.name.to_str().map_or(Named::Other, named);
                let (number, sort, is_far) = match named {
                    Named::Extent(number, sort) => (number, sort, false),
                    Named::Marker(number, sort, Stage::Far) => (number, sort, true),
                    _ => continue,
                };
                if entry.kind != EntryKind::File || number < from || count <= infos.len() {
                    continue;
                }
                // While an extent is sent away it stands there twice.
                let far_bytes = self.extents.state().far.get(&number).copied();
                if far_bytes.is_some() == is_far {
                    let bytes = far_bytes.unwrap_or(entry.bytes);
                    infos.extend(self.info(number, sort, bytes));
                }
            }
        }
        Ok(infos)
    }

    fn info(&self, number: u32, sort: Sort, file_bytes: u64) -> Option<ExtentInfo> {
        let is_shared = sort == Sort::Shared;
        let state = self.extents.state();
        let bytes = if is_shared { *state.ends.get(&number)? } else { file_bytes };
        let is_sealed = state.current != Some(number);
        let is_far = state.far.contains_key(&number);
        Some(ExtentInfo { number, bytes, is_shared, is_sealed, is_far })
    }

    /// How many extents there are, and the bytes in them.
    pub(super) fn sums(&self) -> (u64, u64) {
        let state = self.extents.state();
        let shared: u64 = state.ends.values().sum();
        (state.soles + state.ends.len() as u64, state.sole_bytes + shared)
    }

    /// How many extents lie in the bucket, and the bytes in them.
    pub(super) fn far_sums(&self) -> (u64, u64) {
        let state = self.extents.state();
        (state.far.len() as u64, state.far_bytes)
    }

    pub(super) fn is_shared(&self, extent: u32) -> bool {
        self.extents.sort_of(extent) == Sort::Shared
    }

    /// Whether an extent of this number could still be the newest, so that its number had to be remembered.
    pub(super) fn is_newest(&self, number: u32) -> bool {
        self.extents.state().next <= number.saturating_add(1)
    }

    /// Removes an extent that nothing is read from any more.
    pub(super) fn remove(&self, number: u32) -> Result<()> {
        let sort = self.extents.sort_of(number);
        if self.extents.state().current == Some(number) {
            let what =
                format!("is {number}, which is being written; only sealed extents can be removed");
            return Err(Error::invalid("extent", what));
        }
        if sort == Sort::Shared {
            self.settle_before(number)?;
        }
        self.extents.remove(number, sort)?;
        match self.extents.marker(number, sort, Stage::Gone) {
            // What the bucket does not do now is done later.
            Ok(_) if self.extents.far.is_some() => self.take_out(number, sort).or_else(|error| {
                if matches!(error, Error::Away { .. }) { Ok(()) } else { Err(error) }
            }),
            _ => Ok(()),
        }
    }

    /// Cuts the shared extent before `number` off where it ends, as it is the header of `number` that says where.
    fn settle_before(&self, number: u32) -> Result<()> {
        let before = {
            let state = self.extents.state();
            state.ends.range(..number).next_back().map(|(n, end)| (*n, *end))
        };
        let Some((before, end)) = before else { return Ok(()) };
        if self.extents.is_far(before) {
            // It went there with the length it has.
            return Ok(());
        }
        let path = self.extents.path(before, Sort::Shared);
        let file = self.extents.vfs.open(&path, Open::Write);
        let file = file.map_err(Error::io("open", &path))?;
        if file.len().map_err(Error::io("measure", &path))? != end {
            file.set_len(end).map_err(Error::io("cut", &path))?;
        }
        file.sync().map_err(Error::io("sync", &path))
    }

    /// Writes all that waits, and ends the thread.
    pub(super) fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by who is told in that very thread.
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = thread.filter(is_other) {
            // A panic in it was told when it happened, and what it had not told of is not stored.
            thread.join().ok();
        }
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        self.close();
    }
}
