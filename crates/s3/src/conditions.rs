//! What must be under a key, for those who write and for those who read.

use olivine_blobs::{index::Condition, row::Row};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ETag, ETagCondition, Timestamp},
    header::{ETAG, LAST_MODIFIED},
};

use crate::told::{error, etag, modified, tag, time};

fn failed() -> S3Error {
    error(S3ErrorCode::PreconditionFailed, "what is under the key is not as the request wants it")
}

/// Whether a row is what a tag names; of those that are weak, too, if `is_weak`.
fn is_it(row: &Row, named: &ETagCondition, is_weak: bool) -> bool {
    match named {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(name)) => *name == tag(row),
        ETagCondition::ETag(ETag::Weak(name)) => is_weak && *name == tag(row),
    }
}

/// What must be there when something is written; `row` is what is there now, unlinked or not.
pub(crate) fn to_write(
    row: Option<&Row>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Condition> {
    let live = row.filter(|row| !row.is_unlinked);
    let refused = |text: &str| Err(error(S3ErrorCode::NotImplemented, text));
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Any),
        (Some(named), None) => match live {
            Some(row) if is_it(row, named, false) => Ok(Condition::Is(row.generation)),
            Some(_) => Err(failed()),
            None => Err(S3Error::new(S3ErrorCode::NoSuchKey)),
        },
        (None, Some(ETagCondition::Any)) => match row {
            None => Ok(Condition::Absent),
            // What is unlinked may be replaced, and nothing else.
            Some(row) if row.is_unlinked => Ok(Condition::Is(row.generation)),
            Some(_) => Err(failed()),
        },
        (None, Some(ETagCondition::ETag(_))) => {
            refused("`If-None-Match` wants `*` where something is written")
        }
        (Some(_), Some(_)) => refused("`If-Match` and `If-None-Match` exclude each other"),
    }
}

/// What somebody wants of an object who reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ToRead<'a> {
    pub(crate) if_match: Option<&'a ETagCondition>,
    pub(crate) if_none_match: Option<&'a ETagCondition>,
    pub(crate) if_modified_since: Option<&'a Timestamp>,
    pub(crate) if_unmodified_since: Option<&'a Timestamp>,
}

impl ToRead<'_> {
    /// An error if the object is not so, or is known.
    pub(crate) fn check(&self, row: &Row) -> S3Result<()> {
        // Times are told by the second.
        let at = time(modified(row) / 1000 * 1000);
        match (self.if_match, self.if_unmodified_since) {
            (Some(named), _) if !is_it(row, named, false) => return Err(failed()),
            (None, Some(since)) if *since < at => return Err(failed()),
            _ => {}
        }
        let is_known = match (self.if_none_match, self.if_modified_since) {
            (Some(named), _) => is_it(row, named, true),
            (None, Some(since)) => at <= *since,
            (None, None) => false,
        };
        if !is_known {
            return Ok(());
        }
        let mut not_modified = S3Error::new(S3ErrorCode::NotModified);
        let mut headers = http::HeaderMap::new();
        if let Ok(tag) = etag(row).to_http_header() {
            headers.insert(ETAG, tag);
        }
        let mut text = Vec::new();
        if at.format(s3s::dto::TimestampFormat::HttpDate, &mut text).is_ok()
            && let Ok(at) = http::HeaderValue::from_bytes(&text)
        {
            headers.insert(LAST_MODIFIED, at);
        }
        not_modified.set_headers(headers);
        Err(not_modified)
    }

    /// The same for the source of a copy, where there is no such thing as being known.
    pub(crate) fn check_source(&self, row: &Row) -> S3Result<()> {
        self.check(row).map_err(|error| match error.code() {
            S3ErrorCode::NotModified => failed(),
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use olivine_blobs::{Attributes, row::Replica};

    use super::*;

    fn row() -> Row {
        Row {
            generation: 7,
            bytes: 3,
            digest: Some([0xab; 16]),
            expiry: None,
            is_unlinked: false,
            replicas: vec![Replica { volume: 0, extent: 1, offset: 64 }],
            attributes: Some(Box::new(Attributes { modified: 10_500, ..Attributes::default() })),
        }
    }

    fn named(tag: &str) -> ETagCondition {
        tag.parse().unwrap()
    }

    fn code(outcome: S3Result<impl std::fmt::Debug>) -> Option<String> {
        outcome.err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn who_writes_is_bound_to_what_was_seen() {
        let (row, any) = (row(), ETagCondition::Any);
        let right = named(&format!("\"{}\"", "ab".repeat(16)));
        let unlinked = Row { is_unlinked: true, ..row.clone() };
        let write = to_write;
        let other = named("\"cd\"");
        assert_eq!(write(None, None, None).unwrap(), Condition::Any);
        assert_eq!(write(None, None, Some(&any)).unwrap(), Condition::Absent);
        assert_eq!(write(Some(&unlinked), None, Some(&any)).unwrap(), Condition::Is(7));
        assert_eq!(write(Some(&row), Some(&right), None).unwrap(), Condition::Is(7));
        let failed = Some("PreconditionFailed".to_owned());
        assert_eq!(code(write(Some(&row), None, Some(&any))), failed);
        assert_eq!(code(write(Some(&row), Some(&other), None)), failed);
        let absent = Some("NoSuchKey".to_owned());
        assert_eq!(code(write(None, Some(&right), None)), absent);
        assert_eq!(code(write(Some(&unlinked), Some(&any), None)), absent);
    }

    #[test]
    fn who_reads_is_told_what_is_known() {
        let row = row();
        let right = named(&format!("\"{}\"", "ab".repeat(16)));
        let wrong = named("\"cd\"");
        let (before, at) = (time(9_000), time(10_000));
        let read = |to_read: ToRead<'_>| code(to_read.check(&row));
        let none = ToRead::default();
        let (known, failed) =
            (Some("NotModified".to_owned()), Some("PreconditionFailed".to_owned()));
        assert_eq!(read(none), None);
        assert_eq!(read(ToRead { if_none_match: Some(&right), ..none }), known);
        assert_eq!(read(ToRead { if_none_match: Some(&wrong), ..none }), None);
        assert_eq!(read(ToRead { if_match: Some(&wrong), ..none }), failed);
        assert_eq!(read(ToRead { if_modified_since: Some(&at), ..none }), known);
        assert_eq!(read(ToRead { if_modified_since: Some(&before), ..none }), None);
        assert_eq!(read(ToRead { if_unmodified_since: Some(&before), ..none }), failed);
        assert_eq!(read(ToRead { if_unmodified_since: Some(&at), ..none }), None);
        // A tag that holds outweighs a time that does not, and the other way round.
        let both = ToRead { if_match: Some(&right), if_unmodified_since: Some(&before), ..none };
        assert_eq!(read(both), None);
        let both = ToRead { if_none_match: Some(&wrong), if_modified_since: Some(&at), ..none };
        assert_eq!(read(both), None);
        let source = ToRead { if_none_match: Some(&right), ..none };
        assert_eq!(code(source.check_source(&row)), failed);
    }
}
