//! What can be wrong with a command line, in words.

use std::fmt;

use crate::config::parse::{Rejected, quoted};

/// Why the arguments are not accepted. Shows itself as one line without the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliError {
    /// No option is called so; as typed, without a value.
    Unknown(String),
    /// The prefix of several long names.
    Ambiguous {
        /// As typed, without a value.
        typed: String,
        /// The long names it may stand for.
        candidates: Vec<&'static str>,
    },
    /// The last argument is an option that needs a value.
    ValueMissing {
        /// Its names.
        option: String,
        /// What the value is called.
        argument: &'static str,
    },
    /// A flag was given a value with `=`.
    ValueUnexpected {
        /// Its names.
        option: String,
    },
    /// A value out of bounds or of the wrong form.
    Value {
        /// Its names.
        option: String,
        /// The value, and what would be accepted.
        rejected: Rejected,
    },
    /// An argument is not UTF-8; shown with replacements.
    NotUtf8(String),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Unknown(typed) => write!(f, "{} is not an option", quoted(typed)),
            CliError::Ambiguous { typed, candidates } => {
                write!(f, "{} may be ", quoted(typed))?;
                for (index, candidate) in candidates.iter().enumerate() {
                    let before = match index {
                        0 => "",
                        _ if index + 1 == candidates.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}--{candidate}")?;
                }
                Ok(())
            }
            CliError::ValueMissing { option, argument } => {
                write!(f, "{option}: a value is missing; give <{argument}>")
            }
            CliError::ValueUnexpected { option } => write!(f, "{option}: takes no value"),
            CliError::Value { option, rejected } => write!(f, "{option}: {rejected}"),
            CliError::NotUtf8(argument) => write!(f, "{} is not UTF-8", quoted(argument)),
        }
    }
}

impl std::error::Error for CliError {}
