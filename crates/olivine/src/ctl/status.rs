//! Shows how services stand.
//!
//! 1. The exit code is that of init scripts: 0 runs, 1 died with its pid file left, 3 does not run, 4 cannot be told; of
//!    several services the worst.
//! 2. Nothing is changed by looking.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use olivine_vfs::{Clock as _, EntryKind, RealClock, RealVfs, Vfs as _, resident_bytes};

use super::{doors_json, doors_shown, service::Unit, state::State};
use crate::{
    call::Call,
    ending::{Ending, Failure},
    json::Json,
    progress,
};

/// How long a service may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// What is shown of a service.
struct Row {
    name: &'static str,
    state: &'static str,
    pid: Option<u32>,
    /// Doors and their addresses, or the socket.
    open: Vec<(String, String)>,
    uptime: Option<Duration>,
    memory_bytes: Option<u64>,
    data_bytes: Option<u64>,
    /// What else there is to say.
    why: Option<String>,
    ending: Ending,
}

pub(super) fn run(call: &Call, units: &[Unit]) -> Result<Ending, Failure> {
    let rows: Vec<Row> = units.iter().map(row).collect();
    let whole = units.iter().find_map(|unit| {
        let state = State::of_whole(unit);
        Some((state.pid()?, state, unit))
    });
    let mut out = io::stdout().lock();
    if call.has("--json") {
        let serve = whole.as_ref().map(|(pid, state, _)| {
            let doors = state.opened();
            Json::object([("pid", u64::from(*pid).into()), ("doors", doors_json(&doors))])
        });
        let answer = [
            ("services", Json::list(rows.iter().map(json))),
            ("serve", serve.unwrap_or(Json::Null)),
        ];
        writeln!(out, "{}", Json::object(answer))?;
    } else {
        print(&mut out, &rows)?;
        for row in &rows {
            if let Some(why) = &row.why {
                writeln!(out, "{}: {why}", row.name)?;
            }
        }
        if let Some((pid, state, unit)) = &whole {
            let (dir, doors) = (unit.data_dir.display(), doors_shown(&state.opened()));
            writeln!(out, "`olivine serve`, process {pid}, has the data directory {dir}: {doors}")?;
        }
    }
    let worst = [Ending::Unreachable, Ending::Failed, Ending::Absent];
    let worst = worst.into_iter().find(|ending| rows.iter().any(|row| row.ending == *ending));
    Ok(worst.unwrap_or(Ending::Good))
}

fn row(unit: &Unit) -> Row {
    let state = State::of(unit);
    let pid = state.pid();
    let (name, why, ending) = match &state {
        State::Stopped => ("stopped", None, Ending::Absent),
        State::Dead(pid) => {
            let why = format!(
                "process {pid} ended without taking its pid file away; its log is {}",
                unit.log.display()
            );
            ("dead", Some(why), Ending::Failed)
        }
        State::Starting(_) => ("starting", None, Ending::Good),
        State::Running(told) => match (unit.service.answers)(told, ANSWER_PATIENCE) {
            Ok(()) => ("running", None, Ending::Good),
            Err(error) => ("not ready", Some(error.to_string()), Ending::Good),
        },
        State::Unclear(why) => ("unclear", Some(why.clone()), Ending::Unreachable),
    };
    let uptime = match &state {
        State::Running(told) => {
            let started = Duration::from_millis(told.started_ms);
            Some(RealClock::new().wall().saturating_sub(started))
        }
        _ => None,
    };
    let store = unit.data_dir.join("store");
    Row {
        name: unit.name(),
        state: name,
        pid,
        open: state.opened(),
        uptime,
        memory_bytes: pid.and_then(resident_bytes),
        data_bytes: unit.service.has_store.then(|| bytes_of(&store)).flatten(),
        why,
        ending,
    }
}

/// Bytes of the files of a directory and of those in it.
fn bytes_of(dir: &Path) -> Option<u64> {
    let mut bytes = 0;
    for entry in RealVfs.list(dir).ok()? {
        bytes += match entry.kind {
            // One that has gone meanwhile has no bytes.
            EntryKind::Dir => bytes_of(&dir.join(entry.name)).unwrap_or(0),
            EntryKind::File | EntryKind::Other => entry.bytes,
        };
    }
    Some(bytes)
}

fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = rows.iter().map(|row| {
        let open = doors_shown(&row.open);
        [
            row.name.to_owned(),
            row.state.to_owned(),
            or_none(row.pid.map(|pid| pid.to_string())),
            or_none(row.uptime.map(|uptime| progress::time(uptime.as_secs_f64()))),
            or_none(row.memory_bytes.map(progress::bytes)),
            or_none(row.data_bytes.map(progress::bytes)),
            or_none(Some(open).filter(|open| !open.is_empty())),
        ]
    });
    let head = ["service", "state", "pid", "uptime", "memory", "data", "open"];
    let table: Vec<[String; 7]> = [head.map(str::to_owned)].into_iter().chain(cells).collect();
    let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn json(row: &Row) -> Json {
    let uptime = row.uptime.map(|uptime| uptime.as_millis() as u64);
    Json::object([
        ("service", row.name.into()),
        ("state", row.state.into()),
        ("exit", (row.ending as usize).into()),
        ("pid", row.pid.map(u64::from).into()),
        ("open", doors_json(&row.open)),
        ("uptime_ms", uptime.into()),
        ("memory_bytes", row.memory_bytes.into()),
        ("data_bytes", row.data_bytes.into()),
        ("why", row.why.clone().into()),
    ])
}
