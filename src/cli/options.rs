//! Every option of the command line: those of the [settings](crate::config::settings), and the few that are none.

use crate::config::settings::{Argument, Group, Setting, settings};

/// One option, as it is parsed and documented.
#[derive(Debug, Clone, Copy)]
pub enum OptionSpec {
    /// It says the value of a setting.
    Setting(&'static Setting),
    /// It says what to do.
    Action(&'static Action),
}

/// An option that says what to do; in the group [`Group::Other`].
#[derive(Debug)]
pub struct Action {
    short: Option<char>,
    long: &'static str,
    description: &'static str,
    pub(super) effect: Effect,
}

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    NoConfig,
    Help,
    Version,
}

/// All options, in the order of the help text.
pub fn options() -> impl Iterator<Item = OptionSpec> {
    let settings = settings().iter().map(OptionSpec::Setting);
    settings.chain(ACTIONS.iter().map(OptionSpec::Action))
}

static ACTIONS: [Action; 3] = [
    Action {
        short: Some('C'),
        long: "noconfig",
        description: "read no configuration file (this version reads none)",
        effect: Effect::NoConfig,
    },
    Action {
        short: Some('h'),
        long: "help",
        description: "show this text",
        effect: Effect::Help,
    },
    Action {
        short: Some('V'),
        long: "version",
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
        }
    }

    /// The name after two dashes.
    pub fn long(self) -> &'static str {
        match self {
            OptionSpec::Setting(setting) => setting.long,
            OptionSpec::Action(action) => action.long,
        }
    }

    /// What the value is called in the help text; `None` for a flag.
    pub fn argument(self) -> Option<&'static str> {
        match self {
            OptionSpec::Setting(setting) => match setting.argument {
                Argument::Named(name) => Some(name),
                Argument::Implied(_) => None,
            },
            OptionSpec::Action(_) => None,
        }
    }

    /// What the option does; a phrase without a full stop.
    pub fn description(self) -> &'static str {
        match self {
            OptionSpec::Setting(setting) => setting.description,
            OptionSpec::Action(action) => action.description,
        }
    }

    /// The heading it stands under.
    pub fn group(self) -> Group {
        match self {
            OptionSpec::Setting(setting) => setting.group,
            OptionSpec::Action(_) => Group::Other,
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
        let options: Vec<_> = options().collect();
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
