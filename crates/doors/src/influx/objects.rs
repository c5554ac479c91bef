//! What queries come to, as an array of points: measurement, tags, fields and time of each.
//!
//! 1. Points come in the order of their times, whatever tables they are of.
//! 2. A field without a value is left out.

use olivine_command::{Answer, Cell, Table};

use super::text::{put_float, put_text, write};

/// The array.
pub(super) fn array<'a>(answers: impl Iterator<Item = &'a Answer>) -> String {
    let mut rows: Vec<(Option<i64>, &Table, &[Cell])> = Vec::new();
    for table in answers.flat_map(|answer| &answer.tables) {
        let time = table.columns.iter().position(|column| column == "time");
        for row in table.rows() {
            let time = time.and_then(|time| match row.get(time) {
                Some(Cell::Time(time)) => Some(*time),
                _ => None,
            });
            rows.push((time, table, row));
        }
    }
    rows.sort_by_key(|(time, ..)| *time);
    let mut out = String::from("[");
    for (nth, (time, table, row)) in rows.into_iter().enumerate() {
        out.push_str(if nth == 0 { "\n" } else { ",\n" });
        put_point(time, table, row, &mut out);
    }
    out.push_str("]\n");
    out
}

fn put_point(time: Option<i64>, table: &Table, row: &[Cell], out: &mut String) {
    out.push_str("{\"measurement\":");
    put_text(&table.name, out);
    out.push_str(",\"tags\":{");
    let mut comma = "";
    for (key, value) in table.tags.iter().filter(|(_, value)| !value.is_empty()) {
        out.push_str(comma);
        put_text(key, out);
        out.push(':');
        put_text(value, out);
        comma = ",";
    }
    out.push_str("},\"fields\":{");
    comma = "";
    for (column, cell) in table.columns.iter().zip(row) {
        if matches!(cell, Cell::Null) || column == "time" && matches!(cell, Cell::Time(_)) {
            continue;
        }
        out.push_str(comma);
        put_text(column, out);
        out.push(':');
        put_cell(cell, out);
        comma = ",";
    }
    out.push('}');
    if let Some(time) = time {
        write(out, format_args!(",\"timestamp\":\"{time}\""));
    }
    out.push('}');
}

fn put_cell(cell: &Cell, out: &mut String) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Time(time) => write(out, format_args!("\"{time}\"")),
        Cell::Float(value) => put_float(*value, out),
        Cell::Integer(value) => write(out, format_args!("{value}")),
        Cell::Unsigned(value) => write(out, format_args!("{value}")),
        Cell::Text(value) => put_text(value, out),
        Cell::Boolean(value) => write(out, format_args!("{value}")),
    }
}
