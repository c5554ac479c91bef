//! Options from files and from the environment, as the program takes them.

use std::{fs, process::Command};

use crate::{Dir, text};

/// What the program answers in a directory of its own: exit code, standard output, standard error.
fn answer(
    dir: &Dir,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(arguments)
        .current_dir(&dir.0)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

fn dir_with(name: &str, files: &[(&str, &str)]) -> Dir {
    let dir = Dir::new(name);
    fs::create_dir(&dir.0).unwrap();
    for (name, text) in files {
        fs::write(dir.0.join(name), text).unwrap();
    }
    dir
}

/// The row of an option in the table that is shown.
fn row(dir: &Dir, option: &str, more: &[&str], variables: &[(&str, &str)]) -> String {
    let arguments = [&["config", "show", "--origin"], more].concat();
    let (code, shown, error) = answer(dir, &arguments, variables);
    assert_eq!(code, Some(0), "{error}");
    let begin = format!("{option} ");
    let row = shown.lines().find(|line| line.starts_with(&begin)).unwrap();
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_holds_is_shown_with_where_it_came_from() {
    let file = "json-port = 1\n\n[coordinator]\njson-port = 2\n";
    let dir = dir_with("config-show", &[("olivine.toml", file), ("other.toml", "json-port = 3")]);
    for (more, variables, shown) in [
        (&["serve"][..], &[][..], "json-port 1 olivine.toml:1"),
        (&["coordinator"], &[], "json-port 2 olivine.toml:4"),
        (&["--config", "other.toml"], &[], "json-port 3 other.toml:1"),
        (&[], &[("OLIVINE_CONFIG", "other.toml")], "json-port 3 other.toml:1"),
        (&[], &[("OLIVINE_JSON_PORT", "4")], "json-port 4 environment OLIVINE_JSON_PORT"),
        (&[], &[("OLIVINE_JSON_PORT", "")], "json-port 1 olivine.toml:1"),
        (&["serve", "--", "--json-port", "5"], &[("OLIVINE_JSON_PORT", "4")], "json-port 5 flag"),
    ] {
        assert_eq!(row(&dir, "json-port", more, variables), shown);
    }
    assert_eq!(row(&dir, "http-port", &[], &[]), "http-port 8080 default");
    fs::write(dir.0.join(".env"), "NODE_TCP_PORT=6\n").unwrap();
    assert_eq!(row(&dir, "line-port", &[], &[]), "line-port 6 environment NODE_TCP_PORT in .env");
    let (_, shown, _) = answer(&dir, &["config", "show", "--json"], &[]);
    let told =
        r#"{"option":"json-port","value":"1","origin":"file","file":"olivine.toml","line":1}"#;
    assert!(shown.contains(told), "{shown}");
}

#[test]
fn a_bad_configuration_is_told_before_anything_is_done() {
    let file = "jsn-port = 1\n[storag]\n";
    let dir = dir_with("config-bad", &[("olivine.toml", file), ("good.toml", "memory = '32MiB'")]);
    let told = "error: olivine.toml:1: no option `jsn-port`; did you mean `json-port`?\n\
        olivine.toml:2: no table `[storag]`; did you mean `[storage]`?\n";
    for command in [&["config", "check"][..], &["serve"], &["storage"], &["coordinator"]] {
        let (code, shown, error) = answer(&dir, command, &[]);
        assert_eq!((code, shown.as_str(), error.as_str()), (Some(78), "", told), "{command:?}");
    }
    assert!(!dir.0.join("data").exists(), "nothing was begun");
    let good = ["config", "check", "--config", "good.toml"];
    let (code, shown, error) = answer(&dir, &good, &[]);
    assert_eq!((code, shown.as_str()), (Some(0), "good.toml is good: 1 option\n"), "{error}");
    let (code, _, error) = answer(&dir, &good, &[("OLIVINE_JSON_PROT", "1")]);
    assert_eq!(code, Some(78));
    assert!(error.contains("did you mean `OLIVINE_JSON_PORT`?"), "{error}");
    let (code, _, error) = answer(&dir, &["config", "check", "--config", "absent.toml"], &[]);
    assert_eq!(code, Some(78));
    assert!(error.contains("cannot read the configuration file absent.toml: "), "{error}");
}

/// A number that only the command can tell to be wrong is found by a check as well.
#[test]
fn a_check_finds_what_a_command_would_refuse() {
    let dir = dir_with("config-check", &[("olivine.toml", "\n[coordinator]\nhttp-port = 70000\n")]);
    let (code, _, error) = answer(&dir, &["config", "check", "--json"], &[]);
    assert_eq!(code, Some(78));
    let told = "coordinator: olivine.toml:3: `http-port` wants a number, not `70000`";
    assert_eq!(error, format!("{{\"error\":\"{told}\",\"exit\":78}}\n"));
}

/// A configuration may be a link, as those of containers are, and is nothing else.
#[test]
fn a_file_may_be_a_link_and_must_be_text() {
    let dir = dir_with("config-link", &[("real.toml", "memory = '32MiB'")]);
    std::os::unix::fs::symlink("real.toml", dir.0.join("olivine.toml")).unwrap();
    assert_eq!(row(&dir, "memory", &[], &[]), "memory 32MiB olivine.toml:1");
    fs::write(dir.0.join("bytes.toml"), b"# fine\nmemory = '\xff'\n").unwrap();
    let (code, _, error) = answer(&dir, &["config", "check", "--config", "bytes.toml"], &[]);
    assert_eq!((code, error.as_str()), (Some(78), "error: bytes.toml:2: this is no UTF-8 text\n"));
    let (code, _, error) = answer(&dir, &["config", "check", "--config", "."], &[]);
    assert_eq!(code, Some(78), "{error}");
}
