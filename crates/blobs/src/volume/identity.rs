//! The file `VOLUME`: what a volume is, whatever its extents hold.
//!
//! It must survive a power cut at any moment of being replaced: it is written under another name, synced and
//! renamed.
//!
//! 1. The file found is one that was written whole, or the volume does not open.
//! 2. Uuid, layout and salt never change; the epoch and the first free extent only grow.

use std::path::{Path, PathBuf};

use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    bytes::Take,
    error::{Error, Result},
};

use super::{Layout, options::SUBVOLUMES_MAX};

const MAGIC: [u8; 8] = *b"OLIVVOL\0";
const FORMAT: u32 = 1;
const BYTES: usize = 64;
/// The number of the layout mkv where its files are spread over subvolumes.
const SPREAD: u32 = 4;
const NAME: &str = "VOLUME";
const NEW_NAME: &str = "VOLUME.new";

/// Who a volume is, to those who keep places in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the volume was made.
    pub uuid: [u8; 16],
    /// Grants of another epoch are void.
    pub epoch: u64,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeFile {
    pub(super) identity: Identity,
    pub(super) layout: Layout,
    /// How many directories the files of layout mkv are spread over; 1 for those that are not, and for other layouts.
    pub(super) subvolumes: u32,
    /// Every checksum of the volume depends on it.
    pub(super) salt: u64,
    /// No extent has this number or a higher one, unless it is there.
    pub(super) extent_min: u32,
}

impl VolumeFile {
    fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&FORMAT.to_le_bytes());
        // A release that knows no subvolumes must not take it for one without.
        let layout = if self.subvolumes == 1 { self.layout.number() } else { SPREAD };
        put(&layout.to_le_bytes());
        put(&self.identity.uuid);
        put(&self.salt.to_le_bytes());
        put(&self.identity.epoch.to_le_bytes());
        put(&self.extent_min.to_le_bytes());
        put(&(if layout == SPREAD { self.subvolumes } else { 0 }).to_le_bytes());
        let hash = xxh3_64(&out[..BYTES - 8]);
        out[BYTES - 8..].copy_from_slice(&hash.to_le_bytes());
        out
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<VolumeFile> {
        let damaged = |what: &str| Error::corrupt(path, 0, what);
        let mut take = Take(bytes);
        if take.array() != Some(MAGIC) {
            return Err(damaged("it does not begin as such files do"));
        }
        let format = take.u32().ok_or_else(|| damaged("it ends early"))?;
        let whole: &[u8; BYTES] = bytes.try_into().map_err(|_| damaged("its length is not 64"))?;
        let hash = Take(&whole[BYTES - 8..]).u64();
        if hash != Some(xxh3_64(&whole[..BYTES - 8])) {
            return Err(damaged("its checksum does not match"));
        }
        if format != FORMAT {
            return Err(Error::Format { path: path.into(), found: format, newest: FORMAT });
        }
        VolumeFile::take(&mut take).ok_or_else(|| damaged("its layout is not known"))
    }

    fn take(take: &mut Take<'_>) -> Option<VolumeFile> {
        let number = take.u32()?;
        let (uuid, salt, epoch) = (take.array()?, take.u64()?, take.u64()?);
        let (identity, extent_min) = (Identity { uuid, epoch }, take.u32()?);
        let (layout, subvolumes) = match number {
            SPREAD => {
                let subvolumes = take.u32().filter(|count| (2..=SUBVOLUMES_MAX).contains(count));
                (Layout::Mkv, subvolumes?)
            }
            number => (Layout::of_number(number)?, 1),
        };
        Some(VolumeFile { identity, layout, subvolumes, salt, extent_min })
    }

    /// The file of the volume in `dir`, if it has one.
    pub(super) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<VolumeFile>> {
        let path = path(dir);
        if vfs.entry(&path).map_err(Error::io("look for", &path))?.is_none() {
            return Ok(None);
        }
        let file = vfs.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        // One byte more than there is to be, so that a longer file is not taken for a whole one.
        let mut bytes = [0; BYTES + 1];
        let read = file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        VolumeFile::decode(&path, &bytes[..read]).map(Some)
    }

    /// Puts this in the place of what `dir` has.
    pub(super) fn write(&self, vfs: &dyn Vfs, dir: &Path) -> Result<()> {
        let (path, new) = (path(dir), dir.join(NEW_NAME));
        if vfs.entry(&new).map_err(Error::io("look for", &new))?.is_some() {
            vfs.remove_file(&new).map_err(Error::io("remove", &new))?;
        }
        let file = vfs.open(&new, Open::Create).map_err(Error::io("create", &new))?;
        write_synced(&*file, &self.encode()).map_err(Error::io("write", &new))?;
        vfs.rename(&new, &path).map_err(Error::io("rename", &new))?;
        vfs.sync_dir(dir).map_err(Error::io("sync", dir))
    }
}

fn write_synced(file: &dyn File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_at(bytes, 0)?;
    file.sync()
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

#[cfg(test)]
mod tests {
    use olivine_vfs::MemoryVfs;

    use super::*;

    fn some() -> VolumeFile {
        let identity = Identity { uuid: [3; 16], epoch: 5 };
        VolumeFile { identity, layout: Layout::Smol, subvolumes: 1, salt: 9, extent_min: 77 }
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = MemoryVfs::new();
        let dir = Path::new("/");
        assert_eq!(VolumeFile::read(&disk, dir).unwrap(), None);
        some().write(&disk, dir).unwrap();
        some().write(&disk, dir).unwrap();
        assert_eq!(VolumeFile::read(&disk, dir).unwrap(), Some(some()));
        for subvolumes in [1, 2, SUBVOLUMES_MAX] {
            let file = VolumeFile { layout: Layout::Mkv, subvolumes, ..some() };
            file.write(&disk, dir).unwrap();
            assert_eq!(VolumeFile::read(&disk, dir).unwrap(), Some(file));
            // Where there are some, it is another layout to who knows of none.
            assert_eq!(file.encode()[12] == 3, subvolumes == 1);
        }
        for subvolumes in [0, SUBVOLUMES_MAX + 1] {
            let file = VolumeFile { layout: Layout::Mkv, subvolumes, ..some() };
            file.write(&disk, dir).unwrap();
            VolumeFile::read(&disk, dir).unwrap_err();
        }
    }

    #[test]
    fn no_other_bytes_are_taken() {
        let path = Path::new("VOLUME");
        let bytes = some().encode();
        for bit in 0..BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            VolumeFile::decode(path, &flipped).unwrap_err();
        }
        for length in 0..BYTES {
            VolumeFile::decode(path, &bytes[..length]).unwrap_err();
        }
    }

    #[test]
    fn a_newer_format_is_told_as_such() {
        let mut bytes = some().encode();
        bytes[8] = 2;
        let hash = xxh3_64(&bytes[..BYTES - 8]);
        bytes[BYTES - 8..].copy_from_slice(&hash.to_le_bytes());
        let error = VolumeFile::decode(Path::new("VOLUME"), &bytes).unwrap_err();
        assert!(matches!(error, Error::Format { found: 2, newest: 1, .. }), "{error}");
    }
}
