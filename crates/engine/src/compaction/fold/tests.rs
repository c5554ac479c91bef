//! Folding against a model: what readers at every boundary get, before and after.

use olivine_vfs::Random;

use super::*;
use crate::operator::find_operator;

type Entry = (Stamp, Vec<u8>);

/// What a pointer of these tests begins with, before the value itself, when a fold may follow it.
const READABLE: u8 = 1;

/// Collects what is handed on.
struct Collected {
    entries: Vec<(Vec<u8>, Entry)>,
    bottom: bool,
}

impl FoldSink for Collected {
    fn add(
        &mut self,
        key: &[u8],
        is_first: bool,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()> {
        let known = self.entries.last().is_some_and(|(last, _)| last == key);
        assert_eq!(is_first, !known, "the first version of a key is told as such");
        assert_eq!(digest, Digest::of(key, value), "a digest is that of what is handed on");
        self.entries.push((key.to_vec(), (stamp, value.to_vec())));
        Ok(())
    }

    fn value_apart(&mut self, pointer: &[u8]) -> Option<Vec<u8>> {
        (pointer[0] == READABLE).then(|| pointer[1..].to_vec())
    }

    fn nothing_below(&self, _key: &[u8]) -> bool {
        self.bottom
    }

    fn is_bottom(&self) -> bool {
        self.bottom
    }
}

/// What a reader of `seqno` at time `now` gets of these versions, newest first, over `below`.
fn read(
    versions: &[Entry],
    ranges: &RangeDeletes,
    key: &[u8],
    seqno: SeqNo,
    now: u64,
    below: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let operator = find_operator(&[], "append").unwrap();
    let cover = ranges.covering(key, seqno);
    let mut operands: Vec<&[u8]> = Vec::new();
    let mut base = below.filter(|_| cover == 0);
    for (stamp, value) in versions.iter().filter(|(stamp, _)| stamp.seqno() <= seqno) {
        if stamp.seqno() < cover {
            base = None;
            break;
        }
        match stamp.kind().unwrap() {
            Kind::Merge => operands.insert(0, value),
            Kind::Put => {
                base = Some(value);
                break;
            }
            Kind::Pointer => {
                base = Some(&value[1..]);
                break;
            }
            Kind::PutExpiring => {
                let (expiry, value) = split_expiry(value).unwrap();
                base = (now < expiry).then_some(value);
                break;
            }
            _ => {
                base = None;
                break;
            }
        }
    }
    if operands.is_empty() {
        return base.map(<[u8]>::to_vec);
    }
    Some(operator.fold(key, base, &operands).unwrap())
}

const KEY: &[u8] = b"k";

fn versions_of(random: &mut Random) -> (Vec<Entry>, RangeDeletes) {
    let mut ranges = RangeDeletes::default();
    let mut versions = Vec::new();
    for seqno in 2..2 + random.below(12) {
        let text = vec![b'a' + (seqno % 26) as u8];
        match random.below(11) {
            10 => {
                let value = [&[random.below(2) as u8], text.as_slice()].concat();
                versions.push((Stamp::new(seqno, Kind::Pointer), value));
            }
            0 => ranges = ranges.with(b"a", b"z", seqno),
            1 | 2 => versions.push((Stamp::new(seqno, Kind::Delete), vec![])),
            3 | 4 => versions.push((Stamp::new(seqno, Kind::Put), text)),
            5 => {
                let value = [random.below(3).to_le_bytes().as_slice(), &text].concat();
                versions.push((Stamp::new(seqno, Kind::PutExpiring), value));
            }
            _ => versions.push((Stamp::new(seqno, Kind::Merge), text)),
        }
    }
    versions.reverse();
    (versions, ranges)
}

fn boundaries_of(random: &mut Random) -> Vec<SeqNo> {
    let mut boundaries: Vec<SeqNo> = (0..=random.below(3)).map(|_| 1 + random.below(14)).collect();
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries
}

/// A reader at any boundary, and at anything newer than the last one, gets the same before and after.
#[test]
fn readers_get_what_they_got() {
    let operator = find_operator(&[], "append").unwrap();
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let (versions, ranges) = versions_of(&mut random);
        let boundaries = boundaries_of(&mut random);
        let expiry_mark = random.below(2);
        let bottom = random.below(2) == 0;
        let below: Option<&[u8]> = (!bottom && random.below(2) == 0).then_some(b"0");
        let rules = Rules {
            boundaries: boundaries.clone(),
            ranges: ranges.clone(),
            operator: Some(operator.as_ref()),
            filter: None,
            expiry_mark,
        };
        let mut fold = Fold::new(rules);
        let mut out = Collected { entries: Vec::new(), bottom };
        for (stamp, value) in &versions {
            let (kind, digest) = (stamp.kind().unwrap(), Digest::of(KEY, value));
            fold.push(KEY, *stamp, kind, value, digest, &mut out).unwrap();
        }
        fold.end(&mut out).unwrap();
        let kept: Vec<Entry> = out.entries.iter().map(|(_, entry)| entry.clone()).collect();
        assert!(kept.windows(2).all(|pair| pair[1].0 < pair[0].0), "seed {seed}: out of order");
        assert!(kept.len() <= versions.len(), "seed {seed}: versions were made");
        let dropped = fold.dropped().all() as usize;
        assert_eq!(kept.len() + dropped, versions.len(), "seed {seed}: {:?}", fold.dropped());
        let kept_ranges = fold.rules().kept_ranges(|_| bottom);
        let last = *boundaries.last().unwrap();
        for seqno in boundaries.iter().copied().chain(last..16) {
            for now in expiry_mark..3 {
                let before = read(&versions, &ranges, KEY, seqno, now, below);
                let after = read(&kept, &kept_ranges, KEY, seqno, now, below);
                assert_eq!(after, before, "seed {seed} at {seqno}, {now}: {versions:?}, {kept:?}");
            }
        }
    }
}

fn kept(boundaries: &[SeqNo], seqnos: &[SeqNo]) -> Vec<SeqNo> {
    let rules = Rules {
        boundaries: boundaries.to_vec(),
        ranges: RangeDeletes::default(),
        operator: None,
        filter: None,
        expiry_mark: 0,
    };
    let mut fold = Fold::new(rules);
    let mut out = Collected { entries: Vec::new(), bottom: false };
    for seqno in seqnos {
        let digest = Digest::of(KEY, b"");
        fold.push(KEY, Stamp::new(*seqno, Kind::Put), Kind::Put, b"", digest, &mut out).unwrap();
    }
    fold.end(&mut out).unwrap();
    out.entries.iter().map(|(_, (stamp, _))| stamp.seqno()).collect()
}

#[test]
fn without_snapshots_only_the_newest_version_stays() {
    assert_eq!(kept(&[9], &[9, 7, 3, 1]), [9]);
}

#[test]
fn each_snapshot_keeps_what_it_shows() {
    assert_eq!(kept(&[2, 5, 9], &[9, 8, 5, 4, 3, 2, 1]), [9, 5, 2]);
    assert_eq!(kept(&[2, 5, 9], &[4, 1]), [4, 1]);
}

#[test]
fn what_is_newer_than_the_watermark_stays() {
    assert_eq!(kept(&[5], &[9, 8, 7, 5, 4]), [9, 8, 7, 5]);
}

/// A filter is asked of the newest version only, and only once nobody can ask for an older one.
#[test]
fn a_filter_drops_what_no_snapshot_needs() {
    #[derive(Debug)]
    struct Odd;
    impl CompactionFilter for Odd {
        fn name(&self) -> &'static str {
            "odd"
        }

        fn wants(&self, _key: &[u8], value: &[u8]) -> bool {
            value == b"wanted"
        }
    }
    let fold_at = |boundaries: &[SeqNo], bottom| {
        let rules = Rules {
            boundaries: boundaries.to_vec(),
            ranges: RangeDeletes::default(),
            operator: None,
            filter: Some(&Odd),
            expiry_mark: 0,
        };
        let mut fold = Fold::new(rules);
        let mut out = Collected { entries: Vec::new(), bottom };
        for (key, value) in [(b"a", "wanted"), (b"b", "not")] {
            let (stamp, value) = (Stamp::new(7, Kind::Put), value.as_bytes());
            let digest = Digest::of(key, value);
            fold.push(key, stamp, Kind::Put, value, digest, &mut out).unwrap();
        }
        fold.end(&mut out).unwrap();
        let kind = |(key, (stamp, _)): &(Vec<u8>, Entry)| (key.clone(), stamp.kind().unwrap());
        out.entries.iter().map(kind).collect::<Vec<_>>()
    };
    let (a, b) = (b"a".to_vec(), b"b".to_vec());
    assert_eq!(fold_at(&[9], true), [(a.clone(), Kind::Put)]);
    assert_eq!(fold_at(&[9], false), [(a.clone(), Kind::Put), (b.clone(), Kind::Delete)]);
    assert_eq!(fold_at(&[5, 9], true), [(a, Kind::Put), (b, Kind::Put)]);
}
