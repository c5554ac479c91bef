//! Optimistic transactions: reads of one moment and one's own writes, committed if nobody came between.
//!
//! A transaction takes no lock and waits for nobody. What it reads is remembered, keys and ranges;
//! when it commits, and something of that was written meanwhile, it is refused whole and can be run
//! again. What was not read may be written by anybody at any time.
//!
//! 1. Transactions that commit are serializable: each is as if it had run alone, at its commit.
//! 2. Within a transaction reads see its own writes, in their order, and otherwise one moment.
//! 3. A transaction that is dropped has written nothing.
//! 4. What it remembers is charged to the memory budget before it is kept; where there is no room, the
//!    call is refused and the transaction is as it was.

use std::{
    collections::BTreeMap,
    fmt,
    iter::Peekable,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use crate::{
    batch::{Batch, check_sizes},
    budget::{Budget, Reservation, Share},
    db::Db,
    error::{Error, Result},
    footprint::Footprint,
    iter::{Bounds, Iter},
    key::{Kind, SeqNo},
    keyspace::Keyspace,
    options::Durability,
    ranges::RangeDeletes,
    read::fold,
    snapshot::Snapshot,
    value::Value,
};

/// How often `Db::transact` runs a transaction before it gives up.
const ATTEMPTS_MAX: usize = 1000;

/// Reads of one moment and writes that happen together or not at all.
pub struct Transaction {
    db: Db,
    snapshot: Snapshot,
    footprints: BTreeMap<u32, Footprint>,
    written: BTreeMap<u32, Written>,
    held: Held,
}

/// Bytes that a transaction's charge grows by.
const CHARGE_STEP: u64 = 4 << 10;
/// What a key, a value or a bound takes beside its bytes: in maps, vectors and the allocator.
const BESIDE_BYTES: usize = 64;

/// What a transaction remembers, charged in steps.
#[derive(Default)]
struct Held {
    bytes: u64,
    charge: Option<Reservation>,
}

impl Held {
    /// Charges for things of together `bytes` that are about to be remembered.
    fn add(&mut self, budget: &Budget, things: usize, bytes: usize) -> Result<()> {
        let sum = self.bytes + (bytes + things * BESIDE_BYTES) as u64;
        let charged = self.charge.as_ref().map_or(0, Reservation::bytes);
        if charged < sum {
            let more = (sum - charged).next_multiple_of(CHARGE_STEP);
            match &mut self.charge {
                Some(charge) => charge.grow(more)?,
                none => *none = Some(budget.hold(Share::Transactions, more)?),
            }
        }
        self.bytes = sum;
        Ok(())
    }

    /// What was written to `key` is remembered no longer. The charge stays for what comes next.
    fn forget(&mut self, own: &Own, key: &[u8]) {
        let things = 2 + 3 * own.operands.len();
        let bytes = key.len() * (1 + own.operands.len()) + own.bytes() + things * BESIDE_BYTES;
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// What a transaction wrote to one keyspace.
struct Written {
    keyspace: Keyspace,
    /// The ranges deleted; what stands in `keys` was written after them.
    ranges: RangeDeletes,
    keys: BTreeMap<Vec<u8>, Own>,
}

/// What a transaction made of a key.
#[derive(Clone, Debug)]
struct Own {
    base: Base,
    /// Operands merged since, oldest first.
    operands: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Base {
    /// What the snapshot shows.
    Below,
    Deleted,
    Value(Vec<u8>),
    /// A value, until a time.
    Until(u64, Vec<u8>),
}

impl From<Base> for Own {
    fn from(base: Base) -> Own {
        Own { base, operands: Vec::new() }
    }
}

impl Own {
    /// Bytes of the value and the operands.
    fn bytes(&self) -> usize {
        let base = match &self.base {
            Base::Below | Base::Deleted => 0,
            Base::Value(value) | Base::Until(_, value) => value.len(),
        };
        base + self.operands.iter().map(Vec::len).sum::<usize>()
    }

    /// The value it comes to over what is `below`, at the time of `keyspace`.
    fn value(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        below: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        let base = match &self.base {
            Base::Below => below,
            Base::Deleted => None,
            Base::Value(value) => Some(value.as_slice()),
            Base::Until(expiry, value) => {
                let now = keyspace.now().max(keyspace.expiry_mark());
                (now < *expiry).then_some(value.as_slice())
            }
        };
        if self.operands.is_empty() {
            return Ok(base.map(<[u8]>::to_vec));
        }
        let operands: Vec<&[u8]> = self.operands.iter().map(Vec::as_slice).collect();
        fold(keyspace.tree(), key, base, &operands).map(Some)
    }
}

impl Db {
    /// Begins a transaction: it reads this moment.
    pub fn transaction(&self) -> Transaction {
        Transaction {
            snapshot: self.snapshot(),
            db: self.clone(),
            footprints: BTreeMap::new(),
            written: BTreeMap::new(),
            held: Held::default(),
        }
    }

    /// Runs `work` in a transaction and commits it, again and again as long as others come between.
    /// `work` may run many times; an error of its own ends it, with nothing written.
    pub fn transact<T>(&self, mut work: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        let mut attempt = 1;
        loop {
            let mut transaction = self.transaction();
            let outcome = work(&mut transaction)?;
            match transaction.commit() {
                Ok(_) => return Ok(outcome),
                Err(Error::Conflict { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Transaction {
    /// The last write that this transaction sees of others.
    pub fn seqno(&self) -> SeqNo {
        self.snapshot.seqno()
    }

    /// Charges for things that are about to be remembered.
    fn hold(&mut self, things: usize, bytes: usize) -> Result<()> {
        self.held.add(self.db.store().environment.budget(), things, bytes)
    }

    fn footprint(&mut self, keyspace: &Keyspace) -> &mut Footprint {
        let tree = keyspace.tree();
        self.footprints.entry(tree.id).or_insert_with(|| Footprint::new(Arc::clone(tree)))
    }

    fn written(&mut self, keyspace: &Keyspace) -> Result<&mut Written> {
        self.check_ours(keyspace)?;
        Ok(self.written.entry(keyspace.tree().id).or_insert_with(|| Written {
            keyspace: keyspace.clone(),
            ranges: RangeDeletes::default(),
            keys: BTreeMap::new(),
        }))
    }

    fn check_ours(&self, keyspace: &Keyspace) -> Result<()> {
        if Arc::ptr_eq(keyspace.store(), self.db.store()) {
            return Ok(());
        }
        Err(Error::Invalid { field: "keyspace", what: "belongs to another store".into() })
    }

    /// The value of `key`, as of this transaction's moment and its own writes.
    pub fn get(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>> {
        self.check_ours(keyspace)?;
        let written = self.written.get(&keyspace.tree().id);
        let own = written.and_then(|written| written.keys.get(key));
        let hides_below = written
            .is_some_and(|written| written.ranges.covering(key, SeqNo::MAX) != 0)
            || own.is_some_and(|own| !matches!(own.base, Base::Below));
        let own = own.cloned();
        let below = if hides_below {
            None
        } else {
            if !self.footprint(keyspace).has_key(key) {
                self.hold(1, key.len())?;
                self.footprint(keyspace).add_key(key);
            }
            self.snapshot.get(keyspace, key)?
        };
        match own {
            None => Ok(below),
            Some(own) => {
                let value = own.value(keyspace, key, below.as_deref())?;
                Ok(value.map(|value| Value::copied(&value)))
            }
        }
    }

    /// Whether `key` has a value.
    pub fn contains(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<bool> {
        Ok(self.get(keyspace, key)?.is_some())
    }

    /// Walks the entries within `bounds`, own writes so far included. All of the range counts as read.
    pub fn range<K: AsRef<[u8]>>(
        &mut self,
        keyspace: &Keyspace,
        bounds: impl RangeBounds<K>,
    ) -> Result<TransactionIter> {
        self.walk(keyspace, Bounds::of(bounds))
    }

    /// Walks the entries whose keys begin with `prefix`, as `range` does.
    pub fn prefix(&mut self, keyspace: &Keyspace, prefix: &[u8]) -> Result<TransactionIter> {
        self.walk(keyspace, Bounds::of_prefix(prefix))
    }

    fn walk(&mut self, keyspace: &Keyspace, bounds: Bounds) -> Result<TransactionIter> {
        self.check_ours(keyspace)?;
        self.hold(2, bounds.bytes())?;
        self.footprint(keyspace).add_range(bounds.clone());
        let written = self.written.get(&keyspace.tree().id);
        let (ranges, own) = match written {
            None => (RangeDeletes::default(), Vec::new()),
            Some(written) => {
                let within = written.keys.iter().filter(|(key, _)| bounds.contains(key));
                let own = within.map(|(key, own)| (key.clone(), own.clone())).collect();
                (written.ranges.clone(), own)
            }
        };
        let below = self.snapshot.walk(keyspace, bounds)?;
        Ok(TransactionIter {
            keyspace: keyspace.clone(),
            below: below.peekable(),
            own: own.into_iter().peekable(),
            ranges,
        })
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(ttl) = keyspace.options().ttl else {
            check_sizes(key, value)?;
            return self.set(keyspace, key, Base::Value(value.to_vec()));
        };
        if keyspace.now() == 0 {
            return Batch::new().put(keyspace, key, value);
        }
        self.put_with_expiry(keyspace, key, value, keyspace.now().saturating_add(ttl))
    }

    /// Sets the value of `key` until the time `expiry`.
    pub fn put_with_expiry(
        &mut self,
        keyspace: &Keyspace,
        key: &[u8],
        value: &[u8],
        expiry: u64,
    ) -> Result<()> {
        // The batch knows what it takes.
        Batch::new().put_with_expiry(keyspace, key, value, expiry)?;
        self.set(keyspace, key, Base::Until(expiry, value.to_vec()))
    }

    /// Removes `key`.
    pub fn delete(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<()> {
        check_sizes(key, &[])?;
        self.set(keyspace, key, Base::Deleted)
    }

    fn set(&mut self, keyspace: &Keyspace, key: &[u8], base: Base) -> Result<()> {
        self.check_ours(keyspace)?;
        let own = Own::from(base);
        self.hold(2, key.len() + own.bytes())?;
        if let Some(old) = self.written(keyspace)?.keys.insert(key.to_vec(), own) {
            self.held.forget(&old, key);
        }
        Ok(())
    }

    /// Merges `operand` into the value of `key`; that alone does not read it.
    pub fn merge(&mut self, keyspace: &Keyspace, key: &[u8], operand: &[u8]) -> Result<()> {
        Batch::new().merge(keyspace, key, operand)?;
        self.check_ours(keyspace)?;
        self.hold(3, key.len() + operand.len())?;
        let own = self.written(keyspace)?.keys.entry(key.to_vec());
        own.or_insert_with(|| Base::Below.into()).operands.push(operand.to_vec());
        Ok(())
    }

    /// Removes every key from `start` up to `end`, which stays.
    pub fn delete_range(&mut self, keyspace: &Keyspace, start: &[u8], end: &[u8]) -> Result<()> {
        Batch::new().delete_range(keyspace, start, end)?;
        self.check_ours(keyspace)?;
        self.hold(4, start.len() + end.len())?;
        let written = self.written(keyspace)?;
        let within = (Bound::Included(start), Bound::Excluded(end));
        let gone: Vec<Vec<u8>> =
            written.keys.range::<[u8], _>(within).map(|(key, _)| key.clone()).collect();
        let gone: Vec<_> =
            gone.into_iter().filter_map(|key| written.keys.remove_entry(&key)).collect();
        written.ranges = written.ranges.with(start, end, 1);
        for (key, own) in gone {
            self.held.forget(&own, &key);
        }
        Ok(())
    }

    /// Writes everything with the store's durability, or answers `Error::Conflict` and writes nothing
    /// when somebody has written since to what was read here. Returns the last sequence number.
    pub fn commit(self) -> Result<SeqNo> {
        let durability = self.db.store().options.durability;
        self.commit_with(durability)
    }

    /// As `commit`, with a durability of its own.
    pub fn commit_with(self, durability: Durability) -> Result<SeqNo> {
        let mut batch = Batch::new();
        for written in self.written.values() {
            written.add_to(&mut batch)?;
        }
        if batch.is_empty() {
            // It saw one moment, and that is all there is to it.
            return Ok(self.snapshot.seqno());
        }
        let read: Vec<Footprint> =
            self.footprints.into_values().filter(|footprint| !footprint.is_empty()).collect();
        self.db.store().write_if(&batch, &read, self.snapshot.seqno(), durability)
    }
}

impl Written {
    fn add_to(&self, batch: &mut Batch) -> Result<()> {
        let keyspace = &self.keyspace;
        for piece in self.ranges.pieces() {
            batch.delete_range(keyspace, &piece.start, &piece.end)?;
        }
        for (key, own) in &self.keys {
            match &own.base {
                Base::Below => {}
                Base::Deleted => batch.delete(keyspace, key)?,
                Base::Value(value) => batch.add(keyspace, Kind::Put, key, value)?,
                Base::Until(expiry, value) => {
                    batch.put_with_expiry(keyspace, key, value, *expiry)?;
                }
            }
            for operand in &own.operands {
                batch.merge(keyspace, key, operand)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("seqno", &self.seqno()).finish_non_exhaustive()
    }
}

/// Walks the entries that a transaction sees, its own writes included.
pub struct TransactionIter {
    keyspace: Keyspace,
    below: Peekable<Iter>,
    own: Peekable<std::vec::IntoIter<(Vec<u8>, Own)>>,
    /// The ranges that the transaction deleted: nothing below shows there.
    ranges: RangeDeletes,
}

impl TransactionIter {
    fn step(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        loop {
            let below = match self.below.peek() {
                Some(Ok((key, _))) => Some(key.as_slice()),
                Some(Err(error)) => return Err(error.clone()),
                None => None,
            };
            let own = self.own.peek().map(|(key, _)| key.as_slice());
            let own_first = match (own, below) {
                (None, None) => return Ok(None),
                (Some(own), Some(below)) => own <= below,
                (own, _) => own.is_some(),
            };
            let both = own_first && own == below;
            let under = if !own_first || both { self.below.next().transpose()? } else { None };
            let shows = |(key, _): &(Vec<u8>, Vec<u8>)| self.ranges.covering(key, SeqNo::MAX) == 0;
            let under = under.filter(shows);
            let shown = if own_first && let Some((key, own)) = self.own.next() {
                let below = under.as_ref().map(|(_, value)| value.as_slice());
                own.value(&self.keyspace, &key, below)?.map(|value| (key, value))
            } else {
                under
            };
            if shown.is_some() {
                return Ok(shown);
            }
        }
    }
}

impl Iterator for TransactionIter {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl fmt::Debug for TransactionIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionIter").finish_non_exhaustive()
    }
}

/// What a conditional write wants to find under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Nothing.
    Absent,
    /// Any value.
    Present,
    /// This value.
    Value(&'a [u8]),
}

impl Expected<'_> {
    fn is(self, found: Option<&Value>) -> bool {
        match self {
            Expected::Absent => found.is_none(),
            Expected::Present => found.is_some(),
            Expected::Value(value) => found.is_some_and(|found| **found == *value),
        }
    }
}

impl Keyspace {
    /// Sets the value of `key` if what is there is what was `expected`. Returns whether it did.
    pub fn put_if(&self, key: &[u8], expected: Expected<'_>, value: &[u8]) -> Result<bool> {
        self.write_if(key, expected, |transaction| transaction.put(self, key, value))
    }

    /// Removes `key` if what is there is what was `expected`. Returns whether it did.
    pub fn delete_if(&self, key: &[u8], expected: Expected<'_>) -> Result<bool> {
        self.write_if(key, expected, |transaction| transaction.delete(self, key))
    }

    fn write_if(
        &self,
        key: &[u8],
        expected: Expected<'_>,
        write: impl Fn(&mut Transaction) -> Result<()>,
    ) -> Result<bool> {
        Db::of(self).transact(|transaction| {
            let found = transaction.get(self, key)?;
            let holds = expected.is(found.as_ref());
            if holds {
                write(transaction)?;
            }
            Ok(holds)
        })
    }
}
