//! A queue of steady depth: push behind the last record, pop the first.

use std::time::Duration;

use super::{Stage, load};
use crate::{
    drive::{Pace, Until, drive},
    keys::Records,
    resources::Usage,
    row::Row,
    store::Result,
    workloads::{Head, Queue},
};

impl Stage<'_> {
    /// With a consumer that remembers where it was, for several memtables, and then for a while with
    /// one that looks for the first record from the beginning of the keys.
    pub(super) fn queue(&self) -> Result<()> {
        let store = self.open_os()?;
        let records = Records::ascending();
        let depth = self.task.records / 20;
        load(&*store, &records, depth)?;
        let operations = self.task.records / 2;
        let for_seconds = Duration::from_secs_f64(self.task.seconds * 2.0);
        let kinds = [
            ("queue", Head::Remembered, Until::Count(operations)),
            ("queue_unknown_head", Head::Unknown, Until::Elapsed(for_seconds)),
        ];
        let mut head = 0;
        for (name, look, until) in kinds {
            if !self.task.wants(name) {
                continue;
            }
            let usage = Usage::start_writing(&self.task.dir);
            let tally = drive(Pace::each_timed(1, until), |_| {
                Queue::new(&*store, &records, look, (head, head + depth))
            })?;
            head += tally.operations;
            let (settled, spent) = self.settle(&*store, &usage)?;
            let told = store.facts().told;
            let note = format!(
                "{} pushes and pops at a depth of {depth}, then {:.1} s to settle; {told}",
                tally.operations,
                settled.as_secs_f64()
            );
            self.emit(Row::rate(name, &tally).spent(&spent).note(note))?;
        }
        store.close()
    }
}
