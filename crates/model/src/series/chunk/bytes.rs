//! Numbers and pieces out of a slice of bytes that nobody vouches for.
//!
//! 1. What is not there is damage, never a panic.
//! 2. A number of variable length has one form only: the shortest.

use super::Damage;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damage("a chunk is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damage("a chunk is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, as a number.
    pub(super) fn u16(&mut self) -> Result<u16, Damage> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes, as a number.
    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes, as a number.
    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of variable length.
    pub(super) fn varint(&mut self) -> Result<u64, Damage> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Damage("a number in a chunk is too long"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return if byte == 0 && shift != 0 {
                    Err(Damage("a number in a chunk is longer than it need be"))
                } else {
                    Ok(number)
                };
            }
        }
        Err(Damage("a number in a chunk is too long"))
    }

    /// A number of variable length that counts something of which there are at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Damage> {
        let count = self.varint()?;
        if count <= most as u64 {
            Ok(count as usize)
        } else {
            Err(Damage("a chunk counts more than it can hold"))
        }
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), Damage> {
        if self.0.is_empty() { Ok(()) } else { Err(Damage("a chunk has bytes too many")) }
    }
}

/// Appends a number of variable length: seven bits a byte, lowest first.
pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while 0x7f < number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number with its sign in the lowest bit, so that small ones of either sign are short.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// What [`zigzag`] was given.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                push_varint(&mut bytes, number);
                let mut read = Bytes(&bytes);
                assert_eq!(read.varint(), Ok(number));
                assert_eq!(read.end(), Ok(()));
                assert_eq!(zigzag(unzigzag(number)), number);
            }
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80; 10], &[0x80], &[]] {
            assert!(Bytes(bytes).varint().is_err(), "{bytes:?}");
        }
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Bytes(&most).varint(), Ok(u64::MAX));
        assert!(Bytes(&[6]).count(5).is_err());
    }
}
