//! Lines as another reader has them: `influxdb-line-protocol`, which InfluxDB 2 and 3 came from.
//!
//! We differ on purpose where InfluxDB 1 does: it takes `1.` and `.5` for numbers, ends a line within a tag at a line end
//! even behind a backslash, and lets a field that is there twice have its last value. Lines here leave these out.

use influxdb_line_protocol::{FieldValue as Theirs, parse_lines};
use olivine_command::points::{FieldValue, PointReader, PointValues, split_key};

use crate::influx::line::{Precision, Reading, read};

/// Measurement, tags, fields and time, as text.
type Point = (String, Vec<(String, String)>, Vec<(String, String)>, i64);

const NOW: i64 = -1;

fn ours(line: &str) -> Option<Point> {
    let reading = Reading { precision: Precision::NANOSECONDS, now: NOW, line_bytes_max: 10_000 };
    let read = read(line.as_bytes(), &reading);
    let bytes = read.points.into_iter().next()?.finish();
    let mut reader = PointReader::new(&bytes);
    let point = reader.next().ok()??;
    let key = split_key(point.key).ok()?;
    let mut values = PointValues::new(&point);
    let fields = &reader.shapes()[point.shape].fields;
    let mut fields: Vec<(String, String)> = fields
        .iter()
        .map(|(kind, name)| ((*name).to_owned(), value(values.next(*kind).unwrap())))
        .collect();
    fields.sort();
    let tags = key.tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Some((key.measurement.into_owned(), tags, fields, point.time))
}

fn value(value: FieldValue<'_>) -> String {
    match value {
        FieldValue::Float(value) => format!("float {:x}", value.to_bits()),
        FieldValue::Integer(value) => format!("integer {value}"),
        FieldValue::Unsigned(value) => format!("unsigned {value}"),
        FieldValue::Text(value) => format!("text {value}"),
        FieldValue::Boolean(value) => format!("boolean {value}"),
    }
}

fn theirs(line: &str) -> Option<Point> {
    let parsed = parse_lines(line).next()?.ok()?;
    let tags = parsed.series.tag_set.iter().flatten();
    let mut tags: Vec<(String, String)> =
        tags.map(|(key, value)| (key.to_string(), value.to_string())).collect();
    tags.sort();
    let fields = parsed.field_set.iter().map(|(name, value)| {
        let value = match value {
            Theirs::F64(value) => format!("float {:x}", value.to_bits()),
            Theirs::I64(value) => format!("integer {value}"),
            Theirs::U64(value) => format!("unsigned {value}"),
            Theirs::String(value) => format!("text {value}"),
            Theirs::Boolean(value) => format!("boolean {value}"),
        };
        (name.to_string(), value)
    });
    let mut fields: Vec<(String, String)> = fields.collect();
    fields.sort();
    let measurement = parsed.series.measurement.to_string();
    Some((measurement, tags, fields, parsed.timestamp.unwrap_or(NOW)))
}

/// Draws from a few, by a state of its own.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn line(draw: &mut Draw) -> String {
    const NAMES: &[&str] = &["m", "cpu", r"a\ b", r"c\,d", "é", "x-y.z"];
    const KEYS: &[&str] = &["a", "b", r"k\ l", r"p\,q", r"e\=f"];
    const TAGS: &[&str] = &["v", "1", r"v\ w", r"x\=y", r"u\,w", "日"];
    const NUMBERS: &[&str] =
        &["1", "-1", "0.1", "1.25e-7", "123456789.123456789", "1e300", "-0", "17976931348623157"];
    const OTHERS: &[&str] = &[
        "9223372036854775807i",
        "-5i",
        "18446744073709551615u",
        "t",
        "F",
        "true",
        "False",
        r#""""#,
        r#""a b,c=d""#,
        r#""q\"r\\s""#,
        "\"é\"",
    ];
    let mut line = draw.one(NAMES).to_owned();
    let first = draw.below(KEYS.len());
    for nth in 0..draw.below(4) {
        let key = KEYS[(first + nth) % KEYS.len()];
        line.extend([",", key, "=", draw.one(TAGS)]);
    }
    let first = draw.below(KEYS.len());
    for nth in 0..=draw.below(KEYS.len()) {
        let value = match draw.below(3) {
            0 => draw.one(OTHERS).to_owned(),
            1 => draw.one(NUMBERS).to_owned(),
            _ => format!(
                "{}",
                f64::from_bits((draw.0 & !(0x7ff << 52)) | (1_000 + draw.0 % 48) << 52)
            ),
        };
        let before = if nth == 0 { " " } else { "," };
        line.extend([before, KEYS[(first + nth) % KEYS.len()], "=", &value]);
    }
    match draw.below(3) {
        0 => line,
        1 => format!("{line} {}", draw.0 >> 2),
        _ => format!("{line} -{}", draw.0 >> 20),
    }
}

#[test]
fn lines_are_read_as_another_reader_does() {
    let mut draw = Draw(1);
    for nth in 0..20_000 {
        let line = line(&mut draw);
        let point = ours(&line);
        assert!(point.is_some(), "{nth}: {line}");
        assert_eq!(point, theirs(&line), "{nth}: {line}");
    }
}

/// Whatever becomes of a line that is changed in one place: a point that both read is the same.
#[test]
fn changed_lines_come_to_the_same_if_both_take_them() {
    const BYTES: &[&str] = &[",", "=", " ", "i", "u", "-", "\"", "e", "1", "."];
    let (mut draw, mut both) = (Draw(2), 0);
    for nth in 0..20_000 {
        let mut line = line(&mut draw);
        let at = draw.below(line.len());
        // What a backslash does before other bytes they tell otherwise.
        if !line.is_char_boundary(at) || line[..at].ends_with('\\') {
            continue;
        }
        line.insert_str(at, draw.one(BYTES));
        if let (Some(ours), Some(theirs)) = (ours(&line), theirs(&line)) {
            both += 1;
            assert_eq!(ours, theirs, "{nth}: {line}");
        }
    }
    assert!(2_000 < both, "{both}");
}
