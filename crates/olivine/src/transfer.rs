//! The two forms in which entries leave a store and come back.
//!
//! JSON lines: an object a line, `{"keyspace":"k","key":"a","value":"1"}`; what is no text stands as
//! base64 under `key_base64` and `value_base64`. The other form is the one that `rocksdb_dump` writes
//! and `rocksdb_undump` reads: a header, and then each key and value behind its length; it knows no
//! keyspaces.
//!
//! It must survive any input: cut, endless, of another form.
//!
//! 1. What one writes the other reads, to the byte.
//! 2. Memory is one entry. A length is believed only within the bounds of keys and values, and bytes
//!    are made room for as they come.
//! 3. Every complaint names the line, or the byte.

use std::io::{self, BufRead, Read as _, Write};

use olivine_doors::base64;
use olivine_engine::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::json::{Json, bytes_member};

const MAGIC: [u8; 8] = *b"ROCKDUMP";
const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
/// A line is longer than the largest entry only if it is none.
const LINE_BYTES_MAX: u64 = 6 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) as u64 + 4096;
/// What stands behind the header of the binary form.
const INFO_BYTES_MAX: u32 = 1 << 20;

/// How entries are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Rocksdb,
}

/// An entry on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it belongs, where that is said.
    pub(crate) keyspace: Option<String>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What a file in `form` begins with.
pub(crate) fn begin(out: &mut impl Write, form: Form) -> io::Result<()> {
    if form == Form::Rocksdb {
        let info = b"{ \"written-by\": \"olivine\" }";
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION)?;
        out.write_all(&(info.len() as u32).to_le_bytes())?;
        out.write_all(info)?;
    }
    Ok(())
}

/// Writes one entry down.
pub(crate) fn write(
    out: &mut impl Write,
    form: Form,
    keyspace: &str,
    key: &[u8],
    value: &[u8],
) -> io::Result<()> {
    match form {
        Form::Json => {
            let members = vec![
                ("keyspace".to_owned(), keyspace.into()),
                bytes_member("key", key),
                bytes_member("value", value),
            ];
            writeln!(out, "{}", Json::Object(members))
        }
        Form::Rocksdb => [key, value].into_iter().try_for_each(|bytes| {
            out.write_all(&(bytes.len() as u32).to_le_bytes())?;
            out.write_all(bytes)
        }),
    }
}

/// Reads entries, in whichever form they come.
pub(crate) struct Reader<R> {
    input: R,
    form: Form,
    /// The line read last, or the byte that comes next.
    place: u64,
    /// Bytes of the lines read so far.
    line_bytes: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Tells the form by the first bytes.
    pub(crate) fn new(mut input: R) -> Result<Reader<R>, String> {
        let first = input.fill_buf().map_err(|error| format!("cannot read the input: {error}"))?;
        let form = if first.starts_with(&MAGIC[..1]) { Form::Rocksdb } else { Form::Json };
        let mut reader = Reader { input, form, place: 0, line_bytes: 0, line: Vec::new() };
        if form == Form::Rocksdb {
            reader.header()?;
        }
        Ok(reader)
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The line read last, or the byte that comes next.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        if self.form == Form::Json { self.line_bytes } else { self.place }
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, String> {
        match self.form {
            Form::Json => self.next_line(),
            Form::Rocksdb => self.next_pair(),
        }
    }

    fn wrong(&self, what: &str) -> String {
        match self.form {
            Form::Json => format!("line {}: {what}", self.place),
            Form::Rocksdb => format!("byte {}: {what}", self.place),
        }
    }

    /// Passes over a line, whatever it holds; false at the end.
    pub(crate) fn skip(&mut self) -> Result<bool, String> {
        self.place += 1;
        let skipped = self.input.skip_until(b'\n');
        self.line_bytes += *skipped.as_ref().unwrap_or(&0) as u64;
        skipped.map(|bytes| bytes != 0).map_err(|error| self.wrong(&error.to_string()))
    }

    fn next_line(&mut self) -> Result<Option<Entry>, String> {
        loop {
            self.line.clear();
            self.place += 1;
            let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| self.wrong(&error.to_string()))?;
            self.line_bytes += read as u64;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
                return Err(self.wrong("it is longer than any entry"));
            }
            if self.line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                let entry = str::from_utf8(&self.line).map_err(|error| {
                    format!("it is no text from column {} on", error.valid_up_to() + 1)
                });
                let entry = entry.and_then(|line| entry_of(line.trim_end_matches(['\n', '\r'])));
                return entry.map(Some).map_err(|what| self.wrong(&what));
            }
        }
    }

    fn header(&mut self) -> Result<(), String> {
        let mut header = [0; 20];
        self.exactly(&mut header, "the header")?;
        if header[..8] != MAGIC {
            self.place = 0;
            return Err(self.wrong("these are neither JSON lines nor what rocksdb_dump writes"));
        }
        if header[8..16] != VERSION {
            return Err(self.wrong("this version of rocksdb_dump's format is not known"));
        }
        let info = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
        if INFO_BYTES_MAX < info {
            return Err(self.wrong("the header says that it is far too long"));
        }
        self.exactly(&mut vec![0; info as usize], "the header")
    }

    fn next_pair(&mut self) -> Result<Option<Entry>, String> {
        let ended = self.input.fill_buf().map(<[u8]>::is_empty);
        if ended.map_err(|error| self.wrong(&error.to_string()))? {
            return Ok(None);
        }
        let key = self.sized(KEY_BYTES_MAX, "key")?;
        let value = self.sized(VALUE_BYTES_MAX, "value")?;
        Ok(Some(Entry { keyspace: None, key, value }))
    }

    fn sized(&mut self, most: usize, what: &str) -> Result<Vec<u8>, String> {
        let mut length = [0; 4];
        self.exactly(&mut length, what)?;
        let length = u32::from_le_bytes(length);
        if most < length as usize {
            return Err(
                self.wrong(&format!("a {what} of {length} bytes; at most {most} are possible"))
            );
        }
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(length.into()).read_to_end(&mut bytes);
        let read = read.map_err(|error| self.wrong(&error.to_string()))?;
        self.place += read as u64;
        if read < length as usize {
            return Err(self.wrong(&format!("the input ends within a {what}")));
        }
        Ok(bytes)
    }

    fn exactly(&mut self, bytes: &mut [u8], what: &str) -> Result<(), String> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.wrong(&format!("the input ends within {what}")),
            _ => self.wrong(&error.to_string()),
        })?;
        self.place += bytes.len() as u64;
        Ok(())
    }
}

/// The entry that a line holds.
fn entry_of(line: &str) -> Result<Entry, String> {
    let parsed = Json::parse(line).map_err(|(at, what)| format!("column {}: {what}", at + 1))?;
    let Json::Object(members) = parsed else {
        return Err("an object such as {\"key\":\"a\",\"value\":\"1\"} should be here".into());
    };
    let (mut keyspace, mut key, mut value) = (None, None, None);
    for (name, member) in members {
        let Json::Text(text) = member else {
            return Err(format!("`{name}` should be text"));
        };
        let bytes = || base64::decode(&text).ok_or_else(|| format!("`{name}` is not base64"));
        let (slot, bytes) = match name.as_str() {
            "keyspace" => {
                keyspace = Some(text);
                continue;
            }
            "key" => (&mut key, text.into_bytes()),
            "key_base64" => (&mut key, bytes()?),
            "value" => (&mut value, text.into_bytes()),
            "value_base64" => (&mut value, bytes()?),
            _ => {
                let known = "keyspace, key or key_base64, value or value_base64";
                return Err(format!("no member `{name}` is known; there are {known}"));
            }
        };
        if slot.replace(bytes).is_some() {
            return Err(format!("`{name}` and its other form are both there"));
        }
    }
    let missing = |what: &str| format!("`{what}` is missing");
    Ok(Entry {
        keyspace,
        key: key.ok_or_else(|| missing("key"))?,
        value: value.ok_or_else(|| missing("value"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![
            (b"".to_vec(), b"".to_vec()),
            (b"apple".to_vec(), "r\u{f6}t\n\"".into()),
            (vec![0, 0xff], (0..=255).collect()),
        ]
    }

    #[test]
    fn both_forms_come_back_as_they_went() {
        for form in [Form::Json, Form::Rocksdb] {
            let mut bytes = Vec::new();
            begin(&mut bytes, form).unwrap();
            for (key, value) in entries() {
                write(&mut bytes, form, "k", &key, &value).unwrap();
            }
            let mut reader = Reader::new(bytes.as_slice()).unwrap();
            assert_eq!(reader.form(), form);
            let mut found = Vec::new();
            while let Some(entry) = reader.next().unwrap() {
                assert_eq!(entry.keyspace.is_some(), form == Form::Json);
                found.push((entry.key, entry.value));
            }
            assert_eq!(found, entries());
            for len in 0..bytes.len() {
                // Cut anywhere, it ends or complains.
                let Ok(mut reader) = Reader::new(&bytes[..len]) else { continue };
                while let Ok(Some(_)) = reader.next() {}
            }
        }
    }

    /// What `rocksdb_dump` wrote, byte by byte.
    #[test]
    fn a_dump_of_rocksdb_is_read() {
        let mut bytes = b"ROCKDUMP\0\0\0\0\0\0\0\x01\x02\0\0\0{}".to_vec();
        bytes.extend_from_slice(b"\x02\0\0\0k1\x02\0\0\0v1");
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let entry = Entry { keyspace: None, key: b"k1".into(), value: b"v1".into() };
        assert_eq!(reader.next(), Ok(Some(entry)));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (line, said) in [
            ("{\"key\":\"a\"", "line 1: column 11: a comma or } should be here"),
            ("\n\n[]", "line 3: an object such as {\"key\":\"a\",\"value\":\"1\"} should be here"),
            ("{\"key\":\"a\"}", "line 1: `value` is missing"),
            ("{\"key\":1,\"value\":\"\"}", "line 1: `key` should be text"),
            (
                "{\"key\":\"a\",\"key_base64\":\"\"}",
                "line 1: `key_base64` and its other form are both there",
            ),
            ("{\"value_base64\":\"?\"}", "line 1: `value_base64` is not base64"),
            (
                "{\"ttl\":\"1\"}",
                "line 1: no member `ttl` is known; there are keyspace, key or key_base64, value or value_base64",
            ),
        ] {
            let mut reader = Reader::new(line.as_bytes()).unwrap();
            assert_eq!(reader.next().unwrap_err(), said);
        }
        let mut reader = Reader::new(&b"{\xff}"[..]).unwrap();
        assert_eq!(reader.next().unwrap_err(), "line 1: it is no text from column 2 on");
        let said = Reader::new(&b"ROCKDUMP\0\0\0\0\0\0\0\x02\0\0\0\0"[..]).err().unwrap();
        assert!(said.contains("this version"), "{said}");
    }
}
