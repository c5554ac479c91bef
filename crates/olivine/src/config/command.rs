//! `olivine config`: what holds, where it came from, and whether a file is good.
//!
//! 1. A value whose option says that it is a secret is never shown.
//! 2. A check reads everything that the commands would read, and does nothing of it.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use super::{CONFIG, File, Layers, ROLES, Role, commands, key};
use crate::{
    call::{Call, Command, JSON, Kind, Opt, Origin, nearest},
    ending::{Ending, Failure},
    json::Json,
    shown::{Shown, counted},
};

pub(crate) const COMMAND: Command = Command {
    name: "config",
    what: "check a configuration, or show what holds and why",
    about: "Config looks at what options there are and where their values come from: flags stand over the environment, that over \
        a file, that over defaults. ACTION is one of: check, whether the environment and the file are good (exit code 78 when they \
        are not); show, every option of a command and its value.",
    operands: &["ACTION", "[COMMAND]", "[-- OPTIONS...]"],
    options: &[&[CONFIG, Opt::switch("--origin", "show: also where each value came from"), JSON]],
    notes: "COMMAND is serve unless another is named. Behind `--` stand options as they would be given to it.",
    examples: &[
        "olivine config check --config /etc/olivine/olivine.toml",
        "olivine config show --origin",
        "olivine config show coordinator --origin -- --json-port 9000",
    ],
    run,
};

fn run(call: &Call) -> Result<Ending, Failure> {
    let action = call.operand(0).map(|action| action.to_string_lossy().into_owned());
    let action = action.ok_or_else(|| Failure::misused("say what to do: check or show"))?;
    let layers = || Layers::read(call.value(CONFIG.name));
    match action.as_str() {
        "check" => match call.operand(1) {
            None => check(call, &layers()?),
            Some(more) => {
                let more = more.to_string_lossy();
                Err(Failure::misused(format!("`{more}` is one too many; all commands are checked")))
            }
        },
        "show" => show(call, &layers()?),
        other => {
            let hint = match nearest(other, &["check", "show"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are check and show".to_owned(),
            };
            Err(Failure::misused(format!("no action `{other}`; {hint}")))
        }
    }
}

/// Whether every command can be what the layers tell it to be.
fn check(call: &Call, layers: &Layers) -> Result<Ending, Failure> {
    for Role { command, check } in ROLES {
        let mut called = Call::parse(command, &[]).map_err(Failure::misused)?;
        layers.complete(&mut called)?;
        check(&called).map_err(|failure| failure.within(command.name))?;
    }
    let mut out = io::stdout().lock();
    let options = layers.file.as_ref().map_or(0, File::len);
    if call.has("--json") {
        let path = path_of(layers);
        let answer = [("good", true.into()), ("file", path.into()), ("options", options.into())];
        writeln!(out, "{}", Json::object(answer))?;
    } else if let Some(path) = path_of(layers) {
        writeln!(out, "{path} is good: {}", counted(options as u64, "option", "options"))?;
    } else {
        let places = super::PLACES.join(" nor ");
        writeln!(out, "there is no file to check, neither {places}; --config names one")?;
    }
    Ok(Ending::Good)
}

fn path_of(layers: &Layers) -> Option<String> {
    layers.file.as_ref().map(|file| file.path.display().to_string())
}

/// What is shown of an option.
struct Row {
    name: &'static str,
    value: Option<String>,
    origin: Origin,
}

fn show(call: &Call, layers: &Layers) -> Result<Ending, Failure> {
    let name = call.operand(1).map_or("serve".into(), |name| name.to_string_lossy());
    let known: Vec<&str> = commands().iter().map(|command| command.name).collect();
    let role = ROLES.iter().find(|role| role.command.name == name).ok_or_else(|| {
        let known = known.join(", ");
        Failure::misused(format!("`{name}` is not configured by files; there are {known}"))
    })?;
    let flags: Vec<OsString> =
        (2..).map_while(|place| call.operand(place)).map(Into::into).collect();
    let mut shown = Call::parse(role.command, &flags).map_err(Failure::misused)?;
    layers.complete(&mut shown)?;
    let options = role.command.options().filter(|option| option.name != CONFIG.name);
    let rows: Vec<Row> = options.map(|option| row(&shown, option)).collect();
    let mut out = io::stdout().lock();
    if call.has("--json") {
        let path = path_of(layers);
        let answer = [
            ("command", role.command.name.into()),
            ("file", path.into()),
            ("options", Json::list(rows.iter().map(json))),
        ];
        writeln!(out, "{}", Json::object(answer))?;
    } else {
        print(&mut out, &rows, call.has("--origin"))?;
    }
    Ok(Ending::Good)
}

fn row(call: &Call, option: &'static Opt) -> Row {
    let given: Vec<String> = call
        .values(option.name)
        .map(|value| Shown(std::os::unix::ffi::OsStrExt::as_bytes(value)).to_string())
        .collect();
    let value = match option.kind() {
        _ if is_secret(option) && !given.is_empty() => Some("(not shown)".to_owned()),
        Kind::Switch if given.is_empty() => Some("false".to_owned()),
        _ if given.is_empty() => Some(option.default.to_owned()).filter(|text| !text.is_empty()),
        _ => Some(given.join(",")),
    };
    Row { name: key(option), value, origin: call.origin(option.name).clone() }
}

/// Whether what an option says must stay unknown. There is none today: secrets stand in files of their own,
/// and options name the files.
pub(super) fn is_secret(option: &Opt) -> bool {
    let secret = |word| matches!(word, "password" | "passphrase" | "secret" | "token");
    !key(option).ends_with("-file") && key(option).split('-').any(secret)
}

fn print(out: &mut impl Write, rows: &[Row], with_origin: bool) -> io::Result<()> {
    let value_of = |row: &Row| row.value.clone().unwrap_or_else(|| "-".to_owned());
    let width = |texts: &mut dyn Iterator<Item = usize>, least: usize| {
        texts.fold(least, |most, length| most.max(length))
    };
    let names = width(&mut rows.iter().map(|row| row.name.len()), "option".len());
    let values = width(&mut rows.iter().map(|row| value_of(row).chars().count()), "value".len());
    if !with_origin {
        for row in rows {
            writeln!(out, "{:names$}  {}", row.name, value_of(row))?;
        }
        return Ok(());
    }
    writeln!(out, "{:names$}  {:values$}  origin", "option", "value")?;
    for row in rows {
        let origin = match &row.origin {
            Origin::Flag => "flag".to_owned(),
            Origin::Environment(variable) => format!("environment {variable}"),
            Origin::File(path, line) => format!("{}:{line}", path.display()),
            Origin::Default => "default".to_owned(),
        };
        writeln!(out, "{:names$}  {:values$}  {origin}", row.name, value_of(row))?;
    }
    Ok(())
}

fn json(row: &Row) -> Json {
    let (origin, variable, file, line) = match &row.origin {
        Origin::Flag => ("flag", None, None, None),
        Origin::Environment(variable) => ("environment", Some(variable.clone()), None, None),
        Origin::File(path, line) => {
            ("file", None, Some(path.display().to_string()), Some(*line as u64))
        }
        Origin::Default => ("default", None, None, None),
    };
    let places = [
        ("variable", variable.map(Json::from)),
        ("file", file.map(Json::from)),
        ("line", line.map(Json::from)),
    ];
    let mut members = vec![
        ("option".to_owned(), row.name.into()),
        ("value".to_owned(), row.value.clone().into()),
        ("origin".to_owned(), origin.into()),
    ];
    let places = places.into_iter().filter_map(|(name, place)| Some((name.to_owned(), place?)));
    members.extend(places);
    Json::Object(members)
}
