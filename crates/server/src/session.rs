//! Who is at the other end of a connection, and the one place where it is decided what they may have.
//!
//! 1. Every command of every door passes [`Served::carry_out`] on its way to the store; what its
//!    sender has no right to is refused there, and nowhere else.
//! 2. Where there are users, or the node is open to other machines, nothing is carried out for
//!    somebody who is not known.
//! 3. A change to users or tokens holds for connections that are there already: in one process from the
//!    next command on, across a socket within a second.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use olivine_command::{Access, Code, Command, Principal, Refusal, Reply, Right, Role, Who};
use olivine_doors::Login;

use crate::{
    secret,
    slow::Watch,
    worker::{Served, Shared},
};

/// Proofs that a worker remembers, so that they need not be checked for every request.
const PROVEN_MAX: usize = 4_096;

/// The other end of a connection.
pub(crate) struct Session {
    address: IpAddr,
    known: Option<Known>,
    /// Counts among those who have not said who they are.
    stranger: Option<Stranger>,
}

/// Somebody who has proved who they are.
#[derive(Clone, Debug)]
struct Known {
    who: Who<'static>,
    name: String,
    role: Role,
    prefix: Vec<u8>,
    expiry: Option<u64>,
    /// What is stored of the proof: with another one, this one proves nothing any more.
    stored: Vec<u8>,
    /// The generation of users and tokens of which this is true.
    generation: u64,
}

impl Known {
    fn new(who: Who<'static>, principal: Principal, generation: u64) -> Known {
        let Principal { user, role, prefix, expiry, secret: stored, .. } = principal;
        let name = String::from_utf8_lossy(&user).into_owned();
        Known { who, name, role, prefix, expiry, stored, generation }
    }

    fn has_expired(&self, now: u64) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    fn may(&self, command: &Command<'_>) -> bool {
        self.role.has(command.needs()) && command.stays_within(&self.prefix)
    }

    fn refusal(&self, command: &Command<'_>) -> Refusal {
        self.refused(self.role.has(command.needs()), command.needs())
    }

    /// What somebody is told who has the right, but not to all keys, or who does not have it.
    fn refused(&self, has_right: bool, needs: Right) -> Refusal {
        let Known { name, role, prefix, .. } = self;
        let text = if has_right {
            let prefix = prefix.escape_ascii();
            format!("`{name}` may reach only keys that begin with \"{prefix}\"")
        } else {
            let needed = Role::ALL.into_iter().find(|role| role.has(needs));
            let needed = needed.map_or("admin", Role::name);
            format!("`{name}` is a {}, and this takes a {needed}", role.name())
        };
        Refusal::new(Code::Forbidden, text)
    }
}

/// One of those who have not said who they are.
struct Stranger(Arc<Shared>);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.strangers.fetch_sub(1, Relaxed);
    }
}

impl Session {
    pub(crate) fn new(address: IpAddr) -> Session {
        Session { address, known: None, stranger: None }
    }

    /// Where the other end is.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether the other end has said who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Refuses whoever has no such right to a key.
    pub(crate) fn check_reach(&self, needed: Right, key: &[u8]) -> Result<(), Refusal> {
        let Some(known) = &self.known else {
            return Err(Refusal::new(Code::Unknown, "say who you are first"));
        };
        if known.role.has(needed) && key.starts_with(&known.prefix) {
            return Ok(());
        }
        Err(known.refused(known.role.has(needed), needed))
    }

    /// Whether it may see everything.
    pub(crate) fn is_admin(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.role == Role::Admin)
    }
}

/// Proofs that were right, by their fingerprints.
pub(crate) struct Proven {
    key: [u8; 32],
    known: RefCell<BTreeMap<[u8; 32], Known>>,
}

impl Proven {
    pub(crate) fn new(key: [u8; 32]) -> Proven {
        Proven { key, known: RefCell::default() }
    }

    fn fingerprint(&self, login: &Login<'_>) -> [u8; 32] {
        match login {
            Login::Password { user, password } => {
                secret::fingerprint(&self.key, &[b"password", user, password])
            }
            Login::Token(token) => secret::fingerprint(&self.key, &[b"token", token]),
        }
    }

    fn get(&self, fingerprint: &[u8; 32], access: Access, now: u64) -> Option<Known> {
        let known = self.known.borrow().get(fingerprint).cloned()?;
        (known.generation == access.generation && !known.has_expired(now)).then_some(known)
    }

    fn insert(&self, fingerprint: [u8; 32], known: Known) {
        let mut all = self.known.borrow_mut();
        if PROVEN_MAX <= all.len() {
            all.clear();
        }
        all.insert(fingerprint, known);
    }
}

impl Served {
    /// Whether people are asked who they are. While the storage is away what was known last holds: nothing of
    /// the store is carried out then, and what the node tells of itself is not harder to come by.
    pub(crate) fn asks_who(&self) -> bool {
        let access = self.router.access_known_last();
        self.shared.asks_always || access.is_none_or(|access| 0 < access.users)
    }

    /// Counts a connection among those of strangers; refuses one too many.
    pub(crate) fn welcome(&self, session: &mut Session) -> Result<(), Refusal> {
        if session.is_known() || !self.asks_who() {
            return Ok(());
        }
        let most = self.shared.strangers_max;
        let before = self.shared.strangers.fetch_add(1, Relaxed);
        session.stranger = Some(Stranger(Arc::clone(&self.shared)));
        if before < most {
            return Ok(());
        }
        let text =
            format!("there are `strangers-max`, {most}, connections that have not logged in");
        Err(Refusal::new(Code::Busy, text))
    }

    /// Carries out the first of some commands for whoever is at the other end. Returns their replies, at least
    /// one, when they may be shown.
    pub(crate) async fn carry_out(
        &self,
        session: &mut Session,
        now: u64,
        commands: &[Command<'_>],
        watch: &mut Watch<'_>,
    ) -> Vec<Reply> {
        let Some(access) = self.router.access() else {
            return refused(&away(), commands.len());
        };
        if access.users == 0 && !self.shared.asks_always {
            return self.router.carry_out(now, commands, watch).await;
        }
        if let Err(refusal) = self.refresh(session, access, now).await {
            return refused(&refusal, commands.len());
        }
        let Some(known) = &session.known else {
            return refused(&unknown(access), commands.len());
        };
        let allowed = commands.iter().take_while(|command| known.may(command)).count();
        if allowed == 0 {
            return vec![Reply::Refused(known.refusal(&commands[0]))];
        }
        self.router.carry_out(now, &commands[..allowed], watch).await
    }

    /// Sees to it that what is known of the other end is still so.
    async fn refresh(
        &self,
        session: &mut Session,
        access: Access,
        now: u64,
    ) -> Result<(), Refusal> {
        let Some(known) = &session.known else { return Ok(()) };
        if known.has_expired(now) {
            session.known = None;
            return Err(Refusal::new(Code::Unknown, "the token has expired; log in with another"));
        }
        if known.generation == access.generation {
            return Ok(());
        }
        let who = known.who.clone();
        // Where it cannot be found out now, nothing is known anew, and nothing forgotten.
        let Some(principal) = self.principal(who.clone(), now).await? else {
            session.known = None;
            let text = "the user or the token was taken away; log in again";
            return Err(Refusal::new(Code::Unknown, text));
        };
        if principal.secret != known.stored {
            session.known = None;
            let text = "the password was changed; log in again";
            return Err(Refusal::new(Code::Unknown, text));
        }
        session.known = Some(Known::new(who, principal, access.generation));
        Ok(())
    }

    /// Finds out who is at the other end.
    pub(crate) async fn log_in(
        &self,
        session: &mut Session,
        now: u64,
        login: &Login<'_>,
    ) -> Result<(), Refusal> {
        let Some(access) = self.router.access() else { return Err(away()) };
        if access.users == 0 {
            return Err(unknown(access));
        }
        let fingerprint = self.proven.fingerprint(login);
        if let Some(known) = self.proven.get(&fingerprint, access, now) {
            session.known = Some(known);
            session.stranger = None;
            return Ok(());
        }
        let clock = self.shared.time.clock();
        self.shared.guesses.check(session.address, clock.now())?;
        // Who they were is over, whatever comes of this.
        session.known = None;
        let Some((who, principal)) = self.prove(now, login).await? else {
            self.shared.guesses.failed(session.address, clock.now());
            let address = session.address.to_string();
            // No name: people type passwords in its place.
            tracing::warn!(event = "login_failed", address = &*address);
            let text = match login {
                Login::Password { .. } => "user or password is wrong",
                Login::Token(_) => "there is no such token, or it has expired",
            };
            return Err(Refusal::new(Code::Unknown, text));
        };
        self.shared.guesses.succeeded(session.address);
        let known = Known::new(who, principal, access.generation);
        self.proven.insert(fingerprint, known.clone());
        session.known = Some(known);
        session.stranger = None;
        Ok(())
    }

    /// Whoever the proof is of; nobody if it is wrong.
    async fn prove(
        &self,
        now: u64,
        login: &Login<'_>,
    ) -> Result<Option<(Who<'static>, Principal)>, Refusal> {
        match login {
            Login::Password { user, password } => {
                let who = Who::User(user.to_vec().into());
                let principal = self.principal(who.clone(), now).await?;
                let stored = principal.as_ref().map(|principal| principal.secret.clone());
                let is_right = self.shared.passwords.check(stored, password).await?;
                Ok(principal.filter(|_| is_right).map(|principal| (who, principal)))
            }
            Login::Token(token) => {
                let parts = str::from_utf8(token).ok().and_then(secret::token_parts);
                let Some((id, secret)) = parts else { return Ok(None) };
                let who = Who::Token(id.as_bytes().to_vec().into());
                let principal = self.principal(who.clone(), now).await?.filter(|principal| {
                    secret::is_token(&principal.secret, secret)
                        && principal.expiry.is_none_or(|expiry| now < expiry)
                });
                Ok(principal.map(|principal| (who, principal)))
            }
        }
    }

    async fn principal(&self, who: Who<'static>, now: u64) -> Result<Option<Principal>, Refusal> {
        let mut watch = Watch::start(self.shared.time.clock());
        match self.router.carry_out(now, &[Command::Principal { who }], &mut watch).await.pop() {
            Some(Reply::Principal(principal)) => Ok(principal),
            Some(Reply::Refused(refusal)) => Err(refusal),
            _ => Err(Refusal::new(Code::Failed, "the store did not say who that is")),
        }
    }
}

fn refused(refusal: &Refusal, count: usize) -> Vec<Reply> {
    vec![Reply::Refused(refusal.clone()); count]
}

pub(crate) fn away() -> Refusal {
    let text = "the storage cannot be reached; it is tried again and again";
    Refusal::new(Code::Unavailable, text)
}

fn unknown(access: Access) -> Refusal {
    let text = if access.users == 0 {
        "there are no users yet; `olivine init` makes the first"
    } else {
        "say who you are first: auth with a user and a password, or a token"
    };
    Refusal::new(Code::Unknown, text)
}
