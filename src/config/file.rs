//! A configuration file: read from disk, and put into a [`Draft`].
//!
//! Reading is bounded, and never waits for a device or a pipe when a file is read again. [`apply`] is pure but for
//! the names of ports, which the system knows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Draft;
use super::draft::Source;
use super::ini::{self, Item};
use super::parse::{Rejected, quoted};
use super::problem::{Problem, Severity, shown};
use super::settings::{Setting, absent_by_key, by_key, listen};
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_PROBLEMS_MAX};
use crate::playlist::{Builder, Fault, Naming, Origin};

/// Reads a file whole, once: it may also be a pipe.
///
/// # Errors
///
/// What the system says, and `FileTooLarge` beyond [`CONFIG_FILE_BYTES_MAX`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(&File::open(path)?)
}

/// Reads a file whole, without ever waiting for somebody to write it.
///
/// # Errors
///
/// As [`read`], and `InvalidInput` if it is no regular file.
pub fn read_again(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let text = "not a regular file, so it cannot be read again";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    read_bounded(&file)
}

fn read_bounded(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        let text = format!("longer than {CONFIG_FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Puts the values of a file into `draft`; `index` counts the files before it. The problems are in the order of
/// the lines, at most [`CONFIG_PROBLEMS_MAX`] and one that counts the rest.
///
/// A value that is not accepted leaves the earlier one in force.
pub fn apply(draft: &mut Draft, bytes: &[u8], index: usize, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut beyond = Vec::new();
    let mut list = ServiceList::new(draft.naming());
    let mut is_complained_of = false;
    let mut note = |number, said| match said {
        Ok(()) => {}
        Err(problem) if problems.len() < CONFIG_PROBLEMS_MAX => problems.push(Problem {
            place: Some((path.to_owned(), number)),
            ..problem
        }),
        Err(problem) => beyond.push(problem.severity),
    };
    for line in ini::lines(bytes) {
        let source = Source::File {
            file: index,
            line: line.number,
        };
        let said = match line.item {
            Item::Global { key, value } => global(draft, key, value, source),
            Item::Bind(text) => bind(draft, text, source),
            Item::Service(text) => list.take(draft, text, source),
            // Said once: a file that is something else has nothing but such lines.
            Item::Fault(ini::Fault::NoSection) if is_complained_of => Ok(()),
            Item::Fault(fault) => {
                is_complained_of |= fault == ini::Fault::NoSection;
                Err(wrong(None, fault.to_string()))
            }
        };
        note(line.number, said);
    }
    note(list.last_line, list.end());
    if let Some(severity) = beyond.iter().max() {
        let text = format!("{}: {} more lines have problems", shown(path), beyond.len());
        problems.push(Problem::of_all(*severity, text));
    }
    problems
}

fn global(draft: &mut Draft, key: &str, value: &str, source: Source) -> Result<(), Problem> {
    let Some(setting) = by_key(key) else {
        return Err(match absent_by_key(key) {
            Some(absent) => notice(format!("{} {}", absent.name, absent.notice())),
            None => wrong(None, format!("{} is not a key of [global]", quoted(key))),
        });
    };
    let key = key.to_ascii_lowercase();
    let Err(rejected) = draft.set(setting, value, source) else {
        return Ok(());
    };
    // The compatible router reads a number up to the first other character, so files have comments there.
    let is_set =
        before_comment(value).is_some_and(|value| draft.set(setting, value, source).is_ok());
    Err(match is_set {
        true => notice(format!(
            "{key}: what stands behind the value is left out; comments have lines of their own"
        )),
        false => wrong(Some(setting), format!("{key}: {rejected}")),
    })
}

/// One line of `[bind]`: host and port, what `-l` accepts, or the path of a Unix socket (server spec 3.3).
fn bind(draft: &mut Draft, text: &str, source: Source) -> Result<(), Problem> {
    let refused = |rejected: Rejected| wrong(Some(listen()), format!("[bind]: {rejected}"));
    let words = text.split_ascii_whitespace();
    let mut words = words.take_while(|word| !word.starts_with(['#', ';']));
    let address = match (words.next(), words.next()) {
        (Some(path), Some(_)) if path.starts_with('/') => {
            let accepted = "the path of a Unix socket alone on its line, without blanks in it";
            return Err(refused(Rejected::new(text, accepted)));
        }
        (Some(host), Some(port)) => match host.starts_with('[') || !host.contains(':') {
            true => format!("{host}:{port}"),
            false => format!("[{host}]:{port}"),
        },
        (first, _) => first.unwrap_or_default().to_owned(),
    };
    draft.set(listen(), &address, source).map_err(refused)?;
    match words.next() {
        None => Ok(()),
        Some(rest) => Err(notice(format!(
            "[bind]: {} and what follows is left out",
            quoted(rest)
        ))),
    }
}

/// The channel list below `[services]` of one file, in however many sections (playlist spec §2).
struct ServiceList {
    /// Reads the lines only for what is wrong with them.
    builder: Builder,
    /// [`HEADER`] has come.
    has_begun: bool,
    /// It has been said that it is missing.
    is_complained_of: bool,
    last_line: usize,
}

/// Begins the list; what stands before it is left out.
const HEADER: &[u8] = b"#EXTM3U";

impl ServiceList {
    fn new(naming: Naming) -> Self {
        let mut builder = Builder::new(naming);
        builder.begin(Origin::Operator);
        Self {
            builder,
            has_begun: false,
            is_complained_of: false,
            last_line: 0,
        }
    }

    /// Takes a line, which is not blank.
    fn take(&mut self, draft: &mut Draft, text: &[u8], source: Source) -> Result<(), Problem> {
        if text.starts_with(b";") {
            return Ok(());
        }
        if !self.has_begun && !text.starts_with(HEADER) {
            let is_first = !std::mem::replace(&mut self.is_complained_of, true);
            let text = "[services]: what stands before #EXTM3U is left out";
            return if is_first { Err(notice(text)) } else { Ok(()) };
        }
        self.has_begun = true;
        if let Source::File { line, .. } = source {
            self.last_line = line;
        }
        let text = str::from_utf8(text)
            .map_err(|_| wrong(None, "[services]: the line is not UTF-8".to_owned()))?;
        draft.add_service_line(text, source);
        self.builder.take(text).map_err(in_services)
    }

    fn end(&mut self) -> Result<(), Problem> {
        self.builder.end().map_err(in_services)
    }
}

fn in_services(fault: Fault) -> Problem {
    let text = format!("[services]: {fault}");
    match fault.loses_something() {
        true => wrong(None, text),
        false => notice(text),
    }
}

fn notice(text: impl Into<String>) -> Problem {
    Problem::of_all(Severity::Notice, text.into())
}

fn wrong(setting: Option<&'static Setting>, text: String) -> Problem {
    Problem {
        subject: setting.map(Setting::subject),
        ..Problem::of_all(Severity::Wrong, text)
    }
}

/// The value before white space and `;` or `#`.
fn before_comment(value: &str) -> Option<&str> {
    let before = value
        .match_indices([';', '#'])
        .map(|(at, _)| value.get(..at));
    let mut before = before.flatten();
    let found = before.find(|before| before.ends_with([' ', '\t']))?;
    Some(found.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn applied(text: &str) -> (Config, Sources, Vec<String>) {
        let mut draft = Draft::new(Config::default());
        let problems = apply(&mut draft, text.as_bytes(), 0, Path::new("/x.conf"));
        let (config, sources) = draft.finish();
        let told = problems
            .iter()
            .map(|problem| format!("{:?} {problem}", problem.severity));
        (config, sources, told.collect())
    }

    #[track_caller]
    fn addresses(text: &str) -> Vec<String> {
        let (config, _, problems) = applied(&format!("[bind]\n{text}"));
        assert_eq!(problems, [""; 0]);
        config.listen.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn problem(text: &str) -> String {
        let (config, _, problems) = applied(text);
        assert_eq!(config, Config::default(), "{text}");
        match &problems[..] {
            [problem] => problem.clone(),
            several => panic!("{several:?}"),
        }
    }

    #[test]
    fn lines_before_any_section_are_told_once() {
        let (_, _, problems) = applied("root:*:1\nbin:*:2\n\n[global]\nmaxclients = 8\nx\n");
        let expected = [
            "Wrong /x.conf:1: what stands before the first section is left out; begin with [global], [bind] or [services]",
            "Wrong /x.conf:6: the line has no =; give key = value",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn values_hold_and_remember_their_lines() {
        let text = "[global]\nMaxClients = 7\nchannel_linger = 1\nmaxclients = 8\nudpxy = off\nhostname =\n";
        let (config, sources, problems) = applied(text);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.clients_max, 8);
        assert!(!config.udpxy && config.hostname.is_none());
        let clients = by_key("maxclients").expect("a key");
        assert_eq!(sources.of(clients), Source::File { file: 0, line: 4 });
    }

    #[test]
    fn wrong_value_is_named_with_its_place_and_the_earlier_one_stays() {
        assert_eq!(
            problem("[global]\n\nmaxclients = 5x"),
            "Wrong /x.conf:3: maxclients: \"5x\" is not accepted; give a whole number from 1 to 65536"
        );
        let (config, ..) = applied("[global]\nmaxclients = 9\nmaxclients = 0");
        assert_eq!(config.clients_max, 9);
    }

    #[test]
    fn secrets_are_not_shown() {
        for text in [
            "[global]\nr2h-token s3cret",
            "[global]\nr2h-token = s3cret\u{1}",
        ] {
            assert!(!problem(text).contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_wrong_and_absent_ones_are_a_notice() {
        assert_eq!(
            problem("[global]\nmax-clients = 5"),
            "Wrong /x.conf:2: \"max-clients\" is not a key of [global]"
        );
        assert_eq!(
            problem("[global]\nFFmpeg_Path = /x"),
            "Notice /x.conf:2: ffmpeg-path has no effect in this version"
        );
    }

    #[test]
    fn services_are_one_list_wherever_their_sections_stand() {
        let text = "[services]\n#EXTM3U\n ; left out\n#EXTINF:-1,A\n[global]\nxff = yes\n[services]\n  rtp://239.0.0.1 \n\
                    \n#EXTINF:-1,B\nigmp://239.0.0.1\n[bind]\n";
        let (config, _, problems) = applied(text);
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            &*config.services,
            "#EXTM3U\n#EXTINF:-1,A\nrtp://239.0.0.1\n#EXTINF:-1,B\nigmp://239.0.0.1\n"
        );
        assert_eq!(config.catalogue().finish().len(), 1);
    }

    #[test]
    fn lines_of_services_without_their_effect_are_named() {
        let text = "[services]\nrtp://239.0.0.1\nrtp://239.0.0.2\n#EXTM3U\n#EXTINF:-1\nrtp://239.0.0.1\n\
                    #EXTINF:-1,A\nrtp://239.0.0.1?fcc=\nrtp://239.0.0.1\n#EXTINF:-1,B\n[global]\n";
        let (_, _, problems) = applied(text);
        let expected = [
            "Notice /x.conf:2: [services]: what stands before #EXTM3U is left out",
            "Wrong /x.conf:5: [services]: the entry has no name; give one behind a comma",
            "Notice /x.conf:8: [services]: players get the URL as it is: fcc= is empty; accepted is fcc=host:port",
            "Wrong /x.conf:9: [services]: no #EXTINF line stands in front of the URL",
            "Wrong /x.conf:10: [services]: the entry before has no URL",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn services_of_a_later_file_replace_those_of_an_earlier_one() {
        let mut draft = Draft::new(Config::default());
        for (index, name) in ["A", "B"].into_iter().enumerate() {
            let text = format!("[services]\n#EXTM3U\n#EXTINF:-1,{name}\nrtp://239.0.0.1\n");
            let problems = apply(&mut draft, text.as_bytes(), index, Path::new("/x"));
            assert_eq!(problems, []);
        }
        let (config, sources) = draft.finish();
        assert!(config.services.contains(",B\n") && !config.services.contains(",A\n"));
        assert_eq!(sources.of_services(), Source::File { file: 1, line: 4 });
    }

    #[test]
    fn comment_behind_a_value_is_left_out_of_values_that_cannot_hold_it() {
        let (config, _, problems) = applied("[global]\nmaxclients = 20 ; all\nxff = yes\t# proxy");
        assert_eq!((config.clients_max, config.xff), (20, true));
        assert!(problems[0].starts_with("Notice /x.conf:2: maxclients: what stands behind"));
        assert_eq!(problems.len(), 2);
        let (config, _, problems) = applied("[global]\nhttp-proxy-user-agent = a ; b");
        assert_eq!(config.http_proxy_user_agent.as_deref(), Some("a ; b"));
        assert_eq!(problems, [""; 0]);
        assert!(problem("[global]\nmaxclients = x ; 5").contains("\"x ; 5\""));
        assert!(problem("[global]\nmaxclients = 5;x").contains("\"5;x\""));
    }

    #[test]
    fn addresses_are_read_in_every_form() {
        for (line, address) in [
            ("* 5140", "*:5140"),
            ("::1 \t 5140", "[::1]:5140"),
            ("[::1] 5140", "[::1]:5140"),
            ("[::1]:5140", "[::1]:5140"),
            ("192.0.2.1 http-alt", "192.0.2.1:8080"),
            ("name 80 # all", "name:80"),
            ("5141 ; all", "*:5141"),
        ] {
            assert_eq!(addresses(line), [address], "{line}");
        }
        assert_eq!(addresses("* 1\n[global]\n[bind]\n* 2"), ["*:1", "*:2"]);
    }

    #[test]
    fn address_without_a_port_or_of_a_wrong_form_is_refused() {
        for line in [
            "name",
            "::1",
            "* 99999",
            "* no-such-service",
            "[::1 80",
            "/a b",
            "* -",
        ] {
            let problem = problem(&format!("[bind]\n{line}"));
            assert!(problem.starts_with("Wrong /x.conf:2: "), "{problem}");
        }
    }

    #[test]
    fn words_behind_an_address_are_a_notice() {
        let (config, _, problems) = applied("[bind]\n* 80 all of them");
        assert_eq!(config.listen.len(), 1);
        assert_eq!(
            problems,
            ["Notice /x.conf:2: [bind]: \"all\" and what follows is left out"]
        );
    }

    #[test]
    fn problems_are_counted_beyond_a_limit() {
        let text = format!("[global]\n{}", "x\n".repeat(CONFIG_PROBLEMS_MAX + 3));
        let (_, _, problems) = applied(&text);
        assert_eq!(problems.len(), CONFIG_PROBLEMS_MAX + 1);
        let last = problems.last().expect("the count");
        assert_eq!(last, "Wrong /x.conf: 3 more lines have problems");
    }
}
