//! One version of one key: a run of bytes in the arena, written whole and never changed.
//!
//! ```text
//! stamp u64 | sizes u64 | [previous ptr, skip ptr] | key bytes or [ptr to them] | value bytes
//! ```
//!
//! The pointers are there when the key has an older version. The key of an older version is then
//! near, so a long key is pointed at and only a short one copied: a lookup compares the newest
//! version's key, and a copy beside it saves going to the oldest.
//!
//! `skip` makes the versions of a key a skew-binary jump list: the version at depth `d` skips as
//! many versions as the smallest term of `d` written in terms of `2^k - 1`, so that any version is
//! reached from the newest one in a logarithmic number of steps, and adding one costs at most one
//! look at another version.
//!
//! 1. Versions of one key are strictly older along `previous` and along `skip`.
//! 2. `skip` never skips past the oldest version of a key.
#![expect(unsafe_code, reason = "reads and writes raw memory")]
#![expect(clippy::cast_ptr_alignment, reason = "the arena gives multiples of eight")]

use std::{
    marker::PhantomData,
    mem::align_of,
    ptr::{self, NonNull},
    slice,
};

use super::arena::Arena;
use crate::key::{KEY_BYTES_MAX, Stamp, VALUE_BYTES_MAX};
#[cfg(loom)]
use crate::sync::Tracked;

/// Up to this length a key is copied into each of its versions.
const KEY_COPY_BYTES_MAX: usize = 32;

const DEPTH_BITS: u32 = if cfg!(test) { 6 } else { 20 };

/// Beyond this depth a new jump list begins on top of the old one. Small in tests.
const DEPTH_MAX: u64 = (1 << DEPTH_BITS) - 1;

#[repr(C)]
struct Header {
    stamp: Stamp,
    sizes: Sizes,
    #[cfg(loom)]
    written: Tracked,
}

/// Lengths of key and value, depth, and whether there is an older version, in one word.
#[derive(Clone, Copy)]
struct Sizes(u64);

#[repr(C)]
struct Links {
    previous: NonNull<u8>,
    skip: NonNull<u8>,
}

/// A version of a key in the arena.
///
/// Its `unsafe` is sound because (a) a record is made only from a place where `write` wrote one; (b) `'a` does not outlive the
/// arena, in which places never move; (c) no byte of a record changes after `write`, so references
/// into it may be shared; and (d) another thread gets a record's pointer only through a release
/// store made after `write` and an acquire load.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    place: NonNull<u8>,
    arena: PhantomData<&'a [u8]>,
}

// What `Header` and `Links` need is what the arena gives.
const _: () = assert!(align_of::<Header>() <= 8 && align_of::<Links>() <= 8);
const _: () = assert!(KEY_BYTES_MAX < 1 << 16 && VALUE_BYTES_MAX < 1 << 27);

impl Sizes {
    fn new(key: usize, value: usize, depth: u64, older: bool) -> Sizes {
        let older = u64::from(older);
        Sizes((key as u64) | (value as u64) << 16 | older << 43 | depth << 44)
    }

    fn key(self) -> usize {
        self.0 as usize & 0xffff
    }

    fn value(self) -> usize {
        (self.0 >> 16) as usize & ((1 << 27) - 1)
    }

    fn is_older(self) -> bool {
        self.0 >> 43 & 1 == 1
    }

    fn depth(self) -> u64 {
        self.0 >> 44
    }

    fn key_is_apart(self) -> bool {
        self.is_older() && self.key() > KEY_COPY_BYTES_MAX
    }

    /// Where the key, or the pointer to it, begins.
    fn key_offset(self) -> usize {
        size_of::<Header>() + if self.is_older() { size_of::<Links>() } else { 0 }
    }

    fn value_offset(self) -> usize {
        let key = if self.key_is_apart() { size_of::<*const u8>() } else { self.key() };
        self.key_offset() + key
    }

    fn total(self) -> usize {
        self.value_offset() + self.value()
    }
}

impl<'a> Record<'a> {
    /// Writes a version of `key` that is newer than `older`, the newest one so far, and answers the
    /// place to attach to.
    pub(super) fn write(
        arena: &mut Arena,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
        older: Option<Record<'_>>,
    ) -> NonNull<u8> {
        let depth = match older {
            Some(older) if older.sizes().depth() < DEPTH_MAX => older.sizes().depth() + 1,
            _ => 0,
        };
        let sizes = Sizes::new(key.len(), value.len(), depth, older.is_some());
        let place = arena.take(sizes.total());
        let at = |offset: usize| place.as_ptr().wrapping_add(offset);
        let header = Header {
            stamp,
            sizes,
            #[cfg(loom)]
            written: Tracked::new(),
        };
        // SAFETY: the place has room for `sizes.total()` bytes, this is its begin, and it is aligned.
        unsafe { place.cast().write(header) };
        if let Some(older) = older {
            let links = Links { previous: older.place, skip: older.skip_of_next().place };
            // SAFETY: `sizes` counts the links behind the header, and both are multiples of eight.
            unsafe { at(size_of::<Header>()).cast::<Links>().write(links) };
        }
        if let (true, Some(older)) = (sizes.key_is_apart(), older) {
            let apart = older.key().as_ptr();
            // SAFETY: `sizes` counts the pointer behind the links, and it is aligned as they are.
            unsafe { at(sizes.key_offset()).cast::<*const u8>().write(apart) };
        } else {
            // SAFETY: `sizes` counts the key's bytes here; `key` cannot overlap a place just taken.
            unsafe { ptr::copy_nonoverlapping(key.as_ptr(), at(sizes.key_offset()), key.len()) };
        }
        // SAFETY: `sizes` counts the value's bytes here; `value` cannot overlap a place just taken.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), at(sizes.value_offset()), value.len()) };
        place
    }

    /// The record's place, to be attached to later.
    pub(super) fn detach(self) -> NonNull<u8> {
        self.place
    }

    /// The record at `place`.
    ///
    /// # Safety
    /// `place` came from `write` or `detach`, to this thread as (d) demands, and its arena outlives
    /// `'a`.
    pub(super) unsafe fn attach(place: NonNull<u8>) -> Record<'a> {
        Record { place, arena: PhantomData }
    }

    fn header(self) -> &'a Header {
        // SAFETY: by (a) a header was written here; by (b) and (c) it may be borrowed.
        let header: &Header = unsafe { self.place.cast().as_ref() };
        #[cfg(loom)]
        header.written.read();
        header
    }

    fn sizes(self) -> Sizes {
        self.header().sizes
    }

    fn at(self, offset: usize) -> *const u8 {
        self.place.as_ptr().wrapping_add(offset)
    }

    pub(super) fn stamp(self) -> Stamp {
        self.header().stamp
    }

    pub(super) fn key(self) -> &'a [u8] {
        let sizes = self.sizes();
        let mut bytes = self.at(sizes.key_offset());
        if sizes.key_is_apart() {
            // SAFETY: by (a) the pointer was written here, aligned.
            bytes = unsafe { bytes.cast::<*const u8>().read() };
        }
        // SAFETY: by (a) that many bytes of key were written there; by (b) and (c) borrowable. An
        // older version's bytes are in the same arena.
        unsafe { slice::from_raw_parts(bytes, sizes.key()) }
    }

    pub(super) fn value(self) -> &'a [u8] {
        let sizes = self.sizes();
        // SAFETY: by (a) that many bytes of value were written there; by (b) and (c) borrowable.
        unsafe { slice::from_raw_parts(self.at(sizes.value_offset()), sizes.value()) }
    }

    fn links(self) -> Option<&'a Links> {
        if !self.sizes().is_older() {
            return None;
        }
        // SAFETY: by (a) links were written behind the header; by (b) and (c) borrowable.
        Some(unsafe { &*self.at(size_of::<Header>()).cast::<Links>() })
    }

    /// The next older version.
    pub(super) fn previous(self) -> Option<Record<'a>> {
        let place = self.links()?.previous;
        // SAFETY: by (a) a record's place, of the same arena, written before this record was.
        Some(unsafe { Record::attach(place) })
    }

    /// An older version, some way off.
    fn skip(self) -> Option<Record<'a>> {
        let place = self.links()?.skip;
        // SAFETY: by (a) a record's place, of the same arena, written before this record was.
        Some(unsafe { Record::attach(place) })
    }

    /// Where the version that comes on top of this one skips to.
    fn skip_of_next(self) -> Record<'a> {
        let depth = self.sizes().depth();
        // Depth starts anew on top, or this skip and the one below are of one length: join them.
        let joined = match self.skip() {
            Some(skip) if depth < DEPTH_MAX && skipped(depth + 1) > 1 => skip.skip(),
            _ => None,
        };
        joined.unwrap_or(self)
    }

    /// The newest version up to `bound`.
    pub(super) fn version_at(self, bound: Stamp) -> Option<Record<'a>> {
        let mut record = self;
        while record.stamp() > bound {
            let skip = record.skip()?;
            record = if skip.stamp() > bound { skip } else { record.previous()? };
        }
        Some(record)
    }

    /// The oldest version newer than `stamp`, which this one is.
    pub(super) fn version_after(self, stamp: Stamp) -> Record<'a> {
        let newer = |record: &Record<'a>| record.stamp() > stamp;
        let mut record = self;
        while let Some(older) =
            record.skip().filter(newer).or_else(|| record.previous().filter(newer))
        {
            record = older;
        }
        record
    }

    /// The oldest version.
    pub(super) fn oldest(self) -> Record<'a> {
        let mut record = self;
        while let Some(older) = record.skip() {
            record = older;
        }
        record
    }

    /// Asks the processor for the record's first bytes.
    pub(super) fn prefetch(self) {
        prefetch(self.place.as_ptr());
        prefetch(self.place.as_ptr().wrapping_add(64));
    }
}

/// Asks the processor to have the line at `place` at hand soon; it may lie anywhere.
pub(super) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing and faults nowhere.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// How many versions the one at `depth` skips: the smallest term of `depth` in terms `2^k - 1`,
/// taken greedily.
fn skipped(mut depth: u64) -> u64 {
    loop {
        let term = (1 << (depth + 1).ilog2()) - 1;
        if depth <= term {
            return term;
        }
        depth -= term;
    }
}
