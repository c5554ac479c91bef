//! The requests that the doors take, as errors name them and documents list them.
//!
//! 1. What a door understands is in its table, and what is in its table is understood (`tests` below look).

/// A request that a door takes.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// How it is asked: a word, a line, a method and a path.
    pub asked: &'static str,
    /// What goes with it, as the document says it.
    pub with: &'static str,
    /// What comes of it, as the document says it.
    pub answer: &'static str,
}

const fn row(asked: &'static str, with: &'static str, answer: &'static str) -> Taken {
    Taken { asked, with, answer }
}

/// Commands of JSON lines.
pub const JSON: [Taken; 13] = [
    row(
        "put",
        "`key`, `value`; `ttl_ms` or `expires_at_ms`; `if_absent`, `if_present` or `if_revision`",
        "`\"message\":\"Key-value pair stored\"`",
    ),
    row("get", "`key`; `revision`", "`\"value\"`, and `\"revision\"` if it was asked for"),
    row(
        "delete",
        "`key`; a condition as of `put`",
        "`\"message\":\"Key deleted\"`, whether or not it was there",
    ),
    row(
        "get_range",
        "`start_key`, `end_key`, which both belong to the range",
        "`\"data\"`: a list of `[key, value]`, in the order of keys",
    ),
    row(
        "batch_put",
        "`keys`, `values`; a time as of `put`",
        "`\"message\":\"N key-value pairs stored\"`; all are, or none",
    ),
    row("batch_get", "`keys`", "`\"values\"`, in that order, `null` for keys that are not there"),
    row(
        "batch_delete",
        "`keys`",
        "`\"message\":\"N keys deleted\"`, counting those that were there",
    ),
    row(
        "scan",
        "`start_key`, `end_key`, or `prefix`; `after`; `limit` (100); `reverse`",
        "`\"data\"` as of `get_range`, and `\"next\"`",
    ),
    row(
        "info",
        "`key`",
        "`\"type\"` (`string` or `json`), `\"bytes\"`, `\"expires_at_ms\"` (a number or `null`), `\"revision\"`",
    ),
    row(
        "expire",
        "`key`; `ttl_ms` or `expires_at_ms`, or neither: for ever",
        "`\"message\":\"Expiry changed\"`",
    ),
    row(
        "auth",
        "`user` and `password`, or `token`",
        "`\"message\":\"Authenticated\"`; holds for what comes behind it on the connection",
    ),
    row("ping", "", "`\"message\":\"pong\"`"),
    row("stats", "", "`\"data\"`: numbers by name, those without labels"),
];

/// Lines of the line door.
pub const LINE: [Taken; 6] = [
    row(
        "PUT key value",
        "",
        "`OK`. The value is the rest of the line behind one blank; it may be empty, and have blanks",
    ),
    row("GET key", "", "`OK value`, or `NOT_FOUND`"),
    row("DELETE key", "", "`OK`, or `NOT_FOUND`"),
    row(
        "AUTH user password",
        "",
        "`OK`; holds for what comes behind it on the connection. The password is the rest of the line",
    ),
    row("AUTH token", "", "the same, for a program"),
    row("PING", "", "`OK PONG`"),
];

/// Requests of the HTTP door.
pub const HTTP: [Taken; 16] = [
    row(
        "GET /kv/{key}",
        "",
        "the value, with its revision as `ETag`; 304 where `If-None-Match` names it, 404 where there is none",
    ),
    row("HEAD /kv/{key}", "", "its length, `ETag`, and `Olivine-Expires-At-Ms` where it expires"),
    row(
        "PUT /kv/{key}",
        "",
        "stores the body: 204. `?ttl_ms=` or `?expires_at_ms=` says how long it stays",
    ),
    row("DELETE /kv/{key}", "", "204, or 404"),
    row(
        "GET /kv",
        "",
        "entries as lines of JSON, in the order of keys: `prefix`, or `start` and `end`, both belonging to the range; `after`, `limit` (1,000), `reverse`",
    ),
    row(
        "POST /kv",
        "",
        "[requests of JSON lines](json.md) in the body, carried out in order; an answer a line",
    ),
    row(
        "POST /backup",
        "",
        "begins a copy of everything, of this moment: a line that names it and a line for each file",
    ),
    row("GET /backup/{id}/{file}", "", "at most 1 MiB of a file, from `?offset=` on"),
    row(
        "DELETE /backup/{id}",
        "",
        "ends it: 204, or 404. `?kept=true` says that it has become a backup",
    ),
    row("GET /livez", "", "whether the process lives"),
    row("GET /readyz", "", "whether the node can be used"),
    row("GET /health", "", "the same"),
    row(
        "GET /metrics",
        "",
        "[numbers for Prometheus](../operating.md#metrics); every one is there from the start",
    ),
    row(
        "GET /slow",
        "",
        "the last [requests that took long](../operating.md#slow-requests), a line of JSON each, the newest first",
    ),
    row("GET /openapi.json", "", "the document for programs"),
    row("GET /", "", "what there is, for people who look"),
];

/// What tables ask, one behind the other.
pub(crate) fn listed(table: &[Taken]) -> String {
    let asked: Vec<&str> = table.iter().map(|taken| taken.asked).collect();
    asked.join(", ")
}

/// The paths of the HTTP door, each once.
pub(crate) fn paths() -> String {
    let mut paths: Vec<&str> = Vec::new();
    for taken in HTTP {
        let path = taken.asked.split_once(' ').map_or(taken.asked, |(_, path)| path);
        if path != "/" && !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::{self, Head, Shape},
        json,
        limits::Limits,
        line,
    };

    #[test]
    fn json_commands_of_the_table_are_those_there_are() {
        let limits = Limits::default();
        let unknown = |name: &str| {
            let line = format!("{{\"command\":\"{name}\"}}");
            let request = json::read(line.as_bytes(), &limits, 0).unwrap();
            matches!(&request.shape.act, json::Act::Wrong { code: "unknown_command", .. })
        };
        for Taken { asked, with, .. } in JSON {
            assert!(!unknown(asked), "{asked}");
            // Members that the document speaks of are known.
            let names = with.split('`').skip(1).step_by(2).filter(|name| *name != "put");
            for member in names {
                let line = format!("{{\"command\":\"{asked}\",\"{member}\":null}}");
                let request = json::read(line.as_bytes(), &limits, 0).unwrap();
                if let json::Act::Wrong { message, .. } = &request.shape.act {
                    assert!(!message.starts_with("Unknown field"), "{asked} {member}: {message}");
                }
            }
        }
        assert!(unknown("nothing"));
    }

    #[test]
    fn lines_of_the_table_are_understood() {
        for Taken { asked, .. } in LINE {
            let request = line::read(asked.as_bytes(), &Limits::default()).unwrap();
            assert!(!matches!(request.shape, line::Shape::Wrong(_)), "{asked}");
        }
    }

    #[test]
    fn requests_of_the_table_have_their_method() {
        let (limits, mut methods) = (Limits::default(), 0);
        for path in paths().split(", ").chain(["/"]) {
            let asked = path.replace("{key}", "a").replace("{id}", "1").replace("{file}", "0");
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
                let head = Head { method, path: &asked, ..Head::default() };
                let refused = match http::read(&head, b"", &limits, 0) {
                    http::Request::Own(Shape::Wrong(wrong)) => wrong.status == 405,
                    _ => false,
                };
                let row = format!("{method} {path}");
                let listed = HTTP.iter().any(|taken| taken.asked == row);
                // Whatever has GET answers HEAD.
                let as_get = method == "HEAD" && !path.starts_with("/kv");
                assert!(as_get || listed != refused, "{row}");
                methods += usize::from(listed);
            }
        }
        assert_eq!(methods, HTTP.len());
    }
}
