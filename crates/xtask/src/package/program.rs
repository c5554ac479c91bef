//! The program, linked in two ways.
//!
//! 1. For a system that has a C library it uses that one: to look up names, glibc loads libraries of the
//!    system, and in a program with a glibc of its own those of another release end the process.
//! 2. For an image it is linked statically and needs no file of the system: names of hosts are looked up by
//!    what glibc has built in, in `/etc/hosts` and by DNS. What would take libraries there all the same (names
//!    of users, other character sets) nothing asks for.
//! 3. The statically linked one has a target folder of its own, so that the usual build stays as it is.

use super::{Site, Trouble, ran, tried};
use crate::test::RELEASE;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Functions of the C library that load libraries at run time, for what nobody here needs.
const OF_LIBRARIES: &[&str] = &["getpwnam", "getpwnam_r", "getpwuid_r", "getgrnam_r", "iconv_open"];

/// Builds the program as it is shipped, for systems with a C library, in the usual target folder.
pub(super) fn shared(site: &Site<'_>) -> Result<(), Trouble> {
    let target = site.root.join("target");
    let mut cargo = Command::new("cargo");
    // The same as other steps of the tests have built already.
    ran(cargo.current_dir(site.root).args(RELEASE).env("CARGO_TARGET_DIR", target)).map(|_said| ())
}

/// The statically linked program, with its symbols.
pub(super) fn alone(site: &Site<'_>) -> Result<PathBuf, Trouble> {
    let target = host()?;
    let folder = if site.quick { "target/static-quick" } else { "target/static" };
    let target_folder = site.root.join(folder);
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(site.root)
        .args(["build", "--release", "--locked", "--package", "olivine", "--bin", "olivine"])
        .args(["--target", &target])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", &target_folder);
    if site.quick {
        // What is packaged quickly is not handed out: how fast it is does not count.
        cargo.envs([
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
        ]);
    }
    ran(&mut cargo)?;
    let path = target_folder.join(&target).join("release/olivine");
    stands_alone(&path)?;
    Ok(path)
}

/// What the compiler builds for by itself, which must be Linux with glibc.
fn host() -> Result<String, Trouble> {
    let text = ran(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    if host.ends_with("-linux-gnu") {
        return Ok(host.to_owned());
    }
    Err(Trouble::Missing {
        why: format!("packages are made on Linux with glibc, not on {host}"),
        remedy: "run it there".to_owned(),
    })
}

/// Whether a program with its symbols needs nothing beside itself.
fn stands_alone(path: &Path) -> Result<(), Trouble> {
    needs_nothing(path)?;
    let symbols = ran(Command::new("nm").arg("--defined-only").arg(path))?;
    match of_libraries(&symbols) {
        None => Ok(()),
        Some(name) => Err(Trouble::failed(format!(
            "{} calls `{name}`, which needs libraries of the system that an image does not have; do \
             without it",
            path.display()
        ))),
    }
}

/// Whether a program is loaded without any library.
pub(super) fn needs_nothing(path: &Path) -> Result<(), Trouble> {
    // What it says of those is an error of its own with some versions, and none with others.
    let (_, needs) = tried(Command::new("ldd").arg(path))?;
    if !["statically linked", "not a dynamic executable"].iter().any(|alone| needs.contains(alone))
    {
        let text = format!("{} is not linked statically; ldd says: {needs}", path.display());
        return Err(Trouble::failed(text));
    }
    Ok(())
}

/// A function among `symbols`, as nm lists them, that loads libraries.
fn of_libraries(symbols: &str) -> Option<&str> {
    let names = symbols.lines().filter_map(|line| line.rsplit(' ').next());
    names.filter(|name| OF_LIBRARIES.contains(name)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_libraries_is_found() {
        let fine = "0000000000001000 T main\n0000000000002000 t getpwnam_of_ours\n";
        assert_eq!(of_libraries(fine), None);
        let bad = format!("{fine}000000000054f1b0 T getpwnam\n");
        assert_eq!(of_libraries(&bad), Some("getpwnam"));
    }
}
