//! The index over a disk in memory.

mod parts;

use std::sync::Arc;

use olivine_engine::{EnvironmentOptions, Parts, Work};
use olivine_vfs::{Clock, ManualClock, MemoryVfs, Vfs};

use super::*;
use crate::{Kind, NewRecord, Volume, VolumeOptions};

const NOW: u64 = 1_800_000_000_000;

fn opened(environment: &Environment) -> Index {
    Index::open(environment, Path::new("/olivedb"), Options::default()).unwrap()
}

fn environment() -> Environment {
    environment_of(16 << 20)
}

fn environment_of(memory_bytes: u64) -> Environment {
    let options = EnvironmentOptions { memory_bytes };
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(ManualClock::new()),
        work: Work::Stepped { seed: 1 },
    };
    Environment::with(parts, options).unwrap()
}

fn row(generation: u64) -> Row {
    let replica = Replica { volume: 0, extent: 1, offset: generation * 100 };
    Row {
        generation,
        bytes: 10,
        digest: None,
        expiry: None,
        is_unlinked: false,
        replicas: vec![replica],
        attributes: None,
    }
}

#[test]
fn of_two_objects_the_one_with_the_higher_generation_stays() {
    let environment = environment();
    let index = opened(&environment);
    let (first, second) = (index.generation().unwrap(), index.generation().unwrap());
    let put = |generation| index.publish(b"k", &row(generation), Condition::Any, NOW).unwrap().0;
    assert_eq!(put(second), Changed::Done);
    assert_eq!(put(first), Changed::Superseded);
    assert_eq!(index.get(b"k", NOW).unwrap().unwrap().generation, second);
    // One that was published is not replaced by something else of the same generation.
    assert_eq!(put(second), Changed::Superseded);
    let mut other = row(second);
    other.replicas[0].offset += 1;
    let again = index.publish(b"k", &other, Condition::Any, NOW).unwrap().0;
    assert_eq!(again, Changed::Refused);
}

#[test]
fn an_object_that_is_published_behind_its_deletion_stays_deleted() {
    let environment = environment();
    let index = opened(&environment);
    let [put, late, deleted, after] = [(); 4].map(|()| index.generation().unwrap());
    let publish = |index: &Index, key: &[u8], generation| {
        index.publish(key, &row(generation), Condition::Any, NOW).unwrap().0
    };
    let remove =
        |generation| index.remove(b"k", generation, Condition::Any, nobody, NOW).unwrap().0;
    assert_eq!(publish(&index, b"k", put), Changed::Done);
    assert_eq!(remove(deleted), Changed::Done);
    assert_eq!(publish(&index, b"k", late), Changed::Superseded);
    assert_eq!(index.get(b"k", NOW).unwrap(), None);
    assert_eq!(remove(deleted), Changed::Absent);
    assert_eq!(publish(&index, b"k", after), Changed::Done);
    assert_eq!(remove(deleted), Changed::Superseded);
    let never_deleted = index.generation().unwrap();
    index.close().unwrap();
    // After a start nobody remembers what was deleted before it.
    let index = opened(&environment);
    assert_eq!(publish(&index, b"other", never_deleted), Changed::Late);
    let fresh = index.generation().unwrap();
    assert!(never_deleted < fresh);
    assert_eq!(publish(&index, b"other", fresh), Changed::Done);
    assert_eq!(publish(&index, b"k", never_deleted), Changed::Done, "k is there, and older");
}

#[test]
fn what_is_remembered_of_deletions_has_a_bound() {
    // Nothing is flushed unless the test steps, so that all of it has to have room.
    let environment = environment_of(512 << 20);
    let index = opened(&environment);
    let early = index.generation().unwrap();
    let key = |number: u32| format!("{number:04000}").into_bytes();
    let count = (DELETED_BYTES_MAX / (2 * 4_000 + DELETION_BYTES)) as u32 + 10;
    for number in 0..count {
        let [put, deleted] = [(); 2].map(|()| index.generation().unwrap());
        index.publish(&key(number), &row(put), Condition::Any, NOW).unwrap();
        index.remove(&key(number), deleted, Condition::Any, nobody, NOW).unwrap();
    }
    assert!(lock(&index.changing).bytes <= DELETED_BYTES_MAX);
    let publish = |number| index.publish(&key(number), &row(early), Condition::Any, NOW).unwrap().0;
    assert_eq!(publish(0), Changed::Late, "it was deleted, and that is forgotten");
    assert_eq!(publish(count - 1), Changed::Superseded);
}

#[test]
fn conditions_hold_when_it_is_published() {
    let environment = environment();
    let index = opened(&environment);
    let put = |condition| {
        let generation = index.generation().unwrap();
        (generation, index.publish(b"k", &row(generation), condition, NOW).unwrap().0)
    };
    assert_eq!(put(Condition::Is(1)).1, Changed::Refused);
    let (first, changed) = put(Condition::Absent);
    assert_eq!(changed, Changed::Done);
    assert_eq!(put(Condition::Absent).1, Changed::Refused);
    assert_eq!(put(Condition::Is(first)).1, Changed::Done);
    assert_eq!(put(Condition::Is(first)).1, Changed::Refused);
}

#[test]
fn generations_are_given_out_once() {
    let environment = environment();
    let mut last = 0;
    for _ in 0..3 {
        let index = opened(&environment);
        for _ in 0..3 {
            let next = index.generation().unwrap();
            assert!(last < next);
            last = next;
        }
        index.advance_generation(last + 500).unwrap();
        last += 500;
        index.close().unwrap();
    }
    let index = opened(&environment);
    for _ in 0..GENERATIONS + 5 {
        let next = index.generation().unwrap();
        assert!(last < next);
        last = next;
    }
}

#[test]
fn what_has_expired_is_not_there() {
    let environment = environment();
    let index = opened(&environment);
    let expiring = Row { expiry: Some(NOW + 10), ..row(index.generation().unwrap()) };
    index.publish(b"k", &expiring, Condition::Any, NOW).unwrap();
    assert!(index.get(b"k", NOW + 9).unwrap().is_some());
    assert!(index.get(b"k", NOW + 10).unwrap().is_none());
    let lies = Place { extent: 1, offset: expiring.generation * 100, bytes: 10 };
    assert!(index.names(0, b"k", expiring.generation, &lies, NOW + 9).unwrap());
    assert!(!index.names(0, b"k", expiring.generation, &lies, NOW + 10).unwrap());
    let again = row(index.generation().unwrap());
    let published = index.publish(b"k", &again, Condition::Absent, NOW + 10).unwrap().0;
    assert_eq!(published, Changed::Done);
}

#[test]
fn volumes_keep_their_numbers() {
    let environment = environment();
    let index = opened(&environment);
    assert_eq!(index.number_of(&[1; 16]).unwrap(), 0);
    assert_eq!(index.number_of(&[2; 16]).unwrap(), 1);
    index.close().unwrap();
    let index = opened(&environment);
    assert_eq!(index.number_of(&[2; 16]).unwrap(), 1);
    assert_eq!(index.number_of(&[3; 16]).unwrap(), 2);
    assert_eq!((index.uuid_of(1), index.uuid_of(3)), (Some([2; 16]), None));
}

#[test]
fn lists_come_in_order_and_in_parts() {
    let environment = environment();
    let index = opened(&environment);
    for key in ["a/1", "a/2", "a/3", "b"] {
        let generation = index.generation().unwrap();
        index.publish(key.as_bytes(), &row(generation), Condition::Any, NOW).unwrap();
    }
    let two = index.get(b"a/2", NOW).unwrap().unwrap();
    index.unlink(b"a/2", two.generation, nobody, NOW).unwrap();
    let list = |prefix: &[u8], start: &[u8], limit, unlinked| {
        let listing = Listing { prefix, start, limit, unlinked, now: NOW };
        let Listed { rows, next } = index.list(&listing).unwrap();
        let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
        let keys: Vec<String> = rows.into_iter().map(|(key, _)| text(key)).collect();
        (keys.join(" "), next.map(text))
    };
    assert_eq!(list(b"", b"", 10, false), ("a/1 a/3 b".to_owned(), None));
    assert_eq!(list(b"a/", b"", 1, false), ("a/1".to_owned(), Some("a/2".to_owned())));
    assert_eq!(list(b"a/", b"a/2", 1, false), ("a/3".to_owned(), None));
    assert_eq!(list(b"", b"", 10, true), ("a/2".to_owned(), None));
}

#[test]
fn what_was_moved_is_found_and_what_changed_meanwhile_is_not_touched() {
    let environment = environment();
    let index = opened(&environment);
    let generation = index.generation().unwrap();
    index.publish(b"k", &row(generation), Condition::Any, NOW).unwrap();
    let place = |offset| Place { extent: 1, offset, bytes: 10 };
    let (old, new) = (place(generation * 100), place(7));
    assert!(index.names(0, b"k", generation, &old, NOW).unwrap());
    let relocate =
        |from: &Place, to: &Place| index.relocate(0, b"k", generation, from, to).unwrap().0;
    assert_eq!(relocate(&old, &new), Changed::Done);
    assert_eq!(relocate(&old, &new), Changed::Superseded);
    assert!(index.names(0, b"k", generation, &new, NOW).unwrap());
    assert!(!index.names(1, b"k", generation, &new, NOW).unwrap());
    assert!(!index.names(0, b"k", generation, &old, NOW).unwrap());
}

#[test]
fn volumes_that_were_not_asked_write_down_later_what_is_gone() {
    let environment = environment();
    let index = opened(&environment);
    let replica = |volume| Replica { volume, extent: 1, offset: 5 };
    let on = |generation, volumes: &[u32]| Row {
        replicas: volumes.iter().map(|volume| replica(*volume)).collect(),
        ..row(generation)
    };
    let [first, second, deleted] = [(); 3].map(|()| index.generation().unwrap());
    index.publish(b"k", &on(first, &[0, 1, 2]), Condition::Any, NOW).unwrap();
    index.publish(b"k", &on(second, &[0, 1]), Condition::Any, NOW).unwrap();
    let burials = |volume| index.burials(volume, 10).unwrap();
    assert_eq!(burials(0), []);
    assert_eq!(burials(2).len(), 1);
    assert_eq!((burials(2)[0].generation, &burials(2)[0].key[..]), (second, &b"k"[..]));
    index.remove(b"k", deleted, Condition::Any, |volume| volume == 0, NOW).unwrap();
    assert_eq!((burials(0).len(), burials(1).len()), (0, 1));
    let burial = burials(1).remove(0);
    index.buried(1, &Burial { generation: deleted + 1, ..burial.clone() }).unwrap();
    assert_eq!(burials(1), std::slice::from_ref(&burial), "that was another one");
    index.buried(1, &burial).unwrap();
    assert_eq!(burials(1), []);
}

fn volume(vfs: &Arc<dyn Vfs>, name: &str, drawn: u8) -> Volume {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let options = VolumeOptions { extent_bytes_max: 64 << 10, ..VolumeOptions::default() };
    Volume::open(Arc::clone(vfs), clock, Path::new(name), [drawn; 32], &options).unwrap().0
}

/// What volumes and an index have after some puts and deletions is what an index has that knows only the volumes.
#[test]
fn an_index_is_made_anew_of_what_the_volumes_have() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let options = || EnvironmentOptions { memory_bytes: 16 << 20 };
    let parts = Parts { vfs: Arc::clone(&vfs), clock, work: Work::Stepped { seed: 1 } };
    let environment = Environment::with(parts, options()).unwrap();
    let index = opened(&environment);
    let volumes = [volume(&vfs, "/one", 1), volume(&vfs, "/two", 2)];
    let numbers = [0, 1].map(|n: usize| index.number_of(&volumes[n].identity().uuid).unwrap());
    let append = |volume: &Volume, kind, key: &[u8], generation, value: &[u8]| {
        let record = NewRecord {
            kind,
            key,
            generation,
            expiry: None,
            value,
            wants_md5: true,
            attributes: &[],
        };
        volume.append_and_wait(&record).unwrap()
    };
    let mut chance = 7_u64;
    for step in 0..600_u64 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = format!("key {}", chance >> 33 & 63).into_bytes();
        let generation = index.generation().unwrap();
        if chance >> 60 < 5 {
            let Some(row) = index.get(&key, NOW).unwrap() else { continue };
            for replica in &row.replicas {
                append(&volumes[replica.volume as usize], Kind::Tombstone, &key, generation, b"");
            }
            index.remove(&key, generation, Condition::Any, |_| true, NOW).unwrap();
            continue;
        }
        let value = format!("value {step}").into_bytes();
        let stored =
            [0, 1].map(|n: usize| append(&volumes[n], Kind::Put, &key, generation, &value));
        if step % 50 == 49 {
            // Its bytes came, and whoever brought them was never told so; as rebuilding sees it, it came.
            let deleted = index.generation().unwrap();
            for volume in &volumes {
                append(volume, Kind::Tombstone, &key, deleted, b"");
            }
            index.remove(&key, deleted, Condition::Any, |_| true, NOW).unwrap();
            continue;
        }
        let row = Row {
            generation,
            bytes: value.len() as u64,
            digest: stored[0].digest,
            expiry: None,
            is_unlinked: false,
            replicas: [0, 1].map(|n: usize| replica_at(numbers[n], &stored[n].place)).to_vec(),
            attributes: None,
        };
        index.publish(&key, &row, Condition::Any, NOW).unwrap();
    }
    let again = Index::open(&environment, Path::new("/again"), Options::default()).unwrap();
    assert!(again.is_new().unwrap());
    let rebuilt = again.rebuild(&volumes, &mut |_| {}).unwrap();
    assert!(500 < rebuilt.records && 20 < rebuilt.deletions, "{rebuilt:?}");
    assert!(rebuilt.damaged.is_empty() && !again.is_new().unwrap());
    let all = Listing { prefix: b"", start: b"", limit: 1_000, unlinked: false, now: NOW };
    let (before, after) = (index.list(&all).unwrap(), again.list(&all).unwrap());
    assert!(30 < before.rows.len());
    assert_eq!(before.rows, after.rows);
    let highest = before.rows.iter().map(|(_, row)| row.generation).max().unwrap();
    assert!(highest < again.generation().unwrap());
}

#[test]
fn a_copy_takes_the_place_of_another_only_while_that_is_one() {
    let environment = environment();
    let index = opened(&environment);
    let [first, second] = [(); 2].map(|()| index.generation().unwrap());
    let replica = |volume, offset| Replica { volume, extent: 1, offset };
    let lies = Row { replicas: vec![replica(0, 5), replica(1, 6)], ..row(first) };
    index.publish(b"k", &lies, Condition::Any, NOW).unwrap();
    let place = Place { extent: 2, offset: 9, bytes: 10 };
    let replace = |generation, volume, from| {
        let replacing = Replacing::by(volume, &place, from);
        let replacing = Replacing { leaves_at: from.map(|_| NOW), ..replacing };
        index.replace(b"k", generation, &replacing).unwrap().0
    };
    assert_eq!(replace(second, 2, Some(replica(0, 5))), Changed::Superseded);
    assert_eq!(replace(first, 2, Some(replica(0, 6))), Changed::Superseded);
    assert_eq!(replace(first, 1, Some(replica(0, 5))), Changed::Superseded, "it is there already");
    assert_eq!(replace(first, 2, Some(replica(0, 5))), Changed::Done);
    let there = || index.get(b"k", NOW).unwrap().unwrap().replicas;
    let new = Replica { volume: 2, extent: 2, offset: 9 };
    assert_eq!(there(), [new, replica(1, 6)]);
    assert_eq!(index.notes(0, NOW - 1, 10).unwrap(), [], "readers may be on their way to it");
    let notes = index.notes(0, NOW, 10).unwrap();
    let left = State::Left(Place { extent: 1, offset: 5, bytes: 10 });
    assert_eq!((notes.len(), notes[0].state, &notes[0].key[..]), (1, left, &b"k"[..]));
    index.noted(&notes[0]).unwrap();
    assert_eq!(index.notes(0, NOW, 10).unwrap(), []);
    // Mended on the volume where it lay, and one more copy.
    let here = Place { extent: 7, offset: 7, bytes: 10 };
    let mended = Replacing::by(1, &here, Some(replica(1, 6)));
    assert_eq!(index.replace(b"k", first, &mended).unwrap().0, Changed::Done);
    assert_eq!(replace(first, 3, None), Changed::Done);
    assert_eq!(there(), [new, replica_at(1, &here), Replica { volume: 3, ..new }]);
    let without = |from| Replacing { from: Some(from), to: None, leaves_at: None };
    for replica in there().iter().skip(1) {
        assert_eq!(index.replace(b"k", first, &without(*replica)).unwrap().0, Changed::Done);
    }
    assert_eq!(index.replace(b"k", first, &without(new)).unwrap().0, Changed::Refused);
    assert_eq!(there(), [new]);
}

#[test]
fn damage_is_known_until_nothing_that_is_named_lies_in_it() {
    let environment = environment();
    let index = opened(&environment);
    let generation = index.generation().unwrap();
    let long = Row { bytes: 200_000, ..row(generation) };
    let replica = Replica { volume: 3, extent: 1, offset: 1_000 };
    let is_damaged = |index: &Index| index.damage_of(b"k", &long, &replica);
    let spot = |offset, bytes| Spot { extent: 1, offset, bytes };
    assert_eq!(index.add_damage(3, &[spot(990, 10), spot(300_000, 5)]).unwrap(), [true, true]);
    assert_eq!(is_damaged(&index), None, "it lies between both");
    assert_eq!(index.add_damage(4, &[spot(1_000, 10)]).unwrap(), [true], "on another volume");
    assert_eq!(is_damaged(&index), None);
    let count = index.damage_count();
    assert_eq!(index.add_damage(3, &[spot(150_000, 65_544)]).unwrap(), [true]);
    assert_eq!(is_damaged(&index), Some((3, 1, 150_000)));
    index.settle_damage(count, &[]).unwrap();
    assert!(is_damaged(&index).is_some() && index.has_damage(), "that was told later");
    assert_eq!(index.add_damage(3, &[spot(990, 10)]).unwrap(), [false]);
    index.close().unwrap();
    let index = opened(&environment);
    assert_eq!(is_damaged(&index), Some((3, 1, 150_000)), "it is known after a start");
    index.settle_damage(index.damage_count(), &[(3, 1, 150_000)]).unwrap();
    assert!(is_damaged(&index).is_some());
    index.settle_damage(index.damage_count(), &[]).unwrap();
    assert_eq!((is_damaged(&index), index.has_damage()), (None, false));
    assert_eq!(index.add_damage(3, &[spot(990, 11)]).unwrap(), [true], "it has grown");
}

/// What was unlinked, and what was moved from one volume to another, is so in an index that is made of the volumes,
/// in whichever order they are named.
/// What was not published is written down on its volumes some time, over starts of the index too; then an index that is
/// made of the volumes does not have it.
#[test]
fn what_was_not_published_is_left_on_its_volumes() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let options = EnvironmentOptions { memory_bytes: 16 << 20 };
    let parts = Parts { vfs: Arc::clone(&vfs), clock, work: Work::Stepped { seed: 1 } };
    let environment = Environment::with(parts, options).unwrap();
    let index = opened(&environment);
    let volume = volume(&vfs, "/one", 1);
    let number = index.number_of(&volume.identity().uuid).unwrap();
    let append = |kind, key: &[u8], generation, value: &[u8]| {
        let (expiry, wants_md5, attributes) = (None, false, &[][..]);
        let record = NewRecord { kind, key, generation, expiry, attributes, value, wants_md5 };
        volume.append_and_wait(&record).unwrap().place
    };
    let published = |key: &[u8], generation, condition| {
        let place = append(Kind::Put, key, generation, b"value");
        let row = Row { replicas: vec![replica_at(number, &place)], ..row(generation) };
        let changed = index.publish(key, &row, condition, NOW).unwrap().0;
        (changed, place, row)
    };
    let [first, second, third, fourth] = [0; 4].map(|_| index.generation().unwrap());
    let (changed, _, kept) = published(b"kept", first, Condition::Absent);
    assert_eq!(changed, Changed::Done);
    // Told once more, it is what is there.
    assert_eq!(index.publish(b"kept", &kept, Condition::Any, NOW).unwrap().0, Changed::Superseded);
    assert_eq!(index.notes(number, NOW, 10).unwrap(), []);
    let (changed, refused, _) = published(b"kept", second, Condition::Absent);
    assert_eq!(changed, Changed::Refused);
    assert!(index.is_to_leave(number, second, &refused).unwrap());
    let (changed, _, _) = published(b"none", third, Condition::Is(first));
    assert_eq!(changed, Changed::Refused);
    let within = Within::needing(b"no bucket");
    let place = append(Kind::Put, b"homeless", fourth, b"value");
    let homeless = Row { replicas: vec![replica_at(number, &place)], ..row(fourth) };
    let changed = index.publish_within(b"homeless", &homeless, Condition::Any, &within, NOW);
    assert_eq!(changed.unwrap().0, Changed::Absent);
    index.close().unwrap();
    let index = opened(&environment);
    let notes = index.notes(number, NOW, 10).unwrap();
    assert_eq!(notes.len(), 3);
    for note in &notes {
        append(Kind::State, &note.key, note.generation, &note.state.encode());
        index.noted(note).unwrap();
    }
    assert!(!index.is_to_leave(number, second, &refused).unwrap());
    let again = Index::open(&environment, Path::new("/again"), Options::default()).unwrap();
    again.rebuild(&[volume], &mut |_| {}).unwrap();
    assert_eq!(again.get(b"kept", NOW).unwrap().unwrap().replicas, kept.replicas);
    for key in [&b"none"[..], b"homeless"] {
        assert_eq!(again.get(key, NOW).unwrap(), None);
    }
}

#[test]
fn an_index_that_is_made_anew_knows_what_was_unlinked_and_moved() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let options = || EnvironmentOptions { memory_bytes: 16 << 20 };
    let parts = Parts { vfs: Arc::clone(&vfs), clock, work: Work::Stepped { seed: 1 } };
    let environment = Environment::with(parts, options()).unwrap();
    let [one, two] = [volume(&vfs, "/one", 1), volume(&vfs, "/two", 2)];
    let append = |volume: &Volume, kind, key: &[u8], generation, value: &[u8]| {
        let (expiry, wants_md5, attributes) = (None, false, &[][..]);
        let record = NewRecord { kind, key, generation, expiry, attributes, value, wants_md5 };
        volume.append_and_wait(&record).unwrap().place
    };
    let put = |volume: &Volume, key: &str, generation| {
        append(volume, Kind::Put, key.as_bytes(), generation, b"value")
    };
    let state = |volume: &Volume, key: &str, generation, state: State| {
        append(volume, Kind::State, key.as_bytes(), generation, &state.encode());
    };
    // Unlinked; unlinked and put anew; unlinked and then deleted; unlinked where its put is on another volume.
    put(&one, "unlinked", 1);
    state(&one, "unlinked", 1, State::Unlinked);
    put(&one, "again", 2);
    state(&one, "again", 2, State::Unlinked);
    put(&two, "again", 3);
    put(&one, "deleted", 4);
    state(&one, "deleted", 4, State::Unlinked);
    append(&one, Kind::Tombstone, b"deleted", 5, b"");
    put(&two, "apart", 6);
    state(&one, "apart", 6, State::Unlinked);
    // Moved to the other volume; mended where it lay; moved away and back.
    let place = put(&one, "moved", 7);
    put(&two, "moved", 7);
    state(&one, "moved", 7, State::Left(place));
    let place = put(&one, "mended", 8);
    let mended = put(&one, "mended", 8);
    state(&one, "mended", 8, State::Left(place));
    let place = put(&one, "back", 9);
    state(&one, "back", 9, State::Left(place));
    let place = put(&two, "back", 9);
    let back = put(&one, "back", 9);
    state(&two, "back", 9, State::Left(place));
    let mut volumes = vec![one, two];
    for name in ["/forth", "/reverse"] {
        let index = Index::open(&environment, Path::new(name), Options::default()).unwrap();
        let rebuilt = index.rebuild(&volumes, &mut |_| {}).unwrap();
        assert_eq!((rebuilt.states, rebuilt.deletions), (8, 1));
        let get = |key: &str| index.get(key.as_bytes(), NOW).unwrap();
        assert!(get("unlinked").unwrap().is_unlinked, "{name}");
        assert!(!get("again").unwrap().is_unlinked, "{name}");
        assert_eq!(get("deleted"), None, "{name}");
        assert!(get("apart").unwrap().is_unlinked, "{name}");
        let numbers = [1, 2].map(|drawn: u8| index.number_of(&[drawn; 16]).unwrap());
        let on = |key: &str| get(key).unwrap().replicas;
        assert_eq!(on("moved").iter().map(|r| r.volume).collect::<Vec<_>>(), [numbers[1]]);
        assert_eq!(on("mended"), [replica_at(numbers[0], &mended)], "{name}");
        assert_eq!(on("back"), [replica_at(numbers[0], &back)], "{name}");
        volumes.reverse();
    }
    append(&volumes[0], Kind::State, b"later", 10, &[2, 1]);
    let index = Index::open(&environment, Path::new("/newer"), Options::default()).unwrap();
    let stop = index.rebuild(&volumes, &mut |_| {}).unwrap_err();
    assert!(
        matches!(stop, Stop::Volume(crate::Error::Format { found: 2, newest: 1, .. })),
        "{stop}"
    );
}
