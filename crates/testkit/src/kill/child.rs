//! The process that writes until it is killed, or asked to end.
//!
//! 1. A write is told only after the store acknowledged it.
//! 2. One that is asked to end makes and tells of the writes that it began, and closes the store.

use super::{Mode, OPENED, PLANTED, open, write, write_of};
use olivine_vfs::{Clock, Interrupts, RealClock};
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Mutex,
    thread,
    time::Duration,
};

/// What a child is told to do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Where the store lies.
    pub dir: PathBuf,
    /// Which durability to ask for.
    pub mode: Mode,
    /// Decides what is written.
    pub seed: u64,
    /// Tell of every write before it is made: a lie, to see that the parent notices.
    pub early: bool,
    /// The number of the first write of each thread.
    pub from: Vec<u64>,
}

impl Orders {
    /// The arguments that `parse` reads back.
    pub(super) fn arguments(&self) -> Vec<String> {
        let early = if self.early { "early" } else { "after" };
        let mut arguments =
            vec![self.mode.name().to_owned(), early.to_owned(), self.seed.to_string()];
        arguments.extend(self.from.iter().map(u64::to_string));
        arguments
    }

    /// Reads directory, mode, when to tell, seed and the numbers of the first writes.
    pub fn parse(arguments: &[String]) -> Result<Orders, String> {
        let [dir, mode, when, seed, from @ ..] = arguments else {
            return Err("a child takes a directory, a mode, when, a seed and numbers".to_owned());
        };
        let number = |text: &String| text.parse().map_err(|_| format!("{text:?} is no number"));
        let mode = match &mode[..] {
            "sync" => Mode::Sync,
            "os" => Mode::Os,
            _ => return Err(format!("{mode:?} is neither sync nor os")),
        };
        let from = from.iter().map(number).collect::<Result<_, _>>()?;
        let early = when == "early";
        Ok(Orders { dir: dir.into(), mode, seed: number(seed)?, early, from })
    }
}

/// One message to the parent, written whole at once.
fn tell(thread: u32, number: u64) -> io::Result<()> {
    let mut message = [0; 12];
    message[..4].copy_from_slice(&thread.to_le_bytes());
    message[4..].copy_from_slice(&number.to_le_bytes());
    let mut out = io::stdout().lock();
    out.write_all(&message)?;
    out.flush()
}

/// Opens the store, says so, and writes from every thread until something goes wrong or SIGTERM comes;
/// being killed is the usual end.
pub fn run_child(orders: &Orders) -> Result<(), String> {
    let interrupts = Interrupts::watch().map_err(|error| error.to_string())?;
    if let Ok(name) = std::env::var(PLANTED) {
        crate::planted::plant_named(&name)?;
    }
    let (db, keyspaces) = open(&orders.dir, orders.mode).map_err(|error| error.to_string())?;
    tell(OPENED, 0).map_err(|error| error.to_string())?;
    let failure = Mutex::new(None);
    let work = |thread: u32, from: u64| {
        for number in from.. {
            if interrupts.asked().is_some() {
                return;
            }
            let changes = write_of(orders.seed, thread, number);
            let write = || {
                write(&db, &keyspaces, orders.mode, &changes)
                    .map_err(|error| crate::drive::full_text(&error))
            };
            let tell = || tell(thread, number).map_err(|error| error.to_string());
            let done = if orders.early {
                tell().and_then(|()| write())
            } else {
                write().and_then(|()| tell())
            };
            if let Err(what) = done {
                *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(what);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for (thread, from) in orders.from.iter().enumerate() {
            let work = &work;
            scope.spawn(move || work(thread as u32, *from));
        }
    });
    if orders.from.is_empty() {
        // One that is to die while it opens the store, and was quicker.
        RealClock::new().sleep(Duration::from_secs(10));
    }
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)?;
    drop(keyspaces);
    db.close().map_err(|error| crate::drive::full_text(&error))
}
