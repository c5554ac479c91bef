//! What the master does itself in minikeyvalue's manner: bring an object to the volumes, and take it away.
//!
//! 1. What is acknowledged lies on as many volumes as it should.
//! 2. Nothing that is there is overwritten.

use std::sync::Arc;

use hyper::{HeaderMap, body::Incoming};
use olivine_blobs::{
    Grant, Head, Place,
    index::{Changed, Condition},
    row::{Replica, Row},
    talk::Published,
};
use olivine_doors::{
    blob::{self as door, Manner, Wrong},
    http::Response,
};

use tokio::task::JoinSet;

use super::{
    carrier::{Carriers, Kept, of_volume},
    coming,
    door::{away, bytes, empty, refused, text, told},
    master::{Known, Master, Member, Told},
};
use crate::{settings::Door, worker::Shared};

/// Why something was not done.
pub(super) enum Stop {
    Told(Told),
    Wrong(Wrong),
}

impl From<olivine_s3::Stop> for Stop {
    fn from(stop: olivine_s3::Stop) -> Stop {
        use olivine_s3::Stop as Of;
        Stop::Told(match stop {
            Of::Refused => Told::Refused,
            Of::Absent => Told::Absent,
            Of::Away(why) => Told::Away(why),
            Of::Failed(why) => Told::Failed(why),
            Of::Told(error) => Told::Failed(error.to_string()),
        })
    }
}

impl From<Told> for Stop {
    fn from(told: Told) -> Stop {
        Stop::Told(told)
    }
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Stop {
        Stop::Wrong(wrong)
    }
}

pub(super) fn answer(outcome: Result<Response, Stop>) -> Response {
    match outcome {
        Ok(response) => response,
        Err(Stop::Told(come_to)) => told(Manner::Mkv, &come_to),
        Err(Stop::Wrong(wrong)) => refused(&wrong),
    }
}

/// Brings an object to its volumes.
pub(super) async fn put(
    master: &Master,
    shared: &Shared,
    key: &[u8],
    condition: door::Condition,
    ttl: Option<u64>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response {
    let Some(_busy) = master.begin(key) else { return busy() };
    answer(brought(master, shared, key, condition, ttl, headers, body).await)
}

/// Somebody else is at it.
pub(super) fn busy() -> Response {
    text(409, "another request changes this key; try again")
}

async fn brought(
    master: &Master,
    shared: &Shared,
    key: &[u8],
    condition: door::Condition,
    ttl: Option<u64>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Stop> {
    let row = master.row(key)?;
    let live = row.as_ref().filter(|row| !row.is_unlinked);
    Master::condition(condition, live)?;
    if live.is_some() {
        return Err(Told::Refused.into());
    }
    let there = row.as_ref().map_or(Condition::Absent, |row| Condition::Is(row.generation));
    let grant = master.new_object(there, ttl)?;
    let coming = come(master, shared, key, row.as_ref(), &grant, &[]);
    let Came { bytes, kept: Kept { digest, places } } = coming.of(headers, body).await?;
    let published = Published {
        key: key.to_vec(),
        generation: grant.generation,
        bytes,
        digest,
        expiry: grant.expiry,
        known: grant.known,
        places,
    };
    match master.publish(&published).await {
        Ok(Changed::Done | Changed::Superseded) => Ok(empty(201)),
        Ok(Changed::Refused | Changed::Absent) => Err(Told::Refused.into()),
        Ok(Changed::Late) => Ok(too_late()),
        Err(why) => Err(Told::Failed(why).into()),
    }
}

pub(super) fn too_late() -> Response {
    away("it took so long that it cannot be told from what was deleted; put it again")
}

/// What came, and what volumes kept of it.
pub(super) struct Came {
    pub(super) bytes: u64,
    pub(super) kept: Kept,
}

/// Something that is to be brought to volumes.
pub(super) struct ToCome<'a> {
    master: &'a Master,
    shared: &'a Shared,
    key: &'a [u8],
    there: Option<&'a Row>,
    grant: &'a Grant,
    attributes: &'a [u8],
}

/// What will be under a key where something is `there` or nothing, as a grant has it.
pub(super) fn come<'a>(
    master: &'a Master,
    shared: &'a Shared,
    key: &'a [u8],
    there: Option<&'a Row>,
    grant: &'a Grant,
    attributes: &'a [u8],
) -> ToCome<'a> {
    ToCome { master, shared, key, there, grant, attributes }
}

impl ToCome<'_> {
    /// Brings a body to the volumes that the key's objects lie on.
    pub(super) async fn of(self, headers: &HeaderMap, mut body: Incoming) -> Result<Came, Stop> {
        let ToCome { master, shared, key, there, grant, attributes } = self;
        let places = master.places(key, there)?;
        let head = Head {
            key,
            generation: grant.generation,
            expiry: grant.expiry,
            wants_md5: grant.wants_digest,
            attributes,
            bytes: bytes(headers),
        };
        let mut carriers = carriers(master, &places, head, grant)?;
        let mut length = 0;
        while let Some(piece) = coming::next(shared, Door::Blob, &mut body).await? {
            length += piece.len() as u64;
            carriers.take(&piece).await?;
        }
        if length == 0 || bytes(headers).is_some_and(|bytes| bytes != length) {
            let text = "an object must have at least one byte, and all it says";
            return Err(Wrong::new(411, text).into());
        }
        Ok(Came { bytes: length, kept: carriers.finish().await? })
    }
}

/// What brings an object to some volumes.
pub(super) fn carriers<'a>(
    master: &Master,
    places: &[(Arc<Member>, Known)],
    head: Head<'a>,
    grant: &Grant,
) -> Result<Carriers<'a>, Told> {
    let mut carriers = Carriers::new(head);
    let part = Grant { is_part: true, ..grant.clone() };
    for (member, known) in places {
        let url = || master.url(member, known, head.key, &part);
        carriers.member(known.identity.uuid, member, url).map_err(of_volume)?;
    }
    Ok(carriers)
}

/// Takes an object away.
pub(super) async fn delete(master: &Master, key: &[u8], condition: door::Condition) -> Response {
    let Some(_busy) = master.begin(key) else { return busy() };
    answer(taken(master, key, condition).await)
}

async fn taken(master: &Master, key: &[u8], condition: door::Condition) -> Result<Response, Stop> {
    let row = master.row(key)?.ok_or(Told::Absent)?;
    if master.protects() && !row.is_unlinked {
        return Err(Wrong::new(
            403,
            "it must be unlinked before; the master was started with --protect",
        )
        .into());
    }
    let condition = Master::condition(condition, Some(&row))?;
    let generation = master.generation()?;
    let buried = bury(master, key, generation, &row).await?;
    let has_buried = |volume| buried.contains(&volume);
    match master.remove(key, generation, condition.known(), has_buried).await {
        Ok(Changed::Done | Changed::Superseded) => Ok(empty(204)),
        Ok(Changed::Refused) => Err(Told::Refused.into()),
        Ok(Changed::Absent | Changed::Late) => Err(Told::Absent.into()),
        Err(why) => Err(Told::Failed(why).into()),
    }
}

/// Has those of the volumes that answer write down that an object is deleted. Returns which did: the others do when
/// they are back.
pub(super) async fn bury(
    master: &Master,
    key: &[u8],
    generation: u64,
    row: &Row,
) -> Result<Vec<u32>, Told> {
    let ordered = row.replicas.iter().filter_map(|&Replica { volume, extent, offset }| {
        let (member, _) = master.member(volume)?;
        let place = Place { extent, offset, bytes: row.bytes };
        Some((volume, Master::bury(&member, key, generation, place)))
    });
    let mut burying = JoinSet::new();
    for (volume, buried) in ordered {
        burying.spawn_local(async move { (volume, buried.await) });
    }
    let mut buried = Vec::with_capacity(row.replicas.len());
    for (volume, outcome) in burying.join_all().await {
        match outcome {
            Ok(()) => buried.push(volume),
            Err(Told::Away(_)) => {}
            Err(come_to) => return Err(come_to),
        }
    }
    Ok(buried)
}
