//! Copies of a store made in a history, and what they must hold for ever after.
//!
//! 1. A copy that was acknowledged shows exactly what the store showed at that moment, after any power
//!    cut and whatever was done to the store since.
//! 2. Whoever follows the store reads some first part of the log, with everything handed over in it.

use super::{Driver, Opened, Stop, is_record, read_all};
use crate::{
    history::{KEYSPACES, Value},
    oracle::{Bytes, Contents, Event, difference},
    settings,
};
use olivine_engine::{Backups, Db, Environment, Options};
use olivine_vfs::{ManualClock, Vfs};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a copy lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A checkpoint, in a directory.
    Checkpoint(PathBuf),
    /// A backup of this number, in a directory of backups.
    Backup(PathBuf, u64),
}

/// An acknowledged copy.
#[derive(Clone, Debug)]
struct Copied {
    place: Place,
    holds: Arc<Contents>,
}

/// The acknowledged copies of a store, shared with whoever takes images meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Copies(Arc<Mutex<Vec<Copied>>>);

impl Copies {
    /// Those of this moment, alone.
    pub fn as_now(&self) -> Copies {
        Copies(Arc::new(Mutex::new(self.all())))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> Vec<Copied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, place: Place, holds: Contents) {
        let copied = Copied { place, holds: Arc::new(holds) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(copied);
    }

    /// Opens the newest checkpoint and the newest backup that lie on `disk`, and compares them with what
    /// they must hold.
    pub fn check(&self, disk: Arc<dyn Vfs>, options: &Options, seed: u64) -> Result<(), Stop> {
        let all = self.all();
        let is_backup = |copied: &&Copied| matches!(copied.place, Place::Backup(..));
        let backup = all.iter().rfind(is_backup);
        let checkpoint = all.iter().rfind(|copied| !is_backup(copied));
        for Copied { place, holds } in checkpoint.into_iter().chain(backup) {
            let environment =
                settings::environment(Arc::clone(&disk), &Arc::new(ManualClock::new()), seed)?;
            let found = open(&environment, disk.as_ref(), place, options)?;
            if let Some(what) = difference(holds, &found) {
                return Err(Stop::Differs(format!("{place:?}: {what}")));
            }
        }
        Ok(())
    }
}

/// What a copy holds.
fn open(
    environment: &Environment,
    disk: &dyn Vfs,
    place: &Place,
    options: &Options,
) -> Result<Contents, Stop> {
    let path = match place {
        Place::Checkpoint(path) => path.clone(),
        Place::Backup(dir, number) => {
            let target = free(disk, dir, "restored");
            Backups::new(environment, dir).restore(Some(*number), &target, &mut |_| {})?;
            target
        }
    };
    let opened = Opened::open(environment, path, options.clone())?;
    let found = opened.contents()?;
    opened.db.close()?;
    Ok(found)
}

/// The first path beside `path` that begins with `name` and is not taken.
fn free(disk: &dyn Vfs, path: &Path, name: &str) -> PathBuf {
    let mut all = (0..).map(|number| path.with_file_name(format!("{name}-{number}")));
    let is_free = |path: &PathBuf| disk.entry(path).is_ok_and(|entry| entry.is_none());
    // A disk that does not say what is there is asked by the copy itself.
    all.by_ref().take(1_000).find(is_free).unwrap_or_else(|| path.with_file_name(name))
}

impl Driver {
    /// The copies that were acknowledged, shared with whoever takes images meanwhile.
    pub fn copies(&self) -> Copies {
        self.copies.clone()
    }

    /// Goes on beside copies that were made of the store before.
    pub fn with_copies(mut self, copies: Copies) -> Driver {
        self.copies = copies;
        self
    }

    /// Notes an acknowledged copy, if it is known what the store showed.
    fn copied(&self, place: Place) {
        if self.undecided.is_empty() {
            let holds = self.with_log(|log| log.contents(log.position()));
            self.copies.add(place, holds);
        }
    }

    pub(super) fn checkpoint(&self) -> Result<(), Stop> {
        let path = free(self.environment.vfs().as_ref(), &self.path, "checkpoint");
        self.db().checkpoint(&path)?;
        self.copied(Place::Checkpoint(path));
        Ok(())
    }

    pub(super) fn backup(&self) -> Result<(), Stop> {
        let dir = self.path.with_file_name("backups");
        let info = Backups::new(&self.environment, &dir).take(self.db(), &mut |_| {})?;
        self.copied(Place::Backup(dir, info.number));
        Ok(())
    }

    /// Brings entries in past log and memtables, of each key the last one.
    pub(super) fn ingest(
        &mut self,
        keyspace: usize,
        entries: &[(Vec<u8>, Value)],
    ) -> Result<(), Stop> {
        let name = KEYSPACES[keyspace];
        let Some((handle, _)) = self.handles.get(name) else { return Ok(()) };
        let handle = handle.clone();
        let entries: BTreeMap<&[u8], Bytes> =
            entries.iter().map(|(key, value)| (&key[..], value.spell().into())).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let written = entries
            .iter()
            .map(|(key, value)| (name.to_owned(), key.to_vec(), Some(Bytes::clone(value))))
            .collect();
        let before = self.position();
        let position = self.with_log(|log| log.push(Event::Write(written)));
        let ingested = handle.ingest().and_then(|mut ingest| {
            entries.iter().try_for_each(|(key, value)| ingest.add(key, value))?;
            ingest.finish()
        });
        match ingested {
            Ok(seqno) => {
                self.seqnos.push(seqno);
                self.check_seqno(before, position, seqno)?;
                self.acknowledged.is_lasting(position);
                Ok(())
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                Err(error.into())
            }
        }
    }

    /// Reads the store from beside, as another process would.
    pub(super) fn follow(&self) -> Result<(), Stop> {
        if self.latched || self.with_log(|log| log.has_doubts()) {
            return Ok(());
        }
        let environment =
            settings::environment(Arc::clone(self.environment.vfs()), &self.clock, 0)?;
        let db = Db::open_read_only(&environment, &self.path, self.options.clone())?;
        let found = read_all(&db)?;
        db.close()?;
        let handed = self.acknowledged.handed();
        // Who only reads is not handed the appended records.
        self.with_log(|log| log.of_keys(|key| !is_record(key)).check_recovered(&found, handed))
            .map_err(|verdict| Stop::Differs(format!("followed: {verdict}")))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Gen, Op},
        oracle::CommitLog,
    };
    use olivine_vfs::MemoryVfs;

    fn driven(disk: &MemoryVfs) -> Driver {
        let clock = Arc::new(ManualClock::new());
        let environment = settings::environment(Arc::new(disk.clone()), &clock, 1).unwrap();
        let (options, log) = (settings::options(1), CommitLog::default());
        let mut driver =
            Driver::open(environment, clock, Path::new("/store"), options, log).unwrap();
        let mut draw = Gen::new(1);
        driver.run(&draw.history(60)).unwrap();
        driver.run(&[draw.ingest(), Op::Checkpoint, Op::Backup, Op::Follow]).unwrap();
        driver.run(&draw.history(60)).unwrap();
        driver
    }

    fn check(driver: &Driver, disk: &MemoryVfs) -> Result<(), Stop> {
        driver.copies().check(Arc::new(disk.image()), &settings::options(1), 1)
    }

    #[test]
    fn a_copy_that_is_gone_or_another_one_is_told() {
        let disk = MemoryVfs::new();
        let driver = driven(&disk);
        check(&driver, &disk).unwrap();
        let newest = |is: fn(&Place) -> bool| {
            driver.copies().all().into_iter().rfind(|copied| is(&copied.place)).unwrap().place
        };
        let Place::Checkpoint(path) = newest(|place| matches!(place, Place::Checkpoint(_))) else {
            panic!("a checkpoint was made")
        };
        let gone = disk.image();
        gone.remove_file(&path.join("CURRENT")).unwrap();
        assert!(matches!(check(&driver, &gone), Err(Stop::Refused(_) | Stop::Differs(_))));
        let Place::Backup(dir, number) = newest(|place| matches!(place, Place::Backup(..))) else {
            panic!("a backup was taken")
        };
        let gone = disk.image();
        gone.remove_file(&dir.join(format!("backup-{number:012}"))).unwrap();
        assert!(matches!(check(&driver, &gone), Err(Stop::Refused(_))));

        let clock = Arc::new(ManualClock::new());
        let environment = settings::environment(Arc::new(disk.clone()), &clock, 2).unwrap();
        let copy = Db::open(&environment, &path, settings::options(1)).unwrap();
        copy.keyspace("main").unwrap().put(b"a key more", b"than it had").unwrap();
        copy.close().unwrap();
        assert!(matches!(check(&driver, &disk), Err(Stop::Differs(_))));
    }
}
