//! One step in the life of a store: what an edit changes, and its bytes.
//!
//! Byte layout: `docs/format/manifest.md`.
//!
//! 1. `decode(encode(edit)) == edit`.
//! 2. Bytes that are no edit give `None`; nothing is guessed.

use crate::{
    key::SeqNo,
    log::Position,
    options::KeyspaceOptions,
    pointer::ValueUses,
    table::{Part, TableInfo},
    values::ValuesInfo,
};

/// One thing that an edit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A keyspace of this number and name exists from now on.
    CreateKeyspace { keyspace: u32, name: String },
    /// The keyspace and all its tables are gone.
    DropKeyspace { keyspace: u32 },
    /// A table joins a level.
    AddTable { keyspace: u32, level: u8, table: TableInfo },
    /// A table leaves a level.
    RemoveTable { keyspace: u32, level: u8, table: u64 },
    /// Of a table on a level, only this part is visible from now on.
    CutTable { keyspace: u32, level: u8, table: u64, part: Part },
    /// Every write to the keyspace up to this number is in tables.
    Flushed { keyspace: u32, seqno: SeqNo },
    /// Segments below this number are not needed.
    LogStart { segment: u64 },
    /// The log was synced up to here.
    LogDurable { position: Position },
    /// A value file belongs to a keyspace from now on.
    AddValues { keyspace: u32, values: ValuesInfo },
    /// A value file into which nothing points is gone.
    RemoveValues { keyspace: u32, file: u64 },
    /// The next table gets at least this number.
    NextTable { table: u64 },
    /// The next keyspace gets at least this number.
    NextKeyspace { keyspace: u32 },
    /// The next write gets at least this number.
    NextSeqno { seqno: SeqNo },
    /// How the keyspace behaves from now on.
    SetOptions { keyspace: u32, options: KeyspaceOptions },
    /// What expires in the keyspace up to this time may go.
    ExpiryMark { keyspace: u32, mark: u64 },
    /// Records appended to the keyspace up to this number are contained in what has been written.
    Applied { keyspace: u32, seqno: SeqNo },
    /// A range has been applied to the keyspace up to this position; an empty one forgets the range.
    Position { keyspace: u32, range: Vec<u8>, position: Vec<u8> },
}

/// Changes that happen together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The place of this edit among all edits of the store.
    pub(crate) number: u64,
    pub(crate) changes: Vec<Change>,
}

const CREATE_KEYSPACE: u8 = 1;
const DROP_KEYSPACE: u8 = 2;
const ADD_TABLE: u8 = 3;
const REMOVE_TABLE: u8 = 4;
const FLUSHED: u8 = 5;
const LOG_START: u8 = 6;
const LOG_DURABLE: u8 = 7;
const NEXT_TABLE: u8 = 8;
const NEXT_KEYSPACE: u8 = 9;
const NEXT_SEQNO: u8 = 10;
const SET_OPTIONS: u8 = 11;
const ADD_TABLE_WITH_VALUES: u8 = 12;
const ADD_VALUES: u8 = 13;
const REMOVE_VALUES: u8 = 14;
const EXPIRY_MARK: u8 = 15;
const CUT_TABLE: u8 = 16;
const APPLIED: u8 = 17;
const POSITION: u8 = 18;
const CUT_TABLE_WITH_VALUES: u8 = 20;

impl Change {
    /// What makes `table` join a level, cut as it is.
    pub(crate) fn join(keyspace: u32, level: u8, table: &TableInfo) -> Vec<Change> {
        let mut changes = vec![Change::AddTable { keyspace, level, table: table.uncut() }];
        changes.extend(Change::cut(keyspace, level, table));
        changes
    }

    /// What cuts a table as `table` is cut, if it is.
    pub(crate) fn cut(keyspace: u32, level: u8, table: &TableInfo) -> Option<Change> {
        let part = table.part()?;
        Some(Change::CutTable { keyspace, level, table: table.id, part })
    }
}

impl Edit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 * (1 + self.changes.len()));
        put_number(&mut bytes, self.number);
        for change in &self.changes {
            encode_change(&mut bytes, change);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Edit> {
        let mut rest = Reader { bytes };
        let mut edit = Edit { number: rest.number()?, changes: Vec::new() };
        while !rest.bytes.is_empty() {
            edit.changes.push(decode_change(&mut rest)?);
        }
        Some(edit)
    }
}

fn encode_change(bytes: &mut Vec<u8>, change: &Change) {
    let mut numbers = |tag: u8, values: &[u64]| {
        bytes.push(tag);
        for value in values {
            put_number(bytes, *value);
        }
    };
    match change {
        Change::CreateKeyspace { keyspace, name } => {
            numbers(CREATE_KEYSPACE, &[u64::from(*keyspace)]);
            put_bytes(bytes, name.as_bytes());
        }
        Change::DropKeyspace { keyspace } => numbers(DROP_KEYSPACE, &[u64::from(*keyspace)]),
        Change::AddTable { keyspace, level, table } => {
            let apart = !table.values.is_empty();
            numbers(
                if apart { ADD_TABLE_WITH_VALUES } else { ADD_TABLE },
                &[
                    u64::from(*keyspace),
                    u64::from(*level),
                    table.id,
                    table.bytes,
                    table.entries,
                    table.tombstones,
                    table.seqno_min,
                    table.seqno_max,
                    table.checksum,
                    table.range_deletes << 1 | u64::from(table.last_is_excluded),
                ],
            );
            put_bytes(bytes, &table.first_key);
            put_bytes(bytes, &table.last_key);
            if apart {
                put_uses(bytes, &table.values);
            }
        }
        Change::RemoveTable { keyspace, level, table } => {
            numbers(REMOVE_TABLE, &[u64::from(*keyspace), u64::from(*level), *table]);
        }
        Change::CutTable { keyspace, level, table, part } => {
            let (keyspace, level) = (u64::from(*keyspace), u64::from(*level));
            let excluded = u64::from(part.last_is_excluded);
            let numbers_of = [keyspace, level, *table, part.entries, part.tombstones, excluded];
            let apart = !part.values.is_empty();
            numbers(if apart { CUT_TABLE_WITH_VALUES } else { CUT_TABLE }, &numbers_of);
            put_bytes(bytes, &part.first_key);
            put_bytes(bytes, &part.last_key);
            if apart {
                put_uses(bytes, &part.values);
            }
        }
        Change::Flushed { keyspace, seqno } => numbers(FLUSHED, &[u64::from(*keyspace), *seqno]),
        Change::LogStart { segment } => numbers(LOG_START, &[*segment]),
        Change::LogDurable { position } => {
            numbers(LOG_DURABLE, &[position.to_word()]);
        }
        Change::AddValues { keyspace, values } => {
            let ValuesInfo { file, bytes, records, checksum } = values;
            numbers(ADD_VALUES, &[u64::from(*keyspace), *file, *bytes, *records, *checksum]);
        }
        Change::RemoveValues { keyspace, file } => {
            numbers(REMOVE_VALUES, &[u64::from(*keyspace), *file]);
        }
        Change::NextTable { table } => numbers(NEXT_TABLE, &[*table]),
        Change::NextKeyspace { keyspace } => numbers(NEXT_KEYSPACE, &[u64::from(*keyspace)]),
        Change::NextSeqno { seqno } => numbers(NEXT_SEQNO, &[*seqno]),
        Change::SetOptions { keyspace, options } => {
            numbers(SET_OPTIONS, &[u64::from(*keyspace)]);
            let named = options.encode();
            put_number(bytes, named.len() as u64);
            for (name, value) in named {
                put_bytes(bytes, name.as_bytes());
                put_bytes(bytes, &value);
            }
        }
        Change::ExpiryMark { keyspace, mark } => {
            numbers(EXPIRY_MARK, &[u64::from(*keyspace), *mark]);
        }
        Change::Applied { keyspace, seqno } => numbers(APPLIED, &[u64::from(*keyspace), *seqno]),
        Change::Position { keyspace, range, position } => {
            numbers(POSITION, &[u64::from(*keyspace)]);
            put_bytes(bytes, range);
            put_bytes(bytes, position);
        }
    }
}

fn decode_change(rest: &mut Reader<'_>) -> Option<Change> {
    let (tag, bytes) = rest.bytes.split_first()?;
    rest.bytes = bytes;
    Some(match *tag {
        CREATE_KEYSPACE => Change::CreateKeyspace {
            keyspace: rest.small()?,
            name: String::from_utf8(rest.bytes()?).ok()?,
        },
        DROP_KEYSPACE => Change::DropKeyspace { keyspace: rest.small()? },
        ADD_TABLE | ADD_TABLE_WITH_VALUES => Change::AddTable {
            keyspace: rest.small()?,
            level: u8::try_from(rest.number()?).ok()?,
            table: decode_table(rest, *tag == ADD_TABLE_WITH_VALUES)?,
        },
        ADD_VALUES => Change::AddValues {
            keyspace: rest.small()?,
            values: ValuesInfo {
                file: rest.number()?,
                bytes: rest.number()?,
                records: rest.number()?,
                checksum: rest.number()?,
            },
        },
        REMOVE_VALUES => Change::RemoveValues { keyspace: rest.small()?, file: rest.number()? },
        REMOVE_TABLE => Change::RemoveTable {
            keyspace: rest.small()?,
            level: u8::try_from(rest.number()?).ok()?,
            table: rest.number()?,
        },
        CUT_TABLE | CUT_TABLE_WITH_VALUES => Change::CutTable {
            keyspace: rest.small()?,
            level: u8::try_from(rest.number()?).ok()?,
            table: rest.number()?,
            part: Part {
                entries: rest.number()?,
                tombstones: rest.number()?,
                last_is_excluded: rest.flag()?,
                first_key: rest.bytes()?,
                last_key: rest.bytes()?,
                values: rest.uses_if(*tag == CUT_TABLE_WITH_VALUES)?,
            },
        },
        FLUSHED => Change::Flushed { keyspace: rest.small()?, seqno: rest.number()? },
        LOG_START => Change::LogStart { segment: rest.number()? },
        LOG_DURABLE => Change::LogDurable { position: Position::from_word(rest.number()?) },
        NEXT_TABLE => Change::NextTable { table: rest.number()? },
        NEXT_KEYSPACE => Change::NextKeyspace { keyspace: rest.small()? },
        NEXT_SEQNO => Change::NextSeqno { seqno: rest.number()? },
        SET_OPTIONS => {
            let keyspace = rest.small()?;
            let mut named = Vec::new();
            for _ in 0..rest.number()? {
                named.push((String::from_utf8(rest.bytes()?).ok()?, rest.bytes()?));
            }
            Change::SetOptions { keyspace, options: KeyspaceOptions::decode(&named)? }
        }
        EXPIRY_MARK => Change::ExpiryMark { keyspace: rest.small()?, mark: rest.number()? },
        POSITION => Change::Position {
            keyspace: rest.small()?,
            range: rest.bytes()?,
            position: rest.bytes()?,
        },
        APPLIED => Change::Applied { keyspace: rest.small()?, seqno: rest.number()? },
        _ => return None,
    })
}

fn decode_table(rest: &mut Reader<'_>, apart: bool) -> Option<TableInfo> {
    let [id, bytes, entries, tombstones] =
        [rest.number()?, rest.number()?, rest.number()?, rest.number()?];
    let [seqno_min, seqno_max, checksum, ranges] =
        [rest.number()?, rest.number()?, rest.number()?, rest.number()?];
    Some(TableInfo {
        id,
        bytes,
        entries,
        tombstones,
        seqno_min,
        seqno_max,
        checksum,
        range_deletes: ranges >> 1,
        last_is_excluded: ranges & 1 != 0,
        first_key: rest.bytes()?,
        last_key: rest.bytes()?,
        values: rest.uses_if(apart)?,
        whole: None,
    })
}

/// Appends `value` seven bits a byte, the lowest first; the top bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

/// Appends what is pointed to in value files: how many numbers it is, and these.
fn put_uses(bytes: &mut Vec<u8>, uses: &ValueUses) {
    let words = uses.words();
    put_number(bytes, words.len() as u64);
    for word in words {
        put_number(bytes, word);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn flag(&mut self) -> Option<bool> {
        let number = self.number()?;
        (number <= 1).then_some(number == 1)
    }

    /// What is pointed to in value files, where it follows; nothing otherwise.
    fn uses_if(&mut self, follows: bool) -> Option<ValueUses> {
        if !follows {
            return Some(ValueUses::default());
        }
        let count = usize::try_from(self.number()?).ok()?;
        if self.bytes.len() < count {
            return None;
        }
        let words: Option<Vec<u64>> = (0..count).map(|_| self.number()).collect();
        ValueUses::from_words(&words?).filter(|uses| !uses.is_empty())
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.number()?).ok()?;
        let (value, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(value.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{CompactionStyle, CompressionLast, KeyPrefix};

    fn table() -> TableInfo {
        TableInfo {
            id: 300,
            bytes: 1 << 40,
            entries: 9,
            tombstones: 1,
            seqno_min: 3,
            seqno_max: u64::MAX,
            checksum: 1 << 63,
            range_deletes: 5,
            last_is_excluded: true,
            first_key: vec![],
            last_key: vec![0xff; 200],
            values: ValueUses::default(),
            whole: None,
        }
    }

    fn table_with_values() -> TableInfo {
        let values = ValueUses::from_words(&[5, 12, 2, 1 << 33, 13, 1, 70]).unwrap();
        TableInfo { values, ..table() }
    }

    fn one_of_each() -> Edit {
        let changes = vec![
            Change::CreateKeyspace { keyspace: 1, name: "näme".into() },
            Change::DropKeyspace { keyspace: u32::MAX },
            Change::AddTable { keyspace: 1, level: 6, table: table() },
            Change::AddTable { keyspace: 1, level: 5, table: table_with_values() },
            Change::AddValues {
                keyspace: 1,
                values: ValuesInfo { file: 12, bytes: 1 << 34, records: 3, checksum: 1 << 63 },
            },
            Change::RemoveValues { keyspace: 1, file: 12 },
            Change::RemoveTable { keyspace: 1, level: 0, table: 12 },
            Change::CutTable {
                keyspace: 1,
                level: 6,
                table: 300,
                part: Part {
                    entries: 8,
                    tombstones: 0,
                    first_key: b"a".to_vec(),
                    last_key: vec![0xff; 200],
                    last_is_excluded: true,
                    values: ValueUses::default(),
                },
            },
            Change::CutTable {
                keyspace: 1,
                level: 5,
                table: 300,
                part: Part {
                    entries: 8,
                    tombstones: 1,
                    first_key: vec![],
                    last_key: vec![0xff; 199],
                    last_is_excluded: false,
                    values: ValueUses::from_words(&[5, 12, 1, 1 << 32]).unwrap(),
                },
            },
            Change::Flushed { keyspace: 1, seqno: 128 },
            Change::LogStart { segment: 127 },
            Change::LogDurable { position: Position::new(5, 1 << 31) },
            Change::NextTable { table: 16_384 },
            Change::NextKeyspace { keyspace: 2 },
            Change::NextSeqno { seqno: 77 },
            Change::SetOptions {
                keyspace: 1,
                options: KeyspaceOptions {
                    merge: Some("add-i64".into()),
                    filter: Some("orphans".into()),
                    ttl: Some(1 << 40),
                    style: CompactionStyle::TimeWindow,
                    prefix: Some(KeyPrefix::Delimiter(b'/', 2)),
                    unlogged: true,
                    compression_last: CompressionLast::Zstd,
                },
            },
            Change::ExpiryMark { keyspace: 1, mark: 300 },
            Change::Applied { keyspace: 1, seqno: 128 },
            Change::Position { keyspace: 1, range: b"range".to_vec(), position: vec![0; 200] },
        ];
        Edit { number: 42, changes }
    }

    #[test]
    fn an_edit_comes_back_as_it_went_in() {
        assert_eq!(Edit::decode(&one_of_each().encode()), Some(one_of_each()));
    }

    #[test]
    fn bytes_that_are_no_edit_never_panic() {
        let bytes = one_of_each().encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                Edit::decode(&flipped);
            }
            Edit::decode(&bytes[..at]);
        }
        assert_eq!(Edit::decode(&[0, 99]), None, "an unknown change");
        assert_eq!(Edit::decode(&[0xff; 11]), None, "a number beyond 64 bits");
    }
}
