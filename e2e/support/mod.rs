//! What the tests are made of. Nothing here knows how the program works inside.

pub(crate) mod browser;
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
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
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
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flowgate-e2e-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
