//! Asks a node from outside whether it answers, as whoever starts one wants to know.
//!
//! 1. Every step has an end: who does not answer within the patience given has not answered.
//! 2. Nothing that is asked changes anything.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use olivine_command::Command;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::{local, settings::Door};

mod anybody;

/// More than any answer that is waited for.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Whether the storage at a socket carries out what it is asked.
pub fn storage_answers(socket: &Path, patience: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let reply = local::through(&mut stream, 0, 0, &Command::Count)?;
    if Command::Count.is_answered_by(&reply) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it answers something else"))
}

/// Whether the door at an address answers, and that it is ready where it can tell; what it said otherwise.
pub fn door_answers(
    door: Door,
    address: SocketAddr,
    speaks_tls: bool,
    patience: Duration,
) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    if !speaks_tls {
        return answers(door, &mut stream);
    }
    // Whoever listens here is known already, and gets nothing that others may not hear.
    let config = ClientConfig::builder_with_provider(anybody::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(anybody::verifier())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    answers(door, &mut rustls::Stream::new(&mut tls, &mut stream))
}

fn answers(door: Door, stream: &mut (impl Read + Write)) -> io::Result<()> {
    // Lines are answered before anybody has said who they are, with whatever word.
    let (asked, wanted): (&[u8], &[u8]) = match door {
        Door::Json | Door::Http => (
            b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            b"HTTP/1.1 200 ",
        ),
        // Whatever they answer to a key that cannot be.
        Door::Blob | Door::Volume => {
            (b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", b"HTTP/1.1 4")
        }
        Door::Influx | Door::Select | Door::Ingest => (
            b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            b"HTTP/1.1 200 ",
        ),
        Door::Line => (b"PING\n", b""),
    };
    stream.write_all(asked)?;
    let mut answer = Vec::new();
    read_until(stream, &mut answer, |answer| answer.contains(&b'\n'))?;
    if answer.starts_with(wanted) {
        return Ok(());
    }
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii().escape_ascii();
    Err(io::Error::other(format!("the {} door answers `{line}`", door.name())))
}

/// An address that says `any` is reached at this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn read_until(
    stream: &mut impl Read,
    answer: &mut Vec<u8>,
    is_whole: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = [0; 512];
    while !is_whole(answer) {
        if ANSWER_BYTES_MAX < answer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it answers without end"));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::TcpListener,
        thread::{self, JoinHandle},
    };

    const PATIENCE: Duration = Duration::from_millis(300);

    /// Somebody who says this to the first that comes, whatever is asked.
    fn says(text: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = thread::Builder::new().spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(text).ok();
            // Until the other end has gone.
            io::copy(&mut stream, &mut io::sink()).ok();
        });
        (address, says.unwrap())
    }

    fn asked(door: Door, text: &'static [u8]) -> Result<(), String> {
        let (address, says) = says(text);
        let answered =
            door_answers(door, address, false, PATIENCE).map_err(|error| error.to_string());
        says.join().unwrap();
        answered
    }

    #[test]
    fn a_door_that_answers_something_else_is_told_with_what_it_said() {
        assert_eq!(asked(Door::Line, b"OK PONG\n"), Ok(()));
        assert_eq!(asked(Door::Json, b"HTTP/1.1 200 OK\r\n"), Ok(()));
        let told = |door, text| asked(door, text).unwrap_err();
        assert_eq!(
            told(Door::Http, b"HTTP/1.1 503 Service Unavailable\r\n"),
            "the http door answers `HTTP/1.1 503 Service Unavailable`"
        );
        assert_eq!(told(Door::Json, b"ERR\x1b[2J\n"), "the json door answers `ERR\\x1b[2J`");
        assert_eq!(asked(Door::Line, b"ERROR who are you?\n"), Ok(()), "it answers");
        assert_eq!(told(Door::Line, &[b'x'; ANSWER_BYTES_MAX + 1024]), "it answers without end");
        assert!(asked(Door::Line, b"OK PO").is_err(), "it never ends its line");
    }

    #[test]
    fn any_address_is_reached_at_this_machine() {
        for (address, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("127.0.0.2:1", "127.0.0.2:1")]
        {
            assert_eq!(reachable(address.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
