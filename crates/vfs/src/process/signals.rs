//! SIGINT and SIGTERM as a wish that a program sees where it can stop.
//!
//! Both signals are kept from all threads but one, which waits for them and does nothing else: no code of
//! ours ever runs within a signal handler.
//!
//! 1. After the first signal `asked` tells of it, and a reader of the standard input is woken.
//! 2. A program that has not ended `PATIENCE` after it, or is asked again, ends there and then: to what it
//!    had written that is what a kill would be.
//! 3. A signal that this process was started to ignore is ignored.
//!
//! Its `unsafe` is sound because (a) the signatures are those of the C library, (b) `SignalSet` is as large
//! as the set of any system and aligned at least as well, and (c) what is pointed to lives through the call.

#![expect(unsafe_code, reason = "neither std nor rustix can wait for a signal")]

use std::{
    ffi::c_int,
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read},
    os::fd::AsFd,
    process, ptr,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{Pid, Signal, kill_process},
};

/// How long a program may take to end where it can.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which signal asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT: somebody at the terminal.
    Int,
    /// SIGTERM: whoever runs the process.
    Term,
}

impl Interrupt {
    const ALL: [Interrupt; 2] = [Interrupt::Int, Interrupt::Term];

    fn signal(self) -> Signal {
        match self {
            Interrupt::Int => Signal::INT,
            Interrupt::Term => Signal::TERM,
        }
    }

    /// The exit code that shells know for it: 130 or 143.
    pub fn exit_code(self) -> u8 {
        match self {
            Interrupt::Int => 130,
            Interrupt::Term => 143,
        }
    }

    /// Sends it to the process of this id.
    pub fn send(self, process: u32) -> io::Result<()> {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, self.signal())?)
    }
}

/// What this process was asked, if anything. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Interrupts {
    /// The number of the signal, 0 as long as there was none.
    asked: Arc<AtomicI32>,
    /// Its other end is closed when there was one.
    wake: Arc<PipeReader>,
}

impl Interrupts {
    /// Begins to wait for signals. To be called before the first thread is started: those that are
    /// there keep their ways.
    pub fn watch() -> io::Result<Interrupts> {
        let set = SignalSet::of(&Interrupt::ALL);
        set.block()?;
        let (wake, awake) = io::pipe()?;
        let asked = Arc::new(AtomicI32::new(0));
        let interrupts = Interrupts { asked: Arc::clone(&asked), wake: Arc::new(wake) };
        thread::Builder::new().name("signals".into()).spawn(move || wait(&set, &asked, awake))?;
        Ok(interrupts)
    }

    /// Which signal asked to end, if one did.
    pub fn asked(&self) -> Option<Interrupt> {
        let asked = self.asked.load(Relaxed);
        Interrupt::ALL.into_iter().find(|interrupt| interrupt.signal().as_raw() == asked)
    }

    /// The standard input, up to the moment of a signal: from then on reading is an error. To be used by
    /// one reader, which takes the bytes before it from nobody.
    pub fn input(&self) -> Input {
        Input { interrupts: self.clone(), bytes: BufReader::new(Waiting(self.clone())) }
    }

    fn check(&self) -> io::Result<()> {
        match self.asked() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("a signal asked to end")),
        }
    }
}

/// What the thread does that gets the signals.
fn wait(set: &SignalSet, asked: &AtomicI32, awake: PipeWriter) {
    let Some(signal) = set.wait() else { return };
    asked.store(signal, Relaxed);
    drop(awake);
    let end = move || process::exit(128 + signal);
    let timer = thread::Builder::new().name("patience".into()).spawn(move || {
        sleep(PATIENCE);
        end();
    });
    if timer.is_err() || set.wait().is_some() {
        end();
    }
}

#[expect(clippy::disallowed_methods, reason = "a signal has no test clock")]
fn sleep(duration: Duration) {
    thread::sleep(duration);
}

/// The standard input of a process that may be asked to end.
#[derive(Debug)]
pub struct Input {
    interrupts: Interrupts,
    bytes: BufReader<Waiting>,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupts.check()?;
        self.bytes.read(buffer)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.interrupts.check()?;
        self.bytes.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes.consume(bytes);
    }
}

/// Reads the standard input itself, when there is something or its end.
#[derive(Debug)]
struct Waiting(Interrupts);

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = io::stdin();
        let input = input.as_fd();
        let mut awaited =
            [PollFd::new(&input, PollFlags::IN), PollFd::new(&*self.0.wake, PollFlags::IN)];
        retry_on_intr(|| poll(&mut awaited, None))?;
        self.0.check()?;
        Ok(retry_on_intr(|| rustix::io::read(input, &mut *buffer))?)
    }
}

/// A set of signals, with room for that of any system: glibc's and musl's have 128 bytes, others fewer.
#[repr(C)]
struct SignalSet([u64; 16]);

#[cfg(target_os = "linux")]
const SIG_BLOCK: c_int = 0;
#[cfg(not(target_os = "linux"))]
const SIG_BLOCK: c_int = 1;

unsafe extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}

impl SignalSet {
    fn of(interrupts: &[Interrupt]) -> SignalSet {
        let mut set = SignalSet([0; 16]);
        // SAFETY: by (a), (b) and (c).
        unsafe { sigemptyset(&raw mut set) };
        for interrupt in interrupts {
            // SAFETY: by (a), (b) and (c).
            unsafe { sigaddset(&raw mut set, interrupt.signal().as_raw()) };
        }
        set
    }

    /// Keeps them from the calling thread, and those it starts.
    fn block(&self) -> io::Result<()> {
        // SAFETY: by (a), (b) and (c); where the old set goes may be nowhere.
        match unsafe { pthread_sigmask(SIG_BLOCK, &raw const *self, ptr::null_mut()) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Waits for one of them; `None` when that cannot be.
    fn wait(&self) -> Option<c_int> {
        let mut signal = 0;
        // SAFETY: by (a), (b) and (c).
        let outcome = unsafe { sigwait(&raw const *self, &raw mut signal) };
        (outcome == 0).then_some(signal)
    }
}
