//! The HTTP door over a socket.
//!
//! 1. A body is read no further than its limit.
//! 2. A request on behalf of another site's page is refused before anything of it is carried out.

use std::{convert::Infallible, future::poll_fn, io, net::IpAddr, pin::Pin, rc::Rc, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, IF_MATCH, IF_NONE_MATCH,
        ORIGIN,
    },
    http::HeaderValue,
    server::conn::http1::{self, Parts},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use olivine_command::{Code, Command, Refusal, Reply};
use olivine_doors::{
    Answer,
    http::{self as door, Head, Shape},
    influx::Way,
    json,
    limits::Limits,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    select,
};

use crate::{
    blobs,
    body::Body,
    numbers,
    patience::Wait,
    series,
    session::{Session, away},
    settings::Door,
    slow::{Stage, Watch},
    worker::{Served, Shared},
};

/// Serves a connection until it ends, or the node does.
pub(crate) async fn serve(
    served: Rc<Served>,
    at: Door,
    address: IpAddr,
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    let shared = Arc::clone(&served.shared);
    let mut stopping = shared.stopping.clone();
    let service = service_fn(move |request| {
        let served = Rc::clone(&served);
        // Pinned, so that the connection can be taken apart when it is over.
        Box::pin(async move {
            let response = match at {
                Door::Influx => series::respond(&served, at, Way::Influx, address, request).await,
                Door::Select => series::respond(&served, at, Way::Select, address, request).await,
                Door::Ingest => series::respond(&served, at, Way::Ingest, address, request).await,
                Door::Blob if served.shared.blobs.s3.is_some() => {
                    return Ok(blobs::respond_s3(&served, request).await);
                }
                Door::Blob | Door::Volume => {
                    let (method, query) = (request.method().as_str(), request.uri().query());
                    let operation = numbers::operation(at, method, query);
                    let clock = served.shared.time.clock();
                    let began = clock.now();
                    let (response, object) = if at == Door::Blob {
                        blobs::respond_master(&served, address, request).await
                    } else {
                        blobs::respond_volume(&served, request).await
                    };
                    let took = clock.now().saturating_sub(began);
                    served.tally().took_for(at, operation, took);
                    return Ok(framed(response, object));
                }
                _ => respond(&served, at, address, request).await,
            };
            Ok::<_, Infallible>(framed(response, None))
        })
    });
    let mut builder = http1::Builder::new();
    // Who has sent all it will send may still read the answers; but a query of somebody who has gone is not answered
    // to its end, and whether they have gone cannot be told from that.
    builder.half_close(!matches!(at, Door::Influx | Door::Select | Door::Ingest));
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.patience.of(Wait::Head))
        .max_buf_size(shared.limits.head_bytes_max.max(Limits::HEAD_BYTES_LEAST));
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let ended = select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        Pin::new(&mut connection).graceful_shutdown();
        poll_fn(|cx| connection.poll_without_shutdown(cx)).await
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    // Otherwise, how a connection ends is its peer's affair.
    let is_late = ended.is_err_and(|error| error.is_timeout());
    end(&shared, at, io.into_inner(), is_late && !read_buf.is_empty()).await.ok();
}

/// Closes a connection; one that sent half a head and no more is told so before.
async fn end(
    shared: &Shared,
    at: Door,
    mut io: impl AsyncWrite + Unpin,
    is_late: bool,
) -> io::Result<()> {
    if is_late {
        shared.late(at.name(), Wait::Head);
        io.write_all(&parting("Request Timeout", late(shared, Wait::Head))).await?;
    }
    io.shutdown().await
}

/// The last answer of a connection, as it goes over the socket.
fn parting(reason: &str, response: door::Response) -> Vec<u8> {
    let door::Response { status, headers, body } = response;
    let headers = headers.into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let (headers, length) = (headers.collect::<String>(), body.len());
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

/// How the answer begins that hyper gives by itself to whoever sends too long a head. No other has this status.
pub(crate) const HEAD_TOO_LONG: &[u8] = b"HTTP/1.1 431 ";

/// What they are told instead.
pub(crate) fn head_too_long(shared: &Shared) -> Vec<u8> {
    let most = shared.limits.head_bytes_max.max(Limits::HEAD_BYTES_LEAST);
    let text = format!(
        "the head of the request has more than {most} bytes, which is `head-bytes-max`, or more than a hundred fields"
    );
    parting("Request Header Fields Too Large", door::problem(431, Code::TooLarge.name(), &text))
}

/// What somebody is told who was waited for in vain.
fn late(shared: &Shared, wait: Wait) -> door::Response {
    door::problem(408, Code::Invalid.name(), &shared.patience.over(wait))
}

async fn respond(
    served: &Served,
    at: Door,
    address: IpAddr,
    request: Request<Incoming>,
) -> door::Response {
    let shared = &served.shared;
    served.tally().requests.add(1);
    let (parts, body) = request.into_parts();
    let header = |name| header(&parts.headers, name);
    let fetch_site = header(HeaderName::from_static("sec-fetch-site"));
    let stranger = door::check_stranger(&shared.hosts, header(HOST), header(ORIGIN), fetch_site);
    if let Some(refused) = stranger {
        return refused;
    }
    served.router.settle().await;
    let now = shared.time.now();
    let mut session = Session::new(address);
    if !door::is_open_to_all(parts.uri.path())
        && let Err(refused) = log_in(served, &mut session, now, header(AUTHORIZATION)).await
    {
        return refused;
    }
    let most = shared.limits.value_bytes_max.max(shared.limits.line_bytes_max);
    let body = match collected(shared, at, body, most).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let head = Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        content_type: header(CONTENT_TYPE),
        content_encoding: header(CONTENT_ENCODING),
        if_match: header(IF_MATCH),
        if_none_match: header(IF_NONE_MATCH),
    };
    let mut watch = Watch::start(shared.time.clock());
    match door::read(&head, &body, &shared.limits, now) {
        door::Request::One(command, shape) => {
            let commands = [command];
            let mut replies = replied(served, at, &mut session, now, &commands, &mut watch).await;
            let reply = replies.pop().expect("a command is replied to");
            door::answer(&shape, Answer::Reply(reply))
        }
        door::Request::Lines(requests) => {
            door::lines(answered(served, at, &mut session, now, requests, &mut watch).await)
        }
        door::Request::Own(Shape::Slow) if served.asks_who() && !session.is_admin() => {
            let text = "requests that took long name keys of everybody, and are for an admin";
            door::problem(403, Code::Forbidden.name(), text)
        }
        door::Request::Own(shape) => own(served, &shape).await,
    }
}

/// Finds out who sends a request, before any more of it is read.
pub(crate) async fn log_in(
    served: &Served,
    session: &mut Session,
    now: u64,
    authorization: Option<&str>,
) -> Result<(), door::Response> {
    if !served.asks_who() {
        return Ok(());
    }
    if served.router.access_known_last().is_none() {
        // Whether there are users is not known yet: that is no reason to ask for one.
        return Err(door::unknown(&away()));
    }
    let Some(authorization) = authorization else {
        let text =
            "say who you are: Authorization with `Bearer token`, or `Basic` with user and password";
        return Err(door::unknown(&Refusal::new(Code::Unknown, text)));
    };
    let login = door::read_credentials(authorization)
        .map_err(|what| door::unknown(&Refusal::new(Code::Unknown, what)))?;
    served.log_in(session, now, &login).await.map_err(|refusal| door::unknown(&refusal))
}

/// Carries out all commands of a request.
pub(crate) async fn replied(
    served: &Served,
    at: Door,
    session: &mut Session,
    now: u64,
    commands: &[Command<'_>],
    watch: &mut Watch<'_>,
) -> Vec<Reply> {
    watch.passed(Stage::Parse);
    let mut replies = Vec::with_capacity(commands.len());
    while replies.len() < commands.len() {
        let rest = &commands[replies.len()..];
        let come = served.carry_out(session, now, rest, watch).await;
        served.tally().replied(rest, &come);
        replies.extend(come);
    }
    served.tally().took(at, commands.len(), watch.took());
    served.shared.slow.look(at.name(), commands, watch);
    replies
}

/// The whole body, or why it is not taken.
async fn collected(
    shared: &Shared,
    at: Door,
    body: Incoming,
    most: usize,
) -> Result<Bytes, door::Response> {
    let collecting = Limited::new(body, most).collect();
    match tokio::time::timeout(shared.patience.of(Wait::Body), collecting).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!(
                "the body has more than {most} bytes, the larger of \
                `value-bytes-max` and `line-bytes-max`"
            );
            Err(door::problem(413, Code::TooLarge.name(), &detail))
        }
        Ok(Err(error)) => {
            let detail = format!("the body did not arrive: {error}");
            Err(door::problem(400, Code::Invalid.name(), &detail))
        }
        Err(_) => {
            shared.late(at.name(), Wait::Body);
            Err(late(shared, Wait::Body))
        }
    }
}

/// Carries out lines of the JSON door, and gathers what they come to.
async fn answered(
    served: &Served,
    at: Door,
    session: &mut Session,
    now: u64,
    requests: Vec<json::Request<'_>>,
    watch: &mut Watch<'_>,
) -> Vec<u8> {
    let (mut commands, mut shapes) = (Vec::new(), Vec::new());
    for json::Request { command, login, shape } in requests {
        shapes.push((command.is_some(), login.is_some(), shape));
        commands.extend(command);
    }
    let replies = replied(served, at, session, now, &commands, watch).await;
    let (mut replies, mut out) = (replies.into_iter(), Vec::new());
    for (asks, logs_in, shape) in shapes {
        let reply = match (asks, logs_in) {
            (true, _) => replies.next(),
            (false, true) => {
                let text = "auth is for connections; over HTTP, Authorization says who you are";
                Some(Reply::Refused(Refusal::new(Code::Invalid, text)))
            }
            (false, false) => None,
        };
        json::answer(&shape, reply.map_or(Answer::Own, Answer::Reply), &mut out);
    }
    out
}

/// What the node says about itself.
async fn own(served: &Served, shape: &Shape) -> door::Response {
    match shape {
        Shape::Ready => match numbers::ready(served).await {
            Ok(()) => door::answer(shape, Answer::Own),
            Err((code, why)) => door::problem(503, code.name(), &why),
        },
        Shape::Metrics => door::Response {
            status: 200,
            headers: vec![("content-type", "text/plain; version=0.0.4; charset=utf-8".to_owned())],
            body: numbers::metrics(served).await.into_bytes(),
        },
        Shape::Slow => door::Response {
            status: 200,
            headers: vec![("content-type", "application/jsonl".to_owned())],
            body: served.shared.slow.lines().into_bytes(),
        },
        Shape::Welcome => door::Response {
            status: 200,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: WELCOME.into(),
        },
        shape => door::answer(shape, Answer::Own),
    }
}

/// What there is, for people who look.
const WELCOME: &str = "\
Olivine. Key-values are under /kv/{key}, all of them under /kv; /openapi.json says how.
/readyz tells whether the node can be used, /metrics is for Prometheus, /slow shows requests that took long.
";

pub(crate) fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An answer as hyper sends it.
fn framed(answer: door::Response, object: Option<Body>) -> Response<Body> {
    let mut response = Response::new(object.unwrap_or_else(|| Body::of(answer.body)));
    if let Ok(status) = answer.status.try_into() {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}
