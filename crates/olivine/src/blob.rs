//! `olivine blob`: what is done with volumes of blobs and their index while no master and no volume runs.
//!
//! 1. Nothing is changed of what is there: an index is made in a directory of its own.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_blobs::{
    Damage, Error, Layout, Opened, Volume, VolumeOptions,
    index::{Index, Rebuilt},
};
use olivine_engine::{Environment, Options};

use crate::{
    call::{Call, Command, JSON, MEMORY, Opt, QUIET, nearest},
    check::environment,
    ending::{Ending, Failure},
    json::Json,
    progress::{Progress, Unit},
    shown::{Shown, counted},
};

const DB: Opt = Opt::value("--db", "DIR", "where the index is made; it must not be there");

pub(crate) const COMMAND: Command = Command {
    name: "blob",
    what: "make an index of blobs anew of their volumes",
    about: "Blob works on volumes of blobs while nothing serves them. ACTION is: rebuild, which reads all VOLUMES of a master, and makes the index \
        that the master needs. Of each key the newest object is there again, unless it was deleted after it was put. Nothing \
        of the volumes is changed; put the index where the old one was when it is whole.",
    operands: &["ACTION", "VOLUMES..."],
    options: &[&[DB, JSON, QUIET, MEMORY]],
    notes: "Name all volumes that the master has: what is deleted on one may be there on another. What was unlinked and not deleted \
        is there again. The exit code is 5 when something is damaged, 0 when nothing is.",
    examples: &[
        "olivine blob rebuild data/volumes/volume1 --db data/olivedb.new",
        "olivine blob rebuild volume1 volume2 volume3 --db olivedb.new --json",
    ],
    run,
};

fn run(call: &Call) -> Result<Ending, Failure> {
    let action = call.operand(0).map(|action| action.to_string_lossy().into_owned());
    match action.as_deref() {
        None => Err(Failure::misused("say what to do: rebuild")),
        Some("rebuild") => rebuild(call),
        Some(other) => {
            let hint = match nearest(other, &["rebuild"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there is rebuild".to_owned(),
            };
            Err(Failure::misused(format!("no action `{other}`; {hint}")))
        }
    }
}

fn rebuild(call: &Call) -> Result<Ending, Failure> {
    let mut paths = Vec::new();
    while let Some(path) = call.operand(1 + paths.len()) {
        paths.push(PathBuf::from(path));
    }
    if paths.is_empty() {
        return Err(Failure::misused("name the volumes that the index is to be made of"));
    }
    let Some(dir) = call.value(DB.name).map(PathBuf::from) else {
        return Err(Failure::misused("`--db` says where the index is to be made"));
    };
    let environment = environment(call)?;
    let volumes = paths.iter().map(|path| opened(&environment, path));
    let volumes: Vec<Volume> = volumes.collect::<Result<_, _>>()?;
    let mut whole = 0;
    for volume in &volumes {
        whole += volume.usage().map_err(failure)?.bytes;
    }
    let index = Index::open(&environment, &dir, Options::default())?;
    if !index.is_new()? {
        let dir = dir.display();
        return Err(Failure::misused(format!(
            "{dir} has an index already; name a directory with --db that is not there yet"
        )));
    }
    let progress = Progress::new(call, Unit::Bytes, false);
    let rebuilt = index.rebuild(&volumes, &mut |rebuilt| progress.at(rebuilt.bytes, whole));
    drop(progress);
    let rebuilt = rebuilt.map_err(|stop| match stop {
        olivine_blobs::index::Stop::Index(error) => error.into(),
        olivine_blobs::index::Stop::Volume(error) => failure(error),
    })?;
    index.db().settle()?;
    index.close()?;
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", json(&rebuilt))?;
    } else {
        print(&mut out, &rebuilt, &dir)?;
    }
    Ok(if rebuilt.damaged.is_empty() { Ending::Good } else { Ending::Damaged })
}

/// A volume, only to be read, whatever its layout.
fn opened(environment: &Environment, path: &Path) -> Result<Volume, Failure> {
    let of = |layout| -> Result<(Volume, Opened), Error> {
        let options = VolumeOptions { layout, read_only: true, ..VolumeOptions::default() };
        let (vfs, clock) = (Arc::clone(environment.vfs()), Arc::clone(environment.clock()));
        Volume::open(vfs, clock, path, [0; 32], &options)
    };
    let mut first = None;
    for layout in [Layout::Packed, Layout::Smol, Layout::Mkv] {
        match of(layout) {
            Ok((volume, _)) => return Ok(volume),
            Err(error @ Error::Unusable { .. }) => first = first.or(Some(error)),
            Err(error) => return Err(failure(error)),
        }
    }
    Err(first.map_or_else(|| Failure::misused("there is no volume"), failure))
}

fn failure(error: Error) -> Failure {
    let ending = match error {
        Error::Corrupt { .. } => Ending::Damaged,
        Error::Locked { .. } => Ending::Locked,
        Error::Invalid { .. } | Error::Unusable { .. } | Error::Format { .. } => Ending::Misused,
        _ => Ending::Failed,
    };
    let text = match &error {
        Error::Io { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    };
    Failure::new(ending, text)
}

fn print(out: &mut impl Write, rebuilt: &Rebuilt, dir: &Path) -> io::Result<()> {
    let Rebuilt { extents, records, deletions, damaged, .. } = rebuilt;
    for Damage { path, offset, bytes, what, claim, .. } in damaged {
        write!(out, "damaged: {} at byte {offset}, {bytes} bytes: {what}", path.display())?;
        match claim {
            Some((key, _)) => writeln!(out, "; it was \"{}\"", Shown(key))?,
            None => writeln!(out)?,
        }
    }
    let records = counted(*records, "record", "records");
    let extents = counted(*extents, "extent", "extents");
    let deletions = counted(*deletions, "deletion", "deletions");
    writeln!(out, "read {records} of {extents}, {deletions} among them")?;
    writeln!(out, "the index is in {}", dir.display())
}

fn json(rebuilt: &Rebuilt) -> Json {
    let damage = |damage: &Damage| {
        let claim = damage.claim.as_ref().map(|(key, _)| Shown(key).to_string());
        Json::object([
            ("path", damage.path.display().to_string().into()),
            ("offset", damage.offset.into()),
            ("bytes", damage.bytes.into()),
            ("what", damage.what.into()),
            ("key", claim.into()),
        ])
    };
    Json::object([
        ("extents", rebuilt.extents.into()),
        ("records", rebuilt.records.into()),
        ("bytes", rebuilt.bytes.into()),
        ("deletions", rebuilt.deletions.into()),
        ("damaged", Json::list(rebuilt.damaged.iter().map(damage))),
    ])
}
