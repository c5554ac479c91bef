//! Reads line protocol: points, a line each.
//!
//! ```text
//! measurement,tag=value,... field=value,... time
//! ```
//!
//! Measurement and tags are passed on as they stand: whoever keeps points knows most of them again by their bytes.
//! Fields of which the names were met in the line before cost one comparison, numbers are read as they are
//! found, and what is out of the ordinary takes a slower way (`number.rs`).
//!
//! 1. A line that is wrong costs that line alone, and is told with its number, column and reason.
//! 2. A line ends at a line end that no text encloses; so no part of a text is ever taken for a line.
//! 3. Every byte is looked at a bounded number of times.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2, memchr3};
use olivine_command::points::{FieldValue, PointWriter};

use super::number;

/// How lines are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// In which unit times are.
    pub precision: Precision,
    /// The time of points that have none, in nanoseconds since 1970.
    pub now: i64,
    /// The longest line.
    pub line_bytes_max: usize,
}

/// The unit of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Precision {
    /// How many nanoseconds it has; 0 if the size of each time tells it.
    pub nanos: i64,
}

impl Precision {
    /// Nanoseconds.
    pub const NANOSECONDS: Precision = Precision { nanos: 1 };
    /// Whatever the size of each time tells.
    pub const TOLD_BY_SIZE: Precision = Precision { nanos: 0 };

    /// What clients call it: n, ns, u, us, µ, ms, s, m or h; nothing said is nanoseconds.
    pub fn named(name: &str) -> Option<Precision> {
        let nanos = match name {
            "" | "n" | "ns" | "nanosecond" => 1,
            "u" | "us" | "µ" | "µs" | "microsecond" => 1_000,
            "ms" | "millisecond" => 1_000_000,
            "s" | "second" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        Some(Precision { nanos })
    }
}

/// What a body comes to.
#[derive(Debug, Default)]
pub struct Points {
    /// Its points, in pieces that are no larger than one command should be.
    pub points: Vec<PointWriter>,
    /// The first of its lines that are wrong.
    pub faults: Vec<Fault>,
    /// How many are wrong.
    pub wrong: u64,
}

/// A line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number, counted from 1.
    pub line: u64,
    /// At which of its bytes, counted from 1.
    pub column: usize,
    /// Where it stands in the body.
    pub place: Range<usize>,
    /// What is wrong, in the words of InfluxDB.
    pub why: Cow<'static, str>,
}

/// Bytes of points after which another piece is begun: a piece goes from process to process as one frame, before
/// which others wait.
const PIECE_BYTES: usize = 2 << 20;
/// Lines that are told of those that are wrong.
pub const FAULTS_MAX: usize = 100;
/// Fields of one point.
pub const POINT_FIELDS_MAX: u64 = 16_384;
/// Bytes of measurement and tags.
const KEY_BYTES_MAX: usize = 65_535;
/// Times that there are.
const TIMES: Range<i64> = i64::MIN + 2..i64::MAX;

/// A line is wrong; where and why was noted.
#[derive(Clone, Copy, Debug)]
struct Wrong;

/// Reads all lines of a body.
pub fn read(body: &[u8], reading: &Reading) -> Points {
    let (points, mut pieces) = (writer(body.len()), Vec::new());
    let fault = (0, Cow::Borrowed(""));
    let mut lines = Lines { body, at: 0, line: 1, reading, points, fault };
    let (mut faults, mut wrong) = (Vec::new(), 0);
    while lines.at < body.len() {
        let (start, line) = (lines.at, lines.line);
        if lines.read_line(start).is_ok() {
            if PIECE_BYTES <= lines.points.bytes() {
                let rest = body.len().saturating_sub(lines.at);
                pieces.push(std::mem::replace(&mut lines.points, writer(rest)));
            }
            continue;
        }
        wrong += 1;
        let (at, why) = std::mem::take(&mut lines.fault);
        let end = line_end(body, start);
        if faults.len() < FAULTS_MAX {
            let place = start..trimmed(body, start, end);
            let column = at.clamp(start, end) - start + 1;
            faults.push(Fault { line, column, place, why });
        }
        lines.line = line + count_lines(&body[start..end]);
        lines.pass_end(end);
    }
    if lines.points.points() != 0 {
        pieces.push(lines.points);
    }
    Points { points: pieces, faults, wrong }
}

/// One for so many bytes of lines. Each value takes 8 bytes, which few texts undercut by much.
fn writer(bytes: usize) -> PointWriter {
    PointWriter::with_capacity((bytes + bytes / 4 + 64).min(PIECE_BYTES + (PIECE_BYTES >> 4)))
}

/// The lines that have these numbers, which ascend, as they stand in the body.
pub fn lines_numbered<'a>(body: &'a [u8], numbers: &[u64]) -> Vec<&'a [u8]> {
    let (mut at, mut line, mut found) = (0, 1, Vec::with_capacity(numbers.len()));
    let mut wanted = numbers.iter().peekable();
    while let Some(number) = wanted.peek() {
        if body.len() <= at {
            break;
        }
        let end = line_end(body, at);
        if **number == line {
            found.push(&body[at..trimmed(body, at, end)]);
            wanted.next();
            continue;
        }
        line += 1 + count_lines(&body[at..end]);
        at = end + 1;
    }
    found.resize(numbers.len(), &[]);
    found
}

/// Whether a text is lines that are whole: the last one's end, which is not there, would not be one of a text.
pub fn is_whole(lines: &[u8]) -> bool {
    let mut at = 0;
    while at < lines.len() {
        let (end, is_text) = end_of(lines, at);
        if is_text {
            return false;
        }
        at = end + 1;
    }
    true
}

/// Where the line that begins at `start` ends: at its line end, or that of the body. Texts, which stand behind
/// an `=` in the fields, enclose line ends.
fn line_end(body: &[u8], start: usize) -> usize {
    end_of(body, start).0
}

/// Where a line ends, and whether that is within a text.
fn end_of(body: &[u8], start: usize) -> (usize, bool) {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let mut at = start + body[start..].iter().take_while(is_blank).count();
    if body.get(at) == Some(&b'#') {
        return (memchr(b'\n', &body[at..]).map_or(body.len(), |end| at + end), false);
    }
    // Up to the fields no quotes count.
    loop {
        let found = memchr3(b' ', b'\\', b'\n', &body[at..]);
        let Some(found) = found else { return (body.len(), false) };
        at += found;
        match body[at] {
            b'\n' => return (at, false),
            b' ' => break,
            _ => at = past_escaped(body, at),
        }
    }
    let (mut is_text, mut equals, mut commas) = (false, 0_usize, 0_usize);
    while let Some(byte) = body.get(at) {
        match byte {
            b'\n' if !is_text => return (at, false),
            b'\\' => {
                at = if is_text { at + 2 } else { past_escaped(body, at) };
                continue;
            }
            b'"' if is_text || commas < equals => is_text = !is_text,
            b'=' if !is_text => equals += 1,
            b',' if !is_text => commas += 1,
            _ => {}
        }
        at += 1;
    }
    (body.len(), is_text)
}

/// Behind a backslash and what it stands before; no line end is escaped.
fn past_escaped(body: &[u8], at: usize) -> usize {
    match body.get(at + 1) {
        None | Some(b'\n') => at + 1,
        Some(_) => at + 2,
    }
}

/// Where a line ends without the CR that belongs to its end.
fn trimmed(body: &[u8], start: usize, end: usize) -> usize {
    if start < end && body[end - 1] == b'\r' { end - 1 } else { end }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

struct Lines<'a, 'r> {
    body: &'a [u8],
    at: usize,
    /// The number of the line.
    line: u64,
    reading: &'r Reading,
    points: PointWriter,
    /// At which byte the line is wrong, and why.
    fault: (usize, Cow<'static, str>),
}

impl<'a> Lines<'a, '_> {
    /// The byte at a place; a line end behind the last.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.body.get(at).copied().unwrap_or(b'\n')
    }

    /// Notes that the line is wrong here.
    #[cold]
    fn wrong<T>(&mut self, at: usize, why: impl Into<Cow<'static, str>>) -> Result<T, Wrong> {
        self.fault = (at, why.into());
        Err(Wrong)
    }

    /// Goes on with the line behind the one that ends here.
    #[inline]
    fn pass_end(&mut self, end: usize) {
        self.at = end + 1;
        self.line += 1;
    }

    /// Whether a line ends here, perhaps by CR and LF. Returns where its LF is.
    #[inline]
    fn end_at(&self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b'\n' => Some(at),
            b'\r' if self.byte(at + 1) == b'\n' => Some(at + 1),
            _ => None,
        }
    }

    #[inline]
    fn past_blanks(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t') {
            at += 1;
        }
        at
    }

    /// Reads the line that begins here, and stands behind it then.
    fn read_line(&mut self, start: usize) -> Result<(), Wrong> {
        let first = self.past_blanks(start);
        if self.byte(first) == b'#' {
            self.pass_end(line_end(self.body, first));
            return Ok(());
        }
        if let Some(end) = self.end_at(first) {
            self.pass_end(end);
            return Ok(());
        }
        let key_end = self.key_end(first)?;
        let key = &self.body[first..key_end];
        if KEY_BYTES_MAX < key.len() {
            let why = format!("max key length exceeded: {} > {KEY_BYTES_MAX}", key.len());
            return self.wrong(key_end, why);
        }
        let number = self.line;
        self.points.begin(number, key);
        self.at = self.past_blanks(key_end);
        if self.end_at(self.at).is_some() {
            return self.wrong(self.at, "missing fields");
        }
        loop {
            self.field()?;
            if self.byte(self.at) != b',' {
                break;
            }
            self.at += 1;
            if POINT_FIELDS_MAX <= self.points.fields() {
                let why = format!("max fields of a point exceeded: > {POINT_FIELDS_MAX}");
                return self.wrong(self.at, why);
            }
        }
        let time = self.time()?;
        let Some(end) = self.end_at(self.at) else {
            return self.wrong(self.at, "point is invalid");
        };
        if self.reading.line_bytes_max < end - start {
            let most = self.reading.line_bytes_max;
            let why = format!("max line length exceeded: {} > {most}", end - start);
            return self.wrong(start + most, why);
        }
        if self.points.fields() == 0 {
            return self.wrong(first, only_time(&self.body[first..key_end]));
        }
        self.points.end(time);
        self.pass_end(end);
        Ok(())
    }

    /// Where measurement and tags end.
    #[inline]
    fn key_end(&mut self, start: usize) -> Result<usize, Wrong> {
        let mut at = start;
        loop {
            let found = self.body.get(at..).and_then(|rest| memchr3(b' ', b'\\', b'\n', rest));
            let place = found.map_or(self.body.len(), |found| at + found);
            match self.byte(place) {
                b' ' => return Ok(place),
                b'\\' => at = past_escaped(self.body, place),
                _ => return self.wrong(place, "missing fields"),
            }
        }
    }

    /// Reads a field, and stands at what is behind it then: a comma, a blank or the line's end.
    #[inline]
    fn field(&mut self) -> Result<(), Wrong> {
        let rest = &self.body[self.at..];
        if let Some(name) = self.points.expected_name()
            && begins_with_name(rest, name)
        {
            self.at += name.len() + 1;
            let value = self.value()?;
            match value.as_field() {
                Some(value) => self.points.expected_field(value),
                None => self.points.expected_field(FieldValue::Text(&value.unescaped())),
            }
            return Ok(());
        }
        self.other_field()
    }

    /// Reads a field that the line before had not.
    fn other_field(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        let mut at = start;
        let mut is_escaped = false;
        loop {
            match self.byte(at) {
                b'=' => break,
                b'\\' => {
                    is_escaped = true;
                    at = past_escaped(self.body, at);
                }
                b',' | b' ' | b'\n' => return self.wrong(at, "invalid field format"),
                _ => at += 1,
            }
        }
        if at == start {
            return self.wrong(at, "missing field key");
        }
        let name = &self.body[start..at];
        if str::from_utf8(name).is_err() {
            return self.wrong(start, "invalid UTF-8 in field key");
        }
        let name = if is_escaped { unescaped(name, b",= ") } else { Cow::Borrowed(name) };
        self.at = at + 1;
        let value = self.value()?;
        // As InfluxDB has it: there is a column of this name already.
        if *name != *b"time" {
            match value.as_field() {
                Some(value) => self.points.field(&name, value),
                None => self.points.field(&name, FieldValue::Text(&value.unescaped())),
            }
        }
        Ok(())
    }

    /// Reads a value.
    #[inline]
    fn value(&mut self) -> Result<Value<'a>, Wrong> {
        let start = self.at;
        let value = match self.byte(start) {
            b'0'..=b'9' | b'-' | b'.' => self.number(start)?,
            b'"' => self.text(start)?,
            b',' | b' ' | b'\n' | b'\r' => return self.wrong(start, "missing field value"),
            b'N' | b'n' => return self.wrong(start, "invalid number"),
            _ => self.boolean(start)?,
        };
        if self.is_value_end(self.at) {
            return Ok(value);
        }
        self.wrong(self.at, "invalid field format")
    }

    /// Whether a value may end here.
    #[inline]
    fn is_value_end(&self, at: usize) -> bool {
        matches!(self.byte(at), b',' | b' ' | b'\n') || self.end_at(at).is_some()
    }

    /// Reads a number: those that most are here, the others elsewhere.
    #[inline]
    fn number(&mut self, start: usize) -> Result<Value<'a>, Wrong> {
        let is_negative = self.byte(start) == b'-';
        let digits = start + usize::from(is_negative);
        let (mantissa, mut at) = number::digits(self.body, digits, 0);
        let whole = at - digits;
        let sign = |number: u64| {
            let number = number.cast_signed();
            if is_negative { -number } else { number }
        };
        // So many digits fit whatever they are.
        if (1..=18).contains(&whole) && self.is_value_end(at + 1) {
            match self.byte(at) {
                b'i' => {
                    self.at = at + 1;
                    return Ok(Value::Integer(sign(mantissa)));
                }
                b'u' if !is_negative => {
                    self.at = at + 1;
                    return Ok(Value::Unsigned(mantissa));
                }
                _ => {}
            }
        }
        let (mut decimals, mut all) = (0, mantissa);
        if self.byte(at) == b'.' {
            let point = at + 1;
            (all, at) = number::digits(self.body, point, mantissa);
            decimals = at - point;
        }
        if whole + decimals == 0 || !self.is_value_end(at) {
            return self.other_number(start);
        }
        // So many digits are no more than 64 bits.
        let short =
            if whole + decimals <= 19 { number::short_decimal(all, decimals) } else { None };
        match short.map(|number| if is_negative { -number } else { number }) {
            Some(number) => {
                self.at = at;
                Ok(Value::Float(number))
            }
            None => self.decimal(start, at),
        }
    }

    /// Reads a decimal of many digits.
    fn decimal(&mut self, start: usize, end: usize) -> Result<Value<'a>, Wrong> {
        match number::decimal(&self.body[start..end]) {
            Some(number) => {
                self.at = end;
                Ok(Value::Float(number))
            }
            None => self.other_number(start),
        }
    }

    #[cold]
    fn other_number(&mut self, start: usize) -> Result<Value<'a>, Wrong> {
        let end = self.token_end(start);
        match number::read(&self.body[start..end]) {
            Ok(value) => {
                self.at = end;
                Ok(value)
            }
            Err(why) => self.wrong(start, why),
        }
    }

    /// Where a value that is no text ends.
    fn token_end(&self, start: usize) -> usize {
        let rest = &self.body[start..];
        let end = memchr3(b',', b' ', b'\n', rest).map_or(self.body.len(), |end| start + end);
        if self.byte(end) == b'\n' { trimmed(self.body, start, end) } else { end }
    }

    fn boolean(&mut self, start: usize) -> Result<Value<'a>, Wrong> {
        let end = self.token_end(start);
        let value = match &self.body[start..end] {
            b"t" | b"T" | b"true" | b"True" | b"TRUE" => true,
            b"f" | b"F" | b"false" | b"False" | b"FALSE" => false,
            _ => return self.wrong(start, "invalid boolean"),
        };
        self.at = end;
        Ok(Value::Boolean(value))
    }

    /// Reads a text.
    fn text(&mut self, start: usize) -> Result<Value<'a>, Wrong> {
        let first = start + 1;
        let (mut at, mut is_escaped) = (first, false);
        loop {
            let rest = self.body.get(at..).unwrap_or_default();
            let Some(found) = memchr2(b'"', b'\\', rest) else {
                return self.wrong(start, "unbalanced quotes");
            };
            at += found;
            if self.body[at] == b'"' {
                break;
            }
            is_escaped = true;
            at += 2;
        }
        let text = &self.body[first..at];
        let text = match str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return self.wrong(first + error.valid_up_to(), "invalid UTF-8"),
        };
        self.line += count_lines(text.as_bytes());
        self.at = at + 1;
        Ok(if is_escaped { Value::Escaped(text) } else { Value::Text(text) })
    }

    /// Reads the time, if there is one, and stands behind it and the blanks there.
    #[inline]
    fn time(&mut self) -> Result<i64, Wrong> {
        let start = self.past_blanks(self.at);
        self.at = start;
        let unit = self.reading.precision.nanos;
        if self.end_at(start).is_some() {
            let now = self.reading.now;
            return Ok(now - now.rem_euclid(unit.max(1)));
        }
        let is_negative = self.byte(start) == b'-';
        let digits = start + usize::from(is_negative);
        let (number, at) = number::digits(self.body, digits, 0);
        self.at = self.past_blanks(at);
        let count = at - digits;
        if count == 0 || !(matches!(self.byte(at), b' ' | b'\t') || self.end_at(at).is_some()) {
            return self.wrong(at, "bad timestamp");
        }
        // 19 digits are no more than 64 bits.
        let number = if count <= 19 { i64::try_from(number).ok() } else { None };
        let number = number.map(|number| if is_negative { -number } else { number });
        let time = number.and_then(|number| {
            number.checked_mul(if unit == 0 { unit_by_size(number) } else { unit })
        });
        match time {
            Some(time) if TIMES.contains(&time) => Ok(time),
            _ => {
                let why = format!("time outside range {} - {}", TIMES.start, TIMES.end - 1);
                self.wrong(start, why)
            }
        }
    }
}

/// The unit of a time of which nobody says it, by its size: as InfluxDB 3 has it, seconds up to the year 2128, and the
/// others as far.
fn unit_by_size(time: i64) -> i64 {
    match time.unsigned_abs() {
        0..5_000_000_000 => 1_000_000_000,
        5_000_000_000..5_000_000_000_000 => 1_000_000,
        5_000_000_000_000..5_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// Whether a field begins with this name and the `=` behind it.
#[inline]
fn begins_with_name(field: &[u8], name: &[u8]) -> bool {
    let Some((start, rest)) = field.split_at_checked(name.len()) else { return false };
    if rest.first() != Some(&b'=') {
        return false;
    }
    // Most names are short, and two words that may overlap are sooner compared than a function is called.
    let words = |bytes: &[u8]| {
        let (first, last) = (bytes.first_chunk::<8>()?, bytes.last_chunk::<8>()?);
        Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last)))
    };
    match (words(start), words(name)) {
        (Some(start), Some(words)) if name.len() <= 16 => start == words,
        _ => start == name,
    }
}

/// Why a point without fields but `time` is wrong.
fn only_time(key: &[u8]) -> Cow<'static, str> {
    let measurement = key.split(|byte| *byte == b',').next().unwrap_or_default();
    let measurement = String::from_utf8_lossy(measurement);
    format!("invalid field name: input field \"time\" on measurement \"{measurement}\" is invalid")
        .into()
}

/// A value that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(&'a str),
    /// A text with backslashes in it.
    Escaped(&'a str),
}

impl<'a> Value<'a> {
    /// What is written of it; nothing if that must be made first.
    #[inline]
    fn as_field(self) -> Option<FieldValue<'a>> {
        Some(match self {
            Value::Float(value) => FieldValue::Float(value),
            Value::Integer(value) => FieldValue::Integer(value),
            Value::Unsigned(value) => FieldValue::Unsigned(value),
            Value::Boolean(value) => FieldValue::Boolean(value),
            Value::Text(value) => FieldValue::Text(value),
            Value::Escaped(_) => return None,
        })
    }

    /// A text without the backslashes before quotes and other backslashes.
    fn unescaped(self) -> String {
        let Value::Escaped(text) = self else { return String::new() };
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let next = chars.next_if(|next| char == '\\' && matches!(next, '"' | '\\'));
            out.push(next.unwrap_or(char));
        }
        out
    }
}

/// Takes backslashes away where they stand before one of some bytes.
fn unescaped<'a>(name: &'a [u8], escaped: &[u8]) -> Cow<'a, [u8]> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next = bytes.next_if(|next| byte == b'\\' && escaped.contains(next));
        out.push(next.unwrap_or(byte));
    }
    Cow::Owned(out)
}
