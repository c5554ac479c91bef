//! The line door: `PUT key value`, one request and one answer a line.
//!
//! The value is the rest of the line, so that `PUT name age 30` stores `age 30`. Answers begin with
//! `OK`, `NOT_FOUND` or `ERROR`. Words of command are taken in any case. `docs/protocols/line.md`
//!
//! 1. An answer is one line; a value that would take more is refused, and the other doors named.

use olivine_command::{Command, Condition, Entry, Expiry, Form, Reply, Value};

use crate::{Answer, Login, limits::Limits, taken};

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to ask of the store, if anything.
    pub command: Option<Command<'a>>,
    /// Who the sender says to be, from now on.
    pub login: Option<Login<'a>>,
    /// What the answer looks like.
    pub shape: Shape,
}

/// What an answer looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value was asked for.
    Get,
    /// Something was to be changed.
    Change,
    /// This text, whole.
    Said(&'static str),
    /// The request is wrong.
    Wrong(String),
}

/// Reads one line; nothing if it is blank.
pub fn read<'a>(line: &'a [u8], limits: &Limits) -> Option<Request<'a>> {
    let line = line.trim_ascii_start();
    let (word, rest) = split(line);
    if word.is_empty() {
        return None;
    }
    Some(asked(word, rest, limits).unwrap_or_else(|what| say(Shape::Wrong(what))))
}

fn asked<'a>(word: &[u8], rest: Option<&'a [u8]>, limits: &Limits) -> Result<Request<'a>, String> {
    let upper = word.to_ascii_uppercase();
    match upper.as_slice() {
        b"PUT" => {
            let (key, value) = split(rest.unwrap_or_default());
            let Some(value) = value.filter(|_| !key.is_empty()) else {
                return Err("PUT wants a key and a value: PUT key value".to_owned());
            };
            limits.check_key(key)?;
            limits.check_value(value)?;
            let value = Value { form: Form::Bytes, bytes: value.into() };
            let entry = Entry { key: key.into(), value };
            let (condition, expiry) = (Condition::Always, Expiry::Never);
            Ok(ask(Command::Put { entry, condition, expiry }, Shape::Change))
        }
        b"GET" => {
            let key = only_key("GET", rest, limits)?;
            Ok(ask(Command::Get { key: key.into() }, Shape::Get))
        }
        b"DELETE" => {
            let key = only_key("DELETE", rest, limits)?;
            let condition = Condition::Always;
            Ok(ask(Command::Delete { key: key.into(), condition }, Shape::Change))
        }
        b"AUTH" => {
            let (first, second) = split(rest.unwrap_or_default());
            let login = match (first, second) {
                (b"", _) => {
                    return Err("AUTH wants a user and a password, or a token".to_owned());
                }
                (token, None) => Login::Token(token.into()),
                (user, Some(password)) => {
                    Login::Password { user: user.into(), password: password.into() }
                }
            };
            Ok(Request { command: None, login: Some(login), shape: Shape::Said("OK") })
        }
        b"PING" if rest.is_none_or(|rest| rest.trim_ascii().is_empty()) => {
            Ok(say(Shape::Said("OK PONG")))
        }
        b"PING" => Err("PING wants nothing behind it".to_owned()),
        _ => {
            let word = shown(word);
            Err(format!("unknown command {word}; there are {}", taken::listed(&taken::LINE)))
        }
    }
}

fn ask(command: Command<'_>, shape: Shape) -> Request<'_> {
    Request { command: Some(command), login: None, shape }
}

fn say(shape: Shape) -> Request<'static> {
    Request { command: None, login: None, shape }
}

/// The first word, and what comes behind the space that ends it.
fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(end) => (&line[..end], Some(&line[end + 1..])),
        None => (line, None),
    }
}

fn only_key<'a>(word: &str, rest: Option<&'a [u8]>, limits: &Limits) -> Result<&'a [u8], String> {
    let key = rest.unwrap_or_default().trim_ascii();
    if key.is_empty() || key.contains(&b' ') {
        return Err(format!("{word} wants one key: {word} key"));
    }
    limits.check_key(key)?;
    Ok(key)
}

/// What somebody sent, for an answer: escaped, and not longer than it needs to be.
fn shown(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(64)];
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_ascii())
}

/// Writes the answer to a request.
pub fn answer(shape: &Shape, answer: Answer, out: &mut Vec<u8>) {
    match (shape, answer) {
        (_, Answer::Reply(Reply::Refused(refusal))) => error(&refusal.text, out),
        (Shape::Get, Answer::Reply(Reply::Value(Some(found)))) => {
            if found.bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                error("the value has line breaks; read it through HTTP or JSON lines", out);
            } else {
                out.extend_from_slice(b"OK ");
                out.extend_from_slice(&found.bytes);
                out.push(b'\n');
            }
        }
        (Shape::Change, Answer::Reply(Reply::Done(true))) => out.extend_from_slice(b"OK\n"),
        (Shape::Get, Answer::Reply(Reply::Value(None)))
        | (Shape::Change, Answer::Reply(Reply::Done(false))) => {
            out.extend_from_slice(b"NOT_FOUND\n");
        }
        (Shape::Said(text), _) => {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        (Shape::Wrong(what), _) => error(what, out),
        (Shape::Get | Shape::Change, answer) => {
            unreachable!("{shape:?} is not answered by {answer:?}")
        }
    }
}

/// Writes that something went wrong.
pub fn error(what: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ERROR ");
    out.extend(what.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_command::Found;

    fn put<'a>(key: &'a str, value: &'a str) -> Command<'a> {
        let value = Value { form: Form::Bytes, bytes: value.as_bytes().into() };
        let entry = Entry { key: key.as_bytes().into(), value };
        Command::Put { entry, condition: Condition::Always, expiry: Expiry::Never }
    }

    fn command(line: &str) -> Command<'_> {
        let request = read(line.as_bytes(), &Limits::default()).unwrap();
        request.command.unwrap_or_else(|| panic!("{line}: {:?}", request.shape))
    }

    #[test]
    fn the_value_is_the_rest_of_the_line() {
        assert_eq!(command("PUT name age 30"), put("name", "age 30"));
        assert_eq!(command("put name  two spaces "), put("name", " two spaces "));
        assert_eq!(command("PUT name "), put("name", ""));
        assert_eq!(command("GET name"), Command::Get { key: b"name".as_slice().into() });
        assert_eq!(command(" get name "), Command::Get { key: b"name".as_slice().into() });
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        for (line, told) in [
            ("PUT name", "ERROR PUT wants a key and a value: PUT key value\n"),
            ("PUT", "ERROR PUT wants a key and a value: PUT key value\n"),
            ("GET", "ERROR GET wants one key: GET key\n"),
            ("DELETE a b", "ERROR DELETE wants one key: DELETE key\n"),
            ("PING x", "ERROR PING wants nothing behind it\n"),
            (
                "S\u{1b}T a",
                "ERROR unknown command \"S\\x1bT\"; there are PUT key value, GET key, DELETE key, AUTH user password, AUTH token, PING\n",
            ),
        ] {
            let request = read(line.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(request.command, None, "{line}");
            let mut out = Vec::new();
            answer(&request.shape, Answer::Own, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), told);
        }
        let long = format!("GET {}", "k".repeat(5_000));
        let request = read(long.as_bytes(), &Limits::default()).unwrap();
        let told = "the key has 5000 bytes, and `key-bytes-max` is 4096";
        assert_eq!(request.shape, Shape::Wrong(told.to_owned()));
        assert_eq!(read(b"  ", &Limits::default()), None);
    }

    #[test]
    fn answers_are_one_line() {
        let found = |bytes: &[u8]| {
            let found = Found { form: Form::Bytes, bytes: bytes.to_vec(), revision: 0 };
            Answer::Reply(Reply::Value(Some(found)))
        };
        for (shape, filled, told) in [
            (Shape::Get, found(b"age 30"), "OK age 30\n"),
            (Shape::Get, found(b""), "OK \n"),
            (Shape::Get, Answer::Reply(Reply::Value(None)), "NOT_FOUND\n"),
            (
                Shape::Get,
                found(b"a\nb"),
                "ERROR the value has line breaks; read it through HTTP or JSON lines\n",
            ),
            (Shape::Change, Answer::Reply(Reply::Done(true)), "OK\n"),
            (Shape::Change, Answer::Reply(Reply::Done(false)), "NOT_FOUND\n"),
            (Shape::Said("OK PONG"), Answer::Own, "OK PONG\n"),
        ] {
            let mut out = Vec::new();
            answer(&shape, filled, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), told);
        }
    }
}
