//! What a run of the fault tier found, in lines.

use super::{Injected, Phase, Wrong, history};
use crate::report::{count, duration};
use olivine_vfs::{Fault, Kind};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// The name of a fault, as `--only` takes it.
pub(super) fn name(injected: &Injected) -> String {
    let name = match injected.fault {
        Fault::Eio => "eio".to_owned(),
        Fault::Enospc => "enospc".to_owned(),
        Fault::HalfWrite => "half".to_owned(),
        Fault::ShortWrite { kept } => format!("short{kept}"),
        Fault::Refused => "refused".to_owned(),
        Fault::SyncLost => "lost".to_owned(),
    };
    if injected.lasting { format!("{name}+") } else { name }
}

impl Injected {
    /// Reads `kind:index:fault` as failures print it.
    pub fn parse(text: &str) -> Result<Injected, String> {
        let mut parts = text.split(':');
        let (Some(kind), Some(index), Some(fault), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("{text:?} is not kind:index:fault, as in Write:17:eio"));
        };
        let kind = Kind::ALL.into_iter().find(|known| format!("{known:?}") == kind);
        let kind =
            kind.ok_or_else(|| format!("{text:?} names none of the kinds {:?}", Kind::ALL))?;
        let index = index.parse().map_err(|_| format!("{index:?} is no index"))?;
        let (fault, lasting) =
            fault.strip_suffix('+').map_or((fault, false), |fault| (fault, true));
        let fault = match (fault, fault.strip_prefix("short")) {
            ("eio", _) => Fault::Eio,
            ("enospc", _) => Fault::Enospc,
            ("refused", _) => Fault::Refused,
            ("lost", _) => Fault::SyncLost,
            ("half", _) => Fault::HalfWrite,
            (_, Some(kept)) => {
                let kept = kept.parse().map_err(|_| format!("{kept:?} is no length"))?;
                Fault::ShortWrite { kept }
            }
            _ => return Err(format!("{fault:?} is none of eio, enospc, lost, half, short<bytes>")),
        };
        Ok(Injected { kind, index, fault, lasting })
    }
}

/// One failure, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of which kind.
    pub wrong: Wrong,
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Histories run.
    pub seeds: u64,
    /// Runs with one fault that was met.
    pub single: u64,
    /// Runs with two faults of which one or both were met.
    pub pairs: u64,
    /// Runs whose fault was not met.
    pub missed: u64,
    /// Single faults by phase, in the order of `Phase::ALL`.
    pub phases: [u64; Phase::ALL.len()],
    /// Single faults by kind, in the order of `Kind::ALL`.
    pub kinds: [u64; Kind::ALL.len()],
    /// Runs in which nothing was refused.
    pub survived: u64,
    /// Runs in which something was refused.
    pub refused: u64,
    /// What failed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub elapsed: Duration,
    /// Single faults and pairs that there had to be.
    pub promised: Option<(u64, u64)>,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.seeds += other.seeds;
        self.single += other.single;
        self.pairs += other.pairs;
        self.missed += other.missed;
        self.survived += other.survived;
        self.refused += other.refused;
        self.phases.iter_mut().zip(other.phases).for_each(|(sum, more)| *sum += more);
        self.kinds.iter_mut().zip(other.kinds).for_each(|(sum, more)| *sum += more);
        self.failures.extend(other.failures);
    }

    pub(super) fn fail(&mut self, seed: u64, injected: &[Injected], wrong: Wrong, what: String) {
        let told: Vec<String> = injected
            .iter()
            .map(|one| format!("{:?}:{}:{}", one.kind, one.index, name(one)))
            .collect();
        let mut text = format!("FAILED seed {seed}, {}: {wrong:?}: {what}\n", told.join(" and "));
        writeln!(text, "  replay: {}", Failure::replay(seed, injected)).ok();
        // One listing of the history is enough to read several failures by.
        if self.failures.is_empty() {
            text.push_str("  history:\n");
            for (phase, op) in history(seed) {
                writeln!(text, "    {op}    # {phase:?}").ok();
            }
        }
        self.failures.push(Failure { wrong, text });
    }

    fn failed(&self, wrong: Wrong) -> usize {
        self.failures.iter().filter(|failure| failure.wrong == wrong).count()
    }

    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && 0 < self.single && self.short().is_none()
    }

    /// In words, what was promised and not looked at.
    fn short(&self) -> Option<String> {
        let (single, pairs) = self.promised?;
        let kept = single <= self.single && pairs <= self.pairs;
        (!kept).then(|| format!("SHORT of the promised single {single} and pairs {pairs}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.iter().filter(|faults| 0 < **faults).count();
        write!(f, "C faults   seeds {} kinds {kinds} single {}", self.seeds, self.single)?;
        f.write_str(" (")?;
        for (place, phase) in Phase::ALL.iter().enumerate() {
            let name = format!("{phase:?}").to_lowercase();
            write!(f, "{}{name} {}", if place == 0 { "" } else { " " }, self.phases[place])?;
        }
        let (refused, survived) = (count(self.refused), count(self.survived));
        write!(f, ") pairs {} missed {} | ", self.pairs, self.missed)?;
        write!(f, "clean-error {refused} survived {survived} | ")?;
        write!(
            f,
            "wrong-or-acked-after-latch={} lost={} unusable={} leaked={} panics={}",
            self.failed(Wrong::Differs),
            self.failed(Wrong::Lost),
            self.failed(Wrong::Unusable),
            self.failed(Wrong::Leaked),
            self.failed(Wrong::Panicked),
        )?;
        if let Some(short) = self.short() {
            write!(f, " | {short}")?;
        }
        write!(f, " | {}", duration(self.elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_prints_is_read_back() {
        for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite { kept: 7 }, Fault::SyncLost] {
            for lasting in [false, true] {
                let injected = Injected { kind: Kind::SyncDir, index: 12, fault, lasting };
                let text = format!("SyncDir:12:{}", name(&injected));
                assert_eq!(Injected::parse(&text), Ok(injected));
            }
        }
        assert!(Injected::parse("Write:x:eio").is_err());
        assert!(Injected::parse("Jump:1:eio").is_err());
    }
}
