//! Takes a text of InfluxQL apart into tokens.
//!
//! 1. Every token is within the text, and reading on from its end always comes closer to the end of the text.
//! 2. Lines and characters are counted as InfluxDB counts them, so that errors point to the same place.

use crate::token::{Kind, Op, word};

/// A token, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// What it says: a name without its quotes, a text without its escapes.
    pub(crate) text: String,
    pub(crate) start: usize,
}

impl Token {
    /// What an error calls it.
    pub(crate) fn shown(&self) -> &str {
        if self.text.is_empty() { self.kind.name() } else { &self.text }
    }

    /// Where an error says that it stands. Of texts and regular expressions InfluxDB tells the place before.
    pub(crate) fn told_at(&self) -> usize {
        let early = matches!(self.kind, Kind::Text | Kind::BadText | Kind::Regex | Kind::BadRegex);
        if early { self.start.saturating_sub(1) } else { self.start }
    }
}

/// Reads tokens, one after the other.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Whether something looked beyond the end before the end itself was read.
    overran: bool,
    /// How many characters the end counts for.
    end: Option<usize>,
}

pub(crate) fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, overran: false, end: None }
    }

    /// All of the text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Where the next token begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes back, to where `at` was before.
    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What is ahead.
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character, which is not taken.
    pub(crate) fn peek(&mut self) -> Option<char> {
        let next = self.rest().chars().next();
        if next.is_none() {
            self.overran = true;
        }
        next
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !fits(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Line and character of a byte, from 1.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        // What is told to be a byte before a character may lie within the one before.
        let within = (0..=at.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at));
        let before = &self.text[..within.unwrap_or(0)];
        let (mut line, mut char) = (1, 1);
        let mut chars = before.chars().peekable();
        while let Some(next) = chars.next() {
            if next == '\r' && chars.peek() == Some(&'\n') {
                continue;
            }
            if next == '\n' || next == '\r' {
                line += 1;
                char = 1;
            } else {
                char += 1;
            }
        }
        if at >= self.text.len() {
            char += self.end.unwrap_or(0);
        }
        (line, char)
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Token {
        let start = self.at;
        let token = |kind, text: &str| Token { kind, text: text.to_owned(), start };
        let Some(char) = self.take() else {
            self.end.get_or_insert(usize::from(self.overran));
            return token(Kind::End, "");
        };
        if is_space(char) {
            self.take_while(is_space);
            self.overran |= self.rest().is_empty();
            return token(Kind::Whitespace, &self.text[start..self.at]);
        }
        if char.is_ascii_digit() {
            return self.number(start);
        }
        if char.is_ascii_alphabetic() || char == '_' {
            self.at = start;
            let text = self.take_while(is_word);
            self.overran |= self.rest().is_empty();
            // A quote right behind a word ends it, and the name in quotes is what counts.
            if self.take_if('"') {
                return self.quoted('"', Kind::Ident, start);
            }
            let kind = word(text);
            return token(kind, if kind == Kind::Ident { text } else { "" });
        }
        let kind = match char {
            '"' => return self.quoted('"', Kind::Ident, start),
            '\'' => return self.quoted('\'', Kind::Text, start),
            '.' if self.rest().starts_with(|char: char| char.is_ascii_digit()) => {
                return self.number(start);
            }
            '$' => return self.param(start),
            '-' if self.take_if('-') => {
                self.take_while(|char| char != '\n');
                Kind::Comment
            }
            '/' if self.take_if('*') => {
                if let Some(length) = self.rest().find("*/") {
                    self.at += length + 2;
                    Kind::Comment
                } else {
                    self.at = self.text.len();
                    Kind::Illegal
                }
            }
            '!' if self.take_if('=') => Kind::Op(Op::NotEqual),
            '!' if self.take_if('~') => Kind::Op(Op::MatchesNot),
            '=' if self.take_if('~') => Kind::Op(Op::Matches),
            '>' if self.take_if('=') => Kind::Op(Op::GreaterEqual),
            '<' if self.take_if('=') => Kind::Op(Op::LessEqual),
            '<' if self.take_if('>') => Kind::Op(Op::NotEqual),
            ':' if self.take_if(':') => Kind::DoubleColon,
            _ => match single(char) {
                Some(kind) => kind,
                None => return token(Kind::Illegal, &self.text[start..self.at]),
            },
        };
        token(kind, "")
    }

    fn param(&mut self, start: usize) -> Token {
        if self.take_if('"') {
            let token = self.quoted('"', Kind::Param, start);
            return Token { text: format!("${}", token.text), ..token };
        }
        self.take_while(is_word);
        Token { kind: Kind::Param, text: self.text[start..self.at].to_owned(), start }
    }

    fn number(&mut self, start: usize) -> Token {
        self.at = start;
        let digits = self.take_while(|char| char.is_ascii_digit());
        let token = |kind, text: &str| Token { kind, text: text.to_owned(), start };
        if self.take_if('.') {
            let fraction = self.take_while(|char| char.is_ascii_digit());
            if fraction.is_empty() {
                return token(Kind::Number, digits);
            }
            return token(Kind::Number, &self.text[start..self.at]);
        }
        let is_unit = |char: char| char.is_ascii_alphabetic() || char == 'µ';
        if self.rest().starts_with(is_unit) {
            self.take_while(|char| is_unit(char) || char.is_ascii_digit());
            return token(Kind::Duration, &self.text[start..self.at]);
        }
        token(Kind::Integer, digits)
    }

    /// What stands between quotes; the first is taken already.
    fn quoted(&mut self, quote: char, kind: Kind, start: usize) -> Token {
        let mut text = String::new();
        loop {
            match self.take() {
                Some(char) if char == quote => return Token { kind, text, start },
                None | Some('\n' | '\r') => return Token { kind: Kind::BadText, text, start },
                Some('\\') => match self.take() {
                    Some('n') => text.push('\n'),
                    Some(char @ ('\\' | '"' | '\'')) => text.push(char),
                    other => {
                        let text = format!("\\{}", other.map_or(String::new(), String::from));
                        let start = self.at.saturating_sub(1);
                        let start = (0..=start).rev().find(|at| self.text.is_char_boundary(*at));
                        let start = start.unwrap_or(0);
                        return Token { kind: Kind::BadEscape, text, start };
                    }
                },
                Some(char) => text.push(char),
            }
        }
    }

    /// A regular expression between slashes.
    pub(crate) fn regex(&mut self) -> Token {
        let start = self.at;
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                Some('/') => return Token { kind: Kind::Regex, text, start },
                None | Some('\n' | '\r') => {
                    return Token { kind: Kind::BadRegex, text: String::new(), start };
                }
                Some('\\') if self.take_if('/') => text.push('/'),
                Some('\\') => {
                    text.push('\\');
                    // An escaped backslash is two characters, and its second begins nothing.
                    if self.take_if('\\') {
                        text.push('\\');
                    }
                }
                Some(char) => text.push(char),
            }
        }
    }

    /// Whether the next character, blanks left out, begins a regular expression.
    pub(crate) fn regex_is_next(&mut self) -> bool {
        if self.peek().is_some_and(is_space) {
            self.take_while(is_space);
            self.overran |= self.rest().is_empty();
        }
        self.peek() == Some('/')
    }
}

fn single(char: char) -> Option<Kind> {
    Some(match char {
        '.' => Kind::Dot,
        '+' => Kind::Op(Op::Add),
        '-' => Kind::Op(Op::Subtract),
        '*' => Kind::Op(Op::Multiply),
        '/' => Kind::Op(Op::Divide),
        '%' => Kind::Op(Op::Modulo),
        '&' => Kind::Op(Op::BitAnd),
        '|' => Kind::Op(Op::BitOr),
        '^' => Kind::Op(Op::BitXor),
        '=' => Kind::Op(Op::Equal),
        '>' => Kind::Op(Op::Greater),
        '<' => Kind::Op(Op::Less),
        '(' => Kind::LeftParen,
        ')' => Kind::RightParen,
        ',' => Kind::Comma,
        ':' => Kind::Colon,
        ';' => Kind::Semicolon,
        _ => return None,
    })
}
