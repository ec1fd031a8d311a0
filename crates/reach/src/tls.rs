//! Which certificate authorities are believed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

/// Where the certificates of the authorities come from: the values of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`, as OpenSSL reads them. Where both are `None` it is the system's store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// A PEM file of any number of certificates.
    pub file: Option<PathBuf>,
    /// A directory of PEM files.
    pub directory: Option<PathBuf>,
}

/// The named certificates could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the certificates of the authorities from {from}; check SSL_CERT_FILE and SSL_CERT_DIR"
)]
pub struct RootsError {
    /// The file or directory.
    pub from: String,
    /// What was wrong; `None` where it held none.
    #[source]
    pub source: Option<rustls_native_certs::Error>,
}

impl Roots {
    /// Reads them. An empty answer means that the system has none: plain HTTP still works, and the
    /// first TLS connection says what is missing.
    pub(crate) fn load(&self) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        if self.file.is_none() && self.directory.is_none() {
            // Single unreadable files of the system's store are no reason to fail.
            return Ok(rustls_native_certs::load_native_certs().certs);
        }
        let mut found = rustls_native_certs::load_certs_from_paths(
            self.file.as_deref(),
            self.directory.as_deref(),
        );
        if found.certs.is_empty() {
            let from = [&self.file, &self.directory]
                .into_iter()
                .flatten()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(" and ");
            return Err(RootsError {
                from,
                source: (!found.errors.is_empty()).then(|| found.errors.swap_remove(0)),
            });
        }
        Ok(found.certs)
    }
}

/// The one implementation of cryptography in the program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
