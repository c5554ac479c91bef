//! Makes commands of lines.
//!
//! 1. Words of the errors that source clients know are kept; more is told in `code` and `detail`.

use std::{borrow::Cow, str};

use olivine_command::{Bound, Bytes, Command, Condition, Entry, Expiry, Form, Value};

use super::reader::{Fault, Raw, Reader};
use crate::{Login, base64, limits::Limits, taken};

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What to ask of the store, if anything.
    pub command: Option<Command<'a>>,
    /// Who the sender says to be, from now on.
    pub login: Option<Login<'a>>,
    /// What the answer looks like.
    pub shape: Shape<'a>,
}

/// What an answer looks like.
#[derive(Debug)]
pub struct Shape<'a> {
    /// What was asked.
    pub act: Act,
    /// What the sender calls the request, as it was written.
    pub id: Option<Bytes<'a>>,
    /// Whether texts are base64.
    pub binary: bool,
}

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the commands are")]
pub enum Act {
    Put,
    PutMany,
    Get {
        revision: bool,
    },
    GetMany,
    Look,
    Delete {
        conditional: bool,
    },
    DeleteMany,
    Expire,
    Range,
    Scan,
    Auth,
    Ping,
    Stats,
    /// The request is wrong.
    Wrong {
        message: Cow<'static, str>,
        code: &'static str,
        detail: Option<String>,
    },
}

/// The members there are.
const MEMBERS: [&str; 22] = [
    "command",
    "id",
    "key",
    "value",
    "keys",
    "values",
    "start_key",
    "end_key",
    "prefix",
    "after",
    "limit",
    "reverse",
    "encoding",
    "ttl_ms",
    "expires_at_ms",
    "if_absent",
    "if_present",
    "if_revision",
    "revision",
    "user",
    "password",
    "token",
];

/// A wrong request.
struct Wrong {
    message: Cow<'static, str>,
    code: &'static str,
    detail: Option<String>,
}

impl Wrong {
    /// With words that clients know.
    fn known(message: &'static str) -> Wrong {
        Wrong { message: message.into(), code: "invalid", detail: None }
    }

    fn told(message: String) -> Wrong {
        Wrong { message: message.into(), code: "invalid", detail: None }
    }

    fn too_large(message: String) -> Wrong {
        Wrong { message: message.into(), code: "too_large", detail: None }
    }
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Wrong {
        let detail = format!("byte {}: {}", fault.at, fault.what);
        let message = Cow::Borrowed("Invalid JSON");
        Wrong { message, code: "invalid_json", detail: Some(detail) }
    }
}

type Outcome<T> = Result<T, Wrong>;

/// Reads one line, as of the time `now`; nothing if it is blank.
pub fn read<'a>(line: &'a [u8], limits: &Limits, now: u64) -> Option<Request<'a>> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    let mut id = None;
    let mut binary = false;
    let asked = Members::read(line).and_then(|members| {
        id = members.get("id").map(|raw| raw.compact());
        binary = members.is_binary()?;
        Asked { members: &members, limits, now, binary }.command()
    });
    let (asks, act) = asked.unwrap_or_else(|Wrong { message, code, detail }| {
        (Asks::Nothing, Act::Wrong { message, code, detail })
    });
    let (command, login) = match asks {
        Asks::Nothing => (None, None),
        Asks::Store(command) => (Some(command), None),
        Asks::Login(login) => (None, Some(login)),
    };
    Some(Request { command, login, shape: Shape { act, id, binary } })
}

/// The members of a request's object.
struct Members<'a>([Option<Raw<'a>>; MEMBERS.len()]);

impl<'a> Members<'a> {
    fn read(line: &'a [u8]) -> Outcome<Members<'a>> {
        let text = str::from_utf8(line)
            .map_err(|error| Fault { at: error.valid_up_to(), what: "this is not UTF-8" })?;
        let mut reader = Reader::new(text);
        let mut members = Members([None; MEMBERS.len()]);
        if reader.peek() != Some(b'{') {
            super::read_value(text)?;
            return Err(Wrong::told("Request must be an object".to_owned()));
        }
        reader.take();
        if reader.peek() == Some(b'}') {
            reader.take();
        } else {
            members.fill(&mut reader)?;
        }
        reader.end()?;
        Ok(members)
    }

    fn fill(&mut self, reader: &mut Reader<'a>) -> Outcome<()> {
        let mut unknown = None;
        loop {
            let name = reader.name()?;
            let value = reader.value()?;
            match MEMBERS.iter().position(|known| *known == name) {
                Some(place) if self.0[place].is_some() => {
                    return Err(Wrong::told(format!("Field `{name}` is there twice")));
                }
                Some(place) => self.0[place] = Some(value),
                None => unknown = unknown.or(Some(name)),
            }
            if reader.peek() != Some(b',') {
                reader.expect(b'}', "a comma or an end is missing")?;
                break;
            }
            reader.take();
        }
        match unknown {
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                let known = MEMBERS.join(", ");
                let detail = Some(format!("there are {known}"));
                let message = format!("Unknown field: {name}").into();
                Err(Wrong { message, code: "invalid", detail })
            }
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<Raw<'a>> {
        let place = MEMBERS.iter().position(|known| *known == name);
        // A null is as good as nothing.
        self.0[place.expect("a member that is known")].filter(|raw| !raw.is_null())
    }

    fn text(&self, name: &str) -> Outcome<Option<Cow<'a, str>>> {
        let Some(raw) = self.get(name) else {
            return Ok(None);
        };
        let text = raw.as_text()?;
        text.map(Some).ok_or_else(|| Wrong::told(format!("Field `{name}` must be a string")))
    }

    fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let wrong = || Wrong::told(format!("Field `{name}` must be a whole number, not negative"));
        self.get(name).map(|raw| raw.as_number().ok_or_else(wrong)).transpose()
    }

    fn flag(&self, name: &str) -> Outcome<bool> {
        match self.get(name).map(|raw| raw.text) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Wrong::told(format!("Field `{name}` must be true or false"))),
        }
    }

    fn is_binary(&self) -> Outcome<bool> {
        match self.text("encoding")?.as_deref() {
            None | Some("utf-8") => Ok(false),
            Some("base64") => Ok(true),
            Some(_) => Err(Wrong::told("Field `encoding` must be base64 or utf-8".to_owned())),
        }
    }
}

/// Who is to act on a request.
enum Asks<'a> {
    /// The door can answer by itself.
    Nothing,
    /// The store.
    Store(Command<'a>),
    /// Whoever knows who may do what.
    Login(Login<'a>),
}

/// A request that is being understood.
struct Asked<'m, 'a> {
    members: &'m Members<'a>,
    limits: &'m Limits,
    now: u64,
    binary: bool,
}

impl<'a> Asked<'_, 'a> {
    fn command(&self) -> Outcome<(Asks<'a>, Act)> {
        let name = self.members.text("command")?.unwrap_or_default();
        let (command, act) = match &*name {
            "put" => self.put()?,
            "get" => {
                let key = self.key("key", "Missing key")?;
                (Command::Get { key }, Act::Get { revision: self.members.flag("revision")? })
            }
            "delete" => {
                let key = self.key("key", "Missing key")?;
                let condition = self.condition()?;
                let conditional = condition != Condition::Always;
                (Command::Delete { key, condition }, Act::Delete { conditional })
            }
            "get_range" => (self.range()?, Act::Range),
            "batch_put" => (self.batch_put()?, Act::PutMany),
            "batch_get" => (Command::GetMany { keys: self.keys()? }, Act::GetMany),
            "batch_delete" => (Command::DeleteMany { keys: self.keys()? }, Act::DeleteMany),
            "scan" => (self.scan()?, Act::Scan),
            "info" => (Command::Look { key: self.key("key", "Missing key")? }, Act::Look),
            "expire" => {
                let (key, expiry) = (self.key("key", "Missing key")?, self.expiry()?);
                (Command::Expire { key, expiry }, Act::Expire)
            }
            "auth" => return Ok((Asks::Login(self.login()?), Act::Auth)),
            "ping" => return Ok((Asks::Nothing, Act::Ping)),
            "stats" => (Command::Numbers, Act::Stats),
            other => {
                let other: String = other.chars().take(64).collect();
                let detail = Some(format!("there are {}", taken::listed(&taken::JSON)));
                let message = format!("Unknown command: {other}").into();
                return Err(Wrong { message, code: "unknown_command", detail });
            }
        };
        Ok((Asks::Store(command), act))
    }

    fn login(&self) -> Outcome<Login<'a>> {
        let text = |name| -> Outcome<_> { Ok(self.members.text(name)?.map(bytes_of)) };
        match (text("user")?, text("password")?, text("token")?) {
            (Some(user), Some(password), None) => Ok(Login::Password { user, password }),
            (None, None, Some(token)) => Ok(Login::Token(token)),
            _ => Err(Wrong::known("auth wants user and password, or token")),
        }
    }

    fn put(&self) -> Outcome<(Command<'a>, Act)> {
        let missing = "Missing key or value";
        let key = self.key("key", missing)?;
        let raw = self.members.get("value").ok_or_else(|| Wrong::known(missing))?;
        let entry = Entry { key, value: self.value(raw)? };
        let (condition, expiry) = (self.condition()?, self.expiry()?);
        Ok((Command::Put { entry, condition, expiry }, Act::Put))
    }

    fn batch_put(&self) -> Outcome<Command<'a>> {
        let missing = || Wrong::known("Missing keys or values");
        let keys = self.members.get("keys").ok_or_else(missing)?;
        let values = self.members.get("values").ok_or_else(missing)?;
        let (Some(keys), Some(values)) = (keys.elements(), values.elements()) else {
            return Err(Wrong::known("Keys and values must be lists"));
        };
        if keys.len() != values.len() {
            let (keys, values) = (keys.len(), values.len());
            return Err(Wrong {
                message: "Keys and values must have the same length".into(),
                code: "invalid",
                detail: Some(format!("there are {keys} keys and {values} values")),
            });
        }
        self.limits.check_entries(keys.len()).map_err(Wrong::too_large)?;
        let entry = |(key, value): (Raw<'a>, Raw<'a>)| {
            Ok(Entry { key: self.key_of(key, "Keys")?, value: self.value(value)? })
        };
        let entries: Outcome<Vec<_>> = keys.into_iter().zip(values).map(entry).collect();
        Ok(Command::PutMany { entries: entries?, expiry: self.expiry()? })
    }

    fn keys(&self) -> Outcome<Vec<Bytes<'a>>> {
        let keys = self.members.get("keys").ok_or_else(|| Wrong::known("Missing keys"))?;
        let keys = keys.elements().ok_or_else(|| Wrong::known("Keys must be a list"))?;
        self.limits.check_entries(keys.len()).map_err(Wrong::too_large)?;
        keys.into_iter().map(|key| self.key_of(key, "Keys")).collect()
    }

    fn range(&self) -> Outcome<Command<'a>> {
        let missing = "Missing start_key or end_key";
        let start = Bound::Included(self.key("start_key", missing)?);
        let end = Bound::Included(self.key("end_key", missing)?);
        Ok(Command::Scan { start, end, limit: u64::MAX, backward: false })
    }

    fn scan(&self) -> Outcome<Command<'a>> {
        let most = self.limits.page_entries_max;
        let limit = self.members.number("limit")?.unwrap_or(most.min(100));
        if most < limit || limit == 0 {
            let told =
                format!("Field `limit` is {limit}, and may be 1 to `page-entries-max`, {most}");
            return Err(Wrong::too_large(told));
        }
        let backward = self.members.flag("reverse")?;
        let bound = |name| -> Outcome<Bound<'a>> {
            let key = self.members.get(name).map(|raw| self.key_of(raw, name)).transpose()?;
            Ok(key.map_or(Bound::Open, Bound::Included))
        };
        let (mut start, mut end) = (bound("start_key")?, bound("end_key")?);
        if let Bound::Included(prefix) = bound("prefix")? {
            if start != Bound::Open || end != Bound::Open {
                let told = "Field `prefix` goes without `start_key` and `end_key`";
                return Err(Wrong::known(told));
            }
            end = after_prefix(&prefix);
            start = Bound::Included(prefix);
        }
        if let Bound::Included(after) = bound("after")? {
            if !backward { start = Bound::Excluded(after) } else { end = Bound::Excluded(after) }
        }
        Ok(Command::Scan { start, end, limit, backward })
    }

    fn key(&self, name: &'static str, missing: &'static str) -> Outcome<Bytes<'a>> {
        let raw = self.members.get(name).ok_or_else(|| Wrong::known(missing))?;
        self.key_of(raw, name)
    }

    fn key_of(&self, raw: Raw<'a>, name: &str) -> Outcome<Bytes<'a>> {
        let text = raw.as_text()?;
        let text = text.ok_or_else(|| Wrong::told(format!("Field `{name}` must be a string")))?;
        let key = self.bytes(text)?;
        self.limits.check_key(&key).map_err(Wrong::too_large)?;
        Ok(key)
    }

    /// The bytes that a text stands for.
    fn bytes(&self, text: Cow<'a, str>) -> Outcome<Bytes<'a>> {
        if self.binary {
            let wrong = || Wrong::told("What is marked as base64 is not".to_owned());
            return Ok(base64::decode(&text).ok_or_else(wrong)?.into());
        }
        Ok(bytes_of(text))
    }

    fn value(&self, raw: Raw<'a>) -> Outcome<Value<'a>> {
        let value = match raw.as_text()? {
            Some(text) => Value { form: Form::Bytes, bytes: self.bytes(text)? },
            None => Value { form: Form::Json, bytes: raw.compact() },
        };
        self.limits.check_value(&value.bytes).map_err(Wrong::too_large)?;
        Ok(value)
    }

    fn expiry(&self) -> Outcome<Expiry> {
        match (self.members.number("ttl_ms")?, self.members.number("expires_at_ms")?) {
            (None, None) => Ok(Expiry::Never),
            (Some(ttl), None) => Ok(Expiry::At(self.now.saturating_add(ttl))),
            (None, Some(at)) => Ok(Expiry::At(at)),
            (Some(_), Some(_)) => {
                Err(Wrong::known("Fields `ttl_ms` and `expires_at_ms` exclude each other"))
            }
        }
    }

    fn condition(&self) -> Outcome<Condition> {
        let absent = self.members.flag("if_absent")?;
        let present = self.members.flag("if_present")?;
        let revision = self.members.text("if_revision")?;
        match (absent, present, revision) {
            (false, false, None) => Ok(Condition::Always),
            (true, false, None) => Ok(Condition::Absent),
            (false, true, None) => Ok(Condition::Present),
            (false, false, Some(revision)) => {
                let wrong = || Wrong::known("Field `if_revision` must be a revision that was told");
                let revision = u64::from_str_radix(&revision, 16).ok().ok_or_else(wrong)?;
                Ok(Condition::Revision(revision))
            }
            _ => {
                Err(Wrong::known("Only one of if_absent, if_present and if_revision can be asked"))
            }
        }
    }
}

fn bytes_of(text: Cow<'_, str>) -> Bytes<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The end of the keys that begin with a prefix.
pub(crate) fn after_prefix<'a>(prefix: &[u8]) -> Bound<'a> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff);
    match kept {
        None => Bound::Open,
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bound::Excluded(end.into())
        }
    }
}
