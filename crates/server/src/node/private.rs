//! Whether others on the machine can get at what a node stores.
//!
//! 1. Nobody but the user that runs the node can change anything in the data directory, or read anything
//!    in the store, unless it was said that they may.

use std::{io, path::Path};

use olivine_vfs::{EntryKind, Permissions, RealVfs, Vfs as _, permissions};

use super::Problem;

/// What lets others in.
const WRITABLE: u32 = 0o022;
const REACHABLE: u32 = 0o077;

/// Refuses a data directory that others can change, and a store that they can read.
pub(super) fn check(data_dir: &Path, user: u32) -> Result<(), Problem> {
    check_one(data_dir, user, WRITABLE)?;
    let store = data_dir.join("store");
    match RealVfs.entry(&store) {
        Ok(None) => Ok(()),
        Ok(Some(entry)) if entry.kind == EntryKind::Dir => check_one(&store, user, REACHABLE),
        Ok(Some(_)) => {
            let what = "is a link or a file, where the directory of the store should be";
            Err(refused(&store, what))
        }
        Err(source) => Err(failed(&store, source)),
    }
}

fn check_one(dir: &Path, user: u32, forbidden: u32) -> Result<(), Problem> {
    let Permissions { user: owner, mode } =
        permissions(dir).map_err(|source| failed(dir, source))?;
    if owner != user {
        let what = format!(
            "belongs to the user {owner}, and the node runs as {user}; run it as its owner, or chown it"
        );
        return Err(refused(dir, &what));
    }
    if mode & forbidden != 0 {
        let mode = mode & 0o777;
        let what = format!("is open to others (mode {mode:o}); chmod 700 it");
        return Err(refused(dir, &what));
    }
    Ok(())
}

fn refused(path: &Path, what: &str) -> Problem {
    let path = path.display();
    Problem::Settings(format!("{path} {what}; or say --shared-data-dir, if that is meant so"))
}

fn failed(path: &Path, source: io::Error) -> Problem {
    Problem::System { what: format!("cannot look at {}; see --data-dir", path.display()), source }
}
