//! What files say, and what is wrong with them.

use super::*;
use crate::call::{DB, JSON};

const RUN: fn(&crate::call::Call) -> Result<Ending, Failure> = |_| Ok(Ending::Good);
const PORT: Opt = Opt::value("--json-port", "PORT", "p").or("9999");

const FIRST: Command = Command {
    name: "serve",
    what: "",
    about: "",
    operands: &[],
    options: &[&[
        CONFIG,
        PORT,
        Opt::value("--data-dir", "DIR", "d"),
        Opt::value("--memory", "BYTES", "m"),
        Opt::value("--doors", "A,B", "d"),
        Opt::value("--bind", "ADDRESS", "b").also(&["--host"]),
        Opt::value("--host-name", "NAME", "h").many(),
        Opt::switch("--insecure", "i"),
    ]],
    notes: "",
    examples: &[],
    run: RUN,
};
const SECOND: Command = Command { name: "storage", options: &[&[CONFIG, PORT, DB, JSON]], ..FIRST };
const BOTH: &[&Command] = &[&FIRST, &SECOND];

fn parse(text: &str) -> Result<File, String> {
    File::parse(Path::new("o.toml"), text, BOTH).map_err(|failure| {
        assert_eq!(failure.ending(), Ending::Misconfigured);
        failure.text().to_owned()
    })
}

/// What a file says to a command: options, values and lines.
fn said(text: &str, command: &'static Command) -> Vec<String> {
    let file = parse(text).unwrap();
    let line = |given: &Given| match given.origin {
        Origin::File(_, line) => line,
        _ => 0,
    };
    let text = |given: Given| format!("{} {:?} {}", given.option, given.value, line(&given));
    file.of(command).into_iter().map(text).collect()
}

#[test]
fn a_value_has_the_type_of_its_option() {
    let text = "# one\njson-port = 9_000\ndata-dir = 'd'\nmemory = 0x10\ndoors = [\"json\",\n 'http']\n\
        host-name = [\"a\", \"b\"]\ninsecure = true\nbind = \"::1\"\n";
    let told = [
        "--json-port \"9000\" 2",
        "--data-dir \"d\" 3",
        "--memory \"16\" 4",
        "--doors \"json,http\" 5",
        "--bind \"::1\" 9",
        "--host-name \"a\" 7",
        "--host-name \"b\" 7",
        "--insecure \"true\" 8",
    ];
    assert_eq!(said(text, &FIRST), told);
    assert_eq!(
        said("memory = '2GiB'\ndoors = 'line'\nhost-name = 'x'\ninsecure = false", &FIRST),
        [
            "--memory \"2GiB\" 1",
            "--doors \"line\" 2",
            "--host-name \"x\" 3",
            "--insecure \"false\" 4"
        ]
    );
}

#[test]
fn a_table_stands_above_what_is_outside_for_its_command_alone() {
    let text =
        "json-port = 1\nhost-name = ['a']\n[storage]\njson-port = 2\n[serve]\nhost-name = []";
    assert_eq!(said(text, &FIRST), ["--json-port \"1\" 1"]);
    assert_eq!(said(text, &SECOND), ["--json-port \"2\" 4"]);
    assert_eq!(said("serve.json-port = 3", &FIRST), ["--json-port \"3\" 1"]);
    assert_eq!(said("data-dir = 'd'", &SECOND), [""; 0], "it has no such option");
}

#[test]
fn every_fault_is_told_with_its_line() {
    for (text, told) in [
        ("\njson-prot = 1", "o.toml:2: no option `json-prot`; did you mean `json-port`?"),
        ("json_port = 1", "o.toml:1: no option `json_port`; did you mean `json-port`?"),
        ("--json-port = 1", "o.toml:1: no option `--json-port`; did you mean `json-port`?"),
        ("zebra = 1", "o.toml:1: no option `zebra`; `olivine config show` lists what there is"),
        ("host = 'x'", "o.toml:1: no option `host`; here it is called `bind`"),
        ("config = 'x'", "o.toml:1: a file cannot name another"),
        ("[serv]\n", "o.toml:1: no table `[serv]`; did you mean `[serve]`?"),
        ("[kv]\n", "o.toml:1: no table `[kv]`; there are [serve], [storage]"),
        ("serve = 1", "o.toml:1: `serve` is a table, `[serve]`"),
        ("[storage]\nmemory = 1", "o.toml:2: `memory` is no option of storage, but of serve"),
        ("[storage]\njsn = 1", "o.toml:2: no option `jsn` of storage; did you mean `json`?"),
        (
            "json-port = '1'",
            "o.toml:1: `json-port` wants a whole number, without quotes, not text in quotes",
        ),
        (
            "json-port = 1.5",
            "o.toml:1: `json-port` wants a whole number, without quotes, not a number with a fraction",
        ),
        (
            "json-port = 99999999999999999999",
            "o.toml:1: `json-port` wants a whole number, without quotes, not one as large as this",
        ),
        ("insecure = 'yes'", "o.toml:1: `insecure` wants true or false, not text in quotes"),
        ("data-dir = 1", "o.toml:1: `data-dir` wants text in quotes, not a number"),
        ("data-dir = ['a']", "o.toml:1: `data-dir` wants text in quotes, not such a list"),
        (
            "memory = 1979-05-27",
            "o.toml:1: `memory` wants a number of bytes such as 67108864 or \"64MiB\", not a date",
        ),
        (
            "host-name = ['a', 1]",
            "o.toml:1: `host-name` wants text, or a list of texts, not such a list",
        ),
        (
            "doors = true",
            "o.toml:1: `doors` wants text such as \"a,b\", or a list of texts, not true or false",
        ),
        ("[json-port]", "o.toml:1: `json-port` wants a whole number, without quotes, not a table"),
        (
            "\"a\\u001b[2J\" = 1",
            "o.toml:1: no option `a\\x1b[2J`; `olivine config show` lists what there is",
        ),
        ("memory = 1\nmemory = 2", "o.toml:2: duplicate key"),
        ("\n\nmemory = ", "o.toml:3: "),
        ("memory = \"a\nb\"", "o.toml:1: "),
    ] {
        let what = parse(text).unwrap_err();
        assert!(what.starts_with(told), "{text}: {what}");
    }
    let two = "jsn = 1\n\nmemory = true\n";
    let told = "o.toml:1: no option `jsn`; did you mean `json`?\n\
        o.toml:3: `memory` wants a number of bytes such as 67108864 or \"64MiB\", not true or false";
    assert_eq!(parse(two).unwrap_err(), told);
}

#[test]
fn what_was_read_is_written_and_read_the_same() {
    let text = "memory = 5\ndata-dir = \"a\\\"b\\\\\\u0001é\"\n[storage]\njson = true\n[serve]\nhost-name = ['x', '']";
    let file = parse(text).unwrap();
    let again = parse(&file.text()).unwrap();
    for command in BOTH {
        let values = |file: &File| -> Vec<_> {
            file.of(command).into_iter().map(|given| (given.option, given.value)).collect()
        };
        assert_eq!(values(&file), values(&again), "{}", file.text());
    }
    assert_eq!(file.len(), 4);
}

/// An unknown key of a megabyte is told like any other, at once.
#[test]
fn no_key_is_too_long() {
    let text = format!("{} = 1", "k".repeat(1 << 20));
    assert!(parse(&text).unwrap_err().starts_with("o.toml:1: no option `kkkk"));
}
