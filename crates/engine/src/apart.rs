//! Value files that a flush or a compaction writes, until the manifest names them.
//!
//! A flush separates: values of a certain length go into a value file, and the table gets a pointer. A
//! compaction moves pointers; only those into files that are being collected are followed, and their
//! records copied.
//!
//! 1. Files that were never to be named are removed when `ValueOutputs` is dropped, also after an
//!    error.
//! 2. A file is durable before the table that points into it is.
//! 3. A record that cannot be read stays where it is, and its pointer with it: nothing is dropped for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    environment::Environment,
    error::{Error, Result},
    key::{Kind, Stamp},
    manifest::Change,
    options::Compression,
    pointer::{POINTER_BYTES, Pointer},
    store::Store,
    table::Codec,
    values::{LiveValues, ValuesInfo, ValuesWriter, values_name},
    version::Trash,
};

/// The value files that a flush or a compaction writes.
pub(crate) struct ValueOutputs<'a> {
    store: &'a Store,
    /// Of the memory that was set aside for the tables beside them.
    buffer_bytes: usize,
    writer: Option<ValuesWriter>,
    /// Every file that was created.
    paths: Vec<PathBuf>,
    files: Vec<ValuesInfo>,
}

impl<'a> ValueOutputs<'a> {
    pub(crate) fn new(store: &'a Store, buffer_bytes: usize) -> ValueOutputs<'a> {
        let (paths, files) = (Vec::new(), Vec::new());
        ValueOutputs { store, buffer_bytes, writer: None, paths, files }
    }

    /// What stands in the table in place of an entry whose value is large enough to be kept apart.
    pub(crate) fn separate(
        &mut self,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
    ) -> Result<Option<(Stamp, [u8; POINTER_BYTES])>> {
        let least = self.store.options.value_apart_bytes_min;
        if least == 0 || (value.len() as u64) < least || stamp.kind() != Some(Kind::Put) {
            return Ok(None);
        }
        let pointer = self.writer()?.add(key, value);
        let pointer = pointer.map_err(|error| error.or_full(&self.store.dir))?;
        Ok(Some((Stamp::new(stamp.seqno(), Kind::Pointer), pointer.encode())))
    }

    /// The file being written; a new one when there is none, or when it is full.
    fn writer(&mut self) -> Result<&mut ValuesWriter> {
        let full =
            self.store.options.table_bytes_max.max(self.store.memtable_bytes_max.load(Relaxed));
        if self.writer.as_ref().is_some_and(|writer| full <= writer.position()) {
            self.end()?;
        }
        if self.writer.is_none() {
            let (writer, path) = self.store.create_values(self.buffer_bytes)?;
            self.paths.push(path);
            self.writer = Some(writer);
        }
        Ok(self.writer.as_mut().expect("it was just made"))
    }

    /// Ends the file being written: its contents are durable. Its name is with the tables'.
    pub(crate) fn end(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.files.push(self.store.end_values(writer)?);
        }
        Ok(())
    }

    /// The changes that name the files.
    pub(crate) fn changes(&self, keyspace: u32) -> impl Iterator<Item = Change> {
        self.files.iter().map(move |values| Change::AddValues { keyspace, values: values.clone() })
    }

    /// The files as readers will use them.
    pub(crate) fn live(&self) -> Vec<Arc<LiveValues>> {
        self.files.iter().map(|info| self.store.live_values(info)).collect()
    }

    /// Leaves the files to whoever names them, unless the edit that does was not made.
    pub(crate) fn settle(mut self, named: Result<()>) -> Result<()> {
        self.hand_over(named)
    }

    /// As `settle` for the files that are ended; more may follow.
    pub(crate) fn hand_over(&mut self, named: Result<()>) -> Result<()> {
        if !matches!(named, Err(Error::Full { .. })) {
            self.paths.clear();
            self.files.clear();
        }
        named
    }
}

impl Drop for ValueOutputs<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            // What cannot be removed now is removed by the next opening.
            self.store.environment.vfs().remove_file(path).ok();
        }
    }
}

/// Copies the records of some files, as their pointers come by.
pub(crate) struct Relocation<'a> {
    /// The value files that the inputs may point into.
    files: Arc<BTreeMap<u64, Arc<LiveValues>>>,
    collected: BTreeSet<u64>,
    pub(crate) outputs: ValueOutputs<'a>,
}

impl<'a> Relocation<'a> {
    pub(crate) fn new(
        store: &'a Store,
        files: Arc<BTreeMap<u64, Arc<LiveValues>>>,
        collected: BTreeSet<u64>,
        buffer_bytes: usize,
    ) -> Relocation<'a> {
        Relocation { files, collected, outputs: ValueOutputs::new(store, buffer_bytes) }
    }

    /// What stands in the table in place of an entry whose value is separated, or whose record was
    /// copied. An error is one of writing.
    pub(crate) fn placed(
        &mut self,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
    ) -> Result<Option<(Stamp, [u8; POINTER_BYTES])>> {
        if stamp.kind() != Some(Kind::Pointer) {
            return self.outputs.separate(key, stamp, value);
        }
        if self.collected.is_empty() {
            return Ok(None);
        }
        let Some((file, pointer)) = self.pointed(value) else { return Ok(None) };
        if !self.collected.contains(&pointer.file) {
            return Ok(None);
        }
        let Ok(record) = file.record(&pointer) else {
            file.mark_damaged();
            return Ok(None);
        };
        let pointer = self.outputs.writer()?.add_record(&record)?;
        Ok(Some((stamp, pointer.encode())))
    }

    /// The value that a pointer leads to, unless it cannot be read, or not in one piece.
    pub(crate) fn read(&self, pointer: &[u8]) -> Option<Vec<u8>> {
        let (file, pointer) = self.pointed(pointer)?;
        file.read(&pointer).ok()
    }

    fn pointed(&self, pointer: &[u8]) -> Option<(&Arc<LiveValues>, Pointer)> {
        let pointer = Pointer::decode(pointer)?;
        Some((self.files.get(&pointer.file)?, pointer))
    }
}

impl Store {
    /// Creates a value file under the next number.
    pub(crate) fn create_values(&self, buffer_bytes: usize) -> Result<(ValuesWriter, PathBuf)> {
        let file = self.draw_table_id();
        let path = self.dir.join(values_name(file));
        let codec = match self.options.compression {
            Compression::None => Codec::Raw,
            Compression::Lz4 => Codec::Lz4,
        };
        let vfs = self.environment.vfs().as_ref();
        let writer = ValuesWriter::create(vfs, path.clone(), self.id, file, codec, buffer_bytes);
        Ok((writer.map_err(|error| error.or_full(&self.dir))?, path))
    }

    /// Ends a value file: its contents are durable. It is given up whole after a failure, so even a
    /// sync without room is no riddle.
    pub(crate) fn end_values(&self, writer: ValuesWriter) -> Result<ValuesInfo> {
        writer.finish().map_err(|error| {
            if error.is_disk_full() { Error::Full { path: self.dir.clone() } } else { error }
        })
    }

    /// A value file of this store as readers use it.
    pub(crate) fn live_values(&self, info: &ValuesInfo) -> Arc<LiveValues> {
        live_values(&self.environment, self.id, &self.dir, info, &self.trash)
    }
}

/// A value file as readers use it.
pub(crate) fn live_values(
    environment: &Environment,
    store: u64,
    dir: &Path,
    info: &ValuesInfo,
    trash: &Arc<Trash>,
) -> Arc<LiveValues> {
    Arc::new(LiveValues::new(
        Arc::clone(environment.vfs()),
        Arc::clone(environment.open_values()),
        store,
        dir.join(values_name(info.file)),
        info.clone(),
        Arc::clone(trash),
    ))
}
