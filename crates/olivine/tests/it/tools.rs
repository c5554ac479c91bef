//! The tools as a newcomer types them, on stores that are sound, damaged, open elsewhere, or none.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use olivine_engine::{Db, Environment, EnvironmentOptions, KeyPrefix, KeyspaceOptions, Options};

use crate::{Dir, olivine, text};

/// A store with some entries in tables and in the log.
pub(crate) fn filled(name: &str) -> Dir {
    let dir = Dir::new(name);
    let set = |number| format!("SET user:{number:04} name-{number}\n");
    let mut lines: String = (0..500).map(set).collect();
    lines += "FLUSH\nDEL user:0007\nSET zebra striped\n";
    let output = olivine(&["shell", dir.path()], &lines);
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir
}

/// What a command printed, when it ended with `code`.
#[track_caller]
fn said(arguments: &[&str], input: &str, code: i32) -> String {
    let output = olivine(arguments, input);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    if code == 0 { out.to_owned() } else { format!("{out}{err}") }
}

fn file(dir: &Dir, prefix: &str) -> PathBuf {
    let names = fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    names.filter(named).min().unwrap()
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = if at < bytes.len() { at } else { bytes.len() / 2 };
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_command_has_its_help_with_examples() {
    let help = said(&["--help"], "", 0);
    let commands =
        ["serve", "shell", "dump", "load", "check", "inspect", "repair", "stats", "bench"];
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let help = said(&[command, "--help"], "", 0);
        assert!(help.contains(&format!("usage: olivine {command}")), "{help}");
        assert!(help.contains("\nexamples:\n"), "{help}");
        assert_eq!(said(&["help", command], "", 0), help);
    }
}

#[test]
fn a_mistyped_option_is_answered_with_the_right_one() {
    let said = said(&["dump", "--keyspce", "a", "d"], "", 2);
    assert!(
        said.starts_with("error: no option `--keyspce`; did you mean `--keyspace`?\n"),
        "{said}"
    );
    assert!(said.contains("olivine dump olivedb\n"), "{said}");
}

#[test]
fn what_is_dumped_is_loaded_again() {
    let (dir, new) = (filled("dumped"), Dir::new("loaded"));
    let dump = said(&["dump", dir.path()], "", 0);
    assert_eq!(dump.lines().count(), 500);
    assert!(
        dump.starts_with("{\"keyspace\":\"default\",\"key\":\"user:0000\",\"value\":\"name-0\"}\n")
    );
    assert!(!dump.contains("user:0007"), "it was deleted");
    assert_eq!(said(&["load", new.path()], &dump, 0), "500 entries loaded\n");
    assert_eq!(said(&["dump", "--db", new.path()], "", 0), dump);
    // Once more changes nothing.
    said(&["load", "--db", new.path(), "--batch", "7", "-"], &dump, 0);
    assert_eq!(said(&["dump", new.path()], "", 0), dump);
}

#[test]
fn a_range_of_a_keyspace_is_dumped() {
    let dir = filled("ranges");
    let dumped = |options: &[&str]| -> Vec<String> {
        let arguments: Vec<&str> = ["dump", dir.path()].iter().chain(options).copied().collect();
        let dump = said(&arguments, "", 0);
        let key = |line: &str| line.split('"').nth(7).unwrap().to_owned();
        dump.lines().map(key).collect()
    };
    assert_eq!(dumped(&["--prefix", "user:001"]).len(), 10);
    assert_eq!(dumped(&["--from", "user:0498"]), ["user:0498", "user:0499", "zebra"]);
    assert_eq!(dumped(&["--to", "user:0002"]), ["user:0000", "user:0001"]);
    assert_eq!(dumped(&["--prefix=z", "--from=a"]), ["zebra"]);
    assert_eq!(dumped(&["--from", "\\x7a\\x65", "--keyspace", "default"]), ["zebra"]);
    let absent = said(&["dump", dir.path(), "--keyspace", "defalt"], "", 3);
    assert!(
        absent.contains("no keyspace \"defalt\" in the store; did you mean \"default\"?"),
        "{absent}"
    );
    said(&["dump", dir.path(), "--from", "\\q"], "", 2);
}

/// As `rocksdb_dump --db_path DIR --dump_location FILE` was used.
#[test]
fn dumping_to_a_file_as_rocksdb_dump_did() {
    let (dir, out, new) = (filled("olivedb"), Dir::new("dump-location"), Dir::new("undumped"));
    fs::create_dir(&out.0).unwrap();
    let target = out.0.join("livedb_dump.txt");
    let target = target.to_str().unwrap();
    let arguments = ["dump", "--db_path", dir.path(), "--dump_location", target];
    let told = said(&arguments, "", 0);
    assert_eq!(told, format!("500 entries of 1 keyspace in {target}\n"));
    let again = said(&arguments, "", 1);
    assert!(again.contains("is there already"), "{again}");
    fs::remove_file(target).unwrap();
    said(&[&arguments[..], &["--format", "rocksdb"]].concat(), "", 0);
    assert!(fs::read(target).unwrap().starts_with(b"ROCKDUMP\0\0\0\0\0\0\0\x01"));
    assert_eq!(fs::read_dir(&out.0).unwrap().count(), 1, "nothing partial is left");
    said(&["load", new.path(), target], "", 0);
    assert_eq!(said(&["dump", new.path()], "", 0), said(&["dump", dir.path()], "", 0));
}

#[test]
fn a_line_that_makes_no_sense_is_named_with_where_to_go_on() {
    let dir = Dir::new("resumed");
    let line = |key: &str| format!("{{\"key\":\"{key}\",\"value\":\"1\"}}\n");
    let good = format!("{}{}", line("a"), line("b"));
    let bad = format!("{good}{{\"key\":\"c\"}}\n{}", line("d"));
    let told = said(&["load", dir.path(), "--batch", "2"], &bad, 1);
    let expected =
        "error: line 3: `value` is missing; 2 entries are loaded, go on with --from-line 3\n";
    assert_eq!(told, expected);
    let mended = format!("{good}{}{}", line("c"), line("d"));
    assert_eq!(said(&["load", dir.path(), "--from-line", "3"], &mended, 0), "2 entries loaded\n");
    assert_eq!(said(&["dump", dir.path()], "", 0).lines().count(), 4);
    said(&["load", dir.path(), "/nowhere/file"], "", 1);
}

#[test]
fn a_sound_store_is_called_sound() {
    let dir = filled("sound");
    let told = said(&["check", dir.path()], "", 0);
    assert!(told.ends_with("of the log\nsound\n"), "{told}");
    let told = said(&["check", "--json", dir.path()], "", 0);
    assert!(told.starts_with("{\"sound\":true,\"damages\":0,\"store\":\""), "{told}");
    let dump = said(&["dump", dir.path()], "", 0);
    assert_eq!(dump.lines().count(), 500);
}

#[test]
fn damage_is_told_with_its_place_and_what_to_do() {
    let dir = filled("damaged");
    let table = file(&dir, "table-");
    flip(&table, 100);
    let told = said(&["check", dir.path()], "", 5);
    let begins = format!("damage: {} at byte 32: ", table.display());
    assert!(told.starts_with(&begins), "{told}");
    assert!(told.contains("to do: restore the store from a copy"), "{told}");
    assert!(told.ends_with("damaged: 1 finding\n"), "{told}");
    let told = said(&["check", "--json", dir.path()], "", 5);
    assert!(told.contains("\"severity\":\"damage\""), "{told}");
    let told = said(&["inspect", table.to_str().unwrap()], "", 5);
    assert!(told.contains("DAMAGED: the checksum of a block does not match"), "{told}");
    let told = said(&["dump", dir.path()], "", 5);
    assert!(told.contains("is damaged at byte 32"), "{told}");
}

#[test]
fn each_kind_of_file_is_shown() {
    let dir = filled("shown");
    let shown = |prefix: &str, options: &[&str]| {
        let path = file(&dir, prefix);
        let arguments = [&["inspect", path.to_str().unwrap()][..], options].concat();
        said(&arguments, "", 0)
    };
    let told = shown("CURRENT", &[]);
    assert!(told.contains("manifest 1\nthis is CURRENT, sound"), "{told}");
    let told = shown("manifest-", &[]);
    assert!(told.contains("create keyspace  keyspace 1 name default\n"), "{told}");
    assert!(told.contains("add table "), "{told}");
    let told = shown("log-", &["--entries"]);
    assert!(told.contains("kind delete key \"user:0007\""), "{told}");
    assert!(told.contains("kind clean end"), "{told}");
    let told = shown("table-", &["--blocks", "--entries"]);
    assert!(told.contains("property         name keyspace_name value default\n"), "{told}");
    assert!(told.contains("kind put key \"user:0000\" value \"name-0\"\n"), "{told}");
    let told = shown("table-", &["--json", "--blocks"]);
    assert!(told.contains("{\"what\":\"block\",\"offset\":32,\"block\":0,"), "{told}");
}

#[test]
fn what_is_no_store_is_refused_by_every_command() {
    let (empty, foreign) = (Dir::new("empty"), Dir::new("letters"));
    fs::create_dir(&empty.0).unwrap();
    fs::create_dir(&foreign.0).unwrap();
    let letter = foreign.0.join("letter.txt");
    fs::write(&letter, "dear reader").unwrap();
    let letter = letter.to_str().unwrap();
    for command in ["check", "dump", "repair", "stats"] {
        for path in ["/nowhere/at/all", empty.path(), foreign.path(), letter] {
            let told = said(&[command, path], "", 1);
            assert!(told.starts_with("error: cannot"), "{command} {path}: {told}");
            assert!(told.contains(path), "{command} {path}: {told}");
        }
        said(&[command], "", 2);
    }
    let told = said(&["inspect", letter], "", 1);
    assert!(told.contains("it is no file of a store"), "{told}");
    said(&["inspect", foreign.path()], "", 1);
    said(&["inspect"], "", 2);
    assert_eq!(fs::read_dir(&empty.0).unwrap().count(), 0, "nothing was made");
    assert_eq!(fs::read_dir(&foreign.0).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_later_format_is_named_and_left_alone() {
    let dir = filled("later");
    let current = dir.0.join("CURRENT");
    fs::write(&current, "olivine store, format 9\nwhatever comes then\n").unwrap();
    for command in ["check", "dump", "repair"] {
        let told = said(&[command, dir.path()], "", 1);
        assert!(told.contains("has format 9"), "{told}");
    }
    let told = said(&["inspect", current.to_str().unwrap(), "--json"], "", 1);
    assert!(told.starts_with("{\"error\":") && told.contains("format 9"), "{told}");
}

#[test]
fn a_store_that_is_open_elsewhere_names_its_holder() {
    let dir = filled("held");
    let mut shell = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(["shell", dir.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"GET zebra\n").unwrap();
    let mut answers = std::io::BufReader::new(shell.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut answers, &mut String::new()).unwrap();
    for command in ["check", "dump", "load", "repair"] {
        let told = said(&[command, dir.path()], "", 6);
        assert!(told.contains(&format!("open in process {}", shell.id())), "{told}");
    }
    drop(input);
    shell.wait().unwrap();
    said(&["check", dir.path()], "", 0);
}

#[test]
fn what_may_not_be_read_is_told() {
    let dir = filled("unreadable");
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o000)).unwrap();
    // Whoever may do everything is let in all the same.
    if fs::read_dir(&dir.0).is_err() {
        for command in ["check", "dump"] {
            let told = said(&[command, dir.path()], "", 1);
            assert!(told.contains("ermission denied"), "{told}");
        }
    }
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A pipe sees no bar, and a reader that goes away is no failure.
#[test]
fn a_pipe_sees_nothing_but_the_answer() {
    let dir = filled("piped");
    for command in ["check", "dump"] {
        let output = olivine(&[command, dir.path()], "");
        assert_eq!(text(&output.stderr), "", "{command}");
        assert!(!text(&output.stdout).contains('\r'), "{command}");
    }
    let script = format!("{} dump {} | head -n 1", env!("CARGO_BIN_EXE_olivine"), dir.path());
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_damaged_store_is_repaired_and_says_what_is_lost() {
    let dir = filled("repaired");
    assert_eq!(said(&["repair", dir.path()], "", 0), "the store is sound; nothing was done\n");
    flip(&file(&dir, "table-"), 100);
    let planned = said(&["repair", dir.path(), "--dry-run"], "", 5);
    assert!(planned.contains("to do: write "), "{planned}");
    assert!(planned.ends_with("1 range would be lost; nothing was changed\n"), "{planned}");
    said(&["check", dir.path()], "", 5);
    let told = said(&["repair", dir.path()], "", 5);
    let lost = "lost: keyspace \"default\", keys from \"user:0000\" to \"";
    assert!(told.contains(lost) && told.ends_with("repaired; 1 range is lost\n"), "{told}");
    said(&["check", dir.path()], "", 0);
    let dump = said(&["dump", dir.path()], "", 0);
    assert!(200 < dump.lines().count() && dump.lines().count() < 500, "{}", dump.lines().count());
    assert!(dump.contains("user:0499") && dump.contains("zebra"));
    let kept = file(&dir, "damaged-");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 2, "table and manifest");
}

#[test]
fn without_current_and_manifest_nothing_is_lost() {
    let dir = filled("headless");
    let dump = said(&["dump", dir.path()], "", 0);
    fs::remove_file(file(&dir, "CURRENT")).unwrap();
    fs::remove_file(file(&dir, "manifest-")).unwrap();
    said(&["dump", dir.path()], "", 5);
    let told = said(&["repair", dir.path(), "--json"], "", 0);
    assert!(told.starts_with("{\"needed\":true,\"done\":true,"), "{told}");
    assert!(told.contains("\"losses\":[]"), "{told}");
    assert_eq!(said(&["dump", dir.path()], "", 0), dump);
}

#[test]
fn what_a_store_consists_of_is_told_even_while_it_is_open() {
    let dir = filled("described");
    let told = said(&["stats", dir.path()], "", 0);
    assert!(told.contains("keyspace \"default\", flushed up to write 500\n"), "{told}");
    assert!(told.contains("\n      0       1  "), "{told}");
    let told = said(&["stats", "--json", dir.path()], "", 0);
    let level = "{\"level\":0,\"tables\":1,\"bytes\":";
    assert!(told.contains(level) && told.contains("\"entries\":500,"), "{told}");
    fs::remove_file(file(&dir, "manifest-")).unwrap();
    said(&["stats", dir.path()], "", 5);
}

#[test]
fn what_a_keyspace_was_made_with_is_told() {
    let dir = Dir::new("options");
    let environment = Environment::new(EnvironmentOptions::default()).unwrap();
    let db = Db::open(&environment, dir.path(), Options::default()).unwrap();
    let prefix = Some(KeyPrefix::Delimiter(b':', 1));
    let options = KeyspaceOptions { prefix, unlogged: true, ..KeyspaceOptions::default() };
    db.keyspace_with("quick", &options).unwrap();
    db.close().unwrap();
    let told = said(&["stats", dir.path()], "", 0);
    assert!(told.contains("\n  prefix up to ':'\n  log off\n"), "{told}");
    let told = said(&["stats", "--json", dir.path()], "", 0);
    assert!(told.contains("\"prefix\":\"up to ':'\",\"unlogged\":true,"), "{told}");
}

#[test]
fn a_quick_measurement_leaves_nothing_behind() {
    let dir = Dir::new("measured");
    fs::create_dir(&dir.0).unwrap();
    let told = said(&["bench", "--dir", dir.path(), "--n", "500"], "", 0);
    for name in ["put, synced ", "put, to the kernel ", "get ", "get, not there ", "scan "] {
        assert!(told.contains(&format!("\n{name}")), "{told}");
    }
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
    said(&["bench", "--dir", "/nowhere/at/all"], "", 1);
    said(&["bench", "--n", "0"], "", 2);
}

/// Where nobody can hear the answer, the exit code tells it, and nothing panics.
#[test]
fn an_answer_that_cannot_be_written_is_no_panic() {
    let program = env!("CARGO_BIN_EXE_olivine");
    for (arguments, code) in [
        (&["--version"][..], 1),
        (&["--help"], 1),
        (&["dump", "--help"], 1),
        (&["serve", "--help"], 1),
        (&["--nosuch"], 2),
        (&["dump", "--nosuch"], 2),
        (&["dump", "/nowhere/at/all"], 1),
        (&["check", "/nowhere/at/all", "--json"], 1),
    ] {
        let script = "exec \"$0\" \"$@\" >/dev/full 2>/dev/full";
        let status = Command::new("sh").args(["-c", script, program]).args(arguments).status();
        assert_eq!(status.unwrap().code(), Some(code), "{arguments:?}");
    }
}

/// What a newcomer mistakes is answered with what to name instead.
#[test]
fn what_is_no_store_is_told_with_what_to_name() {
    let (dir, empty) = (filled("named"), Dir::new("named-empty"));
    fs::create_dir_all(&empty.0).unwrap();
    let nowhere = "/nowhere/at/all";
    for (arguments, code, what) in [
        (&["dump", nowhere][..], 1, "name the directory of a store"),
        (&["dump", empty.path()], 1, "name the directory of a store"),
        (&["backup", nowhere, "b"], 1, "name the directory of a store"),
        (&["inspect", nowhere], 1, "name a file of a store"),
        (&["inspect", dir.path()], 1, "name one file in it"),
        (&["bench", "--dir", nowhere], 1, "name a directory that is there"),
        (&["restore", empty.path(), "d"], 3, "there are no backups"),
        (&["dump", dir.path(), "--memory", "1"], 2, "`--memory` is 1"),
        (&["shell", dir.path(), "--memory", "1"], 2, "`--memory` is 1"),
    ] {
        let said = said(arguments, "", code);
        assert!(said.starts_with("error: ") && said.contains(what), "{arguments:?}: {said}");
    }
}

/// The shell tells what every share of the memory holds and may hold.
#[test]
fn the_shell_tells_the_shares_of_memory() {
    let dir = filled("shares");
    let said = said(&["shell", dir.path(), "--memory", "4MiB"], "STATS\n", 0);
    for share in ["memtables", "cache", "metadata", "writing", "walks", "transactions"] {
        let line = said.lines().find(|line| line.starts_with(&format!("memory {share} ")));
        assert!(line.is_some_and(|line| line.contains(" of ")), "{said}");
    }
}
