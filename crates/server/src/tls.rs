//! TLS of the doors: a certificate and its key, read when the node starts and again when it is told to.
//!
//! 1. Where TLS is on, nothing is spoken without it.
//! 2. A key that others may read, a certificate that has expired or is of another key, is refused when
//!    the node starts; when it is told to read them again, the ones it has stay.
//! 3. TLS is 1.2 or 1.3.

mod certificate;
mod peers;

pub(crate) use certificate::made;
pub use certificate::{Authority, authority, vouched};
pub use peers::PeerSetting;
pub(crate) use peers::Peers;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use olivine_vfs::{Open, Vfs};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::{node::Problem, secret};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long a certificate that is made here is good for.
const MADE_FOR_DAYS: i64 = 825;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSetting {
    /// In these files, as PEM.
    Files {
        /// The certificate, and those that vouch for it behind it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// In `tls` in the data directory; made when they are not there, and vouched for by nobody.
    Auto,
}

/// The flags that name a certificate and its key.
#[derive(Clone, Copy)]
struct Flags {
    certificate: &'static str,
    key: &'static str,
}

const OF_DOORS: Flags = Flags { certificate: "--tls-cert", key: "--tls-key" };

/// TLS, ready to be spoken.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    vfs: Arc<dyn Vfs>,
    held: Arc<Held>,
    acceptor: TlsAcceptor,
}

/// The certificate that is shown now.
struct Held(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl ResolvesServerCert for Held {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads certificate and key, or makes them. `now` is the time since 1970.
    pub(crate) fn start(
        setting: &TlsSetting,
        data_dir: &Path,
        vfs: &Arc<dyn Vfs>,
        names: &[String],
        now: Duration,
    ) -> Result<Tls, Problem> {
        let (certificate, key) = match setting {
            TlsSetting::Files { certificate, key } => (certificate.clone(), key.clone()),
            TlsSetting::Auto => make(&data_dir.join("tls"), &**vfs, names, now)?,
        };
        let shown = read(&certificate, &key, OF_DOORS, &**vfs, now)?;
        let held = Arc::new(Held(RwLock::new(Arc::new(shown))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&certificate, &error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&held) as Arc<dyn ResolvesServerCert>);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Tls { certificate, key, vfs: Arc::clone(vfs), held, acceptor })
    }

    /// Reads certificate and key again. Connections that are there keep what they have.
    pub(crate) fn reload(&self, now: Duration) -> Result<(), Problem> {
        let shown = read(&self.certificate, &self.key, OF_DOORS, &*self.vfs, now)?;
        *self.held.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// What tells the certificate from others: SHA-256, as browsers and `openssl x509 -fingerprint` show it.
    pub(crate) fn fingerprint(&self) -> String {
        let held = self.held.0.read().unwrap_or_else(PoisonError::into_inner);
        let der = held.cert.first().map_or(&[][..], |certificate| certificate.as_ref());
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// Where the certificate is.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

fn refused(path: &Path, what: &str) -> Problem {
    Problem::Settings(format!("{}: {what}", path.display()))
}

/// The certificates in a file.
fn chain(path: &Path, flag: &str, vfs: &dyn Vfs) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&contents(path, flag, vfs)?).collect();
    let chain = chain.map_err(|error| refused(path, &format!("no PEM: {error}")))?;
    if chain.is_empty() {
        let text = format!("there is no certificate in it; {flag} names it");
        return Err(refused(path, &text));
    }
    Ok(chain)
}

fn read(
    certificate: &Path,
    key: &Path,
    flags: Flags,
    vfs: &dyn Vfs,
    now: Duration,
) -> Result<CertifiedKey, Problem> {
    let chain = chain(certificate, flags.certificate, vfs)?;
    let validity = chain
        .first()
        .and_then(|first| certificate::validity(first))
        .ok_or_else(|| refused(certificate, "the certificate cannot be read"))?;
    if validity.until < now {
        let flag = flags.certificate;
        let text =
            format!("the certificate has expired; put a new one there, or name it with {flag}");
        return Err(refused(certificate, &text));
    }
    if now < validity.from {
        let text = "the certificate is not valid yet; is the clock of this machine right?";
        return Err(refused(certificate, text));
    }
    check_private(key, flags.key)?;
    let der = PrivateKeyDer::from_pem_slice(&contents(key, flags.key, vfs)?)
        .map_err(|error| refused(key, &format!("there is no private key in it: {error}")))?;
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider
        .key_provider
        .load_private_key(der)
        .map_err(|error| refused(key, &format!("the key cannot be used: {error}")))?;
    let shown = CertifiedKey::new(chain, signing);
    shown.keys_match().map_err(|_| {
        let flag = flags.key;
        let text = format!("it is not the key of {}; {flag} names it", certificate.display());
        refused(key, &text)
    })?;
    Ok(shown)
}

/// Refuses a key that others may read or replace.
pub(crate) fn check_private(path: &Path, flag: &str) -> Result<(), Problem> {
    let permissions = olivine_vfs::permissions(path).map_err(|source| Problem::System {
        what: format!("cannot look at {}; see {flag}", path.display()),
        source,
    })?;
    if permissions.mode & 0o077 != 0 {
        let mode = permissions.mode & 0o777;
        let text = format!("others may read or change this key (mode {mode:o}); chmod 600 it");
        return Err(refused(path, &text));
    }
    Ok(())
}

fn contents(path: &Path, flag: &str, vfs: &dyn Vfs) -> Result<Vec<u8>, Problem> {
    let failed = |source| Problem::System {
        what: format!("cannot read {}; see {flag}", path.display()),
        source,
    };
    let file = vfs.open(path, Open::Read).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    if FILE_BYTES_MAX < length {
        return Err(refused(path, "it is too long for what it should be"));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Makes a certificate and its key, if they are not there.
fn make(
    dir: &Path,
    vfs: &dyn Vfs,
    names: &[String],
    now: Duration,
) -> Result<(PathBuf, PathBuf), Problem> {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let failed = |source| Problem::System {
        what: format!("cannot make {}; see --tls", certificate.display()),
        source,
    };
    let is_there = |path: &Path| vfs.entry(path).map(|entry| entry.is_some()).map_err(failed);
    if is_there(&certificate)? && is_there(&key)? {
        return Ok((certificate, key));
    }
    crate::node::make_dirs(vfs, dir, "--data-dir")?;
    let (certificate_pem, key_pem) = made(names, now, MADE_FOR_DAYS)
        .map_err(|error| refused(&certificate, &format!("cannot be made: {error}")))?;
    // The key first, so that a certificate never stands without one; what was left of an attempt goes.
    for (path, text) in [(&key, key_pem), (&certificate, certificate_pem)] {
        put_file(vfs, path, text.as_bytes()).map_err(failed)?;
    }
    vfs.sync_dir(dir).map_err(failed)?;
    Ok((certificate, key))
}

/// Writes a file beside its place, and puts it there whole.
fn put_file(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut number = [0; 4];
    secret::random(&mut number).ok();
    let beside = path.with_extension(format!("{}.new", secret::hex(&number)));
    let file = vfs.open(&beside, Open::Create)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    vfs.rename(&beside, path)
}
