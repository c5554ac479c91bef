//! Objects from one volume into another, whatever the layouts, and from directories that smol or minikeyvalue wrote.
//!
//! It must survive objects of any length, directories with strange things in them, and being stopped: what was told
//! as stored stays.
//!
//! 1. Values are streamed; memory does not grow with them, nor with their number, one directory's names aside.
//! 2. Nothing is passed over silently: what cannot be taken is told with the reason.
//! 3. Links are not followed.

use std::{io, path::Path};

use olivine_vfs::{EntryKind, File, Open, Vfs};

use crate::{
    error::{Error, Result},
    volume::{Head, KEY_BYTES_MAX, Place, Stored, Volume, Writer, mkv_key, smol_path},
};

/// This much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Directories within directories: `svXX`, two levels, and a long name in parts.
const DEPTH_MAX: usize = 40;

/// An object, as an index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: Vec<u8>,
    /// Which of the key's generations it is.
    pub generation: u64,
    /// Where it lies.
    pub place: Place,
}

/// What became of one object.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// It is durable in the other volume.
    Stored {
        /// Its key.
        key: &'a [u8],
        /// Its generation there.
        generation: u64,
        /// Its time of expiry, if it has one.
        expiry: Option<u64>,
        /// Where it lies there.
        stored: Stored,
    },
    /// It was not taken.
    Skipped {
        /// The file that was to be taken.
        path: &'a Path,
        /// Why not.
        why: &'static str,
    },
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects that were stored.
    pub objects: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// What was not taken.
    pub skipped: u64,
}

/// A transfer into a volume, with whoever is told of each step; an error of theirs ends it.
pub struct Transfer<'a> {
    /// Where to.
    pub target: &'a Volume,
    /// Whether the MD5 of each value is taken, and kept where the layout has a place for it.
    pub wants_md5: bool,
    /// Told of each step, after it.
    pub each: &'a mut dyn FnMut(&Step<'_>, &Progress) -> Result<()>,
}

impl Transfer<'_> {
    /// Takes objects out of `source`; their keys, generations and times of expiry stay what they are.
    pub fn take(
        &mut self,
        source: &Volume,
        objects: impl IntoIterator<Item = Result<Object>>,
    ) -> Result<Progress> {
        let mut progress = Progress::default();
        for object in objects {
            let Object { key, generation, place } = object?;
            let reading = source.read(&place, &key, generation)?;
            let (expiry, bytes) = (reading.expiry, Some(reading.len()));
            let wants_md5 = self.wants_md5 || reading.md5.is_some();
            let attributes = &*reading.attributes;
            let head = Head { key: &key, generation, expiry, wants_md5, attributes, bytes };
            let mut writer = self.target.begin(&head)?;
            while writer.bytes() < reading.len() {
                writer.write(&reading.read_at(writer.bytes(), CHUNK_BYTES)?)?;
            }
            self.finish(writer, &key, generation, expiry, &mut progress)?;
        }
        Ok(progress)
    }

    /// Takes every file of a directory that minikeyvalue, or a volume of its layout, wrote. Each gets the next of
    /// `generations`.
    pub fn take_mkv(
        &mut self,
        vfs: &dyn Vfs,
        dir: &Path,
        generations: &mut dyn Iterator<Item = u64>,
    ) -> Result<Progress> {
        let mut progress = Progress::default();
        let mut waiting = vec![(dir.to_path_buf(), Vec::new())];
        while let Some((dir, parts)) = waiting.pop() {
            for entry in vfs.list(&dir).map_err(Error::io("list", &dir))? {
                let path = dir.join(&entry.name);
                let Some(name) = entry.name.to_str() else {
                    self.skip(&path, "its name is no text", &mut progress)?;
                    continue;
                };
                if parts.is_empty() && is_ours(name) {
                    continue;
                }
                let mut parts: Vec<String> = parts.clone();
                parts.push(name.to_owned());
                match entry.kind {
                    EntryKind::Dir if parts.len() < DEPTH_MAX => waiting.push((path, parts)),
                    EntryKind::Dir => self.skip(&path, "it lies too deep", &mut progress)?,
                    EntryKind::Other => self.skip(&path, "it is no file", &mut progress)?,
                    EntryKind::File => match key_of(&parts) {
                        Ok(key) => {
                            let file =
                                vfs.open(&path, Open::Read).map_err(Error::io("open", &path))?;
                            self.take_file(&*file, &path, &key, generations, &mut progress)?;
                        }
                        Err(why) => self.skip(&path, why, &mut progress)?,
                    },
                }
            }
        }
        Ok(progress)
    }

    /// Takes the values of `uris`, as they came over the wire with their slashes, each with the key that it stands for,
    /// out of a directory that smol wrote: its names do not give the keys back. Each gets the next of
    /// `generations`.
    pub fn take_smol(
        &mut self,
        vfs: &dyn Vfs,
        dir: &Path,
        uris: impl IntoIterator<Item = Result<(Vec<u8>, Vec<u8>)>>,
        generations: &mut dyn Iterator<Item = u64>,
    ) -> Result<Progress> {
        let mut progress = Progress::default();
        for uri in uris {
            let (uri, key) = uri?;
            let path = dir.join(smol_path(&uri));
            let file = match vfs.open(&path, Open::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.skip(&path, "there is no such file", &mut progress)?;
                    continue;
                }
                answer => answer.map_err(Error::io("open", &path))?,
            };
            self.take_file(&*file, &path, &key, generations, &mut progress)?;
        }
        Ok(progress)
    }

    fn take_file(
        &mut self,
        file: &dyn File,
        path: &Path,
        key: &[u8],
        generations: &mut dyn Iterator<Item = u64>,
        progress: &mut Progress,
    ) -> Result<()> {
        let generation = generations.next();
        let generation =
            generation.ok_or_else(|| Error::invalid("generations", "end before the objects do"))?;
        let bytes = file.len().map_err(Error::io("measure", path))?;
        let (wants_md5, bytes) = (self.wants_md5, Some(bytes));
        let head = Head { key, generation, expiry: None, wants_md5, attributes: &[], bytes };
        let mut writer = self.target.begin(&head)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read_at(&mut chunk, writer.bytes()).map_err(Error::io("read", path))?;
            if read == 0 {
                break;
            }
            writer.write(chunk.get(..read).unwrap_or_default())?;
        }
        self.finish(writer, key, generation, None, progress)
    }

    fn finish(
        &mut self,
        writer: Writer,
        key: &[u8],
        generation: u64,
        expiry: Option<u64>,
        progress: &mut Progress,
    ) -> Result<()> {
        let stored = writer.finish()?;
        progress.objects += 1;
        progress.bytes += stored.place.bytes;
        (self.each)(&Step::Stored { key, generation, expiry, stored }, progress)
    }

    fn skip(&mut self, path: &Path, why: &'static str, progress: &mut Progress) -> Result<()> {
        progress.skipped += 1;
        (self.each)(&Step::Skipped { path, why }, progress)
    }
}

/// What a volume of ours has beside its objects.
fn is_ours(name: &str) -> bool {
    matches!(name, "VOLUME" | "VOLUME.new" | "LOCK" | "new")
}

/// The key, without its slash, of a file that lies under these names.
fn key_of(parts: &[String]) -> Result<Vec<u8>, &'static str> {
    let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if parts.first().is_some_and(|first| is_subvolume(first)) {
        parts.remove(0);
    }
    let no_key = "its name is not that of a key";
    let key = parts.get(2..).and_then(mkv_key).ok_or(no_key)?;
    let key = key.strip_prefix(b"/").ok_or("its key does not begin with a slash")?.to_vec();
    if key.is_empty() || KEY_BYTES_MAX < key.len() {
        return Err("its key is empty or too long");
    }
    Ok(key)
}

/// `svXX`, as minikeyvalue names the parts of a volume.
fn is_subvolume(name: &str) -> bool {
    let digits = name.strip_prefix("sv");
    digits.is_some_and(|digits| {
        2 <= digits.len() && digits.bytes().all(|one| one.is_ascii_hexdigit())
    })
}

impl std::fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("target", self.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use olivine_vfs::{ManualClock, MemoryVfs, Random, make_dirs};

    use super::*;
    use crate::{Layout, VolumeOptions, mkv_path};

    fn open(disk: &MemoryVfs, dir: &str, layout: Layout) -> Volume {
        let options =
            VolumeOptions { layout, packed_bytes_max: 100_000, ..VolumeOptions::default() };
        let clock = Arc::new(ManualClock::new());
        Volume::open(Arc::new(disk.clone()), clock, Path::new(dir), [7; 32], &options).unwrap().0
    }

    fn value(generation: u64) -> Vec<u8> {
        let mut random = Random::new(generation);
        let length = [0, 10, 5000, 70_000, 300_000][generation as usize % 5];
        random.bytes(length)
    }

    fn read(volume: &Volume, key: &[u8], generation: u64, place: &Place) -> Vec<u8> {
        let reading = volume.read(place, key, generation).unwrap();
        let mut value = Vec::new();
        while (value.len() as u64) < reading.len() {
            value.extend(reading.read_at(value.len() as u64, 100_000).unwrap());
        }
        value
    }

    type Index = BTreeMap<Vec<u8>, (u64, Place)>;

    fn moved(
        target: &Volume,
        run: impl FnOnce(&mut Transfer<'_>) -> Progress,
    ) -> (Index, Progress) {
        let mut index = Index::new();
        let mut each = |step: &Step<'_>, _: &Progress| {
            if let Step::Stored { key, generation, stored, .. } = step {
                index.insert(key.to_vec(), (*generation, stored.place));
            }
            Ok(())
        };
        let progress = run(&mut Transfer { target, wants_md5: true, each: &mut each });
        (index, progress)
    }

    /// From each layout into the next, and back to where it began.
    #[test]
    fn objects_go_through_all_layouts_unchanged() {
        let disk = MemoryVfs::new();
        let mut source = open(&disk, "/packed", Layout::Packed);
        let mut index = Index::new();
        for generation in 0..10 {
            let key = format!("some/../key {generation}").into_bytes();
            let head = Head {
                key: &key,
                generation,
                expiry: None,
                wants_md5: false,
                attributes: &[],
                bytes: None,
            };
            let mut writer = source.begin(&head).unwrap();
            writer.write(&value(generation)).unwrap();
            index.insert(key, (generation, writer.finish().unwrap().place));
        }
        let layouts = [("/smol", Layout::Smol), ("/mkv", Layout::Mkv), ("/again", Layout::Packed)];
        for (dir, layout) in layouts {
            let target = open(&disk, dir, layout);
            let objects = index.iter().map(|(key, (generation, place))| {
                Ok(Object { key: key.clone(), generation: *generation, place: *place })
            });
            let (new_index, progress) =
                moved(&target, |transfer| transfer.take(&source, objects).unwrap());
            assert_eq!((progress.objects, progress.skipped), (10, 0));
            for (key, (generation, place)) in &new_index {
                assert!(read(&target, key, *generation, place) == value(*generation), "{dir}");
            }
            (source, index) = (target, new_index);
        }
    }

    #[test]
    fn a_directory_of_minikeyvalue_is_taken_and_what_is_strange_is_told() {
        let disk = MemoryVfs::new();
        let put = |path: &str, value: &[u8]| {
            let path = Path::new("/mkv").join(path);
            make_dirs(&disk, path.parent().unwrap()).unwrap();
            disk.open(&path, Open::Create).unwrap().write_at(value, 0).unwrap();
        };
        put(&mkv_path(b"/hello"), b"one");
        put(&format!("sv03/{}", mkv_path(b"/in a subvolume")), b"two");
        put("ab/cd/no name", b"?");
        put("lost", b"?");
        let target = open(&disk, "/target", Layout::Packed);
        let (index, progress) = moved(&target, |transfer| {
            transfer.take_mkv(&disk, Path::new("/mkv"), &mut (5..)).unwrap()
        });
        assert_eq!((progress.objects, progress.bytes, progress.skipped), (2, 6, 2));
        let (generation, place) = index[&b"hello"[..]];
        assert_eq!(read(&target, b"hello", generation, &place), b"one");
        let (generation, place) = index[&b"in a subvolume"[..]];
        assert_eq!(read(&target, b"in a subvolume", generation, &place), b"two");
    }

    #[test]
    fn a_directory_of_smol_is_taken_by_its_uris() {
        let disk = MemoryVfs::new();
        let path = Path::new("/volume1/3a/3ad3/3ad31f8c5338bea26f782e9e453d1d9d");
        make_dirs(&disk, path.parent().unwrap()).unwrap();
        disk.open(path, Open::Create).unwrap().write_at(b"bigswag", 0).unwrap();
        let target = open(&disk, "/target", Layout::Packed);
        let uris = [(&b"/k1"[..], &b"k1"[..]), (b"/k2", b"k2")];
        let uris = uris.map(|(uri, key)| Ok((uri.to_vec(), key.to_vec())));
        let (index, progress) = moved(&target, |transfer| {
            transfer.take_smol(&disk, Path::new("/volume1"), uris, &mut (5..)).unwrap()
        });
        assert_eq!((progress.objects, progress.skipped), (1, 1));
        let (generation, place) = index[&b"k1"[..]];
        assert_eq!(read(&target, b"k1", generation, &place), b"bigswag");
    }
}
