//! Reads InfluxQL.
//!
//! The strict dialect is what InfluxDB 1.6.7 reads, errors included. The relaxed one also takes keywords as names,
//! a bare word on the right of a comparison, and `TIME RANGE a TO b`.
//!
//! 1. Whatever the text, the answer is statements or an error with a place; there is no panic.
//! 2. A tree is never deeper than `DEPTH_MAX`.

mod define;
mod expression;
mod select;
mod show;

use crate::{
    ast::Statement,
    pattern::Pattern,
    print::Name,
    scan::{Scanner, Token},
    token::{Kind, Op},
};
use std::{collections::BTreeMap, fmt};

/// How deep an expression may be; every operator of a chain counts.
pub(crate) const DEPTH_MAX: usize = 1000;

/// How a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// As InfluxDB reads it.
    Strict,
    /// With bare words as texts, and keywords as names.
    Relaxed,
}

/// What a text cannot be read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong, without the place.
    pub message: String,
    /// At which byte of the text.
    pub offset: usize,
    /// On which line, from 1.
    pub line: usize,
    /// At which character of the line, from 1.
    pub char: usize,
    /// Whether the text of the error tells the place. InfluxDB tells none for some errors.
    pub placed: bool,
    /// How the text was read.
    pub dialect: Dialect,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { message, offset, line, char, placed, dialect } = self;
        write!(f, "error parsing query: {message}")?;
        if *dialect == Dialect::Relaxed {
            write!(f, " at byte {offset}")
        } else if *placed {
            write!(f, " at line {line}, char {char}")
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for ParseError {}

/// What stands for `$name`.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// A name.
    Name(String),
    /// A regular expression.
    Pattern(String),
    /// A duration, as it is written.
    Duration(String),
}

/// What stands for each `$name`.
pub type Params = BTreeMap<String, Param>;

/// Reads statements, separated by semicolons.
pub fn parse(text: &str, dialect: Dialect) -> Result<Vec<Statement>, ParseError> {
    parse_with(text, dialect, &Params::new())
}

/// Reads statements in which `$name` stands for something.
pub fn parse_with(
    text: &str,
    dialect: Dialect,
    params: &Params,
) -> Result<Vec<Statement>, ParseError> {
    let mut parser = Parser { scanner: Scanner::new(text), dialect, params, last: 0, deep: 0 };
    let (mut statements, mut separated) = (Vec::new(), true);
    loop {
        let token = parser.next();
        match token.kind {
            Kind::End => return Ok(statements),
            Kind::Semicolon => separated = true,
            _ if separated => {
                parser.unscan(&token);
                statements.push(parser.statement()?);
                separated = false;
            }
            _ => return Err(parser.expected(&token, &[";"])),
        }
    }
}

type Parsed<T> = Result<T, ParseError>;

struct Parser<'a> {
    scanner: Scanner<'a>,
    dialect: Dialect,
    params: &'a Params,
    /// Where the last token that was read began.
    last: usize,
    /// How deep it is in statements and parentheses.
    deep: usize,
}

impl Parser<'_> {
    /// The next token, whatever it is.
    fn scan(&mut self) -> Token {
        let token = self.scanner.next();
        self.last = token.start;
        self.substituted(token)
    }

    /// The next token that is neither blank nor comment.
    fn next(&mut self) -> Token {
        loop {
            let token = self.scan();
            if !matches!(token.kind, Kind::Whitespace | Kind::Comment) {
                return token;
            }
        }
    }

    fn unscan(&mut self, token: &Token) {
        self.scanner.back_to(token.start);
    }

    /// A parameter gives way to what stands for it.
    fn substituted(&self, token: Token) -> Token {
        if token.kind != Kind::Param {
            return token;
        }
        let Some(value) = self.params.get(token.text.trim_start_matches('$')) else {
            return token;
        };
        let (kind, text) = match value {
            Param::Text(text) => (Kind::Text, text.clone()),
            Param::Number(number) => (Kind::Number, format!("{number}")),
            Param::Integer(number) => (Kind::Integer, format!("{number}")),
            Param::Boolean(true) => (Kind::True, String::new()),
            Param::Boolean(false) => (Kind::False, String::new()),
            Param::Name(name) => (Kind::Ident, name.clone()),
            Param::Pattern(text) => (Kind::Regex, text.clone()),
            Param::Duration(text) => (Kind::Duration, text.clone()),
        };
        Token { kind, text, start: token.start }
    }

    /// Whether the next token is this one, which is then taken.
    fn took(&mut self, kind: Kind) -> bool {
        let token = self.next();
        let took = token.kind == kind;
        if !took {
            self.unscan(&token);
        }
        took
    }

    fn took_word(&mut self, word: &'static str) -> bool {
        self.took(Kind::Word(word))
    }

    /// Whether a comma is next, blanks being no part of it.
    fn took_comma(&mut self) -> bool {
        let token = self.scan();
        if token.kind != Kind::Comma {
            self.unscan(&token);
        }
        token.kind == Kind::Comma
    }

    fn need(&mut self, kind: Kind) -> Parsed<()> {
        let token = self.next();
        if token.kind == kind { Ok(()) } else { Err(self.expected(&token, &[kind.name()])) }
    }

    fn need_words(&mut self, words: &[&'static str]) -> Parsed<()> {
        words.iter().try_for_each(|word| self.need(Kind::Word(word)))
    }

    fn expected(&self, found: &Token, expected: &[&str]) -> ParseError {
        let message = format!("found {}, expected {}", found.shown(), expected.join(", "));
        self.error(message, found.told_at())
    }

    fn error(&self, message: impl Into<String>, offset: usize) -> ParseError {
        let (line, char) = self.scanner.place(offset);
        let message = message.into();
        ParseError { message, offset, line, char, placed: true, dialect: self.dialect }
    }

    /// An error for which InfluxDB tells no place.
    fn plain(&self, message: impl Into<String>) -> ParseError {
        ParseError { placed: false, ..self.error(message, self.last) }
    }

    /// Goes one level down; `up` comes back.
    fn down(&mut self) -> Parsed<()> {
        self.deep += 1;
        // Each level of statements and parentheses takes more stack than an operator does.
        if DEPTH_MAX / 20 < self.deep {
            return Err(self.error("too many parentheses within each other", self.last));
        }
        Ok(())
    }

    fn up(&mut self) {
        self.deep -= 1;
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let token = self.next();
        match token.kind {
            Kind::Word("SELECT") => Ok(Statement::Select(Box::new(self.select(true)?))),
            Kind::Word("DELETE") => self.delete(),
            Kind::Word("SHOW") => self.show(),
            Kind::Word("CREATE") => self.create(),
            Kind::Word("DROP") => self.drop_statement(),
            Kind::Word("EXPLAIN") => {
                let analyze = self.took_word("ANALYZE");
                self.need_words(&["SELECT"])?;
                let select = Box::new(self.select(true)?);
                Ok(Statement::Explain { analyze, select })
            }
            Kind::Word("ALTER") => {
                self.need_words(&["RETENTION", "POLICY"])?;
                self.alter_policy()
            }
            Kind::Word(word @ ("GRANT" | "REVOKE" | "SET")) => Err(self.refused(word, USERS)),
            Kind::Word("KILL") => {
                self.need_words(&["QUERY"])?;
                Err(self.refused("KILL QUERY", "a query ends with its connection"))
            }
            _ => Err(self.expected(
                &token,
                &[
                    "SELECT", "DELETE", "SHOW", "CREATE", "DROP", "EXPLAIN", "GRANT", "REVOKE",
                    "ALTER", "SET", "KILL",
                ],
            )),
        }
    }

    /// A statement of InfluxDB that is understood and not done here.
    fn refused(&self, what: &str, instead: &str) -> ParseError {
        self.plain(format!("{what} is not supported: {instead}"))
    }

    /// A name.
    fn ident(&mut self) -> Parsed<String> {
        let token = self.next();
        match self.as_name(&token) {
            Some(name) => Ok(name),
            None => Err(self.expected(&token, &["identifier"])),
        }
    }

    /// The name that a token is; a keyword is one in the relaxed dialect only.
    fn as_name(&self, token: &Token) -> Option<String> {
        match token.kind {
            Kind::Ident => Some(token.text.clone()),
            Kind::Word(word) if self.dialect == Dialect::Relaxed => Some(self.written(token, word)),
            _ => None,
        }
    }

    /// A keyword as it was written.
    fn written(&self, token: &Token, word: &str) -> String {
        let mut scanner = Scanner::new(self.scanner.text());
        scanner.back_to(token.start);
        scanner.rest().get(..word.len()).unwrap_or(word).to_owned()
    }

    /// Names with points between them.
    fn segments(&mut self) -> Parsed<Vec<String>> {
        let mut names = vec![self.ident()?];
        loop {
            let token = self.scan();
            if token.kind != Kind::Dot {
                self.unscan(&token);
                break;
            }
            match self.scanner.peek() {
                Some('/' | ':') => break,
                Some('.') => names.push(String::new()),
                _ => names.push(self.ident()?),
            }
        }
        if names.len() > 3 {
            let (last, before) = names.split_last().map_or(("", &names[..]), |(l, b)| (&**l, b));
            let before = before.join("\".\"");
            return Err(self.error(format!("too many segments in \"{before}\".{}", Name(last)), 0));
        }
        Ok(names)
    }

    /// A regular expression, if one is next.
    fn pattern(&mut self) -> Parsed<Option<Pattern>> {
        let token = if self.scanner.regex_is_next() {
            let token = self.scanner.regex();
            self.last = token.start;
            token
        } else if self.scanner.peek() == Some('$') {
            let token = self.scan();
            if token.kind != Kind::Regex {
                self.unscan(&token);
                return Ok(None);
            }
            token
        } else {
            return Ok(None);
        };
        if token.kind == Kind::BadRegex {
            return Err(self.error("bad regex: ", token.told_at()));
        }
        match Pattern::new(&token.text) {
            Ok(pattern) => Ok(Some(pattern)),
            Err(message) => Err(self.error(message, token.told_at())),
        }
    }

    /// A number behind a keyword, 0 without the keyword.
    fn bound(&mut self, word: &'static str) -> Parsed<u64> {
        if !self.took_word(word) {
            return Ok(0);
        }
        let token = self.next();
        if token.kind != Kind::Integer {
            return Err(self.expected(&token, &["integer"]));
        }
        // What is beyond i64 is no bound at all; InfluxDB takes the greatest number for it.
        match token.text.parse::<i64>() {
            Ok(number) if number < 0 => {
                Err(self.error(format!("{word} must be >= 0"), token.start))
            }
            Ok(number) => Ok(number as u64),
            Err(_) => Ok(i64::MAX as u64),
        }
    }
}

const USERS: &str = "users and their rights are those of the server, made with `olivine user`";

/// Whether an operator is next to a regular expression.
fn is_match(op: Op) -> bool {
    matches!(op, Op::Matches | Op::MatchesNot)
}
