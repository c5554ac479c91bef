//! Appended records: what the driver knows of those that no batch covers.
//!
//! No read of a live store shows them, so they are compared where they come again: each stands in the
//! contents of a store that was opened, and in the log of commits, as an entry under a key that no history
//! draws, which names its sequence number.
//!
//! 1. What an opening handed out twice or out of order is shown as an entry that nobody wrote.
//! 2. What a batch covers is gone from the moment at which the batch is visible.

use super::{Effects, Stop, add_to, read_all};
use crate::{
    history::{Change, KEYSPACES, What},
    oracle::{Bytes, Contents},
};
use olivine_engine::{Batch, Db, Environment, Error, Options, SeqNo};
use std::{collections::BTreeMap, path::Path};

/// What the keys of appended records begin with.
const PREFIX: &[u8] = b"an appended record ";

/// The key under which an appended record is known.
pub(super) fn record_key(seqno: SeqNo) -> Vec<u8> {
    [PREFIX, &seqno.to_be_bytes()].concat()
}

/// Whether an entry stands for an appended record.
pub(crate) fn is_record(key: &[u8]) -> bool {
    key.starts_with(PREFIX)
}

/// The appended records that no batch covers.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_keyspace: BTreeMap<String, BTreeMap<SeqNo, Bytes>>,
    /// Those that came again where they should not have.
    misplaced: Vec<(String, SeqNo, Bytes)>,
}

impl Records {
    pub(super) fn add(&mut self, keyspace: &str, seqno: SeqNo, record: Bytes) {
        self.by_keyspace.entry(keyspace.to_owned()).or_default().insert(seqno, record);
    }

    /// The number to cover up to so that `keep` records of the keyspace are not covered.
    pub(super) fn up_to(&self, keyspace: &str, keep: usize) -> Option<SeqNo> {
        self.by_keyspace.get(keyspace)?.keys().rev().nth(keep).copied()
    }

    /// The records of the keyspace up to a number.
    pub(super) fn covered(&self, keyspace: &str, up_to: SeqNo) -> Vec<SeqNo> {
        let records = self.by_keyspace.get(keyspace);
        records.map_or(Vec::new(), |records| {
            records.range(..=up_to).map(|(seqno, _)| *seqno).collect()
        })
    }

    pub(super) fn cover(&mut self, keyspace: &str, up_to: SeqNo) {
        if let Some(records) = self.by_keyspace.get_mut(keyspace) {
            records.retain(|seqno, _| up_to < *seqno);
        }
    }

    pub(super) fn forget(&mut self, keyspace: &str) {
        self.by_keyspace.remove(keyspace);
    }

    pub(super) fn retain(&mut self, keyspaces: &[String]) {
        self.by_keyspace.retain(|name, _| keyspaces.contains(name));
    }

    /// Adds them to what reads found.
    pub fn show(&self, contents: &mut Contents) {
        for (name, records) in &self.by_keyspace {
            if let Some(keys) = contents.get_mut(name) {
                let entries = records.iter().map(|(seqno, record)| (*seqno, record.clone()));
                keys.extend(entries.map(|(seqno, record)| (record_key(seqno), record)));
            }
        }
        for (name, seqno, record) in &self.misplaced {
            let keys = contents.entry(name.clone()).or_default();
            keys.insert([&record_key(*seqno), &b" again"[..]].concat(), record.clone());
        }
    }
}

/// What one batch does to the records, once it is visible.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) appended: Vec<(String, SeqNo, Bytes)>,
    pub(super) covered: Vec<(String, SeqNo)>,
}

impl Noted {
    pub(super) fn apply(self, records: &mut Records) {
        for (name, seqno, record) in self.appended {
            records.add(&name, seqno, record);
        }
        for (name, up_to) in self.covered {
            records.cover(&name, up_to);
        }
    }
}

/// A store just opened, and the records that it handed out.
pub struct Opened {
    /// The store.
    pub db: Db,
    /// What it handed out.
    pub records: Records,
}

impl Opened {
    /// Opens the store in `path`.
    pub fn open(
        environment: &Environment,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Opened, Error> {
        let (mut records, mut last) = (Records::default(), 0);
        let db = Db::open_with(environment, path, options, |_, keyspace, seqno, record| {
            if seqno <= last {
                records.misplaced.push((keyspace.name().to_owned(), seqno, record.into()));
            }
            last = seqno.max(last);
            records.add(keyspace.name(), seqno, record.into());
            Ok(())
        })?;
        Ok(Opened { db, records })
    }

    /// Everything in the store, and what it handed out.
    pub fn contents(&self) -> Result<Contents, Error> {
        let mut contents = read_all(&self.db)?;
        self.records.show(&mut contents);
        Ok(contents)
    }
}

impl super::Driver {
    /// Everything the store holds, with the appended records that it should hand out when it is opened.
    pub fn contents(&self) -> Result<Contents, Stop> {
        let mut contents = read_all(self.db())?;
        self.records.show(&mut contents);
        Ok(contents)
    }

    /// Adds one change to a batch, and what it comes to.
    pub(super) fn add(
        &self,
        batch: &mut Batch,
        change: &Change,
        written: &mut Effects,
        noted: &mut Noted,
    ) -> Result<(), Stop> {
        let name = KEYSPACES[change.keyspace];
        let Some((handle, _)) = self.handles.get(name) else { return Ok(()) };
        match &change.what {
            What::Record(value) => {
                let seqno = self.db().visible() + 1 + batch.len() as u64;
                let record: Bytes = value.spell().into();
                batch.append(handle, &record)?;
                written.push((name.to_owned(), record_key(seqno), Some(record.clone())));
                noted.appended.push((name.to_owned(), seqno, record));
            }
            What::Seal(keep) => {
                let Some(up_to) = self.records.up_to(name, *keep) else { return Ok(()) };
                let sealed: Bytes = up_to.to_be_bytes().as_slice().into();
                batch.put(handle, &change.key, &sealed)?;
                batch.applied_to(handle, up_to)?;
                written.push((name.to_owned(), change.key.clone(), Some(sealed)));
                let covered = self.records.covered(name, up_to).into_iter().map(record_key);
                written.extend(covered.map(|key| (name.to_owned(), key, None)));
                noted.covered.push((name.to_owned(), up_to));
            }
            _ => {
                add_to(batch, handle, change)?;
                self.effects(name, change, written);
            }
        }
        Ok(())
    }
}
