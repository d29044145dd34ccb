//! A configuration as the text of a file (`--print-config`).

use std::path::PathBuf;

use super::draft::Source;
use super::problem::shown;
use super::settings::{Place, Setting, Value, settings};
use super::{Config, Sources};

/// A file that says every setting, each below a comment that tells where its value comes from.
///
/// `files` are those that [`Source::File`] counts. Read back, the text gives `config` again, the secret among it: it
/// is for the standard output of whoever may read the files, not for a log.
pub fn file_text(config: &Config, sources: &Sources, files: &[PathBuf]) -> String {
    let mut text = String::from("# The configuration in effect, with secrets.\n");
    for section in ["[global]", "[bind]"] {
        text.push_str(&format!("\n{section}\n"));
        let mut told: Vec<&str> = Vec::new();
        for setting in settings() {
            let is_here = (setting.place == Place::Bind) == (section == "[bind]");
            if is_here && !told.contains(&setting.subject()) {
                told.push(setting.subject());
                let source = origin(sources.of(setting), files);
                text.push_str(&format!("# {}: {source}\n", name(setting)));
                for line in lines(setting, config) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        }
    }
    if !config.services.is_empty() {
        // Behind the header it would be a part of the list.
        let source = origin(sources.of_services(), files);
        text.push_str(&format!(
            "\n# services: up to {source}\n[services]\n{}",
            config.services
        ));
    }
    text
}

/// What a comment calls a setting.
fn name(setting: &Setting) -> &'static str {
    match setting.place {
        Place::Bind => "listen addresses",
        Place::Global(_) => setting.subject(),
    }
}

fn lines(setting: &Setting, config: &Config) -> Vec<String> {
    match (&setting.value, setting.place) {
        (Value::One { show, .. }, Place::Global(key)) => vec![format!("{key} = {}", show(config))],
        (Value::One { show, .. }, Place::Bind) => vec![show(config)],
        (Value::Many { show, .. }, _) => show(config),
    }
}

fn origin(source: Source, files: &[PathBuf]) -> String {
    match source {
        Source::Default => "default".to_owned(),
        Source::CommandLine => "command line".to_owned(),
        Source::File { file, line } => {
            let path = files.get(file).map(|path| shown(path));
            format!("{}:{line}", path.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::Draft;
    use super::super::file::apply;
    use super::*;

    fn read(text: &str) -> (Config, Sources) {
        let mut draft = Draft::new(Config::default());
        let problems = apply(&mut draft, text.as_bytes(), 0, Path::new("/x"));
        assert_eq!(problems, []);
        draft.finish()
    }

    #[test]
    fn text_reads_back_as_the_same_configuration() {
        let said = "[global]\nr2h-token = s3 cret\nfast-start = off\nflush-interval = 2.5\nhostname = https://[::1]:8/a\n\
                    upstream-deny = all\nupstream-allow = 10.0.0.0/8,*.x.test\nupstream-deny = 10.1.1.1\nxff = on\n\
                    [bind]\n::1 http-alt\n* 80\nfe80::1%eth0 81\n\
                    [services]\n #EXTM3U x-tvg-url=\"http://h/\"\n; left out\n# a\n#EXTINF:-1,A\nrtp://239.0.0.1\n\
                    [global]\n[services]\n#EXTINF:-1,B\nhttps://h/[x]\n";
        for said in ["", said] {
            let (config, sources) = read(said);
            let text = file_text(&config, &sources, &[PathBuf::from("/x")]);
            assert_eq!(read(&text).0, config, "{text}");
        }
    }

    #[test]
    fn comments_tell_where_values_come_from() {
        let (config, sources) = read("[global]\nmaxclients = 7\n");
        let text = file_text(&config, &sources, &[PathBuf::from("/a\nb")]);
        assert!(
            text.contains("# maxclients: /a\\nb:2\nmaxclients = 7\n"),
            "{text}"
        );
        assert!(
            text.contains("# verbosity: default\nverbosity = 1\n"),
            "{text}"
        );
        assert_eq!(text.matches("\nverbosity =").count(), 1);
        assert!(
            text.ends_with("\n[bind]\n# listen addresses: default\n* 5140\n"),
            "{text}"
        );
    }

    /// A line of a file: often with a key that there is.
    fn line() -> impl Strategy<Value = String> {
        let keys: Vec<&str> = settings()
            .iter()
            .filter_map(|setting| match setting.place {
                Place::Global(key) => Some(key),
                Place::Bind => None,
            })
            .collect();
        let value = r"[0-9.]{1,5}|yes|off|auto|all|[a-z*./:\[\] -]{0,12}|https?://[a-z:\[\]]{1,8}(:8)?(/[a-z]*)?|\PC{0,6}";
        prop_oneof![
            (proptest::sample::select(keys), value)
                .prop_map(|(key, value)| format!("[global]\n{key} = {value}")),
            r"[*a-f0-9.:\[\]%]{1,8} ?[0-9]{0,4}".prop_map(|address| format!("[bind]\n{address}")),
        ]
    }

    proptest! {
        #[test]
        fn whatever_a_file_says_is_printed_as_a_file_that_says_it(
            lines in proptest::collection::vec(line(), 0..8),
        ) {
            let mut draft = Draft::new(Config::default());
            apply(&mut draft, lines.join("\n").as_bytes(), 0, Path::new("/x"));
            let (config, sources) = draft.finish();
            let text = file_text(&config, &sources, &[PathBuf::from("/x")]);
            let mut again = Draft::new(Config::default());
            let problems = apply(&mut again, text.as_bytes(), 0, Path::new("/y"));
            prop_assert!(problems.is_empty(), "{:?} in {}", problems, text);
            prop_assert_eq!(again.finish().0, config);
        }
    }
}
