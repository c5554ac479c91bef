//! Bytes as text and back (RFC 4648, with padding), for keys and values that are no text.
//!
//! 1. `decode(encode(bytes)) == bytes`, and no other text decodes to these bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text that stands for the bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if chunk.len() < place {
                text.push('=');
            } else {
                text.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
            }
        }
    }
    text
}

/// The bytes, or `None` when the text is not what `encode` writes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (quads, rest) = text.as_bytes().as_chunks::<4>();
    let mut bytes = Vec::with_capacity(quads.len() * 3);
    for (nth, quad) in quads.iter().enumerate() {
        let padding = quad.iter().rev().take_while(|c| **c == b'=').count();
        if 2 < padding || padding != 0 && nth + 1 != quads.len() {
            return None;
        }
        let mut word = 0;
        for c in &quad[..4 - padding] {
            word = word << 6 | digit(*c)?;
        }
        word <<= 6 * padding;
        if word & ((1 << (8 * padding)) - 1) != 0 {
            return None;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..4 - padding]);
    }
    rest.is_empty().then_some(bytes)
}

fn digit(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\xfe\x00", "//4A"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..=all.len() {
            assert_eq!(decode(&encode(&all[..len])).as_deref(), Some(&all[..len]));
        }
    }

    #[test]
    fn what_was_not_encoded_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9_"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
