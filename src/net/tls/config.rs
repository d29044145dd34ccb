//! What all TLS connections share: authorities and sessions to resume.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::verify::{Anybody, Verifier};
use super::{TlsError, TlsStage};
use crate::limits::TLS_SESSIONS_MAX;

/// Where systems keep all their authorities in one file; `SSL_CERT_FILE` names another. Measured: one file takes a
/// fraction of the time that the hundreds of files of a hashed directory take, and the loop waits for it.
const BUNDLES: &[&str] = &[
    // Debian, Arch, Alpine, OpenWrt.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora and its relatives.
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE.
    "/etc/ssl/ca-bundle.pem",
    // Systems with LibreSSL.
    "/etc/ssl/cert.pem",
];

/// The settings of all TLS connections; a clone shares everything, changes included.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    shared: Arc<Mutex<Arc<SharedConfig>>>,
}

#[derive(Debug)]
struct SharedConfig {
    /// Authorities from the configuration.
    own: RootCertStore,
    /// Made for the first connection: the system's authorities take a few hundred KiB, which a router without
    /// TLS upstreams does not have to spare.
    client: OnceLock<Arc<ClientConfig>>,
}

impl TlsConfig {
    /// Settings that trust the system's authorities and those of `ca_file` (PEM, one or more certificates).
    ///
    /// The file is read now, so that a mistake shows at start; the system's authorities with the first
    /// connection.
    ///
    /// # Errors
    ///
    /// `AuthorityFile` when the file cannot be read, holds no certificate, or one that cannot be an authority's.
    pub fn load(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let Some(file) = ca_file else {
            return Ok(Self::new(RootCertStore::empty(), OnceLock::new()));
        };
        let pem = std::fs::read(file).map_err(|error| TlsError::AuthorityFile {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        Self::from_pem(file, &pem)
    }

    /// As [`TlsConfig::load`], with the bytes of the file; its name is for complaints.
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::load`].
    pub fn from_pem(file: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::new(authorities(file, pem)?, OnceLock::new()))
    }

    fn new(own: RootCertStore, client: OnceLock<Arc<ClientConfig>>) -> Self {
        let shared = Arc::new(SharedConfig { own, client });
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// New connections have the settings of `other` from now on, those of all clones too.
    pub fn replace(&self, other: Self) {
        let other = other.current();
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn current(&self) -> Arc<SharedConfig> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shared)
    }

    /// Settings that take any certificate, for programs that measure and do not mind who answers.
    ///
    /// # Errors
    ///
    /// None; a build without TLS has one.
    pub fn trusting_everybody() -> Result<Self, TlsError> {
        let config = with_verifier(Arc::new(Anybody));
        let client = OnceLock::from(Arc::new(config));
        Ok(Self::new(RootCertStore::empty(), client))
    }

    /// The client's side of a new connection to `host`, a name or an IP address with or without brackets.
    ///
    /// The first call reads the system's authorities, which takes some milliseconds.
    ///
    /// # Errors
    ///
    /// `Host` when `host` is neither, `NoAuthorities` when there is nobody to trust.
    pub fn connect(&self, host: &str) -> Result<TlsStage, TlsError> {
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let name = ServerName::try_from(literal)
            .map_err(|_| TlsError::Host(host.to_owned()))?
            .to_owned();
        TlsStage::new(self.client()?, name)
    }

    fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let shared = self.current();
        if let Some(client) = shared.client.get() {
            return Ok(client.clone());
        }
        let client = Arc::new(client_config(trusted(shared.own.clone())?)?);
        Ok(shared.client.get_or_init(|| client).clone())
    }

    /// Settings that trust `own` alone, whatever the system does.
    #[cfg(test)]
    pub(super) fn trusting(own: RootCertStore) -> Self {
        let client = client_config(own.clone()).expect("a client configuration");
        Self::new(own, OnceLock::from(Arc::new(client)))
    }
}

/// The authorities in the bytes of a file.
fn authorities(file: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let error = |reason: String| TlsError::AuthorityFile {
        file: file.to_owned(),
        reason,
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|cause| error(cause.to_string()))?;
        store
            .add(certificate)
            .map_err(|cause| error(cause.to_string()))?;
    }
    if store.is_empty() {
        return Err(error("there is no certificate in it".to_owned()));
    }
    Ok(store)
}

/// `own` and the system's authorities.
fn trusted(own: RootCertStore) -> Result<RootCertStore, TlsError> {
    let mut store = own;
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut bundles = BUNDLES.iter().map(PathBuf::from);
    let found = named.or_else(|| bundles.find(|bundle| bundle.exists()));
    match found {
        Some(bundle) => add_bundle(&mut store, &bundle),
        None => log::debug!("tls: the system has no certificate authorities"),
    }
    if store.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(store)
}

/// Adds what can be used of a system's bundle: old or odd certificates among many are no reason to fail.
fn add_bundle(store: &mut RootCertStore, bundle: &Path) {
    let certificates = match CertificateDer::pem_file_iter(bundle) {
        Ok(certificates) => certificates,
        Err(error) => {
            log::warn!(
                "tls: certificate authorities in {}: {error}",
                bundle.display()
            );
            return;
        }
    };
    let (added, unusable) = store.add_parsable_certificates(certificates.filter_map(Result::ok));
    log::debug!(
        "tls: {added} certificate authorities in {}, {unusable} unusable",
        bundle.display()
    );
}

fn client_config(store: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let authorities = Arc::new(store);
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&authorities), provider)
        .build()
        .map_err(|_| TlsError::NoAuthorities)?;
    Ok(with_verifier(Arc::new(Verifier::new(inner, authorities))))
}

fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        // What rustls calls dangerous is to leave checks out; `Verifier` accepts nothing more than rustls does but what
        // is trusted by name, and `Anybody` is what was asked for.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_store_trusts_nobody_and_is_refused() {
        let error = client_config(RootCertStore::empty()).expect_err("refused");
        assert_eq!(error, TlsError::NoAuthorities);
    }

    #[test]
    fn a_bundle_gives_what_it_has_and_survives_what_is_odd() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::default();
        let good = params.self_signed(&key).expect("a certificate").pem();
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let file = std::env::temp_dir().join(format!("flowgate-bundle-{}", std::process::id()));
        std::fs::write(&file, format!("{odd}{good}{odd}")).expect("a file");
        let mut store = RootCertStore::empty();
        add_bundle(&mut store, &file);
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(store.len(), 1);
        add_bundle(&mut store, &file);
        assert_eq!(store.len(), 1);
    }
}
