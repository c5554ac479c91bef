//! Brings an object to the volumes that it goes to, to all of them at once: a short one as a whole over the links to
//! them, a longer one piece by piece to their doors; and fetches one from where it lies.
//!
//! 1. A volume that does not take its pieces holds the others up, and no memory grows meanwhile.
//! 2. What one volume refuses is kept by none that counts: nobody is told of it.

use std::{cell::RefCell, collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_LENGTH, HOST},
};
use hyper_util::rt::TokioIo;
use olivine_blobs::{
    Head, Place, Stored,
    talk::{Done, Order, VALUE_BYTES_MAX},
};
use olivine_doors::blob as door;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::{JoinSet, spawn_local},
    time::timeout,
};

use super::{
    master::{Member, Told, Way},
    volume::{Host, Receiving},
    volume_door::NOTE,
};
use crate::{body::Body, http::header};

/// The header with what is known of an object beside its bytes, in hexadecimal digits.
pub(super) const ATTRIBUTES: &str = "olivine-attributes";
/// Pieces that wait on their way to a volume.
const PIECES_MAX: usize = 4;
/// How long a volume may take to be reached.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long it may take to keep an object that has arrived, or to answer at all.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);
/// How much is read of an answer that is no answer.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Connections to one volume that wait to be used again.
const IDLE_MAX: usize = 32;

/// Brings an object to its volumes.
pub(super) struct Carriers<'a> {
    head: Head<'a>,
    /// Those that get it as it comes.
    each: Vec<([u8; 16], Carrier)>,
    /// Those that get it as a whole, over their links.
    linked: Vec<([u8; 16], Arc<Member>)>,
    /// What came of it, for those.
    value: Vec<u8>,
}

enum Carrier {
    Here(Box<Receiving>),
    There(Sending),
}

impl<'a> Carriers<'a> {
    pub(super) fn new(head: Head<'a>) -> Carriers<'a> {
        Carriers { head, each: Vec::new(), linked: Vec::new(), value: Vec::new() }
    }

    /// To a volume of this process, too.
    pub(super) fn here(&mut self, uuid: [u8; 16], host: &Host) -> olivine_blobs::Result<()> {
        let receiving = Box::new(Receiving::new(host, &self.head)?);
        self.each.push((uuid, Carrier::Here(receiving)));
        Ok(())
    }

    /// To a volume of another, too, piece by piece.
    pub(super) fn there(&mut self, uuid: [u8; 16], url: String) {
        self.each.push((uuid, Carrier::There(Sending::begin(url, &self.head))));
    }

    /// To a volume of the master's, too. `url` says where it takes a long object.
    pub(super) fn member(
        &mut self,
        uuid: [u8; 16],
        member: &Arc<Member>,
        url: impl FnOnce() -> String,
    ) -> olivine_blobs::Result<()> {
        match &member.way {
            Way::Here(host) => self.here(uuid, host)?,
            // Links carry bytes, and nothing that is known beside them.
            Way::There(_) if is_short(self.head.bytes) && self.head.attributes.is_empty() => {
                self.linked.push((uuid, Arc::clone(member)));
            }
            Way::There(_) => self.there(uuid, url()),
        }
        Ok(())
    }

    /// Takes more of it.
    pub(super) async fn take(&mut self, piece: &Bytes) -> Result<(), Told> {
        if !self.linked.is_empty() {
            if VALUE_BYTES_MAX < self.value.len() + piece.len() {
                return Err(Told::Failed("the object is longer than it said".to_owned()));
            }
            self.value.extend_from_slice(piece);
        }
        for (_, carrier) in &mut self.each {
            match carrier {
                Carrier::Here(receiving) => receiving.take(piece).await.map_err(of_volume)?,
                Carrier::There(sending) => sending.take(piece).await?,
            }
        }
        Ok(())
    }

    /// Returns when all keep it.
    pub(super) async fn finish(self) -> Result<Kept, Told> {
        let Carriers { head, mut each, linked, value } = self;
        if linked.is_empty()
            && each.len() == 1
            && let Some((uuid, carrier)) = each.pop()
        {
            let stored = carrier.finish().await?;
            return Ok(Kept { digest: stored.digest, places: vec![(uuid, stored.place)] });
        }
        let mut finishing = JoinSet::new();
        let Head { key, generation, expiry, wants_md5: wants_digest, .. } = head;
        let keep = Order::Keep { key, generation, expiry, wants_digest, value: &value };
        for (uuid, member) in linked {
            let done = member.link.order(&keep);
            finishing.spawn_local(async move { (uuid, stored(done.await)) });
        }
        for (uuid, carrier) in each {
            finishing.spawn_local(async move { (uuid, carrier.finish().await) });
        }
        let mut kept = Kept { digest: None, places: Vec::new() };
        for (uuid, stored) in finishing.join_all().await {
            let stored = stored?;
            kept.digest = kept.digest.or(stored.digest);
            kept.places.push((uuid, stored.place));
        }
        Ok(kept)
    }
}

/// Whether an object of that length goes over links, as a whole.
pub(super) fn is_short(bytes: Option<u64>) -> bool {
    bytes.is_some_and(|bytes| bytes <= VALUE_BYTES_MAX as u64)
}

/// What a volume keeps that was ordered to.
pub(super) fn stored(done: Done) -> Result<Stored, Told> {
    match done {
        Done::Kept { digest, place } => Ok(Stored { place, digest }),
        Done::Away(why) => Err(Told::Away(format!("a volume did not take it: {why}"))),
        Done::Failed(why) => Err(Told::Failed(format!("a volume did not take it: {why}"))),
    }
}

/// What volumes keep.
pub(super) struct Kept {
    pub(super) digest: Option<[u8; 16]>,
    pub(super) places: Vec<([u8; 16], Place)>,
}

impl Carrier {
    async fn finish(self) -> Result<Stored, Told> {
        match self {
            Carrier::Here(receiving) => receiving.finish().await.map_err(of_volume),
            Carrier::There(sending) => sending.finish().await,
        }
    }
}

/// What an error of a volume is to who asked the master.
pub(super) fn of_volume(error: olivine_blobs::Error) -> Told {
    match error {
        olivine_blobs::Error::Full { .. }
        | olivine_blobs::Error::Away { .. }
        | olivine_blobs::Error::ReadOnly { .. }
        | olivine_blobs::Error::Busy
        | olivine_blobs::Error::Closed => Told::Away(error.to_string()),
        error => Told::Failed(error.to_string()),
    }
}

/// An object on its way to a volume of another process.
struct Sending {
    pieces: mpsc::Sender<Bytes>,
    answered: oneshot::Receiver<Result<Stored, Told>>,
    bytes: u64,
}

impl Sending {
    fn begin(url: String, head: &Head<'_>) -> Sending {
        let (bytes, attributes) = (head.bytes, door::hex(head.attributes));
        let (pieces, coming) = mpsc::channel(PIECES_MAX);
        let (told, answered) = oneshot::channel();
        spawn_local(async move {
            let stored = put(&url, &attributes, Body::coming(coming, bytes)).await;
            // Who does not wait any more need not be told.
            told.send(stored).ok();
        });
        Sending { pieces, answered, bytes: 0 }
    }

    async fn take(&mut self, piece: &Bytes) -> Result<(), Told> {
        self.bytes += piece.len() as u64;
        if self.pieces.send(piece.clone()).await.is_ok() {
            return Ok(());
        }
        // It has answered before it has all.
        match (&mut self.answered).await {
            Ok(Err(told)) => Err(told),
            _ => Err(Told::Away("a volume did not take all of it".to_owned())),
        }
    }

    async fn finish(self) -> Result<Stored, Told> {
        let Sending { pieces, answered, bytes } = self;
        drop(pieces);
        let away = || Told::Away("a volume did not answer; try again".to_owned());
        let stored = timeout(ANSWER_TIME_MAX, answered).await.map_err(|_| away())?;
        let mut stored = stored.map_err(|_| away())??;
        stored.place.bytes = bytes;
        Ok(stored)
    }
}

thread_local! {
    /// Connections of this thread that wait to be used again.
    static IDLE: RefCell<BTreeMap<String, Vec<SendRequest<Body>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A connection to a volume.
pub(super) async fn connection(address: &str) -> io::Result<SendRequest<Body>> {
    loop {
        let idle = IDLE.with_borrow_mut(|idle| idle.get_mut(address).and_then(Vec::pop));
        match idle {
            Some(connection) if connection.is_ready() => return Ok(connection),
            Some(_) => {}
            None => break,
        }
    }
    let stream = timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // How it ends, who uses it is told.
    spawn_local(async move { connection.await.ok() });
    Ok(sender)
}

pub(super) fn give_back(address: &str, connection: SendRequest<Body>) {
    IDLE.with_borrow_mut(|idle| {
        let idle = idle.entry(address.to_owned()).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    });
}

/// An answer of a volume: its status, where it put something, its text.
struct Answer {
    status: u16,
    stored: Option<Stored>,
    text: String,
}

/// The address of a URL, and what follows it.
pub(super) fn parts_of(url: &str) -> io::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("it is no URL"))?;
    Ok(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

async fn ask(method: Method, url: &str, attributes: &str, body: Body) -> io::Result<Answer> {
    let (address, path) = parts_of(url)?;
    let mut request = Request::builder().method(method).uri(path).header(HOST, address);
    if !attributes.is_empty() {
        request = request.header(ATTRIBUTES, attributes);
    }
    if let Some(bytes) = hyper::body::Body::size_hint(&body).exact() {
        request = request.header(CONTENT_LENGTH, bytes);
    }
    let request = request.body(body).map_err(io::Error::other)?;
    let mut connection = connection(address).await?;
    let response = connection.send_request(request).await.map_err(io::Error::other)?;
    let (parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let data = frame.into_data().unwrap_or_default();
        let room = TEXT_BYTES_MAX - text.len();
        text.extend_from_slice(&data[..data.len().min(room)]);
    }
    give_back(address, connection);
    let status = parts.status.as_u16();
    let place = parts.headers.get("olivine-place").and_then(|place| place.to_str().ok());
    let digest = header(&parts.headers, hyper::header::HeaderName::from_static("content-md5"));
    let stored =
        place.and_then(place_of).map(|place| Stored { place, digest: digest.and_then(digest_of) });
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    Ok(Answer { status, stored, text })
}

fn place_of(text: &str) -> Option<Place> {
    let (extent, offset) = text.split_once(' ')?;
    Some(Place { extent: extent.parse().ok()?, offset: offset.parse().ok()?, bytes: 0 })
}

fn digest_of(text: &str) -> Option<[u8; 16]> {
    bytes_of(text)?.try_into().ok()
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |c: u8| char::from(c).to_digit(16);
    pairs.iter().map(|[one, other]| Some((digit(*one)? << 4 | digit(*other)?) as u8)).collect()
}

async fn put(url: &str, attributes: &str, body: Body) -> Result<Stored, Told> {
    match ask(Method::PUT, url, attributes, body).await {
        Ok(Answer { status: 201, stored: Some(stored), .. }) => Ok(stored),
        Ok(Answer { text, .. }) => Err(Told::Away(format!("a volume did not take it: {text}"))),
        Err(error) => Err(Told::Away(format!("a volume cannot be reached: {error}"))),
    }
}

/// Has a volume of another process write something down of an object.
pub(super) async fn note(url: &str, value: Vec<u8>) -> Result<(), Told> {
    let method = Method::from_bytes(NOTE.as_bytes()).unwrap_or_default();
    let asked = timeout(ANSWER_TIME_MAX, ask(method, url, "", Body::of(value))).await;
    match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Answer { status: 200, .. }) => Ok(()),
        Ok(Answer { text, .. }) => {
            Err(Told::Away(format!("a volume did not write it down: {text}")))
        }
        Err(error) => Err(Told::Away(format!("a volume cannot be reached: {error}"))),
    }
}
