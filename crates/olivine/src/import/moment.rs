//! Times as tables write them: numbers since 1970, RFC 3339 with or without its parts, or a pattern of one's own.
//!
//! 1. A time is read to the nanosecond or refused; nothing is rounded but digits behind the ninth of a second, which
//!    are cut.
//! 2. A time without a zone is one of UTC.

use olivine_doors::influx::line::Precision;

/// How times are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Numbers of this unit, or RFC 3339 where it is no number.
    Either(i64),
    /// Numbers of this unit, in nanoseconds.
    Unix(i64),
    Rfc3339,
    /// As a pattern of strftime says.
    Pattern(String),
}

impl Clock {
    /// Reads `--time-format`, with the unit of numbers.
    pub(crate) fn named(format: Option<&str>, precision: Option<&str>) -> Result<Clock, String> {
        let unit = |name: &str| {
            let unit = Precision::named(name).map(|precision| precision.nanos);
            unit.ok_or_else(|| format!("`--precision` is one of ns, us, ms, s, m, h, not `{name}`"))
        };
        let nanos = unit(precision.unwrap_or_default())?;
        let clock = match format {
            None => return Ok(Clock::Either(nanos)),
            Some("unix") => return Ok(Clock::Unix(nanos)),
            Some("rfc3339") => Clock::Rfc3339,
            Some(pattern) if pattern.contains('%') => {
                check_pattern(pattern)?;
                Clock::Pattern(pattern.to_owned())
            }
            Some(other) => {
                let known = "unix, rfc3339, or a pattern such as %Y-%m-%d %H:%M:%S";
                return Err(format!("`--time-format` is {known}, not `{other}`"));
            }
        };
        match precision {
            None => Ok(clock),
            Some(_) => {
                Err("`--precision` is the unit of numbers; this time format has none".into())
            }
        }
    }

    /// Reads a time, in nanoseconds since 1970.
    pub(crate) fn read(&self, text: &str) -> Result<i64, String> {
        let text = text.trim();
        let read = match self {
            Clock::Either(unit) => numbered(text, *unit).or_else(|| rfc3339(text)),
            Clock::Unix(unit) => numbered(text, *unit),
            Clock::Rfc3339 => rfc3339(text),
            Clock::Pattern(pattern) => by_pattern(text, pattern),
        };
        read.ok_or_else(|| {
            let wanted = match self {
                Clock::Either(_) => "a number or RFC 3339",
                Clock::Unix(_) => "a number since 1970",
                Clock::Rfc3339 => "RFC 3339",
                Clock::Pattern(pattern) => pattern,
            };
            format!("`{}` is no time ({wanted})", super::point::shown(text))
        })
    }
}

/// A number of units, perhaps with decimals.
fn numbered(text: &str, unit: i64) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
        return None;
    }
    // So many digits tell any time to the nanosecond.
    let decimals = &decimals[..decimals.len().min(18)];
    let part = match decimals {
        "" => 0,
        digits => {
            let part = digits.parse::<i128>().ok()? * i128::from(unit);
            part / 10_i128.pow(digits.len() as u32)
        }
    };
    let nanos = whole.parse::<i128>().ok()?.checked_mul(unit.into())?.checked_add(part)?;
    i64::try_from(if is_negative { -nanos } else { nanos }).ok()
}

/// The parts of a time in the calendar.
#[derive(Clone, Copy, Debug)]
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    /// Seconds east of Greenwich.
    offset: i64,
    /// Seconds since 1970, which overrule the rest.
    unix: Option<i64>,
}

const START: Parts = Parts {
    year: 1970,
    month: 1,
    day: 1,
    hour: 0,
    minute: 0,
    second: 0,
    nanos: 0,
    offset: 0,
    unix: None,
};

impl Parts {
    fn time(self) -> Option<i64> {
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days = match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        // A leap second is the first of the next minute.
        let fits = (1..=days).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60;
        if !fits {
            return None;
        }
        // Counted from March, so that the day a leap year adds comes last.
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let seconds = days * 86_400 + self.hour * 3_600 + self.minute * 60 + self.second;
        let seconds = self.unix.unwrap_or(seconds - self.offset);
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(self.nanos);
        i64::try_from(nanos).ok()
    }
}

/// Takes what is read from the front of a text.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        digits.parse().ok()
    }

    fn takes(&mut self, sign: char) -> bool {
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, sign: char) -> Option<()> {
        self.takes(sign).then_some(())
    }

    /// Digits behind the point of seconds.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let kept = &digits[..count.min(9)];
        let number: i64 = kept.parse().ok()?;
        Some(number * 10_i64.pow(9 - kept.len() as u32))
    }

    /// `Z`, `+01:00`, `+0100` or `+01`.
    fn zone(&mut self) -> Option<i64> {
        if self.takes('Z') || self.takes('z') {
            return Some(0);
        }
        let sign = if self.takes('+') {
            1
        } else {
            self.expect('-')?;
            -1
        };
        let hours = self.digits(2, 2)?;
        let minutes =
            if self.takes(':') { self.digits(2, 2)? } else { self.digits(0, 2).unwrap_or(0) };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
    }
}

/// `2026-11-20T23:59:07.5+01:00`; what stands behind the day may be missing from the end on.
fn rfc3339(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let mut parts = START;
    parts.year = cursor.digits(4, 4)?;
    cursor.expect('-')?;
    parts.month = cursor.digits(2, 2)?;
    cursor.expect('-')?;
    parts.day = cursor.digits(2, 2)?;
    if cursor.takes('T') || cursor.takes('t') || cursor.takes(' ') {
        parts.hour = cursor.digits(2, 2)?;
        cursor.expect(':')?;
        parts.minute = cursor.digits(2, 2)?;
        if cursor.takes(':') {
            parts.second = cursor.digits(2, 2)?;
            if cursor.takes('.') || cursor.takes(',') {
                parts.nanos = cursor.fraction()?;
            }
        }
        if !cursor.0.is_empty() {
            cursor.takes(' ');
            parts.offset = cursor.zone()?;
        }
    }
    if cursor.0.is_empty() { parts.time() } else { None }
}

const SIGNS: &str = "Y m d H M S f z b y j s and %";

fn check_pattern(pattern: &str) -> Result<(), String> {
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        if sign != '%' {
            continue;
        }
        match signs.next() {
            Some('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'f' | 'z' | 'b' | 'y' | 's' | '%') => {}
            Some(other) => {
                return Err(format!("`--time-format` knows no `%{other}`; there are {SIGNS}"));
            }
            None => return Err("`--time-format` ends with a `%`".into()),
        }
    }
    Ok(())
}

fn by_pattern(text: &str, pattern: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let mut parts = START;
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        if sign != '%' {
            cursor.expect(sign)?;
            continue;
        }
        match signs.next()? {
            'Y' => parts.year = cursor.digits(4, 4)?,
            'y' => {
                let year = cursor.digits(2, 2)?;
                parts.year = if year < 69 { 2_000 + year } else { 1_900 + year };
            }
            'm' => parts.month = cursor.digits(1, 2)?,
            'b' => {
                let (name, rest) = cursor.0.split_at_checked(3)?;
                let months = "janfebmaraprmayjunjulaugsepoctnovdec";
                let at = months.find(&name.to_ascii_lowercase()).filter(|at| at % 3 == 0)?;
                parts.month = (at / 3 + 1).try_into().ok()?;
                cursor.0 = rest;
            }
            'd' => parts.day = cursor.digits(1, 2)?,
            'H' => parts.hour = cursor.digits(1, 2)?,
            'M' => parts.minute = cursor.digits(1, 2)?,
            'S' => parts.second = cursor.digits(1, 2)?,
            'f' => parts.nanos = cursor.fraction()?,
            'z' => parts.offset = cursor.zone()?,
            's' => {
                let is_negative = cursor.takes('-');
                let seconds = cursor.digits(1, 18)?;
                parts.unix = Some(if is_negative { -seconds } else { seconds });
            }
            '%' => cursor.expect('%')?,
            _ => return None,
        }
    }
    if cursor.0.is_empty() { parts.time() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn numbers_have_a_unit_and_decimals() {
        for (text, precision, time) in [
            ("1465839830100400200", "", Some(1_465_839_830_100_400_200)),
            ("-5", "s", Some(-5 * SECOND)),
            ("1.5", "s", Some(1_500_000_000)),
            ("-1.5", "s", Some(-1_500_000_000)),
            ("1465839830.100400200", "s", Some(1_465_839_830_100_400_200)),
            ("1.0000000019", "s", Some(1_000_000_001)),
            ("0.25", "m", Some(15 * SECOND)),
            ("0.125", "h", Some(450 * SECOND)),
            ("1.5", "ms", Some(1_500_000)),
            ("9223372036854775807", "s", None),
            ("1e9", "s", None),
            ("", "s", None),
            (".5", "s", None),
            ("1.-5", "s", None),
        ] {
            let clock = Clock::named(Some("unix"), Some(precision)).unwrap();
            assert_eq!(clock.read(text).ok(), time, "{text} {precision}");
        }
    }

    #[test]
    fn dates_are_those_of_rfc_3339() {
        let day = 20_777 * 86_400 * SECOND;
        for (text, time) in [
            ("2026-11-20T00:00:00Z", Some(day)),
            ("2026-11-20", Some(day)),
            ("2026-11-20 00:00", Some(day)),
            ("2026-11-20T01:00:00.000000001+01:00", Some(day + 1)),
            ("2026-11-19 22:30:00-0130", Some(day)),
            ("2026-11-20T00:00:00.1234567899Z", Some(day + 123_456_789)),
            ("1969-12-31T23:59:59Z", Some(-SECOND)),
            ("2024-02-29", Some(19_782 * 86_400 * SECOND)),
            ("2023-02-29", None),
            ("2026-13-01", None),
            ("2026-11-20T24:00:00Z", None),
            ("2026-11-20T00:00:00Zx", None),
            ("2026-11-20T", None),
            ("9999-01-01", None),
            ("yesterday", None),
            ("2026-11-2\u{e4}", None),
        ] {
            assert_eq!(rfc3339(text), time, "{text}");
            assert_eq!(Clock::Either(1).read(text).ok(), time, "{text}");
        }
    }

    #[test]
    fn patterns_are_those_of_strftime() {
        let day = 20_777 * 86_400 * SECOND;
        for (pattern, text, time) in [
            ("%d/%m/%Y %H:%M:%S", "20/11/2026 00:00:05", Some(day + 5 * SECOND)),
            ("%d.%m.%y", "20.11.26", Some(day)),
            ("%d %b %Y %H:%M:%S.%f %z", "20 Nov 2026 01:00:00.5 +0100", Some(day + SECOND / 2)),
            ("%s.%f", "5.25", Some(5_250_000_000)),
            ("%Y%%%m", "2026%11", Some(day - 19 * 86_400 * SECOND)),
            ("%Y", "2026 ", Some(20_454 * 86_400 * SECOND)),
            ("%Y-%m", "2026", None),
            ("%Y", "2026-11", None),
            ("%b", "\u{e4}\u{e4}", None),
        ] {
            let clock = Clock::named(Some(pattern), None).unwrap();
            assert_eq!(clock.read(text).ok(), time, "{pattern} {text}");
        }
        for (format, precision) in
            [("%Q", None), ("%", None), ("iso", None), ("rfc3339", Some("s")), ("unix", Some("zz"))]
        {
            assert!(Clock::named(Some(format), precision).is_err(), "{format}");
        }
    }
}
