//! The command line: arguments become an [`Invocation`], or one clear complaint; with the files it names, the
//! invocation becomes a checked configuration ([`Invocation::load`]), and does again whenever the files change
//! ([`Invocation::reload`]).
//!
//! [`options`] is the list of options, of which most belong to the table of settings; the parser, the help text
//! and the documentation check follow it. Nothing is printed here.

mod error;
mod help;
mod load;
mod options;
mod spelling;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::parse::{Rejected, quoted};
use crate::config::settings::{Argument, Setting};
use crate::config::{Config, Draft, Problem, Severity, Source};
use crate::limits::CONFIG_FILES_MAX;
pub use error::CliError;
pub use load::{DEFAULT_FILES, Loaded};
use options::Effect;
pub use options::{Action, OptionSpec, options};

/// The name in the usage line if the arguments do not say one.
const PROGRAM: &str = "flowgate";

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run the router.
    Run,
    /// Run the router with its own test source.
    Demo,
    /// Tell every problem of the configuration.
    CheckConfig,
    /// Print the configuration in effect.
    PrintConfig,
    /// Print this help text to standard output.
    Help(String),
    /// Print this version line to standard output.
    Version(String),
}

/// A command line that was understood: what to do, and the settings it says.
#[derive(Clone)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// Whether the values that nobody says are those of the demo.
    demo: bool,
    /// Settings and their texts, each accepted, from left to right.
    given: Vec<(&'static Setting, String)>,
    /// The values of `-c`.
    files: Vec<PathBuf>,
    /// Whether `-C` was given.
    without_default: bool,
    /// What was ignored.
    notices: Vec<Problem>,
}

impl fmt::Debug for Invocation {
    /// Without the values, of which one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("command", &self.command)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Reads the arguments of a process, of which the first is the program's own name.
///
/// Options take effect from left to right: the last of a repeated option holds, `-l` and `-c` add up, `-h` and
/// `-V` decide at once. The word `demo` before other words asks for [`Command::Demo`]; the others are
/// ignored, as the compatible router ignores them, but not in silence. Its options that are
/// [absent](crate::config::settings::Absent) here are ignored with a notice.
///
/// # Errors
///
/// The first argument that is not accepted; the whole line is checked for its form before any value is.
pub fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Invocation, CliError> {
    let mut args = args.into_iter().map(Into::into);
    let program = args.next().map_or_else(|| PROGRAM.to_owned(), basename);
    let args = args
        .map(|arg| match arg.into_string() {
            Ok(arg) => Ok(arg),
            Err(arg) => Err(CliError::NotUtf8(arg.to_string_lossy().into_owned())),
        })
        .collect::<Result<Vec<_>, _>>()?;

    let spelt = spelling::take_apart(args)?;
    let demo = spelt.words.first().is_some_and(|word| word == "demo");
    let ignored = spelt.words.iter().skip(usize::from(demo));
    let mut invocation = Invocation {
        command: if demo { Command::Demo } else { Command::Run },
        demo,
        given: Vec::new(),
        files: Vec::new(),
        without_default: false,
        notices: ignored
            .map(|word| {
                let text = format!("{} is not an option and is ignored", quoted(word));
                Problem::of_all(Severity::Doubtful, text)
            })
            .collect(),
    };
    let mut draft = Draft::new(invocation.base());
    for (option, value) in spelt.options {
        let refused = |rejected| CliError::Value {
            option: option.names(),
            rejected,
        };
        match option {
            OptionSpec::Setting(setting) => {
                let text = match setting.argument {
                    Argument::Named(_) => value,
                    Argument::Implied(text) => text.to_owned(),
                };
                draft
                    .set(setting, &text, Source::CommandLine)
                    .map_err(refused)?;
                invocation.notices.extend(meant_as_port(setting, &text));
                invocation.given.push((setting, text));
            }
            OptionSpec::Absent(absent) => {
                let text = format!("{} {}", option.names(), absent.notice());
                invocation.notices.push(notice(text));
            }
            OptionSpec::Action(action) => match action.effect {
                Effect::Config => {
                    let file = config_file(&value, invocation.files.len()).map_err(refused)?;
                    invocation.files.push(file);
                }
                Effect::NoConfig => invocation.without_default = true,
                Effect::CheckConfig => invocation.command = Command::CheckConfig,
                Effect::PrintConfig => invocation.command = Command::PrintConfig,
                Effect::Help => {
                    invocation.command = Command::Help(help::help(&program));
                    break;
                }
                Effect::Version => {
                    invocation.command = Command::Version(help::version());
                    break;
                }
            },
        }
    }
    Ok(invocation)
}

impl Invocation {
    /// The values that hold if neither the command line nor a file says others.
    fn base(&self) -> Config {
        match self.demo {
            true => Config::demo(),
            false => Config::default(),
        }
    }
}

/// In udpxy `-p` is the port to listen on; here, as in the compatible router, it is a page.
fn meant_as_port(setting: &Setting, text: &str) -> Option<Problem> {
    let is_doubtful = setting.long == "player-page-path" && text.parse::<u16>().is_ok();
    is_doubtful.then(|| {
        let text = format!(
            "-p {text} is taken for the path of the player page; -l says the port to listen on"
        );
        Problem::of_all(Severity::Doubtful, text)
    })
}

/// The value of `-c`, `before` of which were given already.
fn config_file(text: &str, before: usize) -> Result<PathBuf, Rejected> {
    if text.is_empty() || text.contains('\0') {
        return Err(Rejected::new(text, "the path of a configuration file"));
    }
    if before == CONFIG_FILES_MAX {
        let accepted = format!("at most {CONFIG_FILES_MAX} files");
        return Err(Rejected::new(text, accepted));
    }
    Ok(PathBuf::from(text))
}

fn notice(text: String) -> Problem {
    Problem::of_all(Severity::Notice, text)
}

/// The name a user knows the program by, made printable.
fn basename(program: OsString) -> String {
    match Path::new(&program).file_name() {
        Some(name) => name.to_string_lossy().escape_debug().to_string(),
        None => PROGRAM.to_owned(),
    }
}

#[cfg(test)]
mod tests;
