//! A disk whose calls take as long as they are told to.
//!
//! 1. A call waits before it is made, on the clock that was handed over, and holds up no other.
//! 2. What a call does and answers is unchanged.

use std::{fmt, io, sync::Arc, time::Duration};

use crate::{
    Call, Clock, Vfs,
    layer::{Around, Layer},
};

/// A disk whose calls take as long as they are told to.
pub type DelayingVfs = Layer<Delaying>;

/// How long a call waits.
pub struct Delaying {
    clock: Arc<dyn Clock>,
    delay: Box<dyn Fn(&Call<'_>) -> Duration + Send + Sync>,
}

impl DelayingVfs {
    /// Before each call, waits on `clock` as long as `delay` says for it.
    pub fn new(
        inner: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        delay: impl Fn(&Call<'_>) -> Duration + Send + Sync + 'static,
    ) -> DelayingVfs {
        Layer::wrap(inner, Delaying { clock, delay: Box::new(delay) })
    }
}

impl Around for Delaying {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        let delay = (self.delay)(call);
        if !delay.is_zero() {
            self.clock.sleep(delay);
        }
        Ok(())
    }
}

impl fmt::Debug for Delaying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delaying").field("clock", &self.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Kind, ManualClock, MemoryVfs, Open};

    /// Syncs of logs take a second, all else no time.
    fn disk_with_slow_log_syncs() -> (DelayingVfs, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let disk = DelayingVfs::new(
            Arc::new(MemoryVfs::new()),
            Arc::<ManualClock>::clone(&clock),
            |call| {
                let log = call.path.to_string_lossy().contains("log-");
                Duration::from_secs(u64::from(call.kind == Kind::Sync && log))
            },
        );
        (disk, clock)
    }

    #[test]
    fn a_call_takes_its_time() {
        let (disk, clock) = disk_with_slow_log_syncs();
        let log = disk.open(Path::new("/log-1"), Open::Create).unwrap();
        log.sync().unwrap();
        log.sync().unwrap();
        assert_eq!(clock.now(), Duration::from_secs(2));
    }

    #[test]
    fn other_kinds_and_paths_take_none() {
        let (disk, clock) = disk_with_slow_log_syncs();
        let log = disk.open(Path::new("/log-1"), Open::Create).unwrap();
        log.write_at(b"text", 0).unwrap();
        let table = disk.open(Path::new("/table-1"), Open::Create).unwrap();
        table.sync().unwrap();
        assert_eq!(clock.now(), Duration::ZERO);
    }
}
