//! Bytes, figures and times as people read them.
//!
//! 1. What is shown can be told apart: bytes that are no printable text are escaped, a backslash too.
//! 2. Nothing that is shown moves a terminal's cursor or changes its colour.

use std::fmt;

/// Bytes as text: what can be printed as it is, the rest escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_control() => {
                        let mut bytes = [0; 4];
                        c.encode_utf8(&mut bytes)
                            .bytes()
                            .try_for_each(|b| write!(f, "\\x{b:02x}"))?;
                    }
                    c => write!(f, "{c}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// The bytes that were shown so; `None` when a backslash stands before anything else.
pub(crate) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            bytes.push(*first);
        } else if let Some(behind) = rest.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = behind;
        } else {
            let (digits, behind) = rest.strip_prefix(b"x")?.split_at_checked(2)?;
            let digits = str::from_utf8(digits).ok()?;
            digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        }
    }
    Some(bytes)
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}

/// Seconds since 1970 as people in Greenwich write them: `2026-11-20 23:59:07`.
pub(crate) fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counted from March, so that the day a leap year adds comes last; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (400 * era + year, month + 3),
        _ => (400 * era + year + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_so_that_they_can_be_told_apart() {
        for (bytes, shown) in [
            (&b"plain text"[..], "plain text"),
            ("größe 😀".as_bytes(), "größe 😀"),
            (b"a\\x00", "a\\\\x00"),
            (b"\x00\n\x1b[2J\xff\xfe", "\\x00\\x0a\\x1b[2J\\xff\\xfe"),
            ("\u{85}".as_bytes(), "\\xc2\\x85"),
            (b"\xe2\x82", "\\xe2\\x82"),
            (b"", ""),
        ] {
            assert_eq!(Shown(bytes).to_string(), shown);
            assert_eq!(unescaped(shown.as_bytes()).as_deref(), Some(bytes));
        }
        for wrong in ["\\", "\\n", "\\x", "\\x1", "\\xg0", "\\x+1"] {
            assert_eq!(unescaped(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_217_000, "2026-11-20 23:23:20"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
