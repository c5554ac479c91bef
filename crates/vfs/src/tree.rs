//! Names in memory: directories of files and directories.
//!
//! A step that changes names is first planned as a [`Change`] and then applied, so that a disk which
//! forgets can apply it to what it shows and, perhaps never, to what will be found after a crash.
//!
//! 1. Planning finds every reason to refuse; applying a planned change cannot fail.
//! 2. A directory is told by a number that is never used again, so a change means the same
//!    directory however it is called by then.
//! 3. A file may have several names, a directory has one; there are no symbolic links, so a path has one
//!    meaning, and `..` goes to the parent.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
    sync::Arc,
};

use rustix::io::Errno;

use crate::{Entry, EntryKind};

/// The number of a directory.
pub(crate) type DirId = u64;

/// The directory `/`.
pub(crate) const ROOT: DirId = 0;

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Node<F> {
    File(Arc<F>),
    Dir(DirId),
}

impl<F> Clone for Node<F> {
    fn clone(&self) -> Node<F> {
        match self {
            Node::File(file) => Node::File(Arc::clone(file)),
            Node::Dir(id) => Node::Dir(*id),
        }
    }
}

/// One name and what it stands for from now on; `None` takes it away.
#[derive(Debug)]
pub(crate) struct Set<F> {
    pub(crate) dir: DirId,
    pub(crate) name: OsString,
    pub(crate) node: Option<Node<F>>,
}

/// Names that change together or not at all.
pub(crate) type Change<F> = Vec<Set<F>>;

/// What a directory holds; shared between copies of a tree until one of them changes it.
type Names<F> = BTreeMap<OsString, Node<F>>;

/// All directories of a disk.
#[derive(Debug)]
pub(crate) struct Tree<F> {
    dirs: BTreeMap<DirId, Arc<Names<F>>>,
    next: DirId,
}

impl<F> Clone for Tree<F> {
    fn clone(&self) -> Tree<F> {
        Tree { dirs: self.dirs.clone(), next: self.next }
    }
}

/// Where a path ends: at the root, or at a name in a directory.
enum Place<'tree, 'path, F> {
    Root,
    Name { dir: DirId, name: &'path OsStr, node: Option<&'tree Node<F>> },
}

impl<F> Tree<F> {
    /// An empty disk: the root and nothing in it.
    pub(crate) fn new() -> Tree<F> {
        Tree { dirs: BTreeMap::from([(ROOT, Arc::default())]), next: ROOT + 1 }
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &Path) -> io::Result<&Arc<F>> {
        match self.place(path)? {
            Place::Root | Place::Name { node: Some(Node::Dir(_)), .. } => Err(Errno::ISDIR.into()),
            Place::Name { node: Some(Node::File(file)), .. } => Ok(file),
            Place::Name { node: None, .. } => Err(Errno::NOENT.into()),
        }
    }

    /// The directory at `path`.
    pub(crate) fn dir(&self, path: &Path) -> io::Result<DirId> {
        match self.place(path)? {
            Place::Root => Ok(ROOT),
            Place::Name { node: Some(Node::Dir(id)), .. } => Ok(*id),
            Place::Name { node: Some(Node::File(_)), .. } => Err(Errno::NOTDIR.into()),
            Place::Name { node: None, .. } => Err(Errno::NOENT.into()),
        }
    }

    /// What stands at `path`; `bytes` tells the length of a file.
    pub(crate) fn entry(
        &self,
        path: &Path,
        bytes: impl Fn(&F) -> u64,
    ) -> io::Result<Option<Entry>> {
        match self.place(path) {
            Ok(Place::Root) => Ok(Some(entry_of(OsStr::new("/"), &Node::Dir(ROOT), bytes))),
            Ok(Place::Name { name, node, .. }) => Ok(node.map(|node| entry_of(name, node, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything in a directory, ordered by name.
    pub(crate) fn list(&self, dir: &Path, bytes: impl Fn(&F) -> u64) -> io::Result<Vec<Entry>> {
        let names = self.names(self.dir(dir)?);
        Ok(names.map(|(name, node)| entry_of(name, node, &bytes)).collect())
    }

    /// A new name for `file`; refused when the name is taken.
    pub(crate) fn plan_create(&self, path: &Path, file: Arc<F>) -> io::Result<Change<F>> {
        let (dir, name) = self.free_name(path)?;
        Ok(vec![Set { dir, name, node: Some(Node::File(file)) }])
    }

    /// A new, empty directory; refused when the name is taken.
    pub(crate) fn plan_create_dir(&mut self, path: &Path) -> io::Result<Change<F>> {
        let (dir, name) = self.free_name(path)?;
        let id = self.next;
        self.next += 1;
        Ok(vec![Set { dir, name, node: Some(Node::Dir(id)) }])
    }

    /// Another name for what stands at `source`, in the place of what stands at `target`.
    pub(crate) fn plan_rename(&self, source: &Path, target: &Path) -> io::Result<Change<F>> {
        let Place::Name { dir, name, node } = self.place(source)? else {
            return Err(Errno::BUSY.into());
        };
        let node = node.ok_or(Errno::NOENT)?;
        let Place::Name { dir: target_dir, name: target_name, node: replaced } =
            self.place(target)?
        else {
            return Err(Errno::BUSY.into());
        };
        if (dir, name) == (target_dir, target_name) {
            return Ok(Vec::new());
        }
        match (node, replaced) {
            (Node::Dir(id), _) if self.is_within(target_dir, *id) => {
                return Err(Errno::INVAL.into());
            }
            (Node::File(_), Some(Node::Dir(_))) => return Err(Errno::ISDIR.into()),
            (Node::Dir(_), Some(Node::File(_))) => return Err(Errno::NOTDIR.into()),
            (Node::Dir(_), Some(Node::Dir(id))) if self.names(*id).next().is_some() => {
                return Err(Errno::NOTEMPTY.into());
            }
            (_, _) => {}
        }
        let gone = Set { dir, name: name.to_owned(), node: None };
        let name = target_name.to_owned();
        Ok(vec![gone, Set { dir: target_dir, name, node: Some(node.clone()) }])
    }

    /// A second name for the file at `source`; refused when the name is taken.
    pub(crate) fn plan_hard_link(&self, source: &Path, target: &Path) -> io::Result<Change<F>> {
        let file = match self.place(source)? {
            Place::Root | Place::Name { node: Some(Node::Dir(_)), .. } => {
                return Err(Errno::PERM.into());
            }
            Place::Name { node: None, .. } => return Err(Errno::NOENT.into()),
            Place::Name { node: Some(Node::File(file)), .. } => Arc::clone(file),
        };
        self.plan_create(target, file)
    }

    /// No more name for the file at `path`.
    pub(crate) fn plan_remove_file(&self, path: &Path) -> io::Result<Change<F>> {
        match self.place(path)? {
            Place::Root | Place::Name { node: Some(Node::Dir(_)), .. } => Err(Errno::ISDIR.into()),
            Place::Name { node: None, .. } => Err(Errno::NOENT.into()),
            Place::Name { dir, name, node: Some(Node::File(_)) } => {
                Ok(vec![Set { dir, name: name.to_owned(), node: None }])
            }
        }
    }

    /// No more name for the empty directory at `path`.
    pub(crate) fn plan_remove_dir(&self, path: &Path) -> io::Result<Change<F>> {
        match self.place(path)? {
            Place::Root => Err(Errno::BUSY.into()),
            Place::Name { node: None, .. } => Err(Errno::NOENT.into()),
            Place::Name { node: Some(Node::File(_)), .. } => Err(Errno::NOTDIR.into()),
            Place::Name { dir, name, node: Some(Node::Dir(id)) } => {
                if self.names(*id).next().is_some() {
                    return Err(Errno::NOTEMPTY.into());
                }
                Ok(vec![Set { dir, name: name.to_owned(), node: None }])
            }
        }
    }

    /// Makes a planned change.
    pub(crate) fn apply(&mut self, change: &[Set<F>]) {
        for set in change {
            if let Some(Node::Dir(id)) = set.node {
                self.dirs.entry(id).or_default();
                self.next = self.next.max(id + 1);
            }
            let names = Arc::make_mut(self.dirs.entry(set.dir).or_default());
            match &set.node {
                Some(node) => drop(names.insert(set.name.clone(), node.clone())),
                None => drop(names.remove(&set.name)),
            }
        }
    }

    /// The same names with other files behind them, as far as they can be reached from the root. Names
    /// of one file stand for one file again.
    pub(crate) fn map<G>(&self, mut change: impl FnMut(&Arc<F>) -> Arc<G>) -> Tree<G> {
        let mut dirs = BTreeMap::new();
        let mut changed: BTreeMap<*const F, Arc<G>> = BTreeMap::new();
        let mut waiting = vec![ROOT];
        while let Some(id) = waiting.pop() {
            let mut names = BTreeMap::new();
            for (name, node) in self.names(id) {
                let node = match node {
                    Node::File(file) => {
                        let made = changed.entry(Arc::as_ptr(file));
                        Node::File(Arc::clone(made.or_insert_with(|| change(file))))
                    }
                    Node::Dir(id) => {
                        waiting.push(*id);
                        Node::Dir(*id)
                    }
                };
                names.insert(name.clone(), node);
            }
            dirs.insert(id, Arc::new(names));
        }
        Tree { dirs, next: self.next }
    }

    /// Every file, those of directories that can no longer be reached included.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<F>> {
        self.dirs.values().flat_map(|names| names.values()).filter_map(|node| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        })
    }

    fn names(&self, id: DirId) -> impl Iterator<Item = (&OsString, &Node<F>)> {
        self.dirs.get(&id).into_iter().flat_map(|names| names.iter())
    }

    fn place<'path>(&self, path: &'path Path) -> io::Result<Place<'_, 'path, F>> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::ParentDir => drop(names.pop()),
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            }
        }
        let Some(last) = names.pop() else {
            return Ok(Place::Root);
        };
        let mut dir = ROOT;
        for name in names {
            match self.node(dir, name) {
                Some(Node::Dir(id)) => dir = *id,
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => return Err(Errno::NOENT.into()),
            }
        }
        Ok(Place::Name { dir, name: last, node: self.node(dir, last) })
    }

    fn node(&self, dir: DirId, name: &OsStr) -> Option<&Node<F>> {
        self.dirs.get(&dir)?.get(name)
    }

    fn free_name(&self, path: &Path) -> io::Result<(DirId, OsString)> {
        match self.place(path)? {
            Place::Name { dir, name, node: None } => Ok((dir, name.to_owned())),
            Place::Root | Place::Name { .. } => Err(Errno::EXIST.into()),
        }
    }

    /// Whether `dir` is `outer` or lies below it.
    fn is_within(&self, dir: DirId, outer: DirId) -> bool {
        let mut waiting = vec![outer];
        while let Some(id) = waiting.pop() {
            if id == dir {
                return true;
            }
            waiting.extend(self.names(id).filter_map(|(_, node)| match node {
                Node::Dir(id) => Some(*id),
                Node::File(_) => None,
            }));
        }
        false
    }
}

fn entry_of<F>(name: &OsStr, node: &Node<F>, bytes: impl Fn(&F) -> u64) -> Entry {
    let (kind, bytes) = match node {
        Node::File(file) => (EntryKind::File, bytes(file)),
        Node::Dir(_) => (EntryKind::Dir, 0),
    };
    Entry { name: name.to_owned(), kind, bytes }
}
