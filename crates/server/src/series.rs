//! The doors of time series over a socket.
//!
//! 1. Who sends a request is known before its body is read.
//! 2. A packed body is unpacked no further than the limit of bodies.
//! 3. What is large is unpacked and read on a thread that serves nobody.
//! 4. Statements are carried out one after the other; behind one that fails, none is.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Request,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, ORIGIN},
    http::request::Parts,
};
use olivine_command::{Answer, Code, Command, Refusal, Reply};
use olivine_doors::{
    http::{Response, check_stranger},
    influx::{self as door, Head, Query, Taking, Way},
};

use crate::{
    bulk::{BULK_BYTES_MIN, Kept, NotUnpacked, unpacked},
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
    let come = match collected(served, at, body).await {
        Ok(come) => come,
        Err(refused) => return refused,
    };
    let taking = Taking {
        now: i64::try_from(shared.time.clock().wall().as_nanos()).unwrap_or(i64::MAX),
        line_bytes_max: shared.limits.line_bytes_max,
        makes_databases: !shared.requires_databases,
    };
    let most = shared.limits.points_bytes_max;
    let mut watch = Watch::start(shared.time.clock());
    let is_large = come.is_large(header(CONTENT_ENCODING).is_some());
    let read = move || read(way, &parts, come, &taking, most);
    let (request, body, kept) = if is_large {
        match shared
            .bulk
            .turn(usize::MAX, read)
            .await
            .unwrap_or_else(|refusal| Err(door::refused(&refusal)))
        {
            Ok(read) => read,
            Err(refused) => return refused,
        }
    } else {
        match read() {
            Ok(read) => read,
            Err(refused) => return refused,
        }
    };
    match request {
        door::Request::Own(response) => response,
        door::Request::Write(writing) => {
            let commands = writing.commands();
            let replies = carried_out(served, at, &mut session, now, &commands, &mut watch).await;
            drop(commands);
            let written = move || {
                let _kept = kept;
                door::written(&writing, &body, replies)
            };
            if !is_large {
                return written();
            }
            // It may have to be read again, and takes a while to be let go of.
            let written = shared.bulk.turn(usize::MAX, written).await;
            written.unwrap_or_else(|refusal| door::refused(&refusal))
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

/// Makes of a request what it asks; what of memory it takes is kept count of by the last.
fn read(
    way: Way,
    parts: &Parts,
    come: Come,
    taking: &Taking,
    bytes_max: usize,
) -> Result<(door::Request, Vec<u8>, Kept), Response> {
    let header = |name| header(&parts.headers, name);
    let (body, mut kept) = come.body(header(CONTENT_ENCODING), bytes_max)?;
    // Points take about as much as their lines.
    if BULK_BYTES_MIN < body.len() {
        kept.add(body.len()).map_err(|refusal| door::refused(&refusal))?;
    }
    let head = Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        content_type: header(CONTENT_TYPE),
        accept: header(ACCEPT),
    };
    Ok((door::read(way, &head, &body, taking), body, kept))
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

/// A body as it came, in pieces.
struct Come {
    pieces: Vec<Bytes>,
    bytes: usize,
    kept: Kept,
}

impl Come {
    /// Whether reading it takes longer than others should wait.
    fn is_large(&self, is_packed: bool) -> bool {
        /// What comes to `BULK_BYTES_MIN` at most, however well it is packed.
        const PACKED_BYTES: usize = BULK_BYTES_MIN / 1_024;
        let most = if is_packed { PACKED_BYTES } else { BULK_BYTES_MIN };
        most < self.bytes
    }

    /// The whole body, unpacked, or why it is not taken.
    fn body(self, encoding: Option<&str>, most: usize) -> Result<(Vec<u8>, Kept), Response> {
        let Come { pieces, mut kept, .. } = self;
        match encoding.map(str::trim) {
            None | Some("") => Ok((pieces.concat(), kept)),
            Some(encoding) if encoding.eq_ignore_ascii_case("identity") => {
                Ok((pieces.concat(), kept))
            }
            Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => {
                let packed = pieces.concat();
                match unpacked(&packed[..], most, &mut kept) {
                    Ok(unpacked) if most < unpacked.len() => Err(too_large(most)),
                    Ok(unpacked) => Ok((unpacked, kept)),
                    Err(NotUnpacked::Wrong(error)) => {
                        Err(door::failed(400, &format!("the body is no gzip: {error}")))
                    }
                    Err(NotUnpacked::Refused(refusal)) => Err(door::refused(&refusal)),
                }
            }
            Some(encoding) => {
                let encoding: String = encoding.chars().take(64).collect();
                let text =
                    format!("bodies are taken as they are or with gzip, and not with `{encoding}`");
                Err(door::failed(415, &text))
            }
        }
    }
}

/// The whole body as it comes, or why it is not taken.
async fn collected(served: &Served, at: Door, body: Incoming) -> Result<Come, Response> {
    let most = served.shared.limits.points_bytes_max;
    let patience = &served.shared.patience;
    let collecting = async {
        let mut come = Come { pieces: Vec::new(), bytes: 0, kept: served.shared.bulk.kept() };
        let mut body = Limited::new(body, most);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    too_large(most)
                } else {
                    door::failed(400, &format!("the body did not arrive: {error}"))
                }
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            come.bytes += piece.len();
            if BULK_BYTES_MIN < come.bytes {
                come.kept.add(piece.len()).map_err(|refusal| door::refused(&refusal))?;
            }
            come.pieces.push(piece);
        }
        Ok(come)
    };
    tokio::time::timeout(patience.of(Wait::Body), collecting).await.unwrap_or_else(|_| {
        served.shared.late(at.name(), Wait::Body);
        Err(door::failed(408, &patience.over(Wait::Body)))
    })
}

fn too_large(most: usize) -> Response {
    let text = format!("Request Entity Too Large: `points-bytes-max` is {most}");
    door::failed(413, &text)
}
