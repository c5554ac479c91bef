//! As much of HTTP/1.1 as a client of blobs needs: connections that stay open, redirects, bodies of known length.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest body that is read.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    location: Option<String>,
    closes: bool,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn of(status: u16, body: Vec<u8>) -> Answer {
        Answer { status, body, location: None, closes: false }
    }
}

/// Connections, by `host:port`.
#[derive(Default)]
pub(super) struct Wire {
    connections: BTreeMap<String, BufReader<TcpStream>>,
}

impl Wire {
    /// Asks `master`, and follows where it is sent.
    pub(super) fn ask(
        &mut self,
        method: &str,
        master: u16,
        target: &str,
        body: &[u8],
    ) -> Result<Answer, String> {
        let answer = self.ask_one(method, &format!("127.0.0.1:{master}"), target, body)?;
        let is_redirect = matches!(answer.status, 302 | 307);
        let Some(location) = answer.location.filter(|_| is_redirect) else {
            return Ok(Answer { location: None, ..answer });
        };
        let rest = location.strip_prefix("http://").ok_or("a redirect to no http:// address")?;
        let (to, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        self.ask_one(method, to, target, body)
    }

    fn ask_one(
        &mut self,
        method: &str,
        to: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Answer, String> {
        let outcome = self.exchange(method, to, target, body);
        // Whatever else is under way on a connection that failed belongs to nobody.
        if outcome.as_ref().map_or(true, |answer| answer.closes) {
            self.connections.remove(to);
        }
        outcome
    }

    fn exchange(
        &mut self,
        method: &str,
        to: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Answer, String> {
        if !self.connections.contains_key(to) {
            let stream = TcpStream::connect(to).map_err(told)?;
            stream.set_nodelay(true).map_err(told)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(told)?;
            self.connections.insert(to.to_owned(), BufReader::new(stream));
        }
        let Some(stream) = self.connections.get_mut(to) else { return Err("no connection".into()) };
        let length = body.len();
        // Who is sent elsewhere brings the body there, as curl does.
        let waits = 1 << 10 < length;
        let expect = if waits { "expect: 100-continue\r\n" } else { "" };
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {to}\r\ncontent-length: {length}\r\n{expect}\r\n"
        )
        .into_bytes();
        if !waits {
            request.extend_from_slice(body);
        }
        stream.get_mut().write_all(&request).map_err(told)?;
        let mut answer = read_head(stream)?;
        if waits {
            if answer.0.status == 100 {
                stream.get_mut().write_all(body).map_err(told)?;
                answer = read_head(stream)?;
            } else {
                answer.0.closes = true;
            }
        }
        let (mut answer, length) = answer;
        if BODY_BYTES_MAX < length {
            return Err(format!("an answer of {length} bytes"));
        }
        if method != "HEAD" {
            let read = stream.take(length).read_to_end(&mut answer.body).map_err(told)?;
            if (read as u64) < length {
                return Err("the connection ended within an answer".to_owned());
            }
        }
        Ok(answer)
    }
}

/// The head of an answer, and how long its body is.
fn read_head(stream: &mut BufReader<TcpStream>) -> Result<(Answer, u64), String> {
    let mut answer = Answer { status: 0, body: Vec::new(), location: None, closes: false };
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).map_err(told)? == 0 {
            return Err("the connection was closed".to_owned());
        }
        let text = line.trim_end();
        if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
            answer.status = rest.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0);
        } else if let Some((name, value)) = text.split_once(':') {
            let value = value.trim();
            match &name.to_ascii_lowercase()[..] {
                "content-length" => length = value.parse().map_err(|_| "no length".to_owned())?,
                "location" => answer.location = Some(value.to_owned()),
                "connection" => answer.closes = value.eq_ignore_ascii_case("close"),
                "transfer-encoding" => return Err("an answer in chunks".to_owned()),
                _ => {}
            }
        } else if text.is_empty() {
            return Ok((answer, length));
        }
    }
}

fn told(error: std::io::Error) -> String {
    error.to_string()
}
