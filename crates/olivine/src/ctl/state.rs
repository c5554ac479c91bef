//! How a service stands: what its pid file, its lock and what it told come to.
//!
//! 1. Nothing is changed by looking.
//! 2. What a process told is believed only while the kernel says that this process holds the pid file.

use std::{io, path::Path};

use olivine_vfs::{Holder, Open, PidFile, RealVfs, Vfs as _};

use super::service::Unit;
use crate::{
    json::Json,
    presence::{pid_path, state_path},
};

/// A longer state was not written by us.
const STATE_BYTES_MAX: usize = 64 << 10;

/// What `olivine serve` calls itself; it is no service, and has the whole data directory.
const WHOLE: &str = "serve";

/// What a process told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) pid: u32,
    pub(super) started_ms: u64,
    pub(super) socket: Option<String>,
    /// Where coordinators on other machines come to it.
    pub(super) listening: Option<String>,
    /// Whether its doors speak TLS.
    pub(super) speaks_tls: bool,
    /// Doors and their addresses.
    pub(super) doors: Vec<(String, String)>,
    /// Doors that it left out, with address and reason.
    pub(super) left_out: Vec<(String, String)>,
}

impl Told {
    /// Doors and their addresses; of a storage, before its own door, where others come to it.
    pub(super) fn opened(&self) -> Vec<(String, String)> {
        if self.doors.iter().any(|(door, _)| door != "ingest") {
            return self.doors.clone();
        }
        let named = |name: &str, place: &Option<String>| Some((name.to_owned(), place.clone()?));
        let places = [named("socket", &self.socket), named("listen", &self.listening)];
        places.into_iter().flatten().chain(self.doors.iter().cloned()).collect()
    }
}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    /// It ended without taking its pid file away; it had called itself so.
    Dead(String),
    /// It runs, and has not told yet what it has open.
    Starting(u32),
    Running(Told),
    /// It cannot be told, for this reason.
    Unclear(String),
}

impl State {
    /// How the service stands.
    pub(super) fn of(unit: &Unit) -> State {
        State::at(&unit.pid_path(), &unit.state_path())
    }

    /// The same of `olivine serve` in the same data directory.
    pub(super) fn of_whole(unit: &Unit) -> State {
        State::at(&pid_path(&unit.data_dir, WHOLE), &state_path(&unit.data_dir, WHOLE))
    }

    fn at(pid_path: &Path, state_path: &Path) -> State {
        match PidFile::holder(pid_path) {
            Ok(Holder::Nobody) => State::Stopped,
            Ok(Holder::Left(pid)) => State::Dead(pid),
            Ok(Holder::Process(pid)) => match told(state_path) {
                Some(told) if told.pid == pid => State::Running(told),
                _ => State::Starting(pid),
            },
            Ok(Holder::Elsewhere) => {
                State::Unclear(format!("{} is held in another container", pid_path.display()))
            }
            // On the way there is no directory.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => State::Stopped,
            Err(error) => State::Unclear(format!("cannot read {}: {error}", pid_path.display())),
        }
    }

    /// What it has open.
    pub(super) fn opened(&self) -> Vec<(String, String)> {
        match self {
            State::Running(told) => told.opened(),
            _ => Vec::new(),
        }
    }

    /// The process, if there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            State::Starting(pid) => Some(*pid),
            State::Running(told) => Some(told.pid),
            State::Stopped | State::Dead(_) | State::Unclear(_) => None,
        }
    }
}

/// What a process wrote of itself; nothing while it has not, or when it makes no sense.
pub(super) fn told(path: &Path) -> Option<Told> {
    let file = RealVfs.open(path, Open::Read).ok()?;
    let mut bytes = vec![0; STATE_BYTES_MAX];
    let read = file.read_at(&mut bytes, 0).ok()?;
    parse(str::from_utf8(&bytes[..read]).ok()?)
}

fn parse(text: &str) -> Option<Told> {
    let Json::Object(members) = Json::parse(text.trim_end()).ok()? else { return None };
    let member = |name| members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    Some(Told {
        pid: u32::try_from(number(member("pid")?)?).ok()?,
        started_ms: number(member("started_ms")?)?,
        socket: member("socket").and_then(text_of),
        listening: member("listening").and_then(text_of),
        speaks_tls: member("certificate").and_then(text_of).is_some(),
        doors: doors(member("doors")?, &["address"])?,
        left_out: doors(member("left_out")?, &["address", "why"])?,
    })
}

fn number(json: &Json) -> Option<u64> {
    match json {
        Json::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn text_of(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The doors of a list, and what else it says of each.
fn doors(json: &Json, rest: &[&str]) -> Option<Vec<(String, String)>> {
    let Json::List(doors) = json else { return None };
    let pair = |door: &Json| {
        let Json::Object(members) = door else { return None };
        let member = |name: &str| {
            text_of(members.iter().find(|(known, _)| known == name).map(|(_, value)| value)?)
        };
        let rest = rest.iter().map(|name| member(name)).collect::<Option<Vec<_>>>()?;
        Some((member("door")?, rest.join(": ")))
    };
    doors.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_was_not_told() {
        let text = r#"{"pid":7,"started_ms":5,"socket":null,"doors":[{"door":"json","address":"a:1"}],"left_out":[{"door":"http","address":"b:2","why":"c"}]}"#;
        let told = parse(text).unwrap();
        assert_eq!((told.pid, told.started_ms, told.socket), (7, 5, None));
        assert_eq!(told.doors, [("json".to_owned(), "a:1".to_owned())]);
        assert_eq!(told.left_out, [("http".to_owned(), "b:2: c".to_owned())]);
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
        for (from, to) in [("7", "-7"), ("7", "\"7\""), ("7", "4294967296"), ("door\"", "d\"")] {
            assert_eq!(parse(&text.replacen(from, to, 1)), None, "{to}");
        }
    }
}
