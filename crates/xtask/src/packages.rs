//! The crates of the workspace and what each depends on, as cargo sees it.
//!
//! 1. A dependency counts whatever its target or feature: an arrow behind a `cfg` is an arrow.
//! 2. A crate of ours is called by its folder below `crates/`, one of others by its name.

use crate::{json::Json, tree::Tree};
use std::{path::Path, process::Command};

/// One crate and its direct dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// The folder below `crates/`.
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One arrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Whether it stands in this repository.
    pub(crate) own: bool,
    /// Whether only tests, examples and benches see it.
    pub(crate) dev: bool,
}

/// Asks cargo about every workspace in `tree`: the root's, and those of crates that stand apart.
pub(crate) fn read(root: &Path, tree: &Tree) -> Result<Vec<Package>, String> {
    let mut manifests = vec!["Cargo.toml".to_owned()];
    let apart = |text: &str| text.lines().any(|line| line.trim() == "[workspace]");
    manifests.extend(
        tree.files()
            .filter(|file| file.path.ends_with("/Cargo.toml") && apart(&file.text))
            .map(|file| file.path.clone()),
    );
    let mut packages = Vec::new();
    for manifest in manifests {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(root.join(&manifest))
            .output()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("{manifest}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        packages.extend(decode(&text).ok_or("cargo metadata answered something else than JSON")?);
    }
    Ok(packages)
}

/// The packages in an answer of `cargo metadata --no-deps`.
fn decode(text: &str) -> Option<Vec<Package>> {
    Json::parse(text)?.get("packages")?.list().iter().map(package).collect()
}

fn package(json: &Json) -> Option<Package> {
    let folder = Path::new(json.get("manifest_path")?.text()?).parent()?;
    let dependencies = json.get("dependencies")?.list().iter().map(dependency);
    Some(Package { name: folder_name(folder)?, dependencies: dependencies.collect::<Option<_>>()? })
}

fn dependency(json: &Json) -> Option<Dependency> {
    let dev = json.get("kind")?.text() == Some("dev");
    Some(match json.get("path").and_then(Json::text) {
        Some(path) => Dependency { name: folder_name(Path::new(path))?, own: true, dev },
        None => Dependency { name: json.get("name")?.text()?.to_owned(), own: false, dev },
    })
}

fn folder_name(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_own_from_foreign_and_tests_from_the_rest() {
        let text = r#"{"packages": [{
            "name": "olivine-engine", "manifest_path": "/somewhere/crates/engine/Cargo.toml",
            "dependencies": [
                {"name": "olivine-vfs", "kind": null, "path": "/somewhere/crates/vfs"},
                {"name": "loom", "kind": null, "target": "cfg(loom)"},
                {"name": "olivine-testkit", "kind": "dev", "path": "/somewhere/crates/testkit"}
            ]}]}"#;
        let arrow = |name: &str, own, dev| Dependency { name: name.into(), own, dev };
        let engine = Package {
            name: "engine".into(),
            dependencies: vec![
                arrow("vfs", true, false),
                arrow("loom", false, false),
                arrow("testkit", true, true),
            ],
        };
        assert_eq!(decode(text), Some(vec![engine]));
    }
}
