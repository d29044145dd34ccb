//! The server's side of TLS, for a program that measures: one certificate, no client certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{TlsError, TlsStage};
use crate::net::Stage;

/// The settings of all connections of a server; a clone shares everything.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
}

impl TlsServer {
    /// Settings with the certificate and its chain in one file and the private key in another, both PEM.
    ///
    /// # Errors
    ///
    /// `AuthorityFile` naming the file that cannot be read or used.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let error = |file: &Path, reason: String| TlsError::AuthorityFile {
            file: file.to_owned(),
            reason,
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|cause| error(certificate, cause.to_string()))?;
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|cause| error(key, cause.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|cause| error(certificate, cause.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    ///
    /// What rustls reports.
    pub fn accept(&self) -> Result<Box<dyn Stage>, TlsError> {
        Ok(Box::new(TlsStage::accept(Arc::clone(&self.config))?))
    }
}
