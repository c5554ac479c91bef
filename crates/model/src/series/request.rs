//! A request of points on its way into the series, slice by slice.
//!
//! Others write and read between two slices, so that nobody waits for long because somebody else's request is
//! large, or new from end to end.
//!
//! 1. A slice is one record of the log, and is seen whole or not at all.
//! 2. What is to be written all or none is looked at in slices that write no rows, and is then one slice.
//! 3. A slice that the store did not take has not happened, and may be brought again.
//! 4. What is large leaves room: it waits for the store to catch up while there is some left for what is not.

use olivine_command::{
    Command, Reply,
    points::{Mark, PointReader},
};
use olivine_command::{Refusal, Rejected};

use super::Target;
use crate::layout::Position;

/// What a slice may come to: about half a millisecond. A point of a series that is known counts 1.
pub(crate) const SLICE_UNITS_MAX: usize = 1_000;
/// Points that are to be written all or none, and that are so few bytes, are not looked at before.
const UNLOOKED_BYTES_MAX: usize = 2 << 10;

/// Requests of more bytes are large.
const LARGE_BYTES_MIN: usize = 64 << 10;

/// A request that is being written.
#[derive(Debug)]
pub struct PointsWrite<'a> {
    pub(super) target: Target<'a>,
    points: &'a [u8],
    pub(super) reader: PointReader<'a>,
    /// It comes from outside and is large.
    pub(super) leaves_room: bool,
    pub(super) progress: Progress,
}

/// How far a request has come: what it takes to go on with the same points, wherever they lie.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that were taken already.
    at: usize,
    /// Points are only looked at; rows are written afterwards.
    pub(super) looks: bool,
    /// How many points were taken.
    pub(super) place: u64,
    pub(super) rejected: Vec<Rejected>,
    pub(super) dropped: u64,
    pub(super) stored: u64,
    /// Up to where the store must be durable before what was written is told.
    pub(super) position: Option<Position>,
}

/// A place between two slices.
pub(super) struct Before<'a> {
    mark: Mark<'a>,
    place: u64,
    rejected: usize,
    dropped: u64,
}

impl<'a> PointsWrite<'a> {
    /// The request that a command is; nothing if it is another.
    pub fn new(command: &'a Command<'_>) -> Option<PointsWrite<'a>> {
        let Command::WritePoints { database, policy, points, makes_database, all_or_none } =
            command
        else {
            return None;
        };
        let target =
            Target { database, policy, makes_database: *makes_database, all_or_none: *all_or_none };
        let leaves_room = LARGE_BYTES_MIN < points.len();
        Some(PointsWrite { leaves_room, ..PointsWrite::of(target, points) })
    }

    pub(crate) fn of(target: Target<'a>, points: &'a [u8]) -> PointsWrite<'a> {
        let looks = target.all_or_none && UNLOOKED_BYTES_MAX < points.len();
        let progress = Progress { looks, ..Progress::default() };
        let reader = PointReader::new(points);
        PointsWrite { target, points, reader, leaves_room: false, progress }
    }

    /// Goes on with a request that had come so far.
    pub fn resume(command: &'a Command<'_>, progress: Progress) -> Option<PointsWrite<'a>> {
        let mut request = PointsWrite::new(command)?;
        // Shapes are told where they are first met.
        while request.taken() < progress.at && matches!(request.reader.next(), Ok(Some(_))) {}
        request.progress = progress;
        Some(request)
    }

    /// How far it is.
    pub fn into_progress(self) -> Progress {
        Progress { at: self.taken(), ..self.progress }
    }

    fn taken(&self) -> usize {
        self.points.len() - self.reader.left()
    }

    /// Whether a slice must have all that is left.
    pub(super) fn is_indivisible(&self) -> bool {
        self.target.all_or_none && !self.progress.looks
    }

    pub(super) fn before(&self) -> Before<'a> {
        let Progress { place, rejected, dropped, .. } = &self.progress;
        let (place, rejected, dropped) = (*place, rejected.len(), *dropped);
        Before { mark: self.reader.mark(), place, rejected, dropped }
    }

    /// Goes back to before a slice that has not happened.
    pub(super) fn go_back(&mut self, before: Before<'a>) {
        self.reader.go_back(before.mark);
        self.progress.place = before.place;
        self.progress.rejected.truncate(before.rejected);
        self.progress.dropped = before.dropped;
    }

    /// Ends the looking; nothing was wrong, and rows are written now.
    pub(super) fn begin_anew(&mut self) {
        self.reader = PointReader::new(self.points);
        self.progress = Progress::default();
    }

    /// What it has come to.
    pub(super) fn reply(&mut self) -> Reply {
        let rejected = std::mem::take(&mut self.progress.rejected);
        Reply::Written { stored: self.progress.stored, rejected }
    }
}

/// The refusal of points that cannot be read.
pub(super) fn damaged(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(olivine_command::Code::Invalid, format!("the points are damaged: {error}"))
}
