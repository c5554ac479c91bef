//! Sending an extent into the bucket, and taking it out of there.
//!
//! It must survive a crash and a failing bucket at any step: the extent is then read from here or from there, and nothing
//! is left in the bucket that the volume does not know of.
//!
//! 1. What will be in the bucket is written down here before it is sent.
//! 2. The local file is removed when the bucket gave back all that it was given, and when that is written down.
//! 3. An object is removed when it is written down that nobody reads it any more.

use std::{path::Path, sync::Arc};

use olivine_vfs::{EntryKind, Open};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

use super::{
    extents::{ExtentHeader, Extents, HEADER_BYTES, Named, Sort, named, read_at, shard_of},
    far::{FarWork, LOST, Store},
    marker::{Marker, Stage},
    packed::Packed,
    scan::Damage,
};

/// This much is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// What was sent into the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentAway {
    /// The extent's length.
    pub bytes: u64,
    /// Whether it had been sent before, and was found as it should be.
    pub was_there: bool,
}

impl Packed {
    fn store(&self) -> Result<&Arc<Store>> {
        let what = || Error::invalid("tier", "is not set: the volume has no bucket");
        self.extents.far.as_ref().ok_or_else(what)
    }

    /// What the bucket did; nothing where there is none.
    pub(super) fn far_work(&self) -> Option<FarWork> {
        self.extents.far.as_ref().map(|store| store.work())
    }

    /// Sends a sealed extent into the bucket. `pace` is told how much was read before each further step.
    pub(super) fn send_away(
        &self,
        number: u32,
        pace: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<SentAway> {
        let store = self.store()?;
        let extents = &self.extents;
        if extents.state().current == Some(number) || extents.is_far(number) {
            let what = format!("is {number}, which is being written, or in the bucket already");
            return Err(Error::invalid("extent", what));
        }
        let sort = extents.sort_of(number);
        let path = extents.path(number, sort);
        let file = extents.vfs.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let end = extents.state().ends.get(&number).copied();
        let bytes = end.map_or_else(|| file.len().map_err(Error::io("measure", &path)), Ok)?;
        let mut head = [0; HEADER_BYTES as usize];
        let read = read_at(&*file, &path, &mut head, 0)?;
        let header = ExtentHeader::decode(&head[..read]);
        let header = header
            .and_then(|header| extents.own(header, number, sort))
            .map_err(|what| Error::corrupt(&path, 0, what))?;
        let mut local = |buffer: &mut [u8], offset| read_at(&*file, &path, buffer, offset);
        let hash = hash_of(bytes, &path, &mut local, pace)?;
        let marker = Marker { header, bytes, hash };
        self.write_up(&marker)?;
        store.introduce(&path)?;
        let name = store.name(number, hash);
        let was_there = store.bytes(&name, &path)? == Some(bytes)
            && self.gives_back(store, &marker, &name, pace).is_ok_and(|same| same);
        if !was_there {
            let mut read = |buffer: &mut [u8], offset: u64| {
                let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
                let most = left.min(buffer.len());
                file.read_at(&mut buffer[..most], offset)
            };
            store.put(&name, bytes, &path, &mut read)?;
            if store.bytes(&name, &path)? != Some(bytes)
                || !self.gives_back(store, &marker, &name, pace)?
            {
                let what = "it gives back other bytes than it was given".to_owned();
                return Err(Error::Away { path, what });
            }
        }
        extents.advance(number, sort, Stage::Up, Stage::Far)?;
        extents.turn_far(number, bytes);
        extents.drop_local(number, sort)?;
        Ok(SentAway { bytes, was_there })
    }

    /// Writes down what is to be sent, unless that stands there.
    fn write_up(&self, marker: &Marker) -> Result<()> {
        let (extents, ExtentHeader { number, sort, .. }) = (&self.extents, marker.header);
        if extents.marker(number, sort, Stage::Up).is_ok_and(|known| known == *marker) {
            return Ok(());
        }
        if extents.marker(number, sort, Stage::Gone).is_ok() {
            self.take_out(number, sort)?;
        }
        let up = extents.marker_path(number, sort, Stage::Up);
        if extents.vfs.entry(&up).map_err(Error::io("look for", &up))?.is_some() {
            // What it names may be there.
            extents.advance(number, sort, Stage::Up, Stage::Gone)?;
            self.take_out(number, sort)?;
        }
        let new = extents.new_path(number);
        extents.give_up(number);
        let file = extents.create(number)?;
        let written = file.write_at(&marker.encode(), 0).and_then(|()| file.sync());
        written.map_err(Error::io("write", &new))?;
        extents.vfs.rename(&new, &up).map_err(Error::io("rename", &new))?;
        extents.sync_shard(number)
    }

    /// Whether the bucket has what it should.
    fn gives_back(
        &self,
        store: &Arc<Store>,
        marker: &Marker,
        name: &str,
        pace: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<bool> {
        let ExtentHeader { number, sort, .. } = marker.header;
        let path = self.extents.path(number, sort);
        let file = Extents::far_file(store, number, name.to_owned(), marker.bytes, true);
        let mut far = |buffer: &mut [u8], offset| read_at(&*file, &path, buffer, offset);
        Ok(hash_of(marker.bytes, &path, &mut far, pace)? == marker.hash)
    }

    /// When an extent's file was written to last.
    pub(super) fn written(&self, number: u32) -> Result<Option<u64>> {
        let path = self.extents.path(number, self.extents.sort_of(number));
        self.extents.vfs.written(&path).map_err(Error::io("look for", &path))
    }

    /// Whether the bucket has lost an extent.
    pub(super) fn is_lost(&self, number: u32) -> Result<bool> {
        if !self.extents.is_far(number) {
            return Ok(false);
        }
        let sort = self.extents.sort_of(number);
        let (store, marker) = (self.store()?, self.extents.marker(number, sort, Stage::Far)?);
        let path = self.extents.path(number, sort);
        store.is_lost(&store.name(number, marker.hash), marker.bytes, &path)
    }

    /// What is told of an extent that the bucket has lost: all of it is damaged.
    pub(super) fn lost(&self, extent: u32) -> Result<Damage> {
        let sort = self.extents.sort_of(extent);
        let marker = self.extents.marker(extent, sort, Stage::Far)?;
        let path = self.extents.marker_path(extent, sort, Stage::Far);
        let (offset, bytes, what) = (0, marker.bytes, LOST);
        Ok(Damage { path, extent, offset, bytes, what, claim: None })
    }

    /// Takes an extent that is written down as gone out of the bucket.
    pub(super) fn take_out(&self, number: u32, sort: Sort) -> Result<()> {
        let (store, path) = (self.store()?, self.extents.marker_path(number, sort, Stage::Gone));
        match self.extents.marker(number, sort, Stage::Gone) {
            Ok(marker) => {
                store.remove(&store.name(number, marker.hash), &path)?;
                store.forget(number);
            }
            // What it named cannot be known.
            Err(Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        self.extents.vfs.remove_file(&path).map_err(Error::io("remove", &path))?;
        self.extents.sync_shard(number)
    }

    /// Takes out of the bucket what is written down as gone. Returns how many extents that were.
    pub(super) fn sweep(&self) -> Result<u64> {
        let extents = &self.extents;
        let mut swept = 0;
        for shard in extents.shards()? {
            let dir = extents.shard_dir(shard);
            for entry in extents.vfs.list(&dir).map_err(Error::io("list", &dir))? {
                let named = entry.name.to_str().map_or(Named::Other, named);
                let (Named::Marker(number, sort, stage), EntryKind::File) = (named, entry.kind)
                else {
                    continue;
                };
                debug_assert_eq!(shard_of(number), shard);
                if stage == Stage::Up && !extents.has_local(number, sort)? {
                    extents.advance(number, sort, Stage::Up, Stage::Gone)?;
                } else if stage != Stage::Gone {
                    continue;
                }
                self.take_out(number, sort)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// The hash of so many bytes.
fn hash_of(
    bytes: u64,
    path: &Path,
    read: &mut dyn FnMut(&mut [u8], u64) -> Result<usize>,
    pace: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut hash = Xxh3::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < bytes {
        let most = BLOCK_BYTES.min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        let found = read(&mut block[..most], at)?;
        if found < most {
            return Err(Error::corrupt(path, at + found as u64, "it is shorter than it was"));
        }
        hash.update(&block[..most]);
        at += most as u64;
        pace(most as u64)?;
    }
    Ok(hash.digest())
}
