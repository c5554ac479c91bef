//! What is asked of a disk, told to those who watch it or stand in its way.

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
    pub const ALL: [Kind; 15] = [
        Kind::Open,
        Kind::Create,
        Kind::Read,
        Kind::Write,
        Kind::Sync,
        Kind::SetLen,
        Kind::Len,
        Kind::Entry,
        Kind::List,
        Kind::CreateDir,
        Kind::Rename,
        Kind::RemoveFile,
        Kind::RemoveDir,
        Kind::SyncDir,
        Kind::Lock,
    ];
}
