//! Value files looked at record by record, sound or not: for check and repair.
//!
//! 1. A value that verifies here is one that every reader gets.
//! 2. Memory is one chunk of a value that is stored as it is, or one value that is compressed.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{Open, Vfs};

use super::{
    file::{LiveValues, OpenValues},
    format::{FOOTER_BYTES, FORMAT, Footer, ValuesInfo, values_name},
};
use crate::{
    error::{Error, Result},
    pointer::Pointer,
};

/// The value files of a keyspace, to look whether what tables point to is there.
#[derive(Debug)]
pub(crate) struct ValuesExaminer {
    dir: PathBuf,
    files: BTreeMap<u64, Arc<LiveValues>>,
}

impl ValuesExaminer {
    pub(crate) fn new<'a>(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        store: u64,
        files: impl IntoIterator<Item = &'a ValuesInfo>,
    ) -> ValuesExaminer {
        let open = Arc::new(OpenValues::new());
        let live = |info: &ValuesInfo| {
            let path = dir.join(values_name(info.file));
            let (vfs, open, trash) = (Arc::clone(vfs), Arc::clone(&open), Arc::default());
            let live = LiveValues::new(vfs, open, store, path, info.clone(), trash);
            (info.file, Arc::new(live))
        };
        let files = files.into_iter().map(live).collect();
        ValuesExaminer { dir: dir.to_path_buf(), files }
    }

    /// Reads the value that an entry's bytes point to, all of it.
    pub(crate) fn verify(&self, value: &[u8]) -> Result<Pointer> {
        let Some(pointer) = Pointer::decode(value) else {
            return Err(Error::corrupt(
                &self.dir,
                0,
                "an entry should point to a value and does not",
            ));
        };
        let Some(file) = self.files.get(&pointer.file) else {
            let path = self.dir.join(values_name(pointer.file));
            return Err(Error::corrupt(
                path,
                0,
                "an entry points into this file, which is not there",
            ));
        };
        let mut reader = file.stream(&pointer)?;
        let mut bytes = vec![0; 64 << 10];
        loop {
            match reader.read(&mut bytes) {
                Ok(0) => return Ok(pointer),
                Ok(_) => {}
                Err(error) => {
                    return Err(error
                        .downcast::<Error>()
                        .unwrap_or_else(Error::io("read", &file.path)));
                }
            }
        }
    }
}

/// What the manifest would say of a value file, if its footer is to be believed.
pub(crate) fn describe(vfs: &dyn Vfs, path: &Path, store: u64, number: u64) -> Result<ValuesInfo> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let bytes = file.len().map_err(Error::io("get the length of", path))?;
    let mut footer = [0; FOOTER_BYTES];
    let at = bytes.checked_sub(FOOTER_BYTES as u64);
    let at = at.ok_or_else(|| Error::corrupt(path, 0, "it is too short for a value file"))?;
    let read = file.read_at(&mut footer, at).map_err(Error::io("read", path))?;
    if let Some(found) = Footer::other_format(&footer, store, number, bytes) {
        return Err(Error::Format { path: path.to_path_buf(), found, newest: FORMAT });
    }
    let word = |nth: usize| {
        let (words, _) = footer.as_chunks::<8>();
        u64::from_le_bytes(words[nth])
    };
    let info = ValuesInfo { file: number, bytes, records: word(3), checksum: word(6) };
    match Footer::check(&footer, store, &info) {
        Ok(()) if read == footer.len() => Ok(info),
        Ok(()) => Err(Error::corrupt(path, at, "it ends too early")),
        Err(what) => Err(Error::corrupt(path, at, what)),
    }
}
