//! The command line: arguments become a [`Command`] with a checked [`Config`], or one clear complaint.
//!
//! [`options`] is the only list of options; the parser, the help text and the documentation check follow
//! it. The habits are those of GNU `getopt_long`: `--name value` and `--name=value`, unique prefixes of long
//! names, bundled short flags, options and words in any order, `--` ends the options. `getopts` knows no
//! prefixes, so arguments are spelt out before it sees them. Nothing is printed here.

mod options;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use getopts::{Fail, HasArg, Matches, Occur, Options};

use crate::config::Config;
use crate::config::parse::{Rejected, quoted};
use options::{Draft, Effect};
pub use options::{Group, OptionSpec, options};

/// The name in the usage line if the arguments do not say one.
const PROGRAM: &str = "flowgate";
/// Columns of the help text at most: the width of a terminal.
const HELP_COLUMNS: usize = 80;
/// Where descriptions begin; longer option names have a line for themselves.
const HELP_INDENT: usize = 32;

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

    let matches = parser().parse(spell_out(args)?).map_err(explain)?;
    let demo = matches.free.first().is_some_and(|word| word == "demo");
    let warnings = matches.free[usize::from(demo)..]
        .iter()
        .map(|word| format!("{} is not an option and is ignored", quoted(word)))
        .collect();

    let mut draft = Draft {
        config: if demo {
            Config::demo()
        } else {
            Config::default()
        },
        listen: Vec::new(),
    };
    for (option, value) in in_order(&matches) {
        let command = match option.effect {
            Effect::Help => Command::Help(help(&program)),
            Effect::Version => Command::Version(version()),
            Effect::Switch(switch) => {
                switch(&mut draft.config);
                continue;
            }
            Effect::Set(set) => {
                set(&mut draft, &value).map_err(|rejected| CliError::Value {
                    option: option.names(),
                    rejected,
                })?;
                continue;
            }
        };
        return Ok(Invocation { command, warnings });
    }
    if !draft.listen.is_empty() {
        draft.config.listen = draft.listen;
    }
    let command = match demo {
        true => Command::Demo(draft.config),
        false => Command::Run(draft.config),
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

fn parser() -> Options {
    let mut parser = Options::new();
    for option in options() {
        let short = option.short.map(String::from).unwrap_or_default();
        let has_value = match option.argument {
            Some(_) => HasArg::Yes,
            None => HasArg::No,
        };
        // The help text is ours, so descriptions stay out.
        parser.opt(&short, option.long, "", "", has_value, Occur::Multi);
    }
    parser
}

/// Writes every option as `--name`, `--name=value` or `-x`, with a value of its own argument left behind it.
///
/// Flags bundled in one argument are parted, because `getopts` gives them all one position.
fn spell_out(args: Vec<String>) -> Result<Vec<String>, CliError> {
    let mut spelt = Vec::with_capacity(args.len());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            spelt.push(arg);
            spelt.extend(args);
            break;
        }
        let value_follows = if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let option = by_prefix(name)?;
            spelt.push(match value {
                Some(value) => format!("--{}={value}", option.long),
                None => format!("--{}", option.long),
            });
            option.argument.is_some() && value.is_none()
        } else if arg.len() > 1 && arg.starts_with('-') {
            spell_out_bundle(&arg[1..], &mut spelt)?
        } else {
            spelt.push(arg);
            false
        };
        if value_follows {
            spelt.extend(args.next());
        }
    }
    Ok(spelt)
}

/// Parts `Uqm5` into `-U`, `-q`, `-m5`; true if the value of the last one is the next argument.
fn spell_out_bundle(bundle: &str, spelt: &mut Vec<String>) -> Result<bool, CliError> {
    for (at, letter) in bundle.char_indices() {
        let option = options()
            .iter()
            .find(|option| option.short == Some(letter))
            .ok_or_else(|| CliError::Unknown(format!("-{letter}")))?;
        if option.argument.is_some() {
            let rest = &bundle[at..];
            spelt.push(format!("-{rest}"));
            return Ok(rest.len() == letter.len_utf8());
        }
        spelt.push(format!("-{letter}"));
    }
    Ok(false)
}

/// The option of this long name, or of the only long name that begins so.
fn by_prefix(name: &str) -> Result<&'static OptionSpec, CliError> {
    let exact = options().iter().find(|option| option.long == name);
    if let Some(option) = exact {
        return Ok(option);
    }
    let mut candidates = options()
        .iter()
        .filter(|option| !name.is_empty() && option.long.starts_with(name));
    let typed = format!("--{name}");
    match (candidates.next(), candidates.next()) {
        (Some(option), None) => Ok(option),
        (Some(first), Some(second)) => Err(CliError::Ambiguous {
            typed,
            candidates: [first, second]
                .into_iter()
                .chain(candidates)
                .map(|option| option.long)
                .collect(),
        }),
        (None, _) => Err(CliError::Unknown(typed)),
    }
}

fn explain(fail: Fail) -> CliError {
    let named = |name: &str| {
        options().iter().find(|option| {
            option.long == name || option.short.is_some_and(|short| name == short.to_string())
        })
    };
    let names = |name: &str| named(name).map_or_else(|| name.to_owned(), OptionSpec::names);
    match fail {
        Fail::ArgumentMissing(name) => CliError::ValueMissing {
            option: names(&name),
            argument: named(&name)
                .and_then(|option| option.argument)
                .unwrap_or("value"),
        },
        Fail::UnexpectedArgument(name) => CliError::ValueUnexpected {
            option: names(&name),
        },
        // No option is required or single, so the rest can only be about a name.
        Fail::UnrecognizedOption(name)
        | Fail::OptionMissing(name)
        | Fail::OptionDuplicated(name) => CliError::Unknown(name),
    }
}

/// The options given, from left to right, with their values; a flag's value is empty.
fn in_order(matches: &Matches) -> Vec<(&'static OptionSpec, String)> {
    let mut given = Vec::new();
    for option in options() {
        if option.argument.is_some() {
            let values = matches.opt_strs_pos(option.long).into_iter();
            given.extend(values.map(|(position, value)| (position, option, value)));
        } else {
            let positions = matches.opt_positions(option.long).into_iter();
            given.extend(positions.map(|position| (position, option, String::new())));
        }
    }
    given.sort_by_key(|(position, ..)| *position);
    given
        .into_iter()
        .map(|(_, option, value)| (option, value))
        .collect()
}

impl OptionSpec {
    /// `-m/--maxclients`, for complaints.
    fn names(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}/--{}", self.long),
            None => format!("--{}", self.long),
        }
    }

    /// `  -m, --maxclients <n>`, for the help text.
    fn usage(&self) -> String {
        let short = self
            .short
            .map_or("    ".to_owned(), |short| format!("-{short}, "));
        let argument = self
            .argument
            .map_or(String::new(), |name| format!(" <{name}>"));
        format!("  {short}--{}{argument}", self.long)
    }

    /// `clients served at a time (default 5; 1 to 65536)`, for the help text.
    fn explanation(&self) -> String {
        let default = self.default.map(|default| format!("default {default}"));
        let range = self.range.map(str::to_owned);
        let facts: Vec<String> = default.into_iter().chain(range).collect();
        match facts.is_empty() {
            true => self.description.to_owned(),
            false => format!("{} ({})", self.description, facts.join("; ")),
        }
    }
}

fn version() -> String {
    format!("flowgate {}\n", env!("CARGO_PKG_VERSION"))
}

fn help(program: &str) -> String {
    let mut text = format!(
        "flowgate - a stream router: multicast RTP and UDP to HTTP\n\
         Version {}\n\
         Licensed under MIT or Apache-2.0, at your choice; without any warranty\n\
         \n\
         Usage: {program} [options]\n       {program} demo [options]\n\
         \n\
         demo serves a test pattern of its own, on this host only: its defaults are\n\
         -l 127.0.0.1:5140 -m 64 -v 2\n",
        env!("CARGO_PKG_VERSION")
    );
    for group in Group::ALL {
        text.push_str(&format!("\n{}:\n", group.title()));
        for option in options().iter().filter(|option| option.group == group) {
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
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Hostname, ListenAddr, Token, UpstreamPolicy, Verbosity};
    use crate::limits::LISTENERS_MAX;
    use proptest::prelude::*;
    use std::time::Duration;

    fn invoke(args: &[&str]) -> Result<Invocation, CliError> {
        parse(std::iter::once(&"/usr/bin/flowgate").chain(args))
    }

    #[track_caller]
    fn run(args: &[&str]) -> Config {
        match invoke(args).unwrap().command {
            Command::Run(config) => config,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(args: &[&str]) -> String {
        invoke(args).unwrap_err().to_string()
    }

    #[track_caller]
    fn help_text() -> String {
        match invoke(&["-h"]).unwrap().command {
            Command::Help(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The README's table of options, between its two markers.
    fn readme_table() -> String {
        let mut table = String::from("| Option | Default | Accepted | Does |\n|---|---|---|---|\n");
        for option in options() {
            let value = option
                .argument
                .map(|name| format!(" <{name}>"))
                .unwrap_or_default();
            let short = option
                .short
                .map(|letter| format!("`-{letter}`, "))
                .unwrap_or_default();
            let cell = |text: Option<&str>| text.unwrap_or_default().replace('|', "\\|");
            table.push_str(
                &format!(
                    "| {short}`--{}{value}` | {} | {} | {} |\n",
                    option.long,
                    cell(option.default),
                    cell(option.range),
                    cell(Some(option.description)),
                )
                .replace("<off|KiB>", "<off\\|KiB>")
                .replace("<auto|ms>", "<auto\\|ms>"),
            );
        }
        table
    }

    #[test]
    fn readme_lists_every_option_as_the_program_knows_it() {
        let readme = include_str!("../../README.md");
        let shown = readme
            .split("<!-- options -->\n")
            .nth(1)
            .and_then(|rest| rest.split("<!-- /options -->").next());
        let table = readme_table();
        assert_eq!(
            shown,
            Some(table.as_str()),
            "the table should be:\n\n{table}"
        );
    }

    #[test]
    fn no_arguments_run_the_defaults() {
        assert_eq!(run(&[]), Config::default());
        let nothing = parse(std::iter::empty::<OsString>()).unwrap();
        assert_eq!(nothing.command, Command::Run(Config::default()));
    }

    #[test]
    fn documented_defaults_are_the_defaults() {
        for option in options() {
            if let Some(default) = option.default {
                let args = [format!("--{}={default}", option.long)];
                assert_eq!(run(&[&args[0]]), Config::default(), "{}", option.long);
            }
        }
    }

    #[test]
    fn documented_ranges_are_the_ranges() {
        for option in options() {
            let Some((low, high)) = option.range.and_then(|range| range.split_once(" to ")) else {
                continue;
            };
            run(&[&format!("--{}={low}", option.long)]);
            run(&[&format!("--{}={high}", option.long)]);
            let error = refused(&[&format!("--{}={high}1", option.long)]);
            assert!(error.contains(option.range.unwrap()), "{error}");
        }
    }

    #[test]
    fn every_option_sets_its_own_setting() {
        let default = Config::default;
        let mut policy = UpstreamPolicy::default();
        policy.deny("all").unwrap();
        policy.allow("10.0.0.0/8,x.test").unwrap();
        let table: [(&[&str], Config); 30] = [
            (
                &["-l", "8080"],
                Config {
                    listen: vec![ListenAddr::All { port: 8080 }],
                    ..default()
                },
            ),
            (
                &["-m", "6"],
                Config {
                    clients_max: 6,
                    ..default()
                },
            ),
            (
                &["-b", "64"],
                Config {
                    pool_buffers_max: 64,
                    ..default()
                },
            ),
            (
                &["-B", "65536"],
                Config {
                    udp_receive_buffer_bytes: 65536,
                    ..default()
                },
            ),
            (
                &["-U"],
                Config {
                    udpxy: false,
                    ..default()
                },
            ),
            (
                &["-i", "eth0"],
                Config {
                    upstream_interface: Some("eth0".to_owned()),
                    ..default()
                },
            ),
            (
                &["-r", "eth1"],
                Config {
                    upstream_interface_multicast: Some("eth1".to_owned()),
                    ..default()
                },
            ),
            (
                &["-y", "eth2"],
                Config {
                    upstream_interface_http: Some("eth2".to_owned()),
                    ..default()
                },
            ),
            (
                &[
                    "--upstream-deny",
                    "all",
                    "--upstream-allow",
                    "10.0.0.0/8,x.test",
                ],
                Config {
                    upstream_policy: policy,
                    ..default()
                },
            ),
            (
                &["-g", "VLC/3.0"],
                Config {
                    http_proxy_user_agent: Some("VLC/3.0".to_owned()),
                    ..default()
                },
            ),
            (
                &["--http-connect-timeout", "0.5"],
                Config {
                    http_connect_timeout: Duration::from_millis(500),
                    ..default()
                },
            ),
            (
                &["--http-head-timeout", "30"],
                Config {
                    http_head_timeout: Duration::from_secs(30),
                    ..default()
                },
            ),
            (
                &["--http-idle-timeout", "10"],
                Config {
                    http_idle_timeout: Duration::from_secs(10),
                    ..default()
                },
            ),
            (
                &["--tls-ca", "ca.pem"],
                Config {
                    tls_ca: Some("ca.pem".into()),
                    ..default()
                },
            ),
            (
                &["-H", "tv.home"],
                Config {
                    hostname: Some(Hostname::parse("tv.home").unwrap()),
                    ..default()
                },
            ),
            (
                &["-X"],
                Config {
                    xff: true,
                    ..default()
                },
            ),
            (
                &["-T", "s"],
                Config {
                    r2h_token: Some(Token::parse("s").unwrap()),
                    ..default()
                },
            ),
            (
                &["-O", "*"],
                Config {
                    cors_allow_origin: Some("*".to_owned()),
                    ..default()
                },
            ),
            (
                &["--app-path-prefix", "tv/"],
                Config {
                    app_path_prefix: "/tv".to_owned(),
                    ..default()
                },
            ),
            (
                &["--use-relative-path-in-m3u"],
                Config {
                    use_relative_path_in_m3u: true,
                    ..default()
                },
            ),
            (
                &["-R", "60"],
                Config {
                    mcast_rejoin_interval: Some(Duration::from_secs(60)),
                    ..default()
                },
            ),
            (
                &["--channel-linger", "0.5"],
                Config {
                    channel_linger: Duration::from_millis(500),
                    ..default()
                },
            ),
            (
                &["--channel-linger-max", "0"],
                Config {
                    channels_lingering_max: 0,
                    ..default()
                },
            ),
            (
                &["--fast-start", "off"],
                Config {
                    fast_start_bytes: 0,
                    ..default()
                },
            ),
            (
                &["--fast-start", "64"],
                Config {
                    fast_start_bytes: 65536,
                    ..default()
                },
            ),
            (
                &["--flush-interval", "5"],
                Config {
                    flush_interval: Some(Duration::from_millis(5)),
                    ..default()
                },
            ),
            (
                &["--no-data-timeout", "0.1"],
                Config {
                    no_data_timeout: Duration::from_millis(100),
                    ..default()
                },
            ),
            (
                &["-v", "info"],
                Config {
                    verbosity: Verbosity::Info,
                    ..default()
                },
            ),
            (
                &["-q"],
                Config {
                    verbosity: Verbosity::Fatal,
                    ..default()
                },
            ),
            (
                &["--log-timestamps"],
                Config {
                    log_timestamps: true,
                    ..default()
                },
            ),
        ];
        for (args, config) in table {
            assert_eq!(run(args), config, "{args:?}");
        }
        assert_eq!(run(&["-C"]), default());
        for empty in ["-g", "-H", "-T", "-O", "--app-path-prefix"] {
            assert_eq!(run(&[empty, "x", empty, ""]), default(), "{empty}");
        }
    }

    #[test]
    fn refused_value_names_option_value_and_what_is_accepted() {
        for (args, error) in [
            (
                ["-m", "abc"],
                "-m/--maxclients: \"abc\" is not accepted; give a whole number from 1 to 65536",
            ),
            (
                ["-m5x", "-U"],
                "-m/--maxclients: \"5x\" is not accepted; give a whole number from 1 to 65536",
            ),
            (
                ["--max=0", "-U"],
                "-m/--maxclients: \"0\" is not accepted; give a whole number from 1 to 65536",
            ),
            (
                ["-b", "63"],
                "-b/--buffer-pool-max-size: \"63\" is not accepted; \
                 give a whole number of 1536-byte buffers from 64 to 4194304",
            ),
            (
                ["--fast-start", "1"],
                "--fast-start: \"1\" is not accepted; \
                 give off or a whole number of KiB from 64 to 65536",
            ),
            (
                ["-l", "/run/x.sock"],
                "-l/--listen: \"/run/x.sock\" is not accepted; \
                 give [addr:]port; Unix sockets are not supported in this version",
            ),
        ] {
            assert_eq!(refused(&args), error);
        }
    }

    #[test]
    fn refused_token_is_not_shown() {
        let error = refused(&["-T", "s3cret\n"]);
        assert!(
            error.starts_with("-T/--r2h-token: \"***\" is not accepted"),
            "{error}"
        );
    }

    #[test]
    fn patterns_of_the_policy_add_up_in_order() {
        let policy = run(&[
            "--upstream-allow=a.test",
            "--upstream-deny=all",
            "--upstream-allow=b.test",
        ])
        .upstream_policy;
        let mut expected = UpstreamPolicy::default();
        expected.allow("a.test").unwrap();
        expected.deny("all").unwrap();
        expected.allow("b.test").unwrap();
        assert_eq!(policy, expected);
        assert!(
            refused(&["--upstream-deny", "all,a b"])
                .starts_with("--upstream-deny: \"a b\" is not accepted")
        );
    }

    #[test]
    fn values_may_follow_in_every_gnu_form() {
        for args in [
            &["-m", "6"][..],
            &["-m6"],
            &["--maxclients", "6"],
            &["--maxclients=6"],
            &["--maxc", "6"],
            &["--ma=6"],
            &["word", "-m", "6", "word"],
        ] {
            assert_eq!(run(args).clients_max, 6, "{args:?}");
        }
    }

    #[test]
    fn flags_may_be_bundled() {
        let config = run(&["-UCqm6", "-Uv", "3"]);
        assert!(!config.udpxy);
        assert_eq!(config.clients_max, 6);
        assert_eq!(config.verbosity, Verbosity::Info);
    }

    #[test]
    fn last_of_a_repeated_option_wins() {
        assert_eq!(run(&["-m", "6", "--maxclients=7", "-m8"]).clients_max, 8);
        assert_eq!(run(&["-U", "-U", "-C", "-C"]).clients_max, 5);
    }

    #[test]
    fn later_of_quiet_and_verbose_wins() {
        for (args, verbosity) in [
            (&["-q", "-v", "3"][..], Verbosity::Info),
            (&["-v", "3", "-q"], Verbosity::Fatal),
            (&["-qv3"], Verbosity::Info),
            (&["-v3", "-q", "--verbose", "debug"], Verbosity::Debug),
        ] {
            assert_eq!(run(args).verbosity, verbosity, "{args:?}");
        }
    }

    #[test]
    fn an_earlier_wrong_value_is_still_an_error() {
        assert!(refused(&["-m", "x", "-m", "5"]).contains("\"x\""));
    }

    #[test]
    fn listen_addresses_add_up_in_order() {
        let listen = run(&["-l", "1", "-l[::1]:2", "--listen=name:3"]).listen;
        let shown: Vec<String> = listen.iter().map(ListenAddr::to_string).collect();
        assert_eq!(shown, ["*:1", "[::1]:2", "name:3"]);
    }

    #[test]
    fn listen_addresses_have_a_limit() {
        let mut args = vec!["-l5140"; LISTENERS_MAX];
        assert_eq!(run(&args).listen.len(), LISTENERS_MAX);
        args.push("-l5141");
        assert!(refused(&args).ends_with("give at most 32 addresses"));
    }

    #[test]
    fn exact_name_beats_longer_names() {
        let config = run(&["--channel-linger", "1", "--upstream-interface", "eth0"]);
        assert_eq!(config.channel_linger, Duration::from_secs(1));
        assert_eq!(config.upstream_interface.as_deref(), Some("eth0"));
    }

    #[test]
    fn ambiguous_prefix_lists_the_candidates() {
        for (arg, error) in [
            ("--ver", "\"--ver\" may be --verbose or --version"),
            (
                "--no=1",
                "\"--no\" may be --noudpxy, --no-data-timeout or --noconfig",
            ),
            (
                "--channel-l",
                "\"--channel-l\" may be --channel-linger or --channel-linger-max",
            ),
        ] {
            assert_eq!(refused(&[arg]), error);
        }
    }

    #[test]
    fn unknown_options_are_named() {
        for (args, error) in [
            (&["--bogus=1"][..], "\"--bogus\" is not an option"),
            (&["-x"], "\"-x\" is not an option"),
            (&["-Uxq"], "\"-x\" is not an option"),
            (&["-U-"], "\"--\" is not an option"),
            (&["-ä"], "\"-ä\" is not an option"),
            (&["--=1"], "\"--\" is not an option"),
            (&["--U"], "\"--U\" is not an option"),
            (&["--\u{1b}[2J"], "\"--\\u{1b}[2J\" is not an option"),
        ] {
            assert_eq!(refused(args), error);
        }
    }

    #[test]
    fn missing_and_unexpected_values_are_named() {
        assert_eq!(
            refused(&["-m"]),
            "-m/--maxclients: a value is missing; give <n>"
        );
        assert_eq!(
            refused(&["-Uqm"]),
            "-m/--maxclients: a value is missing; give <n>"
        );
        assert_eq!(
            refused(&["--flush"]),
            "--flush-interval: a value is missing; give <auto|ms>"
        );
        assert_eq!(refused(&["--quiet=1"]), "-q/--quiet: takes no value");
        assert!(refused(&["--maxclients="]).contains("\"\" is not accepted"));
    }

    #[test]
    fn value_may_look_like_an_option() {
        assert!(refused(&["-m", "-U"]).contains("\"-U\" is not accepted"));
        assert!(refused(&["--maxclients", "--"]).contains("\"--\" is not accepted"));
        assert_eq!(
            run(&["-i", "--ver"]).upstream_interface.as_deref(),
            Some("--ver")
        );
    }

    #[test]
    fn other_words_are_ignored_with_a_warning() {
        let invocation = invoke(&["a", "-m", "6", "-", "--", "-x", "--ver"]).unwrap();
        let words = ["a", "-", "-x", "--ver"];
        let warnings = words.map(|word| format!("\"{word}\" is not an option and is ignored"));
        assert_eq!(invocation.warnings, warnings);
        let config = Config {
            clients_max: 6,
            ..Config::default()
        };
        assert_eq!(invocation.command, Command::Run(config));
    }

    #[test]
    fn demo_has_defaults_of_its_own() {
        let invocation = invoke(&["-C", "demo", "demo"]).unwrap();
        assert_eq!(invocation.command, Command::Demo(Config::demo()));
        assert_eq!(invocation.warnings.len(), 1);
        let Command::Demo(config) = invoke(&["-m", "2", "demo", "-l", "80", "-q"])
            .unwrap()
            .command
        else {
            panic!("not a demo");
        };
        assert_eq!(config.clients_max, 2);
        assert_eq!(config.listen, [ListenAddr::All { port: 80 }]);
        assert_eq!(config.verbosity, Verbosity::Fatal);
    }

    #[test]
    fn demo_counts_as_the_first_word_only() {
        let invocation = invoke(&["word", "demo"]).unwrap();
        assert_eq!(invocation.command, Command::Run(Config::default()));
        assert_eq!(invocation.warnings.len(), 2);
        assert_eq!(
            run(&["-i", "demo"]).upstream_interface.as_deref(),
            Some("demo")
        );
    }

    #[test]
    fn help_and_version_decide_at_once() {
        assert!(matches!(
            invoke(&["-h", "-m", "x"]).unwrap().command,
            Command::Help(_)
        ));
        assert!(matches!(
            invoke(&["demo", "--help", "-V"]).unwrap().command,
            Command::Help(_)
        ));
        assert_eq!(
            invoke(&["--version", "-h"]).unwrap().command,
            Command::Version(format!("flowgate {}\n", env!("CARGO_PKG_VERSION")))
        );
        assert!(invoke(&["-m", "x", "-h"]).is_err());
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
            assert!(text.contains(&option.usage()), "{}", option.long);
            assert!(words.contains(&option.explanation()), "{}", option.long);
        }
        for group in Group::ALL {
            assert!(text.contains(&format!("\n\n{}:\n", group.title())));
        }
    }

    #[test]
    fn demo_defaults_in_the_help_are_the_defaults() {
        let said = ["-l", "127.0.0.1:5140", "-m", "64", "-v", "2"];
        assert!(help_text().contains(&said.join(" ")));
        assert_eq!(run(&said), Config::demo());
    }

    #[test]
    fn names_are_used_once() {
        for (index, option) in options().iter().enumerate() {
            for other in &options()[index + 1..] {
                assert_ne!(option.long, other.long);
                assert!(option.short.is_none() || option.short != other.short);
            }
            // `getopts` takes a long name of one letter for a short one.
            assert!(option.long.len() > 1);
        }
    }

    #[test]
    fn program_is_called_what_the_user_calls_it() {
        for (program, usage) in [
            ("./target/fg", "Usage: fg [options]"),
            ("", "Usage: flowgate [options]"),
            ("/", "Usage: flowgate [options]"),
            ("a\u{1b}b", "Usage: a\\u{1b}b [options]"),
        ] {
            let Command::Help(text) = parse([program, "-h"]).unwrap().command else {
                panic!("no help");
            };
            assert!(text.contains(usage), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn argument_that_is_not_utf_8_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let args = [
            OsString::from("flowgate"),
            OsString::from_vec(b"-i\xff".to_vec()),
        ];
        let error = parse(args).unwrap_err().to_string();
        assert_eq!(error, "\"-i\u{fffd}\" is not UTF-8");
    }

    /// An argument: often an option, a part of one or a value, else anything.
    fn argument() -> impl Strategy<Value = String> {
        let long =
            (0..options().len(), 0_usize..40, "(=.{0,4})?").prop_map(|(index, cut, value)| {
                let long = options()[index].long;
                format!("--{}{value}", &long[..cut.min(long.len())])
            });
        prop_oneof![
            long,
            "-[lmUirRygHXTOBbvqChV-]{1,4}[0-9a]{0,3}",
            "[0-9.]{1,6}",
            "demo|off|auto|--|-",
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn any_arguments_give_a_command_or_one_line_of_complaint(
            args in proptest::collection::vec(argument(), 0..8),
        ) {
            match parse(&args) {
                Ok(invocation) => {
                    let mut warnings = invocation.warnings.iter();
                    prop_assert!(warnings.all(|line| !line.contains(char::is_control)));
                }
                Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
            }
        }
    }
}
