//! Values that stand apart, as users put and get them: whole, or as a stream.
//!
//! A stream goes straight to a value file of its own; log and memtable see only the pointer:
//!
//! ```text
//! file written ─▶ synced ─▶ directory synced ─▶ manifest names it ─▶ pointer through the log
//! ```
//!
//! 1. A crash before the manifest's edit leaves a file that nobody names: opening removes it. A crash
//!    behind it leaves a file without a pointer: it is garbage, and collected as such.
//! 2. A pointer in the log leads to a file that the manifest names, until a table has the pointer or a
//!    newer write hides it.
//! 3. A file is not collected between the edit and the pointer: it is in flight.

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    allotment::{Allotment, Need},
    background::Duty,
    batch::check_sizes,
    error::{Error, Result},
    key::{Kind, SeqNo, VALUE_BYTES_MAX, VALUE_STREAM_BYTES_MAX},
    keyspace::{Keyspace, State, Tree},
    manifest::Change,
    pointer::Pointer,
    store::Store,
    table::Codec,
    values::{LiveValues, ValuesInfo, values_name},
};

/// Streams up to this length are read into memory when values are not kept apart.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

impl Store {
    /// The value file that `pointer` leads to, as `state` knows it.
    pub(crate) fn values_of(&self, state: &State, pointer: &Pointer) -> Result<Arc<LiveValues>> {
        state.find_values(pointer.file).ok_or_else(|| {
            let path = self.dir.join(values_name(pointer.file));
            Error::corrupt(
                path,
                pointer.offset,
                "a table points into this file, which is not there",
            )
        })
    }

    /// Sets the value of `key` to the next `bytes` of `source`.
    pub(crate) fn put_stream(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        bytes: u64,
        source: &mut dyn Read,
    ) -> Result<SeqNo> {
        let tree = keyspace.tree();
        check_sizes(key, &[])?;
        if VALUE_STREAM_BYTES_MAX < bytes {
            let what =
                format!("is {bytes} bytes long, and may have at most {VALUE_STREAM_BYTES_MAX}");
            return Err(Error::Invalid { field: "value", what });
        }
        self.latch.check()?;
        tree.check_there()?;
        let apart_bytes_min = match self.options.value_apart_bytes_min {
            0 => WHOLE_BYTES_MAX,
            least => least.min(VALUE_BYTES_MAX as u64),
        };
        if bytes < apart_bytes_min {
            let mut value = vec![0; bytes as usize];
            fill(source, &mut value, 0, bytes)?;
            return keyspace.put(key, &value);
        }
        if tree.rules.options.ttl.is_some() {
            let what =
                "gives its values a time to live, and a stream has none; put it whole".into();
            return Err(Error::Invalid { field: "keyspace", what });
        }
        let draft = self.write_stream(key, bytes, source)?;
        let pointer = draft.pointer;
        let flight = self.name_stream(tree, draft)?;
        let seqno = self.write_one(tree, Kind::Pointer, key, &pointer.encode());
        drop(flight);
        seqno
    }

    /// Writes a file for one value, and syncs it.
    fn write_stream(&self, key: &[u8], bytes: u64, source: &mut dyn Read) -> Result<Draft<'_>> {
        // What was read of the source, and what is not yet handed to the disk.
        let need = Need { buffers: 2, ..Need::default() };
        let allotment = Allotment::of_caller(self.environment.budget(), need)?;
        let piece_bytes = allotment.buffer_bytes;
        let (mut writer, path) = self.create_values(piece_bytes)?;
        // From here on the file goes when something fails.
        let mut draft = Draft { store: self, path: Some(path), info: None, pointer: NOWHERE };
        let mut record = writer.begin();
        let mut piece = vec![0; (piece_bytes as u64).min(bytes) as usize];
        let mut at = 0;
        while at < bytes {
            let next = (bytes - at).min(piece_bytes as u64);
            let piece = &mut piece[..next as usize];
            fill(source, piece, at, bytes)?;
            writer.piece(&mut record, piece).map_err(|error| error.or_full(&self.dir))?;
            at += next;
        }
        let ended = writer.end(record, key, Codec::Raw, bytes);
        draft.pointer = ended.map_err(|error| error.or_full(&self.dir))?;
        draft.info = Some(self.end_values(writer)?);
        Ok(draft)
    }

    /// Has the manifest name the file, so that a pointer may lead into it. It is in flight until the
    /// guard is dropped.
    fn name_stream(&self, tree: &Tree, mut draft: Draft<'_>) -> Result<Flight<'_>> {
        self.environment
            .vfs()
            .sync_dir(&self.dir)
            .map_err(Error::io("sync", &self.dir))
            .map_err(|error| self.fail(error))?;
        let info = draft.info.take().expect("the file was written");
        let file = self.live_values(&info);
        file.set_in_flight(true);
        let mut manifest = self.lock_manifest();
        self.latch.check()?;
        tree.check_there()?;
        let change = Change::AddValues { keyspace: tree.id, values: info };
        let named = manifest.commit(vec![change]);
        if !matches!(named, Err(Error::Full { .. })) {
            // Once an edit that names it may be on the disk, nobody removes it but opening, which knows.
            draft.path = None;
        }
        named.map_err(|error| self.fail(error))?;
        let edit = manifest.last_edit();
        tree.change_state(|state| {
            let version = state.version.as_ref().clone().with_values(&[], &[Arc::clone(&file)]);
            State {
                active: Arc::clone(&state.active),
                frozen: state.frozen.clone(),
                version: Arc::new(version),
            }
        });
        drop(manifest);
        self.note_edit(edit);
        Ok(Flight { store: self, file })
    }
}

/// Fills `buffer` from what a caller streams, of which `at` bytes were read.
fn fill(source: &mut dyn Read, buffer: &mut [u8], at: u64, bytes: u64) -> Result<()> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Invalid {
            field: "value",
            what: format!("ends between byte {at} and {bytes}, the length that was given"),
        },
        _ => Error::io("read the value from", "its source")(error),
    })
}

const NOWHERE: Pointer =
    Pointer { file: 0, offset: 0, record_bytes: 0, value_bytes: 0, checksum: 0 };

/// A file that a stream wrote and nobody names yet; it is removed when this is dropped.
struct Draft<'a> {
    store: &'a Store,
    path: Option<PathBuf>,
    info: Option<ValuesInfo>,
    pointer: Pointer,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is removed by the next opening.
            self.store.environment.vfs().remove_file(path).ok();
        }
    }
}

/// A stream's file between the edit that names it and the write that points to it.
struct Flight<'a> {
    store: &'a Store,
    file: Arc<LiveValues>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.file.set_in_flight(false);
        self.store.environment.signal(Duty::Compact);
    }
}
