//! TLS by rustls: certificates of listeners, and what backends must show.
//!
//! Entry: [`of_listener`], [`of_backend`], [`ends`]. A name in the handshake that is no host name is refused by rustls itself
//! (rule family G7), and so is a protocol that is not SMTP (ALPACA, CVE-2021-3618).

mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

use crate::config::{BackendFile, ListenerFile};

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A PEM file.
    #[error("cannot read {}", .0.display())]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// A file without a certificate.
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// Certificate and key, or the roots.
    #[error("certificate and key cannot be used together")]
    Rustls(#[from] rustls::Error),
    /// The name a backend must show.
    #[error("{0:?} is no name that a certificate can show")]
    Name(String),
}

/// What a listener shows; `None` where it has no certificate.
pub(crate) fn of_listener(listener: &ListenerFile) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let (Some(certificate), Some(key)) = (&listener.certificate, &listener.key) else {
        return Ok(None);
    };
    let chain = certificates(certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Pem(key.clone(), error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"smtp".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Until when what a listener shows holds: the earliest end in its chain.
pub(crate) fn ends(listener: &ListenerFile) -> Option<Timestamp> {
    let chain = certificates(listener.certificate.as_ref()?).ok()?;
    let ends = chain.iter().filter_map(|one| validity::not_after(one));
    ends.min()
}

/// What a backend must show; `None` where it is spoken to in clear.
pub(crate) fn of_backend(
    backend: &BackendFile,
) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, TlsError> {
    let (Some(name), Some(path)) = (&backend.starttls, &backend.roots) else {
        return Ok(None);
    };
    let Ok(server_name) = ServerName::try_from(name.clone()) else {
        return Err(TlsError::Name(name.clone()));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some((Arc::new(config), server_name)))
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error| TlsError::Pem(path.clone(), error);
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.clone()));
    }
    Ok(chain)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
