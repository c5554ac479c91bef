//! `olivine blob rebuild`: an index of nothing but the volumes.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use olivine_blobs::{
    Damage, Volume,
    index::{Index, Rebuilt},
};
use olivine_engine::Options;

use super::{DB, failure, opened, paths};
use crate::{
    call::Call,
    check::environment,
    ending::{Ending, Failure},
    json::Json,
    progress::{Progress, Unit},
    shown::{Shown, counted},
};

pub(super) fn run(call: &Call) -> Result<Ending, Failure> {
    let paths = paths(call);
    if paths.is_empty() {
        return Err(Failure::misused("name the volumes that the index is to be made of"));
    }
    let Some(dir) = call.value(DB.name).map(PathBuf::from) else {
        return Err(Failure::misused("`--db` says where the index is to be made"));
    };
    let environment = environment(call)?;
    let volumes = paths.iter().map(|path| opened(call, &environment, path));
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

fn print(out: &mut impl Write, rebuilt: &Rebuilt, dir: &Path) -> io::Result<()> {
    let Rebuilt { extents, records, deletions, states, damaged, .. } = rebuilt;
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
    if 0 < *states {
        let states = counted(*states, "record", "records");
        writeln!(out, "{states} said that an object was unlinked, or lies elsewhere")?;
    }
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
        ("states", rebuilt.states.into()),
        ("damaged", Json::list(rebuilt.damaged.iter().map(damage))),
    ])
}
