//! `olivine blob import` and `export`: objects into a volume of another layout, and out of directories that smol or
//! minikeyvalue wrote.
//!
//! 1. An object is named by an index after its bytes are durable.
//! 2. What is under a key already stays, when something is imported.
//! 3. Of an object whose copy is damaged the next copy is taken; the others are taken whatever becomes of one.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_blobs::{
    Error, Layout, Object, Place, Progress as Taken, Step, Transfer, Volume, VolumeOptions,
    index::{Changed, Condition, Index, Walked, replica_at},
    row::Row,
};
use olivine_doors::blob::key_of;
use olivine_engine::{Environment, Options};
use olivine_server::secret;

use super::{DB, FROM, KEYS, LAYOUT, NEW_DB, SUBVOLUMES, TO, failure, far, opened, paths};
use crate::{
    call::Call,
    check::environment,
    ending::{Ending, Failure},
    files::Sequential,
    json::Json,
    progress::{Progress, Unit},
    shown::{Shown, counted},
};

/// Rows that are read together.
const ROWS: usize = 1_000;
/// What is told one by one of what was not taken.
const TOLD_MAX: usize = 1_000;

/// What came of it.
#[derive(Debug, Default)]
struct Report {
    objects: u64,
    bytes: u64,
    /// Keys that there was something under already.
    kept: u64,
    /// Objects that were unlinked, and are not exported.
    unlinked: u64,
    /// How many were not taken, and some of them with the reason.
    skipped: u64,
    skips: Vec<(String, String)>,
    /// The same of those that are damaged.
    damaged: u64,
    damages: Vec<(String, String)>,
}

impl Report {
    fn skip(&mut self, what: String, why: String) {
        self.skipped += 1;
        if self.skips.len() < TOLD_MAX {
            self.skips.push((what, why));
        }
    }

    fn damage(&mut self, key: &[u8], why: String) {
        self.damaged += 1;
        if self.damages.len() < TOLD_MAX {
            self.damages.push((Shown(key).to_string(), why));
        }
    }

    fn told(&self, call: &Call) -> Result<Ending, Failure> {
        let mut out = io::stdout().lock();
        if call.has("--json") {
            writeln!(out, "{}", self.json())?;
        } else {
            self.print(&mut out)?;
        }
        Ok(match (self.damaged, self.skipped) {
            (0, 0) => Ending::Good,
            (0, _) => Ending::Failed,
            _ => Ending::Damaged,
        })
    }

    fn json(&self) -> Json {
        let pairs = |name: &'static str, pairs: &[(String, String)]| {
            let pair = |(what, why): &(String, String)| {
                Json::object([(name, what.clone().into()), ("why", why.clone().into())])
            };
            Json::list(pairs.iter().map(pair))
        };
        Json::object([
            ("objects", self.objects.into()),
            ("bytes", self.bytes.into()),
            ("kept", self.kept.into()),
            ("unlinked", self.unlinked.into()),
            ("skipped", self.skipped.into()),
            ("skips", pairs("path", &self.skips)),
            ("damaged", self.damaged.into()),
            ("damages", pairs("key", &self.damages)),
        ])
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (path, why) in &self.skips {
            writeln!(out, "not taken: {path}: {why}")?;
        }
        for (key, why) in &self.damages {
            writeln!(out, "damaged: {key}: {why}")?;
        }
        let objects = counted(self.objects, "object", "objects");
        writeln!(out, "took {objects} of {} bytes", self.bytes)?;
        for (count, what) in [
            (self.kept, "not taken, for something was under their keys already"),
            (self.unlinked, "not taken, for they were unlinked"),
            (self.skipped, "not taken"),
            (self.damaged, "damaged"),
        ] {
            if 0 < count {
                let were = if count == 1 { "was" } else { "were" };
                writeln!(out, "{count} {were} {what}")?;
            }
        }
        Ok(())
    }
}

/// Brings the objects of a directory that another program wrote into a volume.
pub(super) fn import(call: &Call) -> Result<Ending, Failure> {
    let paths = paths(call);
    let [source] = &paths[..] else {
        return Err(Failure::misused("name one directory that is to be imported"));
    };
    let (to, db) = (needed(call, TO.name)?, needed(call, DB.name)?);
    let from = call.one_of(FROM.name, &["mkv", "smol"])?;
    let uris = match (from, call.value(KEYS.name).map(PathBuf::from)) {
        ("smol", None) => {
            let what =
                "the names of smol's files do not tell the keys: `--keys` names a file that does";
            return Err(Failure::misused(what));
        }
        (_, path) => path,
    };
    let how = how(call)?;
    let environment = environment(call)?;
    let (target, _) = made(call, &environment, &to, &how)?;
    let index = Index::open(&environment, &db, Options::default())?;
    let number = index.number_of(&target.identity().uuid)?;
    let now = environment.clock().wall().as_millis() as u64;
    let progress = Progress::new(call, Unit::Things("objects"), false);
    let report = RefCell::new(Report::default());
    let failed = RefCell::new(None);
    let stopped = |error: olivine_engine::Error| {
        *failed.borrow_mut() = Some(error);
        Error::Closed
    };
    let mut each = |step: &Step<'_>, _: &Taken| -> Result<(), Error> {
        let mut report = report.borrow_mut();
        match step {
            Step::Skipped { path, why } => {
                report.skip(path.display().to_string(), (*why).to_owned());
            }
            Step::Stored { key, generation, expiry, stored } => {
                let row = Row {
                    generation: *generation,
                    bytes: stored.place.bytes,
                    digest: stored.digest,
                    expiry: *expiry,
                    is_unlinked: false,
                    replicas: vec![replica_at(number, &stored.place)],
                    attributes: None,
                };
                let published =
                    index.publish(key, &row, Condition::Absent, now).map_err(stopped)?;
                if published.0 == Changed::Done {
                    report.objects += 1;
                    report.bytes += stored.place.bytes;
                } else {
                    // Whoever makes an index of the volume must not take it for the newer one.
                    let left = index.leave(number, key, *generation, &stored.place);
                    left.map_err(stopped)?;
                    report.kept += 1;
                }
            }
        }
        progress.at(report.objects + report.kept, 0);
        Ok(())
    };
    let mut generations = std::iter::from_fn(|| match index.generation() {
        Ok(generation) => Some(generation),
        Err(error) => {
            drop(stopped(error));
            None
        }
    });
    let mut transfer = Transfer { target: &target, wants_md5: true, each: &mut each };
    let vfs = &**environment.vfs();
    let taken = match uris {
        Some(path) if from == "smol" => {
            let lines = lines(&path)?;
            let uris = lines.map(|line| -> Result<(Vec<u8>, Vec<u8>), Error> {
                let line = line.map_err(|error| Error::Io {
                    operation: "read",
                    path: path.clone(),
                    source: Arc::new(error),
                })?;
                let key = key_of(&line).filter(|key| line.starts_with('/') && !key.is_empty());
                let key = key.ok_or_else(|| Error::Invalid {
                    field: "keys",
                    what: format!("wants paths such as /k1, not {line:?}"),
                })?;
                Ok((line.as_bytes().to_vec(), key.into_owned()))
            });
            transfer.take_smol(vfs, source, uris, &mut generations)
        }
        _ => transfer.take_mkv(vfs, source, &mut generations),
    };
    drop(progress);
    if let Some(error) = failed.borrow_mut().take() {
        return Err(error.into());
    }
    taken.map_err(failure)?;
    index.db().sync()?;
    index.close()?;
    report.into_inner().told(call)
}

/// Brings the objects of an index out of its volumes into a new one.
pub(super) fn export(call: &Call) -> Result<Ending, Failure> {
    let paths = paths(call);
    if paths.is_empty() {
        return Err(Failure::misused("name the volumes that are to be exported"));
    }
    let (to, db) = (needed(call, TO.name)?, needed(call, DB.name)?);
    let how = how(call)?;
    let environment = environment(call)?;
    let index = Index::open(&environment, &db, Options::default())?;
    if index.is_new()? {
        let what = format!("{} has no index; `--db` names that of the volumes", db.display());
        return Err(Failure::misused(what));
    }
    let mut sources = BTreeMap::new();
    for path in &paths {
        let volume = opened(call, &environment, path)?;
        let uuid = Some(volume.identity().uuid);
        let number = (0..index.volume_count()).find(|number| index.uuid_of(*number) == uuid);
        let Some(number) = number else {
            let (path, db) = (path.display(), db.display());
            return Err(Failure::misused(format!("{path} is none of the volumes of {db}")));
        };
        sources.insert(number, volume);
    }
    let (target, is_new) = made(call, &environment, &to, &how)?;
    if !is_new {
        let what = format!(
            "{} has a volume already; name a directory that is not there yet",
            to.display()
        );
        return Err(Failure::misused(what));
    }
    let new_db = match call.value(NEW_DB.name).map(PathBuf::from) {
        None => None,
        Some(dir) => {
            let new = Index::open(&environment, &dir, Options::default())?;
            if !new.is_new()? {
                let what =
                    format!("{} has an index already; name another directory", dir.display());
                return Err(Failure::misused(what));
            }
            let number = new.number_of(&target.identity().uuid)?;
            Some((new, number))
        }
    };
    let now = environment.clock().wall().as_millis() as u64;
    let mut whole = 0;
    walk(&index, now, |_, row| {
        whole += row.bytes;
        Ok(())
    })?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let (mut report, mut highest) = (Report::default(), 0);
    walk(&index, now, |key, row| {
        highest = highest.max(row.generation);
        if row.is_unlinked {
            report.unlinked += 1;
            return Ok(());
        }
        match moved(&sources, &target, key, row)? {
            Ok(place) => {
                report.objects += 1;
                report.bytes += row.bytes;
                if let Some((new, number)) = &new_db {
                    let replicas = vec![replica_at(*number, &place)];
                    let row = Row { replicas, ..row.clone() };
                    new.adopt(key, &row)?;
                }
            }
            Err(Some(why)) => report.damage(key, why),
            Err(None) => {
                let why = "none of the volumes has it; name all of them".to_owned();
                report.skip(Shown(key).to_string(), why);
            }
        }
        progress.at(report.bytes, whole);
        Ok(())
    })?;
    drop(progress);
    if let Some((new, _)) = new_db {
        new.advance_generation(highest)?;
        new.db().sync()?;
        new.close()?;
    }
    index.close()?;
    report.told(call)
}

/// Where an object lies in the new volume; or why no copy of it could be read, or nothing where there was none.
fn moved(
    sources: &BTreeMap<u32, Volume>,
    target: &Volume,
    key: &[u8],
    row: &Row,
) -> Result<Result<Place, Option<String>>, Failure> {
    let mut last = None;
    for replica in &row.replicas {
        let Some(source) = sources.get(&replica.volume) else { continue };
        let place = Place { extent: replica.extent, offset: replica.offset, bytes: row.bytes };
        let mut stored = None;
        let mut each = |step: &Step<'_>, _: &Taken| {
            if let Step::Stored { stored: there, .. } = step {
                stored = Some(there.place);
            }
            Ok(())
        };
        let mut transfer = Transfer { target, wants_md5: row.digest.is_some(), each: &mut each };
        let object = Object { key: key.to_vec(), generation: row.generation, place };
        match transfer.take(source, [Ok(object)]) {
            Ok(_) => {}
            Err(error @ (Error::Corrupt { .. } | Error::Gone { .. } | Error::Foreign { .. })) => {
                last = Some(error.to_string());
                continue;
            }
            Err(error) => return Err(failure(error)),
        }
        if let Some(place) = stored {
            return Ok(Ok(place));
        }
    }
    Ok(Err(last))
}

/// Calls for each row of an index.
fn walk(
    index: &Index,
    now: u64,
    mut each: impl FnMut(&[u8], &Row) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut from = Some(Vec::new());
    while let Some(first) = from {
        let Walked { rows, next } = index.walk(&first, ROWS, now)?;
        from = next;
        for (key, row) in rows {
            each(&key, &row)?;
        }
    }
    Ok(())
}

/// The volume that objects are brought into, and whether it was made.
fn made(
    call: &Call,
    environment: &Environment,
    path: &Path,
    how: &How,
) -> Result<(Volume, bool), Failure> {
    let mut drawn = [0; 32];
    let no_chance = |_| Failure::new(Ending::Failed, "the system has no randomness to give");
    secret::random(&mut drawn).map_err(no_chance)?;
    let far = far(call, environment)?;
    let of = |layout| {
        let subvolumes = how.subvolumes;
        let options = VolumeOptions { layout, subvolumes, ..VolumeOptions::default() };
        let (vfs, clock) = (Arc::clone(environment.vfs()), Arc::clone(environment.clock()));
        let far = far.clone().filter(|_| layout == Layout::Packed);
        Volume::open_tiered(vfs, clock, path, drawn, &options, far)
    };
    let mut last = None;
    // Whatever it has, if nobody says what it is to have.
    let any = || vec![Layout::Packed, Layout::Smol, Layout::Mkv];
    for layout in how.layout.map_or_else(any, |one| vec![one]) {
        match of(layout) {
            Ok((volume, opened)) => return Ok((volume, opened.is_new)),
            Err(error @ Error::Unusable { .. }) => last = last.or(Some(error)),
            Err(error) => return Err(failure(error)),
        }
    }
    Err(last.map_or_else(|| Failure::misused("there is no volume"), failure))
}

/// How a volume is to lie that is made.
struct How {
    layout: Option<Layout>,
    subvolumes: Option<u32>,
}

fn how(call: &Call) -> Result<How, Failure> {
    let layout = match call.value(LAYOUT.name) {
        None => None,
        Some(_) => Some(match call.one_of(LAYOUT.name, &["packed", "smol", "mkv"])? {
            "smol" => Layout::Smol,
            "mkv" => Layout::Mkv,
            _ => Layout::Packed,
        }),
    };
    let Some(count) = call.count(SUBVOLUMES.name)? else {
        return Ok(How { layout, subvolumes: None });
    };
    if layout != Some(Layout::Mkv) {
        return Err(call.wrong(SUBVOLUMES.name, "is of the layout mkv, and wants `--layout mkv`"));
    }
    let count = u32::try_from(count).ok().filter(|count| *count <= 256);
    let subvolumes = count.ok_or_else(|| call.wrong(SUBVOLUMES.name, "may be 1 to 256"))?;
    Ok(How { layout, subvolumes: Some(subvolumes) })
}

fn needed(call: &Call, name: &str) -> Result<PathBuf, Failure> {
    let value = call.value(name).map(PathBuf::from);
    value.ok_or_else(|| Failure::misused(format!("`{name}` says where; see --help")))
}

/// The lines of a file, or of stdin.
fn lines(path: &Path) -> Result<Box<dyn Iterator<Item = io::Result<String>>>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lines()));
    }
    Ok(Box::new(BufReader::new(Sequential::open(path)?).lines()))
}
