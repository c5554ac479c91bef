//! Clients that write until the node is gone, and read back what they were told.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use olivine_vfs::{Clock as _, Random, RealClock};

use super::node::Ports;

/// Keys of each client.
const KEYS: u64 = 200;
/// Requests that a client over JSON lines has under way.
const DEPTH: usize = 64;
/// Clients of each kind.
const JSON_CLIENTS: u64 = 6;
const HTTP_CLIENTS: u64 = 2;
/// How long a client tries to reach a node that has just started.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the node was killed, so that errors are no wonder.
#[derive(Debug, Default)]
pub(super) struct Killed(AtomicBool);

impl Killed {
    pub(super) fn announce(&self) {
        self.0.store(true, SeqCst);
    }

    fn is_so(&self) -> bool {
        self.0.load(SeqCst)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Json,
    Http,
}

/// One write: a key, and its value, or nothing for taking it away.
type Write = (u64, Option<u64>);

pub(super) struct Client {
    way: Way,
    number: u64,
    random: Random,
    /// Makes every value another one.
    next: u64,
    /// What was acknowledged, key by key.
    held: BTreeMap<u64, u64>,
    /// What was sent and not answered, in its order.
    under_way: VecDeque<Write>,
    /// What was answered with an error, by a coordinator that lost its storage, and may be there all the same.
    doubtful: Vec<Write>,
    acknowledged: u64,
}

/// What reading back found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) verified: u64,
    /// Writes that were under way and are there.
    pub(super) extra: u64,
    pub(super) lost: Vec<String>,
}

impl Client {
    pub(super) fn some(seed: u64) -> Vec<Client> {
        let client = |number| Client {
            way: if number < JSON_CLIENTS { Way::Json } else { Way::Http },
            number,
            random: Random::new(seed.wrapping_mul(1_000_003) + number),
            next: 0,
            held: BTreeMap::new(),
            under_way: VecDeque::new(),
            doubtful: Vec::new(),
            acknowledged: 0,
        };
        (0..JSON_CLIENTS + HTTP_CLIENTS).map(client).collect()
    }

    /// How many writes were acknowledged since this was last asked.
    pub(super) fn take_acknowledged(&mut self) -> u64 {
        std::mem::take(&mut self.acknowledged)
    }

    /// Writes until the node is gone.
    pub(super) fn write(&mut self, ports: Ports, killed: &Killed) -> Result<(), String> {
        let outcome = match self.way {
            Way::Json => self.write_json(ports.json),
            Way::Http => self.write_http(ports.http),
        };
        match outcome {
            Err(what) if !killed.is_so() => Err(format!("client {}: {what}", self.number)),
            _ => Ok(()),
        }
    }

    fn draw(&mut self) -> Write {
        self.next += 1;
        let key = self.random.below(KEYS);
        let write = (key, (!self.random.chance(1, 10)).then_some(self.next));
        self.under_way.push_back(write);
        write
    }

    fn acknowledge(&mut self) {
        if let Some(write) = self.under_way.pop_front() {
            // Nothing before it on the same key can be seen any more.
            self.doubtful.retain(|(key, _)| *key != write.0);
            set(&mut self.held, write);
            self.acknowledged += 1;
        }
    }

    fn doubt(&mut self) {
        self.doubtful.extend(self.under_way.pop_front());
    }

    fn key(&self, key: u64) -> String {
        format!("{:02}/{key:03}", self.number)
    }

    fn write_json(&mut self, port: u16) -> Result<(), String> {
        let mut stream = connected(port)?;
        let mut answers = BufReader::new(stream.try_clone().map_err(told)?);
        let mut line = String::new();
        loop {
            let mut out = String::new();
            for _ in 0..DEPTH {
                let (key, value) = self.draw();
                let key = self.key(key);
                let _infallible = match value {
                    Some(value) => {
                        let value = long(value);
                        writeln!(
                            out,
                            "{{\"command\":\"put\",\"key\":\"{key}\",\"value\":\"{value}\"}}"
                        )
                    }
                    None => writeln!(out, "{{\"command\":\"delete\",\"key\":\"{key}\"}}"),
                };
            }
            stream.write_all(out.as_bytes()).map_err(told)?;
            let mut refused = None;
            for _ in 0..DEPTH {
                line.clear();
                if answers.read_line(&mut line).map_err(told)? == 0 || !line.ends_with('\n') {
                    return Err("the node closed the connection".to_owned());
                }
                if line.starts_with("{\"status\":\"ok\"") {
                    self.acknowledge();
                } else {
                    refused = Some(line.clone());
                    self.doubt();
                }
            }
            if let Some(line) = refused {
                return Err(format!("a write was answered with {line}"));
            }
        }
    }

    fn write_http(&mut self, port: u16) -> Result<(), String> {
        let mut stream = connected(port)?;
        let mut answers = BufReader::new(stream.try_clone().map_err(told)?);
        loop {
            let (key, value) = self.draw();
            let key = self.key(key);
            let (method, body) = match value {
                Some(value) => ("PUT", long(value)),
                None => ("DELETE", String::new()),
            };
            let status = requested(&mut stream, &mut answers, method, &key, &body)?.0;
            if status != 204 && status != 404 {
                self.doubt();
                return Err(format!("{method} was answered with {status}"));
            }
            self.acknowledge();
        }
    }

    /// Reads all keys of the client. What was under way is known from then on.
    pub(super) fn check(&mut self, ports: Ports) -> Result<Checked, String> {
        let found = match self.way {
            Way::Json => self.read_json(ports.json)?,
            Way::Http => self.read_http(ports.http)?,
        };
        let mut checked = Checked { verified: KEYS, ..Checked::default() };
        if !self.doubtful.is_empty() {
            self.check_each(&found, &mut checked);
            return Ok(checked);
        }
        // Behind what was acknowledged there may be a start of what was under way.
        let mut expected = self.held.clone();
        let mut extra = 0;
        let mut rest = self.under_way.iter();
        while expected != found {
            let Some(write) = rest.next() else {
                let key = (0..KEYS).find(|key| self.held.get(key) != found.get(key)).unwrap_or(0);
                checked.lost.push(format!(
                    "key {} holds {:?}, was acknowledged as {:?}, and no start of the {} writes under way explains \
                     what is there",
                    self.key(key),
                    found.get(&key),
                    self.held.get(&key),
                    self.under_way.len(),
                ));
                return Ok(checked);
            };
            set(&mut expected, *write);
            extra += 1;
        }
        checked.extra = extra;
        self.held = found;
        self.under_way.clear();
        Ok(checked)
    }

    /// As `check`, where some writes were refused though they may have happened: each key holds what was
    /// acknowledged last, or something doubtful behind it.
    fn check_each(&mut self, found: &BTreeMap<u64, u64>, checked: &mut Checked) {
        for key in 0..KEYS {
            let (is, was) = (found.get(&key), self.held.get(&key));
            let doubtful = self.doubtful.iter().chain(&self.under_way);
            let explained = doubtful.filter(|(doubted, _)| *doubted == key);
            if is != was && !explained.clone().any(|(_, value)| value.as_ref() == is) {
                let key = self.key(key);
                checked
                    .lost
                    .push(format!("key {key} holds {is:?}, and was acknowledged as {was:?}"));
            }
            checked.extra += u64::from(is != was);
        }
        self.held = found.clone();
        self.under_way.clear();
        self.doubtful.clear();
    }

    fn read_json(&self, port: u16) -> Result<BTreeMap<u64, u64>, String> {
        retried(|| {
            let mut stream = connected(port)?;
            let (start, end) = (self.key(0), self.key(KEYS));
            let line = format!(
                "{{\"command\":\"get_range\",\"start_key\":\"{start}\",\"end_key\":\"{end}\"}}\n"
            );
            stream.write_all(line.as_bytes()).map_err(told)?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).map_err(told)?;
            let data = answer
                .strip_prefix("{\"status\":\"ok\",\"data\":[")
                .ok_or_else(|| answer.clone())?;
            // Keys and values have nothing in them that would need an escape.
            let texts: Vec<&str> = data.split('"').skip(1).step_by(2).collect();
            let pair = |pair: &[&str]| Some((number_of(pair[0])?, short(pair[1])?));
            texts.chunks_exact(2).map(pair).collect::<Option<_>>().ok_or_else(|| answer.clone())
        })
    }

    fn read_http(&self, port: u16) -> Result<BTreeMap<u64, u64>, String> {
        retried(|| {
            let mut stream = connected(port)?;
            let mut answers = BufReader::new(stream.try_clone().map_err(told)?);
            let mut found = BTreeMap::new();
            for key in 0..KEYS {
                match requested(&mut stream, &mut answers, "GET", &self.key(key), "")? {
                    (200, body) => {
                        found.insert(key, short(&body).ok_or(body)?);
                    }
                    (404, _) => {}
                    (status, body) => {
                        return Err(format!("GET was answered with {status}: {body}"));
                    }
                }
            }
            Ok(found)
        })
    }
}

fn set(held: &mut BTreeMap<u64, u64>, (key, value): Write) {
    match value {
        Some(value) => held.insert(key, value),
        None => held.remove(&key),
    };
}

/// A value as it is stored: long enough to tell a half from a whole.
fn long(value: u64) -> String {
    format!("{value:016x}").repeat(6)
}

fn short(text: &str) -> Option<u64> {
    let value = u64::from_str_radix(text.get(..16)?, 16).ok()?;
    (long(value) == text).then_some(value)
}

fn number_of(key: &str) -> Option<u64> {
    key.split_once('/')?.1.parse().ok()
}

/// Tries until it succeeds: a storage may still be on its way.
fn retried<T>(mut work: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let clock = RealClock::new();
    let until = clock.now() + PATIENCE;
    loop {
        match work() {
            Err(_) if clock.now() < until => clock.sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn connected(port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    Ok(stream)
}

/// Status and body of one request.
fn requested(
    stream: &mut TcpStream,
    answers: &mut BufReader<TcpStream>,
    method: &str,
    key: &str,
    body: &str,
) -> Result<(u16, String), String> {
    let length = body.len();
    let request = format!(
        "{method} /kv/{key} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(told)?;
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if answers.read_line(&mut line).map_err(told)? == 0 {
            return Err("the node closed the connection".to_owned());
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0);
        }
        if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).map_err(told)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn told(error: std::io::Error) -> String {
    error.to_string()
}
