//! What lines ask and what answers look like, in text.

use olivine_command::{Code, Found, Look, Refusal};

use super::*;
use crate::{Answer, limits::Limits};
use olivine_command::{Form, Reply};

fn said(line: &str, filled: Answer) -> String {
    let request = read(line.as_bytes(), &Limits::default(), 1_000).expect("a request");
    let mut out = Vec::new();
    let filled = if request.command.is_none() { Answer::Own } else { filled };
    answer(&request.shape, filled, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(read_value(text.trim_end()).is_ok(), "{text}");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    text.trim_end().to_owned()
}

fn asked(line: &str) -> String {
    let request = read(line.as_bytes(), &Limits::default(), 1_000).expect("a request");
    match request.command {
        Some(command) => format!("{command:?}"),
        None => said(line, Answer::Own),
    }
}

fn found(bytes: &[u8], form: Form) -> Found {
    Found { form, bytes: bytes.to_vec(), revision: 0xabc }
}

fn value(bytes: &[u8], form: Form) -> Answer {
    Answer::Reply(Reply::Value(Some(found(bytes, form))))
}

/// The words that source clients know, letter by letter.
#[test]
fn the_known_words() {
    let done = || Answer::Reply(Reply::Done(true));
    let cases = [
        (
            r#"{"command": "put", "key": "mykey", "value": "myvalue"}"#,
            done(),
            r#"{"status":"ok","message":"Key-value pair stored"}"#,
        ),
        (
            r#"{"command": "get", "key": "mykey"}"#,
            value(b"myvalue", Form::Bytes),
            r#"{"status":"ok","value":"myvalue"}"#,
        ),
        (
            r#"{"command": "get", "key": "mykey"}"#,
            Answer::Reply(Reply::Value(None)),
            r#"{"status":"not_found","message":"Key not found"}"#,
        ),
        (
            r#"{"command": "get_range", "start_key": "a", "end_key": "z"}"#,
            Answer::Reply(Reply::Page {
                entries: vec![
                    (b"key1".to_vec(), found(b"value1", Form::Bytes)),
                    (b"key2".to_vec(), found(b"2.50", Form::Json)),
                ],
                more: false,
            }),
            r#"{"status":"ok","data":[["key1","value1"],["key2",2.50]]}"#,
        ),
        (
            r#"{"command": "batch_put", "keys": ["k1", "k2"], "values": ["v1", "v2"]}"#,
            Answer::Reply(Reply::Count(2)),
            r#"{"status":"ok","message":"2 key-value pairs stored"}"#,
        ),
        (
            r#"{"command": "delete", "key": "mykey"}"#,
            Answer::Reply(Reply::Done(false)),
            r#"{"status":"ok","message":"Key deleted"}"#,
        ),
        (r#"{"command": "ping"}"#, Answer::Own, r#"{"status":"ok","message":"pong"}"#),
    ];
    for (line, filled, told) in cases {
        assert_eq!(said(line, filled), told, "{line}");
    }
    let wrong = [
        (r#"{"command":"put","key":"a"}"#, "Missing key or value"),
        (r#"{"command":"put","value":"a"}"#, "Missing key or value"),
        (r#"{"command":"put","key":"a","value":null}"#, "Missing key or value"),
        (r#"{"command":"get"}"#, "Missing key"),
        (r#"{"command":"delete"}"#, "Missing key"),
        (r#"{"command":"get_range","start_key":"a"}"#, "Missing start_key or end_key"),
        (r#"{"command":"batch_put","keys":[]}"#, "Missing keys or values"),
        (r#"{"command":"batch_put","keys":"a","values":[]}"#, "Keys and values must be lists"),
        (
            r#"{"command":"batch_put","keys":["a"],"values":[]}"#,
            "Keys and values must have the same length",
        ),
        (r#"{"command":"fly"}"#, "Unknown command: fly"),
        (r"{}", "Unknown command: "),
        ("{", "Invalid JSON"),
        ("hello", "Invalid JSON"),
        (r#"{"command":"get","key":"\ud800"}"#, "Invalid JSON"),
    ];
    for (line, message) in wrong {
        let told = said(line, Answer::Own);
        let start = format!(r#"{{"status":"error","message":"{message}","code":""#);
        assert!(told.starts_with(&start), "{line}: {told}");
    }
}

#[test]
fn what_is_not_known_is_told() {
    for (line, told) in [
        (
            r#"{"command":"get","kye":"a"}"#,
            r#"{"status":"error","message":"Unknown field: kye","code":"invalid","detail":"there are command, id"#,
        ),
        (
            r#"{"command":"get","key":"a","key":"b"}"#,
            r#"{"status":"error","message":"Field `key` is there twice""#,
        ),
        (
            r#"{"command":"get","key":7}"#,
            r#"{"status":"error","message":"Field `key` must be a string""#,
        ),
        (
            r#"{"command":"put","key":"a","value":1,"ttl_ms":-1}"#,
            r#"{"status":"error","message":"Field `ttl_ms` must be a whole number"#,
        ),
        (
            r#"{"command":"put","key":"a","value":1,"if_absent":true,"if_present":true}"#,
            r#"{"status":"error","message":"Only one of if_absent"#,
        ),
        (
            r#"{"command":"scan","limit":10001}"#,
            r#"{"status":"error","message":"Field `limit` is 10001, and may be 1 to `page-entries-max`"#,
        ),
        (
            r#"{"command":"get","key":"*","encoding":"base64"}"#,
            r#"{"status":"error","message":"What is marked as base64 is not""#,
        ),
        (r"[1]", r#"{"status":"error","message":"Request must be an object""#),
    ] {
        let answered = said(line, Answer::Own);
        assert!(answered.starts_with(told), "{line}: {answered}");
    }
    let long = format!(r#"{{"command":"get","key":"{}"}}"#, "k".repeat(5_000));
    let told = r#"{"status":"error","message":"the key has 5000 bytes, and `key-bytes-max` is 4096","code":"too_large"}"#;
    assert_eq!(said(&long, Answer::Own), told);
}

#[test]
fn ids_come_back_as_they_were() {
    for (line, told) in [
        (r#"{"command":"ping","id":7}"#, r#"{"status":"ok","message":"pong","id":7}"#),
        (
            r#"{"id":{ "a": [1] },"command":"ping"}"#,
            r#"{"status":"ok","message":"pong","id":{"a":[1]}}"#,
        ),
        (
            r#"{"id":"x","command":"fly"}"#,
            r#"{"status":"error","message":"Unknown command: fly","code":"unknown_command","detail":"there are put, get, delete, get_range, batch_put, batch_get, batch_delete, scan, info, expire, auth, ping, stats","id":"x"}"#,
        ),
    ] {
        assert_eq!(said(line, Answer::Own), told);
    }
}

#[test]
fn values_keep_their_type() {
    for (line, stored) in [
        (r#"{"command":"put","key":"a","value": 1.50 }"#, r"Json, bytes: [49, 46, 53, 48]"),
        (r#"{"command":"put","key":"a","value": [1, 2] }"#, r"Json, bytes: [91, 49, 44, 50, 93]"),
        (r#"{"command":"put","key":"a","value":"\u0041"}"#, r"Bytes, bytes: [65]"),
        (
            r#"{"command":"put","key":"YQ==","value":"/w==","encoding":"base64"}"#,
            r"Bytes, bytes: [255]",
        ),
    ] {
        assert!(asked(line).contains(stored), "{line}: {}", asked(line));
    }
    let get = r#"{"command":"get","key":"a"}"#;
    assert_eq!(said(get, value(b"{\"a\":1}", Form::Json)), r#"{"status":"ok","value":{"a":1}}"#);
    assert_eq!(
        said(get, value(b"\xff", Form::Bytes)),
        r#"{"status":"ok","value":"/w==","encoding":"base64"}"#
    );
    assert_eq!(
        said(get, value(b"\"\\\n\x01", Form::Bytes)),
        r#"{"status":"ok","value":"\"\\\n\u0001"}"#
    );
    let revised = r#"{"command":"get","key":"a","revision":true}"#;
    assert_eq!(
        said(revised, value(b"x", Form::Bytes)),
        r#"{"status":"ok","value":"x","revision":"0000000000000abc"}"#
    );
}

#[test]
fn scans_say_where_to_go_on() {
    let entries = || vec![(b"a".to_vec(), found(b"1", Form::Bytes))];
    let page = |more| Answer::Reply(Reply::Page { entries: entries(), more });
    let scan = r#"{"command":"scan","prefix":"a","limit":1}"#;
    assert_eq!(said(scan, page(true)), r#"{"status":"ok","data":[["a","1"]],"next":"a"}"#);
    assert_eq!(said(scan, page(false)), r#"{"status":"ok","data":[["a","1"]],"next":null}"#);
    assert_eq!(
        asked(r#"{"command":"scan","prefix":"a","after":"ab"}"#),
        "Scan { start: Excluded([97, 98]), end: Excluded([98]), limit: 100, backward: false }"
    );
    assert_eq!(
        asked(r#"{"command":"scan","start_key":"a","after":"b","reverse":true,"limit":2}"#),
        "Scan { start: Included([97]), end: Excluded([98]), limit: 2, backward: true }"
    );
    let range = r#"{"command":"get_range","start_key":"a","end_key":"b"}"#;
    assert!(said(range, page(true)).contains("use scan"));
}

#[test]
fn times_are_of_the_one_who_accepts() {
    for (line, expiry) in [
        (r#"{"command":"expire","key":"a","ttl_ms":500}"#, "At(1500)"),
        (r#"{"command":"expire","key":"a","expires_at_ms":500}"#, "At(500)"),
        (r#"{"command":"expire","key":"a"}"#, "Never"),
        (r#"{"command":"put","key":"a","value":"b","ttl_ms":1}"#, "At(1001)"),
    ] {
        assert!(asked(line).contains(&format!("expiry: {expiry}")), "{line}");
    }
}

#[test]
fn what_the_store_says_is_told() {
    let look = Look { form: Form::Json, bytes: 3, expiry: Some(9), revision: 1 };
    for (line, filled, told) in [
        (
            r#"{"command":"info","key":"a"}"#,
            Answer::Reply(Reply::Look(Some(look))),
            r#"{"status":"ok","type":"json","bytes":3,"expires_at_ms":9,"revision":"0000000000000001"}"#,
        ),
        (
            r#"{"command":"put","key":"a","value":"b","if_absent":true}"#,
            Answer::Reply(Reply::Done(false)),
            r#"{"status":"error","message":"Condition does not hold","code":"condition"}"#,
        ),
        (
            r#"{"command":"put","key":"a","value":"b"}"#,
            Answer::Reply(Reply::Refused(Refusal::new(Code::Full, "no room"))),
            r#"{"status":"error","message":"no room","code":"disk_full"}"#,
        ),
        (
            r#"{"command":"stats"}"#,
            Answer::Reply(Reply::Numbers(vec![("keys".to_owned(), 2), ("bytes".to_owned(), 3)])),
            r#"{"status":"ok","data":{"keys":2,"bytes":3}}"#,
        ),
        (
            r#"{"command":"batch_get","keys":["a","b"]}"#,
            Answer::Reply(Reply::Values(vec![None, Some(found(b"x", Form::Bytes))])),
            r#"{"status":"ok","values":[null,"x"]}"#,
        ),
    ] {
        assert_eq!(said(line, filled), told);
    }
}
