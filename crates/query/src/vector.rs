//! Values of one column, kept together.
//!
//! 1. Every vector of a frame has one value for each row, which may be none.
//! 2. Texts that are the same for many rows, as tags are, are kept once.

use crate::source::{Column, Values};
use olivine_command::Cell;

/// Values, one for each row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vector {
    data: Data,
    /// Which rows have a value; nothing if all have.
    present: Option<Vec<bool>>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
enum Data {
    /// No row has a value.
    #[default]
    None,
    Float(Vec<f64>),
    Integer(Vec<i64>),
    Unsigned(Vec<u64>),
    Boolean(Vec<bool>),
    Text(Vec<Box<str>>),
    /// Texts by their number.
    Label(Vec<u32>, Vec<String>),
    /// Values of more than one type.
    Mixed(Vec<Cell>),
}

/// Which rows of some are meant, in their order.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// From one up to another.
    Range(usize, usize),
    /// These.
    List(Vec<u32>),
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::Range(from, to) => to - from,
            Rows::List(rows) => rows.len(),
        }
    }

    /// The row in this place.
    pub(crate) fn get(&self, place: usize) -> usize {
        match self {
            Rows::Range(from, _) => from + place,
            Rows::List(rows) => rows[place] as usize,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|place| self.get(place))
    }

    /// Those in these places.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Rows {
        match self {
            Rows::Range(start, _) => Rows::Range(start + from, start + to),
            Rows::List(rows) => Rows::List(rows[from..to].to_vec()),
        }
    }
}

/// A column that is read, whoever holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Col<'a> {
    /// There are no values.
    None,
    /// Of a series.
    Column(&'a Column),
    /// One text for every row.
    Label(&'a str),
    /// Of the answer of a subquery.
    Vector(&'a Vector),
}

impl Col<'_> {
    /// The value of a row.
    pub(crate) fn get(&self, row: usize) -> Cell {
        match self {
            Col::None => Cell::Null,
            Col::Label(text) => Cell::Text((*text).to_owned()),
            Col::Vector(vector) => vector.get(row),
            Col::Column(column) if !column.has(row) => Cell::Null,
            Col::Column(column) => match &column.values {
                Values::None => Cell::Null,
                Values::Float(values) => Cell::Float(values[row]),
                Values::Integer(values) => Cell::Integer(values[row]),
                Values::Unsigned(values) => Cell::Unsigned(values[row]),
                Values::Text(values) => Cell::Text(values[row].to_string()),
                Values::Boolean(values) => Cell::Boolean(values[row]),
            },
        }
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        match self {
            Col::None => false,
            Col::Label(_) => true,
            Col::Vector(vector) => vector.has(row),
            Col::Column(column) => column.has(row),
        }
    }

    /// As numbers with fractions, if it is of them and all rows have one.
    pub(crate) fn floats(&self) -> Option<&[f64]> {
        match self {
            Col::Column(Column { values: Values::Float(values), present: None })
            | Col::Vector(Vector { data: Data::Float(values), present: None, .. }) => Some(values),
            _ => None,
        }
    }

    /// As whole numbers, if it is of them and all rows have one.
    pub(crate) fn integers(&self) -> Option<&[i64]> {
        match self {
            Col::Column(Column { values: Values::Integer(values), present: None })
            | Col::Vector(Vector { data: Data::Integer(values), present: None, .. }) => {
                Some(values)
            }
            _ => None,
        }
    }
}

macro_rules! take {
    ($self:ident, $kind:ident, $values:expr, $column:expr, $rows:expr, $copy:expr) => {{
        if matches!($self.data, Data::None) {
            $self.data = Data::$kind(Vec::new());
            if $self.len != 0 {
                $self.present = Some(vec![false; $self.len]);
            }
        }
        let before = $self.len;
        if let Data::$kind(kept) = &mut $self.data {
            kept.resize_with(before, Default::default);
            let fetch = $copy;
            match $rows {
                Rows::Range(from, to) => kept.extend($values[*from..*to].iter().map(fetch)),
                Rows::List(rows) => {
                    kept.extend(rows.iter().map(|row| fetch(&$values[*row as usize])))
                }
            }
            if $column.present.is_some() || $self.present.is_some() {
                let present = $self.present.get_or_insert_with(|| vec![true; before]);
                present.extend($rows.iter().map(|row| $column.has(row)));
            }
            $self.len += $rows.len();
            return;
        }
    }};
}

impl Vector {
    /// One without rows.
    pub(crate) fn new() -> Vector {
        Vector::default()
    }

    /// One of rows without values.
    pub(crate) fn nulls(len: usize) -> Vector {
        Vector { len, ..Vector::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        match &self.data {
            Data::None => false,
            Data::Mixed(cells) => cells[row] != Cell::Null,
            _ => self.present.as_ref().is_none_or(|present| present[row]),
        }
    }

    /// The value of a row.
    pub(crate) fn get(&self, row: usize) -> Cell {
        if !self.has(row) {
            return Cell::Null;
        }
        match &self.data {
            Data::None => Cell::Null,
            Data::Float(values) => Cell::Float(values[row]),
            Data::Integer(values) => Cell::Integer(values[row]),
            Data::Unsigned(values) => Cell::Unsigned(values[row]),
            Data::Boolean(values) => Cell::Boolean(values[row]),
            Data::Text(values) => Cell::Text(values[row].to_string()),
            Data::Label(codes, texts) => Cell::Text(texts[codes[row] as usize].clone()),
            Data::Mixed(cells) => cells[row].clone(),
        }
    }

    /// Adds some rows of a column.
    pub(crate) fn extend(&mut self, col: &Col<'_>, rows: &Rows) {
        match col {
            Col::Column(column) => match &column.values {
                Values::Float(values) => {
                    take!(self, Float, values, column, rows, |value: &f64| *value);
                }
                Values::Integer(values) => {
                    take!(self, Integer, values, column, rows, |value: &i64| *value);
                }
                Values::Unsigned(values) => {
                    take!(self, Unsigned, values, column, rows, |value: &u64| *value);
                }
                Values::Boolean(values) => {
                    take!(self, Boolean, values, column, rows, |value: &bool| *value);
                }
                Values::Text(values) => {
                    take!(self, Text, values, column, rows, Clone::clone);
                }
                Values::None => {}
            },
            Col::Label(text) => return self.label(text, rows.len()),
            Col::None => {
                (0..rows.len()).for_each(|_| self.push(Cell::Null));
                return;
            }
            Col::Vector(_) => {}
        }
        for row in rows.iter() {
            self.push(col.get(row));
        }
    }

    fn label(&mut self, text: &str, count: usize) {
        if self.len == 0 && matches!(self.data, Data::None) {
            self.data = Data::Label(Vec::new(), Vec::new());
        } else if matches!(self.data, Data::None) {
            self.data = Data::Label(vec![0; self.len], vec![String::new()]);
            self.present = Some(vec![false; self.len]);
        }
        if let Data::Label(codes, texts) = &mut self.data {
            if texts.last().is_none_or(|last| last != text) {
                texts.push(text.to_owned());
            }
            let code = texts.len() as u32 - 1;
            codes.resize(self.len + count, code);
            self.len += count;
            if let Some(present) = &mut self.present {
                present.resize(self.len, true);
            }
            return;
        }
        (0..count).for_each(|_| self.push(Cell::Text(text.to_owned())));
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, cell: Cell) {
        if cell == Cell::Null {
            return self.push_null();
        }
        if matches!(self.data, Data::None) {
            self.data = match &cell {
                Cell::Null => Data::None,
                Cell::Float(_) => Data::Float(vec![0.0; self.len]),
                Cell::Integer(_) => Data::Integer(vec![0; self.len]),
                Cell::Unsigned(_) => Data::Unsigned(vec![0; self.len]),
                Cell::Boolean(_) => Data::Boolean(vec![false; self.len]),
                Cell::Text(_) => Data::Text(vec![Box::default(); self.len]),
                Cell::Time(_) => Data::Mixed(vec![Cell::Null; self.len]),
            };
            if self.len != 0 {
                self.present = Some(vec![false; self.len]);
            }
        }
        match (&mut self.data, cell) {
            (Data::Float(values), Cell::Float(value)) => values.push(value),
            (Data::Integer(values), Cell::Integer(value)) => values.push(value),
            (Data::Unsigned(values), Cell::Unsigned(value)) => values.push(value),
            (Data::Boolean(values), Cell::Boolean(value)) => values.push(value),
            (Data::Text(values), Cell::Text(value)) => values.push(value.into()),
            (Data::Mixed(cells), cell) => cells.push(cell),
            (_, cell) => {
                let mut cells: Vec<Cell> = (0..self.len).map(|row| self.get(row)).collect();
                cells.push(cell);
                self.data = Data::Mixed(cells);
                self.present = None;
            }
        }
        self.len += 1;
        if let Some(present) = &mut self.present {
            present.push(true);
        }
    }

    fn push_null(&mut self) {
        let before = self.len;
        match &mut self.data {
            Data::None => {
                self.len += 1;
                return;
            }
            Data::Float(values) => values.push(0.0),
            Data::Integer(values) => values.push(0),
            Data::Unsigned(values) => values.push(0),
            Data::Boolean(values) => values.push(false),
            Data::Text(values) => values.push(Box::default()),
            Data::Label(codes, _) => codes.push(0),
            Data::Mixed(cells) => {
                cells.push(Cell::Null);
                self.len += 1;
                return;
            }
        }
        self.present.get_or_insert_with(|| vec![true; before]).push(false);
        self.len += 1;
    }

    /// The rows of these places, in this order.
    pub(crate) fn picked(&self, places: &[u32]) -> Vector {
        fn pick<T: Clone>(values: &[T], places: &[u32]) -> Vec<T> {
            places.iter().map(|place| values[*place as usize].clone()).collect()
        }
        let data = match &self.data {
            Data::None => Data::None,
            Data::Float(values) => Data::Float(pick(values, places)),
            Data::Integer(values) => Data::Integer(pick(values, places)),
            Data::Unsigned(values) => Data::Unsigned(pick(values, places)),
            Data::Boolean(values) => Data::Boolean(pick(values, places)),
            Data::Text(values) => Data::Text(pick(values, places)),
            Data::Label(codes, texts) => Data::Label(pick(codes, places), texts.clone()),
            Data::Mixed(cells) => Data::Mixed(pick(cells, places)),
        };
        let present = self.present.as_ref().map(|present| pick(present, places));
        Vector { data, present, len: places.len() }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::None => 0,
            Data::Text(texts) => texts.iter().map(|text| 16 + text.len()).sum(),
            Data::Mixed(cells) => cells.len() * size_of::<Cell>(),
            Data::Label(codes, _) => codes.len() * 4,
            Data::Boolean(values) => values.len(),
            _ => self.len * 8,
        }
    }
}

impl FromIterator<Cell> for Vector {
    fn from_iter<T: IntoIterator<Item = Cell>>(cells: T) -> Vector {
        let mut vector = Vector::new();
        cells.into_iter().for_each(|cell| vector.push(cell));
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_come_back_with_their_gaps() {
        let cells = [
            Cell::Null,
            Cell::Float(1.5),
            Cell::Null,
            Cell::Integer(2),
            Cell::Text("x".to_owned()),
        ];
        for count in 0..=cells.len() {
            let vector: Vector = cells[..count].iter().cloned().collect();
            let found: Vec<Cell> = (0..count).map(|row| vector.get(row)).collect();
            assert_eq!(found, cells[..count]);
        }
        let mut vector = Vector::nulls(1);
        vector.extend(&Col::Label("a"), &Rows::Range(0, 2));
        vector.extend(&Col::None, &Rows::Range(0, 1));
        vector.extend(&Col::Label("b"), &Rows::List(vec![7]));
        let found: Vec<Cell> = (0..5).map(|row| vector.get(row)).collect();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(found, [Cell::Null, text("a"), text("a"), Cell::Null, text("b")]);
        let values = Values::Integer(vec![1, 2, 3]);
        let column = Column { values, present: Some(vec![0b101]) };
        let mut vector = Vector::new();
        vector.extend(&Col::Column(&column), &Rows::Range(0, 3));
        vector.extend(&Col::Column(&column), &Rows::List(vec![2]));
        let picked = vector.picked(&[3, 1, 0]);
        let found: Vec<Cell> = (0..3).map(|row| picked.get(row)).collect();
        assert_eq!(found, [Cell::Integer(3), Cell::Null, Cell::Integer(1)]);
    }
}
