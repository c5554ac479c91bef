//! Parts of what is answered.

use std::fmt::Write as _;

/// One of a list.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// How long it is.
    pub bytes: u64,
    /// Which it is of those that were ever under the key.
    pub generation: u64,
}

/// The ETag of a generation.
pub fn tag(generation: u64) -> String {
    format!("\"{generation:x}\"")
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes whatever comes.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The path of a key, with all that could be taken for something else escaped.
pub fn path_of(key: &[u8]) -> String {
    let mut path = String::with_capacity(1 + key.len());
    path.push('/');
    for byte in key {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'/' => {
                path.push(char::from(*byte));
            }
            // Alone between slashes it would be taken for a way up; elsewhere it is just a dot.
            b'.' if !has_dots_alone(key) => path.push('.'),
            _ => {
                write!(path, "%{byte:02X}").ok();
            }
        }
    }
    path
}

/// Whether clients would shorten a path by its dots.
fn has_dots_alone(key: &[u8]) -> bool {
    key.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..")
}

/// A part of a list as minikeyvalue gives it: keys with their leading slash.
pub fn list_json(entries: &[Entry<'_>], next: Option<&[u8]>) -> Vec<u8> {
    let mut text = String::from("{\"next\":");
    push_json(next.map_or(String::new(), slashed).as_str(), &mut text);
    text.push_str(",\"keys\":[");
    for (nth, entry) in entries.iter().enumerate() {
        if nth != 0 {
            text.push(',');
        }
        push_json(&slashed(entry.key), &mut text);
    }
    text.push_str("]}");
    text.into_bytes()
}

/// A key with the slash before it; bytes that are no text are escaped as in a path.
fn slashed(key: &[u8]) -> String {
    match str::from_utf8(key) {
        Ok(key) => format!("/{key}"),
        Err(_) => path_of(key),
    }
}

fn push_json(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            c if u32::from(c) < 0x20 => {
                write!(json, "\\u{:04x}", u32::from(c)).ok();
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

/// A part of a list as S3 gives it.
pub fn list_xml(entries: &[Entry<'_>], next: Option<&[u8]>) -> Vec<u8> {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    write!(text, "<IsTruncated>{}</IsTruncated>", next.is_some()).ok();
    for Entry { key, bytes, generation } in entries {
        text.push_str("<Contents><Key>");
        push_xml(&String::from_utf8_lossy(key), &mut text);
        write!(
            text,
            "</Key><Size>{bytes}</Size><ETag>&quot;{generation:x}&quot;</ETag></Contents>"
        )
        .ok();
    }
    text.push_str("</ListBucketResult>");
    text.into_bytes()
}

fn push_xml(text: &str, xml: &mut String) {
    for c in text.chars() {
        match c {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            // What XML cannot say at all.
            c if u32::from(c) < 0x20 && !matches!(c, '\t' | '\n' | '\r') => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
}
