//! The configuration file: what it says holds, what is wrong in it is told, and the command line goes before it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::server::{PROGRAM, Server};
use crate::support::tool::{Said, have, run};
use crate::support::{TempDir, skip};

/// Enough for a server of a test to be found; what a test says comes behind.
const SERVING: &str = "[bind]\n127.0.0.1 0\n[global]\nverbosity = 4\n";

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

/// Starts a server whose address and log level come from the file.
fn serve(file: &Path, arguments: &[&str]) -> Server {
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(file).args(arguments);
    Server::start_bare(command)
}

fn flowgate(arguments: &[&str]) -> Said {
    run(Command::new(PROGRAM).args(arguments))
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// The lines `--print-config` prints for this file, and what it says of problems.
fn printed(text: impl AsRef<[u8]>) -> (Vec<String>, String) {
    let folder = TempDir::new();
    let file = write(&folder, "a.conf", text);
    let said = flowgate(&["-c", text_of(&file), "--print-config"]);
    assert!(said.status.success(), "{}", said.stderr);
    (
        said.stdout.lines().map(str::to_owned).collect(),
        said.stderr,
    )
}

#[test]
fn check_finds_listeners_that_can_never_be_opened() {
    let long = format!("/tmp/{}", "x".repeat(120));
    for (listen, expected) in [
        (vec!["-l", &long], "is too long: 125 bytes"),
        (
            vec!["-l", "/tmp/a.sock", "-l", "/tmp/a.sock"],
            "is given twice",
        ),
        (vec!["-l", "nowhere.invalid:5140"], "cannot resolve"),
    ] {
        let said = flowgate(&[&["-C", "--check-config"][..], &listen].concat());
        assert_eq!(said.status.code(), Some(1), "{listen:?}");
        assert!(said.stderr.contains(expected), "{}", said.stderr);
    }
    let said = flowgate(&[
        "-C",
        "--check-config",
        "-l",
        "/tmp/a.sock",
        "-l",
        "http-alt",
    ]);
    assert_eq!(said.status.code(), Some(0), "{}", said.stderr);
}

#[test]
fn server_runs_by_its_file_alone() {
    let folder = TempDir::new();
    let file = write(
        &folder,
        "a.conf",
        format!("{SERVING}r2h-token = k y\nudpxy = no\n"),
    );
    let server = serve(&file, &[]);
    assert_eq!(server.get("/nothing").status, 401);
    assert_eq!(server.get("/nothing?r2h-token=k%20y").status, 404);
    assert_eq!(server.get("/http/192.0.2.1/x?r2h-token=k%20y").status, 404);
    server.stop_empty();
}

#[test]
fn command_line_goes_before_the_file_on_either_side_of_it() {
    let folder = TempDir::new();
    let file = write(
        &folder,
        "a.conf",
        "[global]\nverbosity = 0\nr2h-token = of-file\n[bind]\n127.0.0.1 1\n",
    );
    let own = ["-v", "3", "-T", "own", "-l", "127.0.0.1:0"];
    for is_first in [true, false] {
        let mut command = Command::new(PROGRAM);
        match is_first {
            true => command.args(own).arg("-c").arg(&file),
            false => command.arg("-c").arg(&file).args(own),
        };
        let server = Server::start_bare(command);
        assert_eq!(server.get("/nothing?r2h-token=of-file").status, 401);
        assert_eq!(server.get("/nothing?r2h-token=own").status, 404);
        // A value that the command line overrides is no problem.
        let log = server.log().all();
        assert!(!log.iter().any(|line| line.contains("a.conf")), "{log:?}");
        drop(server);
    }
}

#[test]
fn wrong_lines_are_told_and_the_rest_serves() {
    let folder = TempDir::new();
    let text = "[global]\nmaxclients = many\nr2h-token s3cret\nr2h-token = k\nffmpeg-path = /x\n\
                [bind]\nnowhere\n127.0.0.1 0\n[services]\n#EXTM3U\nrtp://239.0.0.1\n";
    let file = write(&folder, "a.conf", text);
    let name = text_of(&file);
    let server = serve(&file, &["-v", "3"]);
    assert_eq!(server.get("/nothing").status, 401);
    for told in [
        format!(
            "{name}:2: maxclients: \"many\" is not accepted; give a whole number from 1 to 65536"
        ),
        format!("{name}:3: the line has no =; give key = value"),
        format!("{name}:5: ffmpeg-path has no effect in this version"),
        format!("{name}:7: [bind]: \"nowhere\" is not accepted; give "),
        format!("{name}:11: [services]: no #EXTINF line stands in front of the URL"),
    ] {
        server.log().wait(&told);
    }
    let log = server.log().all();
    assert!(!log.iter().any(|line| line.contains("s3cret")), "{log:?}");
}

#[test]
fn what_is_left_out_shows_at_the_default_level() {
    let folder = TempDir::new();
    let file = write(&folder, "a.conf", "[global]\nmaxclients = 0\nworkerz = 1\n");
    let mut command = Command::new(PROGRAM);
    // A port that nobody may listen on ends the program behind the complaints.
    command.args(["-l", "192.0.2.1:1", "-c", text_of(&file)]);
    let said = run(&mut command);
    assert_eq!(said.status.code(), Some(1));
    for told in [
        "a.conf:2: maxclients: \"0\"",
        "a.conf:3: \"workerz\" is not a key",
    ] {
        assert!(said.stdout.contains(told), "{}", said.stdout);
    }
}

#[test]
fn grammar_is_read_as_documented() {
    let long = "v".repeat(8000);
    let token = "t".repeat(255);
    let text = format!(
        "\u{feff}# first\r\n\r\n[services]\r\n#EXTM3U\r\n; kept\r\nrtp://239.0.0.1:1\r\n[GLOBAL] trailing\r\n\
         \t MaxClients=7\r\n  ; {long} maxclients = 8\r\nMAXCLIENTS =  9 \r\nrtsp-user-agent = a = b ; \"c\"\r\n\
         r2h_token = {token}\r\nxff = On\r\nupstream-deny = all\r\nupstream-allow = 10.0.0.0/8\r\n\
         [bind]\r\n[::1]   http-alt\r\n::1 81\r\n* 82\r\n127.0.0.1:83\r\n[global]\r\nhostname = a.test\r\nhostname =\r\n"
    );
    let (lines, problems) = printed(text);
    for line in [
        "maxclients = 9",
        "rtsp-user-agent = a = b ; \"c\"",
        &format!("r2h-token = {token}"),
        "xff = yes",
        "hostname =",
    ] {
        assert!(
            lines.iter().any(|printed| printed.trim_end() == line),
            "{line} in {lines:?}"
        );
    }
    let position = |line: &str| {
        lines
            .iter()
            .position(|printed| printed == line)
            .expect(line)
    };
    assert!(position("upstream-deny = all") < position("upstream-allow = 10.0.0.0/8"));
    let bind = lines
        .split(|line| line == "[bind]")
        .nth(1)
        .expect("a section");
    let bind = bind.iter().take_while(|line| !line.is_empty());
    let bind: Vec<_> = bind.filter(|line| !line.starts_with('#')).collect();
    assert_eq!(bind, ["::1 8080", "::1 81", "* 82", "127.0.0.1 83"]);
    assert_eq!(problems.lines().count(), 1, "{problems}");
    assert!(
        problems.contains(":6: [services]: no #EXTINF line"),
        "{problems}"
    );
}

#[test]
fn printed_configuration_reads_back_as_the_same() {
    let folder = TempDir::new();
    let file = write(
        &folder,
        "a.conf",
        "[global]\nmaxclients = 7\nfast-start = off\nchannel-linger = 0.25\nr2h-token = of-file\n[bind]\n::1 80\n* 81\n",
    );
    let said = flowgate(&[
        "-c",
        text_of(&file),
        "-T",
        "own k",
        "--upstream-deny",
        "all",
        "--upstream-allow",
        "*.a.test",
        "-U",
        "--print-config",
    ]);
    assert!(
        said.status.success() && said.stderr.is_empty(),
        "{}",
        said.stderr
    );
    for line in [
        format!("# maxclients: {}:2", text_of(&file)),
        "# r2h-token: command line".to_owned(),
        "# udpxy: command line".to_owned(),
        "# xff: default".to_owned(),
    ] {
        assert!(
            said.stdout.lines().any(|printed| printed == line),
            "{line} in {}",
            said.stdout
        );
    }
    let (again, problems) = printed(&said.stdout);
    assert_eq!(problems, "");
    let values = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        let values = lines.filter(|line| !line.starts_with('#'));
        values.map(str::to_owned).collect()
    };
    let first = values(&mut said.stdout.lines());
    assert_eq!(values(&mut again.iter().map(String::as_str)), first);
    for value in [
        "maxclients = 7",
        "r2h-token = own k",
        "udpxy = no",
        "fast-start = off",
        "::1 80",
    ] {
        assert!(
            first.iter().any(|line| line == value),
            "{value} in {first:?}"
        );
    }
}

#[test]
fn file_that_cannot_be_read_ends_the_program_with_status_1() {
    let folder = TempDir::new();
    let missing = folder.path().join("missing.conf");
    let empty = write(&folder, "empty.conf", "");
    for arguments in [
        &["-c", text_of(&missing)][..],
        &[
            "-c",
            text_of(&empty),
            "-c",
            text_of(&missing),
            "-l",
            "127.0.0.1:0",
        ],
        &["-C", "-c", text_of(folder.path())],
        &["--check-config", "-c", text_of(&missing)],
        &["--print-config", "-c", text_of(&missing)],
    ] {
        let said = flowgate(arguments);
        assert_eq!(said.status.code(), Some(1), "{arguments:?}");
        assert!(said.stderr.contains("cannot be read: "), "{}", said.stderr);
    }
}

#[test]
fn bind_without_a_good_line_never_becomes_all_addresses() {
    let folder = TempDir::new();
    let file = write(&folder, "a.conf", "[bind]\n127.0.0.1 99999\n");
    let said = flowgate(&["-c", text_of(&file)]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        said.stderr.contains("a.conf:2: [bind]: ") && said.stderr.contains("no line of [bind]")
    );
    let server = serve(&file, &["-l", "127.0.0.1:0", "-v", "3"]);
    assert_eq!(server.get("/nothing").status, 404);
}

#[test]
fn check_tells_every_problem_and_whether_there_is_one() {
    let folder = TempDir::new();
    let good = write(&folder, "good.conf", "[global]\nmaxclients = 7\n");
    let said = flowgate(&["--check-config", "-c", text_of(&good)]);
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(said.stdout, "the configuration is good\n");
    assert_eq!(said.stderr, "");

    let services = "[services]\n#EXTM3U\n#EXTINF:-1,A\nrtp://239.0.0.1\n#EXTINF:-1,B\nhttp://h/\n";
    let services = write(&folder, "services.conf", services);
    let said = flowgate(&["--check-config", "-c", text_of(&services)]);
    assert_eq!(said.status.code(), Some(0));
    assert!(said.stdout.ends_with("; [services] has 2 service(s)\n"));

    let noted = write(
        &folder,
        "noted.conf",
        "[global]\nffmpeg-path = x\nmaxclients = 7 ; all\n",
    );
    let said = flowgate(&["--check-config", "-Z", "-c", text_of(&noted)]);
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(said.stdout, "the configuration is good\n");
    for told in [
        "-Z/--zerocopy-on-send has no effect",
        "noted.conf:2: ffmpeg-path",
        "noted.conf:3: maxclients",
    ] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }

    let bad = write(
        &folder,
        "bad.conf",
        "x = 1\n[global\n[global]\nxff = perhaps\nnonsense = 1\n[bind]\n* 0\n* x\n",
    );
    let said = flowgate(&["--check-config", "-c", text_of(&good), "-c", text_of(&bad)]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(said.stdout, "");
    let places: Vec<_> = said
        .stderr
        .lines()
        .filter_map(|line| line.split("bad.conf:").nth(1)?.split(": ").next())
        .collect();
    assert_eq!(places, ["1", "2", "4", "5", "8"], "{}", said.stderr);
}

#[test]
fn check_looks_for_what_the_configuration_names() {
    let missing = "/nonexistent/ca.pem";
    let name = format!("{}.invalid:80", "a".repeat(64));
    let said = flowgate(&[
        "-C",
        "--check-config",
        "--tls-ca",
        missing,
        "-l",
        &name,
        "--user",
        "no-such-user",
    ]);
    assert_eq!(said.status.code(), Some(1));
    for told in [missing, &name, "no-such-user"] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }
}

#[test]
fn default_file_is_flowgates_own_then_the_compatible_routers() {
    if !have(&["unshare", "mount"]) {
        return;
    }
    let folder = TempDir::new();
    // A directory of ours takes the place of /etc, for this process only.
    let script = "mount --bind \"$0\" /etc && exec \"$@\"";
    let ask = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["-r", "-m", "sh", "-c", script])
            .arg(folder.path())
            .arg(PROGRAM);
        run(command.arg("--print-config").args(arguments))
    };
    let first = ask(&[]);
    if !first.status.success() {
        return skip(&format!("no mount namespace: {}", first.stderr.trim()));
    }
    let has = |said: &Said, line: &str| said.stdout.lines().any(|printed| printed == line);
    assert!(has(&first, "maxclients = 5"));
    write(&folder, "rtp2httpd.conf", "[global]\nmaxclients = 6\n");
    assert!(has(&ask(&[]), "maxclients = 6"));
    assert!(has(&ask(&[]), "# maxclients: /etc/rtp2httpd.conf:2"));
    write(&folder, "flowgate.conf", "[global]\nmaxclients = 7\n");
    assert!(has(&ask(&[]), "maxclients = 7"));
    assert!(has(&ask(&["-C"]), "maxclients = 5"));
    assert!(has(&ask(&["demo"]), "maxclients = 64"));
    let other = write(&folder, "other.conf", "[global]\nmaxclients = 8\n");
    assert!(has(&ask(&["-c", text_of(&other)]), "maxclients = 8"));
}
