//! The file with what master and volumes share, made by whichever of them starts first.
//!
//! 1. Nobody but who runs them may read it; one that others may read is refused.
//! 2. Two that start at once come to the same one: it is linked into place when it is whole.

use std::{io, path::Path};

use olivine_blobs::{SECRET_BYTES, Secret};
use olivine_vfs::{Open, Vfs};

use crate::{node::Problem, secret, tls::check_private};

/// Nobody has a longer one.
const FILE_BYTES_MAX: u64 = 256;

/// The secret in a file, which is made if it is not there.
pub(super) fn read(vfs: &dyn Vfs, path: &Path) -> Result<Secret, Problem> {
    let failed = |source| Problem::System {
        what: format!("cannot read the key file {}; see --key-file", path.display()),
        source,
    };
    if vfs.entry(path).map_err(failed)?.is_none() {
        make(vfs, path).map_err(|source| Problem::System {
            what: format!("cannot make the key file {}; see --key-file", path.display()),
            source,
        })?;
    }
    check_private(path, "--key-file")?;
    let file = vfs.open(path, Open::Read).map_err(failed)?;
    let length = file.len().map_err(failed)?.min(FILE_BYTES_MAX) as usize;
    let mut text = vec![0; length];
    let read = file.read_at(&mut text, 0).map_err(failed)?;
    let bytes = str::from_utf8(&text[..read]).ok().and_then(bytes_of);
    let bytes = bytes.ok_or_else(|| {
        let path = path.display();
        Problem::Settings(format!(
            "{path} is no key file: it has {} hexadecimal digits in a line; copy it from where the master runs, \
             or take it away, and a new one is made",
            2 * SECRET_BYTES
        ))
    })?;
    Ok(Secret::new(&bytes))
}

fn make(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    let mut bytes = [0; SECRET_BYTES];
    secret::random(&mut bytes)
        .map_err(|_| io::Error::other("the system has no randomness to give"))?;
    let mut text = secret::hex(&bytes);
    text.push('\n');
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    olivine_vfs::make_dirs(vfs, parent)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let draft = parent.join(format!("{name}.{}", std::process::id()));
    let made = vfs.open(&draft, Open::Create).and_then(|file| {
        file.write_at(text.as_bytes(), 0)?;
        file.sync()?;
        match vfs.hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    vfs.remove_file(&draft).ok();
    made.and_then(|()| vfs.sync_dir(parent))
}

fn bytes_of(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits = text.trim().as_bytes();
    let mut bytes = [0; SECRET_BYTES];
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}
