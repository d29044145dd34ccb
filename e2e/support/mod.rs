//! What the tests are made of. Nothing here knows how the program works inside.

pub(crate) mod browser;
pub(crate) mod configured;
pub(crate) mod ffmpeg;
pub(crate) mod http;
pub(crate) mod namespace;
pub(crate) mod proc;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod sniffer;
pub(crate) mod tool;
pub(crate) mod ts;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take that ought to happen at once; generous, because machines are shared.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Says that a test was skipped, and why; in continuous integration (`CI=true`) that is a failure.
pub(crate) fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{name} would be skipped: {why}"
    );
    // Past the capture of the test harness, which hides what successful tests print.
    let _ = writeln!(std::io::stderr(), "{name} skipped: {why}");
}

/// Asks until there is an answer; panics with `what` when there is none within `limit`.
pub(crate) fn wait_for<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain: {what}",
            limit.as_secs_f64()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory that disappears with the value; its name can be read by every user.
pub(crate) struct TempDir(tempfile::TempDir);

impl TempDir {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new()
            .prefix("flowgate-e2e-")
            .permissions(readable)
            .tempdir();
        Self(directory.expect("temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}
