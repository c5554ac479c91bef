//! What a keyspace without a log may hold: the state after one of the batches that were applied to it,
//! the one whose number the store tells.

use super::{Bytes, Loss, Verdict};
use std::collections::BTreeMap;

type State = BTreeMap<Vec<u8>, Bytes>;

/// The state after each batch, by its number.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The number of the first state.
    first: u64,
    states: Vec<State>,
}

impl Default for Applied {
    fn default() -> Applied {
        Applied::at((0, State::new()))
    }
}

impl Applied {
    /// Begins with a state.
    pub fn at((first, state): (u64, State)) -> Applied {
        Applied { first, states: vec![state] }
    }

    /// The last state and its number.
    pub fn last(&self) -> (u64, State) {
        let last = self.states.len() - 1;
        (self.first + last as u64, self.states[last].clone())
    }

    /// Adds the state after the next batch.
    pub fn push(&mut self, state: State) {
        self.states.push(state);
    }

    /// Forgets the states behind the one of this number; those before it stay, for images of the disk that were
    /// taken before.
    pub fn cut(&mut self, position: u64) {
        let kept = position.saturating_sub(self.first) as usize + 1;
        self.states.truncate(kept);
    }

    /// Checks what a store holds and tells: the state of that number, which is `floor` or later.
    pub fn check(&self, (position, found): &(u64, State), floor: u64) -> Result<(), Verdict> {
        let refuse = |loss, what| Err(Verdict { loss, what });
        if *position < floor {
            return refuse(
                Loss::Lost,
                format!("applied up to {position}, and {floor} was durable"),
            );
        }
        let at = position.checked_sub(self.first).and_then(|at| self.states.get(at as usize));
        let Some(state) = at else {
            return refuse(Loss::Wrong, format!("applied up to {position}, which never was"));
        };
        let keys = state.keys().chain(found.keys());
        let mut differing = keys.filter(|key| state.get(*key) != found.get(*key));
        match differing.next() {
            None => Ok(()),
            Some(key) => {
                let key = key.escape_ascii();
                refuse(Loss::Wrong, format!("applied up to {position}, and [{key}] is of another"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_of_the_number_that_is_told_is_accepted() {
        let state = |value: &[u8]| State::from([(b"k".to_vec(), value.into())]);
        let mut applied = Applied::default();
        applied.push(state(b"one"));
        applied.push(state(b"two"));
        assert!(applied.check(&(2, state(b"two")), 2).is_ok());
        assert!(applied.check(&(1, state(b"one")), 0).is_ok());
        let loss = |found, floor| applied.check(&found, floor).expect_err("it differs").loss;
        assert_eq!(loss((1, state(b"one")), 2), Loss::Lost);
        assert_eq!(loss((1, state(b"two")), 0), Loss::Wrong);
        assert_eq!(loss((0, state(b"one")), 0), Loss::Wrong);
        assert_eq!(loss((3, state(b"two")), 0), Loss::Wrong);
    }
}
