//! Appends records, hands them to the disk, and says what must be synced.
//!
//! Appending copies into memory; `hand_over` writes that out; a sync is three steps, of which the
//! long one (`SyncJob::run`) needs no lock. Segments that are full wait for the next sync: nothing
//! is synced while appending, save for the name of a segment that nobody made ready in time.
//!
//! 1. A record is in the buffer whole, or not at all.
//! 2. Frames reach the disk in order, behind them zeros, so that the end is told from rot.
//! 3. A frame or header calls durable only what an earlier sync reached, older segments included.
//! 4. After a failed write or sync every call answers `Poisoned`.
//! 5. Every segment has room for a clean end.

use std::{collections::VecDeque, sync::Arc};

use olivine_vfs::{File, Open};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Latch, LogDir, LogOptions, Pool, Position, RECORD_BYTES_MAX, Recovered,
    frame::{self, Frame, FrameKind, Place, bytes_on_disk, chain_after, payload_hash},
    pool::Remains,
    recovery::remains,
    segment::{self, Header, Previous, Segment},
};
use crate::{
    error::{Error, Result},
    invariant::invariant,
    key::SeqNo,
    planted::{Bug, planted},
};

/// A buffer that grew beyond this for a large record is given back.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Recovered bytes are written again in pieces of this size.
const REWRITE_BYTES: u64 = 1 << 20;

/// What is written behind the last frame: no frame.
const END: [u8; frame::HEADER_BYTES as usize] = [0; frame::HEADER_BYTES as usize];

/// The end of the log, where records are appended.
#[derive(Debug)]
pub(crate) struct LogWriter {
    home: Arc<LogDir>,
    options: LogOptions,
    latch: Arc<Latch>,
    pool: Arc<Pool>,
    place: Place,
    /// Frames may end here in the current segment.
    room: u32,
    /// Frames end here, written or not.
    end: u32,
    /// When frames pass this, another segment is asked for.
    want_at: u32,
    chain: u64,
    next_seq: SeqNo,
    durable: Position,
    /// What the last frame or header calls durable.
    recorded: Position,
    /// The end of the last record.
    records_end: Position,
    manifest_edit: u64,
    /// What is not written yet, a buffer for each segment; the last is the current segment's.
    buffers: Vec<Buffer>,
    /// Earlier segments whose end is not known to be durable.
    unsynced: Vec<(u64, Arc<dyn File>)>,
    /// Earlier segments that are still needed, oldest first.
    older: VecDeque<Older>,
}

#[derive(Debug)]
struct Buffer {
    segment: Segment,
    /// Where `bytes` go.
    at: u32,
    bytes: Vec<u8>,
}

/// A segment before the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Older {
    pub(crate) number: u64,
    /// Bytes of it that count.
    pub(crate) length: u32,
    /// Length of its file.
    pub(crate) file_bytes: u64,
}

/// What must be synced so that everything appended before is durable.
#[derive(Debug)]
pub(crate) struct SyncJob {
    home: Arc<LogDir>,
    latch: Arc<Latch>,
    files: Vec<(u64, Arc<dyn File>)>,
    reached: Position,
}

impl SyncJob {
    /// Syncs, oldest segment first, and returns what is durable then. A failure poisons the log.
    pub(crate) fn run(&self) -> Result<Position> {
        self.latch.check()?;
        for (number, file) in &self.files {
            let mut synced = file.sync();
            if planted(Bug::SyncRetried) {
                synced = synced.or_else(|_| file.sync());
            }
            synced.map_err(|error| {
                self.latch.set(Error::io("sync", self.home.segment_path(*number))(error))
            })?;
        }
        Ok(self.reached)
    }

    /// Whether `run` has nothing to do.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl LogWriter {
    /// Begins the log of a store that has none; `first_seq` is its first record's sequence number.
    /// The first segment's number is `current_segment`: the store's manifest must name it.
    pub(crate) fn create(home: LogDir, options: LogOptions, first_seq: SeqNo) -> Result<LogWriter> {
        let remains = remains(&home)?;
        let previous = Previous::default();
        let mut writer = LogWriter::begin(home, options, remains, first_seq, previous)?;
        writer.open_first(previous)?;
        Ok(writer)
    }

    /// Goes on after recovery, in a segment of its own. What recovery read and could not prove
    /// durable is written again and synced first: a sync that failed in an earlier life may have
    /// left it in memory only.
    pub(crate) fn create_after(
        home: LogDir,
        options: LogOptions,
        recovered: Recovered,
        first_seq: SeqNo,
    ) -> Result<LogWriter> {
        if recovered.next_seq.is_some_and(|next| next != first_seq) {
            let what = format!("must go on where the log ended, not at {first_seq}");
            return Err(Error::Invalid { field: "first_seq", what });
        }
        rewrite(&home, &recovered)?;
        let previous = Previous {
            number: recovered.end.segment(),
            length: recovered.end.offset(),
            chain: recovered.chain,
        };
        let mut writer = LogWriter::begin(home, options, recovered.remains, first_seq, previous)?;
        writer.older = recovered.segments.into();
        writer.durable = recovered.end;
        writer.manifest_edit = recovered.manifest_edit;
        writer.open_first(previous)?;
        Ok(writer)
    }

    fn begin(
        home: LogDir,
        options: LogOptions,
        remains: Remains,
        next_seq: SeqNo,
        previous: Previous,
    ) -> Result<LogWriter> {
        options.validate()?;
        let latch = Arc::new(Latch::default());
        let home = Arc::new(home);
        let pool = Arc::new(Pool::new(Arc::clone(&home), options, Arc::clone(&latch), remains));
        let place = Place { store: home.store, file: previous.number };
        Ok(LogWriter {
            home,
            options,
            latch,
            pool,
            place,
            room: 0,
            end: 0,
            want_at: 0,
            chain: 0,
            next_seq,
            durable: Position::ZERO,
            recorded: Position::ZERO,
            records_end: Position::ZERO,
            manifest_edit: 0,
            buffers: Vec::new(),
            unsynced: Vec::new(),
            older: VecDeque::new(),
        })
    }

    fn open_first(&mut self, previous: Previous) -> Result<()> {
        let segment = self.pool.take(0)?;
        self.enter(segment, previous);
        self.hand_over()
    }

    /// Appends a record of `count` sequence numbers from `first_seq` on, `payload_hash` being the hash
    /// of its parts. Returns the position after it: it is durable when a sync reached that.
    ///
    /// Nothing reaches the disk before `hand_over`. `Full` leaves the log as it was.
    #[inline]
    pub(crate) fn append(
        &mut self,
        first_seq: SeqNo,
        count: u32,
        parts: &[&[u8]],
        payload_hash: u64,
    ) -> Result<Position> {
        self.latch.check()?;
        invariant!(payload_hash == frame::payload_hash(parts));
        assert!(first_seq == self.next_seq, "{first_seq} follows {}", self.next_seq);
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if RECORD_BYTES_MAX < len {
            let what = format!("of {len} bytes is longer than {RECORD_BYTES_MAX}");
            return Err(Error::Invalid { field: "record", what });
        }
        if u64::from(self.room) < u64::from(self.end) + bytes_on_disk(len as u32) {
            return self.append_over_edge(first_seq, count, parts, payload_hash, len);
        }
        self.push(FrameKind::Record, count, parts, payload_hash, len as u32);
        self.next_seq += u64::from(count);
        self.records_end = self.position();
        if self.want_at <= self.end {
            self.want_at = u32::MAX;
            self.pool.want();
        }
        Ok(self.records_end)
    }

    /// Whether every record is durable, and no frame says so yet: time for a marker, if nothing follows.
    pub(crate) fn durable_marker_is_due(&self) -> bool {
        self.recorded < self.records_end && self.records_end <= self.durable
    }

    /// Appends a frame that records what is durable, so that recovery can tell damage from a torn
    /// tail even when no record follows.
    pub(crate) fn append_durable_marker(&mut self) -> Result<Position> {
        self.latch.check()?;
        if u64::from(self.room) < u64::from(self.end) + bytes_on_disk(0) {
            let segment = self.pool.take(0)?;
            self.rotate(segment);
        }
        self.push(FrameKind::Durable, 0, &[], xxh3_64(&[]), 0);
        Ok(self.position())
    }

    /// Writes what was appended: it survives the process from then on, but not the machine.
    pub(crate) fn hand_over(&mut self) -> Result<()> {
        self.latch.check()?;
        for buffer in &mut self.buffers {
            if buffer.bytes.is_empty() {
                continue;
            }
            let len = buffer.bytes.len();
            let behind = (buffer.segment.bytes as usize - buffer.at as usize - len).min(END.len());
            buffer.bytes.extend_from_slice(&END[..behind]);
            let written = buffer.segment.file.write_at(&buffer.bytes, u64::from(buffer.at));
            if planted(Bug::PartialWriteForgotten) && written.is_err() {
                buffer.at += len as u32;
                buffer.bytes.clear();
            }
            written.map_err(|error| {
                let path = self.home.segment_path(buffer.segment.number);
                let error = Error::io("write", path)(error);
                if planted(Bug::PartialWriteForgotten) { error } else { self.latch.set(error) }
            })?;
            buffer.at += len as u32;
            buffer.bytes.clear();
            buffer.bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
        let full = self.buffers.len() - 1;
        self.buffers.drain(..full);
        Ok(())
    }

    /// Hands over, and returns what must be synced, without the lock, to make it durable.
    pub(crate) fn begin_sync(&mut self) -> Result<SyncJob> {
        self.hand_over()?;
        let reached = self.position();
        let mut files = Vec::new();
        if self.durable < reached {
            files.clone_from(&self.unsynced);
            files.push((self.place.file, Arc::clone(&self.current().segment.file)));
        }
        let latch = Arc::clone(&self.latch);
        Ok(SyncJob { home: Arc::clone(&self.home), latch, files, reached })
    }

    /// Records that a sync reached `position`; later frames say so.
    pub(crate) fn finish_sync(&mut self, position: Position) {
        assert!(position <= self.position());
        self.durable = self.durable.max(position);
        let segment = self.durable.segment();
        self.unsynced.retain(|(number, _)| segment <= *number);
    }

    /// Everything before this is durable.
    pub(crate) fn durable(&self) -> Position {
        self.durable
    }

    /// Where the next frame will begin, if it fits there.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.place.file, self.end)
    }

    /// The segment that the next record goes to, or begins in, at the earliest.
    pub(crate) fn current_segment(&self) -> u64 {
        self.place.file
    }

    /// The sequence number of the next record.
    pub(crate) fn next_seq(&self) -> SeqNo {
        self.next_seq
    }

    /// Earlier segments that are still needed, oldest first.
    pub(super) fn older_segments(&self) -> impl Iterator<Item = &Older> {
        self.older.iter()
    }

    /// Writes down that the sequence numbers before `first_seq` were taken: the next record has that.
    pub(crate) fn pass(&mut self, first_seq: SeqNo) -> Result<()> {
        while self.next_seq < first_seq {
            let count = u32::try_from(first_seq - self.next_seq).unwrap_or(u32::MAX);
            self.append(self.next_seq, count, &[], payload_hash(&[]))?;
        }
        Ok(())
    }

    /// Bytes that recovery would read.
    pub(crate) fn bytes(&self) -> u64 {
        self.older.iter().map(|older| u64::from(older.length)).sum::<u64>() + u64::from(self.end)
    }

    /// Bytes that are appended and not handed over.
    #[cfg(test)]
    pub(crate) fn pending_bytes(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.bytes.len()).sum()
    }

    /// The segments that wait; its `step` is for the background.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// `edit` of the manifest is durable; the headers of later segments say so.
    pub(crate) fn set_manifest_edit(&mut self, edit: u64) {
        self.manifest_edit = self.manifest_edit.max(edit);
    }

    /// Gives back the segments before `number`. The manifest must have named `number`, or a later
    /// one, as the oldest that recovery needs, durably.
    pub(crate) fn release_below(&mut self, number: u64) {
        // What is not written yet is still needed, whatever the caller thinks.
        let number = number.min(self.buffers[0].segment.number);
        while let Some(older) = self.older.pop_front_if(|older| older.number < number) {
            self.unsynced.retain(|(unsynced, _)| *unsynced != older.number);
            self.pool.retire(older.number, older.file_bytes);
        }
    }

    /// Ends the log: everything is durable, recovery will find a clean end, and no file is longer
    /// than it must be. Returns what the manifest may record as durable.
    pub(crate) fn close(mut self) -> Result<Position> {
        let mut job = self.begin_sync()?;
        if planted(Bug::CloseUnsynced) {
            job.files.clear();
        }
        let position = job.run()?;
        self.finish_sync(position);
        self.push(FrameKind::CleanEnd, 0, &[], xxh3_64(&[]), 0);
        self.hand_over()?;
        let path = self.home.segment_path(self.place.file);
        let file = &self.current().segment.file;
        if planted(Bug::CloseUnsynced) {
            return Ok(position);
        }
        let trimmed = file
            .sync()
            .map_err(Error::io("sync", &path))
            .and_then(|()| file.set_len(u64::from(self.end)).map_err(Error::io("shorten", &path)))
            .and_then(|()| file.sync().map_err(Error::io("sync", &path)));
        trimmed.map_err(|error| self.latch.set(error))?;
        self.pool.clear()?;
        Ok(position)
    }

    /// Appends a record that does not fit into the current segment: to the next one when it fits
    /// there whole, otherwise in pieces over as many as it takes. The segments are all there before
    /// the first byte is appended.
    #[cold]
    fn append_over_edge(
        &mut self,
        first_seq: SeqNo,
        count: u32,
        parts: &[&[u8]],
        payload_hash: u64,
        len: usize,
    ) -> Result<Position> {
        let need = bytes_on_disk(len as u32);
        let whole = need <= u64::from(room_of(self.options.segment_bytes) - segment::HEADER_BYTES);
        let mut here = 0;
        if !whole {
            here = payload_room(self.room, self.end);
        }
        let segments = self.take_for(len as u64 - u64::from(here), whole)?;
        let first = &segments[0];
        if whole && need <= u64::from(room_of(first.bytes) - segment::HEADER_BYTES) {
            assert!(segments.len() == 1);
            for segment in segments {
                self.rotate(segment);
            }
            self.push(FrameKind::Record, count, parts, payload_hash, len as u32);
        } else {
            self.push_pieces(count, parts, here, segments);
        }
        self.next_seq = first_seq + u64::from(count);
        self.records_end = self.position();
        Ok(self.records_end)
    }

    /// Takes segments with room for `left` bytes of payload; none when one of them cannot be had.
    fn take_for(&self, mut left: u64, whole: bool) -> Result<Vec<Segment>> {
        let overhead = u64::from(segment::HEADER_BYTES + 2 * frame::HEADER_BYTES + frame::ALIGN);
        let mut segments = Vec::new();
        while 0 < left || segments.is_empty() {
            match self.pool.take(left + overhead) {
                Ok(segment) => {
                    let room = room_of(segment.bytes);
                    let fits = whole
                        && segments.is_empty()
                        && bytes_on_disk(left as u32) <= u64::from(room - segment::HEADER_BYTES);
                    let piece = payload_room(room, segment::HEADER_BYTES);
                    left = if fits { 0 } else { left.saturating_sub(u64::from(piece)) };
                    segments.push(segment);
                }
                Err(error) => {
                    self.pool.give_back(segments, self.place.file);
                    return Err(error);
                }
            }
        }
        Ok(segments)
    }

    /// Appends a record in pieces: the first `here` bytes to the current segment, the rest to `segments`.
    fn push_pieces(&mut self, count: u32, parts: &[&[u8]], here: u32, segments: Vec<Segment>) {
        let mut rest = Pieces { parts: parts.to_vec() };
        let mut kind = FrameKind::First;
        if 0 < here {
            self.push_piece(kind, count, &rest.take(here));
            kind = FrameKind::Middle;
        }
        let last = segments.len() - 1;
        for (index, segment) in segments.into_iter().enumerate() {
            self.rotate(segment);
            let piece = rest.take(payload_room(self.room, self.end));
            self.push_piece(if index == last { FrameKind::Last } else { kind }, count, &piece);
            kind = FrameKind::Middle;
        }
        assert!(rest.parts.is_empty());
    }

    fn push_piece(&mut self, kind: FrameKind, count: u32, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.push(kind, count, parts, payload_hash(parts), len as u32);
    }

    /// Appends one frame, for which there is room.
    #[inline]
    fn push(&mut self, kind: FrameKind, count: u32, parts: &[&[u8]], payload_hash: u64, len: u32) {
        let here = self.durable.segment() == self.place.file;
        let durable = if here { self.durable.offset() } else { 0 };
        self.recorded = self.durable;
        let first_seq = self.next_seq;
        let frame = Frame { kind, first_seq, count, payload_len: len, payload_hash, durable };
        let last = self.buffers.len() - 1;
        let buffer = &mut self.buffers[last];
        let checksum = frame.push(&mut buffer.bytes, self.place, u64::from(self.end), parts);
        self.chain = chain_after(self.chain, checksum);
        self.end += frame.bytes() as u32;
    }

    /// Leaves the current segment, whose end is not durable yet, for `segment`.
    fn rotate(&mut self, segment: Segment) {
        let current = self.current();
        let file = Arc::clone(&current.segment.file);
        let file_bytes = u64::from(current.segment.bytes);
        let number = self.place.file;
        let previous = Previous { number, length: self.end, chain: self.chain };
        self.unsynced.push((number, file));
        self.older.push_back(Older { number, length: self.end, file_bytes });
        self.enter(segment, previous);
    }

    fn enter(&mut self, segment: Segment, previous: Previous) {
        assert!(self.place.file < segment.number);
        let header = Header {
            bytes: segment.bytes,
            store: self.home.store,
            number: segment.number,
            first_seq: self.next_seq,
            previous,
            durable: self.durable,
            manifest_edit: self.manifest_edit,
        };
        let (bytes, checksum) = header.encode();
        self.place.file = segment.number;
        self.room = room_of(segment.bytes);
        self.end = segment::HEADER_BYTES;
        self.want_at = segment.bytes / 2;
        self.chain = checksum;
        self.buffers.push(Buffer { segment, at: 0, bytes: bytes.to_vec() });
    }

    fn current(&self) -> &Buffer {
        &self.buffers[self.buffers.len() - 1]
    }
}

/// The bytes of a record that are still to be appended.
struct Pieces<'a> {
    parts: Vec<&'a [u8]>,
}

impl<'a> Pieces<'a> {
    /// Cuts off the first `bytes`, or all there are.
    fn take(&mut self, bytes: u32) -> Vec<&'a [u8]> {
        let mut left = bytes as usize;
        let mut taken = Vec::new();
        while let Some(part) = self.parts.first_mut()
            && (0 < left || part.is_empty())
        {
            let (head, tail) = part.split_at(left.min(part.len()));
            taken.push(head);
            left -= head.len();
            *part = tail;
            if tail.is_empty() {
                self.parts.remove(0);
            }
        }
        taken
    }
}

/// Where frames of a segment of `bytes` must end, so that a clean end still fits.
fn room_of(bytes: u32) -> u32 {
    (bytes - frame::HEADER_BYTES) / frame::ALIGN * frame::ALIGN
}

/// The longest payload of a frame that begins at `end`, 0 when none would be worth it.
fn payload_room(room: u32, end: u32) -> u32 {
    room.saturating_sub(end + frame::HEADER_BYTES)
}

fn rewrite(home: &LogDir, recovered: &Recovered) -> Result<()> {
    if planted(Bug::RecoveredUnsynced) {
        return Ok(());
    }
    for older in &recovered.segments {
        let mut at = match older.number.cmp(&recovered.proven.segment()) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => u64::from(recovered.proven.offset()),
            std::cmp::Ordering::Greater => 0,
        };
        let length = u64::from(older.length);
        if length <= at {
            continue;
        }
        let path = home.segment_path(older.number);
        let file = home.open(older.number, Open::Write)?;
        let mut piece = vec![0; REWRITE_BYTES.min(length - at) as usize];
        while at < length {
            let wanted = piece.len().min((length - at) as usize);
            let read = file.read_at(&mut piece[..wanted], at).map_err(Error::io("read", &path))?;
            if read < wanted {
                return Err(Error::corrupt(path, at, "the file was shortened while it was read"));
            }
            file.write_at(&piece[..wanted], at).map_err(Error::io("write", &path))?;
            at += wanted as u64;
        }
        file.sync().map_err(Error::io("sync", &path))?;
    }
    Ok(())
}
