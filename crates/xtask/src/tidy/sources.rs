//! What a source file must and must not be: its header, name, size, seams and words.
//!
//! 1. Findings give the line, so that an editor can jump there.
//! 2. This file names no forbidden word in one piece, or it would find itself.

use super::Finding;
use crate::{rust, tree::Tree};
use std::collections::BTreeSet;

const LINES_MAX: usize = 900;

/// Files that are larger all the same, with the lines they may have. The list only shrinks.
pub(super) const LARGE_FILES: &[(&str, usize)] = &[];

/// The system's doors, and the only places that may name them.
const SEAMS: &[Seam] = &[
    Seam {
        door: &["std", "fs"],
        homes: &[
            "crates/vfs/",
            "crates/testkit/",
            "crates/bench/",
            "crates/rivals/",
            "crates/xtask/",
        ],
        instead: "reach the disk through `olivine_vfs::Vfs`",
    },
    Seam {
        door: &["std", "time", "Instant"],
        homes: &[
            "crates/vfs/",
            "crates/testkit/",
            "crates/bench/",
            "crates/rivals/",
            "crates/xtask/",
        ],
        instead: "take the time from `olivine_vfs::Clock`",
    },
    Seam {
        door: &["std", "time", "SystemTime"],
        homes: &["crates/vfs/", "crates/bench/", "crates/rivals/", "crates/xtask/"],
        instead: "take the time from `olivine_vfs::Clock`",
    },
    Seam {
        door: &["rustix"],
        homes: &["crates/vfs/", "crates/bench/", "crates/rivals/", "crates/testkit/"],
        instead: "ask `olivine_vfs` for it",
    },
];

struct Seam {
    door: &'static [&'static str],
    homes: &'static [&'static str],
    instead: &'static str,
}

/// Words that mean unfinished work or somebody's machine.
const WORDS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or write it down elsewhere"),
    (concat!("FIX", "ME"), "finish it or write it down elsewhere"),
    (concat!("to", "do!("), "finish it"),
    (concat!("unimple", "mented!("), "finish it"),
    (concat!("db", "g!("), "remove it"),
    (concat!("/wo", "rk/"), "no paths of one machine"),
    (concat!("/ho", "me/"), "no paths of one machine"),
    (concat!("/Us", "ers/"), "no paths of one machine"),
];

/// Only the crates that may name the system's files and clock do so; tests may.
pub(super) fn seams(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension("rs") {
        let in_tests = |part: &str| part == "tests" || part == "tests.rs";
        if file.path.split('/').any(in_tests) {
            continue;
        }
        let names = rust::names(&file.text);
        for seam in SEAMS {
            if seam.homes.iter().any(|home| file.path.starts_with(home)) {
                continue;
            }
            let through = |path: &&rust::Path| {
                path.parts
                    .iter()
                    .map(String::as_str)
                    .take(seam.door.len())
                    .eq(seam.door.iter().copied())
            };
            if let Some(path) = names.paths.iter().find(through) {
                let what =
                    format!("`{}` has no place here: {}", seam.door.join("::"), seam.instead);
                findings.push(Finding::new(&file.path, path.line, what));
            }
        }
    }
    findings
}

/// A file says what it is before anything else.
pub(super) fn headers(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("rs")
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| Finding::new(&file.path, 1, "open with a `//!` header that says what this is"))
        .collect()
}

/// A file is named for what is in it.
pub(super) fn names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension("rs") {
        let empty = ["utils", "util", "common", "helpers", "helper", "misc"];
        let hollow = |part: &&str| empty.contains(&part.trim_end_matches(".rs"));
        if let Some(part) = file.path.split('/').find(hollow) {
            let what = format!("`{part}` says nothing; name it for what it holds");
            findings.push(Finding::new(&file.path, 0, what));
        }
        if file.path.ends_with("/mod.rs") {
            let what = "put it beside its folder, under the folder's name";
            findings.push(Finding::new(&file.path, 0, what));
        }
    }
    findings
}

/// No file grows beyond what one reads in one go.
pub(super) fn sizes(tree: &Tree, exceptions: &[(&str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension("rs") {
        let lines = file.text.lines().count();
        let exception = exceptions.iter().find(|(path, _)| *path == file.path);
        let what = match exception {
            Some((_, allowed)) if lines > *allowed => {
                format!("{lines} lines, and its exception ends at {allowed}; split it")
            }
            Some(_) if lines <= LINES_MAX => {
                format!("{lines} lines need no exception any more; take it off the list")
            }
            None if lines > LINES_MAX => format!("{lines} lines, more than {LINES_MAX}; split it"),
            _ => continue,
        };
        findings.push(Finding::new(&file.path, 0, what));
    }
    let gone = exceptions.iter().filter(|(path, _)| tree.get(path).is_none());
    findings.extend(gone.map(|(path, _)| Finding::new(path, 0, "gone; take it off the list")));
    findings
}

/// Nothing unfinished, nothing that is true on one machine only.
pub(super) fn words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| !file.is("lock")) {
        let mut told = BTreeSet::new();
        for (line, text) in (1..).zip(file.text.lines()) {
            for (word, instead) in WORDS {
                if text.contains(word) && told.insert(word) {
                    let what = format!("`{word}` has no place here: {instead}");
                    findings.push(Finding::new(&file.path, line, what));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::told, *};

    #[test]
    fn only_the_ground_names_files_and_clocks() {
        let text = "//! x\nuse std::{io, fs::File};\nfn f() { std::time::Instant::now(); }\n";
        let tree = Tree::of(&[
            ("crates/engine/src/db.rs", text),
            ("crates/engine/src/db/tests.rs", text),
            ("crates/vfs/src/real.rs", text),
        ]);
        assert_eq!(
            told(&seams(&tree)),
            [
                "crates/engine/src/db.rs:2: `std::fs` has no place here: reach the disk through `olivine_vfs::Vfs`",
                "crates/engine/src/db.rs:3: `std::time::Instant` has no place here: take the time from `olivine_vfs::Clock`",
            ]
        );
        let clean = "//! std::fs\nuse std::{io, fmt};\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(told(&seams(&Tree::of(&[("crates/engine/src/db.rs", clean)]))), [""; 0]);
    }

    #[test]
    fn a_file_opens_with_its_header() {
        let tree = Tree::of(&[("a.rs", "//! What it is.\n"), ("b.rs", "use x;\n//! Late.\n")]);
        assert_eq!(
            told(&headers(&tree)),
            ["b.rs:1: open with a `//!` header that says what this is"]
        );
    }

    #[test]
    fn names_say_something() {
        let tree = Tree::of(&[
            ("crates/a/src/table.rs", ""),
            ("crates/a/src/table/mod.rs", ""),
            ("crates/a/src/utils.rs", ""),
            ("crates/common/src/lib.rs", ""),
            ("crates/a/src/helpers.md", ""),
        ]);
        assert_eq!(
            told(&names(&tree)),
            [
                "crates/a/src/table/mod.rs: put it beside its folder, under the folder's name",
                "crates/a/src/utils.rs: `utils.rs` says nothing; name it for what it holds",
                "crates/common/src/lib.rs: `common` says nothing; name it for what it holds",
            ]
        );
    }

    #[test]
    fn files_stay_small_and_exceptions_shrink() {
        let (small, large) = ("x\n".repeat(900), "x\n".repeat(901));
        let tree = Tree::of(&[("a.rs", &small), ("b.rs", &large), ("c.rs", &large)]);
        assert_eq!(
            told(&sizes(&tree, &[("c.rs", 950)])),
            ["b.rs: 901 lines, more than 900; split it"]
        );
        assert_eq!(
            told(&sizes(&tree, &[("a.rs", 950), ("b.rs", 900), ("c.rs", 901), ("d.rs", 950)])),
            [
                "a.rs: 900 lines need no exception any more; take it off the list",
                "b.rs: 901 lines, and its exception ends at 900; split it",
                "d.rs: gone; take it off the list",
            ]
        );
    }

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        for (word, instead) in WORDS {
            let text = format!("fine\n    a {word} b\n    {word}\n");
            let said = format!("a.md:2: `{word}` has no place here: {instead}");
            assert_eq!(told(&words(&Tree::of(&[("a.md", &text)]))), [said]);
        }
        assert_eq!(told(&words(&Tree::of(&[("a.rs", "// fine\n"), ("Cargo.lock", "")]))), [""; 0]);
    }
}
