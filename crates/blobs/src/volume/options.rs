//! How a volume lays its objects out, and its bounds.

use crate::error::{Error, Result};

/// How objects lie on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Small objects back to back in extents, a large one in an extent of its own. Everything is checksummed, and says
    /// whose it is.
    #[default]
    Packed,
    /// A file for each object, named by the MD5 of a slash and the key: `3a/3ad3/3ad31f8c5338bea26f782e9e453d1d9d`.
    Smol,
    /// A file for each object, in directories named by the MD5 of the key: `5d/41/aGVsbG8=`.
    Mkv,
}

impl Layout {
    /// As `VOLUME` has it.
    pub(super) fn number(self) -> u32 {
        match self {
            Layout::Packed => 1,
            Layout::Smol => 2,
            Layout::Mkv => 3,
        }
    }

    pub(super) fn of_number(number: u32) -> Option<Layout> {
        [Layout::Packed, Layout::Smol, Layout::Mkv].into_iter().find(|one| one.number() == number)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Packed => "packed",
            Layout::Smol => "smol",
            Layout::Mkv => "mkv",
        }
    }
}

/// How a volume is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOptions {
    /// How objects lie on disk; a volume keeps the one it was made with.
    pub layout: Layout,
    /// How many directories `svXX` the files of layout mkv are spread over, as minikeyvalue has them for several disks:
    /// 1 to 256, and 1 is none. A volume keeps what it was made with, which is also what nothing said stands for, and
    /// 1 of one that is made.
    pub subvolumes: Option<u32>,
    /// An extent that is shared takes no more records from here on. Default 1 GiB, 64 KiB to 1 TiB.
    pub extent_bytes_max: u64,
    /// A longer value has an extent of its own. Shorter ones wait in memory until they are whole. Default 1 MiB,
    /// 0 to 16 MiB.
    pub packed_bytes_max: u64,
    /// Writes are refused as `Full` where they would leave less room than this on the disk; deletions and
    /// vacuuming may use it. Default 1 GiB.
    pub room_bytes_min: u64,
    /// The current extent is made longer, with zeros, by this much at once, so that a sync has no length to
    /// write: on ext4 that takes a tenth off a sync of a busy disk and a third off one of a quiet one. Default 4 MiB,
    /// at most 16 MiB; 0 makes it longer with every write.
    pub ahead_bytes: u64,
    /// What the cache of extents that lie in a bucket may take of the disk. Default 1 GiB, at least 4 MiB.
    pub tier_cache_bytes: u64,
    /// Nothing is written: no torn tail is cut, and what is asked to be written is refused.
    pub read_only: bool,
}

impl Default for VolumeOptions {
    fn default() -> VolumeOptions {
        VolumeOptions {
            layout: Layout::Packed,
            subvolumes: None,
            extent_bytes_max: 1 << 30,
            packed_bytes_max: 1 << 20,
            room_bytes_min: 1 << 30,
            ahead_bytes: 4 << 20,
            tier_cache_bytes: 1 << 30,
            read_only: false,
        }
    }
}

/// The most that `ahead_bytes` may be.
pub(super) const AHEAD_BYTES_MAX: u64 = 16 << 20;

/// The most that `packed_bytes_max` may be.
pub(super) const PACKED_BYTES_MAX: u64 = 16 << 20;

/// The most that `subvolumes` may be: `svFF` is the last.
pub(super) const SUBVOLUMES_MAX: u32 = 256;

impl VolumeOptions {
    /// Says which field is out of its bounds, if one is.
    pub fn validate(&self) -> Result<()> {
        within("extent_bytes_max", self.extent_bytes_max, 64 << 10, 1 << 40)?;
        within("packed_bytes_max", self.packed_bytes_max, 0, PACKED_BYTES_MAX)?;
        within("tier_cache_bytes", self.tier_cache_bytes, 4 << 20, 1 << 50)?;
        within("ahead_bytes", self.ahead_bytes, 0, AHEAD_BYTES_MAX)?;
        let Some(subvolumes) = self.subvolumes else { return Ok(()) };
        within("subvolumes", subvolumes.into(), 1, SUBVOLUMES_MAX.into())?;
        match self.layout {
            Layout::Packed | Layout::Smol if 1 < subvolumes => {
                let layout = self.layout.name();
                let what = format!(
                    "is {subvolumes}, and the layout is {layout}: only mkv has them; where extents or smol's files \
                     shall lie on several disks, each of these is a volume"
                );
                Err(Error::invalid("subvolumes", what))
            }
            _ => Ok(()),
        }
    }
}

fn within(field: &'static str, value: u64, low: u64, high: u64) -> Result<()> {
    if low <= value && value <= high {
        return Ok(());
    }
    Err(Error::invalid(field, format!("is {value}, and may be {low} to {high}")))
}
