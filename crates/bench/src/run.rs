//! The parent's side: which stages run on which stores, in which order, in processes of their own.
//!
//! 1. A chain of stages begins in an empty directory and leaves none behind.
//! 2. Round `r` begins with another engine than round `r - 1`.
//! 3. A child that fails fails the run; only the one that was to be killed is killed.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::{Args, HELP, Task},
    child::{self, CHILD},
    keys::KeyKind,
    machine, report,
    row::Row,
    store::{Result, Stores},
};

/// The folder of the program that links the rivals.
const RIVALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rivals");

/// How a stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ByItself,
    /// So long after it said that it is ready.
    Killed(Duration),
}

/// Stages on one store, one process after the other.
struct Chain {
    name: &'static str,
    kind: KeyKind,
    threads: u32,
    /// In the first round only: it takes long, and its figure is a worst case, not a rate.
    once: bool,
    stages: &'static [(&'static str, End, &'static [&'static str])],
}

const AT_ONCE: End = End::Killed(Duration::ZERO);
const SOON: End = End::Killed(Duration::from_millis(700));

/// Everything there is. The last field of a stage are its rows: without a wanted one it is left
/// out, unless a later stage of its chain has one.
const CHAINS: [Chain; 11] = [
    Chain {
        name: "put_os",
        kind: KeyKind::Hashed,
        threads: 1,
        once: false,
        stages: &[("put_os", SOON, &["put_os"]), ("verify", End::ByItself, &["put_os"])],
    },
    Chain {
        name: "put_os_2",
        kind: KeyKind::Hashed,
        threads: 2,
        once: false,
        stages: &[("put_os", SOON, &["put_os/2"]), ("verify", End::ByItself, &["put_os/2"])],
    },
    Chain {
        name: "put_os_user",
        kind: KeyKind::User,
        threads: 1,
        once: false,
        stages: &[("put_os", AT_ONCE, &["put_os/user"])],
    },
    Chain {
        name: "put_os_shared",
        kind: KeyKind::Shared,
        threads: 1,
        once: false,
        stages: &[("put_os", AT_ONCE, &["put_os/shared"])],
    },
    Chain {
        name: "main",
        kind: KeyKind::Hashed,
        threads: 1,
        once: false,
        stages: &[
            (
                "fill_read",
                End::ByItself,
                &["fill_settle", "scan_full", "get_hot", "get_hot/2", "get_missing", "seek_next10"],
            ),
            ("small_cache", End::ByItself, &["get_small_cache"]),
            ("reopen_clean", End::ByItself, &["reopen_clean"]),
            (
                "mixed",
                End::ByItself,
                &[
                    "get_beside_puts",
                    "get_during_flush",
                    "read_while_writing",
                    "overwrite_zipf",
                    "seek_deleted",
                ],
            ),
        ],
    },
    Chain {
        name: "user",
        kind: KeyKind::User,
        threads: 1,
        once: false,
        stages: &[("fill_read", End::ByItself, &["get_hot/user", "seek_next10/user"])],
    },
    Chain {
        name: "shared",
        kind: KeyKind::Shared,
        threads: 1,
        once: false,
        stages: &[("fill_read", End::ByItself, &["get_hot/shared", "seek_next10/shared"])],
    },
    Chain {
        name: "sync",
        kind: KeyKind::Hashed,
        threads: 1,
        once: false,
        stages: &[("sync", End::ByItself, &["put_sync/1", "put_sync/8", "put_sync/16"])],
    },
    Chain {
        name: "batch",
        kind: KeyKind::Hashed,
        threads: 1,
        once: false,
        stages: &[("batch", End::ByItself, &["batch100"])],
    },
    Chain {
        name: "kill9",
        kind: KeyKind::Hashed,
        threads: 1,
        once: false,
        stages: &[
            ("fill_log", AT_ONCE, &["reopen_kill9"]),
            ("reopen_kill9", End::ByItself, &["reopen_kill9"]),
        ],
    },
    Chain {
        name: "stall",
        kind: KeyKind::Hashed,
        threads: 1,
        once: true,
        stages: &[
            ("stall", SOON, &["stall_puts"]),
            ("reopen_big_kill9", End::ByItself, &["reopen_big_kill9"]),
            ("reopen_big_clean", End::ByItself, &["reopen_big_clean"]),
        ],
    },
];

/// What `olivine-bench` does: measures, or is the child of one that does.
pub fn main(stores: &dyn Stores) -> ExitCode {
    let mut words = env::args().skip(1);
    match words.next().as_deref() {
        Some(CHILD) => child::run(stores, words),
        Some("engine") => {
            let words: Vec<String> = words.collect();
            if words.iter().any(|word| word == "--help" || word == "-h") {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            match Args::parse(words).and_then(|args| measure(&args)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    eprintln!("olivine-bench: {failure}");
                    ExitCode::FAILURE
                }
            }
        }
        Some("--help" | "-h") | None => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("olivine-bench: no command is called `{other}`\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Rows of one engine: by workload, in the order of the rounds.
pub(crate) type EngineRows = BTreeMap<String, Vec<Row>>;

/// What a run found.
#[derive(Default)]
pub(crate) struct Findings {
    /// One line for each engine: version and settings.
    pub(crate) about: Vec<String>,
    pub(crate) machine: Vec<Row>,
    pub(crate) engines: Vec<(String, EngineRows)>,
    /// Workloads in the order in which they were measured.
    pub(crate) workloads: Vec<String>,
    /// What was there after each kill -9.
    pub(crate) kills: Vec<String>,
}

struct Run<'a> {
    args: &'a Args,
    findings: Findings,
    json: Option<fs::File>,
}

fn measure(args: &Args) -> Result<()> {
    let mut engines: Vec<String> = Vec::new();
    if args.olivine {
        engines.push("olivine".into());
    }
    engines.extend(args.rivals.iter().cloned());
    if engines.is_empty() {
        return Err("nothing to measure: `--only-rivals` without `--rivals`".into());
    }
    if !args.rivals.is_empty() {
        build_rivals()?;
    }
    let json = args.json.as_ref().map(fs::File::create).transpose()?;
    let mut run = Run { args, findings: Findings::default(), json };
    let start = Instant::now();
    run.findings.engines = engines.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    for engine in &engines {
        run.child(engine, &CHAINS[0], "describe", End::ByItself, 0)?;
    }
    run.findings.machine = machine::measure(&args.dir, args.seconds)?;
    for round in 0..args.rounds {
        for chain in &CHAINS {
            for turn in 0..engines.len() {
                let engine = &engines[(turn + round as usize) % engines.len()];
                run.chain(engine, chain, round)?;
            }
        }
    }
    print!("{}", report::render(args, &run.findings, start.elapsed()));
    Ok(())
}

fn build_rivals() -> Result<()> {
    eprintln!("building the rivals (the first time takes some minutes)");
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(Path::new(RIVALS).join("Cargo.toml"))
        .status()?;
    if status.success() { Ok(()) } else { Err("the rivals did not build".into()) }
}

impl Run<'_> {
    fn chain(&mut self, engine: &str, chain: &Chain, round: u32) -> Result<()> {
        let wanted = |rows: &&[&str]| rows.iter().any(|row| self.args.wants(row));
        let Some(last) = chain.stages.iter().rposition(|(_, _, rows)| wanted(rows)) else {
            return Ok(());
        };
        let needs_wanted: Vec<bool> =
            chain.stages.iter().map(|(_, _, rows)| wanted(rows)).collect();
        if chain.once && (round != 0 || self.args.stall_seconds <= 0.0) {
            return Ok(());
        }
        let dir = self.dir(engine);
        clear(&dir)?;
        for (index, (stage, end, _)) in chain.stages.iter().enumerate().take(last + 1) {
            // The first stage makes the store that the later ones need. Looking for every key
            // takes long, and the first round has shown it.
            let again = *stage == "verify" && round != 0;
            if (index == 0 || needs_wanted[index]) && !again {
                let started = Instant::now();
                self.child(engine, chain, stage, *end, round)?;
                let name = chain.name;
                let seconds = started.elapsed().as_secs_f64();
                eprintln!("round {round} {engine:8} {name}: {stage} {seconds:.1} s");
            }
        }
        clear(&dir)
    }

    fn dir(&self, engine: &str) -> PathBuf {
        self.args.dir.join(engine)
    }

    fn child(
        &mut self,
        engine: &str,
        chain: &Chain,
        stage: &str,
        end: End,
        round: u32,
    ) -> Result<()> {
        let program = match engine {
            "olivine" => env::current_exe()?,
            _ => Path::new(RIVALS).join("target/release/olivine-rivals"),
        };
        let task = Task {
            engine: engine.to_owned(),
            stage: stage.to_owned(),
            kind: chain.kind,
            threads: chain.threads,
            dir: self.dir(engine),
            records: self.args.records,
            seconds: self.args.seconds,
            stall_seconds: self.args.stall_seconds,
            memory_bytes: self.args.memory_bytes,
            workloads: self.args.workloads.clone(),
            smoke: self.args.smoke,
        };
        let mut child = Command::new(&program)
            .arg(CHILD)
            .args(task.encode())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let killed = self.listen(engine, &mut child, end, round);
        if !matches!(killed, Ok(false)) {
            child.kill()?;
        }
        let status = child.wait()?;
        if !killed? && !status.success() {
            return Err(format!("{engine} failed in stage {stage}").into());
        }
        Ok(())
    }

    /// Takes the child's lines until its end or until it is time to kill it; whether it is.
    fn listen(&mut self, engine: &str, child: &mut Child, end: End, round: u32) -> Result<bool> {
        let stdout = child.stdout.take().ok_or("the child has no output")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(row) = Row::decode(&line) {
                self.take(engine, row, round)?;
            } else if let Some(about) = line.strip_prefix("about\t") {
                self.findings.about.push(format!("{engine}: {about}"));
            } else if let Some(kill) = line.strip_prefix("kill9\t") {
                self.findings.kills.push(format!("{engine} {kill}"));
            } else if line == "ready"
                && let End::Killed(after) = end
            {
                let after = if self.args.smoke { after / 10 } else { after };
                thread::sleep(after);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, engine: &str, row: Row, round: u32) -> Result<()> {
        if !self.args.wants(&row.workload) {
            return Ok(());
        }
        if let Some(json) = &mut self.json {
            writeln!(json, "{}", row.json(engine, round))?;
        }
        if !self.findings.workloads.contains(&row.workload) {
            self.findings.workloads.push(row.workload.clone());
        }
        for (name, rows) in &mut self.findings.engines {
            if name == engine {
                rows.entry(row.workload.clone()).or_default().push(row.clone());
            }
        }
        Ok(())
    }
}

fn clear(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(fs::create_dir_all(dir)?),
    }
}
