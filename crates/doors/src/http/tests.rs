//! What requests ask and what answers look like, in text.

use olivine_command::{Code, Form, Found, Lent, LentFile, Look, Piece, Refusal, Reply};

use super::*;
use crate::{Answer, json, limits::Limits};

fn head(line: &str) -> Head<'_> {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Head { method, path, query, ..Head::default() }
}

/// What a request comes to, as text: the command and the shape, or the answer.
fn asked(head: &Head<'_>, body: &[u8]) -> String {
    match read(head, body, &Limits::default(), 1_000) {
        Request::One(command, shape) => format!("{command:?} {shape:?}"),
        Request::Lines(lines) => format!("{} lines", lines.len()),
        Request::Own(Shape::Wrong(wrong)) => {
            let response = answer(&Shape::Wrong(wrong), Answer::Own);
            let body = String::from_utf8(response.body).unwrap();
            assert!(json::read_value(&body).is_ok(), "{body}");
            format!("{} {body}", response.status)
        }
        Request::Own(shape) => format!("{shape:?}"),
    }
}

#[test]
fn paths_and_methods() {
    for (line, told) in [
        ("GET /kv/a%20b/c", "Get { key: [97, 32, 98, 47, 99] } Get(None)"),
        ("GET /kv/", "Get { key: [] } Get(None)"),
        ("GET /kv/a+b", "Get { key: [97, 43, 98] } Get(None)"),
        ("HEAD /kv/a", "Look { key: [97] } Head"),
        ("DELETE /kv/a", "Delete { key: [97], condition: Always } Change { conditional: false }"),
        (
            "GET /kv?prefix=a%2fb&limit=5",
            "Scan { start: Included([97, 47, 98]), end: Excluded([97, 47, 99]), limit: 5, backward: false } Page",
        ),
        (
            "GET /kv?start=a&end=c&after=b&reverse=true",
            "Scan { start: Included([97]), end: Excluded([98]), limit: 1000, backward: true } Page",
        ),
        ("POST /backup", "Copy(Begin) Lent"),
        (
            "GET /backup/7/2?offset=9",
            "Copy(Read { id: 7, file: 2, offset: 9, bytes: 1048576 }) Piece",
        ),
        ("DELETE /backup/7", "Copy(End { id: 7, kept: false }) Returned"),
        ("DELETE /backup/7?kept=true", "Copy(End { id: 7, kept: true }) Returned"),
        ("GET /livez", "Live"),
        ("GET /readyz", "Ready"),
        ("GET /health", "Ready"),
        ("HEAD /metrics", "Metrics"),
        ("GET /slow", "Slow"),
    ] {
        assert_eq!(asked(&head(line), b""), told, "{line}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (line, told) in [
        ("GET /nothing", "404 {\"title\":\"Not Found\",\"status\":404,\"code\":\"unknown_path\""),
        ("POST /livez", "405 {\"title\":\"Method Not Allowed\""),
        ("POST /kv/a", "405 "),
        ("DELETE /kv", "405 "),
        ("GET /backup", "405 "),
        ("HEAD /backup/7/2", "405 "),
        ("GET /backup/7", "405 "),
        ("GET /backup/", "404 "),
        ("GET /backup/7/", "404 "),
        ("GET /backup/7/+2", "404 "),
        ("GET /backup/7/2/0", "404 "),
        ("GET /backup/7/18446744073709551616", "404 "),
        ("GET /backup/7/2?offset=-1", "400 "),
        ("DELETE /backup/7?kept=1", "400 "),
        ("POST /backup?full=true", "400 "),
        ("GET /kv/%g1", "400 "),
        ("GET /kv/%a", "400 "),
        ("GET /kv?limit=0", "413 "),
        ("GET /kv?limit=x", "400 "),
        ("GET /kv?limit=1&limit=2", "400 "),
        ("GET /kv?colour=red", "400 "),
        ("GET /kv/a?x=1", "400 "),
        ("GET /kv?prefix=a&start=b", "400 "),
        ("PUT /kv/a?ttl_ms=1&expires_at_ms=2", "400 "),
    ] {
        let answered = asked(&head(line), b"");
        assert!(answered.starts_with(told), "{line}: {answered}");
    }
    let long = format!("GET /kv/{}", "k".repeat(5_000));
    assert!(asked(&head(&long), b"").starts_with("413 "));
}

#[test]
fn bodies_are_values() {
    let mut put = head("PUT /kv/a?ttl_ms=5");
    let bytes = asked(&put, b"\xff");
    assert!(bytes.contains("form: Bytes, bytes: [255]"), "{bytes}");
    assert!(bytes.contains("expiry: At(1005)"), "{bytes}");
    put.content_type = Some("Application/JSON; charset=utf-8");
    assert!(asked(&put, b" [1, 2]").contains("form: Json, bytes: [91, 49, 44, 50, 93]"));
    assert!(asked(&put, b"\"A\"").contains("form: Bytes, bytes: [65]"));
    assert!(asked(&put, b"{").starts_with("400 "));
    assert!(asked(&put, b"\xff").starts_with("400 "));
}

#[test]
fn conditions_are_headers() {
    let tag = "\"00000000000000ab\"";
    let mut put = head("PUT /kv/a");
    put.if_match = Some(tag);
    assert!(asked(&put, b"").contains("condition: Revision(171)"));
    put.if_match = Some("*");
    assert!(asked(&put, b"").contains("condition: Present"));
    put.if_match = Some("W/\"1\"");
    assert!(asked(&put, b"").starts_with("400 "));
    put.if_match = None;
    put.if_none_match = Some("*");
    assert!(asked(&put, b"").contains("condition: Absent"));
    put.if_none_match = Some(tag);
    assert!(asked(&put, b"").starts_with("400 "));
    let mut get = head("GET /kv/a");
    get.if_none_match = Some(tag);
    assert!(asked(&get, b"").ends_with("Get(Some(171))"));
}

#[test]
fn lines_are_requests_of_the_json_door() {
    for (body, count) in [
        (&b""[..], 0),
        (b"{\"command\":\"ping\"}", 1),
        (b"{\"command\":\"ping\"}\r\n\n{\"command\":\"ping\"}\n", 2),
        (b"nonsense\n{}", 2),
    ] {
        assert_eq!(asked(&head("POST /kv"), body), format!("{count} lines"), "{body:?}");
    }
}

#[test]
fn answers_carry_what_clients_need() {
    let found = |bytes: &[u8], form| Found { form, bytes: bytes.to_vec(), revision: 171 };
    let value = |known| {
        let reply = Reply::Value(Some(found(b"x", Form::Bytes)));
        answer(&Shape::Get(known), Answer::Reply(reply))
    };
    let tag = ("etag", "\"00000000000000ab\"".to_owned());
    assert_eq!((value(None).status, value(None).body), (200, b"x".to_vec()));
    assert!(value(None).headers.contains(&tag));
    assert_eq!((value(Some(171)).status, value(Some(171)).body), (304, Vec::new()));
    assert_eq!(value(Some(172)).status, 200);

    let look = Look { form: Form::Json, bytes: 7, expiry: Some(9), revision: 171 };
    let response = answer(&Shape::Head, Answer::Reply(Reply::Look(Some(look))));
    for header in [
        ("content-length", "7".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("olivine-expires-at-ms", "9".to_owned()),
        tag,
    ] {
        assert!(response.headers.contains(&header), "{response:?}");
    }

    let status = |shape: Shape, reply| answer(&shape, Answer::Reply(reply)).status;
    assert_eq!(status(Shape::Get(None), Reply::Value(None)), 404);
    assert_eq!(status(Shape::Change { conditional: true }, Reply::Done(true)), 204);
    assert_eq!(status(Shape::Change { conditional: true }, Reply::Done(false)), 412);
    assert_eq!(status(Shape::Change { conditional: false }, Reply::Done(false)), 404);
    for code in Code::ALL {
        let refused = Reply::Refused(Refusal::new(code, "why"));
        let response = answer(&Shape::Get(None), Answer::Reply(refused));
        assert!(400 <= response.status, "{code:?}");
        let retries = response.headers.iter().any(|(name, _)| *name == "retry-after");
        assert_eq!(retries, code.may_pass(), "{code:?}");
    }

    assert_eq!(asked(&head("POST /backup"), b"{}").split(' ').next(), Some("400"));
    let file = |name: &str, bytes| LentFile { name: name.to_owned(), bytes };
    let files = vec![file("store/catalog", 96), file("store/\"", u64::MAX)];
    let lent = Lent { id: 7, time: 1_000, idle: 300_000, store: 171, files };
    let response = answer(&Shape::Lent, Answer::Reply(Reply::Lent(lent)));
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        "{\"backup\":7,\"time_ms\":1000,\"idle_ms_max\":300000,\"store\":\"00000000000000ab\",\"files\":2}\n\
         {\"file\":0,\"name\":\"store/catalog\",\"bytes\":96}\n\
         {\"file\":1,\"name\":\"store/\\\"\",\"bytes\":18446744073709551615}\n"
    );
    let piece = Piece { bytes: b"\xff".to_vec(), hash: 171 };
    let response = answer(&Shape::Piece, Answer::Reply(Reply::Piece(Some(piece))));
    assert_eq!((response.status, &response.body[..]), (200, &b"\xff"[..]));
    assert!(response.headers.contains(&("olivine-xxh3", "00000000000000ab".to_owned())));
    assert_eq!(status(Shape::Piece, Reply::Piece(None)), 404);
    assert_eq!(status(Shape::Returned, Reply::Done(true)), 204);
    assert_eq!(status(Shape::Returned, Reply::Done(false)), 404);

    let entries = vec![
        (b"a".to_vec(), found(b"1", Form::Bytes)),
        (b"\xff".to_vec(), found(b"2", Form::Json)),
    ];
    let page = Reply::Page { entries, more: true };
    let response = answer(&Shape::Page, Answer::Reply(page));
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        "{\"key\":\"a\",\"value\":\"1\"}\n{\"key_base64\":\"/w==\",\"value\":2}\n{\"next_base64\":\"/w==\"}\n"
    );
}

#[test]
fn the_document_for_programs_is_json() {
    let response = answer(&Shape::OpenApi, Answer::Own);
    assert!(json::read_value(str::from_utf8(&response.body).unwrap()).is_ok());
}

#[test]
fn bodies_that_would_have_to_be_unpacked_are_refused() {
    for (encoding, status) in [("gzip", 415), ("zstd", 415), ("identity", 204), ("Identity", 204)] {
        let head = Head { content_encoding: Some(encoding), ..head("PUT /kv/a") };
        let answered = match read(&head, b"x", &Limits::default(), 0) {
            Request::Own(shape) => answer(&shape, Answer::Own).status,
            Request::One(_, shape) => answer(&shape, Answer::Reply(Reply::Done(true))).status,
            Request::Lines(_) => panic!("these are no lines"),
        };
        assert_eq!(answered, status, "{encoding}");
    }
}
