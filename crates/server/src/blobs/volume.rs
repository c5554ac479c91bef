//! A volume behind its door.
//!
//! 1. An object is published when its bytes are kept, and acknowledged when that is known to the master.
//! 2. An object is in memory as a whole only if it is small.

use std::sync::{Arc, OnceLock, Weak, atomic::AtomicU64};

use olivine_blobs::{
    Error, Head, Kind, NewRecord, Place, Reading, Result, Secret, State as Said, Stored, Volume,
    Writer,
    index::Spot,
    talk::{Answer, Asked, Lying, State},
};
use tokio::{
    sync::oneshot,
    task::{spawn_blocking, spawn_local},
};

use super::{link::Link, master::Master};

/// What is told while the master cannot be asked.
pub(super) const AWAY: &str = "the master cannot be reached; try again";

/// Objects up to this length are in memory until they are whole.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Bytes of longer ones that are written together.
const TOGETHER_BYTES: usize = 1 << 20;

/// A volume, and how it reaches the master.
pub(crate) struct Host {
    pub(crate) volume: Volume,
    pub(crate) secret: Arc<Secret>,
    /// Requests that nobody has signed are carried out, too.
    pub(crate) is_open: bool,
    /// How many read objects that are not in memory as a whole.
    pub(crate) readers: Arc<AtomicU64>,
    /// Damage that was found.
    pub(crate) damaged: AtomicU64,
    asking: Asking,
}

/// How a volume asks the master.
pub(crate) enum Asking {
    /// It is in this process, once it is there.
    Here(OnceLock<Weak<Master>>),
    /// It comes to the volume's door.
    There(Link),
}

impl Host {
    pub(crate) fn new(volume: Volume, secret: Arc<Secret>, is_open: bool, asking: Asking) -> Host {
        let (readers, damaged) = Default::default();
        Host { volume, secret, is_open, readers, damaged, asking }
    }

    /// Says who the master in this process is, once.
    pub(crate) fn belongs_to(&self, master: &Arc<Master>) {
        if let Asking::Here(known) = &self.asking {
            known.set(Arc::downgrade(master)).ok();
        }
    }

    /// What the master comes over, if it is in another process.
    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.asking {
            Asking::Here(_) => None,
            Asking::There(link) => Some(link),
        }
    }

    /// Asks the master.
    pub(crate) async fn ask(&self, asked: Asked) -> Answer {
        match &self.asking {
            Asking::Here(master) => match master.get().and_then(Weak::upgrade) {
                Some(master) => master.answer(&asked).await,
                None => Answer::Away(AWAY.to_owned()),
            },
            Asking::There(link) => link.ask(&asked).await,
        }
    }

    /// How the volume is.
    pub(crate) fn state(&self) -> State {
        match self.volume.usage() {
            Ok(usage) => State {
                // A disk that knows no bound has room for everything.
                room: usage.room.unwrap_or(1 << 50),
                takes_writes: !usage.is_full && !usage.is_read_only,
                far_bytes: usage.far_bytes,
            },
            Err(_) => State::default(),
        }
    }

    /// Keeps an object that is there as a whole.
    pub(crate) async fn keep(&self, head: &Head<'_>, value: &[u8]) -> Result<Stored> {
        let mut receiving = Receiving::new(self, head)?;
        receiving.take(value).await?;
        receiving.finish().await
    }

    /// An object, if it is what lies at a place.
    pub(crate) async fn read(
        self: &Arc<Host>,
        place: &Place,
        key: &[u8],
        generation: u64,
    ) -> Result<Reading> {
        if !self.volume.is_far(place.extent) {
            return self.volume.read(place, key, generation);
        }
        // A bucket is waited for where nobody else waits.
        let (host, place, key) = (Arc::clone(self), *place, key.to_vec());
        let read = spawn_blocking(move || host.volume.read(&place, &key, generation));
        read.await.unwrap_or(Err(Error::Closed))
    }

    /// Writes down that an object is deleted. Returns when that is kept.
    pub(crate) async fn bury(&self, key: &[u8], generation: u64, place: &Place) -> Result<Stored> {
        let mut value = Vec::new();
        place.encode(&mut value);
        self.append(Kind::Tombstone, key, generation, &value).await
    }

    /// Writes down something else of an object, where the layout has a place for it. Returns when that is kept.
    pub(crate) async fn note(&self, key: &[u8], generation: u64, said: &Said) -> Result<()> {
        if !self.volume.is_packed() {
            return Ok(());
        }
        self.append(Kind::State, key, generation, &said.encode()).await.map(drop)
    }

    async fn append(
        &self,
        kind: Kind,
        key: &[u8],
        generation: u64,
        value: &[u8],
    ) -> Result<Stored> {
        let (expiry, wants_md5, attributes) = (None, false, &[][..]);
        let record = NewRecord { kind, key, generation, expiry, attributes, value, wants_md5 };
        let (told, done) = oneshot::channel();
        // Who does not wait any more need not be told.
        self.volume.append(&record, move |stored| drop(told.send(stored)));
        done.await.unwrap_or(Err(Error::Closed))
    }
}

/// Tells the master that what it named is not there as it was written, behind whatever else is done.
pub(crate) fn tell_unreadable(host: &Arc<Host>, key: &[u8], generation: u64, place: Place) {
    if !host.volume.is_packed() {
        // All files have one place.
        return;
    }
    let (host, key) = (Arc::clone(host), key.to_vec());
    spawn_local(async move {
        let Place { extent, offset, .. } = place;
        let spots = vec![Spot { extent, offset, bytes: 1 }];
        let volume = host.volume.identity().uuid;
        let sought = Some(Lying { key, generation, place });
        // While the master is away nobody is sent here either; whoever is sent next finds it again.
        host.ask(Asked::Damaged { volume, sought, spots }).await;
    });
}

/// An object that is coming in.
pub(crate) struct Receiving {
    /// Nothing only while it is elsewhere, or after it failed there.
    writer: Option<Writer>,
    /// What waits to be written together with what comes.
    gathered: Vec<u8>,
    is_long: bool,
}

impl Receiving {
    pub(crate) fn new(host: &Host, head: &Head<'_>) -> Result<Receiving> {
        // A file of its own is written and synced by a thread that may wait for the disk, too.
        let is_long =
            !host.volume.is_packed() || head.bytes.is_some_and(|bytes| SMALL_BYTES_MAX < bytes);
        let writer = host.volume.begin(head)?;
        Ok(Receiving { writer: Some(writer), gathered: Vec::new(), is_long })
    }

    /// Takes more of it.
    pub(crate) async fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Err(Error::Closed) };
        let length = writer.bytes() + bytes.len() as u64;
        if !self.is_long && length <= SMALL_BYTES_MAX {
            // It stays in memory.
            return writer.write(bytes);
        }
        self.is_long = true;
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < TOGETHER_BYTES { Ok(()) } else { self.write().await }
    }

    /// Writes what was gathered, on a thread that may wait for the disk.
    async fn write(&mut self) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Err(Error::Closed) };
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = spawn_blocking(move || {
            writer.write(&gathered)?;
            gathered.clear();
            Ok((writer, gathered))
        });
        let (writer, gathered) = written.await.unwrap_or(Err(Error::Closed))?;
        (self.writer, self.gathered) = (Some(writer), gathered);
        Ok(())
    }

    /// Returns when it is kept.
    pub(crate) async fn finish(mut self) -> Result<Stored> {
        if !self.gathered.is_empty() {
            self.write().await?;
        }
        let writer = self.writer.take().ok_or(Error::Closed)?;
        if self.is_long {
            return spawn_blocking(move || writer.finish()).await.unwrap_or(Err(Error::Closed));
        }
        let (told, done) = oneshot::channel();
        writer.finish_with(move |stored| drop(told.send(stored)));
        done.await.unwrap_or(Err(Error::Closed))
    }
}
