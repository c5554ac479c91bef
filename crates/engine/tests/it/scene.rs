//! Stores small enough that everything happens soon, on disks in memory.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use olivine_engine::{
    BackupInfo, Backups, Db, Environment, EnvironmentOptions, Lender, Loan, Offer, OnPiece,
    Options, Parts, Result, Work,
};
use olivine_vfs::{ManualClock, MemoryVfs, Vfs};

pub(crate) const STORE: &str = "/store";

/// An environment that works only when stepped.
pub(crate) fn stepped(vfs: &Arc<impl Vfs + 'static>) -> Environment {
    let vfs: Arc<dyn Vfs> = Arc::clone(vfs) as Arc<dyn Vfs>;
    let work = Work::Stepped { seed: 1 };
    let parts = Parts { vfs, clock: Arc::new(ManualClock::new()), work };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap()
}

pub(crate) fn small() -> Options {
    Options {
        memtable_bytes_max: 16 << 10,
        segment_bytes: 16 << 10,
        table_bytes_max: 16 << 10,
        level_bytes_base: 32 << 10,
        block_bytes: 512,
        ..Options::default()
    }
}

/// The names in the store's directory that begin with `prefix`.
pub(crate) fn files(vfs: &dyn Vfs, prefix: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(STORE)).unwrap();
    let names = entries.iter().map(|entry| entry.name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Fills a keyspace with `count` numbered entries.
pub(crate) fn fill(db: &Db, keyspace: &str, count: u32) {
    let keyspace = db.keyspace(keyspace).unwrap();
    for number in 0..count {
        keyspace.put(&number.to_be_bytes(), &[number as u8; 50]).unwrap();
    }
}

/// Hands over the files of a loan in pieces of a thousand bytes.
pub(crate) struct FromLoan<'a>(pub(crate) &'a Loan);

impl Lender for FromLoan<'_> {
    fn fetch(&mut self, file: usize, bytes: u64, each: OnPiece<'_>) -> Result<()> {
        let mut at = 0;
        while at < bytes {
            let piece = self.0.read(file as u64, at, 1_000)?.unwrap();
            each(&piece.bytes, piece.hash)?;
            at += piece.bytes.len() as u64;
        }
        Ok(())
    }
}

pub(crate) fn offer(loan: &Loan) -> Offer {
    Offer { store: loan.store(), time: 1_795_217_000, files: loan.files().to_vec() }
}

/// A backup that is made of a loan.
pub(crate) fn lend_and_receive(
    environment: &Environment,
    db: &Db,
    backups: &str,
) -> Result<BackupInfo> {
    let (vfs, dir) = (environment.vfs(), Path::new("/lent"));
    for entry in vfs.list(dir).unwrap_or_default() {
        vfs.remove_file(&dir.join(entry.name)).unwrap();
    }
    vfs.remove_dir(dir).ok();
    let loan = db.lend(dir)?;
    let backups = Backups::new(environment, backups);
    backups.receive(&offer(&loan), &mut FromLoan(&loan), &mut |_| ())
}

/// A disk in memory and what works on it; stores are opened on it again and again.
pub(crate) struct Scene {
    environment: Environment,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene { environment: stepped(&Arc::new(MemoryVfs::new())) }
    }

    pub(crate) fn open(&self) -> Db {
        self.open_with(small())
    }

    pub(crate) fn open_with(&self, options: Options) -> Db {
        self.try_open(options).unwrap()
    }

    pub(crate) fn try_open(&self, options: Options) -> Result<Db> {
        Db::open(&self.environment, STORE, options)
    }
}

/// The keys of a walk, as text.
pub(crate) fn keys_of(walk: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Vec<String> {
    walk.map(|entry| String::from_utf8(entry.unwrap().0).unwrap()).collect()
}

/// Tells threads that the test is over, also when it fails.
#[derive(Default)]
pub(crate) struct Ended(AtomicBool);

impl Ended {
    pub(crate) fn is(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn when_dropped(&self) -> impl Drop {
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        End(&self.0)
    }
}
