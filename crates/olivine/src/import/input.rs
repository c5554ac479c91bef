//! What an import reads: files or the standard input, packed with gzip or not, line by line.
//!
//! 1. Memory is one record, whatever the input: a line that is longer than lines may be is passed over.
//! 2. A record that has line ends within quotes is put together only as far as `RECORD_BYTES_MAX`; where it does not
//!    end, its first line stands alone, and the others come again by themselves.
//! 3. Every line has its number, counted from 1.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use olivine_vfs::Interrupts;

use crate::{ending::Failure, files::Sequential};

/// The longest line.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;
/// How far the end of a record with line ends in it is looked for.
const RECORD_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// What every file that gzip made begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An input that is open.
pub(crate) struct Input {
    pub(crate) lines: Lines,
    /// Bytes read of it, as they are stored.
    read: Rc<Cell<u64>>,
    /// What its first bytes are, unpacked.
    pub(crate) begins: Vec<u8>,
}

impl Input {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
        let file = Sequential::open(path)?;
        Input::of(file).map_err(Failure::io(format!("cannot read {}", path.display())))
    }

    /// Opens the standard input.
    pub(crate) fn standard(interrupts: &Interrupts) -> Result<Input, Failure> {
        let opened = Input::of(interrupts.input());
        opened.map_err(|error| match interrupts.asked() {
            Some(asked) => Failure::asked(asked),
            None => Failure::io("cannot read the standard input".to_owned())(error),
        })
    }

    pub(crate) fn of(bytes: impl Read + 'static) -> io::Result<Input> {
        let read = Rc::new(Cell::new(0));
        let counted = Counted { bytes, read: Rc::clone(&read) };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, counted);
        let mut input: Box<dyn BufRead> = if filled(&mut plain)?.starts_with(&GZIP) {
            let unpacked = MultiGzDecoder::new(plain);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked))
        } else {
            Box::new(plain)
        };
        let begins = filled(&mut input)?.to_vec();
        let lines =
            Lines { input, record: Vec::new(), waiting: VecDeque::new(), first: 0, next: 1 };
        Ok(Input { lines, read, begins })
    }

    /// Bytes read of it, as they are stored.
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }
}

fn filled(input: &mut impl BufRead) -> io::Result<&[u8]> {
    // One that was interrupted is begun again, and borrowed anew behind the loop.
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    input.fill_buf()
}

struct Counted<R> {
    bytes: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// What was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record.
    Record,
    /// A line that is longer than lines may be, and was passed over.
    TooLong,
    /// There is no more.
    End,
}

/// The lines of an input.
pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    record: Vec<u8>,
    /// Lines that were read and are to come again.
    waiting: VecDeque<Vec<u8>>,
    first: u64,
    next: u64,
}

impl Lines {
    /// What was read last, without the line end behind it.
    pub(crate) fn record(&self) -> &[u8] {
        self.record.strip_suffix(b"\r").unwrap_or(&self.record)
    }

    /// The number of its first line.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the line that comes next.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Reads one line.
    pub(crate) fn read_line(&mut self) -> io::Result<Next> {
        self.first = self.next;
        self.record.clear();
        self.add()
    }

    /// Reads one record: more than a line where quotes enclose line ends, as `is_whole` tells of what was read so far.
    pub(crate) fn read_record(&mut self, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Next> {
        let read = self.read_line()?;
        if read != Next::Record || !self.record.contains(&b'"') || is_whole(&self.record) {
            return Ok(read);
        }
        while self.record.len() < RECORD_BYTES_MAX {
            let before = self.record.len();
            self.record.push(b'\n');
            match self.add()? {
                Next::Record => {}
                Next::TooLong | Next::End => {
                    self.record.truncate(before);
                    break;
                }
            }
            if self.record[before..].contains(&b'"') && is_whole(&self.record) {
                return Ok(Next::Record);
            }
        }
        self.only_first();
        Ok(Next::Record)
    }

    /// Leaves of a record its first line, and has the others come again.
    pub(crate) fn only_first(&mut self) {
        let Some(end) = self.record.iter().position(|byte| *byte == b'\n') else { return };
        let rest = self.record.split_off(end);
        let lines = rest[1..].split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let lines: Vec<Vec<u8>> = lines.collect();
        self.next -= lines.len() as u64;
        for line in lines.into_iter().rev() {
            self.waiting.push_front(line);
        }
    }

    /// Adds the next line to the record.
    fn add(&mut self) -> io::Result<Next> {
        if let Some(line) = self.waiting.pop_front() {
            self.record.extend_from_slice(&line);
            self.next += 1;
            return Ok(Next::Record);
        }
        let before = self.record.len();
        let most = LINE_BYTES_MAX as u64 + 1;
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut self.record)?;
        if read == 0 {
            return Ok(Next::End);
        }
        self.next += 1;
        if self.record.last() == Some(&b'\n') {
            self.record.pop();
        } else if read as u64 == most {
            self.record.truncate(before);
            self.input.skip_until(b'\n')?;
            return Ok(Next::TooLong);
        }
        Ok(Next::Record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// The records of a text, in which every record has an even number of quotes.
    fn records(bytes: &'static [u8]) -> Vec<(u64, String)> {
        let is_whole = |record: &[u8]| record.split(|byte| *byte == b'"').count() % 2 == 1;
        let mut lines = Input::of(bytes).unwrap().lines;
        let mut found = Vec::new();
        while lines.read_record(is_whole).unwrap() == Next::Record {
            found.push((lines.first(), String::from_utf8(lines.record().to_vec()).unwrap()));
        }
        found
    }

    #[test]
    fn records_have_line_ends_within_quotes() {
        let found = records(b"a\r\n\"b\n\nc\"\nd\n");
        let expected = [(1, "a"), (2, "\"b\n\nc\""), (5, "d")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
        // Where the end is missing, the first line stands alone.
        let found = records(b"a\n\"b\nc\nd");
        let expected = [(1, "a"), (2, "\"b"), (3, "c"), (4, "d")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn what_gzip_packed_is_unpacked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"a\nb\n").unwrap();
        let packed: &'static [u8] = packer.finish().unwrap().leak();
        assert_eq!(records(packed), [(1, "a".to_owned()), (2, "b".to_owned())]);
        // Cut off, it is an error and no shorter file.
        let mut lines = Input::of(&packed[..packed.len() - 9]).map(|input| input.lines);
        let all = lines.as_mut().map(|lines| (0..9).try_for_each(|_| lines.read_line().map(drop)));
        assert!(matches!(all, Err(_) | Ok(Err(_))));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let text = [&vec![b'x'; 2 * LINE_BYTES_MAX][..], b"\nb\n"].concat().leak();
        let mut lines = Input::of(&*text).unwrap().lines;
        assert_eq!(lines.read_line().unwrap(), Next::TooLong);
        assert_eq!(lines.read_line().unwrap(), Next::Record);
        assert_eq!((lines.first(), lines.record()), (2, &b"b"[..]));
        assert_eq!(lines.read_line().unwrap(), Next::End);
    }
}
