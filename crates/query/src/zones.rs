//! Time zones as the files of the time zone database tell them (RFC 9636), for `tz()`.
//!
//! 1. Whatever the bytes, the answer is a zone or nothing.
//! 2. Behind the last change that a file lists, its rule says how it goes on.

use crate::moment::{Zone, date, days};

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000_000;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// From which second since 1970 on clocks are how many seconds ahead.
    changes: Vec<(i64, i64)>,
    /// How many seconds they were ahead before.
    before: i64,
    rule: Option<Rule>,
}

/// How the year goes behind all changes that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summer {
    ahead: i64,
    start: Turn,
    end: Turn,
}

/// A day of the year, and a second of it by the clock that holds until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    day: Day,
    second: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// Of the year, from 1 on, the 29th of February not counted.
    Julian(i64),
    /// Of the year, from 0 on.
    Number(i64),
    /// The n-th of a day of the week in a month, 5 for the last.
    Weekday { month: i64, week: i64, weekday: i64 },
}

impl ZoneFile {
    /// The zone whose clocks are never ahead.
    pub fn utc() -> ZoneFile {
        ZoneFile { changes: Vec::new(), before: 0, rule: None }
    }

    /// The zone that a file is of.
    pub fn read(bytes: &[u8]) -> Option<ZoneFile> {
        let first = Head::read(bytes)?;
        if first.version == 0 {
            return first.zone(bytes, 4);
        }
        let second = bytes.get(HEAD_BYTES.checked_add(first.bytes(4)?)?..)?;
        Head::read(second)?.zone(second, 8)
    }
}

impl Zone for ZoneFile {
    fn ahead(&self, at: i64) -> i64 {
        let second = at.div_euclid(SECOND);
        let behind = self.changes.partition_point(|(from, _)| *from <= second);
        let ahead = match (behind.checked_sub(1), &self.rule) {
            (None, _) if !self.changes.is_empty() => self.before,
            (Some(last), rule) if behind < self.changes.len() || rule.is_none() => {
                self.changes[last].1
            }
            (_, Some(rule)) => rule.ahead(second),
            _ => self.before,
        };
        ahead * SECOND
    }
}

const HEAD_BYTES: usize = 44;

/// How many of what a file has.
struct Head {
    version: u8,
    counts: [usize; 6],
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let rest = bytes.get(..HEAD_BYTES)?.strip_prefix(b"TZif")?;
        let counts = rest.get(16..)?.chunks_exact(4);
        let counts =
            counts.map(|count| count.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
        Some(Head { version: rest[0], counts: counts.collect::<Vec<_>>().try_into().ok()? })
    }

    /// How many bytes follow, with times of so many bytes.
    fn bytes(&self, width: usize) -> Option<usize> {
        let [utc, standard, leaps, times, types, chars] = self.counts;
        let parts = [
            times.checked_mul(width + 1)?,
            types.checked_mul(6)?,
            chars,
            leaps.checked_mul(width + 4)?,
            standard,
            utc,
        ];
        parts.into_iter().try_fold(0, usize::checked_add)
    }

    fn zone(&self, bytes: &[u8], width: usize) -> Option<ZoneFile> {
        let [_, _, _, times, types, _] = self.counts;
        let data = bytes.get(HEAD_BYTES..)?;
        let (body, footer) = data.split_at_checked(self.bytes(width)?)?;
        let (moments, rest) = body.split_at_checked(times * width)?;
        let (kinds, rest) = rest.split_at_checked(times)?;
        let offsets: Vec<i64> =
            rest.get(..types * 6)?.chunks_exact(6).map(|kind| number(&kind[..4])).collect();
        let moments = moments.chunks_exact(width).map(number);
        let change = |(moment, kind): (i64, &u8)| Some((moment, *offsets.get(usize::from(*kind))?));
        let changes: Vec<(i64, i64)> = moments.zip(kinds).map(change).collect::<Option<_>>()?;
        let is_fine = changes.is_sorted_by(|one, next| one.0 < next.0)
            && offsets.iter().all(|ahead| ahead.abs() < 2 * DAY);
        let before = *offsets.first().filter(|_| is_fine)?;
        let rule = footer.strip_prefix(b"\n").and_then(|footer| footer.strip_suffix(b"\n"));
        let rule = rule.and_then(|rule| Rule::read(str::from_utf8(rule).ok()?));
        Some(ZoneFile { changes, before, rule })
    }
}

/// A big-endian number with a sign.
fn number(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| 0x80 <= *first);
    bytes.iter().fold(if negative { -1 } else { 0 }, |sum: i64, byte| sum << 8 | i64::from(*byte))
}

impl Rule {
    /// A rule as POSIX writes them: `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn read(text: &str) -> Option<Rule> {
        let mut rest = text;
        name(&mut rest)?;
        let standard = -clock(&mut rest)?;
        if rest.is_empty() {
            return Some(Rule { standard, summer: None });
        }
        name(&mut rest)?;
        let ahead = if rest.starts_with(',') { standard + 3_600 } else { -clock(&mut rest)? };
        let (start, end) = rest.strip_prefix(',')?.split_once(',')?;
        let (start, end) = (Turn::read(start)?, Turn::read(end)?);
        Some(Rule { standard, summer: Some(Summer { ahead, start, end }) })
    }

    fn ahead(&self, second: i64) -> i64 {
        let Some(Summer { ahead, start, end }) = self.summer else { return self.standard };
        let (year, _, _) = date((second + self.standard).div_euclid(DAY));
        let (start, end) = (start.second(year) - self.standard, end.second(year) - ahead);
        let is_summer = if start < end {
            start <= second && second < end
        } else {
            !(end <= second && second < start)
        };
        if is_summer { ahead } else { self.standard }
    }
}

impl Turn {
    fn read(text: &str) -> Option<Turn> {
        let (day, mut time) = text.split_once('/').unwrap_or((text, "2"));
        let second = clock(&mut time).filter(|_| time.is_empty())?;
        let within = |text: &str, least: i64, most: i64| {
            text.parse::<i64>().ok().filter(|number| least <= *number && *number <= most)
        };
        let day = if let Some(day) = day.strip_prefix('M') {
            let parts: Vec<&str> = day.split('.').collect();
            let [month, week, weekday] = parts[..] else { return None };
            Day::Weekday {
                month: within(month, 1, 12)?,
                week: within(week, 1, 5)?,
                weekday: within(weekday, 0, 6)?,
            }
        } else if let Some(day) = day.strip_prefix('J') {
            Day::Julian(within(day, 1, 365)?)
        } else {
            Day::Number(within(day, 0, 365)?)
        };
        Some(Turn { day, second })
    }

    /// When it is in a year, by its own clock.
    fn second(&self, year: i64) -> i64 {
        let first = days(year, 1, 1);
        let day = match self.day {
            Day::Number(day) => first + day,
            Day::Julian(day) => {
                let is_leap = days(year, 3, 1) - days(year, 2, 28) == 2;
                first + day - 1 + i64::from(is_leap && 59 < day)
            }
            Day::Weekday { month, week, weekday } => {
                let begin = days(year, month, 1);
                let end = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                // The first of January 1970 was a Thursday.
                let first = begin + (weekday - (begin + 4)).rem_euclid(7);
                let nth = first + 7 * (week - 1);
                if nth < end { nth } else { nth - 7 }
            }
        };
        day * DAY + self.second
    }
}

/// Takes the name of a zone away.
fn name(rest: &mut &str) -> Option<()> {
    let end = if rest.starts_with('<') {
        rest.find('>')? + 1
    } else {
        rest.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(rest.len())
    };
    *rest = rest.get(end..).filter(|_| 3 <= end)?;
    Some(())
}

/// Takes a time of the clock away, in seconds: `[+-]hours[:minutes[:seconds]]`.
fn clock(rest: &mut &str) -> Option<i64> {
    let (sign, digits) = match rest.as_bytes().first()? {
        b'-' => (-1, &rest[1..]),
        b'+' => (1, &rest[1..]),
        _ => (1, *rest),
    };
    let end =
        digits.find(|char: char| !char.is_ascii_digit() && char != ':').unwrap_or(digits.len());
    let (time, behind) = digits.split_at(end);
    *rest = behind;
    let parts: Option<Vec<i64>> = time
        .split(':')
        .map(|part| part.parse().ok().filter(|part| (0..=167).contains(part)))
        .collect();
    let seconds = match parts?[..] {
        [hours] => hours * 3_600,
        [hours, minutes] => hours * 3_600 + minutes * 60,
        [hours, minutes, seconds] => hours * 3_600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &ZoneFile, text: &str) -> i64 {
        let crate::moment::Read::Moment(at) = crate::moment::read(text, None) else {
            panic!("{text}")
        };
        zone.ahead(at) / (3_600 * SECOND)
    }

    fn file(changes: &[(i64, u8)], offsets: &[i32], rule: &str) -> Vec<u8> {
        let head = |times: usize, types: usize| {
            let mut head = b"TZif2".to_vec();
            head.extend([0; 15]);
            for count in [0, 0, 0, times, types, 4] {
                head.extend((count as u32).to_be_bytes());
            }
            head
        };
        let mut bytes = head(0, 1);
        bytes.extend([0; 10]);
        bytes.extend(head(changes.len(), offsets.len()));
        bytes.extend(changes.iter().flat_map(|(at, _)| at.to_be_bytes()));
        bytes.extend(changes.iter().map(|(_, kind)| *kind));
        for offset in offsets {
            bytes.extend(offset.to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend(b"LMT\0\n");
        bytes.extend(rule.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn changes_hold_until_the_next_and_the_rule_behind_them() {
        let bytes =
            file(&[(0, 1), (1_000_000, 2)], &[-7_200, 3_600, 7_200], "CET-1CEST,M3.5.0,M10.5.0/3");
        let zone = ZoneFile::read(&bytes).unwrap();
        assert_eq!(zone.ahead(-1), -7_200 * SECOND);
        assert_eq!(zone.ahead(0), 3_600 * SECOND);
        assert_eq!(zone.ahead(999_999 * SECOND), 3_600 * SECOND);
        for (text, ahead) in [
            ("2026-01-01T00:00:00Z", 1),
            ("2026-03-29T00:59:59Z", 1),
            ("2026-03-29T01:00:00Z", 2),
            ("2026-10-25T00:59:59Z", 2),
            ("2026-10-25T01:00:00Z", 1),
        ] {
            assert_eq!(hours(&zone, text), ahead, "{text}");
        }
        let south = file(&[], &[36_000], "AEST-10AEDT,M10.1.0,M4.1.0/3");
        let south = ZoneFile::read(&south).unwrap();
        for (text, ahead) in [
            ("2026-01-01T00:00:00Z", 11),
            ("2026-04-04T15:59:59Z", 11),
            ("2026-04-04T16:00:00Z", 10),
            ("2026-10-03T16:00:00Z", 11),
        ] {
            assert_eq!(hours(&south, text), ahead, "{text}");
        }
        let fixed = ZoneFile::read(&file(&[], &[0], "<+0330>-3:30")).unwrap();
        assert_eq!(fixed.ahead(0), 12_600 * SECOND);
    }

    #[test]
    fn what_is_no_zone_is_nothing() {
        let bytes = file(&[(0, 1)], &[0, 3_600], "CET-1");
        for cut in 0..bytes.len() - 6 {
            assert_eq!(
                ZoneFile::read(&bytes[..cut]).filter(|zone| zone.rule.is_some()),
                None,
                "{cut}"
            );
        }
        assert_eq!(ZoneFile::read(&file(&[(0, 9)], &[0], "UTC0")), None);
        assert_eq!(ZoneFile::read(&file(&[(5, 0), (1, 0)], &[0], "UTC0")), None);
        for rule in
            ["", "C", "CET", "CET-1CEST", "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,J0,J1", "A-1B,x"]
        {
            assert_eq!(Rule::read(rule), None, "{rule}");
        }
    }
}
