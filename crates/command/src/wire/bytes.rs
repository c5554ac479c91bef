//! Numbers and strings of bytes, the parts that everything else is made of.
//!
//! Numbers are LEB128: seven bits a byte, the lowest first, the top bit set but in the last. They are
//! written in as few bytes as there can be, and read in no other form.

use super::Malformed;

#[inline]
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Adds something that may be missing.
pub(super) fn put_option<T>(
    value: Option<&T>,
    out: &mut Vec<u8>,
    put: impl FnOnce(&T, &mut Vec<u8>),
) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(value, out);
    }
}

/// Reads from the start of bytes to their end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn fault<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, what })
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.fault("it is cut off"),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            if place == 9 && 1 < byte {
                return self.fault("a number has more than 64 bits");
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                if byte == 0 && place != 0 {
                    return self.fault("a number is longer than it need be");
                }
                return Ok(number);
            }
        }
        self.fault("a number has more than 64 bits")
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        let rest = &self.bytes[self.at..];
        let Some(bytes) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return self.fault("it is cut off");
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some(bytes) = self.rest().get(..count) else {
            return self.fault("it is cut off");
        };
        self.at += count;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some(bytes) = self.rest().first_chunk() else {
            return self.fault("it is cut off");
        };
        self.at += N;
        Ok(*bytes)
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A list: how many there are, and each of them. Each takes at least a byte.
    pub(crate) fn list<T>(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.number()?;
        if ((self.bytes.len() - self.at) as u64) < count {
            return self.fault("it is cut off");
        }
        // More memory is taken only as more is there.
        let mut list = Vec::with_capacity((count as usize).min(1_024));
        for _ in 0..count {
            list.push(each(self)?);
        }
        Ok(list)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.fault("a flag is neither 0 nor 1"),
        }
    }

    /// Something that may be missing.
    pub(crate) fn option<T>(
        &mut self,
        each: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        Ok(if self.flag()? { Some(each(self)?) } else { None })
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.fault("there is more behind the end")
        }
    }
}
