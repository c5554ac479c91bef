//! What one backup consists of, as the text that says so. Bytes: `docs/format/backup.md`.
//!
//! 1. `decode(encode(set)) == set`, and bytes that `encode` does not make are refused.
//! 2. A set names every file it needs, with length and hash.

use std::{fmt::Write, path::Path};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    error::{Error, Result},
    key::SeqNo,
    table::TableInfo,
    values::ValuesInfo,
};

/// The format that this release writes and reads.
const FORMAT: u32 = 1;

/// One backup, as a list shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupInfo {
    /// Its number; later ones have higher numbers.
    pub number: u64,
    /// The number of the store, drawn when that was made.
    pub store: u64,
    /// The last write in it.
    pub seqno: SeqNo,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Keyspaces in it.
    pub keyspaces: u64,
    /// Tables in it.
    pub tables: u64,
    /// Entries in its tables, versions and deletions counted.
    pub entries: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of the files that no earlier backup had.
    pub bytes_new: u64,
}

/// A file that a backup needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// xxh3 of the whole file.
    pub(super) hash: u64,
}

/// What one backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) info: BackupInfo,
    /// The catalog first, then tables and value files.
    pub(super) files: Vec<Stored>,
}

/// The name of a set's file.
pub(super) fn set_name(number: u64) -> String {
    format!("backup-{number:012}")
}

/// The name of the file with the catalog of a backup.
pub(super) fn catalog_name(number: u64) -> String {
    format!("catalog-{number:012}")
}

/// The name under which a table is stored: no two tables of any store share one.
pub(in crate::copies) fn stored_table(store: u64, table: &TableInfo) -> String {
    format!("table-{store:016x}-{:012}-{:016x}", table.id, table.checksum)
}

/// The same for a value file.
pub(in crate::copies) fn stored_values(store: u64, values: &ValuesInfo) -> String {
    format!("values-{store:016x}-{:012}-{:016x}", values.file, values.checksum)
}

/// What a name in a directory of backups stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Set(u64),
    /// A catalog, a table or a value file.
    Data,
    /// Something that was never finished.
    Unfinished,
}

impl Name {
    /// `None` for what is not ours.
    pub(super) fn parse(name: &str) -> Option<Name> {
        if let Some(whole) = name.strip_suffix(".next") {
            return Name::parse(whole).map(|_| Name::Unfinished);
        }
        let (kind, rest) = name.split_once('-')?;
        let parts: Vec<&str> = rest.split('-').collect();
        let is = |part: &str, len: usize, radix: u32| {
            part.len() == len && part.chars().all(|digit| digit.is_digit(radix))
        };
        match (kind, parts.as_slice()) {
            ("backup", [number]) if is(number, 12, 10) => Some(Name::Set(number.parse().ok()?)),
            ("catalog", [number]) if is(number, 12, 10) => Some(Name::Data),
            ("table", [number]) if is(number, 12, 10) => Some(Name::Unfinished),
            ("table" | "values", [store, number, checksum])
                if is(store, 16, 16) && is(number, 12, 10) && is(checksum, 16, 16) =>
            {
                Some(Name::Data)
            }
            _ => None,
        }
    }
}

impl Set {
    pub(super) fn encode(&self) -> String {
        let mut text = format!("olivine backup, format {FORMAT}\n");
        let info = &self.info;
        // Writing to a string cannot fail.
        writeln!(text, "number {}\nstore {:016x}", info.number, info.store).ok();
        for (name, number) in info.numbers() {
            writeln!(text, "{name} {number}").ok();
        }
        for Stored { name, bytes, hash } in &self.files {
            writeln!(text, "file {name} bytes {bytes} hash {hash:016x}").ok();
        }
        let checksum = xxh3_64(text.as_bytes());
        writeln!(text, "checksum {checksum:016x}").ok();
        text
    }

    /// Reads the set `number` out of the bytes of the file at `path`.
    pub(super) fn decode(path: &Path, number: u64, bytes: &[u8]) -> Result<Set> {
        let corrupt = |what: &str| Error::corrupt(path, 0, what);
        let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is no text"))?;
        let first = text.lines().next().unwrap_or("");
        let format = first.strip_prefix("olivine backup, format ").and_then(|n| n.parse().ok());
        match format {
            None => return Err(corrupt("it does not begin as a backup does")),
            Some(FORMAT) => {}
            Some(found) => {
                return Err(Error::Format { path: path.to_path_buf(), found, newest: FORMAT });
            }
        }
        let set = Set::parse(text).ok_or_else(|| corrupt("a line of it does not read"))?;
        // Whatever else could have been there instead: the same text, or it is damaged.
        if set.encode() != text {
            return Err(corrupt("it does not match its checksum"));
        }
        if set.info.number != number {
            return Err(corrupt("it is another backup than its name says"));
        }
        Ok(set)
    }

    fn parse(text: &str) -> Option<Set> {
        let mut set = Set { info: BackupInfo::default(), files: Vec::new() };
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["file", name, "bytes", bytes, "hash", hash] => {
                    Name::parse(name).filter(|name| *name == Name::Data)?;
                    let name = (*name).to_owned();
                    set.files.push(Stored { name, bytes: bytes.parse().ok()?, hash: hex(hash)? });
                }
                ["checksum", _] => {}
                ["number", number] => set.info.number = number.parse().ok()?,
                ["store", store] => set.info.store = hex(store)?,
                [name, number] => *set.info.field(name)? = number.parse().ok()?,
                _ => return None,
            }
        }
        Some(set)
    }
}

impl BackupInfo {
    fn numbers(&self) -> [(&'static str, u64); 7] {
        [
            ("seqno", self.seqno),
            ("time", self.time),
            ("keyspaces", self.keyspaces),
            ("tables", self.tables),
            ("entries", self.entries),
            ("bytes", self.bytes),
            ("new", self.bytes_new),
        ]
    }

    fn field(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "seqno" => &mut self.seqno,
            "time" => &mut self.time,
            "keyspaces" => &mut self.keyspaces,
            "tables" => &mut self.tables,
            "entries" => &mut self.entries,
            "bytes" => &mut self.bytes,
            "new" => &mut self.bytes_new,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        let info = BackupInfo {
            number: 3,
            store: 0xf3a9,
            seqno: 12,
            time: 1_795_217_000,
            keyspaces: 2,
            tables: 1,
            entries: 9,
            bytes: 4096,
            bytes_new: 96,
        };
        let stored = |name: &str, bytes, hash| Stored { name: name.into(), bytes, hash };
        let table = "table-000000000000f3a9-000000000012-5c1e0a77b3d94f20";
        let files = vec![stored("catalog-000000000003", 96, 7), stored(table, 4000, u64::MAX)];
        Set { info, files }
    }

    #[test]
    fn a_set_comes_back_as_it_went_in() {
        let text = set().encode();
        assert_eq!(Set::decode(Path::new("x"), 3, text.as_bytes()).unwrap(), set());
        let error = Set::decode(Path::new("x"), 4, text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("another backup"), "{error}");
    }

    #[test]
    fn every_changed_byte_is_refused_and_none_panics() {
        let text = set().encode().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                let error = Set::decode(Path::new("x"), 3, &flipped).unwrap_err();
                let format =
                    matches!(error, Error::Format { .. }) && text[..at].ends_with(b"format ");
                assert!(format || matches!(error, Error::Corrupt { .. }), "{at}.{bit}: {error}");
            }
            assert!(Set::decode(Path::new("x"), 3, &text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn names_that_are_not_ours_are_told_apart() {
        assert_eq!(Name::parse("backup-000000000012"), Some(Name::Set(12)));
        assert_eq!(Name::parse("backup-000000000012.next"), Some(Name::Unfinished));
        assert_eq!(Name::parse("catalog-000000000001"), Some(Name::Data));
        assert_eq!(Name::parse("table-000000000001"), Some(Name::Unfinished));
        for name in &set().files {
            assert_eq!(Name::parse(&name.name), Some(Name::Data));
        }
        for foreign in ["backup-1", "photo.jpg", "table-x", "backup-+00000000012", ".next", "a-b-c"]
        {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }
}
