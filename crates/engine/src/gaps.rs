//! Stretches of keys in which a walk found nothing but deleted ones, so that the next walk need not
//! find it out again.
//!
//! Deleted entries stay until compaction reaches the bottom. A walk that begins among a hundred
//! thousand of them passes each: at the head of a queue, all walks do. The first one that passes many
//! in a row notes where the stretch begins and ends and at which moment it looked; later walks of that
//! moment or a later one jump over it. What is put into a stretch cuts it before anybody can see it.
//!
//! ```text
//!   walk            inserter (under the commit lock)
//!   begin low ..    |                 begin: under the commit lock, if the keyspace holds what the
//!   walk on         | insert, cut     walk looks at, and nothing else; the walk starts over at low
//!   end high        | make visible    end: what was put meanwhile has cut the stretch already
//! ```
//!
//! 1. Of a stretch that `behind` tells, no key shows at the stretch's moment or at any later one.
//!    Proof: what was there when the stretch was begun, the walk has seen, and found deleted at its
//!    moment and not written since; whatever was inserted later went through `cut` before it was visible.
//! 2. Whoever lets keys appear in another way than through a memtable calls `forget` under the commit
//!    lock, after the new state is published and before the watermark moves.
//! 3. There are few stretches, of short keys; a writer looks at them only if there are any.

use std::sync::{
    Arc, PoisonError,
    atomic::{
        AtomicUsize,
        Ordering::{Acquire, Release},
    },
};

use crate::{
    key::SeqNo,
    keyspace::Tree,
    sync::{Mutex, MutexGuard},
};

/// Deleted keys in a row from which a walk notes a stretch. Tests have small stores, and more tests are
/// better tests.
pub(crate) const GAP_KEYS_MIN: u32 = if cfg!(debug_assertions) { 4 } else { 32 };

const GAPS_MAX: usize = 8;
const GAP_KEY_BYTES_MAX: usize = 1 << 10;
/// Inserts that look at a stretch which no walk uses, until it is let go.
const IDLE_INSERTS_MAX: u32 = 1 << 20;

/// The stretches of one keyspace.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// How many there are; grows under the commit lock only.
    count: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    gaps: Vec<Gap>,
    next_ticket: u64,
    /// Counts the uses, to tell the gap that was used least lately.
    uses: u64,
}

#[derive(Debug)]
struct Gap {
    low: Vec<u8>,
    /// The first key behind it; of one that is being walked, the first that was put since, if any.
    high: Option<Vec<u8>>,
    seqno: SeqNo,
    /// Of the walk that is on its way through it.
    ticket: Option<u64>,
    used: u64,
    idle_inserts: u32,
}

impl Gap {
    fn has(&self, key: &[u8]) -> bool {
        self.low.as_slice() <= key && self.high.as_deref().is_none_or(|high| key < high)
    }

    fn is_empty(&self) -> bool {
        self.high.as_deref().is_some_and(|high| high <= self.low.as_slice())
    }
}

impl Gaps {
    /// The first key behind the stretch that holds `key`, for a walk of the moment `seqno`.
    pub(crate) fn behind(&self, key: &[u8], seqno: SeqNo) -> Option<Vec<u8>> {
        if self.count.load(Acquire) == 0 {
            return None;
        }
        let mut list = self.lock();
        list.uses += 1;
        let uses = list.uses;
        let settled = |gap: &&mut Gap| gap.ticket.is_none() && gap.seqno <= seqno && gap.has(key);
        let gap = list.gaps.iter_mut().find(settled)?;
        gap.used = uses;
        gap.idle_inserts = 0;
        gap.high.clone()
    }

    /// `key` was inserted with something that may show, and is not visible yet. Under the commit lock.
    #[inline]
    pub(crate) fn cut(&self, key: &[u8]) {
        if self.count.load(Acquire) != 0 {
            self.cut_at(key);
        }
    }

    fn cut_at(&self, key: &[u8]) {
        let mut list = self.lock();
        for gap in &mut list.gaps {
            gap.idle_inserts += 1;
            if gap.has(key) {
                gap.high = Some(key.to_vec());
            }
        }
        list.gaps.retain(|gap| {
            let stays = !gap.is_empty() && gap.idle_inserts < IDLE_INSERTS_MAX;
            stays || gap.ticket.is_some()
        });
        self.publish(&list);
    }

    /// Anything may show from now on. Under the commit lock.
    pub(crate) fn forget(&self) {
        let mut list = self.lock();
        list.gaps.retain(|gap| gap.ticket.is_some());
        for gap in &mut list.gaps {
            gap.high = Some(gap.low.clone());
        }
        self.publish(&list);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, list: &List) {
        self.count.store(list.gaps.len(), Release);
    }
}

/// A stretch that a walk is on its way through; one that does not reach its end leaves nothing.
#[derive(Debug)]
pub(crate) struct Walked {
    tree: Arc<Tree>,
    ticket: u64,
}

impl Walked {
    /// A walk of the moment `seqno` is about to start at `low`. Under the commit lock, while the
    /// keyspace is in the very state that the walk looks at.
    pub(crate) fn begin(tree: &Arc<Tree>, low: &[u8], seqno: SeqNo) -> Option<Walked> {
        if GAP_KEY_BYTES_MAX < low.len() {
            return None;
        }
        let mut list = tree.gaps.lock();
        if list.gaps.len() == GAPS_MAX {
            let settled = list.gaps.iter().enumerate().filter(|(_, gap)| gap.ticket.is_none());
            let (least, _) = settled.min_by_key(|(_, gap)| gap.used)?;
            list.gaps.swap_remove(least);
        }
        let ticket = list.next_ticket;
        list.next_ticket += 1;
        let used = list.uses;
        let (low, ticket_of) = (low.to_vec(), Some(ticket));
        list.gaps.push(Gap { low, high: None, seqno, ticket: ticket_of, used, idle_inserts: 0 });
        tree.gaps.publish(&list);
        drop(list);
        Some(Walked { tree: Arc::clone(tree), ticket })
    }

    /// Nothing shows before `high`.
    pub(crate) fn end(self, high: &[u8]) {
        let mut list = self.tree.gaps.lock();
        let Some(at) = list.gaps.iter().position(|gap| gap.ticket == Some(self.ticket)) else {
            return;
        };
        let mut gap = list.gaps.swap_remove(at);
        let reached = gap.high.take().map_or_else(|| high.to_vec(), |cut| cut.min(high.to_vec()));
        gap.high = Some(reached);
        gap.ticket = None;
        if !gap.is_empty() && high.len() <= GAP_KEY_BYTES_MAX {
            list.settle(gap);
        }
        self.tree.gaps.publish(&list);
    }
}

impl Drop for Walked {
    fn drop(&mut self) {
        let mut list = self.tree.gaps.lock();
        list.gaps.retain(|gap| gap.ticket != Some(self.ticket));
        self.tree.gaps.publish(&list);
    }
}

impl List {
    /// Keeps `gap`, as one with those that it touches.
    fn settle(&mut self, mut gap: Gap) {
        let touches = |gap: &Gap, other: &Gap| {
            let begins_within =
                |a: &Gap, b: &Gap| b.high.as_ref().is_none_or(|high| a.low <= *high);
            other.ticket.is_none() && begins_within(gap, other) && begins_within(other, gap)
        };
        while let Some(at) = self.gaps.iter().position(|other| touches(&gap, other)) {
            let other = self.gaps.swap_remove(at);
            gap.low = gap.low.min(other.low);
            gap.high = gap.high.max(other.high);
            gap.seqno = gap.seqno.max(other.seqno);
        }
        self.uses += 1;
        gap.used = self.uses;
        self.gaps.push(gap);
    }
}

#[cfg(test)]
mod tests;
