//! Volumes that were wiped, that rotted or that were away, and objects that move: what is acknowledged is read
//! throughout, and in the end from whichever volume is left alone.

use std::{collections::BTreeMap, path::Path};

use olivine_vfs::Open;

use super::*;

type Objects = BTreeMap<String, Vec<u8>>;

fn value(number: u32) -> Vec<u8> {
    let length = match number % 10 {
        0 => 200_000 + number as usize,
        1 => 70_000,
        _ => 2_000 + 13 * number as usize,
    };
    (0..length).map(|place| (place as u32 * 31 + number * 7) as u8).collect()
}

/// Puts objects of several lengths, one of them long.
fn put_some(master: SocketAddr, numbers: std::ops::Range<u32>) -> Objects {
    let mut objects = Objects::new();
    for number in numbers {
        let path = format!("/of/{number:03}");
        assert_eq!(put(master, &path, &value(number)), 201);
        objects.insert(path, value(number));
    }
    let long: Vec<u8> = (0..3_000_000_u32).map(|place| (place * 7 % 251) as u8).collect();
    assert_eq!(put(master, "/long", &long), 201);
    objects.insert("/long".to_owned(), long);
    objects
}

/// A number of what the master says of its objects.
fn health(master: SocketAddr, name: &str) -> u64 {
    let told = String::from_utf8(ask(master, "GET", "/?health", "", b"").body).unwrap();
    let rest = told.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{told}")).1;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
}

/// Nothing is under way, and nothing is to be done.
fn is_well(master: SocketAddr) -> bool {
    let told = String::from_utf8(ask(master, "GET", "/?health", "", b"").body).unwrap();
    told.contains("\"running\":false") && told.contains("\"thin\":0,\"lost\":0")
}

fn quick(dir: &Dir, number: usize, port: u16) -> Settings {
    let mut settings = volume_of(dir, number, port);
    let volume = settings.blobs.volume.as_mut().unwrap();
    volume.extent_bytes_max = 64 << 10;
    (volume.tend_every, volume.grace) = (Duration::from_millis(50), Duration::from_millis(100));
    settings
}

fn three(dir: &Dir, change: impl FnOnce(&mut MasterSettings)) -> Several {
    let volumes: Vec<Running> =
        (0..3).map(|number| Running::start(&quick(dir, number, 0))).collect();
    let master = Running::start(&master_of(dir, &volumes, |master| {
        master.replicas = 3;
        master.heal_after = Duration::from_millis(300);
        change(master);
    }));
    let several = Several { master, volumes };
    several.wait(|at| put(at, "/first", b"1") == 201);
    several
}

impl Several {
    /// Loses the index of two replicas on two volumes, and begins with one that is made of the volumes.
    fn begun_anew(self, dir: &Dir) -> Several {
        let Several { master, mut volumes } = self;
        let ports = [0, 1].map(|nth: usize| at(&volumes[nth], Door::Volume).port());
        let settings = master_of(dir, &volumes, |master| master.replicas = 2);
        master.end();
        while let Some(volume) = volumes.pop() {
            volume.end();
        }
        let index_dir = settings.blobs.master.as_ref().unwrap().dir.clone();
        remove(&index_dir);
        made_anew(dir, &index_dir);
        for (number, port) in ports.into_iter().enumerate() {
            volumes.push(Running::start(&volume_of(dir, number, port)));
        }
        Several { master: Running::start(&settings), volumes }
    }

    fn port(&self, number: usize) -> u16 {
        at(&self.volumes[number], Door::Volume).port()
    }

    /// Ends all volumes but one, from which every object must come.
    fn read_alone(self, number: usize, objects: &Objects) {
        let Several { master, volumes } = self;
        let mut left = Vec::new();
        for (nth, volume) in volumes.into_iter().enumerate() {
            if nth == number {
                left.push(volume);
            } else {
                volume.end();
            }
        }
        let several = Several { master, volumes: left };
        for (path, value) in objects {
            several.wait(|at| get(at, path).0 != 503);
            let (status, got) = get(at(&several.master, Door::Blob), path);
            assert!(status == 200 && got == *value, "{path}: {status}, {} bytes", got.len());
        }
    }
}

/// Flips a bit every so many bytes of a file, behind its header.
fn rot(path: &Path, first: u64, every: usize) {
    let file = RealVfs.open(path, Open::Write).unwrap();
    for place in (first..file.len().unwrap()).step_by(every) {
        let mut byte = [0];
        file.read_at(&mut byte, place).unwrap();
        file.write_at(&[byte[0] ^ 4], place).unwrap();
    }
}

/// The files of extents with this ending, in their order.
fn extents_of(dir: &Dir, number: usize, ending: &str) -> Vec<PathBuf> {
    let dir = dir.0.join(format!("volume{number}/extents/000000"));
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

#[test]
fn a_volume_that_was_wiped_heals() {
    let dir = Dir::new();
    let mut several = three(&dir, |_| {});
    let master = at(&several.master, Door::Blob);
    let objects = put_some(master, 0..60);
    several.wait(is_well);
    assert_eq!(health(master, "repaired"), 0);
    let port = several.port(0);
    several.volumes.remove(0).end();
    remove(&dir.0.join("volume0"));
    several.volumes.insert(0, Running::start(&quick(&dir, 0, port)));
    let all = objects.len() as u64 + 1;
    several.wait(|at| health(at, "repaired") == all && is_well(at));
    assert!(3_000_000 < health(master, "copied_bytes"));
    several.read_alone(0, &objects);
}

#[test]
fn a_volume_that_rotted_heals_and_is_not_read_before() {
    let dir = Dir::new();
    let mut several = three(&dir, |_| {});
    let master = at(&several.master, Door::Blob);
    let objects = put_some(master, 0..60);
    let port = several.port(1);
    several.volumes.remove(1).end();
    let shared = extents_of(&dir, 1, "ext");
    assert!(3 < shared.len(), "{shared:?}");
    // The last is read when somebody asks for what is in it, the others by and by.
    let whole = shared[..shared.len() - 1].iter();
    let touched: Vec<&PathBuf> =
        whole.filter(|path| 2_000 < std::fs::metadata(path).unwrap().len()).collect();
    for path in &touched {
        rot(path, 1_000, 20_000);
    }
    let sole = extents_of(&dir, 1, "sole");
    assert!(!sole.is_empty());
    for path in &sole {
        rot(path, 100_000, 1_000_000);
    }
    several.volumes.insert(1, Running::start(&quick(&dir, 1, port)));
    several.wait(|at| {
        for (path, value) in objects.iter().filter(|(path, _)| *path != "/long") {
            let sent = ask(at, "GET", path, "", b"");
            // One that nobody knew to be damaged is refused, or ends before its end.
            let got = sent.header("location").and_then(|to| go(to, "GET", "", b""));
            let Some(Told { status, body, .. }) = got else { continue };
            assert!(
                body == *value || status != 200 || body.len() < value.len(),
                "{path}: {status}"
            );
        }
        // At least one in each that was touched.
        let least = touched.len() + sole.len();
        least as u64 <= health(at, "repaired") && is_well(at)
    });
    several.volumes.remove(1).end();
    several.volumes.insert(1, Running::start(&quick(&dir, 1, port)));
    several.read_alone(1, &objects);
}

#[test]
fn a_volume_that_was_away_has_what_was_put_meanwhile() {
    let dir = Dir::new();
    // Longer than this test: what is away comes back.
    let away = Duration::from_mins(10);
    let mut several =
        three(&dir, |master| (master.replicas_min, master.heal_after) = (Some(2), away));
    let master = at(&several.master, Door::Blob);
    let mut objects = put_some(master, 0..20);
    let port = several.port(2);
    several.volumes.remove(2).end();
    several.wait(|at| put(at, "/while/away", b"1") == 201);
    objects.extend(put_some(master, 20..40));
    for number in 0..5 {
        let path = format!("/of/{number:03}");
        assert_eq!(put(master, &path, b"put over"), 201);
        objects.insert(path, b"put over".to_vec());
    }
    for number in 5..10 {
        let path = format!("/of/{number:03}");
        assert_eq!(follow(master, "DELETE", &path, "", b"").status, 200);
        objects.remove(&path);
    }
    several.volumes.push(Running::start(&quick(&dir, 2, port)));
    several.wait(|at| 25 <= health(at, "repaired") && is_well(at));
    assert_eq!(get(master, "/of/005").0, 404);
    several.read_alone(2, &objects);
}

#[test]
fn what_a_volume_had_that_does_not_come_back_is_copied_to_another() {
    let dir = Dir::new();
    let mut several = three(&dir, |master| master.replicas = 2);
    let master = at(&several.master, Door::Blob);
    let objects = put_some(master, 0..30);
    several.volumes.remove(0).end();
    several.wait(|at| 10 < health(at, "repaired") && is_well(at));
    // Each of both that are left has all.
    several.read_alone(0, &objects);
}

#[test]
fn what_has_no_whole_copy_is_told_and_not_served() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    let volume = settings.blobs.volume.as_mut().unwrap();
    volume.extent_bytes_max = 64 << 10;
    (volume.tend_every, volume.grace) = (Duration::from_millis(50), Duration::from_millis(100));
    let files = volume.dir.join("extents/000000");
    let node = Running::start(&settings);
    let objects = put_some(at(&node, Door::Blob), 2..10);
    node.end();
    let sole = std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path());
    let sole: Vec<PathBuf> =
        sole.filter(|path| path.extension().is_some_and(|found| found == "sole")).collect();
    assert_eq!(sole.len(), 1, "only the long one has one");
    rot(&sole[0], 1_000_000, 5_000_000);
    let node = Running::start(&settings);
    let several = Several { master: node, volumes: Vec::new() };
    several.wait(|at| health(at, "lost") == 1);
    let master = at(&several.master, Door::Blob);
    let told = String::from_utf8(ask(master, "GET", "/?health", "", b"").body).unwrap();
    assert!(told.contains(r#""lost_keys":["/long"]"#), "{told}");
    assert_eq!(health(master, "repaired"), 0);
    for (path, value) in &objects {
        let (_, got) = get(master, path);
        assert!((got == *value) == (path != "/long"), "{path}");
    }
    let text = several.master.http(Door::Http, "GET", "/metrics", "").1;
    assert!(text.contains("\nolivine_objects_lost 1\n"), "{text}");
    // Put again it is whole, and the damage is nobody's any more.
    assert_eq!(put(master, "/long", &objects["/long"]), 201);
    assert_eq!(ask(master, "POST", "/?heal", "", b"").status, 202);
    several.wait(is_well);
    assert!(get(master, "/long").1 == objects["/long"]);
}

#[test]
fn healing_goes_on_after_the_master_was_started_again() {
    let dir = Dir::new();
    let slow = |master: &mut MasterSettings| {
        master.replicas = 3;
        master.heal_after = Duration::from_millis(300);
        master.heal_bytes_per_second = 2 << 20;
    };
    let mut several = three(&dir, slow);
    let objects = put_some(at(&several.master, Door::Blob), 0..30);
    let port = several.port(0);
    several.volumes.remove(0).end();
    remove(&dir.0.join("volume0"));
    several.volumes.insert(0, Running::start(&quick(&dir, 0, port)));
    several.wait(|at| 3 < health(at, "repaired"));
    let Several { master, volumes } = several;
    let before = health(at(&master, Door::Blob), "repaired");
    assert!(before < objects.len() as u64, "it is still at it");
    master.end();
    let master = Running::start(&master_of(&dir, &volumes, |master| {
        slow(master);
        master.heal_bytes_per_second = 64 << 20;
    }));
    let several = Several { master, volumes };
    several.wait(|at| 0 < health(at, "passes") && is_well(at) && 0 < health(at, "repaired"));
    let after = health(at(&several.master, Door::Blob), "repaired");
    assert!(after < objects.len() as u64, "what was done is not done again");
    several.read_alone(0, &objects);
}

/// Objects move to a volume that came, while somebody reads them all.
#[test]
fn objects_move_to_where_they_belong_and_nobody_misses_one() {
    let dir = Dir::new();
    let several = Several::start(&dir, 2, |_| {});
    let objects = put_some(at(&several.master, Door::Blob), 0..60);
    let Several { master, mut volumes } = several;
    master.end();
    volumes.push(Running::start(&volume_of(&dir, 2, 0)));
    let master = Running::start(&master_of(&dir, &volumes, |_| {}));
    let several = Several { master, volumes };
    several.wait(|at| get(at, "/of/002") == (200, value(2)));
    several.wait(is_well);
    let master = at(&several.master, Door::Blob);
    assert_eq!(health(master, "moved"), 0, "nobody has asked for it");
    assert_eq!(ask(master, "POST", "/?rebalance", "", b"").status, 202);
    several.wait(|at| {
        for (path, value) in &objects {
            let (status, got) = get(at, path);
            assert!(status == 200 && got == *value, "{path}: {status}");
        }
        10 < health(at, "moved") && is_well(at)
    });
    let bytes = bytes_below(&dir.0.join("volume2/extents"));
    assert!(100_000 < bytes, "{bytes}");
    let moved = health(master, "moved");
    assert!(moved < objects.len() as u64, "{moved}: it moves no more than it must");
    for path in objects.keys() {
        assert_eq!(ask(master, "REBALANCE", path, "", b"").status, 204, "{path}");
    }
    assert_eq!(health(master, "moved"), moved, "they lie there already");
    assert_eq!(ask(master, "REBALANCE", "/none", "", b"").status, 404);
}

/// The index is lost, and made of the volumes: what was unlinked stays so, what was moved is there once.
#[test]
fn what_was_unlinked_stays_so_in_an_index_that_is_made_anew() {
    let dir = Dir::new();
    let several = Several::start(&dir, 2, |master| master.replicas = 2);
    let master = at(&several.master, Door::Blob);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(put(master, path, b"value"), 201);
    }
    assert_eq!(ask(master, "UNLINK", "/b", "", b"").status, 204);
    assert_eq!(ask(master, "UNLINK", "/c", "", b"").status, 204);
    assert_eq!(put(master, "/c", b"again"), 201);
    let several = several.begun_anew(&dir);
    several.wait(|at| get(at, "/a") == (200, b"value".to_vec()));
    let master = at(&several.master, Door::Blob);
    assert_eq!(get(master, "/b").0, 404);
    assert_eq!(get(master, "/c").1, b"again");
    let list = ask(master, "GET", "/?unlinked", "", b"").body;
    assert_eq!(String::from_utf8(list).unwrap(), r#"{"next":"","keys":["/b"]}"#);
}

/// Puts that were sent to volumes and lost against others there are refused, and lie nowhere in an index that is made of
/// the volumes: neither as a newer value, nor under a key that was deleted.
#[test]
fn what_was_refused_is_not_in_an_index_that_is_made_anew() {
    let dir = Dir::new();
    let several = Several::start(&dir, 2, |master| master.replicas = 2);
    let master = at(&several.master, Door::Blob);
    let sent = |path: &str, headers: &str, value: &[u8]| {
        let told = ask(master, "PUT", path, headers, value);
        told.header("location").unwrap().to_owned()
    };
    let long = vec![7; 300_000];
    let none = "if-none-match: *\r\n";
    // Of two that want a key for themselves the first one has it, whoever was sent first.
    for (path, lost) in [("/short", b"lost".to_vec()), ("/long", long.clone())] {
        let [one, other] = [sent(path, none, b"kept"), sent(path, none, &lost)];
        assert_eq!(go(&one, "PUT", none, b"kept").unwrap().status, 201);
        assert_eq!(go(&other, "PUT", none, &lost).unwrap().status, 412);
    }
    // What is to be replaced was replaced, or deleted.
    for path in ["/replaced", "/deleted"] {
        assert_eq!(put(master, path, b"first"), 201);
        let tag = ask(master, "HEAD", path, "", b"").header("location").unwrap().to_owned();
        let tag = go(&tag, "HEAD", "", b"").unwrap().header("etag").unwrap().to_owned();
        let headers = format!("if-match: {tag}\r\n");
        let late = sent(path, &headers, b"lost");
        if path == "/replaced" {
            assert_eq!(put(master, path, b"kept"), 201);
        } else {
            assert_eq!(follow(master, "DELETE", path, "", b"").status, 200);
            // Behind its deletion, not in front of it.
            assert_eq!(put(master, "/other", b"value"), 201);
        }
        let status = go(&late, "PUT", &headers, b"lost").unwrap().status;
        assert!(status == 412 || path == "/replaced", "{path}: {status}");
    }
    let again =
        ask(master, "PUT", "/deleted", none, b"lost").header("location").unwrap().to_owned();
    assert_eq!(put(master, "/deleted", b"between"), 201);
    assert_eq!(go(&again, "PUT", none, b"lost").unwrap().status, 201, "it came before");
    assert_eq!(follow(master, "DELETE", "/deleted", "", b"").status, 200);
    let several = several.begun_anew(&dir);
    several.wait(|at| get(at, "/short") == (200, b"kept".to_vec()));
    let master = at(&several.master, Door::Blob);
    for path in ["/long", "/replaced"] {
        assert_eq!(get(master, path), (200, b"kept".to_vec()), "{path}");
    }
    assert_eq!(get(master, "/deleted").0, 404);
}

fn made_anew(dir: &Dir, index_dir: &Path) {
    use olivine_blobs::{Volume, VolumeOptions, index::Index};
    use olivine_engine::{Environment, EnvironmentOptions};
    let options = EnvironmentOptions { memory_bytes: 16 << 20 };
    let environment = Environment::new(options).unwrap();
    let volumes: Vec<Volume> = (0..2)
        .map(|number| {
            let path = dir.0.join(format!("volume{number}"));
            let options = VolumeOptions { read_only: true, ..VolumeOptions::default() };
            let (vfs, clock) = (environment.vfs().clone(), environment.clock().clone());
            Volume::open(vfs, clock, &path, [0; 32], &options).unwrap().0
        })
        .collect();
    let index = Index::open(&environment, index_dir, olivine_engine::Options::default()).unwrap();
    index.rebuild(&volumes, &mut |_| {}).unwrap();
    index.close().unwrap();
}
