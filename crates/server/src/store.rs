//! The store half of a node: carries commands out, and waits for the disk.
//!
//! 1. A store that is behind is waited for; who has waited too long is told to come again.
//! 2. What may take long is carried out on threads that serve nobody.
//! 3. When the disk fails, nobody who waits is told that all is well.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use olivine_command::{Access, Code, Command, Copying, Refusal, Reply, Statement};
use olivine_engine::{Bug, Result, SeqNo, Stall, planted};
use olivine_model::{Applied, Behind, Model, PointsWrite, Progress};
use tokio::sync::watch;

use crate::{
    bulk::{BULK_BYTES_MIN, Bulk, TURN},
    copies::Copies,
    patience::{Patience, Wait},
    queries::{Does, Queries, Turn},
    settings::QuerySettings,
    time::Time,
};

/// Places looked at by one sweep.
const SWEEP: u64 = 1_000;
/// How long after a sweep that found little the next begins.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// How long after no work was found it is looked for again.
const WORK_PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether the disk is full.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// Carries commands out.
pub(crate) struct Store {
    model: Model,
    copies: Arc<Copies>,
    queries: Queries,
    bulk: Arc<Bulk>,
    time: Arc<Time>,
    patience: Patience,
    durable: watch::Receiver<Durable>,
}

/// How far the store is durable.
#[derive(Clone, Debug, Default)]
struct Durable {
    seqno: SeqNo,
    /// Why it will get no further.
    failure: Option<String>,
}

/// Up to where the store must be durable before something is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending(SeqNo);

/// The thread that works behind the writes; dropping this ends it.
pub(crate) struct Working {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so already.
            thread.join().ok();
        }
    }
}

impl Store {
    pub(crate) fn new(
        model: Model,
        copies: Copies,
        time: Arc<Time>,
        patience: Patience,
        queries: &QuerySettings,
        bulk: Arc<Bulk>,
    ) -> Store {
        let queries = Queries::new(queries, Arc::clone(&time));
        let (told, durable) = watch::channel(Durable::default());
        model.db().on_durable(move |outcome| {
            told.send_modify(|durable| match outcome {
                Ok(seqno) => durable.seqno = durable.seqno.max(*seqno),
                Err(error) => durable.failure = Some(error.to_string()),
            });
        });
        Store { model, copies: Arc::new(copies), queries, bulk, time, patience, durable }
    }

    /// Who may ask for something.
    pub(crate) fn access(&self) -> Access {
        self.model.access()
    }

    /// Closes it, and ends the copies that are under way.
    pub(crate) fn close(self) -> Result<()> {
        drop(self.copies);
        self.model.close()
    }

    /// Carries out the first of some commands. Returns their replies, at least one, and what must be waited for
    /// before they are shown.
    pub(crate) async fn apply(
        self: &Arc<Store>,
        now: u64,
        commands: &[Command<'_>],
    ) -> (Vec<Reply>, Option<Pending>) {
        // What may take long is carried out by itself.
        let is_alone = |command: &&Command<'_>| {
            is_long(command) || matches!(command, Command::WritePoints { .. })
        };
        let together = commands.iter().take_while(|command| !is_alone(command)).count();
        if together == 0
            && let Some(command) = commands.first()
        {
            let progress = match self.first_slice(now, command) {
                Ok(Some((reply, pending))) => return (vec![reply], pending),
                Ok(None) => None,
                Err(progress) => Some(progress),
            };
            let Some(Long(command)) = long(command) else { return (Vec::new(), None) };
            let (reply, pending) = match command {
                command @ Command::WritePoints { .. } => {
                    self.write_points(now, command, progress).await
                }
                command => self.carry_out_long(now, Long(command)).await,
            };
            return (vec![reply], pending);
        }
        let commands = &commands[..together];
        let clock = self.time.clock();
        let mut until = None;
        loop {
            match self.model.apply(now, commands) {
                Ok(mut applied) => {
                    for reply in &mut applied.replies {
                        self.add_numbers(reply);
                    }
                    let kept_at = applied.durable_at;
                    let kept_at = kept_at.filter(|_| !planted(Bug::AnsweredBeforeKept));
                    return (applied.replies, kept_at.map(Pending));
                }
                Err(Behind { retry_after }) => {
                    let patience = self.patience.of(Wait::Store);
                    if *until.get_or_insert_with(|| clock.now() + patience) <= clock.now() {
                        let refusal = Refusal::new(Code::Busy, self.patience.over(Wait::Store));
                        return (vec![Reply::Refused(refusal); commands.len()], None);
                    }
                    tokio::time::sleep(retry_after).await;
                }
            }
        }
    }

    /// Carries out a command that may take long, on a thread that serves nobody.
    pub(crate) async fn carry_out_long(
        self: &Arc<Store>,
        now: u64,
        Long(command): Long,
    ) -> (Reply, Option<Pending>) {
        let command = match command {
            Command::Copy(copying) => return (self.copy(now, copying).await, None),
            command @ Command::WritePoints { .. } => {
                return self.write_points(now, command, None).await;
            }
            command => command,
        };
        let store = Arc::clone(self);
        let does =
            if matches!(command, Command::Query { .. }) { Does::Reads } else { Does::Changes };
        let done = self.queries.run(does, move |turn| store.query(now, &command, turn)).await;
        match done {
            Ok((reply, durable_at)) => (reply, durable_at.map(Pending)),
            Err(refusal) => (Reply::Refused(refusal), None),
        }
    }

    /// Writes a slice of points on this thread, where that may be all of them. Returns what came of them if it was;
    /// how far they are, if it was not; nothing if a slice was not written.
    fn first_slice(
        &self,
        now: u64,
        command: &Command<'_>,
    ) -> Result<Option<(Reply, Option<Pending>)>, Progress> {
        if !matches!(command, Command::WritePoints { points, .. } if points.len() <= BULK_BYTES_MIN)
        {
            return Ok(None);
        }
        let Some(mut request) = PointsWrite::new(command) else { return Ok(None) };
        match self.model.write_slice(now, &mut request, false) {
            Ok(Some(mut applied)) => {
                Ok(applied.replies.pop().map(|reply| (reply, applied.durable_at.map(Pending))))
            }
            Ok(None) | Err(Behind { .. }) => Err(request.into_progress()),
        }
    }

    /// Writes points slice by slice, on threads that serve nobody.
    async fn write_points(
        self: &Arc<Store>,
        now: u64,
        mut command: Command<'static>,
        mut progress: Option<Progress>,
    ) -> (Reply, Option<Pending>) {
        let mut kept = self.bulk.kept();
        let bytes =
            if let Command::WritePoints { points, .. } = &command { points.len() } else { 0 };
        if let Err(refusal) = kept.add(bytes) {
            return (Reply::Refused(refusal), None);
        }
        let clock = self.time.clock();
        let mut until = None;
        loop {
            let store = Arc::clone(self);
            let turn =
                self.bulk.turn(bytes, move || store.write_slices(now, command, progress)).await;
            let behind = match turn {
                Err(refusal) => return (Reply::Refused(refusal), None),
                Ok(Written::Over(reply, durable_at)) => return (reply, durable_at.map(Pending)),
                Ok(Written::More(same, come, behind)) => {
                    (command, progress) = (same, Some(come));
                    behind
                }
            };
            let Some(Behind { retry_after }) = behind else {
                until = None;
                continue;
            };
            let patience = self.patience.of(Wait::Store);
            if *until.get_or_insert_with(|| clock.now() + patience) <= clock.now() {
                let refusal = Refusal::new(Code::Busy, self.patience.over(Wait::Store));
                return (Reply::Refused(refusal), None);
            }
            tokio::time::sleep(retry_after).await;
        }
    }

    /// Writes slices for as long as a turn is.
    fn write_slices(
        &self,
        now: u64,
        command: Command<'static>,
        progress: Option<Progress>,
    ) -> Written {
        let request = match progress {
            Some(progress) => PointsWrite::resume(&command, progress),
            None => PointsWrite::new(&command),
        };
        let Some(mut request) = request else {
            let refusal = Refusal::new(Code::Failed, "these are no points");
            return Written::Over(Reply::Refused(refusal), None);
        };
        let clock = self.time.clock();
        let until = clock.now() + TURN;
        let behind = loop {
            match self.model.write_slice(now, &mut request, true) {
                Ok(Some(Applied { mut replies, durable_at })) => {
                    let failed = || Refusal::new(Code::Failed, "the store did not answer");
                    let reply = replies.pop().unwrap_or_else(|| Reply::Refused(failed()));
                    return Written::Over(reply, durable_at);
                }
                Ok(None) if until <= clock.now() => break None,
                Ok(None) => thread::yield_now(),
                Err(behind) => break Some(behind),
            }
        };
        let progress = request.into_progress();
        Written::More(command, progress, behind)
    }

    fn query(&self, now: u64, command: &Command<'static>, turn: &Turn) -> (Reply, Option<SeqNo>) {
        let millis_max = match command {
            Command::Query { statement } | Command::Alter { statement, .. } => statement.millis_max,
            _ => 0,
        };
        let clock = self.time.clock();
        let until = clock.now().saturating_add(Duration::from_millis(millis_max));
        let is_over = || turn.is_put_off() || (millis_max != 0 && until <= clock.now());
        let mut applied = self.model.query(now, command, turn.given_up(), &is_over);
        let reply = applied.replies.pop().unwrap_or_else(|| {
            Reply::Refused(Refusal::new(Code::Failed, "the store did not answer"))
        });
        (reply, applied.durable_at)
    }

    /// Takes a step of a copy.
    async fn copy(&self, now: u64, copying: Copying) -> Reply {
        let reply = self.copies.carry_out(now, copying).await;
        if let (Copying::End { kept: true, .. }, Reply::Done(true)) = (copying, &reply)
            && let Ok(Some(seqno)) = self.model.set_last_backup(now / 1_000)
        {
            // The backup is there, whether or not this lasts.
            self.durable(Pending(seqno)).await.ok();
        }
        reply
    }

    /// Adds the numbers that the model does not know, where a reply is one of numbers.
    fn add_numbers(&self, reply: &mut Reply) {
        let Reply::Numbers(numbers) = reply else { return };
        let mut add = |name: &str, number: u64| numbers.push((name.to_owned(), number));
        add("backups_under_way", self.copies.count() as u64);
        add("queries_running", self.queries.running() as u64);
        if let Ok(seconds) = self.model.last_backup() {
            add("last_backup_seconds", seconds);
        }
    }

    /// Makes the store durable that far, on this thread: for who has nothing else to do.
    pub(crate) fn lead(&self, pending: Pending) -> Result<(), Refusal> {
        let Pending(seqno) = pending;
        self.model.db().wait_durable(seqno).map_err(|error| not_kept(&error.to_string()))
    }

    /// Whether the store is durable that far.
    pub(crate) fn is_durable(&self, Pending(seqno): Pending) -> bool {
        seqno <= self.durable.borrow().seqno
    }

    /// Returns when the store is durable that far, or why it never will be.
    pub(crate) async fn durable(&self, pending: Pending) -> Result<(), Refusal> {
        let Pending(seqno) = pending;
        self.model.db().want_durable(seqno);
        let mut durable = self.durable.clone();
        let reached =
            durable.wait_for(|durable| durable.failure.is_some() || seqno <= durable.seqno).await;
        let failure = match reached {
            Ok(durable) if seqno <= durable.seqno => return Ok(()),
            Ok(durable) => durable.failure.clone().unwrap_or_default(),
            Err(_) => "the store is closed".to_owned(),
        };
        Err(not_kept(&failure))
    }

    /// Starts the thread that does what is due behind the writes of time series, until what is returned is
    /// dropped and the thread joined.
    pub(crate) fn start_work(self: &Arc<Self>) -> std::io::Result<Working> {
        let (stop, stopped) = mpsc::channel::<()>();
        let store = Arc::clone(self);
        let work = move || {
            olivine_vfs::yield_to_smaller();
            loop {
                let pause = match store.model.work(store.time.now()) {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => WORK_PAUSE,
                    // A disk that is full may have room again.
                    Err(_) => DISK_LOOK,
                };
                match stopped.recv_timeout(pause) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = thread::Builder::new().name("series".to_owned()).spawn(work)?;
        Ok(Working { stop: Some(stop), thread: Some(thread) })
    }

    /// Tells when the disk gets full and when it has room again, for ever. The engine's own events tell only of
    /// work behind its writers.
    pub(crate) async fn watch_disk(&self) {
        let mut was_full = false;
        loop {
            let is_full = self.model.db().health().stall == Some(Stall::Disk);
            match (was_full, is_full) {
                (false, true) => tracing::warn!(event = "disk_full"),
                (true, false) => tracing::info!(event = "room_again"),
                _ => {}
            }
            was_full = is_full;
            tokio::time::sleep(DISK_LOOK).await;
        }
    }

    /// Takes away what has expired, for ever, and ends copies that nobody reads.
    pub(crate) async fn sweep(self: &Arc<Store>) {
        loop {
            self.copies.expire();
            let commands = [Command::Sweep { limit: SWEEP }];
            let (replies, pending) = self.apply(self.time.now(), &commands).await;
            if let Some(pending) = pending {
                // What could not be kept is swept again when the store is started again.
                self.durable(pending).await.ok();
            }
            if replies != [Reply::Count(SWEEP)] {
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
        }
    }
}

/// What came of a turn of points.
enum Written {
    /// They are written, or refused.
    Over(Reply, Option<SeqNo>),
    /// There are more of them; the store may be behind.
    More(Command<'static>, Progress, Option<Behind>),
}

/// A command that may take long, and is carried out on a thread that serves nobody.
pub(crate) struct Long(Command<'static>);

impl Long {
    /// Whether it only reads, so that nothing is lost with it when nobody waits for the answer any more.
    pub(crate) fn is_query(&self) -> bool {
        matches!(self.0, Command::Query { .. })
    }
}

/// Whether a command may take long.
pub(crate) fn is_long(command: &Command<'_>) -> bool {
    /// So many bytes of points are written at once, even where all are of new series.
    const POINTS_BYTES_MAX: usize = 1 << 10;
    match command {
        Command::Copy(_) | Command::Query { .. } | Command::Alter { .. } | Command::Settle => true,
        Command::WritePoints { points, .. } => POINTS_BYTES_MAX < points.len(),
        _ => false,
    }
}

/// The command in memory of its own, if it is of a kind that may take long.
pub(crate) fn long(command: &Command<'_>) -> Option<Long> {
    Some(Long(match command {
        Command::Copy(copying) => Command::Copy(*copying),
        Command::Query { statement } => Command::Query { statement: owned(statement) },
        Command::Alter { statement, defines } => {
            Command::Alter { statement: owned(statement), defines: *defines }
        }
        Command::Settle => Command::Settle,
        Command::WritePoints { database, policy, points, makes_database, all_or_none } => {
            let owned = |bytes: &[u8]| bytes.to_vec().into();
            Command::WritePoints {
                database: owned(database),
                policy: owned(policy),
                points: owned(points),
                makes_database: *makes_database,
                all_or_none: *all_or_none,
            }
        }
        _ => return None,
    }))
}

/// The same, in memory of its own.
fn owned(statement: &Statement<'_>) -> Statement<'static> {
    let owned = |bytes: &[u8]| bytes.to_vec().into();
    Statement {
        text: owned(&statement.text),
        database: owned(&statement.database),
        policy: owned(&statement.policy),
        ..*statement
    }
}

fn not_kept(failure: &str) -> Refusal {
    let text = format!(
        "whether it was kept is not known: {failure}; the store takes no writes until it is started again"
    );
    Refusal::new(Code::Poisoned, text)
}
