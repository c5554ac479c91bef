//! `olivine-bench blobs`: Olivine's store of blobs beside minikeyvalue and nginx, in one run.
//!
//! The same clients ask all of them over loopback, one thread for all clients. Ours is measured in one process and in
//! a process for the master and each volume; all that it acknowledges is on the disk, nothing of the others is.
//!
//! 1. Stores take turns, in every round again; figures are medians of the rounds.
//! 2. What the servers used of the processors is told beside what the clients used.
//! 3. What is left out is told, and why.

mod bare;
mod bulk;
mod figures;
mod load;
mod site;
mod wire;
mod works;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{drive::Until, store::Result};
use figures::{Figure, Figures};
use load::Work;
use site::{Kind, Site};
use works::{Cycles, Direct, Missing, Puts, Redirects, Scene, Values};

const HELP: &str = "\
Measures the store of blobs beside minikeyvalue and nginx, all of them over loopback and by the same clients.

usage: olivine-bench blobs [options]

  --rounds R           repetitions; stores take turns (3)
  --seconds S          length of a phase (3)
  --clients N          clients, each with one request under way (16)
  --objects N          objects of the rows that need many: listing, bytes on disk, memory (1000000);
                       0 leaves them out
  --stages LIST        cycles,replicas,missing,redirect,put,get,bulk (all)
  --only LIST          ours (one process), split (master and volumes), ours-mkv and split-mkv (the same, speaking as
                       minikeyvalue does: the master brings objects to the volumes), mkv (minikeyvalue), nginx (all)
  --minikeyvalue DIR   where the sources of minikeyvalue lie, which is built with Debian's packages golang,
                       golang-github-syndtr-goleveldb-dev and golang-github-google-uuid-dev; also MINIKEYVALUE=DIR.
                       Without them its rows are left out
  --dir DIR            where the stores are made, on the disk to be measured (target/bench-blobs)
  --json FILE          also write every figure there, one JSON object a line
  --quick              one round, phases of a second, 50000 objects
  --smoke              one round, everything short: checks answers, not speed

nginx is Debian's (package nginx-light); minikeyvalue needs it too.

rows are what is measured and who does it:
  cycles       a client writes 25 bytes, reads them back through the redirect, and takes them away
  cycles x3    the same with 3 replicas on 5 volumes
  missing      the master is asked for keys that are not there
  redirect     the master is asked for keys that are there; the redirect is not followed
  put 1 KiB    new keys, each answered once it is on the disk; bare: 16 threads that append to one file and share syncs
  get 1 KiB    the volume is asked where the redirect led; nginx serves the same bytes as files
  get 1 MiB    the same with larger values
  bulk         objects of 1 KiB: bytes on the disk beyond key and value, without what an empty store takes; memory
               after opening, without that of an empty store; the time of listing all keys

examples:
  olivine-bench blobs --minikeyvalue ~/minikeyvalue
  olivine-bench blobs --quick --only ours,nginx --stages put,get
";

/// The variable that names the sources of minikeyvalue.
const MINIKEYVALUE: &str = "MINIKEYVALUE";
const STAGES: [&str; 7] = ["cycles", "replicas", "missing", "redirect", "put", "get", "bulk"];
/// Bytes of the values of a cycle.
const SMALL_BYTES: usize = 25;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Keys that are read over and over.
const SMALL_KEYS: u64 = 5_000;
const LARGE_KEYS: u64 = 64;
/// What is read where it lies: row, prefix, bytes and number of the keys.
const READS: [(&str, &str, usize, u64); 2] =
    [("get 1 KiB", "kib", KIB, SMALL_KEYS), ("get 1 MiB", "mib", MIB, LARGE_KEYS)];
/// How long a master may take to know its volumes.
const PATIENCE: Duration = Duration::from_secs(20);
const BARE_THREADS: usize = 16;
/// The first number of what is measured: keys of the warming up are others.
const MEASURED: u64 = 1 << 32;

struct Args {
    rounds: usize,
    seconds: f64,
    clients: usize,
    objects: u64,
    stages: Vec<String>,
    only: Vec<Kind>,
    minikeyvalue: Option<PathBuf>,
    dir: PathBuf,
    json: Option<PathBuf>,
}

impl Args {
    fn wants(&self, stage: &str) -> bool {
        self.stages.iter().any(|wanted| wanted == stage)
    }

    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

pub(crate) fn main(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match args(words).and_then(|args| measure(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("olivine-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn args(words: Vec<String>) -> Result<Args> {
    let mut args = Args {
        rounds: 3,
        seconds: 3.0,
        clients: 16,
        objects: 1_000_000,
        stages: STAGES.map(str::to_owned).to_vec(),
        only: Kind::ALL.to_vec(),
        minikeyvalue: env::var_os(MINIKEYVALUE).map(PathBuf::from),
        dir: "target/bench-blobs".into(),
        json: None,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => (args.rounds, args.seconds, args.objects) = (1, 1.0, 50_000),
            "--smoke" => (args.rounds, args.seconds, args.objects) = (1, 0.05, 500),
            _ => {
                let value = words.next().ok_or_else(|| format!("`{word}` wants a value"))?;
                option(&mut args, &word, &value)?;
            }
        }
    }
    if args.rounds == 0 || args.clients == 0 {
        return Err("`--rounds` and `--clients` are at least 1".into());
    }
    Ok(args)
}

fn option(args: &mut Args, word: &str, value: &str) -> Result<()> {
    match word {
        "--rounds" => args.rounds = value.parse()?,
        "--seconds" => args.seconds = value.parse()?,
        "--clients" => args.clients = value.parse()?,
        "--objects" => args.objects = value.parse()?,
        "--stages" => args.stages = list(value, &STAGES, |stage| stage)?,
        "--only" => args.only = list(value, &Kind::ALL, Kind::name)?,
        "--minikeyvalue" => args.minikeyvalue = Some(value.into()),
        "--dir" => args.dir = value.into(),
        "--json" => args.json = Some(value.into()),
        other => return Err(format!("no option `{other}`\n\n{HELP}").into()),
    }
    Ok(())
}

/// Those of `all` that a list names.
fn list<T: Copy, O>(value: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<O>>
where
    O: From<T>,
{
    let find = |word: &str| {
        let found = all.iter().copied().find(|one| name(*one) == word);
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        found.map(O::from).ok_or_else(|| format!("{word:?} is none of {}", names.join(", ")).into())
    };
    value.split(',').map(find).collect()
}

/// A run: what was asked for, and what is there to be measured.
struct Run<'a> {
    args: &'a Args,
    minikeyvalue: Option<PathBuf>,
    kinds: Vec<Kind>,
    values: Arc<Values>,
    figures: Figures,
}

fn measure(args: &Args) -> Result<()> {
    drop(fs::remove_dir_all(&args.dir));
    fs::create_dir_all(&args.dir)?;
    let mut figures = Figures::default();
    let (minikeyvalue, kinds) = there(args, &mut figures);
    figures.load_before = load_average();
    let mut run = Run { args, minikeyvalue, kinds, values: Arc::new(Values::new(MIB)), figures };
    for round in 0..args.rounds {
        let mut turns = run.kinds.clone();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for kind in turns {
            run.turn(kind)?;
        }
        if args.wants("put") {
            run.bare()?;
        }
    }
    if args.wants("bulk") && 0 < args.objects {
        for kind in [Kind::Ours, Kind::Split] {
            if run.kinds.contains(&kind) {
                bulk::measure(&mut run, kind)?;
            }
        }
    }
    run.figures.load_after = load_average();
    drop(fs::remove_dir_all(&args.dir));
    print!("{}", run.figures.report());
    if let Some(path) = &args.json {
        fs::write(path, run.figures.json())?;
    }
    Ok(())
}

/// Who can be measured here; who cannot is told.
fn there(args: &Args, figures: &mut Figures) -> (Option<PathBuf>, Vec<Kind>) {
    let mut kinds = args.only.clone();
    let mut minikeyvalue = None;
    let mut leave_out = |kinds: &mut Vec<Kind>, kind: Kind, why: String| {
        kinds.retain(|other| *other != kind);
        let line = format!("LEFT OUT: {}: {why}", kind.name());
        eprintln!("{line}");
        figures.left_out.push(line);
    };
    if let Err(why) = site::installed("nginx") {
        for kind in [Kind::Nginx, Kind::Minikeyvalue] {
            if kinds.contains(&kind) {
                leave_out(&mut kinds, kind, why.to_string());
            }
        }
    }
    if kinds.contains(&Kind::Minikeyvalue) {
        let sources = args.minikeyvalue.as_deref().ok_or_else(|| {
            format!(
                "no sources of it; say where they are with --minikeyvalue DIR or {MINIKEYVALUE}=DIR"
            )
            .into()
        });
        let built = |sources: &Path| site::build_minikeyvalue(sources, &args.dir.join("build"));
        match sources.and_then(built) {
            Ok(program) => minikeyvalue = Some(program),
            Err(why) => leave_out(&mut kinds, Kind::Minikeyvalue, why.to_string()),
        }
    }
    (minikeyvalue, kinds)
}

/// How many processes wanted to run in the last minute.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

impl Run<'_> {
    /// Everything that one store is asked in one round.
    fn turn(&mut self, kind: Kind) -> Result<()> {
        let dir = self.args.dir.join(kind.name());
        drop(fs::remove_dir_all(&dir));
        if kind == Kind::Nginx {
            if self.args.wants("get") {
                self.files(&dir)?;
            }
            return Ok(());
        }
        if ["cycles", "missing", "redirect", "put", "get"].iter().any(|s| self.args.wants(s)) {
            let site = self.start(kind, &dir.join("one"), (1, 1))?;
            self.single(&site)?;
        }
        if self.args.wants("replicas") && !kind.is_one() {
            let site = self.start(kind, &dir.join("three"), (5, 3))?;
            self.phase(&site, "cycles x3", &mut Cycles(self.scene(&site, "cycle", SMALL_BYTES)))?;
        }
        drop(fs::remove_dir_all(&dir));
        Ok(())
    }

    fn start(&self, kind: Kind, dir: &Path, shape: (usize, usize)) -> Result<Site> {
        let site = Site::start(kind, dir, shape, self.minikeyvalue.as_deref())?;
        if kind == Kind::Nginx {
            return Ok(site);
        }
        // A master that has just started does not know its volumes yet.
        let began = Instant::now();
        loop {
            let mut probe = Puts(self.scene(&site, "probe", SMALL_BYTES));
            match load::run(1, 0, Until::Count(1), &mut probe) {
                Ok(_) => return Ok(site),
                Err(failure) if PATIENCE < began.elapsed() => return Err(failure),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn scene(&self, site: &Site, prefix: &'static str, value_bytes: usize) -> Scene {
        Scene { values: Arc::clone(&self.values), master: site.master.clone(), value_bytes, prefix }
    }

    /// What is asked of one replica.
    fn single(&mut self, site: &Site) -> Result<()> {
        if self.args.wants("cycles") {
            self.phase(site, "cycles", &mut Cycles(self.scene(site, "cycle", SMALL_BYTES)))?;
        }
        if matches!(site.kind, Kind::OursBrings | Kind::SplitBrings) {
            return Ok(());
        }
        if self.args.wants("missing") {
            self.phase(site, "missing", &mut Missing(self.scene(site, "missing", SMALL_BYTES)))?;
        }
        if self.args.wants("redirect") {
            let mut redirects = self.filled(site, "present", SMALL_BYTES, SMALL_KEYS)?;
            self.phase(site, "redirect", &mut redirects)?;
        }
        if self.args.wants("put") {
            self.phase(site, "put 1 KiB", &mut Puts(self.scene(site, "new", KIB)))?;
        }
        if self.args.wants("get") {
            for (row, prefix, bytes, keys) in READS {
                let mut redirects = self.filled(site, prefix, bytes, keys)?;
                load::run(self.args.clients, 0, Until::Count(keys), &mut redirects)?;
                let Redirects { scene, places, .. } = redirects;
                self.phase(site, row, &mut Direct { scene, places })?;
            }
        }
        Ok(())
    }

    /// Writes so many keys. Returns who asks where they are.
    fn filled(
        &self,
        site: &Site,
        prefix: &'static str,
        bytes: usize,
        keys: u64,
    ) -> Result<Redirects> {
        let scene = self.scene(site, prefix, bytes);
        load::run(self.args.clients, 0, Until::Count(keys), &mut Puts(scene.clone()))?;
        Ok(Redirects { scene, keys, places: vec![Default::default(); keys as usize] })
    }

    /// The same values as files that nginx serves.
    fn files(&mut self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let site = self.start(Kind::Nginx, dir, (1, 1))?;
        for (row, prefix, bytes, keys) in READS {
            let scene = self.scene(&site, prefix, bytes);
            for number in 0..keys {
                let value = scene.values.at(Values::place(number, bytes));
                fs::write(dir.join(scene.key(number)), value)?;
            }
            let place = |number| (site.master.clone(), format!("/{}", scene.key(number)));
            let places = (0..keys).map(place).collect();
            self.phase(&site, row, &mut Direct { scene, places })?;
        }
        Ok(())
    }

    /// Measures one phase of a site, after a fifth of its length for warming up.
    fn phase(&mut self, site: &Site, what: &'static str, work: &mut dyn Work) -> Result<()> {
        let length = self.args.length();
        let clients = self.args.clients;
        load::run(clients, 0, Until::Elapsed(length / 5), work)?;
        let before = site.cpu()?;
        let outcome = load::run(clients, MEASURED, Until::Elapsed(length), work)?;
        let server = site.cpu()?.saturating_sub(before);
        self.figures.add(what, site.kind.name(), Figure::new(&outcome, server));
        Ok(())
    }

    /// What the disk gives.
    fn bare(&mut self) -> Result<()> {
        let (per_second, times) = bare::run(&self.args.dir, BARE_THREADS, KIB, self.args.length())?;
        self.figures.add("put 1 KiB", "bare", Figure::bare(per_second, &times));
        Ok(())
    }
}
