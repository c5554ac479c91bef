//! Listing as one lists directories: keys that go on behind a delimiter are told by what they have up to it.
//!
//! 1. A group costs one seek, however many keys it stands for.

use olivine_engine::Result;

use super::Index;
use crate::row::Row;

/// What is to be listed.
#[derive(Clone, Copy, Debug)]
pub struct Grouping<'a> {
    /// What keys begin with.
    pub prefix: &'a [u8],
    /// The first key.
    pub start: &'a [u8],
    /// What ends the name of a group; nothing if there are none.
    pub delimiter: &'a [u8],
    /// Most objects and groups.
    pub limit: usize,
    /// The time.
    pub now: u64,
}

/// Something that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An object.
    Object(Vec<u8>, Row),
    /// What keys begin with, up to and with the delimiter.
    Group(Vec<u8>),
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// What there is, in order.
    pub entries: Vec<Entry>,
    /// Where the next part begins, if there is one.
    pub next: Option<Vec<u8>>,
}

impl Index {
    /// A part of a list of what there is to those who read.
    pub fn list_grouped(&self, grouping: &Grouping<'_>) -> Result<Grouped> {
        let Grouping { prefix, start, delimiter, limit, now } = *grouping;
        let mut grouped = Grouped::default();
        if limit == 0 {
            return Ok(grouped);
        }
        let mut cursor = self.objects.cursor()?;
        cursor.seek(start.max(prefix))?;
        while cursor.valid() {
            let key = cursor.key();
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let row = self.parse(key, cursor.value()?)?;
            if row.is_unlinked || row.has_expired(now) {
                cursor.next()?;
                continue;
            }
            if limit <= grouped.entries.len() {
                grouped.next = Some(key.to_vec());
                break;
            }
            match find(rest, delimiter) {
                None => {
                    grouped.entries.push(Entry::Object(key.to_vec(), row));
                    cursor.next()?;
                }
                Some(end) => {
                    let group = key[..prefix.len() + end].to_vec();
                    let behind = behind(&group);
                    grouped.entries.push(Entry::Group(group));
                    match behind {
                        Some(behind) => cursor.seek(&behind)?,
                        None => break,
                    }
                }
            }
        }
        Ok(grouped)
    }
}

/// Where a delimiter ends that stands in some text.
fn find(text: &[u8], delimiter: &[u8]) -> Option<usize> {
    if delimiter.is_empty() {
        return None;
    }
    let start = text.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(start + delimiter.len())
}

/// The first key behind all that begin with `prefix`, if there can be one.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}
