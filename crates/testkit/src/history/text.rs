//! Histories as text: one operation a line, to be printed, kept and read back.
//!
//! 1. `Op::parse` of what an operation displays is that operation.
//! 2. A line that is none is refused with the word that does not fit.

use super::{Change, KEYSPACES, Move, Op, Range, Value, What};
use olivine_engine::Durability;
use std::fmt::{self, Display};

/// A key in words: letters, digits and some signs as they are, other bytes as `%` and two digits.
struct Key<'a>(&'a [u8]);

impl Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("''");
        }
        for byte in self.0 {
            if byte.is_ascii_alphanumeric() || b":/-_.".contains(byte) {
                write!(f, "{}", char::from(*byte))?;
            } else {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::All => f.write_str("all"),
            Range::Between(low, high) => write!(f, "from={},to={}", Key(low), Key(high)),
            Range::After(low) => write!(f, "after={}", Key(low)),
            Range::To(high) => write!(f, "upto={}", Key(high)),
            Range::Prefix(prefix) => write!(f, "prefix={}", Key(prefix)),
        }
    }
}

/// A view in words.
fn at(at: Option<usize>) -> String {
    at.map_or_else(|| "now".to_owned(), |slot| format!("@{slot}"))
}

impl Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Write { changes, durability, ticketed } => {
                let durability = match durability {
                    None => "default",
                    Some(Durability::Sync) => "sync",
                    Some(Durability::Os) => "os",
                    Some(Durability::Interval) => "interval",
                };
                write!(f, "{} {durability}", if *ticketed { "ticket" } else { "write" })?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Op::Stream { keyspace, key, value: Value { id, bytes } } => {
                write!(f, "stream {} {} {id}/{bytes}", KEYSPACES[*keyspace], Key(key))
            }
            Op::Replace { keyspace, from, to, entries } => {
                write!(f, "replace {} {} {}", KEYSPACES[*keyspace], Key(from), Key(to))?;
                let mut entries = entries.iter();
                entries.try_for_each(|(key, Value { id, bytes })| {
                    write!(f, " {} {id}/{bytes}", Key(key))
                })
            }
            Op::Sync => f.write_str("sync"),
            Op::Flush => f.write_str("flush"),
            Op::Settle => f.write_str("settle"),
            Op::Step(units) => write!(f, "step {units}"),
            Op::Wait(millis) => write!(f, "wait {millis}"),
            Op::Create(keyspace) => write!(f, "create {}", KEYSPACES[*keyspace]),
            Op::Drop(keyspace) => write!(f, "drop {}", KEYSPACES[*keyspace]),
            Op::Snapshot(slot) => write!(f, "snapshot {slot}"),
            Op::Release(slot) => write!(f, "release {slot}"),
            Op::Get { at: slot, keyspace, keys } => {
                write!(f, "get {} {}", at(*slot), KEYSPACES[*keyspace])?;
                keys.iter().try_for_each(|key| write!(f, " {}", Key(key)))
            }
            Op::Scan { at: slot, keyspace, range, backward } => {
                let way = if *backward { "backward" } else { "forward" };
                write!(f, "scan {} {} {range} {way}", at(*slot), KEYSPACES[*keyspace])
            }
            Op::Cursor { slot, at: view, keyspace, range } => {
                write!(f, "cursor {slot} {} {} {range}", at(*view), KEYSPACES[*keyspace])
            }
            Op::Move(slot, moves) => {
                write!(f, "move {slot}")?;
                moves.iter().try_for_each(|step| match step {
                    Move::First => f.write_str(" first"),
                    Move::Last => f.write_str(" last"),
                    Move::Seek(key) => write!(f, " seek={}", Key(key)),
                    Move::SeekBack(key) => write!(f, " back={}", Key(key)),
                    Move::Next => f.write_str(" next"),
                    Move::Prev => f.write_str(" prev"),
                })
            }
            Op::Reopen => f.write_str("reopen"),
            Op::Checkpoint => f.write_str("checkpoint"),
            Op::Backup => f.write_str("backup"),
            Op::Ingest { keyspace, entries } => {
                write!(f, "ingest {}", KEYSPACES[*keyspace])?;
                entries
                    .iter()
                    .try_for_each(|(key, it)| write!(f, " {} {}/{}", Key(key), it.id, it.bytes))
            }
            Op::Follow => f.write_str("follow"),
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { keyspace, key, what } = self;
        let place = format!("{} {}", KEYSPACES[*keyspace], Key(key));
        match what {
            What::Delete => write!(f, "del {place}"),
            What::DeleteTo(end) => write!(f, "clear {place} {}", Key(end)),
            What::Put(Value { id, bytes }) => write!(f, "put {place} {id}/{bytes}"),
            What::Append(Value { id, bytes }) => write!(f, "append {place} {id}/{bytes}"),
            What::PutExpiring(Value { id, bytes }, false) => {
                write!(f, "put-later {place} {id}/{bytes}")
            }
            What::PutExpiring(Value { id, bytes }, true) => {
                write!(f, "put-expired {place} {id}/{bytes}")
            }
        }
    }
}

impl Op {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Op, String> {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut word = || words.next().ok_or_else(|| format!("{line:?} ends too early"));
        let op = match kind {
            "write" | "ticket" => {
                let durability = durability(word()?)?;
                let mut changes = Vec::new();
                while let Some(kind) = words.next() {
                    changes.push(change(kind, &mut words)?);
                }
                Op::Write { changes, durability, ticketed: kind == "ticket" }
            }
            "stream" => {
                let (keyspace, key) = (keyspace(word()?)?, key(word()?)?);
                Op::Stream { keyspace, key, value: value(word()?)? }
            }
            "replace" => {
                let (keyspace, from, to) = (keyspace(word()?)?, key(word()?)?, key(word()?)?);
                let mut entries = Vec::new();
                while let Some(next) = words.next() {
                    let place = words.next().ok_or_else(|| format!("{line:?} ends too early"))?;
                    entries.push((key(next)?, value(place)?));
                }
                Op::Replace { keyspace, from, to, entries }
            }
            "sync" => Op::Sync,
            "flush" => Op::Flush,
            "settle" => Op::Settle,
            "reopen" => Op::Reopen,
            "checkpoint" => Op::Checkpoint,
            "backup" => Op::Backup,
            "ingest" => {
                let keyspace = keyspace(word()?)?;
                let mut entries = Vec::new();
                while let Some(name) = words.next() {
                    let it = words.next().ok_or_else(|| format!("{line:?} ends too early"))?;
                    entries.push((key(name)?, value(it)?));
                }
                Op::Ingest { keyspace, entries }
            }
            "follow" => Op::Follow,
            "step" => Op::Step(number(word()?)?),
            "wait" => Op::Wait(number(word()?)?),
            "create" => Op::Create(keyspace(word()?)?),
            "drop" => Op::Drop(keyspace(word()?)?),
            "snapshot" => Op::Snapshot(number(word()?)?),
            "release" => Op::Release(number(word()?)?),
            "get" => {
                let (at, keyspace) = (view(word()?)?, keyspace(word()?)?);
                let keys = words.by_ref().map(key).collect::<Result<_, _>>()?;
                Op::Get { at, keyspace, keys }
            }
            "scan" => {
                let (at, keyspace, range) = (view(word()?)?, keyspace(word()?)?, range(word()?)?);
                Op::Scan { at, keyspace, range, backward: word()? == "backward" }
            }
            "cursor" => {
                let (slot, at) = (number(word()?)?, view(word()?)?);
                Op::Cursor { slot, at, keyspace: keyspace(word()?)?, range: range(word()?)? }
            }
            "move" => {
                let slot = number(word()?)?;
                Op::Move(slot, words.by_ref().map(step).collect::<Result<_, _>>()?)
            }
            _ => return Err(format!("{kind:?} is no operation")),
        };
        match words.next() {
            None => Ok(op),
            Some(word) => Err(format!("{word:?} is too much in {line:?}")),
        }
    }

    /// Reads a history: one operation a line; blank lines and comments (`#`) are passed over.
    pub fn parse_all(text: &str) -> Result<Vec<Op>, String> {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Op::parse).collect()
    }
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{word:?} is no number here"))
}

fn keyspace(word: &str) -> Result<usize, String> {
    let place = KEYSPACES.iter().position(|name| *name == word);
    place.ok_or_else(|| format!("{word:?} is none of the keyspaces {KEYSPACES:?}"))
}

fn durability(word: &str) -> Result<Option<Durability>, String> {
    match word {
        "default" => Ok(None),
        "sync" => Ok(Some(Durability::Sync)),
        "os" => Ok(Some(Durability::Os)),
        "interval" => Ok(Some(Durability::Interval)),
        _ => Err(format!("{word:?} is no durability")),
    }
}

fn view(word: &str) -> Result<Option<usize>, String> {
    match word.strip_prefix('@') {
        Some(slot) => number(slot).map(Some),
        None if word == "now" => Ok(None),
        None => Err(format!("{word:?} is neither now nor a slot")),
    }
}

fn key(word: &str) -> Result<Vec<u8>, String> {
    let mut key = Vec::new();
    let mut bytes = word.bytes();
    if word == "''" {
        return Ok(key);
    }
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            key.push(byte);
            continue;
        }
        let digits = [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()];
        let digits = std::str::from_utf8(&digits).map_err(|e| e.to_string())?;
        key.push(u8::from_str_radix(digits, 16).map_err(|_| format!("{word:?} is no key"))?);
    }
    Ok(key)
}

fn range(word: &str) -> Result<Range, String> {
    match word.split_once('=') {
        None if word == "all" => Ok(Range::All),
        Some(("from", ends)) => {
            let (low, high) =
                ends.split_once(",to=").ok_or_else(|| format!("no to= in {word:?}"))?;
            Ok(Range::Between(key(low)?, key(high)?))
        }
        Some(("after", low)) => Ok(Range::After(key(low)?)),
        Some(("upto", high)) => Ok(Range::To(key(high)?)),
        Some(("prefix", prefix)) => Ok(Range::Prefix(key(prefix)?)),
        _ => Err(format!("{word:?} is no range")),
    }
}

fn step(word: &str) -> Result<Move, String> {
    match word.split_once('=') {
        Some(("seek", target)) => Ok(Move::Seek(key(target)?)),
        Some(("back", target)) => Ok(Move::SeekBack(key(target)?)),
        _ => match word {
            "first" => Ok(Move::First),
            "last" => Ok(Move::Last),
            "next" => Ok(Move::Next),
            "prev" => Ok(Move::Prev),
            _ => Err(format!("{word:?} is no movement")),
        },
    }
}

fn change<'a>(kind: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<Change, String> {
    let mut word = || words.next().ok_or_else(|| format!("{kind} ends too early"));
    let (keyspace, key) = (keyspace(word()?)?, key(word()?)?);
    let what = match kind {
        "put" => What::Put(value(word()?)?),
        "append" => What::Append(value(word()?)?),
        "put-later" => What::PutExpiring(value(word()?)?, false),
        "put-expired" => What::PutExpiring(value(word()?)?, true),
        "clear" => What::DeleteTo(self::key(word()?)?),
        "del" => What::Delete,
        _ => return Err(format!("{kind:?} is no change")),
    };
    Ok(Change { keyspace, key, what })
}

fn value(word: &str) -> Result<Value, String> {
    let (id, bytes) = word.split_once('/').ok_or_else(|| format!("{word:?} is no value"))?;
    Ok(Value { id: number(id)?, bytes: number(bytes)? })
}

#[cfg(test)]
mod tests {
    use super::super::Gen;
    use super::*;

    #[test]
    fn histories_read_back_what_they_display() {
        let history = Gen::new(5).history(2_000);
        let text: Vec<String> = history.iter().map(Op::to_string).collect();
        assert_eq!(Op::parse_all(&text.join("\n")), Ok(history));
    }

    #[test]
    fn a_line_that_is_none_is_refused_by_the_word() {
        for (line, what) in [
            ("jump 3", "\"jump\" is no operation"),
            ("step x", "\"x\" is no number here"),
            ("create b", "\"b\" is none of"),
            ("sync now", "\"now\" is too much"),
            ("write sync put main k", "put ends too early"),
            ("get now main %zz", "\"%zz\" is no key"),
        ] {
            let refused = Op::parse(line).expect_err(line);
            assert!(refused.starts_with(what), "{line}: {refused}");
        }
    }
}
