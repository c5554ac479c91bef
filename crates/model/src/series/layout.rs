//! The rows of time series, in the engine's keyspaces. To the byte: `docs/format/series.md`.
//!
//! ```text
//! series     "d" · database                                   →  version (1)
//!            "p" · bucket (4)                                 →  version (1) · duration (8) · partition (8) · default (1)
//!                                                                · length (4) · database · policy
//!            "m" · bucket (4) · measurement                   →  table (4)
//!            "f" · bucket (4) · table (4) · field (4)         →  type (1) · name
//!            "t" · bucket (4) · table (4) · tag's key         →  nothing
//!            "w" · bucket (4) · partition (8)                 →  its length (8)
//!            "c" · bucket (4)                                 →  how many series it has (8)
//!            "k" · bucket (4) · table (4) · key               →  series (4)
//!            "r" · bucket (4) · series (4)                    →  table (4) · key
//!            "n" · what is counted                            →  the first number that was never given out (8)
//! postings   bucket (4) · partition (8) · table (4) · tag's key · 0 · value · 0 · series (4)  →  nothing
//! chunks     bucket (4) · partition (8) · table (4) · series (4) · first (8) · last (8) · rows (4)
//!            · precedence (8)                                 →  chunk
//! ```
//!
//! A *bucket* is a database under one retention policy, a *table* a measurement in it. Of each series every
//! partition of time has a posting under no tag as well. A *key* is measurement and tags as a line of the
//! protocol has them, tags in order.
//!
//! 1. Numbers in keys are big endian, and times are moved by 2^63, so that they sort as they count.
//! 2. A number that was given out is never given out again, whatever is dropped.
//! 3. No tag has a zero byte.

/// The keyspace of what there is.
pub(crate) const SERIES: &str = "series";
/// The keyspace that says which series of a partition have a tag.
pub(crate) const POSTINGS: &str = "postings";
/// The keyspace of rows, and whose log has those that are in no chunk yet.
pub(crate) const CHUNKS: &str = "chunks";

/// The version that rows begin with.
pub(crate) const VERSION: u8 = 1;

/// A time in a key.
pub(crate) fn time_bytes(time: i64) -> [u8; 8] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// The time in a key.
pub(crate) fn time_of(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

/// A row of what there is: of which kind, and under which numbers and bytes.
pub(crate) fn row(kind: u8, numbers: &[u32], rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + 4 * numbers.len() + rest.len());
    key.push(kind);
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key.extend_from_slice(rest);
    key
}

/// What all postings of a tag begin with; of no tag, if its key is empty.
pub(crate) fn posting_prefix(bucket: u32, partition: i64, table: u32, tag: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(18 + tag.len());
    key.extend_from_slice(&bucket.to_be_bytes());
    key.extend_from_slice(&time_bytes(partition));
    key.extend_from_slice(&table.to_be_bytes());
    key.extend_from_slice(tag.as_bytes());
    key.push(0);
    key
}

/// A posting.
pub(crate) fn posting(
    bucket: u32,
    partition: i64,
    table: u32,
    (tag, value): (&str, &str),
    series: u32,
) -> Vec<u8> {
    let mut key = posting_prefix(bucket, partition, table, tag);
    key.extend_from_slice(value.as_bytes());
    key.push(0);
    key.extend_from_slice(&series.to_be_bytes());
    key
}

/// Value and series of a posting that begins with `prefix`.
pub(crate) fn posting_rest(prefix: &[u8], key: &[u8]) -> Option<(String, u32)> {
    let (rest, series) = key.get(prefix.len()..)?.split_last_chunk::<4>()?;
    let (zero, value) = rest.split_last()?;
    let value = str::from_utf8(value).ok().filter(|_| *zero == 0)?;
    Some((value.to_owned(), u32::from_be_bytes(*series)))
}

/// What bucket and partition come to in the keys of postings and chunks.
pub(crate) fn partition_prefix(bucket: u32, partition: i64) -> Vec<u8> {
    [&bucket.to_be_bytes()[..], &time_bytes(partition)].concat()
}

/// What all chunks of a series in a partition begin with.
pub(crate) fn chunk_prefix(bucket: u32, partition: i64, table: u32, series: u32) -> Vec<u8> {
    let mut key = partition_prefix(bucket, partition);
    key.extend_from_slice(&table.to_be_bytes());
    key.extend_from_slice(&series.to_be_bytes());
    key
}

/// Which chunk a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkKey {
    pub(crate) bucket: u32,
    pub(crate) partition: i64,
    pub(crate) table: u32,
    pub(crate) series: u32,
    /// The time of its first row.
    pub(crate) first: i64,
    /// The time of its last row.
    pub(crate) last: i64,
    /// How many rows it has.
    pub(crate) rows: u32,
    /// Of two chunks that both have a value, the one of higher precedence counts.
    pub(crate) precedence: u64,
}

impl ChunkKey {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut key = chunk_prefix(self.bucket, self.partition, self.table, self.series);
        key.extend_from_slice(&time_bytes(self.first));
        key.extend_from_slice(&time_bytes(self.last));
        key.extend_from_slice(&self.rows.to_be_bytes());
        key.extend_from_slice(&self.precedence.to_be_bytes());
        key
    }

    /// The chunk that a key is of; nothing if it is of none.
    pub(crate) fn decode(mut key: &[u8]) -> Option<ChunkKey> {
        let decoded = ChunkKey {
            bucket: u32::from_be_bytes(take(&mut key)?),
            partition: time_of(take(&mut key)?),
            table: u32::from_be_bytes(take(&mut key)?),
            series: u32::from_be_bytes(take(&mut key)?),
            first: time_of(take(&mut key)?),
            last: time_of(take(&mut key)?),
            rows: u32::from_be_bytes(take(&mut key)?),
            precedence: u64::from_be_bytes(take(&mut key)?),
        };
        (key.is_empty() && decoded.first <= decoded.last).then_some(decoded)
    }
}

/// The first bytes, which are taken away.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// The first key behind all that begin with `prefix`, which is not all ones.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        after.pop();
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_sort_by_series_and_time() {
        let key = |series, first| ChunkKey {
            bucket: 1,
            partition: -5,
            table: 2,
            series,
            first,
            last: i64::MAX,
            rows: 3,
            precedence: 9,
        };
        let keys = [key(1, i64::MIN), key(1, -1), key(1, 0), key(1, 7), key(2, -9)];
        let encoded = keys.map(|key| key.encode());
        assert!(encoded.is_sorted());
        for (key, bytes) in keys.iter().zip(&encoded) {
            assert_eq!(ChunkKey::decode(bytes).as_ref(), Some(key));
            assert!(bytes.starts_with(&chunk_prefix(1, -5, 2, key.series)));
        }
        assert_eq!(ChunkKey::decode(&encoded[0][1..]), None);
    }

    #[test]
    fn postings_tell_their_value_and_series() {
        let prefix = posting_prefix(1, 0, 2, "host");
        let key = posting(1, 0, 2, ("host", "a b"), 258);
        assert_eq!(posting_rest(&prefix, &key), Some(("a b".to_owned(), 258)));
        assert_eq!(
            posting_rest(&posting_prefix(1, 0, 2, ""), &posting(1, 0, 2, ("", ""), 1)),
            Some((String::new(), 1))
        );
        assert_eq!(posting_rest(&prefix, &prefix), None);
    }

    #[test]
    fn what_comes_after_a_prefix() {
        assert_eq!(after(&[1, 2]), [1, 3]);
        assert_eq!(after(&[1, 255]), [2]);
    }
}
