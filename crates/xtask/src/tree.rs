//! The files of the repository, read once; rules look at these and never at the disk.
//!
//! 1. Paths are relative to the root and have `/` between their parts.
//! 2. Build outputs and the version control's own files are not part of it.
//! 3. Files are ordered by path, so that findings come in the same order everywhere.

use std::{fs, io, path::Path};

/// Folders that hold no sources, wherever they stand.
const FOLDERS_SKIPPED: &[&str] = &[".git", "target"];

/// Larger files are data, not text that someone wrote.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// All files of the repository.
pub(crate) struct Tree {
    files: Vec<File>,
}

/// One file; `text` is empty for what is not text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether the name ends in `.extension`.
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

impl Tree {
    /// Reads everything below `root`.
    pub(crate) fn read(root: &Path) -> io::Result<Tree> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree { files })
    }

    /// A tree made of `(path, text)`, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let file = |&(path, text): &(&str, &str)| File { path: path.into(), text: text.into() };
        Tree { files: files.iter().map(file).collect() }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files whose name ends in `.extension`.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.is(extension))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether a file or a folder stands at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&below))
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // `data` at the root is where a store stands when someone tries the program out.
            if !FOLDERS_SKIPPED.contains(&name.as_str()) && path != "data" {
                read_folder(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if kind.is_file() {
            let small = entry.metadata()?.len() <= TEXT_BYTES_MAX;
            let text = if small { fs::read(entry.path())? } else { Vec::new() };
            files.push(File { path, text: String::from_utf8(text).unwrap_or_default() });
        }
    }
    Ok(())
}
