//! How far a store is durable, for who waits without a thread.
//!
//! 1. When the disk fails, nobody who waits is told that all is well.

use olivine_engine::{Db, SeqNo};
use tokio::sync::watch;

/// How far a store is durable.
#[derive(Clone)]
pub(crate) struct Durable(watch::Receiver<Reached>);

#[derive(Clone, Debug, Default)]
struct Reached {
    seqno: SeqNo,
    /// Why it will get no further.
    failure: Option<String>,
}

impl Durable {
    /// Of this store from now on.
    pub(crate) fn of(db: &Db) -> Durable {
        let (told, durable) = watch::channel(Reached::default());
        db.on_durable(move |outcome| {
            told.send_modify(|durable| match outcome {
                Ok(seqno) => durable.seqno = durable.seqno.max(*seqno),
                Err(error) => durable.failure = Some(error.to_string()),
            });
        });
        Durable(durable)
    }

    /// Returns when the store is durable that far, or why it never will be.
    pub(crate) async fn reach(&self, db: &Db, seqno: SeqNo) -> Result<(), String> {
        if seqno <= db.durable() {
            return Ok(());
        }
        db.want_durable(seqno);
        let mut durable = self.0.clone();
        let reached =
            durable.wait_for(|durable| durable.failure.is_some() || seqno <= durable.seqno).await;
        match reached {
            Ok(durable) if seqno <= durable.seqno => Ok(()),
            Ok(durable) => Err(durable.failure.clone().unwrap_or_default()),
            Err(_) => Err("the store is closed".to_owned()),
        }
    }
}
