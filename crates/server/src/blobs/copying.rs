//! Copies an object from one volume to another, piece by piece and not faster than it may be.
//!
//! 1. What is copied was verified by who gave it, and has the length and, where one is known, the MD5 that the index
//!    says; anything else is no copy.
//! 2. Two pieces of an object are in memory, however large it is.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use olivine_blobs::{
    Error, Head, Place, Reading, Verb,
    index::Spot,
    row::{Replica, Row},
};
use olivine_s3::Pieces as _;
use tokio::task::spawn_blocking;

use super::{
    carrier::{Carriers, Kept, of_volume},
    fetching::{self, Fetched},
    master::{Known, Master, Member, Told, Way},
};

/// How much is read at once.
const PIECE_BYTES: usize = 512 << 10;
/// What an object costs beside its bytes, as pace has it.
const OBJECT_BYTES: u64 = 4 << 10;
/// What may be copied at once after a while in which nothing was.
const BURST_TIME: Duration = Duration::from_millis(100);

/// How fast objects are copied, all together.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When what was taken so far has its time.
    paid: Mutex<Duration>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), paid: Mutex::default() }
    }

    /// How long to wait before more is copied than `bytes`, which are to be copied at `now`.
    fn after(&self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        paid.saturating_sub(now + BURST_TIME)
    }

    async fn take(&self, master: &Master, bytes: u64) {
        let wait = self.after(bytes, master.time.clock().now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Copies an object from where it lies to a volume. Returns where it lies there.
pub(super) async fn copy(
    master: &Master,
    pace: &Pace,
    key: &[u8],
    row: &Row,
    from: &Replica,
    (target, there): (&Arc<Member>, &Known),
) -> Result<Place, Told> {
    pace.take(master, OBJECT_BYTES).await;
    let mut source = Source::begin(master, key, row, from).await?;
    let attributes = row.attributes.as_ref().map(|attributes| attributes.encode());
    let head = Head {
        key,
        generation: row.generation,
        expiry: row.expiry,
        wants_md5: row.digest.is_some(),
        bytes: Some(row.bytes),
        attributes: attributes.as_deref().unwrap_or_default(),
    };
    let url = || {
        let place = Place { extent: 0, offset: 0, bytes: row.bytes };
        let mut grant = master.grant(Verb::Put, row.generation, place);
        (grant.is_part, grant.expiry) = (true, row.expiry);
        grant.wants_digest = row.digest.is_some();
        master.url(target, there, key, &grant)
    };
    let mut carriers = Carriers::new(head);
    carriers.member(there.identity.uuid, target, url).map_err(of_volume)?;
    let mut bytes = 0;
    while let Some(piece) = source.next().await? {
        bytes += piece.len() as u64;
        pace.take(master, piece.len() as u64).await;
        carriers.take(&piece).await?;
    }
    if bytes != row.bytes {
        return Err(Told::Failed("a copy has another length than the object".to_owned()));
    }
    let Kept { digest, places } = carriers.finish().await?;
    if row.digest.is_some() && digest != row.digest {
        return Err(Told::Failed("a copy has another MD5 than the object".to_owned()));
    }
    let place = places.first().map(|(_, place)| Place { bytes, ..*place });
    place.ok_or_else(|| Told::Failed("a copy lies nowhere".to_owned()))
}

/// Where the bytes come from.
enum Source {
    /// A volume of this process.
    Here { reading: Arc<Reading>, offset: u64 },
    /// One of another.
    There(Fetched),
}

impl Source {
    async fn begin(master: &Master, key: &[u8], row: &Row, from: &Replica) -> Result<Source, Told> {
        let Replica { volume, extent, offset } = *from;
        let place = Place { extent, offset, bytes: row.bytes };
        let Some((member, known)) = master.member(volume) else {
            return Err(Told::Away("a volume is away".to_owned()));
        };
        match &member.way {
            Way::There(_) => {
                let grant = master.grant(Verb::Get, row.generation, place);
                let url = master.url(&member, &known, key, &grant);
                match fetching::get(&url, 0, row.bytes).await {
                    Ok(Some(fetched)) => Ok(Source::There(fetched)),
                    Ok(None) => Err(Told::Away("a volume does not find it".to_owned())),
                    Err(error) => Err(Told::Away(format!("a volume did not give it: {error}"))),
                }
            }
            Way::Here(host) => {
                let (host, owned, generation) = (Arc::clone(host), key.to_vec(), row.generation);
                let read = spawn_blocking(move || host.volume.read(&place, &owned, generation));
                match read.await.unwrap_or(Err(Error::Closed)) {
                    Ok(reading) => Ok(Source::Here { reading: Arc::new(reading), offset: 0 }),
                    Err(error) => {
                        // Those of other processes tell it themselves.
                        if extent != 0 && matches!(error, Error::Corrupt { .. }) {
                            let spot = Spot { extent, offset, bytes: 1 };
                            let told = master.index.add_damage(volume, &[spot]);
                            told.map_err(super::master::failed)?;
                        }
                        Err(of_volume(error))
                    }
                }
            }
        }
    }

    /// The next piece; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Told> {
        match self {
            Source::There(fetched) => {
                let piece = poll_fn(|cx| fetched.poll_piece(cx)).await.transpose();
                piece.map_err(|error| Told::Away(format!("a volume did not give it: {error}")))
            }
            Source::Here { reading, offset } if *offset < reading.len() => {
                let (again, from) = (Arc::clone(reading), *offset);
                let read = spawn_blocking(move || again.read_at(from, PIECE_BYTES));
                let piece = read.await.unwrap_or(Err(Error::Closed)).map_err(of_volume)?;
                *offset += piece.len() as u64;
                Ok(Some(piece.into()).filter(|piece: &Bytes| !piece.is_empty()))
            }
            Source::Here { .. } => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_copied_than_may_be() {
        let pace = Pace::new(1_000);
        let at = Duration::from_millis;
        assert_eq!(pace.after(100, at(0)), at(0), "a little at once");
        assert_eq!(pace.after(1_000, at(0)), at(1_000));
        assert_eq!(pace.after(500, at(1_000)), at(500));
        assert_eq!(pace.after(100, at(60_000)), at(0), "what was not used is not saved up");
        assert_eq!(pace.after(1_000, at(60_000)), at(1_000));
    }
}
