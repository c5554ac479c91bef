//! What strangers cost a node: connections that say nothing, a line that never ends, and peers that
//! dribble while others want answers.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Get,
    load::{Load, run},
    process::Server,
};
use crate::store::Result;

/// What was found.
pub(crate) struct Manners {
    /// Memory of one connection that says nothing, and of how many.
    pub(crate) idle_bytes: u64,
    pub(crate) idle: u64,
    /// Growth of resident memory under a line that never ends, and how much of it was sent.
    pub(crate) endless_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// The 99th percentile of gets alone, and beside slow peers.
    pub(crate) alone: Duration,
    pub(crate) beside: Duration,
    pub(crate) slow: usize,
}

/// Sizes of one run.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) idle: u64,
    pub(crate) endless_bytes: u64,
    pub(crate) slow: usize,
    pub(crate) length: Duration,
}

pub(crate) fn measure(server: &Server, sizes: Sizes) -> Result<Manners> {
    let files = sizes.idle + sizes.slow as u64 + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum })?;
    }
    let (idle_bytes, idle) = idle(server, sizes.idle)?;
    let (endless_bytes, sent_bytes) = endless(server, sizes.endless_bytes)?;
    let load = Load { connections: 8, depth: 1, length: sizes.length };
    let p99 = |server: &Server| -> Result<Duration> {
        Ok(run(server.port, load, &mut Get)?.times.quantile(0.99).unwrap_or_default())
    };
    let alone = p99(server)?;
    let done = AtomicBool::new(false);
    let beside = thread::scope(|scope| {
        let dribbling = scope.spawn(|| dribble(server.port, sizes.slow, &done));
        let beside = p99(server);
        done.store(true, Relaxed);
        dribbling.join().map_err(|_| "the slow peers panicked")??;
        beside
    })?;
    Ok(Manners { idle_bytes, idle, endless_bytes, sent_bytes, alone, beside, slow: sizes.slow })
}

/// Memory that each of many connections takes which have asked once and say nothing more.
fn idle(server: &Server, count: u64) -> Result<(u64, u64)> {
    let before = server.resident_bytes()?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
        stream.write_all(b"{\"command\":\"ping\"}\n")?;
        connections.push(stream);
    }
    for stream in &mut connections {
        stream.read_exact(&mut [0; 33])?;
    }
    let grown = server.resident_bytes()?.saturating_sub(before);
    Ok((grown / count, count))
}

/// How much memory grows under a line that never ends, and how much of it could be sent.
fn endless(server: &Server, bytes: u64) -> Result<(u64, u64)> {
    let before = server.resident_bytes()?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    let (piece, mut sent, mut most) = (vec![b'a'; 256 << 10], 0, before);
    while sent < bytes {
        // Sooner or later the node has had enough.
        let Ok(written) = stream.write(&piece) else { break };
        sent += written as u64;
        most = most.max(server.resident_bytes()?);
    }
    Ok((most - before, sent))
}

/// Sends a byte of a request now and then over each of many connections.
fn dribble(port: u16, count: usize, done: &AtomicBool) -> Result<()> {
    let connect = |_| TcpStream::connect(("127.0.0.1", port));
    let mut connections = (0..count).map(connect).collect::<Result<Vec<_>, _>>()?;
    let request = b"{\"command\":\"ping\"}\n";
    for byte in request.iter().cycle() {
        for stream in &mut connections {
            stream.write_all(&[*byte])?;
        }
        if done.load(Relaxed) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
