//! Makes commands of requests.

use std::borrow::Cow;

use olivine_command::{
    Bound, Bytes, Code, Command, Condition, Copying, Entry, Expiry, Form, Value,
};

use crate::{
    json,
    limits::Limits,
    lines::{Found, Lines},
    taken,
};

/// What stands before a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// What stood behind the question mark, as it was sent.
    pub query: &'a str,
    /// The header `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The header `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// The header `If-Match`.
    pub if_match: Option<&'a str>,
    /// The header `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// One request.
#[derive(Debug)]
pub enum Request<'a> {
    /// A command, and what its answer looks like.
    One(Command<'a>, Shape),
    /// Lines of the JSON door, carried out together.
    Lines(Vec<json::Request<'a>>),
    /// No command; the shape says what is to be answered.
    Own(Shape),
}

/// What an answer looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value, unless the sender has this revision of it.
    Get(Option<u64>),
    /// What there is under a key.
    Head,
    /// Something is to be changed under a key.
    Change {
        /// Whether the reply is about a condition, not about being there.
        conditional: bool,
    },
    /// Entries, a line each.
    Page,
    /// A copy of everything that was begun: a line that says which, and a line for each file.
    Lent,
    /// Bytes of a file of such a copy.
    Piece,
    /// A copy is to be ended.
    Returned,
    /// Whether the process lives.
    Live,
    /// Whether the node can be used.
    Ready,
    /// Numbers for Prometheus.
    Metrics,
    /// Requests that took long.
    Slow,
    /// What the node is.
    Welcome,
    /// How the door is used, for programs.
    OpenApi,
    /// The request is wrong.
    Wrong(Wrong),
}

/// Why a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Wrong {
    fn invalid(detail: impl Into<String>) -> Wrong {
        Wrong { status: 400, code: Code::Invalid.name(), detail: detail.into() }
    }

    fn too_large(detail: String) -> Wrong {
        Wrong { status: 413, code: Code::TooLarge.name(), detail }
    }
}

type Outcome<T> = Result<T, Wrong>;

/// Bytes of a file of a copy that one answer has at most.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// Reads one request, as of the time `now`.
pub fn read<'a>(head: &Head<'a>, body: &'a [u8], limits: &Limits, now: u64) -> Request<'a> {
    match (Asked { head, body, limits, now }).request() {
        Ok(request) => request,
        Err(wrong) => Request::Own(Shape::Wrong(wrong)),
    }
}

struct Asked<'m, 'a> {
    head: &'m Head<'a>,
    body: &'a [u8],
    limits: &'m Limits,
    now: u64,
}

impl<'a> Asked<'_, 'a> {
    fn request(&self) -> Outcome<Request<'a>> {
        self.check_encoding()?;
        let path = self.head.path;
        if let Some(key) = path.strip_prefix("/kv/") {
            return self.key_values(key);
        }
        if let Some(rest) = path.strip_prefix("/backup/") {
            return self.copy(rest);
        }
        let shape = match path {
            "/kv" => return self.all(),
            "/backup" => return self.begin_copy(),
            "/livez" => Shape::Live,
            "/readyz" | "/health" => Shape::Ready,
            "/metrics" => Shape::Metrics,
            "/slow" => Shape::Slow,
            "/openapi.json" => Shape::OpenApi,
            "/" => Shape::Welcome,
            _ => {
                let detail = format!("there is nothing here; there are {}", taken::paths());
                return Err(Wrong { status: 404, code: "unknown_path", detail });
            }
        };
        match self.head.method {
            "GET" | "HEAD" => Ok(Request::Own(shape)),
            _ => Err(self.not_allowed("GET, HEAD")),
        }
    }

    /// Refuses a body that would have to be unpacked: it would be stored packed, and come back without the
    /// word of how; and nothing that grows when it is unpacked can be sent.
    fn check_encoding(&self) -> Outcome<()> {
        match self.head.content_encoding {
            None => Ok(()),
            Some(encoding) if encoding.trim().eq_ignore_ascii_case("identity") => Ok(()),
            Some(encoding) => {
                let encoding: String = encoding.chars().take(64).collect();
                let detail = format!("bodies are taken as they are, without `{encoding}`");
                Err(Wrong { status: 415, code: "unsupported_encoding", detail })
            }
        }
    }

    fn not_allowed(&self, allowed: &str) -> Wrong {
        let detail = format!("{} is not for this path; it takes {allowed}", self.head.method);
        Wrong { status: 405, code: "method_not_allowed", detail }
    }

    /// Begins a copy of everything.
    fn begin_copy(&self) -> Outcome<Request<'a>> {
        if self.head.method != "POST" {
            return Err(self.not_allowed("POST"));
        }
        self.query()?.only(&[])?;
        if !self.body.is_empty() {
            return Err(Wrong::invalid("a backup is begun without a body"));
        }
        Ok(Request::One(Command::Copy(Copying::Begin), Shape::Lent))
    }

    /// Reads `{id}/{file}` of a copy, or ends `{id}`.
    fn copy(&self, rest: &str) -> Outcome<Request<'a>> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = if plain { text.parse().ok() } else { None };
            number.ok_or_else(|| {
                let detail = "there is nothing here; there are /backup, /backup/{id} and \
                    /backup/{id}/{file}, with numbers that POST /backup gave";
                Wrong { status: 404, code: "unknown_path", detail: detail.to_owned() }
            })
        };
        let query = self.query()?;
        if let Some((id, file)) = rest.split_once('/') {
            let (id, file) = (number(id)?, number(file)?);
            if self.head.method != "GET" {
                return Err(self.not_allowed("GET"));
            }
            query.only(&["offset"])?;
            let offset = query.number("offset")?.unwrap_or(0);
            let copying = Copying::Read { id, file, offset, bytes: PIECE_BYTES_MAX };
            return Ok(Request::One(Command::Copy(copying), Shape::Piece));
        }
        let id = number(rest)?;
        if self.head.method != "DELETE" {
            return Err(self.not_allowed("DELETE"));
        }
        query.only(&["kept"])?;
        let kept = match query.get("kept") {
            None | Some(b"false") => false,
            Some(b"true") => true,
            Some(_) => return Err(Wrong::invalid("`kept` is true or false")),
        };
        Ok(Request::One(Command::Copy(Copying::End { id, kept }), Shape::Returned))
    }

    fn key_values(&self, key: &'a str) -> Outcome<Request<'a>> {
        let key = decoded(key, false)?;
        self.limits.check_key(&key).map_err(Wrong::too_large)?;
        let query = self.query()?;
        let condition = self.condition()?;
        let conditional = condition != Condition::Always;
        match self.head.method {
            "GET" => {
                query.only(&[])?;
                let known = self.head.if_none_match.and_then(revision);
                Ok(Request::One(Command::Get { key }, Shape::Get(known)))
            }
            "HEAD" => {
                query.only(&[])?;
                Ok(Request::One(Command::Look { key }, Shape::Head))
            }
            "PUT" => {
                query.only(&["ttl_ms", "expires_at_ms"])?;
                let expiry = self.expiry(&query)?;
                let entry = Entry { key, value: self.value()? };
                let command = Command::Put { entry, condition, expiry };
                Ok(Request::One(command, Shape::Change { conditional: true }))
            }
            "DELETE" => {
                query.only(&[])?;
                let command = Command::Delete { key, condition };
                Ok(Request::One(command, Shape::Change { conditional }))
            }
            _ => Err(self.not_allowed("GET, HEAD, PUT, DELETE")),
        }
    }

    /// What is asked of all keys.
    fn all(&self) -> Outcome<Request<'a>> {
        match self.head.method {
            "GET" => Ok(Request::One(self.scan()?, Shape::Page)),
            "POST" => self.lines(),
            _ => Err(self.not_allowed("GET, POST")),
        }
    }

    fn lines(&self) -> Outcome<Request<'a>> {
        let (mut lines, mut requests, mut rest) = (Lines::default(), Vec::new(), self.body);
        loop {
            let (line, is_last) = match lines.next(rest, self.limits.line_bytes_max) {
                Found::Line(line, bytes) => {
                    rest = &rest[bytes..];
                    (line, false)
                }
                Found::Part => (rest, true),
                Found::TooLong => {
                    let most = self.limits.line_bytes_max;
                    let detail = format!("a line is longer than `line-bytes-max`, {most}");
                    return Err(Wrong::too_large(detail));
                }
            };
            requests.extend(json::read(line, self.limits, self.now));
            self.limits.check_entries(requests.len()).map_err(Wrong::too_large)?;
            if is_last {
                return Ok(Request::Lines(requests));
            }
        }
    }

    fn scan(&self) -> Outcome<Command<'a>> {
        let query = self.query()?;
        query.only(&["prefix", "start", "end", "after", "limit", "reverse"])?;
        let most = self.limits.page_entries_max;
        let limit = query.number("limit")?.unwrap_or(most.min(1_000));
        if most < limit || limit == 0 {
            let told = format!("`limit` is {limit}, and may be 1 to `page-entries-max`, {most}");
            return Err(Wrong::too_large(told));
        }
        let backward = match query.get("reverse") {
            None | Some(b"false") => false,
            Some(b"true" | b"") => true,
            Some(_) => return Err(Wrong::invalid("`reverse` is true or false")),
        };
        let bound = |name| {
            query.get(name).map_or(Bound::Open, |key| Bound::Included(Cow::Owned(key.to_vec())))
        };
        let (mut start, mut end) = (bound("start"), bound("end"));
        if let Bound::Included(prefix) = bound("prefix") {
            if start != Bound::Open || end != Bound::Open {
                return Err(Wrong::invalid("`prefix` goes without `start` and `end`"));
            }
            end = json::after_prefix(&prefix);
            start = Bound::Included(prefix);
        }
        if let Bound::Included(after) = bound("after") {
            if !backward { start = Bound::Excluded(after) } else { end = Bound::Excluded(after) }
        }
        Ok(Command::Scan { start, end, limit, backward })
    }

    fn value(&self) -> Outcome<Value<'a>> {
        self.limits.check_value(self.body).map_err(Wrong::too_large)?;
        let kind = self.head.content_type.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Ok(Value { form: Form::Bytes, bytes: self.body.into() });
        }
        let wrong = |what: String| Wrong::invalid(format!("the body is not JSON: {what}"));
        let text = str::from_utf8(self.body).map_err(|error| wrong(error.to_string()))?;
        let fault = |fault: json::Fault| wrong(format!("byte {}: {}", fault.at, fault.what));
        let raw = json::read_value(text).map_err(fault)?;
        Ok(match raw.as_text().map_err(fault)? {
            Some(text) => Value { form: Form::Bytes, bytes: text.into_owned().into_bytes().into() },
            None => Value { form: Form::Json, bytes: raw.compact() },
        })
    }

    fn expiry(&self, query: &Query) -> Outcome<Expiry> {
        match (query.number("ttl_ms")?, query.number("expires_at_ms")?) {
            (None, None) => Ok(Expiry::Never),
            (Some(ttl), None) => Ok(Expiry::At(self.now.saturating_add(ttl))),
            (None, Some(at)) => Ok(Expiry::At(at)),
            (Some(_), Some(_)) => {
                Err(Wrong::invalid("`ttl_ms` and `expires_at_ms` exclude each other"))
            }
        }
    }

    /// What a change asks for; that of a GET is another matter.
    fn condition(&self) -> Outcome<Condition> {
        if matches!(self.head.method, "GET" | "HEAD") {
            return Ok(Condition::Always);
        }
        match (self.head.if_match.map(str::trim), self.head.if_none_match.map(str::trim)) {
            (None, None) => Ok(Condition::Always),
            (Some("*"), None) => Ok(Condition::Present),
            (None, Some("*")) => Ok(Condition::Absent),
            (Some(tag), None) => revision(tag).map(Condition::Revision).ok_or_else(|| {
                Wrong::invalid("`If-Match` takes `*` or one ETag that this door gave")
            }),
            (None, Some(_)) => Err(Wrong::invalid("`If-None-Match` takes `*` here")),
            (Some(_), Some(_)) => {
                Err(Wrong::invalid("`If-Match` and `If-None-Match` exclude each other"))
            }
        }
    }

    fn query(&self) -> Outcome<Query> {
        let mut pairs = Vec::new();
        for pair in self.head.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8_lossy(&decoded(name, true)?).into_owned();
            let value = decoded(value, true)?.into_owned();
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Wrong::invalid(format!("`{name}` is there twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }
}

/// What stood behind the question mark.
struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        let wrong = || Wrong::invalid(format!("`{name}` must be a whole number, not negative"));
        number.map(Some).ok_or_else(wrong)
    }

    /// Refuses names that are not among these.
    fn only(&self, known: &[&str]) -> Outcome<()> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let known = match known {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                Err(Wrong::invalid(format!("unknown parameter `{name}`; there are {known}")))
            }
        }
    }
}

/// What a percent-encoded text stands for.
fn decoded(text: &str, plus_is_blank: bool) -> Outcome<Bytes<'_>> {
    let is_plain = |byte: u8| byte != b'%' && !(plus_is_blank && byte == b'+');
    if text.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let wrong = || Wrong::invalid("`%` wants two hexadecimal digits behind it");
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                (high.ok_or_else(wrong)? << 4 | low.ok_or_else(wrong)?) as u8
            }
            b'+' if plus_is_blank => b' ',
            byte => byte,
        });
    }
    Ok(Cow::Owned(bytes))
}

/// The revision that an ETag names.
fn revision(tag: &str) -> Option<u64> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}
