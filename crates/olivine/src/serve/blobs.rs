//! `olivine master` and `olivine volume`: where blobs are, and blobs themselves; and what `olivine serve` is told of
//! both.

use std::{path::PathBuf, time::Duration};

use olivine_server::{
    BlobSettings, BucketUrl, Door, Half, Layout, Manner, MasterSettings, Settings, TierSettings,
    VolumeSettings,
};

use crate::{
    call::{Call, Command, MEMORY, Opt, Origin},
    config::CONFIG,
    ending::Failure,
};

use super::{
    BIND, CONNECTIONS_MAX, DATA_DIR, DURABILITY, HEAD_BYTES_MAX, OF_ACCESS, OF_CONNECTIONS,
    OF_HTTP_TIMES, OF_LOG, PORT, STRANGERS_MAX, WORKERS, common, count, duration, run, with_doors,
    with_memory,
};

const BLOB_PORT: Opt = Opt::value("--blob-port", "PORT", "of the blob door").or("9000");
const BLOB_BIND: Opt = Opt::value("--blob-bind", "ADDRESS", "of the blob door");
const VOLUME_PORT: Opt = Opt::value("--volume-port", "PORT", "of the volume door").or("9001");
const VOLUME_BIND: Opt = Opt::value("--volume-bind", "ADDRESS", "of the volume door");
const DB: Opt = Opt::value(
    "--db",
    "DIR",
    "the directory of the index: olivedb, and of serve that in\n\
     the data directory, if it is not told",
)
.also(&["-db"]);
const MANNER: Opt = Opt::value(
    "--manner",
    "MANNER",
    "smol: who puts is sent to a volume; mkv: objects are brought\n\
     there, and nothing is overwritten, as minikeyvalue has it;\n\
     s3: S3's protocol, for those with a key in --s3-keys",
)
.or("smol");
const REPLICAS: Opt = Opt::value("--replicas", "N", "on how many volumes an object lies")
    .also(&["-replicas"])
    .or("1");
const REPLICAS_MIN: Opt = Opt::value(
    "--replicas-min",
    "N",
    "on how many it must lie to be acknowledged: as many as\n\
     --replicas, if it is not told; the others follow",
);
const HEAL_AFTER: Opt = Opt::value(
    "--heal-after",
    "TIME",
    "how long a volume may be away before what it has is\n\
     copied to others: 30s, 5m",
)
.or("5m");
const HEAL_RATE: Opt =
    Opt::value("--heal-rate", "BYTES", "how much is copied between volumes in a second, at most")
        .or("64MiB");
const PROTECT: Opt =
    Opt::switch("--protect", "objects must be unlinked before they are deleted (mkv)")
        .also(&["-protect"]);
const FALLBACK: Opt = Opt::value(
    "--fallback",
    "URL",
    "where those are sent who get what is not here (mkv):\n\
     HOST:PORT or http://HOST:PORT, to which the path is added",
)
.also(&["-fallback"]);
const SUBVOLUMES: Opt = Opt::value(
    "--subvolumes",
    "N",
    "over how many directories svXX a volume of layout mkv\n\
     spreads its files, 1 to 256; it keeps what it was made\n\
     with. The master does not place objects within volumes",
)
.also(&["-subvolumes"]);
const S3_KEYS: Opt = Opt::value(
    "--s3-keys",
    "FILE",
    "whom S3's manner answers: lines of an access key and a\n\
     secret; nobody else may read it",
);
const VOLUMES: Opt =
    Opt::value("--volumes", "HOST:PORT,…", "the volumes of the master; VOLUMES says it as well")
        .or("localhost:9001")
        .also(&["-volumes"])
        .also_from("VOLUMES");
const VOLUME_DIR: Opt = Opt::value(
    "--volume-dir",
    "DIR",
    "where the objects lie: volume1, and of serve\n\
     volumes/volume1 in the data directory, if it is not told",
);
const VOLUME_DIR_ALONE: Opt = VOLUME_DIR.also_from("VOLUME");
const LAYOUT: Opt = Opt::value(
    "--layout",
    "LAYOUT",
    "packed: extents of many objects; smol, mkv: a file an\n\
     object, in the directories that these have",
)
.or("packed");
const OPEN: Opt = Opt::switch("--open", "the volume does what nobody has signed, too");
const READ_ONLY: Opt = Opt::switch("--read-only", "the volume takes nothing new");
const ADVERTISE: Opt = Opt::value(
    "--advertise",
    "HOST:PORT",
    "where clients are sent for the volume, if not where its\n\
     door is",
);
const EXTENT_BYTES_MAX: Opt =
    Opt::value("--extent-bytes-max", "BYTES", "how long an extent of many objects gets").or("1GiB");
const TEND_EVERY: Opt = Opt::value(
    "--tend-every",
    "TIME",
    "how long after all objects were read and verified, and\n\
     room given back, that is done again: 30s, 5m",
)
.or("10m");
pub(crate) const TIER: Opt = Opt::value(
    "--tier",
    "URL",
    "the bucket of S3's protocol that old extents lie in:\n\
     s3://BUCKET/PREFIX",
);
pub(crate) const TIER_ENDPOINT: Opt = Opt::value(
    "--tier-endpoint",
    "URL",
    "where that bucket is, if not at Amazon's: https://HOST:PORT",
);
pub(crate) const TIER_KEY_FILE: Opt = Opt::value(
    "--tier-key-file",
    "FILE",
    "a line of an access key and a secret for that bucket; nobody\n\
     else may read it. AWS_ACCESS_KEY_ID and its like, if it is\n\
     not told",
);
const TIER_AFTER: Opt = Opt::value(
    "--tier-after",
    "TIME",
    "for how long nothing was written to an extent that is sent\n\
     there: 12h, 7d",
)
.or("7d");
const TIER_CACHE: Opt =
    Opt::value("--tier-cache", "BYTES", "how much of the disk is taken for what was read there")
        .or("1GiB");
const TIER_VERIFY: Opt = Opt::value(
    "--tier-verify",
    "TIME",
    "how often what lies there is read and verified, and room in it\n\
     given back",
)
.or("30d");
const KEY_FILE: Opt = Opt::value(
    "--key-file",
    "FILE",
    "what master and volumes share; made if it is not there:\n\
     blob.key in the data directory, if it is not told",
);
const OWN_PORT: Opt = PORT.also_from("PORT");

/// What `serve` is told of blobs.
pub(super) const OF_BLOBS: &[Opt] = &[
    BLOB_PORT,
    BLOB_BIND,
    VOLUME_PORT,
    VOLUME_BIND,
    DB,
    MANNER,
    REPLICAS,
    REPLICAS_MIN,
    HEAL_AFTER,
    HEAL_RATE,
    PROTECT,
    FALLBACK,
    S3_KEYS,
    VOLUME_DIR,
    LAYOUT,
    SUBVOLUMES,
    OPEN,
    READ_ONLY,
    ADVERTISE,
    EXTENT_BYTES_MAX,
    TEND_EVERY,
    TIER,
    TIER_ENDPOINT,
    TIER_KEY_FILE,
    TIER_AFTER,
    TIER_CACHE,
    TIER_VERIFY,
    KEY_FILE,
];
const OF_LIMITS: &[Opt] = &[CONNECTIONS_MAX, STRANGERS_MAX, HEAD_BYTES_MAX];

pub(crate) const MASTER: Command = Command {
    name: "master",
    what: "where blobs are: sends those who put and get to the volumes",
    about: "Master keeps the index of blobs, and sends whoever puts, gets or deletes one to the volume that has it. A key is \
        known when its bytes are kept, and not before.",
    operands: &[],
    options: &[
        &[CONFIG, DATA_DIR, DB, WORKERS],
        &[VOLUMES, MANNER, REPLICAS, REPLICAS_MIN, PROTECT, FALLBACK, SUBVOLUMES],
        &[HEAL_AFTER, HEAL_RATE],
        &[S3_KEYS, KEY_FILE],
        &[BIND, OWN_PORT, BLOB_PORT, BLOB_BIND],
        OF_ACCESS,
        OF_LIMITS,
        OF_HTTP_TIMES,
        OF_CONNECTIONS,
        &[DURABILITY, MEMORY],
        OF_LOG,
    ],
    notes: "",
    examples: &[
        "olivine master",
        "PORT=9000 VOLUMES=localhost:9001,localhost:9002 olivine master",
        "olivine master --manner mkv --port 3000 --replicas 3 --volumes a:9001,b:9001,c:9001",
        "olivine master --manner mkv --port 3000 --fallback old:3000 --protect",
    ],
    run: |call| run(call, &of_master(call)?),
};

pub(crate) const VOLUME: Command = Command {
    name: "volume",
    what: "blobs themselves, for those whom the master sends",
    about: "Volume keeps objects in a directory, and does with them what the master has signed. It needs the same key file as \
        the master; whichever starts first makes it.",
    operands: &[],
    options: &[
        &[CONFIG, DATA_DIR, VOLUME_DIR_ALONE, WORKERS],
        &[LAYOUT, SUBVOLUMES, OPEN, READ_ONLY, ADVERTISE, EXTENT_BYTES_MAX, TEND_EVERY, KEY_FILE],
        &[TIER, TIER_ENDPOINT, TIER_KEY_FILE, TIER_AFTER, TIER_CACHE, TIER_VERIFY],
        &[BIND, OWN_PORT, VOLUME_PORT, VOLUME_BIND],
        OF_ACCESS,
        OF_LIMITS,
        OF_HTTP_TIMES,
        OF_CONNECTIONS,
        &[MEMORY],
        OF_LOG,
    ],
    notes: "",
    examples: &[
        "olivine volume",
        "PORT=9002 VOLUME=volume2 olivine volume",
        "olivine volume --layout mkv --subvolumes 4",
    ],
    run: |call| run(call, &of_volume(call)?),
};

pub(super) fn of_master(call: &Call) -> Result<Settings, Failure> {
    let mut settings = alone(call, Door::Blob)?;
    // What a file or the environment says is for the volumes that are told by the same.
    let is_asked = *call.origin(SUBVOLUMES.name) == Origin::Flag;
    if is_asked && 1 < subvolumes(call)?.unwrap_or(1) {
        let wrong = "is of volumes, not of the master: either each disk is a volume of its own, named in --volumes, or a volume \
             of files is started with `olivine volume --layout mkv --subvolumes N`";
        return Err(call.wrong(SUBVOLUMES.name, wrong));
    }
    let volumes = call.text(VOLUMES.name)?.unwrap_or_else(|| "localhost:9001".to_owned());
    settings.blobs.master =
        Some(master(call, PathBuf::from("olivedb"), addresses(call, &volumes)?)?);
    Ok(settings)
}

pub(super) fn of_volume(call: &Call) -> Result<Settings, Failure> {
    let mut settings = alone(call, Door::Volume)?;
    settings.blobs.volume = Some(volume(call, PathBuf::from("volume1"))?);
    Ok(settings)
}

fn alone(call: &Call, door: Door) -> Result<Settings, Failure> {
    let mut settings = with_doors(call, &[door], common(call)?)?;
    with_memory(call, &mut settings)?;
    let blobs = BlobSettings { key_file: key_file(call, &settings), ..BlobSettings::default() };
    Ok(Settings { half: Half::Blobs, blobs, ..settings })
}

/// Adds the blobs to what a node is to be, as far as it has doors for them.
pub(super) fn with_blobs(call: &Call, mut settings: Settings) -> Result<Settings, Failure> {
    let has = |door| settings.doors.iter().any(|setting| setting.door == door);
    let (has_master, has_volume) = (has(Door::Blob), has(Door::Volume));
    let dir = &settings.data_dir;
    let (index, objects) = (dir.join("olivedb"), dir.join("volumes").join("volume1"));
    settings.blobs = BlobSettings {
        master: if has_master { Some(master(call, index, Vec::new())?) } else { None },
        volume: if has_volume { Some(volume(call, objects)?) } else { None },
        key_file: key_file(call, &settings),
    };
    Ok(settings)
}

fn key_file(call: &Call, settings: &Settings) -> PathBuf {
    let asked = call.value(KEY_FILE.name).map(PathBuf::from);
    asked.unwrap_or_else(|| settings.data_dir.join("blob.key"))
}

fn master(call: &Call, dir: PathBuf, volumes: Vec<String>) -> Result<MasterSettings, Failure> {
    let manner = call.one_of(MANNER.name, &Manner::ALL.map(Manner::name))?;
    let manner = Manner::ALL.into_iter().find(|known| known.name() == manner).unwrap_or_default();
    let fallback = fallback(call)?;
    if fallback.is_some() && manner != Manner::Mkv {
        let wrong = format_args!("is of the manner mkv, and --manner is {}", manner.name());
        return Err(call.wrong(FALLBACK.name, wrong));
    }
    let replicas = count(call, REPLICAS.name, 1)?;
    if !(1..=16).contains(&replicas) {
        return Err(call.wrong(REPLICAS.name, format_args!("may be 1 to 16, not {replicas}")));
    }
    let mut replicas_min = None;
    if call.text(REPLICAS_MIN.name)?.is_some() {
        let least = count(call, REPLICAS_MIN.name, 1)?;
        if !(1..=replicas).contains(&least) {
            let wrong = format_args!("may be 1 to {replicas}, as --replicas is, not {least}");
            return Err(call.wrong(REPLICAS_MIN.name, wrong));
        }
        replicas_min = Some(least);
    }
    Ok(MasterSettings {
        replicas_min,
        heal_after: time(call, HEAL_AFTER, Duration::from_mins(5))?,
        heal_bytes_per_second: call.bytes(HEAL_RATE.name)?.unwrap_or(64 << 20),
        dir: call.value(DB.name).map_or(dir, PathBuf::from),
        manner,
        volumes,
        replicas,
        protects: call.has(PROTECT.name),
        fallback,
        s3_keys: call.value(S3_KEYS.name).map(PathBuf::from),
    })
}

fn volume(call: &Call, dir: PathBuf) -> Result<VolumeSettings, Failure> {
    let layout = match call.one_of(LAYOUT.name, &["packed", "smol", "mkv"])? {
        "smol" => Layout::Smol,
        "mkv" => Layout::Mkv,
        _ => Layout::Packed,
    };
    let subvolumes = subvolumes(call)?;
    if layout != Layout::Mkv && 1 < subvolumes.unwrap_or(1) {
        let wrong = format_args!(
            "is of the layout mkv, and --layout is {}: extents have objects of all keys; where these shall lie on several \
             disks, each disk is a volume",
            layout.name()
        );
        return Err(call.wrong(SUBVOLUMES.name, wrong));
    }
    let tend_every = time(call, TEND_EVERY, Duration::from_mins(10))?;
    let advertised = call.text(ADVERTISE.name)?;
    if let Some(address) = &advertised {
        check_address(address).map_err(|()| {
            call.wrong(ADVERTISE.name, format_args!("wants HOST:PORT, not `{address}`"))
        })?;
    }
    let is_packed = layout == Layout::Packed;
    let tier = tier(call)?;
    if tier.is_some() && !is_packed {
        let wrong = "goes with --layout packed alone: the others have no extents";
        return Err(call.wrong(TIER.name, format_args!("{wrong}")));
    }
    Ok(VolumeSettings {
        tier,
        dir: call.value(VOLUME_DIR.name).map_or(dir, PathBuf::from),
        layout,
        subvolumes,
        is_open: call.has(OPEN.name),
        is_read_only: call.has(READ_ONLY.name),
        advertised,
        extent_bytes_max: call.bytes(EXTENT_BYTES_MAX.name)?.unwrap_or(1 << 30),
        tend_every,
        grace: Duration::from_mins(5),
    })
}

/// The bucket that old extents go to, if one is named.
fn tier(call: &Call) -> Result<Option<TierSettings>, Failure> {
    let Some(settings) = bucket(call)? else { return Ok(None) };
    let day = Duration::from_hours(24);
    let cache_bytes = call.bytes(TIER_CACHE.name)?.unwrap_or(settings.cache_bytes);
    if cache_bytes < 4 << 20 {
        return Err(call.wrong(TIER_CACHE.name, format_args!("may be 4MiB and more")));
    }
    Ok(Some(TierSettings {
        after: time(call, TIER_AFTER, 7 * day)?,
        cache_bytes,
        verify_every: time(call, TIER_VERIFY, 30 * day)?,
        ..settings
    }))
}

/// The bucket that is named, for whoever only reads.
pub(crate) fn bucket(call: &Call) -> Result<Option<TierSettings>, Failure> {
    let (key_file, endpoint) =
        (call.value(TIER_KEY_FILE.name).map(PathBuf::from), call.text(TIER_ENDPOINT.name)?);
    let Some(text) = call.text(TIER.name)? else {
        let alone = [(TIER_KEY_FILE, key_file.is_some()), (TIER_ENDPOINT, endpoint.is_some())];
        if let Some((opt, _)) = alone.into_iter().find(|(_, is_there)| *is_there) {
            return Err(call.wrong(opt.name, format_args!("says nothing without --tier")));
        }
        return Ok(None);
    };
    let wrong = || call.wrong(TIER.name, format_args!("wants s3://BUCKET/PREFIX, not `{text}`"));
    let url = BucketUrl::parse(&text).ok_or_else(wrong)?;
    if let Some(endpoint) = &endpoint {
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if host.is_none_or(|host| host.trim_end_matches('/').is_empty()) {
            let wrong = format_args!("wants http://HOST:PORT or https://HOST, not `{endpoint}`");
            return Err(call.wrong(TIER_ENDPOINT.name, wrong));
        }
    }
    let day = Duration::from_hours(24);
    Ok(Some(TierSettings {
        url,
        endpoint,
        key_file,
        after: 7 * day,
        cache_bytes: 1 << 30,
        verify_every: 30 * day,
    }))
}

/// Over how many directories a volume of files spreads them, if somebody says so.
fn subvolumes(call: &Call) -> Result<Option<u32>, Failure> {
    let Some(count) = call.count(SUBVOLUMES.name)? else { return Ok(None) };
    let count = u32::try_from(count).ok().filter(|count| *count <= 256).map(Some);
    count.ok_or_else(|| call.wrong(SUBVOLUMES.name, "may be 1 to 256"))
}

/// Where those are sent who get what is not here: scheme, host and what paths are added to.
fn fallback(call: &Call) -> Result<Option<String>, Failure> {
    let Some(text) = call.text(FALLBACK.name)? else { return Ok(None) };
    let wrong = || {
        let wrong =
            format_args!("wants HOST:PORT, http://HOST:PORT or https://HOST:PORT, not `{text}`");
        call.wrong(FALLBACK.name, wrong)
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", &text));
    let rest = rest.trim_end_matches('/');
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    let is_host = check_address(host).is_ok() || check_address(&format!("{host}:80")).is_ok();
    if !matches!(scheme, "http" | "https") || !is_host || !path.chars().all(is_path) {
        return Err(wrong());
    }
    Ok(Some(format!("{scheme}://{rest}")))
}

/// A time that is not zero.
fn time(call: &Call, opt: Opt, otherwise: Duration) -> Result<Duration, Failure> {
    let Some(text) = call.text(opt.name)? else { return Ok(otherwise) };
    let wrong = || call.wrong(opt.name, format_args!("wants 30s or 5m, not `{text}`"));
    duration(&text).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

fn addresses(call: &Call, text: &str) -> Result<Vec<String>, Failure> {
    let one = |address: &str| {
        let address = address.trim();
        check_address(address).map(|()| address.to_owned()).map_err(|()| {
            call.wrong(VOLUMES.name, format_args!("wants HOST:PORT,HOST:PORT, not `{address}`"))
        })
    };
    text.split(',').map(one).collect()
}

fn check_address(address: &str) -> Result<(), ()> {
    let (host, port) = address.rsplit_once(':').ok_or(())?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':');
    let is_right = !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok();
    is_right.then_some(()).ok_or(())
}
