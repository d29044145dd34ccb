//! The help text and the version line.

use super::options::{OptionSpec, options, understood};
use crate::config::settings::Group;

/// Columns of the help text at most: the width of a terminal.
const HELP_COLUMNS: usize = 80;
/// Where descriptions begin; longer option names have a line for themselves.
const HELP_INDENT: usize = 32;

/// The line of `--version`.
pub(super) fn version() -> String {
    format!("flowgate {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `--help`; `program` is what the user calls it.
pub(super) fn help(program: &str) -> String {
    let mut text = format!(
        "flowgate - a stream router: multicast RTP and UDP to HTTP\n\
         Version {}\n\
         Licensed under MIT or Apache-2.0, at your choice; without any warranty\n\
         \n\
         Usage: {program} [options]\n       {program} demo [options]\n       {program} probe --help\n\
         \n\
         demo serves a test pattern of its own, on this host only: its defaults are\n\
         -l 127.0.0.1:5140 -m 64 -v 2\n\
         \n\
         Example: {program} -l 5140 -m 20 -r eth1\n\
         serves what arrives on eth1 at http://HOST:5140/rtp/239.0.0.1:5000;\n\
         who watches is shown at http://HOST:5140/status\n",
        env!("CARGO_PKG_VERSION")
    );
    for group in Group::ALL {
        text.push_str(&format!("\n{}:\n", group.title()));
        for option in options().filter(|option| option.group() == group) {
            let mut line = option.usage();
            if line.len() + 2 > HELP_INDENT {
                text.push_str(&line);
                text.push('\n');
                line.clear();
            }
            for word in option.explanation().split_whitespace() {
                if line.len() > HELP_INDENT && line.len() + 1 + word.len() > HELP_COLUMNS {
                    text.push_str(&line);
                    text.push('\n');
                    line.clear();
                }
                match line.len() {
                    begun if begun > HELP_INDENT => line.push(' '),
                    begun => line.push_str(&" ".repeat(HELP_INDENT - begun)),
                }
                line.push_str(word);
            }
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str("\nUnderstood, but without effect:\n");
    for absent in understood().filter(|option| matches!(option, OptionSpec::Absent(_))) {
        text.push_str(&absent.usage());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_text() -> String {
        help("flowgate")
    }

    #[test]
    fn help_begins_as_documented() {
        let text = help_text();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("flowgate - "));
        let version = format!("Version {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(lines.next(), Some(version.as_str()));
        assert!(lines.next().unwrap().contains("MIT or Apache-2.0"));
        assert_eq!(lines.next(), Some(""));
        assert_eq!(lines.next(), Some("Usage: flowgate [options]"));
        assert_eq!(lines.next(), Some("       flowgate demo [options]"));
        assert_eq!(lines.next(), Some("       flowgate probe --help"));
    }

    #[test]
    fn help_fits_80_columns() {
        for line in help_text().lines() {
            assert!(line.chars().count() <= HELP_COLUMNS, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn help_names_every_option_and_group() {
        let text = help_text();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for option in options() {
            assert!(text.contains(&option.usage()), "{}", option.long());
            assert!(words.contains(&option.explanation()), "{}", option.long());
        }
        for group in Group::ALL {
            assert!(text.contains(&format!("\n\n{}:\n", group.title())));
        }
    }
}
