//! What is asked of who keeps the objects.

use std::{
    future::Future,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use olivine_blobs::{
    Attributes,
    index::{Condition, Grouped},
    manifest::Part,
    row::Row,
};

use crate::coming::Coming;

/// Why something did not happen.
#[derive(Debug)]
pub enum Stop {
    /// What is under the key is not as the condition wants it.
    Refused,
    /// There is nothing, or nothing for it to be in.
    Absent,
    /// It cannot be done now, and why.
    Away(String),
    /// It failed, and why.
    Failed(String),
    /// What came was not what it should be.
    Told(Box<s3s::S3Error>),
}

/// An object to be put.
#[derive(Debug)]
pub struct Put {
    /// Its key.
    pub key: Vec<u8>,
    /// What is known of it beside its bytes.
    pub attributes: Attributes,
    /// What must be under the key when it becomes known.
    pub condition: Condition,
    /// A key under which something must be then.
    pub needs: Option<Vec<u8>>,
    /// How long it will be.
    pub bytes: u64,
}

/// An object to be made of parts.
#[derive(Debug)]
pub struct Complete {
    /// Its key.
    pub key: Vec<u8>,
    /// What is known of it beside its bytes: which parts, too.
    pub attributes: Attributes,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// What must be under the key when it becomes known.
    pub condition: Condition,
}

/// Pieces of an object, as they come.
pub trait Pieces: Send + Sync + 'static {
    /// The next one; nothing at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
}

/// Who keeps the objects.
pub trait Store: Send + Sync + 'static {
    /// The time in milliseconds since 1970.
    fn now(&self) -> u64;

    /// A generation that nobody was given before.
    fn generation(&self) -> Result<u64, Stop>;

    /// What is under a key, unlinked or not.
    fn row(&self, key: &[u8]) -> Result<Option<Row>, Stop>;

    /// What keys there are, from `start` on, grouped by `delimiter`.
    fn list(
        &self,
        prefix: &[u8],
        start: &[u8],
        delimiter: &[u8],
        limit: usize,
    ) -> Result<Grouped, Stop>;

    /// Puts an object, and returns its row when that lasts.
    fn put(&self, put: Put, coming: Coming) -> impl Future<Output = Result<Row, Stop>> + Send;

    /// Makes an object of parts, and returns its row when that lasts.
    fn complete(&self, complete: Complete) -> impl Future<Output = Result<Row, Stop>> + Send;

    /// The bytes of an object from `from` up to before `to`.
    fn read(
        &self,
        key: Vec<u8>,
        row: Row,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Box<dyn Pieces>, Stop>> + Send;

    /// The parts that an object is made of, in order.
    fn parts(&self, key: Vec<u8>, row: Row)
    -> impl Future<Output = Result<Vec<Part>, Stop>> + Send;

    /// Deletes an object.
    fn delete(
        &self,
        key: Vec<u8>,
        condition: Condition,
    ) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Takes an upload away, with its parts.
    fn abort(&self, key: Vec<u8>, upload: u64) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Takes a bucket away in which there is nothing; refuses others.
    fn remove_bucket(&self, bucket: String) -> impl Future<Output = Result<(), Stop>> + Send;
}
