//! A configuration file: TOML whose keys are options, in tables of commands or outside of them.
//!
//! 1. Every fault is told, with its line, and not the first alone; a file with a fault gives nothing.
//! 2. Whatever the text, the answer is a file or its faults, never a panic.
//! 3. A value is of the type that its option has: numbers and switches stand without quotes.

use std::{
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{CONFIG, key};
use crate::{
    call::{Command, Given, Kind, Opt, Origin, nearest},
    ending::{Ending, Failure},
    shown::Shown,
};

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// In the order of their lines.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The command that it is for; nothing is all that know the option.
    table: Option<&'static str>,
    option: &'static Opt,
    values: Vec<String>,
    line: usize,
}

impl File {
    /// Reads the text of the file at `path`, which configures `commands`.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        commands: &[&'static Command],
    ) -> Result<File, Failure> {
        let mut reading =
            Reading { commands, lines: Lines::of(text.as_bytes()), faults: Vec::new() };
        let (table, wrong) = DeTable::parse_recoverable(text);
        let mut entries = Vec::new();
        for error in &wrong {
            let at = error.span().map_or(0, |span| span.start);
            reading.fault(at, error.message());
        }
        // What a broken text seems to say is not worth complaining about.
        if wrong.is_empty() {
            reading.top(table.get_ref(), &mut entries);
        }
        let mut faults = reading.faults;
        if faults.is_empty() {
            entries.sort_by_key(|entry| entry.line);
            return Ok(File { path: path.to_owned(), entries });
        }
        faults.sort();
        let mut told = String::new();
        for (line, what) in faults {
            let end = if told.is_empty() { "" } else { "\n" };
            let _infallible = write!(told, "{end}{}:{line}: {what}", path.display());
        }
        Err(Failure::new(Ending::Misconfigured, told))
    }

    /// How many options it gives.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What it says to a command.
    pub(crate) fn of(&self, command: &Command) -> Vec<Given> {
        let mut given = Vec::new();
        for option in command.options() {
            let of_option = |entry: &&Entry| entry.option.name == option.name;
            let mut entries = self.entries.iter().filter(of_option);
            let own = entries.clone().find(|entry| entry.table == Some(command.name));
            let Some(entry) = own.or_else(|| entries.find(|entry| entry.table.is_none())) else {
                continue;
            };
            let origin = Origin::File(self.path.clone(), entry.line);
            given.extend(entry.values.iter().map(|value| Given {
                option: option.name,
                value: OsString::from(value),
                origin: origin.clone(),
            }));
        }
        given
    }

    /// The same as a text, for whoever reads it again.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut tables: Vec<Option<&str>> = self.entries.iter().map(|entry| entry.table).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            if let Some(table) = table {
                let _infallible = writeln!(text, "[{table}]");
            }
            for entry in self.entries.iter().filter(|entry| entry.table == table) {
                let _infallible = writeln!(text, "{} = {}", key(entry.option), written(entry));
            }
        }
        text
    }
}

/// The value of an entry as TOML has it.
fn written(entry: &Entry) -> String {
    let quoted = |value: &String| {
        let mut quoted = String::from("\"");
        for c in value.chars() {
            let _infallible = match c {
                '"' | '\\' => write!(quoted, "\\{c}"),
                c if c.is_control() => write!(quoted, "\\U{:08X}", c as u32),
                c => write!(quoted, "{c}"),
            };
        }
        quoted + "\""
    };
    match (entry.option.kind(), entry.values.as_slice()) {
        (Kind::Switch | Kind::Number, [value]) => value.clone(),
        (_, [value]) => quoted(value),
        (_, values) => {
            let values: Vec<String> = values.iter().map(quoted).collect();
            format!("[{}]", values.join(", "))
        }
    }
}

/// The lines of a text.
pub(super) struct Lines {
    /// Where each begins.
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &[u8]) -> Lines {
        let behind = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Lines { starts: [0].into_iter().chain(behind.map(|(at, _)| at + 1)).collect() }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }
}

struct Reading<'a> {
    commands: &'a [&'static Command],
    lines: Lines,
    /// Lines, and what is wrong there.
    faults: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn fault(&mut self, at: usize, what: impl Into<String>) {
        self.faults.push((self.lines.line(at), what.into()));
    }

    /// What stands outside of tables, and the tables.
    fn top(&mut self, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref().as_ref());
            let command = self.commands.iter().find(|command| command.name == name).copied();
            match (value.get_ref(), command) {
                (DeValue::Table(table), Some(command)) => self.table(table, command, entries),
                (_, None) | (DeValue::String(_), Some(_)) => match known(self.commands, name) {
                    Some(option) => entries.extend(self.entry(None, option, at, value)),
                    None => self.unknown(at, name, matches!(value.get_ref(), DeValue::Table(_))),
                },
                (_, Some(_)) => self.fault(at, format!("`{name}` is a table, `[{name}]`")),
            }
        }
    }

    /// What stands in the table of a command.
    fn table(&mut self, table: &DeTable<'_>, command: &'static Command, entries: &mut Vec<Entry>) {
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref().as_ref());
            if let Some(option) = known(&[command], name) {
                entries.extend(self.entry(Some(command.name), option, at, value));
                continue;
            }
            let shown = Shown(name.as_bytes());
            let others = self.commands.iter().filter(|other| known(&[other], name).is_some());
            let others: Vec<&str> = others.map(|other| other.name).collect();
            let what = match others.as_slice() {
                [] => format!("no option `{shown}` of {}{}", command.name, hint(&[command], name)),
                others => format!(
                    "`{shown}` is no option of {}, but of {}",
                    command.name,
                    others.join(" and ")
                ),
            };
            self.fault(at, what);
        }
    }

    fn unknown(&mut self, at: usize, name: &str, is_table: bool) {
        let shown = Shown(name.as_bytes());
        let what = if name == key(&CONFIG) {
            "a file cannot name another".to_owned()
        } else if is_table {
            let known: Vec<&str> = self.commands.iter().map(|command| command.name).collect();
            match nearest(name, &known) {
                Some(near) => format!("no table `[{shown}]`; did you mean `[{near}]`?"),
                None => format!("no table `[{shown}]`; there are [{}]", known.join("], [")),
            }
        } else {
            format!("no option `{shown}`{}", hint(self.commands, name))
        };
        self.fault(at, what);
    }

    /// What a key says, unless it says what it cannot.
    fn entry(
        &mut self,
        table: Option<&'static str>,
        option: &'static Opt,
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Entry> {
        if let Some(values) = values_of(option, value.get_ref()) {
            return Some(Entry { table, option, values, line: self.lines.line(at) });
        }
        let (name, wanted, is) = (key(option), wanted(option), told(value.get_ref()));
        self.fault(at, format!("`{name}` wants {wanted}, not {is}"));
        None
    }
}

/// The option that a key names.
fn known(commands: &[&'static Command], name: &str) -> Option<&'static Opt> {
    let mut options = commands.iter().flat_map(|command| command.options());
    options.find(|option| option.name != CONFIG.name && key(option) == name)
}

/// What an unknown key may have meant.
fn hint(commands: &[&'static Command], name: &str) -> String {
    let options = || commands.iter().flat_map(|command| command.options());
    let other = |option: &&Opt| option.also.iter().any(|also| also.trim_start_matches('-') == name);
    if let Some(option) = options().find(other) {
        return format!("; here it is called `{}`", key(option));
    }
    let known: Vec<&str> = options().map(key).filter(|known| *known != key(&CONFIG)).collect();
    match nearest(name, &known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; `olivine config show` lists what there is".to_owned(),
    }
}

/// The values of an option as a call would give them; `None` when this is none of it.
fn values_of(option: &Opt, value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    };
    let one = match (option.kind(), value) {
        (Kind::Switch, DeValue::Boolean(truth)) => truth.to_string(),
        (Kind::Number | Kind::Bytes, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()
        }
        (Kind::Bytes | Kind::List | Kind::Text, DeValue::String(text)) => text.clone().into_owned(),
        (Kind::List, DeValue::Array(values)) => {
            let values = values.iter().map(|value| text(value.get_ref()));
            values.collect::<Option<Vec<_>>>()?.join(",")
        }
        (Kind::Text, DeValue::Array(values)) if option.many => {
            return values.iter().map(|value| text(value.get_ref())).collect();
        }
        _ => return None,
    };
    Some(vec![one])
}

/// What the value of an option is written as.
fn wanted(option: &Opt) -> &'static str {
    match option.kind() {
        Kind::Switch => "true or false",
        Kind::Number => "a whole number, without quotes",
        Kind::Bytes => "a number of bytes such as 67108864 or \"64MiB\"",
        Kind::List => "text such as \"a,b\", or a list of texts",
        Kind::Text if option.many => "text, or a list of texts",
        Kind::Text => "text in quotes",
    }
}

/// What a value is.
fn told(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text in quotes",
        DeValue::Integer(number)
            if i64::from_str_radix(number.as_str(), number.radix()).is_err() =>
        {
            "one as large as this"
        }
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "such a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
