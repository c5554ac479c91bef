//! TLS between a coordinator and a storage on two machines: each shows a certificate that one authority
//! vouches for, and takes nobody without.
//!
//! 1. Nothing is said before both have proved who they are.
//! 2. The storage's certificate has the name that the coordinator calls it by.

use std::{path::PathBuf, sync::Arc, time::Duration};

use olivine_vfs::Vfs;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::ResolvesClientCert,
    server::WebPkiClientVerifier, sign::SingleCertAndKey,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Flags, chain, read, refused};
use crate::node::Problem;

/// Who may take part, and how this process proves that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSetting {
    /// The certificate of the authority that vouches for all who take part.
    pub authority: PathBuf,
    /// The certificate of this process.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

const OF_PEERS: Flags = Flags { certificate: "--peer-cert", key: "--peer-key" };
const AUTHORITY: &str = "--peer-ca";

/// TLS between the halves, for the one that is called and the one that calls.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
}

impl Peers {
    pub(crate) fn read(
        setting: &PeerSetting,
        vfs: &dyn Vfs,
        now: Duration,
    ) -> Result<Peers, Problem> {
        let PeerSetting { authority, certificate, key } = setting;
        let mut roots = RootCertStore::empty();
        for root in chain(authority, AUTHORITY, vfs)? {
            let wrong = |error| refused(authority, &format!("this vouches for nobody: {error}"));
            roots.add(root).map_err(wrong)?;
        }
        let roots = Arc::new(roots);
        let shown = Arc::new(SingleCertAndKey::from(read(certificate, key, OF_PEERS, vfs, now)?));
        let wrong = |error: &dyn std::fmt::Display| refused(authority, &error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| wrong(&error))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&shown) as _);
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_client_cert_resolver(shown as Arc<dyn ResolvesClientCert>);
        Ok(Peers {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }
}
