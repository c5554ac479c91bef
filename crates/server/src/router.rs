//! Where commands are carried out: in this process, or across a socket.

use std::{rc::Rc, sync::Arc};

use olivine_command::{Command, Reply};

use crate::{link::Link, store::Store};

/// The way of one worker to the store.
pub(crate) enum Router {
    /// The store is in this process.
    Here(Arc<Store>),
    /// The store is a process of its own.
    There(Rc<Link>),
}

impl Router {
    /// Carries out the first of some commands. Returns their replies, at least one, when they may be shown.
    pub(crate) async fn carry_out(&self, now: u64, commands: &[Command<'_>]) -> Vec<Reply> {
        match self {
            Router::Here(store) => store.carry_out(now, commands).await,
            Router::There(link) => link.carry_out(now, commands).await,
        }
    }
}
