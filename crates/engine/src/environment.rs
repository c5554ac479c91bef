//! What all stores of a process share: disk, clock, memory, and the threads that work behind them.
//!
//! A process has one environment, whatever the number of its stores: one thread flushes, one
//! compacts, one prepares log segments. A test hands in its own disk and clock and takes the steps
//! of the background work itself, on its own thread, in an order drawn from a seed; then a run is
//! the same each time.
//!
//! 1. An environment never keeps a store alive: it knows them weakly.
//! 2. Stepped environments start no thread, and nothing happens between two steps.

mod machine;

use std::{
    fmt,
    sync::{Arc, PoisonError, Weak, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::Duration,
};

use olivine_vfs::{Clock, Random, RealClock, RealVfs, Vfs};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    background::{Duty, Threads},
    budget::{BUDGET_BYTES_MIN, Budget},
    cache::BlockCache,
    error::Result,
    metadata::MetadataKeeper,
    options::within,
    store::Store,
    sync::Mutex,
    values::OpenValues,
};

/// Memtables are lent memory of the cache's while lookups there are so many times fewer than writes.
const LOOKUPS_FEWER: u64 = 8;

/// How much an environment may use.
#[derive(Clone, Debug)]
pub struct EnvironmentOptions {
    /// Memory for everything: memtables, cached blocks, tables' indexes and filters, buffers, what
    /// callers reserve. Default a quarter of the machine's, or of the cgroup's limit where that is lower;
    /// at least 1 MiB.
    pub memory_bytes: u64,
}

impl Default for EnvironmentOptions {
    fn default() -> EnvironmentOptions {
        EnvironmentOptions { memory_bytes: machine::memory_bytes(&RealVfs) / 4 }
    }
}

/// Who does the background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Threads of the environment.
    Threads,
    /// Whoever calls `Environment::step`, in an order drawn from `seed`.
    Stepped {
        /// Where the order comes from.
        seed: u64,
    },
}

/// What an environment acts through.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The disk.
    pub vfs: Arc<dyn Vfs>,
    /// Time and sleep.
    pub clock: Arc<dyn Clock>,
    /// Who does the background work.
    pub work: Work,
}

/// What all stores of a process share. Clones are the same environment.
#[derive(Clone)]
pub struct Environment {
    inner: Arc<Inner>,
    threads: Option<Arc<Threads>>,
}

/// What the threads see of their environment.
pub(crate) struct Inner {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) budget: Budget,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) metadata: Arc<MetadataKeeper>,
    pub(crate) open_values: Arc<OpenValues>,
    stores: Mutex<Vec<Weak<Store>>>,
    /// Lookups in the cache up to when memory was last split.
    lookups: AtomicU64,
    steps: Option<Mutex<Random>>,
    stores_made: AtomicU64,
}

impl Environment {
    /// The machine's own disk and clock, and threads for the background work.
    pub fn new(options: EnvironmentOptions) -> Result<Environment> {
        let parts = Parts {
            vfs: Arc::new(RealVfs),
            clock: Arc::new(RealClock::new()),
            work: Work::Threads,
        };
        Environment::with(parts, options)
    }

    /// An environment that acts through `parts`.
    pub fn with(parts: Parts, options: EnvironmentOptions) -> Result<Environment> {
        within("memory_bytes", options.memory_bytes, BUDGET_BYTES_MIN, 1 << 50)?;
        let budget = Budget::new(options.memory_bytes);
        let inner = Arc::new(Inner {
            cache: BlockCache::sharing(budget.clone()),
            metadata: Arc::new(MetadataKeeper::new(budget.clone())),
            open_values: Arc::new(OpenValues::new()),
            vfs: parts.vfs,
            clock: parts.clock,
            budget,
            stores: Mutex::default(),
            lookups: AtomicU64::new(0),
            steps: match parts.work {
                Work::Threads => None,
                Work::Stepped { seed } => Some(Mutex::new(Random::new(seed))),
            },
            stores_made: AtomicU64::new(0),
        });
        let threads = match parts.work {
            Work::Threads => Some(Arc::new(Threads::start(&inner)?)),
            Work::Stepped { .. } => None,
        };
        Ok(Environment { inner, threads })
    }

    /// Runs one unit of background work, chosen by the seed; false when there is none, or when
    /// threads do it.
    pub fn step(&self) -> bool {
        let Some(steps) = &self.inner.steps else { return false };
        let mut duties = Duty::ALL;
        steps.lock().unwrap_or_else(PoisonError::into_inner).shuffle(&mut duties);
        duties.into_iter().any(|duty| self.inner.work(duty))
    }

    /// Splits memory between memtables and the cache as one of them is full, by what was asked of both since
    /// the last one was. Returns the bytes at which the next is full.
    pub(crate) fn split_memory(&self, entries: u64) -> u64 {
        let stats = self.inner.cache.stats();
        let lookups = stats.hits + stats.misses;
        let since = lookups.saturating_sub(self.inner.lookups.swap(lookups, Relaxed));
        self.budget().lend_memtables(since.saturating_mul(LOOKUPS_FEWER) < entries) / 2
    }

    /// Whether background work waits for `step`.
    pub(crate) fn is_stepped(&self) -> bool {
        self.inner.steps.is_some()
    }

    /// The memory that all stores of this environment share.
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// The disk.
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.inner.vfs
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub(crate) fn cache(&self) -> &Arc<BlockCache> {
        &self.inner.cache
    }

    pub(crate) fn metadata(&self) -> &Arc<MetadataKeeper> {
        &self.inner.metadata
    }

    pub(crate) fn open_values(&self) -> &Arc<OpenValues> {
        &self.inner.open_values
    }

    /// Time on the environment's clock.
    pub(crate) fn now(&self) -> Duration {
        self.inner.clock.now()
    }

    /// A number for a new store that no other has: from the seed, or from time and process.
    pub(crate) fn draw_id(&self) -> u64 {
        let count = self.inner.stores_made.fetch_add(1, Relaxed);
        if let Some(steps) = &self.inner.steps {
            return steps.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        }
        let clock = &self.inner.clock;
        let parts = [clock.wall().as_nanos() as u64, clock.now().as_nanos() as u64, count];
        // A schedule is to be the same in every process.
        let mut seed = if cfg!(shuttle) { 0 } else { u64::from(std::process::id()) };
        for part in parts {
            seed = xxh3_64_with_seed(&part.to_le_bytes(), seed);
        }
        seed
    }

    pub(crate) fn add_store(&self, store: &Arc<Store>) {
        let mut stores = self.inner.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|known| known.strong_count() > 0);
        stores.push(Arc::downgrade(store));
    }

    /// Says that there may be work of this kind.
    pub(crate) fn signal(&self, duty: Duty) {
        if let Some(threads) = &self.threads {
            threads.signal(duty);
        }
    }
}

impl Inner {
    /// One unit of `duty` for one store; false when no store has any.
    pub(crate) fn work(&self, duty: Duty) -> bool {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stores.iter().filter_map(Weak::upgrade).any(|store| store.work(duty))
    }

    /// How long until some store must be looked at by `duty` although nobody signals; `None` when none.
    pub(crate) fn due_in(&self, duty: Duty) -> Option<Duration> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stores.iter().filter_map(Weak::upgrade).filter_map(|store| store.due_in(duty)).min()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("memory_bytes", &self.inner.budget.bytes_max())
            .field("stepped", &self.is_stepped())
            .finish_non_exhaustive()
    }
}
