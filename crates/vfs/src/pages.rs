//! The contents of a file in memory, copied on write.
//!
//! Thousands of pictures of one disk stand beside each other in a crash test, so a copy of a file is
//! one shared pointer, and a write copies the one page it touches.
//!
//! 1. A page that is not there reads as zeros.
//! 2. Within the pages every byte at or beyond the length is zero, so growing shows zeros.
//! 3. A copy never changes when the original does.

use std::{fmt, io, ops::Range, sync::Arc};

use rustix::io::Errno;

/// Bytes of a page: what a disk's cache writes out at once.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The longest file; beyond it the list of pages itself would be a burden.
const FILE_BYTES_MAX: u64 = 64 << 30;

/// One page of a file.
pub(crate) type Page = [u8; PAGE_BYTES];

/// Contents and length of a file.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    pages: Arc<Vec<Option<Arc<Page>>>>,
    len: u64,
}

impl Pages {
    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `offset` as far as the file reaches.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < want {
            let (index, start) = place(offset + done as u64);
            let take = (PAGE_BYTES - start).min(want - done);
            let target = &mut buffer[done..done + take];
            match self.pages.get(index) {
                Some(Some(page)) => target.copy_from_slice(&page[start..start + take]),
                Some(None) | None => target.fill(0),
            }
            done += take;
        }
        want
    }

    /// Puts `bytes` at `offset`, growing the file if need be; the indexes of the pages it touched.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<Range<usize>> {
        let end = Pages::end_of(bytes, offset)?;
        if bytes.is_empty() {
            return Ok(0..0);
        }
        let touched = place(offset).0..place(end - 1).0 + 1;
        let pages = Arc::make_mut(&mut self.pages);
        if pages.len() < touched.end {
            pages.resize(touched.end, None);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (index, start) = place(offset + done as u64);
            let take = (PAGE_BYTES - start).min(bytes.len() - done);
            write_page(&mut pages[index], start, &bytes[done..done + take]);
            done += take;
        }
        self.len = self.len.max(end);
        Ok(touched)
    }

    /// Where a write ends; refused when no file can be so long.
    pub(crate) fn end_of(bytes: &[u8], offset: u64) -> io::Result<u64> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= FILE_BYTES_MAX);
        Ok(end.ok_or(Errno::FBIG)?)
    }

    /// Cuts, or grows with zeros; the indexes of the pages whose bytes changed.
    pub(crate) fn set_len(&mut self, bytes: u64) -> io::Result<Range<usize>> {
        if FILE_BYTES_MAX < bytes {
            return Err(Errno::FBIG.into());
        }
        let touched = place(bytes).0..self.pages.len();
        if self.len <= bytes {
            self.len = bytes;
            return Ok(0..0);
        }
        self.cut(bytes);
        Ok(touched)
    }

    /// The page with this index, or `None` for zeros.
    pub(crate) fn page(&self, index: usize) -> Option<&Arc<Page>> {
        self.pages.get(index).and_then(Option::as_ref)
    }

    /// Puts other pages in their place, `None` for zeros, and cuts or grows the file to `len`.
    pub(crate) fn replace(
        &mut self,
        changed: impl IntoIterator<Item = (usize, Option<Arc<Page>>)>,
        len: u64,
    ) {
        for (index, page) in changed {
            if page.is_none() && self.page(index).is_none() {
                continue;
            }
            let pages = Arc::make_mut(&mut self.pages);
            if pages.len() <= index {
                pages.resize(index + 1, None);
            }
            pages[index] = page;
        }
        // A page may hold bytes beyond `len`; cutting from the end of the pages zeroes them.
        self.len = len.max((self.pages.len() * PAGE_BYTES) as u64);
        self.cut(len);
    }

    fn cut(&mut self, len: u64) {
        assert!(len <= self.len);
        self.len = len;
        let (index, start) = place(len);
        if self.pages.len() <= index {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        if 0 < start {
            if let Some(page) = &mut pages[index]
                && page[start..].iter().any(|byte| *byte != 0)
            {
                Arc::make_mut(page)[start..].fill(0);
            }
            pages.truncate(index + 1);
        } else {
            pages.truncate(index);
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pages({} bytes)", self.len)
    }
}

/// Index of the page that holds the byte at `offset`, and the byte's place in it.
fn place(offset: u64) -> (usize, usize) {
    let page = PAGE_BYTES as u64;
    (usize::try_from(offset / page).unwrap_or(usize::MAX), (offset % page) as usize)
}

fn write_page(slot: &mut Option<Arc<Page>>, start: usize, bytes: &[u8]) {
    if let Some(page) = slot.as_mut().and_then(Arc::get_mut) {
        page[start..start + bytes.len()].copy_from_slice(bytes);
        return;
    }
    let mut page = match slot {
        Some(page) if bytes.len() < PAGE_BYTES => **page,
        Some(_) | None => [0; PAGE_BYTES],
    };
    page[start..start + bytes.len()].copy_from_slice(bytes);
    *slot = Some(Arc::new(page));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn all(pages: &Pages) -> Vec<u8> {
        let mut bytes = vec![1; pages.len() as usize];
        assert_eq!(pages.read_at(&mut bytes, 0), bytes.len());
        bytes
    }

    /// Any writes and cuts leave what they leave in a plain vector.
    #[test]
    fn behaves_like_a_vector() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut pages, mut oracle) = (Pages::default(), Vec::new());
            for _ in 0..30 {
                let offset = random.below(20_000);
                if random.chance(1, 3) {
                    pages.set_len(offset).unwrap();
                    oracle.resize(offset as usize, 0);
                } else {
                    let len = random.index(10_000);
                    let bytes = random.bytes(len);
                    pages.write_at(&bytes, offset).unwrap();
                    let end = offset as usize + len;
                    if 0 < len && oracle.len() < end {
                        oracle.resize(end, 0);
                    }
                    if 0 < len {
                        oracle[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
                assert!(all(&pages) == oracle, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_copy_does_not_change_with_the_original() {
        let mut pages = Pages::default();
        pages.write_at(b"before", 0).unwrap();
        let copy = pages.clone();
        pages.write_at(b"after!", 0).unwrap();
        pages.set_len(3).unwrap();
        assert_eq!(all(&copy), b"before");
        assert_eq!(all(&pages), b"aft");
    }

    #[test]
    fn a_place_beyond_the_longest_file_is_refused() {
        let mut pages = Pages::default();
        assert!(pages.write_at(b"x", u64::MAX).is_err());
        assert!(pages.write_at(b"x", FILE_BYTES_MAX).is_err());
        assert!(pages.set_len(u64::MAX).is_err());
        assert_eq!(pages.read_at(&mut [0; 4], u64::MAX), 0);
        assert_eq!(pages.len(), 0);
    }

    #[test]
    fn other_pages_put_in_are_cut_at_the_length() {
        let mut pages = Pages::default();
        pages.replace([(1, Some(Arc::new([7; PAGE_BYTES])))], 5000);
        assert_eq!(all(&pages)[4095..4097], [0, 7]);
        pages.set_len(6000).unwrap();
        assert!(all(&pages)[5000..].iter().all(|byte| *byte == 0));
    }
}
