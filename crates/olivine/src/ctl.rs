//! `olivine ctl`: starts, stops and looks after the processes of a node, as services in the background.
//!
//! What a service is and does stands in one table (`service.rs`); `state.rs` tells how one stands, `start.rs` and `stop.rs` change
//! that, `status.rs` shows it, `log.rs` is where its output goes.
//!
//! 1. A process is signalled only while the kernel says that it holds the service's pid file.
//! 2. What is said to be started answers; what is said to be stopped has ended.
//! 3. Services start after those they need, and stop before them.
//! 4. One call at a time changes what runs in a data directory.

mod log;
mod service;
mod start;
mod state;
mod status;
mod stop;

use std::{
    io::{self, Write},
    time::Duration,
};

use olivine_vfs::{Guard, Lock, RealVfs, Vfs as _, make_dirs};

use crate::{
    call::{Call, Command, JSON, Opt, nearest},
    config::{CONFIG, Layers},
    ending::{Ending, Failure},
    json::Json,
};

use service::{SERVICES, Service, Unit};

const TIMEOUT: Opt = Opt::value(
    "--timeout",
    "N",
    "seconds until a service must answer that is started (30), or have ended that is stopped (5 more than its\ndrain-time-max: 15)",
);
/// How long a service may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end in order, once its connections have.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const COMMAND: Command = Command {
    name: "ctl",
    what: "start, stop and look after the processes of a node",
    about: "Ctl looks after services, which are processes in the background. ACTION is one of: start, and wait until they answer; \
        stop, by SIGTERM, and wait until they have ended; restart; status. SERVICE is all, or one of: storage, which is `olivine storage`; \
        kv, which is `olivine coordinator`, the doors to its key-values; insert and select, which are the commands of these names, the \
        doors to its time series.",
    operands: &["ACTION", "[SERVICE]"],
    options: &[&[
        CONFIG,
        Opt::value("--data-dir", "DIR", "where everything lies").or("data"),
        TIMEOUT,
        Opt::switch("--force", "stop, restart: what does not end in time is killed"),
        JSON,
    ]],
    notes: "Services take their options from the configuration: `olivine config show storage`. Their events are in log/SERVICE.log of \
        the data directory unless log-file is set, and what else they say in log/SERVICE.out. status exits with 0 when the service runs, 1 when it died and its pid file is there, 3 when it does not run, \
        4 when that cannot be told; of several, the first of 4, 1, 3, 0 that is so of one.",
    examples: &[
        "olivine ctl start",
        "olivine ctl status --json",
        "olivine ctl restart storage --config /etc/olivine/olivine.toml",
        "olivine ctl stop all --force --data-dir /srv/olivine",
    ],
    run,
};

const ACTIONS: [&str; 4] = ["start", "stop", "restart", "status"];

fn run(call: &Call) -> Result<Ending, Failure> {
    let known = ACTIONS.join(", ");
    let Some(action) = call.operand(0).map(|action| action.to_string_lossy().into_owned()) else {
        return Err(Failure::misused(format!("say what to do: {known}")));
    };
    if !ACTIONS.contains(&action.as_str()) {
        let hint = match nearest(&action, &ACTIONS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {known}"),
        };
        return Err(Failure::misused(format!("no action `{action}`; {hint}")));
    }
    let chosen = chosen(call)?;
    let layers = Layers::read(call.value(CONFIG.name))?;
    let units = chosen.into_iter().map(|service| Unit::of(service, call, &layers));
    let units = units.collect::<Result<Vec<_>, _>>()?;
    if action == "status" {
        return status::run(call, &units);
    }
    let patience = call.count(TIMEOUT.name)?.map(Duration::from_secs);
    let _locks = locked(&units, action != "stop")?;
    let force = call.has("--force");
    let mut report = Report { json: call.has("--json"), done: Vec::new() };
    if action != "start" {
        for unit in units.iter().rev() {
            let patience = patience.unwrap_or(unit.drain + CLOSE_PATIENCE);
            report.add(stop::run(unit, patience, force)?)?;
        }
    }
    if action != "stop" {
        for unit in &units {
            report.add(start::run(unit, patience.unwrap_or(START_PATIENCE))?)?;
        }
    }
    report.end()?;
    Ok(Ending::Good)
}

/// The services that were asked for, in the order in which they start.
fn chosen(call: &Call) -> Result<Vec<&'static Service>, Failure> {
    let name = call.operand(1).map_or("all".into(), |name| name.to_string_lossy());
    if name == "all" {
        return Ok(SERVICES.iter().collect());
    }
    let service = SERVICES.iter().find(|service| service.is_called(&name));
    service.map(|service| vec![service]).ok_or_else(|| {
        let known: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        let known = known.join(", ");
        Failure::misused(format!("no service `{name}`; there are {known}, and all"))
    })
}

/// Keeps other calls from changing what runs in the same places.
fn locked(units: &[Unit], makes: bool) -> Result<Vec<Box<dyn Guard>>, Failure> {
    let mut dirs: Vec<_> = units.iter().map(|unit| unit.data_dir.join("run")).collect();
    dirs.dedup();
    let mut guards = Vec::new();
    for dir in dirs {
        let failed = |what: &str| Failure::io(format!("cannot {what} {}", dir.display()));
        if makes {
            let what = format!("cannot make {}; see --data-dir", dir.display());
            make_dirs(&RealVfs, &dir).map_err(Failure::io(what))?;
        } else if matches!(RealVfs.entry(&dir), Ok(None)) {
            // Where nothing ever ran there is nothing to stop.
            continue;
        }
        match RealVfs.lock(&dir.join("ctl.lock")).map_err(failed("lock"))? {
            Lock::Held(guard) => guards.push(guard),
            Lock::Busy { holder } => {
                let what = format!("another `olivine ctl`, process {holder}, is at work");
                let text = format!("{what} in {}; try again when it is done", dir.display());
                return Err(Failure::new(Ending::Locked, text));
            }
        }
    }
    Ok(guards)
}

/// What was done to a service.
struct Done {
    service: &'static str,
    /// `started`, `running`, `stopped`, `not running`, `killed`.
    did: &'static str,
    pid: Option<u32>,
    /// What people are told of it.
    lines: Vec<String>,
    /// What it has open.
    doors: Vec<(String, String)>,
}

/// What was done: told as it happens, or at the end in JSON.
struct Report {
    json: bool,
    done: Vec<Done>,
}

impl Report {
    fn add(&mut self, done: Done) -> Result<(), Failure> {
        if !self.json {
            let mut out = io::stdout().lock();
            for line in &done.lines {
                writeln!(out, "{}: {line}", done.service)?;
            }
            out.flush()?;
        }
        self.done.push(done);
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let services = self.done.into_iter().map(|done| {
            Json::object([
                ("service", done.service.into()),
                ("did", done.did.into()),
                ("pid", done.pid.map(u64::from).into()),
                ("doors", doors_json(&done.doors)),
                ("told", Json::list(done.lines)),
            ])
        });
        let answer = Json::object([("services", Json::list(services))]);
        writeln!(io::stdout().lock(), "{answer}")?;
        Ok(())
    }
}

/// Doors and their addresses.
fn doors_json(doors: &[(String, String)]) -> Json {
    let members = doors.iter().map(|(door, address)| (door.clone(), address.as_str().into()));
    Json::Object(members.collect())
}

/// The same for people.
fn doors_shown(doors: &[(String, String)]) -> String {
    let doors: Vec<String> =
        doors.iter().map(|(door, address)| format!("{door} {address}")).collect();
    doors.join(", ")
}
