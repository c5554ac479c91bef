//! Bytes as they may be shown: escaped, and cut.
//!
//! 1. What is shown has no control characters, no ends of lines of any kind, nothing that turns the
//!    direction of writing, and is text.
//! 2. It is no longer than asked for, and says so where something was left out.
//! 3. Two texts that were not cut are shown alike only if they are the same.

use std::fmt::Write as _;

/// The most that is shown of something that a client sent.
pub(crate) const CLIENT_BYTES_MAX: usize = 256;

/// Shows bytes in at most so many.
pub(crate) fn shown(bytes: &[u8], bytes_max: usize) -> String {
    let mut shown = String::new();
    // Where to cut, so that there is room to say it.
    let left_out = format!("…({} bytes)", bytes.len());
    let (room, mut cut) = (bytes_max.saturating_sub(left_out.len()), 0);
    // An escaped character is never shorter than it was, so more need not be looked at.
    let looked_at = &bytes[..bytes.len().min(bytes_max + 1)];
    for chunk in looked_at.utf8_chunks() {
        let is_last = chunk.invalid().is_empty();
        for letter in chunk.valid().chars() {
            escape(letter, &mut shown);
            if shown.len() <= room {
                cut = shown.len();
            }
        }
        if !is_last {
            for byte in chunk.invalid() {
                let _infallible = write!(shown, "\\x{byte:02x}");
            }
        }
        if shown.len() <= room {
            cut = shown.len();
        }
    }
    if bytes_max < shown.len() || looked_at.len() < bytes.len() {
        shown.truncate(cut);
        shown.push_str(&left_out);
    }
    shown
}

fn escape(letter: char, out: &mut String) {
    match letter {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        letter if letter.is_ascii_control() => {
            let _infallible = write!(out, "\\x{:02x}", letter as u32);
        }
        letter if letter.is_control() || steers(letter) => {
            let _infallible = write!(out, "\\u{{{:x}}}", letter as u32);
        }
        letter => out.push(letter),
    }
}

/// Whether a letter ends lines, turns the direction of writing, or cannot be seen.
fn steers(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_ends_a_line_is_escaped() {
        for (bytes, text) in [
            (&b"plain key"[..], "plain key"),
            (b"a\r\nb\tc", "a\\r\\nb\\tc"),
            (b"\x1b[31mred\x07\0", "\\x1b[31mred\\x07\\x00"),
            (b"\\n", "\\\\n"),
            (b"\x7f\xff\xc3(", "\\x7f\\xff\\xc3("),
            ("é\u{9b}31m".as_bytes(), "é\\u{9b}31m"),
            ("\u{2028}\u{202e}x\u{feff}".as_bytes(), "\\u{2028}\\u{202e}x\\u{feff}"),
            (b"", ""),
        ] {
            assert_eq!(shown(bytes, 256), text, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(shown(&[b'a'; 256], 256), "a".repeat(256));
        assert_eq!(shown(&[b'a'; 257], 256), "a".repeat(256 - 14) + "…(257 bytes)");
        let shown_text = shown(&vec![0; 1 << 20], 256);
        assert!(shown_text.ends_with("\\x00…(1048576 bytes)"), "{shown_text}");
    }

    /// Whatever is shown fits, is one line, and whole characters were cut.
    #[test]
    fn every_text_fits() {
        let mut random = olivine_vfs::Random::new(7);
        for bytes_max in [32, 64, 256] {
            for _ in 0..2_000 {
                let length = random.below(2 * bytes_max as u64);
                let alphabet = *random.pick(&[256, 4, 32]).unwrap();
                let bytes: Vec<u8> = (0..length).map(|_| random.below(alphabet) as u8).collect();
                let text = shown(&bytes, bytes_max);
                assert!(text.len() <= bytes_max, "{bytes:?}: {text}");
                assert!(!text.chars().any(|letter| letter.is_control()), "{bytes:?}: {text}");
            }
        }
    }
}
