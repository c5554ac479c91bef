//! Requests that are sent together, each with an answer of its own kind.
//!
//! ```
//! # fn work(client: &olivine_client::Client) -> olivine_client::Result<()> {
//! use olivine_client::{Ask, Pipeline};
//!
//! let mut pipeline = Pipeline::new();
//! pipeline.add(&Ask::put("a", "1"));
//! let found = pipeline.add(&Ask::get("a"));
//! let mut answers = client.run_all(pipeline)?;
//! assert_eq!(answers.take(found)?.as_deref(), Some(&b"1"[..]));
//! # Ok(())
//! # }
//! ```

use std::marker::PhantomData;

use crate::{
    Ask, Result,
    wire::{self, Answer},
};

/// Requests to be sent together. They are carried out in their order, and are no transaction: each succeeds or fails by
/// itself.
#[derive(Debug, Default)]
pub struct Pipeline {
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) has_writes: bool,
}

/// The place of a request in its pipeline.
pub struct Slot<T> {
    place: usize,
    read: fn(Result<Answer<'_>>) -> Result<T>,
    of: PhantomData<T>,
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The answers to a pipeline.
#[derive(Debug)]
pub struct Answers(pub(crate) Vec<Vec<u8>>);

impl Pipeline {
    /// Nothing yet.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// Adds a request. The slot is where its answer will be.
    pub fn add<T>(&mut self, ask: &Ask<T>) -> Slot<T> {
        self.lines.push(ask.line.clone());
        self.has_writes |= ask.is_write;
        Slot { place: self.lines.len() - 1, read: ask.reader(), of: PhantomData }
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Answers {
    /// The answer to the request that was given this slot, or why it was refused.
    ///
    /// # Panics
    ///
    /// If the slot is of another pipeline with more requests.
    pub fn take<T>(&mut self, slot: Slot<T>) -> Result<T> {
        (slot.read)(wire::answer(&self.0[slot.place]))
    }

    /// The first refusal, for who wants to know whether all was done.
    pub fn all_done(&self) -> Result<()> {
        self.0.iter().try_for_each(|line| wire::answer(line).map(drop))
    }
}
