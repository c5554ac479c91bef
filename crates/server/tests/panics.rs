//! A panic as an operator finds it. In a process of its own, because a process has one log.

use std::{path::PathBuf, thread};

use olivine_server::{Log, LogFileSettings, LogFormat, LogLevel};
use olivine_vfs::{Open, RealVfs, Vfs as _};

#[test]
fn a_panic_is_one_line_whatever_it_says() {
    let dir = std::env::temp_dir().join(format!("olivine-panics-{}", std::process::id()));
    let path: PathBuf = dir.join("node.log");
    let (bytes_max, files_max) = (LogFileSettings::BYTES_MAX, LogFileSettings::FILES_MAX);
    let settings = LogFileSettings { path: path.clone(), bytes_max, files_max };
    let log = Log::to_file(LogFormat::Json, LogLevel::Error, &settings).unwrap();
    let second = Log::to_writer(LogFormat::Json, LogLevel::Error, std::io::sink());
    assert!(second.unwrap_err().to_string().contains("written already"));
    let panics = || panic!("no {}\r\n\x1b[31m{}", "answer", "k".repeat(9_999));
    let thread = thread::Builder::new().name("worker-7".to_owned()).spawn(panics).unwrap();
    thread.join().unwrap_err();

    // What fails from here on is told as tests tell it.
    drop(std::panic::take_hook());
    // It was written before the thread ended: a process that dies of it has told so.
    let file = RealVfs.open(&path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "\"event\":\"panicked\"",
        "\"thread\":\"worker-7\"",
        "panics.rs:",
        "\"what\":\"no answer\\\\r\\\\n\\\\x1b[31mkkk",
        "kkk…(10015 bytes)\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.len() < 600, "{text}");
    drop(log);
    for entry in RealVfs.list(&dir).unwrap() {
        RealVfs.remove_file(&dir.join(entry.name)).unwrap();
    }
    RealVfs.remove_dir(&dir).unwrap();
}
