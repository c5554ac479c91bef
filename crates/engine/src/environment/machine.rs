//! How much memory there is: the machine's, or less where a cgroup says so.
//!
//! 1. A limit of any group that this process lives in, or of one above it, counts.
//! 2. What cannot be read limits nothing.

use std::path::{Path, PathBuf};

use olivine_vfs::{Open, Vfs};

/// What is taken for the machine's memory when the kernel does not tell.
const MEMORY_BYTES_UNKNOWN: u64 = 4 << 30;

/// Bytes of these files that are looked at.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The memory that this process may use at most.
pub(super) fn memory_bytes(vfs: &dyn Vfs) -> u64 {
    let machine = machine_bytes(vfs).unwrap_or(MEMORY_BYTES_UNKNOWN);
    limits(vfs).into_iter().min().map_or(machine, |limit| limit.min(machine))
}

fn machine_bytes(vfs: &dyn Vfs) -> Option<u64> {
    let text = text(vfs, Path::new("/proc/meminfo"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// The limits of the groups that this process lives in, in bytes.
fn limits(vfs: &dyn Vfs) -> Vec<u64> {
    let groups = text(vfs, Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    // Each line: number, controllers, the group's path; version 2 has one line, without controllers.
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        // In a container the upper part of the path may be out of sight; its limit stands at the root.
        for above in group.ancestors() {
            let path: PathBuf = Path::new(root).join(above).join(file);
            // `max` is no number, and no limit.
            limits.extend(text(vfs, &path).and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits
}

fn text(vfs: &dyn Vfs, path: &Path) -> Option<String> {
    let mut bytes = vec![0; TEXT_BYTES_MAX];
    let read = vfs.open(path, Open::Read).and_then(|file| file.read_at(&mut bytes, 0)).ok()?;
    bytes.truncate(read);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use olivine_vfs::MemoryVfs;

    use super::*;

    /// A machine with 8 GiB and these files.
    fn machine(files: &[(&str, &str)]) -> MemoryVfs {
        let vfs = MemoryVfs::new();
        let all = [("/proc/meminfo", "MemFree: 1 kB\nMemTotal:  8388608 kB\n")];
        for (path, text) in all.iter().chain(files) {
            let path = Path::new(path);
            let mut above: Vec<_> = path.ancestors().skip(1).collect();
            above.reverse();
            for dir in above.into_iter().skip(1) {
                if vfs.entry(dir).unwrap().is_none() {
                    vfs.create_dir(dir).unwrap();
                }
            }
            vfs.open(path, Open::Create).unwrap().write_at(text.as_bytes(), 0).unwrap();
        }
        vfs
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn without_a_group_it_is_the_machine_s() {
        assert_eq!(memory_bytes(&MemoryVfs::new()), 4 * GIB);
        assert_eq!(memory_bytes(&machine(&[])), 8 * GIB);
        assert_eq!(memory_bytes(&machine(&[("/proc/self/cgroup", "nonsense\n0:\n")])), 8 * GIB);
    }

    #[test]
    fn the_lowest_limit_above_the_process_counts_in_version_2() {
        let files = [
            ("/proc/self/cgroup", "0::/app/worker\n"),
            ("/sys/fs/cgroup/app/worker/memory.max", "max\n"),
            ("/sys/fs/cgroup/app/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/memory.max", "2147483648\n"),
        ];
        assert_eq!(memory_bytes(&machine(&files)), GIB);
    }

    #[test]
    fn version_1_has_a_line_for_memory() {
        let groups = "9:name=systemd:/\n4:memory,hugetlb:/box/one\n1:cpu:/\n0::/\n";
        let files = [
            ("/proc/self/cgroup", groups),
            ("/sys/fs/cgroup/memory/box/one/memory.limit_in_bytes", "536870912\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(memory_bytes(&machine(&files)), GIB / 2);
    }

    /// In a container the path in `/proc` may be the host's.
    #[test]
    fn a_group_out_of_sight_leaves_the_limit_at_the_root() {
        let files = [
            ("/proc/self/cgroup", "4:memory:/docker/0123\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(memory_bytes(&machine(&files)), GIB / 4);
    }

    #[test]
    fn a_limit_above_the_machine_s_memory_is_none() {
        let files =
            [("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "99999999999\n")];
        assert_eq!(memory_bytes(&machine(&files)), 8 * GIB);
    }
}
