//! Large requests of points: unpacked, read and written on threads that serve nobody.
//!
//! A worker would serve nobody else meanwhile. They take turns, so that one that is large keeps one that is less so
//! waiting for a turn only.
//!
//! 1. Never more than `turns` large ones are worked at at once, so that a core is left for all others where there are two.
//! 2. What they take of memory is counted while they take it; what would be too much is refused before it is there.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_command::{Code, Refusal};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Requests of more bytes are worked at here.
pub(crate) const BULK_BYTES_MIN: usize = 64 << 10;
/// How long a turn is, about.
pub(crate) const TURN: Duration = Duration::from_millis(20);

/// Large requests of points.
#[derive(Debug)]
pub(crate) struct Bulk {
    turns: Semaphore,
    /// The same of those that are small and only found others at the series: they wait for no large one.
    small_turns: Semaphore,
    bytes: AtomicU64,
    bytes_max: u64,
}

/// Memory that a request takes.
#[derive(Debug)]
pub(crate) struct Kept {
    bulk: Arc<Bulk>,
    bytes: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.bulk.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

impl Kept {
    /// Counts more, or says that there is too much.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = bytes as u64;
        let before = self.bulk.bytes.fetch_add(bytes, Relaxed);
        // Counted whatever comes of it: what is refused goes with this.
        self.bytes += bytes;
        if before.saturating_add(bytes) <= self.bulk.bytes_max {
            return Ok(());
        }
        let text = format!(
            "large requests of points take more than {} bytes of memory at the moment; send it again, or raise \
             `memory`",
            self.bulk.bytes_max
        );
        Err(Refusal::new(Code::Busy, text))
    }
}

impl Bulk {
    /// That of a node which has so many workers, one for each core.
    pub(crate) fn new(workers: usize, bytes_max: u64) -> Arc<Bulk> {
        let turns = |turns: usize| Semaphore::new(turns.clamp(1, Semaphore::MAX_PERMITS));
        let (turns, small_turns) = (turns(workers.saturating_sub(1)), turns(workers));
        Arc::new(Bulk { turns, small_turns, bytes: AtomicU64::new(0), bytes_max })
    }

    /// Begins to count what a request takes.
    pub(crate) fn kept(self: &Arc<Bulk>) -> Kept {
        Kept { bulk: Arc::clone(self), bytes: 0 }
    }

    /// Has a thread do something for a request of so many bytes, when it is its turn.
    pub(crate) async fn turn<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turns = if bytes <= BULK_BYTES_MIN { &self.small_turns } else { &self.turns };
        let Ok(_permit) = turns.acquire().await else {
            return Err(Refusal::new(Code::Unavailable, "the node ends"));
        };
        spawn_blocking(work).await.map_err(|_| Refusal::new(Code::Failed, "the request panicked"))
    }
}

/// Why something was not unpacked.
#[derive(Debug)]
pub(crate) enum NotUnpacked {
    /// It is none that can be.
    Wrong(io::Error),
    /// There is no memory for it.
    Refused(Refusal),
}

/// What was packed, up to one byte more than it may be.
pub(crate) fn unpacked(
    packed: impl io::Read,
    most: usize,
    kept: &mut Kept,
) -> Result<Vec<u8>, NotUnpacked> {
    /// What is unpacked before others may have the core: some hundred microseconds' work.
    const STEP: usize = 256 << 10;
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed);
    while unpacked.len() <= most {
        let step = STEP.min(most + 1 - unpacked.len());
        let mut limited = io::Read::take(&mut reader, step as u64);
        let read =
            io::Read::read_to_end(&mut limited, &mut unpacked).map_err(NotUnpacked::Wrong)?;
        kept.add(read).map_err(NotUnpacked::Refused)?;
        if read < step {
            break;
        }
        std::thread::yield_now();
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn bodies_are_unpacked_no_further_than_they_may() {
        let bulk = Bulk::new(1, 3 << 20);
        let unpacked = |bytes: &[u8], most| unpacked(bytes, most, &mut bulk.kept());
        let two = [packed(b"m x=1\n"), packed(b"m x=2\n")].concat();
        assert_eq!(unpacked(&two, 100).unwrap(), b"m x=1\nm x=2\n");
        let bomb = packed(&vec![b'a'; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(unpacked(&bomb, 1_000).unwrap().len(), 1_001);
        assert_eq!(unpacked(&bomb, 2 << 20).unwrap().len(), (2 << 20) + 1);
        for cut in 0..two.len() / 2 {
            assert!(unpacked(&two[..cut], 100).is_err() || cut == 0, "{cut}");
        }
        assert!(matches!(unpacked(b"m x=1", 100), Err(NotUnpacked::Wrong(_))));
        let refused = unpacked(&bomb, 8 << 20);
        assert!(
            matches!(refused, Err(NotUnpacked::Refused(refusal)) if refusal.code == Code::Busy)
        );
        assert_eq!(bulk.bytes.load(Relaxed), 0, "what was refused is let go of");
    }
}
