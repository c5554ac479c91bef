//! `olivine init`, `olivine user` and `olivine token`: who may do what.
//!
//! 1. What is secret is shown once, by the command that made it, and stored as something that does not
//!    tell it. It is never taken from an argument, which others could see.
//! 2. They work beside a node that runs, and on the store of one that does not.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use olivine_server::{
    Command as Asked, Local, Principal, Reply, Role, Token, User, Who,
    secret::{self, NoRandomness},
};

use crate::{
    call::{Call, Command, JSON, Opt},
    config::CONFIG,
    ending::{Ending, Failure},
    files::Sequential,
    json::Json,
    serve,
    shown::{Shown, date},
};

const DATA_DIR: Opt =
    Opt::value("--data-dir", "DIR", "where the node has everything").or("as serve has it");
const PASSWORD_FILE: Opt = Opt::value(
    "--password-file",
    "FILE",
    "the password is the first line of FILE, `-` is the\nstandard input (one is made and shown)",
);
const ROLE: Opt =
    Opt::value("--role", "ROLE", "reader; writer, who reads too; admin, who does all");
const PREFIX: Opt = Opt::value("--prefix", "TEXT", "may reach only keys that begin with this");
const EXPIRES: Opt =
    Opt::value("--expires", "TIME", "after so long it proves nothing: 90d, 12h, 30m (never)");

/// The longest password.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// The shortest that is taken from somebody who chose it.
const PASSWORD_BYTES_MIN: usize = 8;

pub(crate) const INIT: Command = Command {
    name: "init",
    what: "make the first user, an admin, whose password is shown once",
    about: "Init makes the data directory if it is missing, and in it the first user, an admin. From then on nobody is \
        served who does not say who they are. The password is shown once and stored nowhere.",
    operands: &[],
    options: &[&[
        CONFIG,
        DATA_DIR,
        Opt::value("--user", "NAME", "what the admin is called (admin)"),
        PASSWORD_FILE,
        JSON,
    ]],
    notes: "Doors to other machines need users, and TLS: `olivine serve --bind 0.0.0.0 --tls auto`.",
    examples: &["olivine init", "olivine init --data-dir /srv/data --user ada"],
    run: init,
};

pub(crate) const USER: Command = Command {
    name: "user",
    what: "add, change, list or remove users",
    about: "User looks after users. ACTION is one of: add, with a password that is made and shown once, or is in a file; \
        change, of role, prefix or password; list, users and their tokens; remove, a user and the user's tokens.",
    operands: &["ACTION", "[NAME]"],
    options: &[&[
        CONFIG,
        DATA_DIR,
        ROLE,
        PREFIX,
        PASSWORD_FILE,
        Opt::switch("--new-password", "change: a new password is made and shown"),
        JSON,
    ]],
    notes: "A change holds at once for connections that are there. Once the last user is removed, nobody is asked \
        who they are any more.",
    examples: &[
        "olivine user add ada --role writer",
        "olivine user add grafana --role reader --prefix metrics:",
        "olivine user change ada --new-password",
        "olivine user list",
        "olivine user remove ada",
    ],
    run: user,
};

pub(crate) const TOKEN: Command = Command {
    name: "token",
    what: "create, list or revoke tokens, for programs",
    about: "Token looks after tokens: who has one may do what its user may. ACTION is one of: create, of the user NAME, \
        shown once; list; revoke, by the token's id.",
    operands: &["ACTION", "[NAME]"],
    options: &[&[CONFIG, DATA_DIR, EXPIRES, JSON]],
    notes: "A token goes with its user. JSON lines take it with `auth`, lines of words with `AUTH`, HTTP as \
        `Authorization: Bearer`.",
    examples: &[
        "olivine token create ada --expires 90d",
        "olivine token list",
        "olivine token revoke 3f9a1c0be2d4",
    ],
    run: token,
};

impl From<NoRandomness> for Failure {
    fn from(_: NoRandomness) -> Failure {
        Failure::new(Ending::Failed, "this machine has no randomness to give")
    }
}

fn init(call: &Call) -> Result<Ending, Failure> {
    let name = call.text("--user")?.unwrap_or_else(|| "admin".to_owned());
    let password = Password::of(call)?;
    let mut local = open(call)?;
    if !principals(&mut local)?.is_empty() {
        let text = "there are users already; `olivine user list` shows them";
        return Err(Failure::new(Ending::Failed, text));
    }
    let known = Principal::named(&name, Role::Admin, "");
    set(&mut local, &known, &secret::of_password(password.text.as_bytes())?)?;
    local.close()?;
    tell_user(call, "made", &known, Some(&password))
}

fn user(call: &Call) -> Result<Ending, Failure> {
    match action(call, &["add", "change", "list", "remove"])? {
        "add" => add(call),
        "change" => change(call),
        "list" => {
            let mut local = open(call)?;
            let all = principals(&mut local)?;
            local.close()?;
            list(call, &all)
        }
        _ => remove(call),
    }
}

fn add(call: &Call) -> Result<Ending, Failure> {
    let name = name(call, "the user's name")?;
    let role = role(call)?.unwrap_or(Role::Writer);
    let prefix = call.text("--prefix")?.unwrap_or_default();
    let password = Password::of(call)?;
    let mut local = open(call)?;
    if find(&mut local, &name)?.is_some() {
        let text = format!("there is a user `{name}`; `olivine user change {name}` changes one");
        return Err(Failure::new(Ending::Failed, text));
    }
    let added = Principal::named(&name, role, &prefix);
    set(&mut local, &added, &secret::of_password(password.text.as_bytes())?)?;
    local.close()?;
    tell_user(call, "added", &added, Some(&password))
}

fn change(call: &Call) -> Result<Ending, Failure> {
    let name = name(call, "the user's name")?;
    let is_new = call.has("--new-password") || call.value("--password-file").is_some();
    let password = if is_new { Some(Password::of(call)?) } else { None };
    let mut local = open(call)?;
    let Some(mut known) = find(&mut local, &name)? else { return Err(nobody(&name)) };
    if let Some(role) = role(call)? {
        known.role = role;
    }
    if let Some(prefix) = call.text("--prefix")? {
        known.prefix = prefix.into_bytes();
    }
    let secret = match &password {
        Some(password) => secret::of_password(password.text.as_bytes())?,
        None => known.secret.clone(),
    };
    set(&mut local, &known, &secret)?;
    local.close()?;
    tell_user(call, "changed", &known, password.as_ref())
}

fn remove(call: &Call) -> Result<Ending, Failure> {
    let name = name(call, "the user's name")?;
    let mut local = open(call)?;
    let done = done(&mut local, &Asked::DropUser { name: name.as_bytes().into() })?;
    let left = principals(&mut local)?;
    local.close()?;
    if !done {
        return Err(nobody(&name));
    }
    if call.has("--json") {
        let json = Json::object([("removed", name.into()), ("users", left.len().into())]);
        writeln!(io::stdout(), "{json}")?;
    } else {
        writeln!(io::stdout(), "removed the user `{name}`, with all tokens of it")?;
        if left.is_empty() {
            writeln!(io::stdout(), "no user is left: nobody is asked who they are any more")?;
        }
    }
    Ok(Ending::Good)
}

fn token(call: &Call) -> Result<Ending, Failure> {
    match action(call, &["create", "list", "revoke"])? {
        "create" => create(call),
        "list" => {
            let mut local = open(call)?;
            let mut all = principals(&mut local)?;
            local.close()?;
            all.retain(|principal| principal.token.is_some());
            list(call, &all)
        }
        _ => revoke(call),
    }
}

fn create(call: &Call) -> Result<Ending, Failure> {
    let user = name(call, "the user's name")?;
    let lasts = call.text("--expires")?.map(|text| millis(&text)).transpose()?;
    let made = secret::new_token()?;
    let mut local = open(call)?;
    let expiry = lasts.map(|lasts| local.now().saturating_add(lasts));
    let token = Token {
        id: made.id.as_bytes().into(),
        user: user.as_bytes().into(),
        secret: made.stored.as_slice().into(),
        expiry,
    };
    let done = done(&mut local, &Asked::SetToken { token })?;
    local.close()?;
    if !done {
        return Err(nobody(&user));
    }
    let mut out = io::stdout().lock();
    if call.has("--json") {
        let json = Json::object([
            ("id", made.id.into()),
            ("user", user.into()),
            ("token", made.text.into()),
            ("expires_at_ms", expiry.into()),
        ]);
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "token {} of `{user}`, shown once:\n{}", made.id, made.text)?;
    }
    Ok(Ending::Good)
}

fn revoke(call: &Call) -> Result<Ending, Failure> {
    let id = name(call, "the token's id")?;
    let mut local = open(call)?;
    let done = done(&mut local, &Asked::DropToken { id: id.as_bytes().into() })?;
    local.close()?;
    if !done {
        let text = format!("there is no token `{id}`; `olivine token list` shows all");
        return Err(Failure::new(Ending::Absent, text));
    }
    if call.has("--json") {
        writeln!(io::stdout(), "{}", Json::object([("revoked", id.into())]))?;
    } else {
        writeln!(io::stdout(), "revoked the token {id}")?;
    }
    Ok(Ending::Good)
}

/// A user's password, and whether somebody chose it.
struct Password {
    text: String,
    is_made: bool,
}

impl Password {
    /// The one that a call names, or one that is made.
    fn of(call: &Call) -> Result<Password, Failure> {
        let Some(path) = call.value("--password-file") else {
            return Ok(Password { text: secret::new_password()?, is_made: true });
        };
        let mut bytes = Vec::new();
        let most = PASSWORD_BYTES_MAX as u64 + 2;
        if path == OsStr::new("-") {
            io::stdin().take(most).read_to_end(&mut bytes)
        } else {
            Sequential::open(Path::new(path))?.take(most).read_to_end(&mut bytes)
        }
        .map_err(Failure::io(format!("cannot read {}", path.to_string_lossy())))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::misused("what `--password-file` names is no text"))?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
            return Err(Failure::misused(format!(
                "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes; the first line of what \
                 `--password-file` names has {}",
                text.len()
            )));
        }
        Ok(Password { text, is_made: false })
    }
}

fn action<'a>(call: &Call, known: &[&'a str]) -> Result<&'a str, Failure> {
    let known_shown = known.join(", ");
    let Some(asked) = call.operand(0) else {
        return Err(Failure::misused(format!("`ACTION` is missing: one of {known_shown}")));
    };
    known.iter().find(|known| asked == OsStr::new(known)).copied().ok_or_else(|| {
        let asked = asked.to_string_lossy();
        Failure::misused(format!("`ACTION` is one of {known_shown}, not `{asked}`"))
    })
}

fn name(call: &Call, what: &str) -> Result<String, Failure> {
    match call.operand(1).map(OsStr::to_str) {
        Some(Some(name)) => Ok(name.to_owned()),
        Some(None) => Err(Failure::misused(format!("{what} is no text"))),
        None => Err(Failure::misused(format!("{what} is missing"))),
    }
}

fn role(call: &Call) -> Result<Option<Role>, Failure> {
    let Some(text) = call.text("--role")? else { return Ok(None) };
    let known = Role::ALL.map(Role::name).join(", ");
    let wrong = || Failure::misused(format!("`--role` wants one of {known}, not `{text}`"));
    Role::named(&text).map(Some).ok_or_else(wrong)
}

/// `90d`, `12h`, `30m`, `10s` in milliseconds.
fn millis(text: &str) -> Result<u64, Failure> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let found = units.iter().find_map(|(unit, millis)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*millis)
    });
    found.filter(|millis| 0 < *millis).ok_or_else(|| {
        Failure::misused(format!("`--expires` wants a time such as 90d, 12h or 30m, not `{text}`"))
    })
}

fn open(call: &Call) -> Result<Local, Failure> {
    let dir = match call.value(DATA_DIR.name) {
        Some(dir) => PathBuf::from(dir),
        None => serve::as_configured(call)?.data_dir,
    };
    Ok(Local::open(&dir)?)
}

fn ask(local: &mut Local, command: &Asked<'_>) -> Result<Reply, Failure> {
    match local.ask(command)? {
        Reply::Refused(refusal) => Err(Failure::new(Ending::Failed, refusal.text)),
        reply => Ok(reply),
    }
}

fn done(local: &mut Local, command: &Asked<'_>) -> Result<bool, Failure> {
    Ok(ask(local, command)? == Reply::Done(true))
}

fn principals(local: &mut Local) -> Result<Vec<Principal>, Failure> {
    match ask(local, &Asked::Principals)? {
        Reply::Principals(all) => Ok(all),
        _ => Ok(Vec::new()),
    }
}

fn find(local: &mut Local, name: &str) -> Result<Option<Principal>, Failure> {
    match ask(local, &Asked::Principal { who: Who::User(name.as_bytes().into()) })? {
        Reply::Principal(found) => Ok(found),
        _ => Ok(None),
    }
}

fn set(local: &mut Local, known: &Principal, secret: &[u8]) -> Result<(), Failure> {
    let (name, prefix) = (known.user.as_slice().into(), known.prefix.as_slice().into());
    let user = User { name, role: known.role, prefix, secret: secret.into() };
    ask(local, &Asked::SetUser { user }).map(|_| ())
}

fn nobody(name: &str) -> Failure {
    Failure::new(
        Ending::Absent,
        format!("there is no user `{name}`; `olivine user list` shows all"),
    )
}

/// Says what was done with a user.
fn tell_user(
    call: &Call,
    what: &str,
    user: &Principal,
    password: Option<&Password>,
) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    let made = password.filter(|password| password.is_made);
    if call.has("--json") {
        let mut json = json(user);
        if let (Json::Object(members), Some(password)) = (&mut json, made) {
            members.push(("password".to_owned(), password.text.as_str().into()));
        }
        writeln!(out, "{json}")?;
        return Ok(Ending::Good);
    }
    let name = Shown(&user.user);
    let mut text = format!("{what} the user `{name}`, {}", article(user.role));
    if !user.prefix.is_empty() {
        let _infallible = write!(text, ", for keys that begin with {}", Shown(&user.prefix));
    }
    writeln!(out, "{text}")?;
    if let Some(password) = made {
        writeln!(out, "password, shown once: {}", password.text)?;
    }
    Ok(Ending::Good)
}

fn article(role: Role) -> String {
    match role {
        Role::Admin => "an admin".to_owned(),
        role => format!("a {}", role.name()),
    }
}

fn json(principal: &Principal) -> Json {
    let text = |bytes: &[u8]| Json::from(String::from_utf8_lossy(bytes).into_owned());
    let mut json = Json::object([
        ("user", text(&principal.user)),
        ("role", principal.role.name().into()),
        ("prefix", text(&principal.prefix)),
    ]);
    if let (Json::Object(members), Some(id)) = (&mut json, &principal.token) {
        members.push(("token".to_owned(), text(id)));
        members.push(("expires_at_ms".to_owned(), principal.expiry.into()));
    }
    json
}

fn list(call: &Call, all: &[Principal]) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", Json::List(all.iter().map(json).collect()))?;
        return Ok(Ending::Good);
    }
    if all.is_empty() {
        writeln!(out, "there is none")?;
        return Ok(Ending::Good);
    }
    writeln!(out, "{:20} {:7} {:14} {:20} keys", "user", "role", "token", "expires (UTC)")?;
    for principal in all {
        let user = Shown(&principal.user).to_string();
        let token = principal.token.as_deref().map_or_else(String::new, |id| Shown(id).to_string());
        let expires = principal.expiry.map_or_else(String::new, |millis| date(millis / 1_000));
        let prefix = match principal.prefix.as_slice() {
            [] => "all".to_owned(),
            prefix => format!("{}…", Shown(prefix)),
        };
        let role = principal.role.name();
        writeln!(out, "{user:20} {role:7} {token:14} {expires:20} {prefix}")?;
    }
    Ok(Ending::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_token_lasts_is_said_with_its_unit() {
        assert_eq!(millis("90d").unwrap(), 7_776_000_000);
        assert_eq!(millis("30m").unwrap(), 1_800_000);
        for wrong in ["", "90", "d", "0d", "-1h", "99999999999999999d"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }
}
