//! Clients that change blobs until a process is gone, and read back what they were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU8, Ordering::SeqCst},
    time::Duration,
};

use olivine_vfs::{Clock as _, Random, RealClock};

use super::wire::{Answer, Wire};

/// Keys of each client.
const KEYS: u64 = 40;
const CLIENTS: u64 = 6;
/// How long a client waits for a store that starts again.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// How far the killing is.
#[derive(Debug, Default)]
pub(super) struct Moment(AtomicU8);

impl Moment {
    /// From now on errors are no wonder.
    pub(super) fn announce(&self) {
        self.0.store(1, SeqCst);
    }

    /// It is over; who has noticed nothing stops, too.
    pub(super) fn pass(&self) {
        self.0.store(2, SeqCst);
    }

    fn is_announced(&self) -> bool {
        0 < self.0.load(SeqCst)
    }

    fn is_past(&self) -> bool {
        1 < self.0.load(SeqCst)
    }
}

/// A value by its number, or nothing.
type Held = Option<u64>;

pub(super) struct Client {
    number: u64,
    random: Random,
    wire: Wire,
    /// Whether what is there may be put over.
    overwrites: bool,
    /// Makes every value another one.
    next: u64,
    /// What was acknowledged, key by key.
    held: BTreeMap<u64, u64>,
    /// What was asked for behind it and not acknowledged, in its order; it may be so, now or later.
    doubtful: BTreeMap<u64, Vec<Held>>,
    acknowledged: u64,
}

/// What reading back found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) verified: u64,
    /// Changes that were not acknowledged, and happened.
    pub(super) extra: u64,
    pub(super) lost: Vec<String>,
    pub(super) ghosts: Vec<String>,
}

impl Client {
    pub(super) fn some(seed: u64, overwrites: bool) -> Vec<Client> {
        let client = |number| Client {
            number,
            random: Random::new(seed.wrapping_mul(1_000_003) + number),
            wire: Wire::default(),
            overwrites,
            next: 0,
            held: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            acknowledged: 0,
        };
        (0..CLIENTS).map(client).collect()
    }

    /// How many changes were acknowledged since this was last asked.
    pub(super) fn take_acknowledged(&mut self) -> u64 {
        std::mem::take(&mut self.acknowledged)
    }

    fn target(&self, key: u64) -> String {
        format!("/{:02}/{key:03}", self.number)
    }

    /// Changes keys until a process is gone.
    pub(super) fn work(&mut self, master: u16, moment: &Moment) -> Result<(), String> {
        let clock = RealClock::new();
        let mut away_since = None;
        while !moment.is_past() {
            match self.change(master) {
                Ok(true) => away_since = None,
                // Something is on its way up or down.
                Ok(false) if !moment.is_announced() => {
                    let since = *away_since.get_or_insert(clock.now());
                    if PATIENCE < clock.now().saturating_sub(since) {
                        return Err(format!("client {}: nobody is there", self.number));
                    }
                    clock.sleep(PAUSE);
                }
                Err(what) if !moment.is_announced() => {
                    return Err(format!("client {}: {what}", self.number));
                }
                Ok(false) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes one change, or reads one key: whether somebody was there.
    fn change(&mut self, master: u16) -> Result<bool, String> {
        let key = self.random.below(KEYS);
        let is_held = self.held.contains_key(&key);
        if self.random.chance(1, 4) {
            return self.read(master, key);
        }
        let deletes = is_held && (!self.overwrites || self.random.chance(1, 4));
        self.next += 1;
        let asked = (!deletes).then_some(self.next);
        let (method, body) = match asked {
            Some(value) => ("PUT", self.value(key, value)),
            None => ("DELETE", Vec::new()),
        };
        // It counts as doubtful from the moment at which it is sent.
        self.doubtful.entry(key).or_default().push(asked);
        let answer = self.wire.ask(method, master, &self.target(key), &body)?;
        match (method, answer.status) {
            ("PUT", 200 | 201 | 204) | ("DELETE", 200 | 204) => {}
            // Somebody's doubtful change came before: nothing happened.
            ("PUT", 403 | 409) if !self.overwrites && self.has_doubts(key) => {
                self.forget_last(key);
                return Ok(true);
            }
            ("DELETE", 404) if self.has_doubts(key) || !is_held => {
                self.forget_last(key);
                return Ok(true);
            }
            (_, 502..=504) => return Ok(false),
            (_, status) => {
                let shown = shown(&answer);
                return Err(format!("{method} {}: {status} {shown}", self.target(key)));
            }
        }
        self.doubtful.remove(&key);
        match asked {
            Some(value) => self.held.insert(key, value),
            None => self.held.remove(&key),
        };
        self.acknowledged += 1;
        Ok(true)
    }

    /// Whether something before the last change of a key is doubtful.
    fn has_doubts(&self, key: u64) -> bool {
        self.doubtful.get(&key).is_some_and(|doubts| 1 < doubts.len())
    }

    fn forget_last(&mut self, key: u64) {
        if let Some(doubts) = self.doubtful.get_mut(&key) {
            doubts.pop();
        }
    }

    /// Reads one key beside the changes of other keys.
    fn read(&mut self, master: u16, key: u64) -> Result<bool, String> {
        let answer = self.wire.ask("GET", master, &self.target(key), &[])?;
        if matches!(answer.status, 502..=504) {
            return Ok(false);
        }
        let found = self.found(key, &answer)?;
        match self.explain(key, found) {
            Ok(_) => Ok(true),
            Err(what) => Err(what),
        }
    }

    /// Which value an answer holds.
    fn found(&self, key: u64, answer: &Answer) -> Result<Held, String> {
        match answer.status {
            404 => Ok(None),
            200 => {
                let number = answer.body.get(..16).and_then(|text| str::from_utf8(text).ok());
                let number = number.and_then(|text| u64::from_str_radix(text, 16).ok());
                let is_whole = |number: &u64| self.value(key, *number) == answer.body;
                number.filter(is_whole).map(Some).ok_or_else(|| {
                    let bytes = answer.body.len();
                    let shown = shown(answer);
                    format!("GET {}: {bytes} bytes that nobody put: {shown}", self.target(key))
                })
            }
            status => Err(format!("GET {}: {status} {}", self.target(key), shown(answer))),
        }
    }

    /// Compares what was found under a key with what may be there, which is known from then on: whether it is
    /// something doubtful.
    fn explain(&mut self, key: u64, found: Held) -> Result<bool, String> {
        let held = self.held.get(&key).copied();
        if found == held {
            return Ok(false);
        }
        let doubts = self.doubtful.get_mut(&key);
        let place = doubts.as_ref().and_then(|d| d.iter().position(|doubt| *doubt == found));
        let (Some(doubts), Some(place)) = (doubts, place) else {
            let target = self.target(key);
            let doubts = self.doubtful.get(&key);
            return Err(format!(
                "{target} holds {found:?}, was acknowledged as {held:?}, behind which there may be {doubts:?}"
            ));
        };
        doubts.drain(..=place);
        match found {
            Some(value) => self.held.insert(key, value),
            None => self.held.remove(&key),
        };
        Ok(true)
    }

    /// Reads all keys of the client, and compares them with what is listed.
    pub(super) fn check(
        &mut self,
        master: u16,
        listed: &BTreeSet<String>,
    ) -> Result<Checked, String> {
        let mut checked = Checked { verified: KEYS, ..Checked::default() };
        for key in 0..KEYS {
            let target = self.target(key);
            let wire = &mut self.wire;
            let answer = retried(|| wire.ask("GET", master, &target, &[]))?;
            let found = match self.found(key, &answer) {
                Ok(found) => found,
                Err(what) => {
                    checked.lost.push(what);
                    continue;
                }
            };
            match self.explain(key, found) {
                Ok(is_extra) => checked.extra += u64::from(is_extra),
                Err(what) => checked.lost.push(what),
            }
            let is_listed = listed.contains(&target[1..]);
            let is_certain = self.doubtful.get(&key).is_none_or(Vec::is_empty);
            if is_certain && is_listed != found.is_some() {
                let what =
                    if is_listed { "listed, and cannot be read" } else { "read, and not listed" };
                checked.ghosts.push(format!("{target} is {what}"));
            }
        }
        Ok(checked)
    }

    /// The bytes that stand for a number under a key: of many lengths, no two alike.
    fn value(&self, key: u64, number: u64) -> Vec<u8> {
        let mut random = Random::new(number ^ key << 40 ^ self.number << 52);
        let bytes = match random.below(200) {
            0 => random.between(1 << 20, 1_300_000),
            1..4 => random.between(64_000, 200_000),
            4..30 => random.between(1_000, 10_000),
            _ => random.between(16, 400),
        };
        let mut value = format!("{number:016x}").into_bytes();
        let piece = format!("|{:02}/{key:03}/{:016x}", self.number, random.next_u64());
        while value.len() < bytes as usize {
            value.extend_from_slice(piece.as_bytes());
            value.push(value.len() as u8);
        }
        value.truncate(bytes.max(16) as usize);
        value
    }
}

/// All keys that are listed.
pub(super) fn list(master: u16) -> Result<BTreeSet<String>, String> {
    let answer = retried(|| Wire::default().ask("GET", master, "/?list", &[]))?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let keys = text.split_once("\"keys\":[").and_then(|(_, rest)| rest.split_once(']'));
    let (keys, _) = keys.ok_or_else(|| format!("no list: {} {text}", answer.status))?;
    // Keys have nothing in them that would need an escape.
    Ok(keys
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|key| key.trim_start_matches('/').to_owned())
        .collect())
}

fn shown(answer: &Answer) -> String {
    let start = &answer.body[..answer.body.len().min(100)];
    start.escape_ascii().to_string()
}

/// Tries until somebody is there.
fn retried(mut ask: impl FnMut() -> Result<Answer, String>) -> Result<Answer, String> {
    let clock = RealClock::new();
    let until = clock.now() + PATIENCE;
    loop {
        let outcome = ask();
        let is_away = outcome.as_ref().map_or(true, |answer| matches!(answer.status, 502..=504));
        if !is_away || until < clock.now() {
            return outcome;
        }
        clock.sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let mut client = Client::some(7, true).remove(0);
        client.held.insert(3, 10);
        client.doubtful.insert(3, vec![Some(11), None, Some(12)]);
        client
    }

    #[test]
    fn what_was_acknowledged_or_asked_for_behind_it_is_right() {
        assert_eq!(client().explain(3, Some(10)), Ok(false));
        for doubtful in [Some(11), None, Some(12)] {
            let mut client = client();
            assert_eq!(client.explain(3, doubtful), Ok(true));
            assert_eq!(client.held.get(&3).copied(), doubtful);
            assert!(client.explain(3, Some(10)).is_err(), "what was seen does not go back");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_seen() {
        assert!(client().explain(3, Some(9)).is_err());
        assert!(client().explain(4, Some(10)).is_err());
        let mut acknowledged = client();
        acknowledged.doubtful.clear();
        assert!(acknowledged.explain(3, None).is_err(), "an acknowledged value is lost");
        acknowledged.held.clear();
        assert!(acknowledged.explain(3, Some(10)).is_err(), "an acknowledged deletion is undone");
    }

    #[test]
    fn a_changed_byte_and_a_value_of_another_key_are_seen() {
        let client = client();
        let answer = |body| Answer::of(200, body);
        let value = client.value(3, 10);
        assert_eq!(client.found(3, &answer(value.clone())), Ok(Some(10)));
        let mut changed = value.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(client.found(3, &answer(changed)).is_err());
        assert!(client.found(3, &answer(value[..value.len() - 1].to_vec())).is_err());
        assert!(client.found(4, &answer(value)).is_err());
    }
}
