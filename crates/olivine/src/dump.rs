//! `olivine dump`: the entries of a store, written down.
//!
//! 1. What is written is one moment of the store, keyspace after keyspace, in the order of the keys.
//! 2. A file gets its name when it is whole; nothing that is there is overwritten.

use std::{
    io::{self, BufWriter, Write},
    ops::Bound,
    path::{Path, PathBuf},
};

use olivine_engine::{Db, Environment, Keyspace, Options};
use olivine_vfs::{RealVfs, Vfs as _};

use crate::{
    call::{Call, Command, DB, MEMORY, Opt, QUIET, nearest},
    check::environment,
    ending::{Ending, Failure},
    files::Sequential,
    progress::{Progress, Unit},
    shown::{counted, unescaped},
    transfer::{self, Form},
};

pub(crate) const COMMAND: Command = Command {
    name: "dump",
    what: "write the entries of a store down, as JSON lines",
    about: "Dump writes the entries of a store down, as of one moment: a JSON object a line, with what is no \
        text as base64 under `key_base64` and `value_base64`. `olivine load` reads it back.",
    operands: &["DIR"],
    options: &[&[
        DB,
        Opt::value("--keyspace", "NAME", "only this keyspace; may be given several times").many(),
        Opt::value("--prefix", "KEY", "only keys that begin with this"),
        Opt::value("--from", "KEY", "only keys from this one on"),
        Opt::value("--to", "KEY", "only keys below this one"),
        Opt::value("--out", "FILE", "where to, instead of the standard output")
            .also(&["--dump_location"]),
        Opt::value("--format", "FORM", "json, or rocksdb: what rocksdb_undump reads; one keyspace"),
        QUIET,
        MEMORY,
    ]],
    notes: "Bytes of a KEY that are no text are written \\xNN. The store must be closed (exit code 6 otherwise); \
        a keyspace that is not there is exit code 3. Those who dumped with `rocksdb_dump --db_path DIR \
        --dump_location FILE` may keep these two names.",
    examples: &[
        "olivine dump olivedb",
        "olivine dump data/store --keyspace users --prefix user: --out users.jsonl",
        "olivine dump --db_path olivedb --dump_location olivedb_dump.txt",
    ],
    run,
};

/// Which keys are dumped.
struct Range {
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    prefix: Vec<u8>,
}

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let range = range(call)?;
    let form = match call.one_of("--format", &["json", "rocksdb"])? {
        "rocksdb" => Form::Rocksdb,
        _ => Form::Json,
    };
    let names = call.texts("--keyspace")?;
    let out = call.value("--out").map(PathBuf::from);
    let environment = environment(call)?;
    let db = open_existing(&environment, &dir)?;
    let keyspaces = keyspaces(&db, names)?;
    if form == Form::Rocksdb && keyspaces.len() != 1 {
        let what = format!(
            "`--format rocksdb` holds one keyspace; there are {}",
            db.keyspaces().join(", ")
        );
        return Err(Failure::misused(format!("{what}: name one with `--keyspace`")));
    }
    let progress = Progress::new(call, Unit::Things("keys"), out.is_none());
    let written = match &out {
        None => {
            let mut target = BufWriter::new(io::stdout().lock());
            let written = write_all(&db, &keyspaces, &range, form, &mut target, &progress)?;
            target.flush()?;
            written
        }
        Some(path) => {
            write_file(path, |target| write_all(&db, &keyspaces, &range, form, target, &progress))?
        }
    };
    drop(progress);
    if let Some(path) = &out {
        let entries = counted(written, "entry", "entries");
        let from = counted(keyspaces.len() as u64, "keyspace", "keyspaces");
        writeln!(io::stdout(), "{entries} of {from} in {}", path.display())?;
    }
    drop(keyspaces);
    db.close()?;
    Ok(Ending::Good)
}

/// Opens a store that must be there.
pub(crate) fn open_existing(environment: &Environment, dir: &Path) -> Result<Db, Failure> {
    let options = Options { create_if_missing: false, ..Options::default() };
    Ok(Db::open(environment, dir, options)?)
}

fn range(call: &Call) -> Result<Range, Failure> {
    let key = |name: &str| match call.value(name) {
        None => Ok(None),
        Some(value) => unescaped(value.as_encoded_bytes()).map(Some).ok_or_else(|| {
            Failure::misused(format!("`{name}` has a backslash that is neither \\\\ nor \\xNN"))
        }),
    };
    let prefix = key("--prefix")?.unwrap_or_default();
    let lower = key("--from")?.filter(|from| prefix < *from).unwrap_or_else(|| prefix.clone());
    let upper = key("--to")?.map_or(Bound::Unbounded, Bound::Excluded);
    Ok(Range { lower: Bound::Included(lower), upper, prefix })
}

/// The keyspaces of these names, or all of them.
fn keyspaces(db: &Db, names: Vec<String>) -> Result<Vec<Keyspace>, Failure> {
    let known = db.keyspaces();
    let names = if names.is_empty() { known.clone() } else { names };
    let find = |name: String| {
        db.find_keyspace(&name).ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let there = match (nearest(&name, &known), known.is_empty()) {
                (Some(near), _) => format!("did you mean {near:?}?"),
                (None, true) => "there is none".to_owned(),
                (None, false) => format!("there are {}", known.join(", ")),
            };
            Failure::new(Ending::Absent, format!("no keyspace {name:?} in the store; {there}"))
        })
    };
    names.into_iter().map(find).collect()
}

fn write_all(
    db: &Db,
    keyspaces: &[Keyspace],
    range: &Range,
    form: Form,
    out: &mut impl Write,
    progress: &Progress,
) -> Result<u64, Failure> {
    let stats = db.stats();
    let whole = stats.table_entries + stats.memtable_entries;
    let snapshot = db.snapshot();
    let mut written = 0;
    transfer::begin(out, form)?;
    for keyspace in keyspaces {
        let bounds = (range.lower.clone(), range.upper.clone());
        for entry in snapshot.range::<Vec<u8>>(keyspace, bounds)? {
            let (key, value) = entry?;
            if !key.starts_with(&range.prefix) {
                break;
            }
            transfer::write(out, form, keyspace.name(), &key, &value)?;
            written += 1;
            progress.at(written, whole);
        }
    }
    Ok(written)
}

/// Has `write` fill a new file, which gets its name when all is in it.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<Sequential>) -> Result<u64, Failure>,
) -> Result<u64, Failure> {
    let disk = RealVfs::new();
    let failed = |what: &str| Failure::io(format!("cannot {what} {}", path.display()));
    if disk.entry(path).map_err(failed("look at"))?.is_some() {
        let what = format!("{} is there already; remove it or name another file", path.display());
        return Err(Failure::new(Ending::Failed, what));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut target = BufWriter::new(Sequential::create(&partial)?);
    let outcome = write(&mut target).and_then(|written| {
        target.flush().map_err(failed("write"))?;
        target.get_ref().sync().map_err(failed("sync"))?;
        disk.rename(&partial, path).map_err(failed("name"))?;
        Ok(written)
    });
    if outcome.is_err() {
        disk.remove_file(&partial).ok();
    }
    outcome
}
