//! What a node is to be.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use olivine_blobs::Layout;
use olivine_doors::{blob::Manner, http::Hosts, limits::Limits};
use olivine_engine::Durability;
use olivine_far::BucketUrl;
use olivine_model::ModelOptions;

use crate::{
    patience::Patience,
    tls::{PeerSetting, TlsSetting},
};

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What of a node this process is. Default all of it.
    pub half: Half,
    /// Where everything lies. Default `data`.
    pub data_dir: PathBuf,
    /// Memory for everything. Default: a quarter of the machine's, or of the cgroup's.
    pub memory_bytes: Option<u64>,
    /// Others on the machine may get at the data directory.
    pub shared_dir: bool,
    /// When writes are acknowledged. Default `Sync`.
    pub durability: Durability,
    /// The longest time between syncs under `Durability::Interval`. Default 1 s.
    pub interval: Duration,
    /// Entries a memtable takes before it is flushed; nothing leaves it to the bytes.
    pub memtable_entries_max: Option<u64>,
    /// How long a copy that nobody reads holds its files. Default 5 minutes.
    pub backup_idle_max: Duration,
    /// Time series that a database may have under one retention policy. Default 1,000,000.
    pub series_max: u64,
    /// The doors that are opened.
    pub doors: Vec<DoorSetting>,
    /// Threads that connections live on. Default: as many as there are cores.
    pub workers: usize,
    /// How large what comes in may be.
    pub limits: Limits,
    /// How long others are waited for.
    pub patience: Patience,
    /// Connections of all doors together. Default 10,000.
    pub connections_max: usize,
    /// Points are written into a database only if it is there.
    pub requires_databases: bool,
    /// What queries may take.
    pub queries: QuerySettings,
    /// The names that HTTP doors answer to.
    pub hosts: Hosts,
    /// Requests that take as long are told; zero tells all. Default 100 ms.
    pub slow: Duration,
    /// Connections that have not logged in, where they must. Default 500.
    pub strangers_max: usize,
    /// The blobs: their master, a volume, or both; nothing where there are none.
    pub blobs: BlobSettings,
    /// How often an address may fail to log in before it must wait. Default 5, 1 to 1,000.
    pub guesses_max: u32,
    /// Where the doors' certificate is; nothing for doors without TLS.
    pub tls: Option<TlsSetting>,
    /// Where coordinators on other machines come to a storage; nothing keeps it to this machine.
    pub listen: Option<SocketAddr>,
    /// How coordinator and storage on two machines know each other.
    pub peers: Option<PeerSetting>,
    /// Open doors to other machines though nobody is asked who they are, or everybody can listen.
    pub insecure: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            half: Half::Both,
            data_dir: "data".into(),
            memory_bytes: None,
            shared_dir: false,
            durability: Durability::Sync,
            interval: Duration::from_secs(1),
            memtable_entries_max: None,
            backup_idle_max: Duration::from_mins(5),
            series_max: ModelOptions::default().series_max,
            doors: Door::ALL.map(DoorSetting::default_of).into(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            limits: Limits::default(),
            patience: Patience::default(),
            connections_max: 10_000,
            requires_databases: false,
            queries: QuerySettings::default(),
            hosts: Hosts::default(),
            strangers_max: 500,
            blobs: BlobSettings::default(),
            guesses_max: 5,
            tls: None,
            listen: None,
            peers: None,
            slow: Duration::from_millis(100),
            insecure: false,
        }
    }
}

/// What queries over time series may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    /// How many are answered at once. Default: as many as there are cores.
    pub threads: usize,
    /// How many may wait beside those. Default 100.
    pub waiting_max: usize,
    /// How long one may take. Default 1 minute.
    pub time_max: Duration,
    /// Memory that one may take. Default 256 MiB.
    pub bytes_max: u64,
    /// Points that one may look at. Default 1,000 million.
    pub points_max: u64,
}

impl Default for QuerySettings {
    fn default() -> QuerySettings {
        QuerySettings {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            waiting_max: 100,
            time_max: Duration::from_mins(1),
            bytes_max: 256 << 20,
            points_max: 1_000_000_000,
        }
    }
}

/// What of the blobs a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobSettings {
    /// The master.
    pub master: Option<MasterSettings>,
    /// A volume.
    pub volume: Option<VolumeSettings>,
    /// The file with what both share; it is made if it is not there.
    pub key_file: PathBuf,
}

/// What a master of blobs is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSettings {
    /// Where the index lies.
    pub dir: PathBuf,
    /// How it speaks.
    pub manner: Manner,
    /// The volumes in other processes, as `host:port`.
    pub volumes: Vec<String>,
    /// On how many volumes an object lies. Default 1.
    pub replicas: usize,
    /// On how many it must lie to be acknowledged; it is copied to the others when they are there. Nothing: on all of them.
    pub replicas_min: Option<usize>,
    /// How long a volume may be away before what it has is copied to others. Default 5 minutes.
    pub heal_after: Duration,
    /// How fast objects are copied between volumes. Default 64 MiB a second.
    pub heal_bytes_per_second: u64,
    /// Objects must be unlinked before they are deleted.
    pub protects: bool,
    /// Where those are sent who want to read what is not here, in minikeyvalue's manner: `http://host:port`, to which the
    /// path is added. Nothing: nowhere.
    pub fallback: Option<String>,
    /// The file with the keys of S3's manner, which does not go without.
    pub s3_keys: Option<PathBuf>,
}

/// What a volume is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSettings {
    /// Where its objects lie.
    pub dir: PathBuf,
    /// How they lie there.
    pub layout: Layout,
    /// How many subvolumes the files of layout mkv are spread over; nothing for what the volume has.
    pub subvolumes: Option<u32>,
    /// It does what nobody has signed, too.
    pub is_open: bool,
    /// It takes nothing new.
    pub is_read_only: bool,
    /// Where clients are sent, as `host:port`; nothing for where its door is.
    pub advertised: Option<String>,
    /// How long an extent that many objects share gets. Default 1 GiB.
    pub extent_bytes_max: u64,
    /// How long after all was read, and room given back, that is done again. Default 10 minutes.
    pub tend_every: Duration,
    /// How long an extent is left alone after it was filled, and kept after nothing live is in it. Default 5 minutes.
    pub grace: Duration,
    /// Where old extents go; nothing where all stay.
    pub tier: Option<TierSettings>,
}

/// Where a volume keeps its old extents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierSettings {
    /// The bucket.
    pub url: BucketUrl,
    /// Where it is, if not at Amazon's.
    pub endpoint: Option<String>,
    /// A file with the key that its requests are signed with; the variables of Amazon's tools if there is none.
    pub key_file: Option<PathBuf>,
    /// For how long nothing was written to an extent that is sent there. Default 7 days.
    pub after: Duration,
    /// What the cache of it may take of the disk. Default 1 GiB.
    pub cache_bytes: u64,
    /// How often what lies there is read and verified, and room in it given back. Default 30 days.
    pub verify_every: Duration,
}

/// What of a node a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Half {
    /// All of it.
    Both,
    /// The store, for coordinators at this socket; nothing said is `run/storage.sock` in the data directory.
    Storage(Option<PathBuf>),
    /// The doors, to a storage.
    Coordinator(StorageAt),
    /// Blobs and nothing else.
    Blobs,
}

/// Where a coordinator finds its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageAt {
    /// At this socket; nothing said is `run/storage.sock` in the data directory.
    Socket(Option<PathBuf>),
    /// At a port of another machine.
    Host {
        /// Its name or address, which its certificate has.
        name: String,
        /// The port.
        port: u16,
    },
}

/// A protocol that is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// JSON lines; HTTP is told from them by its first bytes.
    Json,
    /// `PUT key value`.
    Line,
    /// Key-values, health and metrics over HTTP.
    Http,
    /// Time series, as InfluxDB takes and gives them.
    Influx,
    /// Queries over time series.
    Select,
    /// Lines of points and queries, as the storage alone takes them.
    Ingest,
    /// Where blobs are, over HTTP.
    Blob,
    /// Blobs themselves, for who was sent.
    Volume,
}

impl Door {
    /// All doors.
    pub const ALL: [Door; 8] = [
        Door::Json,
        Door::Line,
        Door::Http,
        Door::Influx,
        Door::Select,
        Door::Ingest,
        Door::Blob,
        Door::Volume,
    ];

    /// What flags call it.
    pub fn name(self) -> &'static str {
        match self {
            Door::Json => "json",
            Door::Line => "line",
            Door::Http => "http",
            Door::Influx => "influx",
            Door::Select => "select",
            Door::Ingest => "ingest",
            Door::Blob => "blob",
            Door::Volume => "volume",
        }
    }

    /// Where it is when nobody says otherwise.
    pub fn port(self) -> u16 {
        match self {
            Door::Json => 9999,
            Door::Line => 7000,
            Door::Http => 8080,
            Door::Influx => 8086,
            Door::Select => 8088,
            Door::Ingest => 8087,
            Door::Blob => 9000,
            Door::Volume => 9001,
        }
    }
}

/// Where a door is.
#[derive(Clone, Copy, Debug)]
pub struct DoorSetting {
    /// Which door.
    pub door: Door,
    /// Its address; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Whether somebody asked for this port. A default that is taken is skipped, one that was asked for is
    /// an error.
    pub asked: bool,
}

impl DoorSetting {
    /// Where a door is when nobody says otherwise.
    pub fn default_of(door: Door) -> DoorSetting {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), door.port());
        DoorSetting { door, address, asked: false }
    }
}
