//! How long a run will take, before it is begun and again when its first round is known.

use std::time::Duration;

use crate::{
    args::Args,
    chains::{CHAINS, Chain},
};

const USUAL_MEMORY_BYTES: f64 = (320 << 20) as f64;
/// What phases of the stall row take beside loading its store.
const STALL_SECONDS: f64 = 60.0;

/// Seconds of the rounds from `first` on, for `engines`.
pub(crate) fn seconds(args: &Args, engines: &[String], first: u32) -> f64 {
    let memory = args.memory_bytes as f64 / USUAL_MEMORY_BYTES;
    let millions = args.records as f64 / 1e6;
    let one = |round: u32, chain: &Chain| {
        let takers = engines.iter().filter(|engine| chain.takes(engine)).count() as f64;
        let [mut per_memory, per_million, per_second] = chain.costs;
        if round == 0 {
            per_memory += chain.first_costs;
        }
        let mut seconds = per_memory * memory + per_million * millions + per_second * args.seconds;
        if chain.name == "stall" {
            seconds += args.stall_seconds - STALL_SECONDS;
        }
        takers * seconds
    };
    let wanted = |round| CHAINS.iter().filter(move |chain| chain.runs_in(round, args));
    let rounds = first..args.rounds;
    rounds.flat_map(|round| wanted(round).map(move |chain| one(round, chain))).sum()
}

/// What is left after the first round took `took`: the same factor off the mark.
pub(crate) fn left(args: &Args, engines: &[String], took: Duration) -> f64 {
    let (whole, rest) = (seconds(args, engines, 0), seconds(args, engines, 1));
    rest * took.as_secs_f64() / (whole - rest).max(0.001)
}

/// `90 s` or `35 min`.
pub(crate) fn show(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{:.0} s", seconds.max(0.0))
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_is_asked_for() {
        let engines = ["olivine", "rocksdb"].map(str::to_owned);
        let all = Args::default();
        let one_round = Args { rounds: 1, ..Args::default() };
        let one_row = Args { workloads: vec!["get_hot".into()], ..Args::default() };
        let of = |args| seconds(args, &engines, 0);
        assert!(of(&one_round) < of(&all) && of(&one_row) < of(&all));
        assert!(of(&all) < 3.0 * of(&one_round), "some rows belong to the first round only");
        // A first round that took twice what was thought lets the rest take twice as much.
        let thought = of(&all) - seconds(&all, &engines, 1);
        let left = left(&all, &engines, Duration::from_secs_f64(2.0 * thought));
        assert!((left / seconds(&all, &engines, 1) - 2.0).abs() < 1e-6);
        assert_eq!(show(2100.0), "35 min");
    }
}
