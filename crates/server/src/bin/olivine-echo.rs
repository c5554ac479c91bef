//! A server that sends back every line it gets: what a socket and a runtime cost by themselves.
//!
//! `olivine-echo` answers on one current-thread runtime a worker, as the node does; `olivine-echo multi` on tokio's
//! multi-thread runtime; `olivine-echo sync FILE` writes each group of lines over the start of a file and
//! syncs it before it answers. It prints its port.
#![expect(clippy::print_stdout, reason = "it prints where it listens")]

use std::{
    env, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use olivine_vfs::{File, Open, RealVfs, Vfs as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc,
};

type Disk = Option<Arc<dyn File>>;

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let disk = match words.as_slice() {
        [mode, path] if mode == "sync" => Some(preset(Path::new(path))?),
        _ => None,
    };
    if words.first().is_some_and(|mode| mode == "multi") {
        let runtime = tokio_multi()?;
        return runtime.block_on(accept(|stream| drop(tokio::spawn(echo(stream, None)))));
    }
    let workers: Vec<mpsc::UnboundedSender<std::net::TcpStream>> =
        (0..2).map(|_| worker(disk.clone())).collect::<io::Result<_>>()?;
    let next = AtomicUsize::new(0);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(|stream| {
        let worker = &workers[next.fetch_add(1, Relaxed) % workers.len()];
        if let Ok(stream) = stream.into_std() {
            worker.send(stream).ok();
        }
    }))
}

fn tokio_multi() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// A file of which no write changes the length.
fn preset(path: &Path) -> io::Result<Arc<dyn File>> {
    RealVfs.remove_file(path).ok();
    let file = RealVfs.open(path, Open::Create)?;
    file.write_at(&vec![0; 64 << 10], 0)?;
    file.sync()?;
    Ok(file)
}

fn worker(disk: Disk) -> io::Result<mpsc::UnboundedSender<std::net::TcpStream>> {
    let (taken, mut incoming) = mpsc::unbounded_channel();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            while let Some(stream) = incoming.recv().await {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    tokio::spawn(echo(stream, disk.clone()));
                }
            }
        });
    })?;
    Ok(taken)
}

async fn accept(take: impl Fn(TcpStream)) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        take(stream);
    }
}

/// Sends back whole lines, as many as have arrived.
async fn echo(mut stream: TcpStream, disk: Disk) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(64 << 10);
    while stream.read_buf(&mut buffer).await? != 0 {
        let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        if let Some(file) = &disk {
            let bytes = &buffer[..=end];
            file.write_at(&bytes[..bytes.len().min(4 << 10)], 0)?;
            file.sync()?;
        }
        stream.write_all(&buffer[..=end]).await?;
        buffer.drain(..=end);
    }
    Ok(())
}
