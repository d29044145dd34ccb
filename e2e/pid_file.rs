//! The PID file: its number, its lock as other programs see it, and what is left of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::server::{PROGRAM, Server};
use crate::support::tool::{self, Said, Tool, run};
use crate::support::{SOON, TempDir};

/// Locks the file that is its argument as `fcntl` does, says so, and stays.
const LOCKER: &str = "\
import fcntl, sys, time
file = open(sys.argv[1], 'r+')
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print('locked', flush=True)
time.sleep(60)
";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in ASCII")
}

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new();
    let path = directory.path().join("flowgate.pid");
    (directory, path)
}

fn refused(path: &Path) -> Said {
    let arguments = ["-C", "-l", "127.0.0.1:0", "--pid-file", text(path)];
    let said = run(Command::new(PROGRAM).args(arguments));
    assert_eq!(said.status.code(), Some(255), "{}", said.stderr);
    let expected = format!("Failed to prepare PID file {}", path.display());
    assert!(said.stderr.contains(&expected), "{}", said.stderr);
    assert!(said.stdout.contains(&expected), "{}", said.stdout);
    said
}

#[test]
fn file_holds_the_number_for_as_long_as_the_program_runs() {
    let (_directory, path) = place();
    fs::write(&path, "99999 of another time\nand more\n").expect("a stale one");
    let server = Server::start(&["--pid-file", text(&path)]);
    let number = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&path).expect("there"), number);
    server.stop_empty();
    assert!(!path.exists());
    let mut masked = Command::new("sh");
    masked.args(["-c", "umask 022; exec \"$0\" \"$@\"", PROGRAM]);
    let server = Server::start_as(masked, &["--pid-file", text(&path)]);
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    server.stop_empty();
}

#[test]
fn file_of_a_running_program_is_left_alone() {
    let (_directory, path) = place();
    let server = Server::start(&["--pid-file", text(&path)]);
    let said = refused(&path);
    let holder = format!("process {}", server.pid());
    assert!(said.stderr.contains(&holder), "{}", said.stderr);
    let number = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&path).expect("there"), number);
    // As another program sees the lock.
    if tool::have(&["python3"]) {
        let locker = run(Command::new("python3").args(["-c", LOCKER, text(&path)]));
        assert!(
            locker.stderr.contains("BlockingIOError"),
            "{}",
            locker.stderr
        );
    }
    server.stop_empty();
}

#[test]
fn file_that_another_program_has_locked_is_left_alone() {
    if !tool::have(&["python3"]) {
        return;
    }
    let (_directory, path) = place();
    fs::write(&path, "somebody else\n").expect("a file");
    let locker = Tool::start(Command::new("python3").args(["-c", LOCKER, text(&path)]));
    locker.stdout.wait("locked");
    let said = refused(&path);
    let holder = format!("process {}", locker.pid());
    assert!(said.stderr.contains(&holder), "{}", said.stderr);
    assert_eq!(fs::read(&path).expect("there"), b"somebody else\n");
    drop(locker);
    let server = Server::start(&["--pid-file", text(&path)]);
    server.stop_empty();
}

#[test]
fn file_of_a_program_that_was_killed_is_taken_over() {
    let (_directory, path) = place();
    let mut killed = Server::start(&["--pid-file", text(&path)]);
    killed.signal(libc::SIGKILL);
    killed.wait(SOON);
    let left = format!("{}\n", killed.pid());
    assert_eq!(fs::read_to_string(&path).expect("left behind"), left);
    let server = Server::start(&["--pid-file", text(&path)]);
    let number = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&path).expect("there"), number);
    server.stop_empty();
}

#[test]
fn file_that_was_replaced_is_not_removed() {
    let (_directory, path) = place();
    let server = Server::start(&["--pid-file", text(&path)]);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "somebody else\n").expect("another file");
    server.stop_empty();
    assert_eq!(fs::read(&path).expect("there"), b"somebody else\n");
}

#[test]
fn whatever_is_no_file_is_left_alone() {
    let (directory, path) = place();
    let target = directory.path().join("target");
    fs::write(&target, "precious").expect("a file");
    symlink(&target, &path).expect("a link");
    let said = refused(&path);
    assert!(said.stderr.contains("symbolic link"), "{}", said.stderr);
    assert_eq!(fs::read(&target).expect("there"), b"precious");
    let said = refused(directory.path());
    assert!(said.stderr.contains("directory"), "{}", said.stderr);
    refused(&directory.path().join("nowhere/flowgate.pid"));
}

#[test]
fn path_may_be_relative_and_empty_is_none() {
    let (directory, path) = place();
    let mut command = Command::new(PROGRAM);
    command.current_dir(directory.path());
    let server = Server::start_as(command, &["--pid-file", "flowgate.pid"]);
    assert!(path.exists());
    server.stop_empty();
    assert!(!path.exists());
    let mut command = Command::new(PROGRAM);
    command.current_dir(directory.path());
    let arguments = ["--pid-file", "flowgate.pid", "--pid-file", ""];
    let server = Server::start_as(command, &arguments);
    assert!(!path.exists());
    server.stop_empty();
}
