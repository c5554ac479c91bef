//! What documents say is what there is.

use std::path::PathBuf;

use olivine_vfs::{EntryKind, Open, RealVfs, Vfs as _};

use super::{Dir, Running, access, push, settings};
use crate::{Door, EVENTS, LogLevel, METRICS};

/// The tables of events, metrics and rights in the document for operators are those of the code.
#[test]
fn documents_have_every_event_and_metric() {
    let mut events = "| event | level | what happened |\n|---|---|---|\n".to_owned();
    for event in EVENTS {
        let level = LogLevel::NAMES.iter().find(|(_, level)| *level == event.level).unwrap().0;
        push(&mut events, format_args!("| `{}` | {level} | {} |\n", event.name, event.what));
    }
    let mut metrics = "| metric | kind | labels | what it is |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let (name, kind, labels, help) = (metric.name, metric.kind(), metric.labels, metric.help);
        push(&mut metrics, format_args!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    let rights = access::table_of_rights();
    document("operating.md", &[("events", &events), ("metrics", &metrics), ("rights", &rights)]);
}

/// The tables of requests in the documents of the doors are those of the code.
#[test]
fn documents_have_every_request_of_the_doors() {
    use olivine_doors::taken::{HTTP, JSON, LINE, Taken};
    let mut json = "| command | members | answer |\n|---|---|---|\n".to_owned();
    for Taken { asked, with, answer } in JSON {
        push(&mut json, format_args!("| `{asked}` | {with} | {answer} |\n"));
    }
    document("protocols/json.md", &[("requests", &json)]);
    for (path, taken) in [("protocols/line.md", &LINE[..]), ("protocols/http.md", &HTTP)] {
        let mut table = "| request | answer |\n|---|---|\n".to_owned();
        for Taken { asked, answer, .. } in taken {
            push(&mut table, format_args!("| `{asked}` | {answer} |\n"));
        }
        document(path, &[("requests", &table)]);
    }
}

/// The table of S3's calls is that of the code.
#[test]
fn documents_have_every_call_of_s3() {
    let mut calls = "| call | what it does |\n|---|---|\n".to_owned();
    for (name, what) in olivine_s3::CALLS {
        push(&mut calls, format_args!("| `{name}` | {what} |\n"));
    }
    document("protocols/blobs.md", &[("calls", &calls)]);
}

/// A document has these tables where it says so; with REWRITE=1 it is made to.
fn document(path: &str, tables: &[(&str, &str)]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path);
    let file = RealVfs.open(&path, Open::Write).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let document = String::from_utf8(bytes).unwrap();
    let mut wanted = document.clone();
    for (what, table) in tables {
        let mark = wanted.find(&format!("<!-- {what}: ")).unwrap();
        let start = mark + wanted[mark..].find("-->\n").unwrap() + 4;
        let end = start + wanted[start..].find("<!-- end -->").unwrap();
        wanted.replace_range(start..end, table);
    }
    if std::env::var_os("REWRITE").is_some() {
        file.write_at(wanted.as_bytes(), 0).unwrap();
        file.set_len(wanted.len() as u64).unwrap();
    } else {
        let name = path.display();
        assert!(
            document == wanted,
            "{name}: run this test with REWRITE=1, and read the difference"
        );
    }
}

/// Events are told by the names of the list, at the levels of the list, and all of them are told somewhere.
#[test]
fn events_are_those_of_the_list() {
    let mut told = std::collections::BTreeSet::new();
    let mut dirs = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in RealVfs.list(&dir).unwrap() {
            let path = dir.join(&entry.name);
            match entry.kind {
                EntryKind::Dir => dirs.push(path),
                _ => told.extend(events_of(&path)),
            }
        }
    }
    let listed = EVENTS.iter().map(|event| {
        let level = LogLevel::NAMES.iter().find(|(_, level)| *level == event.level).unwrap().0;
        (event.name.to_owned(), level.to_owned())
    });
    assert_eq!(told.into_iter().collect::<Vec<_>>(), {
        let mut listed: Vec<_> = listed.collect();
        listed.sort();
        listed
    });
}

/// The events that a source file tells, its tests left out, with their levels.
fn events_of(path: &std::path::Path) -> Vec<(String, String)> {
    let file = RealVfs.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let mut told = Vec::new();
    for call in code.split("tracing::").skip(1) {
        let Some((level, rest)) = call.split_once("!(") else { continue };
        if let Some(named) = rest.trim_start().strip_prefix("event = \"") {
            told.push((named.split('"').next().unwrap().to_owned(), level.to_owned()));
        }
    }
    if path.ends_with("log/line.rs") {
        // It is made where the queue is written, past all levels.
        told.push(("lines_lost".to_owned(), "warn".to_owned()));
    }
    told
}

/// Every path and method of the document is answered, and every method that it does not have is not.
#[test]
fn the_document_for_programs_says_what_there_is() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let document = node.http(Door::Http, "GET", "/openapi.json", "").1;
    let lines: Vec<&str> = document.lines().collect();
    let mut checked = 0;
    for (place, line) in lines.iter().enumerate() {
        let Some(path) = line.strip_prefix("    \"/").and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let end = lines[place + 1..].iter().position(|line| line.starts_with("    \"/"));
        let section = lines[place..end.map_or(lines.len(), |end| place + 1 + end)].concat();
        let path = path.replace("{key}", "a").replace("{id}", "1").replace("{file}", "0");
        let path = format!("/{path}");
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
            let listed = section.contains(&format!("\"{}\":", method.to_lowercase()));
            let (status, _) = node.http(Door::Http, method, &path, "");
            let head_for_get =
                method == "HEAD" && !path.starts_with("/kv") && !path.starts_with("/backup");
            assert_eq!(listed || head_for_get, status != 405, "{method} {path}: {status}");
            checked += 1;
        }
    }
    assert_eq!(checked, 11 * 5);
}
