//! Who may ask for what.
//!
//! 1. Every command needs one right, and says which keys it reaches; nothing is left to the doors.
//! 2. What proves who somebody is (`Secret`) is only carried here; how it is made and checked is the
//!    affair of whoever accepts commands.

use crate::command::{Bound, Bytes, Command};

/// What a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To see what is stored.
    Read,
    /// To change what is stored.
    Write,
    /// To see and change who may do what, and what concerns the node as a whole.
    Admin,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 3] = [Right::Read, Right::Write, Right::Admin];
}

/// What somebody may do. The numbers are in stored rows and in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Reads.
    Reader = 1,
    /// Reads and writes.
    Writer = 2,
    /// Does everything.
    Admin = 3,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The role of this number.
    pub fn numbered(number: u8) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u8 == number)
    }

    /// Whether it has a right.
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Read => true,
            Right::Write => self != Role::Reader,
            Right::Admin => self == Role::Admin,
        }
    }
}

/// A user, as somebody makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// What the user is called.
    pub name: Bytes<'a>,
    /// What the user may do.
    pub role: Role,
    /// The keys the user may reach are those that begin with this.
    pub prefix: Bytes<'a>,
    /// What proves that somebody is the user.
    pub secret: Bytes<'a>,
}

/// A token, as somebody makes one: its owner may do what the user may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What the token is called.
    pub id: Bytes<'a>,
    /// Whose it is.
    pub user: Bytes<'a>,
    /// What proves that somebody has it.
    pub secret: Bytes<'a>,
    /// The first moment at which it proves nothing any more.
    pub expiry: Option<u64>,
}

/// Somebody who was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// The user of this name.
    User(Bytes<'a>),
    /// Whoever has the token of this id.
    Token(Bytes<'a>),
}

impl Who<'_> {
    /// The same, in memory of its own.
    pub fn into_owned(self) -> Who<'static> {
        match self {
            Who::User(name) => Who::User(name.into_owned().into()),
            Who::Token(id) => Who::Token(id.into_owned().into()),
        }
    }
}

/// A user or a token that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: Vec<u8>,
    /// The token; nothing if this is the user.
    pub token: Option<Vec<u8>>,
    /// What the user may do.
    pub role: Role,
    /// What the keys begin with that the user may reach.
    pub prefix: Vec<u8>,
    /// What proves it; empty in lists.
    pub secret: Vec<u8>,
    /// When it was made.
    pub made: u64,
    /// The first moment at which the token proves nothing any more.
    pub expiry: Option<u64>,
}

impl Principal {
    /// A user without a secret, not made yet.
    pub fn named(name: &str, role: Role, prefix: &str) -> Principal {
        let (user, prefix) = (name.as_bytes().to_vec(), prefix.as_bytes().to_vec());
        Principal { user, token: None, role, prefix, secret: Vec::new(), made: 0, expiry: None }
    }
}

/// Who may ask for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Changes whenever a user or a token does.
    pub generation: u64,
    /// How many users there are. Where there is none, nobody is asked who they are.
    pub users: u64,
}

/// The keys that a command reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach<'c, 'a> {
    /// None.
    Nothing,
    One(&'c Bytes<'a>),
    Some(&'c [Bytes<'a>]),
    /// Those of entries.
    Entries(&'c [crate::Entry<'a>]),
    /// All from one to the other.
    Stretch(&'c Bound<'a>, &'c Bound<'a>),
    /// Any.
    All,
}

impl<'a> Command<'a> {
    /// The right that carrying it out needs.
    pub fn needs(&self) -> Right {
        match self {
            Command::Get { .. }
            | Command::GetMany { .. }
            | Command::Look { .. }
            | Command::Scan { .. }
            | Command::Count
            | Command::Numbers
            | Command::Query { .. } => Right::Read,
            Command::Put { .. }
            | Command::PutMany { .. }
            | Command::Delete { .. }
            | Command::DeleteMany { .. }
            | Command::Expire { .. }
            | Command::WritePoints { .. }
            | Command::Alter { defines: false, .. } => Right::Write,
            Command::Sweep { .. }
            | Command::SetUser { .. }
            | Command::DropUser { .. }
            | Command::SetToken { .. }
            | Command::DropToken { .. }
            | Command::Principal { .. }
            | Command::Principals
            | Command::Access
            | Command::Copy(_)
            | Command::Alter { defines: true, .. }
            | Command::Settle => Right::Admin,
        }
    }

    fn reach(&self) -> Reach<'_, 'a> {
        match self {
            Command::Get { key }
            | Command::Look { key }
            | Command::Delete { key, .. }
            | Command::Expire { key, .. } => Reach::One(key),
            Command::Put { entry, .. } => Reach::One(&entry.key),
            Command::GetMany { keys } | Command::DeleteMany { keys } => Reach::Some(keys),
            Command::PutMany { entries, .. } => Reach::Entries(entries),
            Command::Scan { start, end, .. } => Reach::Stretch(start, end),
            // How many keys there are tells nothing of what they are.
            Command::Count | Command::Numbers => Reach::Nothing,
            Command::Sweep { .. }
            | Command::SetUser { .. }
            | Command::DropUser { .. }
            | Command::SetToken { .. }
            | Command::DropToken { .. }
            | Command::Principal { .. }
            | Command::Principals
            | Command::Access
            | Command::Copy(_)
            | Command::WritePoints { .. }
            | Command::Query { .. }
            | Command::Alter { .. }
            | Command::Settle => Reach::All,
        }
    }

    /// Whether all keys it reaches begin with `prefix`.
    pub fn stays_within(&self, prefix: &[u8]) -> bool {
        if prefix.is_empty() {
            return true;
        }
        match self.reach() {
            Reach::Nothing => true,
            Reach::One(key) => key.starts_with(prefix),
            Reach::Some(keys) => keys.iter().all(|key| key.starts_with(prefix)),
            Reach::Entries(entries) => entries.iter().all(|entry| entry.key.starts_with(prefix)),
            Reach::Stretch(start, end) => starts_within(start, prefix) && ends_within(end, prefix),
            Reach::All => false,
        }
    }
}

/// Whether no key before those with the prefix belongs to a stretch that begins so.
fn starts_within(start: &Bound<'_>, prefix: &[u8]) -> bool {
    match start {
        Bound::Included(key) | Bound::Excluded(key) => prefix <= &**key,
        Bound::Open => false,
    }
}

/// Whether no key behind those with the prefix belongs to a stretch that ends so.
fn ends_within(end: &Bound<'_>, prefix: &[u8]) -> bool {
    match end {
        Bound::Included(key) => &**key < prefix || key.starts_with(prefix),
        Bound::Excluded(key) => {
            &**key < prefix
                || key.starts_with(prefix)
                || after(prefix).is_some_and(|after| **key <= *after)
        }
        // Only where no key can be behind them.
        Bound::Open => after(prefix).is_none(),
    }
}

/// The first key behind all that begin with `prefix`, if there can be one.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_more_rights_the_higher_they_are() {
        for (low, high) in Role::ALL.iter().zip(&Role::ALL[1..]) {
            for right in Right::ALL {
                assert!(!low.has(right) || high.has(right), "{low:?} {high:?} {right:?}");
            }
            assert!(Right::ALL.iter().any(|right| !low.has(*right) && high.has(*right)));
        }
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(Role::numbered(role as u8), Some(role));
        }
        assert_eq!((Role::named("root"), Role::numbered(0)), (None, None));
    }

    /// For every stretch of short keys, whether it stays within is what looking at each key says.
    #[test]
    fn a_stretch_stays_within_a_prefix_if_all_its_keys_do() {
        let bytes = [0, b'a', b'b', 0xff];
        let mut keys: Vec<Vec<u8>> = vec![vec![]];
        for length in 1..=3 {
            let shorter: Vec<_> = keys.iter().filter(|k| k.len() == length - 1).cloned().collect();
            keys.extend(shorter.iter().flat_map(|k| bytes.map(|b| [&**k, &[b]].concat())));
        }
        keys.sort();
        let bounds = |key: &Vec<u8>| {
            [Bound::Included(key.clone().into()), Bound::Excluded(key.clone().into())]
        };
        let mut ends: Vec<Bound<'static>> =
            keys.iter().filter(|k| k.len() < 3).flat_map(bounds).collect();
        ends.push(Bound::Open);
        for prefix in [&b"a"[..], b"ab", b"\xff", b"a\xff", b"\xff\xff"] {
            for (start, end) in ends.iter().flat_map(|s| ends.iter().map(move |e| (s, e))) {
                let reached = |key: &&Vec<u8>| {
                    (match start {
                        Bound::Included(start) => **start <= ***key,
                        Bound::Excluded(start) => **start < ***key,
                        Bound::Open => true,
                    }) && (match end {
                        Bound::Included(end) => ***key <= **end,
                        Bound::Excluded(end) => ***key < **end,
                        Bound::Open => true,
                    })
                };
                let (start, end) = (start.clone(), end.clone());
                let strays = keys.iter().filter(reached).any(|key| !key.starts_with(prefix));
                let scan = Command::Scan {
                    start: start.clone(),
                    end: end.clone(),
                    limit: 1,
                    backward: false,
                };
                if scan.stays_within(prefix) {
                    assert!(!strays, "{start:?} {end:?} {prefix:?}");
                }
            }
        }
    }

    #[test]
    fn the_stretch_of_a_prefix_stays_within_it() {
        for prefix in [&b"a"[..], b"user:7:", b"\xff", b"a\xff"] {
            let end = after(prefix).map_or(Bound::Open, |after| Bound::Excluded(after.into()));
            let start = Bound::Included(prefix.into());
            assert!(Command::Scan { start, end, limit: 1, backward: false }.stays_within(prefix));
        }
        let all = Command::Scan { start: Bound::Open, end: Bound::Open, limit: 1, backward: false };
        assert!(all.stays_within(b"") && !all.stays_within(b"a"));
    }
}
