//! Cuts what a connection has received into lines.
//!
//! 1. A line ends with LF or CRLF, which do not belong to it.
//! 2. What was searched once is not searched again.

use memchr::memchr;

/// Finds lines in a buffer that grows at its end.
#[derive(Debug, Default)]
pub struct Lines {
    /// Bytes from the start of the buffer that hold no line end.
    searched: usize,
}

/// What was found at the start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A line, and how many bytes it takes with its end.
    Line(&'a [u8], usize),
    /// More must come.
    Part,
    /// A line longer than it may be; the connection cannot go on.
    TooLong,
}

impl Lines {
    /// The first line of `buffer`, which begins where the last line found ended.
    pub fn next<'a>(&mut self, buffer: &'a [u8], line_bytes_max: usize) -> Found<'a> {
        if let Some(place) = memchr(b'\n', &buffer[self.searched..]) {
            let end = self.searched + place;
            self.searched = 0;
            let line = &buffer[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line_bytes_max < line.len() {
                return Found::TooLong;
            }
            Found::Line(line, end + 1)
        } else {
            self.searched = buffer.len();
            // A CR may still turn out to belong to the line's end.
            if line_bytes_max + 1 < buffer.len() { Found::TooLong } else { Found::Part }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_the_pieces_end() {
        let text = b"one\r\n\ntwo\nrest";
        for cut in 0..=text.len() {
            let (mut lines, mut found, mut start) = (Lines::default(), Vec::new(), 0);
            for end in [cut, text.len()] {
                while let Found::Line(line, bytes) = lines.next(&text[start..end], 10) {
                    found.push(line.to_vec());
                    start += bytes;
                }
            }
            assert_eq!(found, [&b"one"[..], b"", b"two"], "cut at {cut}");
            assert_eq!(&text[start..], b"rest");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_it_may() {
        for (text, expected) in [
            (&b"12345\n"[..], Found::Line(b"12345", 6)),
            (b"12345\r\n", Found::Line(b"12345", 7)),
            (b"12345\r", Found::Part),
            (b"1234567", Found::TooLong),
            (b"123456\n", Found::TooLong),
        ] {
            assert_eq!(Lines::default().next(text, 5), expected, "{text:?}");
        }
    }
}
