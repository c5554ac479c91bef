//! The YCSB mixes, one after the other on one store that was loaded and is settled before each.

use super::{Stage, load, measure};
use crate::{
    drive::{Pace, Until, drive},
    keys::Zipf,
    resources::Usage,
    row::Row,
    store::{Result, Store},
    workloads::{Mix, THETA, Ycsb, scan},
};

const THREADS: u32 = 2;

impl Stage<'_> {
    /// Those that hardly write come first, so that they see what the load left.
    pub(super) fn ycsb(&self) -> Result<()> {
        let store = self.open_os()?;
        let count = self.task.records;
        load(&*store, &self.records, count)?;
        scan(&*store)?;
        self.warm(&*store)?;
        let zipf = Zipf::new(count, THETA);
        // A scan is fifty reads.
        let mixes = [(Mix::C, 2), (Mix::E, 16), (Mix::B, 2), (Mix::A, 1), (Mix::F, 2)];
        for (mix, fraction) in mixes {
            self.mix(&*store, mix, &zipf, count / fraction)?;
        }
        store.close()
    }

    fn mix(&self, store: &dyn Store, mix: Mix, zipf: &Zipf, operations: u64) -> Result<()> {
        if !self.task.wants(mix.name) {
            return Ok(());
        }
        let until = Until::Count(operations / u64::from(THREADS));
        let pace = match mix.scans {
            0 => Pace::quick(THREADS, until),
            _ => Pace::each_timed(THREADS, until),
        };
        let actor = |thread| {
            let of = (thread, THREADS);
            Ycsb::new(store, &self.records, zipf, mix, of, self.task.records)
        };
        let mut note = format!("{THREADS} threads");
        let row = if mix.updates + mix.modifies + mix.inserts == 0 {
            let (tally, spent) = measure(pace, actor)?;
            Row::rate(mix.name, &tally).spent(&spent)
        } else {
            let usage = Usage::start_writing(&self.task.dir);
            let tally = drive(pace, actor)?;
            let (settled, spent) = self.settle(store, &usage)?;
            note = format!("{note}; then {:.1} s to settle", settled.as_secs_f64());
            Row::rate(mix.name, &tally).spent(&spent)
        };
        self.emit(row.note(note))
    }
}
