//! Decoded blocks in memory, shared by all tables of an environment, within a hard limit.
//!
//! Shards of an open-addressed table each; a hand goes round every shard and takes out what was not
//! used since it last came by (CLOCK with counts).
//!
//! 1. Blocks, slots and what the allocator adds stay within the capacity at every moment, as far as
//!    nobody holds blocks. The capacity is what the other shares of the budget leave, which has the
//!    cache give back when that becomes less.
//! 2. A block enters with no credit, so one that is used once goes before one that is used again.
//! 3. Numbers handed out by `new_id` are never reused, so a block is never taken for another table's.
//! 4. A block that was taken out while a value or a cursor holds it counts as held until it is let go
//!    of: it is looked for when eight more are, or 64 KiB, in the same shard.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    budget::{Budget, GiveBack, Share},
    sync::{Mutex, MutexGuard},
    table::Block,
};

/// What a block is known by: its table's number here, above its own number in the table.
type Key = u64;

const SHARDS_MAX: u64 = 64;
const SHARD_BYTES_MIN: u64 = 2 << 20;
const SLOTS_MIN: usize = 16;
/// Uses that a block is credited with at most.
const USES_MAX: u8 = 3;
/// Blocks taken out while somebody held them, or their bytes, before it is looked who still does.
const PINNED_MANY: usize = 8;
const PINNED_BYTES_MANY: u64 = 64 << 10;

/// A cache of blocks.
pub(crate) struct BlockCache {
    shards: Box<[Padded]>,
    room: Room,
    next_id: AtomicU64,
    next_place: AtomicU64,
}

/// Where the capacity comes from.
struct Room {
    budget: Budget,
    #[cfg(test)]
    fixed: Option<u64>,
}

impl Room {
    fn bytes(&self) -> u64 {
        #[cfg(test)]
        if let Some(bytes) = self.fixed {
            return bytes;
        }
        self.budget.share_bytes_max(Share::Cache)
    }

    /// What is held was `before` and is `after`.
    fn moved(&self, before: u64, after: u64) {
        if before < after {
            self.budget.take(Share::Cache, after - before);
        } else if after < before {
            self.budget.give(Share::Cache, before - after);
        }
    }
}

/// Keeps the locks of two shards out of one cache line.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// What happened in the cache since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStats {
    pub(crate) bytes: u64,
    /// Those of them in blocks that were taken out while somebody holds them.
    pub(crate) pinned_bytes: u64,
    pub(crate) blocks: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl BlockCache {
    /// The cache that has what the other shares of `budget` leave.
    pub(crate) fn sharing(budget: Budget) -> Arc<BlockCache> {
        let room = Room {
            budget: budget.clone(),
            #[cfg(test)]
            fixed: None,
        };
        let cache = Arc::new(BlockCache::with(room));
        let rest: Weak<BlockCache> = Arc::downgrade(&cache);
        budget.set_rest(rest);
        cache
    }

    /// A cache that takes at most `capacity` bytes.
    #[cfg(test)]
    pub(crate) fn new(capacity: u64) -> BlockCache {
        BlockCache::with(Room { budget: Budget::new(64 << 20), fixed: Some(capacity) })
    }

    fn with(room: Room) -> BlockCache {
        let shards = (room.bytes() / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = (0..1 << shards.ilog2()).map(|_| Padded(Mutex::new(Shard::default())));
        BlockCache {
            shards: shards.collect(),
            room,
            next_id: AtomicU64::new(1),
            next_place: AtomicU64::new(0),
        }
    }

    /// The budget that its bytes are charged to.
    pub(crate) fn budget(&self) -> &Budget {
        &self.room.budget
    }

    /// A number for a table that no other has; it fits 32 bits.
    pub(crate) fn new_id(&self) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        assert!(u32::try_from(id).is_ok(), "the numbers for tables are exhausted");
        id
    }

    pub(crate) fn get(&self, table: u64, number: usize) -> Option<Block> {
        let key = key(table, number);
        let hash = hash(key);
        self.shard(hash).get(key, hash)
    }

    /// The block if it is there, without credit to it: for readers whose use says nothing about others.
    pub(crate) fn peek(&self, table: u64, number: usize) -> Option<Block> {
        let key = key(table, number);
        let hash = hash(key);
        let shard = self.shard(hash);
        if shard.blocks == 0 { None } else { shard.slots[shard.find(key, hash)].block.clone() }
    }

    /// Puts a block in. False when it is too large for what a shard may take, and left out.
    pub(crate) fn insert(&self, table: u64, number: usize, block: &Block) -> bool {
        let key = key(table, number);
        let hash = hash(key);
        let capacity = self.shard_capacity();
        self.change(&mut self.shard(hash), |shard| shard.insert(key, hash, block, capacity))
    }

    /// Counts a block that was left out as long as somebody else holds it.
    pub(crate) fn count_held(&self, block: &Block) {
        let capacity = self.shard_capacity();
        self.change(&mut self.shard(self.new_place()), |shard| {
            shard.pin(block.clone());
            shard.trim(capacity);
        });
    }

    /// Any shard, another one each time.
    fn new_place(&self) -> u64 {
        hash(self.next_place.fetch_add(1, Ordering::Relaxed))
    }

    /// Changes a shard, and the charge with it.
    fn change<T>(&self, shard: &mut Shard, change: impl FnOnce(&mut Shard) -> T) -> T {
        let before = shard.bytes;
        let changed = change(shard);
        self.room.moved(before, shard.bytes);
        changed
    }

    /// Takes out what is beyond the capacity, which has become less.
    pub(crate) fn trim(&self) {
        let capacity = self.shard_capacity();
        for Padded(shard) in &self.shards {
            self.change(&mut lock(shard), |shard| shard.trim(capacity));
        }
    }

    /// Takes out these blocks of a table.
    pub(crate) fn remove_blocks(&self, table: u64, numbers: Range<usize>) {
        for number in numbers {
            let key = key(table, number);
            let hash = hash(key);
            self.change(&mut self.shard(hash), |shard| {
                if shard.blocks != 0 {
                    let at = shard.find(key, hash);
                    if shard.slots[at].block.is_some() {
                        shard.remove(at);
                    }
                }
            });
        }
    }

    /// Takes out all blocks of these tables.
    pub(crate) fn remove_tables(&self, tables: &[u64]) {
        for Padded(shard) in &self.shards {
            self.change(&mut lock(shard), |shard| shard.remove_tables(tables));
        }
    }

    /// Memory that the cache may take now.
    pub(crate) fn capacity(&self) -> u64 {
        self.room.bytes()
    }

    fn shard_capacity(&self) -> u64 {
        self.room.bytes() / self.shards.len() as u64
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for Padded(shard) in &self.shards {
            let mut shard = lock(shard);
            self.change(&mut shard, Shard::let_go);
            stats.bytes += shard.bytes;
            stats.pinned_bytes += shard.pinned_bytes;
            stats.blocks += shard.blocks as u64;
            stats.hits += shard.hits;
            stats.misses += shard.misses;
        }
        stats
    }

    /// The upper bits of the hash pick the shard, the lower half the slot.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let Padded(shard) = &self.shards[(hash >> 32 & (self.shards.len() as u64 - 1)) as usize];
        lock(shard)
    }
}

impl GiveBack for BlockCache {
    fn give_back(&self) {
        self.trim();
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(table: u64, number: usize) -> Key {
    (table << 32) | number as u64
}

/// Every bit of a key moves the upper half, which picks the shard, and the lower, which picks the slot.
fn hash(key: Key) -> u64 {
    let word = (key ^ (key >> 32).wrapping_mul(0x9e37_79b9)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word ^ (word >> 32)
}

/// A part of the cache under one lock.
#[derive(Default)]
struct Shard {
    /// A power of two of slots; a block is at the first free one from its hash on.
    slots: Box<[Slot]>,
    blocks: usize,
    /// Everything held, slots included.
    bytes: u64,
    /// Blocks that are in no slot while somebody holds them, or did when it was last looked.
    pinned: Vec<Block>,
    pinned_bytes: u64,
    /// What was pinned when it was last looked.
    pinned_known: (usize, u64),
    hand: usize,
    hits: u64,
    misses: u64,
}

/// Half a cache line, so that none lies across two.
#[derive(Default)]
#[repr(align(32))]
struct Slot {
    key: Key,
    block: Option<Block>,
    uses: u8,
}

impl Shard {
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    /// Where `key` is, or the free slot where it would go. There must be slots.
    fn find(&self, key: Key, hash: u64) -> usize {
        let mut at = hash as usize & self.mask();
        while self.slots[at].block.is_some() && self.slots[at].key != key {
            at = (at + 1) & self.mask();
        }
        at
    }

    fn get(&mut self, key: Key, hash: u64) -> Option<Block> {
        if self.blocks == 0 {
            self.misses += 1;
            return None;
        }
        let at = self.find(key, hash);
        let slot = &mut self.slots[at];
        let Some(block) = &slot.block else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        if slot.uses < USES_MAX {
            slot.uses += 1;
        }
        block.touch();
        Some(block.clone())
    }

    fn insert(&mut self, key: Key, hash: u64, block: &Block, capacity: u64) -> bool {
        if self.blocks != 0 && self.slots[self.find(key, hash)].block.is_some() {
            return true;
        }
        let charge = block.charge();
        if capacity < slots_bytes(self.slots.len().max(SLOTS_MIN)) + charge {
            return false;
        }
        self.make_slot(capacity);
        if capacity < slots_bytes(self.slots.len()) + charge {
            return false;
        }
        self.trim(capacity.saturating_sub(charge));
        if capacity < self.bytes + charge {
            // What is pinned leaves no room.
            return false;
        }
        let at = self.find(key, hash);
        self.slots[at] = Slot { key, block: Some(block.clone()), uses: 0 };
        self.blocks += 1;
        self.bytes += charge;
        true
    }

    /// Sees to it that a quarter of the slots is free after the next insert: with more slots while
    /// the capacity allows, with fewer blocks otherwise.
    fn make_slot(&mut self, capacity: u64) {
        if 4 * (self.blocks + 1) <= 3 * self.slots.len() {
            return;
        }
        let slots = (2 * self.slots.len()).max(SLOTS_MIN);
        // Old and new slots are there together for a moment, and never most of the capacity.
        if slots == SLOTS_MIN || 4 * slots_bytes(slots) <= capacity {
            while capacity < self.bytes + slots_bytes(slots) && self.blocks != 0 {
                self.evict_one();
            }
            self.resize(slots);
        } else {
            self.evict_one();
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, empty_slots(slots));
        self.bytes = self.bytes + slots_bytes(slots) - slots_bytes(old.len());
        self.hand = 0;
        for slot in old.into_iter().filter(|slot| slot.block.is_some()) {
            let at = self.find(slot.key, hash(slot.key));
            self.slots[at] = slot;
        }
    }

    /// Takes blocks out until what is held fits `capacity`, or only what is pinned is left.
    fn trim(&mut self, capacity: u64) {
        while capacity < self.bytes {
            if self.blocks == 0 {
                return self.let_go();
            }
            self.evict_one();
        }
    }

    /// Counts a block as held until nobody else holds it.
    fn pin(&mut self, block: Block) {
        self.bytes += block.charge();
        self.pinned_bytes += block.charge();
        self.pinned.push(block);
        let (count, bytes) = self.pinned_known;
        // As many as are pinned may join them before it is looked again, so that looking stays cheap.
        if count + count.max(PINNED_MANY) <= self.pinned.len()
            || bytes + bytes.max(PINNED_BYTES_MANY) <= self.pinned_bytes
        {
            self.let_go();
        }
    }

    /// Lets go of the pinned blocks that nobody else holds.
    fn let_go(&mut self) {
        self.pinned.retain(Block::is_held);
        let bytes = self.pinned.iter().map(Block::charge).sum();
        self.bytes -= self.pinned_bytes - bytes;
        self.pinned_bytes = bytes;
        self.pinned_known = (self.pinned.len(), bytes);
    }

    /// Moves the hand until it has taken a block out. There must be one.
    fn evict_one(&mut self) {
        assert!(self.blocks != 0, "an empty shard is within its capacity");
        loop {
            self.hand = (self.hand + 1) & self.mask();
            let slot = &mut self.slots[self.hand];
            match (&slot.block, slot.uses) {
                (None, _) => {}
                (Some(_), 0) => return self.remove(self.hand),
                (Some(_), _) => slot.uses -= 1,
            }
        }
    }

    /// Empties slot `at` and moves those up that stand after it because it was taken.
    fn remove(&mut self, at: usize) {
        if let Some(block) = self.slots[at].block.take() {
            self.blocks -= 1;
            self.bytes -= block.charge();
            if block.is_held() {
                self.pin(block);
            }
        }
        let (mask, mut free, mut at) = (self.mask(), at, at);
        loop {
            at = (at + 1) & mask;
            if self.slots[at].block.is_none() {
                return;
            }
            let home = hash(self.slots[at].key) as usize & mask;
            if (free.wrapping_sub(home) & mask) < (at.wrapping_sub(home) & mask) {
                self.slots.swap(free, at);
                free = at;
            }
        }
    }

    fn remove_tables(&mut self, tables: &[u64]) {
        for at in 0..self.slots.len() {
            while self.slots[at].block.is_some() && tables.contains(&(self.slots[at].key >> 32)) {
                self.remove(at);
            }
        }
    }
}

fn empty_slots(slots: usize) -> Box<[Slot]> {
    (0..slots).map(|_| Slot::default()).collect()
}

fn slots_bytes(slots: usize) -> u64 {
    (slots * size_of::<Slot>()) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use olivine_vfs::Random;

    use super::*;
    use crate::table::test_block;

    /// Whatever is put in, the cache stays within its capacity, and what it gives back is what was
    /// put in under that key.
    #[test]
    fn stays_within_capacity() {
        for (seed, capacity) in [(1, 0), (2, 600), (3, 3_000), (4, 100_000), (5, 9 << 20)] {
            let cache = BlockCache::new(capacity);
            let mut random = Random::new(seed);
            for _ in 0..20_000 {
                let (table, number) = (random.below(4), random.index(500));
                let name = table * 1000 + number as u64;
                match random.below(100) {
                    0 => cache.remove_tables(&[table, 9]),
                    1 => cache.remove_blocks(table, number..number + 10),
                    2..50 => {
                        let block = test_block(name, random.index(2000));
                        cache.insert(table, number, &block);
                    }
                    _ => {
                        if let Some(block) = cache.get(table, number) {
                            assert!(block.holds(name), "seed {seed}");
                        }
                    }
                }
                let bytes = cache.stats().bytes;
                assert!(bytes <= capacity, "seed {seed}: {bytes} bytes");
            }
            cache.remove_tables(&[0, 1, 2, 3]);
            assert_eq!(cache.stats().blocks, 0);
        }
    }

    /// The bytes that a shard counts are those of what it holds.
    #[test]
    fn counts_what_it_holds() {
        let mut shard = Shard::default();
        let mut random = Random::new(7);
        for _ in 0..50_000 {
            let key = random.below(3000);
            shard.insert(key, hash(key), &test_block(key, random.index(3000)), 1 << 20);
            let key = random.below(3000);
            shard.get(key, hash(key));
        }
        let held: u64 = shard.slots.iter().flat_map(|slot| &slot.block).map(Block::charge).sum();
        assert_eq!(shard.bytes, held + slots_bytes(shard.slots.len()));
        let keys = shard.slots.iter().filter(|slot| slot.block.is_some()).map(|slot| slot.key);
        assert_eq!(keys.clone().collect::<HashSet<_>>().len(), shard.blocks);
        assert!(keys.clone().all(|key| shard.slots[shard.find(key, hash(key))].key == key));
    }

    /// What memtables take, the cache gives back, and it has it again when they are gone.
    #[test]
    fn gives_way_to_memtables() {
        let budget = Budget::new(10 << 20);
        let cache = BlockCache::sharing(budget.clone());
        let fill = || {
            for number in 0..4000 {
                cache.insert(1, number, &test_block(number as u64, 3000));
            }
            cache.stats().bytes
        };
        let alone = fill();
        assert!(7 << 20 < alone, "{alone} bytes");
        let memtable = budget.charge(Share::Memtables, 3 << 20);
        cache.trim();
        let beside = cache.stats().bytes;
        assert!(beside <= 5 << 20, "{beside} bytes");
        assert!(fill() <= 5 << 20);
        drop(memtable);
        assert!(7 << 20 < fill());
    }

    /// What is taken out while somebody holds it counts until it is let go of, and nothing else is kept
    /// beside it for long.
    #[test]
    fn a_block_in_somebody_s_hands_counts() {
        let cache = BlockCache::new(100_000);
        let mut held = Vec::new();
        for number in 0..1000 {
            cache.insert(1, number, &test_block(number as u64, 3000));
            if number < 20 {
                held.extend(cache.get(1, number));
            }
            let stats = cache.stats();
            assert!(stats.bytes <= 100_000, "{stats:?}");
        }
        assert_eq!(held.len(), 20);
        let charge: u64 = held.iter().map(Block::charge).sum();
        assert_eq!(cache.stats().pinned_bytes, charge);
        // Held by one who read it past the cache: it counts, and the others make room.
        let beside = test_block(1, 60_000);
        cache.count_held(&beside);
        assert!(60_000 <= cache.stats().pinned_bytes);
        assert_eq!(cache.stats().blocks, 0);
        assert!(
            !cache.insert(2, 0, &test_block(7, 3000)),
            "there is no room beside what is pinned"
        );
        drop((held, beside));
        assert_eq!(cache.stats().pinned_bytes, 0);
        assert!(cache.insert(2, 0, &test_block(7, 3000)));
        assert_eq!(cache.budget().used_bytes(Share::Cache), cache.stats().bytes);
    }

    /// Blocks in use stay while ten times the capacity of others is read once.
    #[test]
    fn resists_a_scan() {
        let cache = BlockCache::new(1 << 20);
        // Each a block of its own: nobody else holds what is taken out.
        let block = || test_block(0, 4000);
        let mut lost = 0;
        for n in 0..2500 {
            for hot in 0..100 {
                if n % 10 == 0 && cache.get(1, hot).is_none() {
                    lost += usize::from(n != 0);
                    cache.insert(1, hot, &block());
                }
            }
            cache.insert(2, n, &block());
        }
        assert!(lost < 50, "{lost} hot blocks were read again");
    }
}
