//! Writes points, one after the other.
//!
//! Points of one request mostly have the fields of one that came before, in the same order. So each shape
//! remembers which one came behind it last time, and a point is taken for one of that shape until a field says
//! otherwise: then its values already stand where they belong, and no name was looked up or copied.

use std::collections::BTreeMap;

use super::{FieldType, FieldValue, PointValues, read::values_of};
use crate::wire::{Reader, put_bytes, put_number};

/// Writes points, one after the other.
///
/// A point is begun, gets its fields, and is ended by its time; or it is given up, and nothing of it stays. Of a
/// field that it gets twice, the last value counts.
#[derive(Debug, Default)]
pub struct PointWriter {
    /// Whole points, and what there is of the one under way.
    out: Vec<u8>,
    /// How many bytes of it are whole points.
    whole: usize,
    points: u64,
    /// The shapes that were told, as numbered.
    shapes: Vec<Told>,
    /// Their numbers, by what they look like when they are told.
    numbers: BTreeMap<Vec<u8>, usize>,
    /// The shape of the last point.
    last: usize,
    /// What is known of the point under way.
    under_way: UnderWay,
    /// The fields of a point whose shape is not the expected one, as they are told.
    strayed: Vec<u8>,
    values: Vec<u8>,
}

/// A shape that was told.
#[derive(Debug, Default)]
struct Told {
    fields: Vec<(FieldType, Box<[u8]>)>,
    /// The shape of the point that came behind one of this shape last.
    next: usize,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// The shape that it is taken for.
    expected: usize,
    fields: usize,
    /// It has turned out to be of another.
    has_strayed: bool,
    /// Where its shape stands, and where its values begin.
    shape_at: usize,
    values_at: usize,
}

/// Bytes of a time.
const TIME_BYTES: usize = 8;

impl PointWriter {
    /// One that has written nothing.
    pub fn new() -> PointWriter {
        PointWriter::default()
    }

    /// One with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> PointWriter {
        PointWriter { out: Vec::with_capacity(bytes), ..PointWriter::default() }
    }

    /// Begins the point that stands in a line.
    #[inline]
    pub fn begin(&mut self, line: u64, key: &[u8]) {
        self.out.truncate(self.whole);
        put_number(line, &mut self.out);
        put_bytes(key, &mut self.out);
        let shape_at = self.out.len();
        let expected = self.shapes.get(self.last).map_or(0, |shape| shape.next);
        put_number(expected as u64, &mut self.out);
        self.out.extend_from_slice(&[0; TIME_BYTES]);
        let has_strayed = self.shapes.is_empty();
        let values_at = self.out.len();
        self.under_way = UnderWay { expected, fields: 0, has_strayed, shape_at, values_at };
        self.strayed.clear();
    }

    /// The field that is expected next.
    #[inline]
    fn expected(&self) -> Option<&(FieldType, Box<[u8]>)> {
        if self.under_way.has_strayed {
            return None;
        }
        self.shapes.get(self.under_way.expected)?.fields.get(self.under_way.fields)
    }

    /// The name of the field that is expected next, if one is.
    #[inline]
    pub fn expected_name(&self) -> Option<&[u8]> {
        self.expected().map(|(_, name)| &**name)
    }

    /// Adds the field that is expected next; nothing happens if none is.
    #[inline]
    pub fn expected_field(&mut self, value: FieldValue<'_>) {
        match self.expected() {
            Some((kind, _)) if *kind == value.kind() => {
                self.under_way.fields += 1;
                self.put(value);
            }
            Some((_, name)) => {
                let name = name.clone();
                self.stray(&name, value);
            }
            None => {}
        }
    }

    /// Adds a field to the point.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: FieldValue<'_>) {
        match self.expected() {
            Some((kind, expected)) if *kind == value.kind() && **expected == *name => {
                self.under_way.fields += 1;
                self.put(value);
            }
            _ => self.stray(name, value),
        }
    }

    /// Adds a field that was not expected.
    fn stray(&mut self, name: &[u8], value: FieldValue<'_>) {
        if !self.under_way.has_strayed {
            self.under_way.has_strayed = true;
            self.tell_expected();
        }
        put_field(value.kind(), name, &mut self.strayed);
        self.under_way.fields += 1;
        self.put(value);
    }

    /// Tells the fields that were as expected.
    fn tell_expected(&mut self) {
        let Some(shape) = self.shapes.get(self.under_way.expected) else { return };
        for (kind, name) in shape.fields.iter().take(self.under_way.fields) {
            put_field(*kind, name, &mut self.strayed);
        }
    }

    #[inline]
    fn put(&mut self, value: FieldValue<'_>) {
        match value {
            FieldValue::Float(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Integer(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Unsigned(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            FieldValue::Text(text) => put_bytes(text.as_bytes(), &mut self.out),
            FieldValue::Boolean(value) => self.out.push(value.into()),
        }
    }

    /// Ends the point.
    #[inline]
    pub fn end(&mut self, time: i64) {
        let UnderWay { expected, fields, has_strayed, values_at, .. } = self.under_way;
        let shape = self.shapes.get(expected);
        if !has_strayed && shape.is_some_and(|shape| shape.fields.len() == fields) {
            self.out[values_at - TIME_BYTES..values_at].copy_from_slice(&time.to_le_bytes());
            self.last = expected;
        } else {
            self.end_strayed(time);
        }
        self.whole = self.out.len();
        self.points += 1;
    }

    /// Ends a point that is not of the shape that it was taken for.
    fn end_strayed(&mut self, time: i64) {
        if !self.under_way.has_strayed {
            self.tell_expected();
        }
        self.values.clear();
        self.values.extend_from_slice(&self.out[self.under_way.values_at..]);
        let mut number = self.numbers.get(&self.strayed).copied();
        if number.is_none() && self.take_last_values() {
            number = self.numbers.get(&self.strayed).copied();
        }
        self.out.truncate(self.under_way.shape_at);
        let told = number.unwrap_or(self.shapes.len());
        put_number(told as u64, &mut self.out);
        if number.is_none() {
            let fields: Vec<(FieldType, Box<[u8]>)> =
                fields_of(&self.strayed).map(|(kind, name)| (kind, name.into())).collect();
            put_number(fields.len() as u64, &mut self.out);
            self.out.extend_from_slice(&self.strayed);
            self.numbers.insert(self.strayed.clone(), told);
            self.shapes.push(Told { fields, next: told });
        }
        self.out.extend_from_slice(&time.to_le_bytes());
        self.out.extend_from_slice(&self.values);
        if let Some(last) = self.shapes.get_mut(self.last) {
            last.next = told;
        }
        self.last = told;
    }

    /// Keeps of fields of the same name the last alone. Returns whether there were any.
    fn take_last_values(&mut self) -> bool {
        let mut last: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (place, (_, name)) in fields_of(&self.strayed).enumerate() {
            last.insert(name, place);
        }
        if last.len() == fields_of(&self.strayed).count() {
            return false;
        }
        let (mut strayed, mut kept) = (Vec::new(), Vec::new());
        let mut values: PointValues<'_> = values_of(&self.values);
        for (place, (kind, name)) in fields_of(&self.strayed).enumerate() {
            let before = values.rest().len();
            let start = self.values.len() - before;
            values.next(kind);
            let end = self.values.len() - values.rest().len();
            if last.get(name) == Some(&place) {
                put_field(kind, name, &mut strayed);
                kept.extend_from_slice(&self.values[start..end]);
            }
        }
        (self.strayed, self.values) = (strayed, kept);
        true
    }

    /// How many points were written.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// How many fields the point under way has.
    pub fn fields(&self) -> u64 {
        self.under_way.fields as u64
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> usize {
        self.whole
    }

    /// All points, as bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.truncate(self.whole);
        self.out
    }
}

fn put_field(kind: FieldType, name: &[u8], out: &mut Vec<u8>) {
    out.push(kind as u8);
    put_bytes(name, out);
}

/// The fields that were told.
fn fields_of(told: &[u8]) -> impl Iterator<Item = (FieldType, &[u8])> {
    let mut reader = Reader::new(told);
    std::iter::from_fn(move || {
        let kind = FieldType::numbered(reader.byte().ok()?)?;
        Some((kind, reader.bytes().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::PointReader;

    /// Points as text, each with its shape.
    fn told(bytes: &[u8]) -> Vec<String> {
        let (mut reader, mut told) = (PointReader::new(bytes), Vec::new());
        while let Some(point) = reader.next().unwrap() {
            let mut values = PointValues::new(&point);
            let fields = reader.shapes()[point.shape].fields.iter();
            let fields: Vec<String> = fields
                .map(|(kind, name)| format!("{name}={:?}", values.next(*kind).unwrap()))
                .collect();
            told.push(format!("{} {} @{}", point.shape, fields.join(" "), point.time));
        }
        told
    }

    #[test]
    fn shapes_are_known_again_whatever_was_expected() {
        let mut writer = PointWriter::new();
        for round in 0..3 {
            for names in [&["a", "b"][..], &["a"], &["b", "a"], &["a", "b", "c"]] {
                writer.begin(1, b"m");
                for name in names {
                    if writer.expected_name() == Some(name.as_bytes()) {
                        writer.expected_field(FieldValue::Integer(round));
                    } else {
                        writer.field(name.as_bytes(), FieldValue::Integer(round));
                    }
                }
                assert_eq!(writer.fields(), names.len() as u64);
                writer.end(round);
            }
        }
        let of_round = |n: i64| {
            [
                format!("0 a=Integer({n}) b=Integer({n}) @{n}"),
                format!("1 a=Integer({n}) @{n}"),
                format!("2 b=Integer({n}) a=Integer({n}) @{n}"),
                format!("3 a=Integer({n}) b=Integer({n}) c=Integer({n}) @{n}"),
            ]
        };
        assert_eq!(told(&writer.finish()), [of_round(0), of_round(1), of_round(2)].concat());
    }

    #[test]
    fn types_are_part_of_a_shape_and_given_up_points_leave_nothing() {
        let mut writer = PointWriter::new();
        for value in [FieldValue::Integer(1), FieldValue::Float(2.0), FieldValue::Text("x")] {
            writer.begin(1, b"m");
            writer.field(b"a", value);
            writer.end(0);
            writer.begin(1, b"m");
            writer.field(b"b", value);
        }
        let told = told(&writer.finish());
        assert_eq!(told, ["0 a=Integer(1) @0", "1 a=Float(2.0) @0", "2 a=Text(\"x\") @0"]);
    }

    #[test]
    fn of_a_field_that_is_there_twice_the_last_counts() {
        let mut writer = PointWriter::new();
        for _ in 0..2 {
            writer.begin(1, b"m");
            writer.field(b"a", FieldValue::Text("long text"));
            writer.field(b"b", FieldValue::Boolean(true));
            writer.field(b"a", FieldValue::Float(2.0));
            writer.end(0);
        }
        writer.begin(1, b"m");
        writer.field(b"b", FieldValue::Boolean(false));
        writer.field(b"a", FieldValue::Float(3.0));
        writer.end(0);
        let expected = "0 b=Boolean(true) a=Float(2.0) @0";
        let last = "0 b=Boolean(false) a=Float(3.0) @0";
        assert_eq!(told(&writer.finish()), [expected, expected, last]);
    }
}
