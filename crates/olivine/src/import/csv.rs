//! Tables as text: a header, then a row a line, quoted as RFC 4180 has it; and those of InfluxDB 2, which say in
//! annotations what their columns are.
//!
//! 1. A row that is wrong costs itself; a header that does not fit what the flags say, the input.
//! 2. An empty value is none: the rest of its row counts.
//! 3. A row has as many values as the header has names, or it is refused: nobody knows which one is missing.

use std::borrow::Cow;

use super::{
    moment::Clock,
    naming::{Naming, Role, Row},
    point::{Kind, Point, shown},
    sink::Sink,
};
use crate::ending::{Ending, Failure};

/// Columns of a table.
const COLUMNS_MAX: usize = 65_535;

/// Whether no quotes are open at the end.
pub(crate) fn is_whole(record: &[u8], delimiter: u8) -> bool {
    let (mut is_quoted, mut begins) = (false, true);
    for byte in record {
        match byte {
            // Doubled, it closes and opens again.
            b'"' if is_quoted || begins => is_quoted = !is_quoted,
            _ => {}
        }
        begins = *byte == b'"' || !is_quoted && (*byte == delimiter || *byte == b'\n');
    }
    !is_quoted
}

/// Takes a row apart.
fn values<'r>(
    record: &'r str,
    delimiter: char,
    found: &mut Vec<Cow<'r, str>>,
) -> Result<(), String> {
    found.clear();
    let mut rest = record;
    loop {
        let (value, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            (Cow::Borrowed(&rest[..end]), &rest[end..])
        };
        if COLUMNS_MAX <= found.len() {
            return Err(format!("it has more than {COLUMNS_MAX} columns"));
        }
        found.push(value);
        match behind.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(()),
            None => return Err(format!("`{}` stands behind a closing quote", shown(behind))),
        }
    }
}

/// The value of which the opening quote was passed, and what stands behind the closing one.
fn unquoted(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut at = 0;
    let mut is_doubled = false;
    loop {
        let end = text[at..].find('"').ok_or("a quote is not closed")?;
        at += end + 1;
        if text[at..].starts_with('"') {
            is_doubled = true;
            at += 1;
            continue;
        }
        let value = &text[..at - 1];
        let value = if is_doubled { value.replace("\"\"", "\"").into() } else { value.into() };
        return Ok((value, &text[at..]));
    }
}

/// A column.
#[derive(Debug)]
struct Column {
    name: String,
    role: Role,
    /// The type of a field, as soon as it is known, and the line that decided it, if none was told.
    kind: Option<(Kind, u64)>,
    /// What an empty value stands for.
    default: String,
    clock: Option<Clock>,
}

/// A table that is being read.
pub(crate) struct Table {
    naming: Naming,
    delimiter: char,
    columns: Vec<Column>,
    /// Annotations that stand before the header to come; nothing but in InfluxDB 2's form.
    annotations: Option<Annotations>,
    /// The next row is a header.
    is_header: bool,
    row: Row,
    point: Point,
}

/// What stands before a header, column by column.
#[derive(Debug, Default)]
struct Annotations {
    datatype: Vec<String>,
    group: Vec<String>,
    default: Vec<String>,
    /// The header was read that they belong to; others begin anew.
    are_of_header: bool,
}

impl Table {
    pub(crate) fn new(naming: &Naming, delimiter: char, is_annotated: bool) -> Table {
        Table {
            naming: naming.clone(),
            delimiter,
            columns: Vec::new(),
            annotations: is_annotated.then(Annotations::default),
            is_header: true,
            row: Row::default(),
            point: Point::default(),
        }
    }

    /// Takes one row.
    pub(crate) fn take(
        &mut self,
        record: &[u8],
        number: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let record = record.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(record);
        if record.is_empty() {
            // In InfluxDB 2's form another table begins behind it.
            self.is_header |= self.annotations.is_some();
            return Ok(());
        }
        let text = str::from_utf8(record);
        let mut found = Vec::new();
        let taken = text
            .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to() + 1));
        let taken = taken.and_then(|text| values(text, self.delimiter, &mut found));
        if let Err(why) = taken {
            if self.columns.is_empty() {
                return Err(unusable(number, &why));
            }
            sink.refuse(number, why);
            return Ok(());
        }
        if self.annotation(&found).map_err(|why| unusable(number, &why))? {
            return Ok(());
        }
        if self.is_header {
            self.is_header = false;
            return self.header(&found).map_err(|why| unusable(number, &why));
        }
        match self.line(&found, number).and_then(|()| self.row.line(&mut self.point)) {
            Ok(line) => sink.line(number, line),
            Err(why) => {
                sink.refuse(number, why);
                Ok(())
            }
        }
    }

    /// Takes an annotation; false if it is none.
    fn annotation(&mut self, found: &[Cow<'_, str>]) -> Result<bool, String> {
        let Some(annotations) = &mut self.annotations else { return Ok(false) };
        let name = found.first().and_then(|first| first.strip_prefix('#'));
        let Some(name) = name else { return Ok(false) };
        // What influx writes has the annotation's name in a column of its own; what it reads may have it
        // right before the first one's.
        let (name, first) = name.split_once(' ').unwrap_or((name, ""));
        let words =
            [first.to_owned()].into_iter().chain(found[1..].iter().map(|word| word.to_string()));
        let words: Vec<String> = words.collect();
        if annotations.are_of_header {
            *annotations = Annotations::default();
        }
        self.is_header = true;
        match name {
            "datatype" => annotations.datatype = words,
            "group" => annotations.group = words,
            "default" => annotations.default = words,
            _ => {
                let known = "#datatype, #group, #default";
                return Err(format!(
                    "no annotation `#{}` is known; there are {known}",
                    shown(name)
                ));
            }
        }
        Ok(true)
    }

    fn header(&mut self, found: &[Cow<'_, str>]) -> Result<(), String> {
        let names: Vec<String> = found.iter().map(|name| name.trim().to_owned()).collect();
        let twice = names
            .iter()
            .enumerate()
            .find(|(at, name)| !name.is_empty() && names[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(format!("the column `{}` is there twice", shown(name)));
        }
        let Some(annotations) = &mut self.annotations else {
            self.naming.check_columns(&names)?;
            let column = |name: String| Column {
                role: self.naming.role(&name),
                kind: self.naming.kind(&name).map(|kind| (kind, 0)),
                default: String::new(),
                clock: None,
                name,
            };
            self.columns = names.into_iter().map(column).collect();
            return Ok(());
        };
        annotations.are_of_header = true;
        if annotations.datatype.len() < names.len() {
            return Err("`#datatype` does not say what all columns are".into());
        }
        let mut columns = Vec::with_capacity(names.len());
        for (at, name) in names.into_iter().enumerate() {
            columns.push(annotated(annotations, at, name)?);
        }
        let has = |role| columns.iter().any(|column: &Column| column.role == role);
        // An error that InfluxDB answered with is a table, too.
        if !has(Role::Time) || !(has(Role::Measurement) || self.naming.measurement().is_some()) {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(format!(
                "the table has no times or no measurement; its columns are {}",
                shown(&names.join(", "))
            ));
        }
        self.columns = columns;
        Ok(())
    }

    /// Puts what a row has in order.
    fn line(&mut self, found: &[Cow<'_, str>], number: u64) -> Result<(), String> {
        if found.len() != self.columns.len() {
            let (has, wanted) = (found.len(), self.columns.len());
            return Err(format!("it has {has} values, and the header {wanted} names"));
        }
        let row = &mut self.row;
        row.clear();
        row.measurement.push_str(self.naming.measurement().unwrap_or_default());
        // What is called by another column, in InfluxDB 2's form.
        let (mut field, mut value) = (None, None);
        for (column, text) in self.columns.iter_mut().zip(found) {
            let text: &str = if text.is_empty() { &column.default } else { text };
            if text.is_empty() {
                continue;
            }
            match column.role {
                Role::Measurement => text.clone_into(&mut row.measurement),
                Role::Tag => row.tags.push((column.name.clone(), text.to_owned())),
                Role::Time => {
                    row.time =
                        Some(column.clock.as_ref().unwrap_or(&self.naming.clock).read(text)?);
                }
                Role::Nothing if self.annotations.is_some() && column.name == "_field" => {
                    field = Some(text.to_owned());
                }
                Role::Nothing => {}
                Role::Field => {
                    let (kind, line) = *column.kind.get_or_insert_with(|| (Kind::of(text), number));
                    if self.annotations.is_some() && column.name == "_value" {
                        value = Some((kind, text.to_owned()));
                        continue;
                    }
                    let told =
                        line == 0 || line == number || Kind::of(text) == kind || kind == Kind::Text;
                    if !told {
                        let (name, kind) = (shown(&column.name), kind.name());
                        return Err(format!(
                            "`{}` of {name} is no {kind}, which line {line} made of it; `--types {name}:string` \
                             would take any",
                            shown(text)
                        ));
                    }
                    row.fields.push((column.name.clone(), kind, text.to_owned()));
                }
            }
        }
        match (field, value) {
            (Some(field), Some((kind, text))) => row.fields.push((field, kind, text)),
            (None, Some((kind, text))) => row.fields.push(("_value".to_owned(), kind, text)),
            _ => {}
        }
        Ok(())
    }
}

/// What a column is of which annotations tell: those of what InfluxDB 2 answers, or of what its `influx write` reads.
fn annotated(annotations: &Annotations, at: usize, name: String) -> Result<Column, String> {
    let (datatype, format) = {
        let datatype = annotations.datatype[at].as_str();
        datatype.split_once(':').unwrap_or((datatype, ""))
    };
    let is_group = annotations.group.get(at).is_some_and(|group| group == "true");
    let default = annotations.default.get(at).cloned().unwrap_or_default();
    let mut column = Column { name, role: Role::Nothing, kind: None, default, clock: None };
    column.role = match (column.name.as_str(), datatype) {
        ("" | "result" | "table" | "_start" | "_stop" | "_field", _)
        | (_, "ignore" | "ignored") => Role::Nothing,
        ("_measurement", _) | (_, "measurement") => Role::Measurement,
        ("_time", _) | (_, "time") => Role::Time,
        (_, "dateTime") if annotations.group.is_empty() => Role::Time,
        (_, "tag") => Role::Tag,
        _ if is_group => Role::Tag,
        _ => Role::Field,
    };
    match column.role {
        Role::Time => {
            let format = Some(format).filter(|format| !format.is_empty());
            column.clock = Some(match format {
                None => Clock::Either(1),
                Some("RFC3339" | "RFC3339Nano") => Clock::Rfc3339,
                Some("number") => Clock::Unix(1),
                Some(other) => {
                    return Err(format!("times `dateTime:{}` are not read", shown(other)));
                }
            });
        }
        Role::Field => {
            let kind = match datatype {
                // As InfluxDB, where nobody says what a field is.
                "" | "field" => None,
                "dateTime" | "duration" | "base64Binary" => Some(Kind::Text),
                known => Some(
                    Kind::named(known)
                        .ok_or_else(|| format!("the datatype `{}` is not known", shown(known)))?,
                ),
            };
            column.kind = kind.map(|kind| (kind, 0));
        }
        _ => {}
    }
    Ok(column)
}

/// The input is of no use.
fn unusable(number: u64, why: &str) -> Failure {
    Failure::new(Ending::Failed, format!("line {number}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(record: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        values(record, ',', &mut found)?;
        Ok(found.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn rows_are_quoted_as_rfc_4180_has_it() {
        for (record, expected) in [
            ("a,b", &["a", "b"][..]),
            ("", &[""]),
            (",", &["", ""]),
            ("\"a,b\",\"c\"\"d\",\"\",\"e\nf\"", &["a,b", "c\"d", "", "e\nf"]),
            ("5\" disk,\u{e4}", &["5\" disk", "\u{e4}"]),
        ] {
            assert_eq!(taken(record).unwrap(), expected, "{record}");
            assert!(is_whole(record.as_bytes(), b','), "{record}");
        }
        for (record, why) in [("\"a", "a quote is not closed"), ("\"a\"b,c", "`b,c` stands behind")]
        {
            assert!(taken(record).unwrap_err().starts_with(why), "{record}");
        }
        for record in ["\"a", "a,\"b\n", "\"a\"\"", "a,b,\"\"\"x"] {
            assert!(!is_whole(record.as_bytes(), b','), "{record}");
        }
    }
}
