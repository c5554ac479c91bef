//! The master: says who may do what with which object on which volume, and knows what there is.
//!
//! 1. Nobody is sent to a volume for an object that is not there.
//! 2. What is published or removed is told when the index is durable.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use olivine_blobs::{
    GRANT_TIME, Grant, Head, Identity, Place, Secret, State as Said, Verb,
    index::{Burial, Changed, Condition, Index, Listed, Listing, Note, Replacing, Spot},
    own,
    placement::{self, Choice},
    row::{Replica, Row},
    talk::{Answer, Asked, Lying, Order, Published, State},
};
use olivine_doors::blob::{self as door, Manner, path_of};
use olivine_engine::{Bug, planted};
use tokio::time::timeout;

use super::{
    carrier::{self, Carriers, of_volume},
    healer::Health,
    link::Link,
    volume::Host,
};
use crate::{durable::Durable, time::Time};

/// What a volume writes down at once of what is gone.
const BURIALS: usize = 100;

/// How long somebody who is refused waits for a volume to write that down.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest object: 5 TiB.
pub(crate) const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// What methods are called by volumes that ask for somebody.
pub(super) const GET: u8 = 1;
pub(super) const PUT: u8 = 2;
pub(super) const DELETE: u8 = 3;

/// The place of what lies nowhere yet.
const NOWHERE: Place = Place { extent: 0, offset: 0, bytes: 0 };

/// Says who may do what with which object on which volume.
pub(crate) struct Master {
    pub(super) index: Index,
    durable: Durable,
    secret: Arc<Secret>,
    pub(crate) manner: Manner,
    /// On how many volumes an object lies.
    replicas: usize,
    /// On how many it must lie to be acknowledged.
    replicas_min: usize,
    /// Objects must be unlinked before they are deleted.
    protects: bool,
    /// Where those are sent who want to read what is not here.
    fallback: Option<String>,
    members: Vec<Arc<Member>>,
    /// Keys that are being changed, where the master itself brings objects to volumes.
    busy: Mutex<BTreeSet<Vec<u8>>>,
    /// How the objects are that were looked at, and what is to be looked at.
    pub(super) health: Health,
    /// Something was put on fewer volumes than it should.
    pub(super) has_thin: AtomicBool,
    pub(super) time: Arc<Time>,
}

/// Somebody changes a key.
pub(crate) struct Busy<'a> {
    master: &'a Master,
    key: Vec<u8>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.master.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a master is to be.
pub(crate) struct MasterOptions {
    pub(crate) manner: Manner,
    pub(crate) replicas: usize,
    pub(crate) replicas_min: usize,
    pub(crate) protects: bool,
    pub(crate) fallback: Option<String>,
}

/// A volume, as the master has it.
pub(crate) struct Member {
    /// Where clients find it: `http://host:port`.
    pub(crate) url: String,
    pub(crate) way: Way,
    /// What goes to a volume of another process without its door.
    pub(super) link: Link,
    known: Mutex<Option<Known>>,
}

/// How the master reaches a volume.
pub(crate) enum Way {
    /// It is in this process.
    Here(Arc<Host>),
    /// It is in another, behind a door at `host:port`.
    There(String),
}

/// What is known of a volume that answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    /// What the index calls it.
    pub(super) number: u32,
    /// Bytes that it has room for.
    room: u64,
    pub(super) takes_writes: bool,
    /// Bytes of it that lie in a bucket.
    far_bytes: u64,
}

/// What somebody is told who asked the master.
#[derive(Debug)]
pub(crate) enum Told {
    /// To go there.
    There {
        url: String,
        /// What is there, if something is.
        row: Option<Row>,
    },
    /// There is no such object.
    Absent,
    /// What is there is not as it must be.
    Refused,
    /// It is made of parts, and no volume has it as a whole.
    InParts,
    /// It cannot be done now.
    Away(String),
    /// It failed.
    Failed(String),
}

type Outcome<T> = Result<T, Told>;

impl Told {
    /// Why nobody is sent anywhere.
    pub(super) fn why(self) -> String {
        match self {
            Told::Away(why) | Told::Failed(why) => why,
            Told::There { .. } | Told::Absent | Told::Refused | Told::InParts => {
                "it is not there".to_owned()
            }
        }
    }
}

impl Member {
    pub(crate) fn new(url: String, way: Way) -> Member {
        Member { url, way, link: Link::default(), known: Mutex::default() }
    }

    pub(super) fn known(&self) -> Option<Known> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is known of it; nothing while it does not answer.
    pub(crate) fn set(&self, known: Option<Known>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Master {
    pub(crate) fn new(
        index: Index,
        secret: Arc<Secret>,
        members: Vec<Arc<Member>>,
        time: Arc<Time>,
        options: MasterOptions,
    ) -> Master {
        let durable = Durable::of(index.db());
        let MasterOptions { manner, replicas, replicas_min, protects, fallback } = options;
        Master {
            index,
            durable,
            secret,
            manner,
            replicas,
            replicas_min,
            protects,
            fallback,
            members,
            busy: Mutex::default(),
            health: Health::default(),
            has_thin: AtomicBool::new(false),
            time,
        }
    }

    /// Closes the index.
    pub(crate) fn close(self) -> olivine_engine::Result<()> {
        self.index.close()
    }

    /// A generation that nobody was given before.
    pub(crate) fn generation(&self) -> Outcome<u64> {
        self.index.generation().map_err(failed)
    }

    /// Keeps others from a key until what is returned is dropped; nothing while they keep it.
    pub(crate) fn begin(&self, key: &[u8]) -> Option<Busy<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(key.to_vec()).then(|| Busy { master: self, key: key.to_vec() })
    }

    pub(crate) fn protects(&self) -> bool {
        self.protects
    }

    /// Where somebody is sent who wants to read what is not here, if anywhere.
    pub(super) fn fallback(&self, key: &[u8]) -> Option<String> {
        self.fallback.as_ref().map(|fallback| format!("{fallback}{}", path_of(key)))
    }

    /// Learns how the volumes of this process are.
    pub(crate) fn look(&self) -> olivine_engine::Result<()> {
        for member in &self.members {
            if let Way::Here(host) = &member.way {
                self.learn(member, host.volume.identity(), host.state())?;
            }
        }
        Ok(())
    }

    /// Learns how a volume is.
    pub(crate) fn learn(
        &self,
        member: &Member,
        identity: Identity,
        state: State,
    ) -> olivine_engine::Result<()> {
        let State { room, takes_writes, far_bytes } = state;
        let number = self.index.number_of(&identity.uuid)?;
        member.set(Some(Known { identity, number, room, takes_writes, far_bytes }));
        Ok(())
    }

    /// Bytes in buckets of the volumes that answer.
    pub(super) fn far_bytes(&self) -> u64 {
        self.members.iter().filter_map(|member| member.known()).map(|known| known.far_bytes).sum()
    }

    /// The volumes.
    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// How many of them take objects, answer and do not, and do not answer.
    pub(crate) fn states(&self) -> [usize; 3] {
        let mut states = [0; 3];
        for member in &self.members {
            states[match member.known() {
                Some(Known { takes_writes: true, .. }) => 0,
                Some(_) => 1,
                None => 2,
            }] += 1;
        }
        states
    }

    /// What master and volumes share.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Answers a volume.
    pub(crate) async fn answer(&self, asked: &Asked) -> Answer {
        match asked {
            Asked::Publish(published) => changed(self.publish(published).await),
            Asked::Remove { key, generation, known, volume } => {
                let number = self.index.number_of(volume);
                match number.map_err(|error| error.to_string()) {
                    Ok(number) => {
                        changed(self.remove(key, *generation, *known, |one| one == number).await)
                    }
                    Err(why) => Answer::Failed(why),
                }
            }
            Asked::Grant { verb, key } => self.granted(*verb, key),
            Asked::Others { key, generation, expiry, wants_digest, volume } => {
                let mut grant = self.grant(Verb::Put, *generation, NOWHERE);
                grant.place.bytes = OBJECT_BYTES_MAX;
                (grant.expiry, grant.wants_digest) = (*expiry, *wants_digest);
                self.others(key, &grant, volume)
            }
            Asked::Spread { key, generation, expiry, wants_digest, volume, value } => {
                let (expiry, wants_md5) = (*expiry, *wants_digest);
                let bytes = Some(value.len() as u64);
                let generation = *generation;
                let head = Head { key, generation, expiry, wants_md5, attributes: &[], bytes };
                self.spread(head, volume, value).await
            }
            Asked::Names { volume, records } => self.named(volume, records),
            Asked::Moved { volume, records, places } => self.moved(volume, records, places).await,
            Asked::Is(_) => Answer::Nothing,
            Asked::Damaged { volume, sought, spots } => {
                let told = self.damaged(volume, sought.as_ref(), spots);
                told.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Each)
            }
            Asked::Unlinked { volume, records } => {
                let unlinked = || {
                    let number = self.index.number_of(volume)?;
                    let is_unlinked =
                        |one: &Lying| self.index.is_unlinked_on(number, &one.key, one.generation);
                    records.iter().map(is_unlinked).collect::<olivine_engine::Result<_>>()
                };
                unlinked().map_or_else(|error| Answer::Failed(error.to_string()), Answer::Each)
            }
        }
    }

    /// A volume is damaged. What of that is news is seen to.
    fn damaged(
        &self,
        volume: &[u8; 16],
        sought: Option<&Lying>,
        spots: &[Spot],
    ) -> olivine_engine::Result<Vec<bool>> {
        let number = self.index.number_of(volume)?;
        if let Some(Lying { key, generation, place }) = sought
            && !self.index.names(number, key, *generation, place, self.time.now())?
        {
            // Whoever sought it came late: it is elsewhere, or nowhere.
            return Ok(vec![false; spots.len()]);
        }
        let each = self.index.add_damage(number, spots)?;
        if each.contains(&true) {
            self.health.wake();
        }
        Ok(each)
    }

    /// Where somebody would be sent who came to a volume without having been.
    fn granted(&self, verb: u8, key: &[u8]) -> Answer {
        if own::is_own(key) {
            return Answer::Absent;
        }
        let told = match verb {
            PUT => self.put(key, door::Condition::Any, None),
            DELETE => self.delete(key, door::Condition::Any),
            _ => self.get(key),
        };
        match told {
            Told::There { url, .. } => Answer::Urls(vec![([0; 16], url)]),
            come_to => unable(come_to),
        }
    }

    /// Where else an object goes that somebody brings to one volume.
    fn others(&self, key: &[u8], grant: &Grant, volume: &[u8; 16]) -> Answer {
        let grant = Grant { is_part: true, ..grant.clone() };
        let url = |(member, known): &(Arc<Member>, Known)| {
            (known.identity.uuid, self.url(member, known, key, &grant))
        };
        match self.other_places(key, volume) {
            Ok(places) => Answer::Urls(places.iter().map(url).collect()),
            Err(come_to) => unable(come_to),
        }
    }

    fn other_places(&self, key: &[u8], volume: &[u8; 16]) -> Outcome<Vec<(Arc<Member>, Known)>> {
        if self.replicas == 1 {
            return Ok(Vec::new());
        }
        let row = self.row(key)?;
        let mut places = self.places(key, row.as_ref())?;
        match places.iter().position(|(_, known)| known.identity.uuid == *volume) {
            Some(asking) => drop(places.remove(asking)),
            // What was best has changed since; it lies there all the same.
            None if places.len() == self.replicas => drop(places.pop()),
            None => {}
        }
        Ok(places)
    }

    /// Has an object be kept where else it goes.
    async fn spread(&self, head: Head<'_>, volume: &[u8; 16], value: &[u8]) -> Answer {
        let kept = async {
            let mut carriers = Carriers::new(head);
            for (member, known) in self.other_places(head.key, volume)? {
                // It is short.
                let nowhere = String::new;
                carriers.member(known.identity.uuid, &member, nowhere).map_err(of_volume)?;
            }
            carriers.take(&Bytes::copy_from_slice(value)).await?;
            carriers.finish().await
        };
        match kept.await {
            Ok(kept) => Answer::Places(kept.places),
            Err(come_to) => unable(come_to),
        }
    }

    /// Which of some records are what lies under their keys.
    fn named(&self, volume: &[u8; 16], records: &[Lying]) -> Answer {
        let names = || {
            let (number, now) = (self.index.number_of(volume)?, self.time.now());
            let is_named = |record: &Lying| {
                let Lying { key, generation, place } = record;
                self.index.names(number, key, *generation, place, now)
            };
            records.iter().map(is_named).collect::<olivine_engine::Result<_>>()
        };
        names().map_or_else(|error| Answer::Failed(error.to_string()), Answer::Each)
    }

    /// Records were moved. Answers for which of them that is known now, when it lasts.
    async fn moved(&self, volume: &[u8; 16], records: &[Lying], places: &[Place]) -> Answer {
        let relocate = || {
            let number = self.index.number_of(volume)?;
            let (mut each, mut last) = (Vec::with_capacity(records.len()), None);
            for (Lying { key, generation, place }, to) in records.iter().zip(places) {
                let (changed, seqno) = self.index.relocate(number, key, *generation, place, to)?;
                each.push(changed == Changed::Done);
                last = last.max(Some(seqno));
            }
            Ok::<_, olivine_engine::Error>((each, last))
        };
        let (each, last) = match relocate() {
            Ok(relocated) => relocated,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        if let Some(last) = last
            && let Err(why) = self.durable.reach(self.index.db(), last).await
        {
            return Answer::Failed(why);
        }
        Answer::Each(each)
    }

    /// What is under a key, unlinked or not.
    pub(crate) fn row(&self, key: &[u8]) -> Outcome<Option<Row>> {
        self.index.get(key, self.time.now()).map_err(failed)
    }

    /// What is under a key for those who read.
    fn live(&self, key: &[u8]) -> Outcome<Option<Row>> {
        Ok(self.row(key)?.filter(|row| !row.is_unlinked))
    }

    /// Sends somebody who wants to read.
    pub(crate) fn get(&self, key: &[u8]) -> Told {
        let row = match self.live(key) {
            Ok(Some(row)) => row,
            Ok(None) => return Told::Absent,
            Err(told) => return told,
        };
        if row.parts().is_some() {
            return Told::InParts;
        }
        let Some((member, known, place)) = self.nearest(key, &row) else { return nowhere() };
        let url = self.url(&member, &known, key, &self.grant(Verb::Get, row.generation, place));
        Told::There { url, row: Some(row) }
    }

    /// Sends somebody who wants to put something.
    pub(crate) fn put(&self, key: &[u8], condition: door::Condition, ttl: Option<u64>) -> Told {
        let asked = || {
            let row = self.row(key)?;
            let live = row.as_ref().filter(|row| !row.is_unlinked);
            let condition = match (Master::condition(condition, live)?, &row) {
                // What is unlinked may be replaced, and nothing else.
                (Condition::Absent, Some(row)) => Condition::Is(row.generation),
                (condition, _) => condition,
            };
            // There must be enough of them, though whoever asks is sent to one.
            let (member, known) = self.places(key, row.as_ref())?.remove(0);
            let mut grant = self.new_object(condition, ttl)?;
            grant.has_others = 1 < self.replicas;
            Ok(Told::There { url: self.url(&member, &known, key, &grant), row })
        };
        asked().unwrap_or_else(|told| told)
    }

    /// Sends somebody who wants to delete something.
    pub(crate) fn delete(&self, key: &[u8], condition: door::Condition) -> Told {
        let asked = || {
            let row = self.row(key)?.ok_or(Told::Absent)?;
            let condition = Master::condition(condition, Some(&row))?;
            let Some((member, known, place)) = self.nearest(key, &row) else {
                return Err(nowhere());
            };
            let generation = self.index.generation().map_err(failed)?;
            let known_there = condition.known();
            let mut grant = self.grant(Verb::Delete, generation, place);
            grant.known = known_there;
            Ok(Told::There { url: self.url(&member, &known, key, &grant), row: Some(row) })
        };
        asked().unwrap_or_else(|told| told)
    }

    /// A grant for an object that nobody has put yet.
    pub(crate) fn new_object(&self, condition: Condition, ttl: Option<u64>) -> Outcome<Grant> {
        let generation = self.index.generation().map_err(failed)?;
        let place = Place { extent: 0, offset: 0, bytes: OBJECT_BYTES_MAX };
        let mut grant = self.grant(Verb::Put, generation, place);
        grant.known = condition.known();
        grant.expiry = ttl.map(|seconds| self.time.now().saturating_add(seconds * 1_000));
        grant.wants_digest = self.manner != Manner::Smol;
        Ok(grant)
    }

    /// What must be there for a change to happen, as of what is there now.
    pub(crate) fn condition(condition: door::Condition, row: Option<&Row>) -> Outcome<Condition> {
        let condition = match (condition, row) {
            (door::Condition::Any, _) => Condition::Any,
            (door::Condition::Absent, None) => Condition::Absent,
            (door::Condition::Absent, Some(_)) | (door::Condition::Present, None) => {
                return Err(Told::Refused);
            }
            (door::Condition::Present, Some(row)) => Condition::Is(row.generation),
            (door::Condition::Is(generation), _) => Condition::Is(generation),
        };
        match condition {
            Condition::Is(_) if !condition.holds(row) => Err(Told::Refused),
            condition => Ok(condition),
        }
    }

    pub(crate) fn grant(&self, verb: Verb, generation: u64, place: Place) -> Grant {
        let until = self.time.now() + GRANT_TIME.as_millis() as u64;
        Grant {
            verb,
            generation,
            until,
            place,
            is_part: false,
            has_others: false,
            wants_digest: false,
            known: None,
            expiry: None,
        }
    }

    pub(crate) fn url(&self, member: &Member, known: &Known, key: &[u8], grant: &Grant) -> String {
        let text = self.secret.grant(&known.identity, key, grant);
        let (url, path) = (&member.url, path_of(key));
        format!("{url}{path}?grant={text}")
    }

    /// Has a volume write down that an object is deleted. It is asked before this is waited for.
    pub(crate) fn bury(
        member: &Member,
        key: &[u8],
        generation: u64,
        place: Place,
    ) -> impl Future<Output = Outcome<()>> + use<> {
        let way = match &member.way {
            Way::Here(host) => Ok((Arc::clone(host), key.to_vec())),
            Way::There(_) => Err(member.link.order(&Order::Bury { key, generation, place })),
        };
        async move {
            let buried = match way {
                Ok((host, key)) => host.bury(&key, generation, &place).await.map_err(of_volume),
                Err(ordered) => carrier::stored(ordered.await),
            };
            buried.map(drop)
        }
    }

    /// A volume that answers and has an object, and where.
    pub(crate) fn nearest(&self, key: &[u8], row: &Row) -> Option<(Arc<Member>, Known, Place)> {
        // Readers of one key meet at one volume, those of many are spread over all.
        let first = key.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
        let count = row.replicas.len();
        let among = |is_right: &dyn Fn(&Replica) -> bool| {
            (0..count).find_map(|nth| {
                let replica = &row.replicas[(first + nth) % count];
                let (member, known) = is_right(replica).then(|| self.member(replica.volume))??;
                let Replica { extent, offset, .. } = *replica;
                Some((member, known, Place { extent, offset, bytes: row.bytes }))
            })
        };
        // One that is damaged is better than none: it may be so in a part that nobody asks for.
        let is_whole = |replica: &Replica| self.index.damage_of(key, row, replica).is_none();
        among(&is_whole).or_else(|| among(&|_| true))
    }

    /// The volume that the index calls by this number, if it answers.
    pub(crate) fn member(&self, number: u32) -> Option<(Arc<Member>, Known)> {
        self.members.iter().find_map(|member| {
            let known = member.known().filter(|known| known.number == number)?;
            Some((Arc::clone(member), known))
        })
    }

    /// The volumes that take objects now.
    pub(super) fn able(&self) -> Vec<(Arc<Member>, Known)> {
        let able = self.members.iter().filter_map(|member| {
            let known = member.known().filter(|known| known.takes_writes)?;
            Some((Arc::clone(member), known))
        });
        able.collect()
    }

    /// The volumes that a new object goes to.
    pub(crate) fn places(
        &self,
        key: &[u8],
        row: Option<&Row>,
    ) -> Outcome<Vec<(Arc<Member>, Known)>> {
        let able = self.able();
        let mut chosen: Vec<usize> = Vec::new();
        // Where something is already, so that its end lies beside its beginning.
        for replica in row.iter().flat_map(|row| &row.replicas) {
            chosen.extend(able.iter().position(|(_, known)| known.number == replica.volume));
        }
        for place in placement::order(key, &choices(&able)) {
            if !chosen.contains(&place) {
                chosen.push(place);
            }
        }
        chosen.truncate(self.replicas);
        if chosen.len() < self.replicas_min {
            let (volumes, able, count) = (self.members.len(), able.len(), self.replicas_min);
            return Err(Told::Away(format!(
                "of {volumes} volumes {able} can take it now, and it wants {count}; they are full, read-only or away"
            )));
        }
        Ok(chosen.into_iter().map(|place| able[place].clone()).collect())
    }

    /// On how many volumes a new object lies.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    /// Has an object lie elsewhere. Returns when that lasts.
    pub(super) async fn replace(
        &self,
        key: &[u8],
        generation: u64,
        replacing: &Replacing,
    ) -> Result<Changed, String> {
        self.lasting(self.index.replace(key, generation, replacing)).await
    }

    /// Has an object be known. Returns when that lasts.
    pub(crate) async fn publish(&self, published: &Published) -> Result<Changed, String> {
        let Published { key, generation, bytes, digest, expiry, known, places } = published;
        if own::is_own(key) {
            return Err("the key is the store's own".to_owned());
        }
        let replicas = self.replicas_at(places)?;
        let (generation, bytes, digest, expiry) = (*generation, *bytes, *digest, *expiry);
        let row = Row {
            generation,
            bytes,
            digest,
            expiry,
            is_unlinked: false,
            replicas,
            attributes: None,
        };
        self.note_thin(&row);
        let condition = Condition::of_known(*known);
        let changed = self.index.publish(key, &row, condition, self.time.now());
        self.published(key, &row, changed).await
    }

    /// Returns what came of publishing when that lasts, on the volumes too: whoever makes an index of them must not find
    /// there what was refused.
    pub(crate) async fn published(
        &self,
        key: &[u8],
        row: &Row,
        changed: olivine_engine::Result<(Changed, olivine_engine::SeqNo)>,
    ) -> Result<Changed, String> {
        let changed = self.lasting(changed).await?;
        // What is newer lies on volumes, too, and whoever reads them knows by that.
        if !matches!(changed, Changed::Done | Changed::Superseded) {
            self.leave(key, row).await.map_err(|error| error.to_string())?;
        }
        Ok(changed)
    }

    /// Has volumes write down that bytes count for nothing that were to be an object. Those that cannot now do some
    /// time, and for that it is in the index.
    async fn leave(&self, key: &[u8], row: &Row) -> olivine_engine::Result<()> {
        let Row { generation, bytes, .. } = *row;
        for &Replica { volume, extent, offset } in &row.replicas {
            let place = Place { extent, offset, bytes };
            let Some((member, known)) = self.member(volume) else { continue };
            if !self.index.is_to_leave(volume, generation, &place)? {
                continue;
            }
            let left = Said::Left(place);
            let noted = self.note(&member, &known, key, generation, &left);
            if matches!(timeout(LEAVING_TIME_MAX, noted).await, Ok(Ok(()))) {
                self.index.has_left(volume, generation, &place)?;
            }
        }
        Ok(())
    }

    /// Has it be seen to that something is copied that lies on too few volumes.
    pub(super) fn note_thin(&self, row: &Row) {
        if row.replicas.len() < self.replicas {
            self.has_thin.store(true, Relaxed);
        }
    }

    /// Where volumes have something, as rows have it.
    pub(crate) fn replicas_at(&self, places: &[([u8; 16], Place)]) -> Result<Vec<Replica>, String> {
        let mut replicas = Vec::with_capacity(places.len());
        for (uuid, Place { extent, offset, .. }) in places {
            let volume = self.index.number_of(uuid).map_err(|error| error.to_string())?;
            replicas.push(Replica { volume, extent: *extent, offset: *offset });
        }
        Ok(replicas)
    }

    /// The index, for who changes more in it than an object, and waits with `lasting`.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The time in milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Has what was under a key before `generation` be there no more. Returns when that lasts.
    pub(crate) async fn remove(
        &self,
        key: &[u8],
        generation: u64,
        known: Option<u64>,
        buried: impl Fn(u32) -> bool,
    ) -> Result<Changed, String> {
        let condition = Condition::of_known(known);
        let now = self.time.now();
        self.lasting(self.index.remove(key, generation, condition, buried, now)).await
    }

    /// Has volumes write down what they have not yet of what is gone.
    pub(crate) async fn bury_some(&self) -> olivine_engine::Result<()> {
        for member in &self.members {
            let Some(known) = member.known() else { continue };
            let ordered = |burial: Burial| {
                let Burial { key, generation, place } = &burial;
                (Master::bury(member, key, *generation, *place), burial)
            };
            let burials = self.index.burials(known.number, BURIALS)?;
            let ordered: Vec<_> = burials.into_iter().map(ordered).collect();
            for (buried, burial) in ordered {
                if buried.await.is_err() {
                    break;
                }
                self.index.buried(known.number, &burial)?;
            }
            for note in self.index.notes(known.number, self.time.now(), BURIALS)? {
                let Note { key, generation, state, .. } = &note;
                if self.note(member, &known, key, *generation, state).await.is_err() {
                    break;
                }
                self.index.noted(&note)?;
            }
        }
        Ok(())
    }

    /// Has a volume write something down of an object.
    async fn note(
        &self,
        member: &Member,
        known: &Known,
        key: &[u8],
        generation: u64,
        said: &Said,
    ) -> Outcome<()> {
        match &member.way {
            Way::Here(host) => host.note(key, generation, said).await.map_err(of_volume),
            Way::There(_) => {
                let mut grant = self.grant(Verb::Note, generation, NOWHERE);
                grant.is_part = true;
                carrier::note(&self.url(member, known, key, &grant), said.encode()).await
            }
        }
    }

    /// Has an object be deleted to those who read. Returns when that lasts.
    pub(crate) async fn unlink(&self, key: &[u8], row: &Row) -> Result<Changed, String> {
        let mut noted = Vec::with_capacity(row.replicas.len());
        for replica in &row.replicas {
            let Some((member, known)) = self.member(replica.volume) else { continue };
            // Who cannot write it down now does some time, and for that it is in the index.
            if self.note(&member, &known, key, row.generation, &Said::Unlinked).await.is_ok() {
                noted.push(replica.volume);
            }
        }
        let has_noted = |volume| noted.contains(&volume);
        let now = self.time.now();
        self.lasting(self.index.unlink(key, row.generation, has_noted, now)).await
    }

    /// Returns what came of a change when that lasts.
    pub(crate) async fn lasting(
        &self,
        changed: olivine_engine::Result<(Changed, olivine_engine::SeqNo)>,
    ) -> Result<Changed, String> {
        let (changed, seqno) = changed.map_err(|error| error.to_string())?;
        if planted(Bug::ObjectToldEarly) {
            return Ok(changed);
        }
        // What was found is waited for, too: it must not be told before it lasts.
        self.durable.reach(self.index.db(), seqno).await?;
        Ok(changed)
    }

    /// A part of a list of what there is.
    pub(crate) fn list(
        &self,
        prefix: &[u8],
        start: &[u8],
        limit: usize,
        unlinked: bool,
    ) -> Outcome<Listed> {
        let now = self.time.now();
        let listing = Listing { prefix, start, limit, unlinked, now };
        self.index.list(&listing).map_err(failed)
    }
}

/// What a key is placed among.
pub(super) fn choices(able: &[(Arc<Member>, Known)]) -> Vec<Choice> {
    let choice = |(_, known): &(Arc<Member>, Known)| Choice {
        uuid: known.identity.uuid,
        weight: weight(known.room),
    };
    able.iter().map(choice).collect()
}

/// How much of all a volume is to have that has room for so much.
fn weight(room: u64) -> f64 {
    // By the logarithm's steps, so that what goes where changes seldom: a quarter less room is the next step.
    let steps = (room.max(1) as f64).log(4.0 / 3.0).floor();
    (4.0_f64 / 3.0).powf(steps)
}

fn changed(outcome: Result<Changed, String>) -> Answer {
    outcome.map_or_else(Answer::Failed, Answer::Changed)
}

/// What a volume is answered that asked where to.
fn unable(come_to: Told) -> Answer {
    match come_to {
        Told::Away(why) => Answer::Away(why),
        Told::Failed(why) => Answer::Failed(why),
        Told::There { .. } | Told::Absent | Told::Refused | Told::InParts => Answer::Absent,
    }
}

fn nowhere() -> Told {
    Told::Away("no volume that has it answers now; try again".to_owned())
}

pub(crate) fn failed(error: olivine_engine::Error) -> Told {
    Told::Failed(error.to_string())
}
