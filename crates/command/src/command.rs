//! What is asked.
//!
//! Keys are bytes and are compared as bytes. Times are milliseconds since 1970; a time of expiry is the
//! first moment at which the key is no longer there.

use std::borrow::Cow;

use crate::{
    access::{Token, User, Who},
    reply::Reply,
};

/// Bytes that may still lie in the buffer they came in.
pub type Bytes<'a> = Cow<'a, [u8]>;

/// Commands that came together and are carried out in this order, as of one time.
///
/// They see each other's effects. Each succeeds or is refused by itself; those that change something
/// become durable together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch<'a> {
    /// What time it is.
    pub now: u64,
    /// What is asked.
    pub commands: Vec<Command<'a>>,
}

/// One thing that is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The value of a key. Answered by [`Reply::Value`](crate::Reply::Value).
    Get {
        /// Whose value.
        key: Bytes<'a>,
    },
    /// The values of several keys. Answered by [`Reply::Values`](crate::Reply::Values), in this order.
    GetMany {
        /// Whose values.
        keys: Vec<Bytes<'a>>,
    },
    /// What there is under a key, without its value. Answered by [`Reply::Look`](crate::Reply::Look).
    Look {
        /// Which key.
        key: Bytes<'a>,
    },
    /// Sets the value of a key. Answered by [`Reply::Done`](crate::Reply::Done): whether the condition held.
    Put {
        /// Key and value.
        entry: Entry<'a>,
        /// What must be so.
        condition: Condition,
        /// How long the key lives from now on.
        expiry: Expiry,
    },
    /// Sets the values of several keys, all or none. Answered by [`Reply::Count`](crate::Reply::Count).
    PutMany {
        /// Keys and values; of a key that is there twice, the last counts.
        entries: Vec<Entry<'a>>,
        /// How long the keys live from now on.
        expiry: Expiry,
    },
    /// Takes a key away. Answered by [`Reply::Done`](crate::Reply::Done): whether it was there and the
    /// condition held.
    Delete {
        /// Which key.
        key: Bytes<'a>,
        /// What must be so.
        condition: Condition,
    },
    /// Takes several keys away. Answered by [`Reply::Count`](crate::Reply::Count): how many were there.
    DeleteMany {
        /// Which keys.
        keys: Vec<Bytes<'a>>,
    },
    /// Changes when a key expires. Answered by [`Reply::Done`](crate::Reply::Done): whether it was there.
    Expire {
        /// Which key.
        key: Bytes<'a>,
        /// When.
        expiry: Expiry,
    },
    /// Entries in the order of their keys. Answered by [`Reply::Page`](crate::Reply::Page).
    Scan {
        /// Where the stretch of keys begins.
        start: Bound<'a>,
        /// Where it ends.
        end: Bound<'a>,
        /// How many entries are wanted; fewer may come with the word that there are more.
        limit: u64,
        /// From the end to the start.
        backward: bool,
    },
    /// How many keys there are. Answered by [`Reply::Count`](crate::Reply::Count).
    Count,
    /// Numbers about the store. Answered by [`Reply::Numbers`](crate::Reply::Numbers).
    Numbers,
    /// A step of making a copy of everything, while writers go on.
    Copy(Copying),
    /// Takes away some keys that have expired. Answered by [`Reply::Count`](crate::Reply::Count): how many
    /// places were looked at; fewer than `limit` when nothing is left to do.
    Sweep {
        /// How many places to look at.
        limit: u64,
    },
    /// Somebody who was named. Answered by [`Reply::Principal`](crate::Reply::Principal).
    Principal {
        /// Who.
        who: Who<'a>,
    },
    /// All users and their tokens. Answered by [`Reply::Principals`](crate::Reply::Principals).
    Principals,
    /// Makes a user, or changes one. Answered by [`Reply::Done`](crate::Reply::Done): whether the user is new.
    SetUser {
        /// The user.
        user: User<'a>,
    },
    /// Takes a user away, and the user's tokens. Answered by [`Reply::Done`](crate::Reply::Done): whether
    /// the user was there.
    DropUser {
        /// Which user.
        name: Bytes<'a>,
    },
    /// Makes a token. Answered by [`Reply::Done`](crate::Reply::Done): whether its user is there.
    SetToken {
        /// The token.
        token: Token<'a>,
    },
    /// Takes a token away. Answered by [`Reply::Done`](crate::Reply::Done): whether it was there.
    DropToken {
        /// Which token.
        id: Bytes<'a>,
    },
    /// Who may ask for something. Answered by [`Reply::Access`](crate::Reply::Access).
    Access,
    /// Writes points of time series. Answered by [`Reply::Written`](crate::Reply::Written).
    WritePoints {
        /// Into which database.
        database: Bytes<'a>,
        /// Under which retention policy; empty for the default one.
        policy: Bytes<'a>,
        /// The points, as [`points`](crate::points) encodes them.
        points: Bytes<'a>,
        /// Make a database that is not there.
        makes_database: bool,
        /// All of them or none.
        all_or_none: bool,
    },
    /// Answers a statement that only reads time series. Answered by [`Reply::Answer`](crate::Reply::Answer).
    Query {
        /// The statement.
        statement: Statement<'a>,
    },
    /// Carries out a statement that changes time series. Answered by [`Reply::Answer`](crate::Reply::Answer).
    Alter {
        /// The statement.
        statement: Statement<'a>,
        /// Whether it is about databases and policies, which is more than to write points into them or take
        /// some away. What is said here is what is asked for; a statement that is not so is refused.
        defines: bool,
    },
    /// Brings what was written to where it stays: small pieces become large ones, and what is out of date goes.
    /// That happens by itself too, in time. Answered by [`Reply::Done`](crate::Reply::Done).
    Settle,
}

/// A statement of InfluxQL, and what it is to be read with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text: one statement.
    pub text: Bytes<'a>,
    /// The database that is meant where it names none; may be empty.
    pub database: Bytes<'a>,
    /// The retention policy that is meant where it names none; empty for the database's default.
    pub policy: Bytes<'a>,
    /// The relaxed dialect of the select door.
    pub relaxed: bool,
    /// How long it may take, in milliseconds.
    pub millis_max: u64,
    /// Memory it may take.
    pub bytes_max: u64,
    /// Points it may look at.
    pub points_max: u64,
}

impl Command<'_> {
    /// The names of all commands, as logs and numbers have them.
    pub const NAMES: [&'static str; 24] = [
        "get",
        "get_many",
        "look",
        "put",
        "put_many",
        "delete",
        "delete_many",
        "expire",
        "scan",
        "count",
        "numbers",
        "sweep",
        "principal",
        "principals",
        "set_user",
        "drop_user",
        "set_token",
        "drop_token",
        "access",
        "copy",
        "write_points",
        "query",
        "alter",
        "settle",
    ];

    /// Which of the names it has.
    pub fn place(&self) -> usize {
        match self {
            Command::Get { .. } => 0,
            Command::GetMany { .. } => 1,
            Command::Look { .. } => 2,
            Command::Put { .. } => 3,
            Command::PutMany { .. } => 4,
            Command::Delete { .. } => 5,
            Command::DeleteMany { .. } => 6,
            Command::Expire { .. } => 7,
            Command::Scan { .. } => 8,
            Command::Count => 9,
            Command::Numbers => 10,
            Command::Sweep { .. } => 11,
            Command::Principal { .. } => 12,
            Command::Principals => 13,
            Command::SetUser { .. } => 14,
            Command::DropUser { .. } => 15,
            Command::SetToken { .. } => 16,
            Command::DropToken { .. } => 17,
            Command::Access => 18,
            Command::Copy(_) => 19,
            Command::WritePoints { .. } => 20,
            Command::Query { .. } => 21,
            Command::Alter { .. } => 22,
            Command::Settle => 23,
        }
    }

    /// What logs and numbers call it.
    pub fn name(&self) -> &'static str {
        Command::NAMES[self.place()]
    }

    /// The first key that it names, or where the stretch begins that it reads. Users and tokens are no keys.
    pub fn first_key(&self) -> Option<&[u8]> {
        match self {
            Command::Get { key }
            | Command::Look { key }
            | Command::Delete { key, .. }
            | Command::Expire { key, .. } => Some(key),
            Command::Put { entry, .. } => Some(&entry.key),
            Command::GetMany { keys } | Command::DeleteMany { keys } => {
                keys.first().map(|key| &**key)
            }
            Command::PutMany { entries, .. } => entries.first().map(|entry| &*entry.key),
            Command::Scan { start, .. } => match start {
                Bound::Open => None,
                Bound::Included(key) | Bound::Excluded(key) => Some(key),
            },
            _ => None,
        }
    }

    /// Whether carrying it out may change the store.
    pub fn writes(&self) -> bool {
        match self {
            Command::Get { .. }
            | Command::GetMany { .. }
            | Command::Look { .. }
            | Command::Scan { .. }
            | Command::Count
            | Command::Numbers
            | Command::Principal { .. }
            | Command::Principals
            | Command::Access
            | Command::Copy(_)
            | Command::Query { .. }
            | Command::Settle => false,
            Command::Put { .. }
            | Command::PutMany { .. }
            | Command::Delete { .. }
            | Command::DeleteMany { .. }
            | Command::Expire { .. }
            | Command::Sweep { .. }
            | Command::SetUser { .. }
            | Command::DropUser { .. }
            | Command::SetToken { .. }
            | Command::DropToken { .. }
            | Command::WritePoints { .. }
            | Command::Alter { .. } => true,
        }
    }

    /// Whether the reply is one that this command is answered by.
    pub fn is_answered_by(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (_, Reply::Refused(_))
            | (Command::Get { .. }, Reply::Value(_))
            | (Command::Look { .. }, Reply::Look(_))
            | (
                Command::Put { .. }
                | Command::Delete { .. }
                | Command::Expire { .. }
                | Command::SetUser { .. }
                | Command::DropUser { .. }
                | Command::SetToken { .. }
                | Command::DropToken { .. }
                | Command::Copy(Copying::End { .. })
                | Command::Settle,
                Reply::Done(_),
            )
            | (
                Command::PutMany { .. }
                | Command::DeleteMany { .. }
                | Command::Count
                | Command::Sweep { .. },
                Reply::Count(_),
            )
            | (Command::Scan { .. }, Reply::Page { .. })
            | (Command::Numbers, Reply::Numbers(_))
            | (Command::Copy(Copying::Begin), Reply::Lent(_))
            | (Command::Copy(Copying::Read { .. }), Reply::Piece(_))
            | (Command::Principal { .. }, Reply::Principal(_))
            | (Command::Principals, Reply::Principals(_))
            | (Command::Access, Reply::Access(_))
            | (Command::WritePoints { .. }, Reply::Written { .. })
            | (Command::Query { .. } | Command::Alter { .. }, Reply::Answer(_)) => true,
            (Command::GetMany { keys }, Reply::Values(values)) => keys.len() == values.len(),
            _ => false,
        }
    }
}

/// A step of making a copy of everything, file by file. Such a copy is of the moment at which it was begun,
/// and costs its store disk space until it is ended, or was not read for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// Begins one. Answered by [`Reply::Lent`](crate::Reply::Lent), which has the number that the store gave it: no
    /// other copy of this store, before or after a restart, gets the same.
    Begin,
    /// Some bytes of one of its files. Answered by [`Reply::Piece`](crate::Reply::Piece).
    Read {
        /// The number of the copy.
        id: u64,
        /// Which of its files, counted from 0.
        file: u64,
        /// From where on.
        offset: u64,
        /// How many bytes at most; fewer may come, but none only at the end of the file.
        bytes: u64,
    },
    /// Ends one. Answered by [`Reply::Done`](crate::Reply::Done): whether there was such a one.
    End {
        /// The number of the copy.
        id: u64,
        /// Whether it has become a backup: it is whole, verified, and lasts where it went.
        kept: bool,
    },
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: Bytes<'a>,
    /// The value.
    pub value: Value<'a>,
}

/// A value, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What the bytes are.
    pub form: Form,
    /// The bytes.
    pub bytes: Bytes<'a>,
}

/// What the bytes of a value are. The numbers are in stored rows and in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// Just bytes; a text where they are one.
    #[default]
    Bytes = 0,
    /// The compact text of a JSON value that is not a string. Doors that know no JSON show the text.
    Json = 1,
}

/// What must be so for a command to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// What is under the key has this revision.
    Revision(u64),
}

/// How long a key lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// For ever.
    #[default]
    Never,
    /// Until this time.
    At(u64),
    /// As long as before.
    Kept,
}

/// An end of a stretch of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bound<'a> {
    /// At this key, which belongs to it.
    Included(Bytes<'a>),
    /// At this key, which does not.
    Excluded(Bytes<'a>),
    /// Nowhere.
    #[default]
    Open,
}
