//! What the doors of blobs read and write.

use super::*;

fn head<'a>(method: &'a str, path: &'a str, query: &'a str) -> Head<'a> {
    Head { method, path, query, ..Head::default() }
}

fn wrong(manner: Manner, head: &Head<'_>) -> u16 {
    match read(manner, head) {
        Asked::Wrong(wrong) => wrong.status,
        asked => panic!("{asked:?}"),
    }
}

#[test]
fn a_path_is_a_key_and_a_key_a_path() {
    for key in [
        &b"k1"[..],
        b"a/b c",
        b"..",
        b"../etc/passwd",
        b"a/./b",
        b"%2e%2e",
        b"\0\xff\n",
        b"//",
        "Schl\u{fc}ssel?#&=+".as_bytes(),
    ] {
        let path = path_of(key);
        assert_eq!(key_of(&path).as_deref(), Some(key), "{path}");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~/.%".contains(&byte);
        assert!(path.bytes().all(is_plain), "{path}");
        assert!(!path.split('/').any(|part| part == "." || part == ".."), "{path}");
    }
    assert_eq!(key_of("/%zz"), None);
    assert_eq!(key_of("/%4"), None);
}

#[test]
fn what_the_sources_curl_lines_ask_is_understood() {
    let key = || Cow::Borrowed(&b"k1"[..]);
    let (condition, ttl) = (Condition::Any, None);
    let smol = |head: &Head<'static>| read(Manner::Smol, head);
    assert_eq!(smol(&head("PUT", "/k1", "")), Asked::Put { key: key(), condition, ttl });
    assert_eq!(smol(&head("GET", "/k1", "")), Asked::Get { key: key(), is_head: false });
    assert_eq!(smol(&head("HEAD", "/k1", "")), Asked::Get { key: key(), is_head: true });
    assert_eq!(smol(&head("DELETE", "/k1", "")), Asked::Delete { key: key(), condition });
}

#[test]
fn nothing_unknown_is_taken() {
    assert_eq!(wrong(Manner::Smol, &head("GET", "/k1", "lst")), 400);
    assert_eq!(wrong(Manner::Mkv, &head("GET", "/k1", "lst")), 403);
    assert_eq!(wrong(Manner::Mkv, &head("GET", "/", "list&limit=x")), 400);
    assert_eq!(wrong(Manner::Mkv, &head("GET", "/", "limit=1&list")), 403);
    assert_eq!(wrong(Manner::Smol, &head("PUT", "/k1", "ttl=0")), 400);
    assert_eq!(wrong(Manner::Smol, &head("DELETE", "/k1", "ttl=5")), 400);
    assert_eq!(wrong(Manner::Smol, &head("POST", "/k1", "")), 405);
    assert_eq!(wrong(Manner::Smol, &head("GET", "/", "")), 404);
    assert_eq!(wrong(Manner::Smol, &Head { bytes: Some(0), ..head("PUT", "/k1", "") }), 411);
    let long = format!("/{}", "a".repeat(KEY_BYTES_MAX + 1));
    assert_eq!(wrong(Manner::Smol, &head("GET", &long, "")), 400);
}

#[test]
fn lists_are_asked_as_minikeyvalue_is() {
    let read = |path, query| match read(Manner::Mkv, &head("GET", path, query)) {
        Asked::List(list) => list,
        asked => panic!("{asked:?}"),
    };
    let list = read("/a%2f", "list&limit=2&start=a%2Fb");
    let expected =
        List { prefix: b"a/".to_vec(), start: b"a/b".to_vec(), limit: 2, ..List::default() };
    assert_eq!(list, expected);
    assert!(read("/", "unlinked").unlinked);
    let list = read("/bucket", "list-type=2&prefix=x+y");
    assert_eq!((list.xml, &list.prefix[..]), (true, &b"bucket/x y"[..]));
}

#[test]
fn lists_are_json_whatever_the_keys_are() {
    let entry = |key| Entry { key, bytes: 1, generation: 2 };
    let entries = [entry(&b"a"[..]), entry(b"b\"\n"), entry(b"\xff")];
    let json = String::from_utf8(list_json(&entries, Some(b"c"))).unwrap();
    assert_eq!(json, r#"{"next":"/c","keys":["/a","/b\"\u000a","/%FF"]}"#);
    let json = String::from_utf8(list_json(&[], None)).unwrap();
    assert_eq!(json, r#"{"next":"","keys":[]}"#);
    let xml = String::from_utf8(list_xml(&[entry(b"<&\x01>")], None)).unwrap();
    assert!(xml.contains("<Key>&lt;&amp;\u{fffd}&gt;</Key>"), "{xml}");
}

#[test]
fn conditions_are_read() {
    let read = |if_match, if_none_match| {
        let head = Head { if_match, if_none_match, ..head("PUT", "/k", "") };
        match read(Manner::Smol, &head) {
            Asked::Put { condition, .. } => Ok(condition),
            Asked::Wrong(wrong) => Err(wrong.status),
            asked => panic!("{asked:?}"),
        }
    };
    let tag = tag(0xabc);
    assert_eq!(read(None, Some("*")), Ok(Condition::Absent));
    assert_eq!(read(Some("*"), None), Ok(Condition::Present));
    assert_eq!(read(Some(&tag), None), Ok(Condition::Is(0xabc)));
    assert_eq!(read(Some("\"other\""), None), Ok(Condition::Is(u64::MAX)));
    assert_eq!(read(None, Some(&tag)), Err(400));
    assert_eq!(read(Some("*"), Some("*")), Err(400));
    assert!(is_known(&format!("\"1\", W/{tag}"), 0xabc));
    assert!(is_known("*", 1) && !is_known("\"ab\"", 0xabc));
}

#[test]
fn ranges_are_of_bytes_that_are_there() {
    let part = |from, to| Range::Part { from, to };
    for (range, wanted) in [
        (None, Range::All),
        (Some("bytes=0-0"), part(0, 1)),
        (Some("bytes=5-"), part(5, 10)),
        (Some("bytes=5-99"), part(5, 10)),
        (Some("bytes=-3"), part(7, 10)),
        (Some("bytes=-30"), part(0, 10)),
        (Some("bytes=10-"), Range::Outside),
        (Some("bytes=-0"), Range::Outside),
        (Some("bytes=99999999999999999999-"), Range::Outside),
        (Some("bytes=0-99999999999999999999"), part(0, 10)),
        (Some("bytes=3-2"), Range::All),
        (Some("bytes=0-1,3-4"), Range::All),
        (Some("items=0-1"), Range::All),
        (Some("bytes=a-b"), Range::All),
    ] {
        assert_eq!(read_range(range, 10), wanted, "{range:?}");
    }
    assert_eq!(read_range(Some("bytes=-1"), 0), Range::Outside);
}

#[test]
fn a_volume_takes_a_grant_and_nothing_else() {
    let sent = read_sent("/k%31", "grant=abc").unwrap();
    assert_eq!((&*sent.key, sent.grant), (&b"k1"[..], Some("abc")));
    assert_eq!(read_sent("/k1", "").unwrap().grant, None);
    for (path, query, status) in
        [("/k1", "grant=a&b=c", 400), ("/k1", "x", 400), ("/", "grant=a", 404), ("/%", "", 400)]
    {
        assert_eq!(read_sent(path, query).unwrap_err().status, status, "{path}?{query}");
    }
}

#[test]
fn uploads_and_batches_are_asked_as_minikeyvalue_is() {
    let key = || Cow::Borrowed(&b"b/k"[..]);
    let upload = || "1f".to_owned();
    let mkv = |method, query| read(Manner::Mkv, &head(method, "/b/k", query));
    for query in ["uploads", "uploads="] {
        assert_eq!(mkv("POST", query), Asked::Begin { key: key() });
    }
    let part = Asked::Part { key: key(), upload: upload(), number: 10_000 };
    assert_eq!(mkv("PUT", "partNumber=10000&uploadId=1f"), part);
    assert_eq!(mkv("PUT", "uploadId=%31f&partNumber=10000"), part);
    assert_eq!(mkv("POST", "uploadId=1f"), Asked::Complete { key: key(), upload: upload() });
    assert_eq!(mkv("DELETE", "uploadId=1f"), Asked::Abort { key: key(), upload: upload() });
    assert_eq!(mkv("POST", "delete"), Asked::DeleteAll { below: key() });
    let all = read(Manner::Mkv, &head("POST", "/", "delete="));
    assert_eq!(all, Asked::DeleteAll { below: Cow::Borrowed(b"") });
    let wrong = |method, path, query| wrong(Manner::Mkv, &head(method, path, query));
    for (method, query, status) in [
        ("PUT", "partNumber=0&uploadId=1f", 400),
        ("PUT", "partNumber=10001&uploadId=1f", 400),
        ("PUT", "partNumber=x&uploadId=1f", 400),
        ("PUT", "partNumber=1&partNumber=2&uploadId=1f", 400),
        ("PUT", "partNumber=1&uploadId=%zz", 400),
        ("PUT", "partNumber=1", 400),
        ("POST", "partNumber=1&uploadId=1f", 403),
        ("POST", "uploads&more", 403),
        ("POST", "", 405),
        ("DELETE", "partNumber=1&uploadId=1f", 403),
    ] {
        assert_eq!(wrong(method, "/b/k", query), status, "{method} {query}");
    }
    assert_eq!(wrong("POST", "/", "uploads"), 404);
    assert_eq!(wrong("POST", "/%00k", "uploads"), 400, "that key is the store's own");
    assert_eq!(wrong("POST", &format!("/{}", "a".repeat(KEY_BYTES_MAX)), "uploads"), 400);
    let empty = Head { bytes: Some(0), ..head("PUT", "/k", "partNumber=1&uploadId=1f") };
    assert_eq!(tests::wrong(Manner::Mkv, &empty), 411);
    // Other manners have none of it, or have it elsewhere.
    let smol = |method, query| tests::wrong(Manner::Smol, &head(method, "/k", query));
    assert_eq!((smol("POST", "uploads"), smol("DELETE", "uploadId=1f")), (400, 400));
}
