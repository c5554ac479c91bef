//! Points of time series as bytes, on their way from a door to the store.
//!
//! ```text
//! point   line (number) · key (bytes) · shape (number) · [fields] · time (8) · values
//! fields  how many (number) · each: type (1) · name (bytes)           only where the shape is a new one
//! value   float, integer, unsigned: 8 · boolean: 1 · text: bytes
//! ```
//!
//! A *key* is measurement and tags as they stand in a line of the protocol, escapes and order included: the store
//! knows most of them again by their bytes, and takes apart only those it does not know (`split_key`). A
//! *shape* is which fields a point has, in their order; it is told once and then meant by its number.
//!
//! 1. The reader hands out what the writer was given; anything else is refused, and nothing is asserted of it.
//! 2. Points are read in the order in which they were written, and no allocation is made for one.

mod key;
mod read;
mod write;

pub use key::{Key, KeyFault, split_key, write_key};
pub use read::{Mark, Point, PointReader, PointValues, Shape};
pub use write::PointWriter;

/// The type of a field. The numbers are in frames and in stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FieldType {
    /// f64.
    Float = 0,
    /// i64.
    Integer = 1,
    /// u64.
    Unsigned = 2,
    /// UTF-8.
    Text = 3,
    /// Yes or no.
    Boolean = 4,
}

impl FieldType {
    /// All of them, as numbered.
    pub const ALL: [FieldType; 5] = [
        FieldType::Float,
        FieldType::Integer,
        FieldType::Unsigned,
        FieldType::Text,
        FieldType::Boolean,
    ];

    /// The type of this number.
    pub fn numbered(number: u8) -> Option<FieldType> {
        FieldType::ALL.get(usize::from(number)).copied()
    }

    /// What InfluxQL calls it.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Float => "float",
            FieldType::Integer => "integer",
            FieldType::Unsigned => "unsigned",
            FieldType::Text => "string",
            FieldType::Boolean => "boolean",
        }
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// f64, neither infinite nor without a value.
    Float(f64),
    /// i64.
    Integer(i64),
    /// u64.
    Unsigned(u64),
    /// UTF-8.
    Text(&'a str),
    /// Yes or no.
    Boolean(bool),
}

impl FieldValue<'_> {
    /// What it is.
    pub fn kind(&self) -> FieldType {
        match self {
            FieldValue::Float(_) => FieldType::Float,
            FieldValue::Integer(_) => FieldType::Integer,
            FieldValue::Unsigned(_) => FieldType::Unsigned,
            FieldValue::Text(_) => FieldType::Text,
            FieldValue::Boolean(_) => FieldType::Boolean,
        }
    }
}
