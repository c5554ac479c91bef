//! What queries are answered with: tables of cells.

/// Rows of one measurement, or of one group of its series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it is of; empty where it is of nothing that has a name.
    pub name: String,
    /// The tags that all its rows have, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its cells, row by row: as many in each as there are columns.
    pub cells: Vec<Cell>,
}

impl Table {
    /// Its rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Cell]> {
        self.cells.chunks_exact(self.columns.len().max(1))
    }
}

/// What one statement came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its tables.
    pub tables: Vec<Table>,
    /// What the one who asked should know beside them.
    pub notices: Vec<String>,
}

/// One value of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// There is none.
    Null,
    /// A moment, in nanoseconds since 1970.
    Time(i64),
    /// A number with a fraction.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A text.
    Text(String),
    /// Yes or no.
    Boolean(bool),
}

impl PartialEq for Cell {
    /// Whether both are the same bit for bit.
    fn eq(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Null, Cell::Null) => true,
            (Cell::Float(a), Cell::Float(b)) => a.to_bits() == b.to_bits(),
            (Cell::Time(a), Cell::Time(b)) | (Cell::Integer(a), Cell::Integer(b)) => a == b,
            (Cell::Unsigned(a), Cell::Unsigned(b)) => a == b,
            (Cell::Text(a), Cell::Text(b)) => a == b,
            (Cell::Boolean(a), Cell::Boolean(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Cell {}
