//! Every option of the command line: those of the [settings](crate::config::settings), and the few that are none.

use crate::config::settings::{Absent, Argument, Group, Setting, absent, settings};

/// One option, as it is parsed and documented.
#[derive(Debug, Clone, Copy)]
pub enum OptionSpec {
    /// It says the value of a setting.
    Setting(&'static Setting),
    /// It says what to do.
    Action(&'static Action),
    /// It has no effect, but is understood.
    Absent(&'static Absent),
}

/// An option that says what to do; in the group [`Group::Other`].
#[derive(Debug)]
pub struct Action {
    short: Option<char>,
    long: &'static str,
    argument: Option<&'static str>,
    description: &'static str,
    pub(super) effect: Effect,
}

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Config,
    NoConfig,
    CheckConfig,
    PrintConfig,
    Help,
    Version,
}

/// All options that have an effect, in the order of the help text.
pub fn options() -> impl Iterator<Item = OptionSpec> {
    let settings = settings().iter().map(OptionSpec::Setting);
    settings.chain(ACTIONS.iter().map(OptionSpec::Action))
}

/// All options that are understood.
pub(super) fn understood() -> impl Iterator<Item = OptionSpec> {
    options().chain(absent().iter().map(OptionSpec::Absent))
}

static ACTIONS: &[Action] = &[
    Action {
        short: Some('c'),
        long: "config",
        argument: Some("file"),
        description: "read this configuration file in place of the default one; may be repeated, a later file goes \
                      before an earlier one and the command line before all",
        effect: Effect::Config,
    },
    Action {
        short: Some('C'),
        long: "noconfig",
        argument: None,
        description: "do not read the default configuration file",
        effect: Effect::NoConfig,
    },
    Action {
        short: None,
        long: "check-config",
        argument: None,
        description: "tell every problem of the configuration and stop; exit status 0 if it is good, else 1",
        effect: Effect::CheckConfig,
    },
    Action {
        short: None,
        long: "print-config",
        argument: None,
        description: "print the configuration in effect as a file, with secrets, and stop",
        effect: Effect::PrintConfig,
    },
    Action {
        short: Some('h'),
        long: "help",
        argument: None,
        description: "show this text",
        effect: Effect::Help,
    },
    Action {
        short: Some('V'),
        long: "version",
        argument: None,
        description: "show the version",
        effect: Effect::Version,
    },
];

impl OptionSpec {
    /// The letter after a single dash.
    pub fn short(self) -> Option<char> {
        match self {
            OptionSpec::Setting(setting) => setting.short,
            OptionSpec::Action(action) => action.short,
            OptionSpec::Absent(absent) => absent.short,
        }
    }

    /// The name after two dashes.
    pub fn long(self) -> &'static str {
        match self {
            OptionSpec::Setting(setting) => setting.long,
            OptionSpec::Action(action) => action.long,
            OptionSpec::Absent(absent) => absent.name,
        }
    }

    /// What the value is called in the help text; `None` for a flag.
    pub fn argument(self) -> Option<&'static str> {
        match self {
            OptionSpec::Setting(setting) => match setting.argument {
                Argument::Named(name) => Some(name),
                Argument::Implied(_) => None,
            },
            OptionSpec::Action(action) => action.argument,
            OptionSpec::Absent(absent) => absent.argument,
        }
    }

    /// What the option does; a phrase without a full stop.
    pub fn description(self) -> &'static str {
        match self {
            OptionSpec::Setting(setting) => setting.description,
            OptionSpec::Action(action) => action.description,
            OptionSpec::Absent(_) => "no effect",
        }
    }

    /// The heading it stands under.
    pub fn group(self) -> Group {
        match self {
            OptionSpec::Setting(setting) => setting.group,
            OptionSpec::Action(_) | OptionSpec::Absent(_) => Group::Other,
        }
    }

    /// `-m/--maxclients`, for complaints.
    pub(super) fn names(self) -> String {
        match self.short() {
            Some(short) => format!("-{short}/--{}", self.long()),
            None => format!("--{}", self.long()),
        }
    }

    /// `  -m, --maxclients <n>`, for the help text.
    pub(super) fn usage(self) -> String {
        let short = self
            .short()
            .map_or("    ".to_owned(), |short| format!("-{short}, "));
        let argument = self
            .argument()
            .map_or(String::new(), |name| format!(" <{name}>"));
        format!("  {short}--{}{argument}", self.long())
    }

    /// `clients served at a time (default 5; 1 to 65536)`, for the help text.
    pub(super) fn explanation(self) -> String {
        let facts = match self {
            OptionSpec::Setting(setting) if self.argument().is_some() => {
                let default = setting.default.map(|default| format!("default {default}"));
                let range = setting.range.map(str::to_owned);
                default.into_iter().chain(range).collect()
            }
            // Of a flag, default and range concern the file only.
            _ => Vec::new(),
        };
        match facts.is_empty() {
            true => self.description().to_owned(),
            false => format!("{} ({})", self.description(), facts.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once() {
        let options: Vec<_> = understood().collect();
        for (index, option) in options.iter().enumerate() {
            for other in &options[index + 1..] {
                assert_ne!(option.long(), other.long());
                assert!(option.short().is_none() || option.short() != other.short());
            }
            // `getopts` takes a long name of one letter for a short one.
            assert!(option.long().len() > 1);
        }
    }
}
