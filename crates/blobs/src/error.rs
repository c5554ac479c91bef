//! What can go wrong, told by what the caller would do about it.
//!
//! Texts are one lower-case phrase that names the object; the cause underneath is `source()`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why something was not done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused `operation`. What was to be written is not there.
    Io {
        /// What was being done, as a verb.
        operation: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the disk answered.
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not the bytes we wrote. Trying again cannot help; another replica can.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it the damage was noticed.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// Nothing lies at this place any more. Ask the index for the newest place.
    Gone {
        /// The file that is not there, or has no object there.
        path: PathBuf,
    },
    /// Another object, or another generation of it, lies at this place. Ask the index for the newest place.
    Foreign {
        /// The file.
        path: PathBuf,
        /// The offset.
        offset: u64,
    },
    /// What lies far away cannot be had now. It is there still; try again, or another replica.
    Away {
        /// The extent, as its file would be named.
        path: PathBuf,
        /// What the bucket answered.
        what: String,
    },
    /// There is no room for this. Nothing was written; reads and deletions go on.
    Full {
        /// The volume's directory.
        path: PathBuf,
    },
    /// The volume takes no writes.
    ReadOnly {
        /// The volume's directory.
        path: PathBuf,
    },
    /// Too much is waiting to be written. Nothing was done; try again soon.
    Busy,
    /// An argument or an option is out of its bounds; nothing was done.
    Invalid {
        /// The field or argument.
        field: &'static str,
        /// What is wrong with it and which values it takes.
        what: String,
    },
    /// The directory cannot be opened as a volume, and was left as it is.
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why, and what to do about it.
        what: String,
    },
    /// The volume was written in a format that this release does not read. It was left as it is.
    Format {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this release reads.
        newest: u32,
    },
    /// Another process, or another handle of this one, has the volume open.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as that one wrote; usually a pid.
        holder: String,
    },
    /// The volume was closed before this was written.
    Closed,
}

/// What the calls of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, path, .. } => write!(f, "cannot {operation} {}", Quoted(path)),
            Error::Corrupt { path, offset, what } => {
                let path = Quoted(path);
                write!(f, "{path} is damaged at byte {offset}: {what}; restore it from a replica")
            }
            Error::Gone { path } => {
                write!(f, "{} holds no such object any more; look its place up anew", Quoted(path))
            }
            Error::Foreign { path, offset } => write!(
                f,
                "another object than the one asked for lies in {} at byte {offset}; \
                 look its place up anew",
                Quoted(path)
            ),
            Error::Away { path, what } => write!(
                f,
                "{} lies in the bucket, which does not give it now: {what}; try again",
                Quoted(path)
            ),
            Error::Full { path } => write!(
                f,
                "there is no room left in volume {}; free some space, or write to another volume",
                Quoted(path)
            ),
            Error::ReadOnly { path } => write!(
                f,
                "volume {} was opened to be read only; write to another volume",
                Quoted(path)
            ),
            Error::Busy => write!(f, "too many writes are waiting for the volume; try again soon"),
            Error::Invalid { field, what } => write!(f, "`{field}` {what}"),
            Error::Unusable { path, what } => {
                write!(f, "cannot use {} as a volume: {what}", Quoted(path))
            }
            Error::Format { path, found, newest } => write!(
                f,
                "{} has format {found}, and this release reads formats up to {newest}; \
                 open it with the release that wrote it, or a newer one",
                Quoted(path)
            ),
            Error::Locked { path, holder } if holder.is_empty() => {
                write!(f, "the volume is open elsewhere (lock {} is held)", Quoted(path))
            }
            Error::Locked { path, holder } => {
                let path = Quoted(path);
                write!(f, "the volume is open in process {holder} (lock {path} is held)")
            }
            Error::Closed => write!(f, "the volume was closed"),
        }
    }
}

/// A path in quotes, with what does not print escaped.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.to_string_lossy(), f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Error {
    /// An error of the disk, with what was being done and to what.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { operation, path, source: Arc::new(source) }
    }

    /// Damage in a file.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.into(), offset, what: what.into() }
    }

    /// An argument out of its bounds.
    pub(crate) fn invalid(field: &'static str, what: impl Into<String>) -> Error {
        Error::Invalid { field, what: what.into() }
    }

    /// Whether the disk said that it has no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Error::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// This error, or `Full` when all it says is that volume `dir` has no room.
    pub(crate) fn or_full(self, dir: &Path) -> Error {
        if self.is_disk_full() { Error::Full { path: dir.to_path_buf() } } else { self }
    }
}
