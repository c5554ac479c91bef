//! Memory tier: a process that writes, reads and scans stays within its budget.
//!
//! A child process works on ten times its budget of data, from several threads, on the machine's disk.
//! Where a memory cgroup can be made, the child lives in one whose limit is the budget and what is
//! allowed beside it: the kernel kills whoever takes more, page cache makes way. The child watches its
//! own resident memory as well.
//!
//! 1. Resident memory never passes the budget plus `BESIDE_BYTES`.
//! 2. Every value read is the one of its key.

use crate::report::{count, duration};
use olivine_vfs::{Open, RealVfs, Vfs};
use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

mod cgroup;
mod child;

use cgroup::Cgroup;
pub use child::run_child;

/// What a process may hold beside the budget: code, stacks, buffers, what malloc cannot give back.
const BESIDE_BYTES: u64 = 64 << 20;

/// Data in the store, in budgets.
const DATA_BUDGETS: u64 = 10;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what is written and read.
    pub seed: u64,
    /// How long, once the data is there.
    pub seconds: u64,
    /// The budget.
    pub budget_bytes: u64,
    /// Where the store lies.
    pub dir: PathBuf,
    /// This program.
    pub program: PathBuf,
}

/// What a child came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    budget_bytes: u64,
    /// The most that was resident.
    peak_bytes: u64,
    /// What the budget knew of, when the most was resident.
    charged: String,
    data_bytes: u64,
    puts: u64,
    gets: u64,
    scans: u64,
    wrong: u64,
    seconds: u64,
    /// Which limit the kernel set, or why it set none.
    limit: String,
    /// Why the child ended otherwise.
    died: Option<String>,
}

impl Summary {
    /// Whether memory held, and something was done in it.
    pub fn passed(&self) -> bool {
        let held = self.peak_bytes <= self.budget_bytes + BESIDE_BYTES && 0 < self.peak_bytes;
        let worked = 0 < self.puts && 0 < self.gets && 0 < self.scans;
        held && worked && self.wrong == 0 && self.died.is_none()
    }

    /// Reads what a child printed.
    fn parse(line: &str) -> Option<Summary> {
        let mut words = line.strip_prefix(child::RESULT)?.split_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        Some(Summary {
            peak_bytes: number()?,
            data_bytes: number()?,
            puts: number()?,
            gets: number()?,
            scans: number()?,
            wrong: number()?,
            charged: words.collect::<Vec<_>>().join(" "),
            ..Summary::default()
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let Summary { budget_bytes, peak_bytes, charged, data_bytes, .. } = self;
        writeln!(f, "  at the peak the budget held: {charged}; limit: {}", self.limit)?;
        if let Some(died) = &self.died {
            writeln!(f, "  the working process ended: {died}")?;
        }
        write!(
            f,
            "M memory   {} of work, data {} MiB",
            duration(Duration::from_secs(self.seconds)),
            mib(*data_bytes)
        )?;
        write!(
            f,
            " puts {} gets {} scans {}",
            count(self.puts),
            count(self.gets),
            count(self.scans)
        )?;
        write!(
            f,
            " | resident at most {} MiB, budget {} MiB",
            mib(*peak_bytes),
            mib(*budget_bytes)
        )?;
        let over = peak_bytes.saturating_sub(budget_bytes + BESIDE_BYTES);
        write!(f, " | over-by={over} wrong={} died={}", self.wrong, u64::from(self.died.is_some()))
    }
}

/// Runs `plan`. An error is a tier that could not be run.
pub fn run(plan: &Plan) -> Result<Summary, String> {
    let told = |error: std::io::Error| error.to_string();
    let limit_bytes = plan.budget_bytes + BESIDE_BYTES;
    let cgroup = Cgroup::with_limit(limit_bytes);
    let mut child = Command::new(&plan.program)
        .arg("memory-child")
        .arg(&plan.dir)
        .args([plan.seed, plan.seconds, plan.budget_bytes, DATA_BUDGETS].map(|n| n.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(told)?;
    let limit = match &cgroup {
        Ok(cgroup) => match cgroup.enter(child.id()) {
            Ok(()) => format!("{} MiB by {}", limit_bytes >> 20, cgroup.kind),
            Err(why) => format!("SKIPPED: {why}"),
        },
        Err(why) => format!("SKIPPED: {why}"),
    };
    // It waits for this word, so that everything it allocates counts.
    if let Some(mut input) = child.stdin.take() {
        input.write_all(b"go\n").map_err(told)?;
    }
    let output = child.wait_with_output().map_err(told)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    drop(cgroup);
    remove(&plan.dir);
    let mut summary = text.lines().find_map(Summary::parse).unwrap_or_default();
    if !output.status.success() {
        let last = text.lines().last().unwrap_or_default();
        summary.died = Some(format!("{} {last}", output.status));
    }
    Ok(Summary { budget_bytes: plan.budget_bytes, seconds: plan.seconds, limit, ..summary })
}

/// Removes a store's directory and the files in it.
fn remove(dir: &Path) {
    for entry in RealVfs.list(dir).unwrap_or_default() {
        RealVfs.remove_file(&dir.join(entry.name)).ok();
    }
    RealVfs.remove_dir(dir).ok();
}

/// A small file that the kernel makes, as text.
fn kernel_text(path: &Path) -> Option<String> {
    let mut bytes = vec![0; 8192];
    let file = RealVfs.open(path, Open::Read).ok()?;
    let read = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(peak_bytes: u64) -> Summary {
        let line = format!("{}{peak_bytes} 2 3 4 5 0 all of it", child::RESULT);
        let parsed = Summary::parse(&line).expect("a result");
        Summary { budget_bytes: 64 << 20, ..parsed }
    }

    #[test]
    fn a_byte_too_many_is_too_many() {
        assert!(summary(128 << 20).passed());
        assert!(!summary((128 << 20) + 1).passed());
        assert_eq!(summary(1).charged, "all of it");
    }

    #[test]
    fn a_process_that_was_killed_or_did_nothing_has_failed() {
        assert!(!Summary { died: Some("signal 9".to_owned()), ..summary(1) }.passed());
        assert!(!Summary { scans: 0, ..summary(1) }.passed());
        assert!(!Summary::default().passed());
    }
}
