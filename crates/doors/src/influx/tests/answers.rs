//! What requests come to, and how they are answered.

use olivine_command::{Answer, Cell, Code, Command, Refusal, Rejected, Reply, Table};

use crate::{
    Login,
    http::Response,
    influx::{
        Head, QUERY_BYTES_MAX, Request, Taking, Way, answered, credentials, not_known, not_parsed,
        read, refused, written,
    },
};

const TAKING: Taking = Taking { now: 7, line_bytes_max: 1_000, makes_databases: true };

fn asked(way: Way, line: &str, body: &[u8]) -> Request {
    asked_with(way, line, None, None, body)
}

fn asked_with(
    way: Way,
    line: &str,
    content_type: Option<&str>,
    accept: Option<&str>,
    body: &[u8],
) -> Request {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    read(way, &Head { method, path, query, content_type, accept }, body, &TAKING)
}

fn said(response: &Response) -> String {
    format!("{} {}", response.status, String::from_utf8_lossy(&response.body))
}

/// What a write comes to when the store replies so: how many commands, and the answer.
fn wrote(line: &str, body: &[u8], reply: &Reply) -> (usize, String) {
    match asked(Way::Influx, line, body) {
        Request::Write(writing) => {
            let commands = writing.commands().len();
            let response = written(&writing, body, vec![reply.clone(); commands]);
            (commands, said(&response))
        }
        Request::Own(response) => (0, said(&response)),
        other => panic!("{other:?}"),
    }
}

fn stored(count: u64) -> Reply {
    Reply::Written { stored: count, rejected: Vec::new() }
}

#[test]
fn writes_say_where_their_points_go() {
    for (line, database, policy) in [
        ("POST /write?db=a", "a", ""),
        ("POST /write?db=a%20b&rp=c&consistency=one&precision=s", "a b", "c"),
        ("POST /api/v2/write?org=o&bucket=a%2Fb&precision=ns", "a", "b"),
        ("POST /api/v2/write?bucket=a", "a", ""),
        ("POST /", "default", ""),
        ("POST /?db=a", "a", ""),
    ] {
        let request = asked(Way::Influx, line, b"m x=1");
        let Request::Write(writing) = request else { panic!("{line}: {request:?}") };
        let commands = writing.commands();
        let [Command::WritePoints { database: into, policy: under, makes_database, .. }] =
            &commands[..]
        else {
            panic!("{commands:?}")
        };
        assert_eq!((&**into, &**under), (database.as_bytes(), policy.as_bytes()), "{line}");
        assert!(makes_database);
    }
    for (line, told) in [
        ("POST /write", "400 {\"error\":\"database is required\"}\n"),
        ("POST /api/v2/write", "400 {\"error\":\"bucket is required"),
        ("POST /write?db=a&precision=zz", "400 {\"error\":\"invalid precision \\\"zz\\\""),
        ("POST /write?db=a&consistency=most", "400 {\"error\":\"invalid consistency level\"}\n"),
        ("POST /write?db=%", "400 "),
        ("GET /write?db=a", "405 "),
        ("POST /nothing", "404 "),
    ] {
        let (_, answer) = wrote(line, b"m x=1", &stored(1));
        assert!(answer.starts_with(told), "{line}: {answer}");
    }
}

#[test]
fn writes_are_answered_as_influxdb_does() {
    let line = "POST /write?db=a";
    assert_eq!(wrote(line, b"m x=1\n", &stored(1)), (1, "204 ".to_owned()));
    assert_eq!(wrote(line, b"# nothing\n", &stored(0)), (0, "204 ".to_owned()));
    let two = (1, "200 2 points written\n".to_owned());
    assert_eq!(wrote("POST /", b"m x=1\nm x=2", &stored(2)), two);
    assert_eq!(wrote("POST /", b"m x=1", &stored(1)), (1, "200 1 point written\n".to_owned()));
    let lines = "\"refused\":1,\"lines\":[{\"line\":2,\"column\":5,\"reason\":\"missing field value\",\"text\":\"m y=\"}]}\n";
    let why = "unable to parse 'm y=': missing field value";
    assert_eq!(
        wrote(line, b"m x=1\nm y=\n", &stored(1)).1,
        format!("400 {{\"error\":\"partial write: {why} dropped=0\",{lines}")
    );
    assert_eq!(
        wrote(line, b"\nm y=\n", &stored(1)),
        (0, format!("400 {{\"error\":\"{why}\",{lines}"))
    );
    let conflict = "field type conflict: input field \"x\" on measurement \"m\" is type integer, \
                    already exists as type float";
    let rejected = vec![Rejected { place: 1, why: conflict.to_owned() }];
    let reply = Reply::Written { stored: 1, rejected };
    let (_, answer) = wrote(line, b"m x=1\n# c\nm x=2i\n", &reply);
    let shown = conflict.replace('"', "\\\"");
    assert_eq!(
        answer,
        format!(
            "400 {{\"error\":\"partial write: {shown} dropped=1\",\
             \"refused\":1,\"lines\":[{{\"line\":3,\"reason\":\"{shown}\",\"text\":\"m x=2i\"}}]}}\n"
        )
    );
    let (_, second) = wrote("POST /api/v2/write?bucket=a", b"m y=\n", &stored(0));
    assert!(second.contains(",\"code\":\"invalid\",\"message\":\"unable to parse"), "{second}");
}

#[test]
fn writes_of_version_3_are_answered_as_it_does() {
    let line = "POST /api/v3/write_lp?db=a&no_sync=true";
    assert_eq!(wrote(line, b"m x=1\n", &stored(1)), (1, "204 ".to_owned()));
    let bad =
        "{\"original_line\":\"m y=\",\"line_number\":2,\"error_message\":\"missing field value\"}";
    assert_eq!(
        wrote(line, b"m x=1\nm y=\nm x=2", &stored(2)).1,
        format!("400 {{\"error\":\"partial write of line protocol occurred\",\"data\":[{bad}]}}\n")
    );
    assert_eq!(
        wrote(&format!("{line}&accept_partial=false"), b"m x=1\nm y=\nm y=", &stored(0)).1,
        format!("400 {{\"error\":\"parsing failed for write_lp endpoint\",\"data\":{bad}}}\n")
    );
    for (line, told) in [
        ("POST /api/v3/write_lp", "400 {\"error\":\"db is required\"}"),
        ("POST /api/v3/write_lp?db=a&no_sync=perhaps", "400 "),
        ("POST /api/v3/write_lp?db=a&precision=days", "400 "),
        ("GET /api/v3/write_lp?db=a", "405 "),
        ("POST /write?db=a&precision=auto", "400 "),
    ] {
        let (_, answer) = wrote(line, b"m x=1", &stored(1));
        assert!(answer.starts_with(told), "{line}: {answer}");
    }
}

#[test]
fn all_or_none_asks_nothing_of_the_store_if_a_line_is_wrong() {
    let line = "POST /write?db=a&accept_partial=false";
    let (commands, answer) = wrote(line, b"m x=1\nm\n", &stored(1));
    assert_eq!(commands, 0);
    let told = "400 {\"error\":\"nothing was written: unable to parse 'm'";
    assert!(answer.starts_with(told), "{answer}");
    assert_eq!(wrote(line, b"m x=1", &stored(1)), (1, "204 ".to_owned()));
}

#[test]
fn refusals_have_their_status_and_headers() {
    for (code, status) in [
        (Code::Invalid, 400),
        (Code::Missing, 404),
        (Code::TooLarge, 413),
        (Code::Busy, 503),
        (Code::Full, 507),
        (Code::Forbidden, 403),
    ] {
        let refusal = Refusal::new(code, "wh\u{e9}\nre");
        let (_, answer) = wrote("POST /write?db=a", b"m x=1", &Reply::Refused(refusal.clone()));
        assert_eq!(answer, format!("{status} {{\"error\":\"wh\u{e9}\\nre\"}}\n"));
        let response = refused(&refusal);
        let shown = ("x-influxdb-error", "wh   re".to_owned());
        assert!(response.headers.contains(&shown), "{response:?}");
        let retries = response.headers.iter().any(|(name, _)| *name == "retry-after");
        assert_eq!(retries, code.may_pass());
    }
    let response = not_known(&Refusal::new(Code::Unknown, "who"));
    assert_eq!(response.status, 401);
    assert!(response.headers.iter().any(|(name, _)| *name == "www-authenticate"));
}

#[test]
fn who_sends_a_request_is_said_in_four_ways() {
    let password = |user: &str, password: &str| {
        let bytes = |text: &str| text.as_bytes().to_vec().into();
        Ok(Some(Login::Password { user: bytes(user), password: bytes(password) }))
    };
    assert_eq!(credentials(None, "u=a%20b&p=c"), password("a b", "c"));
    assert_eq!(credentials(Some("Token a:b:c"), ""), password("a", "b:c"));
    assert_eq!(credentials(Some("Basic YWRhOmE6Yg=="), "u=x&p=y"), password("ada", "a:b"));
    for header in ["Token olv_1", "token olv_1", "Bearer olv_1"] {
        let token = Login::Token(b"olv_1".to_vec().into());
        assert_eq!(credentials(Some(header), ""), Ok(Some(token)));
    }
    assert_eq!(credentials(None, "db=a"), Ok(None));
    assert!(credentials(Some("Digest a"), "").is_err());
}

fn table() -> Table {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Table {
        name: "m".to_owned(),
        tags: vec![tag("host", "a b"), tag("none", "")],
        columns: ["time", "f", "s"].map(str::to_owned).to_vec(),
        cells: vec![
            Cell::Time(1_000_000_000),
            Cell::Float(1.5),
            Cell::Text("a,\"b\"".to_owned()),
            Cell::Time(2_500_000_000),
            Cell::Null,
            Cell::Boolean(true),
        ],
    }
}

/// What a query is answered with if its statements come to these.
fn queried(line: &str, accept: Option<&str>, outcomes: &[Result<Answer, Refusal>]) -> String {
    match asked_with(Way::Influx, line, None, accept, b"") {
        Request::Query(query) => said(&answered(&query, outcomes)),
        Request::Own(response) => said(&response),
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_are_written_as_influxdb_does() {
    let good = || Ok(Answer { tables: vec![table()], notices: Vec::new() });
    let series = "\"series\":[{\"name\":\"m\",\"tags\":{\"host\":\"a b\",\"none\":\"\"},\
                  \"columns\":[\"time\",\"f\",\"s\"],\"values\":";
    assert_eq!(
        queried("GET /query?db=a&q=x", None, &[good()]),
        format!(
            "200 {{\"results\":[{{\"statement_id\":0,{series}[[\"1970-01-01T00:00:01Z\",1.5,\"a,\\\"b\\\"\"],\
             [\"1970-01-01T00:00:02.5Z\",null,true]]}}]}}]}}\n"
        )
    );
    assert_eq!(
        queried("GET /query?db=a&q=x&epoch=ms&chunked=true&chunk_size=1", None, &[good()]),
        format!(
            "200 {{\"results\":[{{\"statement_id\":0,{series}[[1000,1.5,\"a,\\\"b\\\"\"]],\"partial\":true}}],\
             \"partial\":true}}]}}\n\
             {{\"results\":[{{\"statement_id\":0,{series}[[2500,null,true]]}}]}}]}}\n"
        )
    );
    let empty = || Ok(Answer { tables: Vec::new(), notices: vec!["note".to_owned()] });
    let bad = || Err(Refusal::new(Code::Invalid, "not executed"));
    assert_eq!(
        queried("GET /query?q=x", None, &[empty(), bad()]),
        "200 {\"results\":[{\"statement_id\":0,\"messages\":[{\"level\":\"warning\",\"text\":\"note\"}]},\
         {\"statement_id\":1,\"error\":\"not executed\"}]}\n"
    );
    assert_eq!(
        queried("GET /query?q=x&pretty=true", None, &[Ok(Answer::default())]),
        "200 {\n    \"results\": [\n        {\n            \"statement_id\": 0\n        }\n    ]\n}\n"
    );
    assert_eq!(
        queried("GET /query?q=x", Some("application/csv"), &[good()]),
        "200 name,tags,time,f,s\nm,\"host=a\\ b,none=\",1000000000,1.5,\"a,\"\"b\"\"\"\n\
         m,\"host=a\\ b,none=\",2500000000,,true\n"
    );
    // Clients that would rather have MessagePack take JSON.
    let json = queried("GET /query?q=x", Some("application/x-msgpack, */*"), &[bad()]);
    assert!(json.starts_with("200 {\"results\""), "{json}");
    let busy = || Err(Refusal::new(Code::Busy, "later"));
    assert!(queried("GET /query?q=x", None, &[busy()]).starts_with("503 "));
}

#[test]
fn queries_say_what_they_want() {
    let form = Some("application/x-www-form-urlencoded; charset=utf-8");
    let body = b"q=a+b&db=c&params=%7B%22x%22%3A1%7D";
    let request = asked_with(Way::Influx, "POST /query?db=d&rp=e", form, None, body);
    let Request::Query(query) = request else { panic!("{request:?}") };
    assert_eq!((&*query.text, &*query.database, &*query.policy), ("a b", "c", "e"));
    assert_eq!(query.parameters.len(), 1);
    assert!(query.may_change && !query.relaxed);
    let request = asked(Way::Select, "GET /?query=select%20a", b"");
    let Request::Query(query) = request else { panic!("{request:?}") };
    assert_eq!((&*query.text, &*query.database), ("select a", "default"));
    assert!(query.relaxed && !query.may_change);
    assert_eq!(
        said(&not_parsed(&query, "found x at byte 3", 3)),
        "400 {\"error\":\"found x at byte 3\",\"position\":3}\n"
    );
    let missing = "400 {\"error\":\"missing required parameter";
    for (way, line, told) in [
        (Way::Influx, "GET /query", missing),
        (Way::Influx, "GET /query?q=x&epoch=y", "400 {\"error\":\"invalid epoch"),
        (Way::Influx, "GET /query?q=x&chunk_size=0", "400 "),
        (Way::Influx, "GET /query?q=x&pretty=maybe", "400 "),
        (Way::Influx, "GET /query?q=x&params=1", "400 {\"error\":\"error parsing query parameters"),
        (Way::Influx, "PUT /query?q=x", "405 "),
        (Way::Select, "GET /", missing),
        (Way::Select, "POST /?query=x", "405 "),
        (Way::Select, "GET /query?q=x", "404 "),
        (Way::Ingest, "GET /ping", "204 "),
        (Way::Influx, "GET /ping?verbose=true", "200 {\"version\":\"1.8.10"),
        (Way::Influx, "HEAD /ping", "204 "),
        (Way::Select, "GET /health", "200 {\"name\":\"olivine\""),
    ] {
        let request = asked(way, line, b"");
        let Request::Own(response) = request else { panic!("{line}: {request:?}") };
        assert!(said(&response).starts_with(told), "{line}: {}", said(&response));
    }
    let long = format!("GET /query?q={}", "x".repeat(QUERY_BYTES_MAX + 1));
    let request = asked(Way::Influx, &long, b"");
    assert!(matches!(request, Request::Own(response) if response.status == 413));
}

#[test]
fn objects_come_in_the_order_of_their_times() {
    let mut other = table();
    other.name = "n".to_owned();
    other.tags.clear();
    other.cells.truncate(3);
    other.cells[0] = Cell::Time(2_000_000_000);
    let request = asked(Way::Select, "GET /?query=x", b"");
    let Request::Query(query) = request else { panic!("{request:?}") };
    let answer = Answer { tables: vec![table(), other], notices: Vec::new() };
    let m = "{\"measurement\":\"m\",\"tags\":{\"host\":\"a b\"},\"fields\":";
    let n = "{\"measurement\":\"n\",\"tags\":{},\"fields\":";
    let both = "{\"f\":1.5,\"s\":\"a,\\\"b\\\"\"}";
    assert_eq!(
        said(&answered(&query, &[Ok(answer)])),
        format!(
            "200 [\n{m}{both},\"timestamp\":\"1000000000\"}},\n{n}{both},\"timestamp\":\"2000000000\"}},\n\
             {m}{{\"s\":true}},\"timestamp\":\"2500000000\"}}]\n"
        )
    );
    assert_eq!(said(&answered(&query, &[Ok(Answer::default())])), "200 []\n");
    let missing = Err(Refusal::new(Code::Missing, "database not found: \"default\""));
    assert!(said(&answered(&query, &[missing])).starts_with("404 "));
}
