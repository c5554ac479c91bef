//! The `olivine` program: one binary, whose first argument says what it is to be.
//!
//! 1. `--help` is understood everywhere and shows examples.
//! 2. Nothing is silently accepted: an unknown command or option is an error that says what is known.
//! 3. The exit code is 0 when all went well, 1 when something failed, 2 when the call made no sense.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod flags;
mod shell;

use std::{env, ffi::OsString, process::ExitCode};

const HELP: &str = "\
One log-structured database with many doors.

usage: olivine <command> [options]

commands:
  serve   the node: not there yet, says so and ends
  shell   a line shell on a store in a directory

`olivine <command> --help` tells more of each. `olivine --version` names the release.

examples:
  olivine shell --db data/try
  echo 'GET apple' | olivine shell --db data/try
";

const SERVE_HELP: &str = "\
The node. It is not there yet: this says what will be there, and ends with exit code 0.

usage: olivine serve

examples:
  olivine serve
";

const SERVE: &str = "olivine serve will be the node: key-values, series, blobs, documents and logs behind the \
protocols that clients already speak; until then, `olivine shell --db DIR` opens a store";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.to_string_lossy().into_owned(), rest),
        None => ("--help".to_owned(), &[][..]),
    };
    match command.as_str() {
        "serve" => serve(rest),
        "shell" => shell::run(rest),
        "--help" | "-h" | "help" => said(HELP),
        "--version" | "-V" => said(concat!("olivine ", env!("CARGO_PKG_VERSION"), "\n")),
        unknown => misused(&format!("no command `{unknown}`; there are serve, shell"), HELP),
    }
}

fn serve(arguments: &[OsString]) -> ExitCode {
    match arguments.first().map(|argument| argument.to_string_lossy()) {
        None => said(&format!("{SERVE}\n")),
        Some(help) if help == "--help" || help == "-h" => said(SERVE_HELP),
        Some(unknown) => misused(&format!("no option `{unknown}`; there is none yet"), SERVE_HELP),
    }
}

fn said(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

/// Says what is wrong with a call and how a right one looks.
fn misused(what: &str, help: &str) -> ExitCode {
    eprint!("error: {what}\n\n{help}");
    ExitCode::from(2)
}
