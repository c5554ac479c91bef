//! The doors of time series over a socket.
//!
//! 1. Who sends a request is known before its body is read.
//! 2. A packed body is unpacked no further than the limit of bodies.
//! 3. Statements are carried out one after the other; behind one that fails, none is.

use std::{
    io::{self, Read as _},
    net::IpAddr,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Request,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, ORIGIN},
};
use olivine_command::{Answer, Code, Command, Refusal, Reply};
use olivine_doors::{
    http::{Response, check_stranger},
    influx::{self as door, Head, Query, Taking, Way},
};

use crate::{
    http::{header, replied},
    patience::Wait,
    session::{Session, away},
    settings::Door,
    slow::Watch,
    statements,
    worker::Served,
};

/// Answers one request.
pub(crate) async fn respond(
    served: &Served,
    at: Door,
    way: Way,
    address: IpAddr,
    request: Request<Incoming>,
) -> Response {
    let shared = &served.shared;
    served.tally().requests.add(1);
    let (parts, body) = request.into_parts();
    let header = |name| header(&parts.headers, name);
    let fetch_site = header(HeaderName::from_static("sec-fetch-site"));
    if let Some(refused) = check_stranger(&shared.hosts, header(HOST), header(ORIGIN), fetch_site) {
        return refused;
    }
    served.router.settle().await;
    let now = shared.time.now();
    let mut session = Session::new(address);
    let query = parts.uri.query().unwrap_or_default();
    if !door::is_open_to_all(parts.uri.path())
        && let Err(refused) = log_in(served, &mut session, now, header(AUTHORIZATION), query).await
    {
        return refused;
    }
    let body = match collected(served, at, body, header(CONTENT_ENCODING)).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let head = Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query,
        content_type: header(CONTENT_TYPE),
        accept: header(ACCEPT),
    };
    let taking = Taking {
        now: i64::try_from(shared.time.clock().wall().as_nanos()).unwrap_or(i64::MAX),
        line_bytes_max: shared.limits.line_bytes_max,
        makes_databases: !shared.requires_databases,
    };
    let mut watch = Watch::start(shared.time.clock());
    match door::read(way, &head, &body, &taking) {
        door::Request::Own(response) => response,
        door::Request::Write(writing) => {
            let commands = writing.commands();
            let replies = carried_out(served, at, &mut session, now, &commands, &mut watch).await;
            door::written(&writing, replies)
        }
        door::Request::Settle => {
            let commands = [Command::Settle];
            let replies = carried_out(served, at, &mut session, now, &commands, &mut watch).await;
            door::settled(replies.first())
        }
        door::Request::Query(query) => {
            answered(served, at, &mut session, now, &query, &mut watch).await
        }
    }
}

/// Finds out who sends a request, before any more of it is read.
async fn log_in(
    served: &Served,
    session: &mut Session,
    now: u64,
    authorization: Option<&str>,
    query: &str,
) -> Result<(), Response> {
    if !served.asks_who() {
        return Ok(());
    }
    if served.router.access_known_last().is_none() {
        // Whether there are users is not known yet: that is no reason to ask for one.
        return Err(door::not_known(&away()));
    }
    let login = door::credentials(authorization, query)
        .map_err(|what| door::not_known(&Refusal::new(Code::Unknown, what)))?;
    let Some(login) = login else {
        let text = "unable to parse authentication credentials";
        return Err(door::not_known(&Refusal::new(Code::Unknown, text)));
    };
    served.log_in(session, now, &login).await.map_err(|refusal| door::not_known(&refusal))
}

/// Carries commands out one by one, up to the first that is refused.
async fn carried_out(
    served: &Served,
    at: Door,
    session: &mut Session,
    now: u64,
    commands: &[Command<'_>],
    watch: &mut Watch<'_>,
) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let command = std::slice::from_ref(command);
        replies.extend(replied(served, at, session, now, command, watch).await);
        if let Some(Reply::Refused(_)) = replies.last() {
            break;
        }
    }
    replies
}

/// Answers the statements of a query.
async fn answered(
    served: &Served,
    at: Door,
    session: &mut Session,
    now: u64,
    query: &Query,
    watch: &mut Watch<'_>,
) -> Response {
    let commands = match statements::commands(query, &served.shared.queries) {
        Ok(commands) => commands,
        Err(error) => {
            return door::not_parsed(query, &error.to_string(), error.offset);
        }
    };
    let changes = commands.iter().any(|command| matches!(command, Command::Alter { .. }));
    if changes && !query.may_change {
        return door::failed(405, "a query that changes something takes a POST request");
    }
    let replies = carried_out(served, at, session, now, &commands, watch).await;
    let mut outcomes: Vec<Result<Answer, Refusal>> = Vec::with_capacity(commands.len());
    for reply in replies {
        outcomes.push(match reply {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::new(Code::Failed, "the store answered something else")),
        });
    }
    // As InfluxDB has it.
    let rest = commands.len() - outcomes.len();
    outcomes.extend((0..rest).map(|_| Err(Refusal::new(Code::Invalid, "not executed"))));
    door::answered(query, &outcomes)
}

/// The whole body, unpacked, or why it is not taken.
async fn collected(
    served: &Served,
    at: Door,
    body: Incoming,
    encoding: Option<&str>,
) -> Result<Bytes, Response> {
    let most = served.shared.limits.points_bytes_max;
    let patience = &served.shared.patience;
    let collecting = Limited::new(body, most).collect();
    let collecting = tokio::time::timeout(patience.of(Wait::Body), collecting);
    let body = match collecting.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large(most)),
        Ok(Err(error)) => {
            return Err(door::failed(400, &format!("the body did not arrive: {error}")));
        }
        Err(_) => {
            served.shared.late(at.name(), Wait::Body);
            return Err(door::failed(408, &patience.over(Wait::Body)));
        }
    };
    match encoding.map(str::trim) {
        None | Some("") => Ok(body),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(body),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => {
            let unpacked = unpacked(&body, most);
            let unpacked = unpacked
                .map_err(|error| door::failed(400, &format!("the body is no gzip: {error}")))?;
            if most < unpacked.len() { Err(too_large(most)) } else { Ok(unpacked.into()) }
        }
        Some(encoding) => {
            let encoding: String = encoding.chars().take(64).collect();
            let text =
                format!("bodies are taken as they are or with gzip, and not with `{encoding}`");
            Err(door::failed(415, &text))
        }
    }
}

/// What was packed, up to one byte more than it may be.
fn unpacked(body: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let limited = flate2::read::MultiGzDecoder::new(body).take(most as u64 + 1);
    { limited }.read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn too_large(most: usize) -> Response {
    let text = format!("Request Entity Too Large: `points-bytes-max` is {most}");
    door::failed(413, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn bodies_are_unpacked_no_further_than_they_may() {
        let packed = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        let two = [packed(b"m x=1\n"), packed(b"m x=2\n")].concat();
        assert_eq!(unpacked(&two, 100).unwrap(), b"m x=1\nm x=2\n");
        let bomb = packed(&vec![b'a'; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(unpacked(&bomb, 1_000).unwrap().len(), 1_001);
        for cut in 0..two.len() / 2 {
            assert!(unpacked(&two[..cut], 100).is_err() || cut == 0, "{cut}");
        }
        assert!(unpacked(b"m x=1", 100).is_err());
    }
}
