//! The doors of time series: lines of points, and requests.
//!
//! 1. A point that was read is read again the same from a line that is written of it, and from the line in which
//!    it stands.
//! 2. A line that is wrong is found again by its number.

use std::fmt::Write as _;

use olivine_command::{
    Answer, Cell, Rejected, Reply, Table,
    points::{FieldValue, PointReader, PointValues},
};
use olivine_doors::influx::{
    self, Head, Request, Taking, Way,
    line::{Precision, Reading, lines_numbered, read},
};

const READING: Reading =
    Reading { precision: Precision::NANOSECONDS, now: 1_700_000_000, line_bytes_max: 1 << 20 };

pub(super) const LINES: &[&str] = &[
    "cpu,host=a,region=b user=1i,system=2.5,idle=97u 1465839830100400200\ncpu,host=b user=2i 7\n",
    "m s=\"a\\\"b\\\\c\nd\",b=t -5\r\n# words\n\nm s=\"\",b=FALSE\n",
    "a\\ b\\,c,k\\==v\\ w f\\ g\\,h\\=i=1e3 5\nm x=,y=1\nm x=1,x=2 3",
    "m x=123456789012345678,y=0.1234567890123456789,z=-9223372036854775808i 1\nm time=1\n",
    "m x=1 1\nm x=1i 2\nm y=1,x=1 3\nm x=1 4\nm s=\"open\nm x=2 5",
    "  m   x=1   5  \nm\nm x\nm =1\nm x=nan\nm x=1 1a\nm x=1 99999999999999999999\n",
];

pub(super) const REQUESTS: &[&str] = &[
    "influx\nPOST /write?db=a&rp=b&precision=ms&u=x&p=y\n\n\nm x=1 1\nm y= 2\n",
    "influx\nPOST /api/v2/write?bucket=a%2Fb&org=o&precision=s\n\n\nm x=1 1\n",
    "influx\nPOST /\napplication/x-www-form-urlencoded\n\nm,t=v x=1,y=2 1465839830100400200",
    "influx\nGET /query?db=a&q=SELECT+x+FROM+m&epoch=ms&chunked=true&chunk_size=1&pretty=true\n\n\n",
    "influx\nPOST /query?db=a\napplication/x-www-form-urlencoded\ntext/csv\nq=SELECT+x+FROM+m+WHERE+y=$y&params=%7B%22y%22:1%7D",
    "select\nGET /?query=select%20x%20from%20m%20where%20t=v\n\n\n",
    "ingest\nPOST /?accept_partial=false\n\n\nm x=1 1\nm y",
    "influx\nHEAD /ping?verbose=true\n\n\n",
    "select\nGET /health\n\n\n",
];

/// A point in words, and a line that comes to it; nothing if its names have backslashes, of which not all can be
/// written.
fn told(bytes: &[u8]) -> Vec<(u64, String, Option<String>)> {
    let (mut reader, mut told) = (PointReader::new(bytes), Vec::new());
    while let Some(point) = reader.next().unwrap_or_else(|error| panic!("{error}")) {
        let (mut said, mut line) = (format!("{:?}", point.key), Vec::new());
        line.extend_from_slice(point.key);
        let (mut values, mut is_plain) = (PointValues::new(&point), true);
        for (nth, (kind, name)) in reader.shapes()[point.shape].fields.iter().enumerate() {
            let value = values.next(*kind).unwrap_or_else(|| panic!("{name} has no value"));
            let _infallible = write!(said, " {name:?}={value:?}");
            is_plain &= !name.contains('\\');
            line.push(if nth == 0 { b' ' } else { b',' });
            for byte in name.bytes() {
                line.extend(matches!(byte, b',' | b'=' | b' ').then_some(b'\\'));
                line.push(byte);
            }
            line.push(b'=');
            line.extend_from_slice(written(value).as_bytes());
        }
        let _infallible = write!(said, " {}", point.time);
        line.extend_from_slice(format!(" {}", point.time).as_bytes());
        let line = if is_plain { String::from_utf8(line).ok() } else { None };
        told.push((point.line, said, line));
    }
    told
}

fn written(value: FieldValue<'_>) -> String {
    match value {
        FieldValue::Float(value) => format!("{value}"),
        FieldValue::Integer(value) => format!("{value}i"),
        FieldValue::Unsigned(value) => format!("{value}u"),
        FieldValue::Boolean(value) => format!("{value}"),
        FieldValue::Text(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    }
}

fn read_again(line: &[u8]) -> String {
    let read = read(line, &READING);
    assert_eq!(read.wrong, 0, "{:?} in {line:?}", read.faults);
    let bytes: Vec<u8> = read.points.into_iter().flat_map(|piece| piece.finish()).collect();
    let mut points = told(&bytes);
    assert_eq!(points.len(), 1, "{line:?}");
    points.remove(0).1
}

pub(super) fn parse_points(bytes: &[u8]) -> Result<u64, String> {
    let found = read(bytes, &READING);
    let points: Vec<u8> = found.points.into_iter().flat_map(|piece| piece.finish()).collect();
    let points = told(&points);
    let numbers: Vec<u64> = points.iter().map(|(number, ..)| *number).collect();
    let lines = lines_numbered(bytes, &numbers);
    for ((_, said, line), stands) in points.iter().zip(lines) {
        assert_eq!(read_again(stands), *said, "{stands:?}");
        if let Some(line) = line {
            assert_eq!(read_again(line.as_bytes()), *said, "{line:?}");
        }
    }
    let numbers: Vec<u64> = found.faults.iter().map(|fault| fault.line).collect();
    for (fault, line) in found.faults.iter().zip(lines_numbered(bytes, &numbers)) {
        assert_eq!(&bytes[fault.place.clone()], line, "{fault:?}");
        assert!((1..=line.len() + 2).contains(&fault.column), "{fault:?}");
    }
    match found.faults.first() {
        Some(fault) if points.is_empty() => Err(fault.why.clone().into_owned()),
        _ => Ok(points.len() as u64),
    }
}

pub(super) fn parse_request(bytes: &[u8]) -> Result<u64, String> {
    let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
    let mut line = || str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let way = match line() {
        "select" => Way::Select,
        "ingest" => Way::Ingest,
        _ => Way::Influx,
    };
    let first = line();
    let (method, target) = first.split_once(' ').unwrap_or((first, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let (content_type, accept) = (given(line()), given(line()));
    let head = Head { method, path, query, content_type, accept };
    // Whatever comes of it, it is no panic.
    influx::credentials(accept, query).ok();
    let taking = Taking { now: 1_700_000_000, line_bytes_max: 1 << 20, makes_databases: true };
    let body = lines.next().unwrap_or_default();
    match influx::read(way, &head, body, &taking) {
        Request::Own(response) => match response.status {
            200..300 => Ok(1),
            _ => Err(String::from_utf8_lossy(&response.body).into_owned()),
        },
        Request::Settle => Ok(1),
        Request::Write(writing) => {
            let commands = writing.commands();
            let rejected = Rejected { place: 0, why: "why".to_owned() };
            let reply = Reply::Written { stored: 0, rejected: vec![rejected] };
            let replies = vec![reply; commands.len()];
            commands.into_iter().for_each(super::check);
            let response = influx::written(&writing, body, replies);
            assert!(matches!(response.status, 200 | 204 | 400), "{response:?}");
            Ok(1)
        }
        Request::Query(query) => {
            let table = Table {
                name: query.text.clone(),
                tags: vec![("key".to_owned(), query.database.clone())],
                columns: vec!["time".to_owned(), query.policy.clone()],
                cells: vec![Cell::Time(1), Cell::Text(query.text.clone()), Cell::Null, Cell::Null],
            };
            let answer = Answer { tables: vec![table], notices: vec![query.text.clone()] };
            let response = influx::answered(&query, &[Ok(answer)]);
            assert_eq!(response.status, 200);
            Ok(1)
        }
    }
}
