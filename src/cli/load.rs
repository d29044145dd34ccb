//! A command line and the files it names become one configuration: defaults, then files, then the command line.

use std::io;
use std::path::{Path, PathBuf};

use super::Invocation;
use crate::access_log::Format;
use crate::config::problem::shown;
use crate::config::settings::{Setting, by_key, listen, settings};
use crate::config::{Config, Draft, Problem, Severity, Source, Sources, file, file_text};

/// Where a file is looked for if the command line names none; the first that exists is read. The second is the
/// compatible router's, so that a change from it needs no edit.
pub const DEFAULT_FILES: [&str; 2] = ["/etc/flowgate.conf", "/etc/rtp2httpd.conf"];

/// A configuration, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// Where its values come from; files are counted as in `files`.
    pub sources: Sources,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What was found wrong on the way, without anything [fatal](Severity::Fatal).
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// The text of a file that says all of it, secrets too; see [`file_text`].
    pub fn file_text(&self) -> String {
        file_text(&self.config, &self.sources, &self.files)
    }
}

impl Invocation {
    /// Puts the configuration together for a start. Reads files, and may wait for a pipe among them.
    ///
    /// A value that is wrong in a file leaves the weaker one in force and is one of the problems.
    ///
    /// # Errors
    ///
    /// All problems, if one is fatal: a file cannot be read, no line of `[bind]` can be used, or a value that says who
    /// may do what is wrong.
    pub fn load(&self) -> Result<Loaded, Vec<Problem>> {
        self.load_with(&file::read, Severity::Fatal)
    }

    /// Puts the configuration together again, from the files as they are now and the same command line. Reads
    /// regular files only, and changes nothing: what to do with the result is the caller's business.
    ///
    /// `current` is what the program runs with. Without files (`-C`, or there are none) the result is the same.
    ///
    /// # Errors
    ///
    /// All problems, if one is more than a notice, or if no file is left of those that there were.
    pub fn reload(&self, current: &Loaded) -> Result<Loaded, Vec<Problem>> {
        let loaded = self.load_with(&file::read_again, Severity::Wrong)?;
        match current.files.first() {
            Some(file) if loaded.files.is_empty() => {
                let text = format!("the configuration file {} is gone", shown(file));
                Err(vec![Problem::of_all(Severity::Fatal, text)])
            }
            _ => Ok(loaded),
        }
    }

    /// Reads everything; problems of severity `refused` or above are errors.
    pub(super) fn load_with(
        &self,
        read: Read<'_>,
        refused: Severity,
    ) -> Result<Loaded, Vec<Problem>> {
        let (found, mut problems) = self.find_files(read);
        let mut draft = Draft::new(self.base());
        let mut files = Vec::new();
        for (path, bytes) in found {
            problems.extend(file::apply(&mut draft, &bytes, files.len(), &path));
            files.push(path);
        }
        for (setting, text) in &self.given {
            draft
                .set(setting, text, Source::CommandLine)
                .expect("accepted when the command line was read");
        }
        let (config, sources) = draft.finish();
        let is_bind_wrong = problems
            .iter()
            .any(|problem| problem.subject == Some(listen().subject()));
        if is_bind_wrong && sources.of(listen()) == Source::Default {
            let text = "no line of [bind] can be used, and nobody asked to listen on all addresses instead";
            problems.push(Problem::of_all(Severity::Fatal, text.to_owned()));
        }
        problems.extend(lost_guards(&problems, &sources, &files));
        if problems.iter().any(|problem| problem.severity >= refused) {
            return Err(problems);
        }
        problems.extend(doubtful_log_format(&config, &sources, &files));
        problems.extend(hidden_player(&config, &sources, &files));
        Ok(Loaded {
            config,
            sources,
            files,
            problems,
        })
    }

    /// The files and their bytes: those of `-c`, or the first of the default ones. A demo has none by default, so
    /// that it shows the same everywhere.
    fn find_files(&self, read: Read<'_>) -> (Vec<(PathBuf, Vec<u8>)>, Vec<Problem>) {
        let mut found = Vec::new();
        let mut problems = self.notices.clone();
        let mut unreadable = |path: &Path, error: io::Error, way_out: &str| {
            let text = format!(
                "the configuration file {} cannot be read: {error}{way_out}",
                shown(path)
            );
            problems.push(Problem::of_all(Severity::Fatal, text));
        };
        for path in &self.files {
            match read(path) {
                Ok(bytes) => found.push((path.clone(), bytes)),
                Err(error) => unreadable(path, error, ""),
            }
        }
        if self.files.is_empty() && !self.without_default && !self.demo {
            for path in DEFAULT_FILES.map(Path::new) {
                match read(path) {
                    Ok(bytes) => found.push((path.to_owned(), bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => unreadable(path, error, "; -C does without it"),
                }
                break;
            }
        }
        (found, problems)
    }
}

/// How a file is read; tests have their own.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Values left out that were to keep somebody out, unless the command line or a later file says another one.
fn lost_guards(problems: &[Problem], sources: &Sources, files: &[PathBuf]) -> Vec<Problem> {
    let is_lost = |setting: &Setting| {
        let wrong = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Wrong)
            .filter(|problem| problem.subject == Some(setting.subject()))
            .filter_map(|problem| problem.place.as_ref());
        let wrong_file = wrong
            .filter_map(|(path, _)| files.iter().rposition(|file| file == path))
            .max();
        match sources.of(setting) {
            Source::CommandLine => false,
            Source::File { file, .. } => wrong_file >= Some(file),
            Source::Default => wrong_file.is_some(),
        }
    };
    let guards = settings().iter().filter(|setting| setting.is_guard());
    let mut lost: Vec<&str> = guards
        .filter(|setting| is_lost(setting))
        .map(Setting::subject)
        .collect();
    lost.dedup();
    lost.into_iter()
        .map(|subject| {
            let text = format!("{subject} says who may do what, so there is no start without it");
            Problem::of_all(Severity::Fatal, text)
        })
        .collect()
}

/// Names in `log-format` that stand for nothing are written as they are, which is rarely meant.
fn doubtful_log_format(config: &Config, sources: &Sources, files: &[PathBuf]) -> Option<Problem> {
    let format = Format::parse(&config.log_format);
    if format.unknown_names().is_empty() {
        return None;
    }
    let setting = by_key("log-format")?;
    let dollars = |names: &mut dyn Iterator<Item = &str>| {
        let names: Vec<String> = names.map(|name| format!("${name}")).collect();
        names.join(", ")
    };
    let unknown = dollars(&mut format.unknown_names().iter().map(String::as_str));
    let known = dollars(&mut Format::known_names());
    let stands = match format.unknown_names() {
        [_] => "stands for nothing and is",
        _ => "stand for nothing and are",
    };
    let text = format!("log-format: {unknown} {stands} written literally; known names are {known}");
    Some(doubtful(setting, text, sources, files))
}

/// Where both pages have one path, only the status page is served.
fn hidden_player(config: &Config, sources: &Sources, files: &[PathBuf]) -> Option<Problem> {
    let path = &config.player_page_path;
    if *path != config.status_page_path {
        return None;
    }
    let text = format!(
        "player-page-path: {path} is the path of the status page, which hides the player; give another path"
    );
    let setting = by_key("player-page-path")?;
    Some(doubtful(setting, text, sources, files))
}

fn doubtful(setting: &Setting, text: String, sources: &Sources, files: &[PathBuf]) -> Problem {
    let place = match sources.of(setting) {
        Source::File { file, line } => files.get(file).map(|path| (path.clone(), line)),
        Source::CommandLine | Source::Default => None,
    };
    Problem {
        place,
        subject: Some(setting.subject()),
        ..Problem::of_all(Severity::Doubtful, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    fn invocation(args: &[&str]) -> Invocation {
        parse(["flowgate"].iter().chain(args)).expect("good arguments")
    }

    /// A file system of a few files; one without text cannot be read.
    fn files(
        files: &[(&'static str, Option<&'static str>)],
    ) -> impl Fn(&Path) -> io::Result<Vec<u8>> {
        let files = files.to_vec();
        move |path| match files.iter().find(|(name, _)| Path::new(name) == path) {
            Some((_, Some(text))) => Ok(text.as_bytes().to_vec()),
            Some((_, None)) => Err(io::ErrorKind::PermissionDenied.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    type Files<'a> = &'a [(&'static str, Option<&'static str>)];

    #[track_caller]
    fn load(args: &[&str], known: Files<'_>) -> Loaded {
        let loaded = invocation(args).load_with(&files(known), Severity::Fatal);
        loaded.expect("a configuration")
    }

    #[track_caller]
    fn refused(args: &[&str], known: Files<'_>) -> Vec<String> {
        let refused = invocation(args).load_with(&files(known), Severity::Fatal);
        let problems = refused.expect_err("no configuration");
        problems.iter().map(Problem::to_string).collect()
    }

    fn addresses(loaded: &Loaded) -> Vec<String> {
        loaded
            .config
            .listen
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const FILE: (&str, Option<&str>) = (
        "f",
        Some("[global]\nmaxclients = 7\nupstream-deny = all\n[bind]\n* 1\n* 2\n"),
    );

    #[test]
    fn command_line_goes_before_the_file_wherever_it_stands() {
        for args in [
            ["-m", "9", "-l3", "-c", "f"],
            ["-c", "f", "-m", "9", "-l3"],
            ["-l3", "-c", "f", "-m", "9"],
        ] {
            let loaded = load(&args, &[FILE]);
            assert_eq!(loaded.config.clients_max, 9);
            assert_eq!(addresses(&loaded), ["*:3"]);
            assert_eq!(loaded.problems, []);
        }
        assert_eq!(load(&["-c", "f"], &[FILE]).config.clients_max, 7);
    }

    #[test]
    fn flag_and_empty_value_go_before_the_file_too() {
        let text = "[global]\nudpxy = yes\nverbosity = 4\nr2h-token = s\n";
        let loaded = load(&["-U", "-q", "-T", "", "-c", "f"], &[("f", Some(text))]);
        assert!(!loaded.config.udpxy);
        assert_eq!(loaded.config.verbosity as u8, 0);
        assert_eq!(loaded.config.r2h_token, None);
    }

    #[test]
    fn rules_of_the_command_line_replace_those_of_the_file() {
        let loaded = load(&["-c", "f", "--upstream-allow", "a.test"], &[FILE]);
        let entries: Vec<_> = loaded.config.upstream_policy.entries().collect();
        assert_eq!(entries, [("upstream-allow", "a.test".to_owned())]);
    }

    #[test]
    fn later_file_goes_before_an_earlier_one() {
        let later = ("g", Some("[global]\nxff = yes\n[bind]\n* 5\n"));
        let loaded = load(&["-c", "f", "-c", "g", "-C"], &[FILE, later]);
        assert_eq!(loaded.config.clients_max, 7);
        assert!(loaded.config.xff);
        assert_eq!(addresses(&loaded), ["*:5"]);
        assert_eq!(loaded.files, ["f", "g"].map(PathBuf::from));
        let source = loaded.sources.of(listen());
        assert_eq!(source, Source::File { file: 1, line: 4 });
    }

    #[test]
    fn unknown_name_in_the_log_format_is_told_and_holds() {
        let text = "[global]\nlog-format = $$1 $5 $host $statsu $reson\n";
        let loaded = load(&["-c", "f"], &[("f", Some(text))]);
        assert_eq!(loaded.config.log_format, "$$1 $5 $host $statsu $reson");
        let [problem] = &loaded.problems[..] else {
            panic!("{:?}", loaded.problems);
        };
        assert_eq!(problem.severity, Severity::Doubtful);
        let told = problem.to_string();
        let front = "f:2: log-format: $statsu, $reson stand for nothing and are ";
        assert!(told.starts_with(front), "{told}");
        for name in ["$time_iso8601, ", "$status, ", ", $pauses"] {
            assert!(told.contains(name), "{told}");
        }
        // No reason to refuse a reload.
        let again =
            invocation(&["-C", "--log-format", "$x"]).load_with(&files(&[]), Severity::Wrong);
        let told = again.expect("a configuration").problems[0].to_string();
        assert!(told.starts_with("log-format: $x stands for"), "{told}");
        assert_eq!(
            load(&["-C", "--log-format", "$host $$x $"], &[]).problems,
            []
        );
    }

    #[test]
    fn default_file_is_the_first_that_exists() {
        let [own, other] = DEFAULT_FILES;
        let own = (own, Some("[global]\nmaxclients = 7\n"));
        let other = (other, Some("[global]\nmaxclients = 8\n"));
        assert_eq!(load(&[], &[own, other]).config.clients_max, 7);
        assert_eq!(load(&[], &[other]).config.clients_max, 8);
        assert_eq!(load(&[], &[]).files, [""; 0].map(PathBuf::from));
        assert_eq!(load(&["-C"], &[own]).config, Config::default());
        assert_eq!(load(&["demo"], &[own]).config, Config::demo());
        assert_eq!(
            load(&["-c", "f"], &[own, ("f", Some(""))]).config,
            Config::default()
        );
    }

    #[test]
    fn file_that_cannot_be_read_is_fatal() {
        let [own, other] = DEFAULT_FILES;
        let told = refused(&["-c", "x", "-c", "y"], &[]);
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("the configuration file x cannot be read: "));
        let told = refused(&[], &[(own, None), (other, Some(""))]);
        assert!(
            told[0].contains(own) && told[0].ends_with("; -C does without it"),
            "{told:?}"
        );
    }

    #[test]
    fn bind_without_a_good_line_does_not_become_all_addresses() {
        let bad = ("f", Some("[bind]\n127.0.0.1 99999\n"));
        let told = refused(&["-c", "f"], &[bad]);
        assert!(told[0].starts_with("f:2: [bind]: ") && told[1].starts_with("no line of [bind]"));
        let loaded = load(&["-c", "f", "-l", "4"], &[bad]);
        assert_eq!(addresses(&loaded), ["*:4"]);
        let half = ("f", Some("[bind]\nx y\n* 6\n"));
        assert_eq!(addresses(&load(&["-c", "f"], &[half])), ["*:6"]);
    }

    #[test]
    fn start_is_refused_without_a_value_that_keeps_somebody_out() {
        for (line, subject) in [
            ("hostname = a b", "hostname"),
            ("r2h-token = \u{1}", "r2h-token"),
            ("status-auth = nobody", "status-auth"),
            ("udpxy = never", "udpxy"),
            ("unix-mode = rw", "unix-mode"),
            ("upstream-deny = /x/", "upstream-policy"),
            ("user = a b c", "user"),
        ] {
            let text: &'static str = format!("[global]\n{line}\nmaxclients = 7\n").leak();
            let told = refused(&["-c", "f"], &[("f", Some(text))]);
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(
                told[1].starts_with(&format!("{subject} says who")),
                "{told:?}"
            );
        }
        let bad = ("f", Some("[global]\nr2h-token = \u{1}\n"));
        let again = ("g", Some("[global]\nr2h-token = s\n"));
        assert!(
            load(&["-c", "f", "-T", "s"], &[bad])
                .config
                .r2h_token
                .is_some()
        );
        assert!(
            load(&["-c", "f", "-c", "g"], &[bad, again])
                .config
                .r2h_token
                .is_some()
        );
        assert_eq!(refused(&["-c", "g", "-c", "f"], &[bad, again]).len(), 2);
    }

    #[test]
    fn wrong_value_is_told_and_left_out_at_a_start_but_refuses_a_reload() {
        let file = (
            "f",
            Some("[global]\nmaxclients = x\nworkers = 2\nxff = yes\n"),
        );
        let loaded = load(&["-c", "f"], &[file]);
        assert_eq!(loaded.config.clients_max, 5);
        assert!(loaded.config.xff);
        let severities: Vec<_> = loaded
            .problems
            .iter()
            .map(|problem| problem.severity)
            .collect();
        assert_eq!(severities.first(), Some(&Severity::Wrong));
        let again = invocation(&["-c", "f"]).load_with(&files(&[file]), Severity::Wrong);
        assert!(again.is_err());
        let good = ("f", Some("[global]\nffmpeg-path = x\n"));
        let again = invocation(&["-c", "f"]).load_with(&files(&[good]), Severity::Wrong);
        assert_eq!(again.expect("a notice only").problems.len(), 1);
    }

    #[test]
    fn player_behind_the_status_page_is_told() {
        let told = |args: &[&str]| -> Vec<String> {
            let problems = load(args, &[]).problems;
            problems.iter().map(Problem::to_string).collect()
        };
        let expected = "player-page-path: /tv is the path of the status page, which hides the player; give another path";
        assert_eq!(told(&["-C", "-s", "/tv", "-p", "tv/"]), [expected]);
        assert_eq!(
            told(&["-C", "-s", "/player"]),
            [expected.replace("/tv", "/player")]
        );
        assert_eq!(told(&["-C", "-s", "/tv"]), [""; 0]);
    }

    #[test]
    fn reload_reads_files_again_and_keeps_the_command_line() {
        let folder = std::env::temp_dir().join(format!("flowgate-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("f.conf");
        std::fs::write(&path, "[global]\nmaxclients = 7\nchannel-linger = 1\n").expect("a file");
        let invocation = invocation(&["-m", "9", "-c", path.to_str().expect("a path")]);
        let first = invocation.load().expect("a configuration");
        std::fs::write(&path, "[global]\nmaxclients = 8\nxff = yes\n").expect("a file");
        let second = invocation.reload(&first).expect("a configuration");
        assert_eq!(second.config.clients_max, 9);
        assert!(second.config.xff);
        // What the file does not say any more is the default again.
        assert_eq!(
            second.config.channel_linger,
            Config::default().channel_linger
        );
        assert_eq!(
            second.sources.of(by_key("xff").expect("a key")),
            Source::File { file: 0, line: 3 }
        );
        std::fs::remove_file(&path).expect("the file");
        assert!(invocation.reload(&second).is_err());
        std::fs::create_dir(&path).expect("a folder");
        let problems = invocation.reload(&second).expect_err("a folder");
        assert!(
            problems[0].to_string().contains("not a regular file"),
            "{problems:?}"
        );
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
