//! What a node tells while it runs: an event is a line, for people at a terminal and for programs
//! elsewhere.
//!
//! Modules in reading order: `events` is the list of them; `shown` makes bytes fit to be shown; `line`
//! writes an event as a line; `queue` takes lines from whoever tells something, and a thread of its own
//! writes them; `file` is where they go unless that is the standard error.
//!
//! 1. Whoever tells something never waits for the place where it is written. What finds no room in the
//!    queue is counted, and told as soon as there is room again.
//! 2. Nothing in a line can end it, or steer a terminal: whatever it is, it was escaped, and cut.
//! 3. What is secret is not told: a field whose name says so has no value in any line.
//! 4. An event has a name of the list, and means the same in every release.

mod events;
mod file;
mod line;
mod queue;
mod seldom;
mod shown;

use std::{
    io::{self, Write},
    panic::{self, PanicHookInfo},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use olivine_vfs::{RealClock, RealVfs, Vfs};

use crate::node::Problem;
use file::LogFile;
use line::{Teller, lost_line};
use queue::{Queue, Sink};

pub use events::{EVENTS, EventKind};
pub(crate) use line::{Quoted, Utc};
pub(crate) use queue::lines_lost;
pub(crate) use seldom::Seldom;
pub(crate) use shown::{CLIENT_BYTES_MAX, shown};

/// How long the end of a process, or a panic, waits for its last lines to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// How events look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, event, and its fields behind it.
    Text,
    /// For programs: a JSON object a line.
    Json,
}

/// Which events are told: those of this level and of the levels above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work, and will not by itself.
    Error,
    /// Something does not work just now, or was not done.
    Warn,
    /// What an operator looks for: starts, stops, what came and went.
    Info,
    /// What the store does by itself.
    Debug,
}

impl LogLevel {
    /// All levels, by the names that flags have for them.
    pub const NAMES: [(&'static str, LogLevel); 4] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];

    fn as_tracing(self) -> tracing::Level {
        match self {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
        }
    }
}

/// A file that events go to.
#[derive(Clone, Debug)]
pub struct LogFileSettings {
    /// Where it is.
    pub path: PathBuf,
    /// Its length at which another is begun. At least 4 KiB.
    pub bytes_max: u64,
    /// How many files there are, the one that is written among them; older ones are removed. At least 1.
    pub files_max: u32,
}

impl LogFileSettings {
    /// The default length at which another file is begun.
    pub const BYTES_MAX: u64 = 64 << 20;
    /// The least of it.
    pub const BYTES_LEAST: u64 = 4 << 10;
    /// The default of how many there are.
    pub const FILES_MAX: u32 = 5;
    /// The most of it.
    pub const FILES_MOST: u32 = 1_000;
}

/// Writes events for as long as it lives; the process has one at most.
#[derive(Debug)]
pub struct Log {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Begins to write the events of this process to a file.
    pub fn to_file(
        format: LogFormat,
        level: LogLevel,
        settings: &LogFileSettings,
    ) -> Result<Log, Problem> {
        let vfs: Arc<dyn Vfs> = Arc::new(RealVfs::new());
        Log::start(format, level, Box::new(LogFile::open(vfs, settings)?))
    }

    /// Begins to write them where `out` leads, which may stop taking them without harm.
    pub fn to_writer(
        format: LogFormat,
        level: LogLevel,
        out: impl Write + Send + 'static,
    ) -> Result<Log, Problem> {
        Log::start(format, level, Box::new(Stream(out)))
    }

    fn start(format: LogFormat, level: LogLevel, sink: Box<dyn Sink>) -> Result<Log, Problem> {
        let failed = |source| Problem::System { what: "cannot start a thread".to_owned(), source };
        let (queue, clock) = (Arc::new(Queue::default()), Arc::new(RealClock::new()));
        let teller = Teller::new(format, level.as_tracing(), Arc::clone(&clock) as _, &queue);
        let (waiting, told) = (Arc::clone(&queue), move |lost| lost_line(format, &*clock, lost));
        let write = move || queue::write_all(&waiting, sink, told);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write).map_err(failed)?;
        let log = Log { queue: Arc::clone(&queue), thread: Some(thread) };
        tracing::subscriber::set_global_default(teller).map_err(|_| {
            Problem::Settings("the events of this process are written already".to_owned())
        })?;
        panic::set_hook(Box::new(move |info| {
            tell_panic(info);
            queue.flush(FLUSH_PATIENCE);
        }));
        Ok(log)
    }
}

impl Drop for Log {
    /// Whatever was told is written, unless its place takes nothing.
    fn drop(&mut self) {
        let is_written = self.queue.end(FLUSH_PATIENCE);
        if let Some(thread) = self.thread.take().filter(|_| is_written) {
            thread.join().ok();
        }
    }
}

/// A panic as an event. What it says may have been made of what a client sent.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let place = info.location().map(ToString::to_string);
    tracing::error!(
        event = "panicked",
        thread = thread.name().unwrap_or_default(),
        place = place.as_deref(),
        what = info.payload_as_str().unwrap_or_default().as_bytes(),
    );
}

/// A place that has no length: a terminal, a pipe.
struct Stream<W>(W);

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines)?;
        self.0.flush()
    }
}
