//! What stands for the parameters of a query: a JSON object of names and values, `{"name": value}`.
//!
//! A value is a text, a number, true or false; or an object that says what a text or number is, as InfluxDB 1.8 takes
//! it: `{"regex": "a.*"}`.

use std::borrow::Cow;

use crate::json::{Fault, Raw, Reader};

/// What stands for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// A text.
    Text(String),
    /// A number with a fraction.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// A name.
    Name(String),
    /// A regular expression.
    Pattern(String),
    /// A duration.
    Duration(String),
}

/// Reads the parameters of a query.
pub(super) fn read(text: &str) -> Result<Vec<(String, Parameter)>, String> {
    let fault = |fault: Fault| format!("byte {}: {}", fault.at, fault.what);
    let mut parameters = Vec::new();
    for (name, value) in members(text).map_err(fault)? {
        let value = if value.text.starts_with('{') {
            let typed = members(value.text).map_err(fault)?;
            match &typed[..] {
                [(kind, value)] => typed_value(kind, value).map_err(fault)?,
                _ => None,
            }
        } else {
            plain_value(&value).map_err(fault)?
        };
        let wrong = || format!("the value of {name} is no text, number or boolean");
        let value = value.ok_or_else(wrong)?;
        parameters.push((name.into_owned(), value));
    }
    Ok(parameters)
}

fn plain_value(value: &Raw<'_>) -> Result<Option<Parameter>, Fault> {
    if let Some(text) = value.as_text()? {
        return Ok(Some(Parameter::Text(text.into_owned())));
    }
    Ok(match value.text {
        "true" => Some(Parameter::Boolean(true)),
        "false" => Some(Parameter::Boolean(false)),
        number => match number.parse() {
            Ok(whole) => Some(Parameter::Integer(whole)),
            Err(_) => finite(number).map(Parameter::Number),
        },
    })
}

/// A value of which it is said what it is.
fn typed_value(kind: &str, value: &Raw<'_>) -> Result<Option<Parameter>, Fault> {
    let text = value.as_text()?.map(Cow::into_owned);
    Ok(match kind {
        "string" => text.map(Parameter::Text),
        "identifier" => text.map(Parameter::Name),
        "regex" => text.map(Parameter::Pattern),
        "duration" => text.map(Parameter::Duration),
        "integer" => value.text.parse().ok().map(Parameter::Integer),
        "float" => finite(value.text).map(Parameter::Number),
        "boolean" => value.text.parse().ok().map(Parameter::Boolean),
        _ => None,
    })
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The members of a text that is one object.
fn members(text: &str) -> Result<Vec<(Cow<'_, str>, Raw<'_>)>, Fault> {
    let (mut reader, mut members) = (Reader::new(text), Vec::new());
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
            _ => return Err(Fault { at: text.len(), what: "the object does not end" }),
        }
    }
    reader.end()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text =
            r#" {"a":"o'n\\e\n","b":-1.5, "c":true,"d":7,"e":{"regex":"^a"},"f":{"float":1}} "#;
        let told: Vec<String> =
            read(text).unwrap().iter().map(|(name, value)| format!("{name} {value:?}")).collect();
        assert_eq!(
            told,
            [
                "a Text(\"o'n\\\\e\\n\")",
                "b Number(-1.5)",
                "c Boolean(true)",
                "d Integer(7)",
                "e Pattern(\"^a\")",
                "f Number(1.0)",
            ]
        );
        assert_eq!(read("{}"), Ok(Vec::new()));
        for wrong in [
            "",
            "[]",
            "{\"a\":[1]}",
            "{\"a\":null}",
            "{\"a\":1e999}",
            "{\"a\":1",
            "{\"a\":{}}",
            "{\"a\":{\"integer\":1.5}}",
            "{\"a\":{\"colour\":1}}",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
