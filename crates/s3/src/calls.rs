//! The calls that are answered; whatever else S3 has is not implemented, and said to be so.

use olivine_blobs::{Attributes, index::Condition, own};
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketLocationConstraint,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput,
        CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput,
        DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput,
        GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
        GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
        HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
        ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
        ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
        ListPartsOutput, PostObjectInput, PostObjectOutput, PutObjectInput, PutObjectOutput,
        UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
};

use crate::{
    coming::Coming,
    copying, list, multipart, object,
    store::{Put, Stop, Store},
    told::{check_bucket, error, found, of_object, of_stop, refuse},
};

/// The calls that are answered, and what each does.
pub const CALLS: &[(&str, &str)] = &[
    ("ListBuckets", "the buckets, by their names; `prefix`, `max-buckets`, `continuation-token`"),
    (
        "CreateBucket",
        "a bucket; 409 `BucketAlreadyOwnedByYou` if it is there. Where it shall be is let alone: it is here",
    ),
    ("HeadBucket", "whether there is one"),
    ("DeleteBucket", "it is gone, with what was being uploaded to it; 409 `BucketNotEmpty`"),
    ("GetBucketLocation", "empty, which is `us-east-1`; signatures for any region are good"),
    ("GetBucketVersioning", "empty: nothing has versions"),
    ("ListObjects", "`prefix`, `delimiter`, `marker`, `max-keys` up to 1000, `encoding-type`"),
    ("ListObjectsV2", "the same with `continuation-token`, `start-after`, `fetch-owner`"),
    (
        "PutObject",
        "with `If-Match` or `If-None-Match: *`, metadata of 2 KiB, `Content-MD5` or a checksum before or behind the bytes",
    ),
    ("GetObject", "with a range or a part's number, the four conditions, `response-…`"),
    ("HeadObject", "the same without the bytes"),
    (
        "CopyObject",
        "with conditions on the source, and `x-amz-metadata-directive`; the bytes are read and written",
    ),
    ("DeleteObject", "with `If-Match`; what is not there is deleted as well"),
    ("DeleteObjects", "up to 1000, each told for itself"),
    ("CreateMultipartUpload", "an upload, which stays until it is completed or aborted"),
    ("UploadPart", "a part, 1 to 10000; one that is put again replaces what was"),
    ("UploadPartCopy", "a part that is, or is of, an object that is here"),
    (
        "CompleteMultipartUpload",
        "the object, of the parts that are named; no byte is moved. With `If-Match` or `If-None-Match: *`; again, the same answer",
    ),
    ("AbortMultipartUpload", "the upload is gone, with its parts"),
    ("ListParts", "the parts of an upload"),
    ("ListMultipartUploads", "the uploads to a bucket; `prefix`, `delimiter`, markers"),
    ("GetObjectTagging", "no tags: nothing has any"),
];

/// S3's calls, as a store answers them.
pub(crate) struct Calls<S>(pub(crate) S);

#[async_trait::async_trait]
impl<S: Store> S3 for Calls<S> {
    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        list::buckets(&self.0, request.input).map(S3Response::new)
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let input = request.input;
        let acl = input.acl.as_ref().map(|acl| acl.as_str());
        refuse(&[
            ("lock of objects", input.object_lock_enabled_for_bucket == Some(true)),
            ("access list but private", !object::is_private(acl)),
        ])?;
        let put = Put {
            key: own::bucket_key(&input.bucket),
            attributes: Attributes { modified: self.0.now(), ..Attributes::default() },
            condition: Condition::Absent,
            needs: None,
            bytes: 1,
        };
        let is_there = self.0.row(&put.key).map_err(of_object)?.is_some();
        let stored = if is_there {
            Err(Stop::Refused)
        } else {
            self.0.put(put, Coming::of_memory(&b"1"[..])).await
        };
        match stored {
            Ok(_) => {
                let location = Some(format!("/{}", input.bucket));
                Ok(S3Response::new(CreateBucketOutput { location }))
            }
            Err(Stop::Refused) => Err(S3Error::new(S3ErrorCode::BucketAlreadyOwnedByYou)),
            Err(stop) => Err(of_object(stop)),
        }
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        check_bucket(&self.0, &request.input.bucket)?;
        let bucket_region = Some("us-east-1".to_owned());
        Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let bucket = request.input.bucket;
        check_bucket(&self.0, &bucket)?;
        match self.0.remove_bucket(bucket).await {
            Ok(()) => Ok(S3Response::new(DeleteBucketOutput::default())),
            Err(Stop::Refused) => Err(S3Error::new(S3ErrorCode::BucketNotEmpty)),
            Err(stop) => Err(of_stop(stop, S3ErrorCode::NoSuchBucket)),
        }
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        check_bucket(&self.0, &request.input.bucket)?;
        let location_constraint = None::<BucketLocationConstraint>;
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        check_bucket(&self.0, &request.input.bucket)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        list::objects(&self.0, request.input).map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        list::objects_v2(&self.0, request.input).map(S3Response::new)
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        object::put(&self.0, request).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        object::get(&self.0, request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        object::head(&self.0, request).await
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        copying::copy(&self.0, request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        object::delete(&self.0, request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        object::delete_many(&self.0, request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        multipart::create(&self.0, request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        multipart::upload_part(&self.0, request).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        copying::copy_part(&self.0, request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        multipart::complete(&self.0, request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        multipart::abort(&self.0, request).await
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        multipart::list_parts(&self.0, request.input).map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        multipart::list_uploads(&self.0, request.input).map(S3Response::new)
    }

    async fn post_object(
        &self,
        _: S3Request<PostObjectInput>,
    ) -> S3Result<S3Response<PostObjectOutput>> {
        let text = "there are no forms here; put the object with PUT";
        Err(error(S3ErrorCode::NotImplemented, text))
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        found(&self.0, &request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None }))
    }
}
