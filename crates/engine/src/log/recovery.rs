//! Reads a log back, record by record, and ends where it was never fully written.
//!
//! A torn tail is normal after a crash, and so are whole segments whose writes came back before those
//! of earlier ones. Which bytes had to be there follows from proof alone: durable positions in
//! segment headers and in frames that verify, wherever they stand, and the one the manifest knows.
//! Rules: `docs/format/log.md`.
//!
//! 1. A record is visited once, whole, in order, after every byte of it was verified.
//! 2. A bad byte below the proof is `Corrupt`; above it, it ends the log, and `Cut` says so.
//! 3. Nothing on the disk is changed; recovering again gives the same.
//! 4. Memory is one window and one record, however long the log is.

use std::{collections::BTreeMap, path::PathBuf};

use olivine_vfs::EntryKind;

use super::{
    LogDir, Position, RECORD_BYTES_MAX,
    frame::{Frame, FrameError, FrameKind, chain_after},
    pool::Remains,
    reader::{Read, SegmentReader},
    segment::{HEADER_BYTES, Head, Header, Name},
    writer::Older,
};
use crate::{
    error::{Error, Result},
    key::{SEQNO_MAX, SeqNo},
    planted::{Bug, planted},
};

/// What is known of the log from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    /// The first segment whose records may be missing in the tables. It must exist.
    pub(crate) oldest: u64,
    /// A position below which everything is known to have been durable.
    pub(crate) durable: Option<Position>,
}

/// A record, as it was appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) first_seq: SeqNo,
    pub(crate) count: u32,
    pub(crate) payload: &'a [u8],
    /// Where its first frame begins; its segment is the oldest that the record needs.
    pub(crate) start: Position,
    /// What `append` returned for it.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it"))]
    pub(crate) end: Position,
}

/// What was cut off the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The file in which the log ends, or the one that should have followed.
    pub(crate) path: PathBuf,
    /// Where in it.
    pub(crate) offset: u64,
    /// Bytes that were dropped, those of later segments included. Where no frame tells how long it
    /// was, bytes that are not zero are counted, even if they may be older than the log.
    pub(crate) bytes_dropped: u64,
    /// What is wrong with the first of them.
    pub(crate) why: &'static str,
}

/// A log that was read to its end.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Where the log ends.
    pub(crate) end: Position,
    /// Everything before this was proven durable.
    pub(crate) proven: Position,
    /// The sequence number after the last record; `None` when no segment says.
    pub(crate) next_seq: Option<SeqNo>,
    /// Whether the log was closed.
    pub(crate) clean: bool,
    /// What was discarded, if that was not merely unused room.
    pub(crate) cut: Option<Cut>,
    /// The manifest had at least this edit, durably.
    pub(crate) manifest_edit: u64,
    /// The segments of the log, oldest first.
    pub(crate) segments: Vec<Older>,
    /// The chained checksum at `end`.
    pub(super) chain: u64,
    pub(super) remains: Remains,
}

/// Reads the log in `home`, hands every record to `visit`, and says where it ended.
pub(crate) fn recover(
    home: &LogDir,
    proof: Proof,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<Recovered> {
    let survey = Survey::of(home, proof.oldest)?;
    let path = survey.path(proof.oldest);
    let mut replay = Replay::of(visit, proof.oldest);
    replay.proven = survey.durable().max(proof.durable.unwrap_or(Position::ZERO));
    let stop = replay.segments(home, &survey, &path)?;
    let evidence = Evidence::of(home, &survey, &stop, replay.end)?;
    replay.proven = replay.proven.max(evidence.durable);
    if replay.end < replay.proven && !planted(Bug::CutAtRot) {
        return Err(damage(home, &stop, &evidence));
    }
    let cut = survey.cut(home, &stop, &replay, &evidence);
    Ok(replay.finish(&path, survey, cut))
}

/// Names the first thing that should be there and is not.
fn damage(home: &LogDir, stop: &Stop, evidence: &Evidence) -> Error {
    match evidence.suspect {
        Some((number, what)) if stop.quiet => Error::corrupt(home.segment_path(number), 0, what),
        _ => Error::corrupt(home.segment_path(stop.segment), stop.offset, stop.what),
    }
}

/// What the directory holds of an earlier life, for a log that begins anew.
pub(super) fn remains(home: &LogDir) -> Result<Remains> {
    let (mut remains, found) = list(home)?;
    remains.discarded = found.keys().copied().collect();
    Ok(remains)
}

/// Segments by number with the lengths of their files, and what else there is.
fn list(home: &LogDir) -> Result<(Remains, BTreeMap<u64, u64>)> {
    let entries = home.vfs.list(&home.path).map_err(Error::io("list", &home.path))?;
    let mut remains = Remains { next_number: 1, ..Remains::default() };
    let mut found = BTreeMap::new();
    for entry in entries {
        let Some(name) = Name::parse(&entry.name) else {
            continue;
        };
        remains.next_number = remains.next_number.max(name.number() + 1);
        if entry.kind != EntryKind::File {
            continue;
        }
        match name {
            Name::Segment(number) => drop(found.insert(number, entry.bytes)),
            Name::Spare(_) => remains.spares.push((home.path.join(&entry.name), entry.bytes)),
            Name::Draft(_) => remains.drafts.push(home.path.join(&entry.name)),
        }
    }
    Ok((remains, found))
}

/// All segments that may count, with their headers.
pub(super) struct Survey {
    found: BTreeMap<u64, Found>,
    remains: Remains,
}

struct Found {
    file_bytes: u64,
    head: Head,
}

impl Survey {
    pub(super) fn of(home: &LogDir, oldest: u64) -> Result<Survey> {
        let (mut remains, mut listed) = list(home)?;
        let needed = listed.split_off(&oldest);
        remains.released = listed.into_iter().collect();
        remains.next_number = remains.next_number.max(oldest.saturating_add(1));
        if !needed.contains_key(&oldest) {
            let what = "the oldest segment that is needed is missing";
            return Err(Error::corrupt(home.segment_path(oldest), 0, what));
        }
        let mut found = BTreeMap::new();
        for (number, file_bytes) in needed {
            found.insert(number, Found { file_bytes, head: Header::read(home, number)? });
        }
        Ok(Survey { found, remains })
    }

    pub(super) fn header(&self, number: u64) -> Option<&Header> {
        match &self.found.get(&number)?.head {
            Head::Ours(header, _) => Some(header),
            _ => None,
        }
    }

    fn headers(&self) -> impl DoubleEndedIterator<Item = &Header> {
        self.found.keys().filter_map(|number| self.header(*number))
    }

    /// The segments that follow one another from `oldest` on. Of two that follow the same one, the
    /// later was begun after recovery had discarded the earlier.
    pub(super) fn path(&self, oldest: u64) -> Vec<u64> {
        let mut next = BTreeMap::new();
        for header in self.headers().filter(|header| header.previous.number < header.number) {
            next.insert(header.previous.number, header.number);
        }
        let mut path = vec![oldest];
        let mut last = oldest;
        while let Some(number) = next.get(&last) {
            path.push(*number);
            last = *number;
        }
        path
    }

    /// The highest position that a header calls durable.
    pub(super) fn durable(&self) -> Position {
        self.claims().map(|header| header.durable).max().unwrap_or_default()
    }

    /// Every header of this log, those in the wrong place included.
    fn claims(&self) -> impl Iterator<Item = &Header> {
        self.found.values().filter_map(|found| found.head.header())
    }

    /// The first segment after `stop` that a later one names as its predecessor, and that is not there:
    /// its number, and what stands in its place.
    fn gap(&self, stop: &Stop) -> Option<(u64, &'static str)> {
        let mut named = self.headers().map(|header| header.previous.number);
        let number =
            named.find(|number| stop.segment < *number && self.header(*number).is_none())?;
        let what = match self.found.get(&number) {
            None => "the segment is missing",
            Some(found) => found.head.what(),
        };
        Some((number, what))
    }

    /// What was lost at the end, which nothing proves to have been durable.
    fn cut(
        &self,
        home: &LogDir,
        stop: &Stop,
        replay: &Replay<'_>,
        evidence: &Evidence,
    ) -> Option<Cut> {
        let found = &self.found[&stop.segment];
        let short = self
            .header(stop.segment)
            .is_some_and(|header| found.file_bytes < u64::from(header.bytes) && !replay.clean);
        let (number, offset, why) = if let Some(split) = &replay.split {
            (split.start.segment(), u64::from(split.start.offset()), "a record lacks its end")
        } else if !stop.quiet {
            (stop.segment, stop.offset, stop.what)
        } else if let Some((number, why)) = evidence.suspect {
            (number, 0, why)
        } else if evidence.frames {
            (stop.segment, stop.offset, stop.what)
        } else if short {
            (stop.segment, stop.offset, "the file is shorter than it was made")
        } else {
            return None;
        };
        let path = home.segment_path(number);
        Some(Cut { path, offset, bytes_dropped: evidence.bytes, why })
    }
}

impl Survey {
    /// Bytes of the pieces of a record that lacks its end: from `end` to the segment `stop`.
    fn bytes_between(&self, end: Position, stop: u64) -> u64 {
        let mut bytes = 0;
        for Header { previous, .. } in self.headers().filter(|header| header.number <= stop) {
            if end.segment() <= previous.number {
                let first = if previous.number == end.segment() { end.offset() } else { 0 };
                bytes += u64::from(previous.length.saturating_sub(first));
            }
        }
        bytes
    }
}

/// Where reading ended, and why.
pub(super) struct Stop {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) what: &'static str,
    /// Whether this is how an unused rest looks.
    quiet: bool,
}

/// A record of which some pieces were read.
struct Split {
    start: Position,
    count: u32,
    payload: Vec<u8>,
    /// Whether its first piece was read; otherwise it is only passed over.
    whole: bool,
}

pub(super) struct Replay<'a> {
    visit: &'a mut dyn FnMut(Record<'_>) -> Result<()>,
    oldest: u64,
    /// After the last whole record.
    pub(super) end: Position,
    /// The chained checksum at `end`.
    pub(super) chain: u64,
    pub(super) next_seq: Option<SeqNo>,
    proven: Position,
    split: Option<Split>,
    clean: bool,
    /// Where in its segment reading begins, and the chained checksum there, if not at the first frame.
    from: Option<(Position, u64)>,
}

impl<'a> Replay<'a> {
    /// Reads from the beginning of the segment `oldest`.
    pub(super) fn of(
        visit: &'a mut dyn FnMut(Record<'_>) -> Result<()>,
        oldest: u64,
    ) -> Replay<'a> {
        Replay {
            visit,
            oldest,
            end: Position::new(oldest, 0),
            chain: 0,
            next_seq: None,
            proven: Position::ZERO,
            split: None,
            clean: false,
            from: None,
        }
    }

    /// Reads from `end` instead, where a record ended.
    pub(super) fn resume(&mut self, end: Position, chain: u64, next_seq: SeqNo) {
        (self.end, self.chain, self.next_seq) = (end, chain, Some(next_seq));
        self.from = Some((end, chain));
    }

    pub(super) fn segments(
        &mut self,
        home: &LogDir,
        survey: &Survey,
        path: &[u64],
    ) -> Result<Stop> {
        for (index, &number) in path.iter().enumerate() {
            let successor = path.get(index + 1).and_then(|next| survey.header(*next));
            if successor.is_some_and(|header| header.previous.length == 0) {
                // An earlier recovery found that nothing of it counts.
                continue;
            }
            let head = &survey.found[&number].head;
            let Head::Ours(header, checksum) = head else {
                let quiet = head.may_be_unused() && successor.is_none();
                return Ok(Stop { segment: number, offset: 0, what: head.what(), quiet });
            };
            let stop = self.segment(home, header, *checksum, successor)?;
            if let Some((offset, what, quiet)) = stop {
                return Ok(Stop { segment: number, offset, what, quiet });
            }
        }
        unreachable!("the last segment has no successor, so reading it stops")
    }

    /// Reads a segment up to where its successor says that it ends. Returns offset and reason when it
    /// ends before, and whether it looks like an unused rest.
    fn segment(
        &mut self,
        home: &LogDir,
        header: &Header,
        checksum: u64,
        successor: Option<&Header>,
    ) -> Result<Option<(u64, &'static str, bool)>> {
        let from = self.from.take().filter(|(from, _)| from.segment() == header.number);
        if from.is_none() {
            if self.next_seq.is_some_and(|next| next != header.first_seq) {
                return Ok(Some((0, "the header's sequence number does not follow", false)));
            }
            self.next_seq = Some(header.first_seq);
        }
        let mut reader = SegmentReader::open(home, header.number)?;
        let limit =
            successor.map_or(reader.file_bytes(), |successor| u64::from(successor.previous.length));
        let start = Position::new(header.number, HEADER_BYTES);
        let (start, mut chain) = from.unwrap_or((start, checksum));
        let mut offset = u64::from(start.offset());
        if self.split.is_none() {
            (self.end, self.chain) = (start, chain);
        }
        loop {
            if offset == limit {
                return Ok(match successor {
                    Some(next) if next.previous.chain != chain => {
                        Some((offset, "the segment is not the one that its successor names", false))
                    }
                    Some(_) => None,
                    None => Some((offset, "the file ends", true)),
                });
            }
            let Read { frame, checksum, payload } = match reader.frame(offset, limit)? {
                Ok(frame) => frame,
                Err(error) => {
                    let quiet = error == FrameError::Blank && successor.is_none();
                    return Ok(Some((offset, error.what(), quiet)));
                }
            };
            chain = chain_after(chain, checksum);
            let start = Position::new(header.number, offset as u32);
            let end = Position::new(header.number, (offset + frame.bytes()) as u32);
            if let Some(what) = self.frame(&frame, payload, start, end, chain)? {
                return Ok(Some((offset, what, false)));
            }
            if frame.durable != 0 {
                self.proven = self.proven.max(Position::new(header.number, frame.durable));
            }
            offset += frame.bytes();
        }
    }

    /// Takes the next frame, or says why it cannot be the next.
    #[inline]
    fn frame(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        start: Position,
        end: Position,
        chain: u64,
    ) -> Result<Option<&'static str>> {
        let &Frame { kind, first_seq, count, .. } = frame;
        if self.next_seq != Some(first_seq) {
            return Ok(Some("a frame's sequence number does not follow"));
        }
        if SEQNO_MAX < first_seq + u64::from(count) {
            return Ok(Some("a record goes beyond the last sequence number"));
        }
        self.clean = false;
        match (kind, self.split.is_some()) {
            (FrameKind::Record, false) => {
                (self.visit)(Record { first_seq, count, payload, start, end })?;
                self.next_seq = Some(first_seq + u64::from(count));
            }
            (FrameKind::First | FrameKind::Middle | FrameKind::Last, _) => {
                return self.piece(frame, payload, start, end, chain);
            }
            (FrameKind::Durable, false) => {}
            (FrameKind::CleanEnd, false) => {
                // Taken back by whoever goes on: the log ends before it.
                self.clean = true;
                return Ok(None);
            }
            _ => return Ok(Some("a frame has a kind that cannot stand here")),
        }
        (self.end, self.chain) = (end, chain);
        Ok(None)
    }

    fn piece(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        start: Position,
        end: Position,
        chain: u64,
    ) -> Result<Option<&'static str>> {
        let &Frame { kind, first_seq, count, .. } = frame;
        let begins = kind == FrameKind::First;
        if begins && self.split.is_some() {
            return Ok(Some("a record begins within another"));
        }
        // The oldest segment may begin in the middle of a record that is not needed any more.
        let orphan = start == Position::new(self.oldest, HEADER_BYTES);
        let mut split = match self.split.take() {
            Some(split) => split,
            None if begins || orphan => Split { start, count, payload: Vec::new(), whole: begins },
            None => return Ok(Some("a piece of a record has no beginning")),
        };
        if split.whole {
            split.payload.extend_from_slice(payload);
        }
        let fits = split.count == count && split.payload.len() <= RECORD_BYTES_MAX;
        if kind != FrameKind::Last || !fits {
            self.split = Some(split);
            return Ok((!fits).then_some("a piece belongs to another record"));
        }
        if split.whole {
            let Split { start, payload, .. } = &split;
            (self.visit)(Record { first_seq, count, payload, start: *start, end })?;
        }
        self.next_seq = Some(first_seq + u64::from(count));
        (self.end, self.chain) = (end, chain);
        Ok(None)
    }

    fn finish(self, path: &[u64], survey: Survey, cut: Option<Cut>) -> Recovered {
        let manifest_edit = survey.claims().map(|header| header.manifest_edit).max().unwrap_or(0);
        let Survey { found, mut remains } = survey;
        let mut segments = Vec::new();
        for (index, &number) in path.iter().enumerate() {
            if self.end.segment() < number {
                break;
            }
            let successor = path.get(index + 1).map(|next| &found[next].head);
            let length = match successor {
                Some(Head::Ours(header, _)) if number < self.end.segment() => {
                    header.previous.length
                }
                _ => self.end.offset(),
            };
            segments.push(Older { number, length, file_bytes: found[&number].file_bytes });
        }
        let kept = |number: &u64| segments.iter().any(|segment| segment.number == *number);
        remains.discarded = found.keys().copied().filter(|number| !kept(number)).collect();
        Recovered {
            end: self.end,
            proven: self.proven,
            next_seq: self.next_seq,
            clean: self.clean && cut.is_none(),
            cut,
            manifest_edit,
            segments,
            chain: self.chain,
            remains,
        }
    }
}

/// What stands behind the place where reading ended.
struct Evidence {
    /// The highest position that a frame there calls durable.
    durable: Position,
    /// Whether there is any frame, or a segment that was begun.
    frames: bool,
    /// The first segment that should be there, and is not or is damaged.
    suspect: Option<(u64, &'static str)>,
    /// Bytes from the end of the log on.
    bytes: u64,
}

impl Evidence {
    fn of(home: &LogDir, survey: &Survey, stop: &Stop, end: Position) -> Result<Evidence> {
        let mut evidence = Evidence {
            durable: Position::ZERO,
            frames: false,
            suspect: survey.gap(stop),
            bytes: survey.bytes_between(end, stop.segment),
        };
        for (&number, found) in survey.found.range(stop.segment..) {
            evidence.add(home, number, &found.head, stop, end)?;
        }
        Ok(evidence)
    }

    fn add(
        &mut self,
        home: &LogDir,
        number: u64,
        head: &Head,
        stop: &Stop,
        end: Position,
    ) -> Result<()> {
        let here = number == stop.segment;
        let ours = matches!(head, Head::Ours(..));
        let from = u64::from(HEADER_BYTES).max(if here { stop.offset } else { 0 });
        let sweep = SegmentReader::open(home, number)?.sweep(from)?;
        if sweep.durable != 0 {
            self.durable = self.durable.max(Position::new(number, sweep.durable));
        }
        let begun = sweep.frames_end != 0 || (!here && ours);
        self.frames |= begun;
        let bad = !here && !ours && (begun || !head.may_be_unused());
        if bad && self.suspect.is_none_or(|(suspect, _)| number < suspect) {
            self.suspect = Some((number, head.what()));
        }
        let last = match sweep.frames_end {
            0 if here && !stop.quiet => sweep.bytes_end.max(from),
            0 if here && ours || begun => from,
            0 => return Ok(()),
            frames_end => frames_end,
        };
        let first = if number == end.segment() { u64::from(end.offset()) } else { 0 };
        self.bytes += last.saturating_sub(first);
        Ok(())
    }
}
