//! What stands behind the question mark, or in a form: names and values, percent-encoded.

use std::borrow::Cow;

/// Names and values, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Reads them; refuses what is not UTF-8, or not encoded as it should be.
    pub(super) fn read(text: &'a str) -> Result<Parameters<'a>, String> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decoded(name)?, decoded(value)?));
        }
        Ok(Parameters(pairs))
    }

    /// These before those.
    pub(super) fn and(mut self, others: Parameters<'a>) -> Parameters<'a> {
        self.0.extend(others.0);
        self
    }

    /// The first value of a name; nothing if it is not there or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value).filter(|value| !value.is_empty())
    }

    /// Whether it says yes; what is neither yes nor no is refused.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(format!("`{name}` is true or false")),
        }
    }
}

/// What a percent-encoded text stands for.
fn decoded(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => (high << 4 | low) as u8,
                _ => return Err("`%` wants two hexadecimal digits behind it".to_owned()),
            },
            b'+' => b' ',
            byte => byte,
        });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err("a parameter is not UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let read = Parameters::read("a=b+c%2Fd&e&a=x&f=%C3%A9&g=true").unwrap();
        assert_eq!((read.get("a"), read.get("e"), read.get("f")), (Some("b c/d"), None, Some("é")));
        assert_eq!((read.flag("g"), read.flag("h")), (Ok(Some(true)), Ok(None)));
        assert!(read.flag("f").is_err());
        for wrong in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Parameters::read(wrong).is_err(), "{wrong}");
        }
    }
}
