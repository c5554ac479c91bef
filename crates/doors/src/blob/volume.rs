//! What a volume is asked by somebody whom the master has sent.

use std::borrow::Cow;

use super::{KEY_BYTES_MAX, Wrong, decoded_key};

/// The parameter that has the grant.
const GRANT: &str = "grant=";

/// A request to a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The key.
    pub key: Cow<'a, [u8]>,
    /// The text of the grant, if there is one.
    pub grant: Option<&'a str>,
}

/// Reads what a volume is asked.
pub fn read<'a>(path: &'a str, query: &'a str) -> Result<Sent<'a>, Wrong> {
    let key = decoded_key(path)?;
    if key.is_empty() || KEY_BYTES_MAX < key.len() {
        let text = format!("the path is the key, and has 1 to {KEY_BYTES_MAX} bytes");
        return Err(Wrong::new(404, text));
    }
    let grant = match query {
        "" => None,
        query => match query.strip_prefix(GRANT) {
            Some(grant) if !grant.contains('&') => Some(grant),
            _ => {
                let text = "a volume takes only `?grant=`, as the master writes it";
                return Err(Wrong::new(400, text));
            }
        },
    };
    Ok(Sent { key, grant })
}
