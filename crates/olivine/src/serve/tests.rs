//! What calls of the roles come to.

use super::*;
use std::{ffi::OsString, path::Path};

fn read(line: &str) -> Result<Settings, String> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let call = Call::parse(&COMMAND, &arguments)?;
    both(&call).map_err(|failure| failure.text().to_owned())
}

#[test]
fn the_flags_of_the_sources_are_taken() {
    let settings =
        read("json --host 127.0.0.2 --port 8081 --data-dir d --memtable-size 5000").unwrap();
    assert_eq!(settings.doors.len(), 1);
    assert_eq!(settings.doors[0].address, "127.0.0.2:8081".parse().unwrap());
    assert!(settings.doors[0].asked);
    assert_eq!(settings.data_dir, Path::new("d"));
    assert_eq!(settings.memtable_entries_max, Some(5000));
}

#[test]
fn doors_are_where_they_are_put() {
    let settings =
        read("--doors http,line --bind ::1 --line-port 0 --http-bind localhost").unwrap();
    let addresses: Vec<String> =
        settings.doors.iter().map(|door| format!("{} {}", door.address, door.asked)).collect();
    assert_eq!(addresses, ["127.0.0.1:8080 false", "[::1]:0 true"]);
}

#[test]
fn what_is_wrong_is_told_with_its_flag() {
    for (line, told) in [
        ("--port 1", "`--port` is for one door"),
        ("jsn", "no door `jsn`; there are json, line, http"),
        ("--doors jsn", "`--doors` names no door `jsn`; there are json, line, http"),
        ("json --doors line", "not both"),
        ("--bind here", "`--bind` wants an address"),
        ("--json-port 70000", "`--json-port` wants a number"),
        ("--durability often", "`--durability` wants sync, os, interval"),
        ("--durability interval=5", "`--durability` wants sync, os, interval"),
        ("--backup-idle 5", "`--backup-idle` wants 30s or 5m"),
        ("--backup-idle 0s", "`--backup-idle` wants 30s or 5m"),
        ("--key-bytes-max 1MiB", "`--key-bytes-max` may be 65526 at most"),
        ("--jason-port 1", "no option `--jason-port`"),
        ("--idle-time-max 5", "`--idle-time-max` wants a time such as 500ms, 30s or 5m, not `5`"),
        ("--idle-time-max 0s", "`--idle-time-max` may be 10ms to 1440m"),
        ("--drain-time-max 1441m", "`--drain-time-max` may be 10ms to 1440m"),
        ("--connect-time-max 1s", "no option `--connect-time-max`"),
    ] {
        let what = read(line).map(|_| ()).unwrap_err();
        assert!(what.contains(told), "{line}: {what}");
    }
}

/// Two calls come to the same settings; a port that was asked for may differ in that alone.
pub(crate) fn same_but_for_who_asked(first: &Call, second: &Call) {
    let settings = |call: &Call| {
        let mut settings = both(call).unwrap();
        for door in &mut settings.doors {
            door.asked = false;
        }
        format!("{settings:?}")
    };
    assert_eq!(settings(first), settings(second));
}

#[test]
fn durability_has_an_interval() {
    let read = |line| read(line).map(|settings| (settings.durability, settings.interval));
    let second = Duration::from_secs(1);
    assert_eq!(read(""), Ok((Durability::Sync, second)));
    assert_eq!(read("--durability os"), Ok((Durability::Os, second)));
    assert_eq!(read("--durability interval"), Ok((Durability::Interval, second)));
    let half = Duration::from_millis(500);
    assert_eq!(read("--durability interval=500ms"), Ok((Durability::Interval, half)));
}
