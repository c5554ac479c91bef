//! What lines come to; `answers` has requests, `oracle` another reader of lines.

mod answers;
mod oracle;

use olivine_command::points::{PointReader, PointValues};

use super::line::{Precision, Reading, lines_numbered, read};

const NOW: i64 = 1_700_000_000_123_456_789;

/// What lines come to, as text: a line for each point, and one for each that is wrong.
fn told_with(body: &[u8], precision: &str, line_bytes_max: usize) -> String {
    let precision = Precision::named(precision).unwrap();
    let read = read(body, &Reading { precision, now: NOW, line_bytes_max });
    let mut told = Vec::new();
    let bytes: Vec<u8> = read.points.into_iter().flat_map(|piece| piece.finish()).collect();
    let mut reader = PointReader::new(&bytes);
    while let Some(point) = reader.next().unwrap() {
        let mut values = PointValues::new(&point);
        let fields = reader.shapes()[point.shape].fields.iter();
        let fields: Vec<String> = fields
            .map(|(kind, name)| format!("{name}={:?}", values.next(*kind).unwrap()))
            .collect();
        let key = String::from_utf8_lossy(point.key);
        told.push(format!("{}: {key} | {} | {}", point.line, fields.join(" "), point.time));
    }
    for fault in read.faults {
        let line = String::from_utf8_lossy(&body[fault.place]).into_owned();
        told.push(format!("{}:{}: {} in {line:?}", fault.line, fault.column, fault.why));
    }
    told.join("\n")
}

fn told(body: &str) -> String {
    told_with(body.as_bytes(), "ns", 1_000)
}

#[test]
fn points_are_read() {
    for (line, expected) in [
        ("m x=1 5", "1: m | x=Float(1.0) | 5"),
        ("m,a=b x=1i,y=2u,z=t -5", "1: m,a=b | x=Integer(1) y=Unsigned(2) z=Boolean(true) | -5"),
        (
            "measurement,tag1=value1,tag2=value2 field1=10,field2=20 1465839830100400200",
            "1: measurement,tag1=value1,tag2=value2 | field1=Float(10.0) field2=Float(20.0) | \
             1465839830100400200",
        ),
        ("  m   x=1   5  ", "1: m | x=Float(1.0) | 5"),
        ("m x=1", "1: m | x=Float(1.0) | 1700000000123456789"),
        ("m x=1 ", "1: m | x=Float(1.0) | 1700000000123456789"),
        ("m x=1\t5", "1:5: invalid number in \"m x=1\\t5\""),
        (r"a\ b\,c,k\==v\ w f\ g\,h\=i=1 5", r"1: a\ b\,c,k\==v\ w | f g,h=i=Float(1.0) | 5"),
        (r#"m s="a\"b\\c\d,e=f g" 5"#, r#"1: m | s=Text("a\"b\\c\\d,e=f g") | 5"#),
        ("m s=\"\",t=\"é\" 5", "1: m | s=Text(\"\") t=Text(\"é\") | 5"),
        ("m x=1,y=2,x=\"z\" 5", "1: m | y=Float(2.0) x=Text(\"z\") | 5"),
        ("m time=3,x=1 5", "1: m | x=Float(1.0) | 5"),
        ("# m x=1 5\n\n   \n\r\nm x=1 5", "5: m | x=Float(1.0) | 5"),
        ("", ""),
    ] {
        assert_eq!(told(line), expected, "{line}");
    }
}

#[test]
fn lines_end_as_they_may() {
    assert_eq!(
        told("m x=1 1\r\nm x=2i 2\r\nm y=t\r\nm z=\"a\r\nb\" 4\r\nm x=5 5\r"),
        "1: m | x=Float(1.0) | 1\n2: m | x=Integer(2) | 2\n3: m | y=Boolean(true) | 1700000000123456789\n\
         4: m | z=Text(\"a\\r\\nb\") | 4\n6: m | x=Float(5.0) | 5"
    );
}

#[test]
fn values_are_of_their_types() {
    for (value, expected) in [
        ("0", "Float(0.0)"),
        ("-0", "Float(-0.0)"),
        ("-1.5", "Float(-1.5)"),
        (".5", "Float(0.5)"),
        ("5.", "Float(5.0)"),
        ("1e3", "Float(1000.0)"),
        ("1E-3", "Float(0.001)"),
        ("1.7976931348623157e308", "Float(1.7976931348623157e308)"),
        ("123456789012345678", "Float(1.2345678901234568e17)"),
        ("0.1234567890123456789", "Float(0.12345678901234568)"),
        ("9007199254740993", "Float(9007199254740992.0)"),
        ("0000000000000000000000001", "Float(1.0)"),
        ("9223372036854775807i", "Integer(9223372036854775807)"),
        ("-9223372036854775808i", "Integer(-9223372036854775808)"),
        ("18446744073709551615u", "Unsigned(18446744073709551615)"),
        ("00000000000000000000007i", "Integer(7)"),
        ("T", "Boolean(true)"),
        ("true", "Boolean(true)"),
        ("FALSE", "Boolean(false)"),
        ("False", "Boolean(false)"),
    ] {
        assert_eq!(told(&format!("m x={value} 5")), format!("1: m | x={expected} | 5"));
        let again = format!("m x={value} 5\nm x={value}\r\nm x={value}");
        assert_eq!(told(&again).matches(expected).count(), 3, "{again}");
    }
    for (value, why) in [
        ("", "missing field value"),
        ("-", "invalid number"),
        (".", "invalid number"),
        ("1.1.1", "invalid number"),
        ("1e", "invalid number"),
        ("1.5i", "invalid number"),
        ("1ii", "invalid number"),
        ("-1u", "invalid number"),
        ("9i10", "invalid number"),
        ("nan", "invalid number"),
        ("NaN", "invalid number"),
        ("-inf", "invalid number"),
        ("inf", "invalid boolean"),
        ("+1", "invalid boolean"),
        ("tr", "invalid boolean"),
        ("1e400", "invalid float"),
        ("\"a", "unbalanced quotes"),
        ("\"a\"b", "invalid field format"),
        ("tt", "invalid boolean"),
    ] {
        let told = told(&format!("m x={value} 5"));
        assert!(told.contains(&format!(": {why} in ")), "{value}: {told}");
    }
    let told = told("m x=9223372036854775808i 5");
    let why = "unable to parse integer 9223372036854775808: strconv.ParseInt: parsing \
               \"9223372036854775808\": value out of range";
    assert!(told.contains(why), "{told}");
}

#[test]
fn a_bad_line_costs_that_line_alone() {
    let body = "m x=1 1\nm\nm,a=b\nm x\nm x=1,\nm =1\nm x= 1\nm x=1 1a\nm x=1 2 3\nm x=1 99999999999999999999\n\
                m time=1 1\n,a x=1 1\nm x=2 2\n";
    assert_eq!(
        told(body),
        "1: m | x=Float(1.0) | 1\n12: ,a | x=Float(1.0) | 1\n13: m | x=Float(2.0) | 2\n\
         2:2: missing fields in \"m\"\n\
         3:6: missing fields in \"m,a=b\"\n\
         4:4: invalid field format in \"m x\"\n\
         5:7: invalid field format in \"m x=1,\"\n\
         6:3: missing field key in \"m =1\"\n\
         7:5: missing field value in \"m x= 1\"\n\
         8:8: bad timestamp in \"m x=1 1a\"\n\
         9:9: point is invalid in \"m x=1 2 3\"\n\
         10:7: time outside range -9223372036854775806 - 9223372036854775806 in \"m x=1 99999999999999999999\"\n\
         11:1: invalid field name: input field \"time\" on measurement \"m\" is invalid in \"m time=1 1\""
    );
}

/// Who writes into a text decides no more than the text, also where the line turns out to be wrong.
#[test]
fn what_texts_enclose_is_never_a_line() {
    for (body, lines) in [
        ("m s=\"a\nevil x=1 1\n\",y= 5\nm x=2 2", ["4: m | x=Float(2.0) | 2"]),
        ("m y=,s=\"a\nevil x=1 1\n\" 5\nm x=2 2", ["4: m | x=Float(2.0) | 2"]),
        ("m s=\"a\\\"\nevil x=1 1\n\" 5x\nm x=2 2", ["4: m | x=Float(2.0) | 2"]),
    ] {
        let told = told(body);
        let points: Vec<&str> = told.lines().filter(|line| line.contains('|')).collect();
        assert_eq!(points, lines, "{told}");
    }
    let open = told("m x=1 1\nm s=\"a\nm x=2 2\n");
    assert!(open.starts_with("1: m | x=Float(1.0) | 1\n2:5: unbalanced quotes in "), "{open}");
}

#[test]
fn times_have_their_unit() {
    for (precision, time) in [
        ("n", "7"),
        ("us", "7000"),
        ("µ", "7000"),
        ("ms", "7000000"),
        ("s", "7000000000"),
        ("m", "420000000000"),
        ("h", "25200000000000"),
    ] {
        let told = told_with(b"m x=1 7", precision, 100);
        assert_eq!(told, format!("1: m | x=Float(1.0) | {time}"));
    }
    assert_eq!(told_with(b"m x=1", "s", 100), "1: m | x=Float(1.0) | 1700000000000000000");
    assert!(told_with(b"m x=1 9223372036854775806", "us", 100).contains("time outside range"));
    assert!(told_with(b"m x=1 9223372036854775807", "n", 100).contains("time outside range"));
    assert!(told_with(b"m x=1 -9223372036854775806", "n", 100).contains("| -9223372036854775806"));
    assert_eq!(Precision::named("zz"), None);
    // Of which nobody says it, it is told by the size.
    let reading = Reading { precision: Precision::TOLD_BY_SIZE, now: NOW, line_bytes_max: 100 };
    for (line, time) in [
        ("m x=1 4999999999", 4_999_999_999_000_000_000),
        ("m x=1 -5000000000", -5_000_000_000_000_000),
        ("m x=1 1700000000000", 1_700_000_000_000_000_000),
        ("m x=1 1700000000000000", 1_700_000_000_000_000_000),
        ("m x=1 1700000000000000001", 1_700_000_000_000_000_001),
        ("m x=1", NOW),
    ] {
        let points = read(line.as_bytes(), &reading).points.remove(0).finish();
        let point = PointReader::new(&points).next().unwrap().unwrap();
        assert_eq!(point.time, time, "{line}");
    }
}

#[test]
fn lines_and_their_faults_are_bounded() {
    assert!(told_with(b"m x=1 1", "n", 7).contains("| 1"));
    let told = told_with(b"m x=1 1 \nm x=1 2", "n", 7);
    assert_eq!(
        told,
        "2: m | x=Float(1.0) | 2\n1:8: max line length exceeded: 8 > 7 in \"m x=1 1 \""
    );
    let many = read(
        "m\n".repeat(1_000).as_bytes(),
        &Reading { precision: Precision::NANOSECONDS, now: 0, line_bytes_max: 100 },
    );
    assert_eq!((many.wrong, many.faults.len()), (1_000, 100));
    let fields: Vec<String> = (0..=16_384).map(|n| format!("f{n}=1")).collect();
    let line = format!("m {} 1", fields.join(","));
    assert!(told_with(line.as_bytes(), "n", 1 << 20).contains("max fields of a point exceeded"));
    let key = format!("m,a={} x=1 1", "v".repeat(65_535));
    assert!(told_with(key.as_bytes(), "n", 1 << 20).contains("max key length exceeded"));
}

#[test]
fn lines_are_found_by_their_numbers() {
    let body = b"m x=1 1\n# c\nm s=\"a\nb\" 2\r\nm x\nlast x=1";
    let found = lines_numbered(body, &[1, 3, 5, 6]);
    assert_eq!(found, [&b"m x=1 1"[..], b"m s=\"a\nb\" 2", b"m x", b"last x=1"]);
    assert_eq!(lines_numbered(body, &[7, 9]), [b"", b""]);
}
