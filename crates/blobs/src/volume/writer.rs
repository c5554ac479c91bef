//! Writing an object whose length is known only when it ends.
//!
//! It waits in memory as long as it might be a small one; then it has an extent of its own.
//!
//! 1. Dropped before it was finished, it leaves nothing.
//! 2. Memory is bounded by `packed_bytes_max`.

use std::{mem, sync::mpsc};

use md5::{Digest as _, Md5};

use crate::error::{Error, Result};

use super::{
    Body, Head, NewRecord, Place, Stored,
    files::FileWriter,
    record::{Draft, Kind},
    sole::SoleWriter,
};

/// An object that is being written.
#[derive(Debug)]
pub struct Writer {
    body: Body,
    key: Vec<u8>,
    generation: u64,
    expiry: Option<u64>,
    md5: Option<Md5>,
    bytes: u64,
    sink: Sink,
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    Memory(Vec<u8>),
    Sole(SoleWriter),
    File(FileWriter),
    /// A write failed; what was written is gone.
    Failed,
}

impl Writer {
    pub(super) fn begin(body: &Body, head: &Head<'_>) -> Result<Writer> {
        let sink = match body {
            Body::Files(files) => Sink::File(files.begin()?),
            Body::Packed(packed)
                if head.bytes.is_some_and(|bytes| packed.small_bytes_max < bytes) =>
            {
                Sink::Sole(packed.begin_sole(head)?)
            }
            Body::Packed(_) => Sink::Memory(Vec::new()),
        };
        Ok(Writer {
            body: body.clone(),
            key: head.key.to_vec(),
            generation: head.generation,
            expiry: head.expiry,
            md5: head.wants_md5.then(Md5::new),
            bytes: 0,
            sink,
        })
    }

    /// Adds bytes to the end. After an error nothing of the object is left.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.write_on(bytes);
        if written.is_err() {
            self.sink = Sink::Failed;
        }
        written
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_on(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes_then = self.bytes.saturating_add(bytes.len() as u64);
        if let (Sink::Memory(so_far), Body::Packed(packed)) = (&mut self.sink, &self.body)
            && packed.small_bytes_max < bytes_then
        {
            let so_far = mem::take(so_far);
            let mut sole = packed.begin_sole(&self.head())?;
            if let Some(md5) = &mut self.md5 {
                md5.update(&so_far);
            }
            sole.write(&so_far)?;
            self.sink = Sink::Sole(sole);
        }
        match &mut self.sink {
            Sink::Memory(so_far) => so_far.extend(bytes),
            Sink::Sole(sole) => sole.write(bytes)?,
            Sink::File(file) => file.write(bytes)?,
            Sink::Failed => return Err(failed()),
        }
        // What is in memory as a whole has it taken when it is appended.
        if !matches!(self.sink, Sink::Memory(_))
            && let Some(md5) = &mut self.md5
        {
            md5.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn head(&self) -> Head<'_> {
        let Writer { key, generation, expiry, .. } = self;
        let wants_md5 = self.md5.is_some();
        Head { key, generation: *generation, expiry: *expiry, wants_md5, bytes: None }
    }

    /// Makes the object durable. A small one is appended with others, and `done` called in the volume's thread; a
    /// long one is synced before this returns.
    pub fn finish_with(self, done: impl FnOnce(Result<Stored>) + Send + 'static) {
        let Writer { body, key, generation, expiry, md5, sink, .. } = self;
        let wants_md5 = md5.is_some();
        match sink {
            Sink::Memory(value) => {
                let (kind, key, value) = (Kind::Put, &*key, &*value);
                let record = NewRecord { kind, key, generation, expiry, value, wants_md5 };
                body.append(&record, Box::new(done));
            }
            Sink::Sole(sole) => {
                let digest = md5.map(|md5| md5.finalize().into());
                let draft = Draft { kind: Kind::Put, key: &key, generation, expiry, md5: digest };
                done(sole.finish(&draft).map(|place| Stored { place, digest }));
            }
            Sink::File(file) => {
                let digest = md5.map(|md5| md5.finalize().into());
                let place = |bytes| Place { extent: 0, offset: 0, bytes };
                done(file.finish(&key).map(|bytes| Stored { place: place(bytes), digest }));
            }
            Sink::Failed => done(Err(failed())),
        }
    }

    /// Makes the object durable, and waits for that.
    pub fn finish(self) -> Result<Stored> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.finish_with(move |stored| {
            // Nobody hears it only when the waiting one was ended.
            sender.send(stored).ok();
        });
        receiver.recv().unwrap_or(Err(Error::Closed))
    }
}

fn failed() -> Error {
    Error::invalid("writer", "failed before; begin the object anew")
}
