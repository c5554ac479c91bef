//! Reads JSON, as far as `cargo metadata` needs it read.
//!
//! 1. Every valid document is read; what is not valid is `None`, never a panic.
//! 2. Numbers are kept as they were written: nobody here computes with them.

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value of a whole document.
    pub(crate) fn parse(text: &str) -> Option<Json> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.skip_blanks();
        reader.rest.is_empty().then_some(value)
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list; nothing for any other value.
    pub(crate) fn list(&self) -> &[Json] {
        match self {
            Json::List(list) => list,
            _ => &[],
        }
    }
}

const DEPTH_MAX: usize = 64;

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.skip_blanks();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth == DEPTH_MAX {
            return None;
        }
        self.skip_blanks();
        match self.rest.chars().next()? {
            'n' => self.take("null").map(|()| Json::Null),
            't' => self.take("true").map(|()| Json::Bool(true)),
            'f' => self.take("false").map(|()| Json::Bool(false)),
            '"' => self.string().map(Json::Text),
            '[' => self.elements("[", "]", |r| r.value(depth + 1)).map(Json::List),
            '{' => self.elements("{", "}", |r| r.member(depth + 1)).map(Json::Object),
            _ => self.number(),
        }
    }

    fn member(&mut self, depth: usize) -> Option<(String, Json)> {
        let name = self.string()?;
        self.take(":")?;
        Some((name, self.value(depth)?))
    }

    fn elements<T>(
        &mut self,
        open: &str,
        close: &str,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.take(open)?;
        let mut all = Vec::new();
        if self.take(close).is_some() {
            return Some(all);
        }
        loop {
            all.push(element(self)?);
            if self.take(close).is_some() {
                return Some(all);
            }
            self.take(",")?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        number.parse::<f64>().ok()?;
        self.rest = rest;
        Some(Json::Number(number.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\'])?;
            text.push_str(&self.rest[..end]);
            let quote = self.rest[end..].starts_with('"');
            self.rest = &self.rest[end + 1..];
            if quote {
                return Some(text);
            }
            text.push(self.escaped()?);
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '"' | '\\' | '/' => letter,
            'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.rest = self.rest.strip_prefix("\\u")?;
                let second = self.unit()?.checked_sub(0xdc00)?;
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_writes() {
        let text = r#"{"packages":[{"name":"a \"b\" \u00e9\ud83d\ude00","dependencies":[],"n":-1.5e3}],"x":null}"#;
        let json = Json::parse(text).unwrap();
        let package = &json.get("packages").unwrap().list()[0];
        assert_eq!(package.get("name").unwrap().text(), Some("a \"b\" é😀"));
        assert_eq!(package.get("n"), Some(&Json::Number("-1.5e3".to_owned())));
        assert_eq!(json.get("x"), Some(&Json::Null));
        assert_eq!(json.get("y"), None);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["", "{", "[1,]", "[1 2]", "\"", "\"\\u12\"", "{\"a\"}", "nul", "1 2"] {
            assert_eq!(Json::parse(text), None, "{text:?}");
        }
        assert_eq!(Json::parse(&"[".repeat(1000)), None);
    }
}
