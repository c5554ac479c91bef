//! The bucket that extents of a volume may lie in.
//!
//! 1. A file with a key that others may read is refused.
//! 2. Nothing is asked of the bucket here: a volume opens whether it answers or not.

use std::{fmt, sync::Arc};

use olivine_blobs::Far;
use olivine_far::{Bucket, BucketOptions, Key};
use olivine_vfs::Vfs;

use super::s3_keys;
use crate::{node::Problem, settings::TierSettings};

const FLAG: &str = "--tier-key-file";

/// The bucket that is named.
pub fn bucket(vfs: &dyn Vfs, settings: &TierSettings) -> Result<Arc<dyn Far>, Problem> {
    let key = match &settings.key_file {
        None => None,
        Some(path) => {
            let first = s3_keys::read_file(vfs, path, FLAG)?.into_iter().next();
            first.map(|key| Key { access: key.access, secret: key.secret })
        }
    };
    let (url, endpoint) = (settings.url.clone(), settings.endpoint.clone());
    let bucket = Bucket::new(&BucketOptions { url, endpoint, key });
    let wrong = |error: &dyn fmt::Display| {
        let what = format!(
            "the bucket of --tier cannot be asked: {error}; see --tier-endpoint and {FLAG}"
        );
        Problem::Settings(what)
    };
    Ok(Arc::new(bucket.map_err(|error| wrong(&error))?))
}
