//! Texts and numbers in JSON, byte for byte as Go's `encoding/json` writes them.

use std::fmt::Write as _;

/// Adds a text in quotes.
pub(super) fn put_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, char) in text.char_indices() {
        let short = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + char.len_utf8();
        if short.is_empty() {
            write(out, format_args!("\\u{:04x}", u32::from(char)));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Adds a number with a fraction; one that JSON does not have becomes null.
pub(super) fn put_float(number: f64, out: &mut String) {
    let size = number.abs();
    if !number.is_finite() {
        out.push_str("null");
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        // A positive exponent has its sign.
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => {
                write(out, format_args!("{digits}e+{power}"));
            }
            _ => out.push_str(&text),
        }
    } else {
        write(out, format_args!("{number}"));
    }
}

/// Adds what is written to a text, which takes everything.
pub(super) fn write(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).ok();
}

/// A moment in nanoseconds since 1970, as RFC 3339 has it, with as many decimals as it needs.
pub(super) fn put_moment(nanos: i64, out: &mut String) {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let second = second % 60;
    write(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        write(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
    out.push('Z');
}

/// The date of a day counted from 1970, in the calendar of today. Years are taken to begin in March, so that a
/// leap day is the last of one.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(put: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        put(&mut out);
        out
    }

    #[test]
    fn texts_are_escaped_as_go_does() {
        let text = "a\"\\\n\r\t\x01<>&\u{2028}é";
        let expected = "\"a\\\"\\\\\\n\\r\\t\\u0001\\u003c\\u003e\\u0026\\u2028é\"";
        assert_eq!(told(|out| put_text(text, out)), expected);
    }

    #[test]
    fn floats_are_written_as_go_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (-1.25e-10, "-1.25e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(told(|out| put_float(number, out)), expected);
        }
    }

    #[test]
    fn moments_have_as_many_decimals_as_they_need() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_465_839_830_100_400_200, "2016-06-13T17:43:50.1004002Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(told(|out| put_moment(nanos, out)), expected);
        }
    }
}
