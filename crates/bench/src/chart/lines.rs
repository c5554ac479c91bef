//! Reads back what `--json` wrote: one flat object a line, of texts and numbers.
//!
//! 1. A line that is not such an object is an error that names the line, never skipped.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use crate::report::median;

/// Which figure of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Operations a second.
    Rate,
    /// One by its name, and its unit.
    Named(&'static str, &'static str),
}

/// A value of an object.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Text(String),
    Number(f64),
}

type Object = BTreeMap<String, Scalar>;

/// All lines of a run.
pub(super) struct Lines(Vec<Object>);

impl Lines {
    pub(super) fn parse(text: &str) -> Result<Lines, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let objects: Result<Vec<Object>, String> = lines
            .map(|(index, line)| {
                object(line).ok_or_else(|| format!("line {} is not a row of a run", index + 1))
            })
            .collect();
        Ok(Lines(objects?))
    }

    /// The median over the rounds.
    pub(super) fn median(&self, engine: &str, row: &str, figure: Figure) -> Option<f64> {
        let name = match figure {
            Figure::Rate => "per_second",
            Figure::Named(name, _) => name,
        };
        let is = |object: &Object, field: &str, wanted: &str| matches!(object.get(field), Some(Scalar::Text(text)) if text == wanted);
        let mut values: Vec<f64> = self
            .0
            .iter()
            .filter(|object| is(object, "engine", engine) && is(object, "workload", row))
            .filter_map(|object| number(object, name))
            .collect();
        values.sort_by(f64::total_cmp);
        if values.is_empty() { None } else { Some(median(&values)) }
    }

    /// How the run was made, as far as its first line tells.
    pub(super) fn about(&self) -> String {
        let Some(head) = self.0.first() else { return String::new() };
        let part = |name, scale: f64, what: &str| {
            number(head, name).map(|value| format!("{:.0} {what}", value / scale))
        };
        let parts = [
            part("records", 1.0, "records of 116 bytes"),
            part("memory_bytes", f64::from(1 << 20), "MiB of memory"),
            part("rounds", 1.0, "rounds, medians"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn number(object: &Object, name: &str) -> Option<f64> {
    match object.get(name)? {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(_) => None,
    }
}

fn object(line: &str) -> Option<Object> {
    let mut chars = line.trim().chars().peekable();
    let mut object = Object::new();
    if chars.next()? != '{' {
        return None;
    }
    if chars.next_if_eq(&'}').is_some() {
        return chars.next().is_none().then_some(object);
    }
    loop {
        let name = text(&mut chars)?;
        if chars.next()? != ':' {
            return None;
        }
        let value = if chars.peek() == Some(&'"') {
            Scalar::Text(text(&mut chars)?)
        } else {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(|c| !matches!(c, ',' | '}')) {
                digits.push(digit);
            }
            Scalar::Number(digits.parse().ok()?)
        };
        object.insert(name, value);
        match chars.next()? {
            ',' => {}
            '}' => return chars.next().is_none().then_some(object),
            _ => return None,
        }
    }
}

fn text(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    if chars.next()? != '"' {
        return None;
    }
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use std::time::Duration;

    #[test]
    fn reads_what_a_row_writes() {
        let mut row = Row::duration("reopen", Duration::from_millis(3)).note("a \"quoted\" note");
        row.set("rss_mb", 12.5);
        let lines = Lines::parse(&row.json("olivine", 1)).unwrap();
        let of = |name| lines.median("olivine", "reopen", Figure::Named(name, ""));
        assert_eq!((of("millis"), of("rss_mb"), of("other")), (Some(3.0), Some(12.5), None));
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        for bad in
            ["{", "{\"a\":}", "{\"a\":1", "a", "{\"a\":1}x", "{\"a\" 1}", "[]", "{\"a\":\"b}"]
        {
            let error = Lines::parse(&format!("{{}}\n{bad}\n")).err();
            assert_eq!(error.as_deref(), Some("line 2 is not a row of a run"), "{bad}");
        }
    }
}
