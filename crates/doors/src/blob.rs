//! Blobs over HTTP: what the master is asked, in the manner of smol or of minikeyvalue, and what a volume is.
//!
//! The key is the path behind its first slash, with its escapes undone; it is bytes, and never the name of a file.
//! Whatever stands behind the question mark names an operation, and nothing unknown may stand there.
//!
//! 1. Nothing here is changed by GET or HEAD.
//! 2. `key_of(path_of(key)) == key`.

mod answer;
mod range;
mod uploads;
mod volume;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use answer::{Entry, hex, list_json, list_xml, path_of, tag};
pub use range::{Range, read as read_range};
pub use volume::{Sent, read as read_sent};

/// How the master speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Whoever puts is sent to a volume, and what is there is overwritten.
    #[default]
    Smol,
    /// Whoever puts is not sent anywhere, and nothing is overwritten.
    Mkv,
    /// S3's protocol, which is not read here.
    S3,
}

impl Manner {
    /// All of them.
    pub const ALL: [Manner; 3] = [Manner::Smol, Manner::Mkv, Manner::S3];

    /// What flags call it.
    pub fn name(self) -> &'static str {
        match self {
            Manner::Smol => "smol",
            Manner::Mkv => "mkv",
            Manner::S3 => "s3",
        }
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// What stood behind the question mark, as it was sent.
    pub query: &'a str,
    /// The header `Content-Length`, if it is known.
    pub bytes: Option<u64>,
    /// The header `If-Match`.
    pub if_match: Option<&'a str>,
    /// The header `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// What must be under a key for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// This generation.
    Is(u64),
}

/// What the master is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Where an object is.
    Get {
        /// Its key.
        key: Cow<'a, [u8]>,
        /// Only the head of the answer is wanted.
        is_head: bool,
    },
    /// Where an object may be put.
    Put {
        /// Its key.
        key: Cow<'a, [u8]>,
        /// What must be there.
        condition: Condition,
        /// How long it shall be there, in seconds.
        ttl: Option<u64>,
    },
    /// An object is to be deleted.
    Delete {
        /// Its key.
        key: Cow<'a, [u8]>,
        /// What must be there.
        condition: Condition,
    },
    /// An object is to be deleted to those who read, and its bytes kept.
    Unlink {
        /// Its key.
        key: Cow<'a, [u8]>,
    },
    /// An object is to lie where it belongs.
    Rebalance {
        /// Its key.
        key: Cow<'a, [u8]>,
    },
    /// An object is to be put in parts.
    Begin {
        /// Its key.
        key: Cow<'a, [u8]>,
    },
    /// A part of an object is to be put.
    Part {
        /// The object's key.
        key: Cow<'a, [u8]>,
        /// What the upload goes by.
        upload: String,
        /// Which part it is.
        number: u32,
    },
    /// An object is to be made of the parts that the body names.
    Complete {
        /// Its key.
        key: Cow<'a, [u8]>,
        /// What the upload goes by.
        upload: String,
    },
    /// An upload is to be over, and its parts gone.
    Abort {
        /// The object's key.
        key: Cow<'a, [u8]>,
        /// What the upload goes by.
        upload: String,
    },
    /// The objects that the body names are to be deleted.
    DeleteAll {
        /// What their keys lie below: a slash is between.
        below: Cow<'a, [u8]>,
    },
    /// What there is.
    List(List),
    /// How the objects are: whether they lie on as many volumes as they should, and what was repaired.
    Health,
    /// All objects are to be looked at, and repaired where they can be.
    Tend {
        /// They are to lie where placement wants them, too.
        rebalances: bool,
    },
    /// The request is wrong.
    Wrong(Wrong),
}

/// What of all there is is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What keys begin with.
    pub prefix: Vec<u8>,
    /// The first key.
    pub start: Vec<u8>,
    /// Most keys; 0 for all.
    pub limit: usize,
    /// Those that are unlinked.
    pub unlinked: bool,
    /// As S3 lists.
    pub xml: bool,
}

/// Why a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The status.
    pub status: u16,
    /// A line of text.
    pub text: String,
    /// The methods that there are.
    pub allow: Option<&'static str>,
}

impl Wrong {
    /// One of this status.
    pub fn new(status: u16, text: impl Into<String>) -> Wrong {
        Wrong { status, text: text.into(), allow: None }
    }
}

type Outcome<T> = Result<T, Wrong>;

/// The longest key.
pub const KEY_BYTES_MAX: usize = 4 << 10;

const METHODS: &str = "GET, HEAD, PUT, DELETE, UNLINK, REBALANCE";

/// Reads what the master is asked.
pub fn read<'a>(manner: Manner, head: &Head<'a>) -> Asked<'a> {
    asked(manner, head).unwrap_or_else(Asked::Wrong)
}

fn asked<'a>(manner: Manner, head: &Head<'a>) -> Outcome<Asked<'a>> {
    let key = decoded_key(head.path)?;
    check_not_own(&key)?;
    match (head.method, head.query) {
        ("GET", "health") if key.is_empty() => return Ok(Asked::Health),
        ("POST", "heal") if key.is_empty() => return Ok(Asked::Tend { rebalances: false }),
        ("POST", "rebalance") if key.is_empty() => return Ok(Asked::Tend { rebalances: true }),
        _ => {}
    }
    let is_get = head.method == "GET";
    if is_get && !head.query.is_empty() {
        let list = list(manner, &key, head.query)?;
        check_not_own(&list.prefix)?;
        return Ok(Asked::List(list));
    }
    if manner == Manner::Mkv
        && let Some(asked) = uploads::read(head, &key)?
    {
        return Ok(asked);
    }
    let ttl = match (head.method, head.query) {
        (_, "") => None,
        ("PUT", query) => Some(ttl(query)?),
        (_, query) => return Err(unknown_query(manner, query)),
    };
    if key.is_empty() {
        let text = "the path is the key, and must not be empty; `/?list` lists the keys";
        return Err(Wrong::new(404, text));
    }
    if KEY_BYTES_MAX < key.len() {
        let text = format!("the key has {} bytes, and may have {KEY_BYTES_MAX}", key.len());
        return Err(Wrong::new(400, text));
    }
    Ok(match head.method {
        "GET" | "HEAD" => Asked::Get { key, is_head: !is_get },
        "PUT" if head.bytes == Some(0) => {
            return Err(Wrong::new(411, "an object must have at least one byte"));
        }
        "PUT" => Asked::Put { key, condition: condition(head)?, ttl },
        "DELETE" => Asked::Delete { key, condition: condition(head)? },
        "UNLINK" => Asked::Unlink { key },
        "REBALANCE" => Asked::Rebalance { key },
        method => {
            let text = format!("there is no method `{method}` here; there are {METHODS}");
            return Err(Wrong { allow: Some(METHODS), ..Wrong::new(405, text) });
        }
    })
}

/// Keys that begin with a zero byte are the store's own.
fn check_not_own(key: &[u8]) -> Outcome<()> {
    if key.first() != Some(&0) {
        return Ok(());
    }
    Err(Wrong::new(400, "keys that begin with a zero byte are the store's own"))
}

/// The key that a path names.
pub fn key_of(path: &str) -> Option<Cow<'_, [u8]>> {
    decoded_key(path).ok()
}

fn decoded_key(path: &str) -> Outcome<Cow<'_, [u8]>> {
    let key = path.strip_prefix('/').unwrap_or(path);
    decoded(key).ok_or_else(|| Wrong::new(400, "`%` wants two hexadecimal digits behind it"))
}

/// What a percent-encoded text stands for.
fn decoded(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next())? << 4 | digit(rest.next())?) as u8,
            byte => byte,
        });
    }
    Some(Cow::Owned(bytes))
}

fn unknown_query(manner: Manner, query: &str) -> Wrong {
    let query: String = query.chars().take(64).collect();
    let status = match manner {
        Manner::Smol | Manner::S3 => 400,
        Manner::Mkv => 403,
    };
    let known = "GET takes list, unlinked, list-type=2, prefix, start, limit and, at `/`, health; PUT takes ttl; POST, at `/`, takes heal and rebalance";
    let more = match manner {
        Manner::Mkv => {
            "; in parts, POST takes uploads and uploadId, PUT partNumber with uploadId, DELETE uploadId; in batches, POST takes delete"
        }
        Manner::Smol | Manner::S3 => "",
    };
    Wrong::new(status, format!("`?{query}` is not known here; {known}{more}"))
}

/// How long something shall be there.
fn ttl(query: &str) -> Outcome<u64> {
    let seconds = query.strip_prefix("ttl=").and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=100 * 366 * 86_400).contains(seconds));
    seconds.ok_or_else(|| {
        Wrong::new(400, "PUT takes `?ttl=` and a whole number of seconds, at most 100 years")
    })
}

/// What is to be listed: the first parameter says that something is.
fn list(manner: Manner, key: &[u8], query: &str) -> Outcome<List> {
    let mut list = List { prefix: key.to_vec(), ..List::default() };
    for (nth, parameter) in query.split('&').enumerate() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let bytes = || {
            let value = value.replace('+', "%20");
            let value = decoded(&value).map(Cow::into_owned);
            value.ok_or_else(|| Wrong::new(400, "`%` wants two hexadecimal digits behind it"))
        };
        match (nth, name, value) {
            (0, "list", "") => {}
            (0, "unlinked", "") => list.unlinked = true,
            (0, "list-type", "2") => {
                // There the path is the bucket, and not a part of the keys.
                list.xml = true;
            }
            (0, ..) => return Err(unknown_query(manner, query)),
            (_, "prefix", _) => {
                if list.xml && !list.prefix.is_empty() && !list.prefix.ends_with(b"/") {
                    list.prefix.push(b'/');
                }
                list.prefix.extend(bytes()?);
            }
            (_, "start", _) => list.start = bytes()?,
            (_, "limit", value) => {
                let wrong = || Wrong::new(400, "`limit` wants a whole number, not negative");
                list.limit = value.parse().map_err(|_| wrong())?;
            }
            _ => return Err(unknown_query(manner, query)),
        }
    }
    Ok(list)
}

fn condition(head: &Head<'_>) -> Outcome<Condition> {
    match (head.if_match, head.if_none_match) {
        (None, None) => Ok(Condition::Any),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => {
            // A tag that is none of ours is that of nothing that was ever here.
            Ok(Condition::Is(generation_of(tag).unwrap_or(u64::MAX)))
        }
        (None, Some(_)) => Err(Wrong::new(400, "`If-None-Match` wants `*` with PUT and DELETE")),
        (Some(_), Some(_)) => {
            Err(Wrong::new(400, "`If-Match` and `If-None-Match` exclude each other"))
        }
    }
}

/// The generation that an ETag names.
pub fn generation_of(tag: &str) -> Option<u64> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let is_ours = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether one of the tags of `If-None-Match` names this generation.
pub fn is_known(if_none_match: &str, generation: u64) -> bool {
    let mut tags = if_none_match.split(',');
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || generation_of(tag.strip_prefix("W/").unwrap_or(tag)) == Some(generation)
    })
}
