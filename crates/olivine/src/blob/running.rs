//! `olivine blob status`, `heal` and `rebalance`: asks a master that runs.

use std::{
    io::{self, Write},
    time::Duration,
};

use olivine_vfs::{Clock as _, RealClock};

use super::SERVER;
use crate::{
    call::Call,
    ending::{Ending, Failure},
    http_client::{Client, Server},
    json::Json,
    progress::{Progress, Unit},
};

/// How often it is asked how far it is.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// How the objects of a master are.
struct Health {
    text: String,
    json: Json,
}

pub(super) fn status(call: &Call) -> Result<Ending, Failure> {
    let health = asked(&mut client(call)?, "GET", "/?health")?;
    told(call, &health)
}

pub(super) fn heal(call: &Call) -> Result<Ending, Failure> {
    done(call, "/?heal")
}

pub(super) fn rebalance(call: &Call) -> Result<Ending, Failure> {
    done(call, "/?rebalance")
}

/// Has something done, and waits until it is. Whoever does not wait any more ends nothing.
fn done(call: &Call, target: &str) -> Result<Ending, Failure> {
    let mut client = client(call)?;
    let passes = asked(&mut client, "POST", target)?.number("passes");
    let progress = Progress::new(call, Unit::Things("objects"), false);
    loop {
        RealClock::new().sleep(PAUSE);
        let health = asked(&mut client, "GET", "/?health")?;
        if passes < health.number("passes") && !health.is_running() {
            drop(progress);
            return told(call, &health);
        }
        progress.at(health.number("looked"), 0);
    }
}

fn client(call: &Call) -> Result<Client, Failure> {
    if call.operand(1).is_some() {
        return Err(Failure::misused(format!("`{}` says which master is asked", SERVER.name)));
    }
    let url = call.text(SERVER.name)?.unwrap_or_else(|| SERVER.default.to_owned());
    Server::of(call, SERVER.name, &url)?.at_door("door of blobs").connect()
}

fn asked(client: &mut Client, method: &str, target: &str) -> Result<Health, Failure> {
    let response = client.ask(method, target, ANSWER_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&response.body).trim_end().to_owned();
    match response.status {
        200 | 202 => {
            let wrong = |_| Failure::new(Ending::Failed, "the master does not answer as one does");
            let json = Json::parse(&text).map_err(wrong)?;
            Ok(Health { text, json })
        }
        _ => Err(Failure::new(Ending::Failed, format!("the master refused it: {text}"))),
    }
}

impl Health {
    fn member(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = &self.json else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> u64 {
        match self.member(name) {
            Some(Json::Number(text)) => text.parse().unwrap_or(0),
            _ => 0,
        }
    }

    fn is_running(&self) -> bool {
        self.member("running") == Some(&Json::Bool(true))
    }
}

fn told(call: &Call, health: &Health) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", health.text)?;
    } else {
        print(&mut out, health)?;
    }
    Ok(if health.number("lost") == 0 { Ending::Good } else { Ending::Damaged })
}

fn print(out: &mut impl Write, health: &Health) -> io::Result<()> {
    if let Some(Json::List(keys)) = health.member("lost_keys") {
        for key in keys {
            if let Json::Text(key) = key {
                writeln!(out, "lost: {key}")?;
            }
        }
    }
    for (name, what) in [
        ("looked", "objects were looked at last"),
        ("repaired", "copies were repaired since the master started"),
        ("moved", "copies were moved to where they belong"),
        ("copied_bytes", "bytes were copied for that"),
        ("thin", "objects lie on fewer volumes than they should"),
        ("lost", "objects have no whole copy"),
        ("tiered_bytes", "bytes of volumes that answer lie in buckets"),
    ] {
        writeln!(out, "{:>12} {what}", health.number(name))?;
    }
    if health.is_running() {
        writeln!(out, "objects are being looked at now")?;
    }
    Ok(())
}
