//! Where the output of a service goes; its events go to a log of their own, which it looks after itself.
//!
//! 1. What an earlier process wrote stays: the file is appended to, and one that has grown too large is put aside
//!    before the next begins.
//! 2. No more than `KEPT` old files stay.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use olivine_vfs::{Open, RealVfs, Vfs as _, make_dirs, open_output};

/// One that has grown beyond this is put aside.
const BYTES_MAX: u64 = 1 << 20;
/// How many old ones stay.
const KEPT: usize = 3;
/// How much of its end is shown.
const TAIL: (u64, usize) = (4 << 10, 10);

/// Opens a file behind what is there. Returns also how much that is.
pub(super) fn open(path: &Path) -> io::Result<(OwnedFd, u64)> {
    make_dirs(&RealVfs, path.parent().unwrap_or(Path::new(".")))?;
    if BYTES_MAX < bytes(path) {
        for nth in (1..KEPT).rev() {
            match RealVfs.rename(&old(path, nth), &old(path, nth + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        RealVfs.rename(path, &old(path, 1))?;
    }
    let output = open_output(path)?;
    Ok((output, bytes(path)))
}

fn bytes(path: &Path) -> u64 {
    RealVfs.entry(path).ok().flatten().map_or(0, |entry| entry.bytes)
}

/// The name of the nth last.
fn old(path: &Path, nth: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{nth}"));
    name.into()
}

/// The last lines behind the first `start` bytes of a file.
pub(super) fn tail(path: &Path, start: u64) -> Vec<String> {
    let (bytes_max, lines_max) = TAIL;
    let start = start.max(bytes(path).saturating_sub(bytes_max));
    let mut text = vec![0; bytes_max as usize];
    let read = RealVfs.open(path, Open::Read).and_then(|file| file.read_at(&mut text, start));
    text.truncate(read.unwrap_or(0));
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(lines_max);
    lines[first..].iter().map(|line| line.replace(|c: char| c.is_control(), " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        RealVfs.remove_file(path).ok();
        RealVfs.open(path, Open::Create).unwrap().write_at(text.as_bytes(), 0).unwrap();
    }

    #[test]
    fn a_log_that_has_grown_is_put_aside_and_three_stay() {
        let dir = std::env::temp_dir().join(format!("olivine-log-{}", std::process::id()));
        let path = dir.join("log").join("kv.log");
        for round in 0..6 {
            let (output, before) = open(&path).unwrap();
            drop(output);
            assert_eq!(before, 0, "round {round}");
            write(&path, &format!("round {round}\n"));
            let file = RealVfs.open(&path, Open::Write).unwrap();
            file.set_len(BYTES_MAX + 1).unwrap();
        }
        let names: Vec<_> = RealVfs.list(path.parent().unwrap()).unwrap();
        let names: Vec<_> = names.iter().map(|entry| entry.name.to_str().unwrap()).collect();
        assert_eq!(names, ["kv.log", "kv.log.1", "kv.log.2", "kv.log.3"]);
        let begin = |nth: usize| {
            let path = if nth == 0 { path.clone() } else { old(&path, nth) };
            let mut text = [0; 7];
            RealVfs.open(&path, Open::Read).unwrap().read_at(&mut text, 0).unwrap();
            String::from_utf8(text.to_vec()).unwrap()
        };
        assert_eq!([begin(0), begin(1), begin(3)], ["round 5", "round 4", "round 2"]);
        for name in names {
            RealVfs.remove_file(&dir.join("log").join(name)).unwrap();
        }
        let (output, _) = open(&path).unwrap();
        drop(output);
        write(&path, &(0..20).fold(String::new(), |text, nth| text + &format!("line {nth}\n")));
        let lines = tail(&path, 0);
        assert_eq!((lines.len(), lines[0].as_str(), lines[9].as_str()), (10, "line 10", "line 19"));
        assert_eq!(tail(&path, bytes(&path) - 8), ["line 19"]);
        assert_eq!(tail(&path, bytes(&path)), [""; 0]);
        RealVfs.remove_file(&path).unwrap();
        RealVfs.remove_dir(&dir.join("log")).unwrap();
        RealVfs.remove_dir(&dir).unwrap();
    }
}
