//! A bar that shows a person how far a long command is.
//!
//! 1. It is drawn on a terminal only: never into a pipe or a file, and not where it would stand
//!    between the lines of an answer.
//! 2. It is wiped before anything else is said, and when the command ends, however it ends.
//! 3. It is drawn at most ten times a second, whatever the number of steps, and not before half a
//!    second has passed: what is quick needs no bar.
//! 4. No figure can break it: nothing done yet, an unknown whole, more done than there was to do.

use std::{
    cell::RefCell,
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use olivine_vfs::{Clock, RealClock};

use crate::call::Call;

const FIRST_AFTER: Duration = Duration::from_millis(500);
const NEXT_AFTER: Duration = Duration::from_millis(100);
const WIPE: &str = "\r\x1b[K";
const CELLS: u64 = 24;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    /// Things of this name.
    Things(&'static str),
}

/// A bar on the terminal, or nothing where there is none.
pub(crate) struct Progress {
    unit: Unit,
    state: Option<RefCell<State>>,
}

struct State {
    clock: Box<dyn Clock>,
    target: Box<dyn Write>,
    started: Duration,
    drawn: Option<Duration>,
}

impl Progress {
    /// The bar of one command; `prints` says whether it prints its answer while it works.
    pub(crate) fn new(call: &Call, unit: Unit, prints: bool) -> Progress {
        let shows = io::stderr().is_terminal() && !(prints && io::stdout().is_terminal());
        if !shows || call.has("--quiet") {
            return Progress { unit, state: None };
        }
        Progress::on(Box::new(RealClock::new()), Box::new(io::stderr()), unit)
    }

    fn on(clock: Box<dyn Clock>, target: Box<dyn Write>, unit: Unit) -> Progress {
        let started = clock.now();
        Progress { unit, state: Some(RefCell::new(State { clock, target, started, drawn: None })) }
    }

    /// Says that `done` of `whole` is done; of a `whole` of 0 nobody knows how much it is.
    pub(crate) fn at(&self, done: u64, whole: u64) {
        let Some(state) = &self.state else { return };
        let mut state = state.borrow_mut();
        let now = state.clock.now();
        let due = state.drawn.map_or(state.started + FIRST_AFTER, |drawn| drawn + NEXT_AFTER);
        if now < due {
            return;
        }
        let line = line(self.unit, done, whole, now.saturating_sub(state.started));
        state.drawn = Some(now);
        // A terminal that is gone takes its bar with it.
        write!(state.target, "{WIPE}{line}").and_then(|()| state.target.flush()).ok();
    }

    /// Wipes the bar away; the next step draws it again.
    pub(crate) fn wipe(&self) {
        let Some(state) = &self.state else { return };
        let mut state = state.borrow_mut();
        if state.drawn.is_some() {
            state.target.write_all(WIPE.as_bytes()).and_then(|()| state.target.flush()).ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The bar as text.
fn line(unit: Unit, done: u64, whole: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = if 0.0 < seconds { done as f64 / seconds } else { 0.0 };
    let amount = |figure: u64| match unit {
        Unit::Bytes => bytes(figure),
        Unit::Things(_) => figure.to_string(),
    };
    let name = match unit {
        Unit::Bytes => String::new(),
        Unit::Things(name) => format!(" {name}"),
    };
    let rate_text = amount(rate as u64);
    if whole == 0 {
        return format!("{}{name}  {rate_text}/s", amount(done));
    }
    let done = done.min(whole);
    let filled = (u128::from(CELLS) * u128::from(done) / u128::from(whole)) as usize;
    let percent = u128::from(done) * 100 / u128::from(whole);
    let bar = format!("{}{}", "=".repeat(filled), " ".repeat(CELLS as usize - filled));
    let left = if 0.0 < rate { (whole - done) as f64 / rate } else { f64::INFINITY };
    let left = if left.is_finite() { format!("  {} left", time(left)) } else { String::new() };
    format!(
        "[{bar}] {percent:3}%  {} of {}{name}  {rate_text}/s{left}",
        amount(done),
        amount(whole)
    )
}

/// A number of bytes for people: `17 B`, `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut figure = bytes as f64 / 1024.0;
    let mut unit = units[0];
    for larger in &units[1..] {
        if figure < 1023.95 {
            break;
        }
        figure /= 1024.0;
        unit = larger;
    }
    if figure < 99.95 { format!("{figure:.1} {unit}") } else { format!("{figure:.0} {unit}") }
}

/// A time for people: `8 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn time(seconds: f64) -> String {
    let seconds = seconds.ceil().clamp(0.0, 1e9) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::ManualClock;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_bar_tells_amount_rate_and_time_left() {
        let mib = 1 << 20;
        let drawn = line(Unit::Bytes, 25 * mib, 100 * mib, Duration::from_secs(5));
        let bar = "[======                  ]  25%";
        assert_eq!(drawn, format!("{bar}  25.0 MiB of 100 MiB  5.0 MiB/s  15 s left"));
        let drawn = line(Unit::Things("keys"), 500, 0, Duration::from_secs(2));
        assert_eq!(drawn, "500 keys  250/s");
    }

    #[test]
    fn no_figure_breaks_the_bar() {
        let none = line(Unit::Bytes, 0, 10, Duration::ZERO);
        assert_eq!(none, format!("[{}]   0%  0 B of 10 B  0 B/s", " ".repeat(24)));
        for (done, whole) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (0, u64::MAX), (1, 0)] {
            for elapsed in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                line(Unit::Bytes, done, whole, elapsed);
                line(Unit::Things("keys"), done, whole, elapsed);
            }
        }
    }

    #[test]
    fn figures_are_for_people() {
        for (figure, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 10, "150 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(figure), text);
        }
        assert_eq!([time(0.2), time(185.0), time(7800.0)], ["1 s", "3 min 5 s", "2 h 10 min"]);
    }

    /// What was drawn, shared with the bar that draws.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Shared(Arc<ManualClock>);

    impl Clock for Shared {
        fn now(&self) -> Duration {
            self.0.now()
        }

        fn wall(&self) -> Duration {
            self.0.wall()
        }

        fn sleep(&self, duration: Duration) {
            self.0.sleep(duration);
        }
    }

    #[test]
    fn it_is_drawn_seldom_and_wiped_at_the_end() {
        let (clock, screen) = (Arc::new(ManualClock::new()), Screen::default());
        let target = Box::new(screen.clone());
        let progress = Progress::on(Box::new(Shared(Arc::clone(&clock))), target, Unit::Bytes);
        for step in 0..1000 {
            clock.sleep(Duration::from_millis(1));
            progress.at(step, 1000);
        }
        drop(progress);
        let drawn = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert_eq!(drawn.matches('[').count(), 2 * drawn.matches("% ").count() + 1, "{drawn:?}");
        assert_eq!(drawn.matches('%').count(), 6, "{drawn:?}");
        assert!(drawn.ends_with(WIPE));
    }
}
