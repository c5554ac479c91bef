//! Histories of commands against a map, and what must hold of the rows after each.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use olivine_command::{
    Access, Bound, Code, Command, Condition, Copying, Entry, Expiry, Form, Found, Look, Principal,
    Reply, Role, Token, User, Value, Who,
};
use olivine_engine::{Durability, Environment};
use olivine_testkit::settings;
use olivine_vfs::{CrashingVfs, ManualClock, MemoryVfs, Random, Survival, Vfs};

use crate::{
    layout::{deadline_key, user_key},
    model::{Behind, Model, ModelOptions},
    row::Row,
};

/// A store that is opened, and opened again.
struct Bench {
    seed: u64,
    environment: Environment,
    model: Option<Model>,
}

impl Bench {
    fn new(vfs: Arc<dyn Vfs>, seed: u64) -> Bench {
        let clock = Arc::new(ManualClock::new());
        let environment = settings::environment(vfs, &clock, seed).unwrap();
        let mut bench = Bench { seed, environment, model: None };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let options = settings::options(self.seed);
        let path = Path::new("/store");
        let model = Model::open(&self.environment, path, options, ModelOptions::default()).unwrap();
        self.model = Some(model);
    }

    fn reopen(&mut self) {
        self.model.take().unwrap().close().unwrap();
        self.open();
    }

    fn model(&self) -> &Model {
        self.model.as_ref().unwrap()
    }

    /// All replies to a batch, however often it is cut or the store is behind.
    fn run(&self, now: u64, commands: &[Command<'_>]) -> Vec<Reply> {
        let mut replies = Vec::new();
        while replies.len() < commands.len() {
            match self.model().apply(now, &commands[replies.len()..]) {
                Ok(applied) => {
                    assert!(!applied.replies.is_empty());
                    replies.extend(applied.replies);
                }
                Err(Behind { .. }) => assert!(self.environment.step(), "nothing helps"),
            }
        }
        replies
    }

    fn one(&self, now: u64, command: Command<'_>) -> Reply {
        self.run(now, &[command]).pop().unwrap()
    }
}

/// Counter, deadlines and rows agree.
fn check_rows(model: &Model) {
    let mut count = 0;
    for entry in model.rows.iter().unwrap() {
        let (key, value) = entry.unwrap();
        count += 1;
        if let Some(expiry) = Row::decode(&value).unwrap().expiry {
            let place = deadline_key(expiry, &key);
            let held = model.deadlines.contains(&place).unwrap();
            assert!(held, "no deadline for {}", user_key(&key).escape_ascii());
        }
    }
    assert_eq!(model.count().unwrap(), count, "the count is exact");
}

/// What a model would do, too simple to be wrong.
#[derive(Default)]
struct Oracle {
    rows: BTreeMap<Vec<u8>, Held>,
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    form: Form,
    bytes: Vec<u8>,
    expiry: Option<u64>,
}

impl Oracle {
    fn live(&self, now: u64, key: &[u8]) -> Option<&Held> {
        self.rows.get(key).filter(|held| held.expiry.is_none_or(|expiry| now < expiry))
    }

    fn found(&self, now: u64, key: &[u8]) -> Option<Found> {
        self.live(now, key).map(found)
    }

    fn put(&mut self, now: u64, entry: &Entry<'_>, expiry: Expiry) {
        let before = self.live(now, &entry.key).and_then(|held| held.expiry);
        let expiry = resolved(expiry, before);
        let (form, bytes) = (entry.value.form, entry.value.bytes.to_vec());
        self.set(now, &entry.key, Held { form, bytes, expiry });
    }

    fn set(&mut self, now: u64, key: &[u8], held: Held) {
        if held.expiry.is_some_and(|expiry| expiry <= now) {
            self.rows.remove(key);
        } else {
            self.rows.insert(key.to_vec(), held);
        }
    }

    fn delete(&mut self, now: u64, key: &[u8]) -> bool {
        let was_live = self.live(now, key).is_some();
        self.rows.remove(key);
        was_live
    }

    fn holds(&self, now: u64, key: &[u8], condition: Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => self.live(now, key).is_none(),
            Condition::Present => self.live(now, key).is_some(),
            Condition::Revision(_) => unreachable!("revisions have a test of their own"),
        }
    }

    fn apply(&mut self, now: u64, command: &Command<'_>) -> Reply {
        match command {
            Command::Get { key } => Reply::Value(self.found(now, key)),
            Command::GetMany { keys } => {
                Reply::Values(keys.iter().map(|key| self.found(now, key)).collect())
            }
            Command::Look { key } => Reply::Look(self.live(now, key).map(|held| Look {
                form: held.form,
                bytes: held.bytes.len() as u64,
                expiry: held.expiry,
                revision: 0,
            })),
            Command::Put { entry, condition, expiry } => {
                let done = self.holds(now, &entry.key, *condition);
                if done {
                    self.put(now, entry, *expiry);
                }
                Reply::Done(done)
            }
            Command::PutMany { entries, expiry } => {
                for entry in entries {
                    self.put(now, entry, *expiry);
                }
                Reply::Count(entries.len() as u64)
            }
            Command::Delete { key, condition } => {
                Reply::Done(self.holds(now, key, *condition) && self.delete(now, key))
            }
            Command::DeleteMany { keys } => {
                Reply::Count(keys.iter().filter(|key| self.delete(now, key)).count() as u64)
            }
            Command::Expire { key, expiry } => {
                let Some(held) = self.live(now, key).cloned() else {
                    return Reply::Done(false);
                };
                let expiry = resolved(*expiry, held.expiry);
                self.set(now, key, Held { expiry, ..held });
                Reply::Done(true)
            }
            Command::Scan { start, end, limit, backward } => {
                self.scan(now, start, end, *limit, *backward)
            }
            Command::Count => Reply::Count(self.rows.len() as u64),
            Command::Sweep { .. } => {
                self.rows.retain(|_, held| held.expiry.is_none_or(|expiry| now < expiry));
                Reply::Count(0)
            }
            command => unreachable!("{command:?} is not drawn"),
        }
    }

    fn scan(
        &self,
        now: u64,
        start: &Bound<'_>,
        end: &Bound<'_>,
        limit: u64,
        backward: bool,
    ) -> Reply {
        let is_within = |key: &[u8]| {
            let after = match start {
                Bound::Open => true,
                Bound::Included(start) => &**start <= key,
                Bound::Excluded(start) => &**start < key,
            };
            after
                && match end {
                    Bound::Open => true,
                    Bound::Included(end) => key <= &**end,
                    Bound::Excluded(end) => key < &**end,
                }
        };
        let live = self.rows.keys().filter(|key| self.live(now, key).is_some() && is_within(key));
        let mut keys: Vec<&Vec<u8>> = live.collect();
        if backward {
            keys.reverse();
        }
        let more = limit < keys.len() as u64;
        keys.truncate(limit as usize);
        let entry = |key: &Vec<u8>| (key.clone(), found(&self.rows[key]));
        Reply::Page { entries: keys.into_iter().map(entry).collect(), more }
    }
}

fn found(held: &Held) -> Found {
    Found { form: held.form, bytes: held.bytes.clone(), revision: 0 }
}

fn resolved(expiry: Expiry, before: Option<u64>) -> Option<u64> {
    match expiry {
        Expiry::Never => None,
        Expiry::At(time) => Some(time),
        Expiry::Kept => before,
    }
}

/// A reply without what the oracle does not know.
fn plain(reply: Reply, command: &Command<'_>) -> Reply {
    let plain = |found: Found| Found { revision: 0, ..found };
    match reply {
        Reply::Value(found) => Reply::Value(found.map(plain)),
        Reply::Values(values) => {
            Reply::Values(values.into_iter().map(|found| found.map(plain)).collect())
        }
        Reply::Look(look) => Reply::Look(look.map(|look| Look { revision: 0, ..look })),
        Reply::Page { entries, more } => {
            let entries = entries.into_iter().map(|(key, found)| (key, plain(found))).collect();
            Reply::Page { entries, more }
        }
        // Places that are out of date are looked at as well.
        Reply::Count(_) if matches!(command, Command::Sweep { .. }) => Reply::Count(0),
        reply => reply,
    }
}

/// Draws commands over few keys, so that they meet.
struct Draw {
    random: Random,
    now: u64,
}

impl Draw {
    fn key(&mut self) -> Vec<u8> {
        let mut key = vec![b'k'; self.random.index(3)];
        key.push(b'a' + self.random.index(6) as u8);
        key
    }

    fn entry(&mut self) -> Entry<'static> {
        let form = if self.random.chance(1, 4) { Form::Json } else { Form::Bytes };
        // Some stand apart from the tables.
        let bytes = if self.random.chance(1, 20) { 3_000 } else { self.random.index(40) };
        let byte = self.random.next_u64() as u8;
        let value = Value { form, bytes: vec![byte; bytes].into() };
        Entry { key: self.key().into(), value }
    }

    fn expiry(&mut self) -> Expiry {
        match self.random.index(5) {
            0 => Expiry::Kept,
            1 => Expiry::At(self.now + self.random.below(40)),
            2 => Expiry::At(self.now.saturating_sub(self.random.below(5))),
            _ => Expiry::Never,
        }
    }

    fn condition(&mut self) -> Condition {
        match self.random.index(4) {
            0 => Condition::Absent,
            1 => Condition::Present,
            _ => Condition::Always,
        }
    }

    fn bound(&mut self) -> Bound<'static> {
        match self.random.index(3) {
            0 => Bound::Open,
            1 => Bound::Included(self.key().into()),
            _ => Bound::Excluded(self.key().into()),
        }
    }

    fn command(&mut self) -> Command<'static> {
        let some = self.random.index(4);
        match self.random.index(16) {
            0..4 => Command::Put {
                entry: self.entry(),
                condition: self.condition(),
                expiry: self.expiry(),
            },
            4..7 => Command::Get { key: self.key().into() },
            7 => Command::GetMany { keys: (0..some).map(|_| self.key().into()).collect() },
            8 => Command::Look { key: self.key().into() },
            9 => Command::PutMany {
                entries: (0..some).map(|_| self.entry()).collect(),
                expiry: self.expiry(),
            },
            10 => Command::Delete { key: self.key().into(), condition: self.condition() },
            11 => Command::DeleteMany { keys: (0..some).map(|_| self.key().into()).collect() },
            12 => Command::Expire { key: self.key().into(), expiry: self.expiry() },
            13 => Command::Scan {
                start: self.bound(),
                end: self.bound(),
                limit: self.random.below(8),
                backward: self.random.chance(1, 2),
            },
            14 => Command::Count,
            _ => Command::Sweep { limit: 1_000 },
        }
    }
}

/// Any history of batches, flushes and reopenings reads like a map.
#[test]
fn reads_like_a_map() {
    for seed in 0..60 {
        let mut bench = Bench::new(Arc::new(MemoryVfs::new()), seed);
        let mut oracle = Oracle::default();
        let mut draw = Draw { random: Random::new(seed), now: 1_000 };
        for step in 0..150 {
            draw.now += draw.random.below(12);
            let count = 1 + draw.random.index(6);
            let commands: Vec<_> = (0..count).map(|_| draw.command()).collect();
            let replies = bench.run(draw.now, &commands);
            for (command, reply) in commands.iter().zip(replies) {
                let expected = oracle.apply(draw.now, command);
                let reply = plain(reply, command);
                assert_eq!(
                    reply, expected,
                    "seed {seed}, step {step}: {command:?} of {commands:?}"
                );
            }
            match draw.random.index(30) {
                0 => bench.reopen(),
                1 => bench.model().db().flush().unwrap(),
                2..10 => {
                    bench.environment.step();
                }
                _ => {}
            }
        }
        check_rows(bench.model());
    }
}

/// Whatever a power cut leaves, rows, deadlines and count agree.
#[test]
fn rows_agree_after_every_crash() {
    for seed in 0..40 {
        let disk = CrashingVfs::new();
        let bench = Bench::new(Arc::new(disk.clone()), seed);
        let mut draw = Draw { random: Random::new(seed), now: 1_000 };
        for _ in 0..40 {
            draw.now += draw.random.below(12);
            let commands: Vec<_> = (0..3).map(|_| draw.command()).collect();
            bench.run(draw.now, &commands);
            if draw.random.chance(1, 3) {
                bench.environment.step();
            }
            if draw.random.chance(1, 4) {
                let survival = Survival::ALL[draw.random.index(4)];
                let image = disk.crash(survival, draw.random.next_u64());
                check_rows(Bench::new(Arc::new(image), seed).model());
            }
        }
    }
}

fn put(key: &'static str, value: &'static str, condition: Condition) -> Command<'static> {
    let value = Value { form: Form::Bytes, bytes: value.as_bytes().into() };
    let entry = Entry { key: key.as_bytes().into(), value };
    Command::Put { entry, condition, expiry: Expiry::Never }
}

fn revision_of(bench: &Bench, key: &'static str) -> u64 {
    match bench.one(0, Command::Get { key: key.as_bytes().into() }) {
        Reply::Value(Some(found)) => found.revision,
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn a_revision_is_that_of_one_value() {
    let bench = Bench::new(Arc::new(MemoryVfs::new()), 1);
    bench.one(0, put("a", "1", Condition::Always));
    let first = revision_of(&bench, "a");
    assert_eq!(first, revision_of(&bench, "a"));
    assert_eq!(bench.one(0, put("a", "2", Condition::Revision(first))), Reply::Done(true));
    assert_eq!(bench.one(0, put("a", "3", Condition::Revision(first))), Reply::Done(false));
    let second = revision_of(&bench, "a");
    assert_ne!(first, second);
    let expire = Command::Expire { key: b"a".as_slice().into(), expiry: Expiry::At(9) };
    bench.one(0, expire);
    assert_ne!(second, revision_of(&bench, "a"), "its expiry belongs to it");
    let gone =
        Command::Delete { key: b"b".as_slice().into(), condition: Condition::Revision(first) };
    assert_eq!(bench.one(0, gone), Reply::Done(false));
}

#[test]
fn a_key_that_is_too_long_is_refused_and_its_batch_goes_on() {
    let bench = Bench::new(Arc::new(MemoryVfs::new()), 1);
    let long = vec![b'k'; crate::KEY_BYTES_MAX + 1];
    let get = |key: &[u8]| Command::Get { key: key.to_vec().into() };
    let value = |bytes: &'static [u8]| Value { form: Form::Bytes, bytes: bytes.into() };
    let entries = vec![
        Entry { key: b"b".as_slice().into(), value: value(b"1") },
        Entry { key: long.clone().into(), value: value(b"2") },
    ];
    let many = Command::PutMany { entries, expiry: Expiry::Never };
    let replies =
        bench.run(0, &[put("a", "1", Condition::Always), many, get(&long), get(b"b"), get(b"a")]);
    assert_eq!(replies[0], Reply::Done(true));
    for refused in &replies[1..3] {
        let Reply::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.text, "the key has 65527 bytes, and may have 65526");
    }
    assert_eq!(replies[3], Reply::Value(None), "a batch is all or nothing");
    assert!(matches!(&replies[4], Reply::Value(Some(_))));
    let longest = &long[..crate::KEY_BYTES_MAX];
    let entry = Entry { key: longest.into(), value: value(b"x") };
    let put = Command::Put { entry, condition: Condition::Always, expiry: Expiry::At(5) };
    assert_eq!(bench.one(0, put), Reply::Done(true));
    assert!(matches!(bench.one(0, get(longest)), Reply::Value(Some(_))));
}

/// What has expired does not come back when the clock goes back.
#[test]
fn time_does_not_go_back() {
    let mut bench = Bench::new(Arc::new(MemoryVfs::new()), 1);
    let value = Value { form: Form::Bytes, bytes: b"x".as_slice().into() };
    let entry = Entry { key: b"a".as_slice().into(), value };
    let put = Command::Put { entry, condition: Condition::Always, expiry: Expiry::At(100) };
    bench.one(50, put);
    assert_eq!(bench.model().time().unwrap(), 0);
    assert_eq!(bench.one(100, Command::Sweep { limit: 10 }), Reply::Count(1));
    assert_eq!(bench.one(100, Command::Sweep { limit: 10 }), Reply::Count(0));
    bench.reopen();
    assert_eq!(bench.model().time().unwrap(), 100);
    assert_eq!(bench.one(60, Command::Get { key: b"a".as_slice().into() }), Reply::Value(None));
}

/// A failed sync ends the writing and not the reading.
#[test]
fn reads_go_on_when_the_disk_has_failed() {
    let disk = CrashingVfs::new();
    let bench = Bench::new(Arc::new(disk.clone()), 1);
    let get = |key: &'static [u8]| [Command::Get { key: key.into() }];
    assert_eq!(bench.one(0, put("a", "1", Condition::Always)), Reply::Done(true));
    bench.model().db().sync().unwrap();
    let commands = [put("b", "2", Condition::Always)];
    let applied = bench.model().apply(0, &commands).unwrap();
    assert!(bench.model().apply(0, &get(b"a")).unwrap().durable_at.is_some(), "it may have seen b");
    disk.lose_next_sync();
    bench.model().db().wait_durable(applied.durable_at.unwrap()).unwrap_err();
    let applied = bench.model().apply(0, &get(b"a")).unwrap();
    assert!(matches!(&applied.replies[..], [Reply::Value(Some(_))]), "{applied:?}");
    assert_eq!(applied.durable_at, None, "nothing more gets durable, and nobody waits for it");
    let Reply::Refused(refusal) = bench.one(0, put("c", "3", Condition::Always)) else { panic!() };
    assert_eq!(refusal.code, Code::Poisoned);
}

/// Writers of the same keys take turns: nothing is counted twice or forgotten.
#[test]
fn writers_beside_each_other_count_right() {
    let environment = Environment::with(
        olivine_engine::Parts {
            vfs: Arc::new(MemoryVfs::new()),
            clock: Arc::new(olivine_vfs::RealClock::new()),
            work: olivine_engine::Work::Threads,
        },
        olivine_engine::EnvironmentOptions { memory_bytes: 16 << 20 },
    )
    .unwrap();
    let options = ModelOptions { durability: Durability::Os, ..ModelOptions::default() };
    let store = olivine_engine::Options::default();
    let model = Model::open(&environment, Path::new("/store"), store, options).unwrap();
    let wins = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (model, wins) = (&model, &wins);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for _ in 0..2_000 {
                    let key = vec![random.index(8) as u8];
                    let absent = {
                        let value = Value { form: Form::Bytes, bytes: b"v".as_slice().into() };
                        let entry = Entry { key: key.clone().into(), value };
                        Command::Put { entry, condition: Condition::Absent, expiry: Expiry::Never }
                    };
                    let gone = Command::Delete { key: key.into(), condition: Condition::Always };
                    let (command, by) =
                        if random.chance(1, 2) { (absent, 1) } else { (gone, u64::MAX) };
                    let replies = loop {
                        if let Ok(applied) = model.apply(0, std::slice::from_ref(&command)) {
                            break applied.replies;
                        }
                    };
                    if replies == [Reply::Done(true)] {
                        wins.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let count = wins.into_inner();
    assert_eq!(model.count().unwrap(), count);
    check_rows(&model);
    model.close().unwrap();
}

fn user(name: &'static str, role: Role) -> Command<'static> {
    let (name, secret) = (name.as_bytes().into(), b"proof".as_slice().into());
    Command::SetUser { user: User { name, role, prefix: b"p:".as_slice().into(), secret } }
}

fn token(id: &'static str, user: &'static str) -> Command<'static> {
    let (id, user) = (id.as_bytes().into(), user.as_bytes().into());
    let secret = b"hash".as_slice().into();
    Command::SetToken { token: Token { id, user, secret, expiry: Some(9) } }
}

fn drop_user(name: &'static str) -> Command<'static> {
    Command::DropUser { name: name.as_bytes().into() }
}

fn named(who: Who<'static>) -> Command<'static> {
    Command::Principal { who }
}

fn code(reply: &Reply) -> Option<Code> {
    match reply {
        Reply::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

#[test]
fn users_and_tokens_stay_as_they_were_made() {
    let mut bench = Bench::new(Arc::new(MemoryVfs::new()), 7);
    assert_eq!(bench.model().access(), Access { generation: 0, users: 0 });
    assert_eq!(code(&bench.one(1, user("eve", Role::Writer))), Some(Code::Invalid), "no admin");
    assert_eq!(bench.one(1, user("ada", Role::Admin)), Reply::Done(true));
    assert_eq!(bench.one(2, user("bob", Role::Reader)), Reply::Done(true));
    assert_eq!(bench.one(3, token("t1", "bob")), Reply::Done(true));
    assert_eq!(code(&bench.one(3, token("t1", "ada"))), Some(Code::Invalid), "ids are used once");
    assert_eq!(bench.one(3, token("t2", "nobody")), Reply::Done(false));
    for name in ["", "a b", "a\n", "\u{e4}"] {
        assert_eq!(code(&bench.one(4, user(name, Role::Reader))), Some(Code::Invalid), "{name:?}");
    }
    let before = bench.model().access();
    assert_eq!(before.users, 2);
    bench.reopen();
    assert_eq!(bench.model().access(), before);
    let token = Principal {
        user: b"bob".to_vec(),
        token: Some(b"t1".to_vec()),
        role: Role::Reader,
        prefix: b"p:".to_vec(),
        secret: b"hash".to_vec(),
        made: 3,
        expiry: Some(9),
    };
    let asked = named(Who::Token(b"t1".as_slice().into()));
    assert_eq!(bench.one(5, asked.clone()), Reply::Principal(Some(token.clone())));
    let Reply::Principals(all) = bench.one(5, Command::Principals) else { panic!() };
    let names: Vec<_> = all.iter().map(|p| (p.user.as_slice(), p.token.is_some())).collect();
    assert_eq!(names, [(&b"ada"[..], false), (b"bob", false), (b"bob", true)]);
    assert!(all.iter().all(|principal| principal.secret.is_empty()));

    // A token follows its user: in what the user may, and away.
    assert_eq!(bench.one(6, user("bob", Role::Writer)), Reply::Done(false));
    let writer = Principal { role: Role::Writer, ..token };
    assert_eq!(bench.one(6, asked.clone()), Reply::Principal(Some(writer)));
    assert!(before.generation < bench.model().access().generation);
    assert_eq!(bench.one(7, drop_user("bob")), Reply::Done(true));
    assert_eq!(bench.one(7, drop_user("bob")), Reply::Done(false));
    assert_eq!(bench.one(7, user("bob", Role::Admin)), Reply::Done(true));
    assert_eq!(bench.one(7, asked), Reply::Principal(None), "another bob has not his tokens");
}

#[test]
fn an_admin_is_left_while_there_are_users() {
    let bench = Bench::new(Arc::new(MemoryVfs::new()), 8);
    bench.run(1, &[user("ada", Role::Admin), user("bob", Role::Writer)]);
    let generation = bench.model().access().generation;
    for wrong in [drop_user("ada"), user("ada", Role::Reader)] {
        assert_eq!(code(&bench.one(2, wrong)), Some(Code::Invalid));
    }
    assert_eq!(bench.model().access().generation, generation, "nothing was changed");
    assert_eq!(bench.one(3, drop_user("bob")), Reply::Done(true));
    assert_eq!(bench.one(3, drop_user("ada")), Reply::Done(true), "the last one may go");
    assert_eq!(bench.model().access().users, 0);
}

#[test]
fn rows_of_users_that_are_damaged_let_nobody_in() {
    let bench = Bench::new(Arc::new(MemoryVfs::new()), 9);
    bench.one(1, user("ada", Role::Admin));
    let key = crate::layout::access_key(b'u', b"ada");
    let keyspace = bench.model().db().keyspace(crate::layout::ACCESS).unwrap();
    let row = keyspace.get(&key).unwrap().unwrap().to_vec();
    for (place, byte) in [(0, 2), (1, 0), (1, 9), (18, 0xff)] {
        let mut wrong = row.clone();
        wrong[place] = byte;
        keyspace.put(&key, &wrong).unwrap();
        let reply = bench.one(2, named(Who::User(b"ada".as_slice().into())));
        assert_eq!(code(&reply), Some(Code::Damaged), "byte {place}");
    }
}

#[test]
fn the_last_backup_is_remembered_and_files_are_not_the_models() {
    let mut bench = Bench::new(Arc::new(MemoryVfs::new()), 1);
    let model = bench.model();
    assert_eq!(model.last_backup().unwrap(), 0);
    model.set_last_backup(1_795_217_000).unwrap();
    model.set_last_backup(1_795_217_001).unwrap();
    bench.reopen();
    let model = bench.model();
    assert_eq!(model.last_backup().unwrap(), 1_795_217_001);
    let copy = Command::Copy(Copying::Begin);
    let applied = model.apply(1, &[Command::Count, copy, Command::Count]).unwrap();
    assert_eq!((&applied.replies[0], &applied.replies[2]), (&Reply::Count(0), &Reply::Count(0)));
    assert!(
        matches!(&applied.replies[1], Reply::Refused(refusal) if refusal.code == Code::Invalid)
    );
}

/// Numbers are there before anything was done, and those of a histogram only grow from bound to bound.
#[test]
fn numbers_are_there_from_the_start() {
    let bench = Bench::new(Arc::new(MemoryVfs::new()), 1);
    let numbers = |now| match bench.run(now, &[Command::Numbers]).remove(0) {
        Reply::Numbers(numbers) => numbers,
        reply => panic!("{reply:?}"),
    };
    let (before, put) = (numbers(1), Value { form: Form::Bytes, bytes: b"1"[..].into() });
    let entry = Entry { key: b"a"[..].into(), value: put };
    let (condition, expiry) = (Condition::Always, Expiry::Never);
    bench.run(2, &[Command::Put { entry, condition, expiry }]);
    let db = bench.model().db();
    db.sync().unwrap();
    let snapshot = db.snapshot();
    let after = numbers(3);
    let names = |numbers: &[(String, u64)]| -> Vec<String> {
        numbers.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&before), names(&after));
    let of = |numbers: &[(String, u64)], name: &str| {
        numbers.iter().find(|(known, _)| known == name).unwrap().1
    };
    assert_eq!((of(&before, "keys"), of(&after, "keys"), of(&after, "snapshots")), (0, 1, 1));
    assert_eq!(of(&after, "takes_writes"), 1);
    assert!(of(&before, "log_sync_seconds_count") < of(&after, "log_sync_seconds_count"));
    let buckets: Vec<u64> = after
        .iter()
        .filter(|(name, _)| name.starts_with("log_sync_seconds_bucket{le=\""))
        .map(|(_, count)| *count)
        .collect();
    assert!(buckets.len() == 20 && buckets.is_sorted(), "{after:?}");
    assert!(*buckets.last().unwrap() <= of(&after, "log_sync_seconds_count"));
    drop(snapshot);
}
