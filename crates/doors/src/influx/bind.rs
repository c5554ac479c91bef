//! Puts values in the places of the parameters of a query: `$name`, and a JSON object of names and values.
//!
//! 1. A value becomes one literal, whatever it holds; it never ends a text or begins a statement.
//! 2. What stands in quotes is left as it is.

use std::{borrow::Cow, collections::BTreeMap};

use crate::json;

/// A query with the values of its parameters.
pub(super) fn bind(query: &str, params: &str) -> Result<String, String> {
    let values = literals(params)?;
    let (mut out, mut rest) = (String::with_capacity(query.len()), query);
    while let Some(at) = rest.find(['$', '\'', '"']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if let Some(name) = rest.strip_prefix('$') {
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let name = &name[..end.unwrap_or(name.len())];
            match values.get(name) {
                Some(literal) => out.push_str(literal),
                // As the end of a line in a regular expression.
                None if name.is_empty() => out.push('$'),
                None => return Err(format!("missing parameter: {name}")),
            }
            1 + name.len()
        } else {
            let length = quoted(rest);
            out.push_str(&rest[..length]);
            length
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    Ok(out)
}

/// How long the quoted text is that this begins with.
fn quoted(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let (bytes, mut at) = (text.as_bytes(), 1);
    while let Some(byte) = bytes.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == quote {
            return at;
        }
    }
    text.len()
}

/// The literals that values are.
fn literals(params: &str) -> Result<BTreeMap<String, String>, String> {
    let fault = |fault: json::Fault| format!("byte {}: {}", fault.at, fault.what);
    let mut values = BTreeMap::new();
    for (name, value) in members(params).map_err(fault)? {
        let literal = if let Some(text) = value.as_text().map_err(fault)? {
            text_literal(&text)
        } else {
            let is_short = |b| matches!(b, b'0'..=b'9' | b'-' | b'.');
            match value.text {
                "true" | "false" => value.text.to_owned(),
                number if number.bytes().all(is_short) => number.to_owned(),
                // InfluxQL knows no powers of ten.
                other => match other.parse::<f64>() {
                    Ok(number) if number.is_finite() => number.to_string(),
                    _ => return Err(format!("the value of {name} is no text, number or boolean")),
                },
            }
        };
        values.insert(name.into_owned(), literal);
    }
    Ok(values)
}

/// The members of a text that is one object.
fn members(text: &str) -> Result<Vec<(Cow<'_, str>, json::Raw<'_>)>, json::Fault> {
    let (mut reader, mut members) = (json::Reader::new(text), Vec::new());
    reader.expect(b'{', "an object was expected")?;
    if reader.peek() == Some(b'}') {
        reader.take();
        reader.end()?;
        return Ok(members);
    }
    loop {
        let name = reader.name()?;
        members.push((name, reader.value()?));
        match reader.take() {
            Some(b',') => {}
            Some(b'}') => break,
            _ => return Err(json::Fault { at: text.len(), what: "the object does not end" }),
        }
    }
    reader.end()?;
    Ok(members)
}

fn text_literal(text: &str) -> String {
    let mut out = String::from("'");
    for char in text.chars() {
        match char {
            '\'' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            char => out.push(char),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_places_of_parameters() {
        let params = r#"{"a":"o'n\\e\n","b":-1.5,"c":true,"d":1.2e5}"#;
        for (query, bound) in [
            (
                "SELECT x FROM m WHERE t = $a AND v > $b",
                r"SELECT x FROM m WHERE t = 'o\'n\\e\n' AND v > -1.5",
            ),
            ("x = $c", "x = true"),
            ("x = $d", "x = 120000"),
            (r#"'$a' "$a\"$b" $c"#, r#"'$a' "$a\"$b" true"#),
            ("t =~ /a$/", "t =~ /a$/"),
            ("'open $a", "'open $a"),
            ("é$b", "é-1.5"),
        ] {
            assert_eq!(bind(query, params).as_deref(), Ok(bound));
        }
        assert_eq!(bind("$e", params), Err("missing parameter: e".to_owned()));
        for wrong in ["", "[]", "{\"a\":[1]}", "{\"a\":null}", "{\"a\":1e999}", "{\"a\":1"] {
            assert!(bind("x", wrong).is_err(), "{wrong}");
        }
    }
}
