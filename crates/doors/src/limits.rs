//! How large what comes in may be. Each limit is a setting, and who meets it is told its name.

/// The limits of one node's doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a key. Default 4 KiB, at most 65,526 B.
    pub key_bytes_max: usize,
    /// Bytes of a value. Default 16 MiB, at most 64 MiB.
    pub value_bytes_max: usize,
    /// Bytes of a line, of JSON or of words. Default 16 MiB, at most 64 MiB.
    pub line_bytes_max: usize,
    /// Bytes of lines of points in one request, unpacked. Default 64 MiB, at most 1 GiB.
    pub points_bytes_max: usize,
    /// Bytes of the head of a request over HTTP. Default 64 KiB, 8 KiB to 1 MiB.
    pub head_bytes_max: usize,
    /// Keys and values in one request. Default 100,000.
    pub batch_entries_max: usize,
    /// Entries in one answer to a scan. Default 10,000.
    pub page_entries_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            key_bytes_max: 4 << 10,
            value_bytes_max: 16 << 20,
            line_bytes_max: 16 << 20,
            points_bytes_max: 64 << 20,
            head_bytes_max: 64 << 10,
            batch_entries_max: 100_000,
            page_entries_max: 10_000,
        }
    }
}

impl Limits {
    /// The most that keys may be let be: what the store takes.
    pub const KEY_BYTES_MOST: usize = 65_526;
    /// The most that values may be let be.
    pub const VALUE_BYTES_MOST: usize = (64 << 20) - 32;
    /// The most that lines may be let be.
    pub const LINE_BYTES_MOST: usize = 64 << 20;

    /// The most that lines of points may be let be.
    pub const POINTS_BYTES_MOST: usize = 1 << 30;

    /// The least that heads over HTTP may be let be.
    pub const HEAD_BYTES_LEAST: usize = 8 << 10;
    /// The most.
    pub const HEAD_BYTES_MOST: usize = 1 << 20;

    /// Refuses a key that is too long.
    pub fn check_key(&self, key: &[u8]) -> Result<(), String> {
        let (most, bytes) = (self.key_bytes_max, key.len());
        if most < bytes {
            return Err(format!("the key has {bytes} bytes, and `key-bytes-max` is {most}"));
        }
        Ok(())
    }

    /// Refuses a value that is too long.
    pub fn check_value(&self, value: &[u8]) -> Result<(), String> {
        let (most, bytes) = (self.value_bytes_max, value.len());
        if most < bytes {
            return Err(format!("the value has {bytes} bytes, and `value-bytes-max` is {most}"));
        }
        Ok(())
    }

    /// Refuses more entries than one request may have.
    pub fn check_entries(&self, entries: usize) -> Result<(), String> {
        let most = self.batch_entries_max;
        if most < entries {
            return Err(format!("there are {entries} entries, and `batch-entries-max` is {most}"));
        }
        Ok(())
    }
}
