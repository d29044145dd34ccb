//! Foreign programs: started with their output captured line by line, killed when no longer needed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{SOON, wait_for};

/// Lines of a running program, as they come.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Reads `source` to its end in a thread of its own.
    pub(crate) fn follow(&self, source: impl Read + Send + 'static) {
        let Lines(shared) = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                shared.0.lock().expect("no reader panics").push(text);
                shared.1.notify_all();
                line.clear();
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().expect("no reader panics").clone()
    }

    pub(crate) fn count(&self, matches: impl Fn(&str) -> bool) -> usize {
        self.all().iter().filter(|line| matches(line)).count()
    }

    /// Waits for a line that contains `fragment` and returns the first one.
    pub(crate) fn wait(&self, fragment: &str) -> String {
        self.wait_within(SOON, fragment)
    }

    pub(crate) fn wait_within(&self, limit: Duration, fragment: &str) -> String {
        self.wait_count(limit, 1, fragment).remove(0)
    }

    /// Waits until `count` lines contain `fragment`, and returns them.
    pub(crate) fn wait_count(&self, limit: Duration, count: usize, fragment: &str) -> Vec<String> {
        let deadline = Instant::now() + limit;
        let (lines, changed) = &*self.0;
        let mut guard = lines.lock().expect("no reader panics");
        loop {
            let found: Vec<String> = guard
                .iter()
                .filter(|line| line.contains(fragment))
                .cloned()
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = guard.join("\n");
                drop(guard);
                panic!(
                    "{count} lines with {fragment:?} did not come within {limit:?}; got:\n{text}"
                );
            }
            guard = changed
                .wait_timeout(guard, left)
                .expect("no reader panics")
                .0;
        }
    }
}

/// A running program with nothing on its standard input.
pub(crate) struct Tool {
    child: Child,
    name: String,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Tool {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        stdout.follow(child.stdout.take().expect("piped"));
        stderr.follow(child.stderr.take().expect("piped"));
        Self {
            child,
            name,
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait_for(limit, &what, || {
            self.child.try_wait().expect("a child of ours")
        })
    }

    /// Waits for the end and insists that it was a good one.
    pub(crate) fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(
            status.success(),
            "{}: {status}: {:?}",
            self.name,
            self.stderr.all()
        );
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // The child has not been waited for, so the number is still its own.
        kill(self.child.id(), signal);
    }
}

/// Sends a signal to a process that this test has started, or to a child of it.
pub(crate) fn kill(pid: u32, signal: libc::c_int) {
    let known = Signal::try_from(signal).expect("a signal");
    let sent = signal::kill(Pid::from_raw(pid.cast_signed()), known);
    assert_eq!(sent, Ok(()), "signal {signal} to {pid}");
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program that has ended said.
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program that ends by itself, within `limit`.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Said {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let read = |mut source: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = source.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.stderr.take().expect("piped")));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().expect("reads only");
    Said {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

pub(crate) fn run(command: &mut Command) -> Said {
    run_within(Duration::from_secs(30), command)
}

/// Whether every one of these programs is installed; says so if not, see [`super::skip`].
pub(crate) fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        let found = std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|directory| directory.join(program).is_file());
        if !found {
            super::skip(&format!("{program} is not installed"));
            return false;
        }
    }
    true
}

/// Whether we may start programs as other users; says so if not, see [`super::skip`]. Root of a user namespace may not.
pub(crate) fn may_become_others() -> bool {
    if !have(&["setpriv", "curl"]) {
        return false;
    }
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"]);
    let may = run(&mut other).status.success();
    if !may {
        super::skip("only root can become another user");
    }
    may
}
