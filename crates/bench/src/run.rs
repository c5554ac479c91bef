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
    time::Instant,
};

use crate::{
    args::{Args, HELP, Task},
    blobs,
    chains::{CHAINS, Chain, End},
    chart,
    child::{self, CHILD},
    chunks, estimate, machine, report,
    row::Row,
    series, server,
    store::{Result, Stores},
};

/// The folder of the program that links the rivals.
const RIVALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rivals");

/// What `olivine-bench` does: measures, or is the child of one that does.
pub fn main(stores: &dyn Stores) -> ExitCode {
    let mut words = env::args().skip(1);
    match words.next().as_deref() {
        Some(CHILD) => child::run(stores, words),
        Some("chart") => chart::main(words),
        Some("blobs") => blobs::main(words),
        Some("server") => server::main(words),
        Some("chunks") => chunks::main(words),
        Some("series") => series::main(words),
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
    let wanted = CHAINS.iter().filter(|chain| chain.wanted(args));
    for (engine, variant) in wanted.flat_map(|chain| chain.variants) {
        if let Some(place) = engines.iter().position(|name| name == engine) {
            engines.insert(place + 1, (*variant).to_owned());
        }
    }
    let json = args.json.as_ref().map(fs::File::create).transpose()?;
    let mut run = Run { args, findings: Findings::default(), json };
    if let Some(json) = &mut run.json {
        let (records, rounds, memory) = (args.records, args.rounds, args.memory_bytes);
        writeln!(json, "{{\"records\":{records},\"rounds\":{rounds},\"memory_bytes\":{memory}}}")?;
    }
    let start = Instant::now();
    run.findings.engines = engines.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    for engine in &engines {
        run.child(engine, &CHAINS[0], "describe", End::ByItself, 0)?;
    }
    let seconds = estimate::seconds(args, &engines, 0);
    eprintln!("this will take about {}", estimate::show(seconds));
    run.findings.machine = machine::measure(&args.dir, args.seconds)?;
    for round in 0..args.rounds {
        for chain in &CHAINS {
            let engines: Vec<&String> = engines.iter().filter(|name| chain.takes(name)).collect();
            for turn in 0..engines.len() {
                run.chain(engines[(turn + round as usize) % engines.len()], chain, round)?;
            }
        }
        if round == 0 && 1 < args.rounds {
            let left = estimate::left(args, &engines, start.elapsed());
            eprintln!("about {} to go", estimate::show(left));
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
        let wanted: Vec<bool> = chain.stages.iter().map(|stage| stage.wanted(self.args)).collect();
        let Some(last) = wanted.iter().rposition(|wanted| *wanted) else { return Ok(()) };
        if !chain.runs_in(round, self.args) {
            return Ok(());
        }
        let dir = self.dir(engine);
        clear(&dir)?;
        for (index, stage) in chain.stages.iter().enumerate().take(last + 1) {
            // The first stage makes the store that the later ones need. Looking for every key
            // takes long, and the first round has shown it.
            let again = stage.name == "verify" && round != 0;
            if (index == 0 || wanted[index]) && !again {
                let started = Instant::now();
                self.child(engine, chain, stage.name, stage.end, round)?;
                let (name, stage) = (chain.name, stage.name);
                let seconds = started.elapsed().as_secs_f64();
                eprintln!("round {round} {engine:12} {name}: {stage} {seconds:.1} s");
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
