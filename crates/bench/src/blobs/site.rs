//! What is measured: stores of blobs, each in processes of its own with a directory of its own.
//!
//! 1. Processes end with their owner.
//! 2. Processor time and memory are those of all processes of a site, their children's too.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{server::process, store::Result};

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which store, and in how many processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Olivine in one process.
    Ours,
    /// Olivine's master and volumes, each in a process.
    Split,
    /// Both as minikeyvalue speaks: the master brings objects to the volumes.
    OursBrings,
    SplitBrings,
    Minikeyvalue,
    Nginx,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Ours,
        Kind::Split,
        Kind::OursBrings,
        Kind::SplitBrings,
        Kind::Minikeyvalue,
        Kind::Nginx,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Split => "split",
            Kind::OursBrings => "ours-mkv",
            Kind::SplitBrings => "split-mkv",
            Kind::Minikeyvalue => "mkv",
            Kind::Nginx => "nginx",
        }
    }

    /// Whether all is in one process, with one volume.
    pub(crate) fn is_one(self) -> bool {
        matches!(self, Kind::Ours | Kind::OursBrings)
    }

    fn manner(self) -> &'static str {
        match self {
            Kind::OursBrings | Kind::SplitBrings => "mkv",
            _ => "smol",
        }
    }
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // A server with children of its own ends them when it is asked to, and only then.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A store that runs.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    /// The master first, so that it ends first.
    processes: Vec<Process>,
    /// `host:port` of who is asked.
    pub(crate) master: String,
}

impl Site {
    /// Starts one; what its directory holds is kept.
    pub(crate) fn start(
        kind: Kind,
        dir: &Path,
        (volumes, replicas): (usize, usize),
        minikeyvalue: Option<&Path>,
    ) -> Result<Site> {
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        match kind {
            Kind::Ours | Kind::OursBrings => Site::ours(kind, &dir),
            Kind::Split | Kind::SplitBrings => Site::split(kind, &dir, volumes, replicas),
            Kind::Minikeyvalue => {
                let program = minikeyvalue.ok_or("minikeyvalue is not built")?;
                Site::minikeyvalue(&dir, program, volumes, replicas)
            }
            Kind::Nginx => Site::nginx(&dir),
        }
    }

    /// Everything in one process.
    fn ours(kind: Kind, dir: &Path) -> Result<Site> {
        let mut command = Command::new(process::beside("olivine")?);
        command.args(["serve", "--doors", "blob,volume", "--blob-port", "0", "--volume-port", "0"]);
        command.args(["--manner", kind.manner(), "--log-level", "error", "--data-dir"]).arg(dir);
        let (process, greeting) = ready(&mut command)?;
        Ok(Site { kind, processes: vec![process], master: address(&greeting, "blob")? })
    }

    fn split(kind: Kind, dir: &Path, volumes: usize, replicas: usize) -> Result<Site> {
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        for number in 1..=volumes {
            let mut command = Command::new(process::beside("olivine")?);
            command.args(["volume", "--port", "0", "--log-level", "error", "--volume-dir"]);
            command.arg(dir.join(format!("volume{number}"))).arg("--data-dir");
            command.arg(dir.join(format!("process{number}")));
            command.arg("--key-file").arg(dir.join("blob.key"));
            let (process, greeting) = ready(&mut command)?;
            processes.push(process);
            addresses.push(address(&greeting, "volume")?);
        }
        let mut command = Command::new(process::beside("olivine")?);
        command.args(["master", "--port", "0", "--log-level", "error"]);
        command.args(["--volumes", &addresses.join(","), "--manner", kind.manner()]);
        command.args(["--replicas", &replicas.to_string(), "--db"]).arg(dir.join("olivedb"));
        command.arg("--key-file").arg(dir.join("blob.key"));
        command.arg("--data-dir").arg(dir.join("process0"));
        let (process, greeting) = ready(&mut command)?;
        processes.insert(0, process);
        Ok(Site { kind, processes, master: address(&greeting, "blob")? })
    }

    fn minikeyvalue(dir: &Path, program: &Path, volumes: usize, replicas: usize) -> Result<Site> {
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        for number in 1..=volumes {
            let volume = dir.join(format!("volume{number}"));
            let (process, address) = nginx(&volume, VOLUME)?;
            processes.push(process);
            addresses.push(address);
        }
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-port", &port.to_string(), "-volumes", &addresses.join(",")]);
        command.args(["-replicas", &replicas.to_string(), "-db"]);
        command.arg(dir.join("index")).arg("server");
        let log = fs::File::create(dir.join("master.log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        processes.insert(0, Process(child));
        let master = format!("localhost:{port}");
        reachable(&mut processes[0], port, &dir.join("master.log"))?;
        Ok(Site { kind: Kind::Minikeyvalue, processes, master })
    }

    /// nginx with the files of `dir`.
    fn nginx(dir: &Path) -> Result<Site> {
        let (process, master) = nginx(dir, PLAIN)?;
        Ok(Site { kind: Kind::Nginx, processes: vec![process], master })
    }

    /// Processor time of all its processes.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.pids().into_iter().map(process::cpu).sum()
    }

    /// Memory of all its processes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.pids().into_iter().map(process::resident_bytes).sum()
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.processes.iter().map(|process| process.0.id()).collect();
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            next += 1;
        }
        pids
    }
}

/// Starts a process of ours. Returns what it said until it was ready.
fn ready(command: &mut Command) -> Result<(Process, String)> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut process = Process(child);
    let out = process.0.stdout.take().ok_or("a process without an output")?;
    let (mut out, mut greeting) = (BufReader::new(out), String::new());
    while !greeting.contains("\nready") {
        if out.read_line(&mut greeting)? == 0 {
            return Err(format!("{command:?} ended before it was ready: {greeting}").into());
        }
    }
    // It may go on printing.
    thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    Ok((process, greeting))
}

/// Where a door listens, by its line in the greeting.
fn address(greeting: &str, door: &str) -> Result<String> {
    let line = greeting.lines().find(|line| line.trim_start().starts_with(door));
    let word = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    let port = word.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| format!("no port of {door} in {greeting}"))?;
    Ok(format!("localhost:{port}"))
}

/// A volume of minikeyvalue, with the settings of its own script.
const VOLUME: &str = "multi_accept on; accept_mutex off; worker_connections 4096; }
http { sendfile on; sendfile_max_chunk 1024k; tcp_nopush on; tcp_nodelay on; open_file_cache off;
  types_hash_max_size 2048; server_tokens off; default_type application/octet-stream; access_log DIR/access.log;
  TEMPORARY server { listen PORT default_server backlog=4096; location / { root DIR; disable_symlinks off;
    client_max_body_size 0; dav_methods PUT DELETE; dav_access group:rw all:r; create_full_put_path on;
    autoindex on; autoindex_format json; } } }";
/// Files, with as little besides as nginx can do.
const PLAIN: &str = "multi_accept on; accept_mutex off; worker_connections 4096; }
http { sendfile on; sendfile_max_chunk 1024k; tcp_nopush on; tcp_nodelay on; access_log off; server_tokens off;
  keepalive_requests 1000000000; default_type application/octet-stream; TEMPORARY
  server { listen PORT default_server backlog=4096; location / { root DIR; } } }";

/// Starts nginx in a directory. Returns where it listens.
fn nginx(dir: &Path, config: &str) -> Result<(Process, String)> {
    let program = installed("nginx")?;
    let (port, dir_text) = (free_port()?, dir.display().to_string());
    let own = dir.with_extension("nginx");
    fs::create_dir_all(dir)?;
    fs::create_dir_all(&own)?;
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {}/{what};", own.display()))
        .join(" ");
    let config = config
        .replace("TEMPORARY", &temporary)
        .replace("PORT", &port.to_string())
        .replace("DIR/access.log", &own.join("access.log").display().to_string())
        .replace("DIR", &dir_text);
    // Without rights to change the user nginx says so, and stays who it is.
    let text = format!(
        "user root; daemon off; worker_processes auto; pcre_jit on; pid {}/pid; error_log {}/error.log error;\n\
         events {{ {config}\n",
        own.display(),
        own.display()
    );
    let path = own.join("nginx.conf");
    fs::write(&path, text)?;
    let log = fs::File::create(own.join("out.log"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&path).arg("-p").arg(&own).arg("-e").arg(own.join("error.log"));
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let mut process = Process(child);
    reachable(&mut process, port, &own.join("error.log"))?;
    Ok((process, format!("localhost:{port}")))
}

/// Waits until somebody listens.
fn reachable(process: &mut Process, port: u16, log: &Path) -> Result<()> {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if PATIENCE < began.elapsed() || process.0.try_wait()?.is_some() {
            return Err(format!("a server does not start; see {}", log.display()).into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A program in the path, or where Debian has what only root runs.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&paths).chain(more).map(|path| path.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| format!("`{name}` is not installed: apt-get install {name}").into())
}

/// Builds minikeyvalue from its sources with Debian's Go and its libraries.
pub(crate) fn build_minikeyvalue(sources: &Path, dir: &Path) -> Result<PathBuf> {
    let go = installed("go")?;
    let folder = [sources.join("src"), sources.to_owned()];
    let folder = folder.into_iter().find(|folder| folder.join("server.go").is_file());
    let folder = folder.ok_or_else(|| format!("no server.go in {}", sources.display()))?;
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?.flatten().map(|e| e.path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".go") && !name.ends_with("_test.go")
    });
    fs::create_dir_all(dir)?;
    let program = dir.canonicalize()?.join("minikeyvalue");
    let mut command = Command::new(go);
    command.arg("build").arg("-o").arg(&program).args(files);
    command.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    command.env("GOCACHE", dir.canonicalize()?.join("go-cache"));
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "minikeyvalue does not build; Debian's golang-github-syndtr-goleveldb-dev and \
         golang-github-google-uuid-dev are needed: {said}"
    )
    .into())
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
