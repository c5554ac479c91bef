//! Uploads and batches in minikeyvalue's manner, and objects that are made of parts in every manner that has a page of
//! its own for them: the master reads these itself, since no volume has one as a whole.
//!
//! An upload, its parts and the object that is made of them are what S3's manner has: rows, and no byte is moved.
//!
//! 1. What is acknowledged lies on as many volumes as it should, and outlives whoever is asked.
//! 2. Nothing that is there is overwritten.
//! 3. However long an object or a part is, a few pieces of it are in memory.

use std::{collections::BTreeSet, sync::Arc};

use hyper::{
    HeaderMap,
    body::Incoming,
    header::{IF_NONE_MATCH, RANGE},
};
use olivine_blobs::{
    Attributes,
    index::{Changed, Condition, Within},
    own,
    row::Row,
};
use olivine_command::Refusal;
use olivine_doors::{
    blob::{self as door, KEY_BYTES_MAX, Manner, Wrong, is_known, tag},
    http::Response,
};
use olivine_s3::{
    Coming, Complete, Put, Store as _,
    parts::{self, NoObject},
};
use tokio::task::spawn_local;

use super::{
    coming,
    door::{described, empty, told},
    master::{Master, Told},
    proxy::{self, Came, Stop, answer, busy, too_late},
    s3::Objects,
    volume_door::part_of,
};
use crate::{body::Body, settings::Door, worker::Shared};

/// What names parts or keys is read as a whole, up to so much.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// So many objects of a batch are deleted at the same time.
const DELETED_TOGETHER: usize = 32;

type Outcome = Result<Response, Stop>;

/// Begins an upload.
pub(super) async fn begin(master: &Arc<Master>, key: &[u8]) -> Response {
    let Some(_busy) = master.begin(key) else { return busy() };
    answer(begun(master, key).await)
}

async fn begun(master: &Arc<Master>, key: &[u8]) -> Outcome {
    must_be_absent(master, key)?;
    let upload = master.generation()?;
    let put = Put {
        key: own::upload_key(key, upload),
        attributes: Attributes { modified: master.now(), ..Attributes::default() },
        condition: Condition::Absent,
        needs: None,
        bytes: 1,
    };
    Objects(Arc::clone(master)).put(put, Coming::of_memory(&b"1"[..])).await?;
    let id = parts::upload_id(upload);
    let tags = ["InitiateMultipartUploadResult", "UploadId"];
    Ok(xml(200, &format!("<{0}><{1}>{id}</{1}></{0}>", tags[0], tags[1])))
}

/// Brings a part of an object to volumes.
pub(super) async fn part(
    master: &Master,
    shared: &Shared,
    key: &[u8],
    (id, number): (&str, u32),
    headers: &HeaderMap,
    body: Incoming,
) -> Response {
    let Some(upload) = parts::upload_of_id(id) else { return answer(Err(no_upload())) };
    let part_key = own::part_key(upload, number);
    let Some(_busy) = master.begin(&part_key) else { return busy() };
    let upload_key = own::upload_key(key, upload);
    answer(brought(master, shared, key, &upload_key, &part_key, headers, body).await)
}

async fn brought(
    master: &Master,
    shared: &Shared,
    key: &[u8],
    upload_key: &[u8],
    part_key: &[u8],
    headers: &HeaderMap,
    body: Incoming,
) -> Outcome {
    must_be_absent(master, key)?;
    if master.row(upload_key)?.is_none() {
        return Err(no_upload());
    }
    let grant = master.new_object(Condition::Any, None)?;
    let there = master.row(part_key)?;
    let attributes = Attributes { modified: master.now(), ..Attributes::default() };
    let encoded = attributes.encode();
    let came = proxy::come(master, shared, part_key, there.as_ref(), &grant, &encoded);
    let Came { bytes, kept } = came.of(headers, body).await?;
    let row = Row {
        generation: grant.generation,
        bytes,
        digest: kept.digest,
        expiry: None,
        is_unlinked: false,
        replicas: master.replicas_at(&kept.places).map_err(Told::Failed)?,
        attributes: Some(Box::new(attributes)),
    };
    master.note_thin(&row);
    let within = Within::needing(upload_key);
    let now = master.now();
    let published = master.index().publish_within(part_key, &row, Condition::Any, &within, now);
    match master.lasting(published).await.map_err(Told::Failed)? {
        Changed::Done | Changed::Superseded => {
            let mut response = empty(200);
            response.headers.push(("etag", format!("\"{}\"", parts::tag_of(&row))));
            Ok(response)
        }
        // The upload came to its end meanwhile.
        Changed::Absent | Changed::Refused => Err(no_upload()),
        Changed::Late => Ok(too_late()),
    }
}

/// Makes an object of the parts of an upload.
pub(super) async fn complete(
    master: &Arc<Master>,
    shared: &Shared,
    key: &[u8],
    id: &str,
    body: Incoming,
) -> Response {
    let Some(_busy) = master.begin(key) else { return busy() };
    answer(completed(master, shared, key, id, body).await)
}

async fn completed(
    master: &Arc<Master>,
    shared: &Shared,
    key: &[u8],
    id: &str,
    body: Incoming,
) -> Outcome {
    let upload = parts::upload_of_id(id).ok_or_else(no_upload)?;
    let there = master.row(key)?;
    if let Some(there) = there.as_ref().filter(|row| !row.is_unlinked) {
        // Whoever was not told asks again.
        if there.parts().is_some_and(|parts| parts.upload == upload) {
            return Ok(made(there));
        }
        return Err(Told::Refused.into());
    }
    let begun = master.row(&own::upload_key(key, upload))?.ok_or_else(no_upload)?;
    let document = document(shared, body).await?;
    let named = parts::read_parts(&document).map_err(|what| Wrong::new(400, what))?;
    let objects = Objects(Arc::clone(master));
    let gathered = parts::gather(&objects, upload, &named, 0).map_err(no_object)?;
    let known = begun.attributes.map(|known| *known).unwrap_or_default();
    let made_of = Some(gathered.made_of);
    let complete = Complete {
        key: key.to_vec(),
        attributes: Attributes { modified: master.now(), parts: made_of, ..known },
        parts: gathered.parts,
        condition: there.map_or(Condition::Absent, |row| Condition::Is(row.generation)),
    };
    Ok(made(&objects.complete(complete).await?))
}

/// What somebody is told whose object was made of parts.
fn made(row: &Row) -> Response {
    let tag = tag(row.generation).replace('"', "&quot;");
    let name = "CompleteMultipartUploadResult";
    xml(201, &format!("<{name}><ETag>{tag}</ETag></{name}>"))
}

/// Takes an upload away, with its parts.
pub(super) async fn abort(master: &Arc<Master>, key: &[u8], id: &str) -> Response {
    let Some(_busy) = master.begin(key) else { return busy() };
    let Some(upload) = parts::upload_of_id(id) else { return told(Manner::Mkv, &Told::Absent) };
    let aborted = Objects(Arc::clone(master)).abort(key.to_vec(), upload).await;
    answer(aborted.map(|()| empty(204)).map_err(Stop::from))
}

/// Deletes the objects that a body names, all of which `check` must allow before one of them goes.
pub(super) async fn delete_all(
    master: &Arc<Master>,
    shared: &Shared,
    below: &[u8],
    check: impl Fn(&[u8]) -> Result<(), Refusal>,
    body: Incoming,
) -> Response {
    answer(all_deleted(master, shared, below, check, body).await)
}

async fn all_deleted(
    master: &Arc<Master>,
    shared: &Shared,
    below: &[u8],
    check: impl Fn(&[u8]) -> Result<(), Refusal>,
    body: Incoming,
) -> Outcome {
    let document = document(shared, body).await?;
    let named = parts::read_keys(&document).map_err(|what| Wrong::new(400, what))?;
    let slash: &[u8] = if below.is_empty() || below.ends_with(b"/") { b"" } else { b"/" };
    // A key that stands there twice is deleted once.
    let mut seen = BTreeSet::new();
    let mut keys = Vec::with_capacity(named.len());
    for name in named {
        let key = [below, slash, name.as_bytes()].concat();
        if KEY_BYTES_MAX < key.len() || own::is_own(&key) {
            let text = format!("`{}` is no key", name.chars().take(64).collect::<String>());
            return Err(Wrong::new(400, text).into());
        }
        check(&key).map_err(|refusal| Wrong::new(403, refusal.text))?;
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    if !below.is_empty() {
        must_be_absent(master, below)?;
    }
    for together in keys.chunks(DELETED_TOGETHER) {
        let deleting = together.iter().map(|key| {
            let (master, key) = (Arc::clone(master), key.clone());
            spawn_local(async move { proxy::delete(&master, &key, door::Condition::Any).await })
        });
        let deleting: Vec<_> = deleting.collect();
        let mut first = None;
        for deleted in deleting {
            let deleted = deleted.await.map_err(|error| Told::Failed(error.to_string()))?;
            first = first.or(Some(deleted).filter(|deleted| deleted.status != 204));
        }
        if let Some(refused) = first {
            return Ok(refused);
        }
    }
    Ok(empty(204))
}

/// Sends an object that is made of parts, or its head.
pub(super) async fn read(
    master: &Arc<Master>,
    key: &[u8],
    is_head: bool,
    headers: &HeaderMap,
) -> (Response, Option<Body>) {
    let row = match master.row(key) {
        Ok(Some(row)) if !row.is_unlinked => row,
        Ok(_) => return (told(master.manner, &Told::Absent), None),
        Err(come_to) => return (told(master.manner, &come_to), None),
    };
    let header = |name| crate::http::header(headers, name);
    let is_there = header(IF_NONE_MATCH).is_some_and(|tags| is_known(tags, row.generation));
    let asked = part_of(row.generation, row.object_bytes(), header(RANGE), is_there);
    let (mut response, from, to) = match asked {
        Ok(asked) => asked,
        Err(response) => return (response, None),
    };
    response.headers.push(("cache-control", "no-store".to_owned()));
    if master.manner == Manner::Mkv {
        response.headers.extend(described(master, key, &row));
    }
    if is_head {
        response.headers.push(("content-length", (to - from).to_string()));
        return (response, None);
    }
    match Objects(Arc::clone(master)).read(key.to_vec(), row, from, to).await {
        Ok(pieces) => (response, Some(Body::Pieces(pieces, to - from))),
        Err(stop) => (answer(Err(stop.into())), None),
    }
}

/// Nothing may be under the key of what is put.
fn must_be_absent(master: &Master, key: &[u8]) -> Result<(), Told> {
    match master.row(key)? {
        Some(row) if !row.is_unlinked => Err(Told::Refused),
        _ => Ok(()),
    }
}

fn no_upload() -> Stop {
    Wrong::new(403, "there is no such upload to this key, or it is over").into()
}

fn no_object(why: NoObject) -> Stop {
    let (status, what) = match why {
        NoObject::Absent(number) => (403, format!("there is no part {number} with that tag")),
        NoObject::Order => (400, "parts are named in the order of their numbers".to_owned()),
        NoObject::Count | NoObject::Short => (400, "an object is not made of these".to_owned()),
        NoObject::Stop(stop) => return stop.into(),
    };
    Wrong::new(status, what).into()
}

/// What a request brings that names parts or keys.
async fn document(shared: &Shared, mut body: Incoming) -> Result<Vec<u8>, Wrong> {
    let mut document = Vec::new();
    while let Some(piece) = coming::next(shared, Door::Blob, &mut body).await? {
        if DOCUMENT_BYTES_MAX < document.len() + piece.len() {
            let text = format!("the body has more than {DOCUMENT_BYTES_MAX} bytes");
            return Err(Wrong::new(413, text));
        }
        document.extend_from_slice(&piece);
    }
    Ok(document)
}

fn xml(status: u16, body: &str) -> Response {
    let headers = vec![("content-type", "application/xml".to_owned())];
    Response { status, headers, body: body.as_bytes().to_vec() }
}
