//! TLS, mostly towards upstreams: a [`Stage`](super::Stage) made of rustls, with the `ring` provider.
//!
//! [`TlsConfig`] owns what all connections share: the certificate authorities, which are loaded when the first
//! connection wants them, and the sessions to resume. [`TlsStage`] is one connection. The router has no mode that
//! does not check certificates; a private authority is added by its file instead. [`TlsServer`] is the other side, for
//! the probe. Client certificates and revocation lists are not here.
//!
//! Everything is compiled with the cargo feature `tls` only; without it, asking for TLS is answered with an error.

/// Whether this build has TLS.
pub const IS_SUPPORTED: bool = cfg!(feature = "tls");

#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod error;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod stage;
#[cfg(all(test, feature = "tls"))]
mod tests;
#[cfg(feature = "tls")]
mod verify;

#[cfg(feature = "tls")]
pub use self::{
    config::TlsConfig,
    error::{CertificateProblem, TlsError},
    server::TlsServer,
    stage::TlsStage,
};

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(not(feature = "tls"))]
pub use absent::{TlsConfig, TlsError, TlsServer, TlsStage};
