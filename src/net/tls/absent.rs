//! What a build without the cargo feature `tls` has in place of TLS: a refusal.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;

use crate::net::{Io, Net, Stage, Watched};

/// This build has no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsError;

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https is not supported: this build is without TLS (cargo feature tls)")
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::Unsupported, error)
    }
}

/// The settings of no connection.
#[derive(Debug, Clone)]
pub struct TlsConfig(());

impl TlsConfig {
    /// Nothing to load.
    ///
    /// # Errors
    ///
    /// When a file with certificate authorities is given, which would be of no use.
    pub fn load(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        ca_file.map_or(Ok(Self(())), |_| Err(TlsError))
    }

    /// Nothing to trust anybody with.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn trusting_everybody() -> Result<Self, TlsError> {
        Err(TlsError)
    }

    /// Nothing to take from a file.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn from_pem(_file: &Path, _pem: &[u8]) -> Result<Self, TlsError> {
        Err(TlsError)
    }

    /// There is nothing to replace.
    pub fn replace(&self, _other: Self) {}

    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn connect(&self, _host: &str) -> Result<TlsStage, TlsError> {
        Err(TlsError)
    }
}

/// The settings of no server.
#[derive(Debug, Clone)]
pub enum TlsServer {}

impl TlsServer {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn load(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        Err(TlsError)
    }

    /// Cannot be called.
    ///
    /// # Errors
    ///
    /// None.
    pub fn accept(&self) -> Result<Box<dyn Stage>, TlsError> {
        match *self {}
    }
}

/// A connection that cannot exist.
#[derive(Debug)]
pub enum TlsStage {}

impl Stage for TlsStage {
    fn read(&mut self, _: &mut Watched, _: &mut dyn Net, _: &mut [u8]) -> io::Result<Io<usize>> {
        match *self {}
    }

    fn write(
        &mut self,
        _: &mut Watched,
        _: &mut dyn Net,
        _: &[IoSlice<'_>],
    ) -> io::Result<Io<usize>> {
        match *self {}
    }

    fn flush(&mut self, _: &mut Watched, _: &mut dyn Net) -> io::Result<Io<()>> {
        match *self {}
    }

    fn close(&mut self, _: &mut Watched, _: &mut dyn Net) {
        match *self {}
    }

    fn can_read(&self, _: &Watched) -> bool {
        match *self {}
    }

    fn can_write(&self, _: &Watched) -> bool {
        match *self {}
    }

    fn wants_write(&self) -> bool {
        match *self {}
    }

    fn is_handshaking(&self) -> bool {
        match *self {}
    }

    fn held_bytes(&self) -> usize {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_refused_with_a_reason() {
        let config = TlsConfig::load(None).expect("nothing is asked for");
        let error = config.connect("server.example").expect_err("refused");
        assert!(error.to_string().contains("this build is without TLS"));
        assert!(TlsConfig::load(Some(Path::new("ca.pem"))).is_err());
    }
}
