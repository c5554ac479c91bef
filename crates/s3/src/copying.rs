//! Objects that are made of others that are here: copies, and parts that are.

use std::ops::Range;

use olivine_blobs::{own, row::Row};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
        ETagCondition, MetadataDirective, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
    },
};

use crate::{
    coming::Coming,
    conditions::ToRead,
    multipart::part,
    object::is_private,
    store::{Put, Store},
    told::{
        Said, check_bucket, error, etag, found, modified, of_object, of_stop, refuse, row_key, time,
    },
};

/// What is copied, if it is as it must be.
fn source<S: Store>(
    store: &S,
    source: &CopySource,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> S3Result<(Vec<u8>, Row)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(error(S3ErrorCode::NotImplemented, "there are no access points here"));
    };
    if version_id.as_deref().is_some_and(|version| version != "null") {
        return Err(S3Error::new(S3ErrorCode::NoSuchVersion));
    }
    let (key, row) = found(store, bucket, key)?;
    ToRead { if_match, if_none_match, if_modified_since, if_unmodified_since }
        .check_source(&row)?;
    Ok((key, row))
}

async fn opened<S: Store>(
    store: &S,
    key: Vec<u8>,
    row: Row,
    range: Range<u64>,
) -> S3Result<Coming> {
    let pieces = store.read(key, row, range.start, range.end).await.map_err(of_object)?;
    Ok(Coming::of_store(pieces))
}

pub(crate) async fn copy<S: Store>(
    store: &S,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    let storage = input.storage_class.as_ref().map(|class| class.as_str());
    let acl = input.acl.as_ref().map(|acl| acl.as_str());
    refuse(&[
        ("encryption by a customer's key", input.sse_customer_algorithm.is_some()),
        ("encryption", input.server_side_encryption.is_some()),
        ("tagging", input.tagging.is_some()),
        ("lock of objects", input.object_lock_mode.is_some()),
        ("class of storage but STANDARD", !matches!(storage, None | Some("STANDARD"))),
        ("access list but private", !is_private(acl)),
        ("redirect of websites", input.website_redirect_location.is_some()),
    ])?;
    let key = row_key(&input.bucket, &input.key)?;
    check_bucket(store, &input.bucket)?;
    let (from, row) = source(
        store,
        &input.copy_source,
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    )?;
    let replaces = input
        .metadata_directive
        .as_ref()
        .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    if from == key && !replaces {
        let text = "an object is copied to itself only with other metadata, which nobody gave";
        return Err(error(S3ErrorCode::InvalidRequest, text));
    }
    let said = if replaces {
        Said {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            expires: input.expires,
            metadata: input.metadata,
        }
    } else {
        Said::default()
    };
    let mut attributes = said.attributes(store.now())?;
    if let Some(known) = row.attributes.as_ref().filter(|_| !replaces) {
        attributes.headers.clone_from(&known.headers);
        attributes.user.clone_from(&known.user);
    }
    let bytes = row.object_bytes();
    let coming = opened(store, from, row, 0..bytes).await?;
    let put = Put {
        key,
        attributes,
        condition: olivine_blobs::index::Condition::Any,
        needs: Some(own::bucket_key(&input.bucket)),
        bytes,
    };
    let stored = store.put(put, coming).await;
    let row = stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchBucket))?;
    let result = CopyObjectResult {
        e_tag: Some(etag(&row)),
        last_modified: Some(time(modified(&row))),
        ..CopyObjectResult::default()
    };
    let output =
        CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
    Ok(S3Response::new(output))
}

/// The bytes that `x-amz-copy-source-range` names, of an object of so many.
fn range(text: Option<&str>, length: u64) -> S3Result<Range<u64>> {
    let Some(text) = text else { return Ok(0..length) };
    let parsed = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    };
    match parsed() {
        Some((first, last)) if first <= last && last < length => Ok(first..last + 1),
        Some(_) => Err(error(
            S3ErrorCode::InvalidArgument,
            format!("the source has {length} bytes, and not all of `{text}`"),
        )),
        None => Err(error(S3ErrorCode::InvalidArgument, "the range wants `bytes=first-last`")),
    }
}

pub(crate) async fn copy_part<S: Store>(
    store: &S,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    refuse(&[("encryption by a customer's key", input.sse_customer_algorithm.is_some())])?;
    let (from, row) = source(
        store,
        &input.copy_source,
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    )?;
    let range = range(input.copy_source_range.as_deref(), row.object_bytes())?;
    let bytes = range.end - range.start;
    let put = part(store, &input.bucket, &input.key, &input.upload_id, input.part_number, bytes)?;
    let coming = opened(store, from, row, range).await?;
    let stored = store.put(put, coming).await;
    let row = stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchUpload))?;
    let result = CopyPartResult {
        e_tag: Some(etag(&row)),
        last_modified: Some(time(modified(&row))),
        ..CopyPartResult::default()
    };
    let output =
        UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() };
    Ok(S3Response::new(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_sources_are_whole() {
        assert_eq!(range(None, 10).unwrap(), 0..10);
        assert_eq!(range(Some("bytes=2-9"), 10).unwrap(), 2..10);
        for wrong in ["bytes=2-10", "bytes=3-2", "bytes=-2", "bytes=2-", "2-3", "bytes=a-b"] {
            assert!(range(Some(wrong), 10).is_err(), "{wrong}");
        }
    }
}
