//! A body that comes in piece by piece.
//!
//! 1. Each piece is waited for as long as a whole body elsewhere: an object may be large, and a peer slow, but not silent.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use olivine_doors::blob::Wrong;
use tokio::time::timeout;

use crate::{patience::Wait, settings::Door, worker::Shared};

/// The next piece; nothing at the end.
pub(super) async fn next(
    shared: &Shared,
    at: Door,
    body: &mut Incoming,
) -> Result<Option<Bytes>, Wrong> {
    loop {
        let Ok(frame) = timeout(shared.patience.of(Wait::Body), body.frame()).await else {
            shared.late(at.name(), Wait::Body);
            return Err(Wrong::new(408, shared.patience.over(Wait::Body)));
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Trailers are nobody's.
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
            Some(Err(error)) => {
                return Err(Wrong::new(400, format!("the body did not arrive whole: {error}")));
            }
        }
    }
}
