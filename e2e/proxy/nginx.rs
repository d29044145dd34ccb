//! nginx as a server of others, without privilege and with everything it writes in a directory of the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, wait_for};

/// A running nginx; its root is the directory.
pub(crate) struct Nginx {
    pub(crate) directory: TempDir,
    pub(crate) port: u16,
    tool: Tool,
}

impl Nginx {
    /// Whether it is installed.
    pub(crate) fn available() -> bool {
        tool::have(&["nginx"])
    }

    /// Starts it; `server` is put into the only `server` block, `listen` behind the address it listens on.
    pub(crate) fn start(directory: TempDir, listen: &str, server: &str) -> Self {
        // It cannot be given a port of the system's choice, so somebody may take a free one before it does.
        let attempt = || {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("bound").port();
            drop(free);
            Some((
                Self::try_start(directory.path(), port, listen, server)?,
                port,
            ))
        };
        let (tool, port) = wait_for(SOON, "nginx to start", attempt);
        Self {
            directory,
            port,
            tool,
        }
    }

    fn try_start(path: &Path, port: u16, listen: &str, server: &str) -> Option<Tool> {
        let config = path.join("nginx.conf");
        std::fs::write(&config, configuration(path, port, listen, server)).expect("written");
        let mut command = Command::new("nginx");
        command.env("PATH", path_with_sbin()).arg("-p").arg(path);
        command.arg("-c").arg(&config).args(["-e", "stderr"]);
        let mut tool = Tool::start(&mut command);
        // It writes its number once it listens.
        let is_up = || std::fs::metadata(path.join("nginx.pid")).is_ok_and(|file| file.len() > 0);
        let up = wait_for(SOON, "nginx to listen or to end", || match is_up() {
            true => Some(true),
            false => (!tool.is_running()).then_some(false),
        });
        let complaints = tool.stderr.all().join("\n");
        assert!(
            up || complaints.contains("Address already in use"),
            "{complaints}"
        );
        up.then_some(tool)
    }

    /// The path by which the proxy is asked for `target`.
    pub(crate) fn path(&self, target: &str) -> String {
        format!("/http/127.0.0.1:{}{target}", self.port)
    }

    /// The lines of its access log: connection, request on that connection, status, URI.
    pub(crate) fn served(&self) -> Vec<(u64, u64, u16, String)> {
        let log = std::fs::read_to_string(self.directory.path().join("access.log"));
        let parse = |line: &str| {
            let mut words = line.split(' ');
            Some((
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
                words.next()?.to_owned(),
            ))
        };
        let log = log.expect("nginx has opened its log");
        let lines = log.lines().map(parse);
        lines.map(|line| line.expect("four words")).collect()
    }

    /// What it has complained about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.tool.stderr.all()
    }
}

fn configuration(path: &Path, port: u16, listen: &str, server: &str) -> String {
    let path = path.display();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary.push_str(&format!("{kind}_temp_path {path}/{kind};\n"));
    }
    format!(
        "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n{temporary}\
         log_format served '$connection $connection_requests $status $request_uri';\n\
         access_log {path}/access.log served;\n\
         keepalive_timeout 60s;\n\
         types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; text/plain txt; }}\n\
         server {{\nlisten 127.0.0.1:{port} {listen};\nroot {path};\n{server}\n}}\n}}\n"
    )
}

fn path_with_sbin() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}
