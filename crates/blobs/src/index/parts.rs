//! Objects that are made of parts, uploads that may become such, and buckets: what of them must change together.
//!
//! An upload is a row under a key of its own, and its parts are objects under keys that name the upload. The object that
//! is made of them is a row that names the upload, too; its parts stay where they are.
//!
//! 1. Parts are there as long as their upload or the object that is made of them is, and no longer.
//! 2. No part comes to an upload that is over, nothing to a bucket that is gone.

use olivine_engine::{Batch, Result, SeqNo};

use super::{Changed, Condition, Index, Within, lock, nobody};
use crate::{
    own::{self, parts_prefix, upload_key, uploads_prefix},
    row::Row,
};

impl Index {
    /// Makes an object of the parts of an upload: `row` says which upload, `kept` which of its parts, by number and
    /// generation, in order; all others go. There is no such upload any more.
    pub fn complete(
        &self,
        key: &[u8],
        row: &Row,
        kept: &[(u32, u64)],
        condition: Condition,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let upload = row.parts().map_or(0, |parts| parts.upload);
        let upload_key = upload_key(key, upload);
        let within = Within { needs: Some(&upload_key), kept: Some(kept) };
        self.publish_within(key, row, condition, &within, now)
    }

    /// Takes an upload away, with its parts.
    pub fn abort(
        &self,
        key: &[u8],
        upload: u64,
        generation: u64,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let _one = lock(&self.changing);
        let upload_key = upload_key(key, upload);
        if self.get(&upload_key, now)?.is_none() {
            return Ok((Changed::Absent, self.db.visible()));
        }
        let mut batch = Batch::new();
        self.end_upload(&mut batch, &upload_key, upload, generation, &[])?;
        Ok((Changed::Done, self.db.write_unled(batch)?.seqno()))
    }

    /// Takes a bucket away in which there is nothing, with what is being uploaded to it.
    pub fn remove_bucket(
        &self,
        bucket: &str,
        generation: u64,
        now: u64,
    ) -> Result<(Changed, SeqNo)> {
        let _one = lock(&self.changing);
        let key = own::bucket_key(bucket);
        let Some(row) = self.get(&key, now)? else {
            return Ok((Changed::Absent, self.db.visible()));
        };
        let prefix = format!("{bucket}/").into_bytes();
        for entry in self.objects.prefix(&prefix)? {
            let (key, value) = entry?;
            if !self.parse(&key, &value)?.has_expired(now) {
                return Ok((Changed::Refused, self.db.visible()));
            }
        }
        let mut batch = Batch::new();
        for entry in self.objects.prefix(&uploads_prefix(&prefix))? {
            let (key, _) = entry?;
            if let Some((_, upload)) = own::upload_of(&key) {
                self.end_upload(&mut batch, &key, upload, generation, &[])?;
            }
        }
        batch.delete(&self.objects, &key)?;
        self.bury(&mut batch, &key, generation, &row, nobody)?;
        Ok((Changed::Done, self.db.write_unled(batch)?.seqno()))
    }

    /// An upload is over: it goes, with those of its parts that are not kept. Returns whether all that are to be kept are
    /// there.
    pub(super) fn end_upload(
        &self,
        batch: &mut Batch,
        upload_key: &[u8],
        upload: u64,
        generation: u64,
        kept: &[(u32, u64)],
    ) -> Result<bool> {
        if let Some(value) = self.objects.get(upload_key)? {
            let row = self.parse(upload_key, &value)?;
            batch.delete(&self.objects, upload_key)?;
            self.bury(batch, upload_key, generation, &row, nobody)?;
        }
        Ok(self.drop_parts(batch, upload, generation, kept)? == kept.len())
    }

    /// Parts go, but for those that are kept. Returns how many these are.
    pub(super) fn drop_parts(
        &self,
        batch: &mut Batch,
        upload: u64,
        generation: u64,
        kept: &[(u32, u64)],
    ) -> Result<usize> {
        let mut count = 0;
        for entry in self.objects.prefix(&parts_prefix(upload))? {
            let (key, value) = entry?;
            let row = self.parse(&key, &value)?;
            let number = own::part_of(&key).map(|(_, number)| number);
            if number.is_some_and(|number| kept.binary_search(&(number, row.generation)).is_ok()) {
                count += 1;
                continue;
            }
            batch.delete(&self.objects, &key)?;
            self.bury(batch, &key, generation.max(row.generation + 1), &row, nobody)?;
        }
        Ok(count)
    }

    /// Parts go that belong to nothing, which an index has only that was just made of what volumes have.
    pub(super) fn drop_lost_parts(&self) -> Result<()> {
        if self.objects.prefix(own::ALL_PARTS)?.next().is_none() {
            return Ok(());
        }
        let owned = self.db.keyspace(OWNED)?;
        for entry in self.objects.iter()? {
            let (key, value) = entry?;
            let upload = match own::upload_of(&key) {
                Some((_, upload)) => Some(upload),
                None => self.parse(&key, &value)?.parts().map(|parts| parts.upload),
            };
            if let Some(upload) = upload {
                let mut batch = Batch::new();
                batch.put(&owned, &upload.to_be_bytes(), b"")?;
                self.db.write_with(batch, olivine_engine::Durability::Os)?;
            }
        }
        for entry in self.objects.prefix(own::ALL_PARTS)? {
            let (key, value) = entry?;
            let Some((upload, _)) = own::part_of(&key) else { continue };
            if owned.get(&upload.to_be_bytes())?.is_none() {
                let row = self.parse(&key, &value)?;
                let mut batch = Batch::new();
                batch.delete(&self.objects, &key)?;
                self.bury(&mut batch, &key, row.generation + 1, &row, nobody)?;
                self.db.write_with(batch, olivine_engine::Durability::Os)?;
            }
        }
        self.db.drop_keyspace(&owned)
    }
}

/// Uploads that belong to something, while lost parts are looked for.
const OWNED: &str = "owned";
