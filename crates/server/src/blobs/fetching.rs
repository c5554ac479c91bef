//! Objects that are read from volumes of other processes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Request,
    body::{Body as _, Incoming},
    client::conn::http1::SendRequest,
    header::{HOST, RANGE},
};
use olivine_s3::Pieces;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::carrier::{connection, give_back, parts_of};
use crate::body::Body;

/// How long a volume may take to answer, and between two pieces.
const PATIENCE: Duration = Duration::from_secs(30);

/// An object on its way from a volume.
pub(super) struct Fetched {
    body: Incoming,
    address: String,
    /// Given back when all of the answer has come.
    connection: Option<SendRequest<Body>>,
    silent: Pin<Box<Sleep>>,
}

/// Asks a volume for bytes of an object, or for one that has none; nothing if it is not where the URL says.
pub(super) async fn get(url: &str, from: u64, to: u64) -> io::Result<Option<Fetched>> {
    let (address, path) = parts_of(url)?;
    let mut request = Request::builder().method(Method::GET).uri(path).header(HOST, address);
    if from < to {
        let last = to - 1;
        request = request.header(RANGE, format!("bytes={from}-{last}"));
    }
    let request = request.body(Body::of(Bytes::new())).map_err(io::Error::other)?;
    let answered = async {
        let mut connection = connection(address).await?;
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((connection, response))
    };
    let (connection, response) = timeout(PATIENCE, answered).await??;
    match response.status().as_u16() {
        200 | 206 => Ok(Some(Fetched {
            body: response.into_body(),
            address: address.to_owned(),
            connection: Some(connection),
            silent: Box::pin(sleep(PATIENCE)),
        })),
        404 => Ok(None),
        status => Err(io::Error::other(format!("a volume answered with {status}"))),
    }
}

impl Pieces for Fetched {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.silent.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
            };
            self.silent.as_mut().reset(Instant::now() + PATIENCE);
            match frame {
                None => {
                    if let Some(connection) = self.connection.take() {
                        give_back(&self.address, connection);
                    }
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
            }
        }
    }
}
