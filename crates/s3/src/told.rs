//! What is told of objects, and of what did not happen, in S3's words.

use std::time::{Duration, UNIX_EPOCH};

use olivine_blobs::{Attributes, attributes::Header, own, row::Row};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ETag, GetObjectOutput, HeadObjectOutput, Metadata, Timestamp, TimestampFormat},
};

use crate::store::{Stop, Store};

/// The longest key that S3 has.
const KEY_BYTES_MAX: usize = 1024;
/// What clients may say in words of their own.
const USER_BYTES_MAX: usize = 2 << 10;
/// The same with what they say in S3's words; what is said of parts fits beside it.
const ATTRIBUTES_BYTES_MAX: usize = 4 << 10;

/// An error with a text.
pub(crate) fn error(code: S3ErrorCode, text: impl Into<String>) -> S3Error {
    S3Error::with_message(code, text.into())
}

/// What somebody is told to whom it matters whether an object is there.
pub(crate) fn of_object(stop: Stop) -> S3Error {
    match stop {
        Stop::Absent => S3Error::new(S3ErrorCode::NoSuchKey),
        stop => of_stop(stop, S3ErrorCode::NoSuchBucket),
    }
}

/// What somebody is told; `absent` where that is wanted which is not there.
pub(crate) fn of_stop(stop: Stop, absent: S3ErrorCode) -> S3Error {
    match stop {
        Stop::Refused => error(
            S3ErrorCode::PreconditionFailed,
            "what is under the key is not as the request wants it",
        ),
        Stop::Absent => S3Error::new(absent),
        Stop::Away(why) => error(S3ErrorCode::ServiceUnavailable, why),
        Stop::Failed(why) => error(S3ErrorCode::InternalError, why),
        Stop::Told(error) => *error,
    }
}

/// The key of an object's row.
pub(crate) fn row_key(bucket: &str, key: &str) -> S3Result<Vec<u8>> {
    if KEY_BYTES_MAX < key.len() {
        return Err(S3Error::new(S3ErrorCode::KeyTooLongError));
    }
    Ok(format!("{bucket}/{key}").into_bytes())
}

/// An error if there is no such bucket.
pub(crate) fn check_bucket<S: Store>(store: &S, bucket: &str) -> S3Result<Row> {
    let row = store.row(&own::bucket_key(bucket)).map_err(of_object)?;
    row.ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchBucket))
}

/// An object that is there to those who read.
pub(crate) fn found<S: Store>(store: &S, bucket: &str, key: &str) -> S3Result<(Vec<u8>, Row)> {
    let row_key = row_key(bucket, key)?;
    let row = store.row(&row_key).map_err(of_object)?;
    if let Some(row) = row.filter(|row| !row.is_unlinked) {
        return Ok((row_key, row));
    }
    check_bucket(store, bucket)?;
    Err(S3Error::new(S3ErrorCode::NoSuchKey))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |bits: u8| char::from_digit(u32::from(bits), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The tag of an object: its MD5; if it is made of parts that of their MD5s, and their number; and of what was put
/// in another manner, which has neither, its generation.
pub(crate) fn tag(row: &Row) -> String {
    match (row.parts(), &row.digest) {
        (Some(parts), _) => format!("{}-{}", hex(&parts.digest), parts.count),
        (None, Some(digest)) => hex(digest),
        (None, None) => format!("{:032x}-0", row.generation),
    }
}

pub(crate) fn etag(row: &Row) -> ETag {
    ETag::Strong(tag(row))
}

pub(crate) fn time(milliseconds: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

/// When an object was put; the beginning of 1970 of what was put in another manner.
pub(crate) fn modified(row: &Row) -> u64 {
    row.attributes.as_ref().map_or(0, |attributes| attributes.modified)
}

/// What a client says of an object.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) metadata: Option<Metadata>,
}

impl Said {
    /// What is known of the object beside its bytes.
    pub(crate) fn attributes(self, now: u64) -> S3Result<Attributes> {
        let mut expires = Vec::new();
        if let Some(time) = self.expires {
            time.format(TimestampFormat::HttpDate, &mut expires)
                .map_err(|_| error(S3ErrorCode::InvalidArgument, "`Expires` is no time"))?;
        }
        let expires = String::from_utf8(expires).ok().filter(|text| !text.is_empty());
        // How bytes were wrapped on their way is nothing of the object.
        let encoding = self.content_encoding.map(|encoding| {
            let kept = encoding.split(',').map(str::trim).filter(|one| *one != "aws-chunked");
            kept.collect::<Vec<_>>().join(",")
        });
        let headers = [
            (Header::ContentType, self.content_type),
            (Header::CacheControl, self.cache_control),
            (Header::ContentDisposition, self.content_disposition),
            (Header::ContentEncoding, encoding),
            (Header::ContentLanguage, self.content_language),
            (Header::Expires, expires),
        ];
        let headers = headers.into_iter().filter_map(|(header, value)| Some((header, value?)));
        let headers = headers.filter(|(_, value)| !value.is_empty()).collect();
        let user: std::collections::BTreeMap<_, _> = self.metadata.into_iter().flatten().collect();
        let bytes: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
        let attributes = Attributes { modified: now, headers, user, parts: None };
        if USER_BYTES_MAX < bytes || ATTRIBUTES_BYTES_MAX < attributes.encode().len() {
            return Err(S3Error::new(S3ErrorCode::MetadataTooLarge));
        }
        Ok(attributes)
    }
}

/// What of an object's row is told to who asks for the object, or for its head.
pub(crate) fn described(row: &Row) -> GetObjectOutput {
    let mut output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        e_tag: Some(etag(row)),
        last_modified: Some(time(modified(row))),
        metadata: Some(Metadata::new()),
        content_type: Some("binary/octet-stream".to_owned()),
        ..GetObjectOutput::default()
    };
    let Some(attributes) = &row.attributes else { return output };
    for (header, value) in &attributes.headers {
        let value = Some(value.clone());
        match header {
            Header::ContentType => output.content_type = value,
            Header::CacheControl => output.cache_control = value,
            Header::ContentDisposition => output.content_disposition = value,
            Header::ContentEncoding => output.content_encoding = value,
            Header::ContentLanguage => output.content_language = value,
            Header::Expires => {
                let time = value
                    .as_deref()
                    .map(|value| Timestamp::parse(TimestampFormat::HttpDate, value));
                output.expires = time.and_then(Result::ok);
            }
        }
    }
    output.metadata = Some(attributes.user.clone().into_iter().collect());
    output
}

/// The same without the bytes.
pub(crate) fn head_of(output: GetObjectOutput) -> HeadObjectOutput {
    HeadObjectOutput {
        accept_ranges: output.accept_ranges,
        cache_control: output.cache_control,
        content_disposition: output.content_disposition,
        content_encoding: output.content_encoding,
        content_language: output.content_language,
        content_length: output.content_length,
        content_range: output.content_range,
        content_type: output.content_type,
        e_tag: output.e_tag,
        expires: output.expires,
        last_modified: output.last_modified,
        metadata: output.metadata,
        parts_count: output.parts_count,
        ..HeadObjectOutput::default()
    }
}

/// Refuses what is asked for and not done, so that nobody takes it for done.
pub(crate) fn refuse(asked: &[(&str, bool)]) -> S3Result<()> {
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        None => Ok(()),
        Some((name, _)) => {
            Err(error(S3ErrorCode::NotImplemented, format!("there is no {name} here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use olivine_blobs::{attributes::Parts, row::Replica};

    use super::*;

    fn row() -> Row {
        Row {
            generation: 255,
            bytes: 3,
            digest: None,
            expiry: None,
            is_unlinked: false,
            replicas: vec![Replica { volume: 0, extent: 1, offset: 64 }],
            attributes: None,
        }
    }

    #[test]
    fn tags_are_what_clients_compare_with() {
        assert_eq!(tag(&Row { digest: Some([0xab; 16]), ..row() }), "ab".repeat(16));
        let parts = Some(Parts { upload: 1, count: 3, bytes: 9, digest: [1; 16] });
        let attributes = Some(Box::new(Attributes { parts, ..Attributes::default() }));
        assert_eq!(tag(&Row { attributes, ..row() }), format!("{}-3", "01".repeat(16)));
        // No digest of MD5 is taken for one that it is not.
        assert!(tag(&row()).ends_with("ff-0"));
    }

    #[test]
    fn what_is_said_comes_back_and_too_much_is_refused() {
        let said = Said {
            content_type: Some("text/html".to_owned()),
            content_encoding: Some("aws-chunked,gzip".to_owned()),
            metadata: Some([("a".to_owned(), "b".to_owned())].into_iter().collect()),
            ..Said::default()
        };
        let attributes = said.attributes(1_000).unwrap();
        let output = described(&Row { attributes: Some(Box::new(attributes)), ..row() });
        assert_eq!(output.content_type.as_deref(), Some("text/html"));
        assert_eq!(output.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(output.metadata.unwrap()["a"], "b");
        assert_eq!(output.last_modified, Some(time(1_000)));
        let much = [("a".to_owned(), "b".repeat(3_000))].into_iter().collect();
        let refused = Said { metadata: Some(much), ..Said::default() }.attributes(1);
        assert_eq!(refused.unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
    }
}
