//! Follows a log beside the process that writes it.
//!
//! Nothing stands still: frames are appended, segments are begun, and those that are not needed any more
//! are renamed and written again under another number. So a frame that does not verify is no damage
//! here but the end, for now, unless what was durable before reading began does not verify either.
//!
//! 1. A record is visited once, whole, in order, after every byte of it was verified.
//! 2. Whether a segment was used again while it was read is looked at after reading; then, as when a
//!    restart of the writer cut off what was read here, the answer is an error, and the caller begins anew.
//! 3. Nothing on the disk is changed.

use super::{
    LogDir, Position, Record,
    recovery::{Replay, Survey},
    segment::{HEADER_BYTES, Head, Header},
};
use crate::{
    error::{Error, Result},
    key::SeqNo,
};

/// How far a log was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// After the last whole record.
    end: Position,
    chain: u64,
    /// The sequence number after the last record.
    pub(crate) next_seq: SeqNo,
}

/// Reads on from where `known` ended, or from the beginning of the segment `oldest`. `None` when that
/// segment was not begun yet.
pub(crate) fn follow(
    home: &LogDir,
    oldest: u64,
    known: Option<Followed>,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<Option<Followed>> {
    let first = known.map_or(oldest, |known| known.end.segment());
    let survey = Survey::of(home, first)?;
    let path = survey.path(first);
    let moved = |number| {
        let what = "the segment was used again while the log was followed";
        Error::corrupt(home.segment_path(number), 0, what)
    };
    let mut replay = Replay::of(visit, first);
    if let Some(known) = known {
        let next = path.get(1).and_then(|number| survey.header(*number));
        let read = known.end.offset();
        if next.is_some_and(|next| next.previous.length < read && HEADER_BYTES < read) {
            return Err(moved(first));
        }
        replay.resume(known.end, known.chain, known.next_seq);
    }
    let stop = replay.segments(home, &survey, &path)?;
    let same = match (survey.header(stop.segment), Header::read(home, stop.segment)?) {
        (Some(before), Head::Ours(now, _)) => *before == now,
        (None, now) => now.may_be_unused() && (known.is_none() || stop.segment != first),
        (Some(_), _) => false,
    };
    if !same {
        return Err(moved(stop.segment));
    }
    if replay.end < survey.durable() {
        return Err(Error::corrupt(home.segment_path(stop.segment), stop.offset, stop.what));
    }
    let Replay { end, chain, next_seq, .. } = replay;
    Ok(next_seq.map(|next_seq| Followed { end, chain, next_seq }))
}
