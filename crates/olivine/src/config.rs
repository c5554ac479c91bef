//! Where options come from beside the call: the environment, then a file, then what holds by itself.
//!
//! A key of the file is an option without its dashes, `json-port = 9999`; a variable of the environment is
//! `OLIVINE_` and the same in capitals, `OLIVINE_JSON_PORT`. A table of the file that has the name of a command,
//! `[storage]`, holds for that command alone and stands above the keys outside of tables.
//!
//! 1. A nearer layer decides alone: flags over environment over file over defaults, option by option.
//! 2. Nothing is silently accepted: a key or a variable `OLIVINE_…` that nobody knows is an error with its place and
//!    the nearest that is known, also where the command that is called would not have used it.
//! 3. A wrong value is told by the name that its layer gives it, with file and line; the exit code is 78.
//! 4. A variable that is empty counts as not there.

mod command;
mod file;

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use olivine_vfs::{Open, RealVfs, Vfs as _};

use crate::{
    call::{Call, Command, Given, Kind, Opt, Origin, nearest},
    ending::{Ending, Failure},
};

pub(crate) use command::COMMAND;
pub(crate) use file::File;

/// A command that is configured, and how what it is told is checked without doing it.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) command: &'static Command,
    pub(crate) check: fn(&Call) -> Result<(), Failure>,
}

/// Every command that is configured.
#[cfg(feature = "node")]
pub(crate) const ROLES: &[Role] = crate::serve::ROLES;
#[cfg(not(feature = "node"))]
pub(crate) const ROLES: &[Role] = &[];

/// Every one of them has it.
pub(crate) const CONFIG: Opt = Opt::value("--config", "FILE", "where more options are")
    .or("olivine.toml here, or /etc/olivine/olivine.toml");

/// Where a file is looked for when nobody names one.
const PLACES: [&str; 2] = ["olivine.toml", "/etc/olivine/olivine.toml"];

/// How the names of variables begin.
const PREFIX: &str = "OLIVINE_";

/// Variables that are no options, and whose they are.
const OTHERS: &[(&str, &str)] = &[
    ("OLIVINE_CONFIG", "names the file"),
    ("OLIVINE_SERVICE", "tells a process which service of `olivine ctl` it is"),
    ("OLIVINE_PLANTED", "is the tests' own"),
];

/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Gives a call what the environment and a file say, if its command is configured.
pub(crate) fn complete(call: &mut Call) -> Result<(), Failure> {
    if !ROLES.iter().any(|role| role.command.name == call.command().name) {
        return Ok(());
    }
    let named = call.value(CONFIG.name).map(OsStr::to_owned);
    Layers::read(named.as_deref())?.complete(call)
}

/// The commands that are configured.
pub(crate) fn commands() -> Vec<&'static Command> {
    ROLES.iter().map(|role| role.command).collect()
}

/// The layers below the call itself.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Names and values.
    variables: Vec<(String, OsString)>,
    pub(crate) file: Option<File>,
}

impl Layers {
    /// The environment, and the file that is named, or the first that is where one is looked for.
    pub(crate) fn read(named: Option<&OsStr>) -> Result<Layers, Failure> {
        let variables = env::vars_os().filter_map(|(name, value)| {
            (!value.is_empty()).then_some((name.into_string().ok()?, value))
        });
        let variables: Vec<_> = variables.collect();
        check_names(&variables, &commands())?;
        let of_environment = variables.iter().find(|(name, _)| name == "OLIVINE_CONFIG");
        let named = named.or(of_environment.map(|(_, value)| value.as_os_str())).map(Path::new);
        let found = match named {
            Some(path) => Some((path.to_owned(), read(path)?)),
            None => first_of(&PLACES)?,
        };
        let file = found.map(|(path, text)| File::parse(&path, &text, &commands()));
        Ok(Layers { variables, file: file.transpose()? })
    }

    /// Gives a call what it does not give itself.
    pub(crate) fn complete(&self, call: &mut Call) -> Result<(), Failure> {
        let mut layer = Vec::new();
        for option in call.command().options().filter(|option| option.name != CONFIG.name) {
            layer.extend(self.of_environment(option)?);
        }
        call.add_below(layer);
        if let Some(file) = &self.file {
            call.add_below(file.of(call.command()));
        }
        Ok(())
    }

    fn of_environment(&self, option: &'static Opt) -> Result<Vec<Given>, Failure> {
        let value_of = |name: &str| {
            self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let own = variable(option);
        let found = value_of(&own).map(|value| (own, value)).or_else(|| {
            let name = Some(option.variable).filter(|name| !name.is_empty())?;
            let found = value_of(name).map(|value| (name.to_owned(), value));
            found.or_else(|| Some((format!("{name} in .env"), dotenv(Path::new(".env"), name)?)))
        });
        let Some((name, value)) = found else { return Ok(Vec::new()) };
        let values: Vec<OsString> = match (option.kind(), value.to_str()) {
            (Kind::Switch, Some("true" | "1")) => vec!["true".into()],
            (Kind::Switch, Some("false" | "0")) => vec!["false".into()],
            (Kind::Switch, _) => {
                let value = value.to_string_lossy();
                let text = format!("`{name}` wants true or false, not `{value}`");
                return Err(Failure::new(Ending::Misconfigured, text));
            }
            (_, Some(text)) if option.many => text.split(',').map(OsString::from).collect(),
            _ => vec![value],
        };
        let given =
            |value| Given { option: option.name, value, origin: Origin::Environment(name.clone()) };
        Ok(values.into_iter().map(given).collect())
    }
}

/// What an option is called in a file.
pub(crate) fn key(option: &Opt) -> &'static str {
    option.name.trim_start_matches('-')
}

/// What an option is called in the environment.
pub(crate) fn variable(option: &Opt) -> String {
    format!("{PREFIX}{}", key(option).replace('-', "_").to_uppercase())
}

/// Refuses variables that begin like ours and are not known.
fn check_names(
    variables: &[(String, OsString)],
    commands: &[&'static Command],
) -> Result<(), Failure> {
    let options = commands.iter().flat_map(|command| command.options());
    let mut known: Vec<String> = options.map(variable).collect();
    known.extend(OTHERS.iter().map(|(name, _)| (*name).to_owned()));
    let ours = variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
    let Some((unknown, _)) = ours.into_iter().find(|(name, _)| !known.contains(name)) else {
        return Ok(());
    };
    let bare: Vec<&str> = known.iter().map(|name| &name[PREFIX.len()..]).collect();
    let hint = match nearest(&unknown[PREFIX.len()..], &bare) {
        Some(near) => format!("did you mean `{PREFIX}{near}`?"),
        None => "`olivine config show` lists the options, whose names it is made of".to_owned(),
    };
    let text = format!("nothing is told by the variable `{unknown}` of the environment; {hint}");
    Err(Failure::new(Ending::Misconfigured, text))
}

/// The first of some files that is there, and its text.
fn first_of(places: &[&str]) -> Result<Option<(PathBuf, String)>, Failure> {
    for place in places.iter().map(Path::new) {
        if let Ok(Some(_)) = RealVfs.entry(place) {
            return Ok(Some((place.to_owned(), read(place)?)));
        }
    }
    Ok(None)
}

/// The text of a configuration file.
fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        let path = path.display();
        let text = format!("cannot read the configuration file {path}: {error}; see --config");
        Failure::new(Ending::Misconfigured, text)
    };
    // Such a file may well be a link, as configurations that are handed to containers are.
    let file = path.canonicalize().and_then(|path| RealVfs.open(&path, Open::Read));
    let file = file.map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    if FILE_BYTES_MAX < bytes {
        return Err(failed(io::Error::other(format!("{bytes} bytes are too many to be one"))));
    }
    let mut text = vec![0; bytes as usize];
    let read = file.read_at(&mut text, 0).map_err(failed)?;
    text.truncate(read);
    String::from_utf8(text).map_err(|error| {
        let line = file::Lines::of(error.as_bytes()).line(error.utf8_error().valid_up_to());
        let text = format!("{}:{line}: this is no UTF-8 text", path.display());
        Failure::new(Ending::Misconfigured, text)
    })
}

/// What a file of `NAME=value` lines says of a name; quotes around the value are not part of it.
fn dotenv(path: &Path, name: &str) -> Option<OsString> {
    /// More of such a file is not looked at.
    const BYTES_MAX: usize = 64 << 10;
    let file = RealVfs.open(path, Open::Read).ok()?;
    let mut bytes = vec![0; BYTES_MAX];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    text.lines().find_map(|line| {
        let (known, value) = line.split_once('=')?;
        let known = known.trim();
        let known = known.strip_prefix("export ").unwrap_or(known);
        (known == name).then(|| value.trim().trim_matches(['"', '\'']).into())
    })
}

#[cfg(all(test, feature = "node"))]
mod tests;
