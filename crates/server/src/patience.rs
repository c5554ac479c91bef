//! How long a node waits for others. Every such time stands here and is a setting; who ran out of it is told
//! its name, or the log is.
//!
//! 1. Nothing is waited for without end that somebody else must do.

use std::{fmt, time::Duration};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The head of an HTTP request.
    Head,
    /// The body of one.
    Body,
    /// The rest of a line.
    Line,
    /// Anything at all.
    Idle,
    /// Who somebody is.
    Login,
    /// That answers are taken.
    Answer,
    /// Agreement on TLS.
    Handshake,
    /// The end of connections when the node ends.
    Drain,
    /// A store that is behind its work.
    Store,
    /// The way to a storage on another machine.
    Connect,
}

struct Row {
    wait: Wait,
    flag: &'static str,
    default: &'static str,
    seconds: u64,
    what: &'static str,
    over: &'static str,
}

const fn row(
    wait: Wait,
    flag: &'static str,
    (default, seconds): (&'static str, u64),
    what: &'static str,
    over: &'static str,
) -> Row {
    Row { wait, flag, default, seconds, what, over }
}

/// All of them, in the order of [`Wait`].
const ROWS: [Row; Wait::COUNT] = [
    row(
        Wait::Head,
        "--head-time-max",
        ("10s", 10),
        "what the head of an HTTP request may take, and the silence before it",
        "the head of the request did not arrive in time",
    ),
    row(
        Wait::Body,
        "--body-time-max",
        ("1m", 60),
        "what the body of an HTTP request may take",
        "the body did not arrive in time",
    ),
    row(
        Wait::Line,
        "--line-time-max",
        ("30s", 30),
        "what a line may take beyond a second for each KiB",
        "the rest of the line did not arrive in time",
    ),
    row(
        Wait::Idle,
        "--idle-time-max",
        ("5m", 300),
        "how long a connection may say nothing",
        "nothing was said for too long; connect again",
    ),
    row(
        Wait::Login,
        "--login-time-max",
        ("5s", 5),
        "what it may take to log in, where that is needed",
        "nobody has logged in in time",
    ),
    row(
        Wait::Answer,
        "--answer-time-max",
        ("1m", 60),
        "how long a peer may leave answers untaken",
        "the answers were not taken in time",
    ),
    row(
        Wait::Handshake,
        "--handshake-time-max",
        ("10s", 10),
        "what agreeing on TLS may take",
        "TLS was not agreed on in time",
    ),
    row(
        Wait::Drain,
        "--drain-time-max",
        ("10s", 10),
        "how long connections may go on when the node ends",
        "connections did not end in time",
    ),
    row(
        Wait::Store,
        "--store-time-max",
        ("10s", 10),
        "how long a command waits for a store that is behind",
        "the store is behind its work; try again, or write less at a time",
    ),
    row(
        Wait::Connect,
        "--connect-time-max",
        ("5s", 5),
        "what coming to a storage on another machine may take",
        "the storage was not come to in time",
    ),
];

const _: () = {
    let mut place = 0;
    while place < Wait::COUNT {
        assert!(ROWS[place].wait as usize == place, "the rows are in the order of `Wait`");
        place += 1;
    }
};

impl Wait {
    const COUNT: usize = 10;

    /// All of them.
    pub const ALL: [Wait; Wait::COUNT] = [
        Wait::Head,
        Wait::Body,
        Wait::Line,
        Wait::Idle,
        Wait::Login,
        Wait::Answer,
        Wait::Handshake,
        Wait::Drain,
        Wait::Store,
        Wait::Connect,
    ];

    /// The flag that sets it.
    pub const fn flag(self) -> &'static str {
        ROWS[self as usize].flag
    }

    /// What its setting is called.
    pub fn name(self) -> &'static str {
        self.flag().trim_start_matches('-')
    }

    /// The time that holds when nobody says otherwise, as flags write it.
    pub const fn default_text(self) -> &'static str {
        ROWS[self as usize].default
    }

    /// What its flag does.
    pub const fn what(self) -> &'static str {
        ROWS[self as usize].what
    }
}

/// How long each is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience([Duration; Wait::COUNT]);

impl Default for Patience {
    fn default() -> Patience {
        Patience(ROWS.each_ref().map(|row| Duration::from_secs(row.seconds)))
    }
}

impl Patience {
    /// The least and the most that a time may be.
    pub const BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_hours(24));

    /// How long something is waited for.
    pub fn of(&self, wait: Wait) -> Duration {
        self.0[wait as usize]
    }

    /// Changes it.
    pub fn set(&mut self, wait: Wait, time: Duration) {
        self.0[wait as usize] = time.clamp(Patience::BOUNDS.0, Patience::BOUNDS.1);
    }

    /// How often it is looked who has waited long enough: so seldom that it costs nothing, so often that the
    /// shortest time is kept within a quarter.
    pub(crate) fn look(&self) -> Duration {
        let least = Wait::ALL.map(|wait| self.of(wait)).into_iter().min().unwrap_or_default();
        (least / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// What somebody is told who was waited for in vain.
    pub(crate) fn over(&self, wait: Wait) -> String {
        let Row { over, .. } = ROWS[wait as usize];
        format!("{over}: `{}` is {}", wait.name(), Shown(self.of(wait)))
    }
}

/// A time as flags write it.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() as u64 {
            millis if millis % 60_000 == 0 => write!(f, "{}m", millis / 60_000),
            millis if millis % 1_000 == 0 => write!(f, "{}s", millis / 1_000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_what_is_said_of_them() {
        let patience = Patience::default();
        for wait in Wait::ALL {
            assert_eq!(Shown(patience.of(wait)).to_string(), wait.default_text());
        }
    }

    #[test]
    fn who_ran_out_of_a_time_is_told_its_name() {
        let mut patience = Patience::default();
        patience.set(Wait::Idle, Duration::from_millis(250));
        let told = patience.over(Wait::Idle);
        assert_eq!(told, "nothing was said for too long; connect again: `idle-time-max` is 250ms");
        patience.set(Wait::Idle, Duration::ZERO);
        assert_eq!(patience.of(Wait::Idle), Patience::BOUNDS.0);
    }
}
