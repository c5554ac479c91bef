//! What a run of the crash tier found, in lines.

use super::{Kind, Plan, Tally, Trouble};
use crate::{
    history::Op,
    oracle::Loss,
    report::{count, duration, shown_history},
};
use olivine_vfs::Survival;
use std::{fmt, time::Duration};

/// One failure, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is wrong.
    pub trouble: Trouble,
    seed: u64,
    step: usize,
    op: String,
    replay: String,
    history: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { trouble, seed, step, op, replay, history } = self;
        write!(
            f,
            "FAILED seed {seed}, step {step} ({op}): {trouble}\n  replay: {replay}\n{history}"
        )
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Histories run.
    pub seeds: u64,
    /// Their operations.
    pub ops: u64,
    /// Places in them where an image can be taken.
    pub events: u64,
    /// Images and times.
    pub tally: Tally,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Whether the disk was seen to forget what is not synced; one that does not proves nothing.
    pub forgets: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// Images, and double ones among them, that there had to be.
    pub promised: Option<(u64, u64)>,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.seeds += other.seeds;
        self.ops += other.ops;
        self.events += other.events;
        self.tally.add(&other.tally);
        self.failures.extend(other.failures);
    }

    #[expect(clippy::too_many_arguments, reason = "everything that a failure tells")]
    pub(super) fn fail(
        &mut self,
        plan: &Plan,
        seed: u64,
        image: Option<u64>,
        history: &[Op],
        step: usize,
        trouble: Trouble,
        shorter: &dyn Fn(&[Op]) -> Option<Vec<Op>>,
    ) {
        let history = &history[..history.len().min(step + 1)];
        let image = image.map_or(String::new(), |image| format!(" --image {image}"));
        let Plan { ops, images, .. } = plan;
        let replay = format!(
            "cargo run --release -p olivine-testkit --bin reliability -- crash --seed {seed} --seeds 1 \
             --ops {ops} --images {images}{image}"
        );
        let op = history.get(step).map_or("the end".to_owned(), Op::to_string);
        let history = match shorter(history) {
            Some(history) => shown_history("shortest history found", &history),
            None => format!("  not made shorter: {} operations\n", history.len()),
        };
        self.failures.push(Failure { trouble, seed, step, op, replay, history });
    }

    /// How many failures are of a kind that `is` says.
    fn failed(&self, is: impl Fn(Kind) -> bool) -> usize {
        self.failures.iter().filter(|failure| is(failure.trouble.kind)).count()
    }

    /// Whether nothing failed, and enough was looked at to say so.
    pub fn passed(&self) -> bool {
        let images = self.tally.images.iter().sum::<u64>();
        self.forgets && self.failures.is_empty() && 0 < images && self.short().is_none()
    }

    /// In words, what was promised and not looked at.
    fn short(&self) -> Option<String> {
        let (images, double) = self.promised?;
        let kept = images <= self.tally.images.iter().sum::<u64>() && double <= self.tally.double;
        (!kept).then(|| format!("SHORT of the promised images {images} and double {double}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = self.tally.images;
        write!(f, "A crashfs  seeds {} ops {}", self.seeds, count(self.ops))?;
        write!(f, " places {} images {} (", count(self.events), images.iter().sum::<u64>())?;
        for (survival, images) in Survival::ALL.iter().zip(images) {
            let name = match survival {
                Survival::Nothing => "none",
                Survival::Everything => "all",
                Survival::Torn => "torn",
                Survival::Reordered => "reordered",
            };
            write!(f, "{}{name} {images}", if *survival == Survival::Nothing { "" } else { " " })?;
        }
        let Tally { double, triple, later, copies, slowest, .. } = self.tally;
        write!(f, ") double {double} triple {triple} later {later} copies {}", count(copies))?;
        let loss = |loss| self.failed(|kind| kind == Kind::Loss(loss));
        write!(
            f,
            " | lost={} holes={} wrong={} refused={} panics={} unsteady={}",
            loss(Loss::Lost),
            loss(Loss::Hole),
            loss(Loss::Wrong),
            self.failed(|kind| kind == Kind::Refused),
            self.failed(|kind| kind == Kind::Panicked),
            self.failed(|kind| kind == Kind::Unsteady),
        )?;
        if let Some(short) = self.short() {
            write!(f, " | {short}")?;
        }
        write!(f, " | slowest reopen {} ms | {}", slowest.as_millis(), duration(self.elapsed))
    }
}
