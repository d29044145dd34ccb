//! Why TLS failed, in words for a log line and for the answer to a client.

use std::path::PathBuf;
use std::{fmt, io};

use rustls::CertificateError;

use super::verify::{SelfSigned, is_of_authority};

/// Why there is no TLS connection, or no longer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// A file with certificate authorities cannot be used.
    AuthorityFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither the system nor the configuration names an authority, so that nobody can be trusted.
    NoAuthorities,
    /// What should be connected to is neither a host name nor an IP address.
    Host(String),
    /// The server's certificate proves nothing.
    Certificate {
        /// The server's name or address, as asked for.
        server: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// The server ended the connection before the handshake was over.
    ClosedInHandshake {
        /// The server.
        server: String,
    },
    /// The connection ended without the announcement of its end (RFC 8446 §6.1), behind a whole record.
    Unannounced {
        /// The server.
        server: String,
    },
    /// The connection ended inside a record, so bytes are missing.
    Truncated {
        /// The server.
        server: String,
    },
    /// The protocol was violated, or the server refused.
    Protocol {
        /// The server.
        server: String,
        /// What happened.
        reason: String,
    },
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It has expired.
    Expired,
    /// It is not valid yet; or the clock of this machine is wrong.
    NotYetValid,
    /// Nobody who is trusted has signed it.
    UnknownIssuer,
    /// It is signed by itself, and is not trusted.
    SelfSigned,
    /// It is that of an authority and not of a server.
    Authority,
    /// It is for somebody else.
    WrongName,
    /// Anything else.
    Other(String),
}

impl TlsError {
    /// What `error` means on a connection to `server`.
    pub(super) fn of_connection(server: &str, error: rustls::Error) -> Self {
        let server = server.to_owned();
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate {
                server,
                problem: CertificateProblem::new(error),
            },
            rustls::Error::AlertReceived(alert) => Self::Protocol {
                server,
                reason: format!("the server refuses with alert {alert:?}"),
            },
            rustls::Error::InvalidMessage(message) => Self::Protocol {
                server,
                reason: format!("the server does not speak TLS properly ({message:?})"),
            },
            other => Self::Protocol {
                server,
                reason: other.to_string(),
            },
        }
    }
}

impl CertificateProblem {
    fn new(error: CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Other(other) if other.0.is::<SelfSigned>() => Self::SelfSigned,
            error if is_of_authority(&error) => Self::Authority,
            CertificateError::Other(other) => Self::Other(other.0.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorityFile { file, reason } => {
                write!(f, "certificate authorities in {}: {reason}", file.display())
            }
            Self::NoAuthorities => f.write_str(
                "no certificate authorities to trust: install the system's (package \
                 ca-certificates or ca-bundle) or name a file",
            ),
            Self::Host(host) => write!(f, "{host:?} is neither a host name nor an IP address"),
            Self::Certificate { server, problem } => {
                write!(f, "the certificate of {server} {problem}")
            }
            Self::ClosedInHandshake { server } => {
                write!(f, "{server} closed the connection during the TLS handshake")
            }
            Self::Truncated { server } => {
                write!(f, "the TLS connection to {server} was cut off")
            }
            Self::Unannounced { server } => write!(
                f,
                "{server} ended the TLS connection without announcing it (close_notify), so what has no length \
                 may be incomplete"
            ),
            Self::Protocol { server, reason } => write!(f, "TLS with {server}: {reason}"),
        }
    }
}

/// The predicate of "the certificate of …".
impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet, or the clock here is wrong"),
            Self::UnknownIssuer => f.write_str("was issued by an unknown authority"),
            Self::SelfSigned => f.write_str("is signed by itself and not trusted"),
            Self::Authority => f.write_str("is that of an authority and not of a server"),
            Self::WrongName => f.write_str("is for another name"),
            Self::Other(reason) => write!(f, "was not accepted: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error {
            TlsError::ClosedInHandshake { .. } | TlsError::Unannounced { .. } => {
                io::ErrorKind::UnexpectedEof
            }
            TlsError::Truncated { .. } => io::ErrorKind::ConnectionAborted,
            TlsError::Certificate { .. } | TlsError::Protocol { .. } => io::ErrorKind::InvalidData,
            TlsError::Host(_) => io::ErrorKind::InvalidInput,
            TlsError::AuthorityFile { .. } | TlsError::NoAuthorities => io::ErrorKind::NotFound,
        };
        Self::new(kind, error)
    }
}
