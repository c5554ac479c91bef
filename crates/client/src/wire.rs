//! Requests as lines and answers from lines.
//!
//! 1. A request whose keys and values are all UTF-8 is sent as they are, any other in base64.
//! 2. An answer that is none the door gives is [`Error::Strange`], whatever it is.

use std::borrow::Cow;

use olivine_doors::{
    base64,
    json::{Raw, read_value, write_text},
};

use crate::{Error, Result};

/// What one request has in it.
pub(crate) enum Member<'a> {
    Bytes(&'a [u8]),
    List(&'a [Cow<'a, [u8]>]),
    /// JSON as it stands.
    Json(&'a str),
    Number(u64),
    Yes,
}

impl Member<'_> {
    fn is_text(&self) -> bool {
        match self {
            Member::Bytes(bytes) => str::from_utf8(bytes).is_ok(),
            Member::List(items) => items.iter().all(|item| str::from_utf8(item).is_ok()),
            Member::Json(_) | Member::Number(_) | Member::Yes => true,
        }
    }

    fn write(&self, binary: bool, out: &mut Vec<u8>) {
        match self {
            Member::Bytes(bytes) => write_bytes(bytes, binary, out),
            Member::List(items) => {
                out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    out.extend_from_slice(if place == 0 { b"" } else { b"," });
                    write_bytes(item, binary, out);
                }
                out.push(b']');
            }
            Member::Json(text) => out.extend_from_slice(text.as_bytes()),
            Member::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Member::Yes => out.extend_from_slice(b"true"),
        }
    }
}

fn write_bytes(bytes: &[u8], binary: bool, out: &mut Vec<u8>) {
    match str::from_utf8(bytes) {
        Ok(text) if !binary => write_text(text, out),
        _ => write_text(&base64::encode(bytes), out),
    }
}

/// A request as a line.
pub(crate) fn line(command: &str, members: &[(&str, Member<'_>)]) -> Vec<u8> {
    let binary = !members.iter().all(|(_, member)| member.is_text());
    let mut line = b"{\"command\":".to_vec();
    write_text(command, &mut line);
    for (name, member) in members {
        line.push(b',');
        write_text(name, &mut line);
        line.push(b':');
        member.write(binary, &mut line);
    }
    line.extend_from_slice(if binary { b",\"encoding\":\"base64\"}\n" } else { b"}\n" });
    line
}

/// An answer that is no error.
pub(crate) struct Answer<'a> {
    members: Vec<(Cow<'a, str>, Raw<'a>)>,
    /// Whether the key was there.
    pub(crate) is_found: bool,
    binary: bool,
}

/// Reads an answer, without the end of its line.
pub(crate) fn answer(line: &[u8]) -> Result<Answer<'_>> {
    let text = str::from_utf8(line).map_err(|_| Error::strange("it is not UTF-8"))?;
    let value = read_value(text).map_err(|fault| {
        let begins: String = text.chars().take(40).collect();
        Error::strange(format!("`{begins}` is no JSON: {} at byte {}", fault.what, fault.at))
    })?;
    let members = value.members().ok_or_else(|| Error::strange("it is no object"))?;
    let mut answer = Answer { members, is_found: true, binary: false };
    let text = |name| answer.text(name).map(Option::unwrap_or_default);
    match text("status")?.as_ref() {
        "ok" => {}
        "not_found" => answer.is_found = false,
        "error" => {
            let (code, message) = (text("code")?.into_owned(), text("message")?.into_owned());
            let detail = text("detail")?;
            let blank = if detail.is_empty() { "" } else { ": " };
            return Err(Error::Refused { code, message: format!("{message}{blank}{detail}") });
        }
        status => return Err(Error::strange(format!("its status is `{status}`"))),
    }
    answer.binary = answer.text("encoding")?.is_some_and(|encoding| encoding == "base64");
    Ok(answer)
}

impl<'a> Answer<'a> {
    fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// A text that is there, and is none of the keys and values.
    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_text().map_err(|fault| Error::strange(format!("`{name}`: {}", fault.what)))
            }
        }
    }

    /// A text that must be there.
    pub(crate) fn told(&self, name: &str) -> Result<Cow<'a, str>> {
        self.text(name)?.ok_or_else(|| Error::strange(format!("it has no text `{name}`")))
    }

    /// A number, or nothing where there is `null`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        match self.get(name) {
            Some(value) if value.is_null() => Ok(None),
            value => match value.and_then(|value| value.as_number()) {
                Some(number) => Ok(Some(number)),
                None => Err(Error::strange(format!("it has no number `{name}`"))),
            },
        }
    }

    /// The number that its message begins with.
    pub(crate) fn counted(&self) -> Result<u64> {
        let message = self.told("message")?;
        let number = message.split(' ').next().and_then(|word| word.parse().ok());
        number.ok_or_else(|| Error::strange(format!("`{message}` counts nothing")))
    }

    /// The bytes of a key or a value; JSON that is no text is its text.
    fn bytes(&self, value: Raw<'a>) -> Result<Vec<u8>> {
        let fault = |fault: olivine_doors::json::Fault| Error::strange(fault.what);
        let Some(text) = value.as_text().map_err(fault)? else {
            return Ok(value.compact().into_owned());
        };
        if self.binary {
            return base64::decode(&text).ok_or_else(|| Error::strange("it has wrong base64"));
        }
        Ok(text.into_owned().into_bytes())
    }

    /// A key or a value by the name of its member; nothing where there is `null`.
    pub(crate) fn held(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.get(name) {
            None => Err(Error::strange(format!("it has no `{name}`"))),
            Some(value) if value.is_null() => Ok(None),
            Some(value) => self.bytes(value).map(Some),
        }
    }

    fn elements(&self, name: &str) -> Result<Vec<Raw<'a>>> {
        let list = self.get(name).and_then(|value| value.elements());
        list.ok_or_else(|| Error::strange(format!("it has no list `{name}`")))
    }

    /// Values, or nothing where there is `null`.
    pub(crate) fn values(&self) -> Result<Vec<Option<Vec<u8>>>> {
        let value = |value: Raw<'a>| {
            if value.is_null() { Ok(None) } else { self.bytes(value).map(Some) }
        };
        self.elements("values")?.into_iter().map(value).collect()
    }

    /// Keys with their values.
    pub(crate) fn pairs(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let pair = |pair: Raw<'a>| match pair.elements().as_deref() {
            Some([key, value]) => Ok((self.bytes(*key)?, self.bytes(*value)?)),
            _ => Err(Error::strange("a pair in it is none")),
        };
        self.elements("data")?.into_iter().map(pair).collect()
    }

    /// Numbers by their names.
    pub(crate) fn numbers(&self) -> Result<Vec<(String, u64)>> {
        let members = self.get("data").and_then(|data| data.members());
        let members = members.ok_or_else(|| Error::strange("it has no object `data`"))?;
        let number = |(name, value): (Cow<'a, str>, Raw<'a>)| match value.as_number() {
            Some(number) => Ok((name.into_owned(), number)),
            None => Err(Error::strange(format!("`{name}` is no number"))),
        };
        members.into_iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_goes_in_base64() {
        let told =
            |key: &[u8]| String::from_utf8(line("get", &[("key", Member::Bytes(key))])).unwrap();
        assert_eq!(told(b"a\"\n"), "{\"command\":\"get\",\"key\":\"a\\\"\\n\"}\n");
        assert_eq!(
            told(b"\xff"),
            "{\"command\":\"get\",\"key\":\"/w==\",\"encoding\":\"base64\"}\n"
        );
    }

    #[test]
    fn answers_are_read_or_strange() {
        let found = answer(b"{\"status\":\"ok\",\"value\":\"a\\u00e9\"}").unwrap();
        assert_eq!(found.held("value").unwrap().unwrap(), "a\u{e9}".as_bytes());
        let found = answer(b"{\"status\":\"ok\",\"value\":{\"a\" : 1}}").unwrap();
        assert_eq!(found.held("value").unwrap().unwrap(), b"{\"a\":1}");
        let found =
            answer(b"{\"status\":\"ok\",\"value\":\"/w==\",\"encoding\":\"base64\"}").unwrap();
        assert_eq!(found.held("value").unwrap().unwrap(), b"\xff");
        assert!(
            !answer(b"{\"status\":\"not_found\",\"message\":\"Key not found\"}").unwrap().is_found
        );
        let refused =
            answer(b"{\"status\":\"error\",\"message\":\"m\",\"code\":\"busy\",\"detail\":\"d\"}");
        let refused = refused.err().unwrap();
        assert_eq!((refused.code(), refused.to_string().as_str()), (Some("busy"), "m: d"));
        assert!(refused.may_pass());
        for strange in [
            &b""[..],
            b"OK",
            b"[]",
            b"{}",
            b"{\"status\":1}",
            b"{\"status\":\"so\"}",
            b"\xff",
            b"HTTP/1.1 400 Bad Request",
        ] {
            assert!(matches!(answer(strange), Err(Error::Strange { .. })), "{strange:?}");
        }
    }
}
