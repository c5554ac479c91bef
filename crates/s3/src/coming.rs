//! Bytes that come in, and what they come to.
//!
//! 1. The end is told only when all that was said of the bytes holds.

use std::{future::poll_fn, io, pin::Pin, task::Poll};

use bytes::Bytes;
use futures_core::Stream as _;
use s3s::{
    S3Error, S3ErrorCode, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto::{Checksum, StreamingBlob},
};

use crate::store::{Pieces, Stop};

/// Bytes that come in.
pub struct Coming {
    from: From,
    hasher: ChecksumHasher,
    md5: Option<Md5>,
    said: Said,
    bytes: u64,
    is_over: bool,
    found: Checksum,
}

enum From {
    Nothing,
    Client(StreamingBlob),
    Store(Box<dyn Pieces>),
    Memory(Bytes),
}

/// What a client says that its bytes come to.
#[derive(Default)]
pub(crate) struct Said {
    /// How many they are.
    pub(crate) bytes: Option<u64>,
    /// Their MD5, in Base64.
    pub(crate) md5: Option<String>,
    /// Checksums, in Base64.
    pub(crate) checksum: Checksum,
    /// The name of a header behind the bytes that has a checksum.
    pub(crate) trailer: Option<String>,
    /// Headers behind the bytes.
    pub(crate) trailing: Option<TrailingHeaders>,
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coming").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Coming {
    /// Of a client that says something of them.
    pub(crate) fn of_client(body: Option<StreamingBlob>, said: Said) -> Coming {
        let is_wanted = |named: &Option<String>, name: &str| {
            named.is_some() || said.trailer.as_deref() == Some(name)
        };
        let Checksum {
            checksum_crc32,
            checksum_crc32c,
            checksum_sha1,
            checksum_sha256,
            checksum_crc64nvme,
            ..
        } = &said.checksum;
        let hasher = ChecksumHasher {
            crc32: is_wanted(checksum_crc32, "x-amz-checksum-crc32").then(Crc32::new),
            crc32c: is_wanted(checksum_crc32c, "x-amz-checksum-crc32c").then(Crc32c::new),
            sha1: is_wanted(checksum_sha1, "x-amz-checksum-sha1").then(Sha1::new),
            sha256: is_wanted(checksum_sha256, "x-amz-checksum-sha256").then(Sha256::new),
            crc64nvme: is_wanted(checksum_crc64nvme, "x-amz-checksum-crc64nvme")
                .then(Crc64Nvme::new),
        };
        let md5 = said.md5.is_some().then(Md5::new);
        let from = body.map_or(From::Nothing, From::Client);
        Coming { from, hasher, md5, said, bytes: 0, is_over: false, found: Checksum::default() }
    }

    /// Of the store itself.
    pub(crate) fn of_store(pieces: Box<dyn Pieces>) -> Coming {
        Coming { from: From::Store(pieces), ..Coming::of_client(None, Said::default()) }
    }

    /// Those at hand.
    pub fn of_memory(bytes: impl Into<Bytes>) -> Coming {
        Coming { from: From::Memory(bytes.into()), ..Coming::of_client(None, Said::default()) }
    }

    /// The next bytes; nothing at the end, when all holds that was said of them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        if self.is_over {
            return Ok(None);
        }
        let piece = match &mut self.from {
            From::Nothing => None,
            From::Memory(bytes) => Some(Ok(std::mem::take(bytes)))
                .filter(|bytes| !bytes.as_ref().is_ok_and(Bytes::is_empty)),
            From::Store(pieces) => {
                let piece = poll_fn(|cx| pieces.poll_piece(cx)).await;
                piece.map(|piece| piece.map_err(|error| Stop::Failed(error.to_string())))
            }
            From::Client(blob) => {
                let piece = poll_fn(|cx| match Pin::new(&mut *blob).poll_next(cx) {
                    Poll::Ready(Some(Ok(piece))) if piece.is_empty() => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    polled => polled,
                });
                piece.await.map(|piece| piece.map_err(|error| Stop::Told(Box::new(cut(error)))))
            }
        };
        if let Some(piece) = piece.transpose()? {
            self.hasher.update(&piece);
            if let Some(md5) = &mut self.md5 {
                md5.update(&piece);
            }
            self.bytes += piece.len() as u64;
            return Ok(Some(piece));
        }
        self.is_over = true;
        self.check().map(|()| None).map_err(|error| Stop::Told(Box::new(error)))
    }

    fn check(&mut self) -> Result<(), S3Error> {
        let Coming { said, bytes, .. } = self;
        if said.bytes.is_some_and(|said| said != *bytes) {
            let text = format!("{bytes} bytes came, which is not what the request says");
            return Err(S3Error::with_message(S3ErrorCode::IncompleteBody, text));
        }
        let wrong = |what: &str| {
            let text = format!("the bytes do not come to the {what} that the request says");
            S3Error::with_message(S3ErrorCode::BadDigest, text)
        };
        if let (Some(md5), Some(said)) = (self.md5.take(), &said.md5)
            && base64(md5.finalize().as_ref()) != *said
        {
            return Err(wrong("MD5"));
        }
        self.found = std::mem::take(&mut self.hasher).finalize();
        if let Some(name) = &said.trailer {
            let trailing = said.trailing.as_ref().and_then(|trailing| {
                trailing.read(|headers| Some(headers.get(name)?.to_str().ok()?.to_owned()))
            });
            let trailing = trailing.flatten();
            let checksum = &mut said.checksum;
            match name.as_str() {
                "x-amz-checksum-crc32" => checksum.checksum_crc32 = trailing,
                "x-amz-checksum-crc32c" => checksum.checksum_crc32c = trailing,
                "x-amz-checksum-sha1" => checksum.checksum_sha1 = trailing,
                "x-amz-checksum-sha256" => checksum.checksum_sha256 = trailing,
                "x-amz-checksum-crc64nvme" => checksum.checksum_crc64nvme = trailing,
                _ => {
                    let text = format!("there is no checksum `{name}`");
                    return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, text));
                }
            }
        }
        let (found, said) = (&self.found, &said.checksum);
        for (name, found, said) in [
            ("CRC-32", &found.checksum_crc32, &said.checksum_crc32),
            ("CRC-32C", &found.checksum_crc32c, &said.checksum_crc32c),
            ("SHA-1", &found.checksum_sha1, &said.checksum_sha1),
            ("SHA-256", &found.checksum_sha256, &said.checksum_sha256),
            ("CRC-64/NVME", &found.checksum_crc64nvme, &said.checksum_crc64nvme),
        ] {
            if found != said {
                return Err(wrong(name));
            }
        }
        Ok(())
    }
}

/// Why bytes ended before their end.
fn cut(error: s3s::StdError) -> S3Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let mut is_late = false;
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        is_late |= kind == Some(io::ErrorKind::TimedOut);
        source = cause.source();
    }
    let text = error.to_string();
    let code = if is_late {
        S3ErrorCode::RequestTimeout
    } else if text.contains("Signature") {
        S3ErrorCode::SignatureDoesNotMatch
    } else if text.contains("Sha256Mismatch") {
        S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into())
    } else {
        S3ErrorCode::IncompleteBody
    };
    let is_custom = matches!(code, S3ErrorCode::Custom(_));
    let mut error = S3Error::with_message(code, format!("the bytes did not come whole: {text}"));
    if is_custom {
        error.set_status_code(http::StatusCode::BAD_REQUEST);
    }
    error
}

/// Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_elsewhere() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
