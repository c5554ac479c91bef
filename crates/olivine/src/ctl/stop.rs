//! Stops a service and waits until it has ended.
//!
//! 1. A process is asked to end by SIGTERM, and killed only where that was said and did not help.
//! 2. What does not run is left as it is, and said so; a pid file that a crash left is taken away.

use std::{io, time::Duration};

use olivine_vfs::{Clock as _, Holder, Interrupt, PidFile, RealClock, RealVfs, Vfs as _, kill};

use super::{Done, service::Unit, state::State};
use crate::ending::{Ending, Failure};

/// How long the system may take to end one that was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(unit: &Unit, patience: Duration, force: bool) -> Result<Done, Failure> {
    let (did, pid, line) = match State::of(unit) {
        State::Stopped => {
            let whole = State::of_whole(unit).pid().filter(|_| unit.service.has_store);
            let but = whole.map_or_else(String::new, |pid| {
                format!("; `olivine serve`, process {pid}, does, and is not stopped by this")
            });
            ("not running", None, format!("does not run{but}"))
        }
        State::Dead(pid) => {
            sweep(unit)?;
            let line = format!(
                "does not run; process {pid} ended without taking its pid file away, which is done now"
            );
            ("not running", None, line)
        }
        State::Unclear(why) => {
            return Err(Failure::new(Ending::Unreachable, format!("{}: {why}", unit.name())));
        }
        State::Starting(pid) | State::Running(super::state::Told { pid, .. }) => {
            let did = end(unit, pid, patience, force)?;
            (did, Some(pid), format!("{did}, process {pid}"))
        }
    };
    Ok(Done { service: unit.name(), did, pid, lines: vec![line], doors: Vec::new() })
}

/// Ends the process, and waits until it has.
fn end(unit: &Unit, pid: u32, patience: Duration, force: bool) -> Result<&'static str, Failure> {
    let name = unit.name();
    signal(unit, pid, |pid| Interrupt::Term.send(pid))?;
    if is_gone_within(unit, pid, patience)? {
        return Ok("stopped");
    }
    let seconds = patience.as_secs();
    if !force {
        let text = format!(
            "{name}: process {pid} was asked to end and still runs after {seconds} s; its log is {}; \
             `olivine ctl stop {name} --force` kills it",
            unit.log.display()
        );
        return Err(Failure::new(Ending::Failed, text));
    }
    signal(unit, pid, kill)?;
    if !is_gone_within(unit, pid, KILL_PATIENCE)? {
        let text =
            format!("{name}: process {pid} was killed and is still there; it waits for the disk");
        return Err(Failure::new(Ending::Failed, text));
    }
    sweep(unit)?;
    Ok("killed")
}

/// Sends a signal, if it is still that process that holds the pid file.
fn signal(unit: &Unit, pid: u32, send: impl Fn(u32) -> io::Result<()>) -> Result<(), Failure> {
    let what = || format!("{}: cannot end process {pid}", unit.name());
    if holder(unit)? != Holder::Process(pid) {
        return Ok(());
    }
    match send(pid) {
        // It has gone by itself.
        Err(error) if holder(unit)? == Holder::Process(pid) => Err(Failure::io(what())(error)),
        _ => Ok(()),
    }
}

fn holder(unit: &Unit) -> Result<Holder, Failure> {
    let path = unit.pid_path();
    PidFile::holder(&path).map_err(Failure::io(format!("cannot read {}", path.display())))
}

fn is_gone_within(unit: &Unit, pid: u32, patience: Duration) -> Result<bool, Failure> {
    let clock = RealClock::new();
    while holder(unit)? == Holder::Process(pid) {
        if patience < clock.now() {
            return Ok(false);
        }
        clock.sleep(LOOK);
    }
    Ok(true)
}

/// Takes away what a process left that is gone.
fn sweep(unit: &Unit) -> Result<(), Failure> {
    let path = unit.pid_path();
    let failed = || Failure::io(format!("cannot take {} away", path.display()));
    // Held first: nobody else can have begun to use it then.
    if let Some(file) = PidFile::hold(&path).map_err(failed())? {
        RealVfs.remove_file(&unit.state_path()).ok();
        file.remove().map_err(failed())?;
    }
    Ok(())
}
