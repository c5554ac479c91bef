//! How a store behaves: values that a file could hold, and the code that it may call by name.
//!
//! 1. Every field has a default that is safe; `Options::default()` always validates.
//! 2. A value out of its bounds is refused by `validate`, which names the field and the bound; it is
//!    never clipped in silence.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    error::{Error, Result},
    operator::{CompactionFilter, MergeOperator},
};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After it would survive a power cut: one sync of the log for all who wait.
    Sync,
    /// After the kernel has it: survives the end of the process, not a power cut.
    Os,
    /// As `Os`, and the store syncs by itself at least every `Options::interval`.
    Interval,
}

/// How blocks of tables are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4, where it saves an eighth or more.
    Lz4,
}

/// How tables are compressed that compaction writes for the last level of a keyspace, where most of its data
/// is. Those that go there as they are, as what comes in order does and what a bulk ingest loads, are as those
/// of the other levels until they are merged. The numbers are on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CompressionLast {
    /// As those of the other levels.
    #[default]
    Same = 0,
    /// By zstd, with a dictionary that each table trains on its first blocks: takes less room than LZ4, and
    /// more time to write and to read. Needs the cargo feature `zstd`. A memory budget that has not some
    /// 14 MiB for a compaction (it has from about 120 MiB on) leaves the dictionary out.
    Zstd = 1,
}

impl CompressionLast {
    fn decode(byte: u8) -> Option<CompressionLast> {
        match byte {
            0 => Some(CompressionLast::Same),
            1 => Some(CompressionLast::Zstd),
            _ => None,
        }
    }

    fn validate(self) -> Result<()> {
        if self == CompressionLast::Zstd && cfg!(not(feature = "zstd")) {
            let what = "is zstd, which this build was made without; \
                        build olivine-engine with its cargo feature `zstd`";
            return Err(Error::Invalid { field: "compression_last", what: what.into() });
        }
        Ok(())
    }
}

impl fmt::Display for CompressionLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompressionLast::Same => "same",
            CompressionLast::Zstd => "zstd",
        })
    }
}

/// How a store behaves. Disk, clock and threads belong to the `Environment`.
#[derive(Clone, Debug)]
pub struct Options {
    /// When writes that do not say otherwise are acknowledged. Default `Sync`.
    pub durability: Durability,
    /// The longest time between syncs under `Durability::Interval`. Default 100 ms, 1 ms to 1 h.
    pub interval: Duration,
    /// Make the directory and an empty store when there is none. Default true.
    pub create_if_missing: bool,
    /// Memory a memtable takes before it is flushed: more means fewer flushes and a longer recovery.
    /// The memory budget may make it less. Default 64 MiB, 4 KiB to 1 GiB.
    pub memtable_bytes_max: u64,
    /// Entries a memtable takes before it is flushed; `None` leaves it to the bytes. At least 1.
    pub memtable_entries_max: Option<u64>,
    /// Log bytes beyond which the memtable that holds the oldest is flushed: more means fewer small
    /// flushes and a longer recovery. Default 0: twice a memtable, at most 256 MiB.
    pub log_bytes_max: u64,
    /// Length of a log segment. Default 16 MiB, 16 KiB to 256 MiB.
    pub segment_bytes: u64,
    /// Bytes of entries a table's block holds before compression. Default 4 KiB, 128 B to 64 KiB.
    pub block_bytes: u32,
    /// Length at which compaction begins another table. Default 32 MiB, 4 KiB to 1 GiB.
    pub table_bytes_max: u64,
    /// Bytes of a keyspace's tables up to which they are kept as one sorted run where that is not too much
    /// work; larger ones have several while much is written. Default 256 MiB, at least 4 KiB.
    pub level_bytes_base: u64,
    /// Tables at level 0 that make a compaction due. Default 6, 1 to 64.
    pub level0_tables_max: usize,
    /// Filter bits per key: 10 gives one false positive in a hundred, 0 turns filters off. At most 32.
    pub filter_bits_per_key: u8,
    /// How blocks are compressed. Default LZ4. What stands in tables is compressed anew when a compaction
    /// rewrites it, but for blocks it carries along that were not compressed.
    pub compression: Compression,
    /// Values at least this long are kept apart from the tables, in files that compaction does not
    /// rewrite: less means less rewriting and more reads of their own. Default 4 KiB, at least 16 B; 0
    /// keeps all values in tables but those that are streamed.
    pub value_apart_bytes_min: u64,
    /// Operators beside those that come with the engine; keyspaces name them. Default none.
    pub merge_operators: Vec<Arc<dyn MergeOperator>>,
    /// Filters that keyspaces name. Default none.
    pub compaction_filters: Vec<Arc<dyn CompactionFilter>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Sync,
            interval: Duration::from_millis(100),
            create_if_missing: true,
            memtable_bytes_max: 64 << 20,
            memtable_entries_max: None,
            log_bytes_max: 0,
            segment_bytes: 16 << 20,
            block_bytes: 4 << 10,
            table_bytes_max: 32 << 20,
            level_bytes_base: 256 << 20,
            level0_tables_max: 6,
            filter_bits_per_key: 10,
            compression: Compression::Lz4,
            value_apart_bytes_min: 4 << 10,
            merge_operators: Vec::new(),
            compaction_filters: Vec::new(),
        }
    }
}

/// Which tables of a keyspace are merged with which. The numbers are on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CompactionStyle {
    /// Runs of like size with each other, and all of them into the last level: for keys in any order.
    #[default]
    Leveled = 0,
    /// Tables that do not overlap are left alone, but for small ones: for keys that come in roughly
    /// ascending order, as those do that begin with a time. Old tables are rewritten only for rows that
    /// come late; with keys in any order they would be rewritten all the time.
    TimeWindow = 1,
}

impl CompactionStyle {
    fn decode(byte: u8) -> Option<CompactionStyle> {
        match byte {
            0 => Some(CompactionStyle::Leveled),
            1 => Some(CompactionStyle::TimeWindow),
            _ => None,
        }
    }
}

/// How a key's prefix is found: what its keys have in common that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPrefix {
    /// The first so many bytes, at least 1; shorter keys have no prefix.
    Length(u16),
    /// Up to the n-th of these bytes, itself included, n at least 1; keys with fewer have no prefix.
    Delimiter(u8, u8),
}

impl KeyPrefix {
    /// The prefix of `key`, if it has one.
    pub fn of(self, key: &[u8]) -> Option<&[u8]> {
        match self {
            KeyPrefix::Length(length) => key.get(..length.into()),
            KeyPrefix::Delimiter(byte, nth) => {
                let mut places = key.iter().enumerate().filter(|(_, at)| **at == byte);
                let (at, _) = places.nth(usize::from(nth).checked_sub(1)?)?;
                Some(&key[..=at])
            }
        }
    }

    /// The rule in three bytes, of which the first is not 0.
    pub(crate) fn encode(self) -> [u8; 3] {
        match self {
            KeyPrefix::Length(length) => {
                let [low, high] = length.to_le_bytes();
                [1, low, high]
            }
            KeyPrefix::Delimiter(byte, nth) => [2, byte, nth],
        }
    }

    /// The rule that `encode` told.
    pub(crate) fn decode(bytes: [u8; 3]) -> Option<KeyPrefix> {
        let rule = match bytes {
            [1, low, high] => KeyPrefix::Length(u16::from_le_bytes([low, high])),
            [2, byte, nth] => KeyPrefix::Delimiter(byte, nth),
            _ => return None,
        };
        rule.validate().is_ok().then_some(rule)
    }

    fn validate(self) -> Result<()> {
        match self {
            KeyPrefix::Length(length) => within("prefix length", length.into(), 1, 65_535),
            KeyPrefix::Delimiter(_, nth) => within("prefix delimiters", nth.into(), 1, 255),
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPrefix::Length(length) => write!(f, "{length} bytes"),
            KeyPrefix::Delimiter(byte, nth) => {
                write!(f, "up to '{}' number {nth}", byte.escape_ascii())
            }
        }
    }
}

/// How one keyspace behaves, kept with the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceOptions {
    /// The name of the operator that `merge` applies: `add-i64`, `append`, `bitmap-or`, or one given in
    /// `Options::merge_operators`. Default none: the keyspace takes no merges.
    pub merge: Option<String>,
    /// The name of the filter, given in `Options::compaction_filters`, that compaction asks which
    /// entries are still wanted. Default none.
    pub filter: Option<String>,
    /// How long a value put lives, in the caller's unit of time, counted from the time of the handle
    /// that puts it (`Keyspace::at`). Default none: for ever.
    pub ttl: Option<u64>,
    /// Which tables are merged with which. Default `Leveled`.
    pub style: CompactionStyle,
    /// How keys are told apart that are walked together. Tables say then of almost every prefix that no
    /// key of theirs has it, and walks within one prefix pass them by. Default none.
    pub prefix: Option<KeyPrefix>,
    /// Whether writes go to memory and, by a flush, to tables, but not to the log: for whoever keeps a log of
    /// its own and applies it here (`Batch::applied`). A crash takes what was not flushed. Default false.
    pub unlogged: bool,
    /// How tables of the last level are compressed. Default `Same`.
    pub compression_last: CompressionLast,
}

impl KeyspaceOptions {
    /// Refuses values out of their bounds, naming the field and the bound.
    pub fn validate(&self) -> Result<()> {
        self.compression_last.validate()?;
        self.prefix.map_or(Ok(()), KeyPrefix::validate)
    }

    /// What is set, by name, as the manifest keeps it.
    pub(crate) fn encode(&self) -> Vec<(&'static str, Vec<u8>)> {
        let text = |text: &String| text.as_bytes().to_vec();
        let last = self.compression_last;
        let named = [
            ("compression_last", (last != CompressionLast::Same).then(|| vec![last as u8])),
            ("filter", self.filter.as_ref().map(text)),
            ("merge", self.merge.as_ref().map(text)),
            ("prefix", self.prefix.map(|prefix| prefix.encode().to_vec())),
            ("style", (self.style != CompactionStyle::Leveled).then(|| vec![self.style as u8])),
            ("ttl", self.ttl.map(|ttl| ttl.to_le_bytes().to_vec())),
            ("unlogged", self.unlogged.then(|| vec![1])),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What `encode` was given; `None` for a name that this release does not know.
    pub(crate) fn decode(named: &[(String, Vec<u8>)]) -> Option<KeyspaceOptions> {
        let mut options = KeyspaceOptions::default();
        for (name, value) in named {
            let text = || String::from_utf8(value.clone()).ok();
            match name.as_str() {
                "compression_last" => {
                    let [last] = value.as_slice().try_into().ok()?;
                    options.compression_last = CompressionLast::decode(last)?;
                }
                "filter" => options.filter = Some(text()?),
                "merge" => options.merge = Some(text()?),
                "prefix" => {
                    options.prefix = Some(KeyPrefix::decode(value.as_slice().try_into().ok()?)?);
                }
                "style" => {
                    let [style] = value.as_slice().try_into().ok()?;
                    options.style = CompactionStyle::decode(style)?;
                }
                "ttl" => options.ttl = Some(u64::from_le_bytes(value.as_slice().try_into().ok()?)),
                "unlogged" if *value == [1] => options.unlogged = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

impl Options {
    /// Refuses values out of their bounds, naming the field and the bound.
    pub fn validate(&self) -> Result<()> {
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        within("interval (ms)", interval, 1, 3_600_000)?;
        within("memtable_bytes_max", self.memtable_bytes_max, 4 << 10, 1 << 30)?;
        within("memtable_entries_max", self.memtable_entries_max.unwrap_or(1), 1, u64::MAX)?;
        if self.log_bytes_max != 0 {
            within("log_bytes_max", self.log_bytes_max, 16 << 10, 64 << 30)?;
        }
        within("segment_bytes", self.segment_bytes, 16 << 10, 256 << 20)?;
        within("block_bytes", self.block_bytes.into(), 128, 64 << 10)?;
        within("table_bytes_max", self.table_bytes_max, 4 << 10, 1 << 30)?;
        within("level_bytes_base", self.level_bytes_base, 4 << 10, 1 << 50)?;
        if self.value_apart_bytes_min != 0 {
            within("value_apart_bytes_min", self.value_apart_bytes_min, 16, 64 << 20)?;
        }
        within("level0_tables_max", self.level0_tables_max as u64, 1, 64)?;
        within("filter_bits_per_key", self.filter_bits_per_key.into(), 0, 32)
    }

    /// Bytes at which a memtable is full, where memory leaves it `bytes`.
    pub(crate) fn memtable_bytes_within(&self, bytes: u64) -> u64 {
        self.memtable_bytes_max.min(bytes).max(4 << 10)
    }

    /// The log's bound, derived when it was left to us.
    pub(crate) fn log_bytes_bound(&self) -> u64 {
        match self.log_bytes_max {
            0 => (2 * self.memtable_bytes_max).min(256 << 20).max(2 * self.segment_bytes),
            given => given,
        }
    }
}

/// Refuses `value` outside `least..=most`.
pub(crate) fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(Error::Invalid { field, what: format!("is {value}, and must be {least} to {most}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        Options::default().validate().unwrap();
    }

    #[test]
    fn a_value_out_of_bounds_names_its_field_and_bound() {
        let options = Options { block_bytes: 1, ..Options::default() };
        let text = options.validate().unwrap_err().to_string();
        assert_eq!(text, "`block_bytes` is 1, and must be 128 to 65536");
    }

    #[test]
    fn prefixes_of_keys() {
        let cases = [
            (KeyPrefix::Length(3), "abcd", Some("abc")),
            (KeyPrefix::Length(3), "abc", Some("abc")),
            (KeyPrefix::Length(3), "ab", None),
            (KeyPrefix::Delimiter(b':', 1), "user:7:name", Some("user:")),
            (KeyPrefix::Delimiter(b':', 2), "user:7:name", Some("user:7:")),
            (KeyPrefix::Delimiter(b':', 3), "user:7:name", None),
            (KeyPrefix::Delimiter(b':', 1), "", None),
        ];
        for (rule, key, prefix) in cases {
            assert_eq!(rule.of(key.as_bytes()), prefix.map(str::as_bytes), "{rule} of {key}");
            assert_eq!(KeyPrefix::decode(rule.encode()), Some(rule));
        }
        for bytes in [[0, 1, 1], [1, 0, 0], [2, b':', 0], [3, 1, 1]] {
            assert_eq!(KeyPrefix::decode(bytes), None);
        }
    }
}
