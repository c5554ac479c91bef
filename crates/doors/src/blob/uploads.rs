//! Objects that come in parts, and batches of deletions, as minikeyvalue takes them from clients of S3.
//!
//! What the body of such a request names is read by whoever carries it out.

use std::borrow::Cow;

use super::{Asked, Head, KEY_BYTES_MAX, Outcome, Wrong, decoded};

/// The highest number of a part.
const PARTS_MAX: u32 = 10_000;
/// Keys of what is uploaded are a little shorter than others: what is kept of an upload has a key that is longer.
const UPLOADED_KEY_BYTES_MAX: usize = KEY_BYTES_MAX - 32;

/// What is asked of an upload or a batch, if anything is.
pub(super) fn read<'a>(head: &Head<'a>, key: &Cow<'a, [u8]>) -> Outcome<Option<Asked<'a>>> {
    let key = || key.clone();
    let asked = match (head.method, head.query) {
        ("POST", "delete" | "delete=") => return Ok(Some(Asked::DeleteAll { below: key() })),
        ("POST", "uploads" | "uploads=") => Asked::Begin { key: key() },
        ("POST" | "PUT" | "DELETE", query) => {
            let Some((upload, number)) = upload(query)? else { return Ok(None) };
            match (head.method, number) {
                ("PUT", Some(_)) if head.bytes == Some(0) => {
                    return Err(Wrong::new(411, "a part must have at least one byte"));
                }
                ("PUT", Some(number)) => Asked::Part { key: key(), upload, number: part(number)? },
                ("POST", None) => Asked::Complete { key: key(), upload },
                ("DELETE", None) => Asked::Abort { key: key(), upload },
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let bytes = key().len();
    if bytes == 0 {
        return Err(Wrong::new(404, "the path is the key, and must not be empty"));
    }
    if UPLOADED_KEY_BYTES_MAX < bytes {
        let most = UPLOADED_KEY_BYTES_MAX;
        let text = format!("the key has {bytes} bytes, and may have {most} where parts make it");
        return Err(Wrong::new(400, text));
    }
    Ok(Some(asked))
}

/// The upload that a query names, and a part of it if it names one; nothing if it says anything else.
fn upload(query: &str) -> Outcome<Option<(String, Option<&str>)>> {
    let (mut upload, mut number) = (None, None);
    for parameter in query.split('&') {
        let place = match parameter.split_once('=') {
            Some(("uploadId", value)) => (&mut upload, value),
            Some(("partNumber", value)) => (&mut number, value),
            _ => return Ok(None),
        };
        if place.0.replace(place.1).is_some() {
            return Err(Wrong::new(400, "`uploadId` and `partNumber` stand there once each"));
        }
    }
    let Some(upload) = upload else { return Ok(None) };
    let id = decoded(upload).map(|id| String::from_utf8_lossy(&id).into_owned());
    let id = id.ok_or_else(|| Wrong::new(400, "`%` wants two hexadecimal digits behind it"))?;
    Ok(Some((id, number)))
}

fn part(number: &str) -> Outcome<u32> {
    let number = number.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number));
    let text = format!("`partNumber` wants a whole number from 1 to {PARTS_MAX}");
    number.ok_or_else(|| Wrong::new(400, text))
}
