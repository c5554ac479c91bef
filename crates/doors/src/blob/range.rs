//! `Range`: which bytes of an object are wanted (RFC 9110, one range).

/// Which bytes of an object are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// All of them.
    All,
    /// Those from `from` up to before `to`, at least one.
    Part {
        /// The first.
        from: u64,
        /// The first that is not.
        to: u64,
    },
    /// None of those there are.
    Outside,
}

/// Reads which bytes of `bytes` are wanted. What is no single range of bytes is as if it had not been said.
pub fn read(range: Option<&str>, bytes: u64) -> Range {
    let Some(part) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Range::All;
    };
    let Some((from, to)) = part.trim().split_once('-') else { return Range::All };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than can be counted is behind every end.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (from, to) {
        ("", last) => match number(last) {
            None => Range::All,
            Some(0) => Range::Outside,
            Some(_) if bytes == 0 => Range::Outside,
            Some(last) => Range::Part { from: bytes.saturating_sub(last), to: bytes },
        },
        (from, to) => {
            let Some(from) = number(from) else { return Range::All };
            let last = if to.is_empty() { Some(u64::MAX) } else { number(to) };
            match last {
                None => Range::All,
                Some(last) if last < from => Range::All,
                Some(_) if bytes <= from => Range::Outside,
                Some(last) => Range::Part { from, to: last.saturating_add(1).min(bytes) },
            }
        }
    }
}
