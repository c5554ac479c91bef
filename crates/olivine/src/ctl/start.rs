//! Starts a service and waits until it answers.
//!
//! 1. What runs already is left as it is, and said so.
//! 2. A process that ends instead of answering is told with its exit code, which becomes ours, and the last lines of what it said; one
//!    that takes too long is told with them and left to go on.

use std::{
    env,
    fmt::Write as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use olivine_vfs::{Clock as _, RealClock};

use super::{
    Done, doors_shown, log,
    service::Unit,
    state::{State, Told, told},
};
use crate::{
    ending::{Ending, Failure},
    presence::SERVICE,
};

/// How often it is looked whether it answers.
const LOOK: Duration = Duration::from_millis(20);
/// How long the store of a process that was killed may be held after its pid file: the system lets go of one
/// after the other. And how often it is tried meanwhile.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
const RELEASE_LOOK: Duration = Duration::from_millis(100);
/// How long one question may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn run(unit: &Unit, patience: Duration) -> Result<Done, Failure> {
    let mut lines = Vec::new();
    match State::of(unit) {
        State::Stopped => {}
        State::Dead(pid) => lines.push(format!(
            "process {pid} ended without taking its pid file away; it is started anew"
        )),
        State::Running(told) => return Ok(runs_already(unit, told)),
        State::Starting(pid) => {
            let lines = vec![format!("process {pid} is starting already")];
            return Ok(done(unit, "running", Some(pid), lines));
        }
        State::Unclear(why) => {
            return Err(Failure::new(Ending::Unreachable, format!("{}: {why}", unit.name())));
        }
    }
    if let Some(pid) = State::of_whole(unit).pid().filter(|_| unit.service.has_store) {
        let dir = unit.data_dir.display();
        let what = format!("`olivine serve`, process {pid}, has the data directory {dir}");
        let text =
            format!("{}: {what}; end that one first, or name another with --data-dir", unit.name());
        return Err(Failure::new(Ending::Locked, text));
    }
    let clock = RealClock::new();
    let told = loop {
        match begin(unit, patience) {
            Err(failure)
                if failure.ending() == Ending::Locked
                    && unit.service.has_store
                    && clock.now() < RELEASE_PATIENCE =>
            {
                clock.sleep(RELEASE_LOOK);
            }
            begun => break begun?,
        }
    };
    lines.push(format!("started, process {}: {}", told.pid, doors_shown(&told.opened())));
    lines.extend(told.left_out.iter().map(|(door, why)| {
        format!("its door {door} is left out, {why}; `{door}-port` names another place")
    }));
    lines.extend(lacks(unit, &told));
    Ok(Done { doors: told.doors, ..done(unit, "started", Some(told.pid), lines) })
}

/// Starts the process, and waits until it answers.
fn begin(unit: &Unit, patience: Duration) -> Result<Told, Failure> {
    let path = unit.output_path();
    let opened = log::open(&path);
    let (output, before) =
        opened.map_err(Failure::io(format!("cannot write {}", path.display())))?;
    let second = output.try_clone();
    let second = second.map_err(Failure::io("cannot hand the log over".to_owned()))?;
    let program = env::current_exe().map_err(Failure::io("cannot find this program".to_owned()))?;
    let mut child = Command::new(&program)
        .args(&unit.arguments)
        .env(SERVICE, unit.name())
        // Whoever manages this process does not manage that one.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(second)
        .spawn()
        .map_err(Failure::io(format!("cannot start {}", program.display())))?;
    wait(unit, &mut child, patience, before)
}

fn done(unit: &Unit, did: &'static str, pid: Option<u32>, lines: Vec<String>) -> Done {
    Done { service: unit.name(), did, pid, lines, doors: Vec::new() }
}

fn runs_already(unit: &Unit, told: Told) -> Done {
    let lines =
        vec![format!("runs already, process {}: {}", told.pid, doors_shown(&told.opened()))];
    Done { doors: told.doors, ..done(unit, "running", Some(told.pid), lines) }
}

/// That what it needs is not there, if so.
fn lacks(unit: &Unit, told: &Told) -> Option<String> {
    let (needed, is_there) = unit.service.needs?;
    // One on another machine is nothing that could be started here.
    told.socket.as_ref()?;
    is_there(told, ANSWER_PATIENCE).err()?;
    Some(format!("it answers `unavailable` until {needed} runs: `olivine ctl start {needed}`"))
}

/// Waits until the process answers; what it told of itself.
fn wait(unit: &Unit, child: &mut Child, patience: Duration, before: u64) -> Result<Told, Failure> {
    let clock = RealClock::new();
    let mut answered = None;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(ended(unit, status, before)),
            Err(error) => return Err(Failure::io("cannot wait for it".to_owned())(error)),
        }
        if let Some(told) = told(&unit.state_path()).filter(|told| told.pid == child.id()) {
            match (unit.service.answers)(&told, ANSWER_PATIENCE) {
                Ok(()) => return Ok(told),
                // It cannot do better without what it needs.
                Err(_) if lacks(unit, &told).is_some() => return Ok(told),
                Err(error) => answered = Some(error),
            }
        }
        if patience < clock.now() {
            let why = answered.map_or_else(String::new, |error| format!(" ({error})"));
            let (name, pid, seconds) = (unit.name(), child.id(), patience.as_secs());
            let what = format!(
                "{name}: process {pid} does not answer after {seconds} s{why}, and goes on; \
                 --timeout waits longer, `olivine ctl status {name}` tells how it stands"
            );
            return Err(Failure::new(Ending::Failed, what + &log_shown(unit, before)));
        }
        clock.sleep(LOOK);
    }
}

/// It ended instead of answering.
fn ended(unit: &Unit, status: ExitStatus, before: u64) -> Failure {
    let ending = match status.code() {
        Some(2) => Ending::Misused,
        Some(5) => Ending::Damaged,
        Some(6) => Ending::Locked,
        Some(78) => Ending::Misconfigured,
        _ => Ending::Failed,
    };
    let text = format!("{}: it ended at once ({status})", unit.name());
    Failure::new(ending, text + &log_shown(unit, before))
}

/// Where its log is, and the last lines of what it said.
fn log_shown(unit: &Unit, before: u64) -> String {
    let path = unit.output_path();
    let lines = log::tail(&path, before);
    let end = if lines.is_empty() { ", and it said nothing" } else { "; it said:" };
    let mut text = format!("\nits log is {}{end}", unit.log.display());
    for line in lines {
        let _infallible = write!(text, "\n  {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::service::SERVICES, *};

    /// It is told with where the log is and what stands there, and is not ended.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes and removes its folder")]
    fn a_process_that_does_not_answer_is_left_to_go_on() {
        let data_dir = env::temp_dir().join(format!("olivine-slow-{}", std::process::id()));
        let log = data_dir.join("own.log");
        let unit = Unit {
            service: &SERVICES[0],
            data_dir,
            log,
            arguments: Vec::new(),
            drain: Duration::ZERO,
        };
        let (output, before) = log::open(&unit.output_path()).unwrap();
        let script = "echo busy opening; read end";
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stdin(Stdio::piped()).stdout(output);
        let mut child = command.spawn().unwrap();
        while log::tail(&unit.output_path(), before).is_empty() {
            RealClock::new().sleep(LOOK);
        }
        let failure = wait(&unit, &mut child, Duration::ZERO, before).unwrap_err();
        let pid = child.id();
        let told = format!("storage: process {pid} does not answer after 0 s, and goes on;");
        assert!(failure.text().starts_with(&told), "{}", failure.text());
        assert!(
            failure.text().ends_with("own.log; it said:\n  busy opening"),
            "{}",
            failure.text()
        );
        assert!(child.try_wait().unwrap().is_none(), "it goes on");
        drop(child.stdin.take());
        child.wait().unwrap();
        std::fs::remove_dir_all(&unit.data_dir).unwrap();
    }
}
