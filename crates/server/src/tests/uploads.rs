//! Uploads, batches and the fallback of minikeyvalue's manner.

use super::{
    blobs::{Several, Told, ask, at, get},
    *,
};

fn body(told: &Told) -> &str {
    str::from_utf8(&told.body).unwrap()
}

/// What an upload goes by that begins.
fn begun(at: SocketAddr, path: &str) -> String {
    let told = ask(at, "POST", &format!("{path}?uploads"), "", b"");
    assert_eq!((told.status, told.header("content-type")), (200, Some("application/xml")));
    let begin = "<InitiateMultipartUploadResult><UploadId>";
    let id = body(&told).strip_prefix(begin).unwrap().split('<').next().unwrap();
    id.to_owned()
}

fn part(at: SocketAddr, path: &str, id: &str, number: u32, value: &[u8]) -> Told {
    ask(at, "PUT", &format!("{path}?partNumber={number}&uploadId={id}"), "", value)
}

fn completed(at: SocketAddr, path: &str, id: &str, numbers: &[u32]) -> Told {
    let part = |number: &u32| format!("<Part><PartNumber>{number}</PartNumber></Part>");
    let parts: String = numbers.iter().map(part).collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    ask(at, "POST", &format!("{path}?uploadId={id}"), "", document.as_bytes())
}

fn deleted(at: SocketAddr, path: &str, keys: &[&str]) -> u16 {
    let object = |key: &&str| format!("<Object><Key>{key}</Key></Object>");
    let objects: String = keys.iter().map(object).collect();
    let document = format!("<Delete>{objects}</Delete>");
    ask(at, "POST", &format!("{path}?delete"), "", document.as_bytes()).status
}

fn list(at: SocketAddr, query: &str) -> String {
    String::from_utf8(ask(at, "GET", &format!("/?{query}"), "", b"").body).unwrap()
}

/// As minikeyvalue answers, status by status.
fn takes_uploads(at: SocketAddr) {
    let id = begun(at, "/b/k");
    let large: Vec<u8> = (0..700_000_u32).map(|place| (place % 251) as u8).collect();
    assert_eq!(part(at, "/b/k", &id, 7, b"the end").status, 200);
    assert_eq!(part(at, "/b/k", &id, 2, b"put over").status, 200);
    assert_eq!(part(at, "/b/k", &id, 2, &large).status, 200);
    assert_eq!(part(at, "/b/k", &id, 3, b"left out").status, 200);
    assert_eq!(part(at, "/b/k", &id, 1, b"begin").status, 200);
    let told = part(at, "/b/k", &id, 9, b"data");
    // As `md5sum` has it.
    assert_eq!(told.header("etag"), Some("\"8d777f385d3dfec8815d20f7496026dc\""));
    assert_eq!(part(at, "/b/k", &id, 4, b"").status, 411);
    for wrong in ["0000000000000000", "none", ""] {
        assert_eq!(part(at, "/b/k", wrong, 1, b"x").status, 403, "{wrong}");
        assert_eq!(completed(at, "/b/k", wrong, &[1]).status, 403, "{wrong}");
    }
    assert_eq!(part(at, "/b/other", &id, 1, b"x").status, 403, "the upload is to another key");
    assert_eq!(get(at, "/b/k").0, 404, "there is nothing yet");
    assert_eq!(list(at, "list"), r#"{"next":"","keys":[]}"#);
    assert_eq!(completed(at, "/b/k", &id, &[1, 5]).status, 403, "there is no part 5");
    assert_eq!(completed(at, "/b/k", &id, &[2, 1]).status, 400);
    assert_eq!(completed(at, "/b/k", &id, &[]).status, 400);
    let garbage = ask(at, "POST", &format!("/b/k?uploadId={id}"), "", b"<Complete");
    assert_eq!(garbage.status, 400);
    let told = completed(at, "/b/k", &id, &[1, 2, 7]);
    assert_eq!(told.status, 201, "{}", body(&told));
    assert!(body(&told).starts_with("<CompleteMultipartUploadResult><ETag>&quot;"));
    let whole = [b"begin", &large[..], b"the end"].concat();
    let told = ask(at, "GET", "/b/k", "", b"");
    assert_eq!(told.status, 200);
    assert!(told.body == whole);
    assert_eq!(told.header("content-length"), Some(&*whole.len().to_string()));
    assert!(told.header("key-volumes").is_some() && told.header("content-md5").is_none());
    let tag = told.header("etag").unwrap().to_owned();
    let known = ask(at, "GET", "/b/k", &format!("if-none-match: {tag}\r\n"), b"");
    assert_eq!(known.status, 304);
    let head = ask(at, "HEAD", "/b/k", "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&*whole.len().to_string()));
    let told = ask(at, "GET", "/b/k", "range: bytes=3-9\r\n", b"");
    assert_eq!((told.status, &told.body[..]), (206, &whole[3..10]));
    let told = ask(at, "GET", "/b/k", "range: bytes=-9\r\n", b"");
    assert!(told.body == whole[whole.len() - 9..]);
    assert_eq!(ask(at, "GET", "/b/k", "range: bytes=9000000-\r\n", b"").status, 416);
    // It is told again to whoever was not, and to nobody else.
    assert_eq!(completed(at, "/b/k", &id, &[1, 2, 7]).status, 201);
    assert_eq!(completed(at, "/b/k", "0000000000000000", &[1]).status, 403);
    assert_eq!(part(at, "/b/k", &id, 1, b"late").status, 403);
    assert_eq!(ask(at, "POST", "/b/k?uploads", "", b"").status, 403, "nothing is overwritten");
    assert_eq!(ask(at, "UNLINK", "/b/k", "", b"").status, 204);
    assert_eq!(ask(at, "GET", "/b/k", "", b"").status, 404);
    // What is unlinked is replaced.
    let id = begun(at, "/b/k");
    assert_eq!(part(at, "/b/k", &id, 1, b"another").status, 200);
    assert_eq!(completed(at, "/b/k", &id, &[1]).status, 201);
    assert_eq!(get(at, "/b/k"), (200, b"another".to_vec()));
    assert_eq!(ask(at, "DELETE", "/b/k", "", b"").status, 204);
    assert_eq!(ask(at, "GET", "/b/k", "", b"").status, 404);
    // An upload that is given up.
    let id = begun(at, "/b/k");
    assert_eq!(part(at, "/b/k", &id, 1, b"x").status, 200);
    assert_eq!(ask(at, "DELETE", &format!("/b/k?uploadId={id}"), "", b"").status, 204);
    assert_eq!(ask(at, "DELETE", &format!("/b/k?uploadId={id}"), "", b"").status, 404);
    assert_eq!(part(at, "/b/k", &id, 1, b"x").status, 403);
    assert_eq!(completed(at, "/b/k", &id, &[1]).status, 403);
}

/// The first that cannot be deleted says what is answered.
fn deletes_batches(at: SocketAddr) {
    let put = |path: &str| assert_eq!(ask(at, "PUT", path, "", b"v").status, 201, "{path}");
    for path in ["/b/1", "/b/a%20%26", "/b/2", "/c"] {
        put(path);
    }
    assert_eq!(deleted(at, "/b", &["1", "a &amp;"]), 204);
    assert_eq!(list(at, "list"), r#"{"next":"","keys":["/b/2","/c"]}"#);
    assert_eq!(deleted(at, "/b", &["2", "none"]), 404);
    assert_eq!(list(at, "list"), r#"{"next":"","keys":["/c"]}"#);
    assert_eq!(deleted(at, "/c", &["x"]), 403, "what is named below is below no object");
    assert_eq!(deleted(at, "/b", &[]), 400);
    assert_eq!(ask(at, "POST", "/b?delete", "", b"<Delete><Object>").status, 400);
    let many: Vec<String> = (0..100).map(|number| format!("many/{number}")).collect();
    for key in &many {
        put(&format!("/{key}"));
    }
    let names: Vec<&str> = many.iter().map(|key| &key[5..]).collect();
    assert_eq!(deleted(at, "/many/", &names), 204);
    assert_eq!(deleted(at, "/", &["c", "c"]), 204);
    assert_eq!(list(at, "list"), r#"{"next":"","keys":[]}"#);
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(ask(at, "POST", "/b?delete", "", &large).status, 413);
}

fn mkv(dir: &Dir, change: impl FnOnce(&mut MasterSettings)) -> Settings {
    let mut settings = settings(dir);
    let master = settings.blobs.master.as_mut().unwrap();
    master.manner = Manner::Mkv;
    change(master);
    settings
}

#[test]
fn uploads_and_batches_are_answered_as_minikeyvalue_does() {
    let dir = Dir::new();
    let node = Running::start(&mkv(&dir, |_| {}));
    takes_uploads(at(&node, Door::Blob));
    deletes_batches(at(&node, Door::Blob));
    node.end();
    let dir = Dir::new();
    let several = Several::begin(&dir, 3, |master| {
        (master.manner, master.replicas) = (Manner::Mkv, 3);
    });
    several.wait(|at| ask(at, "PUT", "/a", "", b"a").status == 201);
    let master = at(&several.master, Door::Blob);
    assert_eq!(ask(master, "DELETE", "/a", "", b"").status, 204);
    takes_uploads(master);
    deletes_batches(master);
}

#[test]
fn an_upload_outlives_the_master() {
    let dir = Dir::new();
    let settings = mkv(&dir, |_| {});
    let node = Running::start(&settings);
    let id = begun(at(&node, Door::Blob), "/k");
    assert_eq!(part(at(&node, Door::Blob), "/k", &id, 1, b"be").status, 200);
    node.end();
    let node = Running::start(&settings);
    assert_eq!(part(at(&node, Door::Blob), "/k", &id, 2, b"fore").status, 200);
    assert_eq!(completed(at(&node, Door::Blob), "/k", &id, &[1, 2]).status, 201);
    node.end();
    // What is made of parts is read in smol's manner, too.
    let node = Running::start(&super::settings(&dir));
    assert_eq!(get(at(&node, Door::Blob), "/k"), (200, b"before".to_vec()));
}

#[test]
fn a_batch_is_protected_as_each_of_its_objects() {
    let dir = Dir::new();
    let node = Running::start(&mkv(&dir, |master| master.protects = true));
    let at = at(&node, Door::Blob);
    for path in ["/b/1", "/b/2"] {
        assert_eq!(ask(at, "PUT", path, "", b"v").status, 201);
    }
    assert_eq!(deleted(at, "/b", &["1", "2"]), 403);
    assert_eq!(list(at, "list"), r#"{"next":"","keys":["/b/1","/b/2"]}"#);
    assert_eq!(ask(at, "UNLINK", "/b/1", "", b"").status, 204);
    assert_eq!(deleted(at, "/b", &["1"]), 204);
}

#[test]
fn what_is_not_there_is_looked_for_elsewhere() {
    let dir = Dir::new();
    let elsewhere = "http://elsewhere:3000/old";
    let node = Running::start(&mkv(&dir, |master| master.fallback = Some(elsewhere.to_owned())));
    let at = at(&node, Door::Blob);
    for method in ["GET", "HEAD"] {
        let told = ask(at, method, "/a%20b/%0d%0ac", "", b"");
        let location = told.header("location").map(str::to_owned);
        assert_eq!(told.status, 302);
        assert_eq!(location.as_deref(), Some("http://elsewhere:3000/old/a%20b/%0D%0Ac"));
        assert_eq!(told.header("cache-control"), Some("no-store"));
    }
    assert_eq!(ask(at, "PUT", "/k", "", b"v").status, 201);
    assert!(!ask(at, "GET", "/k", "", b"").header("location").unwrap().starts_with(elsewhere));
    assert_eq!(ask(at, "UNLINK", "/k", "", b"").status, 204);
    assert!(ask(at, "GET", "/k", "", b"").header("location").unwrap().starts_with(elsewhere));
    // Nobody is sent to change something there.
    assert_eq!(ask(at, "DELETE", "/none", "", b"").status, 404);
    assert_eq!(ask(at, "UNLINK", "/none", "", b"").status, 404);
    assert_eq!(ask(at, "REBALANCE", "/none", "", b"").status, 404);
}
