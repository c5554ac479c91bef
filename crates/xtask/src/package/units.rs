//! The units of systemd.
//!
//! 1. systemd finds nothing to say about them.
//! 2. What a unit may do beyond what its program needs stays as little as it is: the exposure that
//!    systemd-analyze computes does not grow unnoticed.

use super::{Site, Trouble, empty, ran};
use std::{fs, path::Path, process::Command};

/// The units, and the exposure, in tenths, that each may have: 0 is a unit that may do nothing, 100 one that may do all.
pub(super) const UNITS: &[(&str, u32)] = &[
    ("olivine.service", 14),
    ("olivine-storage.service", 5),
    ("olivine-coordinator.service", 12),
    ("olivine-insert.service", 14),
    ("olivine-select.service", 12),
];

/// Where the program is in a package.
pub(super) const PROGRAM: &str = "/usr/bin/olivine";

pub(super) fn check(site: &Site<'_>) -> Result<Vec<String>, Trouble> {
    let folder = site.scratch.join("units");
    empty(&folder)?;
    let mut lines = Vec::new();
    for (name, exposure_max) in UNITS {
        let text = read(&site.root.join("packaging").join(name))?;
        // A program that is not there is a finding, and ours is not, until it is installed.
        let text = text.replace(PROGRAM, "/bin/true");
        let copy = folder.join(name);
        fs::write(&copy, text).map_err(Trouble::io("write", &copy))?;
        let found = ran(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy))?;
        // It is also content, and says so, with settings that it does not know.
        if let Some(line) = found.lines().find(|line| line.contains(name)) {
            return Err(Trouble::failed(format!("packaging/{name}: {line}")));
        }
        let mut security = Command::new("systemd-analyze");
        let table = ran(security.args(["security", "--offline=yes", "--no-pager"]).arg(&copy))?;
        let Some(exposure) = exposure(&table) else {
            return Err(Trouble::failed(format!("systemd-analyze says no exposure of {name}")));
        };
        if *exposure_max < exposure {
            return Err(Trouble::failed(format!(
                "packaging/{name} has an exposure of {}, more than {}; `systemd-analyze security --offline=yes` \
                 says what of",
                tenths(exposure),
                tenths(*exposure_max)
            )));
        }
        lines.push(format!("{name}: exposure {} of 10", tenths(exposure)));
    }
    Ok(lines)
}

pub(super) fn read(path: &Path) -> Result<String, Trouble> {
    fs::read_to_string(path).map_err(Trouble::io("read", path))
}

/// The command line of a unit.
pub(super) fn command_line(unit: &str) -> Option<&str> {
    unit.lines().find_map(|line| line.strip_prefix("ExecStart="))
}

/// The exposure in tenths, of a table's last line: "→ Overall exposure level for a.service: 1.4 OK".
fn exposure(table: &str) -> Option<u32> {
    let (_, level) = table.lines().find_map(|line| line.split_once("Overall exposure level"))?;
    let number = level.split_once(": ")?.1.split(' ').next()?;
    let (whole, tenth) = number.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
}

fn tenths(exposure: u32) -> String {
    format!("{}.{}", exposure / 10, exposure % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposure_stands_in_the_last_line() {
        let table = "  NAME DESCRIPTION\n✓ User= ...\n\n→ Overall exposure level for a.service: 9.6 UNSAFE 😨\n";
        assert_eq!(exposure(table), Some(96));
        assert_eq!(exposure("nothing"), None);
        assert_eq!(tenths(14), "1.4");
    }

    #[test]
    fn the_command_line_of_a_unit() {
        let unit = "[Service]\nType=notify\nExecStart=/usr/bin/olivine serve\n";
        assert_eq!(command_line(unit), Some("/usr/bin/olivine serve"));
    }
}
