//! Objects: put, got, deleted.

use std::{
    io, ops,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use olivine_blobs::{index::Condition, own, row::Row};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError,
    dto::{
        Checksum, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, ETagCondition, Error, GetObjectInput, GetObjectOutput, HeadObjectInput,
        HeadObjectOutput, PutObjectInput, PutObjectOutput, Range, StreamingBlob,
    },
    stream::{ByteStream, RemainingLength},
};

use crate::{
    coming::{self, Coming},
    conditions::{ToRead, to_write},
    store::{Pieces, Put, Store},
    told::{
        Said, check_bucket, described, error, etag, found, head_of, of_object, of_stop, refuse,
        row_key,
    },
};

/// The longest object: 5 TiB.
const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Objects that are deleted together, at most.
const DELETED_MAX: usize = 1_000;

/// How many of them at the same time.
const TOGETHER_MAX: usize = 64;

/// Pieces as the body of an answer.
pub(crate) struct Sent {
    pub(crate) pieces: Box<dyn Pieces>,
    pub(crate) left: u64,
}

impl Stream for Sent {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_piece(cx));
        Poll::Ready(match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
        })
    }
}

impl ByteStream for Sent {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}

/// The header behind the bytes of a request that has their checksum.
pub(crate) fn trailer<T>(request: &S3Request<T>) -> Option<String> {
    let named = request.headers.get("x-amz-trailer")?.to_str().ok()?;
    let mut names = named.split(',').map(|name| name.trim().to_ascii_lowercase());
    names.find(|name| name.starts_with("x-amz-checksum-"))
}

/// How long something is that comes in: nobody puts what has no length before it ends.
pub(crate) fn length<T>(said: Option<i64>, request: &S3Request<T>) -> S3Result<u64> {
    // Who wraps the bytes on their way says how many they are without that.
    let decoded = request.headers.get("x-amz-decoded-content-length");
    let decoded = decoded.and_then(|decoded| decoded.to_str().ok()?.parse().ok());
    let said = decoded.or(said).and_then(|said| u64::try_from(said).ok());
    match said {
        None => Err(S3Error::new(S3ErrorCode::MissingContentLength)),
        Some(said) if OBJECT_BYTES_MAX < said => Err(S3Error::new(S3ErrorCode::EntityTooLarge)),
        Some(said) => Ok(said),
    }
}

pub(crate) async fn put<S: Store>(
    store: &S,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let trailer = trailer(&request);
    let trailing = request.trailing_headers.take();
    let bytes = length(request.input.content_length, &request)?;
    let input = request.input;
    let storage = input.storage_class.as_ref().map(|class| class.as_str());
    let acl = input.acl.as_ref().map(|acl| acl.as_str());
    refuse(&[
        ("encryption by a customer's key", input.sse_customer_algorithm.is_some()),
        ("encryption", input.server_side_encryption.is_some()),
        ("tagging", input.tagging.is_some()),
        ("lock of objects", input.object_lock_mode.is_some()),
        ("legal hold", input.object_lock_legal_hold_status.is_some()),
        ("appending", input.write_offset_bytes.is_some()),
        ("class of storage but STANDARD", !matches!(storage, None | Some("STANDARD"))),
        ("access list but private", !is_private(acl)),
        ("redirect of websites", input.website_redirect_location.is_some()),
    ])?;
    let key = row_key(&input.bucket, &input.key)?;
    check_bucket(store, &input.bucket)?;
    let row = store.row(&key).map_err(of_object)?;
    let (if_match, if_none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
    let condition = to_write(row.as_ref(), if_match, if_none_match)?;
    let said = Said {
        content_type: input.content_type,
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        expires: input.expires,
        metadata: input.metadata,
    };
    let put = Put {
        key,
        attributes: said.attributes(store.now())?,
        condition,
        needs: Some(own::bucket_key(&input.bucket)),
        bytes,
    };
    let checksum = Checksum {
        checksum_crc32: input.checksum_crc32,
        checksum_crc32c: input.checksum_crc32c,
        checksum_crc64nvme: input.checksum_crc64nvme,
        checksum_sha1: input.checksum_sha1,
        checksum_sha256: input.checksum_sha256,
        checksum_type: None,
    };
    let said =
        coming::Said { bytes: Some(bytes), md5: input.content_md5, checksum, trailer, trailing };
    let output = PutObjectOutput {
        checksum_crc32: said.checksum.checksum_crc32.clone(),
        checksum_crc32c: said.checksum.checksum_crc32c.clone(),
        checksum_crc64nvme: said.checksum.checksum_crc64nvme.clone(),
        checksum_sha1: said.checksum.checksum_sha1.clone(),
        checksum_sha256: said.checksum.checksum_sha256.clone(),
        ..PutObjectOutput::default()
    };
    let coming = Coming::of_client(input.body, said);
    let stored = store.put(put, coming).await;
    let row = stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchBucket))?;
    Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag(&row)), ..output }))
}

/// Whether an access list is the one that everything has here.
pub(crate) fn is_private(acl: Option<&str>) -> bool {
    matches!(acl, None | Some("private" | "bucket-owner-full-control" | "bucket-owner-read"))
}

/// Which bytes of an object are wanted, and which object that is.
pub(crate) struct Wanted {
    pub(crate) key: Vec<u8>,
    pub(crate) row: Row,
    pub(crate) range: ops::Range<u64>,
    pub(crate) output: GetObjectOutput,
}

/// What is asked for with the name of an object.
struct Asked<'a> {
    bucket: &'a str,
    key: &'a str,
    to_read: ToRead<'a>,
    range: Option<Range>,
    part_number: Option<i32>,
    version: Option<&'a str>,
}

async fn wanted<S: Store>(store: &S, asked: &Asked<'_>) -> S3Result<Wanted> {
    if asked.version.is_some_and(|version| version != "null") {
        return Err(S3Error::new(S3ErrorCode::NoSuchVersion));
    }
    let (key, row) = found(store, asked.bucket, asked.key)?;
    asked.to_read.check(&row)?;
    let mut output = described(&row);
    let length = row.object_bytes();
    let outside = || S3Error::new(S3ErrorCode::InvalidRange);
    let no_part = || {
        let mut error = error(
            S3ErrorCode::Custom("InvalidPartNumber".into()),
            "the object has no part of that number",
        );
        error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
        error
    };
    let range = match (asked.part_number, &asked.range) {
        (Some(_), Some(_)) => {
            let text = "a part and a range exclude each other";
            return Err(error(S3ErrorCode::InvalidRequest, text));
        }
        (Some(number), None) => {
            let number = u32::try_from(number).unwrap_or(0);
            let Some(parts) = row.parts() else {
                return match number {
                    1 => {
                        output.parts_count = Some(1);
                        output.content_length = Some(length as i64);
                        Ok(Wanted { key, row, range: 0..length, output })
                    }
                    _ => Err(no_part()),
                };
            };
            output.parts_count = Some(parts.count as i32);
            let parts = store.parts(key.clone(), row.clone()).await.map_err(of_object)?;
            let mut start = 0;
            let place = parts.iter().find_map(|part| {
                let range = start..start + part.bytes;
                start += part.bytes;
                (part.number == number).then_some(range)
            });
            place.ok_or_else(no_part)?
        }
        (None, Some(range)) => range.check(length).map_err(|_| outside())?,
        (None, None) => {
            output.content_length = Some(length as i64);
            return Ok(Wanted { key, row, range: 0..length, output });
        }
    };
    let last = range.end.saturating_sub(1);
    output.content_range = Some(format!("bytes {}-{last}/{length}", range.start));
    output.content_length = Some((range.end - range.start) as i64);
    Ok(Wanted { key, row, range, output })
}

pub(crate) async fn get<S: Store>(
    store: &S,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &request.input;
    refuse(&[("encryption by a customer's key", input.sse_customer_algorithm.is_some())])?;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        to_read: ToRead {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        },
        range: input.range,
        part_number: input.part_number,
        version: input.version_id.as_deref(),
    };
    let Wanted { key, row, range, mut output } = wanted(store, &asked).await?;
    let left = range.end - range.start;
    let pieces = store.read(key, row, range.start, range.end).await.map_err(of_object)?;
    output.body = Some(StreamingBlob::new(Sent { pieces, left }));
    Ok(S3Response::new(output))
}

pub(crate) async fn head<S: Store>(
    store: &S,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &request.input;
    refuse(&[("encryption by a customer's key", input.sse_customer_algorithm.is_some())])?;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        to_read: ToRead {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        },
        range: input.range,
        part_number: input.part_number,
        version: input.version_id.as_deref(),
    };
    let Wanted { output, .. } = wanted(store, &asked).await?;
    let status = output.content_range.is_some().then_some(http::StatusCode::PARTIAL_CONTENT);
    let mut response = S3Response::new(head_of(output));
    response.status = status;
    Ok(response)
}

pub(crate) async fn delete<S: Store>(
    store: &S,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    refuse(&[
        ("condition of time", input.if_match_last_modified_time.is_some()),
        ("condition of size", input.if_match_size.is_some()),
        ("second factor", input.mfa.is_some()),
    ])?;
    if input.version_id.as_deref().is_some_and(|version| version != "null") {
        return Err(S3Error::new(S3ErrorCode::NoSuchVersion));
    }
    check_bucket(store, &input.bucket)?;
    deleted(store, &input.bucket, &input.key, input.if_match.as_ref()).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

async fn deleted<S: Store>(
    store: &S,
    bucket: &str,
    key: &str,
    if_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let key = row_key(bucket, key)?;
    let row = store.row(&key).map_err(of_object)?;
    let Some(row) = row.filter(|row| !row.is_unlinked) else {
        // What is not there need not go, unless somebody says what it is.
        return match if_match {
            None => Ok(()),
            Some(_) => Err(S3Error::new(S3ErrorCode::NoSuchKey)),
        };
    };
    let condition = match if_match {
        None => Condition::Any,
        Some(_) => to_write(Some(&row), if_match, None)?,
    };
    store.delete(key, condition).await.map_err(of_object)
}

pub(crate) async fn delete_many<S: Store>(
    store: &S,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    refuse(&[("second factor", input.mfa.is_some())])?;
    check_bucket(store, &input.bucket)?;
    let objects = &input.delete.objects;
    if objects.is_empty() || DELETED_MAX < objects.len() {
        let text = format!("1 to {DELETED_MAX} objects are deleted together");
        return Err(error(S3ErrorCode::MalformedXML, text));
    }
    let each = objects.iter().map(|object| {
        let tag = object.e_tag.clone().map(ETagCondition::ETag);
        let bucket = &input.bucket;
        async move {
            if object.version_id.as_deref().is_some_and(|version| version != "null") {
                return Err(S3Error::new(S3ErrorCode::NoSuchVersion));
            }
            deleted(store, bucket, &object.key, tag.as_ref()).await
        }
    });
    let (mut each, mut outcomes) = (each, Vec::with_capacity(objects.len()));
    while outcomes.len() < objects.len() {
        outcomes.extend(crate::service::all(each.by_ref().take(TOGETHER_MAX).collect()).await);
    }
    let is_quiet = input.delete.quiet.unwrap_or_default();
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in objects.iter().zip(outcomes) {
        let key = Some(object.key.clone());
        match outcome {
            Ok(()) if is_quiet => {}
            Ok(()) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key,
                message: error.message().map(str::to_owned),
                version_id: None,
            }),
        }
    }
    let output = DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors).filter(|errors| !errors.is_empty()),
        ..DeleteObjectsOutput::default()
    };
    Ok(S3Response::new(output))
}
