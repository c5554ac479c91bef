//! Writes points, one after the other.

use super::{FieldType, FieldValue};
use crate::wire::{put_bytes, put_number};

/// Writes points, one after the other.
///
/// A point is begun, gets its fields, and is ended by its time; or it is given up, and nothing of it stays.
#[derive(Debug, Default)]
pub struct PointWriter {
    out: Vec<u8>,
    /// The shapes that were told, each as its fields are encoded; the last one met is tried first.
    shapes: Vec<Vec<u8>>,
    last: usize,
    /// What the point under way consists of.
    line: u64,
    key: (usize, usize),
    shape: Vec<u8>,
    fields: u64,
    values: Vec<u8>,
    keys: Vec<u8>,
    points: u64,
}

impl PointWriter {
    /// One that has written nothing.
    pub fn new() -> PointWriter {
        PointWriter::default()
    }

    /// Begins the point that stands in a line.
    pub fn begin(&mut self, line: u64, key: &[u8]) {
        self.line = line;
        self.keys.clear();
        self.keys.extend_from_slice(key);
        self.key = (0, key.len());
        self.shape.clear();
        self.values.clear();
        self.fields = 0;
    }

    /// Adds a field to the point.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: FieldValue<'_>) {
        self.fields += 1;
        self.shape.push(value.kind() as u8);
        put_bytes(name, &mut self.shape);
        match value {
            FieldValue::Float(value) => self.values.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Integer(value) => self.values.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Unsigned(value) => self.values.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Text(text) => put_bytes(text.as_bytes(), &mut self.values),
            FieldValue::Boolean(value) => self.values.push(value.into()),
        }
    }

    /// Ends the point.
    pub fn end(&mut self, time: i64) {
        put_number(self.line, &mut self.out);
        put_bytes(&self.keys, &mut self.out);
        if self.shapes.get(self.last) != Some(&self.shape) {
            self.last = self
                .shapes
                .iter()
                .position(|shape| *shape == self.shape)
                .unwrap_or(self.shapes.len());
        }
        put_number(self.last as u64, &mut self.out);
        if self.last == self.shapes.len() {
            put_number(self.fields, &mut self.out);
            self.out.extend_from_slice(&self.shape);
            self.shapes.push(self.shape.clone());
        }
        self.out.extend_from_slice(&time.to_le_bytes());
        self.out.extend_from_slice(&self.values);
        self.points += 1;
    }

    /// How many points were written.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// How many fields the point under way has.
    pub fn fields(&self) -> u64 {
        self.fields
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// All points, as bytes.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

const _: () = assert!(FieldType::ALL.len() == 5);
