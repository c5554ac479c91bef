//! Who may use whom: crates, and the modules of the engine, against the tables in ARCHITECTURE.md.
//!
//! 1. The tables are the law and the documentation in one: what they do not allow is a finding.
//! 2. Every crate and every module of the engine has a row, and every row has its crate or module.
//! 3. The modules that make up an open store may use each other and every part; parts know nothing of
//!    the store.
//! 4. Tests may look anywhere within their crate.

use super::Finding;
use crate::{
    markdown::{codes, table},
    packages::Package,
    rust::{self, Names},
    tree::Tree,
};
use std::collections::{BTreeMap, BTreeSet};

const LAW: &str = "ARCHITECTURE.md";
const ENGINE: &str = "crates/engine/src/";

/// What a row of the law allows.
struct Rule {
    line: usize,
    may_use: BTreeSet<String>,
    tests_may_use: BTreeSet<String>,
}

/// Arrows between crates, and from crates to those of others.
pub(super) fn crates(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let rules = match rules(tree, ["crate", "may use", "in tests also"]) {
        Ok(rules) => rules,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for package in packages {
        let path = format!("crates/{}/Cargo.toml", package.name);
        let Some(rule) = rules.get(&package.name) else {
            let what =
                format!("crate `{}` has no row in the table of crates in {LAW}", package.name);
            findings.push(Finding::new(&path, 0, what));
            continue;
        };
        for dependency in &package.dependencies {
            let name = &dependency.name;
            let in_tests = dependency.dev && rule.tests_may_use.contains(name);
            if !rule.may_use.contains(name) && !in_tests {
                let what = format!("`{}` may not use `{name}`, says {LAW}", package.name);
                findings.push(Finding::new(&path, 0, what));
            }
        }
    }
    let there = |name: &str| packages.iter().any(|package| package.name == name);
    findings.extend(rows_without(&rules, "crate", there));
    findings
}

/// Arrows between the modules of the engine.
pub(super) fn modules(tree: &Tree) -> Vec<Finding> {
    let Some(root) = tree.get("crates/engine/src/lib.rs") else { return Vec::new() };
    let mut rules = match rules(tree, ["part", "may use", "may use"]) {
        Ok(rules) => rules,
        Err(finding) => return vec![finding],
    };
    let free = match self::rules(tree, ["module of the store", "what it is", "what it is"]) {
        Ok(members) => members,
        Err(finding) => return vec![finding],
    };
    let parts: BTreeSet<String> = rules.keys().cloned().collect();
    rules.extend(free);
    let root = rust::names(&root.text);
    let mut findings = Vec::new();
    for module in root.modules.iter().filter(|module| !rules.contains_key(*module)) {
        let what = format!("module `{module}` has no row in the tables of modules in {LAW}");
        findings.push(Finding::new("crates/engine/src/lib.rs", 0, what));
    }
    findings.extend(rows_without(&rules, "module", |name| root.modules.iter().any(|m| m == name)));

    let exports = exports(&root);
    let sources = sources(tree);
    let tests = test_files(&sources);
    for (file, names) in &sources {
        let Some(module) = file.first() else { continue };
        let Some(rule) = rules.get(module).filter(|_| parts.contains(module)) else { continue };
        if tests.iter().any(|test| file.starts_with(test)) {
            continue;
        }
        let mut seen = BTreeSet::new();
        for path in &names.paths {
            let Some(target) = target(file.len(), &path.parts) else { continue };
            let target = exports.get(target).map_or(target, String::as_str);
            let known = rules.contains_key(target) && target != module;
            if known && !rule.may_use.contains(target) && seen.insert(target) {
                let path_of_file = format!("{ENGINE}{}.rs", file.join("/"));
                let what = format!("module `{module}` may not use `{target}`, says {LAW}");
                findings.push(Finding::new(&path_of_file, path.line, what));
            }
        }
    }
    findings
}

/// The law's rows by name, from the table with these columns.
fn rules(tree: &Tree, columns: [&str; 3]) -> Result<BTreeMap<String, Rule>, Finding> {
    let text = tree.get(LAW).map_or("", |file| &file.text);
    let rows = table(text, &columns).ok_or_else(|| {
        let what = format!("no table with the columns `{}`", columns.join("`, `"));
        Finding::new(LAW, 0, what)
    })?;
    let words = |cell: &str| codes(cell).map(str::to_owned).collect::<BTreeSet<_>>();
    let rule = |row: &crate::markdown::Row| Rule {
        line: row.line,
        may_use: words(&row.cells[1]),
        tests_may_use: words(&row.cells[2]),
    };
    // One row may speak for several: "`bench`, `rivals`".
    Ok(rows
        .iter()
        .flat_map(|row| codes(&row.cells[0]).map(move |name| (name.to_owned(), rule(row))))
        .collect())
}

fn rows_without(
    rules: &BTreeMap<String, Rule>,
    kind: &str,
    there: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    rules
        .iter()
        .filter(|(name, _)| !there(name))
        .map(|(name, rule)| {
            Finding::new(LAW, rule.line, format!("there is no {kind} `{name}`; remove the row"))
        })
        .collect()
}

/// Which module each name at the crate's root comes from.
fn exports(root: &Names) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for path in &root.paths {
        let parts: Vec<&String> = path.parts.iter().filter(|part| *part != "crate").collect();
        if let [module, .., name] = parts[..]
            && root.modules.contains(module)
        {
            exports.insert(name.clone(), module.clone());
        }
    }
    exports
}

/// The engine's files by the path of their module: `table/block.rs` is `[table, block]`.
fn sources(tree: &Tree) -> BTreeMap<Vec<String>, Names> {
    tree.with_extension("rs")
        .filter_map(|file| {
            let place = file.path.strip_prefix(ENGINE)?.strip_suffix(".rs")?;
            let module: Vec<String> = place.split('/').map(str::to_owned).collect();
            (module != ["lib"]).then(|| (module, rust::names(&file.text)))
        })
        .collect()
}

fn test_files(sources: &BTreeMap<Vec<String>, Names>) -> Vec<Vec<String>> {
    let below = |(module, names): (&Vec<String>, &Names)| {
        let with = |test: &String| module.iter().chain([test]).cloned().collect::<Vec<_>>();
        names.test_modules.iter().map(with).collect::<Vec<_>>()
    };
    sources.iter().flat_map(below).collect()
}

/// The module at the crate's root that a path leads to, from a file `depth` modules down.
fn target(depth: usize, parts: &[String]) -> Option<&str> {
    let up = parts.iter().take_while(|part| *part == "super").count();
    let first = if parts[0] == "crate" { 1 } else { up };
    let at_root = parts[0] == "crate" || (up > 0 && up == depth);
    if at_root { parts.get(first).map(String::as_str) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{super::told, *};
    use crate::packages::Dependency;

    const CRATES: &str = "\
| layer | crate | what it is | may use | in tests also |
|---|---|---|---|---|
| ground | `vfs` | the disk | `rustix` | |
| core | `engine` | the engine | `vfs` | `testkit` |
";

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let arrow = |&(name, dev): &(&str, bool)| Dependency { name: name.into(), own: true, dev };
        Package { name: name.into(), dependencies: dependencies.iter().map(arrow).collect() }
    }

    #[test]
    fn crates_use_what_their_row_allows() {
        let tree = Tree::of(&[("ARCHITECTURE.md", CRATES)]);
        let vfs = package("vfs", &[("rustix", false)]);
        let good = package("engine", &[("vfs", false), ("testkit", true)]);
        assert_eq!(told(&crates(&tree, &[vfs.clone(), good])), [""; 0]);

        let bad = package("engine", &[("serde", false), ("testkit", false)]);
        assert_eq!(
            told(&crates(&tree, &[vfs, bad])),
            [
                "crates/engine/Cargo.toml: `engine` may not use `serde`, says ARCHITECTURE.md",
                "crates/engine/Cargo.toml: `engine` may not use `testkit`, says ARCHITECTURE.md",
            ]
        );
    }

    #[test]
    fn crates_and_rows_belong_together() {
        let tree = Tree::of(&[("ARCHITECTURE.md", CRATES)]);
        assert_eq!(
            told(&crates(&tree, &[package("vfs", &[]), package("doors", &[])])),
            [
                "crates/doors/Cargo.toml: crate `doors` has no row in the table of crates in ARCHITECTURE.md",
                "ARCHITECTURE.md:4: there is no crate `engine`; remove the row",
            ]
        );
        assert_eq!(
            told(&crates(&Tree::of(&[]), &[])),
            ["ARCHITECTURE.md: no table with the columns `crate`, `may use`, `in tests also`"]
        );
    }

    const MODULES: &str = "\
| part | what it is | may use |
|---|---|---|
| `error` | failures | |
| `table` | one file | `error` |

| module of the store | what it is |
|---|---|
| `db` | the store |
";

    fn engine(table: &str, below: &str) -> Vec<String> {
        let root =
            "mod error;\nmod table;\nmod db;\npub use error::Error;\npub use db::{Db, Options};";
        told(&modules(&Tree::of(&[
            ("ARCHITECTURE.md", MODULES),
            ("crates/engine/src/lib.rs", root),
            ("crates/engine/src/table.rs", table),
            ("crates/engine/src/table/block.rs", below),
            ("crates/engine/src/table/tests.rs", "use crate::db::Db;"),
            ("crates/engine/src/db.rs", "use crate::table::x; use crate::Error;"),
        ])))
    }

    #[test]
    fn modules_use_what_their_row_allows() {
        let fine = "mod block;\n#[cfg(test)]\nmod tests;\nuse crate::{Error, table::x};";
        assert_eq!(engine(fine, "use super::x;\nuse crate::error::Error;"), [""; 0]);
    }

    #[test]
    fn an_arrow_that_points_up_is_found_however_it_is_written() {
        let tests = "#[cfg(test)]\nmod tests;\n";
        let said = |line| format!("{line}: module `table` may not use `db`, says ARCHITECTURE.md");
        for bad in ["use crate::db::x;", "use crate::{Error, db};", "use crate::Options;"] {
            assert_eq!(engine(tests, bad), [said("crates/engine/src/table/block.rs:1")], "{bad}");
        }
        let bad = "fn f() { super::super::db::open() }";
        assert_eq!(engine(tests, bad), [said("crates/engine/src/table/block.rs:1")]);
        let bad = format!("{tests}fn f(db: &super::Db) {{}}");
        assert_eq!(engine(&bad, ""), [said("crates/engine/src/table.rs:3")]);
    }

    #[test]
    fn modules_and_rows_belong_together() {
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", MODULES),
            ("crates/engine/src/lib.rs", "mod error;\nmod log;\nmod table;"),
        ]);
        assert_eq!(
            told(&modules(&tree)),
            [
                "crates/engine/src/lib.rs: module `log` has no row in the tables of modules in ARCHITECTURE.md",
                "ARCHITECTURE.md:8: there is no module `db`; remove the row",
            ]
        );
    }
}
