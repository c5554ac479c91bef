//! Much data at once: puts that go on until they are ten times the memory, and sorted input.

use std::time::Instant;

use super::{RECORD_BYTES, Stage};
use crate::{
    drive::{Pace, Until, drive},
    keys::{Random, Records},
    resources::Usage,
    row::Row,
    store::{Result, Store},
    workloads::{Put, SortedRecords, scan},
};

/// How many of the records are looked for afterwards.
const SAMPLE: u64 = 10_000;

impl Stage<'_> {
    /// Random puts of ten times the memory, to the end of all that they made due.
    pub(super) fn put_sustained(&self) -> Result<()> {
        let settings = self.big_settings();
        let store = self.open(&settings)?;
        // Beyond a tenth of it, a trial run learns nothing new.
        let times = if self.task.smoke { 1 } else { 10 };
        let count = settings.budget_bytes * times / RECORD_BYTES;
        let records = Records::new(self.task.kind, count);
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::quick(1, Until::Count(count));
        let mut tally = drive(pace, |_| Put::new(&*store, &records, 0, 0, 1))?;
        let unsettled = tally.per_second;
        let caught_up = Instant::now();
        store.catch_up()?;
        let caught_up = caught_up.elapsed();
        let due = usage.since_writing(&self.task.dir);
        let (settled, spent) = self.settle(&*store, &usage)?;
        let settled = caught_up + settled;
        let total = tally.busy + settled;
        tally.per_second = tally.operations as f64 / total.as_secs_f64();
        look_for_some(&*store, &records, count)?;

        let told = store.facts().told;
        let note = format!(
            "{count} puts at {:.0} k/s, then {:.1} s until nothing was due, {:.1} s to settle; {told}",
            unsettled / 1e3,
            caught_up.as_secs_f64(),
            settled.as_secs_f64()
        );
        let mut row = Row::rate("put_sustained", &tally).spent(&spent).note(note);
        let put_bytes = (count * RECORD_BYTES) as f64;
        let amplified = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / put_bytes);
        for (name, bytes) in [
            ("write_amp", spent.written_bytes),
            ("handed_amp", spent.handed_bytes),
            ("due_amp", due.written_bytes),
        ] {
            if let Some(figure) = amplified(bytes) {
                row.set(name, figure);
            }
        }
        self.emit(row)?;
        store.close()
    }

    /// Sorted input into an empty store, to the end of all that it made due.
    pub(super) fn bulk_load(&self) -> Result<()> {
        let store = self.open_os()?;
        let records = Records::ascending();
        let count = self.task.records;
        let mut sorted = SortedRecords::new(&records, count);
        let usage = Usage::start_writing(&self.task.dir);
        let start = Instant::now();
        store.load_sorted(&mut sorted)?;
        let loaded = start.elapsed();
        let (settled, spent) = self.settle(&*store, &usage)?;
        let took = (loaded + settled).saturating_sub(sorted.preparing);
        let seen = scan(&*store)?;
        if seen != count {
            return Err(format!("{seen} of {count} sorted records are there").into());
        }
        look_for_some(&*store, &records, count)?;
        let note = format!("{:.2} s of it to settle", settled.as_secs_f64());
        self.emit(super::rate_of("bulk_load", count, took).spent(&spent).note(note))?;
        store.close()
    }
}

fn look_for_some(store: &dyn Store, records: &Records, count: u64) -> Result<()> {
    let mut random = Random::new(12);
    for _ in 0..SAMPLE.min(count) {
        let index = random.below(count);
        let mut right = false;
        store.get(records.key(index).as_bytes(), &mut |value| {
            right = value == records.value(index, 0);
        })?;
        if !right {
            return Err(format!("record {index} was put and is not there").into());
        }
    }
    Ok(())
}
