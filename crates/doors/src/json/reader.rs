//! Finds JSON values in a text, without copying them.
//!
//! Values are kept as they are written: numbers keep every digit, texts their escapes until somebody
//! asks for them.
//!
//! 1. Every valid document of RFC 8259 is found valid, and no other text is.
//! 2. Nesting beyond `DEPTH_MAX` is an error; no nesting uses the stack.

use std::borrow::Cow;

/// How deep lists and objects may lie in each other.
pub const DEPTH_MAX: u32 = 128;

/// Where a text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which byte.
    pub at: usize,
    /// Why.
    pub what: &'static str,
}

/// A valid value, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its text, from its first byte to its last.
    pub text: &'a str,
    /// Whether blanks stand between its parts.
    blanks: bool,
}

/// Reads a text that is one value.
pub fn read(text: &str) -> Result<Raw<'_>, Fault> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

impl<'a> Raw<'a> {
    /// Whether it is a text.
    pub fn is_text(&self) -> bool {
        self.text.starts_with('"')
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.text.starts_with('[')
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.text == "null"
    }

    /// The text it is, if it is one.
    pub fn as_text(&self) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(inner) = self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        else {
            return Ok(None);
        };
        match memchr::memchr(b'\\', inner.as_bytes()) {
            None => Ok(Some(Cow::Borrowed(inner))),
            Some(first) => unescape(inner, first).map(|text| Some(Cow::Owned(text))),
        }
    }

    /// The whole number it is, if it is one that is not negative.
    pub fn as_number(&self) -> Option<u64> {
        self.text.parse().ok()
    }

    /// Its text without blanks between its parts.
    pub fn compact(&self) -> Cow<'a, [u8]> {
        if !self.blanks {
            return Cow::Borrowed(self.text.as_bytes());
        }
        let mut compact = Vec::with_capacity(self.text.len());
        let (mut in_text, mut escaped) = (false, false);
        for byte in self.text.bytes() {
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if is_blank(byte) {
                continue;
            } else {
                in_text = byte == b'"';
            }
            compact.push(byte);
        }
        Cow::Owned(compact)
    }

    /// The members of an object, as they come; nothing if it is none.
    pub fn members(&self) -> Option<Vec<(Cow<'a, str>, Raw<'a>)>> {
        if !self.text.starts_with('{') {
            return None;
        }
        let mut reader = Reader::new(self.text);
        let mut members = Vec::new();
        reader.at = 1;
        if reader.peek() == Some(b'}') {
            return Some(members);
        }
        loop {
            let name = reader.value().ok()?.as_text().ok()??;
            reader.expect(b':', "a colon is missing").ok()?;
            members.push((name, reader.value().ok()?));
            match reader.take() {
                Some(b',') => {}
                _ => return Some(members),
            }
        }
    }

    /// What a list holds; nothing if it is none.
    pub fn elements(&self) -> Option<Vec<Raw<'a>>> {
        if !self.is_list() {
            return None;
        }
        let mut reader = Reader::new(self.text);
        let mut elements = Vec::new();
        reader.at = 1;
        if reader.peek() == Some(b']') {
            return Some(elements);
        }
        loop {
            elements.push(reader.value().ok()?);
            match reader.take() {
                Some(b',') => {}
                _ => return Some(elements),
            }
        }
    }
}

/// What may come next within lists and objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Member,
    MemberOrEnd,
    CommaOrEnd,
}

/// Walks a text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Whether blanks were skipped since somebody last asked.
    blanks: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, blanks: false }
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no blank.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while self.byte().is_some_and(is_blank) {
            self.at += 1;
            self.blanks = true;
        }
        self.byte()
    }

    /// Passes the next byte that is no blank.
    pub(crate) fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Passes `byte`, or says that `what` is wrong.
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return self.fault(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Nothing comes any more.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(_) => self.fault("there is more behind the value"),
            None => Ok(()),
        }
    }

    /// Passes one value.
    pub(crate) fn value(&mut self) -> Result<Raw<'a>, Fault> {
        self.peek();
        let start = self.at;
        self.blanks = false;
        match self.byte() {
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(Raw { text: &self.text[start..self.at], blanks: self.blanks })
    }

    /// Passes a list or an object.
    fn nested(&mut self) -> Result<(), Fault> {
        // One bit a level: whether it is an object.
        let (mut kinds, mut depth) = (0u128, 0u32);
        let mut next = Next::Value;
        loop {
            let byte = self.peek();
            match (next, byte) {
                (Next::Value | Next::ValueOrEnd, Some(open @ (b'{' | b'['))) => {
                    if depth == DEPTH_MAX {
                        return self.fault("it is nested more than 128 deep");
                    }
                    self.at += 1;
                    let is_object = open == b'{';
                    kinds = kinds << 1 | u128::from(is_object);
                    depth += 1;
                    next = if is_object { Next::MemberOrEnd } else { Next::ValueOrEnd };
                }
                (Next::ValueOrEnd | Next::MemberOrEnd | Next::CommaOrEnd, Some(b'}' | b']')) => {
                    let wanted = if kinds & 1 == 1 { b'}' } else { b']' };
                    if byte != Some(wanted) {
                        return self.fault("this does not end what is open");
                    }
                    self.at += 1;
                    kinds >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                    next = Next::CommaOrEnd;
                }
                (Next::CommaOrEnd, Some(b',')) => {
                    self.at += 1;
                    next = if kinds & 1 == 1 { Next::Member } else { Next::Value };
                }
                (Next::CommaOrEnd, _) => return self.fault("a comma or an end is missing"),
                (Next::Member | Next::MemberOrEnd, Some(b'"')) => {
                    self.text()?;
                    self.expect(b':', "a colon is missing")?;
                    next = Next::Value;
                }
                (Next::Member | Next::MemberOrEnd, _) => {
                    return self.fault("a member's name is missing");
                }
                (Next::Value | Next::ValueOrEnd, _) => {
                    self.scalar()?;
                    next = Next::CommaOrEnd;
                }
            }
        }
    }

    /// Passes a value that holds no others.
    fn scalar(&mut self) -> Result<(), Fault> {
        match self.byte() {
            Some(b'"') => self.text(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.fault("no value begins like this"),
            None => self.fault("a value is missing"),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return self.fault("no value begins like this");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fault("a digit is missing"),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fault("a digit is missing") } else { Ok(()) }
    }

    /// Passes a text, and checks its escapes.
    fn text(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            self.at += plain_bytes(&self.text.as_bytes()[self.at..]);
            match self.byte() {
                None => return self.fault("a text does not end"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 1,
                Some(_) => return self.fault("a control character must be escaped"),
            }
            match self.byte() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') => {
                    let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
                    if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                        return self.fault("`\\u` wants four hexadecimal digits");
                    }
                    self.at += 5;
                }
                _ => return self.fault("there is no such escape"),
            }
        }
    }

    /// Passes a member's name and the colon behind it.
    pub(crate) fn name(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return self.fault("a member's name is missing");
        }
        let name = self.value()?.as_text()?.unwrap_or_default();
        self.expect(b':', "a colon is missing")?;
        Ok(name)
    }
}

/// How many bytes a text begins with that stand for themselves in JSON.
pub(crate) fn plain_bytes(text: &[u8]) -> usize {
    /// So many are looked at together.
    const TOGETHER: usize = 16;
    let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    let mut passed = 0;
    let (chunks, _) = text.as_chunks::<TOGETHER>();
    for chunk in chunks {
        // No early end, so that it is a few instructions for all of them.
        if chunk.iter().fold(false, |any, byte| any | is_special(*byte)) {
            break;
        }
        passed += TOGETHER;
    }
    let rest = &text[passed..];
    passed + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The text behind the escapes; the first of them stands at `first`.
fn unescape(inner: &str, first: usize) -> Result<String, Fault> {
    let mut text = String::with_capacity(inner.len());
    text.push_str(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some(place) = rest.find('\\') {
        text.push_str(&rest[..place]);
        let escape = &rest[place + 1..];
        let (what, bytes) = unescaped(escape).ok_or(Fault {
            at: inner.len() - rest.len() + place + 1,
            what: "half a surrogate pair",
        })?;
        text.push(what);
        rest = &escape[bytes..];
    }
    text.push_str(rest);
    Ok(text)
}

/// What an escape stands for, and how many bytes it takes behind its backslash.
fn unescaped(escape: &str) -> Option<(char, usize)> {
    let what = match escape.bytes().next()? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescaped_unit(escape),
        other => char::from(other),
    };
    Some((what, 1))
}

fn unescaped_unit(escape: &str) -> Option<(char, usize)> {
    let unit = |from: usize| u32::from_str_radix(escape.get(from..from + 4)?, 16).ok();
    let high = unit(1)?;
    if let Some(what) = char::from_u32(high) {
        return Some((what, 5));
    }
    let low = unit(7).filter(|_| escape.get(5..7) == Some("\\u"))?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let what = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    Some((what, 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_values_are_found() {
        for (text, compact) in [
            ("null", "null"),
            (" [ 1 , \"a b\" ] ", "[1,\"a b\"]"),
            ("{\"a\" : {\"b\":[]}}", "{\"a\":{\"b\":[]}}"),
            ("-0.5e+10", "-0.5e+10"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("\"\\\" \\\\\"", "\"\\\" \\\\\""),
            ("[ \"\\\\\" , \" \" ]", "[\"\\\\\",\" \"]"),
            ("{}", "{}"),
            ("[[],{},\"\"]", "[[],{},\"\"]"),
        ] {
            let raw = read(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert_eq!(str::from_utf8(&raw.compact()).unwrap(), compact);
        }
    }

    #[test]
    fn other_text_is_not() {
        for (text, at) in [
            ("", 0),
            ("nul", 0),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("{a:1}", 1),
            ("[}", 1),
            ("01", 1),
            ("1.", 2),
            ("+1", 0),
            ("NaN", 0),
            ("1e", 2),
            ("\"a\nb\"", 2),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 2),
            ("1 2", 2),
            ("[", 1),
            ("'a'", 0),
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!(fault.at, at, "{text}: {fault:?}");
        }
    }

    #[test]
    fn texts_are_unescaped_when_asked_for() {
        let text =
            |text: &str| read(text).unwrap().as_text().map(|text| text.unwrap().into_owned());
        assert_eq!(text(r#""plain""#).unwrap(), "plain");
        assert_eq!(text(r#""\"\\\/\b\f\n\r\t\u00e9""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\té");
        assert_eq!(text(r#""a\ud83d\ude00b""#).unwrap(), "a😀b");
        for half in [r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\ud83dx""#, r#""\ud83d\u0041""#] {
            assert_eq!(text(half).unwrap_err().what, "half a surrogate pair", "{half}");
        }
        assert_eq!(read("5").unwrap().as_text(), Ok(None));
    }

    #[test]
    fn plain_bytes_end_where_something_must_be_escaped() {
        let plain: String =
            ('!'..='~').filter(|c| !"\"\\".contains(*c)).cycle().take(100).collect();
        for place in 0..100 {
            for special in ["\"", "\\", "\n", "\0", "\u{1f}"] {
                let text = plain[..place].to_owned() + special + &plain[place..];
                assert_eq!(plain_bytes(text.as_bytes()), place, "{text:?}");
            }
            assert_eq!(plain_bytes("é\u{7f} ".repeat(place).as_bytes()), 4 * place);
        }
    }

    #[test]
    fn nesting_has_a_bound_and_takes_no_stack() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&deep(DEPTH_MAX as usize)).is_ok());
        assert_eq!(read(&deep(DEPTH_MAX as usize + 1)).unwrap_err().at, DEPTH_MAX as usize);
        let work = || read(&"[{\"a\":".repeat(100_000)).unwrap_err().what;
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap();
        assert_eq!(thread.join().unwrap(), "it is nested more than 128 deep");
    }

    #[test]
    fn members_are_those_of_the_object() {
        let members =
            read("{\"a\": 1 , \"\\u0062\":[2,{}],\"a\":null}").unwrap().members().unwrap();
        let texts: Vec<_> = members.iter().map(|(name, raw)| (name.as_ref(), raw.text)).collect();
        assert_eq!(texts, [("a", "1"), ("b", "[2,{}]"), ("a", "null")]);
        assert_eq!(read("{ }").unwrap().members(), Some(Vec::new()));
        assert_eq!(read("[]").unwrap().members(), None);
    }

    #[test]
    fn elements_are_those_of_the_list() {
        let texts = |text| -> Vec<&str> {
            read(text).unwrap().elements().unwrap().iter().map(|raw| raw.text).collect()
        };
        assert_eq!(texts("[1, [2,3] ,\"x\"]"), ["1", "[2,3]", "\"x\""]);
        assert_eq!(texts("[ ]"), [""; 0]);
        assert_eq!(read("{}").unwrap().elements(), None);
    }
}
