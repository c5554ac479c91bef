//! Measurement and tags, as a line of the protocol begins with them.

use std::borrow::Cow;

/// Measurement and tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The measurement.
    pub measurement: Cow<'a, str>,
    /// The tags, in the order of their keys.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFault {
    /// At which byte.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Takes measurement and tags apart, and puts the tags in order.
pub fn split_key(bytes: &[u8]) -> Result<Key<'_>, KeyFault> {
    let fault = |at, what| Err(KeyFault { at, what });
    let Ok(text) = str::from_utf8(bytes) else {
        return fault(0, "invalid UTF-8");
    };
    let end = unescaped(bytes, 0, b",");
    let measurement = unescape(&text[..end], b", ");
    if measurement.is_empty() {
        return fault(0, "missing measurement");
    }
    let (mut tags, mut at) = (Vec::new(), end);
    while at < bytes.len() {
        let start = at + 1;
        let equals = unescaped(bytes, start, b",=");
        if equals == start {
            return fault(start, "missing tag key");
        }
        if bytes.get(equals) != Some(&b'=') {
            return fault(equals, "missing tag value");
        }
        let stop = unescaped(bytes, equals + 1, b",=");
        if stop == equals + 1 {
            return fault(stop, "missing tag value");
        }
        if bytes.get(stop) == Some(&b'=') {
            return fault(stop, "invalid tag format");
        }
        let key = unescape(&text[start..equals], b",= ");
        tags.push((key, unescape(&text[equals + 1..stop], b",= ")));
        at = stop;
    }
    tags.sort_by(|(a, _), (b, _)| a.cmp(b));
    if tags.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return fault(end, "duplicate tags");
    }
    Ok(Key { measurement, tags })
}

/// Where the first of some bytes stands that no backslash is before; the end if nowhere.
fn unescaped(bytes: &[u8], from: usize, stops: &[u8]) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && at + 1 < bytes.len() {
            at += 2;
        } else if stops.contains(byte) {
            return at;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Takes backslashes away where they stand before one of some bytes.
fn unescape<'a>(text: &'a str, escaped: &[u8]) -> Cow<'a, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let next = chars.peek().and_then(|next| u8::try_from(*next).ok());
        if char == '\\' && next.is_some_and(|next| escaped.contains(&next)) {
            out.extend(chars.next());
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// Writes measurement and tags as a line has them; `split_key` takes them apart again.
pub fn write_key(
    measurement: &str,
    tags: &[(impl AsRef<str>, impl AsRef<str>)],
    out: &mut Vec<u8>,
) {
    escape(measurement, b", ", out);
    for (key, value) in tags {
        out.push(b',');
        escape(key.as_ref(), b",= ", out);
        out.push(b'=');
        escape(value.as_ref(), b",= ", out);
    }
}

fn escape(text: &str, escaped: &[u8], out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if escaped.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match split_key(text.as_bytes()) {
            Ok(Key { measurement, tags }) => {
                let tags: Vec<String> = tags.iter().map(|(k, v)| format!("[{k}]=[{v}]")).collect();
                format!("[{measurement}] {}", tags.join(" "))
            }
            Err(KeyFault { at, what }) => format!("{what} at {at}"),
        }
    }

    #[test]
    fn keys_are_taken_apart() {
        assert_eq!(told("cpu"), "[cpu] ");
        assert_eq!(told("cpu,b=2,a=1"), "[cpu] [a]=[1] [b]=[2]");
        assert_eq!(told(r"a\,b\ c,k\==v\,\ w"), "[a,b c] [k=]=[v, w]");
        assert_eq!(told(r"a\b,k\x=v\"), r"[a\b] [k\x]=[v\]");
        assert_eq!(told("a=b"), "[a=b] ");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(told(""), "missing measurement at 0");
        assert_eq!(told(",a=1"), "missing measurement at 0");
        assert_eq!(told("cpu,"), "missing tag key at 4");
        assert_eq!(told("cpu,a"), "missing tag value at 5");
        assert_eq!(told("cpu,a="), "missing tag value at 6");
        assert_eq!(told("cpu,=1"), "missing tag key at 4");
        assert_eq!(told("cpu,a=1=2"), "invalid tag format at 7");
        assert_eq!(told("cpu,a=1,a=2"), "duplicate tags at 3");
    }

    #[test]
    fn what_is_written_is_taken_apart_again() {
        let tags = [("a b", "=1,"), ("k", "v")];
        let mut out = Vec::new();
        write_key("m, =", &tags, &mut out);
        assert_eq!(told(str::from_utf8(&out).unwrap()), "[m, =] [a b]=[=1,] [k]=[v]");
    }
}
