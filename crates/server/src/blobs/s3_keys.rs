//! The file with the keys that clients of S3's manner sign with: a line each, of an access key and a secret.
//!
//! 1. Nobody but who runs the master may read it; one that others may read is refused.
//! 2. A file without keys is refused, too: there would be nobody to answer.

use std::path::Path;

use olivine_s3::Key;
use olivine_vfs::{Open, Vfs};

use crate::{node::Problem, tls::check_private};

/// Nobody has a longer one.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FLAG: &str = "--s3-keys";

/// The keys in a file.
pub(super) fn read(vfs: &dyn Vfs, path: Option<&Path>) -> Result<Vec<Key>, Problem> {
    let path = path.ok_or_else(|| {
        Problem::Settings(format!(
            "the master speaks as S3 only to who signs: name a file with {FLAG}, in which each line has an access key and \
             a secret, and which nobody else may read (chmod 600)"
        ))
    })?;
    read_file(vfs, path, FLAG)
}

/// The keys in a file that `flag` names.
pub(super) fn read_file(vfs: &dyn Vfs, path: &Path, flag: &str) -> Result<Vec<Key>, Problem> {
    check_private(path, flag)?;
    let failed = |source| Problem::System {
        what: format!("cannot read the keys in {}; see {flag}", path.display()),
        source,
    };
    let file = vfs.open(path, Open::Read).map_err(failed)?;
    let length = file.len().map_err(failed)?.min(FILE_BYTES_MAX) as usize;
    let mut text = vec![0; length];
    let read = file.read_at(&mut text, 0).map_err(failed)?;
    let wrong = |what: String| Problem::Settings(format!("{}: {what}; see {flag}", path.display()));
    let text = str::from_utf8(&text[..read]).map_err(|_| wrong("it is no text".to_owned()))?;
    parse(text).map_err(wrong)
}

fn parse(text: &str) -> Result<Vec<Key>, String> {
    let mut keys: Vec<Key> = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let (access, secret) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(word), ..) if word.starts_with('#') => continue,
            (Some(access), Some(secret), None) => (access, secret),
            // The line may have a secret, and is not shown.
            _ => return Err(format!("line {} is not an access key and a secret", nth + 1)),
        };
        if keys.iter().any(|key| key.access == access) {
            return Err(format!("line {} has an access key that was there before", nth + 1));
        }
        keys.push(Key { access: access.to_owned(), secret: secret.to_owned() });
    }
    if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keys_or_told() {
        let keys = parse("# ours\n\nAKIA one\n  second\ttwo \n").unwrap();
        let keys: Vec<_> = keys.iter().map(|key| (&*key.access, &*key.secret)).collect();
        assert_eq!(keys, [("AKIA", "one"), ("second", "two")]);
        for (text, what) in [
            ("", "no key"),
            ("# none", "no key"),
            ("alone", "line 1"),
            ("a b\nc d e", "line 2"),
            ("a b\na c", "line 2"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(what) && !told.contains("d e"), "{text}: {told}");
        }
    }
}
