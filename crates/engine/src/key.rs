//! Keys, sequence numbers, kinds, and the order of entries.
//!
//! 1. Entries are ordered by user key, bytewise ascending, then by sequence number, newest first.
//! 2. A sequence number is given to one write only; it never repeats, not across restarts either.
//! 3. `Stamp` packs sequence and kind into one word whose numeric order is the sequence's order.

/// The longest key a store takes.
pub const KEY_BYTES_MAX: usize = 65_535;

/// The longest value a store takes in one piece.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// The longest value a store takes as a stream.
pub const VALUE_STREAM_BYTES_MAX: u64 = 1 << 30;

/// The place of a write in the one order of all writes of a store; the first is 1.
pub type SeqNo = u64;

/// The largest sequence number: 56 bits, so that a kind fits beside it in a word.
pub(crate) const SEQNO_MAX: SeqNo = (1 << 56) - 1;

/// What an entry does to its key. The numbers are on disk; those unused today are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The key has this value.
    Put = 1,
    /// The key is gone.
    Delete = 2,
    /// What the keyspace's operator makes of the value before and this one.
    Merge = 3,
    /// All keys from this one up to the value are gone. In batches only; tables have them in a list.
    RangeDelete = 4,
    /// The key has this value until a time, which stands before it in eight bytes.
    PutExpiring = 5,
    /// The key has a value, and this says where it lies.
    Pointer = 6,
    /// A record that goes to the log only. In batches only, without a key.
    Append = 7,
    /// Appended records up to a number are contained in what has been written. In batches only, without a
    /// key.
    Applied = 8,
    /// A range has been applied up to a position. In batches of keyspaces whose log is off only, so on no
    /// disk.
    Position = 9,
}

/// Bytes of the time before the value of a `Kind::PutExpiring`, little endian.
pub(crate) const EXPIRY_BYTES: usize = 8;

/// Time and value of a `Kind::PutExpiring`; `None` when there is no room for a time.
pub(crate) fn split_expiry(value: &[u8]) -> Option<(u64, &[u8])> {
    let (time, value) = value.split_first_chunk::<EXPIRY_BYTES>()?;
    Some((u64::from_le_bytes(*time), value))
}

impl Kind {
    /// The kind of number `byte`, or `None` for one this release does not know.
    pub(crate) fn decode(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Put),
            2 => Some(Kind::Delete),
            3 => Some(Kind::Merge),
            4 => Some(Kind::RangeDelete),
            5 => Some(Kind::PutExpiring),
            6 => Some(Kind::Pointer),
            7 => Some(Kind::Append),
            8 => Some(Kind::Applied),
            9 => Some(Kind::Position),
            _ => None,
        }
    }

    /// Whether memtables and tables hold entries of this kind.
    pub(crate) fn is_of_entries(self) -> bool {
        !matches!(self, Kind::RangeDelete | Kind::Append | Kind::Applied | Kind::Position)
    }

    /// Whether an operation of this kind changes what a key, or a range of keys, shows.
    pub(crate) fn changes_keys(self) -> bool {
        self.is_of_entries() || self == Kind::RangeDelete
    }
}

/// Sequence and kind of an entry in one word: `seqno << 8 | kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    pub(crate) fn new(seqno: SeqNo, kind: Kind) -> Stamp {
        assert!(seqno <= SEQNO_MAX, "sequence numbers are exhausted at {seqno}");
        Stamp(seqno << 8 | kind as u64)
    }

    /// The newest stamp that a reader of `seqno` may see.
    pub(crate) fn upper_bound(seqno: SeqNo) -> Stamp {
        Stamp(seqno << 8 | 0xff)
    }

    pub(crate) fn seqno(self) -> SeqNo {
        self.0 >> 8
    }

    /// The kind, or `None` when the word came from disk and names none that an entry may have.
    pub(crate) fn kind(self) -> Option<Kind> {
        Kind::decode(self.0 as u8).filter(|kind| kind.is_of_entries())
    }

    /// The newest stamp of the write before this one.
    pub(crate) fn before(self) -> Option<Stamp> {
        Some(Stamp::upper_bound(self.seqno().checked_sub(1)?))
    }
}

/// The first eight bytes of `key` as a number whose order is the order of those bytes; shorter keys
/// are padded with zeros, so equal words still need their keys compared.
pub(crate) fn prefix_word(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut word = [0; 8];
    word[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(word)
}

/// How many leading bytes two keys share.
pub(crate) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
