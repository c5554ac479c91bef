//! `olivine blob`: what is done with blobs beside serving them. While no master and no volume runs: an index is made of
//! volumes, objects move between layouts. While they run: how the objects are, and that they be seen to.
//!
//! 1. Nothing is changed of what is there: an index is made, and objects are exported, in directories of their own.
//! 2. What is not taken, and what is damaged, is told.

mod moving;
mod rebuild;
mod running;

use std::{path::Path, sync::Arc};

use olivine_blobs::{Error, Far, Layout, Opened, Volume, VolumeOptions};
use olivine_engine::Environment;

use crate::{
    call::{Call, Command, JSON, MEMORY, Opt, QUIET, nearest},
    ending::{Ending, Failure},
    http_client::{CA, TOKEN_FILE},
    serve::blobs::{TIER, TIER_ENDPOINT, TIER_KEY_FILE, bucket},
};

const DB: Opt = Opt::value(
    "--db",
    "DIR",
    "the index. rebuild: where it is made, and must not be there;\n\
     import: where it is, or is made; export: of what is exported",
);
const TO: Opt = Opt::value(
    "--to",
    "VOLUME",
    "the volume that objects are brought into; it is made if it is\n\
     not there, and for export it must not be there",
);
const LAYOUT: Opt = Opt::value("--layout", "LAYOUT", "of a volume that is made: packed, smol, mkv");
const SUBVOLUMES: Opt = Opt::value(
    "--subvolumes",
    "N",
    "over how many directories svXX a volume of layout mkv that is\n\
     made spreads its files, as minikeyvalue has them: 1 to 256",
);
const FROM: Opt =
    Opt::value("--from", "LAYOUT", "import: who wrote the directory, smol or mkv").or("mkv");
const KEYS: Opt = Opt::value(
    "--keys",
    "FILE",
    "import from smol: paths of the objects, as they were put (/k1),\n\
     one a line; the names of its files do not tell them. - is stdin",
);
const NEW_DB: Opt =
    Opt::value("--new-db", "DIR", "export: makes an index of the new volume, too, for a master");
const SERVER: Opt = Opt::value(
    "--server",
    "URL",
    "status, heal, rebalance: the master, at http://HOST:PORT or\n\
     https://HOST:PORT",
)
.or("http://localhost:9000");

pub(crate) const COMMAND: Command = Command {
    name: "blob",
    what: "blobs: make an index anew, move between layouts, heal, rebalance",
    about: "Blob works on volumes of blobs. While nothing serves them, ACTION is: rebuild, which reads all VOLUMES of a master, and makes the index \
        that the master needs: of each key the newest object is there again, unless it was deleted after it was put; import, which brings the objects of a \
        directory that smol or minikeyvalue wrote into a volume and an index; export, which brings the objects of an index out of its VOLUMES \
        into a new one of any layout. While a master runs: status, which tells how its objects are; heal, which has it \
        look at all of them now; rebalance, which has it move them to where they belong, while they are read and put.",
    operands: &["ACTION", "[PATHS...]"],
    options: &[
        &[DB, TO, LAYOUT, SUBVOLUMES, FROM, KEYS, NEW_DB],
        &[TIER, TIER_ENDPOINT, TIER_KEY_FILE],
        &[SERVER, TOKEN_FILE, CA],
        &[JSON, QUIET, MEMORY],
    ],
    notes: "Name all volumes that the master has: what is deleted on one may be there on another. Nothing of what is exported or imported is changed: put the new \
        directories where the old ones were when they are whole. What was unlinked is not exported. The exit code is 5 when something is damaged \
        or lost, 1 when something was not taken, 0 otherwise.",
    examples: &[
        "olivine blob rebuild data/volumes/volume1 --db data/olivedb.new",
        "olivine blob rebuild volume1 volume2 volume3 --db olivedb.new --json",
        "olivine blob import /mnt/mkv/volume1 --to volume1 --db olivedb",
        "olivine blob import /mnt/smol --from smol --keys keys.txt --to volume1 --db olivedb",
        "olivine blob export volume1 --db olivedb --to files --layout mkv --new-db files.db",
        "olivine blob export volume1 --db olivedb --to files --layout mkv --subvolumes 10",
        "olivine blob status --json",
        "olivine blob rebalance --server http://master:9000 --token-file token",
    ],
    run,
};

type Action = fn(&Call) -> Result<Ending, Failure>;

const ACTIONS: [(&str, Action); 6] = [
    ("rebuild", rebuild::run),
    ("import", moving::import),
    ("export", moving::export),
    ("status", running::status),
    ("heal", running::heal),
    ("rebalance", running::rebalance),
];

fn run(call: &Call) -> Result<Ending, Failure> {
    let names = ACTIONS.map(|(name, _)| name);
    let Some(action) = call.operand(0).map(|action| action.to_string_lossy().into_owned()) else {
        return Err(Failure::misused(format!("say what to do: {}", names.join(", "))));
    };
    if let Some((_, run)) = ACTIONS.iter().find(|(name, _)| *name == action) {
        return run(call);
    }
    let hint = match nearest(&action, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    Err(Failure::misused(format!("no action `{action}`; {hint}")))
}

/// What stands behind the action.
fn paths(call: &Call) -> Vec<std::path::PathBuf> {
    (1..).map_while(|place| call.operand(place)).map(Into::into).collect()
}

/// The bucket that extents of volumes lie in, if one is named.
fn far(call: &Call, environment: &Environment) -> Result<Option<Arc<dyn Far>>, Failure> {
    let settings = bucket(call)?;
    let far = settings.map(|settings| olivine_server::bucket(&**environment.vfs(), &settings));
    Ok(far.transpose()?)
}

/// A volume, only to be read, whatever its layout.
fn opened(call: &Call, environment: &Environment, path: &Path) -> Result<Volume, Failure> {
    let far = far(call, environment)?;
    let of = |layout| -> Result<(Volume, Opened), Error> {
        let options = VolumeOptions { layout, read_only: true, ..VolumeOptions::default() };
        let (vfs, clock) = (Arc::clone(environment.vfs()), Arc::clone(environment.clock()));
        let far = far.clone().filter(|_| layout == Layout::Packed);
        Volume::open_tiered(vfs, clock, path, [0; 32], &options, far)
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
