//! Reads options of the command line: `--name value` and `--name=value`.
//!
//! 1. A value is taken as it is, bytes that are no text included; a path may need them.
//! 2. Every complaint names the option and what it takes.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

/// The options of one command, taken one after the other.
pub(crate) struct Flags<'a> {
    arguments: std::slice::Iter<'a, OsString>,
    /// The option taken last, with its value when that came behind a `=`.
    current: (String, Option<OsString>),
}

impl<'a> Flags<'a> {
    pub(crate) fn new(arguments: &'a [OsString]) -> Flags<'a> {
        Flags { arguments: arguments.iter(), current: (String::new(), None) }
    }

    /// The name of the next option, with its dashes.
    pub(crate) fn next(&mut self) -> Option<String> {
        let bytes = self.arguments.next()?.clone().into_vec();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(end) if bytes.starts_with(b"--") => {
                (&bytes[..end], Some(OsString::from_vec(bytes[end + 1..].to_vec())))
            }
            _ => (&bytes[..], None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        self.current = (name.clone(), value);
        Some(name)
    }

    /// The value of the option taken last.
    pub(crate) fn value(&mut self, what: &str) -> Result<OsString, String> {
        let (name, value) = &mut self.current;
        value
            .take()
            .or_else(|| self.arguments.next().cloned())
            .ok_or_else(|| format!("`{name}` wants {what}"))
    }

    /// The same, which must be text.
    pub(crate) fn text(&mut self, what: &str) -> Result<String, String> {
        let value = self.value(what)?;
        value.into_string().map_err(|value| {
            format!("`{}` wants {what}, not {}", self.current.0, value.to_string_lossy())
        })
    }

    /// The same, which must be a whole number from 1.
    pub(crate) fn count(&mut self) -> Result<u64, String> {
        let what = "a whole number from 1";
        let text = self.text(what)?;
        let number = text.parse::<u64>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("`{}` wants {what}, not `{text}`", self.current.0))
    }

    /// The same, which must be a number of bytes: `1048576`, `1024KiB`, `1MiB`.
    pub(crate) fn bytes(&mut self) -> Result<u64, String> {
        let what = "a number of bytes such as 67108864 or 64MiB";
        let text = self.text(what)?;
        bytes(&text).ok_or_else(|| format!("`{}` wants {what}, not `{text}`", self.current.0))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn values_stand_behind_a_blank_or_an_equals_sign() {
        let arguments = arguments("--db a=b --n=5 --size 2MiB --last");
        let mut flags = Flags::new(&arguments);
        assert_eq!(flags.next().as_deref(), Some("--db"));
        assert_eq!(flags.text("a directory"), Ok("a=b".to_owned()));
        assert_eq!(flags.next().as_deref(), Some("--n"));
        assert_eq!(flags.count(), Ok(5));
        assert_eq!(flags.next().as_deref(), Some("--size"));
        assert_eq!(flags.bytes(), Ok(2 << 20));
        assert_eq!(flags.next().as_deref(), Some("--last"));
        assert_eq!(flags.text("a word"), Err("`--last` wants a word".to_owned()));
        assert_eq!(flags.next(), None);
    }

    #[test]
    fn a_wrong_value_is_told_with_what_is_wanted() {
        for (text, said) in [
            ("--n 0", "`--n` wants a whole number from 1, not `0`"),
            ("--n=-1", "`--n` wants a whole number from 1, not `-1`"),
            ("--n many", "`--n` wants a whole number from 1, not `many`"),
        ] {
            let arguments = arguments(text);
            let mut flags = Flags::new(&arguments);
            flags.next();
            assert_eq!(flags.count().unwrap_err(), said);
        }
    }

    #[test]
    fn bytes_may_have_a_unit() {
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("3KiB"), Some(3072));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        for wrong in ["", "MiB", "1.5MiB", "1MB", "-1", "99999999999GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
