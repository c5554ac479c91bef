//! What a run of the rot tier found, in lines.

use super::{Mutation, Silent, Specimen};
use crate::report::duration;
use std::{collections::BTreeMap, fmt, time::Duration};

/// One change that nobody told of.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whether the store panicked.
    pub panicked: bool,
    /// In words, with the line that repeats it.
    pub text: String,
}

/// What came of the changes to one kind of file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes {
    /// An error told of it.
    pub detected: u64,
    /// Everything was as before.
    pub harmless: u64,
    /// The log ended earlier, and the report said so.
    pub cut: u64,
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Changes made.
    pub mutations: u64,
    /// What came of them, by kind of file.
    pub kinds: BTreeMap<String, Outcomes>,
    /// Those that nobody told of.
    pub failures: Vec<Failure>,
    /// Openings that took too long.
    pub hangs: u64,
    /// Stores that could not be made or read undamaged.
    pub unmade: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.mutations += other.mutations;
        for (kind, more) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            sum.detected += more.detected;
            sum.harmless += more.harmless;
            sum.cut += more.cut;
        }
        self.failures.extend(other.failures);
        self.hangs += other.hangs;
        self.unmade += other.unmade;
    }

    pub(super) fn fail(
        &mut self,
        specimen: &Specimen,
        mutation: &Mutation,
        silent: Silent,
    ) -> String {
        let Specimen { seed, name, .. } = specimen;
        let Silent { panicked, what } = silent;
        let kind = if panicked { "panicked" } else { "silent" };
        let text = format!(
            "FAILED seed {seed} ({name}), {mutation}: {kind}: {what}\n  replay: cargo run --release \
             -p olivine-testkit --bin reliability -- rot --seed {seed} --only {mutation}"
        );
        self.failures.push(Failure { panicked, text: text.clone() });
        text
    }

    /// Whether nothing failed, and enough was changed to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.hangs == 0 && self.unmade == 0 && 0 < self.mutations
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panics = self.failures.iter().filter(|failure| failure.panicked).count();
        let silent = self.failures.len() - panics;
        let (mut detected, mut harmless, mut cut) = (0, 0, 0);
        for (kind, outcomes) in &self.kinds {
            let Outcomes { detected: d, harmless: h, cut: c } = outcomes;
            writeln!(f, "  {kind:<10} detected {d:>8} harmless {h:>8} cut {c:>6}")?;
            (detected, harmless, cut) = (detected + d, harmless + h, cut + c);
        }
        write!(
            f,
            "D bitrot   types {} mutations {} | detected {detected} harmless {harmless} cut-and-reported \
             {cut} | silent={silent} panics={panics} hangs={} | {}",
            self.kinds.len(),
            self.mutations,
            self.hangs,
            duration(self.elapsed)
        )
    }
}
