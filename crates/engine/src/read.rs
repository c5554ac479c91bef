//! Point reads.
//!
//! 1. The state is taken before the watermark, so that whatever a compaction dropped from that state
//!    was hidden by something the read sees.
//! 2. Memtables newest first, then level 0 newest first, then the levels: the first version found at
//!    or below the watermark is the newest one.
//!    Operands of a merge are collected on the way to it; a deleted range hides what is older than it.
//! 3. No lock is taken that a writer, a flush or a compaction holds while it works.

use crate::{
    error::{Error, Result},
    key::{EXPIRY_BYTES, Kind, SeqNo, Stamp, split_expiry},
    keyspace::{LoggedMemtable, State, Tree},
    pointer::Pointer,
    store::Store,
    table::{ReadHow, Slice, key_hash},
    value::Value,
    values::ValueReader,
    version::LiveTable,
};

/// Where a read may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// In memory, and on disk where that is not enough.
    Disk,
    /// In memory only.
    Memory,
}

impl ReadFrom {
    fn how(self) -> ReadHow {
        match self {
            ReadFrom::Disk => ReadHow::DISK,
            ReadFrom::Memory => ReadHow::MEMORY,
        }
    }
}

impl Store {
    /// The newest value of `key` at time `now`, and a watermark that covers what was seen.
    pub(crate) fn get_latest(
        &self,
        tree: &Tree,
        key: &[u8],
        now: u64,
        from: ReadFrom,
    ) -> Result<(Option<Value>, SeqNo)> {
        self.following(|| {
            tree.check_there()?;
            let state = tree.state();
            let seqno = state.seen(self.visible());
            let read = Read { store: self, tree, state: &state, seqno, now, how: from.how() };
            Ok((read.get(key)?, seqno))
        })
    }

    /// Whether `key` has a value at time `now`; one that stands apart is not looked at.
    pub(crate) fn contains(&self, tree: &Tree, key: &[u8], now: u64) -> Result<bool> {
        self.following(|| {
            tree.check_there()?;
            let (state, how) = (tree.state(), ReadHow::DISK);
            let seqno = state.seen(self.visible());
            Read { store: self, tree, state: &state, seqno, now, how }.contains(key)
        })
    }

    /// The newest values of `keys`, all at one watermark.
    pub(crate) fn multi_get(
        &self,
        tree: &Tree,
        keys: &[&[u8]],
        now: u64,
    ) -> Result<Vec<Option<Value>>> {
        self.following(|| {
            tree.check_there()?;
            let (state, how) = (tree.state(), ReadHow::DISK);
            let seqno = state.seen(self.visible());
            let read = Read { store: self, tree, state: &state, seqno, now, how };
            keys.iter().map(|key| read.get(key)).collect()
        })
    }
}

/// The value of `key` at a snapshot that the caller holds.
pub(crate) fn get_at(
    store: &Store,
    tree: &Tree,
    key: &[u8],
    seqno: SeqNo,
    now: u64,
) -> Result<Option<Value>> {
    tree.check_there()?;
    let (state, how) = (tree.state(), ReadHow::DISK);
    Read { store, tree, state: &state, seqno, now, how }.get(key)
}

/// A reader of the value of `key`, now or at a snapshot that the caller holds.
pub(crate) fn get_stream(
    store: &Store,
    tree: &Tree,
    key: &[u8],
    seqno: Option<SeqNo>,
    now: u64,
) -> Result<Option<ValueReader>> {
    store.following(|| {
        tree.check_there()?;
        let (state, how) = (tree.state(), ReadHow::DISK);
        let seqno = seqno.unwrap_or_else(|| state.seen(store.visible()));
        Read { store, tree, state: &state, seqno, now, how }.stream(key)
    })
}

/// Point reads of one moment.
struct Read<'a> {
    store: &'a Store,
    tree: &'a Tree,
    state: &'a State,
    seqno: SeqNo,
    now: u64,
    how: ReadHow,
}

/// What a read found: a value, or where it lies.
#[derive(Debug)]
pub(crate) enum Found {
    Value(Value),
    Apart(Pointer),
}

/// What was found of a key, newest first, and what is still looked for.
#[derive(Default)]
struct Search {
    /// The newest deletion of a range with the key, in the places looked at so far.
    covered: SeqNo,
    /// Operands met, newest first.
    operands: Vec<Value>,
}

/// Whether a search is over, and with which base.
enum Step {
    Continue,
    Done(Option<Found>),
}

impl Read<'_> {
    /// The newest value of `key` that this read may see.
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        let mut search = Search::default();
        let base = self.find(key, &mut search)?;
        let base = base.map(|base| self.whole(base)).transpose()?;
        if search.operands.is_empty() {
            return Ok(base);
        }
        self.fold(key, base, &search.operands).map(Some)
    }

    fn contains(&self, key: &[u8]) -> Result<bool> {
        let mut search = Search::default();
        let base = self.find(key, &mut search)?;
        Ok(base.is_some() || !search.operands.is_empty())
    }

    fn stream(&self, key: &[u8]) -> Result<Option<ValueReader>> {
        let mut search = Search::default();
        match self.find(key, &mut search)? {
            Some(Found::Apart(pointer)) if search.operands.is_empty() => {
                self.store.values_of(self.state, &pointer)?.stream(&pointer).map(Some)
            }
            _ => Ok(self.get(key)?.map(ValueReader::of)),
        }
    }

    /// The value found, read from its file if it stands apart.
    fn whole(&self, found: Found) -> Result<Value> {
        match found {
            Found::Value(value) => Ok(value),
            Found::Apart(_) if !self.how.may_read_disk => Err(Error::WouldBlock),
            Found::Apart(pointer) => {
                let file = self.store.values_of(self.state, &pointer)?;
                file.read(&pointer).map(Value::owned)
            }
        }
    }

    /// Looks for the value of `key` below the operands that `search` collects.
    fn find(&self, key: &[u8], search: &mut Search) -> Result<Option<Found>> {
        for memtable in self.state.memtables() {
            if let Step::Done(base) = self.look_in_memtable(memtable, key, search) {
                return Ok(base);
            }
        }
        let hash = key_hash(key);
        let levels = &self.state.version.levels;
        for table in levels[0].tables().iter().filter(|table| table.holds(key)) {
            if let Step::Done(base) = self.look_in_table(table, key, hash, search)? {
                return Ok(base);
            }
        }
        for level in &levels[1..] {
            let Some(table) = level.find(key) else { continue };
            if let Step::Done(base) = self.look_in_table(table, key, hash, search)? {
                return Ok(base);
            }
        }
        Ok(None)
    }

    fn look_in_memtable(&self, memtable: &LoggedMemtable, key: &[u8], search: &mut Search) -> Step {
        search.covered = search.covered.max(memtable.covering(key, self.seqno));
        let mut bound = Some(Stamp::upper_bound(self.seqno));
        while let Some((stamp, value)) = bound.and_then(|bound| memtable.table.get(key, bound)) {
            let kind = stamp.kind().expect("memtables hold stamps made from kinds");
            if stamp.seqno() < search.covered {
                break;
            }
            match kind {
                Kind::Put => return Step::Done(Some(Found::Value(Value::copied(value)))),
                Kind::Pointer => {
                    let pointer = Pointer::decode(value);
                    let pointer = pointer.expect("memtables hold pointers that decode");
                    return Step::Done(Some(Found::Apart(pointer)));
                }
                Kind::Delete => return Step::Done(None),
                Kind::Merge => search.operands.push(Value::copied(value)),
                Kind::PutExpiring => {
                    let shown = split_expiry(value).filter(|(expiry, _)| self.shows(*expiry));
                    return Step::Done(shown.map(|(_, value)| Found::Value(Value::copied(value))));
                }
                Kind::RangeDelete | Kind::Append | Kind::Applied | Kind::Position => {
                    unreachable!("memtables hold entries only")
                }
            }
            bound = stamp.before();
        }
        search.next()
    }

    fn look_in_table(
        &self,
        file: &LiveTable,
        key: &[u8],
        hash: u64,
        search: &mut Search,
    ) -> Result<Step> {
        if file.info.range_deletes != 0 {
            let list = file.table.range_deletes(self.how)?;
            search.covered = search.covered.max(list.covering(key, self.seqno));
        }
        let mut bound = Some(Stamp::upper_bound(self.seqno));
        while let Some(newest) = bound
            && let Some((stamp, value)) = file.table.get(key, hash, newest, self.how)?
        {
            let Some(kind) = stamp.kind() else {
                let what = format!("entry of unknown kind {:#x}", stamp.0);
                return Err(Error::corrupt(&file.path, 0, what));
            };
            if stamp.seqno() < search.covered {
                break;
            }
            match kind {
                Kind::Put => return Ok(Step::Done(Some(Found::Value(Value::shared(value))))),
                Kind::Pointer => {
                    let pointer = Pointer::decode(&value).ok_or_else(|| {
                        Error::corrupt(&file.path, 0, "a pointer does not decode")
                    })?;
                    return Ok(Step::Done(Some(Found::Apart(pointer))));
                }
                Kind::Delete
                | Kind::RangeDelete
                | Kind::Append
                | Kind::Applied
                | Kind::Position => return Ok(Step::Done(None)),
                Kind::Merge => search.operands.push(Value::shared(value)),
                Kind::PutExpiring => return self.expiring(file, value).map(Step::Done),
            }
            bound = stamp.before();
        }
        Ok(search.next())
    }

    fn expiring(&self, file: &LiveTable, value: Slice) -> Result<Option<Found>> {
        let Some((expiry, _)) = split_expiry(&value) else {
            return Err(Error::corrupt(&file.path, 0, "an entry that expires has no time"));
        };
        let value = Value::shared(value.skip(EXPIRY_BYTES));
        Ok(self.shows(expiry).then_some(Found::Value(value)))
    }

    fn shows(&self, expiry: u64) -> bool {
        self.now.max(self.tree.expiry_mark()) < expiry
    }

    fn fold(&self, key: &[u8], base: Option<Value>, operands: &[Value]) -> Result<Value> {
        let oldest_first: Vec<&[u8]> = operands.iter().rev().map(|operand| &**operand).collect();
        fold(self.tree, key, base.as_deref(), &oldest_first).map(|value| Value::copied(&value))
    }
}

impl Search {
    /// What follows after a place in which the key has no value: with a deletion of it seen, nothing
    /// older counts.
    fn next(&self) -> Step {
        if self.covered == 0 { Step::Continue } else { Step::Done(None) }
    }
}

/// What `operands`, oldest first, make of `base` in this keyspace.
pub(crate) fn fold(
    tree: &Tree,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[&[u8]],
) -> Result<Vec<u8>> {
    let folded = match &tree.rules.operator {
        Some(operator) => operator.fold(key, base, operands),
        None => Err("the keyspace names no operator".into()),
    };
    folded.map_err(|what| Error::Merge { key: key.escape_ascii().to_string(), what })
}
