//! The `olivine` program: one binary, whose first argument says what it is to be.
//!
//! 1. `--help` is understood everywhere and shows examples.
//! 2. Nothing is silently accepted: an unknown command or option is an error that names the nearest
//!    one, or what is known.
//! 3. The exit code says how it ended (`ending.rs`), in the same way for all commands.
//! 4. Answers go to the standard output, everything else to the standard error.
//! 5. It is a library only so that its parsers can be fed from outside (`fuzzing.rs`).

mod bench;
#[cfg(feature = "node")]
mod blob;
mod call;
#[cfg(feature = "node")]
mod certify;
mod check;
mod config;
mod copies;
#[cfg(feature = "node")]
mod ctl;
mod dump;
mod ending;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod http_client;
mod import;
mod inspect;
mod json;
mod load;
#[cfg(feature = "node")]
mod ping;
#[cfg(feature = "node")]
mod presence;
mod progress;
mod remote;
mod repair;
#[cfg(feature = "node")]
mod serve;
mod shell;
mod shown;
mod stats;
mod transfer;
#[cfg(feature = "node")]
mod users;

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use call::{Call, Command, nearest};
use ending::{CODES, Ending, Failure};
use json::Json;

/// All commands, in groups.
const GROUPS: &[(&str, &[&Command])] = &[
    #[cfg(feature = "node")]
    (
        "serve",
        &[
            &serve::COMMAND,
            &serve::STORAGE,
            &serve::COORDINATOR,
            &serve::INSERT,
            &serve::SELECT,
            &serve::blobs::MASTER,
            &serve::blobs::VOLUME,
            &ping::COMMAND,
        ],
    ),
    #[cfg(feature = "node")]
    ("run as services", &[&ctl::COMMAND]),
    #[cfg(feature = "node")]
    ("who may do what", &[&users::INIT, &users::USER, &users::TOKEN, &certify::COMMAND]),
    ("configure", &[&config::COMMAND]),
    ("talk", &[&shell::COMMAND]),
    ("in and out", &[&dump::COMMAND, &load::COMMAND, &import::COMMAND]),
    ("copies", &[&copies::BACKUP, &copies::RESTORE, &copies::BACKUPS]),
    ("look inside", &[&stats::COMMAND, &check::COMMAND, &inspect::COMMAND, &bench::COMMAND]),
    (
        "mend",
        &[
            &repair::COMMAND,
            #[cfg(feature = "node")]
            &blob::COMMAND,
        ],
    ),
];

/// More of them hold memory that nobody uses.
const MALLOC_ARENAS_MAX: u16 = 2;

/// The whole program, from the arguments of the process to its exit code.
pub fn run_program() -> ExitCode {
    olivine_vfs::limit_malloc_arenas(MALLOC_ARENAS_MAX);
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.to_string_lossy().into_owned(), rest),
        None => ("--help".to_owned(), &[][..]),
    };
    if let Some(command) = commands().find(|command| command.name == name) {
        return run(command, rest);
    }
    match name.as_str() {
        "help" => match rest.first().map(|name| name.to_string_lossy()) {
            None => said(&help()),
            Some(name) => match commands().find(|command| command.name == name) {
                Some(command) => said(&command.help()),
                None => misused(&unknown(&name), &help()),
            },
        },
        "--help" | "-h" => said(&help()),
        "--version" | "-V" => said(concat!("olivine ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => misused(&unknown(&name), &help()),
    }
}

fn commands() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|(_, commands)| commands.iter().copied())
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = commands().map(|command| command.name).collect();
    match nearest(name, &known) {
        Some(near) => format!("no command `{name}`; did you mean `{near}`?"),
        None => format!("no command `{name}`; there are {}", known.join(", ")),
    }
}

fn help() -> String {
    let mut help = "One log-structured database with many doors.\n\n\
        usage: olivine <command> [options]\n"
        .to_owned();
    for (group, commands) in GROUPS {
        let _infallible = write!(help, "\n{group}:\n");
        for command in *commands {
            let _infallible = writeln!(help, "  {:10} {}", command.name, command.what);
        }
    }
    help.push_str("\n`olivine <command> --help` tells more of each. `olivine --version` names the release.\n\n");
    help.push_str(CODES);
    help.push_str("\nexamples:\n");
    for example in ["olivine shell data/try", "echo 'GET apple' | olivine shell data/try"] {
        let _infallible = writeln!(help, "  {example}");
    }
    help
}

/// One call of a command, from its arguments to its exit code.
fn run(command: &'static Command, arguments: &[OsString]) -> ExitCode {
    let operands_only = arguments.iter().position(|argument| argument == "--");
    let asks = |argument: &OsString| argument == "--help" || argument == "-h";
    if arguments[..operands_only.unwrap_or(arguments.len())].iter().any(asks) {
        return said(&command.help());
    }
    let mut call = match Call::parse(command, arguments) {
        Ok(call) => call,
        Err(what) => return misused(&what, &usage_of(command)),
    };
    match config::complete(&mut call).and_then(|()| (command.run)(&call)) {
        Ok(ending) => ending.into(),
        Err(failure) => {
            tell(command, &call, &failure);
            failure.ending().into()
        }
    }
}

/// Says why a call failed.
fn tell(command: &Command, call: &Call, failure: &Failure) {
    if failure.text().is_empty() {
        return;
    }
    if command.options().any(|option| option.name == "--json") && call.has("--json") {
        let exit = failure.ending() as usize;
        let json = Json::object([("error", failure.text().into()), ("exit", exit.into())]);
        complain(&format!("{json}\n"));
    } else if failure.ending() == Ending::Misused {
        complain(&format!("error: {}\n\n{}", failure.text(), usage_of(command)));
    } else {
        complain(&format!("error: {}\n", failure.text()));
    }
}

/// Says what went wrong, where somebody listens; the exit code says it anyway.
fn complain(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}

/// How a right call looks, in short.
fn usage_of(command: &Command) -> String {
    let mut text = format!("{}\n", command.usage());
    for example in command.examples {
        let _infallible = writeln!(text, "  {example}");
    }
    let _infallible = writeln!(text, "`olivine {} --help` tells more.", command.name);
    text
}

fn said(text: &str) -> ExitCode {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::from) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text().is_empty() {
                complain(&format!("error: {}\n", failure.text()));
            }
            failure.ending().into()
        }
    }
}

/// Says what is wrong with a call and how a right one looks.
fn misused(what: &str, help: &str) -> ExitCode {
    complain(&format!("error: {what}\n\n{help}"));
    Ending::Misused.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command shows as an example is understood by it.
    #[test]
    fn every_example_is_a_right_call() {
        for command in commands() {
            assert!(!command.examples.is_empty(), "{}", command.name);
            for example in command.examples {
                let called = example.rsplit_once("olivine ").unwrap().1;
                let called = called.split(" > ").next().unwrap().split(" | ").next().unwrap();
                let called = called.split(" < ").next().unwrap();
                let (name, rest) = called.split_once(' ').unwrap_or((called, ""));
                assert_eq!(name, command.name, "{example}");
                let words = rest.split_whitespace().map(|word| word.trim_matches('\''));
                let arguments: Vec<OsString> = words.map(OsString::from).collect();
                Call::parse(command, &arguments).unwrap_or_else(|what| panic!("{example}: {what}"));
            }
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        for text in commands().map(Command::help).chain([help()]) {
            for line in text.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }
}
