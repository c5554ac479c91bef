//! What documents must be: their links lead somewhere, and every dependency has its reason.
//!
//! 1. Links to other sites are not looked up: a check must not depend on the network.

use super::Finding;
use crate::{
    markdown::{self, codes, table},
    packages::Package,
    tree::Tree,
};
use std::{collections::BTreeSet, path::Path};

const REASONS: &str = "docs/dependencies.md";

/// Shorter than this, a reason is none.
const REASON_BYTES_MIN: usize = 40;

/// Every relative link of a document leads to a file, and its anchor to a heading.
pub(super) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension("md") {
        for link in markdown::links(&file.text) {
            if link.target.contains("://") || link.target.starts_with("mailto:") {
                continue;
            }
            let (place, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
            let path = if place.is_empty() { file.path.clone() } else { beside(&file.path, place) };
            let dead = if !tree.has(&path) && !path.is_empty() {
                format!("the link to `{place}` leads nowhere")
            } else if !anchor.is_empty() && !has_anchor(tree, &path, anchor) {
                format!("`{path}` has no heading for the anchor `#{anchor}`")
            } else {
                continue;
            };
            findings.push(Finding::new(&file.path, link.line, dead));
        }
    }
    findings
}

/// Every document that a source file names exists.
pub(super) fn mentions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.with_extension("rs") {
        for (line, text) in (1..).zip(file.text.lines()) {
            if !text.trim_start().starts_with("//") {
                continue;
            }
            let document = |word: &&str| {
                word.starts_with("docs/")
                    && Path::new(word).extension().is_some_and(|found| found == "md")
            };
            for word in codes(text).filter(document).filter(|word| !tree.has(word)) {
                findings.push(Finding::new(&file.path, line, format!("there is no `{word}`")));
            }
        }
    }
    findings
}

/// Every crate of others that we use has a row that gives the reason.
pub(super) fn dependencies(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let text = tree.get(REASONS).map_or("", |file| &file.text);
    let Some(rows) = table(text, &["dependency", "why"]) else {
        return vec![Finding::new(REASONS, 0, "no table with the columns `dependency`, `why`")];
    };
    let used: BTreeSet<&str> = packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| !dependency.own)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let mut findings = Vec::new();
    let mut reasoned = BTreeSet::new();
    for row in &rows {
        for name in codes(&row.cells[0]) {
            reasoned.insert(name);
            if !used.contains(name) {
                let what = format!("nobody uses `{name}`; remove the row");
                findings.push(Finding::new(REASONS, row.line, what));
            }
            if row.cells[1].len() < REASON_BYTES_MIN {
                findings.push(Finding::new(
                    REASONS,
                    row.line,
                    format!("why `{name}`, in a sentence?"),
                ));
            }
        }
    }
    let silent = used.difference(&reasoned);
    findings.extend(silent.map(|name| Finding::new(REASONS, 0, format!("`{name}` has no row"))));
    findings
}

/// The path of `target` as seen from the folder of `file`.
fn beside(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_anchor(tree: &Tree, path: &str, anchor: &str) -> bool {
    let Some(file) = tree.get(path).filter(|file| file.is("md")) else { return true };
    markdown::anchors(&file.text).iter().any(|known| known == anchor)
}

#[cfg(test)]
mod tests {
    use super::{super::told, *};
    use crate::packages::Dependency;

    #[test]
    fn dead_links_and_anchors_are_found() {
        let text = "[a](format/log.md) [b](../README.md#start) [c](gone.md)\n[d](#nowhere) [e](#here)\n\
            [f](https://example.com/x) [g](format/) [h](../README.md#stop)\n# Here\n";
        let tree = Tree::of(&[
            ("README.md", "# Start\n"),
            ("docs/a.md", text),
            ("docs/format/log.md", ""),
        ]);
        assert_eq!(
            told(&links(&tree)),
            [
                "docs/a.md:1: the link to `gone.md` leads nowhere",
                "docs/a.md:2: `docs/a.md` has no heading for the anchor `#nowhere`",
                "docs/a.md:3: `README.md` has no heading for the anchor `#stop`",
            ]
        );
    }

    #[test]
    fn a_source_file_names_documents_that_exist() {
        let text =
            "//! Layout: `docs/format/log.md`, `docs/format/gone.md`.\nlet x = `docs/y.md`;\n";
        let tree = Tree::of(&[("a.rs", text), ("docs/format/log.md", "")]);
        assert_eq!(told(&mentions(&tree)), ["a.rs:1: there is no `docs/format/gone.md`"]);
    }

    #[test]
    fn every_dependency_has_its_reason() {
        let text = "\
| dependency | version | why |
|---|---|---|
| `rustix` | 1 | system calls without libc, whose errors are values and whose handles are owned |
| `serde` | 1 | we used it once and then took it out of everything again |
| `loom` | 1 | good |
";
        let foreign = |name: &str| Dependency { name: name.into(), own: false, dev: false };
        let own = Dependency { name: "vfs".into(), own: true, dev: false };
        let dependencies_of = |names: &[&str]| Package {
            name: "engine".into(),
            dependencies: names.iter().map(|name| foreign(name)).chain([own.clone()]).collect(),
        };
        let tree = Tree::of(&[("docs/dependencies.md", text)]);
        assert_eq!(
            told(&dependencies(&tree, &[dependencies_of(&["rustix", "loom", "lz4_flex"])])),
            [
                "docs/dependencies.md:4: nobody uses `serde`; remove the row",
                "docs/dependencies.md:5: why `loom`, in a sentence?",
                "docs/dependencies.md: `lz4_flex` has no row",
            ]
        );
        assert_eq!(
            told(&dependencies(&Tree::of(&[]), &[])),
            ["docs/dependencies.md: no table with the columns `dependency`, `why`"]
        );
    }
}
