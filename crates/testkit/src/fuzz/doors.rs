//! The parsers of what comes over sockets: doors, and frames' contents.
//!
//! 1. A command that was read is encoded, decoded, and the same.
//! 2. What is wrong is answered in whole lines, or as one answer.

mod blobs;
mod influx;

use olivine_command::{Batch, Command, Copying, wire};
use olivine_doors::{
    Answer,
    http::{self, Head},
    json,
    limits::Limits,
    line,
};
use olivine_vfs::Random;

/// What is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A line of the JSON door.
    JsonDoor,
    /// A line of words.
    WordsDoor,
    /// A request over HTTP: method and target, headers and body, a line each but for the last.
    HttpDoor,
    /// Lines of points.
    Points,
    /// A request to the doors of time series: which door, method and target, two headers and a body, a line each
    /// but for the last.
    InfluxDoor,
    /// A batch of commands.
    Commands,
    /// Replies.
    Replies,
    /// Statements of the query language.
    Queries,
    /// A request to the master of blobs: manner, method and target, two conditions and a body, a line each but for the last.
    BlobDoor,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 9] = [
        Target::JsonDoor,
        Target::WordsDoor,
        Target::HttpDoor,
        Target::Points,
        Target::InfluxDoor,
        Target::Commands,
        Target::Replies,
        Target::Queries,
        Target::BlobDoor,
    ];
}

/// The time at which everything is accepted.
const NOW: u64 = 1_700_000_000_000;

/// Parses `bytes`: how many things they hold, or what is wrong with them.
pub(super) fn parse(target: Target, bytes: &[u8]) -> Result<u64, String> {
    match target {
        Target::JsonDoor => parse_json(bytes),
        Target::WordsDoor => parse_words(bytes),
        Target::HttpDoor => parse_http(bytes),
        Target::Points => influx::parse_points(bytes),
        Target::InfluxDoor => influx::parse_request(bytes),
        Target::Commands => {
            let batch = wire::decode_batch(bytes).map_err(|error| error.to_string())?;
            let mut again = Vec::new();
            wire::encode_batch(&batch, &mut again);
            assert_eq!(again, bytes, "a batch has one encoding");
            Ok(batch.commands.len() as u64)
        }
        Target::Replies => {
            let replies = wire::decode_replies(bytes).map_err(|error| error.to_string())?;
            let mut again = Vec::new();
            wire::encode_replies(&replies, &mut again);
            assert_eq!(again, bytes, "replies have one encoding");
            Ok(replies.len() as u64)
        }
        Target::Queries => olivine_query::fuzzing::parse(bytes),
        Target::BlobDoor => blobs::parse(bytes),
    }
}

fn parse_json(bytes: &[u8]) -> Result<u64, String> {
    let Some(request) = json::read(bytes, &Limits::default(), NOW) else {
        return Ok(0);
    };
    if let Some(command) = request.command {
        check(command);
        Ok(1)
    } else {
        let mut out = Vec::new();
        json::answer(&request.shape, Answer::Own, &mut out);
        let text = one_line(&out);
        json::read_value(text).unwrap_or_else(|fault| panic!("{fault:?}: {text}"));
        if text.contains("\"status\":\"ok\"") { Ok(1) } else { Err(text.to_owned()) }
    }
}

fn parse_words(bytes: &[u8]) -> Result<u64, String> {
    let Some(request) = line::read(bytes, &Limits::default()) else {
        return Ok(0);
    };
    if let Some(command) = request.command {
        check(command);
        Ok(1)
    } else {
        let mut out = Vec::new();
        line::answer(&request.shape, Answer::Own, &mut out);
        let text = one_line(&out);
        if text.starts_with("OK") { Ok(1) } else { Err(text.to_owned()) }
    }
}

fn parse_http(bytes: &[u8]) -> Result<u64, String> {
    let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
    let mut line = || str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let first = line();
    let (method, target) = first.split_once(' ').unwrap_or((first, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let head = Head {
        method,
        path,
        query,
        content_type: given(line()),
        content_encoding: None,
        if_match: given(line()),
        if_none_match: given(line()),
    };
    let body = lines.next().unwrap_or_default();
    match http::read(&head, body, &Limits::default(), NOW) {
        http::Request::One(command, _) => {
            check(command);
            Ok(1)
        }
        http::Request::Lines(requests) => {
            let count = requests.len() as u64;
            requests.into_iter().filter_map(|request| request.command).for_each(check);
            Ok(count)
        }
        http::Request::Own(shape @ http::Shape::Wrong(_)) => {
            let response = http::answer(&shape, Answer::Own);
            Err(one_line(&response.body).to_owned())
        }
        http::Request::Own(_) => Ok(1),
    }
}

/// The text of an answer without its line end.
fn one_line(out: &[u8]) -> &str {
    let text = str::from_utf8(out).unwrap_or_else(|error| panic!("an answer is no text: {error}"));
    let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("an answer does not end: {text}"));
    assert!(!line.contains('\n'), "an answer has line breaks: {line}");
    line
}

/// What goes to the store gets there as it is.
fn check(command: Command<'_>) {
    let batch = Batch { now: NOW, commands: vec![command] };
    let mut bytes = Vec::new();
    wire::encode_batch(&batch, &mut bytes);
    assert_eq!(wire::decode_batch(&bytes).as_ref(), Ok(&batch));
}

/// Bytes that `parse` takes, drawn from `seed`.
pub(super) fn sample(target: Target, seed: u64) -> Vec<u8> {
    const JSON: &[&str] = &[
        r#"{"command":"put","key":"a","value":"b","ttl_ms":1000,"if_absent":true}"#,
        r#"{"command": "put", "key": "a\u00e9\ud83d\ude00", "value": {"x": [1, 2.5e3, null]}, "id": 7}"#,
        r#"{"command":"batch_put","keys":["a","b"],"values":[1,"\n"],"expires_at_ms":5}"#,
        r#"{"command":"scan","prefix":"ab","after":"abc","limit":10,"reverse":true}"#,
        r#"{"command":"get","key":"YQ==","encoding":"base64","revision":true}"#,
        r#"{"command":"delete","key":"a","if_revision":"00000000000000ab"}"#,
    ];
    const WORDS: &[&str] =
        &["PUT name age 30", "GET name", "delete name", "PING", "PUT a ", " put a b"];
    const HTTP: &[&str] = &[
        "PUT /kv/a%20b?ttl_ms=5\napplication/json\n\"00000000000000ab\"\n\n{\"a\": 1}",
        "GET /kv?prefix=a%2f&limit=7&reverse=true\n\n\n\n",
        "POST /kv\n\n\n\n{\"command\":\"ping\"}\n{\"command\":\"get\",\"key\":\"a\"}",
        "GET /kv/a\n\n\n\"00000000000000ab\"\n",
        "DELETE /kv/a\n\n*\n\n",
        "HEAD /readyz\n\n\n\n",
        "POST /backup\n\n\n\n",
        "GET /backup/1795217000123/7?offset=1048576\n\n\n\n",
        "DELETE /backup/1795217000123?kept=true\n\n\n\n",
    ];
    let pick = |samples: &[&str]| samples[seed as usize % samples.len()].as_bytes().to_vec();
    match target {
        Target::JsonDoor => pick(JSON),
        Target::WordsDoor => pick(WORDS),
        Target::HttpDoor => pick(HTTP),
        Target::Points => pick(influx::LINES),
        Target::InfluxDoor => pick(influx::REQUESTS),
        Target::Commands => {
            let limits = Limits::default();
            let read = |line: &&'static str| json::read(line.as_bytes(), &limits, NOW)?.command;
            let mut commands: Vec<_> = JSON.iter().filter_map(read).collect();
            commands.extend(copying(seed).map(Command::Copy));
            Random::new(seed).shuffle(&mut commands);
            let mut bytes = Vec::new();
            wire::encode_batch(&Batch { now: NOW, commands }, &mut bytes);
            bytes
        }
        Target::Queries => olivine_query::fuzzing::sample(seed),
        Target::BlobDoor => pick(blobs::REQUESTS),
        Target::Replies => {
            let mut bytes = Vec::new();
            wire::encode_replies(&replies(seed), &mut bytes);
            bytes
        }
    }
}

fn copying(seed: u64) -> [Copying; 3] {
    let read = Copying::Read { id: NOW, file: seed, offset: seed << 20, bytes: 1 << 20 };
    [Copying::Begin, read, Copying::End { id: NOW, kept: seed.is_multiple_of(2) }]
}

fn replies(seed: u64) -> Vec<olivine_command::Reply> {
    use olivine_command::{Code, Form, Found, Lent, LentFile, Look, Piece, Refusal, Reply};
    let found = |form| Found { form, bytes: b"bytes".to_vec(), revision: seed << 40 };
    let look = Look { form: Form::Json, bytes: 128, expiry: Some(NOW), revision: 1 };
    let files = vec![LentFile { name: "store/catalog".to_owned(), bytes: seed << 30 }];
    let lent = Lent { id: NOW, time: NOW, idle: 300_000, store: u64::MAX, files };
    let mut replies = vec![
        Reply::Lent(lent),
        Reply::Piece(None),
        Reply::Piece(Some(Piece { bytes: b"bytes".to_vec(), hash: seed << 50 })),
        Reply::Done(true),
        Reply::Count(seed),
        Reply::Value(Some(found(Form::Bytes))),
        Reply::Values(vec![None, Some(found(Form::Json))]),
        Reply::Look(Some(look)),
        Reply::Page { entries: vec![(b"k".to_vec(), found(Form::Bytes))], more: true },
        Reply::Numbers(vec![("keys".to_owned(), 7)]),
        Reply::Refused(Refusal::new(Code::Busy, "why")),
    ];
    Random::new(seed).shuffle(&mut replies);
    replies
}
