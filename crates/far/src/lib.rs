//! A bucket of S3's protocol for the extents that a volume keeps far away.
//!
//! Requests are the crate object_store's: signatures, retries, parts. What lies in the bucket, and what it means, is the
//! volume's business.
//!
//! 1. Calls may come from any thread, and wait: what they wait for runs on a thread of the bucket's own.
//! 2. No call waits without end: each request has a time, and is repeated a few times only.
//! 3. Two parts of an extent are in memory, however long it is.
//! 4. What is not there is told apart from a bucket that does not answer.

#![warn(missing_docs)]

use std::{fmt, future::Future, io, sync::mpsc, time::Duration};

use bytes::Bytes;
use object_store::{
    ClientOptions, MultipartUpload, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use olivine_blobs::Far;
use tokio::runtime::{Builder, Runtime};

/// What is longer is sent in parts of this length, or of a ten thousandth of it.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 10_000;
/// How long a bucket may take to take a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a request may take, and how long it is repeated.
const REQUEST_TIME: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 2;

/// Which bucket, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    /// The bucket, and what the names in it begin with: `s3://bucket/prefix`.
    pub url: BucketUrl,
    /// Where it is, if not at Amazon's: `https://host:port`.
    pub endpoint: Option<String>,
    /// Who asks; the variables that tools of Amazon's know (`AWS_ACCESS_KEY_ID` and others) say it if nothing does here.
    pub key: Option<Key>,
}

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub access: String,
    /// What only both sides know.
    pub secret: String,
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("access", &self.access).finish_non_exhaustive()
    }
}

/// A bucket and what names in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    bucket: String,
    prefix: String,
}

impl BucketUrl {
    /// What `s3://bucket/prefix` names; nothing if it is none.
    pub fn parse(url: &str) -> Option<BucketUrl> {
        let rest = url.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_named = |name: &str| {
            !name.is_empty() && name.chars().all(is_part) && !matches!(name, "." | "..")
        };
        let has_prefix = prefix.is_empty() || prefix.split('/').all(is_named);
        let url = || BucketUrl { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        (is_named(bucket) && has_prefix).then(url)
    }
}

/// A bucket.
pub struct Bucket {
    store: AmazonS3,
    prefix: String,
    /// Nothing only while it is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Bucket {
    /// A bucket, which is not asked for anything yet.
    pub fn new(options: &BucketOptions) -> io::Result<Bucket> {
        // There is one already when the process has named its own.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client =
            ClientOptions::new().with_connect_timeout(CONNECT_TIME).with_timeout(REQUEST_TIME);
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: REQUEST_TIME,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_retry(retry)
            // One object is removed at a time, as every bucket knows it.
            .with_disable_bulk_delete(true)
            .with_bucket_name(&options.url.bucket);
        if let Some(endpoint) = &options.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_virtual_hosted_style_request(false)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(Key { access, secret }) = &options.key {
            builder = builder.with_access_key_id(access).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(io::Error::other)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("olivine-bucket")
            .enable_all()
            .build()?;
        let prefix = options.url.prefix.clone();
        Ok(Bucket { store, prefix, runtime: Some(runtime) })
    }

    fn path(&self, name: &str) -> Path {
        if self.prefix.is_empty() {
            return Path::from(name);
        }
        Path::from(format!("{}/{name}", self.prefix))
    }

    /// Has the bucket's thread do something, and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let ended = || io::Error::other("the thread of the bucket ended");
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let (told, done) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Nobody hears it only when the process ends.
            told.send(work.await).ok();
        });
        done.recv().map_err(|_| ended())?.map_err(of_bucket)
    }

    /// Sends a long object, part by part.
    fn put_parts(
        &self,
        path: Path,
        bytes: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        let store = self.store.clone();
        let mut upload = self.wait(async move { store.put_multipart(&path).await })?;
        match self.send_parts(&mut *upload, bytes, read) {
            Ok(()) => self.wait(async move {
                let completed = upload.complete().await;
                if completed.is_err() {
                    // What cannot be taken back now is the bucket's to clean up.
                    upload.abort().await.ok();
                }
                completed.map(drop)
            }),
            Err(error) => {
                self.wait(async move { upload.abort().await }).ok();
                Err(error)
            }
        }
    }

    fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        bytes: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        let part_bytes = part_bytes(bytes);
        let mut at = 0;
        while at < bytes {
            let part = filled(part_bytes.min(bytes - at), at, read)?;
            at += part.len() as u64;
            self.wait(upload.put_part(part.into()))?;
        }
        Ok(())
    }
}

/// How long the parts of an object are.
fn part_bytes(bytes: u64) -> u64 {
    PART_BYTES.max(bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20))
}

/// So many bytes from an offset on.
fn filled(
    bytes: u64,
    offset: u64,
    read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Bytes> {
    let mut part = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    if read(&mut part, offset)? < part.len() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is less than was told"));
    }
    Ok(part.into())
}

impl Far for Bucket {
    fn put(
        &self,
        name: &str,
        bytes: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        let path = self.path(name);
        if PART_BYTES < bytes {
            return self.put_parts(path, bytes, read);
        }
        let payload = PutPayload::from(filled(bytes, 0, read)?);
        let store = self.store.clone();
        self.wait(async move { store.put(&path, payload).await.map(drop) })
    }

    fn read(&self, name: &str, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (store, path) = (self.store.clone(), self.path(name));
        let range = offset..offset.saturating_add(buffer.len() as u64);
        let found = self.wait(async move { store.get_range(&path, range).await })?;
        let bytes = found.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&found[..bytes]);
        Ok(bytes)
    }

    fn bytes(&self, name: &str) -> io::Result<Option<u64>> {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.wait(async move { store.head(&path).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.path(name));
        self.wait(async move { store.delete(&path).await })
    }
}

impl Drop for Bucket {
    /// May happen where nothing may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn of_bucket(error: object_store::Error) -> io::Error {
    let kind = match error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_buckets_and_prefixes() {
        for (url, bucket, prefix) in [
            ("s3://cold", "cold", ""),
            ("s3://cold/", "cold", ""),
            ("s3://cold/a/b-1", "cold", "a/b-1"),
            ("s3://cold/a/", "cold", "a"),
        ] {
            let parsed = BucketUrl::parse(url).unwrap();
            assert_eq!((&*parsed.bucket, &*parsed.prefix), (bucket, prefix), "{url}");
        }
        for url in
            ["", "cold", "s3://", "s3:///a", "s3://a//b", "s3://a/../b", "s3://a b", "gs://a"]
        {
            assert_eq!(BucketUrl::parse(url), None, "{url}");
        }
    }

    #[test]
    fn parts_are_few_enough() {
        for bytes in [PART_BYTES + 1, 1 << 30, 1 << 40, 5 << 40] {
            assert!(bytes.div_ceil(part_bytes(bytes)) <= PARTS_MAX, "{bytes}");
        }
        assert_eq!(part_bytes(1 << 30), PART_BYTES);
    }

    #[test]
    fn a_key_is_shown_without_its_secret() {
        let key = Key { access: "AKIA".into(), secret: "hush".into() };
        let shown = format!("{key:?}");
        assert!(shown.contains("AKIA") && !shown.contains("hush"));
    }

    /// What a bucket does that nobody is behind: it says so, and soon.
    #[test]
    fn a_bucket_that_is_not_there_is_no_lost_object() {
        let key = Some(Key { access: "a".into(), secret: "b".into() });
        let (url, endpoint) = (BucketUrl::parse("s3://cold").unwrap(), "http://127.0.0.1:1");
        let options = BucketOptions { url, endpoint: Some(endpoint.into()), key };
        let bucket = Bucket::new(&options).unwrap();
        let error = bucket.bytes("x").unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
        let mut buffer = [0; 8];
        assert!(bucket.read("x", &mut buffer, 0).is_err());
    }
}
