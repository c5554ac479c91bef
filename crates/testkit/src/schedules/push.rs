//! A disk and a clock at whose calls a thread may be held up.
//!
//! 1. What a call does and answers is unchanged.

#[cfg(not(shuttle))]
pub(super) use system::pushed;
#[cfg(shuttle)]
pub(super) use turns::pushed;

/// Threads of the system, pushed out of step as a seed says.
#[cfg(not(shuttle))]
mod system {
    use olivine_vfs::{Clock, DelayingVfs, Random, RealClock, Vfs};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::SeqCst},
        },
        thread,
        time::Duration,
    };

    /// Draws from a seed, at every call, whether the calling thread goes on at once.
    #[derive(Debug)]
    struct Pushing {
        seed: u64,
        calls: AtomicU64,
    }

    impl Pushing {
        fn draw(&self) -> Duration {
            let call = self.calls.fetch_add(1, SeqCst);
            let mut random = Random::new(self.seed ^ call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            match random.below(16) {
                0..9 => {}
                9..14 => (0..random.between(1, 3)).for_each(|_| thread::yield_now()),
                _ => return Duration::from_micros(random.between(1, 60)),
            }
            Duration::ZERO
        }
    }

    /// Time as it is, asked for with a push now and then.
    #[derive(Debug)]
    struct PushingClock {
        clock: RealClock,
        pushing: Arc<Pushing>,
    }

    impl Clock for PushingClock {
        fn now(&self) -> Duration {
            let wait = self.pushing.draw();
            if !wait.is_zero() {
                self.clock.sleep(wait);
            }
            self.clock.now()
        }

        fn wall(&self) -> Duration {
            self.clock.wall()
        }

        fn sleep(&self, duration: Duration) {
            self.clock.sleep(duration.min(Duration::from_millis(2)));
        }
    }

    /// `disk`, and time, with calls that are held up as `seed` says.
    pub(in super::super) fn pushed(
        disk: Arc<dyn Vfs>,
        seed: u64,
    ) -> (Arc<dyn Vfs>, Arc<dyn Clock>) {
        let pushing = Arc::new(Pushing { seed, calls: AtomicU64::new(0) });
        let drawn = Arc::clone(&pushing);
        let clock: Arc<dyn Clock> = Arc::new(PushingClock { clock: RealClock::new(), pushing });
        let vfs = DelayingVfs::new(disk, Arc::clone(&clock), move |_| drawn.draw());
        (Arc::new(vfs), clock)
    }
}

/// Threads of shuttle, which may take turns at every call.
#[cfg(shuttle)]
mod turns {
    use olivine_vfs::{Clock, DelayingVfs, Vfs};
    use shuttle::thread;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::SeqCst},
        },
        time::Duration,
    };

    /// What passes each time that somebody asks for the time.
    const TICK: Duration = Duration::from_micros(10);

    /// Time that passes because it is asked for, or slept on.
    #[derive(Debug)]
    struct TurningClock {
        nanos: AtomicU64,
        turn: Turn,
    }

    #[derive(Debug, Default)]
    struct Turn(shuttle::sync::atomic::AtomicBool);

    impl Turn {
        /// Any operation of shuttle is a moment at which another thread may go on.
        fn take(&self) {
            self.0.load(SeqCst);
        }
    }

    impl TurningClock {
        fn pass(&self, time: Duration) -> Duration {
            let time = time.as_nanos() as u64;
            Duration::from_nanos(self.nanos.fetch_add(time, SeqCst) + time)
        }
    }

    impl Clock for TurningClock {
        fn now(&self) -> Duration {
            self.turn.take();
            self.pass(TICK)
        }

        fn wall(&self) -> Duration {
            self.pass(TICK)
        }

        fn sleep(&self, duration: Duration) {
            self.pass(duration);
            thread::yield_now();
        }
    }

    /// `disk`, with a turn at each call, and time that passes when it is asked for.
    pub(in super::super) fn pushed(
        disk: Arc<dyn Vfs>,
        _seed: u64,
    ) -> (Arc<dyn Vfs>, Arc<dyn Clock>) {
        let clock: Arc<dyn Clock> =
            Arc::new(TurningClock { nanos: AtomicU64::new(0), turn: Turn::default() });
        let turn = Turn::default();
        let vfs = DelayingVfs::new(disk, Arc::clone(&clock), move |_| {
            turn.take();
            Duration::ZERO
        });
        (Arc::new(vfs), clock)
    }
}
