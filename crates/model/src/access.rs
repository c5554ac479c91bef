//! Users and tokens, in a keyspace of their own.
//!
//! 1. One is changed at a time, and the generation with it, in one batch.
//! 2. Where there are users, one of them is an admin.
//! 3. A token whose user is gone is gone.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use olivine_command::{Access, Code, Command, Principal, Refusal, Reply, Role, Token, User, Who};
use olivine_engine::{Batch, Error, Keyspace, Result};

use crate::{
    layout::{ACCESS_GENERATION, access_key, number},
    model::{Applied, Behind, Model},
    refused::{Stop, refused},
};

/// The first byte of every row.
const VERSION: u8 = 1;
/// What stands before the name of a user, and the id of a token.
const USER: u8 = b'u';
const TOKEN: u8 = b't';

/// Bytes of a name or an id.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a prefix, and of what proves something.
const PART_BYTES_MAX: usize = 1_024;

/// The keyspace, and what is asked of it too often to be read.
pub(crate) struct Accounts {
    rows: Keyspace,
    generation: AtomicU64,
    users: AtomicU64,
    /// Held by who changes something.
    changing: Mutex<()>,
}

impl Accounts {
    pub(crate) fn open(rows: Keyspace) -> Result<Accounts> {
        let generation = rows.get(ACCESS_GENERATION)?.and_then(|value| number(&value));
        let accounts = Accounts {
            rows,
            generation: AtomicU64::new(generation.unwrap_or_default() as u64),
            users: AtomicU64::new(0),
            changing: Mutex::new(()),
        };
        let users = accounts.keys_of(USER)?.len() as u64;
        accounts.users.store(users, SeqCst);
        Ok(accounts)
    }

    /// Who may ask for something.
    pub(crate) fn access(&self) -> Access {
        // The generation first: whoever sees an old number of users sees an old generation with it.
        let generation = self.generation.load(SeqCst);
        Access { generation, users: self.users.load(SeqCst) }
    }

    /// The names or ids that there are.
    fn keys_of(&self, kind: u8) -> Result<Vec<Vec<u8>>> {
        let mut cursor = self.rows.cursor_within([kind].as_slice()..[kind + 1].as_slice())?;
        let mut keys = Vec::new();
        cursor.seek_first()?;
        while cursor.valid() {
            keys.push(cursor.key()[1..].to_vec());
            cursor.next()?;
        }
        Ok(keys)
    }

    fn user(&self, name: &[u8]) -> Result<Option<Principal>, Stop> {
        let Some(row) = self.rows.get(&access_key(USER, name))? else { return Ok(None) };
        let row = Row::decode(&row)?;
        let Row { role, first: prefix, secret, made, .. } = row;
        let (user, token, expiry) = (name.to_vec(), None, None);
        Ok(Some(Principal { user, token, role, prefix, secret, made, expiry }))
    }

    fn token(&self, id: &[u8]) -> Result<Option<Principal>, Stop> {
        let Some(row) = self.rows.get(&access_key(TOKEN, id))? else { return Ok(None) };
        let Row { first: user, secret, made, expiry, .. } = Row::decode(&row)?;
        let Some(user) = self.user(&user)? else { return Ok(None) };
        Ok(Some(Principal { token: Some(id.to_vec()), secret, made, expiry, ..user }))
    }

    fn all(&self) -> Result<Vec<Principal>, Stop> {
        let mut tokens = Vec::new();
        for id in self.keys_of(TOKEN)? {
            tokens.extend(self.token(&id)?);
        }
        let mut all = Vec::new();
        for name in self.keys_of(USER)? {
            all.extend(self.user(&name)?);
            all.extend(tokens.iter().filter(|token| token.user == name).cloned());
        }
        for principal in &mut all {
            principal.secret.clear();
        }
        Ok(all)
    }

    /// Whether there is an admin but for `name`.
    fn check_admin_left(&self, name: &[u8], is_last: bool) -> Result<(), Stop> {
        let names = self.keys_of(USER)?;
        if names.is_empty() && !is_last {
            return Err(Refusal::new(Code::Invalid, "the first user must be an admin").into());
        }
        for other in names.iter().filter(|other| *other != name) {
            if self.user(other)?.is_some_and(|user| user.role == Role::Admin) {
                return Ok(());
            }
        }
        // The last user may go: then nobody is asked who they are.
        if is_last && names.iter().all(|other| other == name) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let text = format!("no admin would be left without `{name}`; make another one first");
        Err(Refusal::new(Code::Invalid, text).into())
    }
}

/// A row of a user or a token.
struct Row {
    role: Role,
    /// The prefix of a user, the user of a token.
    first: Vec<u8>,
    secret: Vec<u8>,
    made: u64,
    expiry: Option<u64>,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let Row { role, first, secret, made, expiry } = self;
        let mut bytes = vec![VERSION, *role as u8];
        bytes.extend(made.to_le_bytes());
        bytes.extend(expiry.unwrap_or_default().to_le_bytes());
        bytes.extend((first.len() as u16).to_le_bytes());
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(secret);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Row, Refusal> {
        Row::parts(bytes).ok_or_else(|| {
            let text =
                "a row of a user or a token cannot be read; check the store with `olivine check`";
            Refusal::new(Code::Damaged, text)
        })
    }

    fn parts(bytes: &[u8]) -> Option<Row> {
        let ([VERSION, role], bytes) = bytes.split_first_chunk()? else { return None };
        let (made, bytes) = bytes.split_first_chunk()?;
        let (expiry, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (first, secret) = bytes.split_at_checked(u16::from_le_bytes(*length).into())?;
        let expiry = u64::from_le_bytes(*expiry);
        Some(Row {
            role: Role::numbered(*role)?,
            first: first.to_vec(),
            secret: secret.to_vec(),
            made: u64::from_le_bytes(*made),
            expiry: (expiry != 0).then_some(expiry),
        })
    }
}

/// Whether a command is about users and tokens.
pub(crate) fn is_about_access(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Principal { .. }
            | Command::Principals
            | Command::SetUser { .. }
            | Command::DropUser { .. }
            | Command::SetToken { .. }
            | Command::DropToken { .. }
            | Command::Access
    )
}

impl Model {
    /// Who may ask for something.
    pub fn access(&self) -> Access {
        self.accounts.access()
    }

    /// Carries out one command about users and tokens.
    pub(crate) fn apply_to_access(
        &self,
        now: u64,
        command: &Command<'_>,
    ) -> Result<Applied, Behind> {
        match self.try_apply_to_access(now, command) {
            Ok(applied) => Ok(applied),
            Err(Stop::Failed(Error::Busy { retry_after })) => Err(Behind { retry_after }),
            Err(Stop::Failed(error)) => Ok(refusing(refused(&error))),
            Err(Stop::Refused(refusal)) => Ok(refusing(refusal)),
        }
    }

    fn try_apply_to_access(&self, now: u64, command: &Command<'_>) -> Result<Applied, Stop> {
        let accounts = &self.accounts;
        let reply = match command {
            Command::Principal { who: Who::User(name) } => Reply::Principal(accounts.user(name)?),
            Command::Principal { who: Who::Token(id) } => Reply::Principal(accounts.token(id)?),
            Command::Principals => Reply::Principals(accounts.all()?),
            Command::Access => Reply::Access(accounts.access()),
            command => return self.change_access(now, command),
        };
        Ok(Applied { replies: vec![reply], durable_at: self.shown_at() })
    }

    fn change_access(&self, now: u64, command: &Command<'_>) -> Result<Applied, Stop> {
        let accounts = &self.accounts;
        let _changing = accounts.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new();
        let mut users = accounts.users.load(SeqCst);
        let done = match command {
            Command::SetUser { user } => {
                let is_new = self.set_user(now, user, &mut batch)?;
                users += u64::from(is_new);
                is_new
            }
            Command::DropUser { name } => {
                let was_there = self.drop_user(name, &mut batch)?;
                users -= u64::from(was_there);
                was_there
            }
            Command::SetToken { token } => self.set_token(now, token, &mut batch)?,
            Command::DropToken { id } => {
                let was_there = accounts.token(id)?.is_some();
                if was_there {
                    batch.delete(&accounts.rows, &access_key(TOKEN, id))?;
                }
                was_there
            }
            command => unreachable!("{command:?} is not about users and tokens"),
        };
        let generation = accounts.generation.load(SeqCst) + 1;
        if !batch.is_empty() {
            batch.put(&accounts.rows, ACCESS_GENERATION, &generation.to_le_bytes())?;
        }
        let changes = !batch.is_empty();
        let durable_at = self.write(batch)?;
        if changes {
            accounts.users.store(users, SeqCst);
            accounts.generation.store(generation, SeqCst);
        }
        Ok(Applied { replies: vec![Reply::Done(done)], durable_at })
    }

    fn set_user(&self, now: u64, user: &User<'_>, batch: &mut Batch) -> Result<bool, Stop> {
        check_name("user's name", &user.name)?;
        check_part("prefix", &user.prefix)?;
        check_part("secret", &user.secret)?;
        if user.role != Role::Admin {
            self.accounts.check_admin_left(&user.name, false)?;
        }
        let known = self.accounts.user(&user.name)?;
        let row = Row {
            role: user.role,
            first: user.prefix.to_vec(),
            secret: user.secret.to_vec(),
            made: known.as_ref().map_or(now, |known| known.made),
            expiry: None,
        };
        batch.put(&self.accounts.rows, &access_key(USER, &user.name), &row.encode())?;
        Ok(known.is_none())
    }

    fn drop_user(&self, name: &[u8], batch: &mut Batch) -> Result<bool, Stop> {
        if self.accounts.user(name)?.is_none() {
            return Ok(false);
        }
        self.accounts.check_admin_left(name, true)?;
        batch.delete(&self.accounts.rows, &access_key(USER, name))?;
        for id in self.accounts.keys_of(TOKEN)? {
            if self.accounts.token(&id)?.is_none_or(|token| token.user == name) {
                batch.delete(&self.accounts.rows, &access_key(TOKEN, &id))?;
            }
        }
        Ok(true)
    }

    fn set_token(&self, now: u64, token: &Token<'_>, batch: &mut Batch) -> Result<bool, Stop> {
        check_name("token's id", &token.id)?;
        check_part("secret", &token.secret)?;
        if self.accounts.token(&token.id)?.is_some() {
            let text = "there is a token of this id; draw another";
            return Err(Refusal::new(Code::Invalid, text).into());
        }
        let Some(user) = self.accounts.user(&token.user)? else { return Ok(false) };
        let row = Row {
            role: user.role,
            first: token.user.to_vec(),
            secret: token.secret.to_vec(),
            made: now,
            expiry: token.expiry,
        };
        batch.put(&self.accounts.rows, &access_key(TOKEN, &token.id), &row.encode())?;
        Ok(true)
    }
}

pub(crate) fn refusing(refusal: Refusal) -> Applied {
    Applied { replies: vec![Reply::Refused(refusal)], durable_at: None }
}

/// Refuses names that could not be told apart on a screen, or be written in a line.
fn check_name(what: &str, name: &[u8]) -> Result<(), Refusal> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(fits) {
        return Ok(());
    }
    let text = format!("a {what} is 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`");
    Err(Refusal::new(Code::Invalid, text))
}

fn check_part(what: &str, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() <= PART_BYTES_MAX {
        return Ok(());
    }
    let text = format!("the {what} has {} bytes, and may have {PART_BYTES_MAX}", bytes.len());
    Err(Refusal::new(Code::TooLarge, text))
}
