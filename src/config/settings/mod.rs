//! The settings: one table that the command line, the file, the help text, the README and
//! `--print-config` all follow.
//!
//! A new setting is a field of [`Config`] and one [`Setting`] in `table`; tests ask for whatever else is needed.
//! Owns the description of each setting and the way from text to value and back. Where texts come from, and in
//! which order they hold, is [`Draft`](super::Draft)'s business.

mod absent;
mod table;

use super::Config;
use super::parse::Rejected;
pub use absent::{Absent, absent, absent_by_key};

/// One setting, as it is parsed, documented and printed.
#[derive(Debug)]
pub struct Setting {
    /// The letter of the option, after a single dash.
    pub short: Option<char>,
    /// The name of the option, after two dashes.
    pub long: &'static str,
    /// Where a file says it.
    pub place: Place,
    /// What follows the option.
    pub argument: Argument,
    /// The value in effect if nobody says one, as it would be typed; `None` if that is the empty text.
    pub default: Option<&'static str>,
    /// The accepted values, if a range says it.
    pub range: Option<&'static str>,
    /// What the setting does, with the unit of its value; a phrase without a full stop.
    pub description: &'static str,
    /// The heading it stands under.
    pub group: Group,
    /// What it takes for a changed value to hold.
    pub applies: Applies,
    /// How the value is read and shown.
    pub value: Value,
}

/// Where a configuration file says a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `key = value` below `[global]`; the key in lower case, with `-` between words.
    Global(&'static str),
    /// A line of its own below `[bind]`.
    Bind,
}

/// What follows an option on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A value, called so in the help text.
    Named(&'static str),
    /// Nothing: the option stands for this value.
    Implied(&'static str),
}

/// The headings of the help text, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where clients connect and how many.
    Listening,
    /// What is received and how.
    Channels,
    /// Where HTTP sources are and how long they may take.
    HttpUpstreams,
    /// How RTSP servers are reached.
    RtspUpstreams,
    /// Who is served, and under which name.
    Access,
    /// Where channel lists are.
    Lists,
    /// What is sent, and the memory for it.
    Output,
    /// The diagnostic log.
    Logging,
    /// The rest.
    Other,
}

/// What it takes for a value that a reload changed to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applies {
    /// Nothing: it holds from the next time it is looked at, also for what runs.
    AtOnce,
    /// Streams and connections that begin later have it; those that run keep what they began with.
    NewStreams,
    /// Sockets are opened and closed.
    Listeners,
    /// The program has to be started again.
    Restart,
}

/// How the text of a setting becomes a value, and a value text.
///
/// The two are inverse: what `show` gives, `set` or `add` reads as the same value.
#[derive(Debug)]
pub enum Value {
    /// One value; of several, the last holds.
    One {
        /// Reads a text.
        set: fn(&mut Config, &str) -> Result<(), Rejected>,
        /// The value as a text.
        show: fn(&Config) -> String,
    },
    /// Values that add up, in their order.
    Many {
        /// Names the list; settings of the same name fill the same one.
        list: &'static str,
        /// Reads one more text.
        add: fn(&mut Config, &str) -> Result<(), Rejected>,
        /// Empties the list.
        clear: fn(&mut Config),
        /// The lines that say the list in a file.
        show: fn(&Config) -> Vec<String>,
    },
}

/// The [subjects](Setting::subject) of the settings that say who may do what.
const GUARDS: &[&str] = &[
    "hostname",
    "r2h-token",
    "status-auth",
    "udpxy",
    "unix-mode",
    "upstream-policy",
    "user",
];

/// All settings, in the order of the help text.
pub fn settings() -> &'static [Setting] {
    table::SETTINGS
}

/// The setting that a key of `[global]` names: in either case, with `_` for `-` as some old keys have it.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let mut settings = settings().iter();
    settings.find(|setting| matches!(setting.place, Place::Global(known) if known == key))
}

/// Where clients connect: the setting that the lines of `[bind]` say.
pub fn listen() -> &'static Setting {
    let mut settings = settings().iter();
    settings
        .find(|setting| setting.place == Place::Bind)
        .expect("the table has it")
}

/// The settings that differ, one per [subject](Setting::subject), in the order of the table.
pub fn changed(before: &Config, after: &Config) -> Vec<&'static Setting> {
    let mut changed: Vec<&'static Setting> = Vec::new();
    for setting in settings() {
        let is_told = changed
            .iter()
            .any(|told| told.subject() == setting.subject());
        if !is_told && setting.shown(before) != setting.shown(after) {
            changed.push(setting);
        }
    }
    changed
}

impl Setting {
    /// What the settings that change the same value have in common.
    pub fn subject(&self) -> &'static str {
        match (&self.value, self.place) {
            (Value::Many { list, .. }, _) => list,
            (Value::One { .. }, Place::Global(key)) => key,
            (Value::One { .. }, Place::Bind) => self.long,
        }
    }

    /// Whether it says who may do what, so that to go on without a value meant for it would let in whom that was to
    /// keep out.
    pub fn is_guard(&self) -> bool {
        GUARDS.contains(&self.subject())
    }

    /// The value in effect, as a text to compare: equal texts mean equal values.
    ///
    /// It may hold a secret: not for logs.
    pub fn shown(&self, config: &Config) -> String {
        match self.value {
            Value::One { show, .. } => show(config),
            Value::Many { show, .. } => show(config).join("\n"),
        }
    }
}

impl Group {
    /// All headings in the order of the help text.
    pub const ALL: [Group; 9] = [
        Group::Listening,
        Group::Channels,
        Group::HttpUpstreams,
        Group::RtspUpstreams,
        Group::Access,
        Group::Lists,
        Group::Output,
        Group::Logging,
        Group::Other,
    ];

    /// The heading's text.
    pub fn title(self) -> &'static str {
        match self {
            Group::Listening => "Listening",
            Group::Channels => "Channels",
            Group::HttpUpstreams => "HTTP upstreams",
            Group::RtspUpstreams => "RTSP upstreams",
            Group::Access => "Access",
            Group::Lists => "Channel lists",
            Group::Output => "Output and memory",
            Group::Logging => "Logging",
            Group::Other => "Other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_a_setting() {
        for guard in GUARDS {
            let mut settings = settings().iter();
            assert!(
                settings.any(|setting| setting.subject() == *guard),
                "{guard}"
            );
        }
    }

    #[test]
    fn changes_are_told_once_each_with_what_they_take() {
        let before = Config::default();
        assert!(changed(&before, &before).is_empty());
        let mut after = Config {
            verbosity: crate::config::Verbosity::Debug,
            listen: Vec::new(),
            ..Config::default()
        };
        after.upstream_policy.deny("all").expect("a pattern");
        let told: Vec<_> = changed(&before, &after)
            .iter()
            .map(|setting| (setting.long, setting.applies))
            .collect();
        let expected = [
            ("listen", Applies::Listeners),
            ("upstream-allow", Applies::NewStreams),
            ("verbose", Applies::AtOnce),
        ];
        assert_eq!(told, expected);
        assert!(Applies::AtOnce < Applies::Restart);
    }
}
