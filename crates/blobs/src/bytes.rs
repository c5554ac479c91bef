//! Numbers in few bytes: seven bits a byte, the lowest first, the highest bit set where more follow.
//!
//! 1. A number has one encoding; any other is refused.

/// Bytes that any number fits into.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Appends `number`.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes `number` takes.
pub(crate) fn varint_bytes(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Reads from the front of `bytes`, and moves on behind what was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    /// A number, if one is there as `put_varint` writes it.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = *self.0.get(index)?;
            let bits = u64::from(byte & 0x7f);
            if index == VARINT_BYTES_MAX - 1 && 1 < bits {
                return None;
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && 0 < index {
                    return None;
                }
                self.0 = &self.0[index + 1..];
                return Some(number);
            }
        }
        None
    }

    /// So many bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next `count` bytes.
    pub(crate) fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    /// Eight bytes as a number, the lowest first.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes as a number, the lowest first.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for shift in 0..64 {
            for number in [1 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, number);
                assert_eq!(bytes.len(), varint_bytes(number), "{number}");
                let mut take = Take(&bytes);
                assert_eq!(take.varint(), Some(number));
                assert!(take.0.is_empty());
                assert_eq!(Take(&bytes[..bytes.len() - 1]).varint(), None);
            }
        }
    }

    #[test]
    fn another_encoding_is_refused() {
        assert_eq!(Take(&[0x80, 0]).varint(), None);
        assert_eq!(Take(&[0xff; 10]).varint(), None);
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Take(&most).varint(), Some(u64::MAX));
    }
}
