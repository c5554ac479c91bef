//! What the master does itself in minikeyvalue's manner: bring an object to the volumes, and take it away.
//!
//! 1. What is acknowledged lies on as many volumes as it should.
//! 2. Nothing that is there is overwritten.

use std::sync::Arc;

use hyper::{HeaderMap, body::Incoming};
use olivine_blobs::{
    Grant, Head, Place, Stored,
    index::{Changed, Condition},
    row::Row,
    talk::Published,
};
use olivine_doors::{
    blob::{self as door, Manner, Wrong},
    http::Response,
};

use super::{
    coming,
    door::{away, bytes, empty, refused, text, told},
    master::{Master, Member, Told, Way},
    volume::Receiving,
};
use crate::{settings::Door, worker::Shared};

/// Why something was not done.
enum Stop {
    Told(Told),
    Wrong(Wrong),
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

fn answer(outcome: Result<Response, Stop>) -> Response {
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
fn busy() -> Response {
    text(409, "another request changes this key; try again")
}

async fn brought(
    master: &Master,
    shared: &Shared,
    key: &[u8],
    condition: door::Condition,
    ttl: Option<u64>,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Response, Stop> {
    let row = master.row(key)?;
    let live = row.as_ref().filter(|row| !row.is_unlinked);
    Master::condition(condition, live)?;
    if live.is_some() {
        return Err(Told::Refused.into());
    }
    let there = row.as_ref().map_or(Condition::Absent, |row| Condition::Is(row.generation));
    let grant = master.new_object(there, ttl)?;
    let places = master.places(key, row.as_ref(), master.replicas())?;
    let mut carriers = Vec::with_capacity(places.len());
    for (member, known) in &places {
        let carrier = Carrier::begin(member, key, &grant, bytes(headers))?;
        carriers.push((known.identity.uuid, carrier));
    }
    let mut length = 0;
    while let Some(piece) = coming::next(shared, Door::Blob, &mut body).await? {
        length += piece.len() as u64;
        for (_, carrier) in &mut carriers {
            carrier.take(&piece).await?;
        }
    }
    if length == 0 || bytes(headers).is_some_and(|bytes| bytes != length) {
        return Err(
            Wrong::new(411, "an object must have at least one byte, and all it says").into()
        );
    }
    let mut places = Vec::with_capacity(carriers.len());
    let mut digest = None;
    for (uuid, stored) in finished(carriers).await {
        let stored = stored?;
        digest = stored.digest;
        places.push((uuid, stored.place));
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
    match master.publish(&published).await {
        Ok(Changed::Done | Changed::Superseded) => Ok(empty(201)),
        Ok(Changed::Refused | Changed::Absent) => Err(Told::Refused.into()),
        Ok(Changed::Late) => {
            Ok(away("it took so long that it cannot be told from what was deleted; put it again"))
        }
        Err(why) => Err(Told::Failed(why).into()),
    }
}

/// Brings an object to one volume.
enum Carrier {
    Here(Receiving),
}

impl Carrier {
    fn begin(
        member: &Arc<Member>,
        key: &[u8],
        grant: &Grant,
        bytes: Option<u64>,
    ) -> Result<Carrier, Told> {
        let Way::Here(host) = &member.way else { return Err(Told::Away("TODO".into())) };
        let head = Head {
            key,
            generation: grant.generation,
            expiry: grant.expiry,
            wants_md5: grant.wants_digest,
            bytes,
        };
        Receiving::new(host, &head).map(Carrier::Here).map_err(of_volume)
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Told> {
        match self {
            Carrier::Here(receiving) => receiving.take(piece).await.map_err(of_volume),
        }
    }

    async fn finish(self) -> Result<Stored, Told> {
        match self {
            Carrier::Here(receiving) => receiving.finish().await.map_err(of_volume),
        }
    }
}

/// What an error of a volume is to who asked the master.
fn of_volume(error: olivine_blobs::Error) -> Told {
    match error {
        olivine_blobs::Error::Full { .. }
        | olivine_blobs::Error::ReadOnly { .. }
        | olivine_blobs::Error::Busy
        | olivine_blobs::Error::Closed => Told::Away(error.to_string()),
        error => Told::Failed(error.to_string()),
    }
}

/// Waits until all have it.
async fn finished(carriers: Vec<([u8; 16], Carrier)>) -> Vec<([u8; 16], Result<Stored, Told>)> {
    let mut finishing = tokio::task::JoinSet::new();
    for (uuid, carrier) in carriers {
        finishing.spawn_local(async move { (uuid, carrier.finish().await) });
    }
    finishing.join_all().await
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
    bury(master, key, generation, &row).await?;
    match master.remove(key, generation, condition.known()).await {
        Ok(Changed::Done | Changed::Superseded) => Ok(empty(204)),
        Ok(Changed::Refused) => Err(Told::Refused.into()),
        Ok(Changed::Absent | Changed::Late) => Err(Told::Absent.into()),
        Err(why) => Err(Told::Failed(why).into()),
    }
}

/// Has the volumes write down that an object is deleted.
async fn bury(master: &Master, key: &[u8], generation: u64, row: &Row) -> Result<(), Told> {
    for replica in &row.replicas {
        let Some((member, _)) = master.member(replica.volume) else {
            return Err(Told::Away("a volume that has it does not answer; try again".to_owned()));
        };
        let Way::Here(host) = &member.way else { return Err(Told::Away("TODO".into())) };
        let place = Place { extent: replica.extent, offset: replica.offset, bytes: row.bytes };
        host.bury(key, generation, &place).await.map_err(of_volume)?;
    }
    Ok(())
}
