//! A disk whose calls fail when they are told to.
//!
//! A driver runs its work once to count the calls of a kind, and then once for each of them, failing
//! that one.
//!
//! 1. Every call is counted, the failed ones included.
//! 2. A failed call does nothing, except a short write, of which the first bytes arrive, and a lost
//!    sync, after which the bytes read on but are gone from the disk.
//! 3. A full disk stays full until [`FailingVfs::clear`]. One without *room* takes what it had room for
//!    before: overwriting and syncing go on, creating files and making them longer do not.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use crate::{
    Call, CrashingVfs, Kind, Vfs,
    layer::{Around, Layer},
};

/// A disk whose calls fail when they are told to.
pub type FailingVfs = Layer<Failing>;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device failed: EIO.
    Eio,
    /// The disk is full: ENOSPC. From then on, this means every call that needs space: creating files,
    /// directories and links, writing and syncing.
    Enospc,
    /// The disk does not do that: EPERM, as for a link where there are none.
    Refused,
    /// So many bytes of a write arrive, then ENOSPC. On any other kind of call: EIO.
    ShortWrite {
        /// How many bytes arrive, at most all of them.
        kept: usize,
    },
    /// Half of a write arrives, then ENOSPC. On any other kind of call: ENOSPC.
    HalfWrite,
    /// A sync answers EIO. Over a crashing disk what it should have made durable is lost in the next
    /// crash, reads on until then, and a second sync answers that all is well. On any other kind of
    /// call: EIO.
    SyncLost,
}

/// Which calls fail, and how many were made.
#[derive(Debug)]
pub struct Failing {
    state: Mutex<State>,
    crashing: Option<CrashingVfs>,
}

#[derive(Debug, Default)]
struct State {
    calls: [u64; Kind::ALL.len()],
    rules: Vec<Rule>,
    full: bool,
    /// Calls that took room so far, and the one from which on there is none.
    growing: u64,
    room_until: Option<u64>,
    failed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    kind: Kind,
    index: u64,
    fault: Fault,
    lasting: bool,
}

impl FailingVfs {
    /// Nothing fails yet.
    pub fn new(inner: Arc<dyn Vfs>) -> FailingVfs {
        Layer::wrap(inner, Failing { state: Mutex::default(), crashing: None })
    }

    /// Over a disk that can lose what a failed sync should have made durable.
    pub fn over_crashing(disk: &CrashingVfs) -> FailingVfs {
        let failing = Failing { state: Mutex::default(), crashing: Some(disk.clone()) };
        Layer::wrap(Arc::new(disk.clone()), failing)
    }

    /// The call of this kind before which `index` others were made fails, and no other.
    pub fn fail(&self, kind: Kind, index: u64, fault: Fault) {
        self.around.state().rules.push(Rule { kind, index, fault, lasting: false });
    }

    /// That call fails, and every later one of this kind until [`clear`](Self::clear).
    pub fn fail_from(&self, kind: Kind, index: u64, fault: Fault) {
        self.around.state().rules.push(Rule { kind, index, fault, lasting: true });
    }

    /// The call before which `index` others took room finds none, nor do later ones, until
    /// [`clear`](Self::clear). Of a write half arrives at first, as disks do.
    pub fn no_room_from(&self, index: u64) {
        self.around.state().room_until = Some(index);
    }

    /// How many calls took room or were to: those that create, and writes beyond the end of a file.
    pub fn growing(&self) -> u64 {
        self.around.state().growing
    }

    /// Nothing fails any more; space is there again. Counting goes on.
    pub fn clear(&self) {
        let mut state = self.around.state();
        state.rules.clear();
        state.full = false;
        state.room_until = None;
    }

    /// How many calls of this kind were made.
    pub fn calls(&self, kind: Kind) -> u64 {
        self.around.state().calls[kind as usize]
    }

    /// How many calls were failed.
    pub fn failed(&self) -> u64 {
        self.around.state().failed
    }
}

impl Failing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call that takes room, and says how it fails when there is none.
    fn count_room(&mut self, grows: bool) -> Option<Fault> {
        let index = self.growing;
        self.growing += u64::from(grows);
        let until = self.room_until.filter(|until| grows && *until <= index)?;
        self.failed += 1;
        Some(if until == index { Fault::HalfWrite } else { Fault::Enospc })
    }

    /// Counts a call, and says how it fails.
    fn count(&mut self, kind: Kind) -> Option<Fault> {
        let index = self.calls[kind as usize];
        self.calls[kind as usize] += 1;
        let hits = |rule: &&Rule| {
            rule.kind == kind && (rule.index == index || rule.lasting && rule.index <= index)
        };
        let rule = self.rules.iter().find(hits).copied();
        self.full |= rule.is_some_and(|rule| rule.lasting && rule.fault == Fault::Enospc);
        let fault = match rule {
            Some(rule) => Some(rule.fault),
            None if self.full && needs_space(kind) => Some(Fault::Enospc),
            None => None,
        };
        self.failed += u64::from(fault.is_some());
        fault
    }
}

/// Whether a call takes room that its file does not have yet.
fn grows(call: &Call<'_>) -> bool {
    match (call.kind, call.file) {
        (Kind::Create | Kind::CreateDir | Kind::HardLink, _) => true,
        (Kind::Write, Some(file)) => {
            file.len().is_ok_and(|len| len < call.offset.saturating_add(call.bytes))
        }
        _ => false,
    }
}

fn needs_space(kind: Kind) -> bool {
    matches!(kind, Kind::Create | Kind::CreateDir | Kind::HardLink | Kind::Write | Kind::Sync)
}

impl Around for Failing {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        let grows = grows(call);
        let fault = {
            let mut state = self.state();
            let room = state.count_room(grows);
            state.count(call.kind).or(room)
        };
        match (fault, call.kind, &self.crashing, call.file) {
            (None, _, _, _) => Ok(()),
            (Some(Fault::HalfWrite), Kind::Write, _, Some(file)) => {
                file.write_at(&call.data[..call.data.len() / 2], call.offset)?;
                Err(Errno::NOSPC.into())
            }
            (Some(Fault::Enospc | Fault::HalfWrite), _, _, _) => Err(Errno::NOSPC.into()),
            (Some(Fault::Refused), _, _, _) => Err(Errno::PERM.into()),
            (Some(Fault::ShortWrite { kept }), Kind::Write, _, Some(file)) => {
                file.write_at(&call.data[..kept.min(call.data.len())], call.offset)?;
                Err(Errno::NOSPC.into())
            }
            (Some(Fault::SyncLost), Kind::Sync, Some(disk), _) => {
                // The sync goes on to that disk, which answers the error itself.
                disk.lose_next_sync();
                Ok(())
            }
            (Some(Fault::Eio | Fault::ShortWrite { .. } | Fault::SyncLost), _, _, _) => {
                Err(Errno::IO.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{File, MemoryVfs, Open, Survival};

    fn path() -> &'static Path {
        Path::new("/file")
    }

    fn disk_with_file() -> (FailingVfs, Arc<dyn File>) {
        let disk = FailingVfs::new(Arc::new(MemoryVfs::new()));
        let file = disk.open(path(), Open::Create).unwrap();
        (disk, file)
    }

    fn code<T>(answer: io::Result<T>) -> Option<i32> {
        answer.err().and_then(|error| error.raw_os_error())
    }

    const EIO: Option<i32> = Some(5);
    const ENOSPC: Option<i32> = Some(28);

    fn contents(file: &dyn File) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let read = file.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        bytes
    }

    /// Each kind is called once on a disk of its own where just that kind fails.
    #[test]
    fn every_kind_fails_and_is_counted() {
        for kind in Kind::ALL {
            let disk = FailingVfs::new(Arc::new(MemoryVfs::new()));
            let call = |kind| -> io::Result<()> {
                let file = || disk.open(path(), Open::Write);
                match kind {
                    Kind::Open => file().map(drop),
                    Kind::Create => disk.open(Path::new("/other"), Open::Create).map(drop),
                    Kind::Read => file()?.read_at(&mut [0], 0).map(drop),
                    Kind::Write => file()?.write_at(b"x", 0),
                    Kind::Sync => file()?.sync(),
                    Kind::WriteBack => file()?.start_write_back(0, 1),
                    Kind::SetLen => file()?.set_len(1),
                    Kind::Len => file()?.len().map(drop),
                    Kind::Entry => disk.entry(path()).map(drop),
                    Kind::List => disk.list(Path::new("/")).map(drop),
                    Kind::CreateDir => disk.create_dir(Path::new("/sub")),
                    Kind::Rename => disk.rename(path(), path()),
                    Kind::HardLink => disk.hard_link(path(), Path::new("/linked")),
                    Kind::RemoveFile => disk.remove_file(path()),
                    Kind::RemoveDir => disk.remove_dir(Path::new("/sub")),
                    Kind::SyncDir => disk.sync_dir(Path::new("/")),
                    Kind::Lock => disk.lock(Path::new("/LOCK")).map(drop),
                }
            };
            drop(disk.open(path(), Open::Create).unwrap());
            let before = disk.calls(kind);
            disk.fail(kind, before, Fault::Eio);
            assert_eq!(code(call(kind)), EIO, "{kind:?}");
            assert_eq!(disk.calls(kind), before + 1, "{kind:?}");
            assert_eq!(disk.failed(), 1, "{kind:?}");
        }
    }

    #[test]
    fn only_the_call_that_was_named_fails() {
        let (disk, file) = disk_with_file();
        disk.fail(Kind::Write, 1, Fault::Eio);
        let answers: Vec<_> = (0..4).map(|at| code(file.write_at(b"x", at))).collect();
        assert_eq!(answers, [None, EIO, None, None]);
        assert_eq!(contents(&*file), b"x\0xx");
    }

    #[test]
    fn a_lasting_fault_ends_with_clear() {
        let (disk, file) = disk_with_file();
        disk.fail_from(Kind::Sync, 1, Fault::Eio);
        assert_eq!([(); 3].map(|()| code(file.sync())), [None, EIO, EIO]);
        disk.clear();
        assert_eq!(code(file.sync()), None);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_gives_everything() {
        let (disk, file) = disk_with_file();
        file.write_at(b"kept", 0).unwrap();
        disk.fail_from(Kind::Write, 1, Fault::Enospc);
        disk.open(Path::new("/before"), Open::Create).expect("not full yet");
        assert_eq!(code(file.write_at(b"lost", 0)), ENOSPC);
        assert_eq!(code(disk.open(Path::new("/after"), Open::Create)), ENOSPC);
        assert_eq!(code(disk.create_dir(Path::new("/dir"))), ENOSPC);
        assert_eq!(contents(&*file), b"kept");
        disk.remove_file(Path::new("/before")).unwrap();
        disk.clear();
        file.write_at(b"more", 4).unwrap();
        assert_eq!(contents(&*file), b"keptmore");
    }

    #[test]
    fn without_room_what_is_there_can_be_overwritten_and_nothing_grows() {
        let (disk, file) = disk_with_file();
        file.write_at(b"four", 0).unwrap();
        assert_eq!(disk.growing(), 2);
        disk.no_room_from(2);
        file.write_at(b"FOUR", 0).unwrap();
        assert_eq!(code(file.write_at(b"five!!", 4)), ENOSPC);
        assert_eq!(code(file.write_at(b"six", 7)), ENOSPC);
        assert_eq!(code(disk.open(Path::new("/other"), Open::Create)), ENOSPC);
        file.sync().unwrap();
        assert_eq!(contents(&*file), b"FOURfiv");
        disk.clear();
        file.write_at(b"eight", 7).unwrap();
        assert_eq!(contents(&*file), b"FOURfiveight");
    }

    #[test]
    fn of_a_short_write_the_first_bytes_arrive() {
        let (disk, file) = disk_with_file();
        disk.fail(Kind::Write, 0, Fault::ShortWrite { kept: 3 });
        assert_eq!(code(file.write_at(b"abcdef", 2)), ENOSPC);
        assert_eq!(contents(&*file), b"\0\0abc");
    }

    #[test]
    fn more_kept_than_written_is_all() {
        let (disk, file) = disk_with_file();
        disk.fail(Kind::Write, 0, Fault::ShortWrite { kept: 30 });
        assert_eq!(code(file.write_at(b"abc", 0)), ENOSPC);
        assert_eq!(contents(&*file), b"abc");
    }

    #[test]
    fn a_lost_sync_is_lost_in_the_crash_whatever_is_answered_later() {
        let crashing = CrashingVfs::new();
        let disk = FailingVfs::over_crashing(&crashing);
        let file = disk.open(path(), Open::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.fail(Kind::Sync, 0, Fault::SyncLost);
        file.write_at(b"text", 0).unwrap();
        assert_eq!(code(file.sync()), EIO);
        assert_eq!(code(file.sync()), None);
        assert_eq!(contents(&*file), b"text");
        let found = crashing.crash(Survival::Everything, 1).open(path(), Open::Read).unwrap();
        assert_eq!(contents(&*found), b"");
    }

    /// Without the fault the same two syncs make the bytes durable.
    #[test]
    fn a_sync_that_failed_but_lost_nothing_can_be_repeated() {
        let crashing = CrashingVfs::new();
        let disk = FailingVfs::over_crashing(&crashing);
        let file = disk.open(path(), Open::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.fail(Kind::Sync, 0, Fault::Eio);
        file.write_at(b"text", 0).unwrap();
        assert_eq!(code(file.sync()), EIO);
        file.sync().unwrap();
        let found = crashing.crash(Survival::Nothing, 1).open(path(), Open::Read).unwrap();
        assert_eq!(contents(&*found), b"text");
    }
}
