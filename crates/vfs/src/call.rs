//! What is asked of a disk, told to those who watch it or stand in its way.
//!
//! 1. Every method of `Vfs` and `File` that may fail has exactly one kind; opening has two.
//! 2. A call names the path as its caller gave it; an open file keeps the one it was opened under.

use std::path::Path;

use crate::{File, Open};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Opening a file that exists.
    Open,
    /// Creating a file.
    Create,
    /// `File::read_at`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::sync`.
    Sync,
    /// `File::start_write_back`.
    WriteBack,
    /// `File::set_len`.
    SetLen,
    /// `File::len`.
    Len,
    /// `Vfs::entry`.
    Entry,
    /// `Vfs::list`.
    List,
    /// `Vfs::create_dir`.
    CreateDir,
    /// `Vfs::rename`.
    Rename,
    /// `Vfs::hard_link`.
    HardLink,
    /// `Vfs::remove_file`.
    RemoveFile,
    /// `Vfs::remove_dir`.
    RemoveDir,
    /// `Vfs::sync_dir`.
    SyncDir,
    /// `Vfs::lock`.
    Lock,
}

impl Kind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Kind; 17] = [
        Kind::Open,
        Kind::Create,
        Kind::Read,
        Kind::Write,
        Kind::Sync,
        Kind::WriteBack,
        Kind::SetLen,
        Kind::Len,
        Kind::Entry,
        Kind::List,
        Kind::CreateDir,
        Kind::Rename,
        Kind::HardLink,
        Kind::RemoveFile,
        Kind::RemoveDir,
        Kind::SyncDir,
        Kind::Lock,
    ];
}

/// One call, before it is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is asked.
    pub kind: Kind,
    /// Of which file or directory: the path given, for an open file the one it was opened under.
    pub path: &'a Path,
    /// The new name, for a rename or a hard link.
    pub target: Option<&'a Path>,
    /// How the file is opened, for opening and creating.
    pub how: Option<Open>,
    /// Where in the file, for reads, writes and write-back.
    pub offset: u64,
    /// How many bytes are read, written or written back, or the length asked for.
    pub bytes: u64,
    /// The bytes, for a write.
    pub(crate) data: &'a [u8],
    /// The file, for calls on an open one.
    pub(crate) file: Option<&'a dyn File>,
}

impl<'a> Call<'a> {
    pub(crate) fn on_path(kind: Kind, path: &'a Path) -> Call<'a> {
        let (target, how, file) = (None, None, None);
        Call { kind, path, target, how, offset: 0, bytes: 0, data: &[], file }
    }

    pub(crate) fn on_file(kind: Kind, path: &'a Path, file: &'a dyn File) -> Call<'a> {
        Call { file: Some(file), ..Call::on_path(kind, path) }
    }

    pub(crate) fn with_range(self, offset: u64, bytes: u64) -> Call<'a> {
        Call { offset, bytes, ..self }
    }
}
