//! Loans, and backups that are made of them: what comes over, what is not believed, what is kept when the
//! rest does not come.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use olivine_engine::{
    Backups, Db, Environment, Error, Lender, Loan, Offer, OnPiece, Options, Piece, Result,
};
use olivine_vfs::{MemoryVfs, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::scene::{FromLoan, STORE, fill, lend_and_receive, offer, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const BACKUPS: &str = "/backups";

fn options() -> Options {
    Options { value_apart_bytes_min: 300, ..small() }
}

fn contents(db: &Db) -> Map {
    let keyspace = db.find_keyspace("a").unwrap();
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

fn names(vfs: &dyn Vfs, dir: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(dir)).unwrap();
    entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}

/// A store with tables, a value file and something in memory.
fn store(entries: u32) -> (Arc<MemoryVfs>, Environment, Db) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, options()).unwrap();
    fill(&db, "a", entries);
    for number in 0..3u32 {
        db.keyspace("a").unwrap().put(&number.to_be_bytes(), &[number as u8; 400]).unwrap();
    }
    db.settle().unwrap();
    db.keyspace("a").unwrap().put(b"in memory", b"yes").unwrap();
    (vfs, environment, db)
}

#[test]
fn a_backup_of_a_loan_is_one_like_any_other() {
    let (_, environment, db) = store(600);
    let backups = Backups::new(&environment, BACKUPS);
    let then = contents(&db);
    let received = lend_and_receive(&environment, &db, BACKUPS).unwrap();
    assert_eq!((received.number, received.seqno), (1, db.visible()));
    assert_eq!((received.time, received.bytes_new), (1_795_217_000, received.bytes));
    let taken = backups.take(&db, &mut |_| ()).unwrap();
    assert!(taken.bytes_new < taken.bytes / 2, "both kinds share files: {taken:?}");
    assert_eq!(taken.entries, received.entries);
    db.keyspace("a").unwrap().put(b"later", b"1").unwrap();
    let third = lend_and_receive(&environment, &db, BACKUPS).unwrap();
    assert!(third.number == 3 && third.bytes_new < third.bytes / 2, "{third:?}");
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, []);
    backups.restore(Some(1), "/restored", &mut |_| ()).unwrap();
    let restored = Db::open(&environment, "/restored", options()).unwrap();
    assert!(contents(&restored) == then);
}

/// Whatever the store does meanwhile, also being closed, a loan shows the moment it was made.
#[test]
fn a_loan_is_of_one_moment_and_leaves_nothing() {
    let (vfs, environment, db) = store(600);
    let then = contents(&db);
    let loan = db.lend("/lent").unwrap();
    assert!(!names(&*vfs, "/lent").is_empty(), "what was in memory is written out");
    assert!(matches!(db.lend("/lent"), Err(Error::Io { .. })), "a directory is of one loan");
    for round in 0..4u8 {
        for number in 0..600u32 {
            db.keyspace("a").unwrap().put(&number.to_be_bytes(), &[round; 70]).unwrap();
        }
        db.settle().unwrap();
    }
    db.close().unwrap();
    let backups = Backups::new(&environment, BACKUPS);
    backups.receive(&offer(&loan), &mut FromLoan(&loan), &mut |_| ()).unwrap();
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
    assert!(contents(&Db::open(&environment, "/restored", options()).unwrap()) == then);

    let nothing = Piece { bytes: Vec::new(), hash: xxh3_64(b"") };
    let file = &loan.files()[1];
    assert_eq!(loan.read(1, file.bytes, 9).unwrap(), Some(nothing.clone()));
    assert_eq!(loan.read(1, u64::MAX, u64::MAX).unwrap(), Some(nothing.clone()));
    assert_eq!(loan.read(0, u64::MAX, 9).unwrap(), Some(nothing.clone()));
    assert_eq!(loan.read(loan.files().len() as u64, 0, 9).unwrap(), None);
    assert_eq!(loan.read(u64::MAX, 0, 9).unwrap(), None);
    drop(loan);
    assert_eq!(vfs.entry(Path::new("/lent")).unwrap(), None);
    let db = Db::open(&environment, STORE, options()).unwrap();
    assert_eq!(db.check(&mut |_, _| ()).unwrap().damages, 0);
}

/// A lender that changes one bit of one file.
struct Flipping<'a> {
    loan: &'a Loan,
    file: usize,
    at: u64,
    /// Where it does: before it is hashed, or after.
    before: bool,
}

impl Lender for Flipping<'_> {
    fn fetch(&mut self, file: usize, bytes: u64, each: OnPiece<'_>) -> Result<()> {
        let mut start = 0;
        FromLoan(self.loan).fetch(file, bytes, &mut |piece, mut hash| {
            let mut piece = piece.to_vec();
            if file == self.file
                && let Some(at) = self.at.checked_sub(start)
                && let Some(byte) = piece.get_mut(at as usize)
            {
                *byte ^= 1 << (self.at % 8);
            }
            if self.before {
                hash = xxh3_64(&piece);
            }
            start += piece.len() as u64;
            each(&piece, hash)
        })
    }
}

/// One bit changes, in whichever byte of whichever file, on the way: it is told, and there is no backup. So it
/// is for all but the catalog, which has no checksum of its own, when the store's disk changed it.
#[test]
fn no_bit_that_changes_is_kept() {
    let (vfs, environment, db) = store(40);
    let loan = db.lend("/lent").unwrap();
    let offer = offer(&loan);
    let kinds: Vec<_> = offer.files.iter().map(|file| &file.name[..5]).collect();
    assert!(["catal", "table", "value"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let backups = Backups::new(&environment, BACKUPS);
    for (file, offered) in offer.files.iter().enumerate() {
        for at in 0..offered.bytes {
            for before in [false, true].into_iter().take(file + 1) {
                let mut lender = Flipping { loan: &loan, file, at, before };
                let error = backups.receive(&offer, &mut lender, &mut |_| ()).unwrap_err();
                let told = matches!(error, Error::Corrupt { .. } | Error::Format { .. });
                assert!(told, "{} at {at}: {error}", offered.name);
            }
        }
        assert!(!names(&*vfs, BACKUPS).contains(&offered.name));
    }
    assert!(backups.list().unwrap().is_empty());
    backups.receive(&offer, &mut FromLoan(&loan), &mut |_| ()).unwrap();
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
}

/// A lender that fails at the nth fetch, or hands over half of it, and counts.
struct Failing<'a> {
    loan: &'a Loan,
    fetches: Vec<usize>,
    fails_at: usize,
}

impl Lender for Failing<'_> {
    fn fetch(&mut self, file: usize, bytes: u64, each: OnPiece<'_>) -> Result<()> {
        self.fetches.push(file);
        if self.fails_at < self.fetches.len() {
            FromLoan(self.loan).fetch(file, bytes / 2, each)?;
            let source = Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
            return Err(Error::Io { operation: "fetch", path: "x".into(), source });
        }
        FromLoan(self.loan).fetch(file, bytes, each)
    }
}

#[test]
fn what_was_received_whole_is_not_asked_for_again() {
    let (vfs, environment, db) = store(600);
    let loan = db.lend("/lent").unwrap();
    let offer = offer(&loan);
    let count = offer.files.len();
    assert!(4 < count, "{count}");
    let backups = Backups::new(&environment, BACKUPS);
    // The catalog, which comes each time, and one file more.
    for file in 1..count {
        let mut lender = Failing { loan: &loan, fetches: Vec::new(), fails_at: 2 };
        let received = backups.receive(&offer, &mut lender, &mut |_| ());
        assert!(names(&*vfs, BACKUPS).iter().all(|name| !name.contains("next")));
        if file < count - 1 {
            assert!(matches!(received, Err(Error::Io { operation: "fetch", .. })), "{received:?}");
            assert_eq!(lender.fetches, [0, file, file + 1]);
        } else {
            assert_eq!((received.is_ok(), lender.fetches), (true, vec![0, file]));
        }
    }
    assert_eq!(backups.list().unwrap().len(), 1);
    backups.prune(1).unwrap();
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
}

/// A file that was left and was damaged since is fetched again; one that nobody wants goes.
#[test]
fn what_was_left_is_verified_and_what_is_not_wanted_goes() {
    let (vfs, environment, db) = store(600);
    let loan = db.lend("/lent").unwrap();
    let offer = offer(&loan);
    let backups = Backups::new(&environment, BACKUPS);
    let mut lender = Failing { loan: &loan, fetches: Vec::new(), fails_at: 3 };
    backups.receive(&offer, &mut lender, &mut |_| ()).unwrap_err();
    let path = Path::new(BACKUPS).join(&offer.files[2].name);
    let file = vfs.open(&path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 100).unwrap();
    file.write_at(&[byte[0] ^ 1], 100).unwrap();
    let stray = "table-0123456789abcdef-000000000001-0123456789abcdef";
    vfs.open(&Path::new(BACKUPS).join(stray), Open::Create).unwrap();
    let mut lender = Failing { loan: &loan, fetches: Vec::new(), fails_at: usize::MAX };
    backups.receive(&offer, &mut lender, &mut |_| ()).unwrap();
    assert!(lender.fetches.contains(&2) && !lender.fetches.contains(&1), "{:?}", lender.fetches);
    assert!(!names(&*vfs, BACKUPS).iter().any(|name| name == stray));
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, []);
}

#[test]
fn an_offer_that_is_not_that_of_its_catalog_is_refused() {
    let (vfs, environment, db) = store(100);
    let loan = db.lend("/lent").unwrap();
    let backups = Backups::new(&environment, BACKUPS);
    let good = offer(&loan);
    let altered = |change: &dyn Fn(&mut Offer)| {
        let mut offer = good.clone();
        change(&mut offer);
        let error = backups.receive(&offer, &mut FromLoan(&loan), &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        error.to_string()
    };
    altered(&|offer| drop(offer.files.pop()));
    altered(&|offer| offer.files.clear());
    altered(&|offer| drop(offer.files.remove(0)));
    altered(&|offer| offer.files[1].bytes += 1);
    altered(&|offer| offer.files[1].name = "../../etc/passwd".to_owned());
    altered(&|offer| offer.files.push(offer.files[1].clone()));
    altered(&|offer| offer.files[0].bytes = u64::MAX);
    altered(&|offer| offer.files[0].bytes -= 1);
    altered(&|offer| offer.store ^= 1);
    assert_eq!(names(&*vfs, BACKUPS), ["LOCK"]);
    backups.receive(&good, &mut FromLoan(&loan), &mut |_| ()).unwrap();
    let other = Db::open(&environment, "/other", options()).unwrap();
    let error = lend_and_receive_other(&environment, &other);
    assert!(error.to_string().contains("holds backups of store"), "{error}");
}

fn lend_and_receive_other(environment: &Environment, db: &Db) -> Error {
    let loan = db.lend("/lent-other").unwrap();
    let backups = Backups::new(environment, BACKUPS);
    backups.receive(&offer(&loan), &mut FromLoan(&loan), &mut |_| ()).unwrap_err()
}
