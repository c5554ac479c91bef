//! Buckets, and what is in them.
//!
//! 1. A list is told part by part; none is longer than S3's thousand.

use olivine_blobs::{
    index::{Entry, Grouped, behind},
    own,
    row::Row,
};
use s3s::{
    S3ErrorCode, S3Result,
    dto::{
        Bucket, CommonPrefix, EncodingType, ListBucketsInput, ListBucketsOutput, ListObjectsInput,
        ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass,
        Owner,
    },
};

use crate::{
    store::Store,
    told::{check_bucket, error, etag, modified, of_object, time},
};

/// What is told at once, at most.
pub(crate) const LISTED_MAX: usize = 1_000;

/// How much is told at once.
pub(crate) fn limit(asked: Option<i32>) -> S3Result<usize> {
    let wrong = |_| error(S3ErrorCode::InvalidArgument, "how much is listed is not negative");
    let asked = asked.map(usize::try_from).transpose().map_err(wrong)?;
    Ok(asked.unwrap_or(LISTED_MAX).min(LISTED_MAX))
}

/// How names stand in a list: as they are, or as they stand in a URL.
#[derive(Clone, Copy)]
pub(crate) struct Written(bool);

impl Written {
    pub(crate) fn of(encoding: Option<&EncodingType>) -> S3Result<Written> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Written(false)),
            Some(EncodingType::URL) => Ok(Written(true)),
            Some(other) => {
                let text = format!("names are told as they are, or as `url`, not as `{other}`");
                Err(error(S3ErrorCode::InvalidArgument, text))
            }
        }
    }

    pub(crate) fn write(self, name: &[u8]) -> String {
        if !self.0 {
            return String::from_utf8_lossy(name).into_owned();
        }
        let mut text = String::with_capacity(name.len());
        for byte in name {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    text.push(char::from(*byte));
                }
                byte => {
                    text.push('%');
                    let digit = |bits: u8| char::from_digit(u32::from(bits), 16);
                    let digits = [digit(byte >> 4), digit(byte & 15)];
                    text.extend(digits.into_iter().flatten().map(|c| c.to_ascii_uppercase()));
                }
            }
        }
        text
    }

    fn some(self, name: Option<&String>) -> Option<String> {
        name.map(|name| self.write(name.as_bytes()))
    }
}

pub(crate) fn buckets<S: Store>(store: &S, input: ListBucketsInput) -> S3Result<ListBucketsOutput> {
    let all = own::bucket_key("");
    let prefix = own::bucket_key(input.prefix.as_deref().unwrap_or_default());
    let start = match &input.continuation_token {
        Some(token) => own::bucket_key(token),
        None => all,
    };
    let limit = usize::try_from(input.max_buckets.unwrap_or(10_000)).unwrap_or(0).clamp(1, 10_000);
    let Grouped { entries, next } = store.list(&prefix, &start, b"", limit).map_err(of_object)?;
    let bucket = |entry: &Entry| match entry {
        Entry::Object(key, row) => Some(Bucket {
            name: Some(own::bucket_of(key)?.to_owned()),
            creation_date: Some(time(modified(row))),
            ..Bucket::default()
        }),
        Entry::Group(_) => None,
    };
    Ok(ListBucketsOutput {
        buckets: Some(entries.iter().filter_map(bucket).collect()),
        continuation_token: next.and_then(|next| own::bucket_of(&next).map(str::to_owned)),
        owner: Some(owner()),
        prefix: input.prefix,
    })
}

/// Whose everything is.
fn owner() -> Owner {
    Owner { display_name: Some("olivine".to_owned()), id: Some("olivine".to_owned()) }
}

/// What a bucket has.
struct Part {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    /// The key or the group that was told last.
    last: Option<Vec<u8>>,
    /// Where the next part begins.
    next: Option<Vec<u8>>,
}

struct Asked<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: &'a str,
    start: Vec<u8>,
    limit: usize,
    written: Written,
    with_owner: bool,
}

fn listed<S: Store>(store: &S, asked: &Asked<'_>) -> S3Result<Part> {
    let Asked { bucket, prefix, delimiter, start, limit, written, with_owner } = asked;
    check_bucket(store, bucket)?;
    let begin = bucket.len() + 1;
    let full = |rest: &[u8]| [bucket.as_bytes(), b"/", rest].concat();
    let grouped = store.list(&full(prefix.as_bytes()), &full(start), delimiter.as_bytes(), *limit);
    let Grouped { entries, next } = grouped.map_err(of_object)?;
    let mut part = Part { contents: Vec::new(), prefixes: Vec::new(), last: None, next: None };
    for entry in &entries {
        match entry {
            Entry::Object(key, row) => {
                part.contents.push(object(written.write(&key[begin..]), row, *with_owner));
                part.last = Some(key[begin..].to_vec());
            }
            Entry::Group(group) => {
                let prefix = Some(written.write(&group[begin..]));
                part.prefixes.push(CommonPrefix { prefix });
                part.last = Some(group[begin..].to_vec());
            }
        }
    }
    part.next = next.map(|next| next[begin..].to_vec());
    Ok(part)
}

fn object(key: String, row: &Row, with_owner: bool) -> Object {
    Object {
        key: Some(key),
        e_tag: Some(etag(row)),
        last_modified: Some(time(modified(row))),
        size: Some(row.object_bytes() as i64),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: with_owner.then(owner),
        ..Object::default()
    }
}

/// Where a list begins that goes on behind a key or a group.
fn behind_marker(marker: &str, prefix: &str, delimiter: &str) -> Vec<u8> {
    let rest = marker.strip_prefix(prefix).unwrap_or_default();
    if !delimiter.is_empty() && rest.ends_with(delimiter) {
        // A group was told last, and stands for all that it stands for.
        let is_group = rest.find(delimiter) == Some(rest.len() - delimiter.len());
        if let Some(behind) = behind(marker.as_bytes()).filter(|_| is_group) {
            return behind;
        }
    }
    [marker.as_bytes(), b"\0"].concat()
}

pub(crate) fn objects<S: Store>(store: &S, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let written = Written::of(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
    let start = marker.map(|marker| behind_marker(marker, prefix, delimiter)).unwrap_or_default();
    let bucket = &input.bucket;
    let asked = Asked { bucket, prefix, delimiter, start, limit, written, with_owner: true };
    let Part { contents, prefixes, last, next } = listed(store, &asked)?;
    let is_truncated = next.is_some();
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: written.some(input.prefix.as_ref()).or_else(|| Some(String::new())),
        marker: written.some(input.marker.as_ref()).or_else(|| Some(String::new())),
        max_keys: Some(limit as i32),
        is_truncated: Some(is_truncated),
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        delimiter: written.some(input.delimiter.as_ref()),
        next_marker: last.filter(|_| is_truncated).map(|last| written.write(&last)),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(crate) fn objects_v2<S: Store>(
    store: &S,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let written = Written::of(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    let start_after = input.start_after.as_deref().filter(|after| !after.is_empty());
    let start = match (&input.continuation_token, start_after) {
        (Some(token), _) => unhex(token).ok_or_else(|| {
            error(S3ErrorCode::InvalidArgument, "the continuation token is none that was given")
        })?,
        (None, Some(after)) => behind_marker(after, prefix, delimiter),
        (None, None) => Vec::new(),
    };
    let with_owner = input.fetch_owner.unwrap_or_default();
    let bucket = &input.bucket;
    let asked = Asked { bucket, prefix, delimiter, start, limit, written, with_owner };
    let Part { contents, prefixes, next, .. } = listed(store, &asked)?;
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: written.some(input.prefix.as_ref()).or_else(|| Some(String::new())),
        max_keys: Some(limit as i32),
        key_count: Some((contents.len() + prefixes.len()) as i32),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|next| crate::told::hex(&next)),
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        delimiter: written.some(input.delimiter.as_ref()),
        encoding_type: input.encoding_type,
        start_after: written.some(input.start_after.as_ref()),
        request_charged: None,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |c: u8| char::from(c).to_digit(16);
    pairs.iter().map(|[one, other]| Some((digit(*one)? << 4 | digit(*other)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_asked() {
        let name = "a b+ü/&\u{1}".as_bytes();
        assert_eq!(Written(false).write(name), "a b+ü/&\u{1}");
        assert_eq!(Written(true).write(name), "a%20b%2B%C3%BC/%26%01");
        assert_eq!(unhex(&crate::told::hex(name)).unwrap(), name);
        assert_eq!((unhex("abc"), unhex("zz")), (None, None));
    }

    #[test]
    fn a_list_goes_on_behind_what_was_told() {
        assert_eq!(behind_marker("a/b", "", ""), b"a/b\0");
        assert_eq!(behind_marker("a/", "", "/"), b"a0");
        assert_eq!(behind_marker("a/b/", "a/", "/"), b"a/b0");
        // It is no group's name, but a key behind it.
        assert_eq!(behind_marker("a/b/", "", "/"), b"a/b/\0");
        assert_eq!(limit(Some(5_000)).unwrap(), 1_000);
        assert!(limit(Some(-1)).is_err());
    }
}
