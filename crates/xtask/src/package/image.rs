//! The image of one file.
//!
//! 1. It is built by buildah in a storage of its own, which needs no engine and no privilege beyond root's.
//! 2. What the image is configured to run is what is tried: its command, by its user, in its root, where
//!    there is nothing else.

use super::{Site, Trouble, empty, program, ran, served::Served};
use crate::json::Json;
use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A name that the node has in its trial.
const HOST: &str = "packaged.test";
/// The user of the image; no name stands for the number.
const USER: u32 = 10001;

pub(super) fn make(site: &Site<'_>) -> Result<Vec<String>, Trouble> {
    as_root()?;
    let context = context(site)?;
    let buildah = Buildah { storage: site.scratch.join("storage") };
    let image = format!("localhost/olivine:{VERSION}");
    let recipe = site.root.join("packaging/Containerfile");
    let build = ["build", "--isolation", "chroot", "--format", "docker", "--tag", &image, "--file"];
    buildah.ran(build.iter().map(OsStr::new).chain([recipe.as_ref(), context.as_ref()]))?;
    let config = config(&buildah.ran(["inspect", "--type", "image", &image])?)?;
    let from = buildah.ran(["from", "--pull-never", &image])?;
    let container = from.trim();
    let mounted = buildah.ran(["mount", container])?;
    tried(Path::new(mounted.trim()), &config)?;
    buildah.ran(["rm", container])?;
    let archive = site.scratch.join(format!("olivine-{VERSION}-image.tar"));
    let place = format!("docker-archive:{}:olivine:{VERSION}", archive.display());
    buildah.ran(["push", &image, &place])?;
    let archive = site.hand_out(&archive)?;
    let bytes = fs::metadata(&archive).map_err(Trouble::io("look at", &archive))?.len();
    let name = archive.strip_prefix(site.root).unwrap_or(&archive).display();
    Ok(vec![format!("{name}: {} KiB, run in its root by user {USER}", bytes >> 10)])
}

fn as_root() -> Result<(), Trouble> {
    if ran(Command::new("id").arg("-u"))?.trim() == "0" {
        return Ok(());
    }
    Err(Trouble::Missing {
        why: "an image is built and tried as root, with a root of its own".to_owned(),
        remedy: "sudo --preserve-env=PATH,HOME cargo xtask package image".to_owned(),
    })
}

/// A folder with what goes into the image.
fn context(site: &Site<'_>) -> Result<PathBuf, Trouble> {
    let program = program::alone(site)?;
    let context = site.scratch.join("context");
    empty(&context)?;
    empty(&context.join("data"))?;
    let copy = context.join("olivine");
    // Names of functions stay: a report of a panic is worth them.
    ran(Command::new("strip").arg("--strip-debug").arg("-o").args([&copy, &program]))?;
    Ok(context)
}

/// buildah with everything it keeps in one folder.
struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    fn ran(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, Trouble> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.storage.join("root"));
        command.arg("--runroot").arg(self.storage.join("run"));
        ran(command.args(["--storage-driver", "vfs"]).args(arguments))
    }
}

/// What an image says it runs.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    user: String,
    /// The program and what it is given.
    command: Vec<String>,
    /// What asks whether it is well.
    health: Vec<String>,
}

/// Reads what buildah tells of an image, and refuses what should be there and is not.
fn config(inspected: &str) -> Result<Config, Trouble> {
    // buildah may warn before it answers.
    let json = inspected.find('{').and_then(|start| Json::parse(&inspected[start..]));
    let json = json.ok_or_else(|| Trouble::failed("buildah inspect answers no JSON"))?;
    let config = json.get("Docker").and_then(|docker| docker.get("config"));
    let config = config.ok_or_else(|| Trouble::failed("buildah inspect tells no config"))?;
    let words = |name: &str| -> Vec<String> {
        let list = config.get(name).map(Json::list).unwrap_or_default();
        list.iter().filter_map(Json::text).map(str::to_owned).collect()
    };
    let there =
        |group: &str, name: &str| config.get(group).and_then(|group| group.get(name)).is_some();
    for (group, name) in [
        ("Volumes", "/data"),
        ("ExposedPorts", "9999/tcp"),
        ("ExposedPorts", "7000/tcp"),
        ("ExposedPorts", "8080/tcp"),
    ] {
        if !there(group, name) {
            return Err(Trouble::failed(format!("the image has no {name} among its {group}")));
        }
    }
    let user = config.get("User").and_then(Json::text).unwrap_or_default().to_owned();
    if user != format!("{USER}:{USER}") {
        return Err(Trouble::failed(format!("the image runs as user `{user}`, not as {USER}")));
    }
    let health = config.get("Healthcheck").and_then(|health| health.get("Test"));
    let health = health.map(Json::list).unwrap_or_default().iter().filter_map(Json::text);
    let health: Vec<String> = health.skip_while(|word| *word == "CMD").map(str::to_owned).collect();
    if health.is_empty() {
        return Err(Trouble::failed("the image does not say how it is asked whether it is well"));
    }
    let command = [words("Entrypoint"), words("Cmd")].concat();
    Ok(Config { user, command, health })
}

/// Runs the image's command in its root.
fn tried(root: &Path, config: &Config) -> Result<(), Trouble> {
    let program = root.join("olivine");
    program::needs_nothing(&program)?;
    // What engines give a container, and all there is to look up names with.
    let hosts = root.join("etc/hosts");
    empty(&root.join("etc"))?;
    fs::write(&hosts, format!("127.0.0.1 {HOST}\n")).map_err(Trouble::io("write", &hosts))?;
    let kind = ran(Command::new("file").arg("--brief").arg(&program))?;
    if !kind.contains("static") {
        return Err(Trouble::failed(format!("file says of the image's program: {kind}")));
    }
    let inside = |words: &[String]| {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={}", config.user)).arg(root).args(words);
        command
    };
    let mut node = inside(&config.command);
    node.args(["--memory", "64MiB", "--json-port", "0", "--line-port", "0", "--http-port", "0"]);
    node.args(["--host-name", HOST]);
    let node = Served::start(&mut node)?;
    let status = PathBuf::from(format!("/proc/{}", node.process()));
    let user = fs::metadata(&status).map_err(Trouble::io("look at", &status))?.uid();
    if user != USER {
        return Err(Trouble::failed(format!("the node of the image runs as user {user}")));
    }
    node.keeps_what_it_is_given()?;
    let server = format!("http://{HOST}:{}", node.door("http")?.port());
    let words = ["/olivine", "backup", "--server", &server, "/data/backups"];
    ran(&mut inside(&words.map(str::to_owned)))?;
    let ask = || super::tried(&mut inside(&config.health));
    let (well, said) = ask()?;
    if !well {
        return Err(Trouble::failed(format!("the health check of the image fails: {said}")));
    }
    node.end()?;
    let (well, said) = ask()?;
    if well || !said.contains("cannot connect") {
        return Err(Trouble::failed(format!(
            "the health check finds a node that has ended: {said}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSPECTED: &str = r#"{"Docker": {"config": {
        "User": "10001:10001", "ExposedPorts": {"7000/tcp": {}, "8080/tcp": {}, "9999/tcp": {}},
        "Entrypoint": ["/olivine"], "Cmd": ["serve"], "Volumes": {"/data": {}},
        "Healthcheck": {"Test": ["CMD", "/olivine", "ping"]}}}}"#;

    #[test]
    fn an_image_says_what_it_runs() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let said = Config {
            user: "10001:10001".to_owned(),
            command: words("/olivine serve"),
            health: words("/olivine ping"),
        };
        assert_eq!(config(INSPECTED), Ok(said));
    }

    #[test]
    fn an_image_without_what_it_should_have_is_refused() {
        for (there, instead, said) in [
            ("10001:10001", "", "the image runs as user ``"),
            ("\"/data\"", "\"/dada\"", "the image has no /data among its Volumes"),
            ("9999/tcp", "999/tcp", "the image has no 9999/tcp among its ExposedPorts"),
            ("Healthcheck", "Health", "the image does not say how it is asked"),
        ] {
            assert!(INSPECTED.contains(there));
            match config(&INSPECTED.replace(there, instead)) {
                Err(Trouble::Failed(lines)) => assert!(lines[0].starts_with(said), "{lines:?}"),
                other => panic!("{there}: {other:?}"),
            }
        }
    }
}
