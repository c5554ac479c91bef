//! The doors of time series over sockets, in one process and in two.

use std::io::Write as _;

use super::{halves::halves, *};

/// Asks over HTTP with more headers; the status and the body.
fn asked(node: &Running, door: Door, request: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = node.connect(door);
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

const LINE: &[u8] = b"measurement,tag1=value1,tag2=value2 field1=10,field2=20 1465839830100400200";
const QUERY: &str = "GET /?query=select%20field1%20from%20measurement%20where%20tag1=value1";
const POINT: &str = "[\n{\"measurement\":\"measurement\",\"tags\":{\"tag1\":\"value1\",\"tag2\":\"value2\"},\
                     \"fields\":{\"field1\":10},\"timestamp\":\"1465839830100400200\"}]\n";

/// What the sources of the doors do, word for word.
fn writes_and_asks(writes: (&Running, Door), asks: (&Running, Door)) {
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let told = asked(writes.0, writes.1, "POST /", form, LINE);
    assert_eq!(told, (200, "1 point written\n".to_owned()));
    assert_eq!(asked(asks.0, asks.1, QUERY, "", b""), (200, POINT.to_owned()));
}

#[test]
fn points_come_in_at_one_door_and_out_at_another() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    writes_and_asks((&node, Door::Influx), (&node, Door::Select));
    writes_and_asks((&node, Door::Ingest), (&node, Door::Ingest));
    let (status, answer) =
        asked(&node, Door::Influx, "POST /write?db=a", "", b"m x=1 1\nm y= 2\nm x=3 3\n");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.starts_with("{\"error\":\"partial write: unable to parse 'm y= 2'"), "{answer}");
    let results = "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"m\",\
                   \"columns\":[\"time\",\"x\"],\"values\":[[1,1],[3,3]]}]}]}\n";
    let ask = "GET /query?db=a&epoch=ns&q=SELECT+x+FROM+m";
    assert_eq!(asked(&node, Door::Influx, ask, "", b""), (200, results.to_owned()));
    let (status, answer) = asked(&node, Door::Influx, "GET /query?q=SELECT+x+FORM+m", "", b"");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.starts_with("{\"error\":\"error parsing query: found FORM"), "{answer}");
    let create = "/query?q=CREATE+DATABASE+b";
    assert_eq!(asked(&node, Door::Influx, &format!("GET {create}"), "", b"").0, 405);
    assert_eq!(asked(&node, Door::Influx, &format!("POST {create}"), "", b"").0, 200);
}

#[test]
fn bodies_are_bounded_and_unpacked() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    settings.limits.points_bytes_max = 1_000;
    settings.requires_databases = true;
    let node = Running::start(&settings);
    let write = "POST /write?db=a";
    assert_eq!(asked(&node, Door::Influx, write, "", b"m x=1").0, 404);
    asked(&node, Door::Influx, "POST /query?q=CREATE+DATABASE+a", "", b"");
    let packed = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let gzip = "content-encoding: gzip\r\n";
    assert_eq!(asked(&node, Door::Influx, write, gzip, &packed(b"m x=1 1")), (204, String::new()));
    for (headers, body, status) in [
        ("", vec![b'#'; 1_001], 413),
        (gzip, packed(&vec![b'#'; 100_000]), 413),
        (gzip, b"m x=1 1".to_vec(), 400),
        ("content-encoding: br\r\n", b"m x=1 1".to_vec(), 415),
    ] {
        assert_eq!(asked(&node, Door::Influx, write, headers, &body).0, status, "{headers}");
    }
    let evil = "origin: http://evil.example\r\n";
    assert_eq!(asked(&node, Door::Influx, write, evil, b"m x=2 2").0, 403);
}

#[test]
fn the_halves_carry_points_and_queries() {
    let dir = Dir::new();
    let (mut storage, coordinator) = halves(&dir);
    storage.doors.retain(|setting| setting.door == Door::Ingest);
    let store = Running::start(&storage);
    let doors = Running::start(&coordinator);
    writes_and_asks((&doors, Door::Influx), (&doors, Door::Select));
    assert_eq!(asked(&store, Door::Ingest, QUERY, "", b""), (200, POINT.to_owned()));
    let create = "POST /query?q=CREATE+DATABASE+b;SHOW+DATABASES";
    let (status, answer) = asked(&doors, Door::Influx, create, "", b"");
    assert_eq!(status, 200);
    assert!(answer.contains("[\"b\"]") && answer.contains("[\"default\"]"), "{answer}");
}

/// A query that takes seconds stops when its client goes away, also where the store is another process.
#[test]
fn a_query_whose_client_goes_away_is_given_up() {
    const POINTS: u32 = 50_000;
    let dir = Dir::new();
    let (storage, coordinator) = halves(&dir);
    let whole_dir = Dir::new();
    // With less a query is refused soon.
    let start =
        |settings: Settings| Running::start(&Settings { memory_bytes: Some(1 << 30), ..settings });
    let whole = start(settings(&whole_dir));
    let (_store, doors) = (start(storage), Running::start(&coordinator));
    let ready = || doors.http(Door::Http, "GET", "/readyz", "").0 == 200;
    assert!((0..100).any(|_| ready() || pause()));
    for node in [&whole, &doors] {
        let mut lines = String::new();
        for point in 0..POINTS {
            push(&mut lines, format_args!("m x={point}i {point}\n"));
        }
        let write = "POST /write?db=a";
        assert_eq!(asked(node, Door::Influx, write, "", lines.as_bytes()).0, 204);
        let running = |count| {
            let metrics = node.http(Door::Http, "GET", "/metrics", "").1;
            is(&metrics, "olivine_queries_running", count)
        };
        let parts = vec!["(SELECT+median(x)+FROM+m)"; 1_500].join(",");
        let (clock, mut took) = (RealClock::new(), Vec::new());
        for _ in 0..5 {
            let mut stream = node.connect(Door::Influx);
            let ask = format!(
                "GET /query?db=a&q=SELECT+sum(x)+FROM+{parts} HTTP/1.1\r\nhost: localhost\r\n\r\n"
            );
            stream.write_all(ask.as_bytes()).unwrap();
            assert!((0..400).any(|_| running(1) || pause()), "it runs");
            drop(stream);
            let began = clock.now();
            assert!((0..400).any(|_| running(0) || pause()), "it is given up");
            took.push(clock.now().saturating_sub(began));
        }
        took.sort_unstable();
        // What else the machine does may make any of them late, but not all.
        assert!(took[0] < Duration::from_millis(100), "{took:?}");
    }
}
