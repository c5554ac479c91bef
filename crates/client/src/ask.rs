//! What can be asked of a node: the request as it is sent, and how its answer is read.

use std::{borrow::Cow, fmt, time::Duration};

use crate::{
    Error, Result,
    wire::{self, Answer, Member},
};

/// Something to ask, which comes to a `T`.
pub struct Ask<T> {
    pub(crate) line: Vec<u8>,
    /// Whether it changes something, so that it must not be sent twice.
    pub(crate) is_write: bool,
    read: fn(Result<Answer<'_>>) -> Result<T>,
}

impl<T> fmt::Debug for Ask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is in it: that may be a secret.
        f.debug_struct("Ask")
            .field("bytes", &self.line.len())
            .field("is_write", &self.is_write)
            .finish_non_exhaustive()
    }
}

/// What must be so for a write to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there as it was when it had this revision.
    Revision(u64),
}

/// A value to be stored, with more than a key.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    key: &'a [u8],
    value: &'a [u8],
    is_json: bool,
    ttl: Option<Duration>,
    condition: Condition,
}

impl<'a> Put<'a> {
    /// A value of bytes.
    pub fn new(
        key: &'a (impl AsRef<[u8]> + ?Sized),
        value: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Put<'a> {
        let (key, value) = (key.as_ref(), value.as_ref());
        Put { key, value, is_json: false, ttl: None, condition: Condition::Always }
    }

    /// A value of JSON, which comes back as JSON through doors that know it.
    pub fn json(key: &'a (impl AsRef<[u8]> + ?Sized), text: &'a str) -> Put<'a> {
        Put { is_json: true, ..Put::new(key, text) }
    }

    /// It is there no longer than this, to the millisecond.
    pub fn ttl(mut self, ttl: Duration) -> Put<'a> {
        self.ttl = Some(ttl);
        self
    }

    /// It is stored if this is so.
    pub fn when(mut self, condition: Condition) -> Put<'a> {
        self.condition = condition;
        self
    }
}

/// Which keys to go through, and how.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    start: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
    prefix: Option<Vec<u8>>,
    is_backward: bool,
    limit: Option<u64>,
}

impl Scan {
    /// All keys.
    pub fn all() -> Scan {
        Scan::default()
    }

    /// Keys from `start` to `end`, which both belong to it.
    pub fn range(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Scan {
        Scan { start: Some(start.into()), end: Some(end.into()), ..Scan::default() }
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Scan {
        Scan { prefix: Some(prefix.into()), ..Scan::default() }
    }

    /// From the last key to the first.
    pub fn backward(mut self) -> Scan {
        self.is_backward = true;
        self
    }

    /// How many entries come with one answer: 100 unless it is said.
    pub fn page(mut self, entries: u64) -> Scan {
        self.limit = Some(entries);
        self
    }
}

/// A piece of what a scan goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Keys with their values.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Behind which key it goes on, if it does.
    pub next: Option<Vec<u8>>,
}

/// What is known of a key without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `string` or `json`.
    pub kind: String,
    /// Bytes of the value.
    pub bytes: u64,
    /// When it goes, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// What changes with each write, for [`Condition::Revision`].
    pub revision: u64,
}

fn ask<T>(
    command: &str,
    is_write: bool,
    members: &[(&str, Member<'_>)],
    read: fn(Result<Answer<'_>>) -> Result<T>,
) -> Ask<T> {
    Ask { line: wire::line(command, members), is_write, read }
}

fn done(answer: Result<Answer<'_>>) -> Result<()> {
    answer.map(drop)
}

/// Whether the condition held.
fn held(answer: Result<Answer<'_>>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("condition") => Ok(false),
        Err(error) => Err(error),
    }
}

fn counted(answer: Result<Answer<'_>>) -> Result<u64> {
    answer?.counted()
}

fn list<I: IntoIterator<Item: AsRef<[u8]>>>(items: I) -> Vec<Cow<'static, [u8]>> {
    items.into_iter().map(|item| Cow::Owned(item.as_ref().to_vec())).collect()
}

fn conditional(condition: Condition, revision: &str) -> Option<(&'static str, Member<'_>)> {
    match condition {
        Condition::Always => None,
        Condition::Absent => Some(("if_absent", Member::Yes)),
        Condition::Present => Some(("if_present", Member::Yes)),
        Condition::Revision(_) => Some(("if_revision", Member::Json(revision))),
    }
}

/// A revision as JSON.
fn revision_of(condition: Condition) -> String {
    match condition {
        Condition::Revision(revision) => format!("\"{revision:016x}\""),
        _ => String::new(),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<T> Ask<T> {
    /// Reads the answer to it, or why there is none.
    pub(crate) fn read(&self, line: &[u8]) -> Result<T> {
        (self.read)(wire::answer(line))
    }

    pub(crate) fn reader(&self) -> fn(Result<Answer<'_>>) -> Result<T> {
        self.read
    }
}

impl Ask<()> {
    /// Stores a value under a key.
    pub fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Ask<()> {
        let members =
            [("key", Member::Bytes(key.as_ref())), ("value", Member::Bytes(value.as_ref()))];
        ask("put", true, &members, done)
    }

    /// Takes a key away, whether or not it is there.
    pub fn delete(key: impl AsRef<[u8]>) -> Ask<()> {
        ask("delete", true, &[("key", Member::Bytes(key.as_ref()))], done)
    }

    /// Nothing but an answer.
    pub fn ping() -> Ask<()> {
        ask("ping", false, &[], done)
    }

    pub(crate) fn login(login: &crate::Login) -> Ask<()> {
        match login {
            crate::Login::Password { user, password } => {
                let (user, password) = (user.as_bytes(), password.as_bytes());
                let members =
                    [("user", Member::Bytes(user)), ("password", Member::Bytes(password))];
                ask("auth", false, &members, done)
            }
            crate::Login::Token(token) => {
                ask("auth", false, &[("token", Member::Bytes(token.as_bytes()))], done)
            }
        }
    }
}

impl Ask<bool> {
    /// Stores a value; whether the condition held.
    pub fn put_with(put: &Put<'_>) -> Ask<bool> {
        let text = String::from_utf8_lossy(put.value);
        let value = if put.is_json { Member::Json(&text) } else { Member::Bytes(put.value) };
        let mut members = vec![("key", Member::Bytes(put.key)), ("value", value)];
        members.extend(put.ttl.map(|ttl| ("ttl_ms", Member::Number(milliseconds(ttl)))));
        let revision = revision_of(put.condition);
        members.extend(conditional(put.condition, &revision));
        ask("put", true, &members, held)
    }

    /// Takes a key away if it is as it should be; whether it was.
    pub fn delete_when(key: impl AsRef<[u8]>, condition: Condition) -> Ask<bool> {
        let mut members = vec![("key", Member::Bytes(key.as_ref()))];
        let revision = revision_of(condition);
        members.extend(conditional(condition, &revision));
        ask("delete", true, &members, held)
    }

    /// Changes how long a key is there, or lets it stay; whether there is such a key.
    pub fn expire(key: impl AsRef<[u8]>, ttl: Option<Duration>) -> Ask<bool> {
        let mut members = vec![("key", Member::Bytes(key.as_ref()))];
        members.extend(ttl.map(|ttl| ("ttl_ms", Member::Number(milliseconds(ttl)))));
        ask("expire", true, &members, |answer| Ok(answer?.is_found))
    }
}

impl Ask<Option<Vec<u8>>> {
    /// The value of a key. JSON comes as its text.
    pub fn get(key: impl AsRef<[u8]>) -> Ask<Option<Vec<u8>>> {
        ask("get", false, &[("key", Member::Bytes(key.as_ref()))], |answer| {
            let answer = answer?;
            if answer.is_found { answer.held("value") } else { Ok(None) }
        })
    }
}

impl Ask<Vec<Option<Vec<u8>>>> {
    /// The values of keys, in their order.
    pub fn batch_get<K: AsRef<[u8]>>(
        keys: impl IntoIterator<Item = K>,
    ) -> Ask<Vec<Option<Vec<u8>>>> {
        let keys = list(keys);
        ask("batch_get", false, &[("keys", Member::List(&keys))], |answer| answer?.values())
    }
}

impl Ask<u64> {
    /// Stores values under keys: all of them or none. How many.
    pub fn batch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Ask<u64> {
        let (keys, values): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(|(key, value)| -> (Cow<'static, [u8]>, Cow<'static, [u8]>) {
                (Cow::Owned(key.as_ref().to_vec()), Cow::Owned(value.as_ref().to_vec()))
            })
            .unzip();
        let members = [("keys", Member::List(&keys)), ("values", Member::List(&values))];
        ask("batch_put", true, &members, counted)
    }

    /// Takes keys away: all of them or none. How many were there.
    pub fn batch_delete<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Ask<u64> {
        let keys = list(keys);
        ask("batch_delete", true, &[("keys", Member::List(&keys))], counted)
    }
}

impl Ask<Vec<(Vec<u8>, Vec<u8>)>> {
    /// Keys from `start` to `end`, which both belong to it, with their values, at once. What would be more than 32 MiB is
    /// refused: [`Ask::page`] goes through any range.
    pub fn get_range(
        start: impl AsRef<[u8]>,
        end: impl AsRef<[u8]>,
    ) -> Ask<Vec<(Vec<u8>, Vec<u8>)>> {
        let members = [
            ("start_key", Member::Bytes(start.as_ref())),
            ("end_key", Member::Bytes(end.as_ref())),
        ];
        ask("get_range", false, &members, |answer| answer?.pairs())
    }
}

impl Ask<Page> {
    /// A page of a scan, behind the key `after` if there is one.
    pub fn page(scan: &Scan, after: Option<&[u8]>) -> Ask<Page> {
        let bounds = [
            ("start_key", scan.start.as_deref()),
            ("end_key", scan.end.as_deref()),
            ("prefix", scan.prefix.as_deref()),
            ("after", after),
        ];
        let mut members = Vec::new();
        for (name, bound) in bounds {
            members.extend(bound.map(|bound| (name, Member::Bytes(bound))));
        }
        members.extend(scan.is_backward.then_some(("reverse", Member::Yes)));
        members.extend(scan.limit.map(|limit| ("limit", Member::Number(limit))));
        ask("scan", false, &members, |answer| {
            let answer = answer?;
            Ok(Page { entries: answer.pairs()?, next: answer.held("next")? })
        })
    }
}

impl Ask<Option<Info>> {
    /// What is known of a key without its value.
    pub fn info(key: impl AsRef<[u8]>) -> Ask<Option<Info>> {
        ask("info", false, &[("key", Member::Bytes(key.as_ref()))], |answer| {
            let answer = answer?;
            if !answer.is_found {
                return Ok(None);
            }
            let missing = || Error::strange("it has no `bytes`");
            let revision = answer.told("revision")?;
            Ok(Some(Info {
                kind: answer.told("type")?.into_owned(),
                bytes: answer.number("bytes")?.ok_or_else(missing)?,
                expires_at_ms: answer.number("expires_at_ms")?,
                revision: u64::from_str_radix(&revision, 16)
                    .map_err(|_| Error::strange(format!("`{revision}` is no revision")))?,
            }))
        })
    }
}

impl Ask<Vec<(String, u64)>> {
    /// The node's figures, by their names.
    pub fn stats() -> Ask<Vec<(String, u64)>> {
        ask("stats", false, &[], |answer| answer?.numbers())
    }
}
