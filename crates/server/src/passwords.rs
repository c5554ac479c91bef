//! One thread that checks passwords, so that guessing them costs no more than one core.
//!
//! 1. A name that is not known costs what a wrong password does.
//! 2. Who asks while too many wait is refused at once.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use olivine_command::{Code, Refusal};
use tokio::sync::oneshot;

use crate::secret;

/// How many may wait.
const WAITING_MAX: usize = 64;

struct Job {
    /// What is stored; nothing if there is nobody of this name.
    stored: Option<Vec<u8>>,
    password: Vec<u8>,
    answer: oneshot::Sender<bool>,
}

pub(crate) struct Passwords {
    jobs: SyncSender<Job>,
}

impl Passwords {
    /// Starts the thread. It ends with this.
    pub(crate) fn start() -> io::Result<Passwords> {
        let (jobs, asked) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("passwords".to_owned()).spawn(move || work(&asked))?;
        Ok(Passwords { jobs })
    }

    /// Whether the password is the one of which that is stored.
    pub(crate) async fn check(
        &self,
        stored: Option<Vec<u8>>,
        password: &[u8],
    ) -> Result<bool, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job = Job { stored, password: password.to_vec(), answer };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let text = "too many are logging in; try again a little later";
                return Err(Refusal::new(Code::Busy, text));
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone()),
        }
        answered.await.map_err(|_| gone())
    }
}

fn gone() -> Refusal {
    Refusal::new(Code::Failed, "passwords cannot be checked; start the node again")
}

fn work(asked: &Receiver<Job>) {
    olivine_vfs::yield_to_foreground();
    // Never anybody's: checking against it takes the time that checking takes.
    let nobody = secret::of_password(b"").unwrap_or_default();
    while let Ok(Job { stored, password, answer }) = asked.recv() {
        if answer.is_closed() {
            continue;
        }
        let is_somebody = stored.is_some();
        let proof = stored.unwrap_or_else(|| nobody.clone());
        let is_right = secret::is_password(&proof, &password) && is_somebody;
        // Who has gone away meanwhile misses nothing.
        answer.send(is_right).ok();
    }
}
