//! The manifest: which keyspaces and tables a store consists of, edit by edit.
//!
//! One file of frames, as the log's, each an edit; the file named by `CURRENT` is the one that counts.
//! Byte layout: `docs/format/manifest.md`.
//!
//! It must survive a power cut between any two calls: an edit is there whole or not at all.
//!
//! 1. An edit is synced before `commit` returns; only then may anything rely on it.
//! 2. Edits are numbered without gaps; the log's segments repeat the number of the last durable one.
//! 3. Behind every durable edit stands a marker that says so. A bad frame below a marker, or an edit
//!    that the log calls durable and that is not there, is damage; a bad frame at the end is not.
//! 4. A manifest that was read is never appended to: opening writes a new one.
//! 5. `CURRENT` is replaced by a rename of a synced file, and the directory is synced.
//! 6. What found no room is cut off again before anything is written behind it: `Full` leaves the
//!    manifest as it was.

mod catalog;
mod edit;
pub(crate) mod salvage;

pub(crate) use catalog::{Catalog, KeyspaceRecord};
pub(crate) use edit::{Change, Edit};

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    error::{Error, Result},
    log::{FRAME_ALIGN, Frame, FrameError, FrameKind, Place, payload_hash},
    planted::{Bug, planted},
};

/// The file that names the manifest.
pub(crate) const CURRENT: &str = "CURRENT";
/// The name under which the next `CURRENT` is written.
pub(crate) const CURRENT_NEXT: &str = "CURRENT.next";
/// The format that this release writes and reads.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"OLVMANIF";
const FILE_HEADER_BYTES: u64 = 16;
/// A manifest shorter than this is not worth rewriting.
const REWRITE_BYTES_LEAST: u64 = 1 << 20;
/// Longer than any manifest we write; what claims more is damaged.
const MANIFEST_BYTES_MAX: u64 = 4 << 30;

/// The name of a manifest's file.
pub(crate) fn manifest_name(number: u64) -> String {
    format!("manifest-{number:012}")
}

/// A manifest open for writing.
#[derive(Debug)]
pub(crate) struct Manifest {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    store: u64,
    number: u64,
    file: Arc<dyn File>,
    end: u64,
    durable: u64,
    snapshot_bytes: u64,
    pub(crate) catalog: Catalog,
    broken: bool,
}

impl Manifest {
    /// Writes `catalog` as the manifest of `number` and makes it current.
    pub(crate) fn create(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        store: u64,
        number: u64,
        catalog: Catalog,
    ) -> Result<Manifest> {
        let path = dir.join(manifest_name(number));
        // What a crash left of an earlier try under this number was never current.
        remove_if_there(vfs.as_ref(), &path)?;
        let created = vfs.open(&path, Open::Create).map_err(Error::io("create", &path));
        let file = created.map_err(|error| error.or_full(dir))?;
        let mut manifest = Manifest {
            vfs: Arc::clone(vfs),
            dir: dir.into(),
            store,
            number,
            file,
            end: FILE_HEADER_BYTES,
            durable: 0,
            snapshot_bytes: 0,
            catalog,
            broken: false,
        };
        manifest
            .begin()
            .and_then(|()| vfs.sync_dir(dir).map_err(Error::io("sync", dir)))
            .and_then(|()| manifest.make_current())
            .map_err(|error| error.or_full(dir))
            .inspect_err(|error| {
                // Before the rename of `CURRENT` nobody knows of it.
                if matches!(error, Error::Full { .. }) {
                    vfs.remove_file(&path).ok();
                    vfs.remove_file(&dir.join(CURRENT_NEXT)).ok();
                }
            })?;
        Ok(manifest)
    }

    /// What another process writes, as it was read: nothing can be committed.
    pub(crate) fn of_another(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        current: Current,
        catalog: Catalog,
    ) -> Result<Manifest> {
        let path = dir.join(manifest_name(current.manifest));
        let file = vfs.open(&path, Open::Read).map_err(Error::io("open", path))?;
        Ok(Manifest {
            vfs: Arc::clone(vfs),
            dir: dir.into(),
            store: current.store,
            number: current.manifest,
            file,
            end: 0,
            durable: 0,
            snapshot_bytes: 0,
            catalog,
            broken: true,
        })
    }

    /// Writes the file's header and the catalog.
    fn begin(&mut self) -> Result<()> {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        let path = self.path();
        self.file.write_at(&header, 0).map_err(Error::io("write", path))?;
        let edit = Edit { number: self.catalog.edit, changes: self.catalog.changes() };
        self.append(&edit)?;
        self.snapshot_bytes = self.end;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join(manifest_name(self.number))
    }

    /// Points `CURRENT` to this manifest.
    fn make_current(&self) -> Result<()> {
        let (vfs, dir) = (self.vfs.as_ref(), &self.dir);
        let next = dir.join(CURRENT_NEXT);
        remove_if_there(vfs, &next)?;
        let file = vfs.open(&next, Open::Create).map_err(Error::io("create", &next))?;
        let text = current_text(self.number, self.store);
        file.write_at(text.as_bytes(), 0).map_err(Error::io("write", &next))?;
        if !planted(Bug::CurrentUnsynced) {
            file.sync().map_err(Error::io("sync", &next))?;
        }
        vfs.rename(&next, &dir.join(CURRENT)).map_err(Error::io("rename", &next))?;
        vfs.sync_dir(dir).map_err(Error::io("sync", dir))
    }

    /// The number in the file's name.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Number of the last durable edit.
    pub(crate) fn last_edit(&self) -> u64 {
        self.catalog.edit
    }

    /// Makes `changes` happen durably, together. `Full` means that nothing was done; after any other
    /// failure nothing more can be committed.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<()> {
        if self.broken {
            let cause = "an edit of the manifest failed".into();
            return Err(Error::Poisoned { cause });
        }
        let edit = Edit { number: self.catalog.edit + 1, changes };
        self.broken = true;
        if let Err(error) = self.append(&edit) {
            self.broken = !matches!(error, Error::Full { .. });
            return Err(error);
        }
        let applied = self.catalog.apply(&edit);
        assert!(applied.is_ok(), "an edit of our own contradicts the catalog: {applied:?}");
        self.broken = false;
        if self.end <= REWRITE_BYTES_LEAST.max(4 * self.snapshot_bytes) {
            return Ok(());
        }
        match self.rewrite() {
            // The file is longer than it need be, and the next edit tries again.
            Err(Error::Full { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Writes one edit, syncs it, and marks it durable.
    fn append(&mut self, edit: &Edit) -> Result<()> {
        let payload = edit.encode();
        self.append_frame(FrameKind::Edit, edit.number, &payload)?;
        let path = self.path();
        if !planted(Bug::EditUnsynced) {
            self.file.sync().map_err(Error::io("sync", path))?;
        }
        self.durable = self.end;
        match self.append_frame(FrameKind::Durable, edit.number, &[]) {
            // The edit is there; the next frame says so.
            Err(Error::Full { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    fn append_frame(&mut self, kind: FrameKind, number: u64, payload: &[u8]) -> Result<()> {
        let frame = Frame {
            kind,
            first_seq: number,
            count: 0,
            payload_len: payload.len() as u32,
            payload_hash: payload_hash(&[payload]),
            durable: self.durable as u32,
        };
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        frame.push(&mut bytes, place(self.store, self.number), self.end, &[payload]);
        let path = self.path();
        if let Err(error) = self.file.write_at(&bytes, self.end).map_err(Error::io("write", &path))
        {
            let error = error.or_full(&self.dir);
            if planted(Bug::TornEditKept) {
                self.end += bytes.len() as u64;
            } else if matches!(error, Error::Full { .. }) {
                // What arrived of it must not stand before the next edit.
                self.file.set_len(self.end).map_err(Error::io("shorten", path))?;
            }
            return Err(error);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Begins a new file with the catalog as it is, and removes this one.
    fn rewrite(&mut self) -> Result<()> {
        let old = self.path();
        self.broken = true;
        let next = Manifest::create(
            &self.vfs,
            &self.dir,
            self.store,
            self.number + 1,
            self.catalog.clone(),
        )
        .inspect_err(|error| self.broken = !matches!(error, Error::Full { .. }))?;
        *self = next;
        self.vfs.remove_file(&old).map_err(Error::io("remove", old))
    }
}

/// Where the frames of a manifest are bound to; log segments use the numbers below.
pub(crate) fn place(store: u64, number: u64) -> Place {
    Place { store, file: 1 << 63 | number }
}

fn current_text(number: u64, store: u64) -> String {
    let body = format!("olivine store, format {FORMAT}\nstore {store:016x}\nmanifest {number}\n");
    format!("{body}checksum {:016x}\n", xxh3_64(body.as_bytes()))
}

/// What `CURRENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) store: u64,
    pub(crate) manifest: u64,
}

/// Reads `CURRENT`.
pub(crate) fn read_current(vfs: &dyn Vfs, dir: &Path) -> Result<Current> {
    read_current_at(vfs, &dir.join(CURRENT))
}

/// Reads a file like `CURRENT`, wherever it is.
pub(crate) fn read_current_at(vfs: &dyn Vfs, path: &Path) -> Result<Current> {
    let bytes = read_whole(vfs, path, 4096)?;
    let text = String::from_utf8_lossy(&bytes);
    let corrupt = |what: &str| Error::corrupt(path, 0, what);
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
    let format = field("olivine store, format ").and_then(|format| format.parse::<u32>().ok());
    let format = format.ok_or_else(|| corrupt("it does not begin with a format"))?;
    if format != FORMAT {
        // A newer release may have changed everything but the first line, so nothing else is looked at,
        // unless the rest shows that this line is the damaged one.
        let mended = text.replacen(&format!("format {format}\n"), &format!("format {FORMAT}\n"), 1);
        let own = |number: u64, store: u64| current_text(number, store) == mended;
        let mut rest = mended.lines().skip(1);
        let store = rest.next().and_then(|line| parse_hex(line.strip_prefix("store ")?));
        let number = rest.next().and_then(|line| line.strip_prefix("manifest ")?.parse().ok());
        if let (Some(store), Some(number)) = (store, number)
            && own(number, store)
        {
            return Err(corrupt("its format does not match its checksum"));
        }
        return Err(Error::Format { path: path.into(), found: format, newest: FORMAT });
    }
    let store = field("store ").and_then(parse_hex);
    let store = store.ok_or_else(|| corrupt("it names no store"))?;
    let manifest = field("manifest ").and_then(|number| number.parse().ok());
    let manifest = manifest.ok_or_else(|| corrupt("it names no manifest"))?;
    if current_text(manifest, store).as_bytes() != bytes {
        return Err(corrupt("it does not match its checksum"));
    }
    Ok(Current { store, manifest })
}

fn parse_hex(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

/// What reading a manifest found.
#[derive(Debug)]
pub(crate) struct ReadManifest {
    pub(crate) catalog: Catalog,
    /// Where an edit that was never finished was cut off.
    pub(crate) cut: Option<u64>,
}

/// Reads the manifest that `current` names.
pub(crate) fn read(vfs: &dyn Vfs, dir: &Path, current: Current) -> Result<ReadManifest> {
    let path = dir.join(manifest_name(current.manifest));
    if vfs.entry(&path).map_err(Error::io("look at", &path))?.is_none() {
        let what = format!("it names manifest {}, which is missing", current.manifest);
        return Err(Error::corrupt(dir.join(CURRENT), 0, what));
    }
    let bytes = read_whole(vfs, &path, MANIFEST_BYTES_MAX)?;
    check_header(&path, &bytes)?;
    let place = place(current.store, current.manifest);
    let mut catalog = Catalog::default();
    let mut at = FILE_HEADER_BYTES as usize;
    while at < bytes.len() {
        match frame_at(&bytes, place, at) {
            Ok((frame, payload)) => {
                if frame.kind == FrameKind::Edit {
                    apply(&mut catalog, &path, at, payload)?;
                }
                at += frame.bytes() as usize;
            }
            Err(error) => {
                if at as u64 == FILE_HEADER_BYTES || proven_beyond(&bytes, place, at) {
                    return Err(Error::corrupt(path, at as u64, error.what()));
                }
                break;
            }
        }
    }
    if catalog.edit == 0 {
        return Err(Error::corrupt(path, FILE_HEADER_BYTES, "it holds no edit"));
    }
    catalog.verify().map_err(|what| Error::corrupt(&path, 0, what))?;
    let cut = (at < bytes.len()).then_some(at as u64);
    Ok(ReadManifest { catalog, cut })
}

fn check_header(path: &Path, bytes: &[u8]) -> Result<()> {
    let header = bytes.first_chunk::<{ FILE_HEADER_BYTES as usize }>();
    let header = header.ok_or_else(|| Error::corrupt(path, 0, "it ends within its header"))?;
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::corrupt(path, 0, "it does not begin as a manifest does"));
    }
    if rest != [1, 0, 0, 0, 0, 0, 0, 0] {
        // `CURRENT` said that the format is ours.
        return Err(Error::corrupt(path, 8, "its format is not the one that CURRENT names"));
    }
    Ok(())
}

fn apply(catalog: &mut Catalog, path: &Path, at: usize, payload: &[u8]) -> Result<()> {
    let corrupt = |what: String| Error::corrupt(path, at as u64, what);
    let edit = Edit::decode(payload).ok_or_else(|| corrupt("an edit does not decode".into()))?;
    if catalog.edit != 0 && edit.number != catalog.edit + 1 {
        return Err(corrupt(format!("edit {} follows edit {}", edit.number, catalog.edit)));
    }
    catalog.apply(&edit).map_err(corrupt)
}

fn frame_at(bytes: &[u8], place: Place, at: usize) -> Result<(Frame, &[u8]), FrameError> {
    let rest = &bytes[at..];
    let (frame, _) = Frame::decode(rest, place, at as u64, rest.len() as u64)?;
    let whole = rest.get(..frame.bytes() as usize).ok_or(FrameError::Length)?;
    Ok((frame, frame.payload(whole)?))
}

/// Whether a frame behind `at` says that everything beyond `at` was durable.
fn proven_beyond(bytes: &[u8], place: Place, at: usize) -> bool {
    let step = FRAME_ALIGN as usize;
    let from = (at + 1).next_multiple_of(step);
    (from..bytes.len()).step_by(step).any(|offset| {
        frame_at(bytes, place, offset).is_ok_and(|(frame, _)| (at as u32) < frame.durable)
    })
}

/// Reads a small file whole.
fn read_whole(vfs: &dyn Vfs, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let len = file.len().map_err(Error::io("measure", path))?;
    if bytes_max < len {
        return Err(Error::corrupt(
            path,
            0,
            format!("it is {len} bytes long, at most {bytes_max}"),
        ));
    }
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    match vfs.remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(Error::io("remove", path)),
    }
}
