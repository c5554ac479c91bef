//! Answers as the JSON that InfluxDB makes of them, and JSON read again.

use olivine_command::{Answer, Cell};
use std::fmt::Write as _;

/// A value of JSON. Numbers stay as they are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn list(&self) -> &[Json] {
        if let Json::List(items) = self { items } else { &[] }
    }

    pub(crate) fn text(&self) -> &str {
        if let Json::Text(text) = self { text } else { "" }
    }
}

/// Reads one value.
pub(crate) fn read(text: &str) -> Json {
    let mut chars = text.trim().chars().peekable();
    value(&mut chars)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip(chars: &mut Chars<'_>) {
    while chars.next_if(|char| char.is_whitespace() || matches!(char, ',' | ':')).is_some() {}
}

fn value(chars: &mut Chars<'_>) -> Json {
    skip(chars);
    match chars.peek() {
        Some('{') => {
            chars.next();
            let mut pairs = Vec::new();
            loop {
                skip(chars);
                if chars.next_if_eq(&'}').is_some() {
                    return Json::Object(pairs);
                }
                let key = value(chars);
                pairs.push((key.text().to_owned(), value(chars)));
            }
        }
        Some('[') => {
            chars.next();
            let mut items = Vec::new();
            loop {
                skip(chars);
                if chars.next_if_eq(&']').is_some() {
                    return Json::List(items);
                }
                items.push(value(chars));
            }
        }
        Some('"') => {
            chars.next();
            let mut text = String::new();
            while let Some(char) = chars.next() {
                match char {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some('n') => text.push('\n'),
                        Some('t') => text.push('\t'),
                        Some('u') => {
                            let digits: String = chars.by_ref().take(4).collect();
                            let code = u32::from_str_radix(&digits, 16).unwrap();
                            text.push(char::from_u32(code).unwrap_or('?'));
                        }
                        Some(other) => text.push(other),
                        None => break,
                    },
                    other => text.push(other),
                }
            }
            Json::Text(text)
        }
        Some(_) => {
            let mut word = String::new();
            while let Some(char) =
                chars.next_if(|char| !matches!(char, ',' | ']' | '}') && !char.is_whitespace())
            {
                word.push(char);
            }
            match &*word {
                "null" => Json::Null,
                "true" => Json::Boolean(true),
                "false" => Json::Boolean(false),
                _ => Json::Number(word),
            }
        }
        None => Json::Null,
    }
}

/// The series of an answer as JSON has them, times in nanoseconds.
pub(crate) fn series(answer: &Answer) -> Json {
    let text = |text: &str| Json::Text(text.to_owned());
    let tables = answer.tables.iter().map(|table| {
        let mut pairs = Vec::new();
        if !table.name.is_empty() {
            pairs.push(("name".to_owned(), text(&table.name)));
        }
        if !table.tags.is_empty() {
            let tags = table.tags.iter().map(|(key, value)| (key.clone(), text(value))).collect();
            pairs.push(("tags".to_owned(), Json::Object(tags)));
        }
        let columns = table.columns.iter().map(|column| text(column)).collect();
        pairs.push(("columns".to_owned(), Json::List(columns)));
        let rows: Vec<Json> =
            table.rows().map(|row| Json::List(row.iter().map(cell).collect())).collect();
        if !rows.is_empty() {
            pairs.push(("values".to_owned(), Json::List(rows)));
        }
        Json::Object(pairs)
    });
    Json::List(tables.collect())
}

fn cell(cell: &Cell) -> Json {
    match cell {
        Cell::Null => Json::Null,
        Cell::Time(value) | Cell::Integer(value) => Json::Number(value.to_string()),
        Cell::Unsigned(value) => Json::Number(value.to_string()),
        Cell::Float(value) => Json::Number(value.to_string()),
        Cell::Text(text) => Json::Text(text.clone()),
        Cell::Boolean(yes) => Json::Boolean(*yes),
    }
}

/// An answer as lines of text, for scripts.
pub(crate) fn lines(answer: &Answer) -> String {
    let mut out = String::new();
    for table in &answer.tables {
        let tags: Vec<String> =
            table.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        writeln!(out, "{} {}", table.name, tags.join(",")).ok();
        writeln!(out, "  {}", table.columns.join(" | ")).ok();
        for row in table.rows() {
            let cells: Vec<String> = row
                .iter()
                .map(|cell| match cell {
                    Cell::Null => "-".to_owned(),
                    Cell::Time(at) => olivine_query::moment::text(*at),
                    Cell::Float(value) => format!("{value:?}"),
                    Cell::Integer(value) => value.to_string(),
                    Cell::Unsigned(value) => format!("{value}u"),
                    Cell::Text(text) => format!("'{text}'"),
                    Cell::Boolean(yes) => yes.to_string(),
                })
                .collect();
            writeln!(out, "  {}", cells.join(" | ")).ok();
        }
    }
    for notice in &answer.notices {
        writeln!(out, "({notice})").ok();
    }
    out
}
