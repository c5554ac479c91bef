//! Checks value files: every byte of them, and that what points into them finds what it means.
//!
//! 1. A file is verified whole, record by record, whether or not something points to it.
//! 2. Of each pointer the tail of its record is read: it must be the one that was written for it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use olivine_vfs::Vfs;

use super::{SALVAGE, report::CheckReport};
use crate::{
    error::Error,
    pointer::{Pointer, UseCount},
    values::{LiveValues, ValuesInfo, ValuesWalk, values_name},
};

/// The value files that a keyspace's tables may point into.
pub(super) type ValueFiles = Arc<BTreeMap<u64, Arc<LiveValues>>>;

/// Verifies the file that the manifest names as `info`.
pub(super) fn check_values(
    vfs: &dyn Vfs,
    dir: &Path,
    store: u64,
    info: &ValuesInfo,
    report: &mut CheckReport,
) {
    let path = dir.join(values_name(info.file));
    report.value_files += 1;
    report.value_bytes += info.bytes;
    let walk = match ValuesWalk::open(vfs, &path, store, info.file) {
        Ok(walk) => walk,
        Err(error) => return report.damage(dir, &error, SALVAGE),
    };
    if walk.bytes != info.bytes {
        let (found, expected) = (walk.bytes, info.bytes);
        let what = format!("the value file is {found} bytes long and should be {expected}");
        let error = Error::corrupt(&path, found.min(expected), what);
        return report.damage(dir, &error, SALVAGE);
    }
    match walk.footer() {
        Ok((records, checksum)) if records == info.records && checksum == info.checksum => {}
        Ok(_) => {
            let what = "the value file is not the one that was written here";
            report.damage(dir, &Error::corrupt(&path, info.bytes, what), SALVAGE);
        }
        // Told below, with the rest.
        Err(_) => {}
    }
    let mut damages = Vec::new();
    walk.verify(&mut |_| report.value_records += 1, &mut |error| damages.push(error));
    for error in damages {
        report.damage(dir, &error, SALVAGE);
    }
}

/// What was seen of the pointers of a table.
#[derive(Default)]
pub(super) struct Pointers {
    pub(super) uses: UseCount,
    /// Whether an entry of the key hides those that follow it.
    pub(super) is_hidden: bool,
    /// Whether something was said of them already: once is enough.
    pub(super) told: bool,
}

/// Says what is wrong with a pointer of the table at `path`.
pub(super) fn check_pointer(files: &ValueFiles, value: &[u8]) -> Result<Pointer, Wrong> {
    let pointer = Pointer::decode(value).ok_or(Wrong::NoPointer)?;
    let file = files.get(&pointer.file).ok_or(Wrong::NoFile)?;
    file.check_pointer(&pointer).map_err(Wrong::Record)?;
    Ok(pointer)
}

/// What is wrong with a pointer.
pub(super) enum Wrong {
    NoPointer,
    NoFile,
    Record(Error),
}
