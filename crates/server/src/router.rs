//! Where commands are carried out: in this process, or across a socket.
//!
//! 1. A worker that has nothing else to do makes the disk keep what it wrote itself: calling another
//!    thread costs as much as the sync. While others wait on the same worker, a thread of the engine does,
//!    for all of them.

use std::{cell::Cell, rc::Rc, sync::Arc};

use olivine_command::{Access, Code, Command, Refusal, Reply};

use crate::{
    link::Link,
    slow::{Stage, Watch},
    store::{Pending, Store, is_long},
};

/// The way of one worker to the store.
pub(crate) enum Router {
    /// The store is in this process.
    Here(Here),
    /// The store is a process of its own.
    There(Rc<Link>),
    /// There is no store.
    Nowhere,
}

/// Nobody is known where there is no store.
const NOBODY: Access = Access { users: 0, generation: 0 };

impl Router {
    /// Who may ask for something; nothing while that cannot be told.
    pub(crate) fn access(&self) -> Option<Access> {
        match self {
            Router::Here(here) => Some(here.store.access()),
            Router::There(link) => link.access(),
            Router::Nowhere => Some(NOBODY),
        }
    }

    /// Returns when it can be told, or has been tried to be told in vain.
    pub(crate) async fn settle(&self) {
        match self {
            Router::Here(_) | Router::Nowhere => {}
            Router::There(link) => link.settle().await,
        }
    }

    /// The same as it was known last, if ever.
    pub(crate) fn access_known_last(&self) -> Option<Access> {
        match self {
            Router::Here(here) => Some(here.store.access()),
            Router::There(link) => link.access_known_last(),
            Router::Nowhere => Some(NOBODY),
        }
    }

    /// Carries out the first of some commands. Returns their replies, at least one, when they may be shown.
    pub(crate) async fn carry_out(
        &self,
        now: u64,
        commands: &[Command<'_>],
        watch: &mut Watch<'_>,
    ) -> Vec<Reply> {
        match self {
            Router::Here(here) => here.carry_out(now, commands, watch).await,
            Router::There(link) => {
                let replies = link.carry_out(now, commands).await;
                watch.passed(Stage::Storage);
                replies
            }
            Router::Nowhere => {
                let text = "there is no store here, but for blobs";
                vec![Reply::Refused(Refusal::new(Code::Unavailable, text)); commands.len()]
            }
        }
    }
}

/// The store, as one worker has it.
pub(crate) struct Here {
    pub(crate) store: Arc<Store>,
    /// How many on this worker are having something carried out.
    under_way: Cell<usize>,
}

/// Counts one of them while it lives.
struct UnderWay<'a>(&'a Cell<usize>);

impl<'a> UnderWay<'a> {
    fn new(count: &'a Cell<usize>) -> UnderWay<'a> {
        count.set(count.get() + 1);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Here {
    pub(crate) fn new(store: Arc<Store>) -> Here {
        Here { store, under_way: Cell::new(0) }
    }

    async fn carry_out(
        &self,
        now: u64,
        commands: &[Command<'_>],
        watch: &mut Watch<'_>,
    ) -> Vec<Reply> {
        let _one = UnderWay::new(&self.under_way);
        let (replies, pending) = self.store.apply(now, commands).await;
        watch.passed(Stage::Apply);
        let Some(pending) = pending else {
            return replies;
        };
        // Others whose requests have arrived write first, and are then kept by the same sync.
        tokio::task::yield_now().await;
        // A sync of much that was written takes long, and this thread has others to serve.
        let is_long = commands.first().is_some_and(is_long);
        let kept = self.keep(pending, is_long).await;
        watch.passed(Stage::Durable);
        match kept {
            Ok(()) => replies,
            Err(refusal) => vec![Reply::Refused(refusal); replies.len()],
        }
    }

    /// Returns when the store is durable that far.
    async fn keep(&self, pending: Pending, is_long: bool) -> Result<(), Refusal> {
        if self.under_way.get() == 1 && !is_long {
            self.store.lead(pending)
        } else {
            self.store.durable(pending).await
        }
    }
}
