//! The master in S3's manner: bytes go through it, since S3's clients do not go where they are sent.
//!
//! An object is brought to its volumes as in minikeyvalue's manner, and read from whichever has it. One that is made of
//! parts is read part by part: its record on the volumes names them.
//!
//! 1. What is acknowledged lies on as many volumes as it should, with what is known of it beside its bytes.
//! 2. However long an object is, a few pieces of it are in memory.
//! 3. What a volume moved meanwhile is looked for once more where it lies now.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body as _, Frame, Incoming, SizeHint},
    header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use olivine_blobs::{
    Attributes, Error, Grant, Head, Verb,
    index::{Changed, Condition, Grouped, Grouping, Within},
    manifest::{self, Part},
    own,
    row::Row,
};
use olivine_s3::{Coming, Complete, Pieces, Put, Stop, Store};
use tokio::{
    sync::mpsc,
    task::spawn_local,
    time::{Instant, Sleep, sleep},
};

use super::{
    carrier::{Kept, of_volume},
    fetching,
    master::{Master, Told, Way},
    proxy,
    volume::tell_unreadable,
};
use crate::{
    body::{Body, Object},
    patience::Wait,
    settings::Door,
    worker::{Served, Shared},
};

/// Pieces of an object of parts that wait to be sent.
const PIECES_MAX: usize = 1;
/// How often an object is looked for that is not where it was.
const LOOKS_MAX: usize = 3;
/// A manifest is never longer.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Answers one request to the master.
pub(crate) async fn respond(served: &Served, request: Request<Incoming>) -> Response<Body> {
    let shared = &served.shared;
    served.tally().requests.add(1);
    let Some(service) = &shared.blobs.s3 else { return Response::new(Body::of(Bytes::new())) };
    served.router.settle().await;
    let request = request.map(|body| Patient::new(body, shared));
    let mut response = service.answer(request).await.map(Body::Answer);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// A body that must not be silent for too long.
struct Patient {
    body: Incoming,
    shared: Arc<Shared>,
    patience: Duration,
    silent: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming, shared: &Arc<Shared>) -> Patient {
        let patience = shared.patience.of(Wait::Body);
        Patient { body, shared: Arc::clone(shared), patience, silent: Box::pin(sleep(patience)) }
    }
}

impl hyper::body::Body for Patient {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let until = Instant::now() + self.patience;
            self.silent.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        ready!(self.silent.as_mut().poll(cx));
        self.shared.late(Door::Blob.name(), Wait::Body);
        let why = self.shared.patience.over(Wait::Body);
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, why))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The objects of a master, as S3's calls ask for them.
pub(super) struct Objects(pub(super) Arc<Master>);

fn stopped(told: Told) -> Stop {
    match told {
        Told::Absent => Stop::Absent,
        Told::Refused => Stop::Refused,
        Told::Away(why) => Stop::Away(why),
        Told::Failed(why) => Stop::Failed(why),
        Told::InParts | Told::There { .. } => Stop::Failed("nobody says where to go".to_owned()),
    }
}

/// What came of a change.
fn changed(outcome: Result<Changed, String>) -> Result<(), Stop> {
    match outcome {
        // What was newer for a moment was there for a moment.
        Ok(Changed::Done | Changed::Superseded) => Ok(()),
        Ok(Changed::Refused) => Err(Stop::Refused),
        Ok(Changed::Absent) => Err(Stop::Absent),
        Ok(Changed::Late) => {
            let why = "it took so long that it cannot be told from what was deleted; put it again";
            Err(Stop::Away(why.to_owned()))
        }
        Err(why) => Err(Stop::Failed(why)),
    }
}

impl Objects {
    /// Brings bytes to volumes, and returns the row that they would have.
    async fn bring(
        &self,
        key: &[u8],
        attributes: Attributes,
        grant: &Grant,
        bytes: u64,
        mut coming: Coming,
    ) -> Result<Row, Stop> {
        let master = &*self.0;
        let row = master.row(key).map_err(stopped)?;
        let places = master.places(key, row.as_ref()).map_err(stopped)?;
        let encoded = attributes.encode();
        let head = Head {
            key,
            generation: grant.generation,
            expiry: None,
            wants_md5: grant.wants_digest,
            attributes: &encoded,
            bytes: Some(bytes),
        };
        let mut carriers = proxy::carriers(master, &places, head, grant).map_err(stopped)?;
        let mut came = 0;
        while let Some(piece) = coming.next().await? {
            came += piece.len() as u64;
            carriers.take(&piece).await.map_err(stopped)?;
        }
        if came != bytes {
            return Err(Stop::Failed(format!("{came} bytes came of {bytes}")));
        }
        let Kept { digest, places } = carriers.finish().await.map_err(stopped)?;
        let row = Row {
            generation: grant.generation,
            bytes,
            digest,
            expiry: None,
            is_unlinked: false,
            replicas: master.replicas_at(&places).map_err(Stop::Failed)?,
            attributes: Some(Box::new(attributes)),
        };
        master.note_thin(&row);
        Ok(row)
    }
}

impl Store for Objects {
    fn now(&self) -> u64 {
        self.0.now()
    }

    fn generation(&self) -> Result<u64, Stop> {
        self.0.generation().map_err(stopped)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Row>, Stop> {
        self.0.row(key).map_err(stopped)
    }

    fn list(
        &self,
        prefix: &[u8],
        start: &[u8],
        delimiter: &[u8],
        limit: usize,
    ) -> Result<Grouped, Stop> {
        let grouping = Grouping { prefix, start, delimiter, limit, now: self.0.now() };
        self.0.index().list_grouped(&grouping).map_err(|error| Stop::Failed(error.to_string()))
    }

    async fn put(&self, put: Put, coming: Coming) -> Result<Row, Stop> {
        let Put { key, attributes, condition, needs, bytes } = put;
        let master = &*self.0;
        let grant = master.new_object(condition, None).map_err(stopped)?;
        let row = self.bring(&key, attributes, &grant, bytes, coming).await?;
        let within = needs.as_deref().map(Within::needing).unwrap_or_default();
        let published = master.index().publish_within(&key, &row, condition, &within, master.now());
        changed(master.published(&key, &row, published).await)?;
        Ok(row)
    }

    async fn complete(&self, complete: Complete) -> Result<Row, Stop> {
        let Complete { key, attributes, parts, condition } = complete;
        let master = &*self.0;
        let mut grant = master.new_object(condition, None).map_err(stopped)?;
        grant.wants_digest = false;
        let manifest = manifest::encode(&parts);
        let bytes = manifest.len() as u64;
        let coming = Coming::of_memory(manifest);
        let row = self.bring(&key, attributes, &grant, bytes, coming).await?;
        let kept: Vec<(u32, u64)> =
            parts.iter().map(|part| (part.number, part.generation)).collect();
        let completed = master.index().complete(&key, &row, &kept, condition, master.now());
        changed(master.published(&key, &row, completed).await)?;
        Ok(row)
    }

    async fn read(
        &self,
        key: Vec<u8>,
        row: Row,
        from: u64,
        to: u64,
    ) -> Result<Box<dyn Pieces>, Stop> {
        if from == to {
            return Ok(Box::new(Body::of(Bytes::new())));
        }
        if row.parts().is_none() {
            return open(&self.0, &key, row, from, to).await;
        }
        let parts = self.parts(key, row.clone()).await?;
        let upload = row.parts().map_or(0, |parts| parts.upload);
        let (pieces, coming) = mpsc::channel(PIECES_MAX);
        let master = Arc::clone(&self.0);
        spawn_local(async move {
            if let Err(error) = send_parts(&master, upload, &parts, from, to, &pieces).await {
                // Who does not wait any more need not be told.
                pieces.send(Err(error)).await.ok();
            }
        });
        Ok(Box::new(Received(coming)))
    }

    async fn parts(&self, key: Vec<u8>, row: Row) -> Result<Vec<Part>, Stop> {
        let bytes = row.bytes;
        if MANIFEST_BYTES_MAX < bytes {
            return Err(Stop::Failed(format!("what names the parts has {bytes} bytes")));
        }
        let mut pieces = open(&self.0, &key, row, 0, bytes).await?;
        let mut manifest = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| pieces.poll_piece(cx)).await {
            manifest.extend(piece.map_err(|error| Stop::Failed(error.to_string()))?);
        }
        let parts = manifest::parse(&manifest);
        parts.ok_or_else(|| Stop::Failed("what names the parts is damaged".to_owned()))
    }

    async fn delete(&self, key: Vec<u8>, condition: Condition) -> Result<(), Stop> {
        let master = &*self.0;
        let Some(row) = master.row(&key).map_err(stopped)? else { return Ok(()) };
        let generation = master.generation().map_err(stopped)?;
        let buried = match condition {
            Condition::Any => proxy::bury(master, &key, generation, &row).await.map_err(stopped)?,
            // Volumes must not have written down what is then refused: they do so behind it.
            _ => Vec::new(),
        };
        let has_buried = |volume| buried.contains(&volume);
        let removed = master.remove(&key, generation, condition.known(), has_buried).await;
        match changed(removed) {
            // Somebody else deleted it.
            Err(Stop::Absent) => Ok(()),
            outcome => outcome,
        }
    }

    async fn abort(&self, key: Vec<u8>, upload: u64) -> Result<(), Stop> {
        let master = &*self.0;
        let generation = master.generation().map_err(stopped)?;
        let aborted = master.index().abort(&key, upload, generation, master.now());
        changed(master.lasting(aborted).await)
    }

    async fn remove_bucket(&self, bucket: String) -> Result<(), Stop> {
        let master = &*self.0;
        let generation = master.generation().map_err(stopped)?;
        let removed = master.index().remove_bucket(&bucket, generation, master.now());
        changed(master.lasting(removed).await)
    }
}

/// Sends what lies of an object's bytes in each of its parts.
async fn send_parts(
    master: &Master,
    upload: u64,
    parts: &[Part],
    from: u64,
    to: u64,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut start = 0;
    for part in parts {
        let (begin, end) = (start, start + part.bytes);
        start = end;
        let (first, behind) = (from.max(begin), to.min(end));
        if behind <= first {
            continue;
        }
        let key = own::part_key(upload, part.number);
        let row = master.row(&key).map_err(|told| io::Error::other(format!("{told:?}")))?;
        let row = row.filter(|row| row.generation == part.generation && row.bytes == part.bytes);
        let Some(row) = row else {
            // It was deleted or replaced while it was read.
            return Err(io::Error::other(format!("part {} is there no more", part.number)));
        };
        let opened = open(master, &key, row, first - begin, behind - begin).await;
        let mut opened = opened.map_err(|stop| io::Error::other(format!("{stop:?}")))?;
        let mut left = behind - first;
        while 0 < left {
            let piece = std::future::poll_fn(|cx| opened.poll_piece(cx)).await;
            let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)??;
            left = left.saturating_sub(piece.len() as u64);
            if pieces.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Pieces that another task sends.
struct Received(mpsc::Receiver<io::Result<Bytes>>);

impl Pieces for Received {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}

impl Pieces for Body {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match ready!(Pin::new(&mut *self).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
            }
        }
    }
}

/// Opens what lies under a key as one record.
async fn open(
    master: &Master,
    key: &[u8],
    mut row: Row,
    from: u64,
    to: u64,
) -> Result<Box<dyn Pieces>, Stop> {
    for _ in 0..LOOKS_MAX {
        let Some((member, known, place)) = master.nearest(key, &row) else {
            return Err(Stop::Away("no volume that has it answers now; try again".to_owned()));
        };
        match &member.way {
            Way::Here(host) => match host.read(&place, key, row.generation).await {
                Ok(reading) if reading.value().is_none() => {
                    let (host, key, generation) = (Arc::clone(host), key.to_vec(), row.generation);
                    let readers = Arc::clone(&host.readers);
                    let damaged = Box::new(move || tell_unreadable(&host, &key, generation, place));
                    let object = Object::new(reading, from, to, &readers, damaged);
                    return Ok(Box::new(Body::Object(object)));
                }
                Ok(reading) => {
                    let at_hand = reading.into_value().map(|(buffer, value)| {
                        let start = value.start;
                        Bytes::from(buffer).slice(start + from as usize..start + to as usize)
                    });
                    return Ok(Box::new(Body::of(at_hand.unwrap_or_default())));
                }
                Err(Error::Gone { .. } | Error::Foreign { .. }) => {
                    tell_unreadable(host, key, row.generation, place);
                }
                Err(error) => {
                    if matches!(error, Error::Corrupt { .. }) {
                        tell_unreadable(host, key, row.generation, place);
                    }
                    if matches!(error, Error::Away { .. } | Error::Corrupt { .. })
                        && 1 < row.replicas.len()
                    {
                        // Another volume may have it at hand.
                        row.replicas.retain(|replica| replica.volume != known.number);
                        continue;
                    }
                    return Err(stopped(of_volume(error)));
                }
            },
            Way::There(_) => {
                let grant = master.grant(Verb::Get, row.generation, place);
                let url = master.url(&member, &known, key, &grant);
                match fetching::get(&url, from, to).await {
                    Ok(Some(fetched)) => return Ok(Box::new(fetched)),
                    Ok(None) => {}
                    Err(_) if 1 < row.replicas.len() => {
                        row.replicas.retain(|replica| replica.volume != known.number);
                        continue;
                    }
                    Err(error) => return Err(Stop::Away(error.to_string())),
                }
            }
        }
        // It was moved, or is not there any more.
        let generation = row.generation;
        match master.row(key).map_err(stopped)? {
            Some(now) if now.generation == generation => row = now,
            _ => return Err(Stop::Absent),
        }
    }
    Err(Stop::Away("its volume moves it about; try again".to_owned()))
}
