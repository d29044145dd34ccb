//! The habits of GNU `getopt_long`, on top of `getopts`.
//!
//! `--name value` and `--name=value`, unique prefixes of long names, bundled short flags, options and words in any
//! order, `--` ends the options. `getopts` knows no prefixes, so arguments are spelt out before it sees them.

use getopts::{Fail, HasArg, Matches, Occur, Options};

use super::error::CliError;
use super::options::{OptionSpec, understood};

/// The options given, from left to right, with their values, and the other words.
pub(super) struct Spelt {
    /// Each option with its value; a flag's value is empty.
    pub(super) options: Vec<(OptionSpec, String)>,
    /// What is no option, in order.
    pub(super) words: Vec<String>,
}

/// Takes the arguments behind the program's name apart.
///
/// # Errors
///
/// The first argument that is not an option, or an option whose value is missing or not wanted.
pub(super) fn take_apart(args: Vec<String>) -> Result<Spelt, CliError> {
    let matches = parser().parse(spell_out(args)?).map_err(explain)?;
    Ok(Spelt {
        options: in_order(&matches),
        words: matches.free,
    })
}

fn parser() -> Options {
    let mut parser = Options::new();
    for option in understood() {
        let short = option.short().map(String::from).unwrap_or_default();
        let has_value = match option.argument() {
            Some(_) => HasArg::Yes,
            None => HasArg::No,
        };
        // The help text is ours, so descriptions stay out.
        parser.opt(&short, option.long(), "", "", has_value, Occur::Multi);
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
                Some(value) => format!("--{}={value}", option.long()),
                None => format!("--{}", option.long()),
            });
            option.argument().is_some() && value.is_none()
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
        let option = understood()
            .find(|option| option.short() == Some(letter))
            .ok_or_else(|| CliError::Unknown(format!("-{letter}")))?;
        if option.argument().is_some() {
            let rest = &bundle[at..];
            spelt.push(format!("-{rest}"));
            return Ok(rest.len() == letter.len_utf8());
        }
        spelt.push(format!("-{letter}"));
    }
    Ok(false)
}

/// The option of this long name, or of the only long name that begins so. What was unique among the options of the
/// compatible router stays so, whatever has been added.
fn by_prefix(name: &str) -> Result<OptionSpec, CliError> {
    let exact = understood().find(|option| option.long() == name);
    if let Some(option) = exact {
        return Ok(option);
    }
    let begins_so = |option: &OptionSpec| !name.is_empty() && option.long().starts_with(name);
    let candidates: Vec<OptionSpec> = understood().filter(begins_so).collect();
    let mut compatible = candidates
        .iter()
        .filter(|option| COMPATIBLE.contains(&option.long()));
    let typed = format!("--{name}");
    match (&candidates[..], compatible.next(), compatible.next()) {
        ([], ..) => Err(CliError::Unknown(typed)),
        ([option], ..) | (_, Some(option), None) => Ok(*option),
        _ => Err(CliError::Ambiguous {
            typed,
            candidates: candidates.into_iter().map(OptionSpec::long).collect(),
        }),
    }
}

/// The long names of the compatible router (server spec 2.2).
const COMPATIBLE: &[&str] = &[
    "access-log",
    "app-path-prefix",
    "buffer-pool-max-size",
    "config",
    "cors-allow-origin",
    "external-m3u",
    "external-m3u-update-interval",
    "fcc-listen-port-range",
    "ffmpeg-args",
    "ffmpeg-path",
    "help",
    "hostname",
    "http-proxy-user-agent",
    "listen",
    "log-format",
    "maxclients",
    "mcast-rejoin-interval",
    "noconfig",
    "noudpxy",
    "pid-file",
    "player-page-path",
    "quiet",
    "r2h-token",
    "rtsp-stun-server",
    "rtsp-user-agent",
    "status-page-path",
    "udp-rcvbuf-size",
    "upstream-interface",
    "upstream-interface-fcc",
    "upstream-interface-http",
    "upstream-interface-multicast",
    "upstream-interface-rtsp",
    "use-relative-path-in-m3u",
    "verbose",
    "video-snapshot",
    "workers",
    "xff",
    "zerocopy-on-send",
];

fn explain(fail: Fail) -> CliError {
    let named = |name: &str| {
        understood().find(|option| {
            let short = option.short().map(|short| short.to_string());
            option.long() == name || short.as_deref() == Some(name)
        })
    };
    let names = |name: &str| named(name).map_or_else(|| name.to_owned(), OptionSpec::names);
    match fail {
        Fail::ArgumentMissing(name) => CliError::ValueMissing {
            option: names(&name),
            argument: named(&name)
                .and_then(OptionSpec::argument)
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

/// The options given, from left to right, with their values.
fn in_order(matches: &Matches) -> Vec<(OptionSpec, String)> {
    let mut given = Vec::new();
    for option in understood() {
        if option.argument().is_some() {
            let values = matches.opt_strs_pos(option.long()).into_iter();
            given.extend(values.map(|(position, value)| (position, option, value)));
        } else {
            let positions = matches.opt_positions(option.long()).into_iter();
            given.extend(positions.map(|position| (position, option, String::new())));
        }
    }
    given.sort_by_key(|(position, ..)| *position);
    given
        .into_iter()
        .map(|(_, option, value)| (option, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_compatible_router_are_understood() {
        for name in COMPATIBLE {
            assert!(understood().any(|option| option.long() == *name), "{name}");
        }
    }
}
