//! The databases that are measured, each in a process of its own with a directory of its own.
//!
//! 1. A process ends with its owner.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::client::Client;
use crate::{server::process, store::Result};

/// How long a database may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// A process that used no more than a tick of processor time in so long has settled.
const QUIET: Duration = Duration::from_secs(3);
/// How long settling may take.
const SETTLING_MAX: Duration = Duration::from_mins(3);

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Olivine,
    VictoriaMetrics,
    Influx,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Olivine, Kind::VictoriaMetrics, Kind::Influx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Olivine => "olivine",
            Kind::VictoriaMetrics => "victoria",
            Kind::Influx => "influx",
        }
    }

    /// The program, if it is here.
    pub(crate) fn program(self) -> Result<PathBuf> {
        let name = match self {
            Kind::Olivine => return process::beside("olivine"),
            Kind::VictoriaMetrics => "victoria-metrics",
            Kind::Influx => "influxd",
        };
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&paths).map(|path| path.join(name)).find(|path| path.exists());
        let package = if self == Kind::Influx { "influxdb" } else { name };
        found.ok_or_else(|| format!("`{name}` is not installed: apt-get install {package}").into())
    }
}

/// A database that runs.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    child: Child,
    pub(crate) port: u16,
    dir: PathBuf,
}

/// What lies on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk {
    /// Values and times.
    pub(crate) data_bytes: u64,
    /// What else there is, but for logs and what is set aside.
    pub(crate) index_bytes: u64,
}

impl Peer {
    /// Starts one in an empty directory.
    pub(crate) fn start(kind: Kind, dir: &Path) -> Result<Peer> {
        drop(fs::remove_dir_all(dir));
        fs::create_dir_all(dir)?;
        let [port, other] = free_ports()?;
        let mut command = Command::new(kind.program()?);
        match kind {
            Kind::Olivine => {
                command
                    .args(["serve", "influx", "--port", &port.to_string(), "--data-dir"])
                    .arg(dir);
            }
            Kind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", dir.display()));
                command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
                command.args(["-retentionPeriod=100y", "-search.latencyOffset=1ms"]);
                command.args(["-search.disableCache", "-search.maxUniqueTimeseries=5000000"]);
            }
            Kind::Influx => {
                let config = dir.join("influxdb.conf");
                fs::write(&config, influx_config(dir, port, other))?;
                command.arg("-config").arg(config);
            }
        }
        let log = fs::File::create(dir.with_extension("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let mut peer = Peer { kind, child, port, dir: dir.to_owned() };
        let began = Instant::now();
        while !peer.answers() {
            if PATIENCE < began.elapsed() || peer.child.try_wait()?.is_some() {
                let log = dir.with_extension("log");
                return Err(format!("{command:?} does not start; see {}", log.display()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        if kind != Kind::VictoriaMetrics {
            let create = "/query?q=CREATE%20DATABASE%20bench";
            Client::connect(port)?.post(create, &[])?.good("CREATE DATABASE")?;
        }
        Ok(peer)
    }

    fn answers(&self) -> bool {
        let target = if self.kind == Kind::VictoriaMetrics { "/health" } else { "/ping" };
        let asked = Client::connect(self.port).and_then(|mut client| client.get(target));
        asked.is_ok_and(|answer| answer.status < 300)
    }

    /// Brings what was written to where it stays. Whether the database was told to, and did.
    pub(crate) fn settle(&self) -> Result<bool> {
        let told = match self.kind {
            // It compacts what it has not written to for a second; the configuration says so.
            Kind::Influx => true,
            Kind::VictoriaMetrics => {
                let mut client = Client::connect(self.port)?;
                let flushed = client.post("/internal/force_flush", &[])?.status < 300;
                flushed && client.post("/internal/force_merge", &[])?.status < 300
            }
            // It goes by the same name, and has merged when it answers.
            Kind::Olivine => {
                Client::connect(self.port)?.post("/internal/force_merge", &[])?.status < 300
            }
        };
        let began = Instant::now();
        let (mut cpu, mut since) = (self.cpu()?, Instant::now());
        if self.kind == Kind::Influx {
            thread::sleep(Duration::from_secs(12));
        }
        while since.elapsed() < QUIET && began.elapsed() < SETTLING_MAX {
            thread::sleep(Duration::from_millis(200));
            let now = self.cpu()?;
            if Duration::from_millis(10) < now.saturating_sub(cpu) {
                (cpu, since) = (now, Instant::now());
            }
        }
        Ok(told)
    }

    /// Processor time that the process has taken.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    /// Memory that the process has.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        process::resident_bytes(self.child.id())
    }

    /// What its directory holds.
    pub(crate) fn disk(&self) -> Result<Disk> {
        let mut disk = Disk::default();
        walk(&self.dir, &mut |path, bytes| {
            let path = path.to_string_lossy();
            let has = |part: &str| path.contains(part);
            match self.kind {
                Kind::VictoriaMetrics if has("/data/") => disk.data_bytes += bytes,
                Kind::VictoriaMetrics if has("/indexdb/") => disk.index_bytes += bytes,
                Kind::Influx if path.ends_with(".tsm") => disk.data_bytes += bytes,
                // `_series` sets aside 33 MB, whatever there is.
                Kind::Influx if has("/index/") => disk.index_bytes += bytes,
                Kind::Olivine if !has("/log/") && !path.ends_with(".log") => {
                    disk.data_bytes += bytes;
                }
                _ => {}
            }
        })?;
        Ok(disk)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every file under `dir`, with its length.
fn walk(dir: &Path, seen: &mut dyn FnMut(&Path, u64)) -> Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => walk(&entry.path(), seen)?,
            Ok(metadata) => seen(&entry.path(), metadata.len().min(metadata.blocks() * 512)),
            // Gone meanwhile.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Ports that nobody listens on.
fn free_ports() -> Result<[u16; 2]> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

fn influx_config(dir: &Path, port: u16, other: u16) -> String {
    let dir = dir.display();
    format!(
        "reporting-disabled = true\n\
         bind-address = \"127.0.0.1:{other}\"\n\
         [meta]\n  dir = \"{dir}/meta\"\n\
         [data]\n  dir = \"{dir}/data\"\n  wal-dir = \"{dir}/wal\"\n  index-version = \"tsi1\"\n  \
         query-log-enabled = false\n  cache-snapshot-write-cold-duration = \"1s\"\n  \
         compact-full-write-cold-duration = \"1s\"\n  max-series-per-database = 0\n  \
         max-values-per-tag = 0\n\
         [monitor]\n  store-enabled = false\n\
         [http]\n  bind-address = \"127.0.0.1:{port}\"\n  log-enabled = false\n\
         [logging]\n  level = \"warn\"\n  suppress-logo = true\n"
    )
}
