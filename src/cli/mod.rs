//! The command line: arguments become a [`Command`] with a checked [`Config`], or one clear complaint.
//!
//! [`options`] is the list of options, of which most belong to the table of settings; the parser, the help text
//! and the documentation check follow it. Nothing is printed here.

mod error;
mod help;
mod options;
mod spelling;

use std::ffi::OsString;
use std::path::Path;

use crate::config::parse::quoted;
use crate::config::settings::Argument;
use crate::config::{Config, Draft, Source};
pub use error::CliError;
use options::Effect;
pub use options::{Action, OptionSpec, options};

/// The name in the usage line if the arguments do not say one.
const PROGRAM: &str = "flowgate";

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run the router.
    Run(Config),
    /// Run the router with its own test source.
    Demo(Config),
    /// Print this help text to standard output.
    Help(String),
    /// Print this version line to standard output.
    Version(String),
}

/// A command, and what to tell the user about arguments that were ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// One line each, without the program's name.
    pub warnings: Vec<String>,
}

/// Reads the arguments of a process, of which the first is the program's own name.
///
/// Options take effect from left to right: the last of a repeated option holds, `-l` adds up, `-h` and
/// `-V` decide at once. The word `demo` before other words asks for [`Command::Demo`]; the others are
/// ignored with a warning, as the compatible router ignores them.
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
    let warnings = spelt.words[usize::from(demo)..]
        .iter()
        .map(|word| format!("{} is not an option and is ignored", quoted(word)))
        .collect();

    let mut draft = Draft::new(match demo {
        true => Config::demo(),
        false => Config::default(),
    });
    for (option, value) in spelt.options {
        let setting = match option {
            OptionSpec::Setting(setting) => setting,
            OptionSpec::Action(action) => {
                let command = match action.effect {
                    Effect::NoConfig => continue,
                    Effect::Help => Command::Help(help::help(&program)),
                    Effect::Version => Command::Version(help::version()),
                };
                return Ok(Invocation { command, warnings });
            }
        };
        let text = match setting.argument {
            Argument::Named(_) => value.as_str(),
            Argument::Implied(text) => text,
        };
        let set = draft.set(setting, text, Source::CommandLine);
        set.map_err(|rejected| CliError::Value {
            option: option.names(),
            rejected,
        })?;
    }
    let (config, _) = draft.finish();
    let command = match demo {
        true => Command::Demo(config),
        false => Command::Run(config),
    };
    Ok(Invocation { command, warnings })
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
