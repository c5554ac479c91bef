//! Which stages there are, on which stores, and which rows they give.
//!
//! 1. A row's name stands in exactly one stage, and in the help.
//! 2. A chain begins with an empty store, so no row depends on another chain.

use std::time::Duration;

use crate::{args::Args, keys::KeyKind};

/// How a stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    ByItself,
    /// So long after it said that it is ready.
    Killed(Duration),
}

const AT_ONCE: End = End::Killed(Duration::ZERO);
const SOON: End = End::Killed(Duration::from_millis(700));

/// One process's part of a chain.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) end: End,
    /// What it measures. Without a wanted row it is left out, unless a later part has one and this
    /// is the first, which makes the store.
    pub(crate) rows: &'static [&'static str],
}

impl Part {
    const fn new(name: &'static str, rows: &'static [&'static str]) -> Part {
        Part { name, end: End::ByItself, rows }
    }

    const fn ends(self, end: End) -> Part {
        Part { end, ..self }
    }

    pub(crate) fn wanted(&self, args: &Args) -> bool {
        self.rows.iter().any(|row| args.wants(row))
    }
}

/// Parts on one store, one process after the other.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) kind: KeyKind,
    pub(crate) threads: u32,
    /// In the first round only: it takes long.
    once: bool,
    /// Engines beside the asked ones: set up in a way that suits this chain only.
    pub(crate) variants: &'static [(&'static str, &'static str)],
    /// Engines for which it makes no sense.
    without: &'static [&'static str],
    /// Seconds that one engine takes: for the memory of 320 MiB, for each million records, and for
    /// each second of a phase. They need not be right, only tell a coffee from a night.
    pub(crate) costs: [f64; 3],
    /// Seconds more in the first round, for the memory of 320 MiB.
    pub(crate) first_costs: f64,
    pub(crate) stages: &'static [Part],
}

const PLAIN: Chain = Chain {
    name: "",
    kind: KeyKind::Hashed,
    threads: 1,
    once: false,
    variants: &[],
    without: &[],
    costs: [0.0; 3],
    first_costs: 0.0,
    stages: &[],
};

impl Chain {
    pub(crate) fn wanted(&self, args: &Args) -> bool {
        self.stages.iter().any(|part| part.wanted(args))
    }

    /// Whether the chain is part of round `round`.
    pub(crate) fn runs_in(&self, round: u32, args: &Args) -> bool {
        let stalls = self.name != "stall" || 0.0 < args.stall_seconds;
        self.wanted(args) && stalls && (round == 0 || !self.once)
    }

    /// Whether `engine` is measured by this chain.
    pub(crate) fn takes(&self, engine: &str) -> bool {
        let is_variant =
            CHAINS.iter().flat_map(|chain| chain.variants).any(|(_, variant)| *variant == engine);
        let is_ours = self.variants.iter().any(|(_, variant)| *variant == engine);
        !self.without.contains(&engine) && (is_ours || !is_variant)
    }
}

/// Everything there is.
pub(crate) const CHAINS: [Chain; 16] = [
    Chain {
        name: "put_os",
        costs: [10.0, 0.0, 0.0],
        first_costs: 13.0,
        stages: &[Part::new("put_os", &["put_os"]).ends(SOON), Part::new("verify", &["put_os"])],
        ..PLAIN
    },
    Chain {
        name: "put_os_2",
        threads: 2,
        costs: [10.0, 0.0, 0.0],
        first_costs: 13.0,
        stages: &[
            Part::new("put_os", &["put_os/2"]).ends(SOON),
            Part::new("verify", &["put_os/2"]),
        ],
        ..PLAIN
    },
    Chain {
        name: "put_os_user",
        kind: KeyKind::User,
        costs: [0.5, 4.0, 0.0],
        stages: &[Part::new("put_os", &["put_os/user"]).ends(AT_ONCE)],
        ..PLAIN
    },
    Chain {
        name: "put_os_shared",
        kind: KeyKind::Shared,
        costs: [0.5, 4.0, 0.0],
        stages: &[Part::new("put_os", &["put_os/shared"]).ends(AT_ONCE)],
        ..PLAIN
    },
    Chain {
        name: "main",
        costs: [0.5, 12.0, 16.0],
        stages: &[
            Part::new(
                "fill_read",
                &["fill_settle", "scan_full", "get_hot", "get_hot/2", "get_missing", "seek_next10"],
            ),
            Part::new("small_cache", &["get_small_cache"]),
            Part::new("reopen_clean", &["reopen_clean"]),
            Part::new(
                "mixed",
                &[
                    "get_beside_puts",
                    "get_during_flush",
                    "read_while_writing",
                    "overwrite_zipf",
                    "seek_deleted",
                ],
            ),
        ],
        ..PLAIN
    },
    Chain {
        name: "ycsb",
        costs: [0.5, 12.0, 0.0],
        stages: &[Part::new("ycsb", &["ycsb_a", "ycsb_b", "ycsb_c", "ycsb_e", "ycsb_f"])],
        ..PLAIN
    },
    Chain {
        name: "bulk_load",
        kind: KeyKind::User,
        costs: [0.5, 1.5, 0.0],
        stages: &[Part::new("bulk_load", &["bulk_load"])],
        ..PLAIN
    },
    Chain {
        name: "large",
        variants: &[("rocksdb", "rocksdb-blob")],
        costs: [0.5, 3.0, 1.0],
        stages: &[Part::new("large", &["put_16k", "get_16k"])],
        ..PLAIN
    },
    Chain {
        name: "queue",
        kind: KeyKind::User,
        costs: [0.5, 8.0, 2.0],
        stages: &[Part::new("queue", &["queue", "queue_unknown_head"])],
        ..PLAIN
    },
    Chain {
        name: "user",
        kind: KeyKind::User,
        costs: [0.5, 4.0, 2.0],
        stages: &[Part::new("fill_read", &["get_hot/user", "seek_next10/user"])],
        ..PLAIN
    },
    Chain {
        name: "shared",
        kind: KeyKind::Shared,
        costs: [0.5, 4.0, 2.0],
        stages: &[Part::new("fill_read", &["get_hot/shared", "seek_next10/shared"])],
        ..PLAIN
    },
    Chain {
        name: "sync",
        costs: [0.5, 0.0, 6.0],
        stages: &[Part::new("sync", &["put_sync/1", "put_sync/8", "put_sync/16"])],
        ..PLAIN
    },
    Chain {
        name: "batch",
        costs: [0.5, 2.0, 0.0],
        stages: &[Part::new("batch", &["batch100"])],
        ..PLAIN
    },
    Chain {
        name: "kill9",
        costs: [4.0, 0.0, 0.0],
        stages: &[
            Part::new("fill_log", &["reopen_kill9"]).ends(AT_ONCE),
            Part::new("reopen_kill9", &["reopen_kill9"]),
        ],
        ..PLAIN
    },
    Chain {
        name: "put_sustained",
        once: true,
        without: &["lmdb"],
        costs: [60.0, 0.0, 0.0],
        stages: &[Part::new("put_sustained", &["put_sustained"])],
        ..PLAIN
    },
    Chain {
        name: "stall",
        once: true,
        without: &["lmdb"],
        costs: [100.0, 0.0, 0.0],
        stages: &[
            Part::new("stall", &["stall_puts"]).ends(SOON),
            Part::new("reopen_big_kill9", &["reopen_big_kill9"]),
            Part::new("reopen_big_clean", &["reopen_big_clean"]),
        ],
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::HELP;

    #[test]
    fn the_help_names_every_row() {
        for row in CHAINS.iter().flat_map(|chain| chain.stages).flat_map(|part| part.rows) {
            assert!(HELP.split_whitespace().any(|word| word == *row), "`{row}` is not in the help");
        }
    }

    #[test]
    fn a_variant_is_measured_where_it_belongs_only() {
        let takers = |engine| CHAINS.iter().filter(move |chain| chain.takes(engine)).count();
        assert_eq!(takers("olivine"), CHAINS.len());
        assert_eq!(takers("lmdb"), CHAINS.len() - 2);
        assert_eq!(takers("rocksdb-blob"), 1);
    }
}
