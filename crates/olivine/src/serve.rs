//! `olivine serve`: the node, all in one process; `olivine storage` and `olivine coordinator`: its two halves.
//!
//! 1. What it says when it has started is true: every door named is open.

pub(crate) mod blobs;
mod times;

use std::{
    io::{self, IsTerminal as _},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use olivine_engine::Durability;
use olivine_server::{
    Door, DoorSetting, Half, Hosts, Limits, Log, LogFileSettings, LogFormat, LogLevel, Node,
    PeerSetting, Problem, Settings, StorageAt, TlsSetting,
};

use crate::{
    call::{Call, Command, MEMORY, Opt, Origin},
    config::{CONFIG, Layers, Role},
    ending::{Ending, Failure, with_causes},
    presence::Presence,
};

use blobs::{OF_BLOBS, with_blobs};
pub(crate) use times::patience;
use times::{
    OF_CONNECTIONS, OF_HTTP_TIMES, OF_LINES_TIMES, OF_LINK_TIMES, OF_STORE_TIMES, duration,
};

const DATA_DIR: Opt = Opt::value("--data-dir", "DIR", "where everything lies").or("data");
const SHARED_DATA_DIR: Opt =
    Opt::switch("--shared-data-dir", "others on the machine may get at the data directory");
const DOORS: Opt =
    Opt::value("--doors", "A,B", "the doors to open").or("all; of a coordinator json,line,http");
const BIND: Opt =
    Opt::value("--bind", "ADDRESS", "the address of all doors").also(&["--host"]).or("127.0.0.1");
const PORT: Opt = Opt::value("--port", "PORT", "the port of the only door that is opened");
const JSON_PORT: Opt =
    Opt::value("--json-port", "PORT", "of the json door; 0 takes one that is free").or("9999");
const LINE_PORT: Opt = Opt::value(
    "--line-port",
    "PORT",
    "of the line door; NODE_TCP_PORT, also in .env, says it as well",
)
.or("7000")
.also_from("NODE_TCP_PORT");
const HTTP_PORT: Opt = Opt::value("--http-port", "PORT", "of the http door").or("8080");
const INFLUX_PORT: Opt = Opt::value("--influx-port", "PORT", "of the influx door").or("8086");
const SELECT_PORT: Opt = Opt::value("--select-port", "PORT", "of the select door").or("8088");
const INGEST_PORT: Opt = Opt::value("--ingest-port", "PORT", "of the ingest door").or("8087");
const INFLUX_BIND: Opt = Opt::value("--influx-bind", "ADDRESS", "of the influx door");
const SELECT_BIND: Opt = Opt::value("--select-bind", "ADDRESS", "of the select door");
const INGEST_BIND: Opt = Opt::value("--ingest-bind", "ADDRESS", "of the ingest door");
const NO_INGEST: Opt = Opt::switch("--no-ingest", "do not open the ingest door");
const JSON_BIND: Opt = Opt::value("--json-bind", "ADDRESS", "the address of the json door alone");
const LINE_BIND: Opt = Opt::value("--line-bind", "ADDRESS", "of the line door");
const HTTP_BIND: Opt = Opt::value("--http-bind", "ADDRESS", "of the http door");
const DURABILITY: Opt = Opt::value(
    "--durability",
    "WHEN",
    "writes are acknowledged when they are on the disk: sync;\n\
            handed to the kernel: os; synced every so often: interval, interval=500ms",
)
.or("sync");
const MEMTABLE_SIZE: Opt =
    Opt::value("--memtable-size", "N", "flush after so many entries, beside the memory");
const BACKUP_IDLE: Opt = Opt::value(
    "--backup-idle",
    "TIME",
    "how long a backup that nobody reads holds its files: 30s, 5m",
)
.or("5m");
const WORKERS: Opt =
    Opt::value("--workers", "N", "threads that connections live on").or("one a core");
const CONNECTIONS_MAX: Opt =
    Opt::value("--connections-max", "N", "most connections of all doors together").or("10000");
const KEY_BYTES_MAX: Opt = Opt::value("--key-bytes-max", "BYTES", "the longest key").or("4KiB");
const VALUE_BYTES_MAX: Opt =
    Opt::value("--value-bytes-max", "BYTES", "the longest value").or("16MiB");
const LINE_BYTES_MAX: Opt =
    Opt::value("--line-bytes-max", "BYTES", "the longest line, or body of them").or("16MiB");
const POINTS_BYTES_MAX: Opt =
    Opt::value("--points-bytes-max", "BYTES", "the longest body of points, unpacked").or("64MiB");
const REQUIRE_DATABASES: Opt = Opt::switch(
    "--require-databases",
    "refuse points for a database that is not there, instead of\nmaking it",
);
const SERIES_MAX: Opt =
    Opt::value("--series-max", "N", "most time series of a database and policy").or("1000000");
const QUERY_THREADS: Opt = Opt::value(
    "--query-threads",
    "N",
    "short, longer and long queries, and changes,\nthat are answered at once, each",
)
.or("one a core");
const QUERIES_WAITING_MAX: Opt =
    Opt::value("--queries-waiting-max", "N", "most of each that wait beside those").or("100");
const QUERY_TIME_MAX: Opt =
    Opt::value("--query-time-max", "TIME", "how long a query may take: 30s, 5m").or("1m");
const QUERY_BYTES_MAX: Opt =
    Opt::value("--query-bytes-max", "BYTES", "memory that a query may take").or("256MiB");
const QUERY_POINTS_MAX: Opt =
    Opt::value("--query-points-max", "N", "most points that a query may look at").or("1000000000");
const BATCH_ENTRIES_MAX: Opt =
    Opt::value("--batch-entries-max", "N", "most entries in one request").or("100000");
const PAGE_ENTRIES_MAX: Opt =
    Opt::value("--page-entries-max", "N", "most entries in one answer to a scan").or("10000");
const HOST_NAME: Opt =
    Opt::value("--host-name", "NAME", "a name that HTTP doors answer to, beside localhost").many();
const INSECURE: Opt =
    Opt::switch("--insecure", "open doors to other machines without TLS or users");
const TLS_CERT: Opt =
    Opt::value("--tls-cert", "FILE", "the doors speak TLS, and show this certificate (PEM)");
const TLS_KEY: Opt = Opt::value("--tls-key", "FILE", "its key (PEM), for nobody else to read");
const PEER_CA: Opt = Opt::value(
    "--peer-ca",
    "FILE",
    "the authority that vouches for both halves, if they are\non two machines",
);
const PEER_CERT: Opt = Opt::value("--peer-cert", "FILE", "the certificate of this half");
const PEER_KEY: Opt = Opt::value("--peer-key", "FILE", "its key, for nobody else to read");
const LISTEN: Opt = Opt::value(
    "--listen",
    "ADDRESS:PORT",
    "where coordinators on other machines come, with --peer-ca",
);
const TLS: Opt =
    Opt::value("--tls", "HOW", "off; auto: with a certificate that is made in the data directory")
        .or("off");
const LOG_FORMAT: Opt = Opt::value(
    "--log-format",
    "FORMAT",
    "events as text or json; auto is text on a terminal and json elsewhere",
)
.or("auto");
const LOG_LEVEL: Opt = Opt::value("--log-level", "LEVEL", "error, warn, info or debug").or("info");
pub(crate) const LOG_FILE: Opt =
    Opt::value("--log-file", "FILE", "where events go").or("the standard error");
const LOG_FILE_BYTES_MAX: Opt = Opt::value(
    "--log-file-bytes-max",
    "BYTES",
    "the length at which FILE becomes FILE.1 and is begun anew",
)
.or("64MiB");
const LOG_FILES_MAX: Opt =
    Opt::value("--log-files-max", "N", "files of events; older ones are removed").or("5");
const SLOW_MILLIS: Opt =
    Opt::value("--slow-millis", "N", "tell of requests that take as long; 0 tells of all")
        .or("100");
const HEAD_BYTES_MAX: Opt =
    Opt::value("--head-bytes-max", "BYTES", "the longest head of a request over HTTP").or("64KiB");
const GUESSES_MAX: Opt = Opt::value(
    "--guesses-max",
    "N",
    "failed logins of an address within a minute, after which it\nmust wait",
)
.or("5");
const STRANGERS_MAX: Opt =
    Opt::value("--strangers-max", "N", "most connections that have yet to log in").or("500");
const SOCKET: Opt = Opt::value("--socket", "SOCKET", "where coordinators come")
    .or("run/storage.sock in the data directory");
const STORAGE_SOCKET: Opt =
    Opt::value("--storage", "WHERE", "a socket, or host:port of another machine")
        .or("run/storage.sock in the data directory");

/// What the half with the store is told.
const OF_STORE: &[Opt] = &[
    DURABILITY,
    MEMORY,
    MEMTABLE_SIZE,
    BACKUP_IDLE,
    SHARED_DATA_DIR,
    SERIES_MAX,
    QUERY_THREADS,
    QUERIES_WAITING_MAX,
];
/// What the half with the doors is told of them.
const OF_DOORS: &[Opt] = &[
    BIND,
    PORT,
    JSON_PORT,
    LINE_PORT,
    HTTP_PORT,
    INFLUX_PORT,
    SELECT_PORT,
    INGEST_PORT,
    JSON_BIND,
    LINE_BIND,
    HTTP_BIND,
    INFLUX_BIND,
    SELECT_BIND,
    INGEST_BIND,
];
/// How the doors are kept.
const OF_ACCESS: &[Opt] = &[TLS_CERT, TLS_KEY, TLS, HOST_NAME, INSECURE];
/// What is told of queries where they are asked.
const OF_QUERIES: &[Opt] = &[QUERY_TIME_MAX, QUERY_BYTES_MAX, QUERY_POINTS_MAX];
/// How large what comes to the doors may be.
const OF_LIMITS: &[Opt] = &[
    CONNECTIONS_MAX,
    STRANGERS_MAX,
    GUESSES_MAX,
    HEAD_BYTES_MAX,
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    LINE_BYTES_MAX,
    POINTS_BYTES_MAX,
    REQUIRE_DATABASES,
    BATCH_ENTRIES_MAX,
    PAGE_ENTRIES_MAX,
];

/// The same of points and queries alone.
const OF_SERIES_LIMITS: &[Opt] = &[
    CONNECTIONS_MAX,
    STRANGERS_MAX,
    GUESSES_MAX,
    HEAD_BYTES_MAX,
    LINE_BYTES_MAX,
    POINTS_BYTES_MAX,
    REQUIRE_DATABASES,
];

/// What a node tells while it runs, and where.
const OF_LOG: &[Opt] =
    &[LOG_FORMAT, LOG_LEVEL, LOG_FILE, LOG_FILE_BYTES_MAX, LOG_FILES_MAX, SLOW_MILLIS];

pub(crate) const COMMAND: Command = Command {
    name: "serve",
    what: "the node: the store behind its doors, in one process",
    about: "Serve opens the store in the data directory and the doors to it: JSON lines and HTTP on 9999, \
        lines such as `PUT key value` on 7000, HTTP on 8080; time series as InfluxDB's clients write and query them on \
        8086, queries on 8088, lines and queries on 8087; blobs on 9000, and their volume on 9001. What is acknowledged is on the disk. It ends on \
        SIGTERM or SIGINT, after what has arrived is answered.",
    operands: &["[DOOR]"],
    options: &[
        &[CONFIG, DATA_DIR, WORKERS, DOORS],
        OF_STORE,
        OF_DOORS,
        OF_BLOBS,
        OF_ACCESS,
        OF_LIMITS,
        OF_QUERIES,
        OF_HTTP_TIMES,
        OF_LINES_TIMES,
        OF_CONNECTIONS,
        OF_STORE_TIMES,
        OF_LOG,
    ],
    notes: "`serve json` opens that door alone; `--host`, `--port`, `--data-dir` and `--memtable-size` go with it.",
    examples: &[
        "olivine serve",
        "olivine serve --data-dir /srv/data --memory 2GiB",
        "olivine serve json --port 9000 --memtable-size 5000",
    ],
    run: |call| run(call, &both(call)?),
};

pub(crate) const STORAGE: Command = Command {
    name: "storage",
    what: "the half of a node with the store, for coordinators at a socket",
    about: "Storage opens the store in the data directory, and serves coordinators of the same user at a socket. It may end \
        and start again under them: their clients are told to try again meanwhile. Lines of points, and queries over them, it \
        takes by itself on 8087.",
    operands: &[],
    options: &[
        &[CONFIG, DATA_DIR, SOCKET, WORKERS],
        &[LISTEN, PEER_CA, PEER_CERT, PEER_KEY],
        OF_STORE,
        &[INGEST_PORT, INGEST_BIND, NO_INGEST],
        OF_ACCESS,
        OF_SERIES_LIMITS,
        OF_QUERIES,
        OF_HTTP_TIMES,
        OF_CONNECTIONS,
        OF_STORE_TIMES,
        OF_LOG,
    ],
    notes: "",
    examples: &[
        "olivine storage",
        "olivine storage --data-dir /srv/data --socket /run/olivine.sock",
    ],
    run: |call| run(call, &of_storage(call)?),
};

pub(crate) const COORDINATOR: Command = Command {
    name: "coordinator",
    what: "the half of a node with the doors, for a storage at a socket",
    about: "Coordinator opens the doors, and has a storage carry out what is asked there. It may end and start again without \
        the storage noticing.",
    operands: &["[DOOR]"],
    options: &[
        &[CONFIG, STORAGE_SOCKET, DATA_DIR, WORKERS, DOORS],
        &[PEER_CA, PEER_CERT, PEER_KEY],
        OF_DOORS,
        OF_ACCESS,
        OF_LIMITS,
        OF_QUERIES,
        OF_HTTP_TIMES,
        OF_LINES_TIMES,
        OF_CONNECTIONS,
        OF_LINK_TIMES,
        OF_LOG,
    ],
    notes: "",
    examples: &[
        "olivine coordinator",
        "olivine coordinator --storage /run/olivine.sock --doors json,http",
        "olivine coordinator --storage db:9990 --peer-ca ca.pem --peer-cert a.pem --peer-key a-key.pem",
    ],
    run: |call| run(call, &of_coordinator(call)?),
};

pub(crate) const INSERT: Command = Command {
    name: "insert",
    what: "a coordinator with the influx door alone, for points that come in",
    about: "Insert opens the door for points that come as lines, on 8086, and has a storage keep them. It answers queries as \
        InfluxDB does, too.",
    operands: &[],
    options: &[
        &[CONFIG, STORAGE_SOCKET, DATA_DIR, WORKERS],
        &[PEER_CA, PEER_CERT, PEER_KEY],
        &[BIND, PORT, INFLUX_PORT, INFLUX_BIND],
        OF_ACCESS,
        OF_SERIES_LIMITS,
        OF_QUERIES,
        OF_HTTP_TIMES,
        OF_CONNECTIONS,
        OF_LINK_TIMES,
        OF_LOG,
    ],
    notes: "",
    examples: &["olivine insert", "olivine insert --storage /run/olivine.sock --port 9086"],
    run: |call| run(call, &of_one_door(call, Door::Influx)?),
};

pub(crate) const SELECT: Command = Command {
    name: "select",
    what: "a coordinator with the select door alone, for queries over points",
    about: "Select opens the door for queries over points, on 8088, and has a storage answer them.",
    operands: &[],
    options: &[
        &[CONFIG, STORAGE_SOCKET, DATA_DIR, WORKERS],
        &[PEER_CA, PEER_CERT, PEER_KEY],
        &[BIND, PORT, SELECT_PORT, SELECT_BIND],
        OF_ACCESS,
        OF_SERIES_LIMITS,
        OF_QUERIES,
        OF_HTTP_TIMES,
        OF_CONNECTIONS,
        OF_LINK_TIMES,
        OF_LOG,
    ],
    notes: "",
    examples: &["olivine select", "olivine select --storage /run/olivine.sock --port 9088"],
    run: |call| run(call, &of_one_door(call, Door::Select)?),
};

/// What may be told by the environment and by files, too.
pub(crate) const ROLES: &[Role] = &[
    Role { command: &COMMAND, check: |call| both(call).map(drop) },
    Role { command: &STORAGE, check: |call| of_storage(call).map(drop) },
    Role { command: &COORDINATOR, check: |call| of_coordinator(call).map(drop) },
    Role { command: &INSERT, check: |call| of_one_door(call, Door::Influx).map(drop) },
    Role { command: &SELECT, check: |call| of_one_door(call, Door::Select).map(drop) },
    Role { command: &blobs::MASTER, check: |call| blobs::of_master(call).map(drop) },
    Role { command: &blobs::VOLUME, check: |call| blobs::of_volume(call).map(drop) },
];

fn run(call: &Call, settings: &Settings) -> Result<Ending, Failure> {
    // Dropped last, when all has been told.
    let (_log, tells) = log(call)?;
    let presence = Presence::of_service(settings)?;
    match serve(settings, presence, tells) {
        (Some(presence), ended) => {
            presence.end();
            ended
        }
        (None, ended) => ended,
    }
}

/// By what somebody who starts a node is told that it does not start: once, whatever they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// By an event, where only programs read.
    Event,
    /// By a sentence, where events are for people too.
    Sentence,
    /// By both: the event is elsewhere.
    Both,
}

/// Serves until it is asked to end. Returns also what tells others of it.
fn serve(
    settings: &Settings,
    mut presence: Option<Presence>,
    tells: Tells,
) -> (Option<Presence>, Result<Ending, Failure>) {
    let node = match Node::start(settings) {
        Ok(node) => node,
        Err(problem) => {
            if tells != Tells::Sentence {
                problem.tell();
            }
            let failure = not_started(problem);
            let untold = tells == Tells::Event;
            return (presence, Err(if untold { failure.told_already() } else { failure }));
        }
    };
    let mut hidden = None;
    // A coordinator that is told its storage alone has no data directory.
    let has_data_dir = !matches!(
        settings.half,
        Half::Coordinator(StorageAt::Socket(Some(_)) | StorageAt::Host { .. })
    );
    if presence.is_none() && has_data_dir {
        match Presence::of_node(settings) {
            Ok(taken) => presence = Some(taken),
            Err(why) => hidden = Some(why),
        }
    }
    let told = presence.as_ref().map_or(Ok(()), |presence| presence.tell(&node));
    let ended = told
        .and_then(|()| Ok(greeting(&mut io::stdout().lock(), &node, hidden.as_deref())?))
        .and_then(|()| Ok(node.run()?));
    (presence, ended.map(|()| Ending::Good))
}

/// What a node refuses to be is the fault of whoever configured it, wherever they did; it must not be tried again.
fn not_started(problem: Problem) -> Failure {
    match problem {
        Problem::Settings(what) => Failure::new(Ending::Misconfigured, what),
        problem => problem.into(),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        match problem {
            Problem::Store(error) => error.into(),
            Problem::Settings(what) => Failure::misused(what),
            Problem::System { .. } => Failure::new(Ending::Failed, with_causes(&problem)),
        }
    }
}

/// What a node says when it has started.
fn greeting(out: &mut impl io::Write, node: &Node, hidden: Option<&str>) -> io::Result<()> {
    let started = node.started();
    write!(out, "olivine {}", env!("CARGO_PKG_VERSION"))?;
    if let Some(store) = &started.store {
        write!(out, " serves {}", store.display())?;
    }
    if let Some(socket) = &started.socket {
        write!(out, " at {}", socket.display())?;
    }
    writeln!(out)?;
    for (door, address) in &started.doors {
        let what = match door {
            Door::Json => "JSON lines, and HTTP",
            Door::Line => "PUT key value",
            Door::Http => "/kv, /readyz, /metrics",
            Door::Influx => "time series: /write, /query",
            Door::Select => "time series: /?query=",
            Door::Ingest => "time series: lines, /?query=",
            Door::Blob => "blobs: PUT, GET and DELETE /key",
            Door::Volume => "blobs, for whom the blob door sends",
        };
        // Padding is for texts; an address knows none.
        writeln!(out, "  {:6} {:22} {what}", door.name(), address.to_string())?;
    }
    for (setting, why) in &started.skipped {
        let (name, port) = (setting.door.name(), setting.address.port());
        writeln!(out, "  {name:6} left out: port {port}: {why}; --{name}-port names another")?;
    }
    if let Some(address) = &started.listening {
        writeln!(out, "  coordinators on other machines come to {address}")?;
    }
    if let Some((path, fingerprint)) = &started.certificate {
        writeln!(out, "  TLS with {}, SHA-256 {fingerprint}", path.display())?;
    }
    if let Some(what) = &started.recovered {
        writeln!(out, "  {what}")?;
    }
    if let Some(why) = hidden {
        writeln!(out, "  `olivine ctl` does not find this process: {why}")?;
    }
    writeln!(out, "ready; Ctrl-C ends it")?;
    out.flush()
}

/// Begins to write events where the call says.
fn log(call: &Call) -> Result<(Log, Tells), Failure> {
    let level = call.one_of(LOG_LEVEL.name, &["info", "error", "warn", "debug"])?;
    let level = LogLevel::NAMES.iter().find(|(name, _)| *name == level);
    let level = level.map_or(LogLevel::Info, |(_, level)| *level);
    let file = call.value(LOG_FILE.name).map(PathBuf::from);
    let format = match call.one_of(LOG_FORMAT.name, &["auto", "text", "json"])? {
        "text" => LogFormat::Text,
        "auto" if file.is_none() && io::stderr().is_terminal() => LogFormat::Text,
        _ => LogFormat::Json,
    };
    let bytes_max = call.bytes(LOG_FILE_BYTES_MAX.name)?;
    let files_max = number(call, LOG_FILES_MAX.name)?;
    let Some(path) = file else {
        if bytes_max.is_some() || files_max.is_some() {
            let what = "`--log-file-bytes-max` and `--log-files-max` go with `--log-file`";
            return Err(Failure::misused(what));
        }
        let tells = if format == LogFormat::Json { Tells::Event } else { Tells::Sentence };
        return Ok((Log::to_writer(format, level, io::stderr())?, tells));
    };
    let bytes_max = bytes_max.unwrap_or(LogFileSettings::BYTES_MAX);
    if bytes_max < LogFileSettings::BYTES_LEAST {
        let least = LogFileSettings::BYTES_LEAST;
        let what = format!("`--log-file-bytes-max` is {bytes_max}, and must be {least} at least");
        return Err(Failure::misused(what));
    }
    let files_max = files_max.unwrap_or(LogFileSettings::FILES_MAX);
    if !(1..=LogFileSettings::FILES_MOST).contains(&files_max) {
        let most = LogFileSettings::FILES_MOST;
        let what = format!("`--log-files-max` is {files_max}, and must be 1 to {most}");
        return Err(Failure::misused(what));
    }
    let file = LogFileSettings { path, bytes_max, files_max };
    let log = Log::to_file(format, level, &file).map_err(not_started)?;
    Ok((log, Tells::Both))
}

/// What every half is told.
fn common(call: &Call) -> Result<Settings, Failure> {
    let mut settings = Settings { doors: Vec::new(), ..Settings::default() };
    if let Some(dir) = call.value("--data-dir") {
        settings.data_dir = dir.into();
    }
    settings.workers = count(call, "--workers", settings.workers)?;
    if let Some(millis) = number(call, SLOW_MILLIS.name)? {
        settings.slow = Duration::from_millis(millis);
    }
    settings.patience = patience(call)?;
    Ok(settings)
}

/// What the half with the store is told.
fn with_store(call: &Call, mut settings: Settings) -> Result<Settings, Failure> {
    with_memory(call, &mut settings)?;
    settings.shared_dir = call.has("--shared-data-dir");
    settings.memtable_entries_max = number(call, "--memtable-size")?;
    if let Some(text) = call.text("--backup-idle")? {
        let wrong = || Failure::misused(format!("`--backup-idle` wants 30s or 5m, not `{text}`"));
        let idle = duration(&text).filter(|idle| !idle.is_zero());
        settings.backup_idle_max = idle.ok_or_else(wrong)?;
    }
    settings.series_max = number(call, SERIES_MAX.name)?.unwrap_or(settings.series_max);
    let queries = &mut settings.queries;
    queries.threads = count(call, QUERY_THREADS.name, queries.threads)?;
    queries.waiting_max = count(call, QUERIES_WAITING_MAX.name, queries.waiting_max)?;
    Ok(settings)
}

/// What every process with a store or with objects is told, as far as its role takes it.
fn with_memory(call: &Call, settings: &mut Settings) -> Result<(), Failure> {
    settings.memory_bytes = call.bytes("--memory")?;
    if takes(call, DURABILITY.name)
        && let Some(text) = call.text(DURABILITY.name)?
    {
        let wanted = "wants sync, os, interval or interval=500ms";
        let wrong = || call.wrong(DURABILITY.name, format_args!("{wanted}, not `{text}`"));
        (settings.durability, settings.interval) = durability(&text).ok_or_else(wrong)?;
    }
    Ok(())
}

/// What the half with the doors is told; these doors if it is not told which.
fn with_doors(call: &Call, defaults: &[Door], mut settings: Settings) -> Result<Settings, Failure> {
    settings.doors = doors(call, defaults)?;
    if takes(call, REQUIRE_DATABASES.name) {
        of_points(call, &mut settings)?;
    }
    settings.connections_max = count(call, "--connections-max", settings.connections_max)?;
    settings.limits = limits(call)?;
    settings.hosts = Hosts { names: call.texts("--host-name")? };
    settings.strangers_max = count(call, "--strangers-max", settings.strangers_max)?;
    if takes(call, GUESSES_MAX.name)
        && let Some(guesses) = number::<u32>(call, GUESSES_MAX.name)?
    {
        if !(1..=1_000).contains(&guesses) {
            let what = format_args!("may be 1 to 1000, not {guesses}");
            return Err(call.wrong(GUESSES_MAX.name, what));
        }
        settings.guesses_max = guesses;
    }
    settings.tls = tls(call)?;
    settings.insecure = call.has("--insecure");
    Ok(settings)
}

/// What the doors of points and of queries are told.
fn of_points(call: &Call, settings: &mut Settings) -> Result<(), Failure> {
    settings.requires_databases = call.has(REQUIRE_DATABASES.name);
    if let Some(text) = call.text(QUERY_TIME_MAX.name)? {
        let wrong =
            || call.wrong(QUERY_TIME_MAX.name, format_args!("wants 30s or 5m, not `{text}`"));
        let time = duration(&text).filter(|time| !time.is_zero());
        settings.queries.time_max = time.ok_or_else(wrong)?;
    }
    let queries = &mut settings.queries;
    queries.bytes_max = call.bytes(QUERY_BYTES_MAX.name)?.unwrap_or(queries.bytes_max);
    queries.points_max = number(call, QUERY_POINTS_MAX.name)?.unwrap_or(queries.points_max);
    Ok(())
}

fn of_storage(call: &Call) -> Result<Settings, Failure> {
    let half = Half::Storage(call.value("--socket").map(PathBuf::from));
    let (peers, listen) = (peers(call)?, listen(call)?);
    let doors: &[Door] = if call.has(NO_INGEST.name) { &[] } else { &[Door::Ingest] };
    let settings = with_doors(call, doors, with_store(call, common(call)?)?)?;
    Ok(Settings { half, peers, listen, ..settings })
}

fn of_one_door(call: &Call, door: Door) -> Result<Settings, Failure> {
    let (half, peers) = (Half::Coordinator(storage_at(call)), peers(call)?);
    Ok(Settings { half, peers, ..with_doors(call, &[door], common(call)?)? })
}

fn of_coordinator(call: &Call) -> Result<Settings, Failure> {
    let (half, peers) = (Half::Coordinator(storage_at(call)), peers(call)?);
    // Those of points have coordinators of their own, `insert` and `select`.
    let doors = [Door::Json, Door::Line, Door::Http];
    Ok(Settings { half, peers, ..with_doors(call, &doors, common(call)?)? })
}

fn both(call: &Call) -> Result<Settings, Failure> {
    with_blobs(call, with_doors(call, &Door::ALL, with_store(call, common(call)?)?)?)
}

/// Whether the command that is called has this option.
fn takes(call: &Call, name: &str) -> bool {
    call.command().options().any(|option| option.name == name)
}

/// What `olivine serve` would be, called with no more than the configuration that `call` names.
pub(crate) fn as_configured(call: &Call) -> Result<Settings, Failure> {
    let mut serve = Call::parse(&COMMAND, &[]).map_err(Failure::misused)?;
    Layers::read(call.value(CONFIG.name))?.complete(&mut serve)?;
    both(&serve)
}

/// Where the storage of a coordinator is.
fn storage_at(call: &Call) -> StorageAt {
    let asked = call.value("--storage");
    let host = asked.and_then(|asked| {
        let (name, port) = asked.to_str()?.rsplit_once(':')?;
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let port = port.parse().ok()?;
        (!name.is_empty() && !name.contains('/')).then(|| (name.to_owned(), port))
    });
    match host {
        Some((name, port)) => StorageAt::Host { name, port },
        None => StorageAt::Socket(asked.map(PathBuf::from)),
    }
}

fn listen(call: &Call) -> Result<Option<SocketAddr>, Failure> {
    let Some(text) = call.text("--listen")? else { return Ok(None) };
    let wanted = "wants ADDRESS:PORT, such as 0.0.0.0:9990, not";
    let wrong = || call.wrong("--listen", format_args!("{wanted} `{text}`"));
    text.parse().map(Some).map_err(|_| wrong())
}

fn peers(call: &Call) -> Result<Option<PeerSetting>, Failure> {
    match (call.value("--peer-ca"), call.value("--peer-cert"), call.value("--peer-key")) {
        (None, None, None) => Ok(None),
        (Some(authority), Some(certificate), Some(key)) => Ok(Some(PeerSetting {
            authority: authority.into(),
            certificate: certificate.into(),
            key: key.into(),
        })),
        _ => {
            let what = "`--peer-ca`, `--peer-cert` and `--peer-key` go together; `olivine certify` makes them";
            Err(together(call, &["--peer-ca", "--peer-cert", "--peer-key"], what))
        }
    }
}

fn tls(call: &Call) -> Result<Option<TlsSetting>, Failure> {
    let how = call.one_of("--tls", &["off", "auto"])?;
    let names = ["--tls-cert", "--tls-key"];
    match names.map(|name| call.value(name)) {
        [None, None] => Ok((how == "auto").then_some(TlsSetting::Auto)),
        [Some(_), Some(_)] if how == "auto" => {
            let what =
                "`--tls auto` makes a certificate, and `--tls-cert` names one; say one of them";
            Err(together(call, &["--tls", "--tls-cert"], what))
        }
        [Some(certificate), Some(key)] => {
            let (certificate, key) = (certificate.into(), key.into());
            Ok(Some(TlsSetting::Files { certificate, key }))
        }
        _ => Err(together(call, &names, "`--tls-cert` and `--tls-key` go together")),
    }
}

/// What is wrong with options together; where one stands in a file or the environment, it is told there.
fn together(call: &Call, names: &[&str], what: &str) -> Failure {
    let below =
        names.iter().find(|name| !matches!(call.origin(name), Origin::Flag | Origin::Default));
    match below {
        Some(name) => call.wrong(name, format_args!("does not stand alone: {what}")),
        None => Failure::misused(what),
    }
}

fn count(call: &Call, name: &str, default: usize) -> Result<usize, Failure> {
    Ok(number(call, name)?.unwrap_or(default))
}

fn limits(call: &Call) -> Result<Limits, Failure> {
    let default = Limits::default();
    let bytes = |name, default: usize, most: usize| -> Result<usize, Failure> {
        if !takes(call, name) {
            return Ok(default);
        }
        let Some(bytes) = call.bytes(name)? else { return Ok(default) };
        if (most as u64) < bytes {
            return Err(call.wrong(name, format_args!("may be {most} at most, not {bytes}")));
        }
        Ok(bytes as usize)
    };
    let head_bytes_max =
        bytes(HEAD_BYTES_MAX.name, default.head_bytes_max, Limits::HEAD_BYTES_MOST)?;
    if head_bytes_max < Limits::HEAD_BYTES_LEAST {
        let least = Limits::HEAD_BYTES_LEAST;
        let what = format_args!("must be {least} at least, not {head_bytes_max}");
        return Err(call.wrong(HEAD_BYTES_MAX.name, what));
    }
    let entries = [BATCH_ENTRIES_MAX.name, PAGE_ENTRIES_MAX.name]
        .map(|name| if takes(call, name) { number::<usize>(call, name) } else { Ok(None) });
    let [batch, page] = entries;
    Ok(Limits {
        key_bytes_max: bytes("--key-bytes-max", default.key_bytes_max, Limits::KEY_BYTES_MOST)?,
        value_bytes_max: bytes(
            "--value-bytes-max",
            default.value_bytes_max,
            Limits::VALUE_BYTES_MOST,
        )?,
        line_bytes_max: bytes("--line-bytes-max", default.line_bytes_max, Limits::LINE_BYTES_MOST)?,
        points_bytes_max: bytes(
            POINTS_BYTES_MAX.name,
            default.points_bytes_max,
            Limits::POINTS_BYTES_MOST,
        )?,
        head_bytes_max,
        batch_entries_max: batch?.unwrap_or(default.batch_entries_max),
        page_entries_max: page?.map_or(default.page_entries_max, |entries| entries as u64),
    })
}

/// The doors that are to be opened, and where.
fn doors(call: &Call, defaults: &[Door]) -> Result<Vec<DoorSetting>, Failure> {
    let asked = if takes(call, DOORS.name) { call.text(DOORS.name)? } else { None };
    let named = match (call.operand(0), asked) {
        (None, None) => defaults.to_vec(),
        (Some(_), Some(_)) if *call.origin("--doors") == Origin::Flag => {
            return Err(Failure::misused("a door is named by place or with `--doors`, not both"));
        }
        (Some(door), _) => {
            vec![door_named(call, &door.to_string_lossy()).map_err(Failure::misused)?]
        }
        (None, Some(names)) => {
            let named =
                names.split(',').map(|name| door_named(call, name)).collect::<Result<_, _>>();
            named.map_err(|what| call.wrong("--doors", format_args!("names {what}")))?
        }
    };
    if call.value("--port").is_some() && named.len() != 1 {
        let what = "is for one door; `json-port`, `line-port`, `http-port` and the like name each";
        return Err(call.wrong("--port", what));
    }
    let setting = |door: Door| {
        let mut setting = DoorSetting::default_of(door);
        let own = |what| {
            let named = format!("--{}-{what}", door.name());
            if takes(call, &named) { named } else { format!("--{what}") }
        };
        if let Some(port) = number::<u16>(call, nearer(call, &own("port"), "--port"))? {
            setting.address.set_port(port);
            setting.asked = true;
        }
        if let Some(ip) = address(call, nearer(call, &own("bind"), "--bind"))? {
            setting.address = SocketAddr::new(ip, setting.address.port());
        }
        Ok(setting)
    };
    named.into_iter().map(setting).collect()
}

/// Whichever of two options a nearer layer gives; the first when the same does, or none.
pub(crate) fn nearer<'a>(call: &Call, first: &'a str, second: &'a str) -> &'a str {
    let rank = |name| match call.origin(name) {
        Origin::Flag => 0,
        Origin::Environment(_) => 1,
        Origin::File(..) => 2,
        Origin::Default => 3,
    };
    if rank(second) < rank(first) { second } else { first }
}

/// The door that a command calls by this name.
fn door_named(call: &Call, name: &str) -> Result<Door, String> {
    let known = || {
        let is_known = |door: &Door| takes(call, &format!("--{}-port", door.name()));
        Door::ALL.into_iter().filter(is_known)
    };
    let door = known().find(|door| door.name() == name.trim());
    door.ok_or_else(|| {
        let known: Vec<&str> = known().map(Door::name).collect();
        format!("no door `{name}`; there are {}", known.join(", "))
    })
}

fn address(call: &Call, name: &str) -> Result<Option<IpAddr>, Failure> {
    let Some(text) = call.text(name)? else { return Ok(None) };
    let text = if text == "localhost" { "127.0.0.1" } else { &text };
    let wrong =
        || call.wrong(name, format_args!("wants an address such as 127.0.0.1, not `{text}`"));
    text.parse().map(Some).map_err(|_| wrong())
}

fn number<T: std::str::FromStr>(call: &Call, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = call.text(name)? else { return Ok(None) };
    let wrong = || call.wrong(name, format_args!("wants a number, not `{text}`"));
    text.parse().map(Some).map_err(|_| wrong())
}

/// `sync`, `os`, `interval`, `interval=1s`.
fn durability(text: &str) -> Option<(Durability, Duration)> {
    let default = Settings::default().interval;
    match text.split_once('=') {
        None => match text {
            "sync" => Some((Durability::Sync, default)),
            "os" => Some((Durability::Os, default)),
            "interval" => Some((Durability::Interval, default)),
            _ => None,
        },
        Some(("interval", length)) => Some((Durability::Interval, duration(length)?)),
        Some(_) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
