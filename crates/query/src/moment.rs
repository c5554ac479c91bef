//! Moments and durations as InfluxQL writes them.
//!
//! 1. A moment is nanoseconds since 1970 in i64; what does not fit is refused, never wrapped.
//! 2. What is written is read again as the same.

use std::fmt::Write as _;

/// The first moment that can be asked for.
pub const TIME_MIN: i64 = i64::MIN + 2;
/// The last one.
pub const TIME_MAX: i64 = i64::MAX - 1;

pub(crate) const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Knows how far the clocks of a place are ahead of UTC.
pub trait Zone: Send + Sync {
    /// How many nanoseconds they are ahead at a moment.
    fn ahead(&self, at: i64) -> i64;
}

/// Reads a duration such as `1h30m`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || "invalid duration".to_owned();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text.len() < 2 {
        return Err(invalid());
    }
    let mut sum = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).ok_or_else(invalid)?;
        let count: i64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let (unit, length) = [
            ("ns", 1),
            ("ms", 1_000_000),
            ("u", 1_000),
            ("µ", 1_000),
            ("s", SECOND),
            ("m", 60 * SECOND),
            ("h", 3600 * SECOND),
            ("d", DAY),
            ("w", 7 * DAY),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))
        .ok_or_else(invalid)?;
        rest = &rest[unit.len()..];
        let added = count.checked_mul(length).and_then(|part| sum.checked_add(part));
        sum = added.ok_or_else(|| {
            format!("overflowed duration {count}{unit}: choose a smaller duration or INF")
        })?;
    }
    Ok(if negative { -sum } else { sum })
}

/// Writes a duration in the largest unit that it is a whole number of.
pub(crate) fn duration_text(length: i64) -> String {
    let units = [
        (7 * DAY, "w"),
        (DAY, "d"),
        (3600 * SECOND, "h"),
        (60 * SECOND, "m"),
        (SECOND, "s"),
        (1_000_000, "ms"),
        (1_000, "u"),
    ];
    if length == 0 {
        return "0s".to_owned();
    }
    match units.into_iter().find(|(unit, _)| length % unit == 0) {
        Some((unit, name)) => format!("{}{name}", length / unit),
        None => format!("{length}ns"),
    }
}

/// Writes a duration as lists of policies show it: `168h0m0s`.
pub(crate) fn clock_text(length: i64) -> String {
    let (hours, rest) = (length / (3600 * SECOND), length % (3600 * SECOND));
    let (minutes, rest) = (rest / (60 * SECOND), rest % (60 * SECOND));
    let mut text = String::new();
    if hours != 0 {
        write!(text, "{hours}h").ok();
    }
    if hours != 0 || minutes != 0 {
        write!(text, "{minutes}m").ok();
    }
    let (seconds, nanos) = (rest / SECOND, rest % SECOND);
    if nanos == 0 {
        write!(text, "{seconds}s").ok();
    } else if text.is_empty() && seconds == 0 {
        let (unit, name) = if nanos % 1_000_000 == 0 { (1_000_000, "ms") } else { (1, "ns") };
        write!(text, "{}{name}", nanos / unit).ok();
    } else {
        let fraction = format!("{nanos:09}");
        write!(text, "{seconds}.{}s", fraction.trim_end_matches('0')).ok();
    }
    text
}

/// Days since 1970 of a date in the Gregorian calendar.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Whether a text looks like a date, with or without a time of day.
pub(crate) fn looks_like_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && !text[10..].contains('\n')
}

/// A moment, or why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Moment(i64),
    /// It is a moment, but none that fits.
    TooEarly,
    TooLate,
    /// It is no date.
    Invalid,
}

struct Digits<'a> {
    rest: &'a [u8],
}

impl Digits<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (taken, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        taken.iter().try_fold(0i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == byte).then_some(())
    }
}

/// Reads `YYYY-MM-DD`, with ` HH:MM:SS[.fraction]` behind it, or RFC 3339.
pub(crate) fn read(text: &str, zone: Option<&dyn Zone>) -> Read {
    let Some((nanos, offset)) = parse(text) else {
        return Read::Invalid;
    };
    let mut nanos = nanos;
    match (offset, zone) {
        (Some(offset), _) => nanos -= i128::from(offset) * i128::from(SECOND),
        (None, Some(zone)) => {
            // What the clocks of the place show: once guessed, once mended, as a change may lie between.
            let at = nanos.clamp(i128::from(TIME_MIN), i128::from(TIME_MAX)) as i64;
            let guess = at.saturating_sub(zone.ahead(at));
            nanos -= i128::from(zone.ahead(guess));
        }
        (None, None) => {}
    }
    if nanos < i128::from(TIME_MIN) + 1 {
        Read::TooEarly
    } else if nanos > i128::from(TIME_MAX) {
        Read::TooLate
    } else {
        Read::Moment(nanos as i64)
    }
}

/// Nanoseconds, and the offset in seconds where one is told.
fn parse(text: &str) -> Option<(i128, Option<i64>)> {
    let mut digits = Digits { rest: text.as_bytes() };
    let year = digits.number(4)?;
    digits.skip(b'-')?;
    let month = digits.number(2)?;
    digits.skip(b'-')?;
    let day = digits.number(2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let mut nanos = i128::from(days(year, month, day)) * i128::from(DAY);
    let rfc = match digits.rest.first() {
        None => return Some((nanos, None)),
        Some(b'T') => true,
        Some(b' ') => false,
        Some(_) => return None,
    };
    digits.rest = &digits.rest[1..];
    let hour = digits.number(2)?;
    digits.skip(b':')?;
    let minute = digits.number(2)?;
    digits.skip(b':')?;
    let second = digits.number(2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    nanos += i128::from((hour * 3600 + minute * 60 + second) * SECOND);
    if digits.rest.first() == Some(&b'.') {
        let count = digits.rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let (fraction, rest) = digits.rest[1..].split_at(count);
        digits.rest = rest;
        let kept = fraction.iter().take(9).fold(0i64, |sum, b| sum * 10 + i64::from(b - b'0'));
        nanos += i128::from(kept * 10i64.pow(9 - count.min(9) as u32));
    }
    match (rfc, digits.rest) {
        (false, []) => Some((nanos, None)),
        (true, b"Z") => Some((nanos, Some(0))),
        (true, [sign @ (b'+' | b'-'), rest @ ..]) => {
            let mut digits = Digits { rest };
            let hours = digits.number(2)?;
            digits.skip(b':')?;
            let minutes = digits.number(2)?;
            if !digits.rest.is_empty() || hours > 24 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            Some((nanos, Some(if *sign == b'-' { -offset } else { offset })))
        }
        _ => None,
    }
}

/// Writes a moment as RFC 3339 with as many digits as it needs.
pub fn text(at: i64) -> String {
    let (year, month, day) = date(at.div_euclid(DAY));
    let of_day = at.rem_euclid(DAY);
    let (seconds, nanos) = (of_day / SECOND, of_day % SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let fraction = format!("{nanos:09}");
        write!(out, ".{}", fraction.trim_end_matches('0')).ok();
    }
    out.push('Z');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> i64 {
        match read(text, None) {
            Read::Moment(at) => at,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        assert_eq!(duration("1h30m"), Ok(5400 * SECOND));
        assert_eq!(duration("10ms5u1ns"), Ok(10_005_001));
        assert_eq!(duration("2µ"), Ok(2000));
        assert_eq!(duration("1x"), Err("invalid duration".to_owned()));
        assert_eq!(duration("1"), Err("invalid duration".to_owned()));
        let told = "overflowed duration 99999999999w: choose a smaller duration or INF";
        assert_eq!(duration("99999999999w"), Err(told.to_owned()));
        for length in [0, 1, 1000, 1_500_000, 90 * SECOND, DAY, 14 * DAY, -DAY] {
            assert_eq!(duration(&duration_text(length)), Ok(length));
        }
        assert_eq!(clock_text(0), "0s");
        assert_eq!(clock_text(7 * DAY), "168h0m0s");
        assert_eq!(clock_text(90 * SECOND), "1m30s");
    }

    #[test]
    fn moments_are_read_and_written() {
        assert_eq!(moment("1970-01-01"), 0);
        assert_eq!(moment("2000-03-01 00:00:00.5"), 951_868_800 * SECOND + SECOND / 2);
        assert_eq!(moment("2016-01-01T01:00:00+01:00"), moment("2016-01-01 00:00:00"));
        for text_ in ["2015-06-11T20:46:02Z", "1969-12-31T23:59:59.000000001Z"] {
            assert_eq!(text(moment(text_)), text_);
        }
        assert_eq!(read("2015-02-29", None), Read::Invalid);
        assert_eq!(read("2015-01-01T00:00:00", None), Read::Invalid);
        assert_eq!(read("1000-01-01", None), Read::TooEarly);
        assert_eq!(read("3000-01-01", None), Read::TooLate);
        assert!(looks_like_time("2015-01-01x") && !looks_like_time("2015-1-1"));
    }

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        for day in -110_000..110_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
