//! Who sends a request, as its header `Authorization` says, and where nobody is asked.

use crate::{Login, base64};

/// Whether a path is there for everybody: what watchers ask, and how to go on.
pub fn is_open_to_all(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz" | "/health" | "/openapi.json")
}

/// Reads `Authorization`: `Bearer token`, or `Basic` and `user:password` as base64.
pub fn read(header: &str) -> Result<Login<'_>, &'static str> {
    const WANTED: &str = "Authorization wants `Bearer token`, or `Basic` with user and password";
    let (scheme, rest) = header.split_once(' ').ok_or(WANTED)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Login::Token(rest.as_bytes().into()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(WANTED);
    }
    let bytes = base64::decode(rest).ok_or("what stands behind Basic is no base64")?;
    let colon = bytes.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or("what stands behind Basic has no colon between user and password")?;
    let (user, password) = (bytes[..colon].to_vec(), bytes[colon + 1..].to_vec());
    Ok(Login::Password { user: user.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_is_is_read_in_both_forms() {
        assert_eq!(read("Bearer olv_1_2"), Ok(Login::Token(b"olv_1_2".as_slice().into())));
        let user = b"ada".as_slice().into();
        let password = b"a:b".as_slice().into();
        assert_eq!(read("basic YWRhOmE6Yg=="), Ok(Login::Password { user, password }));
        for wrong in ["", "Bearer", "Digest x", "Basic !", "Basic YQ=="] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
