//! Writes what requests come to.

use olivine_command::{Answer, Code, Refusal, Rejected, Reply, points::PointReader};

use super::{
    line::lines_numbered,
    objects,
    request::{Query, QueryForm, Write, WriteForm},
    results,
    text::{put_text, write},
};
use crate::http::Response;

/// What clients are told to be spoken: what they look for in a version is there.
const VERSION: &str = concat!("1.8.10-olivine.", env!("CARGO_PKG_VERSION"));
/// Bytes of an error's header.
const HEADER_BYTES_MAX: usize = 1_024;
/// Bytes of a line that an error shows.
const SHOWN_BYTES_MAX: usize = 1_024;
/// Points of which an error says why they were not written.
const REJECTED_MAX: usize = 100;

/// An answer with this body.
pub(super) fn response(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Response {
    let mut response = Response { status, headers: named(), body: body.into() };
    response.headers.push(("content-type", kind.to_owned()));
    response
}

fn named() -> Vec<(&'static str, String)> {
    vec![("x-influxdb-build", "olivine".to_owned()), ("x-influxdb-version", VERSION.to_owned())]
}

/// An error.
pub fn failed(status: u16, text: &str) -> Response {
    let mut body = String::from("{\"error\":");
    put_text(text, &mut body);
    body.push_str("}\n");
    with_error(status, text, body)
}

fn with_error(status: u16, text: &str, body: String) -> Response {
    let mut response = response(status, "application/json", body);
    // A header has one line of ASCII.
    let shown = text.bytes().take(HEADER_BYTES_MAX);
    let shown = shown.map(|byte| if matches!(byte, b' '..=b'~') { byte.into() } else { ' ' });
    response.headers.push(("x-influxdb-error", shown.collect()));
    response
}

/// What the store did not carry out.
pub fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        Code::Missing => 404,
        Code::Invalid => 400,
        Code::TooLarge => 413,
        Code::WrongKind => 409,
        Code::Busy | Code::Poisoned | Code::Unavailable => 503,
        Code::Full => 507,
        Code::Damaged | Code::Failed => 500,
        Code::Unknown => 401,
        Code::Forbidden => 403,
    };
    let mut response = failed(status, &refusal.text);
    if refusal.code.may_pass() {
        response.headers.push(("retry-after", "1".to_owned()));
    }
    response
}

/// The answer to somebody who must say who they are, or whom nobody knows.
pub fn not_known(refusal: &Refusal) -> Response {
    match refusal.code {
        Code::Unknown => {
            let mut response = failed(401, &refusal.text);
            response.headers.push(("www-authenticate", "Basic realm=\"InfluxDB\"".to_owned()));
            response
        }
        Code::Busy => {
            let mut response = failed(429, &refusal.text);
            response.headers.push(("retry-after", "1".to_owned()));
            response
        }
        _ => refused(refusal),
    }
}

/// The answer to a write of this body: what the store replied to each of its commands, up to the first that it
/// refused.
pub fn written(writing: &Write, body: &[u8], replies: Vec<Reply>) -> Response {
    let (mut stored, mut rejected, mut before) = (0, Vec::new(), 0);
    for (reply, (count, _)) in replies.into_iter().zip(&writing.pieces) {
        match reply {
            Reply::Written { stored: more, rejected: others } => {
                stored += more;
                let others = others
                    .into_iter()
                    .map(|other| Rejected { place: other.place.saturating_add(before), ..other });
                rejected.extend(others);
            }
            Reply::Refused(refusal) => return refused(&refusal),
            _ => {}
        }
        before += count;
    }
    if writing.wrong == 0 && rejected.is_empty() {
        return done(writing, stored);
    }
    // The store tells of the first ones why.
    let points: u64 = writing.pieces.iter().map(|(count, _)| count).sum();
    let dropped = points.saturating_sub(stored);
    let lines = wrong_lines(writing, body, &rejected);
    let mut why: Vec<String> = lines.iter().map(WrongLine::said).collect();
    why.dedup();
    let told = lines.len() as u64;
    let rejected_count = if writing.all_or_none { rejected.len() as u64 } else { dropped };
    let untold = (writing.wrong + rejected_count).saturating_sub(told);
    if untold != 0 {
        why.push(format!("and {untold} more lines"));
    }
    let why = why.join("\n");
    let text = if writing.all_or_none {
        format!("nothing was written: {why}")
    } else if writing.pieces.is_empty() {
        why
    } else {
        format!("partial write: {why} dropped={dropped}")
    };
    if writing.form == WriteForm::Third {
        return wrong_as_version_3(writing, &lines, &text);
    }
    let mut body = String::from("{\"error\":");
    put_text(&text, &mut body);
    if writing.form == WriteForm::Second {
        body.push_str(",\"code\":\"invalid\",\"message\":");
        put_text(&text, &mut body);
    }
    write(&mut body, format_args!(",\"refused\":{},\"lines\":[", writing.wrong + dropped));
    for (nth, line) in lines.iter().enumerate() {
        if nth != 0 {
            body.push(',');
        }
        line.put(&mut body);
    }
    body.push_str("]}\n");
    with_error(400, &text, body)
}

/// What version 3 says of lines that are wrong: all that is told of, or the first where nothing is written.
fn wrong_as_version_3(writing: &Write, lines: &[WrongLine], text: &str) -> Response {
    let mut body = String::from("{\"error\":");
    let what = if writing.all_or_none {
        "parsing failed for write_lp endpoint"
    } else {
        "partial write of line protocol occurred"
    };
    put_text(what, &mut body);
    let shown = if writing.all_or_none { &lines[..lines.len().min(1)] } else { lines };
    body.push_str(if writing.all_or_none { ",\"data\":" } else { ",\"data\":[" });
    for (nth, line) in shown.iter().enumerate() {
        body.push_str(if nth == 0 { "" } else { "," });
        body.push_str("{\"original_line\":");
        put_text(&line.text, &mut body);
        write(&mut body, format_args!(",\"line_number\":{},\"error_message\":", line.number));
        put_text(&line.why, &mut body);
        body.push('}');
    }
    body.push_str(match (writing.all_or_none, shown) {
        (true, []) => "null}\n",
        (true, _) => "}\n",
        (false, _) => "]}\n",
    });
    with_error(400, text, body)
}

/// All was written.
fn done(writing: &Write, stored: u64) -> Response {
    if writing.form != WriteForm::Told {
        return Response { status: 204, headers: named(), body: Vec::new() };
    }
    let points = if stored == 1 { "point" } else { "points" };
    response(200, "text/plain; charset=utf-8", format!("{stored} {points} written\n"))
}

/// A line of which the point was not written.
struct WrongLine {
    number: u64,
    column: Option<usize>,
    text: String,
    why: String,
}

impl WrongLine {
    /// What InfluxDB says of it.
    fn said(&self) -> String {
        match self.column {
            Some(_) => format!("unable to parse '{}': {}", self.text, self.why),
            None => self.why.clone(),
        }
    }

    fn put(&self, out: &mut String) {
        write(out, format_args!("{{\"line\":{}", self.number));
        if let Some(column) = self.column {
            write(out, format_args!(",\"column\":{column}"));
        }
        out.push_str(",\"reason\":");
        put_text(&self.why, out);
        out.push_str(",\"text\":");
        put_text(&self.text, out);
        out.push('}');
    }
}

/// The first of the lines of which nothing was written, in their order.
fn wrong_lines(writing: &Write, body: &[u8], rejected: &[Rejected]) -> Vec<WrongLine> {
    let faults = writing.faults.iter().map(|fault| WrongLine {
        number: fault.line,
        column: Some(fault.column),
        text: shown(body.get(fault.place.clone()).unwrap_or_default()),
        why: fault.why.clone().into_owned(),
    });
    let mut lines: Vec<WrongLine> = faults.collect();
    let rejected = &rejected[..rejected.len().min(REJECTED_MAX)];
    let places: Vec<u64> = rejected.iter().map(|rejected| rejected.place).collect();
    let numbers = numbers_of(&writing.pieces, &places);
    let texts = lines_numbered(body, &numbers);
    for ((rejected, number), text) in rejected.iter().zip(numbers).zip(texts) {
        let why = rejected.why.clone();
        lines.push(WrongLine { number, column: None, text: shown(text), why });
    }
    lines.sort_by_key(|line| line.number);
    lines
}

/// The numbers of the lines of these points, which ascend.
fn numbers_of(pieces: &[(u64, Vec<u8>)], places: &[u64]) -> Vec<u64> {
    let (mut numbers, mut place) = (Vec::new(), 0);
    for (_, points) in pieces {
        let mut reader = PointReader::new(points);
        while let (Some(wanted), Ok(Some(point))) = (places.get(numbers.len()), reader.next()) {
            if *wanted == place {
                numbers.push(point.line);
            }
            place += 1;
        }
    }
    numbers.resize(places.len(), u64::MAX);
    numbers
}

/// A line as an error shows it.
fn shown(line: &[u8]) -> String {
    let cut = &line[..line.len().min(SHOWN_BYTES_MAX)];
    let mut shown = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < line.len() {
        shown.push_str("...");
    }
    shown
}

/// The answer to a query of which the text is wrong at a byte.
pub fn not_parsed(query: &Query, why: &str, at: usize) -> Response {
    if !query.relaxed {
        return failed(400, why);
    }
    let mut body = String::from("{\"error\":");
    put_text(why, &mut body);
    write(&mut body, format_args!(",\"position\":{at}}}\n"));
    with_error(400, why, body)
}

/// The answer to who had what was written brought to where it stays.
pub fn settled(reply: Option<&Reply>) -> Response {
    match reply {
        Some(Reply::Refused(refusal)) => refused(refusal),
        _ => Response { status: 204, headers: named(), body: Vec::new() },
    }
}

/// Whether a refusal is one of what was asked, which stands in its place among the results.
fn is_of_statement(code: Code) -> bool {
    matches!(code, Code::Invalid | Code::Missing | Code::TooLarge)
}

/// The answer to a query: what each of its statements came to.
pub fn answered(query: &Query, outcomes: &[Result<Answer, Refusal>]) -> Response {
    // What concerns the node and not the statement.
    let passing = outcomes.iter().find_map(|outcome| {
        outcome.as_ref().err().filter(|refusal| !is_of_statement(refusal.code))
    });
    if let (Some(refusal), 1) = (passing, outcomes.len()) {
        return refused(refusal);
    }
    match query.form {
        QueryForm::Objects => {
            if let Some(refusal) = outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
                return refused(refusal);
            }
            let answers = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
            response(200, "application/json", objects::array(answers))
        }
        QueryForm::Results { epoch, pretty, chunk, csv } => {
            if csv {
                return response(200, "text/csv", results::csv(outcomes));
            }
            let style = results::Style { epoch, pretty };
            response(200, "application/json", results::json(outcomes, style, chunk))
        }
    }
}

/// What the doors say about themselves.
pub(super) mod own {
    use super::{Response, VERSION, named, response};

    pub(in super::super) fn ping(verbose: bool) -> Response {
        if verbose {
            let body = format!("{{\"version\":\"{VERSION}\"}}");
            return response(200, "application/json", body);
        }
        Response { status: 204, headers: named(), body: Vec::new() }
    }

    pub(in super::super) fn health() -> Response {
        let body = format!(
            "{{\"name\":\"olivine\",\"message\":\"ready for queries and writes\",\"status\":\"pass\",\
             \"checks\":[],\"version\":\"{VERSION}\"}}\n"
        );
        response(200, "application/json", body)
    }

    pub(in super::super) fn welcome() -> Response {
        let text = "Olivine, time series. POST lines to /write?db=NAME or to /, queries go to /query?db=NAME&q=...\n";
        response(200, "text/plain; charset=utf-8", text)
    }
}
