//! tcpdump on the link `west`: an independent decoder of what goes out there.

use std::process::Command;

use super::namespace::is_inside_user_namespace;
use super::skip;
use super::tool::{self, Tool};

/// Starts to decode what matches `filter`; `None`, and the test is skipped, where that cannot be.
pub(crate) fn start(filter: &str) -> Option<Tool> {
    if is_inside_user_namespace() {
        skip("tcpdump wants to change its user, and here is only one; run the tests as root");
        return None;
    }
    if !tool::have(&["tcpdump"]) {
        return None;
    }
    let mut command = Command::new("tcpdump");
    command.args([
        "-Z",
        "root",
        "--immediate-mode",
        "-l",
        "-n",
        "-vv",
        "-i",
        "west",
        filter,
    ]);
    let sniffer = Tool::start(&mut command);
    sniffer.stderr.wait("listening on west");
    Some(sniffer)
}
