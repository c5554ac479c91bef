//! Bodies whose chunks are signed one by one: s3s has each of them in memory until its signature was compared, so
//! none may be long.
//!
//! ```text
//! size in hexadecimal digits · [;chunk-signature=…] · CR LF · bytes · CR LF · …
//! ```

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};

/// The longest chunk. Clients make them of 64 KiB to 1 MiB.
pub(crate) const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// A body whose chunks are looked at as they pass, if it has any.
pub(crate) struct Watched<B> {
    pub(crate) body: B,
    pub(crate) chunks: Option<Chunks>,
    /// Whether all of it was read.
    pub(crate) is_over: Arc<AtomicBool>,
}

/// Where in a chunk a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// In its size: what that comes to so far.
    Size(u64),
    /// Behind its size, in the same line.
    Line(u64),
    /// In its bytes, and what follows them: so many are left.
    Bytes(u64),
    /// Behind the last one.
    Over,
}

impl Chunks {
    /// Passes bytes; an error if a chunk is too long.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(byte) = bytes.first().copied() {
            *self = match *self {
                Chunks::Size(size) => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        bytes.advance(1);
                        let size = size << 4 | u64::from(digit);
                        if CHUNK_BYTES_MAX < size {
                            return Err(format!("a chunk has more than {CHUNK_BYTES_MAX} bytes"));
                        }
                        Chunks::Size(size)
                    }
                    None => Chunks::Line(size),
                },
                Chunks::Line(size) => {
                    bytes.advance(1);
                    match (byte, size) {
                        (b'\n', 0) => Chunks::Over,
                        (b'\n', size) => Chunks::Bytes(size + 2),
                        _ => Chunks::Line(size),
                    }
                }
                Chunks::Bytes(left) => {
                    let now = left.min(bytes.len() as u64);
                    bytes.advance(now as usize);
                    if now == left { Chunks::Size(0) } else { Chunks::Bytes(left - now) }
                }
                Chunks::Over => return Ok(()),
            };
        }
        Ok(())
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes, Error = io::Error> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_over.store(true, Relaxed);
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame?;
        if let (Some(chunks), Some(bytes)) = (&mut self.chunks, frame.data_ref()) {
            chunks.pass(bytes).map_err(io::Error::other)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_followed_wherever_they_are_cut() {
        let body = b"5;chunk-signature=ab\r\nhel\n1\r\n10\r\n0123456789abcdef\r\n0;x=1\r\nx-amz: ffffffffff\r\n\r\n";
        for cut in 1..body.len() {
            let mut chunks = Chunks::Size(0);
            for piece in body.chunks(cut) {
                chunks.pass(piece).unwrap();
            }
            assert_eq!(chunks, Chunks::Over, "{cut}");
        }
    }

    #[test]
    fn a_chunk_that_is_too_long_ends_the_body() {
        let mut chunks = Chunks::Size(0);
        assert!(chunks.pass(b"1000000\r\n").is_ok());
        assert!(Chunks::Size(0).pass(b"1000001\r\n").is_err());
        assert!(Chunks::Size(0).pass(b"ffffffffffffffffffffffff").is_err());
    }
}
