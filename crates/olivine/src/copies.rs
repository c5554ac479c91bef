//! `olivine backup`, `olivine restore` and `olivine backups`: copies of a store that are listed, verified,
//! pruned and brought back.
//!
//! 1. A backup reads the store without its lock: whoever has it open goes on. One of a node elsewhere is
//!    made by `remote`.
//! 2. A restored directory gets its name after everything in it was verified.
//! 3. What is damaged is named with the backups it harms, and is exit code 5; a backup that is not there
//!    is exit code 3.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use olivine_engine::{BackupInfo, Backups, Damage, Db, Error, Options, Pruned, Verified};
use olivine_vfs::Vfs;

use crate::{
    call::{Call, Command, JSON, MEMORY, Opt, QUIET},
    check::environment,
    ending::{Ending, Failure},
    http_client::{CA, TOKEN_FILE},
    json::Json,
    progress::{self, Progress, Unit},
    remote,
    shown::{counted, date},
};

const SERVER: Opt = Opt::value(
    "--server",
    "URL",
    "of the node at http://HOST:PORT or https://HOST:PORT, its HTTP door, instead of the store in DIR",
);
const DATA_DIR: Opt =
    Opt::value("--data-dir", "DIR", "where `olivine serve` has everything: makes DIR/store");
const NUMBER: Opt = Opt::value("--number", "N", "the backup of this number (the newest)");

pub(crate) const BACKUP: Command = Command {
    name: "backup",
    what: "add a backup of a store to a directory of backups",
    about: "Backup adds a backup of the store in DIR, as it is at this moment, to the directory TARGET, which is made \
        when it is missing. Only what no earlier backup there has is copied. The store may be open: \
        it is read without its lock, and nothing in it is changed. With --server it is everything that a node \
        serves, wherever it is; what comes is verified, and TARGET is here.",
    operands: &["[DIR]", "TARGET"],
    options: &[&[SERVER, TOKEN_FILE, CA], &[JSON, QUIET, MEMORY]],
    notes: "TARGET holds backups of one store and nothing else; best on another disk. A backup is there whole or \
        not at all; when one from a server is cut short, the next call goes on with what has come. \
        `olivine backups verify TARGET` reads everything again.",
    examples: &[
        "olivine backup data/store /mnt/backups",
        "olivine backup --server http://localhost:8080 /mnt/backups",
        "olivine backup --server https://db:8080 --token-file backup.token /mnt/backups",
    ],
    run: backup,
};

pub(crate) const RESTORE: Command = Command {
    name: "restore",
    what: "make a store of a backup, after verifying it",
    about: "Restore makes the directory DIR, which must be new or empty, the store that a backup in BACKUPS holds. \
        DIR gets its name only after every file matched its hash, and every table its entries.",
    operands: &["BACKUPS", "[DIR]"],
    options: &[&[DATA_DIR, NUMBER], &[JSON, QUIET, MEMORY]],
    notes: "A damaged file is named with every backup that needs it (exit code 5); an earlier backup may do \
        without it. The restored store goes on behind the last write of the backup.",
    examples: &[
        "olivine restore /mnt/backups --data-dir data",
        "olivine restore /mnt/backups data/store --number 3",
    ],
    run: restore,
};

pub(crate) const BACKUPS: Command = Command {
    name: "backups",
    what: "list, verify or prune a directory of backups",
    about: "Backups looks after a directory of backups. ACTION is one of: list, every backup and what it added; \
        verify, read all files, or those of one backup, and compare them with what was stored; prune, remove \
        all backups but the newest, and the files that only they needed.",
    operands: &["ACTION", "TARGET"],
    options: &[&[
        Opt::value("--number", "N", "verify: the backup of this number only (all)"),
        Opt::value("--keep", "N", "prune: how many of the newest stay; must be given"),
        JSON,
        QUIET,
        MEMORY,
    ]],
    notes: "Listing and verifying change nothing. As long as a backup cannot be read, pruning removes no file: \
        it might need it. Damage is exit code 5.",
    examples: &[
        "olivine backups list /mnt/backups",
        "olivine backups verify /mnt/backups --number 3",
        "olivine backups prune /mnt/backups --keep 7",
    ],
    run: backups,
};

fn backup(call: &Call) -> Result<Ending, Failure> {
    let info = match (call.text("--server")?, call.operand(1)) {
        (None, _) => of_store(call)?,
        (Some(_), Some(_)) => {
            let what =
                "with `--server` only TARGET is named, not DIR: the node knows where its store is";
            return Err(Failure::misused(what));
        }
        (Some(url), None) => remote::backup(call, &url, &path(call, 0)?)?,
    };
    answer(call, json(&info), |out| {
        let (bytes, new) = (progress::bytes(info.bytes), progress::bytes(info.bytes_new));
        writeln!(
            out,
            "backup {}: {bytes}, {new} of it new, up to write {}",
            info.number, info.seqno
        )
    })
}

/// A backup of the store in a directory.
fn of_store(call: &Call) -> Result<BackupInfo, Failure> {
    let (dir, target) = (path(call, 0)?, path(call, 1)?);
    let environment = environment(call)?;
    let db = Db::open_read_only(&environment, dir, Options::default())?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let taken = Backups::new(&environment, target)
        .take(&db, &mut |done| progress.at(done.bytes_done, done.bytes));
    drop(progress);
    Ok(taken?)
}

fn restore(call: &Call) -> Result<Ending, Failure> {
    let target = path(call, 0)?;
    let environment = environment(call)?;
    let number = call.count("--number")?;
    let dir = match (call.value("--data-dir"), call.operand(1)) {
        (None, _) => path(call, 1)?,
        (Some(_), Some(_)) => {
            return Err(Failure::misused(
                "the store goes to DIR, or with `--data-dir` below it, not both",
            ));
        }
        (Some(data_dir), None) => {
            let data_dir = PathBuf::from(data_dir);
            make_dirs(&**environment.vfs(), &data_dir)?;
            data_dir.join("store")
        }
    };
    let progress = Progress::new(call, Unit::Bytes, false);
    let restored = Backups::new(&environment, target)
        .restore(number, &dir, &mut |done| progress.at(done.bytes_done, done.bytes));
    drop(progress);
    let info = restored.map_err(absent)?;
    answer(call, json(&info), |out| {
        let entries = counted(info.entries, "entry", "entries");
        writeln!(out, "restored backup {} to {}: {entries}", info.number, dir.display())
    })
}

fn backups(call: &Call) -> Result<Ending, Failure> {
    let action = call.operand(0).map(|action| action.to_string_lossy().into_owned());
    let known = "list, verify or prune";
    let action = action.ok_or_else(|| Failure::misused(format!("say what to do: {known}")))?;
    match action.as_str() {
        "list" => list(call),
        "verify" => verify(call),
        "prune" => prune(call),
        _ => Err(Failure::misused(format!("no action `{action}`; there are {known}"))),
    }
}

fn list(call: &Call) -> Result<Ending, Failure> {
    let listed = Backups::new(&environment(call)?, path(call, 1)?).list()?;
    let one = |(number, info): &(u64, Result<BackupInfo, Error>)| match info {
        Ok(info) => json(info),
        Err(error) => {
            Json::object([("number", (*number).into()), ("error", error.to_string().into())])
        }
    };
    let ending = answer(call, Json::list(listed.iter().map(one)), |out| {
        if listed.is_empty() {
            return writeln!(out, "no backups");
        }
        writeln!(
            out,
            "{:>8}  {:20}  {:>12}  {:>10}  {:>10}",
            "number", "time", "write", "bytes", "new"
        )?;
        for (number, info) in &listed {
            match info {
                Ok(info) => writeln!(
                    out,
                    "{number:>8}  {:20}  {:>12}  {:>10}  {:>10}",
                    date(info.time),
                    info.seqno,
                    progress::bytes(info.bytes),
                    progress::bytes(info.bytes_new),
                )?,
                Err(error) => writeln!(out, "{number:>8}  cannot be read: {error}")?,
            }
        }
        Ok(())
    })?;
    Ok(if listed.iter().all(|(_, info)| info.is_ok()) { ending } else { Ending::Damaged })
}

fn verify(call: &Call) -> Result<Ending, Failure> {
    let backups = Backups::new(&environment(call)?, path(call, 1)?);
    let number = call.count("--number")?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let verified = backups.verify(number, &mut |done| progress.at(done.bytes_done, done.bytes));
    drop(progress);
    let verified = verified.map_err(absent)?;
    let ending = answer(call, json_of(&verified), |out| {
        for Damage { path, what, backups, .. } in &verified.damages {
            let harmed = numbers(backups);
            writeln!(out, "damaged: {}: {what}; backups that need it: {harmed}", path.display())?;
        }
        let count = verified.backups.len() as u64;
        let backups = counted(count, "backup", "backups");
        let files = counted(verified.files, "file", "files");
        let found = if verified.damages.is_empty() { "all sound" } else { "damage was found" };
        let bytes = progress::bytes(verified.bytes);
        writeln!(out, "{backups}, {files} of {bytes}: {found}")
    })?;
    Ok(if verified.damages.is_empty() { ending } else { Ending::Damaged })
}

fn prune(call: &Call) -> Result<Ending, Failure> {
    let keep = call.count("--keep")?;
    let keep = keep.ok_or_else(|| Failure::misused("say with `--keep N` how many stay"))?;
    let pruned = Backups::new(&environment(call)?, path(call, 1)?).prune(keep as usize)?;
    let Pruned { backups, files, bytes, .. } = &pruned;
    let json = Json::object([
        ("removed", Json::list(backups.iter().copied())),
        ("files", (*files).into()),
        ("bytes", (*bytes).into()),
    ]);
    answer(call, json, |out| {
        if backups.is_empty() {
            return writeln!(out, "nothing to remove");
        }
        let (files, bytes) = (counted(*files, "file", "files"), progress::bytes(*bytes));
        writeln!(out, "removed backups {}: {files} of {bytes}", numbers(backups))
    })
}

/// Makes a directory and those above it.
fn make_dirs(vfs: &dyn Vfs, dir: &Path) -> Result<(), Failure> {
    for dir in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if dir.as_os_str().is_empty() || matches!(vfs.entry(dir), Ok(Some(_))) {
            continue;
        }
        match vfs.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Failure::io(format!("cannot make the directory {}", dir.display()))(
                    error,
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The operand at a place, which must be there.
fn path(call: &Call, place: usize) -> Result<PathBuf, Failure> {
    let missing = || Failure::misused("two directories are wanted; see the examples");
    call.operand(place).map(PathBuf::from).ok_or_else(missing)
}

fn answer(
    call: &Call,
    json: Json,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{json}")?;
    } else {
        print(&mut out)?;
    }
    Ok(Ending::Good)
}

/// A backup that is not there is no failure of the disk.
fn absent(error: Error) -> Failure {
    match error {
        Error::Invalid { field: "backup", .. } => Failure::new(Ending::Absent, error.to_string()),
        error => error.into(),
    }
}

fn json(info: &BackupInfo) -> Json {
    Json::object([
        ("number", info.number.into()),
        ("store", format!("{:016x}", info.store).into()),
        ("seqno", info.seqno.into()),
        ("time", info.time.into()),
        ("keyspaces", info.keyspaces.into()),
        ("tables", info.tables.into()),
        ("entries", info.entries.into()),
        ("bytes", info.bytes.into()),
        ("bytes_new", info.bytes_new.into()),
    ])
}

fn json_of(verified: &Verified) -> Json {
    let damage = |damage: &Damage| {
        Json::object([
            ("path", damage.path.display().to_string().into()),
            ("what", damage.what.as_str().into()),
            ("backups", Json::list(damage.backups.iter().copied())),
        ])
    };
    Json::object([
        ("sound", verified.damages.is_empty().into()),
        ("backups", Json::list(verified.backups.iter().copied())),
        ("files", verified.files.into()),
        ("bytes", verified.bytes.into()),
        ("damages", Json::list(verified.damages.iter().map(damage))),
    ])
}

fn numbers(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
