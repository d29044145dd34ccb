//! A server with a configuration file.

use std::path::PathBuf;
use std::process::Command;

use super::server::{PROGRAM, Server};
use super::{SOON, TempDir};

/// A configuration file that can be written again, and a server that was started with it.
pub(crate) struct Configured {
    pub(crate) server: Server,
    pub(crate) file: PathBuf,
    _directory: TempDir,
}

impl Configured {
    pub(crate) fn start(text: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new();
        let file = directory.path().join("flowgate.conf");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file).args(arguments);
        Self {
            server: Server::start_bare(command),
            file,
            _directory: directory,
        }
    }

    /// Writes the file anew and has it read; the text must appear in the log then.
    pub(crate) fn reload(&self, text: &str, expected: &str) {
        std::fs::write(&self.file, text).expect("written");
        let before = self.server.log().count(|line| line.contains(expected));
        self.server.signal(libc::SIGHUP);
        self.server.log().wait_count(SOON, before + 1, expected);
    }
}
