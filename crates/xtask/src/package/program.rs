//! The statically linked program.
//!
//! 1. It needs no file of the system to run, and in particular nothing that looks up names: what glibc
//!    has for that loads libraries also in a program that is linked statically.
//! 2. It has a target folder of its own, so that the usual build stays as it is.

use super::{Site, Trouble, ran, tried};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What was built.
pub(super) struct Program {
    /// The file, with what a debugger wants to know.
    pub(super) path: PathBuf,
    /// What it was built for.
    pub(super) target: String,
    pub(super) target_folder: PathBuf,
    /// What to say of it.
    pub(super) told: String,
}

/// Functions of the C library that load libraries at run time, to look up names of hosts and users.
const OF_NAME_SERVICE: &[&str] = &[
    "getaddrinfo",
    "gethostbyname",
    "gethostbyname_r",
    "getnameinfo",
    "getpwnam",
    "getpwnam_r",
    "getpwuid_r",
    "getgrnam_r",
    "getservbyname",
    "iconv_open",
];

pub(super) fn build(site: &Site<'_>) -> Result<Program, Trouble> {
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
    let bytes = fs::metadata(&path).map_err(Trouble::io("look at", &path))?.len();
    let told = format!("program: linked statically for {target}, {} MiB with symbols", bytes >> 20);
    Ok(Program { path, target, target_folder, told })
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
    match of_name_service(&symbols) {
        None => Ok(()),
        Some(name) => Err(Trouble::failed(format!(
            "{} looks up names with `{name}`, which needs libraries of the system that an image does not \
             have; take addresses only",
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

/// A function among `symbols`, as nm lists them, that looks up names.
fn of_name_service(symbols: &str) -> Option<&str> {
    let names = symbols.lines().filter_map(|line| line.rsplit(' ').next());
    names.filter(|name| OF_NAME_SERVICE.contains(name)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_up_names_is_found() {
        let fine = "0000000000001000 T main\n0000000000002000 t getaddrinfo_of_ours\n";
        assert_eq!(of_name_service(fine), None);
        let bad = format!("{fine}000000000054f1b0 T getaddrinfo\n");
        assert_eq!(of_name_service(&bad), Some("getaddrinfo"));
    }
}
