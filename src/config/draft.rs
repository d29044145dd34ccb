//! A configuration being put together from several sources, the weakest first.

use std::collections::BTreeMap;

use super::Config;
use super::parse::Rejected;
use super::settings::{Setting, Value};
use crate::playlist::Naming;

/// Where a value comes from; of two, the greater one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A configuration file.
    File {
        /// Which of the files, in the order they were read.
        file: usize,
        /// The line, the first is 1.
        line: usize,
    },
    /// The command line.
    CommandLine,
}

/// Where each value comes from that is not a default; by [`Setting::subject`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<&'static str, Source>);

/// A configuration under construction.
///
/// Texts are given in the order of their sources. A list that a source begins to fill replaces that of the
/// weaker ones as a whole: adding to somebody else's addresses or rules would surprise.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    sources: Sources,
    /// As [`Config::services`], if a source has said something.
    services: Option<String>,
}

/// What [`Sources`] calls the lines below `[services]`.
const SERVICES: &str = "services";

impl Source {
    /// Whether both are the same file, or both the command line.
    fn is_same_place(self, other: Source) -> bool {
        match (self, other) {
            (Source::File { file, .. }, Source::File { file: of_other, .. }) => file == of_other,
            _ => self == other,
        }
    }
}

impl Sources {
    /// Where the value of `setting` comes from.
    pub fn of(&self, setting: &Setting) -> Source {
        let source = self.0.get(setting.subject());
        source.copied().unwrap_or(Source::Default)
    }

    /// Where the last line of the services comes from.
    pub fn of_services(&self) -> Source {
        self.0.get(SERVICES).copied().unwrap_or(Source::Default)
    }
}

impl Draft {
    /// Begins with the values that hold if nobody says others.
    pub fn new(config: Config) -> Draft {
        Draft {
            config,
            sources: Sources::default(),
            services: None,
        }
    }

    /// Adds a line, without blanks at its ends, to the channel list below `[services]`.
    pub fn add_service_line(&mut self, line: &str, source: Source) {
        if !source.is_same_place(self.sources.of_services()) {
            self.services = None;
        }
        let services = self.services.get_or_insert_default();
        services.push_str(line);
        services.push('\n');
        self.sources.0.insert(SERVICES, source);
    }

    /// Reads one text of one setting.
    ///
    /// # Errors
    ///
    /// [`Rejected`]; everything is as before then.
    pub fn set(&mut self, setting: &Setting, text: &str, source: Source) -> Result<(), Rejected> {
        match setting.value {
            Value::One { set, .. } => set(&mut self.config, text)?,
            Value::Many { add, clear, .. } => {
                let mut config = self.config.clone();
                if !source.is_same_place(self.sources.of(setting)) {
                    clear(&mut config);
                }
                add(&mut config, text)?;
                self.config = config;
            }
        }
        self.sources.0.insert(setting.subject(), source);
        Ok(())
    }

    /// How links lead to services, as far as it has been said.
    pub(super) fn naming(&self) -> Naming {
        self.config.naming()
    }

    /// The configuration, and where its values come from.
    pub fn finish(mut self) -> (Config, Sources) {
        if let Some(services) = self.services {
            self.config.services = services.into();
        }
        (self.config, self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{by_key, settings};
    use super::*;

    const FILE: Source = Source::File { file: 0, line: 7 };
    const LATER_FILE: Source = Source::File { file: 1, line: 2 };

    fn listen() -> &'static Setting {
        let mut settings = settings().iter();
        settings
            .find(|setting| setting.long == "listen")
            .expect("listen")
    }

    fn addresses(config: &Config) -> Vec<String> {
        config.listen.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_remember_who_said_them() {
        let mut draft = Draft::new(Config::default());
        let clients = by_key("maxclients").expect("a key");
        draft.set(clients, "6", FILE).expect("a number");
        assert_eq!(draft.sources.of(clients), FILE);
        draft
            .set(clients, "7", Source::CommandLine)
            .expect("a number");
        let (config, sources) = draft.finish();
        assert_eq!(config.clients_max, 7);
        assert_eq!(sources.of(clients), Source::CommandLine);
        assert_eq!(sources.of(listen()), Source::Default);
    }

    #[test]
    fn list_of_a_stronger_source_replaces_the_weaker_one() {
        let mut draft = Draft::new(Config::default());
        for (text, source, expected) in [
            ("1", FILE, vec!["*:1"]),
            ("2", FILE, vec!["*:1", "*:2"]),
            ("3", LATER_FILE, vec!["*:3"]),
            ("4", Source::CommandLine, vec!["*:4"]),
            ("5", Source::CommandLine, vec!["*:4", "*:5"]),
        ] {
            draft.set(listen(), text, source).expect(text);
            assert_eq!(addresses(&draft.config), expected);
        }
    }

    #[test]
    fn refused_text_changes_nothing() {
        let mut draft = Draft::new(Config::default());
        assert!(draft.set(listen(), "x:y", FILE).is_err());
        let clients = by_key("maxclients").expect("a key");
        assert!(draft.set(clients, "x", FILE).is_err());
        let (config, sources) = draft.finish();
        assert_eq!(config, Config::default());
        assert_eq!(sources, Sources::default());
    }

    #[test]
    fn settings_of_one_list_keep_their_common_order() {
        let mut draft = Draft::new(Config::default());
        for (key, text) in [
            ("upstream-deny", "all"),
            ("upstream-allow", "a.test"),
            ("upstream-deny", "b.test"),
        ] {
            draft.set(by_key(key).expect(key), text, FILE).expect(text);
        }
        let (config, _) = draft.finish();
        let entries: Vec<_> = config.upstream_policy.entries().collect();
        let expected = [
            ("upstream-deny", "all"),
            ("upstream-allow", "a.test"),
            ("upstream-deny", "b.test"),
        ];
        assert_eq!(entries, expected.map(|(key, text)| (key, text.to_owned())));
    }
}
