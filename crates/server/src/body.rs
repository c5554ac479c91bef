//! The body of an answer: bytes that are at hand, or those of an object, read as they are taken.
//!
//! 1. No more than two pieces of an object are in memory, however slowly they are taken; the more readers there
//!    are, the smaller pieces are, and of many readers each has one.
//! 2. An object that turns out damaged ends the connection before its end: what was not verified is not sent.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use olivine_blobs::{Error, Reading};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// How much of an object is read at once, for few readers.
const PIECE_BYTES_MAX: u64 = 512 << 10;
/// The same for many.
const PIECE_BYTES_MIN: u64 = 64 << 10;
/// What all readers have in memory together, as long as they are not too many for the least.
const ALL_BYTES: u64 = 64 << 20;

/// The body of an answer.
pub(crate) enum Body {
    /// What is at hand.
    Whole(Bytes),
    /// Part of an object.
    Object(Object),
    /// What somebody else is still receiving, and how long it will be, if that is known.
    Coming(mpsc::Receiver<Bytes>, Option<u64>),
}

impl Body {
    /// Bytes that are at hand.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(bytes.into())
    }

    /// Bytes that are still to come.
    pub(crate) fn coming(pieces: mpsc::Receiver<Bytes>, bytes: Option<u64>) -> Body {
        Body::Coming(pieces, bytes)
    }
}

/// Part of an object that is read as it is taken.
pub(crate) struct Object {
    reading: Arc<Reading>,
    /// What was not handed out yet.
    from: u64,
    to: u64,
    coming: Option<JoinHandle<olivine_blobs::Result<Vec<u8>>>>,
    readers: Reader,
    /// Called when it turns out damaged.
    damaged: Option<Box<dyn FnOnce()>>,
}

/// One of those who read objects.
struct Reader(Arc<AtomicU64>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Object {
    /// The bytes from `from` up to before `to`.
    pub(crate) fn new(
        reading: Reading,
        from: u64,
        to: u64,
        readers: &Arc<AtomicU64>,
        damaged: Box<dyn FnOnce()>,
    ) -> Object {
        readers.fetch_add(1, Relaxed);
        let readers = Reader(Arc::clone(readers));
        let damaged = Some(damaged);
        Object { reading: Arc::new(reading), from, to, coming: None, readers, damaged }
    }

    /// What there is for each of the readers.
    fn share(&self) -> u64 {
        ALL_BYTES / self.readers.0.load(Relaxed).max(1)
    }

    fn ask(&mut self) {
        let (reading, from) = (Arc::clone(&self.reading), self.from);
        let piece = (self.share() / 2).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        let most = piece.min(self.to - from) as usize;
        self.coming = Some(spawn_blocking(move || reading.read_at(from, most)));
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let object = match &mut *self {
            Body::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Body::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Body::Coming(pieces, _) => {
                let piece = ready!(pieces.poll_recv(cx));
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            Body::Object(object) => object,
        };
        if object.to <= object.from {
            return Poll::Ready(None);
        }
        if object.coming.is_none() {
            object.ask();
        }
        let Some(coming) = &mut object.coming else { return Poll::Ready(None) };
        let read = ready!(Pin::new(coming).poll(cx));
        object.coming = None;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error @ Error::Corrupt { .. })) => {
                if let Some(damaged) = object.damaged.take() {
                    damaged();
                }
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
            Ok(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
        };
        if bytes.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        object.from += bytes.len() as u64;
        if object.from < object.to && 2 * PIECE_BYTES_MIN <= object.share() {
            object.ask();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Object(object) => object.to <= object.from,
            Body::Coming(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Object(object) => object.to.saturating_sub(object.from),
            Body::Coming(_, Some(bytes)) => *bytes,
            Body::Coming(_, None) => return SizeHint::default(),
        })
    }
}
