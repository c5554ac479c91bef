//! The judge must see what is wrong, so here it is shown stores that are not what they should be.

use super::*;

fn specimen(left: Left) -> Specimen {
    Specimen::make(1, left, "test").expect("a store")
}

fn judged(specimen: &Specimen, disk: &MemoryVfs, floor: usize) -> Option<Outcome> {
    specimen.judge(disk, floor).ok()
}

#[test]
fn an_undamaged_store_is_harmless_however_it_was_left() {
    for (left, _) in LEFT {
        let specimen = specimen(left);
        let image = specimen.disk.image();
        assert_eq!(judged(&specimen, &image, 0), Some(Outcome::Harmless));
    }
}

#[test]
fn a_key_that_is_gone_or_changed_or_new_is_silent() {
    let honest = specimen(Left::Closed);
    let name = honest.contents.keys().next().expect("a keyspace").clone();
    let key = honest.contents[&name].keys().next().expect("a key").clone();
    for change in 0..3 {
        let mut specimen = specimen(Left::Closed);
        let keys = specimen.contents.get_mut(&name).expect("the keyspace");
        match change {
            0 => drop(keys.insert(b"never written".to_vec(), Arc::from(&b"x"[..]))),
            1 => drop(keys.remove(&key)),
            _ => drop(keys.insert(key.clone(), Arc::from(&b"another"[..]))),
        }
        // The log of commits agrees with what is expected, so the store is what is wrong.
        specimen.log = CommitLog::from_contents(specimen.contents.clone());
        assert_eq!(judged(&specimen, &specimen.disk.image(), 0), None, "change {change}");
    }
}

/// Going back in time is wrong, unless the opening reports a cut.
#[test]
fn a_store_that_went_back_and_does_not_say_so_is_silent() {
    let mut specimen = specimen(Left::Closed);
    let (name, key) = ("main".to_owned(), b"later".to_vec());
    let event = crate::oracle::Event::Write(vec![(name, key, Some(Arc::from(&b"x"[..])))]);
    let position = specimen.log.push(event);
    specimen.contents = specimen.log.contents(position);
    let silent = specimen.judge(&specimen.disk.image(), 0).expect_err("silent");
    assert!(silent.what.contains("does not say so"), "{}", silent.what);
}

/// A log cut in its unproven end is reported as such; the same loss below the proof is not accepted.
#[test]
fn a_cut_counts_only_above_the_proof() {
    let specimen = specimen(Left::Open);
    let last = specimen
        .files
        .iter()
        .rfind(|sample| sample.kind() == "log" && sample.bytes.iter().any(|byte| *byte != 0));
    let last = last.expect("a log that was written");
    let end = last.bytes.iter().rposition(|byte| *byte != 0).expect("written bytes") as u64;
    let disk = specimen.disk.image();
    Mutation::Flip { path: last.path.clone(), offset: end - 3, bit: 0 }.make(&disk).unwrap();
    assert_eq!(judged(&specimen, &disk.image(), specimen.proven), Some(Outcome::Cut));
    assert_eq!(judged(&specimen, &disk.image(), specimen.log.position()), None);
}
