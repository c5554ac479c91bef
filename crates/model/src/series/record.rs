//! The record that a request of points leaves in the log. To the byte: `docs/format/series.md`.
//!
//! ```text
//! record   version (1) · bucket (4) · row …
//! row      0 · layout                                 what the rows behind have, until another is told
//!          1 · series (signed) · time (signed) · values    both as differences to the row before
//! layout   table · how many · each: field · type (1)
//! value    float 8 · integer (signed) · unsigned · boolean 1 · text: length · bytes
//! ```
//!
//! Numbers are LEB128, signed ones zigzag. Words are as in a head.
//!
//! 1. Rows are read back as they were written; anything else is damage and never a panic.

use olivine_command::points::FieldType;

use super::head::Layout;

/// The version that records begin with.
const VERSION: u8 = 1;

/// Writes a record.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    pub(crate) out: Vec<u8>,
    layout: Option<u32>,
    series: u32,
    time: i64,
}

impl RecordWriter {
    pub(crate) fn new(bucket: u32) -> RecordWriter {
        let mut out = vec![VERSION];
        out.extend_from_slice(&bucket.to_le_bytes());
        RecordWriter { out, layout: None, series: 0, time: 0 }
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(
        &mut self,
        (number, layout): (u32, &Layout),
        series: u32,
        time: i64,
        values: &[u64],
        texts: &[Box<str>],
    ) {
        if self.layout != Some(number) {
            self.layout = Some(number);
            self.out.push(0);
            put(layout.table.into(), &mut self.out);
            put(layout.fields.len() as u64, &mut self.out);
            for (field, kind) in &layout.fields {
                put((*field).into(), &mut self.out);
                self.out.push(*kind as u8);
            }
        }
        self.out.push(1);
        put(zigzag(i64::from(series) - i64::from(self.series)), &mut self.out);
        put(zigzag(time.wrapping_sub(self.time)), &mut self.out);
        (self.series, self.time) = (series, time);
        for ((_, kind), word) in layout.fields.iter().zip(values) {
            match kind {
                FieldType::Float => self.out.extend_from_slice(&word.to_le_bytes()),
                FieldType::Integer => put(zigzag(word.cast_signed()), &mut self.out),
                FieldType::Unsigned => put(*word, &mut self.out),
                FieldType::Boolean => self.out.push(*word as u8),
                FieldType::Text => {
                    let text = texts[*word as usize].as_bytes();
                    put(text.len() as u64, &mut self.out);
                    self.out.extend_from_slice(text);
                }
            }
        }
    }
}

/// Reads a record.
#[derive(Debug)]
pub(crate) struct RecordReader<'a> {
    bytes: &'a [u8],
    /// The bucket it is of.
    pub(crate) bucket: u32,
    /// What the rows behind have.
    pub(crate) layout: Option<Layout>,
    /// How many layouts were met.
    pub(crate) layouts: usize,
    /// The series of the row that was read last.
    pub(crate) series: u32,
    /// Its time.
    pub(crate) time: i64,
    /// Its values.
    pub(crate) values: Vec<u64>,
    /// What words of texts mean.
    pub(crate) texts: Vec<Box<str>>,
}

/// A record is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord;

impl<'a> RecordReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<RecordReader<'a>, BadRecord> {
        let Some((&[VERSION, a, b, c, d], bytes)) = bytes.split_first_chunk() else {
            return Err(BadRecord);
        };
        let bucket = u32::from_le_bytes([a, b, c, d]);
        let (values, texts) = (Vec::new(), Vec::new());
        Ok(RecordReader {
            bytes,
            bucket,
            layout: None,
            layouts: 0,
            series: 0,
            time: 0,
            values,
            texts,
        })
    }

    /// Reads the next row; false at the end.
    pub(crate) fn next(&mut self) -> Result<bool, BadRecord> {
        loop {
            match self.bytes.split_first() {
                None => return Ok(false),
                Some((0, rest)) => {
                    self.bytes = rest;
                    self.read_layout().ok_or(BadRecord)?;
                }
                Some((1, rest)) => {
                    self.bytes = rest;
                    self.read_row().ok_or(BadRecord)?;
                    return Ok(true);
                }
                Some(_) => return Err(BadRecord),
            }
        }
    }

    fn read_layout(&mut self) -> Option<()> {
        let table = u32::try_from(self.number()?).ok()?;
        let count = self.number()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let field = u32::try_from(self.number()?).ok()?;
            fields.push((field, FieldType::numbered(self.byte()?)?));
        }
        self.layout = Some(Layout::new(table, fields));
        self.layouts += 1;
        Some(())
    }

    fn read_row(&mut self) -> Option<()> {
        let series = i64::from(self.series).checked_add(unzigzag(self.number()?))?;
        self.series = u32::try_from(series).ok()?;
        self.time = self.time.wrapping_add(unzigzag(self.number()?));
        self.values.clear();
        self.texts.clear();
        let layout = self.layout.take()?;
        let outcome = self.read_values(&layout);
        self.layout = Some(layout);
        outcome
    }

    fn read_values(&mut self, layout: &Layout) -> Option<()> {
        for (_, kind) in &layout.fields {
            let word = match kind {
                FieldType::Float => {
                    let (word, rest) = self.bytes.split_first_chunk()?;
                    self.bytes = rest;
                    u64::from_le_bytes(*word)
                }
                FieldType::Integer => unzigzag(self.number()?) as u64,
                FieldType::Unsigned => self.number()?,
                FieldType::Boolean => self.byte()?.into(),
                FieldType::Text => {
                    let length = usize::try_from(self.number()?).ok()?;
                    let (text, rest) = self.bytes.split_at_checked(length)?;
                    self.bytes = rest;
                    self.texts.push(str::from_utf8(text).ok()?.into());
                    self.texts.len() as u64 - 1
                }
            };
            self.values.push(word);
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[inline]
fn put(mut number: u64, out: &mut Vec<u8>) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let layouts = [
            Layout::new(
                3,
                vec![(0, FieldType::Integer), (5, FieldType::Text), (6, FieldType::Float)],
            ),
            Layout::new(4, vec![(0, FieldType::Boolean), (1, FieldType::Unsigned)]),
        ];
        let texts: Vec<Box<str>> = vec!["".into(), "tém".into()];
        let rows: [(u32, u32, i64, Vec<u64>); 4] = [
            (0, 7, i64::MIN, vec![-5_i64 as u64, 1, 0x7ff8_dead_beef_0001]),
            (0, 2, i64::MAX, vec![i64::MIN as u64, 0, 0]),
            (1, u32::MAX, 0, vec![1, u64::MAX]),
            (0, 0, -1, vec![0, 1, 1]),
        ];
        let mut writer = RecordWriter::new(9);
        for (layout, series, time, values) in &rows {
            writer.push((*layout, &layouts[*layout as usize]), *series, *time, values, &texts);
        }
        let bytes = writer.out;
        let mut reader = RecordReader::new(&bytes).unwrap();
        assert_eq!(reader.bucket, 9);
        for (layout, series, time, values) in &rows {
            assert_eq!(reader.next(), Ok(true));
            let read = reader.layout.as_ref().unwrap();
            assert_eq!(
                (read, reader.series, reader.time),
                (&layouts[*layout as usize], *series, *time)
            );
            for (((_, kind), read), written) in read.fields.iter().zip(&reader.values).zip(values) {
                if *kind == FieldType::Text {
                    assert_eq!(reader.texts[*read as usize], texts[*written as usize]);
                } else {
                    assert_eq!(read, written);
                }
            }
        }
        assert_eq!(reader.next(), Ok(false));
        for cut in 0..bytes.len() {
            let Ok(mut reader) = RecordReader::new(&bytes[..cut]) else { continue };
            let mut count = 0;
            while let Ok(true) = reader.next() {
                count += 1;
            }
            assert!(count < 4, "cut at {cut}");
        }
    }
}
