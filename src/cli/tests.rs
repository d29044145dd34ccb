//! The command line as a user types it.

use super::*;
use crate::config::settings::Place;
use crate::config::{ListenAddr, LogStyle, UpstreamPolicy, Verbosity};
use crate::limits::LISTENERS_MAX;
use proptest::prelude::*;
use std::time::Duration;

fn invoke(args: &[&str]) -> Result<Invocation, CliError> {
    parse(std::iter::once(&"/usr/bin/flowgate").chain(args))
}

#[track_caller]
fn run(args: &[&str]) -> Config {
    let invocation = invoke(args).unwrap();
    assert_eq!(invocation.command, Command::Run);
    config(&invocation)
}

/// What the command line alone makes of the defaults.
#[track_caller]
fn config(invocation: &Invocation) -> Config {
    let no_files: load::Read<'_> = &|_| Err(std::io::ErrorKind::NotFound.into());
    let loaded = invocation.load_with(no_files, Severity::Fatal);
    loaded.expect("a configuration").config
}

fn notices(invocation: &Invocation) -> Vec<String> {
    let notices = invocation.notices.iter();
    notices.map(Problem::to_string).collect()
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

/// The README's table of options and keys, between its two markers.
fn readme_table() -> String {
    let mut table =
        "| Option | Key | Default | Accepted | Does |\n|---|---|---|---|---|\n".to_owned();
    for option in options() {
        let short = option.short().map(|letter| format!("`-{letter}`, "));
        let argument = option.argument().map(|name| format!(" <{name}>"));
        let (key, default, range) = match option {
            OptionSpec::Setting(setting) => {
                let key = match setting.place {
                    Place::Global(key) => format!("`{key}`"),
                    Place::Bind => "`[bind]`".to_owned(),
                };
                (key, setting.default, setting.range)
            }
            _ => (String::new(), None, None),
        };
        let cells = [
            format!(
                "{}`--{}{}`",
                short.unwrap_or_default(),
                option.long(),
                argument.unwrap_or_default()
            ),
            key,
            default.unwrap_or_default().to_owned(),
            range.unwrap_or_default().to_owned(),
            option.description().to_owned(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
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
    let is_true = shown == Some(table.as_str());
    assert!(is_true, "the table should be:\n\n{table}\n");
}

#[test]
fn readme_lists_what_has_no_effect() {
    let readme = include_str!("../../README.md").replace('\n', " ");
    for (is_decided_here, mark) in [(false, "absent"), (true, "decided")] {
        let options = options::understood().filter(|option| match option {
            OptionSpec::Absent(absent) => absent.instead.is_some() == is_decided_here,
            _ => false,
        });
        let listed = options.map(|absent| match absent.short() {
            Some(letter) => format!("`{}` (`-{letter}`)", absent.long()),
            None => format!("`{}`", absent.long()),
        });
        let listed = listed.collect::<Vec<_>>().join(", ");
        assert!(
            readme.contains(&format!("<!-- {mark} --> {listed} <!-- /{mark} -->")),
            "it should be: {listed}"
        );
    }
}

#[test]
fn no_arguments_run_the_defaults() {
    assert_eq!(run(&[]), Config::default());
    let nothing = parse(std::iter::empty::<OsString>()).unwrap();
    assert_eq!(nothing.command, Command::Run);
    assert_eq!(config(&nothing), Config::default());
}

#[test]
fn documented_ranges_are_the_ranges() {
    for option in options() {
        let OptionSpec::Setting(setting) = option else {
            continue;
        };
        let Some((low, high)) = setting.range.and_then(|range| range.split_once(" to ")) else {
            continue;
        };
        run(&[&format!("--{}={low}", option.long())]);
        run(&[&format!("--{}={high}", option.long())]);
        let error = refused(&[&format!("--{}={high}1", option.long())]);
        assert!(error.contains(&format!("{low} to {high}")), "{error}");
    }
}

#[test]
fn flags_imply_their_values() {
    let config = run(&[
        "-U",
        "-X",
        "-q",
        "--use-relative-path-in-m3u",
        "--log-timestamps",
    ]);
    let expected = Config {
        udpxy: false,
        xff: true,
        verbosity: Verbosity::Fatal,
        use_relative_path_in_m3u: true,
        log_style: Some(LogStyle::Timestamps),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn empty_values_take_earlier_ones_back() {
    assert_eq!(run(&["-C"]), Config::default());
    for option in [
        "-g",
        "-H",
        "-T",
        "-O",
        "-i",
        "--app-path-prefix",
        "--tls-ca",
        "--pid-file",
        "--user",
    ] {
        assert_eq!(
            run(&[option, "x", option, ""]),
            Config::default(),
            "{option}"
        );
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
            ["-l", "run/x.sock"],
            "-l/--listen: \"run/x.sock\" is not accepted; \
             give the absolute path of a Unix socket, without white space",
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
fn prefix_that_names_one_option_of_the_compatible_router_means_that() {
    for (prefix, name) in [
        ("--status=/a", "--status-page-path=/a"),
        ("--log=$host", "--log-format=$host"),
        ("--http=a", "--http-proxy-user-agent=a"),
        ("--ver=4", "--verbose=4"),
        ("--us", "--use-relative-path-in-m3u"),
    ] {
        assert_eq!(run(&[prefix]), run(&[name]), "{prefix}");
        assert_ne!(run(&[prefix]), run(&[]), "{prefix}");
    }
    // One that was added still has its name.
    assert!(run(&["--user=1"]).user.is_some());
}

#[test]
fn ambiguous_prefix_lists_the_candidates() {
    for (arg, error) in [
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
fn other_words_are_ignored_with_a_notice() {
    let invocation = invoke(&["a", "-m", "6", "-", "--", "-x", "--ver"]).unwrap();
    let words = ["a", "-", "-x", "--ver"];
    let expected = words.map(|word| format!("\"{word}\" is not an option and is ignored"));
    assert_eq!(notices(&invocation), expected);
    assert_eq!(invocation.command, Command::Run);
    assert_eq!(config(&invocation).clients_max, 6);
}

#[test]
fn port_for_udpxy_is_doubtful() {
    let invocation = invoke(&["-p", "4022", "-s", "8080"]).unwrap();
    let expected =
        ["-p 4022 is taken for the path of the player page; -l says the port to listen on"];
    assert_eq!(notices(&invocation), expected);
    assert_eq!(config(&invocation).player_page_path, "/4022");
    assert!(notices(&invoke(&["-p", "watch"]).unwrap()).is_empty());
}

#[test]
fn options_of_the_compatible_router_are_told_to_have_no_effect() {
    let invocation = invoke(&["-SZF", "/x", "--ffmpeg-args=-a -b", "-m6", "--video"]).unwrap();
    let expected = [
        "-S/--video-snapshot has no effect in this version",
        "-Z/--zerocopy-on-send has no effect: bodies are passed on with splice, and channels with many clients sent \
         with sendfile, without being copied, wherever that pays",
        "-F/--ffmpeg-path has no effect in this version",
        "-A/--ffmpeg-args has no effect in this version",
        "-S/--video-snapshot has no effect in this version",
    ];
    assert_eq!(notices(&invocation), expected);
    assert_eq!(config(&invocation).clients_max, 6);
    assert!(refused(&["-F"]).contains("a value is missing"));
}

#[test]
fn demo_has_defaults_of_its_own() {
    let invocation = invoke(&["-C", "demo", "demo"]).unwrap();
    assert_eq!(invocation.command, Command::Demo);
    assert_eq!(config(&invocation), Config::demo());
    assert_eq!(notices(&invocation).len(), 1);
    let invocation = invoke(&["-m", "2", "demo", "-l", "80", "-q"]).unwrap();
    assert_eq!(invocation.command, Command::Demo);
    let expected = Config {
        clients_max: 2,
        listen: vec![ListenAddr::All { port: 80 }],
        verbosity: Verbosity::Fatal,
        ..Config::demo()
    };
    assert_eq!(config(&invocation), expected);
}

#[test]
fn demo_counts_as_the_first_word_only() {
    let invocation = invoke(&["word", "demo"]).unwrap();
    assert_eq!(invocation.command, Command::Run);
    assert_eq!(config(&invocation), Config::default());
    assert_eq!(notices(&invocation).len(), 2);
    assert_eq!(
        run(&["-i", "demo"]).upstream_interface.as_deref(),
        Some("demo")
    );
}

#[test]
fn configuration_files_add_up_to_a_limit() {
    let invocation = invoke(&["-c", "a", "--config=b", "-Cc/c d"]).unwrap();
    assert_eq!(invocation.files, ["a", "b", "/c d"].map(PathBuf::from));
    assert!(invocation.without_default);
    let mut args = vec!["-ca"; CONFIG_FILES_MAX];
    assert!(invoke(&args).is_ok());
    args.push("-ca");
    assert!(refused(&args).ends_with("give at most 16 files"));
    assert!(refused(&["-c", ""]).starts_with("-c/--config: \"\" is not accepted"));
}

#[test]
fn checking_and_printing_are_commands_over_the_same_settings() {
    for (option, command) in [
        ("--check-config", Command::CheckConfig),
        ("--print-config", Command::PrintConfig),
    ] {
        let invocation = invoke(&["demo", option, "-m6"]).unwrap();
        assert_eq!(invocation.command, command);
        let expected = Config {
            clients_max: 6,
            ..Config::demo()
        };
        assert_eq!(config(&invocation), expected);
    }
}

#[test]
fn invocation_does_not_show_the_token() {
    let invocation = invoke(&["-T", "s3cret", "-c", "f"]).unwrap();
    assert!(!format!("{invocation:?}").contains("s3cret"));
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
fn demo_defaults_in_the_help_are_the_defaults() {
    let said = ["-l", "127.0.0.1:5140", "-m", "64", "-v", "2"];
    assert!(help_text().contains(&said.join(" ")));
    assert_eq!(run(&said), Config::demo());
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
    let long = (0..options().count(), 0_usize..40, "(=.{0,4})?").prop_map(|(index, cut, value)| {
        let long = options().nth(index).expect("an option").long();
        format!("--{}{value}", &long[..cut.min(long.len())])
    });
    prop_oneof![
        long,
        "-[lmUirRygHXTOBbvqcCMSwhV-]{1,4}[0-9a]{0,3}",
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
                let notices = notices(&invocation);
                prop_assert!(!notices.iter().any(|line| line.contains(char::is_control)));
            }
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }
}
