//! TLS towards a node: whom a client trusts to vouch for it.

use std::{
    io,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{Open, RealVfs, Vfs as _};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::{Error, Result};

/// Where systems keep the certificates of those who vouch for others.
const OF_SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The most that a file of certificates may have.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A connection that nobody else can listen to.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Whom a client trusts to vouch for nodes.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Those whom the system trusts.
    pub fn of_system() -> Result<Trust> {
        let is_there = |path: &&&str| matches!(RealVfs.entry(Path::new(path)), Ok(Some(_)));
        let path = OF_SYSTEM.iter().find(is_there).map(PathBuf::from).ok_or_else(|| {
            Error::misused("this system trusts nobody to vouch for nodes; name a certificate")
        })?;
        // There are some that are too old for their form among them.
        Trust::of(&path, false)
    }

    /// Those whose certificates are in this file (PEM), all of which must be right.
    pub fn read(path: &Path) -> Result<Trust> {
        Trust::of(path, true)
    }

    fn of(path: &Path, all: bool) -> Result<Trust> {
        let unreadable = |what: String| Error::Unreadable { path: path.to_owned(), what };
        let text = contents(path).map_err(|error| unreadable(error.to_string()))?;
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| unreadable(format!("no PEM: {error}")))?;
        let mut roots = RootCertStore::empty();
        let (_, wrong) = roots.add_parsable_certificates(certificates);
        if roots.is_empty() || (all && 0 < wrong) {
            return Err(unreadable(
                "there is a certificate in it that cannot be used, or none".to_owned(),
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unreadable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    /// Agrees on TLS with the server of this name or address, which its certificate must have, within the times of the
    /// stream.
    pub fn wrap(&self, mut stream: TcpStream, name: &str) -> io::Result<TlsStream> {
        let mut connection = ClientConnection::new(Arc::clone(&self.0), server_name(name)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// The same for tasks of tokio.
    pub(crate) async fn wrap_async(
        &self,
        stream: tokio::net::TcpStream,
        name: &str,
    ) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        connector.connect(server_name(name)?, stream).await
    }
}

fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    let wrong = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    ServerName::try_from(name.to_owned()).map_err(wrong)
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let file = RealVfs.open(path, Open::Read)?;
    let length = file.len()?;
    if FILE_BYTES_MAX < length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large for certificates"));
    }
    let mut text = vec![0; length as usize];
    let read = file.read_at(&mut text, 0)?;
    text.truncate(read);
    Ok(text)
}
