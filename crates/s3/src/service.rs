//! Who answers requests.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, EXPECT},
};
use s3s::{
    Body, S3ErrorCode, S3Result,
    auth::{S3Auth, SecretKey},
    config::{S3Config, StaticConfigProvider},
    service::{S3Service, S3ServiceBuilder},
};

use crate::{
    calls::Calls,
    chunks::{Chunks, Watched},
    store::Store,
    told::error,
};

/// A body of an answer.
pub type Answer = Body;

/// What somebody signs with.
pub struct Key {
    /// Who it is.
    pub access: String,
    /// What nobody else knows.
    pub secret: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("access", &self.access).finish_non_exhaustive()
    }
}

/// A body of XML that is read as a whole, at most: a batch of a thousand keys fits in, and parts by the ten thousand.
const XML_BYTES_MAX: usize = 4 << 20;
/// A form is read as a whole; nobody needs one to put something large.
const FORM_BYTES_MAX: u64 = 1 << 20;

/// Answers requests as S3 does.
#[derive(Clone, Debug)]
pub struct Service(S3Service);

struct Keys(BTreeMap<String, SecretKey>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let unknown = || error(S3ErrorCode::InvalidAccessKeyId, "there is no such access key");
        self.0.get(access_key).cloned().ok_or_else(unknown)
    }
}

impl Service {
    /// In front of a store, for those who sign with one of these keys.
    pub fn new(store: impl Store, keys: impl IntoIterator<Item = Key>) -> Service {
        let keys = keys.into_iter().map(|Key { access, secret }| (access, secret.into()));
        let mut config = S3Config::default();
        config.xml_max_body_size = XML_BYTES_MAX;
        config.post_object_max_file_size = FORM_BYTES_MAX;
        config.form_max_fields_size = FORM_BYTES_MAX as usize;
        let mut builder = S3ServiceBuilder::new(Calls(store));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Keys(keys.collect()));
        Service(builder.build())
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Answer>
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + Unpin + 'static,
    {
        let content = request.headers().get("x-amz-content-sha256");
        let has_chunks = content.is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
        let chunks = has_chunks.then_some(Chunks::Size(0));
        let is_empty = request.body().is_end_stream();
        // Who asks whether to go on with nothing is not told to: boto3 takes the next answer of the connection amiss.
        let is_untold = is_empty && request.headers().contains_key(EXPECT);
        let is_over = Arc::new(AtomicBool::new(is_empty));
        let watched = Arc::clone(&is_over);
        let request =
            request.map(|body| Body::http_body_unsync(Watched { body, chunks, is_over: watched }));
        let mut response = self.0.call(request).await.unwrap_or_else(|_| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        if is_untold || !is_over.load(Relaxed) {
            // Whoever was not told to go on keeps the rest: what comes next would be taken for it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What several things come to that go on at the same time, in their order.
pub(crate) async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outcomes: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_over = true;
        for (future, outcome) in running.iter_mut().zip(&mut outcomes) {
            if outcome.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(came) => *outcome = Some(came),
                    Poll::Pending => is_over = false,
                }
            }
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}
