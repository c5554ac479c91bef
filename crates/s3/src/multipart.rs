//! Objects that come in parts.
//!
//! An upload is a row, and so is each part; the object that is made of them names the upload, and no byte is moved.

use olivine_blobs::{
    Attributes,
    index::{Condition, Entry, Grouped},
    manifest, own,
    row::Row,
};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, Checksum, CommonPrefix,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput,
        ListPartsInput, ListPartsOutput, MultipartUpload, Part, StorageClass, UploadPartInput,
        UploadPartOutput,
    },
};

use crate::{
    coming::{self, Coming},
    conditions::to_write,
    list::{Written, limit},
    object::{is_private, length, trailer},
    parts::{self, Gathered, Named, NoObject, upload_id},
    store::{Complete, Put, Store},
    told::{Said, check_bucket, error, etag, modified, of_object, of_stop, refuse, row_key, time},
};

/// The highest number of a part.
const PARTS_MAX: i32 = manifest::PARTS_MAX as i32;
/// Parts but the last have at least so many bytes.
const PART_BYTES_MIN: u64 = 5 << 20;

/// An upload that is under way.
struct Upload {
    /// The object's key.
    key: Vec<u8>,
    number: u64,
    row: Row,
}

fn number_of(upload_id: &str) -> S3Result<u64> {
    parts::upload_of_id(upload_id).ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchUpload))
}

/// The upload, if it is under way.
fn upload<S: Store>(store: &S, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
    let (key, upload) = (row_key(bucket, key)?, number_of(id)?);
    if let Some(row) = store.row(&own::upload_key(&key, upload)).map_err(of_object)? {
        return Ok(Upload { key, number: upload, row });
    }
    check_bucket(store, bucket)?;
    Err(S3Error::new(S3ErrorCode::NoSuchUpload))
}

pub(crate) async fn create<S: Store>(
    store: &S,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
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
    let said = Said {
        content_type: input.content_type,
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        expires: input.expires,
        metadata: input.metadata,
    };
    let attributes = said.attributes(store.now())?;
    let upload = store.generation().map_err(of_object)?;
    let put = Put {
        key: own::upload_key(&key, upload),
        attributes,
        condition: Condition::Absent,
        needs: Some(own::bucket_key(&input.bucket)),
        bytes: 1,
    };
    let stored = store.put(put, Coming::of_memory(&b"1"[..])).await;
    stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchBucket))?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload_id(upload)),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    }))
}

/// A part to be put.
pub(crate) fn part<S: Store>(
    store: &S,
    bucket: &str,
    key: &str,
    id: &str,
    number: i32,
    bytes: u64,
) -> S3Result<Put> {
    let Upload { key, number: upload, .. } = upload(store, bucket, key, id)?;
    if !(1..=PARTS_MAX).contains(&number) {
        let text = format!("parts are numbered from 1 to {PARTS_MAX}");
        return Err(error(S3ErrorCode::InvalidArgument, text));
    }
    Ok(Put {
        key: own::part_key(upload, number.cast_unsigned()),
        attributes: Attributes { modified: store.now(), ..Attributes::default() },
        condition: Condition::Any,
        needs: Some(own::upload_key(&key, upload)),
        bytes,
    })
}

pub(crate) async fn upload_part<S: Store>(
    store: &S,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let trailer = trailer(&request);
    let trailing = request.trailing_headers.take();
    let bytes = length(request.input.content_length, &request)?;
    let input = request.input;
    refuse(&[("encryption by a customer's key", input.sse_customer_algorithm.is_some())])?;
    let put = part(store, &input.bucket, &input.key, &input.upload_id, input.part_number, bytes)?;
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
    let output = UploadPartOutput {
        checksum_crc32: said.checksum.checksum_crc32.clone(),
        checksum_crc32c: said.checksum.checksum_crc32c.clone(),
        checksum_crc64nvme: said.checksum.checksum_crc64nvme.clone(),
        checksum_sha1: said.checksum.checksum_sha1.clone(),
        checksum_sha256: said.checksum.checksum_sha256.clone(),
        ..UploadPartOutput::default()
    };
    let stored = store.put(put, Coming::of_client(input.body, said)).await;
    let row = stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchUpload))?;
    Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag(&row)), ..output }))
}

fn no_object(why: NoObject) -> S3Error {
    match why {
        NoObject::Count => {
            let text = format!("an object is made of 1 to {PARTS_MAX} parts");
            error(S3ErrorCode::MalformedXML, text)
        }
        NoObject::Absent(number) => {
            error(S3ErrorCode::InvalidPart, format!("there is no part {number} with that tag"))
        }
        NoObject::Order => S3Error::new(S3ErrorCode::InvalidPartOrder),
        NoObject::Short => S3Error::new(S3ErrorCode::EntityTooSmall),
        NoObject::Stop(stop) => of_object(stop),
    }
}

/// What the object that was made of an upload is called, if that was done before.
fn completed_before<S: Store>(store: &S, key: &[u8], upload: u64) -> S3Result<Option<ETag>> {
    let row = store.row(key).map_err(of_object)?;
    let row = row.filter(|row| row.parts().is_some_and(|parts| parts.upload == upload));
    Ok(row.map(|row| etag(&row)))
}

pub(crate) async fn complete<S: Store>(
    store: &S,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    refuse(&[("encryption by a customer's key", input.sse_customer_algorithm.is_some())])?;
    let tag_told = |e_tag: ETag| {
        S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            e_tag: Some(e_tag),
            ..CompleteMultipartUploadOutput::default()
        })
    };
    let found = upload(store, &input.bucket, &input.key, &input.upload_id);
    let Upload { key, number: upload, row } = match found {
        Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => {
            let key = row_key(&input.bucket, &input.key)?;
            // Whoever was not told asks again.
            let before = completed_before(store, &key, number_of(&input.upload_id)?)?;
            return before.map(tag_told).ok_or(error);
        }
        found => found?,
    };
    let named = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let named = named.unwrap_or_default().iter().map(|part| Named {
        number: part.part_number.and_then(|number| number.try_into().ok()).unwrap_or_default(),
        tag: part.e_tag.as_ref().map(|tag| tag.value().to_owned()),
    });
    let named: Vec<Named> = named.collect();
    let gathered = parts::gather(store, upload, &named, PART_BYTES_MIN).map_err(no_object)?;
    let Gathered { made_of, parts } = gathered;
    let bytes = made_of.bytes;
    if input.mpu_object_size.is_some_and(|said| u64::try_from(said) != Ok(bytes)) {
        let text = format!("the parts have {bytes} bytes together");
        return Err(error(S3ErrorCode::InvalidRequest, text));
    }
    let there = store.row(&key).map_err(of_object)?;
    let (if_match, if_none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
    let condition = to_write(there.as_ref(), if_match, if_none_match)?;
    let known = row.attributes.map(|known| *known).unwrap_or_default();
    let attributes = Attributes { modified: store.now(), parts: Some(made_of), ..known };
    let complete = Complete { key, attributes, parts, condition };
    let stored = store.complete(complete).await;
    let row = stored.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchUpload))?;
    Ok(tag_told(etag(&row)))
}

pub(crate) async fn abort<S: Store>(
    store: &S,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    refuse(&[("condition of time", input.if_match_initiated_time.is_some())])?;
    let Upload { key, number: upload, .. } =
        upload(store, &input.bucket, &input.key, &input.upload_id)?;
    let aborted = store.abort(key, upload).await;
    aborted.map_err(|stop| of_stop(stop, S3ErrorCode::NoSuchUpload))?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(crate) fn list_parts<S: Store>(store: &S, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let Upload { number: upload, .. } = upload(store, &input.bucket, &input.key, &input.upload_id)?;
    let limit = limit(input.max_parts)?;
    let marker = u32::try_from(input.part_number_marker.unwrap_or_default()).unwrap_or_default();
    let (prefix, start) = (own::parts_prefix(upload), own::part_key(upload, marker + 1));
    let Grouped { entries, next } = store.list(&prefix, &start, b"", limit).map_err(of_object)?;
    let part = |entry: &Entry| match entry {
        Entry::Object(key, row) => Some(Part {
            part_number: Some(own::part_of(key)?.1.cast_signed()),
            e_tag: Some(etag(row)),
            last_modified: Some(time(modified(row))),
            size: Some(row.bytes as i64),
            ..Part::default()
        }),
        Entry::Group(_) => None,
    };
    let parts: Vec<Part> = entries.iter().filter_map(part).collect();
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        max_parts: Some(limit as i32),
        part_number_marker: Some(marker.cast_signed()),
        is_truncated: Some(next.is_some()),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        parts: Some(parts),
        ..ListPartsOutput::default()
    })
}

pub(crate) fn list_uploads<S: Store>(
    store: &S,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    check_bucket(store, &input.bucket)?;
    let written = Written::of(input.encoding_type.as_ref())?;
    let limit = limit(input.max_uploads)?;
    let begin = input.bucket.len() + 1;
    let full = |rest: &str| format!("{}/{rest}", input.bucket).into_bytes();
    let prefix = full(input.prefix.as_deref().unwrap_or_default());
    let delimiter = input.delimiter.as_deref().unwrap_or_default().as_bytes();
    let mut start = match (&input.key_marker, &input.upload_id_marker) {
        (Some(key), Some(id)) if !id.is_empty() => {
            own::upload_key(&full(key), number_of(id)?.saturating_add(1))
        }
        // Behind all uploads to that key.
        (Some(key), _) => [&own::uploads_prefix(&full(key))[..], &[1]].concat(),
        (None, _) => Vec::new(),
    };
    let (mut uploads, mut prefixes) = (Vec::<MultipartUpload>::new(), Vec::<CommonPrefix>::new());
    let mut is_truncated = false;
    let (mut last_key, mut last_id) = (None, None);
    'all: loop {
        if limit == 0 {
            break;
        }
        let grouped = store.list(&own::uploads_prefix(&prefix), &start, b"", limit + 1);
        let Grouped { entries, next } = grouped.map_err(of_object)?;
        for entry in &entries {
            let Entry::Object(row_key, row) = entry else { continue };
            let Some((key, upload)) = own::upload_of(row_key) else { continue };
            let rest = &key[prefix.len()..];
            let group = if delimiter.is_empty() {
                None
            } else {
                rest.windows(delimiter.len()).position(|window| window == delimiter)
            };
            let group = group.map(|at| &key[begin..prefix.len() + at + delimiter.len()]);
            let name = group.map(|group| written.write(group));
            if name.is_some() && prefixes.last().is_some_and(|last| last.prefix == name) {
                // Whoever goes on must not be told of the group again.
                last_key = Some(key[begin..].to_vec());
                continue;
            }
            if uploads.len() + prefixes.len() == limit {
                is_truncated = true;
                break 'all;
            }
            last_key = Some(key[begin..].to_vec());
            last_id = Some(upload_id(upload));
            if name.is_some() {
                prefixes.push(CommonPrefix { prefix: name });
                continue;
            }
            uploads.push(MultipartUpload {
                key: Some(written.write(&key[begin..])),
                upload_id: Some(upload_id(upload)),
                initiated: Some(time(modified(row))),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                ..MultipartUpload::default()
            });
        }
        match next {
            Some(next) => start = next,
            None => break,
        }
    }
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix,
        delimiter: input.delimiter,
        encoding_type: input.encoding_type,
        key_marker: input.key_marker,
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(limit as i32),
        is_truncated: Some(is_truncated),
        next_key_marker: last_key.filter(|_| is_truncated).map(|key| written.write(&key)),
        next_upload_id_marker: last_id.filter(|_| is_truncated),
        uploads: Some(uploads),
        common_prefixes: Some(prefixes),
        ..ListMultipartUploadsOutput::default()
    })
}
