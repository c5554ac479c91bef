//! The master's door over a socket.
//!
//! 1. A body is not read of somebody who is sent elsewhere: they bring it there.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Request,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, IF_MATCH, IF_NONE_MATCH, ORIGIN},
};
use olivine_blobs::{
    index::{Changed, Listed},
    row::Row,
};
use olivine_command::Right;
use olivine_doors::{
    blob::{self as door, Asked, Entry, Head, List, Manner, Wrong},
    http::{Response, check_stranger},
};

use super::{
    healer,
    master::{Master, Told},
    proxy, uploads,
};
use crate::{
    body::Body,
    http::{header, log_in},
    session::Session,
    worker::Served,
};

/// Keys of a list that names no limit, at most.
const LISTED_MAX: usize = 1_000_000;

/// Answers one request to the master.
pub(crate) async fn respond(
    served: &Served,
    address: IpAddr,
    request: Request<Incoming>,
) -> (Response, Option<Body>) {
    let shared = &served.shared;
    served.tally().requests.add(1);
    let Some(master) = &shared.blobs.master else {
        return (away("there is no master here"), None);
    };
    let (parts, body) = request.into_parts();
    let header = |name| header(&parts.headers, name);
    let fetch_site = header(HeaderName::from_static("sec-fetch-site"));
    if let Some(refused) = check_stranger(&shared.hosts, header(HOST), header(ORIGIN), fetch_site) {
        return (refused, None);
    }
    served.router.settle().await;
    let mut session = Session::new(address);
    let now = shared.time.now();
    if let Err(refused) = log_in(served, &mut session, now, header(AUTHORIZATION)).await {
        return (refused, None);
    }
    let head = Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        bytes: bytes(&parts.headers),
        if_match: header(IF_MATCH),
        if_none_match: header(IF_NONE_MATCH),
    };
    let asked = door::read(master.manner, &head);
    let check = |right, key: &[u8]| {
        if served.asks_who() { session.check_reach(right, key) } else { Ok(()) }
    };
    // The keys of a batch stand in its body.
    if !matches!(asked, Asked::DeleteAll { .. })
        && let Err(refusal) = check(needs(&asked), key(&asked))
    {
        return (text(403, &refusal.text), None);
    }
    let response = match asked {
        Asked::Wrong(wrong) => refused(&wrong),
        Asked::List(list) => listed(master, &list),
        Asked::Get { key, is_head } => match master.get(&key) {
            Told::InParts => return uploads::read(master, &key, is_head, &parts.headers).await,
            come_to => found(master, &key, come_to),
        },
        Asked::Put { key, condition, ttl } if master.manner == Manner::Smol => {
            sent(master, master.put(&key, condition, ttl))
        }
        Asked::Put { key, condition, ttl } => {
            proxy::put(master, shared, &key, condition, ttl, &parts.headers, body).await
        }
        Asked::Delete { key, condition } if master.manner == Manner::Smol => {
            sent(master, master.delete(&key, condition))
        }
        Asked::Delete { key, condition } => proxy::delete(master, &key, condition).await,
        Asked::Begin { key } => uploads::begin(master, &key).await,
        Asked::Part { key, upload, number } => {
            let part = (&*upload, number);
            uploads::part(master, shared, &key, part, &parts.headers, body).await
        }
        Asked::Complete { key, upload } => {
            uploads::complete(master, shared, &key, &upload, body).await
        }
        Asked::Abort { key, upload } => uploads::abort(master, &key, &upload).await,
        Asked::DeleteAll { below } => {
            let check = |key: &[u8]| check(Right::Write, key);
            uploads::delete_all(master, shared, &below, check, body).await
        }
        Asked::Unlink { key } => unlinked(master, &key).await,
        Asked::Rebalance { key } => balanced(master, &key).await,
        Asked::Health => json(200, master.health.json(master.far_bytes())),
        Asked::Tend { rebalances } => {
            if rebalances {
                master.health.rebalance();
            } else {
                master.health.wake();
            }
            json(202, master.health.json(master.far_bytes()))
        }
    };
    (response, None)
}

/// How long a body says that it is.
pub(super) fn bytes(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_LENGTH)?.parse().ok()
}

fn needs(asked: &Asked<'_>) -> Right {
    match asked {
        Asked::Get { .. } | Asked::List(_) | Asked::Health | Asked::Wrong(_) => Right::Read,
        Asked::Tend { .. } => Right::Admin,
        _ => Right::Write,
    }
}

/// The key that is asked about, or what all of them begin with.
fn key<'a>(asked: &'a Asked<'_>) -> &'a [u8] {
    match asked {
        Asked::Get { key, .. }
        | Asked::Put { key, .. }
        | Asked::Delete { key, .. }
        | Asked::Begin { key }
        | Asked::Part { key, .. }
        | Asked::Complete { key, .. }
        | Asked::Abort { key, .. }
        | Asked::Unlink { key }
        | Asked::Rebalance { key } => key,
        Asked::DeleteAll { below } => below,
        Asked::List(list) => &list.prefix,
        Asked::Health | Asked::Tend { .. } | Asked::Wrong(_) => &[],
    }
}

/// A line of text.
pub(super) fn text(status: u16, line: &str) -> Response {
    let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
    Response { status, headers, body: format!("{line}\n").into_bytes() }
}

pub(super) fn empty(status: u16) -> Response {
    Response { status, headers: Vec::new(), body: Vec::new() }
}

/// It cannot be done now.
pub(super) fn away(why: &str) -> Response {
    let mut response = text(503, why);
    response.headers.push(("retry-after", "1".to_owned()));
    response
}

pub(super) fn refused(wrong: &Wrong) -> Response {
    let mut response = text(wrong.status, &wrong.text);
    response.headers.extend(wrong.allow.map(|methods| ("allow", methods.to_owned())));
    response
}

/// What somebody is told who is not sent anywhere.
pub(super) fn told(manner: Manner, told: &Told) -> Response {
    match (told, manner) {
        (Told::Absent, Manner::Smol | Manner::S3) => text(404, "key not found"),
        (Told::Absent, Manner::Mkv) => empty(404),
        (Told::Refused, Manner::Smol | Manner::S3) => {
            text(412, "what is under the key is not as the request wants it")
        }
        (Told::Refused, Manner::Mkv) => text(403, "there is something under the key already"),
        (Told::Away(why), _) => away(why),
        (Told::Failed(why), _) => text(500, why),
        (Told::InParts, _) => text(500, "no volume has an object of parts as a whole"),
        (Told::There { .. }, _) => text(500, "nobody says where to go"),
    }
}

/// Sends somebody on, with what they bring.
fn sent(master: &Master, come_to: Told) -> Response {
    match come_to {
        Told::There { url, .. } => there(307, url),
        come_to => told(master.manner, &come_to),
    }
}

fn there(status: u16, url: String) -> Response {
    let headers = vec![("location", url), ("cache-control", "no-store".to_owned())];
    Response { status, headers, body: Vec::new() }
}

/// Sends somebody to an object.
fn found(master: &Master, key: &[u8], come_to: Told) -> Response {
    match (come_to, master.manner) {
        (Told::There { url, row }, Manner::Mkv) => {
            let mut response = there(302, url);
            response.headers.extend(row.iter().flat_map(|row| described(master, key, row)));
            response
        }
        (Told::Absent, Manner::Mkv) => match master.fallback(key) {
            Some(url) => there(302, url),
            None => told(master.manner, &Told::Absent),
        },
        (come_to, _) => sent(master, come_to),
    }
}

/// What minikeyvalue tells of an object beside where it is.
pub(super) fn described(master: &Master, key: &[u8], row: &Row) -> Vec<(&'static str, String)> {
    let volumes: Vec<String> = row
        .replicas
        .iter()
        .filter_map(|replica| {
            let (member, _) = master.member(replica.volume)?;
            Some(member.url.trim_start_matches("http://").to_owned())
        })
        .collect();
    let is_whole = volumes.len() == row.replicas.len() && healer::is_balanced(master, key, row);
    let balance = if is_whole { "balanced" } else { "unbalanced" };
    let mut headers = vec![("key-volumes", volumes.join(",")), ("key-balance", balance.to_owned())];
    headers.extend(row.digest.map(|digest| ("content-md5", door::hex(&digest))));
    headers
}

async fn unlinked(master: &Master, key: &[u8]) -> Response {
    let row = match master.row(key) {
        Ok(Some(row)) if !row.is_unlinked => row,
        Ok(_) => return told(master.manner, &Told::Absent),
        Err(come_to) => return told(master.manner, &come_to),
    };
    match master.unlink(key, &row).await {
        Ok(Changed::Done) => empty(204),
        Ok(_) => told(master.manner, &Told::Absent),
        Err(why) => text(500, &why),
    }
}

/// Brings an object to where it belongs.
async fn balanced(master: &Master, key: &[u8]) -> Response {
    match master.row(key) {
        Ok(Some(row)) if !row.is_unlinked => {
            if healer::rebalance(master, key.to_vec(), row).await {
                empty(204)
            } else {
                text(400, "it does not lie where it should, and cannot be brought there now")
            }
        }
        Ok(_) => told(master.manner, &Told::Absent),
        Err(come_to) => told(master.manner, &come_to),
    }
}

fn json(status: u16, body: String) -> Response {
    let headers = vec![("content-type", "application/json".to_owned())];
    Response { status, headers, body: body.into_bytes() }
}

fn listed(master: &Master, list: &List) -> Response {
    let limit = if list.limit == 0 { LISTED_MAX } else { list.limit.min(LISTED_MAX) };
    let part = match master.list(&list.prefix, &list.start, limit, list.unlinked) {
        Ok(part) => part,
        Err(come_to) => return told(master.manner, &come_to),
    };
    let Listed { rows, next } = part;
    if list.limit == 0 && next.is_some() {
        let line = format!(
            "there are more than {LISTED_MAX} keys; list them with `&limit=` and `&start=`"
        );
        return text(413, &line);
    }
    let entries: Vec<Entry<'_>> = rows
        .iter()
        .map(|(key, row)| Entry { key, bytes: row.object_bytes(), generation: row.generation })
        .collect();
    let (kind, body) = if list.xml {
        ("application/xml", door::list_xml(&entries, next.as_deref()))
    } else {
        ("application/json", door::list_json(&entries, next.as_deref()))
    };
    Response { status: 200, headers: vec![("content-type", kind.to_owned())], body }
}
