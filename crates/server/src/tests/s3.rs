//! Blobs in S3's manner, by a client that signs what it asks for.

use super::{
    blobs::{Several, Told, ask, at, get, master_of, put},
    *,
};

/// Asks as `olivine`, whose secret is `secret`.
fn signed(at: SocketAddr, method: &str, target: &str, headers: &str, body: &[u8]) -> Told {
    signed_by("secret", at, method, target, headers, body)
}

fn signed_by(
    secret: &str,
    at: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Told {
    let hmac = |key: &[u8], text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let seconds = (RealClock::new().wall().as_secs()).cast_signed();
    let now = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second) = now.to_hms();
    let date = format!("{year:04}{:02}{day:02}", u8::from(month));
    let moment = format!("{date}T{hour:02}{minute:02}{second:02}Z");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|one| !one.is_empty())
        .map(|one| if one.contains('=') { one.to_owned() } else { format!("{one}=") })
        .collect();
    parameters.sort();
    let canonical = format!(
        "{method}\n{path}\n{}\nhost:localhost\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{moment}\n\n\
         host;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD",
        parameters.join("&")
    );
    let hash = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let text =
        format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", crate::secret::hex(hash.as_ref()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for word in [&date[..], "us-east-1", "s3", "aws4_request"] {
        key = hmac(&key, word);
    }
    let signature = crate::secret::hex(&hmac(&key, &text));
    let headers = format!(
        "x-amz-date: {moment}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=olivine/{scope}, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n{headers}"
    );
    ask(at, method, target, &headers, body)
}

/// A file of keys.
fn keys(dir: &Dir, text: &str, mode: u32) -> PathBuf {
    let path = dir.0.join("s3.keys");
    olivine_vfs::make_dirs(&RealVfs, &dir.0).unwrap();
    // One of before goes.
    RealVfs.remove_file(&path).ok();
    let file = RealVfs.open(&path, olivine_vfs::Open::Create).unwrap();
    file.write_at(text.as_bytes(), 0).unwrap();
    let chmod = std::process::Command::new("chmod").arg(format!("{mode:o}")).arg(&path).status();
    assert!(chmod.unwrap().success());
    path
}

fn speak_s3(dir: &Dir, master: &mut MasterSettings) {
    master.manner = Manner::S3;
    master.s3_keys = Some(keys(dir, "olivine secret\n", 0o600));
}

fn of_s3(dir: &Dir) -> Settings {
    let mut settings = settings(dir);
    speak_s3(dir, settings.blobs.master.as_mut().unwrap());
    settings
}

fn text(told: &Told) -> String {
    String::from_utf8_lossy(&told.body).into_owned()
}

/// What stands between tags of an answer.
fn field(told: &Told, name: &str) -> String {
    let text = text(told);
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{text}"));
    rest.split_once('<').unwrap().0.to_owned()
}

#[test]
fn a_master_that_speaks_as_s3_wants_keys() {
    let dir = Dir::new();
    let problem = |settings: &Settings| Node::start(settings).map(drop).unwrap_err().to_string();
    let mut settings = settings(&dir);
    let master = settings.blobs.master.as_mut().unwrap();
    master.manner = Manner::S3;
    assert!(problem(&settings).contains("--s3-keys"), "{}", problem(&settings));
    for (text, mode, what) in [
        ("olivine secret\n", 0o644, "chmod 600"),
        ("# nobody\n", 0o600, "no key"),
        ("secret\n", 0o600, "line 1"),
    ] {
        let path = keys(&dir, text, mode);
        settings.blobs.master.as_mut().unwrap().s3_keys = Some(path);
        let told = problem(&settings);
        assert!(told.contains(what), "{told}");
        assert!(!told.contains("`secret`"), "{told}");
    }
}

/// Who signs is known, so that a door to other machines need not ask users; TLS it wants all the same.
#[test]
fn a_door_of_s3_opens_to_other_machines_without_users() {
    let dir = Dir::new();
    let mut settings = master_of(&dir, &[], |master| speak_s3(&dir, master));
    settings.doors[0].address = SocketAddr::from(([0, 0, 0, 0], 0));
    let problem = Node::start(&settings).map(drop).unwrap_err().to_string();
    assert!(problem.contains("without TLS"), "{problem}");
    settings.tls = Some(crate::TlsSetting::Auto);
    drop(Running::start(&settings));
}

fn speaks_as_s3(at: SocketAddr) {
    for told in [
        ask(at, "GET", "/", "", b""),
        ask(at, "PUT", "/photos", "", b""),
        signed_by("other", at, "PUT", "/photos", "", b""),
    ] {
        assert_eq!(told.status, 403, "{}", text(&told));
        assert!(text(&told).contains("<Error><Code>"), "{}", text(&told));
    }
    assert_eq!(signed(at, "PUT", "/photos", "", b"").status, 200);
    assert_eq!(signed(at, "PUT", "/photos", "", b"").status, 409);
    let put =
        signed(at, "PUT", "/photos/a/b", "content-type: text/x\r\nx-amz-meta-a: b\r\n", b"bigswag");
    assert_eq!(put.status, 200, "{}", text(&put));
    let told = put.header("etag").unwrap().to_owned();
    assert_eq!(told, "\"df86f5729538f57b0c5312f673abefe4\"", "the MD5");
    let got = signed(at, "GET", "/photos/a/b", "", b"");
    assert_eq!((got.status, &got.body[..]), (200, &b"bigswag"[..]));
    assert_eq!(got.header("etag"), Some(&*told));
    assert_eq!(signed(at, "PUT", "/photos/empty", "", b"").status, 200);
    let empty = signed(at, "GET", "/photos/empty", "", b"");
    assert_eq!((empty.status, &empty.body[..]), (200, &b""[..]));
    assert_eq!(signed(at, "DELETE", "/photos/empty", "", b"").status, 204);
    assert_eq!(got.header("content-type"), Some("text/x"));
    assert_eq!(got.header("x-amz-meta-a"), Some("b"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert!(got.header("content-security-policy").unwrap().contains("sandbox"));
    let part = signed(at, "GET", "/photos/a/b", "range: bytes=3-5\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &b"swa"[..]));
    let head = signed(at, "HEAD", "/photos/a/b", "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    let known = signed(at, "GET", "/photos/a/b", &format!("if-none-match: {told}\r\n"), b"");
    assert_eq!((known.status, known.header("etag")), (304, Some(&*told)));
    let again = signed(at, "PUT", "/photos/a/b", "if-none-match: *\r\n", b"x");
    assert_eq!((again.status, &*field(&again, "Code")), (412, "PreconditionFailed"));
    let absent = signed(at, "GET", "/photos/none", "", b"");
    assert_eq!((absent.status, &*field(&absent, "Code")), (404, "NoSuchKey"));
    let absent = signed(at, "GET", "/nothing/none", "", b"");
    assert_eq!((absent.status, &*field(&absent, "Code")), (404, "NoSuchBucket"));
    let wrong = signed(at, "PUT", "/photos/c", "content-md5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"x");
    assert_eq!((wrong.status, &*field(&wrong, "Code")), (400, "BadDigest"));
    assert_eq!(signed(at, "GET", "/photos/c", "", b"").status, 404);
    let listed = signed(at, "GET", "/photos?list-type=2&delimiter=%2F", "", b"");
    assert_eq!(listed.status, 200, "{}", text(&listed));
    assert!(
        text(&listed).contains("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"),
        "{}",
        text(&listed)
    );
    let unknown = signed(at, "GET", "/photos?acl", "", b"");
    assert_eq!((unknown.status, &*field(&unknown, "Code")), (501, "NotImplemented"));
    assert_eq!(signed(at, "DELETE", "/photos", "", b"").status, 409);
    // In parts, of which the first is longer than what is read at once.
    let begun = signed(at, "POST", "/photos/long?uploads", "x-amz-meta-a: c\r\n", b"");
    let id = field(&begun, "UploadId");
    let first: Vec<u8> = (0..6 << 20).map(|n: u32| (n >> 3) as u8).collect();
    let parts = [&first[..], b"the end"].into_iter().zip(1..).map(|(part, number)| {
        let target = format!("/photos/long?partNumber={number}&uploadId={id}");
        let told = signed(at, "PUT", &target, "", part);
        assert_eq!(told.status, 200, "{}", text(&told));
        let tag = told.header("etag").unwrap().to_owned();
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
    });
    let parts: String = parts.collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let target = format!("/photos/long?uploadId={id}");
    let done = signed(at, "POST", &target, "", body.as_bytes());
    assert_eq!(done.status, 200, "{}", text(&done));
    let got = signed(at, "GET", "/photos/long", "", b"");
    assert_eq!(got.status, 200);
    assert!(got.body == [&first[..], b"the end"].concat());
    assert_eq!(got.header("x-amz-meta-a"), Some("c"));
    let over = signed(at, "GET", "/photos/long", "range: bytes=6291454-6291458\r\n", b"");
    assert_eq!(&over.body[2..], b"the");
    let copied = signed(at, "PUT", "/photos/copy", "x-amz-copy-source: photos/long\r\n", b"");
    assert_eq!(copied.status, 200, "{}", text(&copied));
    assert!(signed(at, "GET", "/photos/copy", "", b"").body == got.body);
    let many = b"<Delete><Object><Key>copy</Key></Object><Object><Key>a/b</Key></Object></Delete>";
    let told = signed(at, "POST", "/photos?delete", "", many);
    assert_eq!(told.status, 200, "{}", text(&told));
    assert_eq!(signed(at, "GET", "/photos/a/b", "", b"").status, 404);
    assert_eq!(signed(at, "DELETE", "/photos/long", "", b"").status, 204);
    assert_eq!(signed(at, "DELETE", "/photos/long", "", b"").status, 204);
    assert_eq!(signed(at, "DELETE", "/photos", "", b"").status, 204);
}

#[test]
fn s3_is_spoken_in_one_process_and_in_several() {
    let dir = Dir::new();
    let node = Running::start(&of_s3(&dir));
    speaks_as_s3(at(&node, Door::Blob));
    node.end();
    let dir = Dir::new();
    let several = Several::begin(&dir, 3, |master| {
        speak_s3(&dir, master);
        master.replicas = 2;
    });
    several.wait(|at| signed(at, "PUT", "/first", "", b"").status == 200);
    speaks_as_s3(at(&several.master, Door::Blob));
}

/// Objects are there in all manners, those of parts too, and what is the store's own is nobody's.
#[test]
fn other_manners_see_objects_and_nothing_of_what_is_beside_them() {
    let dir = Dir::new();
    let mut settings = of_s3(&dir);
    let node = Running::start(&settings);
    let door = at(&node, Door::Blob);
    assert_eq!(signed(door, "PUT", "/photos", "", b"").status, 200);
    assert_eq!(signed(door, "PUT", "/photos/a", "x-amz-meta-a: b\r\n", b"one").status, 200);
    let begun = signed(door, "POST", "/photos/long?uploads", "", b"");
    let id = field(&begun, "UploadId");
    let part = signed(door, "PUT", &format!("/photos/long?partNumber=1&uploadId={id}"), "", b"two");
    let tag = part.header("etag").unwrap();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    );
    let target = format!("/photos/long?uploadId={id}");
    assert_eq!(signed(door, "POST", &target, "", body.as_bytes()).status, 200);
    node.end();
    settings.blobs.master.as_mut().unwrap().manner = Manner::Smol;
    let node = Running::start(&settings);
    let door = at(&node, Door::Blob);
    assert_eq!(get(door, "/photos/a"), (200, b"one".to_vec()));
    assert_eq!(get(door, "/photos/long"), (200, b"two".to_vec()));
    let listed = ask(door, "GET", "/?list", "", b"");
    let listed = String::from_utf8(listed.body).unwrap();
    assert!(listed.contains("/photos/a") && listed.contains("/photos/long"), "{listed}");
    assert_eq!(listed.matches('/').count(), 4, "{listed}");
    for (method, path) in [("PUT", "/%00bother"), ("GET", "/%00bphotos"), ("DELETE", "/%00bphotos")]
    {
        assert_eq!(ask(door, method, path, "", b"x").status, 400, "{method} {path}");
    }
    assert_eq!(ask(door, "GET", "/%00?list", "", b"").status, 400);
    assert_eq!(put(door, "/photos/long", b"three"), 201);
    assert_eq!(put(door, "/photos/new", b"four"), 201);
    assert_eq!(get(door, "/photos/long"), (200, b"three".to_vec()));
    node.end();
    settings.blobs.master.as_mut().unwrap().manner = Manner::S3;
    let node = Running::start(&settings);
    let door = at(&node, Door::Blob);
    let new = signed(door, "GET", "/photos/new", "", b"");
    assert_eq!((new.status, &new.body[..]), (200, &b"four"[..]));
    assert!(new.header("etag").unwrap().ends_with("-0\""));
    assert_eq!(new.header("content-type"), Some("binary/octet-stream"));
    assert_eq!(signed(door, "GET", "/photos/a", "", b"").header("x-amz-meta-a"), Some("b"));
    assert_eq!(signed(door, "GET", "/photos/long", "", b"").body, b"three");
}
