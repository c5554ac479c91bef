//! JSON, written and read: what `--json` answers with, and the lines that dump and load exchange.
//!
//! 1. What is written is one line of valid JSON, whatever the text in it.
//! 2. Every valid document is read; what is not valid is an error that says where, never a panic, and
//!    no depth of nesting uses up the stack.
//! 3. Members keep their order; a member that is there twice is an error. Numbers are kept as written.

use std::fmt::{self, Display, Write as _};

use olivine_doors::base64;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object with these members.
    pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// A list of whatever becomes a value.
    pub(crate) fn list<T: Into<Json>>(values: impl IntoIterator<Item = T>) -> Json {
        Json::List(values.into_iter().map(Into::into).collect())
    }

    /// Reads a whole document, or says at which byte of it what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Json, (usize, &'static str)> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0).map_err(|what| (reader.at, what))?;
        reader.skip_blanks();
        if reader.at < text.len() {
            return Err((reader.at, "there is more behind the value"));
        }
        Ok(value)
    }
}

/// Bytes as a member of an object: as text where they are text, and otherwise as base64 under a name
/// that says so.
pub(crate) fn bytes_member(name: &str, bytes: &[u8]) -> (String, Json) {
    match str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), text.into()),
        Err(_) => (format!("{name}_base64"), base64::encode(bytes).into()),
    }
}

/// Parts of a document as they stand in it: of what is long no more is made than what is wanted.
pub(crate) struct Spans<'a> {
    reader: Reader<'a>,
    is_first: bool,
    is_over: bool,
}

impl<'a> Spans<'a> {
    /// The members of the object that a text is.
    pub(crate) fn members(text: &'a str) -> Result<Vec<(String, &'a str)>, (usize, &'static str)> {
        let mut reader = Reader { text, at: 0 };
        let members = reader.member_spans().map_err(|what| (reader.at, what))?;
        reader.skip_blanks();
        if reader.at < text.len() {
            return Err((reader.at, "there is more behind the object"));
        }
        Ok(members)
    }

    /// The elements of the list that a text is, one by one.
    pub(crate) fn elements(text: &'a str) -> Result<Spans<'a>, (usize, &'static str)> {
        let mut reader = Reader { text, at: 0 };
        reader.skip_blanks();
        if !reader.takes("[") {
            return Err((reader.at, "a list should be here"));
        }
        Ok(Spans { reader, is_first: true, is_over: false })
    }

    fn step(&mut self) -> Result<Option<&'a str>, &'static str> {
        self.reader.skip_blanks();
        if self.reader.takes("]") {
            return Ok(None);
        }
        if !std::mem::take(&mut self.is_first) {
            if !self.reader.takes(",") {
                return Err("a comma or ] should be here");
            }
            self.reader.skip_blanks();
        }
        self.reader.span(1).map(Some)
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Result<&'a str, &'static str>;

    fn next(&mut self) -> Option<Result<&'a str, &'static str>> {
        if self.is_over {
            return None;
        }
        let next = self.step().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Json {
        Json::Number(number.to_string())
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Json {
        Json::Number(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(truth: bool) -> Json {
        Json::Bool(truth)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(truth) => write!(f, "{truth}"),
            Json::Number(number) => f.write_str(number),
            Json::Text(text) => write_text(f, text),
            Json::List(values) => {
                f.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            c if c < ' ' || c == '\u{7f}' => "",
            _ => continue,
        };
        f.write_str(&text[plain..at])?;
        plain = at + c.len_utf8();
        if escape.is_empty() {
            write!(f, "\\u{:04x}", c as u32)?;
        } else {
            f.write_str(escape)?;
        }
    }
    f.write_str(&text[plain..])?;
    f.write_char('"')
}

const DEPTH_MAX: usize = 64;
/// Members of an object of which the parts are looked at.
const MEMBERS_MAX: usize = 20_000;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Passes over a value, and returns it as it stands.
    fn span(&mut self, depth: usize) -> Result<&'a str, &'static str> {
        let start = self.at;
        self.pass(depth)?;
        Ok(&self.text[start..self.at])
    }

    fn pass(&mut self, depth: usize) -> Result<(), &'static str> {
        if DEPTH_MAX < depth {
            return Err("values are nested too deeply");
        }
        match self.peek() {
            Some(b'[') => {
                self.at += 1;
                self.skip_blanks();
                if self.takes("]") {
                    return Ok(());
                }
                loop {
                    self.skip_blanks();
                    self.pass(depth + 1)?;
                    self.skip_blanks();
                    if self.takes("]") {
                        return Ok(());
                    }
                    if !self.takes(",") {
                        return Err("a comma or ] should be here");
                    }
                }
            }
            Some(b'{') => self.object(depth).map(drop),
            _ => self.value(depth).map(drop),
        }
    }

    /// The members of an object, as they stand.
    fn member_spans(&mut self) -> Result<Vec<(String, &'a str)>, &'static str> {
        let mut members: Vec<(String, &str)> = Vec::new();
        self.skip_blanks();
        if !self.takes("{") {
            return Err("an object should be here");
        }
        self.skip_blanks();
        if self.takes("}") {
            return Ok(members);
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err("the name of a member should be here");
            }
            let name = self.text()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err("a member is there twice");
            }
            if MEMBERS_MAX <= members.len() {
                return Err("the object has too many members");
            }
            self.skip_blanks();
            if !self.takes(":") {
                return Err("a colon should be here");
            }
            self.skip_blanks();
            members.push((name, self.span(1)?));
            self.skip_blanks();
            if self.takes("}") {
                return Ok(members);
            }
            if !self.takes(",") {
                return Err("a comma or } should be here");
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Passes over `token` if it is next.
    fn takes(&mut self, token: &str) -> bool {
        let next = self.text.as_bytes()[self.at..].starts_with(token.as_bytes());
        self.at += if next { token.len() } else { 0 };
        next
    }

    fn value(&mut self, depth: usize) -> Result<Json, &'static str> {
        if DEPTH_MAX < depth {
            return Err("values are nested too deeply");
        }
        self.skip_blanks();
        match self.peek() {
            None => Err("the text ends where a value should be"),
            Some(b'"') => Ok(Json::Text(self.text()?)),
            Some(b'[') => self.members(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) if self.takes("null") => Ok(Json::Null),
            Some(_) if self.takes("true") => Ok(Json::Bool(true)),
            Some(_) if self.takes("false") => Ok(Json::Bool(false)),
            Some(_) => Err("no value begins like this"),
        }
    }

    fn members(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.at += 1;
        let mut values = Vec::new();
        self.skip_blanks();
        if self.takes("]") {
            return Ok(Json::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.takes("]") {
                return Ok(Json::List(values));
            }
            if !self.takes(",") {
                return Err("a comma or ] should be here");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, &'static str> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.skip_blanks();
        if self.takes("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err("the name of a member should be here");
            }
            let name = self.text()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err("a member is there twice");
            }
            self.skip_blanks();
            if !self.takes(":") {
                return Err("a colon should be here");
            }
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.skip_blanks();
            if self.takes("}") {
                return Ok(Json::Object(members));
            }
            if !self.takes(",") {
                return Err("a comma or } should be here");
            }
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Json, &'static str> {
        let start = self.at;
        self.takes("-");
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || leading_zero && 1 < whole {
            return Err("a number is not written like this");
        }
        if self.takes(".") && self.digits() == 0 {
            return Err("a number is not written like this");
        }
        if self.takes("e") || self.takes("E") {
            let _sign = self.takes("+") || self.takes("-");
            if self.digits() == 0 {
                return Err("a number is not written like this");
            }
        }
        Ok(Json::Number(self.text[start..self.at].to_owned()))
    }

    fn text(&mut self) -> Result<String, &'static str> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ');
            let Some(end) = end else {
                self.at = self.text.len();
                return Err("the text ends within a string");
            };
            text.push_str(&rest[..end]);
            self.at += end;
            match rest.as_bytes()[end] {
                b'"' => {
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => text.push(self.escape()?),
                _ => return Err("a control character in a string must be escaped"),
            }
        }
    }

    /// The character of the escape that begins here.
    fn escape(&mut self) -> Result<char, &'static str> {
        self.at += 1;
        let simple = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex()?;
                let both = match first {
                    0xd800..0xdc00 if self.takes("\\u") => match self.hex()? {
                        second @ 0xdc00..0xe000 => {
                            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                        }
                        _ => return Err("half of a surrogate pair stands alone"),
                    },
                    _ => first,
                };
                return char::from_u32(both).ok_or("half of a surrogate pair stands alone");
            }
            _ => return Err("there is no such escape"),
        };
        self.at += 1;
        Ok(simple)
    }

    fn hex(&mut self) -> Result<u32, &'static str> {
        let wrong = "\\u wants four hexadecimal digits";
        let digits = self.text.get(self.at..self.at + 4).ok_or(wrong)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = Json::object([
            ("text", "a\"b\\c\n\r\t\u{1}\u{7f}é😀\u{2028}".into()),
            ("number", u64::MAX.into()),
            ("none", Json::Null),
            ("list", Json::list([true, false])),
            ("empty", Json::Object(Vec::new())),
            ("", Json::List(Vec::new())),
        ]);
        let text = value.to_string();
        assert!(!text.contains(|c: char| c.is_control()), "{text}");
        assert_eq!(Json::parse(&text), Ok(value));
    }

    #[test]
    fn everything_valid_is_read() {
        for (text, value) in [
            (" null ", Json::Null),
            ("-0.5e+7", Json::Number("-0.5e+7".into())),
            ("\"\\ud83d\\ude00\\/\\b\"", "😀/\u{8}".into()),
            (
                "[1,\n[ ], {} ]",
                Json::List(vec![1_usize.into(), Json::List(vec![]), Json::Object(vec![])]),
            ),
        ] {
            assert_eq!(Json::parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_valid_is_told_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("nul", 0),
            ("{\"a\":1,}", 7),
            ("{\"a\":1,\"a\":2}", 10),
            ("{a:1}", 1),
            ("[1 2]", 3),
            ("01", 2),
            ("1.", 2),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\ud800\"", 7),
            ("\"\\u12é\"", 3),
            ("\"a\nb\"", 2),
            ("1 1", 2),
        ] {
            assert_eq!(Json::parse(text).unwrap_err().0, at, "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(Spans::members(&deep), Err((5 + 64, "values are nested too deeply")));
    }

    #[test]
    fn parts_are_told_as_they_stand() {
        let text = " {\"a\\u0062\": [1, 2.50 ,\"]\"] ,\"c\":{\"d\":[{}]}}";
        let members = Spans::members(text).unwrap();
        assert_eq!(members[0], ("ab".to_owned(), "[1, 2.50 ,\"]\"]"));
        assert_eq!(members[1], ("c".to_owned(), "{\"d\":[{}]}"));
        let elements: Result<Vec<_>, _> = Spans::elements(members[0].1).unwrap().collect();
        assert_eq!(elements, Ok(vec!["1", "2.50", "\"]\""]));
        assert_eq!(Spans::elements("[ ]").unwrap().count(), 0);
        for text in ["{", "[]", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "{\"a\":[1}", "{a:1}", ""] {
            assert!(Spans::members(text).is_err(), "{text}");
        }
        for text in ["[1 2]", "[1", "[,]", "[1,]", "[01]"] {
            assert!(Spans::elements(text).unwrap().any(|element| element.is_err()), "{text}");
        }
    }
}
