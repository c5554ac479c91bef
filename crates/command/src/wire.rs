//! Batches and their replies as bytes, between processes and in logs. To the byte:
//! `docs/format/commands.md`.
//!
//! 1. `decode(encode(x)) == x`; other bytes are [`Malformed`], never a panic.
//! 2. No memory is taken for what was declared and is not there.
//! 3. What is decoded borrows the bytes it was decoded from, where it can.

mod batch;
mod bytes;
mod replies;
mod tables;

use std::fmt;

use crate::{
    command::{Batch, Command},
    reply::Reply,
};
pub(crate) use bytes::{Reader, put_bytes, put_number};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// Bytes are no batch, and no replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// At which byte.
    pub at: usize,
    /// Why.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Adds the bytes of a batch to `out`.
pub fn encode_batch(batch: &Batch<'_>, out: &mut Vec<u8>) {
    encode_commands(batch.now, &batch.commands, out);
}

/// Adds the bytes of a batch of these commands to `out`.
pub fn encode_commands(now: u64, commands: &[Command<'_>], out: &mut Vec<u8>) {
    out.push(VERSION);
    batch::encode(now, commands, out);
}

/// The batch that these bytes are, all of them.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch<'_>, Malformed> {
    whole(bytes, batch::decode)
}

/// Adds the bytes of replies to `out`.
pub fn encode_replies(replies: &[Reply], out: &mut Vec<u8>) {
    out.push(VERSION);
    replies::encode(replies, out);
}

/// The replies that these bytes are, all of them.
pub fn decode_replies(bytes: &[u8]) -> Result<Vec<Reply>, Malformed> {
    whole(bytes, replies::decode)
}

/// What all of the bytes are, behind the version.
fn whole<'a, T>(
    bytes: &'a [u8],
    decode: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(Malformed { at: 0, what: "the version is not one that is read here" });
    }
    let decoded = decode(&mut reader)?;
    reader.end()?;
    Ok(decoded)
}

#[cfg(test)]
mod tests;
