//! A client that waits for its answers, and can be shared by threads.
//!
//! 1. There are never more connections than [`Options::connections_max`]; who finds none free waits for one.
//! 2. A connection comes back only if nothing failed on it.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
    vec,
};

use olivine_vfs::{Clock as _, RealClock};

use crate::{
    Answers, Ask, Condition, Error, Info, Options, Page, Pipeline, Put, Result, Scan,
    connection::Connection, options::host_of, retry::Time,
};

/// A client of a node, for threads.
pub struct Client {
    address: String,
    options: Options,
    clock: RealClock,
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Those that are idle and those at work.
    open: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The place of a connection in the pool: free again when this goes, with the connection idle or without it.
struct Place<'a> {
    client: &'a Client,
    idle: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.client.pool();
        match self.idle.take() {
            Some(idle) => pool.idle.push(idle),
            None => pool.open -= 1,
        }
        drop(pool);
        self.client.free.notify_one();
    }
}

impl Client {
    /// Connects to `HOST:PORT`. That nobody is there is told at once; later, a node that went away is waited for as long as
    /// a call has time.
    pub fn connect(address: &str, options: Options) -> Result<Client> {
        options.validate()?;
        host_of(address)?;
        let client = Client {
            address: address.to_owned(),
            options,
            clock: RealClock::new(),
            pool: Mutex::default(),
            free: Condvar::new(),
        };
        let first = Connection::open(address, &client.options, &client.time())?;
        *client.pool() = Pool { idle: vec![first], open: 1 };
        Ok(client)
    }

    fn time(&self) -> Time {
        Time::new(self.clock, self.options.time_max)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a connection do something.
    fn with<T>(&self, time: &Time, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut pool = self.pool();
        let idle = loop {
            if let Some(idle) = pool.idle.pop() {
                break Some(idle);
            }
            if pool.open < self.options.connections_max {
                pool.open += 1;
                break None;
            }
            let left = time.left()?;
            pool = self.free.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(pool);
        let mut place = Place { client: self, idle: None };
        let idle = idle.and_then(|mut idle| (!idle.is_stale()).then_some(idle));
        let mut connection = match idle {
            Some(idle) => idle,
            None => Connection::open(&self.address, &self.options, time)?,
        };
        let done = work(&mut connection);
        if matches!(done, Ok(_) | Err(Error::Refused { .. })) {
            place.idle = Some(connection);
        }
        done
    }

    /// Asks something.
    pub fn run<T>(&self, ask: &Ask<T>) -> Result<T> {
        self.tried(ask.is_write, |connection, time| connection.ask(ask, time))
    }

    /// Asks many things at once. An error is that of the connection; whether each was refused is told by its answer.
    pub fn run_all(&self, pipeline: Pipeline) -> Result<Answers> {
        let Pipeline { lines, has_writes } = pipeline;
        self.tried(has_writes, |connection, time| connection.ask_all(&lines, time)).map(Answers)
    }

    fn tried<T>(
        &self,
        is_write: bool,
        work: impl Fn(&mut Connection, &Time) -> Result<T>,
    ) -> Result<T> {
        let mut time = self.time();
        loop {
            let done = self.with(&time, |connection| work(connection, &time));
            let Err(error) = done else { return done };
            match time.pause_after(&error, is_write) {
                Some(pause) => self.clock.sleep(pause),
                None => return Err(error),
            }
        }
    }

    /// The value of a key. JSON comes as its text.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.run(&Ask::get(key))
    }

    /// Stores a value under a key.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.run(&Ask::put(key, value))
    }

    /// Stores a value with a time to live or a condition; whether the condition held.
    pub fn put_with(&self, put: &Put<'_>) -> Result<bool> {
        self.run(&Ask::put_with(put))
    }

    /// Takes a key away, whether or not it is there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.run(&Ask::delete(key))
    }

    /// Takes a key away if it is as it should be; whether it was.
    pub fn delete_when(&self, key: impl AsRef<[u8]>, condition: Condition) -> Result<bool> {
        self.run(&Ask::delete_when(key, condition))
    }

    /// Changes how long a key is there, or lets it stay; whether there is such a key.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<bool> {
        self.run(&Ask::expire(key, ttl))
    }

    /// What is known of a key without its value.
    pub fn info(&self, key: impl AsRef<[u8]>) -> Result<Option<Info>> {
        self.run(&Ask::info(key))
    }

    /// The values of keys, in their order.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        self.run(&Ask::batch_get(keys))
    }

    /// Stores values under keys: all of them or none. How many.
    pub fn batch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.run(&Ask::batch_put(pairs))
    }

    /// Takes keys away: all of them or none. How many were there.
    pub fn batch_delete<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        self.run(&Ask::batch_delete(keys))
    }

    /// Keys from `start` to `end`, which both belong to it, with their values, at once.
    pub fn get_range(
        &self,
        start: impl AsRef<[u8]>,
        end: impl AsRef<[u8]>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.run(&Ask::get_range(start, end))
    }

    /// Goes through keys with their values, a page at a time.
    pub fn scan(&self, scan: Scan) -> Scanned<'_> {
        Scanned { client: self, scan, page: Vec::new().into_iter(), next: Next::First }
    }

    /// Nothing but an answer.
    pub fn ping(&self) -> Result<()> {
        self.run(&Ask::ping())
    }

    /// The node's figures, by their names.
    pub fn stats(&self) -> Result<Vec<(String, u64)>> {
        self.run(&Ask::stats())
    }
}

/// What a scan goes through; it ends behind the first error.
#[derive(Debug)]
pub struct Scanned<'c> {
    client: &'c Client,
    scan: Scan,
    page: vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    Behind(Vec<u8>),
    Over,
}

impl Iterator for Scanned<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            let after = match &self.next {
                Next::First => None,
                Next::Behind(key) => Some(key.as_slice()),
                Next::Over => return None,
            };
            match self.client.run(&Ask::page(&self.scan, after)) {
                Ok(Page { entries, next }) => {
                    self.page = entries.into_iter();
                    self.next = next.map_or(Next::Over, Next::Behind);
                }
                Err(error) => {
                    self.next = Next::Over;
                    return Some(Err(error));
                }
            }
        }
    }
}
