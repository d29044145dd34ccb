//! Why a session failed, and what the client is told.

use std::fmt;
use std::time::Duration;

use super::auth::AuthError;
use super::message::{MessageError, Method};
use super::transport::TransportError;
use super::url::UrlError;

/// Why there is no media, or no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The URL cannot be used.
    Url(UrlError),
    /// There is no connection.
    Connect(ConnectError),
    /// The server closed the connection, or ended the session, before there was any media.
    Closed,
    /// No answer to a request in time.
    ReplyTimeout {
        /// The request.
        method: Method,
        /// How long it was waited for.
        wait: Duration,
    },
    /// The server answered with an error.
    Refused {
        /// The request.
        method: Method,
        /// The answer.
        status: u16,
    },
    /// The server could not be satisfied as to who we are.
    Auth(AuthError),
    /// The server sent us elsewhere, and that did not work.
    Redirect(RedirectError),
    /// A message makes no sense, or one of ours cannot be written.
    Message(MessageError),
    /// The server chose a transport that cannot be used.
    Transport(TransportError),
    /// The media is what the description says, and that is not MPEG-TS.
    Encoding {
        /// Its name in RTP.
        name: &'static str,
    },
    /// No media came after PLAY.
    NoMedia {
        /// How long it was waited for.
        wait: Duration,
    },
    /// Media came and stopped.
    Stalled {
        /// How long there was none.
        wait: Duration,
    },
    /// The length of what has no known end was asked for.
    NoDuration,
}

impl Error {
    /// Status code of the answer to the client, if its head is not out yet (RTSP spec §25).
    pub fn status(&self) -> u16 {
        match self {
            Error::Url(UrlError::TooLong { .. }) | Error::NoDuration => 404,
            _ => 503,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(error) => error.fmt(f),
            Error::Connect(error) => error.fmt(f),
            Error::Closed => f.write_str("server closed before any media"),
            Error::ReplyTimeout { method, wait } => {
                write!(f, "no answer to {} within {wait:?}", method.name())
            }
            Error::Refused { method, status } => {
                write!(f, "server answered {} with {status}", method.name())
            }
            Error::Auth(error) => error.fmt(f),
            Error::Redirect(error) => error.fmt(f),
            Error::Message(error) => error.fmt(f),
            Error::Transport(error) => error.fmt(f),
            Error::Encoding { name } => {
                write!(f, "server plays {name}, and only MPEG-TS can be passed on")
            }
            Error::NoMedia { wait } => write!(f, "no media within {wait:?} of PLAY"),
            Error::Stalled { wait } => write!(f, "no media for {wait:?}"),
            Error::NoDuration => f.write_str("server names no end of the media"),
        }
    }
}

impl std::error::Error for Error {}

/// Why there is no connection; the shell knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The name cannot be resolved.
    Name,
    /// No address accepts connections.
    Refused,
    /// No address answers in time, or all of it took too long.
    Timeout,
    /// The server's TLS cannot be used.
    Tls,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectError::Name => "server's name cannot be resolved",
            ConnectError::Refused => "no address of the server accepts a connection",
            ConnectError::Timeout => "connecting to the server took too long",
            ConnectError::Tls => "TLS with the server failed",
        })
    }
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectError {
    /// No `Location`.
    Missing,
    /// `Location` is no URL that can be used.
    Url(UrlError),
    /// It leads to where we have been.
    Loop,
    /// The next one after `limit`.
    TooMany {
        /// How many are followed.
        limit: usize,
    },
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectError::Missing => f.write_str("redirect without Location"),
            RedirectError::Url(error) => write!(f, "redirect: {error}"),
            RedirectError::Loop => f.write_str("redirect to where we came from"),
            RedirectError::TooMany { limit } => write!(f, "more than {limit} redirects"),
        }
    }
}

macro_rules! from {
    ($($source:ident => $variant:ident),*) => {
        $(impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Error::$variant(error)
            }
        })*
    };
}

from!(UrlError => Url, ConnectError => Connect, AuthError => Auth, RedirectError => Redirect,
    MessageError => Message, TransportError => Transport);
