//! Users and tokens for whoever runs the node, without saying who they are: through its socket while it
//! runs, in its store while it does not.
//!
//! 1. The socket speaks only to the user that runs the node, and the store can be opened by nobody else.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_command::{Command, Reply, wire};
use olivine_engine::{Environment, EnvironmentOptions};
use olivine_model::Model;
use olivine_vfs::{Clock as _, RealClock};

use crate::{
    frames::{self, Found},
    node::{self, Problem, Started},
    settings::Settings,
};

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to the store.
pub struct Local {
    way: Way,
    clock: RealClock,
}

enum Way {
    /// Through the socket of the node that runs.
    Node { stream: UnixStream, next: u64 },
    /// Into the store itself.
    Store { model: Box<Model>, _environment: Environment },
}

impl Local {
    /// Finds the way to the store in a data directory; makes the store if there is none.
    pub fn open(data_dir: &Path) -> Result<Local, Problem> {
        if let Ok(local) = Local::beside(&node::socket_in(data_dir), PATIENCE) {
            return Ok(local);
        }
        let clock = RealClock::new();
        let environment = Environment::new(EnvironmentOptions::default())?;
        let settings = Settings { data_dir: data_dir.to_owned(), ..Settings::default() };
        let model = node::open_store(&environment, &settings, &mut Started::default())?;
        Ok(Local { way: Way::Store { model: Box::new(model), _environment: environment }, clock })
    }

    /// The way to the node that has this socket and runs, and answers everything within `patience`.
    pub fn beside(socket: &Path, patience: Duration) -> io::Result<Local> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Local { way: Way::Node { stream, next: 0 }, clock: RealClock::new() })
    }

    /// Where the node has its socket, unless it was told otherwise.
    pub fn socket_in(data_dir: &Path) -> PathBuf {
        node::socket_in(data_dir)
    }

    /// Whether a node runs.
    pub fn is_running(&self) -> bool {
        matches!(self.way, Way::Node { .. })
    }

    /// The time, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.clock.wall().as_millis() as u64
    }

    /// Has one command carried out; what it changed is on the disk then.
    pub fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Problem> {
        let now = self.now();
        let reply = match &mut self.way {
            Way::Node { stream, next } => {
                *next += 1;
                through(stream, *next, now, command).map_err(failed("ask the node"))?
            }
            Way::Store { model, .. } => {
                let now = now.max(model.time()?);
                into(model, now, command, &self.clock)?
            }
        };
        if command.is_answered_by(&reply) {
            return Ok(reply);
        }
        let other = "the answer is to something else; is it of this release?";
        Err(failed("ask the node")(io::Error::new(io::ErrorKind::InvalidData, other)))
    }

    /// Closes the store, if it was opened.
    pub fn close(self) -> Result<(), Problem> {
        match self.way {
            Way::Node { .. } => Ok(()),
            Way::Store { model, .. } => Ok(model.close()?),
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("is_running", &self.is_running()).finish_non_exhaustive()
    }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> Problem + use<> {
    let what = format!("cannot {what}");
    move |source| Problem::System { what, source }
}

fn into(
    model: &Model,
    now: u64,
    command: &Command<'_>,
    clock: &RealClock,
) -> Result<Reply, Problem> {
    loop {
        match model.apply(now, std::slice::from_ref(command)) {
            Ok(mut applied) => {
                if let Some(position) = applied.durable_at {
                    model.db().wait_durable(position)?;
                }
                return Ok(applied.replies.pop().expect("a command is replied to"));
            }
            Err(behind) => clock.sleep(behind.retry_after),
        }
    }
}

/// Has the node at the other end carry out a command.
pub(crate) fn through(
    stream: &mut UnixStream,
    number: u64,
    now: u64,
    command: &Command<'_>,
) -> io::Result<Reply> {
    let commands = std::slice::from_ref(command);
    let mut out = Vec::new();
    frames::put(number, &mut out, |out| wire::encode_commands(now, commands, out));
    stream.write_all(&out)?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0; 4 << 10];
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        match frames::next(&buffer) {
            Found::Part(_) => {}
            Found::Wrong => return Err(wrong("what came is no answer")),
            Found::Frame { number: answered, contents, .. } => {
                let replies = wire::decode_replies(contents).map_err(|e| wrong(&e.to_string()))?;
                return match <[Reply; 1]>::try_from(replies) {
                    Ok([reply]) if answered == number => Ok(reply),
                    _ => Err(wrong("what came is the answer to something else")),
                };
            }
        }
    }
}
