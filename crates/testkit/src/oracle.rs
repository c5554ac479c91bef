//! What a store must hold: everything written, in order, and what is there after any part of it.
//!
//! The log of commits is kept outside the store. Its entries are batches, and the creation and
//! dropping of keyspaces, in the one order in which they were committed. A live store reads like the
//! whole log, or like the part of it that a snapshot saw; a recovered one like *some* first part,
//! which ends nowhere before the last lasting acknowledgement.
//!
//! 1. A state that no first part of the log ends in is never accepted: not one with a hole, nor one
//!    with half a batch, nor one with a value that nobody wrote.
//! 2. What is refused is told by kind ([`Loss`]) and by the keys that show it.
//! 3. Entries in doubt (their write failed) may be there or not, each whole.

use olivine_vfs::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

mod applied;
#[cfg(test)]
mod tests;

pub use applied::Applied;

/// Bytes of a value, shared by all who speak of it.
pub type Bytes = Arc<[u8]>;

/// Everything in a store: keyspaces, their keys, their values.
pub type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Bytes>>;

/// What one entry of the log does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A batch: keyspace, key and value (`None` deletes), in order; the last of one key counts.
    Write(Vec<(String, Vec<u8>, Option<Bytes>)>),
    /// A keyspace comes to be, empty.
    Create(String),
    /// A keyspace goes with all it holds.
    Drop(String),
}

/// How a store differs from every state that it might be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Something acknowledged is not there.
    Lost,
    /// Something is there although something committed before it is not.
    Hole,
    /// Something is there that was never written so.
    Wrong,
}

/// A refused state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What kind of loss it is.
    pub loss: Loss,
    /// Which keys show it, and how.
    pub what: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.loss, self.what)
    }
}

/// With more entries in doubt there are too many states to try.
const DOUBTS_MAX: usize = 10;

/// What stood under a key, or whether a keyspace stood, from one position of the log on.
type Versions<T> = Vec<(usize, T)>;

/// One keyspace through time.
#[derive(Clone, Debug, Default)]
struct Keyspace {
    stands: Versions<bool>,
    keys: BTreeMap<Vec<u8>, Versions<Option<Bytes>>>,
}

/// The log of commits. Position 0 is before the first entry, position n after the n-th.
#[derive(Clone, Debug)]
pub struct CommitLog {
    /// What stood at position 0.
    base: Contents,
    events: Vec<Event>,
    /// The fingerprint of the state at each position.
    prints: Vec<u64>,
    keyspaces: BTreeMap<String, Keyspace>,
    /// Entries whose write failed: they may be in a recovered store or not.
    doubtful: BTreeSet<usize>,
    /// Entries that the live store was seen not to have.
    hidden: BTreeSet<usize>,
    /// The keyspace without a log, which is in no entry.
    pub applied: Applied,
}

impl Default for CommitLog {
    fn default() -> CommitLog {
        CommitLog::from_contents(Contents::new())
    }
}

impl CommitLog {
    /// A log that begins in a store with `base` in it.
    pub fn from_contents(base: Contents) -> CommitLog {
        let mut keyspaces = BTreeMap::new();
        for (name, keys) in &base {
            let keys =
                keys.iter().map(|(key, value)| (key.clone(), vec![(0, Some(value.clone()))]));
            let keyspace = Keyspace { stands: vec![(0, true)], keys: keys.collect() };
            keyspaces.insert(name.clone(), keyspace);
        }
        CommitLog {
            prints: vec![print(&base)],
            base,
            events: Vec::new(),
            keyspaces,
            doubtful: BTreeSet::new(),
            hidden: BTreeSet::new(),
            applied: Applied::default(),
        }
    }

    /// The position after the last entry.
    pub fn position(&self) -> usize {
        self.events.len()
    }

    /// Adds an entry; its position is answered.
    pub fn push(&mut self, event: Event) -> usize {
        let position = self.events.len() + 1;
        let mut state = self.prints[self.events.len()];
        match &event {
            Event::Write(changes) => {
                for (name, key, value) in changes {
                    state = self.set(position, name, key, value.clone(), state);
                }
            }
            Event::Create(name) => {
                let keyspace = self.keyspaces.entry(name.clone()).or_default();
                keyspace.stands.push((position, true));
                state = state.wrapping_add(print_name(name));
            }
            Event::Drop(name) => {
                let live: Vec<Vec<u8>> =
                    self.range(position, name).map(|(k, _)| k.to_vec()).collect();
                for key in live {
                    state = self.set(position, name, &key, None, state);
                }
                let keyspace = self.keyspaces.entry(name.clone()).or_default();
                keyspace.stands.push((position, false));
                state = state.wrapping_sub(print_name(name));
            }
        }
        self.events.push(event);
        self.prints.push(state);
        position
    }

    /// Takes the last entry away again: it was refused untouched.
    pub fn pop(&mut self) {
        let position = self.position();
        assert!(0 < position, "there is no entry to take away");
        self.events.pop();
        self.prints.pop();
        for keyspace in self.keyspaces.values_mut() {
            keyspace.stands.retain(|(written, _)| *written < position);
            for versions in keyspace.keys.values_mut() {
                versions.retain(|(written, _)| *written < position);
            }
        }
    }

    /// Puts one version of one key in; answers the fingerprint after it.
    fn set(
        &mut self,
        position: usize,
        name: &str,
        key: &[u8],
        value: Option<Bytes>,
        state: u64,
    ) -> u64 {
        let keyspace = self.keyspaces.entry(name.to_owned()).or_default();
        let versions = keyspace.keys.entry(key.to_vec()).or_default();
        let print = |value: &Bytes| print_entry(name, key, value);
        let old = versions.last().and_then(|(_, old)| old.as_ref()).map_or(0, print);
        let new = value.as_ref().map_or(0, print);
        if versions.last().is_some_and(|(last, _)| *last == position) {
            versions.pop();
        }
        versions.push((position, value));
        state.wrapping_sub(old).wrapping_add(new)
    }

    /// Says that the entry at `position` failed: a recovered store may hold it or not.
    pub fn doubt(&mut self, position: usize) {
        self.doubtful.insert(position);
    }

    /// Whether any entry is in doubt.
    pub fn has_doubts(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Decides which of the `undecided` entries the live store has, by what was found in it; each is
    /// there whole or not at all.
    pub fn decide(&mut self, undecided: &[usize], found: &Contents) -> Result<(), Verdict> {
        assert!(undecided.len() <= DOUBTS_MAX, "{} entries in doubt are too many", undecided.len());
        let decided = self.hidden.clone();
        let mut refusal = None;
        for choice in 0..1u32 << undecided.len() {
            self.hidden.clone_from(&decided);
            let left_out = undecided.iter().enumerate().filter(|(n, _)| choice >> n & 1 == 1);
            self.hidden.extend(left_out.map(|(_, position)| *position));
            match self.check_live(found, self.position()) {
                Ok(()) => return Ok(()),
                Err(verdict) => refusal = Some(verdict),
            }
        }
        Err(refusal.expect("at least one choice was tried"))
    }

    /// Whether the keyspace stands at `position`.
    pub fn stands(&self, position: usize, name: &str) -> bool {
        let keyspace = self.keyspaces.get(name);
        keyspace.and_then(|keyspace| self.version(&keyspace.stands, position)).copied()
            == Some(true)
    }

    /// The names of the keyspaces that stand at `position`, in order.
    pub fn names(&self, position: usize) -> Vec<String> {
        self.keyspaces.keys().filter(|name| self.stands(position, name)).cloned().collect()
    }

    /// What stands under `key` at `position`.
    pub fn get(&self, position: usize, name: &str, key: &[u8]) -> Option<&Bytes> {
        let versions = self.keyspaces.get(name)?.keys.get(key)?;
        self.version(versions, position)?.as_ref()
    }

    /// The keys of a keyspace and their values at `position`, in order.
    pub fn range<'a>(
        &'a self,
        position: usize,
        name: &str,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Bytes)> + use<'a> {
        let keys = self.keyspaces.get(name).map(|keyspace| keyspace.keys.iter());
        keys.into_iter().flatten().filter_map(move |(key, versions)| {
            Some((&key[..], self.version(versions, position)?.as_ref()?))
        })
    }

    /// Everything at `position`.
    pub fn contents(&self, position: usize) -> Contents {
        let keys = |name: &str| {
            self.range(position, name).map(|(key, value)| (key.to_vec(), value.clone())).collect()
        };
        self.names(position).into_iter().map(|name| (name.clone(), keys(&name))).collect()
    }

    /// The newest version at `position` that is not hidden.
    fn version<'a, T>(&self, versions: &'a Versions<T>, position: usize) -> Option<&'a T> {
        let newer = versions.partition_point(|(written, _)| *written <= position);
        let seen = versions[..newer].iter().rev();
        seen.into_iter().find(|(at, _)| !self.hidden.contains(at)).map(|(_, version)| version)
    }

    /// Whether `value` ever stood under `key`.
    pub fn ever(&self, name: &str, key: &[u8], value: &Bytes) -> bool {
        let versions = self.keyspaces.get(name).and_then(|keyspace| keyspace.keys.get(key));
        versions.into_iter().flatten().any(|(_, version)| version.as_ref() == Some(value))
    }

    /// Checks a live store: what it holds is what stands at `position`.
    pub fn check_live(&self, found: &Contents, position: usize) -> Result<(), Verdict> {
        let expected = self.contents(position);
        match difference(&expected, found) {
            None => Ok(()),
            Some(what) => Err(Verdict { loss: Loss::Wrong, what }),
        }
    }

    /// Checks a recovered store: what it holds is the state after some first part of the log that
    /// reaches `acknowledged` or beyond. Answers where that part ends (the last such place).
    pub fn check_recovered(&self, found: &Contents, acknowledged: usize) -> Result<usize, Verdict> {
        let print = print(found);
        if self.doubtful.is_empty() {
            let place = self.prints.iter().rposition(|known| *known == print);
            return match place {
                Some(place) if acknowledged <= place => Ok(place),
                _ => Err(self.explain(found, acknowledged)),
            };
        }
        let doubtful: Vec<usize> = self.doubtful.iter().copied().collect();
        assert!(doubtful.len() <= DOUBTS_MAX, "{} entries in doubt are too many", doubtful.len());
        let mut refusal = None;
        for choice in 0..1u32 << doubtful.len() {
            let without: BTreeSet<usize> = doubtful
                .iter()
                .enumerate()
                .filter(|(n, _)| choice >> n & 1 == 1)
                .map(|(_, at)| *at)
                .collect();
            let (log, places) = self.without(&without);
            // The acknowledged part must be there but for what is left out.
            let floor = places.partition_point(|place| *place <= acknowledged) - 1;
            match log.check_recovered(found, floor) {
                Ok(place) => return Ok(places[place]),
                Err(verdict) => refusal = refusal.or(Some(verdict)),
            }
        }
        Err(refusal.expect("at least one choice was tried"))
    }

    /// This log without some entries, and where each of its positions was in this one.
    fn without(&self, left_out: &BTreeSet<usize>) -> (CommitLog, Vec<usize>) {
        let mut log = CommitLog::from_contents(self.base.clone());
        let mut places = vec![0];
        for (before, event) in self.events.iter().enumerate() {
            if !left_out.contains(&(before + 1)) {
                log.push(event.clone());
                places.push(before + 1);
            }
        }
        (log, places)
    }

    /// This log of those keys alone, with the same positions.
    pub(crate) fn of_keys(&self, wanted: impl Fn(&[u8]) -> bool) -> CommitLog {
        let mut base = self.base.clone();
        for keys in base.values_mut() {
            keys.retain(|key, _| wanted(key));
        }
        let mut log = CommitLog::from_contents(base);
        for event in &self.events {
            let mut event = event.clone();
            if let Event::Write(changes) = &mut event {
                changes.retain(|(_, key, _)| wanted(key));
            }
            log.push(event);
        }
        log
    }

    /// Why `found` is no state of this log at `acknowledged` or beyond.
    fn explain(&self, found: &Contents, acknowledged: usize) -> Verdict {
        // Each key alone narrows down the positions that the store can be at.
        let mut possible = vec![true; self.prints.len()];
        let (mut wrong, mut too_old) = (None, None);
        let (mut newest, mut oldest) = ((0, String::new()), (usize::MAX, String::new()));
        for (key, fits) in self.fits(found) {
            let Some(first) = fits.iter().position(|fit| *fit) else {
                wrong.get_or_insert(key);
                continue;
            };
            let last = fits.iter().rposition(|fit| *fit).unwrap_or(first);
            if last < acknowledged {
                too_old.get_or_insert(format!("{key} is as at position {last}"));
            }
            if newest.0 <= first {
                newest = (first, key.clone());
            }
            if last < oldest.0 {
                oldest = (last, key);
            }
            possible.iter_mut().zip(fits).for_each(|(possible, fit)| *possible &= fit);
        }
        let place = possible.iter().rposition(|possible| *possible);
        let range = format!("acknowledged {acknowledged} of {}", self.position());
        let (loss, what) = match (wrong, too_old, place) {
            (Some(key), ..) => (Loss::Wrong, format!("{key} was never so; {range}")),
            (None, Some(key), _) => (Loss::Lost, format!("{key}; {range}")),
            (None, None, Some(place)) => {
                (Loss::Lost, format!("all is as at position {place}; {range}"))
            }
            (None, None, None) => {
                let (newest, oldest) = ((newest.0, newest.1), (oldest.0, oldest.1));
                let what = format!(
                    "{} is as from position {} on, but {} as up to position {}; {range}",
                    newest.1, newest.0, oldest.1, oldest.0
                );
                (Loss::Hole, what)
            }
        };
        Verdict { loss, what }
    }

    /// For every keyspace and key, known or found: at which positions it was as it is in `found`.
    fn fits(&self, found: &Contents) -> Vec<(String, Vec<bool>)> {
        let nothing = BTreeMap::new();
        let empty = Keyspace::default();
        let mut all = Vec::new();
        let names: BTreeSet<&String> = self.keyspaces.keys().chain(found.keys()).collect();
        for name in names {
            let keyspace = self.keyspaces.get(name).unwrap_or(&empty);
            let stands = found.contains_key(name);
            let fits = self.fit(&keyspace.stands, |known| known.is_some_and(|k| *k) == stands);
            all.push((format!("keyspace {name}"), fits));
            let found = found.get(name).unwrap_or(&nothing);
            let keys: BTreeSet<&Vec<u8>> = keyspace.keys.keys().chain(found.keys()).collect();
            let never = Versions::new();
            for key in keys {
                let versions = keyspace.keys.get(key).unwrap_or(&never);
                let found = found.get(key);
                let fits =
                    self.fit(versions, |known| known.and_then(|known| known.as_ref()) == found);
                let what = found.map_or("(absent)".to_owned(), |v| format!("{} bytes", v.len()));
                all.push((format!("{name}[{}]={what}", key.escape_ascii()), fits));
            }
        }
        all
    }

    /// At which positions `is` holds of what stood there.
    fn fit<T>(&self, versions: &Versions<T>, is: impl Fn(Option<&T>) -> bool) -> Vec<bool> {
        let mut fits = Vec::with_capacity(self.prints.len());
        let mut versions = versions.iter().peekable();
        let mut current = None;
        for position in 0..self.prints.len() {
            while let Some((_, version)) = versions.next_if(|(written, _)| *written <= position) {
                current = Some(version);
            }
            fits.push(is(current));
        }
        fits
    }
}

/// The first thing in which two stores differ.
pub fn difference(expected: &Contents, found: &Contents) -> Option<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (Some(expected), Some(found)) = (expected.get(name), found.get(name)) else {
            let which = if found.contains_key(name) { "is there" } else { "is missing" };
            return Some(format!("keyspace {name} {which}"));
        };
        let keys: BTreeSet<&Vec<u8>> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let (expected, found) = (expected.get(key), found.get(key));
            if expected != found {
                let what = described(expected.map(|v| &v[..]), found.map(|v| &v[..]));
                return Some(format!("{name}[{}]: {what}", key.escape_ascii()));
            }
        }
    }
    None
}

/// How a value differs from the expected one.
pub(crate) fn described(expected: Option<&[u8]>, found: Option<&[u8]>) -> String {
    let told = |value: Option<&[u8]>| match value {
        None => "(absent)".to_owned(),
        Some(value) => {
            let start = value[..value.len().min(8)].escape_ascii();
            format!("{} bytes \"{start}\"", value.len())
        }
    };
    format!("expected {}, found {}", told(expected), told(found))
}

/// The fingerprint of a state: a sum over its keyspaces and entries, so that a change of one entry
/// changes it by what that entry is.
fn print(contents: &Contents) -> u64 {
    let mut print = 0u64;
    for (name, keys) in contents {
        print = print.wrapping_add(print_name(name));
        for (key, value) in keys {
            print = print.wrapping_add(print_entry(name, key, value));
        }
    }
    print
}

fn print_name(name: &str) -> u64 {
    mix(hash(1, name.as_bytes()))
}

fn print_entry(name: &str, key: &[u8], value: &[u8]) -> u64 {
    mix(hash(hash(hash(2, name.as_bytes()), key), value))
}

/// A hash of `bytes` and their length, from `start` on.
fn hash(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = mix(start ^ (bytes.len() as u64) << 8);
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(word))
}

/// Mixes a word so that neighbouring ones give unrelated results.
fn mix(word: u64) -> u64 {
    Random::new(word).next_u64()
}
