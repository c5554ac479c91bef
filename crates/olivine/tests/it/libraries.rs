//! Client libraries from PyPI, as their documentation shows them. `cargo xtask test --only clients` installs them, as
//! `tests/libraries/requirements.txt` has it, and names in `LIBRARIES_PYTHON` the Python that has them.

use std::{env, process::Command};

use crate::{Dir, node::Node, text};

/// Runs a script with the port of the door of time series in `$INFLUX`; it must come to its end.
fn python(node: &Node, script: &str) {
    let python = env::var_os("LIBRARIES_PYTHON");
    let python =
        python.expect("`cargo xtask test --only clients` says which Python has the libraries");
    let script = format!("{script}\nprint('done')\n");
    let mut command = Command::new(python);
    let output =
        command.args(["-W", "ignore", "-c", &script]).env("INFLUX", node.port("influx")).output();
    let output = output.unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out == "done\n", "{out}{error}");
}

/// `influxdb`, for version 1.
#[test]
#[ignore = "needs influxdb from PyPI; `cargo xtask test --only clients`"]
fn influxdb_from_pypi_writes_and_asks() {
    let dir = Dir::new("libraries-influxdb");
    let node = Node::start(&dir, &[]);
    python(&node, include_str!("../libraries/influxdb.py"));
}

/// `influxdb-client`, for version 2: its writes, since Flux is not spoken.
#[test]
#[ignore = "needs influxdb-client from PyPI; `cargo xtask test --only clients`"]
fn influxdb_client_from_pypi_writes() {
    let dir = Dir::new("libraries-influxdb-client");
    let node = Node::start(&dir, &[]);
    python(&node, include_str!("../libraries/influxdb_client.py"));
}
