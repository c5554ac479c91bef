//! A chunk: the rows of one series over a stretch of time, column by column.
//!
//! A directory stands first and says where each column lies, in which form, and what its values come to, so that
//! a reader decodes the columns it wants and often none at all. Byte layout: `docs/format/series.md`.
//!
//! Modules in reading order: `bytes` reads what nobody vouches for; `times` writes times; `numbers` picks among
//! the ways to write numbers, which are `run`, `decimal` and `pco`; `bits` writes booleans and which rows have a
//! value, `text` texts; `summary` is what values come to.
//!
//! 1. Values come back bit for bit.
//! 2. Bytes that are not a chunk are [`Damage`], never a panic, and never make a reader take more memory than
//!    [`ROWS_MAX`] values and [`TEXT_BYTES_MAX`] bytes of text a column.
//! 3. A column is decoded only after its checksum matched.

mod bits;
mod bytes;
mod decimal;
pub mod fuzzing;
mod numbers;
mod pco;
mod run;
mod summary;
mod text;
mod times;

#[cfg(test)]
mod tests;

pub use summary::Summary;
pub use text::TEXT_BYTES_MAX;
pub use times::Times;

use bytes::{Bytes, push_varint};
use olivine_query::source::{Column, FieldType, Values};
use std::{fmt, ops::Range};
use summary::{Dense, Frame};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// How many rows a chunk has at most.
pub const ROWS_MAX: usize = 65_535;

/// The first byte of a chunk.
const VERSION: u8 = 2;
/// That of chunks in which nothing is packed in pages, and that are the same otherwise.
const VERSION_WITHOUT_PAGES: u8 = 1;
/// Into how many rows the columns of large chunks are cut, each of which is read for itself.
pub const PAGE_ROWS: usize = pco::PAGE_VALUES;
/// Version, rows, columns, bytes of the directory, checksum.
const HEAD_BYTES: usize = 13;
/// How much of the head the checksum covers.
const HEAD_CHECKED_BYTES: usize = 9;

/// Whether there is a summary.
const SUMMARY: u8 = 0b1000_0000;
/// Whether a bitmap says which rows have a value.
const SPARSE: u8 = 0b0100_0000;
/// The type of a column's values.
const KIND: u8 = 0b0000_0111;

/// How much work goes into making a chunk small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Rows that will be written again soon.
    Hot,
    /// Rows that will stay.
    Cold,
}

/// Bytes that are not a chunk, or not all of it; says what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub &'static str);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damage {}

/// Rows that do not fit into one chunk; says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

/// The chunk of these rows: times that ascend, and columns of as many values, each with the number of its field.
/// Columns without values are left out.
pub fn encode(times: &[i64], columns: &[(u32, &Column)], effort: Effort) -> Result<Vec<u8>, Unfit> {
    if times.is_empty() || ROWS_MAX < times.len() {
        return Err(Unfit("a chunk has from 1 to 65535 rows"));
    }
    if !times.is_sorted_by(|one, next| one < next) {
        return Err(Unfit("the times of a chunk ascend"));
    }
    let mut columns: Vec<_> = columns.to_vec();
    columns.sort_unstable_by_key(|(field, _)| *field);
    if !columns.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(Unfit("a chunk has one column of a field"));
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    let span = last.wrapping_sub(first) as u64;
    let frame = Frame { first, span, grain: times::grain(times) };
    let mut bodies = Vec::new();
    times::encode(times, frame.grain, effort, &mut bodies);
    let mut out = vec![0; HEAD_BYTES];
    out.extend(first.to_le_bytes());
    push_varint(&mut out, span);
    push_varint(&mut out, frame.grain);
    push_varint(&mut out, bodies.len() as u64);
    out.extend(checksum(&bodies).to_le_bytes());
    let (mut written, mut next) = (0u16, 0);
    for (field, column) in columns {
        let mut writer = Writer { times, frame, effort, out: &mut out, bodies: &mut bodies };
        if writer.push(field - next, column)? {
            next = field.wrapping_add(1);
            let more = written.checked_add(1);
            written = more.ok_or(Unfit("a chunk has at most 65535 columns"))?;
        }
    }
    let directory = (out.len() - HEAD_BYTES) as u32;
    out[0] = VERSION;
    out[1..3].copy_from_slice(&(times.len() as u16).to_le_bytes());
    out[3..5].copy_from_slice(&written.to_le_bytes());
    out[5..9].copy_from_slice(&directory.to_le_bytes());
    let sum = directory_checksum(&out[..HEAD_CHECKED_BYTES], &out[HEAD_BYTES..]);
    out[HEAD_CHECKED_BYTES..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    out.append(&mut bodies);
    Ok(out)
}

/// Writes columns.
struct Writer<'a> {
    times: &'a [i64],
    frame: Frame,
    effort: Effort,
    /// The directory.
    out: &'a mut Vec<u8>,
    bodies: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Appends a column, if it has values.
    fn push(&mut self, field_step: u32, column: &Column) -> Result<bool, Unfit> {
        let rows = self.times.len();
        let length = match &column.values {
            Values::None => return Ok(false),
            Values::Float(values) => values.len(),
            Values::Integer(values) => values.len(),
            Values::Unsigned(values) => values.len(),
            Values::Text(values) => values.len(),
            Values::Boolean(values) => values.len(),
        };
        let words = bits::words(rows);
        if length != rows || column.present.as_ref().is_some_and(|bits| bits.len() < words) {
            return Err(Unfit("a column of a chunk has a value for each row"));
        }
        let present: Option<Vec<u64>> = match &column.present {
            Some(set) if bits::count_set(set, rows) < rows => {
                let mut set = set[..words].to_vec();
                if !rows.is_multiple_of(64) {
                    set[words - 1] &= u64::MAX >> (64 - rows % 64);
                }
                Some(set)
            }
            _ => None,
        };
        let at: Option<Vec<usize>> =
            present.as_ref().map(|set| (0..rows).filter(|row| bits::is_set(set, *row)).collect());
        if at.as_ref().is_some_and(Vec::is_empty) {
            return Ok(false);
        }
        let start = self.bodies.len();
        if let Some(set) = &present {
            bits::encode(set, rows, self.bodies);
        }
        let presence = self.bodies.len() - start;
        let (kind, codec, summary) = self.push_values(&column.values, at.as_deref())?;
        push_varint(self.out, u64::from(field_step));
        let sparse = if present.is_some() { SPARSE } else { 0 };
        let summarized = if summary.is_some() { SUMMARY } else { 0 };
        self.out.push(kind as u8 | sparse | summarized);
        self.out.push(codec);
        if let Some(at) = &at {
            push_varint(self.out, at.len() as u64);
            push_varint(self.out, presence as u64);
        }
        push_varint(self.out, (self.bodies.len() - start - presence) as u64);
        self.out.extend(checksum(&self.bodies[start..]).to_le_bytes());
        if let Some(summary) = summary {
            summary::push(&summary, self.frame, self.out);
        }
        Ok(true)
    }

    /// Appends the values of the rows that have one.
    fn push_values(
        &mut self,
        values: &Values,
        at: Option<&[usize]>,
    ) -> Result<(FieldType, u8, Option<olivine_query::source::FieldSummary>), Unfit> {
        let (times, effort) = (self.times, self.effort);
        let time = |index: usize| times[at.map_or(index, |at| at[index])];
        let count = at.map_or(times.len(), <[usize]>::len);
        let bodies = &mut *self.bodies;
        Ok(match values {
            Values::None => (FieldType::Boolean, 0, None),
            Values::Float(values) => {
                let values = dense(values, at);
                let codec = numbers::encode(&values, effort, bodies);
                (FieldType::Float, codec, summary::summarize(Dense::Float(&values), time))
            }
            Values::Integer(values) => {
                let values = dense(values, at);
                let codec = numbers::encode(&values, effort, bodies);
                (FieldType::Integer, codec, summary::summarize(Dense::Integer(&values), time))
            }
            Values::Unsigned(values) => {
                let values = dense(values, at);
                let codec = numbers::encode(&values, effort, bodies);
                (FieldType::Unsigned, codec, summary::summarize(Dense::Unsigned(&values), time))
            }
            Values::Text(values) => {
                let texts: Vec<&str> = match at {
                    Some(at) => at.iter().map(|row| &*values[*row]).collect(),
                    None => values.iter().map(|text| &**text).collect(),
                };
                text::encode(&texts, effort, bodies)?;
                (FieldType::Text, 0, summary::summarize(Dense::Counted(count), time))
            }
            Values::Boolean(values) => {
                let values = dense(values, at);
                let set = bits::pack(values.iter().copied(), count);
                bits::encode(&set, count, bodies);
                (FieldType::Boolean, 0, summary::summarize(Dense::Counted(count), time))
            }
        })
    }
}

/// The values of these rows.
fn dense<'a, T: Copy>(values: &'a [T], at: Option<&[usize]>) -> std::borrow::Cow<'a, [T]> {
    match at {
        None => values.into(),
        Some(at) => at.iter().map(|row| values[*row]).collect::<Vec<T>>().into(),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

fn directory_checksum(head: &[u8], directory: &[u8]) -> u32 {
    let mut hash = Xxh3Default::new();
    hash.update(head);
    hash.update(directory);
    hash.digest() as u32
}

/// A field of a chunk.
#[derive(Clone, Debug)]
struct Entry<'a> {
    field: u32,
    kind: FieldType,
    codec: u8,
    /// How many rows have a value.
    count: usize,
    /// Which rows have one, where not all do.
    presence: Option<&'a [u8]>,
    values: &'a [u8],
    /// Presence and values.
    body: &'a [u8],
    checksum: u32,
    summary: Summary,
}

/// A chunk whose directory was read.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    rows: usize,
    frame: Frame,
    last: i64,
    times: &'a [u8],
    times_checksum: u32,
    entries: Vec<Entry<'a>>,
}

impl<'a> Chunk<'a> {
    /// The chunk that these bytes are.
    pub fn parse(bytes: &'a [u8]) -> Result<Chunk<'a>, Damage> {
        Chunk::parse_if(bytes, |found, right| found == right)
    }

    /// The same, if the checksum that is found and the right one are `alike`.
    fn parse_if(bytes: &'a [u8], alike: fn(u32, u32) -> bool) -> Result<Chunk<'a>, Damage> {
        let mut bytes = Bytes(bytes);
        let mut head = Bytes(bytes.take(HEAD_BYTES)?);
        let checked = &head.0[..HEAD_CHECKED_BYTES];
        if !matches!(head.byte()?, VERSION | VERSION_WITHOUT_PAGES) {
            return Err(Damage("a chunk has a version that this release does not know"));
        }
        let (rows, columns) = (usize::from(head.u16()?), head.u16()?);
        let directory = bytes.take(head.u32()? as usize)?;
        if !alike(head.u32()?, directory_checksum(checked, directory)) {
            return Err(Damage("the directory of a chunk does not match its checksum"));
        }
        if rows == 0 {
            return Err(Damage("a chunk has no rows"));
        }
        let mut directory = Bytes(directory);
        let first = directory.u64()?.cast_signed();
        let (span, grain) = (directory.varint()?, directory.varint()?);
        let last = i128::from(first) + i128::from(span);
        let last = i64::try_from(last).map_err(|_| Damage("a chunk ends after all times"))?;
        if grain == 0 || span < rows as u64 - 1 {
            return Err(Damage("the times of a chunk cannot be"));
        }
        let frame = Frame { first, span, grain };
        let length = directory.count(bytes.0.len())?;
        let times_checksum = directory.u32()?;
        let times = bytes.take(length)?;
        let mut reader = Reader { rows, frame, next: 0, directory, bodies: bytes };
        let mut entries = Vec::new();
        for _ in 0..columns {
            entries.push(reader.entry()?);
        }
        reader.directory.end()?;
        reader.bodies.end()?;
        Ok(Chunk { rows, frame, last, times, times_checksum, entries })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The time of the first row.
    pub fn first_time(&self) -> i64 {
        self.frame.first
    }

    /// The time of the last row.
    pub fn last_time(&self) -> i64 {
        self.last
    }

    /// The fields that have values, by number, ascending, and their types.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (u32, FieldType)> + '_ {
        self.entries.iter().map(|entry| (entry.field, entry.kind))
    }

    /// How many rows have a value of the field.
    pub fn count(&self, field: u32) -> usize {
        self.entry(field).map_or(0, |entry| entry.count)
    }

    /// What the values of a field come to.
    pub fn summary(&self, field: u32) -> &Summary {
        self.entry(field).map_or(&Summary::Absent, |entry| &entry.summary)
    }

    /// The times of the rows.
    pub fn times(&self) -> Result<Times, Damage> {
        if checksum(self.times) != self.times_checksum {
            return Err(Damage("the times of a chunk do not match their checksum"));
        }
        self.decode_times()
    }

    fn decode_times(&self) -> Result<Times, Damage> {
        let ends = [self.frame.first, self.last];
        times::decode(self.times, self.rows, ends, self.frame.grain)
    }

    /// Whether a stretch of rows of these fields costs about as much as it has rows, however many the chunk has.
    pub fn is_piecewise(&self, mut fields: impl Iterator<Item = u32>) -> bool {
        fields.all(|field| match self.entry(field) {
            None => true,
            Some(entry) => match entry.kind {
                FieldType::Text | FieldType::Boolean => false,
                _ => numbers::is_piecewise(entry.codec, entry.values),
            },
        })
    }

    /// Puts the column of a field into `out`; whether it has values.
    pub fn column(&self, field: u32, out: &mut Column) -> Result<bool, Damage> {
        self.column_of(field, 0..self.rows, out)
    }

    /// Puts some rows of the column of a field into `out`; whether any of them has a value.
    pub fn column_of(
        &self,
        field: u32,
        rows: Range<usize>,
        out: &mut Column,
    ) -> Result<bool, Damage> {
        let Some(entry) = self.entry(field) else {
            *out = Column::default();
            return Ok(false);
        };
        if checksum(entry.body) != entry.checksum {
            return Err(Damage("a column of a chunk does not match its checksum"));
        }
        self.decode_column(entry, rows, out)
    }

    fn decode_column(
        &self,
        entry: &Entry<'_>,
        rows: Range<usize>,
        out: &mut Column,
    ) -> Result<bool, Damage> {
        if self.rows < rows.end || rows.end < rows.start {
            return Err(Damage("a chunk has fewer rows than are asked for"));
        }
        let mut part = Part {
            codec: entry.codec,
            bytes: entry.values,
            count: entry.count,
            wanted: rows.clone(),
            present: None,
            rows: rows.len(),
        };
        if let Some(bytes) = entry.presence {
            let set = bits::decode(bytes, self.rows)?;
            if bits::count_set(&set, self.rows) != entry.count {
                return Err(Damage("a column of a chunk has another number of values"));
            }
            let before = bits::count_set(&set, rows.start);
            part.wanted = before..bits::count_set(&set, rows.end);
            part.present = (part.wanted.len() < rows.len()).then(|| bits::cut(&set, rows));
        }
        if part.wanted.is_empty() {
            *out = Column::default();
            return Ok(false);
        }
        match (entry.kind, &mut out.values) {
            (FieldType::Float, Values::Float(into)) => part.fill(into)?,
            (FieldType::Integer, Values::Integer(into)) => part.fill(into)?,
            (FieldType::Unsigned, Values::Unsigned(into)) => part.fill(into)?,
            (kind, values) => *values = part.fresh(kind)?,
        }
        out.present = part.present;
        Ok(true)
    }

    fn entry(&self, field: u32) -> Option<&Entry<'a>> {
        let at = self.entries.binary_search_by_key(&field, |entry| entry.field).ok()?;
        self.entries.get(at)
    }
}

/// Some rows of a column, and where their values are.
struct Part<'a> {
    codec: u8,
    bytes: &'a [u8],
    /// Values of the whole column.
    count: usize,
    /// Those of these rows.
    wanted: Range<usize>,
    /// Which of these rows have a value, where not all do.
    present: Option<Vec<u64>>,
    rows: usize,
}

impl Part<'_> {
    fn spread(&self) -> Option<(&[u64], usize)> {
        self.present.as_deref().map(|set| (set, self.rows))
    }

    /// Values into a vector of their own.
    fn fresh(&self, kind: FieldType) -> Result<Values, Damage> {
        fn filled<T: numbers::Value>(part: &Part<'_>) -> Result<Vec<T>, Damage> {
            let mut values = Vec::new();
            part.fill(&mut values)?;
            Ok(values)
        }
        Ok(match kind {
            FieldType::Float => Values::Float(filled(self)?),
            FieldType::Integer => Values::Integer(filled(self)?),
            FieldType::Unsigned => Values::Unsigned(filled(self)?),
            FieldType::Text | FieldType::Boolean if self.codec != 0 => {
                return Err(Damage(
                    "a column of a chunk has a form that this release does not know",
                ));
            }
            FieldType::Text => {
                let mut texts = text::decode(self.bytes, self.count)?;
                texts.truncate(self.wanted.end);
                texts.drain(..self.wanted.start);
                Values::Text(spread_out(texts, self.spread()))
            }
            FieldType::Boolean => {
                let set = bits::decode(self.bytes, self.count)?;
                let values = self.wanted.clone().map(|at| bits::is_set(&set, at)).collect();
                Values::Boolean(spread_out(values, self.spread()))
            }
        })
    }

    /// Puts numbers into `into`, each in its row.
    fn fill<T: numbers::Value>(&self, into: &mut Vec<T>) -> Result<(), Damage> {
        into.clear();
        numbers::decode(self.codec, self.bytes, self.count, self.wanted.clone(), into)?;
        if self.present.is_some() {
            *into = spread_out(std::mem::take(into), self.spread());
        }
        Ok(())
    }
}

/// The values, each in its row.
fn spread_out<T: Clone + Default>(values: Vec<T>, spread: Option<(&[u64], usize)>) -> Vec<T> {
    let Some((set, rows)) = spread else { return values };
    let mut out = vec![T::default(); rows];
    let places = out.iter_mut().enumerate().filter(|(row, _)| bits::is_set(set, *row));
    for ((_, place), value) in places.zip(values) {
        *place = value;
    }
    out
}

/// Reads a directory, column by column.
struct Reader<'a> {
    rows: usize,
    frame: Frame,
    /// The least number that the next field may have.
    next: u64,
    directory: Bytes<'a>,
    bodies: Bytes<'a>,
}

impl<'a> Reader<'a> {
    fn entry(&mut self) -> Result<Entry<'a>, Damage> {
        let from = &mut self.directory;
        let field = self.next.checked_add(from.varint()?).and_then(|field| field.try_into().ok());
        let field: u32 = field.ok_or(Damage("a field of a chunk has too great a number"))?;
        self.next = u64::from(field) + 1;
        let (head, codec) = (from.byte()?, from.byte()?);
        let kind =
            FieldType::numbered(head & KIND).filter(|_| head & !(SUMMARY | SPARSE | KIND) == 0);
        let kind = kind.ok_or(Damage("a column of a chunk has an unknown type"))?;
        let sparse = head & SPARSE != 0;
        let (count, presence) = if sparse {
            (from.count(self.rows - 1)?, Some(from.count(self.bodies.0.len())?))
        } else {
            (self.rows, None)
        };
        if count == 0 {
            return Err(Damage("a column of a chunk has no values"));
        }
        let values = from.count(self.bodies.0.len())?;
        let checksum = from.u32()?;
        let summary = if head & SUMMARY != 0 {
            Summary::Known(summary::take(from, kind, count, self.frame)?)
        } else {
            Summary::Unknown
        };
        let body = self.bodies.take(presence.unwrap_or(0) + values)?;
        let (presence, values) = match presence {
            None => (None, body),
            Some(length) => {
                let (presence, values) = body.split_at(length);
                (Some(presence), values)
            }
        };
        Ok(Entry { field, kind, codec, count, presence, values, body, checksum, summary })
    }
}
