//! Layouts that keep a file for each object.

use std::sync::Mutex;

use olivine_vfs::{CrashingVfs, EntryKind, ManualClock, MemoryVfs, Open, Phase, Random, Survival};

use super::{history::value, *};

fn open(disk: Arc<dyn Vfs>, layout: Layout) -> (Volume, Opened) {
    open_with(disk, layout, None)
}

fn open_with(disk: Arc<dyn Vfs>, layout: Layout, subvolumes: Option<u32>) -> (Volume, Opened) {
    let options = VolumeOptions { layout, subvolumes, ..options() };
    let clock = Arc::new(ManualClock::new());
    Volume::open(disk, clock, Path::new(DIR), [7; 32], &options).unwrap()
}

fn store(volume: &Volume, key: &[u8], value: &[u8]) -> Place {
    let head =
        Head { key, generation: 1, expiry: None, wants_md5: true, attributes: &[], bytes: None };
    let mut writer = volume.begin(&head).unwrap();
    writer.write(value).unwrap();
    let stored = writer.finish().unwrap();
    assert_eq!(stored.digest, Some(record::md5(value)));
    stored.place
}

#[test]
fn a_file_is_the_value_alone_and_lies_where_the_source_has_it() {
    let paths = [
        (Layout::Smol, "/volume/3a/3ad3/3ad31f8c5338bea26f782e9e453d1d9d"),
        (Layout::Mkv, "/volume/12/34/L2sx"),
    ];
    for (layout, path) in paths {
        let disk = MemoryVfs::new();
        let (volume, _) = open(Arc::new(disk.clone()), layout);
        let place = volume.append_and_wait(&put(b"k1", 1, b"bigswag")).unwrap().place;
        let path = if layout == Layout::Mkv {
            format!("/volume/{}", mkv_path(b"/k1"))
        } else {
            path.into()
        };
        let file = disk.open(Path::new(&path), Open::Read).unwrap();
        let mut found = [0; 10];
        assert_eq!(file.read_at(&mut found, 0).unwrap(), 7);
        assert_eq!(&found[..7], b"bigswag");
        assert_eq!(volume.read(&place, b"k1", 1).unwrap().value(), Some(&b"bigswag"[..]));
        store(&volume, b"k1", b"another");
        assert_eq!(volume.read(&place, b"k1", 1).unwrap().value(), Some(&b"another"[..]));
        let longer = volume.read(&Place { bytes: 8, ..place }, b"k1", 1).unwrap_err();
        assert!(matches!(longer, Error::Foreign { .. }), "{longer}");
        let record = NewRecord { kind: Kind::Tombstone, ..put(b"k1", 2, b"") };
        volume.append_and_wait(&record).unwrap();
        volume.append_and_wait(&record).unwrap();
        let gone = volume.read(&place, b"k1", 1).unwrap_err();
        assert!(matches!(gone, Error::Gone { .. }), "{gone}");
        let state = NewRecord { kind: Kind::State, ..put(b"k1", 2, b"") };
        volume.append_and_wait(&state).unwrap_err();
        volume.scan(1, 0).unwrap_err();
    }
}

/// As minikeyvalue spreads them over the disks of a machine.
#[test]
fn files_are_spread_over_subvolumes_which_a_volume_keeps() {
    let disk = MemoryVfs::new();
    let open = |subvolumes| {
        let options = VolumeOptions { layout: Layout::Mkv, subvolumes, ..options() };
        let clock = Arc::new(ManualClock::new());
        Volume::open(Arc::new(disk.clone()), clock, Path::new(DIR), [7; 32], &options)
    };
    let (volume, _) = open(Some(3)).unwrap();
    let key = |number: u32| format!("key {number}");
    let places: Vec<Place> =
        (0..60).map(|number| store(&volume, key(number).as_bytes(), b"value")).collect();
    let long = vec![0xff; 1000];
    store(&volume, &long, b"long name");
    drop(volume);
    let wrong = open(Some(2)).map(drop).unwrap_err();
    assert!(wrong.to_string().contains("over 3 subvolumes, not 2"), "{wrong}");
    open(Some(1)).map(drop).unwrap_err();
    let (volume, _) = open(None).unwrap();
    let mut counts = [0; 3];
    for (number, place) in (0..60).zip(places) {
        let key = key(number);
        let slashed = format!("/{key}");
        let subvolume = mkv_subvolume(slashed.as_bytes(), 3);
        counts[usize::from_str_radix(&subvolume[2..], 16).unwrap()] += 1;
        let path = format!("{DIR}/{subvolume}/{}", mkv_path(slashed.as_bytes()));
        disk.open(Path::new(&path), Open::Read).unwrap();
        assert_eq!(volume.read(&place, key.as_bytes(), 1).unwrap().value(), Some(&b"value"[..]));
        volume
            .append_and_wait(&NewRecord { kind: Kind::Tombstone, ..put(key.as_bytes(), 2, b"") })
            .unwrap();
        volume.read(&place, key.as_bytes(), 1).unwrap_err();
    }
    assert!(counts.iter().all(|count| 10 < *count), "{counts:?}");
    for (layout, subvolumes) in [(Layout::Packed, 2), (Layout::Smol, 2), (Layout::Mkv, 0)] {
        let options =
            VolumeOptions { layout, subvolumes: Some(subvolumes), ..VolumeOptions::default() };
        let wrong = options.validate().unwrap_err().to_string();
        assert!(wrong.contains("subvolumes"), "{wrong}");
    }
}

/// Names that lead elsewhere where they are taken as they are.
#[test]
fn no_key_leads_out_of_the_directory() {
    for layout in [Layout::Smol, Layout::Mkv] {
        let disk = MemoryVfs::new();
        let (volume, _) = open(Arc::new(disk.clone()), layout);
        for key in [
            "../../etc/passwd",
            "..",
            ".",
            "/",
            "//x",
            "a/../b",
            "LOCK",
            "VOLUME",
            "\0",
            "\u{ff}/\u{ff}",
        ] {
            let place = store(&volume, key.as_bytes(), key.as_bytes());
            let reading = volume.read(&place, key.as_bytes(), 1).unwrap();
            assert_eq!(reading.value(), Some(key.as_bytes()));
        }
        for length in [1, 100, 180, 200, 1000, 2048] {
            let key = vec![0xff; length];
            let place = store(&volume, &key, b"long name");
            assert_eq!(volume.read(&place, &key, 1).unwrap().value(), Some(&b"long name"[..]));
        }
        let entries = disk.list(Path::new("/")).unwrap();
        assert!(entries.len() == 1 && entries[0].kind == EntryKind::Dir, "{entries:?}");
        let names = disk.list(Path::new(DIR)).unwrap();
        let strange = names.iter().filter(|entry| {
            let name = entry.name.to_str().unwrap();
            !["LOCK", "VOLUME", "new"].contains(&name) && name.len() != 2
        });
        assert_eq!(strange.count(), 0, "{names:?}");
    }
}

#[test]
fn files_survive_every_crash_whole() {
    for (layout, subvolumes) in [(Layout::Smol, None), (Layout::Mkv, None), (Layout::Mkv, Some(5))]
    {
        let disk = CrashingVfs::new();
        let named = Arc::new(Mutex::new(Vec::<(u64, u64)>::new()));
        let images = Arc::new(Mutex::new(Vec::new()));
        let mut random = Random::new(1);
        let (taken, index) = (Arc::clone(&images), Arc::clone(&named));
        disk.on_event(move |event, disk| {
            if event.phase == Phase::After || !random.chance(1, 3) {
                return;
            }
            let named = index.lock().unwrap().clone();
            for survival in Survival::ALL {
                let image = disk.crash(survival, random.next_u64());
                taken.lock().unwrap().push((
                    image,
                    named.clone(),
                    format!("{event:?} {survival:?}"),
                ));
            }
        });
        let (volume, _) = open_with(Arc::new(disk.clone()), layout, subvolumes);
        for generation in 1..30 {
            let key = format!("key {generation}");
            let value = value(generation);
            let place = if generation % 2 == 0 && value.len() < 65536 {
                volume.append_and_wait(&put(key.as_bytes(), 1, &value)).unwrap().place
            } else {
                store(&volume, key.as_bytes(), &value)
            };
            named.lock().unwrap().push((generation, place.bytes));
        }
        drop(volume);
        disk.clear_on_event();
        for (image, named, told) in images.lock().unwrap().iter() {
            let (volume, _) = open_with(Arc::new(image.clone()), layout, subvolumes);
            for (generation, bytes) in named {
                let place = Place { extent: 0, offset: 0, bytes: *bytes };
                let key = format!("key {generation}");
                assert!(whole(&volume, &place, key.as_bytes(), 1) == value(*generation), "{told}");
            }
            assert_eq!(image.list(&Path::new(DIR).join("new")).unwrap(), [], "{told}");
        }
    }
}
