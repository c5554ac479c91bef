//! A volume's door over a socket.
//!
//! 1. Nothing is done for who brings no grant of the master's for it, unless the volume is open to everybody.
//! 2. What is sent of an object was verified; one that turns out damaged on the way ends the connection.
//! 3. An object is never run by who shows it: it says that it is no page, and may do nothing.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Request,
    body::Incoming,
    header::{HOST, HeaderName, IF_NONE_MATCH, ORIGIN, RANGE},
};
use olivine_blobs::{
    Error, Grant, Head, Place, STATE_BYTES_MAX, State, Verb,
    index::Changed,
    talk::{Answer, Asked, Published},
};
use olivine_doors::{
    blob::{self as door, Manner, Range, Sent, Wrong, is_known, read_range, tag},
    http::{Response, check_site, check_stranger},
};

use super::{
    carrier::{ATTRIBUTES, Carriers, Kept, bytes_of, is_short},
    coming,
    door::{away, bytes, empty, refused, text, told},
    master::{DELETE, GET, PUT, Told},
    volume::{Host, tell_unreadable},
};
use crate::{
    body::{Body, Object},
    http::header,
    settings::Door,
    worker::{Served, Shared},
};

/// The method by which a master has a volume write something down of an object.
pub(super) const NOTE: &str = "NOTE";

/// Answers one request to a volume.
pub(crate) async fn respond(
    served: &Served,
    request: Request<Incoming>,
) -> (Response, Option<Body>) {
    let shared = &served.shared;
    served.tally().requests.add(1);
    let Some(host) = &shared.blobs.volume else { return (away("there is no volume here"), None) };
    let (parts, body) = request.into_parts();
    let header = |name| header(&parts.headers, name);
    let fetch_site = header(HeaderName::from_static("sec-fetch-site"));
    // What nobody signed might be asked for by a page from anywhere.
    let stranger = match header(HOST) {
        Some(named) if !host.is_open => check_site(named, header(ORIGIN), fetch_site),
        named => check_stranger(&shared.hosts, named, header(ORIGIN), fetch_site),
    };
    if let Some(refused) = stranger {
        return (refused, None);
    }
    let sent = match door::read_sent(parts.uri.path(), parts.uri.query().unwrap_or_default()) {
        Ok(sent) => sent,
        Err(wrong) => return (refused(&wrong), None),
    };
    let method = parts.method.as_str();
    // What the master alone asks is not told to others.
    if !matches!(method, "GET" | "HEAD" | "PUT" | "DELETE" | NOTE) {
        let text = format!("there is no method `{method}` here");
        let allow = Some("GET, HEAD, PUT, DELETE");
        return (refused(&Wrong { allow, ..Wrong::new(405, text) }), None);
    }
    let grant = match granted(host, method, &sent, shared.time.now()).await {
        Ok(grant) => grant,
        Err(response) => return (response, None),
    };
    let key = &sent.key;
    match grant.verb {
        Verb::Get => got(host, key, &grant, method == "HEAD", &parts.headers).await,
        Verb::Put => (put(host, shared, key, &grant, &parts.headers, body).await, None),
        Verb::Delete => (deleted(host, key, &grant).await, None),
        Verb::Note => (noted(host, shared, key, &grant, body).await, None),
    }
}

/// What somebody may do, who says so or, where the volume is open, is asked for.
async fn granted(host: &Host, method: &str, sent: &Sent<'_>, now: u64) -> Result<Grant, Response> {
    let verb = match method {
        "PUT" => Verb::Put,
        "DELETE" => Verb::Delete,
        NOTE => Verb::Note,
        _ => Verb::Get,
    };
    let url;
    let grant = match sent.grant {
        Some(grant) => grant,
        None if host.is_open && verb != Verb::Note => {
            let number = match verb {
                Verb::Put => PUT,
                Verb::Delete => DELETE,
                Verb::Get | Verb::Note => GET,
            };
            url = match host.ask(Asked::Grant { verb: number, key: sent.key.to_vec() }).await {
                Answer::Urls(urls) => urls.into_iter().next().map(|(_, url)| url),
                answer => return Err(unanswered(answer)),
            };
            url.as_deref().and_then(|url| url.rsplit_once("?grant=")).map_or("", |(_, grant)| grant)
        }
        None => {
            let line = "this volume does only what the master has signed: ask the master, and follow \
                where it sends you; or start the volume with --open";
            return Err(text(403, line));
        }
    };
    let identity = host.volume.identity();
    let grant = host.secret.read(&identity, &sent.key, grant, now);
    let grant = grant.map_err(|why| text(403, &why.to_string()))?;
    if grant.verb != verb {
        return Err(text(403, "the signature is for another method"));
    }
    Ok(grant)
}

async fn got(
    host: &Arc<Host>,
    key: &[u8],
    grant: &Grant,
    is_head: bool,
    headers: &HeaderMap,
) -> (Response, Option<Body>) {
    let reading = match host.read(&grant.place, key, grant.generation).await {
        Ok(reading) => reading,
        Err(error) => {
            if matches!(error, Error::Corrupt { .. } | Error::Gone { .. } | Error::Foreign { .. }) {
                tell_unreadable(host, key, grant.generation, grant.place);
            }
            return (failed(&error), None);
        }
    };
    let is_there = header(headers, IF_NONE_MATCH).is_some_and(|t| is_known(t, grant.generation));
    let asked = part_of(grant.generation, reading.len(), header(headers, RANGE), is_there);
    let (mut response, from, to) = match asked {
        Ok(asked) => asked,
        Err(response) => return (response, None),
    };
    if is_head {
        response.headers.push(("content-length", (to - from).to_string()));
        return (response, None);
    }
    let body = if reading.value().is_none() {
        let (host, key) = (Arc::clone(host), key.to_vec());
        let (generation, place) = (grant.generation, grant.place);
        let readers = Arc::clone(&host.readers);
        let damaged = Box::new(move || tell_unreadable(&host, &key, generation, place));
        Body::Object(Object::new(reading, from, to, &readers, damaged))
    } else {
        let at_hand = reading.into_value().map(|(buffer, value)| {
            let (from, to) = (value.start + from as usize, value.start + to as usize);
            Bytes::from(buffer).slice(from..to)
        });
        Body::of(at_hand.unwrap_or_default())
    };
    (response, Some(body))
}

/// The head of an answer to who gets an object, and which of its bytes they get; or what they are told instead, as
/// where it `is_there` already.
pub(super) fn part_of(
    generation: u64,
    length: u64,
    range: Option<&str>,
    is_there: bool,
) -> Result<(Response, u64, u64), Response> {
    let mut response = empty(200);
    response.headers.extend([
        ("etag", tag(generation)),
        ("accept-ranges", "bytes".to_owned()),
        ("content-type", "text/plain".to_owned()),
        ("content-security-policy", "sandbox; default-src 'none'".to_owned()),
    ]);
    if is_there {
        response.status = 304;
        return Err(response);
    }
    match read_range(range, length) {
        Range::All => Ok((response, 0, length)),
        Range::Part { from, to } => {
            response.status = 206;
            let last = to - 1;
            response.headers.push(("content-range", format!("bytes {from}-{last}/{length}")));
            Ok((response, from, to))
        }
        Range::Outside => {
            let mut response = text(416, "the object has none of these bytes");
            response.headers.push(("content-range", format!("bytes */{length}")));
            Err(response)
        }
    }
}

/// Why a volume did not do something.
fn failed(error: &Error) -> Response {
    match error {
        // What a grant names was moved or taken away since; who asks the master again is sent right.
        Error::Gone { .. } | Error::Foreign { .. } => text(404, "key not found"),
        Error::Full { .. } => text(507, &error.to_string()),
        Error::Away { .. } | Error::ReadOnly { .. } | Error::Busy | Error::Closed => {
            away(&error.to_string())
        }
        _ => text(500, &error.to_string()),
    }
}

async fn put(
    host: &Arc<Host>,
    shared: &Shared,
    key: &[u8],
    grant: &Grant,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Response {
    let said = bytes(headers);
    if said.is_some_and(|bytes| grant.place.bytes < bytes) {
        return text(413, "the object is longer than it may be");
    }
    // What the master brings may be empty: its manner says so.
    if said == Some(0) && !grant.is_part {
        return text(411, "an object must have at least one byte");
    }
    // Only the master says so, and only to who keeps no more than the bytes.
    let attributes = header(headers, HeaderName::from_static(ATTRIBUTES));
    let attributes = attributes.filter(|_| grant.is_part).map_or(Some(Vec::new()), bytes_of);
    let Some(attributes) = attributes else {
        return text(400, "the attributes of an object are hexadecimal digits");
    };
    let head = Head {
        key,
        generation: grant.generation,
        expiry: grant.expiry,
        wants_md5: grant.wants_digest,
        attributes: &attributes,
        bytes: said,
    };
    let mut carriers = match carriers(host, head, grant).await {
        Ok(carriers) => carriers,
        Err(response) => return response,
    };
    // What others get over the master, once it is here.
    let mut spread = (grant.has_others && is_short(said)).then(Vec::new);
    let mut length = 0;
    loop {
        match coming::next(shared, Door::Volume, &mut body).await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                length += piece.len() as u64;
                if grant.place.bytes < length {
                    return text(413, "the object is longer than it may be");
                }
                if let Some(value) = &mut spread {
                    value.extend_from_slice(&piece);
                }
                if let Err(come_to) = carriers.take(&piece).await {
                    return told(Manner::Smol, &come_to);
                }
            }
            Err(wrong) => return refused(&wrong),
        }
    }
    if length == 0 && !grant.is_part {
        return text(411, "an object must have at least one byte");
    }
    let Some(value) = spread else {
        return match carriers.finish().await {
            Ok(kept) => published(host, key, grant, kept, length).await,
            Err(come_to) => told(Manner::Smol, &come_to),
        };
    };
    let asked = Asked::Spread {
        key: key.to_vec(),
        generation: grant.generation,
        expiry: grant.expiry,
        wants_digest: grant.wants_digest,
        volume: host.volume.identity().uuid,
        value,
    };
    match tokio::join!(carriers.finish(), host.ask(asked)) {
        (Ok(mut kept), Answer::Places(places)) => {
            kept.places.extend(places);
            published(host, key, grant, kept, length).await
        }
        (Err(come_to), _) => told(Manner::Smol, &come_to),
        (Ok(_), answer) => unanswered(answer),
    }
}

/// What brings an object here, and a long one where else it goes.
async fn carriers<'a>(
    host: &Host,
    head: Head<'a>,
    grant: &Grant,
) -> Result<Carriers<'a>, Response> {
    let uuid = host.volume.identity().uuid;
    let mut carriers = Carriers::new(head);
    carriers.here(uuid, host).map_err(|error| failed(&error))?;
    if !grant.has_others || is_short(head.bytes) {
        return Ok(carriers);
    }
    let asked = Asked::Others {
        key: head.key.to_vec(),
        generation: grant.generation,
        expiry: grant.expiry,
        wants_digest: grant.wants_digest,
        volume: uuid,
    };
    match host.ask(asked).await {
        Answer::Urls(urls) => {
            for (uuid, url) in urls {
                carriers.there(uuid, url);
            }
            Ok(carriers)
        }
        answer => Err(unanswered(answer)),
    }
}

/// Tells the master of an object that is kept.
async fn published(host: &Host, key: &[u8], grant: &Grant, kept: Kept, length: u64) -> Response {
    let Kept { digest, places } = kept;
    if grant.is_part {
        let mut response = empty(201);
        let place = places.first().map(|(_, Place { extent, offset, .. })| {
            ("olivine-place", format!("{extent} {offset}"))
        });
        response.headers.extend(place);
        response.headers.extend(digest.map(|digest| ("content-md5", door::hex(&digest))));
        return response;
    }
    let published = Published {
        key: key.to_vec(),
        generation: grant.generation,
        bytes: length,
        digest,
        expiry: grant.expiry,
        known: grant.known,
        places,
    };
    match host.ask(Asked::Publish(published)).await {
        Answer::Changed(Changed::Done | Changed::Superseded) => {
            let mut response = empty(201);
            response.headers.push(("etag", tag(grant.generation)));
            response
        }
        answer => unanswered(answer),
    }
}

async fn deleted(host: &Host, key: &[u8], grant: &Grant) -> Response {
    if let Err(error) = host.bury(key, grant.generation, &grant.place).await {
        return failed(&error);
    }
    let (generation, known) = (grant.generation, grant.known);
    let volume = host.volume.identity().uuid;
    match host.ask(Asked::Remove { key: key.to_vec(), generation, known, volume }).await {
        Answer::Changed(Changed::Done | Changed::Superseded) => empty(200),
        answer => unanswered(answer),
    }
}

/// Writes down what the master says of an object.
async fn noted(
    host: &Host,
    shared: &Shared,
    key: &[u8],
    grant: &Grant,
    mut body: Incoming,
) -> Response {
    let mut value = Vec::new();
    loop {
        match coming::next(shared, Door::Volume, &mut body).await {
            Ok(None) => break,
            Ok(Some(piece)) if value.len() + piece.len() <= STATE_BYTES_MAX => value.extend(piece),
            Ok(Some(_)) => return text(413, "what is to be written down is longer than it may be"),
            Err(wrong) => return refused(&wrong),
        }
    }
    let Some(state) = State::parse(&value) else {
        return text(400, "this release does not know what is to be written down");
    };
    match host.note(key, grant.generation, &state).await {
        Ok(()) => empty(200),
        Err(error) => failed(&error),
    }
}

/// What somebody is told for whom the master did not do what the volume asked.
fn unanswered(answer: Answer) -> Response {
    match answer {
        Answer::Changed(Changed::Refused) => told(Manner::Smol, &Told::Refused),
        Answer::Changed(Changed::Late) => {
            away("it took so long that it cannot be told from what was deleted; put it again")
        }
        Answer::Absent | Answer::Changed(Changed::Absent) => told(Manner::Smol, &Told::Absent),
        Answer::Away(why) => away(&why),
        Answer::Failed(why) => text(500, &why),
        _ => text(500, "the master answered something else"),
    }
}
