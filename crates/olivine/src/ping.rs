//! `olivine ping`: whether a node serves, for health checks that have no other program at hand.
//!
//! 1. Good means that a node answered as it should, and nothing less.
//! 2. A door that cannot be reached has an exit code of its own, so that whoever waits for a start can tell.
//! 3. It ends within [`PATIENCE`] for each of connecting, asking and being answered.
//! 4. No name is looked up: a check of health does not wait for DNS.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_server::{Command as Asked, Door, Local, Reply, Settings};

use crate::{
    call::{Call, Command, Opt},
    config::CONFIG,
    ending::{Ending, Failure},
    json::Json,
    serve,
};

/// Where the door for JSON lines is when nobody says otherwise.
const JSON_PORT: u16 = 9999;
/// Where the door for HTTP is.
const HTTP_PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer answer is none to a ping.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// What is shown of an answer at most.
const SHOWN_CHARS_MAX: usize = 200;

pub(crate) const COMMAND: Command = Command {
    name: "ping",
    what: "ask a node whether it serves",
    about: "Ping asks a running node whether it serves, and ends with 0 when it does, with 4 when nobody is there. Lines \
        of JSON are asked `ping`, which says that the door answers; HTTP is asked `/readyz`, which says that the store \
        behind it does as well; the node's socket in its data directory is asked something of the store, whatever \
        ports the doors have and whether or not they speak TLS.",
    operands: &["[URL]"],
    options: &[&[
        CONFIG,
        Opt::value("--port", "PORT", "the door for lines of JSON at this port of this machine"),
        Opt::value("--data-dir", "DIR", "the node with the store in DIR, as its user or root"),
    ]],
    notes: "URL is `json://ADDRESS:PORT` or `http://ADDRESS:PORT`. When there is none, the node is asked that `serve` would be, \
        as the configuration has it. An \
        address is numbers or `localhost`; a port may be missing. No TLS is spoken.",
    examples: &[
        "olivine ping",
        "olivine ping --port 9000",
        "olivine ping --data-dir /var/lib/olivine",
        "olivine ping http://127.0.0.1:8080",
        "olivine ping json://[::1]:9999",
    ],
    run,
};

/// How a door is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Json,
    Http,
}

/// A door that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    manner: Manner,
    address: SocketAddr,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.manner {
            Manner::Json => "json",
            Manner::Http => "http",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

fn run(call: &Call) -> Result<Ending, Failure> {
    if let Some(dir) = call.value("--data-dir") {
        if call.operand(0).is_some() || call.value("--port").is_some() {
            return Err(Failure::misused("`--data-dir` needs neither URL nor `--port`"));
        }
        return beside(Path::new(dir));
    }
    let target = match (call.operand(0), call.text("--port")?) {
        (None, None) => match as_configured(&serve::as_configured(call)?) {
            Ok(target) => target,
            Err(data_dir) => return beside(&data_dir),
        },
        _ => target(call)?,
    };
    let answer = asked(&target)?;
    judged(&target, &answer)?;
    writeln!(io::stdout(), "{target} serves")?;
    Ok(Ending::Good)
}

/// Asks the node that has its store in a directory, through its socket there.
fn beside(data_dir: &Path) -> Result<Ending, Failure> {
    let socket: PathBuf = Local::socket_in(data_dir);
    let place = socket.display();
    let mut local = Local::beside(&socket, PATIENCE).map_err(|error| {
        let what =
            format!("cannot connect to {place}: {error}; does a node run with this directory?");
        Failure::new(Ending::Unreachable, what)
    })?;
    match local.ask(&Asked::Numbers)? {
        Reply::Numbers(_) => {
            writeln!(io::stdout(), "{place} serves")?;
            Ok(Ending::Good)
        }
        _ => Err(Failure::new(Ending::Failed, format!("{place} answers, but not that it serves"))),
    }
}

/// The door to ask of a node with these settings; its data directory where no door can be asked from here:
/// none speaks plainly, or its port is not known.
fn as_configured(settings: &Settings) -> Result<Target, PathBuf> {
    let door = |door| settings.doors.iter().find(|setting| setting.door == door);
    let doors = [(Manner::Json, door(Door::Json)), (Manner::Http, door(Door::Http))];
    let found = doors.into_iter().find_map(|(manner, setting)| Some((manner, setting?.address)));
    match found {
        Some((manner, address)) if settings.tls.is_none() && address.port() != 0 => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Ok(Target { manner, address: SocketAddr::new(ip, address.port()) })
        }
        _ => Err(settings.data_dir.clone()),
    }
}

fn target(call: &Call) -> Result<Target, Failure> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match (call.operand(0), call.text("--port")?) {
        (None, None) => {
            Ok(Target { manner: Manner::Json, address: SocketAddr::new(local, JSON_PORT) })
        }
        (None, Some(port)) => {
            let wrong =
                || Failure::misused(format!("`--port` wants a port from 1 to 65535, not `{port}`"));
            let port = port_of(&port).ok_or_else(wrong)?;
            Ok(Target { manner: Manner::Json, address: SocketAddr::new(local, port) })
        }
        (Some(url), None) => url_read(&url.to_string_lossy()),
        (Some(_), Some(_)) => {
            Err(Failure::misused("the door is named by URL or with `--port`, not both"))
        }
    }
}

fn url_read(url: &str) -> Result<Target, Failure> {
    let wrong = |why: &str| {
        let wanted = "URL wants json://ADDRESS:PORT or http://ADDRESS:PORT";
        Failure::misused(format!("{wanted}, not `{url}`: {why}"))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it says no protocol"))?;
    let (manner, default_port) = match scheme {
        "json" => (Manner::Json, JSON_PORT),
        "http" => (Manner::Http, HTTP_PORT),
        "https" => return Err(wrong("ping speaks no TLS; ask a door of this machine without it")),
        _ => return Err(wrong("the protocol is not known")),
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let asked_anyway = manner == Manner::Http && path == "readyz";
    if !path.is_empty() && !asked_anyway {
        return Err(wrong("nothing stands behind the port"));
    }
    let named = "the address is numbers or `localhost`; names are not looked up";
    let (host, port) = match place.rsplit_once(':') {
        // The last colon of `[::1]` is its own.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port_of(port).ok_or_else(|| wrong("the port is none from 1 to 65535"))?)
        }
        _ => (place, default_port),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let ip = match (host, bare) {
        ("localhost", _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (_, Some(bare)) => IpAddr::V6(bare.parse().map_err(|_| wrong(named))?),
        (host, None) => IpAddr::V4(host.parse().map_err(|_| wrong(named))?),
    };
    Ok(Target { manner, address: SocketAddr::new(ip, port) })
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| 0 < *port)
}

/// What the door answers: a line, or everything up to the end of the connection.
fn asked(target: &Target) -> Result<Vec<u8>, Failure> {
    let mut stream = TcpStream::connect_timeout(&target.address, PATIENCE).map_err(|error| {
        let what = format!(
            "cannot connect to {target}: {error}; is a node running there? `olivine serve` says where \
             its doors are"
        );
        Failure::new(Ending::Unreachable, what)
    })?;
    let cut_off = |error| Failure::io(format!("{target} was reached and does not answer"))(error);
    stream.set_read_timeout(Some(PATIENCE)).map_err(cut_off)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(cut_off)?;
    let request = match target.manner {
        Manner::Json => "{\"command\":\"ping\"}\n".to_owned(),
        Manner::Http => {
            format!("GET /readyz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", target.address)
        }
    };
    stream.write_all(request.as_bytes()).map_err(cut_off)?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        // The first line says it all, in both manners.
        if answer.contains(&b'\n') || ANSWER_BYTES_MAX < answer.len() {
            return Ok(answer);
        }
        match stream.read(&mut bytes).map_err(cut_off)? {
            0 => return Ok(answer),
            length => answer.extend_from_slice(&bytes[..length]),
        }
    }
}

/// Whether an answer is that of a node that serves.
fn judged(target: &Target, answer: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default();
    let good = match target.manner {
        Manner::Json => {
            let pong = |json: &Json| match json {
                Json::Object(members) => {
                    let has = |name: &str, value: &str| {
                        members.iter().any(|(known, json)| known == name && *json == value.into())
                    };
                    has("status", "ok") && has("message", "pong")
                }
                _ => false,
            };
            Json::parse(line).is_ok_and(|json| pong(&json))
        }
        Manner::Http => line.starts_with("HTTP/1.1 200 "),
    };
    if good {
        return Ok(());
    }
    let shown: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    let shown = shown.escape_debug();
    Err(Failure::new(
        Ending::Failed,
        format!("{target} answers, but not that it serves: `{shown}`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn read(line: &str) -> Result<String, String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let call = Call::parse(&COMMAND, &arguments)?;
        target(&call).map(|target| target.to_string()).map_err(|wrong| wrong.text().to_owned())
    }

    #[test]
    fn a_door_is_named_by_url_or_port() {
        for (line, meant) in [
            ("", "json://127.0.0.1:9999"),
            ("--port 1234", "json://127.0.0.1:1234"),
            ("json://localhost", "json://127.0.0.1:9999"),
            ("http://localhost/", "http://127.0.0.1:8080"),
            ("http://10.1.2.3:81/readyz", "http://10.1.2.3:81"),
            ("json://[::1]", "json://[::1]:9999"),
            ("http://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(meant), "{line}");
        }
    }

    #[test]
    fn what_is_no_door_is_refused_with_the_reason() {
        for (line, why) in [
            ("--port 0", "`--port` wants a port from 1 to 65535, not `0`"),
            ("http://localhost --port 1", "not both"),
            ("localhost", "it says no protocol"),
            ("ftp://localhost", "the protocol is not known"),
            ("https://localhost", "ping speaks no TLS"),
            ("http://node.example:80", "names are not looked up"),
            ("json://[::g]:80", "names are not looked up"),
            ("json://::1", "names are not looked up"),
            ("http://127.0.0.1:", "the port is none from 1 to 65535"),
            ("http://127.0.0.1:80/kv/a", "nothing stands behind the port"),
            ("json://127.0.0.1/readyz", "nothing stands behind the port"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn only_a_node_that_serves_is_good() {
        let judge = |url: &str, answer: &str| {
            let failed = judged(&url_read(url).unwrap(), answer.as_bytes()).err();
            failed.map(|failure| (failure.ending(), failure.text().to_owned()))
        };
        let json = "json://127.0.0.1";
        assert_eq!(judge(json, "{\"status\":\"ok\",\"message\":\"pong\"}\n"), None);
        assert_eq!(judge("http://127.0.0.1", "HTTP/1.1 200 OK\r\n\r\nok"), None);
        for (url, answer) in [
            (json, ""),
            (json, "pong\n"),
            (json, "[\"ok\",\"pong\"]\n"),
            (json, "{\"status\":\"error\",\"message\":\"pong\"}\n"),
            ("http://127.0.0.1", "HTTP/1.1 503 Service Unavailable\r\n"),
            ("http://127.0.0.1", "HTTP/1.1 2000\r\n"),
        ] {
            let (ending, text) = judge(url, answer).unwrap();
            assert_eq!(ending, Ending::Failed);
            assert!(text.contains("answers, but not that it serves"), "{text}");
        }
    }
}
