//! Where points of an import go: batches of lines to a server, several of them under way.
//!
//! 1. Batches are sent and answered in the order of the input, over one connection: of two points of one series and
//!    time the one that stands later counts.
//! 2. Memory is a few batches. What was sent is kept until it is answered; a connection that is lost, or a server that
//!    is busy, has it all sent again, in the same order: writing a point twice changes nothing.
//! 3. A line that is refused is told with its file, number and reason, and costs no other line.
//! 4. It is known at any time from which line to go on.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use olivine_vfs::{Clock as _, RealClock};

use crate::{
    ending::{Ending, Failure},
    http_client::{Client, Response, Server},
    json::Json,
};

/// Batches that are under way before the first of them is answered.
const AHEAD_MAX: usize = 3;
/// Bytes of a batch.
const BATCH_BYTES_MAX: usize = 2 << 20;
/// Bytes of an answer that tells what is wrong.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How often what is under way is sent again before any more of it was answered, and how long is waited at first.
const TRIES_MAX: u32 = 5;
const WAIT_FIRST: Duration = Duration::from_millis(250);
/// Lines of which is told why they were refused.
pub(crate) const TOLD_MAX: usize = 10;

/// A line of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) line: u64,
}

/// What came of an import.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Points that are written.
    pub(crate) written: u64,
    /// Lines, or samples, that are not.
    pub(crate) refused: u64,
    /// The first of them.
    pub(crate) told: Vec<(Place, String)>,
    /// Samples without a number.
    pub(crate) left_out: u64,
    /// Everything before it is written or told.
    pub(crate) next: Place,
}

impl Outcome {
    fn refuse(&mut self, place: Place, why: String) {
        self.refused += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push((place, why));
        }
    }
}

/// What is sent to a server, and kept until it is answered.
#[derive(Debug, Default)]
struct Request {
    target: String,
    body: Vec<u8>,
    /// Where each of its points begins: the line in the body, and that of the input.
    places: Vec<(u64, u64)>,
    /// Lines in the body.
    lines: u64,
    file: usize,
    /// The line of a statement that it is.
    statement: Option<u64>,
    /// Where to go on when it is answered.
    next: Place,
}

impl Request {
    /// The line of the input that stands in the body as this one.
    fn place(&self, line: u64) -> Place {
        let at = self.places.partition_point(|(begins, _)| *begins <= line);
        let known = at.checked_sub(1).and_then(|at| self.places.get(at));
        let line = known.map_or(line, |(begins, input)| input + (line - begins));
        Place { file: self.file, line }
    }
}

/// How points are sent.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) server: Server,
    /// Whatever the input says.
    pub(crate) database: Option<String>,
    pub(crate) policy: Option<String>,
    /// The unit of times in lines that are passed on as they are.
    pub(crate) precision: String,
    pub(crate) batch_lines_max: u64,
    /// Lines of the first file that are passed over.
    pub(crate) from_line: u64,
}

/// Where points go.
pub(crate) struct Sink<'a> {
    sending: &'a Sending,
    client: Option<Client>,
    /// What is under way.
    sent: VecDeque<Request>,
    batch: Request,
    /// The unit of times in the lines to come.
    precision: String,
    database: String,
    policy: String,
    at: Place,
    clock: RealClock,
    /// The server takes no more.
    is_over: bool,
    pub(crate) outcome: Outcome,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(sending: &'a Sending) -> Result<Sink<'a>, Failure> {
        let client = sending.server.connect()?;
        Ok(Sink { client: Some(client), ..Sink::apart(sending) })
    }

    /// One that has not connected.
    fn apart(sending: &'a Sending) -> Sink<'a> {
        let start = Place { file: 0, line: sending.from_line };
        let mut sink = Sink {
            sending,
            client: None,
            sent: VecDeque::new(),
            batch: Request::default(),
            precision: String::new(),
            database: sending.database.clone().unwrap_or_default(),
            policy: sending.policy.clone().unwrap_or_default(),
            at: start,
            clock: RealClock::new(),
            is_over: false,
            outcome: Outcome::default(),
        };
        sink.outcome.next = start;
        sink
    }

    /// One that keeps what it is given, for tests of who gives it.
    #[cfg(test)]
    pub(crate) fn for_tests(sending: &'a Sending) -> Sink<'a> {
        Sink::apart(sending)
    }

    /// What waits to be sent, and how many points that is.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (&[u8], u64) {
        (&self.batch.body, self.batch.places.len() as u64)
    }

    /// Begins another input, of which lines are passed on as they are, or made here with times in nanoseconds.
    pub(crate) fn begin(&mut self, file: usize, is_passed_on: bool) -> Result<(), Failure> {
        self.send_batch()?;
        let line = if file == 0 { self.sending.from_line } else { 1 };
        self.at = Place { file, line };
        self.precision =
            if is_passed_on { self.sending.precision.clone() } else { "ns".to_owned() };
        self.database = self.sending.database.clone().unwrap_or_default();
        self.policy = self.sending.policy.clone().unwrap_or_default();
        Ok(())
    }

    /// All lines of the input before this one have been handed over.
    pub(crate) fn passed(&mut self, line: u64) {
        self.at.line = self.at.line.max(line);
    }

    fn is_skipped(&self, line: u64) -> bool {
        self.at.file == 0 && line < self.sending.from_line
    }

    /// The input names where points belong, where the call does not.
    pub(crate) fn context(
        &mut self,
        database: Option<&str>,
        policy: Option<&str>,
    ) -> Result<(), Failure> {
        self.send_batch()?;
        if let (Some(database), None) = (database, &self.sending.database) {
            database.clone_into(&mut self.database);
            self.policy = self.sending.policy.clone().unwrap_or_default();
        }
        if let (Some(policy), None, None) = (policy, &self.sending.policy, &self.sending.database) {
            policy.clone_into(&mut self.policy);
        }
        Ok(())
    }

    /// Takes a point, as a line.
    pub(crate) fn line(&mut self, number: u64, line: &[u8]) -> Result<(), Failure> {
        if self.is_skipped(number) {
            return Ok(());
        }
        if self.database.is_empty() {
            let what = "the input names no database before its first point; `--database` says where points belong";
            return Err(Failure::misused(what));
        }
        let batch = &mut self.batch;
        batch.places.push((batch.lines + 1, number));
        batch.lines += 1;
        if line.contains(&b'"') {
            batch.lines += line.split(|byte| *byte == b'\n').skip(1).count() as u64;
        }
        batch.body.extend_from_slice(line);
        batch.body.push(b'\n');
        let is_full = self.sending.batch_lines_max <= batch.places.len() as u64;
        if is_full || BATCH_BYTES_MAX <= batch.body.len() {
            self.send_batch()?;
        }
        Ok(())
    }

    /// Notes that a line is refused here.
    pub(crate) fn refuse(&mut self, number: u64, why: String) {
        if !self.is_skipped(number) {
            self.outcome.refuse(Place { line: number, ..self.at }, why);
        }
    }

    /// Notes that a sample has no number.
    pub(crate) fn leave_out(&mut self) {
        self.outcome.left_out += 1;
    }

    /// Has a statement carried out that makes something, unless the call says where everything belongs.
    pub(crate) fn statement(&mut self, number: u64, text: &str) -> Result<(), Failure> {
        if self.is_skipped(number) || self.sending.database.is_some() {
            return Ok(());
        }
        self.send_batch()?;
        let mut target = String::from("/query?q=");
        put_escaped(text, &mut target);
        let request = Request {
            target,
            statement: Some(number),
            file: self.at.file,
            next: self.at,
            ..Request::default()
        };
        self.send(request)
    }

    /// Sends what waits.
    fn send_batch(&mut self) -> Result<(), Failure> {
        if self.batch.places.is_empty() {
            return Ok(());
        }
        let mut target = String::from("/write?db=");
        put_escaped(&self.database, &mut target);
        if !self.policy.is_empty() {
            target.push_str("&rp=");
            put_escaped(&self.policy, &mut target);
        }
        target.push_str("&precision=");
        put_escaped(&self.precision, &mut target);
        let empty =
            Request { body: Vec::with_capacity(self.batch.body.len()), ..Request::default() };
        let batch = std::mem::replace(&mut self.batch, empty);
        self.send(Request { target, file: self.at.file, next: self.at, ..batch })
    }

    /// Sends what waits, and has everything answered that is under way; nothing, if the server takes no more.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if self.is_over {
            return Ok(());
        }
        self.send_batch()?;
        while !self.sent.is_empty() {
            self.settle()?;
        }
        self.outcome.next = self.at;
        Ok(())
    }

    fn send(&mut self, request: Request) -> Result<(), Failure> {
        while AHEAD_MAX <= self.sent.len() {
            self.settle()?;
        }
        let sent = match &mut self.client {
            Some(client) => client.send_with("POST", &request.target, &request.body),
            None => Ok(()),
        };
        self.sent.push_back(request);
        // What could not be sent is sent again when its answer is wanted, which does not come.
        if sent.is_err() {
            self.client = None;
        }
        Ok(())
    }

    /// Has the oldest request answered that is under way.
    fn settle(&mut self) -> Result<(), Failure> {
        let settled = self.settle_patiently();
        self.is_over |= settled.is_err();
        settled
    }

    fn settle_patiently(&mut self) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let answered = self.answer();
            let failure = match answered {
                Ok(Answer::Taken(taken)) => {
                    if let Some(request) = self.sent.pop_front() {
                        self.take(&request, taken);
                    }
                    return Ok(());
                }
                Ok(Answer::Busy(failure)) => failure,
                Err(failure) if failure.ending() == Ending::Unreachable => failure,
                Err(failure) => return Err(failure),
            };
            self.client = None;
            tries += 1;
            if TRIES_MAX < tries {
                return Err(failure);
            }
            self.clock.sleep(WAIT_FIRST * 2_u32.pow(tries - 1));
        }
    }

    /// The answer to the oldest request that is under way.
    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.sent_again()?,
        };
        let response = client.receive(ANSWER_BYTES_MAX)?;
        let is_statement = self.sent.front().is_some_and(|request| request.statement.is_some());
        let answer = Answer::of(&response, is_statement)?;
        if let Answer::Busy(_) = answer {
            // The others must not come before the one that is sent again.
            for _ in 1..self.sent.len() {
                client.receive(ANSWER_BYTES_MAX)?;
            }
        }
        self.client = Some(client);
        Ok(answer)
    }

    /// A new connection, with all that is under way sent again.
    fn sent_again(&self) -> Result<Client, Failure> {
        let mut client = self.sending.server.connect()?;
        for request in &self.sent {
            client.send_with("POST", &request.target, &request.body)?;
        }
        Ok(client)
    }

    /// Notes what a request came to.
    fn take(&mut self, request: &Request, taken: Taken) {
        let outcome = &mut self.outcome;
        outcome.next = request.next;
        if let Some(line) = request.statement {
            if let Some((_, why)) = taken.told.into_iter().next() {
                outcome.refuse(Place { file: request.file, line }, why);
            }
            return;
        }
        let told = taken.told.len() as u64;
        let refused = taken.refused.max(told).min(request.places.len() as u64);
        for (line, why) in taken.told {
            outcome.refuse(request.place(line), why);
        }
        outcome.refused += refused.saturating_sub(told);
        outcome.written += request.places.len() as u64 - refused;
    }
}

/// What a server answers.
enum Answer {
    /// It has done what it does.
    Taken(Taken),
    /// It may do so later.
    Busy(Failure),
}

/// What a server took.
#[derive(Debug, Default)]
struct Taken {
    /// Lines that it refused.
    refused: u64,
    /// Some of them, with the reasons.
    told: Vec<(u64, String)>,
}

impl Answer {
    fn of(response: &Response, is_statement: bool) -> Result<Answer, Failure> {
        let failed = |what: String| Failure::new(Ending::Failed, what);
        let text = str::from_utf8(&response.body).unwrap_or_default();
        match response.status {
            200 | 204 if !is_statement => Ok(Answer::Taken(Taken::default())),
            200 => {
                let why = error_within(text).map(|why| (0, why));
                Ok(Answer::Taken(Taken { refused: 0, told: why.into_iter().collect() }))
            }
            400 if is_statement => {
                let told = vec![(0, response.problem())];
                Ok(Answer::Taken(Taken { refused: 0, told }))
            }
            400 => match Taken::read(text) {
                Some(taken) => Ok(Answer::Taken(taken)),
                None => {
                    Err(failed(format!("the server refuses the points: {}", response.problem())))
                }
            },
            429 | 503 => {
                Ok(Answer::Busy(failed(format!("the server is busy: {}", response.problem()))))
            }
            401 | 403 => {
                let text = response.problem();
                Err(failed(format!(
                    "the server does not let these points in: {text}; `--token-file` says who asks"
                )))
            }
            status => {
                let text = response.problem();
                Err(failed(format!(
                    "the server does not take the points (status {status}): {text}"
                )))
            }
        }
    }
}

impl Taken {
    /// Reads what the server says of lines that it refused; nothing if it refused more than lines.
    fn read(text: &str) -> Option<Taken> {
        let Ok(Json::Object(members)) = Json::parse(text) else { return None };
        let member =
            |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let number = |value: &Json| match value {
            Json::Number(number) => number.parse::<u64>().ok(),
            _ => None,
        };
        let Some(Json::List(lines)) = member("lines") else { return None };
        let mut told = Vec::new();
        for line in lines {
            let Json::Object(line) = line else { continue };
            let of =
                |name: &str| line.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            let (Some(number), Some(Json::Text(why))) = (of("line").and_then(number), of("reason"))
            else {
                continue;
            };
            told.push((number, why.clone()));
        }
        let refused = member("refused").and_then(number).unwrap_or(told.len() as u64);
        Some(Taken { refused, told })
    }
}

/// The error of a statement, in an answer that is well otherwise.
fn error_within(text: &str) -> Option<String> {
    let Ok(Json::Object(members)) = Json::parse(text) else { return None };
    let results = members.into_iter().find(|(name, _)| name == "results");
    let Some((_, Json::List(results))) = results else { return None };
    results.into_iter().find_map(|result| match result {
        Json::Object(members) => members.into_iter().find_map(|member| match member {
            (name, Json::Text(text)) if name == "error" => Some(text),
            _ => None,
        }),
        _ => None,
    })
}

/// Adds a text as a parameter has it.
fn put_escaped(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_body_are_those_of_the_input() {
        let places = vec![(1, 10), (2, 11), (5, 20)];
        let request = Request { places, file: 1, ..Request::default() };
        let line = |line| request.place(line).line;
        assert_eq!([1, 2, 3, 5, 6].map(line), [10, 11, 12, 20, 21]);
        assert_eq!(request.place(1).file, 1);
    }

    #[test]
    fn what_a_server_refused_is_read() {
        let text = r#"{"error":"partial write: x dropped=2","refused":3,"lines":[{"line":2,"column":5,"reason":"why","text":"m"}]}"#;
        let taken = Taken::read(text).unwrap();
        assert_eq!((taken.refused, taken.told), (3, vec![(2, "why".to_owned())]));
        assert!(Taken::read(r#"{"error":"database is required"}"#).is_none());
        let said = error_within(r#"{"results":[{"statement_id":0,"error":"no"}]}"#);
        assert_eq!(said.as_deref(), Some("no"));
        assert_eq!(error_within(r#"{"results":[{"statement_id":0}]}"#), None);
    }

    #[test]
    fn parameters_are_escaped() {
        let mut out = String::new();
        put_escaped("a b&\u{e4}~", &mut out);
        assert_eq!(out, "a%20b%26%C3%A4~");
    }
}
