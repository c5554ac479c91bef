//! The records of a damaged log that are still whole, in the order in which they were written.
//!
//! 1. A record is returned only when every byte of it verified.
//! 2. Of what an earlier recovery discarded nothing is returned, as far as headers tell.
//! 3. Every sequence number that is missing between two records, or that is proven to have followed
//!    the last one, is reported.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Result,
    key::SeqNo,
    log::{FrameKind, Head, LogDir, Position, salvage},
};

/// Takes a record: its first sequence number, and what it holds.
type Visit<'a> = &'a mut dyn FnMut(SeqNo, &[u8]) -> Result<()>;

/// What was found of a damaged log.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    /// Writes that are missing: the first and the last of each stretch, and the segment behind which
    /// it was noticed.
    pub(super) missing: Vec<(SeqNo, SeqNo, u64)>,
    /// Proof that there was more than could be read, in this segment.
    pub(super) cut_in: Option<u64>,
    /// The number after the last write that anything tells of.
    pub(super) next_seqno: SeqNo,
    pub(super) records: u64,
}

/// Which write a log should begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The first that tables do not have; where the log begins before it, nothing is missing.
    pub(super) seqno: SeqNo,
    /// Whether the first segment is the one that the log begins with: then its header knows.
    pub(super) begins: bool,
}

impl Salvaged {
    /// Something in `segment` says that all writes before `seqno` came before it.
    fn passed_to(&mut self, next: &mut Option<SeqNo>, seqno: SeqNo, segment: u64) {
        if let Some(missing) = next.filter(|next| *next < seqno) {
            self.missing.push((missing, seqno - 1, segment));
        }
        *next = (*next).max(Some(seqno));
        self.next_seqno = self.next_seqno.max(seqno);
    }
}

/// A record of which some pieces were read.
struct Split {
    first_seq: SeqNo,
    count: u32,
    payload: Vec<u8>,
}

/// What is known of the segments from their headers.
struct Headers {
    discarded: BTreeSet<u64>,
    /// Where the frames of a segment end.
    limits: BTreeMap<u64, u64>,
    first_seqs: BTreeMap<u64, SeqNo>,
    durable: Position,
}

impl Headers {
    fn read(home: &LogDir, segments: &[u64]) -> Result<Headers> {
        let mut headers = Headers {
            discarded: BTreeSet::new(),
            limits: BTreeMap::new(),
            first_seqs: BTreeMap::new(),
            durable: Position::ZERO,
        };
        for &number in segments {
            let path = home.segment_path(number);
            let head = salvage::head(home.vfs.as_ref(), &path, None, number)?;
            let Some(header) = head.header().filter(|header| header.store == home.store) else {
                continue;
            };
            headers.durable = headers.durable.max(header.durable);
            let Head::Ours(header, _) = head else { continue };
            headers.first_seqs.insert(number, header.first_seq);
            let before = header.previous.number;
            headers.discarded.extend(segments.iter().filter(|s| before < **s && **s < number));
            headers.limits.insert(before, header.previous.length.into());
        }
        Ok(headers)
    }
}

/// Hands every whole record of `segments` to `visit`.
pub(super) fn salvage_records(
    home: &LogDir,
    segments: &[u64],
    expected: Expected,
    proven: Option<Position>,
    visit: Visit<'_>,
) -> Result<Salvaged> {
    let headers = Headers::read(home, segments)?;
    let mut salvaged = Salvaged::default();
    let mut durable = headers.durable.max(proven.unwrap_or(Position::ZERO));
    let first_segment = segments.first().copied().unwrap_or(0);
    let told = headers.first_seqs.get(&first_segment).copied();
    let told = told.filter(|told| expected.begins || *told <= expected.seqno);
    let mut next = Some(told.unwrap_or(expected.seqno));
    let mut end = Position::ZERO;
    let mut split: Option<Split> = None;
    for &number in segments.iter().filter(|number| !headers.discarded.contains(number)) {
        let limit = headers.limits.get(&number).copied().unwrap_or(u64::MAX);
        if let Some(first_seq) = headers.first_seqs.get(&number) {
            salvaged.passed_to(&mut next, *first_seq, number);
        }
        let path = home.segment_path(number);
        salvage::walk(home.vfs.as_ref(), &path, home.store, number, &mut |offset, found| {
            let salvage::Found::Frame(frame, payload) = found else {
                if let salvage::Found::Damage(..) = found {
                    split = None;
                }
                return Ok(());
            };
            if limit <= offset {
                return Ok(());
            }
            if frame.durable != 0 {
                durable = durable.max(Position::new(number, frame.durable));
            }
            end = Position::new(number, (offset + frame.bytes()) as u32);
            if matches!(frame.kind, FrameKind::Durable | FrameKind::CleanEnd) {
                split = None;
                salvaged.passed_to(&mut next, frame.first_seq, number);
                return Ok(());
            }
            let whole = match (frame.kind, split.take()) {
                (FrameKind::Record, _) => Some(payload.to_vec()),
                (FrameKind::First, _) => {
                    let (first_seq, count) = (frame.first_seq, frame.count);
                    split = Some(Split { first_seq, count, payload: payload.to_vec() });
                    None
                }
                (FrameKind::Middle | FrameKind::Last, Some(mut begun))
                    if (begun.first_seq, begun.count) == (frame.first_seq, frame.count) =>
                {
                    begun.payload.extend_from_slice(payload);
                    if frame.kind == FrameKind::Last {
                        Some(begun.payload)
                    } else {
                        split = Some(begun);
                        None
                    }
                }
                // The end of a record that began before everything that is needed.
                (FrameKind::Last, None) if number == first_segment && salvaged.records == 0 => {
                    next = next.max(Some(frame.first_seq + u64::from(frame.count)));
                    None
                }
                _ => None,
            };
            let Some(payload) = whole else { return Ok(()) };
            let (first, after) = (frame.first_seq, frame.first_seq + u64::from(frame.count));
            match next {
                // A write that was read already.
                Some(next) if after <= next => return Ok(()),
                _ => salvaged.passed_to(&mut next, first, number),
            }
            next = Some(after);
            salvaged.next_seqno = salvaged.next_seqno.max(after);
            salvaged.records += 1;
            visit(first, &payload)
        })?;
    }
    if end < durable {
        salvaged.cut_in = Some(durable.segment());
    }
    Ok(salvaged)
}
