//! Values of 16 KiB: put until settled, then read at random.

use super::{Stage, measure};
use crate::{
    drive::{Pace, Until, drive},
    keys::Records,
    resources::Usage,
    row::Row,
    store::{Durability, Result},
    workloads::{Get, Put, Target, scan},
};

/// For one of these there are so many of the usual records.
const RECORDS_PER_LARGE: u64 = 40;

impl Stage<'_> {
    pub(super) fn large(&self) -> Result<()> {
        let mut settings = self.task.settings(Durability::Os);
        settings.large_values = true;
        let store = self.open(&settings)?;
        let count = self.task.records / RECORDS_PER_LARGE;
        let records = Records::large(count);
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::each_timed(1, Until::Count(count));
        let mut tally = drive(pace, |_| Put::new(&*store, &records, 0, 0, 1))?;
        let (settled, spent) = self.settle(&*store, &usage)?;
        let total = tally.busy + settled;
        tally.per_second = tally.operations as f64 / total.as_secs_f64();
        let told = store.facts().told;
        let note = format!("{count} puts, {:.1} s of it to settle; {told}", settled.as_secs_f64());
        self.emit(Row::rate("put_16k", &tally).spent(&spent).note(note))?;

        let seen = scan(&*store)?;
        if seen != count {
            return Err(format!("a scan saw {seen} of {count} large records").into());
        }
        let (tally, spent) = measure(Pace::each_timed(1, self.for_seconds()), |_| {
            Get::new(&*store, &records, count, Target::Present, 21)
        })?;
        self.emit(Row::rate("get_16k", &tally).spent(&spent))?;
        store.close()
    }
}
