//! Client libraries from PyPI, as their documentation shows them. `cargo xtask test --only clients` installs them, as
//! `tests/libraries/requirements.txt` has it, and names in `LIBRARIES_PYTHON` the Python that has them.

mod tiering;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Dir, node::Node, text};

/// The Python that has the libraries.
fn interpreter() -> PathBuf {
    let python = env::var_os("LIBRARIES_PYTHON");
    python.expect("`cargo xtask test --only clients` says which Python has the libraries").into()
}

/// Runs a script with the port of a door in a variable; it must come to its end.
fn python(node: &Node, (variable, door): (&str, &str), script: &str) {
    let script = format!("{script}\nprint('done')\n");
    let mut command = Command::new(interpreter());
    command.args(["-W", "ignore", "-c", &script]).env(variable, node.port(door));
    let output = command.output().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out == "done\n", "{out}{error}");
}

/// The door of time series.
const INFLUX: (&str, &str) = ("INFLUX", "influx");
/// The master of blobs.
const BLOB: (&str, &str) = ("BLOB", "blob");

/// `influxdb`, for version 1.
#[test]
#[ignore = "needs influxdb from PyPI; `cargo xtask test --only clients`"]
fn influxdb_from_pypi_writes_and_asks() {
    let dir = Dir::new("libraries-influxdb");
    let node = Node::start(&dir, &[]);
    python(&node, INFLUX, include_str!("../libraries/influxdb.py"));
}

/// `influxdb-client`, for version 2: its writes, since Flux is not spoken.
#[test]
#[ignore = "needs influxdb-client from PyPI; `cargo xtask test --only clients`"]
fn influxdb_client_from_pypi_writes() {
    let dir = Dir::new("libraries-influxdb-client");
    let node = Node::start(&dir, &[]);
    python(&node, INFLUX, include_str!("../libraries/influxdb_client.py"));
}

/// A node whose blobs speak as S3, to who signs with `olivine` and `secret`.
fn of_s3(dir: &Dir, more: &[&str]) -> Node {
    let keys = format!("{}.keys", dir.path());
    fs::write(&keys, "olivine secret\n").unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    command.args(["serve", "--doors", "blob,volume", "--data-dir", dir.path()]);
    command.args(["--memory", "16MiB", "--blob-port", "0", "--volume-port", "0"]);
    command.args(["--manner", "s3", "--s3-keys", &keys]).args(more);
    let node = Node::from(command.stdout(Stdio::piped()));
    fs::remove_file(&keys).unwrap();
    node
}

/// `boto3`, the library of S3 itself.
#[test]
#[ignore = "needs boto3 from PyPI; `cargo xtask test --only clients`"]
fn boto3_from_pypi_does_a_days_work() {
    let dir = Dir::new("libraries-boto3");
    let node = of_s3(&dir, &[]);
    python(&node, BLOB, include_str!("../libraries/boto3_client.py"));
}

/// The same over TLS, where it says otherwise what its bytes come to.
#[test]
#[ignore = "needs boto3 from PyPI; `cargo xtask test --only clients`"]
fn boto3_from_pypi_does_the_same_over_tls() {
    let dir = Dir::new("libraries-boto3-tls");
    let node = of_s3(&dir, &["--tls", "auto"]);
    let script = include_str!("../libraries/boto3_client.py");
    python(&node, BLOB, &format!("import os\nos.environ['SCHEME'] = 'https'\n{script}"));
}

/// Files of a few lengths, in folders.
fn tree(dir: &Path) {
    for (name, bytes) in [
        ("a.txt", 7),
        ("empty", 0),
        ("deep/er/b ä+&.bin", 70_000),
        ("deep/c", 300_000),
        ("long", 20 << 20),
    ] {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let value: Vec<u8> = (0..bytes).map(|n: u32| (n.wrapping_mul(n) >> 7) as u8).collect();
        fs::write(path, value).unwrap();
    }
}

/// What a shell command prints that finds the master in `$BLOB`, and S3's keys where clients look for them.
fn sh(node: &Node, dir: &Dir, script: &str) -> String {
    let bin = interpreter().parent().unwrap().to_owned();
    let path = env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(dir.path())
        .env("HOME", dir.path())
        // A machine may have an authority of its own; the node has none here.
        .env_remove("AWS_CA_BUNDLE")
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("BLOB", node.port("blob"))
        .envs([("AWS_ACCESS_KEY_ID", "olivine"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .envs([("AWS_DEFAULT_REGION", "us-east-1"), ("PYTHONWARNINGS", "ignore")])
        .output()
        .unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}: {out}{error}");
    out.to_owned()
}

/// `aws s3`, as people use it.
#[test]
#[ignore = "needs awscli from PyPI; `cargo xtask test --only clients`"]
fn aws_from_pypi_brings_a_tree_there_and_back() {
    let dir = Dir::new("libraries-awscli");
    let node = of_s3(&dir, &[]);
    tree(&Path::new(dir.path()).join("tree"));
    let script = r#"
        aws() { command aws --endpoint-url "http://localhost:$BLOB" "$@"; }
        aws s3 mb s3://trees
        aws s3 sync --only-show-errors tree s3://trees/one
        test -z "$(aws s3 sync tree s3://trees/one)" || { echo "it was there already"; exit 1; }
        aws s3 ls s3://trees/one/ | awk '{ print $NF, $(NF - 1) }'
        aws s3 sync --only-show-errors s3://trees/one back
        diff -r tree back
        aws s3 cp --only-show-errors --recursive s3://trees/one s3://trees/two
        aws s3 ls --recursive --summarize s3://trees/two | tail -2
        rm tree/a.txt
        aws s3 sync --only-show-errors --delete tree s3://trees/one
        aws s3 cp --only-show-errors s3://trees/one/deep/c - | cmp - tree/deep/c
        head -c 9000000 tree/long | aws s3 cp --only-show-errors - s3://trees/piped
        aws s3api head-object --bucket trees --key piped --query ContentLength
        curl -sSf "$(aws s3 presign s3://trees/piped)" | cmp -n 9000000 - tree/long
        aws s3 rm --only-show-errors --recursive s3://trees
        aws s3 rb s3://trees
    "#;
    let told = sh(&node, &dir, script);
    let told: Vec<_> =
        told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "make_bucket: trees",
        "deep/ PRE",
        "a.txt 7",
        "empty 0",
        "long 20971520",
        "Total Objects: 5",
        "Total Size: 21341527",
        "9000000",
        "remove_bucket: trees",
    ];
    assert_eq!(told, expected);
}

/// `rclone` of Debian, which looks at what it brought.
#[test]
#[ignore = "needs rclone; `cargo xtask test --only clients`"]
fn rclone_copies_and_compares() {
    let dir = Dir::new("libraries-rclone");
    let node = of_s3(&dir, &[]);
    tree(&Path::new(dir.path()).join("tree"));
    let script = r#"
        export RCLONE_CONFIG_OURS_TYPE=s3 RCLONE_CONFIG_OURS_PROVIDER=Other RCLONE_CONFIG_OURS_ENV_AUTH=true
        export RCLONE_CONFIG_OURS_ENDPOINT="http://localhost:$BLOB" RCLONE_S3_UPLOAD_CUTOFF=6M RCLONE_S3_CHUNK_SIZE=5M
        rclone mkdir ours:trees
        rclone copy tree ours:trees/one
        rclone check tree ours:trees/one
        rclone check --download tree ours:trees/one
        rclone copy ours:trees/one back
        diff -r tree back
        rclone sync ours:trees/one ours:trees/two
        rclone delete ours:trees/two/deep
        rclone lsf -R --files-only ours:trees | sort
        rclone moveto ours:trees/one/a.txt ours:trees/b.txt
        rclone cat ours:trees/b.txt | cmp - tree/a.txt
        rclone purge ours:trees
        rclone lsd ours:
    "#;
    let told = sh(&node, &dir, script);
    let expected = "one/a.txt\none/deep/c\none/deep/er/b ä+&.bin\none/empty\none/long\ntwo/a.txt\ntwo/empty\ntwo/long\n";
    assert_eq!(told, expected);
}
