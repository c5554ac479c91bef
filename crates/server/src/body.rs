//! The body of an answer: bytes that are at hand, or those of an object, read as they are taken.
//!
//! 1. No more than two pieces of an object are in memory, however slowly they are taken; the more readers there
//!    are, the smaller pieces are, and of many readers each has one.
//! 2. An object that turns out damaged ends the connection before its end: what was not verified is not sent.

use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use olivine_blobs::{Error, Reading, Stretch};
use olivine_s3::Pieces;
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
    /// What S3's manner answers.
    Answer(olivine_s3::Answer),
    /// Pieces of an object, and how long those are together that were not handed out.
    Pieces(Box<dyn Pieces>, u64),
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
    /// What was not read yet.
    from: u64,
    to: u64,
    coming: Option<JoinHandle<olivine_blobs::Result<Stretch>>>,
    /// What was read and verified, and not handed out yet.
    parts: VecDeque<Bytes>,
    readers: Reader,
    /// Called when it turns out damaged.
    damaged: Option<Box<dyn FnOnce() + Send + Sync>>,
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
        damaged: Box<dyn FnOnce() + Send + Sync>,
    ) -> Object {
        readers.fetch_add(1, Relaxed);
        let readers = Reader(Arc::clone(readers));
        let (coming, parts) = (None, VecDeque::new());
        let damaged = Some(damaged);
        Object { reading: Arc::new(reading), from, to, coming, parts, readers, damaged }
    }

    /// Bytes that were not handed out yet.
    fn left(&self) -> u64 {
        let at_hand: usize = self.parts.iter().map(Bytes::len).sum();
        self.to.saturating_sub(self.from) + at_hand as u64
    }

    /// What there is for each of the readers.
    fn share(&self) -> u64 {
        ALL_BYTES / self.readers.0.load(Relaxed).max(1)
    }

    fn ask(&mut self) {
        let (reading, from) = (Arc::clone(&self.reading), self.from);
        let piece = (self.share() / 2).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        let most = piece.min(self.to - from) as usize;
        self.coming = Some(spawn_blocking(move || reading.read_into(from, most, idle_buffer())));
    }
}

/// Buffers that were read into, to be read into again: fresh ones cost a fault a page.
static IDLE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
const IDLE_MAX: usize = 16;

fn idle_buffer() -> Vec<u8> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

/// A buffer, as long as somebody has a part of it.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.0));
        }
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
            Body::Answer(answer) => {
                return Pin::new(answer).poll_frame(cx).map_err(io::Error::other);
            }
            Body::Pieces(pieces, left) => {
                let piece = ready!(pieces.poll_piece(cx));
                if let Some(Ok(piece)) = &piece {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                return Poll::Ready(piece.map(|piece| piece.map(Frame::data)));
            }
            Body::Object(object) => object,
        };
        if let Some(part) = object.parts.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if object.to <= object.from {
            return Poll::Ready(None);
        }
        if object.coming.is_none() {
            object.ask();
        }
        let Some(coming) = &mut object.coming else { return Poll::Ready(None) };
        let read = ready!(Pin::new(coming).poll(cx));
        object.coming = None;
        let stretch = match read {
            Ok(Ok(stretch)) => stretch,
            Ok(Err(error @ Error::Corrupt { .. })) => {
                if let Some(damaged) = object.damaged.take() {
                    damaged();
                }
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
            Ok(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
        };
        let (buffer, places) = stretch.into_parts();
        let buffer = Bytes::from_owner(Lent(buffer));
        object.parts.extend(places.into_iter().map(|place| buffer.slice(place)));
        let Some(part) = object.parts.pop_front() else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        object.from += (part.len() + object.parts.iter().map(Bytes::len).sum::<usize>()) as u64;
        if object.from < object.to && 2 * PIECE_BYTES_MIN <= object.share() {
            object.ask();
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Object(object) => object.left() == 0,
            Body::Answer(answer) => answer.is_end_stream(),
            Body::Coming(..) | Body::Pieces(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Object(object) => object.left(),
            Body::Answer(answer) => return answer.size_hint(),
            Body::Coming(_, Some(bytes)) | Body::Pieces(_, bytes) => *bytes,
            Body::Coming(_, None) => return SizeHint::default(),
        })
    }
}
