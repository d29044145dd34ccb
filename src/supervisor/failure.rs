//! Why the program ends other than well.

use crate::listen::ListenError;
use crate::pid_file::{self, PidFileError};

/// What to say, and what to end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A line for people.
    pub text: String,
    /// The exit status of the process (server spec §14.5).
    pub exit_status: u8,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self {
            text,
            exit_status: 1,
        }
    }
}

impl From<PidFileError> for Failure {
    fn from(error: PidFileError) -> Self {
        Self {
            text: error.to_string(),
            exit_status: pid_file::EXIT_STATUS,
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self {
            text: error.to_string(),
            exit_status: error.exit_status(),
        }
    }
}
