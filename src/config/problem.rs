//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something has no effect, as is to be expected of this version or of the way it is written.
    Notice,
    /// Something probably does not mean what it was meant to; it holds all the same, at a start and at a reload.
    Doubtful,
    /// Something was left out that was meant to have an effect: a start goes on without it, a reload does not.
    Wrong,
    /// There is no configuration to start with.
    Fatal,
}

/// One problem; shows itself as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file and the line, the first is 1; `None` for the command line and the whole.
    pub place: Option<(PathBuf, usize)>,
    /// The [subject](super::settings::Setting::subject) of the setting that could not be said, if it is known.
    pub subject: Option<&'static str>,
    /// What is wrong, and what would be right; never a secret, never a control character.
    pub text: String,
}

impl Problem {
    /// A problem of the command line, or of everything together.
    pub fn of_all(severity: Severity, text: String) -> Problem {
        Problem {
            severity,
            place: None,
            subject: None,
            text,
        }
    }

    /// The level it is logged at: what does not do what was meant is an error, so that it shows by default.
    pub fn level(&self) -> log::Level {
        match self.severity {
            Severity::Notice => log::Level::Warn,
            Severity::Doubtful | Severity::Wrong | Severity::Fatal => log::Level::Error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{}:{line}: ", shown(file))?;
        }
        f.write_str(&self.text)
    }
}

/// A path as one printable line.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
