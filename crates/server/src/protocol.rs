//! The doors that speak in lines, as a connection drives them.

use olivine_command::{Code, Command};
use olivine_doors::{Answer, Login, json, limits::Limits, line};

/// A request: who is to act on it, and what the answer looks like.
pub(crate) struct Asked<'a, S> {
    pub(crate) asks: Asks<'a>,
    pub(crate) shape: S,
}

/// Who is to act on a request.
pub(crate) enum Asks<'a> {
    /// The door can answer by itself.
    Nothing,
    /// The store.
    Store(Command<'a>),
    /// Whoever knows who may do what.
    Login(Login<'a>),
}

impl<'a> Asks<'a> {
    pub(crate) fn new(command: Option<Command<'a>>, login: Option<Login<'a>>) -> Asks<'a> {
        match (command, login) {
            (Some(command), _) => Asks::Store(command),
            (None, Some(login)) => Asks::Login(login),
            (None, None) => Asks::Nothing,
        }
    }
}

/// A door that speaks in lines.
pub(crate) trait Protocol {
    /// What an answer looks like.
    type Shape<'a>;

    /// Whether the start of a request can never be taken for a whole one. Then the last line of a
    /// connection needs no end; otherwise it may have been cut off, and is not carried out.
    const KNOWS_ITS_END: bool;

    /// Reads a line; nothing if it asks for nothing.
    fn read<'a>(line: &'a [u8], limits: &Limits, now: u64) -> Option<Asked<'a, Self::Shape<'a>>>;

    /// Writes an answer.
    fn answer(shape: &Self::Shape<'_>, filled: Answer, out: &mut Vec<u8>);

    /// Writes that something is wrong with the connection.
    fn error(what: &str, code: Code, out: &mut Vec<u8>);
}

/// JSON lines.
pub(crate) struct Json;

impl Protocol for Json {
    type Shape<'a> = json::Shape<'a>;

    const KNOWS_ITS_END: bool = true;

    fn read<'a>(line: &'a [u8], limits: &Limits, now: u64) -> Option<Asked<'a, json::Shape<'a>>> {
        let json::Request { command, login, shape } = json::read(line, limits, now)?;
        Some(Asked { asks: Asks::new(command, login), shape })
    }

    fn answer(shape: &json::Shape<'_>, filled: Answer, out: &mut Vec<u8>) {
        json::answer(shape, filled, out);
    }

    fn error(what: &str, code: Code, out: &mut Vec<u8>) {
        json::error(what, code.name(), out);
    }
}

/// `PUT key value`.
pub(crate) struct Line;

impl Protocol for Line {
    type Shape<'a> = line::Shape;

    const KNOWS_ITS_END: bool = false;

    fn read<'a>(line: &'a [u8], limits: &Limits, _now: u64) -> Option<Asked<'a, line::Shape>> {
        let line::Request { command, login, shape } = line::read(line, limits)?;
        Some(Asked { asks: Asks::new(command, login), shape })
    }

    fn answer(shape: &line::Shape, filled: Answer, out: &mut Vec<u8>) {
        line::answer(shape, filled, out);
    }

    fn error(what: &str, _code: Code, out: &mut Vec<u8>) {
        line::error(what, out);
    }
}
