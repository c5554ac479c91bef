//! Makes lines of line protocol of names and values.
//!
//! 1. A line that is made is read by the server as what it was made of; what lines cannot say is refused.
//! 2. A number is written so that reading it gives the same number.

use std::fmt::Write as _;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Integer,
    Unsigned,
    Boolean,
    Text,
}

impl Kind {
    /// What people call it, and InfluxDB's annotations.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "float" | "double" => Kind::Float,
            "integer" | "int" | "long" => Kind::Integer,
            "unsigned" | "unsignedLong" => Kind::Unsigned,
            "boolean" | "bool" => Kind::Boolean,
            "string" | "text" => Kind::Text,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Integer => "integer",
            Kind::Unsigned => "unsigned",
            Kind::Boolean => "boolean",
            Kind::Text => "string",
        }
    }

    /// What a text is taken for of which nobody says it: a number for a float, as in lines, also where it is none
    /// that can be stored.
    pub(crate) fn of(text: &str) -> Kind {
        if boolean(text).is_some() {
            Kind::Boolean
        } else if text.parse::<f64>().is_ok() {
            Kind::Float
        } else {
            Kind::Text
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A finite number.
fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A text as complaints show it.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if CHARS_MAX < text.chars().count() {
        shown.push_str("...");
    }
    shown
}

/// A line that is being made.
#[derive(Debug, Default)]
pub(crate) struct Point {
    line: String,
    has_field: bool,
}

impl Point {
    /// Begins another one.
    pub(crate) fn begin(&mut self, measurement: &str) -> Result<(), String> {
        self.line.clear();
        self.has_field = false;
        if measurement.is_empty() {
            return Err("the measurement has no name".into());
        }
        if measurement.starts_with(['#', '\t']) {
            return Err(format!("no line can begin with the measurement `{}`", shown(measurement)));
        }
        self.word(measurement, "measurement", &[',', ' '])
    }

    /// Adds a tag. All of them come before the first field; an empty one is none.
    pub(crate) fn tag(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Ok(());
        }
        if name.is_empty() {
            return Err("a tag has no name".into());
        }
        self.line.push(',');
        self.word(name, "tag", &[',', '=', ' '])?;
        self.line.push('=');
        self.word(value, "tag", &[',', '=', ' '])
    }

    /// Adds a field whose value is written in a text.
    pub(crate) fn field(&mut self, name: &str, kind: Kind, text: &str) -> Result<(), String> {
        self.named(name)?;
        let written = match kind {
            Kind::Float => float(text).map(|number| self.float(number)),
            Kind::Integer => {
                text.parse::<i64>().ok().map(|number| self.put(format_args!("{number}i")))
            }
            Kind::Unsigned => {
                text.parse::<u64>().ok().map(|number| self.put(format_args!("{number}u")))
            }
            Kind::Boolean => boolean(text).map(|value| self.put(format_args!("{value}"))),
            Kind::Text => {
                self.text(text);
                Some(())
            }
        };
        let name_of = kind.name();
        written.ok_or_else(|| format!("`{}` of {} is no {name_of}", shown(text), shown(name)))
    }

    /// What was made, with a time in nanoseconds; nothing if it has no field.
    pub(crate) fn end(&mut self, time: i64) -> Option<&[u8]> {
        self.put(format_args!(" {time}"));
        self.has_field.then_some(self.line.as_bytes())
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        let _infallible = self.line.write_fmt(what);
    }

    fn named(&mut self, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("a field has no name".into());
        }
        self.line.push(if self.has_field { ',' } else { ' ' });
        self.has_field = true;
        self.word(name, "field", &[',', '=', ' '])?;
        self.line.push('=');
        Ok(())
    }

    fn float(&mut self, number: f64) {
        let digits = number.abs();
        if number == 0.0 || (1e-5..1e16).contains(&digits) {
            self.put(format_args!("{number}"));
        } else {
            self.put(format_args!("{number:e}"));
        }
    }

    fn text(&mut self, text: &str) {
        self.line.push('"');
        for sign in text.chars() {
            if matches!(sign, '"' | '\\') {
                self.line.push('\\');
            }
            self.line.push(sign);
        }
        self.line.push('"');
    }

    /// Writes a name or the value of a tag.
    fn word(&mut self, word: &str, what: &str, escaped: &[char]) -> Result<(), String> {
        let mut before = ' ';
        for sign in word.chars() {
            if matches!(sign, '\n' | '\r') {
                return Err(format!("a {what} has a line end: `{}`", shown(word)));
            }
            if escaped.contains(&sign) {
                if before == '\\' {
                    break;
                }
                self.line.push('\\');
            }
            self.line.push(sign);
            before = sign;
        }
        // There it would belong to what stands behind it.
        if before == '\\' {
            let where_ = "before a comma, a blank, an equals sign or the end";
            return Err(format!("a {what} has a backslash {where_}: `{}`", shown(word)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_doors::influx::line::{Precision, Reading, read};

    fn made(
        measurement: &str,
        tag: (&str, &str),
        field: (&str, Kind, &str),
    ) -> Result<String, String> {
        let mut point = Point::default();
        point.begin(measurement)?;
        point.tag(tag.0, tag.1)?;
        point.field(field.0, field.1, field.2)?;
        Ok(String::from_utf8(point.end(5).unwrap().to_vec()).unwrap())
    }

    #[test]
    fn what_is_made_the_door_reads() {
        for (point, line) in [
            (("m", ("t", "v"), ("f", Kind::Float, "1.50")), "m,t=v f=1.5 5"),
            (("m", ("t", ""), ("f", Kind::Float, "+1e300")), "m f=1e300 5"),
            (
                ("m", ("t", "a=b,c d"), ("f g", Kind::Integer, "-7")),
                "m,t=a\\=b\\,c\\ d f\\ g=-7i 5",
            ),
            (("a b", ("t,u", "\u{e4}"), ("f", Kind::Unsigned, "7")), "a\\ b,t\\,u=\u{e4} f=7u 5"),
            (("m", ("t", "a\\b"), ("f", Kind::Boolean, "TRUE")), "m,t=a\\b f=true 5"),
            (("m", ("t", "v"), ("f", Kind::Text, "a\"\\\n")), "m,t=v f=\"a\\\"\\\\\n\" 5"),
            (("m", ("t", "v"), ("f", Kind::Float, "1e-7")), "m,t=v f=1e-7 5"),
            (("m", ("t", "v"), ("f", Kind::Float, "-0")), "m,t=v f=-0 5"),
        ] {
            let said = made(point.0, point.1, point.2).unwrap();
            assert_eq!(said, line);
            let reading =
                Reading { precision: Precision::NANOSECONDS, now: 0, line_bytes_max: 1 << 20 };
            let read = read(said.as_bytes(), &reading);
            assert_eq!((read.wrong, read.points[0].points()), (0, 1), "{line}");
        }
    }

    #[test]
    fn what_lines_cannot_say_is_refused() {
        let field = ("f", Kind::Float, "1");
        for (point, why) in [
            (("", ("t", "v"), field), "the measurement has no name"),
            (("#m", ("t", "v"), field), "no line can begin with the measurement `#m`"),
            (("m\n", ("t", "v"), field), "a measurement has a line end: `m\\n`"),
            (("m", ("", "v"), field), "a tag has no name"),
            (("m", ("t", "v\\"), field), "a tag has a backslash before"),
            (("m", ("t", "v\\,w"), field), "a tag has a backslash before"),
            (("m", ("t", "v"), ("f", Kind::Float, "NaN")), "`NaN` of f is no float"),
            (("m", ("t", "v"), ("f", Kind::Integer, "1.5")), "`1.5` of f is no integer"),
            (("m", ("t", "v"), ("f", Kind::Unsigned, "-1")), "`-1` of f is no unsigned"),
            (("m", ("t", "v"), ("f", Kind::Boolean, "1")), "`1` of f is no boolean"),
            (("m", ("t", "v"), ("", Kind::Float, "1")), "a field has no name"),
        ] {
            let said = made(point.0, point.1, point.2).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
    }

    #[test]
    fn what_nobody_says_is_told_by_the_text() {
        for (text, kind) in [
            ("1", Kind::Float),
            ("-1.5e3", Kind::Float),
            ("true", Kind::Boolean),
            ("t", Kind::Text),
            ("NaN", Kind::Float),
            ("1 ", Kind::Text),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}
