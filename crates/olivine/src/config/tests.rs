//! Layers over each other, and what is refused of them.

use super::*;
use std::fmt::Write as _;

fn layers(variables: &[(&str, &str)], text: &str) -> Result<Layers, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let variables: Vec<_> = variables.collect();
    let told = |failure: Failure| {
        assert_eq!(failure.ending(), Ending::Misconfigured);
        failure.text().to_owned()
    };
    check_names(&variables, &commands()).map_err(told)?;
    let file = File::parse(Path::new("o.toml"), text, &commands()).map_err(told)?;
    Ok(Layers { variables, file: Some(file) })
}

fn call(line: &str, layers: &Layers) -> Result<Call, String> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let serve = commands()[0];
    let mut call = Call::parse(serve, &arguments)?;
    layers.complete(&mut call).map_err(|failure| failure.text().to_owned())?;
    Ok(call)
}

#[test]
fn a_nearer_layer_decides_alone() {
    let variables = [
        ("OLIVINE_JSON_PORT", "2"),
        ("OLIVINE_HTTP_PORT", "3"),
        ("OLIVINE_INSECURE", "false"),
        ("OLIVINE_HOST_NAME", "c,d"),
    ];
    let text = "json-port = 4\nhttp-port = 5\nmemory = 6\ninsecure = true\nhost-name = ['e']\n\
        [serve]\nworkers = 7";
    let layers = layers(&variables, text).unwrap();
    let call = call("--json-port 1", &layers).unwrap();
    let file = |line| Origin::File("o.toml".into(), line);
    let variable = |name: &str| Origin::Environment(name.to_owned());
    for (option, values, origin) in [
        ("--json-port", &["1"][..], Origin::Flag),
        ("--http-port", &["3"], variable("OLIVINE_HTTP_PORT")),
        ("--memory", &["6"], file(3)),
        ("--workers", &["7"], file(7)),
        ("--host-name", &["c", "d"], variable("OLIVINE_HOST_NAME")),
        ("--line-bind", &[], Origin::Default),
    ] {
        assert_eq!(call.values(option).collect::<Vec<_>>(), values, "{option}");
        assert_eq!(*call.origin(option), origin, "{option}");
    }
    assert!(!call.has("--insecure"), "the environment stands above the file");
    let call = self::call("--insecure", &layers).unwrap();
    assert!(call.has("--insecure"));
}

#[test]
fn a_variable_of_others_stands_among_the_environment() {
    let own = ("OLIVINE_LINE_PORT", "1");
    let other = ("NODE_TCP_PORT", "2");
    for (variables, text, port) in [
        (&[own, other][..], "line-port = 3", "1"),
        (&[other], "line-port = 3", "2"),
        (&[], "line-port = 3", "3"),
    ] {
        let call = call("", &layers(variables, text).unwrap()).unwrap();
        assert_eq!(call.value("--line-port"), Some(port.as_ref()), "{variables:?}");
    }
    // What is for all doors and nearer stands above what is for one and farther.
    let call = call("line --port 4", &layers(&[other], "").unwrap()).unwrap();
    assert_eq!(crate::serve::nearer(&call, "--line-port", "--port"), "--port");
    assert_eq!(crate::serve::nearer(&call, "--json-port", "--http-port"), "--json-port");
}

#[test]
fn a_wrong_value_is_told_by_the_name_that_its_layer_gives_it() {
    let check = |variables: &[(&str, &str)], text: &str| {
        let call = call("", &layers(variables, text)?)?;
        (ROLES[0].check)(&call).map_err(|failure| {
            assert_eq!(failure.ending(), Ending::Misconfigured);
            failure.text().to_owned()
        })
    };
    for (variables, text, told) in [
        (&[][..], "\njson-port = 70000", "o.toml:2: `json-port` wants a number, not `70000`"),
        (&[], "memory = '1XB'", "o.toml:1: `memory` wants a number of bytes"),
        (&[], "doors = 'jsn'", "o.toml:1: `doors` names no door `jsn`"),
        (&[], "port = 1", "o.toml:1: `port` is for one door"),
        (&[], "key-bytes-max = '1MiB'", "o.toml:1: `key-bytes-max` may be 65526 at most"),
        (&[], "bind = 'x'", "o.toml:1: `bind` wants an address"),
        (&[], "durability = 'x'", "o.toml:1: `durability` wants sync, os"),
        (&[("OLIVINE_WORKERS", "x")], "", "`OLIVINE_WORKERS` wants a number, not `x`"),
        (&[("OLIVINE_INSECURE", "yes")], "", "`OLIVINE_INSECURE` wants true or false, not `yes`"),
        (&[("NODE_TCP_PORT", "x")], "", "`NODE_TCP_PORT` wants a number, not `x`"),
        (
            &[("OLIVINE_JSN_PORT", "1")],
            "",
            "nothing is told by the variable `OLIVINE_JSN_PORT` of the environment; did you mean `OLIVINE_JSON_PORT`?",
        ),
    ] {
        let what = check(variables, text).unwrap_err();
        assert!(what.starts_with(told), "{what}");
    }
    for (name, _) in OTHERS {
        assert_eq!(check(&[(name, "x")], ""), Ok(()), "{name}");
    }
}

/// What is shown as a default is what holds: given by a file, it changes nothing.
#[test]
fn what_is_shown_as_a_default_holds() {
    /// They depend on the machine, or on another option.
    const TOLD_IN_WORDS: [&str; 6] =
        ["--workers", "--memory", "--socket", "--storage", "--doors", "--query-threads"];
    let mut text = String::new();
    for command in commands() {
        for option in command.options() {
            let words = option.name == CONFIG.name || TOLD_IN_WORDS.contains(&option.name);
            if !option.default.is_empty() && !words && !text.contains(&format!("{} =", key(option)))
            {
                let quote = if option.kind() == Kind::Number { "" } else { "'" };
                let (key, value) = (key(option), option.default);
                let _infallible = writeln!(text, "{key} = {quote}{value}{quote}");
            }
        }
    }
    assert!(10 < text.lines().count(), "{text}");
    let told = layers(&[], &text).unwrap();
    crate::serve::tests::same_but_for_who_asked(
        &call("", &told).unwrap(),
        &call("", &layers(&[], "").unwrap()).unwrap(),
    );
}

/// The file that the package installs is good, and so is each line that it offers.
#[test]
fn the_file_of_the_package_is_good() {
    let text = include_str!("../../../../packaging/debian/olivine.toml");
    let offered = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(line) if line.contains(" = ") => line,
        _ => line,
    });
    let offered = offered.collect::<Vec<_>>().join("\n");
    assert_ne!(offered, text);
    for text in [text, &offered] {
        let layers = layers(&[], text).unwrap();
        for Role { command, check } in ROLES {
            let mut call = Call::parse(command, &[]).unwrap();
            layers.complete(&mut call).unwrap();
            assert!(check(&call).is_ok(), "{}", command.name);
        }
    }
}

/// All options as a table for people, in the order in which commands have them.
fn table() -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut table =
        "| key | what it says | value | when nobody says it | of |\n|---|---|---|---|---|\n"
            .to_owned();
    for option in commands().iter().flat_map(|command| command.options()) {
        if names.contains(&option.name) || option.name == CONFIG.name {
            continue;
        }
        names.push(option.name);
        let has = |command: &&&Command| command.options().any(|other| other.name == option.name);
        let of: Vec<&str> = commands().iter().filter(has).map(|command| command.name).collect();
        let what = option.what.split_whitespace().collect::<Vec<_>>().join(" ");
        let value = match (option.kind(), option.many) {
            (Kind::Switch, _) => "true or false".to_owned(),
            (Kind::Number, _) => "number".to_owned(),
            (Kind::Bytes, _) => "number, or text such as `\"64MiB\"`".to_owned(),
            (Kind::List, _) => "text such as `\"a,b\"`, or a list of texts".to_owned(),
            (Kind::Text, true) => "text, or a list of texts".to_owned(),
            (Kind::Text, false) => "text".to_owned(),
        };
        let default = if option.kind() == Kind::Switch { "false" } else { option.default };
        let of = of.join(", ");
        let key = key(option);
        let _infallible = writeln!(table, "| `{key}` | {what} | {value} | {default} | {of} |");
    }
    table
}

/// `REWRITE=1` puts the table of today into the document.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and writes a document of the repository"
)]
fn the_table_of_keys_is_what_commands_take() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys: made by REWRITE=1 -->\n", "<!-- end of keys -->\n");
    let (before, rest) = text.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    if env::var_os("REWRITE").is_some() {
        std::fs::write(&path, format!("{before}{begin}{}{end}{after}", table())).unwrap();
    } else {
        let command = "REWRITE=1 cargo test -p olivine table_of_keys";
        assert_eq!(written, table(), "docs/operating.md is behind; `{command}` renews it");
    }
}

/// One name is one thing: commands that share an option agree on what its value is.
#[test]
fn commands_agree_on_their_options() {
    let mut known: Vec<&Opt> = Vec::new();
    for command in commands() {
        assert!(command.options().any(|option| *option == CONFIG), "{}", command.name);
        for option in command.options() {
            match known.iter().find(|known| known.name == option.name) {
                // What a variable is called that a role knows from elsewhere is its own affair.
                Some(known) => {
                    let variable = known.variable;
                    assert_eq!(**known, Opt { variable, ..*option }, "{}", command.name);
                }
                None => known.push(option),
            }
            assert!(!command::is_secret(option), "{}: a secret stands in a file", option.name);
        }
    }
}

#[test]
fn what_sounds_like_a_secret_is_one_unless_it_is_a_file() {
    let option = |name| Opt::value(name, "X", "");
    for name in ["--admin-password", "--token", "--tls-passphrase"] {
        assert!(command::is_secret(&option(name)), "{name}");
    }
    for name in ["--password-file", "--key-bytes-max", "--tls-key"] {
        assert!(!command::is_secret(&option(name)), "{name}");
    }
}

#[test]
fn a_file_of_names_gives_its_values() {
    let dir = env::temp_dir().join(format!("olivine-dotenv-{}", std::process::id()));
    drop(RealVfs.create_dir(&dir));
    let path = dir.join(".env");
    drop(RealVfs.remove_file(&path));
    let file = RealVfs.open(&path, Open::Create).unwrap();
    file.write_at(b"# x\nA=1\nexport NODE_TCP_PORT = \"7001\"\n", 0).unwrap();
    assert_eq!(dotenv(&path, "NODE_TCP_PORT"), Some("7001".into()));
    assert_eq!(dotenv(&path, "B"), None);
    RealVfs.remove_file(&path).unwrap();
    RealVfs.remove_dir(&dir).unwrap();
    assert_eq!(dotenv(&path, "A"), None);
}
