//! One line of the shell as a command.
//!
//! 1. Lines are bytes: a key or a value need not be text.
//! 2. The name of a command may be written in any case; keys and values are taken as they stand.
//! 3. A value is the rest of its line, blanks inside and at its end included.

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Set {
        key: &'a [u8],
        value: &'a [u8],
    },
    Get {
        key: &'a [u8],
    },
    Delete {
        key: &'a [u8],
    },
    /// Entries from `start` up to but not including `end`.
    Scan {
        start: Option<&'a [u8]>,
        end: Option<&'a [u8]>,
        limit: Option<u64>,
    },
    /// Keys that begin with `prefix`.
    Keys {
        prefix: &'a [u8],
    },
    Flush,
    /// Tells what a read of `key` does.
    Explain {
        key: &'a [u8],
    },
    /// Compacts until nothing is left to do.
    Compact,
    Stats,
    Help,
    Clear,
    Exit,
}

/// What the shell says to HELP.
pub(super) const HELP: &str = "\
SET key value                     store a value: the rest of the line
GET key                           show a value
DEL key                           remove a key
SCAN [start [end]] [LIMIT n]      show entries in key order, end not included
KEYS [prefix]                     show keys in order
FLUSH                             write what is in memory to tables
EXPLAIN key                       tell where a read of a key looks, and what it finds
COMPACT                           merge tables until nothing is left to do
STATS                             show what the store holds
HELP                              show this
CLEAR                             clear the screen
EXIT, QUIT                        leave; so does the end of the input
A key is one word. Bytes that are no printable text are shown as \\xNN, a backslash as \\\\.
";

const KNOWN: &str =
    "SET, GET, DEL, SCAN, KEYS, FLUSH, EXPLAIN, COMPACT, STATS, HELP, CLEAR, EXIT, QUIT";

impl<'a> Command<'a> {
    /// The command of a line without its end, or `None` for a blank line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Option<Command<'a>>, String> {
        let (name, rest) = word(line);
        if name.is_empty() {
            return Ok(None);
        }
        let upper = name.to_ascii_uppercase();
        let command = match upper.as_slice() {
            b"SET" => set(rest)?,
            b"GET" => Command::Get { key: only_key(rest, "GET key")? },
            b"DEL" => Command::Delete { key: only_key(rest, "DEL key")? },
            b"SCAN" => scan(rest)?,
            b"KEYS" => Command::Keys { prefix: at_most_one(rest, "KEYS [prefix]")? },
            b"FLUSH" => alone(rest, "FLUSH", Command::Flush)?,
            b"EXPLAIN" => Command::Explain { key: only_key(rest, "EXPLAIN key")? },
            b"COMPACT" => alone(rest, "COMPACT", Command::Compact)?,
            b"STATS" => alone(rest, "STATS", Command::Stats)?,
            b"HELP" => alone(rest, "HELP", Command::Help)?,
            b"CLEAR" => alone(rest, "CLEAR", Command::Clear)?,
            b"EXIT" => alone(rest, "EXIT", Command::Exit)?,
            b"QUIT" => alone(rest, "QUIT", Command::Exit)?,
            _ => return Err(format!("no command `{}`; there are {KNOWN}", name.escape_ascii())),
        };
        Ok(Some(command))
    }
}

/// The first word of `line`, and what follows it without the blanks between.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii_start())
}

fn usage<T>(usage: &str) -> Result<T, String> {
    Err(format!("usage: {usage}"))
}

fn set(rest: &[u8]) -> Result<Command<'_>, String> {
    match word(rest) {
        (b"", _) | (_, b"") => usage("SET key value"),
        (key, value) => Ok(Command::Set { key, value }),
    }
}

fn only_key<'a>(rest: &'a [u8], form: &str) -> Result<&'a [u8], String> {
    match word(rest) {
        (b"", _) => usage(form),
        (key, b"") => Ok(key),
        _ => usage(form),
    }
}

fn at_most_one<'a>(rest: &'a [u8], form: &str) -> Result<&'a [u8], String> {
    match word(rest) {
        (word, b"") => Ok(word),
        _ => usage(form),
    }
}

fn alone<'a>(rest: &[u8], form: &str, command: Command<'a>) -> Result<Command<'a>, String> {
    if rest.is_empty() { Ok(command) } else { usage(form) }
}

fn scan(mut rest: &[u8]) -> Result<Command<'_>, String> {
    let form = "SCAN [start [end]] [LIMIT n]";
    let mut bounds = [None, None];
    for bound in &mut bounds {
        let (next, after) = word(rest);
        if !next.is_empty() && !next.eq_ignore_ascii_case(b"LIMIT") {
            (*bound, rest) = (Some(next), after);
        }
    }
    let [start, end] = bounds;
    let limit = match word(rest) {
        (b"", _) => None,
        (name, rest) if name.eq_ignore_ascii_case(b"LIMIT") => {
            let number = str::from_utf8(rest.trim_ascii()).ok().and_then(|n| n.parse().ok());
            Some(number.ok_or("LIMIT wants a whole number")?)
        }
        _ => return usage(form),
    };
    Ok(Command::Scan { start, end, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Command<'_>>, String> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn names_are_read_in_any_case() {
        for line in ["GET a", "get a", "  gEt   a  "] {
            assert_eq!(parse(line), Ok(Some(Command::Get { key: b"a" })), "{line:?}");
        }
        for line in ["EXIT", "quit"] {
            assert_eq!(parse(line), Ok(Some(Command::Exit)));
        }
        for line in ["", "   ", "\t"] {
            assert_eq!(parse(line), Ok(None));
        }
    }

    #[test]
    fn a_value_is_the_rest_of_its_line() {
        let command = Command::Set { key: b"k", value: b"a  b = c " };
        assert_eq!(parse("set k  a  b = c "), Ok(Some(command)));
        let command = Command::Set { key: b"\xff", value: b"\x00\xfe" };
        assert_eq!(Command::parse(b"SET \xff \x00\xfe"), Ok(Some(command)));
    }

    #[test]
    fn a_scan_takes_bounds_and_a_limit() {
        let scan = |start: Option<&'static str>, end: Option<&'static str>, limit| {
            let (start, end) = (start.map(str::as_bytes), end.map(str::as_bytes));
            Ok(Some(Command::Scan { start, end, limit }))
        };
        assert_eq!(parse("SCAN"), scan(None, None, None));
        assert_eq!(parse("SCAN a"), scan(Some("a"), None, None));
        assert_eq!(parse("SCAN a b"), scan(Some("a"), Some("b"), None));
        assert_eq!(parse("scan limit 5"), scan(None, None, Some(5)));
        assert_eq!(parse("SCAN a LIMIT 0"), scan(Some("a"), None, Some(0)));
        assert_eq!(parse("SCAN a b limit 7 "), scan(Some("a"), Some("b"), Some(7)));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        for (line, said) in [
            ("SET", "usage: SET key value"),
            ("SET k", "usage: SET key value"),
            ("GET", "usage: GET key"),
            ("GET a b", "usage: GET key"),
            ("DEL", "usage: DEL key"),
            ("KEYS a b", "usage: KEYS [prefix]"),
            ("FLUSH now", "usage: FLUSH"),
            ("EXPLAIN", "usage: EXPLAIN key"),
            ("COMPACT now", "usage: COMPACT"),
            ("SCAN a b c", "usage: SCAN [start [end]] [LIMIT n]"),
            ("SCAN LIMIT", "LIMIT wants a whole number"),
            ("SCAN LIMIT -1", "LIMIT wants a whole number"),
            ("SCAN LIMIT 1 2", "LIMIT wants a whole number"),
        ] {
            assert_eq!(parse(line).unwrap_err(), said, "{line}");
        }
        let said = Command::parse(b"P\xffT a").unwrap_err();
        assert!(said.starts_with("no command `P\\xffT`; there are SET, GET, "), "{said}");
    }

    #[test]
    fn help_names_every_command() {
        for name in KNOWN.split(", ") {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
