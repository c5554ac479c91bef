//! What can go wrong, told by what the caller would do about it.
//!
//! Texts are one lower-case phrase that names the object; the cause underneath is `source()`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Why a read or a write did not happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused `operation`; the store is as it was before.
    Io {
        /// What was being done, as a verb.
        operation: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the disk answered.
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not the bytes we wrote. Trying again cannot help.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it the damage was noticed.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// Bytes changed in memory between reading them and writing them, or entries got lost there. What
    /// was written was given up, and what it was made of is still in place.
    Altered {
        /// What was being written.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The directory cannot be opened as a store, and was left as it is.
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why, and what to do about it.
        what: String,
    },
    /// The store was written in a format that this release does not read. It was left as it is.
    Format {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this release reads.
        newest: u32,
    },
    /// Another process, or another handle of this one, has the store open.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as that one wrote; usually a pid.
        holder: String,
    },
    /// An argument is out of its bounds; nothing was done.
    Invalid {
        /// The field or argument.
        field: &'static str,
        /// What is wrong with it and which values it takes.
        what: String,
    },
    /// The disk is full, so this was not done. Reads go on, and so will the store, by itself, as soon as
    /// there is room again.
    Full {
        /// The store's directory.
        path: PathBuf,
    },
    /// A write or sync failed, so the store takes no more writes. Reopen to recover. What was visible
    /// but not yet durable may or may not be there then.
    Poisoned {
        /// The failure that did it.
        cause: String,
    },
    /// The store was opened to be read only; nothing was done.
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// Somebody has written since to what the transaction had read. Nothing was done; run it again.
    Conflict {
        /// The keyspace.
        keyspace: String,
        /// The key, with bytes that are not text escaped.
        key: String,
    },
    /// The values merged into a key cannot be folded. They stay as they are; put or delete the key.
    Merge {
        /// The key, with bytes that are not text escaped.
        key: String,
        /// What the operator says.
        what: String,
    },
    /// The store was closed; its handles answer this.
    Closed,
    /// The keyspace was dropped; its handles answer this.
    Dropped {
        /// The keyspace's name.
        keyspace: String,
    },
    /// The store is behind its work; nothing was done. Try again after `retry_after`.
    Busy {
        /// When there should be room again.
        retry_after: Duration,
    },
    /// The log is several times as long as its bound, because a keyspace has appended records that no batch
    /// covers. Nothing was done; cover them with `Batch::applied_to`, or drop the keyspace.
    LogHeld {
        /// The keyspace.
        keyspace: String,
        /// The first record that is not covered, or a number before it.
        seqno: u64,
    },
    /// The log no longer has the writes that were asked for. Take the store as it is, and go on from there.
    LogGone {
        /// The oldest write that it has.
        oldest: u64,
    },
    /// The answer is not in memory, and reading the disk was not allowed.
    WouldBlock,
}

/// What the engine's calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, path, .. } => write!(f, "cannot {operation} {}", Quoted(path)),
            Error::Corrupt { path, offset, what } => {
                let path = Quoted(path);
                write!(f, "{path} is damaged at byte {offset}: {what}; restore it from a copy")
            }
            Error::Altered { path, what } => write!(
                f,
                "what was to go into {} is not what was read: {what}; \
                 test the memory of this machine, then open the store again",
                Quoted(path)
            ),
            Error::Unusable { path, what } => {
                write!(f, "cannot use {} as a store: {what}", Quoted(path))
            }
            Error::Format { path, found, newest } => write!(
                f,
                "{} has format {found}, and this release reads formats up to {newest}; \
                 open it with the release that wrote it, or a newer one",
                Quoted(path)
            ),
            Error::Locked { path, holder } if holder.is_empty() => {
                write!(f, "the store is open elsewhere (lock {} is held)", Quoted(path))
            }
            Error::Locked { path, holder } => {
                let path = Quoted(path);
                write!(f, "the store is open in process {holder} (lock {path} is held)")
            }
            Error::Invalid { field, what } => write!(f, "`{field}` {what}"),
            Error::Full { path } => write!(
                f,
                "the disk under {} is full, so this was not done; free some space, and the store goes on",
                Quoted(path)
            ),
            Error::Poisoned { cause } => write!(
                f,
                "the store takes no more writes because one failed ({cause}); reopen it to recover"
            ),
            Error::ReadOnly { path } => write!(
                f,
                "the store in {} was opened to be read only; write where it is open for writing",
                Quoted(path)
            ),
            Error::Conflict { keyspace, key } => write!(
                f,
                "\"{key}\" in keyspace {keyspace:?} was written since the transaction read it; run it again"
            ),
            Error::Merge { key, what } => write!(
                f,
                "the values merged into \"{key}\" cannot be folded: {what}; put or delete the key"
            ),
            Error::Closed => write!(f, "the store was closed"),
            Error::Dropped { keyspace } => write!(f, "keyspace {keyspace:?} was dropped"),
            Error::Busy { retry_after } => {
                write!(f, "too many writes are waiting; try again after {retry_after:?}")
            }
            Error::LogHeld { keyspace, seqno } => write!(
                f,
                "the log is too long, because appended records of keyspace {keyspace:?} from {seqno} on are \
                 not covered; write a batch that is `applied_to` them"
            ),
            Error::LogGone { oldest } => {
                write!(f, "the log no longer has these writes; the oldest it has is {oldest}")
            }
            Error::WouldBlock => write!(f, "the answer is not in memory"),
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

    /// Whether the disk said that it has no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Error::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// This error, or `Full` when all it says is that `dir` has no room for what was begun: then that
    /// can be taken back and made anew. A sync is another matter: nobody knows what it did.
    pub(crate) fn or_full(self, dir: &Path) -> Error {
        match &self {
            Error::Io { operation, .. } if self.is_disk_full() && *operation != "sync" => {
                Error::Full { path: dir.to_path_buf() }
            }
            _ => self,
        }
    }

    /// Damage in a file.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.into(), offset, what: what.into() }
    }
}
