//! Memory for version records: chunks that are filled from the front and freed together.
//!
//! The arena hands out raw places, never slices, because readers look at what was written earlier
//! while the inserter writes what comes next. A request that is large beside the next chunk gets a
//! chunk of its own, so a large value wastes nothing behind it.
//!
//! 1. A place stays where it is until the arena is dropped, and is handed out once.
//! 2. `bytes` is what was taken from the allocator, to the byte.
//! 3. What lies unused is at most a third of `bytes`, or one chunk of `CHUNK_BYTES_MIN`.
#![expect(unsafe_code, reason = "hands out raw memory")]

use std::{
    alloc::{self, Layout},
    ptr::{self, NonNull},
};

/// The first chunk; a keyspace with a few small entries needs no more.
const CHUNK_BYTES_MIN: usize = 4 << 10;

/// Chunks grow up to here with what the arena holds.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Every place begins at a multiple of this.
const ALIGN: usize = 8;

/// What a chunk begins with.
#[repr(C)]
struct Chunk {
    /// The chunk taken before this one.
    previous: *mut Chunk,
    layout: Layout,
}

/// A bump allocator without individual freeing.
///
/// Its `unsafe` is sound because (a) a chunk never moves, shrinks or is freed before the arena is
/// dropped; (b) `free..free + room` lies in the newest shared chunk and was not handed out yet; and
/// (c) `newest` and every `previous` point at chunks that `grow` made, each reached once.
pub(super) struct Arena {
    newest: *mut Chunk,
    free: *mut u8,
    room: usize,
    bytes: u64,
}

// SAFETY: by (c) the chunks belong to this arena alone, so they may go where it goes.
unsafe impl Send for Arena {}

impl Arena {
    pub(super) fn new() -> Arena {
        Arena { newest: ptr::null_mut(), free: ptr::null_mut(), room: 0, bytes: 0 }
    }

    /// Bytes taken from the allocator.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A place of `len` bytes at a multiple of eight, valid until the arena is dropped and known to
    /// nobody else. Its content is undefined.
    pub(super) fn take(&mut self, len: usize) -> NonNull<u8> {
        let len = len.next_multiple_of(ALIGN);
        if len > self.room {
            let chunk = self.chunk_bytes_next();
            if len > chunk / 4 {
                return self.grow(len);
            }
            self.room = chunk - size_of::<Chunk>();
            self.free = self.grow(self.room).as_ptr();
        }
        let place = self.free;
        self.free = place.wrapping_add(len);
        self.room -= len;
        NonNull::new(place).expect("a chunk was taken")
    }

    /// An eighth of what there is, so that little lies idle whatever the size.
    fn chunk_bytes_next(&self) -> usize {
        let part = usize::try_from(self.bytes / 8).unwrap_or(usize::MAX);
        let bytes = part.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        bytes - bytes % CHUNK_BYTES_MIN
    }

    /// Takes a chunk with `room` bytes behind its header, and answers where they begin.
    fn grow(&mut self, room: usize) -> NonNull<u8> {
        let layout = Layout::from_size_align(size_of::<Chunk>() + room, align_of::<Chunk>())
            .expect("an entry is smaller than the address space");
        // SAFETY: the layout is at least a header long, so not empty.
        let chunk = unsafe { alloc::alloc(layout) };
        if chunk.is_null() {
            alloc::handle_alloc_error(layout);
        }
        #[expect(clippy::cast_ptr_alignment, reason = "the layout asks for a header's alignment")]
        let header = chunk.cast::<Chunk>();
        // SAFETY: just taken, aligned and long enough for a header; nobody else knows it.
        unsafe { header.write(Chunk { previous: self.newest, layout }) };
        self.newest = header;
        self.bytes += layout.size() as u64;
        NonNull::new(chunk.wrapping_add(size_of::<Chunk>())).expect("behind the header")
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        while !self.newest.is_null() {
            // SAFETY: by (c) a live chunk, whose header was written when it was taken.
            let Chunk { previous, layout } = unsafe { self.newest.read() };
            // SAFETY: by (c) taken with this layout and freed only here, and the list goes on past it.
            unsafe { alloc::dealloc(self.newest.cast(), layout) };
            self.newest = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_aligned_apart_and_accounted() {
        let mut arena = Arena::new();
        assert_eq!(arena.bytes(), 0);
        let mut places = Vec::new();
        let (mut wanted, mut len) = (0, 1);
        while wanted < 3 << 20 {
            len = (len * 29 + 7) % 9_001;
            let place = arena.take(len).as_ptr();
            // SAFETY: the place has `len` bytes and is ours.
            unsafe { place.write_bytes(0xa5, len) };
            places.push((place.addr(), len));
            wanted += len as u64;
            assert!(place.addr().is_multiple_of(ALIGN));
            let idle = arena.bytes() - wanted;
            assert!(idle <= (arena.bytes() / 3).max(8 << 10), "{idle} of {} idle", arena.bytes());
        }
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    }

    #[test]
    fn a_large_entry_has_a_chunk_of_its_own() {
        let mut arena = Arena::new();
        arena.take(10);
        assert_eq!(arena.bytes(), CHUNK_BYTES_MIN as u64);
        arena.take(10 << 20);
        let expected = CHUNK_BYTES_MIN + (10 << 20) + size_of::<Chunk>();
        assert_eq!(arena.bytes(), expected as u64);
        arena.take(10);
        assert_eq!(arena.bytes(), expected as u64, "the small chunk goes on being filled");
    }
}
