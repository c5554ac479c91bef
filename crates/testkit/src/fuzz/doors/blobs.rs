//! Requests to the master of blobs, and the documents that some of them bring.
//!
//! 1. A key that was read is no one of the store's own, no longer than it may be, and has a path that leads to it.
//! 2. Of a document come parts with numbers and keys with bytes, no more than may be, or why there are none.

use olivine_blobs::own;
use olivine_doors::blob::{self, Asked, Head, KEY_BYTES_MAX, Manner, key_of, path_of};
use olivine_s3::parts;

pub(super) const REQUESTS: &[&str] = &[
    "smol PUT /a%20b?ttl=5\n\"1f\"\n\n",
    "mkv GET /a%2f?list&limit=7&start=a%2Fb\n\n\n",
    "mkv GET /bucket?list-type=2&prefix=x+y\n\n\n",
    "mkv POST /b/k?uploads\n\n\n",
    "mkv PUT /b/k?partNumber=7&uploadId=000000000000001f\n\n\nbytes",
    "mkv POST /b/k?uploadId=000000000000001f\n\n\n<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
     <Part><ETag>&quot;ab&quot;</ETag><PartNumber>1</PartNumber></Part><Part><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>",
    "mkv POST /b?delete\n\n\n<?xml version=\"1.0\"?><Delete><Quiet>true</Quiet><Object><Key>a &amp; b&#47;c</Key></Object></Delete>",
    "mkv DELETE /b/k?uploadId=000000000000001f\n\n\n",
    "smol DELETE /k\n\n*\n",
];

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Result<u64, String> {
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut line = || str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let first = line();
    let (manner, rest) = first.split_once(' ').unwrap_or((first, ""));
    let (method, target) = rest.split_once(' ').unwrap_or((rest, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let (if_match, if_none_match) = (given(line()), given(line()));
    let body = lines.next().unwrap_or_default();
    let manner = Manner::ALL.into_iter().find(|known| known.name() == manner).unwrap_or_default();
    let bytes = Some(body.len() as u64).filter(|bytes| *bytes != 0);
    let head = Head { method, path, query, bytes, if_match, if_none_match };
    let (key, upload) = match &blob::read(manner, &head) {
        Asked::Wrong(wrong) => {
            assert!((400..500).contains(&wrong.status), "{wrong:?}");
            return Err(wrong.text.clone());
        }
        Asked::Health | Asked::Tend { .. } => return Ok(1),
        Asked::List(list) => {
            assert!(!own::is_own(&list.prefix), "{list:?}");
            return Ok(1);
        }
        Asked::DeleteAll { below } => {
            assert!(manner == Manner::Mkv && !own::is_own(below));
            let keys = parts::read_keys(body)?;
            assert!((1..=parts::KEYS_MAX).contains(&keys.len()));
            assert!(keys.iter().all(|key| !key.is_empty()));
            return Ok(keys.len() as u64);
        }
        Asked::Part { key, upload, number } => {
            assert!((1..=10_000).contains(number));
            (key.to_vec(), Some(upload.clone()))
        }
        Asked::Complete { key, upload } => {
            let named = parts::read_parts(body)?;
            assert!(named.iter().all(|part| part.number != 0) && !named.is_empty());
            (key.to_vec(), Some(upload.clone()))
        }
        Asked::Abort { key, upload } => (key.to_vec(), Some(upload.clone())),
        Asked::Get { key, .. }
        | Asked::Put { key, .. }
        | Asked::Delete { key, .. }
        | Asked::Unlink { key }
        | Asked::Rebalance { key }
        | Asked::Begin { key } => (key.to_vec(), None),
    };
    assert!((1..=KEY_BYTES_MAX).contains(&key.len()) && !own::is_own(&key));
    assert_eq!(key_of(&path_of(&key)).as_deref(), Some(&*key));
    if let Some(upload) = upload.as_deref().and_then(parts::upload_of_id) {
        assert_eq!(parts::upload_of_id(&parts::upload_id(upload)), Some(upload));
        assert!(own::upload_key(&key, upload).len() <= KEY_BYTES_MAX);
    }
    Ok(1)
}
