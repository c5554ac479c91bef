//! Every row of every model, in the engine's keyspaces. To the byte: `docs/format/rows.md`.
//!
//! ```text
//! rows       database (1) · key                  →  version (1) · kind and flags (1) · [expiry (8)] · value
//! deadlines  expiry (8) · database (1) · key     →  nothing
//! numbers    "count" · database (1)              →  how many rows the database has (8, merged by add-i64)
//!            "backup"                            →  when the last backup was made, in seconds since 1970 (8)
//!            "time"                              →  the latest time that made something expire (8)
//! access     "u" · name, "t" · id                →  version (1) · role (1) · made (8) · expiry (8) · …
//!            "generation"                        →  how often it was changed (8)
//! ```
//!
//! Elements of hashes, lists, sets and sorted sets get a keyspace of their own, under a version that
//! the collection's row names, so that taking one away is a write of one row.
//!
//! 1. A row that expires has a place in `deadlines`. Such a place may be out of date; the row decides.
//! 2. The number of rows is exact, those included that have expired and were not swept yet.
//! 3. Numbers in keys are big endian, so that they sort as they count; in values little endian.

use olivine_engine::{KeyspaceOptions, SeqNo};

/// The longest key of a row: what the engine takes, less the database.
pub const KEY_BYTES_MAX: usize = olivine_engine::KEY_BYTES_MAX - DEADLINE_PREFIX_BYTES;

/// What stands before the key in `deadlines`.
const DEADLINE_PREFIX_BYTES: usize = 8 + 1;

/// The keyspace of rows.
pub(crate) const ROWS: &str = "rows";
/// The keyspace that says which rows expire when.
pub(crate) const DEADLINES: &str = "deadlines";
/// The keyspace of counters.
pub(crate) const NUMBERS: &str = "numbers";

/// The keyspace of users and tokens.
pub(crate) const ACCESS: &str = "access";

/// The key under which `access` counts its changes.
pub(crate) const ACCESS_GENERATION: &[u8] = b"generation";

/// The key in `access` of a user's name or a token's id.
pub(crate) fn access_key(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

/// The database of doors that know of one only.
pub(crate) const DATABASE: u8 = 0;

/// The key under which `numbers` has the latest time that made something expire.
pub(crate) const TIME: &[u8] = b"time";

/// The key under which `numbers` has the time of the last backup.
pub(crate) const BACKUP: &[u8] = b"backup";

/// How `numbers` behaves.
pub(crate) fn numbers_options() -> KeyspaceOptions {
    KeyspaceOptions { merge: Some("add-i64".to_owned()), ..KeyspaceOptions::default() }
}

/// The key in `rows`.
pub(crate) fn row_key(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(DATABASE);
    bytes.extend_from_slice(key);
    bytes
}

/// The key that people know, of a key in `rows`.
pub(crate) fn user_key(row_key: &[u8]) -> &[u8] {
    row_key.split_first().map_or(&[], |(_, key)| key)
}

/// The first key in `rows` that belongs to the next database.
pub(crate) const ROWS_END: &[u8] = &[DATABASE + 1];

/// The key in `deadlines` of a row that expires at `expiry`.
pub(crate) fn deadline_key(expiry: u64, row_key: &[u8]) -> Vec<u8> {
    [expiry.to_be_bytes().as_slice(), row_key].concat()
}

/// When and what expires, of a key in `deadlines`; nothing if it is none.
pub(crate) fn deadline(key: &[u8]) -> Option<(u64, &[u8])> {
    let (expiry, row_key) = key.split_first_chunk::<8>()?;
    (!row_key.is_empty()).then(|| (u64::from_be_bytes(*expiry), row_key))
}

/// The key under which `numbers` counts the rows of the database.
pub(crate) fn count_key() -> [u8; 6] {
    *b"count\0"
}

/// What an operand or a value of `numbers` says; nothing if it is none.
pub(crate) fn number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// A position in the store's history.
pub(crate) type Position = SeqNo;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_sort_by_time() {
        let keys = [(1, "b"), (2, "a"), (256, "a"), (257, "")];
        let keys: Vec<Vec<u8>> =
            keys.iter().map(|(at, key)| deadline_key(*at, &row_key(key.as_bytes()))).collect();
        assert!(keys.is_sorted());
        assert_eq!(deadline(&keys[3]), Some((257, &[DATABASE][..])));
        assert_eq!(deadline(b"12345678"), None);
        assert_eq!(deadline(b"1234"), None);
    }

    #[test]
    fn counters_are_of_one_database() {
        assert_eq!(count_key().split_last().unwrap(), (&DATABASE, &b"count"[..]));
    }
}
