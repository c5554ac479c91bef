//! `olivine certify`: certificates by which the halves of a node on two machines know each other.
//!
//! 1. The authority's key stays in the directory it was made in; what other machines get does without it.
//! 2. Nothing that is there is written over.

use std::{
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use olivine_server::{Authority, authority, vouched};
use olivine_vfs::{Clock as _, RealClock, RealVfs, Vfs as _};

use crate::{
    call::{Call, Command, JSON, Opt},
    ending::{Ending, Failure},
    files::Sequential,
    json::Json,
};

pub(crate) const COMMAND: Command = Command {
    name: "certify",
    what: "make certificates by which a coordinator and a storage know each other",
    about: "Certify makes, in the directory DIR, a certificate and a key for the machine NAME, a name or an address by which \
        others come to it, and an authority that vouches for it, if there is none there yet. A storage and its \
        coordinators on other machines take nobody for whom the authority does not vouch.",
    operands: &["DIR", "NAME"],
    options: &[&[Opt::value("--days", "N", "how long the certificate is good for (825)"), JSON]],
    notes: "A machine gets ca.pem, its certificate and its key; ca-key.pem, which lets others take part, stays. Once \
        SIGHUP or a new start has it read, a new certificate is shown.",
    examples: &["olivine certify certs db.internal", "olivine certify certs 10.0.0.2 --days 90"],
    run,
};

/// The longest key that is read.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// How long the authority is good for.
const AUTHORITY_DAYS: i64 = 3_650;

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let name = call.operand(1).and_then(OsStr::to_str);
    let name =
        name.ok_or_else(|| Failure::misused("`NAME` is missing: a machine's name or address"))?;
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(Failure::misused(format!("`{name}` is no name of a machine")));
    }
    let days =
        call.count("--days")?.unwrap_or(825).min(AUTHORITY_DAYS.unsigned_abs()).cast_signed();
    if RealVfs
        .entry(&dir)
        .map_err(Failure::io(format!("cannot look at {}", dir.display())))?
        .is_none()
    {
        let made = RealVfs.create_dir(&dir);
        made.map_err(Failure::io(format!("cannot make {}", dir.display())))?;
    }
    let now = RealClock::new().wall();
    let (ca, ca_key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    let failed =
        |what: String| Failure::new(Ending::Failed, format!("cannot make a certificate: {what}"));
    let is_new = RealVfs
        .entry(&ca_key)
        .map_err(Failure::io(format!("cannot look at {}", ca_key.display())))?
        .is_none();
    let authority_key = if is_new {
        let Authority { certificate, key } = authority(now, AUTHORITY_DAYS).map_err(failed)?;
        write(&ca_key, &key)?;
        write(&ca, &certificate)?;
        key
    } else {
        let mut key = String::new();
        let read = Sequential::open(&ca_key)?.take(KEY_BYTES_MAX).read_to_string(&mut key);
        read.map_err(Failure::io(format!("cannot read {}", ca_key.display())))?;
        key
    };
    let (certificate, key) = vouched(&authority_key, name, now, days).map_err(failed)?;
    let paths = [dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem"))];
    let [certificate_path, key_path] = &paths;
    write(key_path, &key)?;
    write(certificate_path, &certificate)?;
    tell(call, is_new, &ca, certificate_path, key_path)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = Sequential::create(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync());
    written.map_err(Failure::io(format!("cannot write {}", path.display())))
}

fn tell(
    call: &Call,
    is_new: bool,
    ca: &Path,
    certificate: &Path,
    key: &Path,
) -> Result<Ending, Failure> {
    let mut out = io::stdout().lock();
    if call.has("--json") {
        let path = |path: &Path| Json::from(path.to_string_lossy().into_owned());
        let json = Json::object([
            ("authority", path(ca)),
            ("authority_is_new", is_new.into()),
            ("certificate", path(certificate)),
            ("key", path(key)),
        ]);
        writeln!(out, "{json}")?;
        return Ok(Ending::Good);
    }
    if is_new {
        let key: PathBuf = ca.with_file_name("ca-key.pem");
        writeln!(
            out,
            "made an authority: {}; keep {} away from other machines",
            ca.display(),
            key.display()
        )?;
    }
    let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
    writeln!(
        out,
        "give the machine these three, and its half of the node\n  --peer-ca {ca} --peer-cert {certificate} --peer-key {key}"
    )?;
    Ok(Ending::Good)
}
