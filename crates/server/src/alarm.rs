//! Wakes connections that have waited for long enough, and all of them when the node ends.
//!
//! A worker looks through its connections once in a while, when the thread that takes connections says so.
//! A wait that ends as most do, because bytes have come, costs a note of its deadline: no timer, no reading
//! of the clock, and no deadline for the kernel to keep while the worker sleeps.
//!
//! 1. Nobody is told to have waited too long before they have, even where looks are late or were left out;
//!    they are within two looks after, where they are not.
//! 2. Who waits to read is told when the node ends; who waits for a peer to take answers goes on waiting.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{select, sync::Notify};

use crate::worker::Shared;

/// What a worker wakes its connections by.
pub(crate) struct Alarms {
    /// How long it is from one look to the next.
    look: Duration,
    /// When the last look was.
    looked: Cell<Duration>,
    /// The time that waits are measured by. From look to look it goes on by no more than `look`: how late in
    /// between a wait began is not known.
    now: Cell<Duration>,
    stopping: Cell<bool>,
    slots: RefCell<Vec<Rc<Slot>>>,
}

/// One connection that may wait.
struct Slot {
    /// Where among the slots it is.
    place: Cell<usize>,
    /// Until when it waits, while it does.
    until: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Late,
    Stopping,
}

impl Alarms {
    pub(crate) fn new(look: Duration, now: Duration) -> Rc<Alarms> {
        let (looked, now) = (Cell::new(now), Cell::new(now));
        let (stopping, slots) = (Cell::new(false), RefCell::default());
        Rc::new(Alarms { look, looked, now, stopping, slots })
    }

    /// Looks whenever it is told to, and sees the node end; for ever.
    pub(crate) async fn keep(self: Rc<Alarms>, shared: &Shared, looks: &Notify) {
        let mut stopping = shared.stopping.clone();
        loop {
            select! {
                () = looks.notified() => self.look_at(shared.time.clock().now()),
                // Whoever could say so is gone, or has.
                _ = stopping.wait_for(|stopping| *stopping), if !self.stopping.get() => self.stop(),
            }
        }
    }

    fn look_at(&self, clock_now: Duration) {
        let passed = clock_now.saturating_sub(self.looked.replace(clock_now));
        let now = self.now.get() + passed.min(self.look);
        self.now.set(now);
        for slot in &*self.slots.borrow() {
            if slot.until.get().is_some_and(|until| until <= now) {
                slot.wake();
            }
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        for slot in &*self.slots.borrow() {
            slot.wake();
        }
    }

    /// The time that waits are measured by.
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }
}

/// What wakes one connection.
pub(crate) struct Alarm {
    alarms: Rc<Alarms>,
    slot: Rc<Slot>,
}

impl Alarm {
    pub(crate) fn new(alarms: &Rc<Alarms>) -> Alarm {
        let mut slots = alarms.slots.borrow_mut();
        let place = Cell::new(slots.len());
        let slot = Rc::new(Slot { place, until: Cell::default(), waker: RefCell::default() });
        slots.push(Rc::clone(&slot));
        Alarm { alarms: Rc::clone(alarms), slot }
    }

    /// The time that waits are measured by.
    pub(crate) fn now(&self) -> Duration {
        self.alarms.now()
    }

    /// Waits for something until `time` has passed since `since`, which [`now`](Self::now) told, or the node ends.
    pub(crate) async fn until<T>(
        &self,
        since: Duration,
        time: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, Woken> {
        self.wait(since, time, true, what).await
    }

    /// Waits for something until `time` has passed, whether or not the node ends.
    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, Woken> {
        self.wait(self.now(), time, false, what).await
    }

    async fn wait<T>(
        &self,
        since: Duration,
        time: Duration,
        stops: bool,
        what: impl Future<Output = T>,
    ) -> Result<T, Woken> {
        self.begin(since, time);
        let mut what = pin!(what);
        let ended = std::future::poll_fn(|context| {
            if let Poll::Ready(come) = what.as_mut().poll(context) {
                return Poll::Ready(Ok(come));
            }
            if stops && self.alarms.stopping.get() {
                return Poll::Ready(Err(Woken::Stopping));
            }
            self.poll_late(context).map(|()| Err(Woken::Late))
        });
        let ended = ended.await;
        self.end();
        ended
    }

    /// A wait begins.
    pub(crate) fn begin(&self, since: Duration, time: Duration) {
        // What is called now may have been so for a whole look.
        self.slot.until.set(Some(since.saturating_add(time).saturating_add(self.alarms.look)));
    }

    /// It is over.
    pub(crate) fn end(&self) {
        self.slot.until.set(None);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.slot.until.get().is_some()
    }

    /// Ready when it has taken too long.
    pub(crate) fn poll_late(&self, context: &Context<'_>) -> Poll<()> {
        if self.slot.until.get().is_some_and(|until| until <= self.now()) {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut slots = self.alarms.slots.borrow_mut();
        let place = self.slot.place.get();
        slots.swap_remove(place);
        if let Some(moved) = slots.get(place) {
            moved.place.set(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const LOOK: Duration = Duration::from_secs(1);

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_wait_ends_when_its_time_has_passed_and_not_before() {
        let second = Duration::from_secs;
        let alarms = Alarms::new(LOOK, second(100));
        let alarm = Alarm::new(&alarms);
        let mut waiting = pin!(alarm.until(alarm.now(), second(5), pending::<()>()));
        // A look that comes late counts as one: the wait may have begun just before it.
        for now in [200, 201, 202, 203, 204] {
            alarms.look_at(second(now));
            assert_eq!(poll(waiting.as_mut()), Poll::Pending, "{now}");
        }
        alarms.look_at(second(205));
        assert_eq!(poll(waiting.as_mut()), Poll::Ready(Err(Woken::Late)));
        let mut come = pin!(alarm.until(alarm.now(), second(5), ready(7)));
        assert_eq!(poll(come.as_mut()), Poll::Ready(Ok(7)));
    }

    #[test]
    fn who_reads_is_told_of_the_end_and_who_writes_is_not() {
        let alarms = Alarms::new(LOOK, LOOK);
        let (reads, writes) = (Alarm::new(&alarms), Alarm::new(&alarms));
        let mut reading = pin!(reads.until(LOOK, LOOK, pending::<()>()));
        let mut writing = pin!(writes.within(LOOK, pending::<()>()));
        assert!(poll(reading.as_mut()).is_pending() && poll(writing.as_mut()).is_pending());
        alarms.stop();
        assert_eq!(poll(reading.as_mut()), Poll::Ready(Err(Woken::Stopping)));
        assert!(poll(writing.as_mut()).is_pending());
    }

    #[test]
    fn slots_are_given_back() {
        let alarms = Alarms::new(LOOK, LOOK);
        let mut held: Vec<Alarm> = (0..5).map(|_| Alarm::new(&alarms)).collect();
        drop(held.remove(1));
        drop(held.remove(0));
        drop(held.pop());
        let places: Vec<usize> =
            alarms.slots.borrow().iter().map(|slot| slot.place.get()).collect();
        assert_eq!(places, [0, 1]);
        drop(held);
        assert!(alarms.slots.borrow().is_empty());
    }
}
