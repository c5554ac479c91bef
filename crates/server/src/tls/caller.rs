//! TLS towards a server, for programs that wait for their answers.

use std::{
    io,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use olivine_vfs::{RealVfs, Vfs as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};

use super::{chain, refused};
use crate::node::Problem;

/// Where systems keep the certificates of those who vouch for others.
const OF_SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How long agreeing on TLS may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that nobody else can listen to.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Whom a program trusts to vouch for servers.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Those whose certificates are in this file, which `flag` names; without one, those the system trusts.
    pub fn read(authority: Option<&Path>, flag: &str) -> Result<Trust, Problem> {
        let path = match authority {
            Some(path) => path.to_owned(),
            None => of_system(flag)?,
        };
        let mut roots = RootCertStore::empty();
        let all = chain(&path, flag, &RealVfs::new())?;
        // A system's file has some that are too old for their form; one that was named must be right.
        let (_, wrong) = roots.add_parsable_certificates(all);
        if roots.is_empty() || (authority.is_some() && 0 < wrong) {
            return Err(refused(&path, &format!("a certificate in it cannot be used; see {flag}")));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&path, &error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    /// Agrees on TLS with the server of this name or address, which its certificate must have.
    pub fn wrap(&self, mut stream: TcpStream, name: &str) -> io::Result<TlsStream> {
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = ServerName::try_from(name.to_owned()).map_err(wrong)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let patience = (stream.read_timeout()?, stream.write_timeout()?);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        stream.set_read_timeout(patience.0)?;
        stream.set_write_timeout(patience.1)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

fn of_system(flag: &str) -> Result<PathBuf, Problem> {
    let is_there = |path: &&&str| matches!(RealVfs.entry(Path::new(path)), Ok(Some(_)));
    OF_SYSTEM.iter().find(is_there).map(PathBuf::from).ok_or_else(|| {
        let text = "this system trusts nobody to vouch for servers";
        Problem::Settings(format!("{text}; {flag} names a certificate"))
    })
}
