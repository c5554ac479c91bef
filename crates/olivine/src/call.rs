//! How a command is called: what it takes, and what one call gave it.
//!
//! Options are `--name value` and `--name=value`, in any order and between operands; `--` ends them. A switch
//! stands alone, or is `--name=true` or `--name=false`. One that other programs have with a single dash may be given so. What a call does not give, the layers below it may
//! (`config.rs`): the environment, a file.
//!
//! 1. Nothing is silently accepted: an option that is not known is answered with the nearest one, an
//!    operand too many and an option given twice are errors.
//! 2. A value is taken as it is, bytes that are no text included; a path may need them.
//! 3. Every complaint names the option and what it takes.
//! 4. The help is made of the same table that calls are read with.
//! 5. Of every option one layer counts, the nearest that gives it; a complaint names what that layer calls it.

use std::{
    ffi::{OsStr, OsString},
    fmt::{Display, Write as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use crate::ending::{Ending, Failure};

/// A command of the program.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What it does, in the list of commands.
    pub(crate) what: &'static str,
    /// What its help begins with.
    pub(crate) about: &'static str,
    /// Names of what is given by place; one in brackets may be missing, one with dots is any number.
    pub(crate) operands: &'static [&'static str],
    /// Those that belong together stand together.
    pub(crate) options: &'static [&'static [Opt]],
    /// What its help says behind the options; may be empty.
    pub(crate) notes: &'static str,
    pub(crate) examples: &'static [&'static str],
    pub(crate) run: fn(&Call) -> Result<Ending, Failure>,
}

/// An option of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) name: &'static str,
    /// What its value is called; empty for a switch.
    pub(crate) value: &'static str,
    /// What it does. Further lines are kept as they are.
    pub(crate) what: &'static str,
    /// Other names, understood and not shown.
    pub(crate) also: &'static [&'static str],
    /// Whether it may be given several times.
    pub(crate) many: bool,
    /// What holds when nobody says otherwise; empty when nothing does, or `what` tells it.
    pub(crate) default: &'static str,
    /// A variable of the environment that gives it as well, for who knows it from elsewhere; mostly empty.
    pub(crate) variable: &'static str,
}

/// What a value may be, where it is written as more than text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Switch,
    Number,
    /// A number, or text with a unit.
    Bytes,
    /// Words with commas between them.
    List,
    Text,
}

impl Opt {
    pub(crate) const fn switch(name: &'static str, what: &'static str) -> Opt {
        Opt::value(name, "", what)
    }

    pub(crate) const fn value(name: &'static str, value: &'static str, what: &'static str) -> Opt {
        Opt { name, value, what, also: &[], many: false, default: "", variable: "" }
    }

    pub(crate) const fn also(self, also: &'static [&'static str]) -> Opt {
        Opt { also, ..self }
    }

    pub(crate) const fn many(self) -> Opt {
        Opt { many: true, ..self }
    }

    pub(crate) const fn or(self, default: &'static str) -> Opt {
        Opt { default, ..self }
    }

    #[cfg(feature = "node")]
    pub(crate) const fn also_from(self, variable: &'static str) -> Opt {
        Opt { variable, ..self }
    }

    /// What its value may be, as its name tells.
    pub(crate) fn kind(&self) -> Kind {
        match self.value {
            "" => Kind::Switch,
            "N" | "PORT" => Kind::Number,
            "BYTES" => Kind::Bytes,
            value if value.contains(',') => Kind::List,
            _ => Kind::Text,
        }
    }

    /// What it does, and what holds without it.
    pub(crate) fn explained(&self) -> String {
        match self.default {
            "" => self.what.to_owned(),
            default => format!("{} ({default})", self.what),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.also.contains(&name)
    }
}

/// The store's directory, for commands that take it as their first operand: `DIR`.
pub(crate) const DB: Opt =
    Opt::value("--db", "DIR", "the store's directory, by name instead of by place")
        .also(&["--db_path"]);
/// For programs that read what a command says.
pub(crate) const JSON: Opt = Opt::switch("--json", "answer in JSON, errors too");
/// For who does not want to see a bar.
pub(crate) const QUIET: Opt = Opt::switch("--quiet", "no progress; there is none in a pipe anyway");
/// The memory a command may use.
pub(crate) const MEMORY: Opt = Opt::value("--memory", "BYTES", "what it may use: 67108864, 64MiB")
    .or("a quarter of the machine");

/// Where a value came from, the nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The call itself.
    Flag,
    /// A variable of the environment, by its name.
    Environment(String),
    /// A file, and the line in it.
    File(PathBuf, usize),
    /// Nobody gave it.
    Default,
}

/// A value of an option.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) option: &'static str,
    /// Of a switch `true` or `false`.
    pub(crate) value: OsString,
    pub(crate) origin: Origin,
}

/// One call of a command.
#[derive(Debug)]
pub(crate) struct Call {
    command: &'static Command,
    operands: Vec<OsString>,
    /// Those of one option are all of one layer.
    options: Vec<Given>,
}

impl Call {
    /// Reads the arguments of one call, the command's name not among them.
    pub(crate) fn parse(command: &'static Command, arguments: &[OsString]) -> Result<Call, String> {
        let mut call = Call { command, operands: Vec::new(), options: Vec::new() };
        let mut rest = arguments.iter();
        let mut only_operands = false;
        while let Some(argument) = rest.next() {
            let bytes = argument.as_bytes();
            if only_operands || bytes == b"-" || !bytes.starts_with(b"-") {
                call.operands.push(argument.clone());
            } else if bytes == b"--" {
                only_operands = true;
            } else {
                call.option_given(argument, &mut rest)?;
            }
        }
        // Given by name, the directory is not among what is given by place.
        if command.operands.first() == Some(&"DIR")
            && let Some(dir) = call.value(DB.name).map(OsStr::to_owned)
        {
            call.operands.insert(0, dir);
        }
        let any_number = command.operands.last().is_some_and(|last| last.contains("..."));
        match call.operands.get(command.operands.len()).filter(|_| !any_number) {
            Some(argument) => Err(one_too_many(command, argument)),
            None => Ok(call),
        }
    }

    fn option_given<'a>(
        &mut self,
        argument: &OsStr,
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), String> {
        let bytes = argument.as_bytes();
        let (name, attached) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(end) => (&bytes[..end], Some(OsString::from_vec(bytes[end + 1..].to_vec()))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(option) = self.command.options().find(|option| option.is_called(&name)) else {
            return Err(unknown_option(self.command, &name));
        };
        let value = match (option.value, attached) {
            ("", None) => "true".into(),
            ("", Some(value)) if value == "true" || value == "false" => value,
            ("", Some(_)) => return Err(format!("`{name}` takes no value but true and false")),
            (_, Some(value)) => value,
            (what, None) => match rest.next() {
                Some(value) => value.clone(),
                None => return Err(format!("`{name}` wants {what}")),
            },
        };
        if !option.many && self.value(option.name).is_some_and(|known| *known != value) {
            return Err(format!("`{}` is given twice, and differs", option.name));
        }
        self.options.push(Given { option: option.name, value, origin: Origin::Flag });
        Ok(())
    }

    pub(crate) fn command(&self) -> &'static Command {
        self.command
    }

    /// Adds what the next layer below gives; what a layer above gave stays.
    pub(crate) fn add_below(&mut self, layer: Vec<Given>) {
        let above = self.options.len();
        for given in layer {
            if !self.options[..above].iter().any(|known| known.option == given.option) {
                self.options.push(given);
            }
        }
    }

    /// Whether the switch is on.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).any(|value| value != "false")
    }

    /// Which layer gives the option.
    pub(crate) fn origin(&self, name: &str) -> &Origin {
        let given = self.options.iter().find(|given| given.option == name);
        given.map_or(&Origin::Default, |given| &given.origin)
    }

    /// What the option is called where it was given.
    pub(crate) fn called(&self, name: &str) -> String {
        match self.origin(name) {
            Origin::Flag | Origin::Default => format!("`{name}`"),
            Origin::Environment(variable) => format!("`{variable}`"),
            Origin::File(path, line) => {
                format!("{}:{line}: `{}`", path.display(), name.trim_start_matches('-'))
            }
        }
    }

    /// The value of an option cannot be, for this reason.
    pub(crate) fn wrong(&self, name: &str, why: impl Display) -> Failure {
        let ending = match self.origin(name) {
            Origin::Flag | Origin::Default => Ending::Misused,
            Origin::Environment(_) | Origin::File(..) => Ending::Misconfigured,
        };
        Failure::new(ending, format!("{} {why}", self.called(name)))
    }

    /// What was given by place.
    pub(crate) fn operand(&self, place: usize) -> Option<&OsStr> {
        self.operands.get(place).map(OsString::as_os_str)
    }

    /// The value of an option, as it was given.
    pub(crate) fn value(&self, name: &str) -> Option<&OsStr> {
        self.options.iter().find(|given| given.option == name).map(|given| given.value.as_os_str())
    }

    /// All values of an option, as they were given.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        debug_assert!(
            name == DB.name || self.command.options().any(|option| option.name == name),
            "{name}"
        );
        let named = self.options.iter().filter(move |given| given.option == name);
        named.map(|given| given.value.as_os_str())
    }

    /// The directory that is the first operand, or the value of `--db`.
    pub(crate) fn dir(&self) -> Result<PathBuf, Failure> {
        let missing = || Failure::misused("`DIR` says where the store is, and is missing");
        self.operand(0).map(PathBuf::from).ok_or_else(missing)
    }

    /// The value as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.texts(name)?.into_iter().next())
    }

    /// All values of an option that may be given several times.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let text = |value: &OsStr| {
            value.to_str().map(str::to_owned).ok_or_else(|| {
                self.wrong(name, format_args!("wants text, not {}", value.to_string_lossy()))
            })
        };
        self.values(name).map(text).collect()
    }

    /// The value as a whole number from 1.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if 0 < number => Ok(Some(number)),
            _ => Err(self.wrong(name, format_args!("wants a whole number from 1, not `{text}`"))),
        }
    }

    /// The value as a number of bytes: `1048576`, `1024KiB`, `1MiB`.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let what = "a number of bytes such as 67108864 or 64MiB";
        let wrong = || self.wrong(name, format_args!("wants {what}, not `{text}`"));
        bytes(&text).map(Some).ok_or_else(wrong)
    }

    /// The value as one of some words; the first of them when the option was not given.
    pub(crate) fn one_of(
        &self,
        name: &str,
        words: &[&'static str],
    ) -> Result<&'static str, Failure> {
        let Some(text) = self.text(name)? else { return Ok(words[0]) };
        words.iter().find(|word| **word == text).copied().ok_or_else(|| {
            let known = words.join(", ");
            self.wrong(name, format_args!("wants one of {known}, not `{text}`"))
        })
    }
}

fn one_too_many(command: &Command, argument: &OsStr) -> String {
    let argument = argument.to_string_lossy();
    match command.operands {
        [] => format!("`{argument}` is one too many; there is nothing to give but options"),
        known => format!("`{argument}` is one too many; there is {}", known.join(" ")),
    }
}

fn unknown_option(command: &Command, name: &str) -> String {
    let known: Vec<&str> = command.options().map(|option| option.name).collect();
    match (nearest(name, &known), known.as_slice()) {
        (Some(near), _) => format!("no option `{name}`; did you mean `{near}`?"),
        (None, []) => format!("no option `{name}`; there is none yet"),
        (None, known) => format!("no option `{name}`; there are {}", known.join(", ")),
    }
}

/// The one of `known` that `name` was meant to be, if that can be told.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let bare = |word: &str| word.trim_start_matches('-').replace('_', "-").to_lowercase();
    let name = bare(name);
    // A word that long was not mistyped.
    if name.is_empty() || 64 < name.len() {
        return None;
    }
    let begins: Vec<_> = known.iter().filter(|word| bare(word).starts_with(&name)).collect();
    if let [only] = begins.as_slice() {
        return Some(only);
    }
    let far = 1 + name.len() / 4;
    let nearest = known.iter().map(|word| (distance(&name, &bare(word)), *word)).min()?;
    (nearest.0 <= far).then_some(nearest.1)
}

/// How many letters to add, drop, change or swap with the next make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if 1 < i && 1 < j && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Columns that a help takes at most.
const HELP_COLUMNS: usize = 96;

/// The lines of `text`, each broken between words where it is longer than `columns`.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.chars().count() <= columns {
            lines.push(line.to_owned());
            continue;
        }
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut broken = indent.clone();
        for word in line.split_whitespace() {
            let blank = if broken.trim_start().is_empty() { "" } else { " " };
            if columns < broken.chars().count() + blank.len() + word.chars().count() {
                lines.push(std::mem::replace(&mut broken, format!("{indent}{word}")));
            } else {
                broken = format!("{broken}{blank}{word}");
            }
        }
        lines.push(broken);
    }
    lines
}

/// The column in which the explanation of an option begins.
const EXPLAINED_AT: usize = 24;

impl Command {
    /// All its options.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.options.iter().flat_map(|together| together.iter())
    }

    /// How a call looks, in one line.
    pub(crate) fn usage(&self) -> String {
        let mut usage = format!("usage: olivine {}", self.name);
        for operand in self.operands {
            let _infallible = write!(usage, " {operand}");
        }
        if !self.options.is_empty() {
            usage.push_str(" [options]");
        }
        usage
    }

    /// Everything there is to know before calling it.
    pub(crate) fn help(&self) -> String {
        let mut help = wrapped(self.about, HELP_COLUMNS).join("\n");
        let _infallible = write!(help, "\n\n{}\n", self.usage());
        if !self.options.is_empty() {
            help.push_str("\noptions:");
        }
        for (number, option) in self.options.iter().flat_map(|group| group.iter().enumerate()) {
            if number == 0 {
                help.push('\n');
            }
            let name = match option.value {
                "" => option.name.to_owned(),
                value => format!("{} {value}", option.name),
            };
            let mut lines = wrapped(&option.explained(), HELP_COLUMNS - EXPLAINED_AT).into_iter();
            let first = lines.next().unwrap_or_default();
            let width = EXPLAINED_AT - 3;
            let _infallible = writeln!(help, "  {name:width$} {first}");
            for line in lines {
                let _infallible = writeln!(help, "{:EXPLAINED_AT$}{line}", "");
            }
        }
        if !self.notes.is_empty() {
            let notes = wrapped(self.notes, HELP_COLUMNS).join("\n");
            let _infallible = write!(help, "\n{notes}\n");
        }
        help.push_str("\nexamples:\n");
        for example in self.examples {
            let _infallible = writeln!(help, "  {example}");
        }
        help
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIED: Command = Command {
        name: "try",
        what: "tries",
        about: "Tries.",
        operands: &["DIR", "[FILE]"],
        options: &[&[
            DB,
            JSON,
            Opt::value("--n", "N", "how many"),
            Opt::value("--size", "BYTES", "how large"),
            Opt::value("--mode", "MODE", "a, the default, or b:\n  b does more"),
            Opt::value("--keyspace", "NAME", "which").many(),
        ]],
        notes: "That is all.",
        examples: &["olivine try DIR"],
        run: |_| Ok(Ending::Good),
    };

    fn call(text: &str) -> Result<Call, String> {
        let arguments: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        Call::parse(&TRIED, &arguments)
    }

    fn said<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> String {
        outcome.unwrap_err().text().to_owned()
    }

    #[test]
    fn values_stand_behind_a_blank_or_an_equals_sign() {
        let call = call("--mode=b d --n 5 --size 2MiB f --json").unwrap();
        assert_eq!(call.one_of("--mode", &["a", "b"]).unwrap(), "b");
        assert_eq!(call.count("--n").unwrap(), Some(5));
        assert_eq!(call.bytes("--size").unwrap(), Some(2 << 20));
        assert_eq!((call.operand(0), call.operand(1)), (Some("d".as_ref()), Some("f".as_ref())));
        assert!(call.has("--json"));
        assert_eq!(call.texts("--keyspace").unwrap(), [""; 0]);
    }

    #[test]
    fn the_directory_stands_first_or_behind_its_name() {
        for text in ["d", "--db d", "--db=d", "--db_path d", "-- d", "--db d --db=d"] {
            let call = call(text).unwrap();
            assert_eq!(
                (call.dir().unwrap(), call.operand(1)),
                (PathBuf::from("d"), None),
                "{text}"
            );
        }
        for text in ["d f", "f --db d", "--db=d -- f"] {
            let call = call(text).unwrap();
            assert_eq!(call.operand(1), Some("f".as_ref()), "{text}");
        }
        assert_eq!(call("-- --db").unwrap().dir().unwrap(), PathBuf::from("--db"));
        assert!(said(call("--json").unwrap().dir()).contains("is missing"));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        for (text, said) in [
            ("--jsno", "no option `--jsno`; did you mean `--json`?"),
            ("--key x", "no option `--key`; did you mean `--keyspace`?"),
            (
                "--zebra",
                "no option `--zebra`; there are --db, --json, --n, --size, --mode, --keyspace",
            ),
            ("--json=1", "`--json` takes no value but true and false"),
            ("--json --json=false", "`--json` is given twice, and differs"),
            ("--n", "`--n` wants N"),
            ("--n 1 --n 2", "`--n` is given twice, and differs"),
            ("a b c", "`c` is one too many; there is DIR [FILE]"),
            ("a b --db c", "`b` is one too many; there is DIR [FILE]"),
        ] {
            assert_eq!(call(text).unwrap_err(), said, "{text}");
        }
        assert!(call("--n 1 --n 1 --keyspace a --keyspace b").is_ok());
    }

    #[test]
    fn a_wrong_value_is_told_with_what_is_wanted() {
        for (text, wanted) in [
            ("--n 0", "`--n` wants a whole number from 1, not `0`"),
            ("--n=-1", "`--n` wants a whole number from 1, not `-1`"),
            ("--n many", "`--n` wants a whole number from 1, not `many`"),
        ] {
            assert_eq!(said(call(text).unwrap().count("--n")), wanted);
        }
        let wrong = call("--mode=c").unwrap();
        let wanted = "`--mode` wants one of a, b, not `c`";
        assert_eq!(said(wrong.one_of("--mode", &["a", "b"])), wanted);
        assert!(said(call("--size 1.5MiB").unwrap().bytes("--size")).contains("such as"));
    }

    #[test]
    fn bytes_may_have_a_unit() {
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("3KiB"), Some(3072));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        for wrong in ["", "MiB", "1.5MiB", "1MB", "-1", "99999999999GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let known = ["serve", "shell", "dump", "check", "stats"];
        for (name, meant) in [
            ("serv", Some("serve")),
            ("chekc", Some("check")),
            ("stat", Some("stats")),
            ("Dump", Some("dump")),
            ("s", None),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }

    #[test]
    fn help_says_it_all() {
        let help = TRIED.help();
        assert!(help.starts_with("Tries.\n\nusage: olivine try DIR [FILE] [options]\n"), "{help}");
        assert!(help.contains("\n  --mode MODE           a, the default, or b:\n"), "{help}");
        assert!(help.contains("\n                          b does more\n"), "{help}");
        assert!(help.ends_with("That is all.\n\nexamples:\n  olivine try DIR\n"), "{help}");
    }
}
