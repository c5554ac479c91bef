//! Buckets, uploads and objects of parts.

use super::*;
use crate::{
    Attributes, attributes,
    own::{bucket_key, part_key, upload_key},
};

/// An index with a bucket, and an upload to a key in it with so many parts.
struct Upload {
    index: Index,
    number: u64,
    key: &'static [u8],
    parts: Vec<(u32, u64)>,
}

fn made_of(upload: u64, generation: u64) -> Row {
    let parts = attributes::Parts { upload, count: 1, bytes: 10, digest: [1; 16] };
    let attributes = Attributes { parts: Some(parts), ..Attributes::default() };
    Row { attributes: Some(Box::new(attributes)), ..row(generation) }
}

impl Upload {
    fn begin(environment: &Environment, count: u32) -> Upload {
        let index = opened(environment);
        let key = b"bucket/key";
        let generation = || index.generation().unwrap();
        let put = |key: &[u8], generation, needs: &[u8]| {
            let (row, within) = (row(generation), Within::needing(needs));
            index.publish_within(key, &row, Condition::Any, &within, NOW).unwrap().0
        };
        index.publish(&bucket_key("bucket"), &row(generation()), Condition::Absent, NOW).unwrap();
        let upload = generation();
        let upload_key = upload_key(key, upload);
        assert_eq!(put(&upload_key, upload, &bucket_key("bucket")), Changed::Done);
        let mut parts = Vec::new();
        for number in 1..=count {
            let generation = generation();
            assert_eq!(put(&part_key(upload, number), generation, &upload_key), Changed::Done);
            parts.push((number, generation));
        }
        Upload { index, number: upload, key, parts }
    }

    fn complete(&self, kept: &[(u32, u64)]) -> Changed {
        let row = made_of(self.number, self.index.generation().unwrap());
        self.index.complete(self.key, &row, kept, Condition::Any, NOW).unwrap().0
    }

    fn has(&self, key: &[u8]) -> bool {
        self.index.get(key, NOW).unwrap().is_some()
    }

    /// The numbers of the parts that are there.
    fn numbers(&self) -> Vec<u32> {
        (1..=9).filter(|number| self.has(&part_key(self.number, *number))).collect()
    }

    fn buried(&self) -> usize {
        self.index.burials(0, 100).unwrap().len()
    }
}

#[test]
fn an_object_of_parts_has_those_that_were_named_and_they_go_with_it() {
    let environment = environment();
    let upload = Upload::begin(&environment, 3);
    assert_eq!(upload.complete(&[upload.parts[0], upload.parts[2]]), Changed::Done);
    assert_eq!(upload.numbers(), [1, 3]);
    assert_eq!(upload.buried(), 2, "the upload and the part that was not wanted");
    assert!(!upload.has(&upload_key(upload.key, upload.number)));
    let Upload { index, key, .. } = &upload;
    let all = Listing { prefix: b"", start: b"", limit: 9, unlinked: false, now: NOW };
    let listed = index.list(&all).unwrap();
    assert_eq!(listed.rows.len(), 1, "what is the store's own is not listed");
    assert_eq!(listed.rows[0].1.object_bytes(), 10);
    // No volume takes a part for dead while the object is there.
    let (number, generation) = upload.parts[0];
    let place = Place { extent: 1, offset: generation * 100, bytes: 10 };
    let part = part_key(upload.number, number);
    assert!(index.names(0, &part, generation, &place, NOW).unwrap());
    index.publish(key, &row(index.generation().unwrap()), Condition::Any, NOW).unwrap();
    assert_eq!(upload.numbers(), [0; 0]);
    assert!(!index.names(0, &part, generation, &place, NOW).unwrap());
}

#[test]
fn parts_go_with_the_object_that_is_deleted() {
    let environment = environment();
    let upload = Upload::begin(&environment, 2);
    assert_eq!(upload.complete(&upload.parts), Changed::Done);
    let generation = upload.index.generation().unwrap();
    upload.index.remove(upload.key, generation, Condition::Any, |_| true, NOW).unwrap();
    assert_eq!(upload.numbers(), [0; 0]);
    assert_eq!(upload.buried(), 3, "the upload and its parts; the object's volume knew");
}

#[test]
fn nothing_comes_to_what_is_over() {
    let environment = environment();
    let upload = Upload::begin(&environment, 2);
    let Upload { index, key, .. } = &upload;
    // A part that is not there any more, or another by now, is no part of an object.
    let other = [upload.parts[0], (2, 9_999)];
    assert_eq!(upload.complete(&other), Changed::Refused);
    assert_eq!(upload.numbers(), [1, 2]);
    let generation = || index.generation().unwrap();
    let aborted = |generation| index.abort(key, upload.number, generation, NOW).unwrap().0;
    assert_eq!(aborted(generation()), Changed::Done);
    assert_eq!((upload.numbers(), upload.buried()), (vec![], 3));
    assert_eq!(aborted(generation()), Changed::Absent);
    assert_eq!(upload.complete(&upload.parts), Changed::Absent);
    let upload_key = upload_key(key, upload.number);
    let late = |key: &[u8], needs: &[u8]| {
        let within = Within::needing(needs);
        index.publish_within(key, &row(generation()), Condition::Any, &within, NOW).unwrap().0
    };
    assert_eq!(late(&part_key(upload.number, 3), &upload_key), Changed::Absent);
    assert_eq!(index.remove_bucket("bucket", generation(), NOW).unwrap().0, Changed::Done);
    assert_eq!(late(b"bucket/late", &bucket_key("bucket")), Changed::Absent);
    assert_eq!(index.remove_bucket("bucket", generation(), NOW).unwrap().0, Changed::Absent);
}

#[test]
fn a_bucket_goes_when_it_is_empty_and_what_is_uploaded_to_it_goes_along() {
    let environment = environment();
    let upload = Upload::begin(&environment, 2);
    let Upload { index, key, .. } = &upload;
    let generation = || index.generation().unwrap();
    index.publish(key, &row(generation()), Condition::Any, NOW).unwrap();
    assert_eq!(index.remove_bucket("bucket", generation(), NOW).unwrap().0, Changed::Refused);
    assert_eq!(upload.numbers(), [1, 2]);
    index.remove(key, generation(), Condition::Any, |_| true, NOW).unwrap();
    // Others whose names begin so are others.
    index.publish(b"bucket2/key", &row(generation()), Condition::Any, NOW).unwrap();
    assert_eq!(index.remove_bucket("bucket", generation(), NOW).unwrap().0, Changed::Done);
    assert_eq!((upload.numbers(), upload.buried()), (vec![], 4));
    assert!(upload.has(b"bucket2/key"));
}

#[test]
fn keys_are_grouped_by_what_they_have_up_to_a_delimiter() {
    let environment = environment();
    let index = opened(&environment);
    let keys = ["b/a", "b/a/1", "b/a/2", "b/b/1", "b/c", "c/x", "\0own"];
    for key in keys {
        let row = row(index.generation().unwrap());
        index.publish(key.as_bytes(), &row, Condition::Any, NOW).unwrap();
    }
    let listed = |prefix: &[u8], start: &[u8], delimiter: &[u8], limit| {
        let grouping = Grouping { prefix, start, delimiter, limit, now: NOW };
        let Grouped { entries, next } = index.list_grouped(&grouping).unwrap();
        let name = |entry: &Entry| match entry {
            Entry::Object(key, _) => String::from_utf8(key.clone()).unwrap(),
            Entry::Group(key) => format!("{}*", str::from_utf8(key).unwrap()),
        };
        let names: Vec<_> = entries.iter().map(name).collect();
        (names.join(" "), next.map(|next| String::from_utf8(next).unwrap()))
    };
    assert_eq!(listed(b"b/", b"", b"/", 9), ("b/a b/a/* b/b/* b/c".to_owned(), None));
    assert_eq!(listed(b"b/", b"", b"/", 2), ("b/a b/a/*".to_owned(), Some("b/b/1".to_owned())));
    assert_eq!(listed(b"b/", b"b/b/1", b"/", 9), ("b/b/* b/c".to_owned(), None));
    assert_eq!(listed(b"b/a/", b"", b"/", 9), ("b/a/1 b/a/2".to_owned(), None));
    assert_eq!(listed(b"b/", b"", b"", 2), ("b/a b/a/1".to_owned(), Some("b/a/2".to_owned())));
    assert_eq!(listed(b"b/", b"", b"/", 0), (String::new(), None));
    assert_eq!(behind(b"a\xff\xff"), Some(b"b".to_vec()));
    assert_eq!((behind(b"\xff"), behind(b"")), (None, None));
}

/// What volumes have is enough: buckets, uploads, objects of parts, and what is known of objects; parts of nothing go.
#[test]
fn an_index_that_is_made_anew_has_buckets_and_parts() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let parts = attributes::Parts { upload: 2, count: 1, bytes: 10, digest: [1; 16] };
    let object = Attributes { modified: 5, parts: Some(parts), ..Attributes::default() };
    let plain = Attributes { modified: 7, ..Attributes::default() };
    let volumes = [volume(&vfs, "/one", 1)];
    let put = |key: &[u8], generation, attributes: &Attributes| {
        let attributes = &*attributes.encode();
        let (kind, expiry, value, wants_md5) = (Kind::Put, None, &b"bytes"[..], true);
        let record = NewRecord { kind, key, generation, expiry, attributes, value, wants_md5 };
        let stored = volumes[0].append_and_wait(&record).unwrap();
        let reading = volumes[0].read(&stored.place, key, generation).unwrap();
        assert_eq!((reading.value(), &*reading.attributes), (Some(value), attributes));
    };
    put(&bucket_key("bucket"), 1, &plain);
    put(&part_key(2, 1), 3, &plain);
    put(b"bucket/key", 4, &object);
    put(&upload_key(b"bucket/other", 5), 5, &plain);
    put(&part_key(5, 1), 6, &plain);
    put(&part_key(77, 1), 7, &plain);
    let parts = Parts { vfs: Arc::clone(&vfs), clock, work: Work::Stepped { seed: 1 } };
    let options = EnvironmentOptions { memory_bytes: 16 << 20 };
    let environment = Environment::with(parts, options).unwrap();
    let index = opened(&environment);
    index.rebuild(&volumes, &mut |_| {}).unwrap();
    let known = |key: &[u8]| index.get(key, NOW).unwrap().map(|row| *row.attributes.unwrap());
    for key in [bucket_key("bucket"), part_key(2, 1), part_key(5, 1)] {
        assert_eq!(known(&key).as_ref(), Some(&plain));
    }
    assert_eq!(known(b"bucket/key"), Some(object));
    assert_eq!(known(&part_key(77, 1)), None, "it is of nothing");
    assert_eq!(index.burials(0, 9).unwrap().len(), 1);
}

/// Attributes of any length come back with what they are of, whether that is short, long or in an extent of its own.
#[test]
fn what_is_known_of_an_object_lies_with_it() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let volume = volume(&vfs, "/one", 1);
    let mut generation = 0;
    for attributes_bytes in [0, 1, 63, 64, 65, 200, 4_000, 8_192] {
        for bytes in [0, 1, 60_000, 70_000, 3_000_000] {
            generation += 1;
            let (key, attributes) = (&b"key"[..], vec![7; attributes_bytes]);
            let head = crate::Head {
                key,
                generation,
                expiry: Some(9),
                wants_md5: true,
                attributes: &attributes,
                bytes: None,
            };
            let mut writer = volume.begin(&head).unwrap();
            let value: Vec<u8> = (0..bytes).map(|n: usize| (n / 3) as u8).collect();
            writer.write(&value).unwrap();
            let place = writer.finish().unwrap().place;
            let reading = volume.read(&place, key, generation).unwrap();
            assert!(reading.attributes == attributes, "{attributes_bytes} {bytes}");
            let mut read = Vec::new();
            while read.len() < bytes {
                read.extend(reading.read_at(read.len() as u64, 1 << 20).unwrap());
            }
            assert!(read == value, "{attributes_bytes} {bytes}");
        }
    }
    let attributes = &*vec![0; 8_193];
    let head = crate::Head {
        key: b"k",
        generation: 1,
        expiry: None,
        wants_md5: false,
        attributes,
        bytes: None,
    };
    assert!(volume.begin(&head).is_err());
}
