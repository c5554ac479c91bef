//! Several sorted runs as one: a tournament that remembers its losers.
//!
//! ```text
//!            winner                  Each inner node keeps who lost there. When the winner moves
//!          /        \                on, only the matches on its way up are played again: one
//!      loser 1    loser 2            comparison a level, most of them of two words.
//!      /    \      /    \
//!     s0    s1    s2    s3
//! ```
//!
//! 1. Forward, the winner has the smallest key and, among equal keys, the newest stamp; backward the
//!    largest key and the oldest stamp. So newer runs and older ones may come in any order.
//! 2. `words[i]` is the prefix word of source `i`'s key as long as that source stands on an entry.

use std::cmp::Ordering;

use super::source::{RunCursor, Source};
use crate::{
    error::Result,
    key::{Stamp, prefix_word},
};

/// Which way a merge walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// Several sorted runs as one.
pub(crate) struct Merge {
    sources: Vec<Source>,
    words: Vec<u64>,
    alive: Vec<bool>,
    /// `losers[n]` lost the match at inner node `n`; node 1 is the root, node 0 unused.
    losers: Vec<usize>,
    winner: usize,
    direction: Direction,
}

impl Merge {
    pub(crate) fn new(sources: Vec<Source>) -> Merge {
        let count = sources.len();
        Merge {
            words: vec![0; count],
            alive: vec![false; count],
            losers: vec![0; count],
            winner: 0,
            direction: Direction::Forward,
            sources,
        }
    }

    pub(crate) fn valid(&self) -> bool {
        self.alive.get(self.winner).copied().unwrap_or(false)
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.sources[self.winner].key()
    }

    /// Which source the merge stands in, and which of its tables if it is a run.
    pub(crate) fn place(&self) -> (usize, usize) {
        let table = match &self.sources[self.winner] {
            Source::Run(run) => run.at(),
            _ => 0,
        };
        (self.winner, table)
    }

    /// Whether the block that a run stands in was in the cache.
    pub(crate) fn was_cached(&self) -> bool {
        matches!(&self.sources[self.winner], Source::Run(run) if run.was_cached())
    }

    /// The run that the merge stands in, if it is in one.
    pub(crate) fn run(&self) -> Option<&RunCursor> {
        match &self.sources[self.winner] {
            Source::Run(run) => Some(run),
            _ => None,
        }
    }

    pub(crate) fn run_mut(&mut self) -> Option<&mut RunCursor> {
        match &mut self.sources[self.winner] {
            Source::Run(run) => Some(run),
            _ => None,
        }
    }

    /// The first key that another source has to come: it lost to the one the merge stands in.
    pub(crate) fn rival_key(&self) -> Option<&[u8]> {
        let mut best: Option<usize> = None;
        let mut node = usize::midpoint(self.winner, self.sources.len());
        while node != 0 {
            let loser = self.losers[node];
            if self.alive[loser] && best.is_none_or(|best| self.beats(loser, best)) {
                best = Some(loser);
            }
            node /= 2;
        }
        best.map(|best| self.sources[best].key())
    }

    /// Steps past the block that a run stands at the beginning of.
    pub(crate) fn skip_block(&mut self) -> Result<()> {
        self.sources[self.winner].skip_block()?;
        self.replay();
        Ok(())
    }

    pub(crate) fn word(&self) -> u64 {
        self.words[self.winner]
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.sources[self.winner].stamp()
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.sources[self.winner].value()
    }

    /// Puts every source to its place with `seek`, then plays all matches.
    pub(crate) fn seek_all(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut Source) -> Result<()>,
    ) -> Result<()> {
        self.direction = direction;
        for index in 0..self.sources.len() {
            self.alive[index] = false;
            seek(&mut self.sources[index])?;
            self.refresh(index);
        }
        if !self.sources.is_empty() {
            self.winner = self.play(1);
        }
        Ok(())
    }

    /// Steps to the next entry of the walk.
    pub(crate) fn step(&mut self) -> Result<()> {
        let winner = self.winner;
        match self.direction {
            Direction::Forward => self.sources[winner].next()?,
            Direction::Backward => self.sources[winner].prev()?,
        }
        self.replay();
        Ok(())
    }

    /// Steps the winner past its key, or as far towards that as is cheap.
    pub(crate) fn skip_key(&mut self) -> Result<()> {
        self.sources[self.winner].skip_key()?;
        self.replay();
        Ok(())
    }

    /// Steps the winner to a version at or below `bound`, or as far towards that as is cheap.
    pub(crate) fn skip_newer(&mut self, bound: Stamp) -> Result<()> {
        if !self.sources[self.winner].skip_newer(bound) {
            self.sources[self.winner].next()?;
        }
        self.replay();
        Ok(())
    }

    fn refresh(&mut self, index: usize) {
        let source = &self.sources[index];
        self.alive[index] = source.valid();
        if self.alive[index] {
            self.words[index] = prefix_word(source.key());
        }
    }

    /// Plays the matches between the winner, which moved, and those it beat.
    fn replay(&mut self) {
        let mut winner = self.winner;
        self.refresh(winner);
        let mut node = usize::midpoint(winner, self.sources.len());
        while node != 0 {
            let loser = self.losers[node];
            if self.beats(loser, winner) {
                self.losers[node] = winner;
                winner = loser;
            }
            node /= 2;
        }
        self.winner = winner;
    }

    /// Plays every match below `node` and returns who wins there.
    fn play(&mut self, node: usize) -> usize {
        let count = self.sources.len();
        if count <= node {
            return node - count;
        }
        let (a, b) = (self.play(2 * node), self.play(2 * node + 1));
        let (winner, loser) = if self.beats(b, a) { (b, a) } else { (a, b) };
        self.losers[node] = loser;
        winner
    }

    fn beats(&self, a: usize, b: usize) -> bool {
        if !self.alive[a] || !self.alive[b] {
            return self.alive[a] && !self.alive[b];
        }
        let order = self.words[a]
            .cmp(&self.words[b])
            .then_with(|| self.sources[a].key().cmp(self.sources[b].key()))
            .then_with(|| self.sources[b].stamp().cmp(&self.sources[a].stamp()));
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }
}
