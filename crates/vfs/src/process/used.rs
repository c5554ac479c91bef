//! What this process uses of the machine, as the kernel counts it.
//!
//! 1. What a system does not tell is left out, not guessed.

use std::{path::Path, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    time::{ClockId, clock_gettime},
};

use crate::{Open, RealVfs, Vfs as _};

/// More of a file of the kernel is not read.
const BYTES_MAX: usize = 64 << 10;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Time on processors, of all its threads.
    pub cpu: Duration,
    /// Memory that is in memory.
    pub resident_bytes: Option<u64>,
    /// Memory that it has addresses for.
    pub virtual_bytes: Option<u64>,
    /// Files, sockets and the like that are open.
    pub open_files: Option<u64>,
    /// When it started, since 1970.
    pub started: Option<Duration>,
}

/// What this process uses now.
pub fn process_use() -> ProcessUse {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    let stat = read("/proc/self/stat").and_then(|text| Stat::of(&text));
    let open_files = RealVfs.list(Path::new("/proc/self/fd")).ok();
    let booted = read("/proc/stat").and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    });
    let started = stat.as_ref().zip(booted).map(|(stat, booted)| {
        let ticks = clock_ticks_per_second().max(1);
        let millis = stat.started_ticks.saturating_mul(1_000) / ticks;
        Duration::from_secs(booted) + Duration::from_millis(millis)
    });
    ProcessUse {
        cpu,
        resident_bytes: stat.as_ref().map(|stat| stat.resident_pages * page_size() as u64),
        virtual_bytes: stat.as_ref().map(|stat| stat.virtual_bytes),
        // One of them is the folder that was just read.
        open_files: open_files.map(|entries| (entries.len() as u64).saturating_sub(1)),
        started,
    }
}

fn read(path: &str) -> Option<String> {
    let file = RealVfs.open(Path::new(path), Open::Read).ok()?;
    let mut bytes = vec![0; BYTES_MAX];
    let length = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(length);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is wanted of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(text: &str) -> Option<Stat> {
        // The second field is a name in brackets, and may have anything in it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of these is the third of the file.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Stat {
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_anything_in_it() {
        let text =
            "7 (a) 9 (b) S 1 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 3 0 12345 999424 77 18446";
        let stat = Stat { started_ticks: 12345, virtual_bytes: 999_424, resident_pages: 77 };
        assert_eq!(Stat::of(text), Some(stat));
        assert_eq!(Stat::of("7 (a) S 1"), None);
        assert_eq!(Stat::of(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        use crate::{Clock as _, RealClock};
        let before = process_use();
        let resident = before.resident_bytes.unwrap();
        assert!((1 << 19..1 << 40).contains(&resident), "{resident}");
        assert!(resident <= before.virtual_bytes.unwrap());
        let ago = RealClock::new().wall().checked_sub(before.started.unwrap()).unwrap();
        assert!(ago < Duration::from_hours(24), "{ago:?}");
        let pipes: Vec<_> = (0..50).map(|_| std::io::pipe().unwrap()).collect();
        let after = process_use();
        assert!(before.open_files.unwrap() + 50 < after.open_files.unwrap(), "{after:?}");
        assert!(before.cpu <= after.cpu && after.cpu != Duration::ZERO);
        drop(pipes);
    }
}
