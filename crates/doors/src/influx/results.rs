//! What queries come to, in the forms of InfluxDB: JSON, in one answer or in chunks, and CSV.
//!
//! 1. The same cells come to the same bytes as InfluxDB 1.6.7 writes.

use olivine_command::{Answer, Cell, Refusal, Table};

use super::{
    line::Precision,
    text::{put_float, put_moment, put_text, write},
};

/// How JSON is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The unit of times; texts if there is none.
    pub(super) epoch: Option<Precision>,
    /// With line ends and blanks, for people.
    pub(super) pretty: bool,
}

/// All statements, in one answer or in many of so many rows.
pub(super) fn json(
    outcomes: &[Result<Answer, Refusal>],
    style: Style,
    chunk_rows: Option<usize>,
) -> String {
    let mut json = Json { out: String::new(), depth: 0, style };
    match chunk_rows {
        None => json.response(|json| {
            for (statement, outcome) in outcomes.iter().enumerate() {
                json.item(statement == 0);
                let series = outcome.iter().flat_map(|answer| &answer.tables);
                let series: Vec<Part<'_>> = series.map(Part::whole).collect();
                json.result(statement, outcome.as_ref(), &series, false);
            }
        }),
        Some(rows) => {
            for (statement, outcome) in outcomes.iter().enumerate() {
                let tables = outcome.iter().flat_map(|answer| &answer.tables);
                let mut parts = tables.flat_map(|table| parts(table, rows)).peekable();
                loop {
                    let part = parts.next();
                    let more = parts.peek().is_some();
                    json.response(|json| {
                        json.item(true);
                        json.result(statement, outcome.as_ref(), part.as_slice(), more);
                    });
                    if !more {
                        break;
                    }
                }
            }
        }
    }
    json.out
}

/// Some rows of a table.
#[derive(Clone, Copy)]
struct Part<'a> {
    table: &'a Table,
    rows: &'a [Cell],
    /// There are more of the table.
    is_partial: bool,
}

impl<'a> Part<'a> {
    fn whole(table: &'a Table) -> Part<'a> {
        Part { table, rows: &table.cells, is_partial: false }
    }
}

/// A table in pieces of so many rows.
fn parts(table: &Table, rows: usize) -> impl Iterator<Item = Part<'_>> {
    let cells = rows.saturating_mul(table.columns.len().max(1));
    let count = table.cells.len().div_ceil(cells).max(1);
    (0..count).map(move |nth| {
        let start = nth * cells;
        let end = table.cells.len().min(start.saturating_add(cells));
        Part { table, rows: &table.cells[start..end], is_partial: nth + 1 < count }
    })
}

/// Writes JSON, compact or for people.
struct Json {
    out: String,
    depth: usize,
    style: Style,
}

impl Json {
    fn response(&mut self, results: impl FnOnce(&mut Json)) {
        self.open('{');
        self.member(true, "results");
        self.open('[');
        results(self);
        self.close(']');
        self.close('}');
        self.out.push('\n');
    }

    fn result(
        &mut self,
        statement: usize,
        outcome: Result<&Answer, &Refusal>,
        series: &[Part<'_>],
        is_partial: bool,
    ) {
        self.open('{');
        self.member(true, "statement_id");
        write(&mut self.out, format_args!("{statement}"));
        if !series.is_empty() {
            self.member(false, "series");
            self.open('[');
            for (nth, part) in series.iter().enumerate() {
                self.item(nth == 0);
                self.series(part);
            }
            self.close(']');
        }
        let notices = outcome.map(|answer| &*answer.notices).unwrap_or_default();
        if !notices.is_empty() {
            self.member(false, "messages");
            self.open('[');
            for (nth, notice) in notices.iter().enumerate() {
                self.item(nth == 0);
                self.open('{');
                self.member(true, "level");
                self.out.push_str("\"warning\"");
                self.member(false, "text");
                put_text(notice, &mut self.out);
                self.close('}');
            }
            self.close(']');
        }
        if is_partial {
            self.member(false, "partial");
            self.out.push_str("true");
        }
        if let Err(refusal) = outcome {
            self.member(false, "error");
            put_text(&refusal.text, &mut self.out);
        }
        self.close('}');
    }

    fn series(&mut self, part: &Part<'_>) {
        let table = part.table;
        self.open('{');
        let mut is_first = true;
        if !table.name.is_empty() {
            self.member(is_first, "name");
            put_text(&table.name, &mut self.out);
            is_first = false;
        }
        if !table.tags.is_empty() {
            self.member(is_first, "tags");
            is_first = false;
            self.open('{');
            for (nth, (key, value)) in table.tags.iter().enumerate() {
                self.member(nth == 0, key);
                put_text(value, &mut self.out);
            }
            self.close('}');
        }
        self.member(is_first, "columns");
        self.open('[');
        for (nth, column) in table.columns.iter().enumerate() {
            self.item(nth == 0);
            put_text(column, &mut self.out);
        }
        self.close(']');
        if !part.rows.is_empty() {
            self.member(false, "values");
            self.open('[');
            for (nth, row) in part.rows.chunks(table.columns.len().max(1)).enumerate() {
                self.item(nth == 0);
                self.row(row);
            }
            self.close(']');
        }
        if part.is_partial {
            self.member(false, "partial");
            self.out.push_str("true");
        }
        self.close('}');
    }

    fn row(&mut self, row: &[Cell]) {
        self.open('[');
        for (nth, cell) in row.iter().enumerate() {
            self.item(nth == 0);
            self.cell(cell);
        }
        self.close(']');
    }

    fn cell(&mut self, cell: &Cell) {
        let out = &mut self.out;
        match cell {
            Cell::Null => out.push_str("null"),
            Cell::Time(time) => {
                if let Some(unit) = self.style.epoch {
                    write(out, format_args!("{}", time / unit.nanos));
                } else {
                    out.push('"');
                    put_moment(*time, out);
                    out.push('"');
                }
            }
            Cell::Float(value) => put_float(*value, out),
            Cell::Integer(value) => write(out, format_args!("{value}")),
            Cell::Unsigned(value) => write(out, format_args!("{value}")),
            Cell::Text(value) => put_text(value, out),
            Cell::Boolean(value) => write(out, format_args!("{value}")),
        }
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        // Go writes nothing between the brackets of what is empty.
        if !self.out.ends_with(['{', '[']) {
            self.new_line();
        }
        self.out.push(bracket);
    }

    /// What stands before an element.
    fn item(&mut self, is_first: bool) {
        if !is_first {
            self.out.push(',');
        }
        self.new_line();
    }

    /// What stands before the value of a member.
    fn member(&mut self, is_first: bool, name: &str) {
        self.item(is_first);
        put_text(name, &mut self.out);
        self.out.push_str(if self.style.pretty { ": " } else { ":" });
    }

    fn new_line(&mut self) {
        if self.style.pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("    ");
            }
        }
    }
}

/// All statements as CSV: tables of the same columns below one head, times in nanoseconds.
pub(super) fn csv(outcomes: &[Result<Answer, Refusal>]) -> String {
    let mut out = String::new();
    for outcome in outcomes {
        match outcome {
            Err(refusal) => {
                put_record(["error"].into_iter().chain([&*refusal.text]), &mut out);
            }
            Ok(answer) => {
                let mut columns: Option<&[String]> = None;
                for table in &answer.tables {
                    if columns != Some(&table.columns) {
                        if !out.is_empty() {
                            out.push('\n');
                        }
                        columns = Some(&table.columns);
                        let names = table.columns.iter().map(|column| &**column);
                        put_record(["name", "tags"].into_iter().chain(names), &mut out);
                    }
                    put_rows(table, &mut out);
                }
            }
        }
    }
    out
}

fn put_rows(table: &Table, out: &mut String) {
    let mut tags = Vec::new();
    olivine_command::points::write_key("", &table.tags, &mut tags);
    let tags = String::from_utf8_lossy(tags.get(1..).unwrap_or_default()).into_owned();
    for row in table.rows() {
        let cells: Vec<String> = row.iter().map(csv_cell).collect();
        let cells = cells.iter().map(|cell| &**cell);
        put_record([&*table.name, &*tags].into_iter().chain(cells), out);
    }
}

fn csv_cell(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Time(time) => time.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Unsigned(value) => value.to_string(),
        Cell::Text(value) => value.clone(),
        Cell::Boolean(value) => value.to_string(),
    }
}

/// Adds a line of CSV, quoted as Go's `encoding/csv` does.
fn put_record<'a>(values: impl Iterator<Item = &'a str>, out: &mut String) {
    for (nth, value) in values.enumerate() {
        if nth != 0 {
            out.push(',');
        }
        let needs_quotes = value == "\\."
            || value.contains([',', '"', '\r', '\n'])
            || value.starts_with(char::is_whitespace);
        if needs_quotes {
            write(out, format_args!("\"{}\"", value.replace('"', "\"\"")));
        } else {
            out.push_str(value);
        }
    }
    out.push('\n');
}
