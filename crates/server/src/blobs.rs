//! Blobs over sockets: the master's door and the volumes'.
//!
//! Whoever wants an object asks the master, and is sent to a volume with a grant that the master signed; the
//! volume carries it out, and tells the master what it has.
//!
//! 1. A volume does nothing for who brings no grant, unless it was opened to everybody.
//! 2. Where somebody is sent is what the volume is known by, never what a request said.

mod carrier;
mod coming;
mod copying;
mod door;
mod fetching;
mod healer;
mod keeper;
mod key_file;
mod link;
mod master;
mod proxy;
mod s3;
mod s3_keys;
mod tier;
mod uploads;
mod volume;
mod volume_door;

use std::{
    io,
    path::Path,
    rc::Rc,
    sync::{Arc, OnceLock, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use olivine_blobs::{FarWork, Opened, Usage, Volume, VolumeOptions, index::Index};
use olivine_doors::blob::Manner;
use olivine_engine::{Environment, Options};
use olivine_s3::Service;

pub(crate) use door::respond as respond_master;
pub(crate) use s3::respond as respond_s3;
pub use tier::bucket;
pub(crate) use volume_door::respond as respond_volume;

use tokio::{
    io::AsyncReadExt as _,
    sync::watch,
    task::{JoinHandle, spawn_local},
    time::timeout,
};

use crate::{
    counted::Counted,
    http,
    node::{Problem, make_dirs},
    patience::Wait,
    secret,
    settings::{BlobSettings, Door, MasterSettings},
    stream::Stream,
    time::Time,
    worker::Served,
};
use healer::Healing;
use keeper::{Tending, Tiering};
use link::{Link, MAGIC};
use master::{Master, MasterOptions, Member, Way};
use s3::Objects;
use volume::{Asking, Host};

/// How often it is looked how the volumes are.
const LOOK: Duration = Duration::from_secs(1);

/// The blobs of a node.
pub(crate) struct Blobs {
    pub(crate) master: Option<Arc<Master>>,
    pub(crate) volume: Option<Arc<Host>>,
    /// Who answers at the master's door, if it speaks as S3.
    pub(crate) s3: Option<Service>,
    tending: Option<Tending>,
    time: Arc<Time>,
    healing: Option<Healing>,
}

impl Blobs {
    /// Opens what there is to be of blobs; their volume is found at `url`.
    pub(crate) fn open(
        settings: &BlobSettings,
        environment: &Environment,
        options: Options,
        time: &Arc<Time>,
        url: Option<String>,
    ) -> Result<Blobs, Problem> {
        if settings.master.is_none() && settings.volume.is_none() {
            let (s3, tending, healing) = (None, None, None);
            let time = Arc::clone(time);
            return Ok(Blobs { master: None, volume: None, s3, tending, time, healing });
        }
        let vfs = environment.vfs();
        let keys = match &settings.master {
            Some(MasterSettings { manner: Manner::S3, s3_keys, .. }) => {
                Some(s3_keys::read(&**vfs, s3_keys.as_deref())?)
            }
            _ => None,
        };
        let secret_shared = Arc::new(key_file::read(&**vfs, &settings.key_file)?);
        let volume = match &settings.volume {
            None => None,
            Some(volume) => {
                make_dirs(&**vfs, &volume.dir, "--volume-dir")?;
                let tier = volume.tier.as_ref();
                let far = tier.map(|tier| bucket(&**vfs, tier)).transpose()?;
                let defaults = VolumeOptions::default();
                let options = VolumeOptions {
                    tier_cache_bytes: tier
                        .map_or(defaults.tier_cache_bytes, |tier| tier.cache_bytes),
                    layout: volume.layout,
                    subvolumes: volume.subvolumes,
                    extent_bytes_max: volume.extent_bytes_max,
                    read_only: volume.is_read_only,
                    ..defaults
                };
                let mut drawn = [0; 32];
                secret::random(&mut drawn).map_err(|_| no_randomness())?;
                let (vfs, clock) = (Arc::clone(vfs), Arc::clone(environment.clock()));
                let opened = Volume::open_tiered(vfs, clock, &volume.dir, drawn, &options, far);
                let (opened, found) = opened.map_err(|error| of_volume(&error))?;
                told(&volume.dir, &found);
                let asking = match settings.master {
                    Some(_) => Asking::Here(OnceLock::new()),
                    None => Asking::There(Link::default()),
                };
                let host = Host::new(opened, Arc::clone(&secret_shared), volume.is_open, asking);
                Some(Arc::new(host))
            }
        };
        let master = match &settings.master {
            None => None,
            Some(master) => {
                make_dirs(&**vfs, &master.dir, "--db")?;
                let index = Index::open(environment, &master.dir, options)?;
                let mut members = Vec::new();
                if let (Some(host), Some(url)) = (&volume, url) {
                    members.push(Arc::new(Member::new(url, Way::Here(Arc::clone(host)))));
                }
                for address in &master.volumes {
                    let url = format!("http://{address}");
                    members.push(Arc::new(Member::new(url, Way::There(address.clone()))));
                }
                let options = MasterOptions {
                    manner: master.manner,
                    replicas: master.replicas,
                    replicas_min: master.replicas_min.unwrap_or(master.replicas),
                    protects: master.protects,
                    fallback: master.fallback.clone(),
                };
                let master = Master::new(index, secret_shared, members, Arc::clone(time), options);
                master.look()?;
                Some(Arc::new(master))
            }
        };
        if let (Some(master), Some(volume)) = (&master, &volume) {
            volume.belongs_to(master);
        }
        let tending = settings.volume.as_ref().filter(|volume| !volume.is_read_only);
        let tending = tending.map(|volume| Tending {
            every: volume.tend_every,
            grace: volume.grace,
            tiering: volume
                .tier
                .as_ref()
                .map(|tier| Tiering { after: tier.after, verify_every: tier.verify_every }),
        });
        let s3 = match (&master, keys) {
            (Some(master), Some(keys)) => Some(Service::new(Objects(Arc::clone(master)), keys)),
            _ => None,
        };
        let healing = settings.master.as_ref().map(|master| Healing {
            after: master.heal_after,
            bytes_per_second: master.heal_bytes_per_second,
        });
        let time = Arc::clone(time);
        Ok(Blobs { master, volume, s3, tending, time, healing })
    }

    /// How many volumes the master has that take objects, that answer and do not, and that do not answer.
    pub(crate) fn volumes(&self) -> [usize; 3] {
        self.master.as_ref().map_or([0; 3], |master| master.states())
    }

    /// What the volume has, if there is one.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.volume.as_ref()?.volume.usage().ok()
    }

    /// What the bucket of the volume did, if there is one.
    pub(crate) fn far_work(&self) -> FarWork {
        let host = self.volume.as_ref();
        host.and_then(|host| host.volume.far_work()).unwrap_or_default()
    }

    /// Damage that was found on the volume since this process began.
    pub(crate) fn damaged(&self) -> u64 {
        self.volume.as_ref().map_or(0, |host| host.damaged.load(Relaxed))
    }

    /// Copies that were made or left out because others were missing or damaged, and copies that were moved, since
    /// this process began; objects that lie on fewer volumes than they should, and those that are lost.
    pub(crate) fn healed(&self) -> [u64; 4] {
        let Some(master) = &self.master else { return [0; 4] };
        let (health, found) = (&master.health, master.health.found());
        [health.repaired.load(Relaxed), health.moved.load(Relaxed), found.thin, found.lost]
    }

    /// Begins what is done behind the requests.
    /// What is returned ends when the node does, and must be waited for before its runtime is taken away.
    pub(crate) fn start(&self, stopping: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let mut started = Vec::new();
        if let Some((master, healing)) = self.master.as_ref().zip(self.healing) {
            spawn_local(Blobs::watch(Arc::downgrade(master)));
            link::keep(master);
            let healer = healer::keep(Arc::downgrade(master), healing, stopping.clone());
            started.push(spawn_local(healer));
        }
        if let Some((host, tending)) = self.volume.as_ref().zip(self.tending) {
            let (host, time) = (Arc::clone(host), Arc::clone(&self.time));
            let keeper = keeper::tend(host, tending, time, stopping.clone());
            started.push(spawn_local(keeper));
        }
        started
    }

    /// Looks again how the volumes are, as long as there is a master.
    async fn watch(master: Weak<Master>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(master) = master.upgrade() else { return };
            let looked = match master.look() {
                Ok(()) => master.bury_some().await,
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                tracing::warn!(event = "volumes_unknown", why = &*error.to_string());
            }
        }
    }

    /// Closes the index.
    pub(crate) fn close(self) -> Result<(), Problem> {
        let Blobs { master, volume, s3, .. } = self;
        drop(s3);
        let closed = match master.and_then(Arc::into_inner) {
            Some(master) => master.close().map_err(Problem::from),
            None => Ok(()),
        };
        drop(volume);
        closed
    }
}

/// Serves a connection at a volume's door: of somebody who was sent, or of the master.
pub(crate) async fn serve_volume(served: Rc<Served>, mut stream: Stream) -> io::Result<()> {
    let address = stream.address()?;
    let mut first = vec![0];
    let patience = served.shared.patience.of(Wait::Head);
    if timeout(patience, stream.read_exact(&mut first)).await.is_err() {
        served.shared.late(Door::Volume.name(), Wait::Head);
        return Ok(());
    }
    if first[0] != MAGIC[0] {
        let stream = Counted::new(Rc::clone(&served), Door::Volume, first, stream);
        http::serve(served, Door::Volume, address, stream).await;
        return Ok(());
    }
    let host = served.shared.blobs.volume.clone();
    let Some((host, link)) = host.as_ref().and_then(|host| Some((host, host.link()?))) else {
        return Ok(());
    };
    let mut magic = [0; MAGIC.len() - 1];
    timeout(patience, stream.read_exact(&mut magic)).await??;
    if magic != MAGIC[1..] {
        return Ok(());
    }
    let mut stopping = served.shared.stopping.clone();
    tokio::select! {
        ended = link.serve(host, stream) => ended,
        _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
    }
}

/// Has the log tell what opening a volume found.
fn told(dir: &Path, found: &Opened) {
    let dir = dir.display().to_string();
    let (cut, damaged) = (found.cut.len() as u64, found.damaged.len() as u64);
    tracing::info!(
        event = "volume_opened",
        dir = &*dir,
        is_new = found.is_new,
        extents = found.extents,
        bytes = found.bytes,
        cut,
        damaged,
    );
}

fn no_randomness() -> Problem {
    Problem::Settings("the system has no randomness to give".to_owned())
}

/// Why a volume cannot be opened.
fn of_volume(error: &olivine_blobs::Error) -> Problem {
    let what = match error {
        olivine_blobs::Error::Io { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    };
    Problem::Settings(what)
}
