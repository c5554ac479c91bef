//! Frames between the coordinator and the storage: batches one way, replies the other.
//!
//! A frame is its length behind this field (4 bytes, little endian), a number that ties replies to
//! their batch (8 bytes), and what `olivine_command::wire` makes of batch or replies. A frame to the storage that ends
//! behind the number says that nobody waits for the replies to that batch any more.
//!
//! 1. A frame that is longer than `FRAME_BYTES_MAX` is refused before any of it is waited for, and never sent as an answer.

use olivine_command::{Code, Refusal, Reply, wire};

/// The longest frame: a batch of the store with its keys and values, and some room.
pub(crate) const FRAME_BYTES_MAX: usize = 96 << 20;

/// Bytes before the contents, the length included.
const HEAD_BYTES: usize = 12;

/// Adds a frame to `out`, with the contents that `write` adds.
pub(crate) fn put(number: u64, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&number.to_le_bytes());
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Adds a frame that says that nobody waits for the replies to a batch any more.
pub(crate) fn put_given_up(number: u64, out: &mut Vec<u8>) {
    put(number, out, |_| {});
}

/// Adds a frame with replies. Those that are too long to be sent become refusals that say so.
pub(crate) fn put_replies(number: u64, replies: &[Reply], out: &mut Vec<u8>) {
    let start = out.len();
    put(number, out, |out| wire::encode_replies(replies, out));
    let bytes = out.len() - start;
    if FRAME_BYTES_MAX < bytes {
        out.truncate(start);
        let text = format!(
            "the answer has {bytes} bytes, and what a storage may send is {FRAME_BYTES_MAX}; ask for less at a time"
        );
        let refused = Reply::Refused(Refusal::new(Code::TooLarge, text));
        let refused = vec![refused; replies.len()];
        put(number, out, |out| wire::encode_replies(&refused, out));
    }
}

/// What was found at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A frame, and how many bytes it takes.
    Frame { number: u64, contents: &'a [u8], bytes: usize },
    /// More must come: this much in all, as far as is known.
    Part(usize),
    /// It is none.
    Wrong,
}

/// The frame at the start of a buffer.
pub(crate) fn next(buffer: &[u8]) -> Found<'_> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else {
        return Found::Part(HEAD_BYTES);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if !(HEAD_BYTES - 4..=FRAME_BYTES_MAX).contains(&length) {
        return Found::Wrong;
    }
    let Some(frame) = rest.get(..length) else {
        return Found::Part(4 + length);
    };
    let Some((number, contents)) = frame.split_first_chunk::<8>() else {
        return Found::Wrong;
    };
    Found::Frame { number: u64::from_le_bytes(*number), contents, bytes: 4 + length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_whole() {
        let mut bytes = Vec::new();
        put(7, &mut bytes, |out| out.extend_from_slice(b"abc"));
        let first = bytes.len();
        put(u64::MAX, &mut bytes, |_| {});
        for end in 0..first {
            assert!(matches!(next(&bytes[..end]), Found::Part(bytes) if end < bytes), "{end}");
        }
        assert_eq!(next(&bytes), Found::Frame { number: 7, contents: b"abc", bytes: first });
        let rest = Found::Frame { number: u64::MAX, contents: b"", bytes: 12 };
        assert_eq!(next(&bytes[first..]), rest);
    }

    #[test]
    fn answers_that_are_too_long_are_refused() {
        let mut out = Vec::new();
        let bytes = vec![0; FRAME_BYTES_MAX];
        let piece = Reply::Piece(Some(olivine_command::Piece { bytes, hash: 0 }));
        put_replies(1, &[Reply::Count(1)], &mut out);
        let first = out.len();
        put_replies(2, &[Reply::Count(1), piece], &mut out);
        let Found::Frame { contents, .. } = next(&out[first..]) else { panic!("no frame") };
        let replies = wire::decode_replies(contents).unwrap();
        assert_eq!(replies.len(), 2);
        for reply in replies {
            assert!(matches!(reply, Reply::Refused(refusal) if refusal.code == Code::TooLarge));
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_at_once() {
        assert_eq!(next(&7u32.to_le_bytes()), Found::Wrong);
        assert_eq!(next(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes()), Found::Wrong);
        assert_eq!(next(&u32::MAX.to_le_bytes()), Found::Wrong);
    }
}
