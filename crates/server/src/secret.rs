//! What proves who somebody is: passwords and tokens, and what is stored of them.
//!
//! A password is stored as an argon2id hash with its own salt and its own costs. A token is
//! `olv_<id>_<secret>`; its secret is 256 random bits, so that a plain SHA-256 of it is stored.
//!
//! 1. What is stored does not tell what it is the proof of.
//! 2. Comparing takes as long whether it is right or wrong.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use subtle::ConstantTimeEq as _;

/// What hashing a password costs: 19 MiB, two passes, as OWASP has it for argon2id.
const COSTS: Costs = Costs { memory: 19 << 10, passes: 2, lanes: 1 };
/// The most that a stored hash may cost to check, in KiB and passes: it may have been written by a later release.
const COST_MAX: (u32, u32) = (1 << 20, 64);

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The first byte of what is stored of a password.
const ARGON2ID: u8 = 1;

/// What a token begins with, so that it is found where it should not be.
const TOKEN_PREFIX: &str = "olv_";
const TOKEN_ID_BYTES: usize = 6;
const TOKEN_SECRET_BYTES: usize = 32;
/// Random bytes of a password that is made here.
const PASSWORD_BYTES: usize = 20;

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug)]
pub struct NoRandomness;

/// A token that was made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is called.
    pub id: String,
    /// The token, to be shown once.
    pub text: String,
    /// What is stored of it.
    pub stored: Vec<u8>,
}

/// What is stored of a password.
pub fn of_password(password: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let mut salt = [0; SALT_BYTES];
    random(&mut salt)?;
    let mut stored = vec![ARGON2ID];
    for cost in [COSTS.memory, COSTS.passes, COSTS.lanes] {
        stored.extend(cost.to_le_bytes());
    }
    stored.extend(salt);
    let hash = hash(password, &salt, COSTS);
    stored.extend(hash.unwrap_or_default());
    Ok(stored)
}

/// Whether this is the password of which that is stored.
pub(crate) fn is_password(stored: &[u8], password: &[u8]) -> bool {
    let Some(Stored { costs, salt, known }) = Stored::parse(stored) else {
        return false;
    };
    hash(password, salt, costs).is_some_and(|hash| hash.ct_eq(known).into())
}

/// What hashing costs: KiB of memory, passes over it, lanes.
#[derive(Clone, Copy)]
struct Costs {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// What is stored of a password, in its parts.
struct Stored<'a> {
    costs: Costs,
    salt: &'a [u8],
    known: &'a [u8],
}

impl<'a> Stored<'a> {
    fn parse(stored: &'a [u8]) -> Option<Stored<'a>> {
        let (ARGON2ID, rest) = stored.split_first().map(|(kind, rest)| (*kind, rest))? else {
            return None;
        };
        let (memory, rest) = rest.split_first_chunk()?;
        let (passes, rest) = rest.split_first_chunk()?;
        let (lanes, rest) = rest.split_first_chunk()?;
        let (salt, known) = rest.split_at_checked(SALT_BYTES)?;
        let cost = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        let costs = Costs { memory: cost(memory), passes: cost(passes), lanes: cost(lanes) };
        let affordable = costs.memory <= COST_MAX.0 && costs.passes <= COST_MAX.1;
        (affordable && known.len() == HASH_BYTES).then_some(Stored { costs, salt, known })
    }
}

/// The hash; nothing if the costs cannot be.
fn hash(password: &[u8], salt: &[u8], costs: Costs) -> Option<[u8; HASH_BYTES]> {
    let Costs { memory, passes, lanes } = costs;
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let mut hash = [0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

/// A password that nobody guesses.
pub fn new_password() -> Result<String, NoRandomness> {
    /// Letters and digits that are not taken for each other; 32 of them.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; PASSWORD_BYTES];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// A token that nobody guesses.
pub fn new_token() -> Result<NewToken, NoRandomness> {
    let (mut id, mut secret) = ([0; TOKEN_ID_BYTES], [0; TOKEN_SECRET_BYTES]);
    random(&mut id)?;
    random(&mut secret)?;
    let (id, secret) = (hex(&id), hex(&secret));
    let text = format!("{TOKEN_PREFIX}{id}_{secret}");
    Ok(NewToken { id, text, stored: stored_token(&secret) })
}

fn stored_token(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Id and secret of a token; nothing if it is none.
pub(crate) fn token_parts(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = id.len() == 2 * TOKEN_ID_BYTES && secret.len() == 2 * TOKEN_SECRET_BYTES;
    (fits && is_hex(id) && is_hex(secret)).then_some((id, secret))
}

/// Whether this is the secret of which that is stored.
pub(crate) fn is_token(stored: &[u8], secret: &str) -> bool {
    stored_token(secret).ct_eq(stored).into()
}

/// What a name and its proof are remembered by while the process lives: not they, and nothing that
/// tells them.
pub(crate) fn fingerprint(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let mut context = ring::hmac::Context::with_key(&key);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.sign().as_ref());
    fingerprint
}

/// Fills bytes with chance.
pub fn random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_what_is_stored() {
        let stored = of_password(b"open sesame").unwrap();
        assert!(is_password(&stored, b"open sesame"));
        for wrong in [&b""[..], b"open sesam", b"open sesame ", b"Open sesame"] {
            assert!(!is_password(&stored, wrong));
        }
        assert_ne!(stored, of_password(b"open sesame").unwrap(), "each has its own salt");
        assert!(!stored.windows(4).any(|part| part == b"open"));
    }

    #[test]
    fn what_is_stored_and_cannot_be_proves_nothing() {
        let stored = of_password(b"a").unwrap();
        for end in 0..stored.len() {
            assert!(!is_password(&stored[..end], b"a"), "{end}");
        }
        // Costs that would take the machine are not paid.
        for place in 1..13 {
            let mut dear = stored.clone();
            dear[place] = 0xff;
            assert!(!is_password(&dear, b"a"), "{place}");
        }
    }

    #[test]
    fn a_token_is_known_by_what_is_stored() {
        let NewToken { id, text, stored } = new_token().unwrap();
        let (known, secret) = token_parts(&text).unwrap();
        assert_eq!(known, id);
        assert!(is_token(&stored, secret));
        assert!(!is_token(&stored, &new_token().unwrap().text));
        assert!(!is_token(&[], secret));
        for wrong in
            ["", "olv_", "olv_1_2", &text[1..], &text[..text.len() - 1], &format!("{text}0")]
        {
            assert_eq!(token_parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn passwords_that_are_made_differ() {
        let (one, other) = (new_password().unwrap(), new_password().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), PASSWORD_BYTES);
    }
}
