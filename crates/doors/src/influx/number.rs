//! Numbers of line protocol.
//!
//! 1. A decimal comes to the double that is nearest to it, whichever way it is read.
//! 2. What is out of range, infinite or no number is refused in the words of InfluxDB.

use std::borrow::Cow;

use super::line::Value;

/// Eight times the same byte.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Reads digits, and adds them at the end of a number, which wraps around if they are too many. Returns the
/// number and where the digits end.
#[inline]
pub(super) fn digits(bytes: &[u8], start: usize, mut number: u64) -> (u64, usize) {
    let mut at = start;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let Some(value) = eight_digits(u64::from_le_bytes(*eight)) else { break };
        number = number.wrapping_mul(100_000_000).wrapping_add(value);
        at += 8;
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        at += 1;
    }
    (number, at)
}

/// The number that eight digits are, the first in the lowest byte; nothing if they are not all digits.
#[inline]
fn eight_digits(word: u64) -> Option<u64> {
    let high = word & eight(0xf0);
    let carried = word.wrapping_add(eight(0x06)) & eight(0xf0);
    if high != eight(0x30) || carried != eight(0x30) {
        return None;
    }
    let digits = word - eight(b'0');
    // Pairs, then fours, then all: each step multiplies the lower half by its weight and adds the upper.
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Powers of ten that are doubles exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A number with so many decimals, where both it and the power of ten are doubles exactly: then one division
/// rounds once, and is right.
#[inline]
pub(super) fn short_decimal(number: u64, decimals: usize) -> Option<f64> {
    let power = POWERS.get(decimals)?;
    (number <= 1 << 53).then(|| number as f64 / power)
}

/// A number that is digits and perhaps a point among them. However many there are, it is finite or refused.
pub(super) fn decimal(token: &[u8]) -> Option<f64> {
    let number: f64 = str::from_utf8(token).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Reads a number of any form, as InfluxDB takes it.
pub(super) fn read(token: &[u8]) -> Result<Value<'static>, Cow<'static, str>> {
    const INVALID: Cow<'static, str> = Cow::Borrowed("invalid number");
    let text = str::from_utf8(token).map_err(|_| INVALID)?;
    if let Some(digits) = text.strip_suffix('i') {
        check_digits(digits)?;
        return digits.parse().map(Value::Integer).map_err(|_| out_of_range("Int", digits));
    }
    if let Some(digits) = text.strip_suffix('u') {
        check_digits(digits)?;
        if digits.starts_with('-') {
            return Err(INVALID);
        }
        return digits.parse().map(Value::Unsigned).map_err(|_| out_of_range("Uint", digits));
    }
    // Whatever else `parse` would take: words, and a plus at the start.
    let is_number =
        text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    if !is_number || text.starts_with('+') {
        return Err(INVALID);
    }
    let number: f64 = text.parse().map_err(|_| INVALID)?;
    if !number.is_finite() {
        return Err("invalid float".into());
    }
    Ok(Value::Float(number))
}

fn check_digits(text: &str) -> Result<(), Cow<'static, str>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_right = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_right { Ok(()) } else { Err("invalid number".into()) }
}

fn out_of_range(kind: &str, digits: &str) -> Cow<'static, str> {
    let shown: String = digits.chars().take(64).collect();
    let what = if kind == "Int" { "integer" } else { "unsigned" };
    format!("unable to parse {what} {shown}: strconv.Parse{kind}: parsing \"{shown}\": value out of range")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_eight_at_a_time_and_one_by_one() {
        for count in 0..=19 {
            for last in [&b""[..], b"i", b"/", b":", b"\xb0", b",12345678"] {
                let text = &b"9182736450123456789"[..count];
                let bytes = [text, last].concat();
                let number =
                    if count == 0 { 0 } else { str::from_utf8(text).unwrap().parse().unwrap() };
                assert_eq!(digits(&bytes, 0, 0), (number, count), "{bytes:?}");
            }
        }
        for word in 0..=u16::MAX {
            let mut bytes = *b"00000000";
            bytes[3..5].copy_from_slice(&word.to_le_bytes());
            let expected = str::from_utf8(&bytes)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok());
            assert_eq!(eight_digits(u64::from_le_bytes(bytes)), expected, "{bytes:?}");
        }
    }

    /// Every way comes to the double that std finds, which is the nearest.
    #[test]
    fn short_decimals_are_the_nearest_doubles() {
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let number = state >> (8 + state % 50);
            let decimals = (state >> 32) as usize % 23;
            let Some(short) = short_decimal(number, decimals) else { continue };
            let exact: f64 = format!("{number}e-{decimals}").parse().unwrap();
            assert_eq!(short.to_bits(), exact.to_bits(), "{number}e-{decimals}");
        }
        assert_eq!(short_decimal((1 << 53) + 1, 0), None);
        assert_eq!(short_decimal(1, 23), None);
    }
}
