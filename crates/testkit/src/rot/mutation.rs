//! One change of one store on disk.
//!
//! 1. A change is told by a short text, and that text makes the same change again.

use olivine_vfs::{Open, Vfs};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// What is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// One bit changes.
    Flip {
        /// Which file.
        path: PathBuf,
        /// Which byte of it.
        offset: u64,
        /// Which bit of that, 0 to 7.
        bit: u8,
    },
    /// The file ends here.
    Truncate {
        /// Which file.
        path: PathBuf,
        /// Its length from now on.
        bytes: u64,
    },
    /// So many zeros stand behind it.
    Grow {
        /// Which file.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// A stretch is zeros.
    Zero {
        /// Which file.
        path: PathBuf,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: u64,
    },
    /// The file is gone.
    Delete(PathBuf),
    /// Two files have each other's name.
    Swap(PathBuf, PathBuf),
    /// A file stands also under the name of another, which is gone, or of one that never was.
    Copy(PathBuf, PathBuf),
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutation::Flip { path, offset, bit } => {
                write!(f, "flip:{}:{offset}:{bit}", path.display())
            }
            Mutation::Truncate { path, bytes } => write!(f, "truncate:{}:{bytes}", path.display()),
            Mutation::Grow { path, bytes } => write!(f, "grow:{}:{bytes}", path.display()),
            Mutation::Zero { path, offset, bytes } => {
                write!(f, "zero:{}:{offset}:{bytes}", path.display())
            }
            Mutation::Delete(path) => write!(f, "delete:{}", path.display()),
            Mutation::Swap(one, two) => write!(f, "swap:{}:{}", one.display(), two.display()),
            Mutation::Copy(from, to) => write!(f, "copy:{}:{}", from.display(), to.display()),
        }
    }
}

impl Mutation {
    /// Reads what a failure printed.
    pub fn parse(text: &str) -> Result<Mutation, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        Ok(match parts[..] {
            ["flip", path, offset, bit] => Mutation::Flip {
                path: path.into(),
                offset: number(offset)?,
                bit: (number(bit)? % 8) as u8,
            },
            ["truncate", path, bytes] => {
                Mutation::Truncate { path: path.into(), bytes: number(bytes)? }
            }
            ["grow", path, bytes] => Mutation::Grow { path: path.into(), bytes: number(bytes)? },
            ["zero", path, offset, bytes] => {
                Mutation::Zero { path: path.into(), offset: number(offset)?, bytes: number(bytes)? }
            }
            ["delete", path] => Mutation::Delete(path.into()),
            ["swap", one, two] => Mutation::Swap(one.into(), two.into()),
            ["copy", from, to] => Mutation::Copy(from.into(), to.into()),
            _ => return Err(format!("{text:?} is no change, such as flip:/store/CURRENT:3:7")),
        })
    }

    /// Makes the change.
    pub fn make(&self, disk: &dyn Vfs) -> io::Result<()> {
        match self {
            Mutation::Flip { path, offset, bit } => {
                let file = disk.open(path, Open::Write)?;
                let mut byte = [0];
                file.read_at(&mut byte, *offset)?;
                file.write_at(&[byte[0] ^ 1 << bit], *offset)
            }
            Mutation::Truncate { path, bytes } => disk.open(path, Open::Write)?.set_len(*bytes),
            Mutation::Grow { path, bytes } => {
                let file = disk.open(path, Open::Write)?;
                file.set_len(file.len()? + bytes)
            }
            Mutation::Zero { path, offset, bytes } => {
                disk.open(path, Open::Write)?.write_at(&vec![0; *bytes as usize], *offset)
            }
            Mutation::Delete(path) => disk.remove_file(path),
            Mutation::Swap(one, two) => {
                let aside = Path::new("/aside");
                disk.rename(one, aside)?;
                disk.rename(two, one)?;
                disk.rename(aside, two)
            }
            Mutation::Copy(from, to) => {
                let from = disk.open(from, Open::Read)?;
                let mut bytes = vec![0; from.len()? as usize];
                from.read_at(&mut bytes, 0)?;
                let to = match disk.open(to, Open::Create) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        disk.open(to, Open::Write)?
                    }
                    file => file?,
                };
                to.set_len(0)?;
                to.write_at(&bytes, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::MemoryVfs;

    fn disk() -> MemoryVfs {
        let disk = MemoryVfs::new();
        for (path, text) in [("/one", b"1111"), ("/two", b"2222")] {
            disk.open(Path::new(path), Open::Create).unwrap().write_at(text, 0).unwrap();
        }
        disk
    }

    fn read(disk: &MemoryVfs, path: &str) -> Option<String> {
        let file = disk.open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_change_is_made_as_its_text_says() {
        for (text, one, two) in [
            ("flip:/one:1:1", Some("1311"), Some("2222")),
            ("truncate:/one:1", Some("1"), Some("2222")),
            ("grow:/one:1", Some("1111\0"), Some("2222")),
            ("zero:/two:1:2", Some("1111"), Some("2\0\x002")),
            ("delete:/two", Some("1111"), None),
            ("swap:/one:/two", Some("2222"), Some("1111")),
            ("copy:/one:/two", Some("1111"), Some("1111")),
        ] {
            let disk = disk();
            let mutation = Mutation::parse(text).unwrap();
            assert_eq!(mutation.to_string(), text);
            mutation.make(&disk).unwrap();
            assert_eq!(read(&disk, "/one").as_deref(), one, "{text}");
            assert_eq!(read(&disk, "/two").as_deref(), two, "{text}");
        }
        assert!(Mutation::parse("flip:/one").is_err());
    }
}
