//! Reads points, one after the other.

use super::{FieldType, FieldValue};
use crate::wire::{Malformed, Reader};

/// Which fields a point has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape<'a> {
    /// Type and name of each.
    pub fields: Vec<(FieldType, &'a str)>,
    /// How long its values are, where that is always the same.
    length: Option<usize>,
}

/// A point.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The line it stands in.
    pub line: u64,
    /// Measurement and tags, as the line begins with them.
    pub key: &'a [u8],
    /// The number of its shape.
    pub shape: usize,
    /// When.
    pub time: i64,
    /// The values of its fields, as they are encoded.
    pub values: &'a [u8],
}

/// Reads points, one after the other.
#[derive(Debug)]
pub struct PointReader<'a> {
    reader: Reader<'a>,
    shapes: Vec<Shape<'a>>,
}

/// A place between two points, to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    reader: Reader<'a>,
    shapes: usize,
}

impl<'a> PointReader<'a> {
    /// Reads what a [`PointWriter`](super::PointWriter) has written.
    pub fn new(bytes: &'a [u8]) -> PointReader<'a> {
        PointReader { reader: Reader::new(bytes), shapes: Vec::new() }
    }

    /// The shapes that were met so far, as numbered.
    pub fn shapes(&self) -> &[Shape<'a>] {
        &self.shapes
    }

    /// How many bytes were not read yet.
    pub fn left(&self) -> usize {
        self.reader.rest().len()
    }

    /// The place before the next point.
    pub fn mark(&self) -> Mark<'a> {
        Mark { reader: self.reader, shapes: self.shapes.len() }
    }

    /// Goes back to a place of the same points.
    pub fn go_back(&mut self, mark: Mark<'a>) {
        self.reader = mark.reader;
        self.shapes.truncate(mark.shapes);
    }

    /// The next point, nothing at the end.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not be asked for shapes")]
    pub fn next(&mut self) -> Result<Option<Point<'a>>, Malformed> {
        if self.reader.is_at_end() {
            return Ok(None);
        }
        let line = self.reader.number()?;
        let key = self.reader.bytes()?;
        let number = self.reader.number()?;
        let Some(shape) = usize::try_from(number).ok().filter(|n| *n <= self.shapes.len()) else {
            return self.reader.fault("there is no such shape");
        };
        if shape == self.shapes.len() {
            let told = read_shape(&mut self.reader)?;
            self.shapes.push(told);
        }
        let time = i64::from_le_bytes(self.reader.array()?);
        let values = match self.shapes[shape].length {
            Some(length) => self.reader.take(length)?,
            None => self.values(shape)?,
        };
        Ok(Some(Point { line, key, shape, time, values }))
    }

    /// The values of a point whose length must be found out; texts are looked at.
    fn values(&mut self, shape: usize) -> Result<&'a [u8], Malformed> {
        let start = self.reader.rest();
        for (kind, _) in &self.shapes[shape].fields {
            if *kind == FieldType::Text {
                if str::from_utf8(self.reader.bytes()?).is_err() {
                    return self.reader.fault("a text is not UTF-8");
                }
            } else {
                self.reader.take(width(*kind))?;
            }
        }
        Ok(&start[..start.len() - self.reader.rest().len()])
    }
}

fn read_shape<'a>(reader: &mut Reader<'a>) -> Result<Shape<'a>, Malformed> {
    let fields = reader.list(|reader| {
        let Some(kind) = FieldType::numbered(reader.byte()?) else {
            return reader.fault("there is no such type of fields");
        };
        match str::from_utf8(reader.bytes()?) {
            Ok(name) => Ok((kind, name)),
            Err(_) => reader.fault("the name of a field is not UTF-8"),
        }
    })?;
    if fields.is_empty() {
        return reader.fault("a point has no fields");
    }
    let has_text = fields.iter().any(|(kind, _)| *kind == FieldType::Text);
    let length = (!has_text).then(|| fields.iter().map(|(kind, _)| width(*kind)).sum());
    Ok(Shape { fields, length })
}

/// How many bytes a value takes, if it is no text.
fn width(kind: FieldType) -> usize {
    match kind {
        FieldType::Boolean => 1,
        _ => 8,
    }
}

/// The values that bytes are.
pub(super) fn values_of(bytes: &[u8]) -> PointValues<'_> {
    PointValues { bytes }
}

/// The values of a point, one after the other, told by the types of its shape.
#[derive(Debug)]
pub struct PointValues<'a> {
    bytes: &'a [u8],
}

impl<'a> PointValues<'a> {
    /// The values of a point that a [`PointReader`] has read.
    pub fn new(point: &Point<'a>) -> PointValues<'a> {
        PointValues { bytes: point.values }
    }

    /// What was not told yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next value, which is of this type. Nothing if there is none.
    pub fn next(&mut self, kind: FieldType) -> Option<FieldValue<'a>> {
        let mut word = || {
            let (word, rest) = self.bytes.split_first_chunk::<8>()?;
            self.bytes = rest;
            Some(*word)
        };
        Some(match kind {
            FieldType::Float => FieldValue::Float(f64::from_le_bytes(word()?)),
            FieldType::Integer => FieldValue::Integer(i64::from_le_bytes(word()?)),
            FieldType::Unsigned => FieldValue::Unsigned(u64::from_le_bytes(word()?)),
            FieldType::Boolean => {
                let (byte, rest) = self.bytes.split_first()?;
                self.bytes = rest;
                FieldValue::Boolean(*byte != 0)
            }
            FieldType::Text => {
                let mut reader = Reader::new(self.bytes);
                let text = str::from_utf8(reader.bytes().ok()?).ok()?;
                self.bytes = reader.rest();
                FieldValue::Text(text)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::PointWriter;

    #[test]
    fn what_was_written_is_read() {
        let mut writer = PointWriter::new();
        writer.begin(1, b"cpu,a=1");
        writer.field(b"x", FieldValue::Float(-0.0));
        writer.field(b"s", FieldValue::Text("te\u{301}xt"));
        writer.end(-5);
        writer.begin(3, b"cpu");
        writer.field(b"b", FieldValue::Boolean(true));
        writer.field(b"u", FieldValue::Unsigned(u64::MAX));
        writer.field(b"i", FieldValue::Integer(i64::MIN));
        writer.end(i64::MAX);
        writer.begin(4, b"given up");
        writer.begin(5, b"cpu,a=2");
        writer.field(b"x", FieldValue::Float(1.5));
        writer.field(b"s", FieldValue::Text(""));
        writer.end(7);
        assert_eq!(writer.points(), 3);
        let bytes = writer.finish();
        let mut reader = PointReader::new(&bytes);
        let mut told = Vec::new();
        while let Some(point) = reader.next().unwrap() {
            let mut values = PointValues::new(&point);
            let fields = &reader.shapes()[point.shape].fields;
            let values: Vec<_> =
                fields.iter().map(|(kind, name)| (*name, values.next(*kind))).collect();
            let key = str::from_utf8(point.key).unwrap();
            told.push(format!("{} {key} {} {} {values:?}", point.line, point.shape, point.time));
        }
        assert_eq!(
            told,
            [
                r#"1 cpu,a=1 0 -5 [("x", Some(Float(-0.0))), ("s", Some(Text("te\u{301}xt")))]"#,
                "3 cpu 1 9223372036854775807 [(\"b\", Some(Boolean(true))), \
                 (\"u\", Some(Unsigned(18446744073709551615))), (\"i\", Some(Integer(-9223372036854775808)))]",
                r#"5 cpu,a=2 0 7 [("x", Some(Float(1.5))), ("s", Some(Text("")))]"#,
            ]
        );
        for cut in 1..bytes.len() {
            let mut reader = PointReader::new(&bytes[..cut]);
            let mut count = 0;
            while let Ok(Some(_)) = reader.next() {
                count += 1;
            }
            assert!(count < 3, "cut at {cut}");
        }
    }
}
