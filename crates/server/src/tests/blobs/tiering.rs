//! Extents that go into a bucket while objects are put, read and deleted; a bucket that fails and one that loses.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use olivine_far::BucketUrl;

use super::*;
use crate::settings::TierSettings;

/// A server that knows as much of S3 as one bucket takes, and believes every signature.
#[derive(Clone)]
struct Fake {
    address: SocketAddr,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    is_failing: Arc<AtomicBool>,
}

impl Fake {
    fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake { address, objects: Arc::default(), is_failing: Arc::default() };
        let serving = fake.clone();
        let serve = move || {
            for stream in listener.incoming() {
                let fake = serving.clone();
                // A client that goes away ends its thread.
                let one = move || drop(fake.serve(&stream.unwrap()));
                thread::Builder::new().spawn(one).unwrap();
            }
        };
        thread::Builder::new().spawn(serve).unwrap();
        fake
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let words: Vec<&str> = line.split(' ').collect();
            let (method, path) = (words[0].to_owned(), words[1].to_owned());
            let (mut length, mut range) = (0, None);
            loop {
                let mut field = String::new();
                reader.read_line(&mut field)?;
                let field = field.trim().to_ascii_lowercase();
                let Some((name, value)) = field.split_once(": ") else { break };
                match name {
                    "content-length" => length = value.parse().unwrap(),
                    "range" => range = value.strip_prefix("bytes=").map(str::to_owned),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let (status, answer, told) = self.answer(&method, &path, range.as_deref(), body);
            let mut head = format!("HTTP/1.1 {status} x\r\netag: \"1\"\r\n");
            head += "last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
            let mut stream = stream;
            write!(stream, "{head}{told}content-length: {}\r\n\r\n", answer.len())?;
            if method != "HEAD" {
                stream.write_all(&answer)?;
            }
        }
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        range: Option<&str>,
        body: Vec<u8>,
    ) -> (u16, Vec<u8>, String) {
        if self.is_failing.load(Relaxed) {
            return (503, b"busy".to_vec(), String::new());
        }
        let mut objects = self.objects.lock().unwrap();
        match method {
            "PUT" => drop(objects.insert(path.to_owned(), body)),
            "DELETE" => drop(objects.remove(path)),
            _ => {
                let Some(object) = objects.get(path) else {
                    return (404, Vec::new(), String::new());
                };
                let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
                    return (200, object.clone(), String::new());
                };
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let end = object.len().min(last + 1);
                let told = format!("content-range: bytes {first}-{}/{}\r\n", end - 1, object.len());
                return (206, object[first..end].to_vec(), told);
            }
        }
        (if method == "PUT" { 200 } else { 204 }, Vec::new(), String::new())
    }

    /// The extents in it.
    fn extents(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        objects.keys().filter(|path| !path.ends_with("/VOLUME")).cloned().collect()
    }

    fn tier(&self, dir: &Dir) -> TierSettings {
        olivine_vfs::make_dirs(&RealVfs, &dir.0).unwrap();
        let key_file = dir.0.join("bucket.key");
        // It is its owner's alone.
        let file = RealVfs.open(&key_file, olivine_vfs::Open::Create).unwrap();
        file.write_at(b"access secret\n", 0).unwrap();
        TierSettings {
            url: BucketUrl::parse("s3://cold/of/tests").unwrap(),
            endpoint: Some(format!("http://{}", self.address)),
            key_file: Some(key_file),
            after: Duration::from_millis(1),
            cache_bytes: 4 << 20,
            verify_every: Duration::from_millis(400),
        }
    }
}

fn quick(settings: &mut Settings, tier: TierSettings) {
    let volume = settings.blobs.volume.as_mut().unwrap();
    volume.extent_bytes_max = 64 << 10;
    (volume.tend_every, volume.grace) = (Duration::from_millis(50), Duration::from_millis(100));
    volume.tier = Some(tier);
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is_so() {
            return;
        }
        RealClock::new().sleep(Duration::from_millis(50));
    }
    panic!("{what}: not within 60 s");
}

fn value(number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(10) { 2 << 20 } else { 20_000 };
    (0..length + number).map(|place| (place * 7 % 251 + number) as u8).collect()
}

#[test]
fn old_extents_go_into_the_bucket_and_come_back() {
    let (dir, fake) = (Dir::new(), Fake::start());
    let mut settings = settings(&dir);
    quick(&mut settings, fake.tier(&dir));
    let extents = settings.blobs.volume.as_ref().unwrap().dir.join("extents");
    let node = Running::start(&settings);
    let at = at(&node, Door::Blob);
    for number in 0..30 {
        assert_eq!(put(at, &format!("/k{number}"), &value(number)), 201);
    }
    wait("all but the current extent is sent", || bytes_below(&extents) < 200_000);
    let sent = fake.extents().len();
    assert!(6 <= sent, "{sent}");
    for number in 0..30 {
        assert_eq!(get(at, &format!("/k{number}")), (200, value(number)));
    }
    let ranged = follow(at, "GET", "/k10", "Range: bytes=1000000-1000009\r\n", b"");
    assert_eq!((ranged.status, &*ranged.body), (206, &value(10)[1_000_000..1_000_010]));
    wait("the master knows", || {
        let told = String::from_utf8(ask(at, "GET", "/?health", "", b"").body).unwrap();
        !told.contains("\"tiered_bytes\":0}")
    });
    node.end();

    // A bucket that does not answer is no reason not to open, nor to say that something is lost.
    fake.is_failing.store(true, Relaxed);
    let node = Running::start(&settings);
    let at = self::at(&node, Door::Blob);
    assert_eq!(get(at, "/k10").0, 503);
    assert_eq!(put(at, "/new", b"new"), 201);
    fake.is_failing.store(false, Relaxed);
    for number in 0..30 {
        assert_eq!(get(at, &format!("/k{number}")), (200, value(number)));
    }
    // What is deleted leaves the bucket, what is left is read.
    for number in (0..30).filter(|number| number % 10 != 1) {
        assert_eq!(follow(at, "DELETE", &format!("/k{number}"), "", b"").status, 200);
    }
    wait("dead extents leave the bucket", || {
        let objects = fake.objects.lock().unwrap();
        let bytes: usize = objects.values().map(Vec::len).sum();
        bytes < 300_000
    });
    for number in 0..30 {
        let wanted = if number % 10 == 1 { (200, value(number)) } else { get(at, "/never") };
        assert_eq!(get(at, &format!("/k{number}")), wanted);
    }
}

/// What one bucket has lost comes from another volume, and lies on two again.
#[test]
fn what_a_bucket_has_lost_heals_from_a_replica() {
    let (dir, fake) = (Dir::new(), Fake::start());
    let volumes: Vec<Running> = (0..2)
        .map(|number| {
            let mut settings = volume_of(&dir, number, 0);
            if number == 0 {
                quick(&mut settings, fake.tier(&dir));
            }
            Running::start(&settings)
        })
        .collect();
    let master = Running::start(&master_of(&dir, &volumes, |master| master.replicas = 2));
    let several = Several { master, volumes };
    several.wait(|at| put(at, "/first", b"1") == 201);
    let at = at(&several.master, Door::Blob);
    for number in 1..20 {
        assert_eq!(put(at, &format!("/k{number}"), &value(number)), 201);
    }
    wait("extents are sent", || 4 <= fake.extents().len());
    let lost: Vec<String> = fake.extents();
    fake.objects.lock().unwrap().retain(|path, _| !lost.contains(path));
    let health = || String::from_utf8(ask(at, "GET", "/?health", "", b"").body).unwrap();
    wait("it heals", || !health().contains("\"repaired\":0,"));
    wait("nothing is thin", || {
        health().contains("\"running\":false") && health().contains("\"thin\":0,\"lost\":0")
    });
    for number in 1..20 {
        wait("it is read", || get(at, &format!("/k{number}")) == (200, value(number)));
    }
}
