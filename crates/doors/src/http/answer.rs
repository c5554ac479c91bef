//! Writes what requests come to.

use olivine_command::{Code, Form, Found, Refusal, Reply};

use super::request::Shape;
use crate::{Answer, json};

/// An answer, without its framing.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers, with names in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const LINES: &str = "application/jsonl";

/// What there is to read for programs.
const OPEN_API: &str = include_str!("openapi.json");

impl Response {
    fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    fn with(mut self, name: &'static str, value: String) -> Response {
        self.headers.push((name, value));
        self
    }

    fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }
}

/// The answer to a request. What the node says about itself is its own affair.
pub fn answer(shape: &Shape, filled: Answer) -> Response {
    match (shape, filled) {
        (Shape::Wrong(wrong), _) => problem(wrong.status, wrong.code, &wrong.detail),
        (Shape::OpenApi, _) => Response::new(200, JSON, OPEN_API),
        (_, Answer::Reply(Reply::Refused(refusal))) => refused(&refusal),
        (Shape::Get(known), Answer::Reply(Reply::Value(Some(found)))) => value(found, *known),
        (Shape::Head, Answer::Reply(Reply::Look(Some(look)))) => {
            let mut response = Response::new(200, kind_of(look.form), []);
            response = response.with("content-length", look.bytes.to_string());
            response = response.with("etag", tag(look.revision));
            match look.expiry {
                Some(expiry) => response.with("olivine-expires-at-ms", expiry.to_string()),
                None => response,
            }
        }
        (Shape::Change { .. } | Shape::Returned, Answer::Reply(Reply::Done(true))) => {
            Response::empty(204)
        }
        (Shape::Change { conditional: true }, _) => {
            problem(412, "condition", "what is under the key is not as the request wants it")
        }
        (Shape::Get(_) | Shape::Head | Shape::Change { conditional: false }, _) => absent(),
        (Shape::Page, Answer::Reply(Reply::Page { entries, more })) => {
            let mut body = Vec::new();
            json::entry_lines(&entries, more, &mut body);
            Response::new(200, LINES, body)
        }
        (Shape::Lent, Answer::Reply(Reply::Lent(lent))) => {
            let mut body = Vec::new();
            json::lent_lines(&lent, &mut body);
            Response::new(200, LINES, body)
        }
        (Shape::Piece, Answer::Reply(Reply::Piece(Some(piece)))) => {
            let response = Response::new(200, "application/octet-stream", piece.bytes);
            response.with("olivine-xxh3", format!("{:016x}", piece.hash))
        }
        (Shape::Piece | Shape::Returned, _) => {
            let detail = "there is no such file of a backup under way; a backup ends when nobody reads \
                of it for some time, and when the node ends";
            problem(404, "not_found", detail)
        }
        (Shape::Live | Shape::Ready | Shape::Welcome, _) => Response::new(200, TEXT, "ok\n"),
        (shape, answer) => unreachable!("{shape:?} is not answered by {answer:?}"),
    }
}

/// The answer to lines of the JSON door.
pub fn lines(answers: Vec<u8>) -> Response {
    Response::new(200, LINES, answers)
}

/// An error, for programs and people.
pub fn problem(status: u16, code: &str, detail: &str) -> Response {
    let mut body = Vec::new();
    json::problem(status, reason(status), code, detail, &mut body);
    Response::new(status, "application/problem+json", body)
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        Code::Invalid => 400,
        Code::TooLarge => 413,
        Code::WrongKind => 409,
        Code::Busy | Code::Poisoned | Code::Unavailable => 503,
        Code::Full => 507,
        Code::Damaged | Code::Failed => 500,
        Code::Unknown => 401,
        Code::Forbidden => 403,
        Code::Missing => 404,
    };
    let response = problem(status, refusal.code.name(), &refusal.text);
    if refusal.code.may_pass() { response.with("retry-after", "1".to_owned()) } else { response }
}

/// The answer to somebody who must say who they are, or whom nobody knows.
pub fn unknown(refusal: &Refusal) -> Response {
    match refusal.code {
        Code::Unknown => {
            let response = problem(401, refusal.code.name(), &refusal.text);
            response.with("www-authenticate", "Bearer, Basic realm=\"olivine\"".to_owned())
        }
        Code::Busy => {
            let response = problem(429, refusal.code.name(), &refusal.text);
            response.with("retry-after", "1".to_owned())
        }
        _ => refused(refusal),
    }
}

fn value(found: Found, known: Option<u64>) -> Response {
    if known == Some(found.revision) {
        return Response::empty(304).with("etag", tag(found.revision));
    }
    Response::new(200, kind_of(found.form), found.bytes).with("etag", tag(found.revision))
}

fn absent() -> Response {
    problem(404, "not_found", "there is no such key")
}

fn kind_of(form: Form) -> &'static str {
    match form {
        Form::Bytes => "application/octet-stream",
        Form::Json => JSON,
    }
}

fn tag(revision: u64) -> String {
    format!("\"{revision:016x}\"")
}

/// What a status is called.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    }
}
