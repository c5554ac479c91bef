//! What queries are answered with, as bytes.

use super::{
    Malformed,
    bytes::{Reader, put_bytes, put_number},
    replies::text,
};
use crate::table::{Answer, Cell, Table};

/// The byte a cell begins with.
mod cell {
    pub(super) const NULL: u8 = 0;
    pub(super) const TIME: u8 = 1;
    pub(super) const FLOAT: u8 = 2;
    pub(super) const INTEGER: u8 = 3;
    pub(super) const UNSIGNED: u8 = 4;
    pub(super) const TEXT: u8 = 5;
    pub(super) const NO: u8 = 6;
    pub(super) const YES: u8 = 7;
}

pub(super) fn put_answer(answer: &Answer, out: &mut Vec<u8>) {
    put_number(answer.tables.len() as u64, out);
    for table in &answer.tables {
        put_table(table, out);
    }
    put_texts(&answer.notices, out);
}

pub(super) fn answer(reader: &mut Reader<'_>) -> Result<Answer, Malformed> {
    Ok(Answer { tables: reader.list(table)?, notices: reader.list(text)? })
}

fn put_table(table: &Table, out: &mut Vec<u8>) {
    put_bytes(table.name.as_bytes(), out);
    put_number(table.tags.len() as u64, out);
    for (key, value) in &table.tags {
        put_bytes(key.as_bytes(), out);
        put_bytes(value.as_bytes(), out);
    }
    put_texts(&table.columns, out);
    put_number(table.cells.len() as u64, out);
    for cell in &table.cells {
        put_cell(cell, out);
    }
}

fn table(reader: &mut Reader<'_>) -> Result<Table, Malformed> {
    let name = text(reader)?;
    let tags = reader.list(|reader| Ok((text(reader)?, text(reader)?)))?;
    let columns = reader.list(text)?;
    let cells = reader.list(cell)?;
    if cells.len() % columns.len().max(1) != 0 || (columns.is_empty() && !cells.is_empty()) {
        return reader.fault("a table has a row that is not whole");
    }
    Ok(Table { name, tags, columns, cells })
}

fn put_texts(texts: &[String], out: &mut Vec<u8>) {
    put_number(texts.len() as u64, out);
    for text in texts {
        put_bytes(text.as_bytes(), out);
    }
}

fn put_cell(cell: &Cell, out: &mut Vec<u8>) {
    let mut word = |kind, word: [u8; 8]| {
        out.push(kind);
        out.extend_from_slice(&word);
    };
    match cell {
        Cell::Null => out.push(cell::NULL),
        Cell::Time(time) => word(cell::TIME, time.to_le_bytes()),
        Cell::Float(number) => word(cell::FLOAT, number.to_le_bytes()),
        Cell::Integer(number) => word(cell::INTEGER, number.to_le_bytes()),
        Cell::Unsigned(number) => word(cell::UNSIGNED, number.to_le_bytes()),
        Cell::Text(text) => {
            out.push(cell::TEXT);
            put_bytes(text.as_bytes(), out);
        }
        Cell::Boolean(is) => out.push(if *is { cell::YES } else { cell::NO }),
    }
}

fn cell(reader: &mut Reader<'_>) -> Result<Cell, Malformed> {
    Ok(match reader.byte()? {
        cell::NULL => Cell::Null,
        cell::TIME => Cell::Time(i64::from_le_bytes(reader.array()?)),
        cell::FLOAT => Cell::Float(f64::from_le_bytes(reader.array()?)),
        cell::INTEGER => Cell::Integer(i64::from_le_bytes(reader.array()?)),
        cell::UNSIGNED => Cell::Unsigned(u64::from_le_bytes(reader.array()?)),
        cell::TEXT => Cell::Text(text(reader)?),
        cell::NO => Cell::Boolean(false),
        cell::YES => Cell::Boolean(true),
        _ => return reader.fault("there is no such cell"),
    })
}
