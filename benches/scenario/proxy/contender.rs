//! The proxies that are compared, and how each is set up to do its best.
//!
//! nginx (one worker) and haproxy (one thread) keep connections on both sides and write no logs. Their buffers are
//! large where bodies are long, and their defaults where memory is what is looked at. The large sizes were found by
//! trying, from 32 KiB to 2 MiB: the next larger ones gained nothing or lost.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::floor::{self, Way};
use crate::server::{self, Cores, Program, Server};

/// Flags of routers, unless `--proxy-flags` gives others.
pub(crate) const ROUTER_FLAGS: &str = "-v 1 --upstream-allow loopback";
/// Where memory is what is looked at, and no flag says otherwise: the size of the pool.
const POOL_FLAG: &str = "-b";
const POOL_BUFFERS: &str = "128";

/// The contenders that every row is divided by.
pub(crate) const REFERENCES: &[&str] = &[
    HAPROXY_SPLICE,
    HAPROXY,
    NGINX_BUFFERED,
    NGINX_UNBUFFERED,
    FLOOR_COPY,
    FLOOR_SPLICE,
];

const NGINX_BUFFERED: &str = "nginx";
const NGINX_UNBUFFERED: &str = "nginx, no buffering";
const HAPROXY: &str = "haproxy";
const HAPROXY_SPLICE: &str = "haproxy splice";
const FLOOR_COPY: &str = "floor copy";
const FLOOR_SPLICE: &str = "floor splice";

/// What a proxy is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tuning {
    /// Few system calls for a long body.
    Throughput,
    /// Short bodies, many of them.
    Requests,
    /// Little memory for each of many clients.
    Memory,
}

/// One proxy.
#[derive(Debug, Clone)]
pub(crate) enum Contender {
    /// A router, started with `flags`, or a neighbour; both are asked for `/http/ADDRESS:PORT/PATH`.
    Program {
        program: Program,
        flags: String,
    },
    Nginx {
        path: PathBuf,
        buffering: bool,
    },
    Haproxy {
        path: PathBuf,
        splice: bool,
    },
    Floor(Way),
}

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) server: Server,
    /// What precedes the origin's path in a request.
    pub(crate) prefix: String,
    _folder: Option<Folder>,
}

/// Those that are installed, and a line about each that is not.
pub(crate) fn installed() -> (Vec<Contender>, Vec<String>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    match find("nginx") {
        Some(path) => found.extend([true, false].map(|buffering| Contender::Nginx {
            path: path.clone(),
            buffering,
        })),
        None => missing
            .push("nginx is not installed (Debian: nginx-light): its rows are missing".to_owned()),
    }
    match find("haproxy") {
        Some(path) => found.extend([false, true].map(|splice| Contender::Haproxy {
            path: path.clone(),
            splice,
        })),
        None => missing
            .push("haproxy is not installed (Debian: haproxy): its rows are missing".to_owned()),
    }
    (found, missing)
}

/// Where a program is; servers are often in folders that only root searches.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/local/sbin".into(), "/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

impl Contender {
    /// How the contender is called in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Program { program, .. } => program.name(),
            Self::Nginx {
                buffering: true, ..
            } => NGINX_BUFFERED.to_owned(),
            Self::Nginx { .. } => NGINX_UNBUFFERED.to_owned(),
            Self::Haproxy { splice: false, .. } => HAPROXY.to_owned(),
            Self::Haproxy { .. } => HAPROXY_SPLICE.to_owned(),
            Self::Floor(Way::Copy) => FLOOR_COPY.to_owned(),
            Self::Floor(Way::Splice) => FLOOR_SPLICE.to_owned(),
        }
    }

    /// Whether this is a floor.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self, Self::Floor(_))
    }

    /// Starts it for at most `clients` clients of `origin`.
    pub(crate) fn start(
        &self,
        origin: SocketAddr,
        clients: usize,
        tuning: Tuning,
        cores: Cores,
    ) -> io::Result<Proxy> {
        let listen = server::free_address()?;
        let mut folder = None;
        let command = match self {
            Self::Program { program, flags } => {
                let mut flags = flags.clone();
                if tuning == Tuning::Memory && !program.has_flag(&flags, POOL_FLAG) {
                    flags = format!("{flags} {POOL_FLAG} {POOL_BUFFERS}");
                }
                program.command(listen, clients, &flags)?
            }
            Self::Floor(way) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(floor::arguments(listen, *way));
                command
            }
            Self::Nginx { path, buffering } => {
                let made = folder.insert(Folder::new()?);
                let file = made.path.join("nginx.conf");
                let folders = nginx_folders(path, &made.path)?;
                let settings = nginx(*buffering, listen, origin, clients, tuning, &folders);
                fs::write(&file, settings)?;
                let mut command = Command::new(path);
                command.arg("-p").arg(&made.path).arg("-c").arg(file);
                command.args(["-e", "stderr"]);
                command
            }
            Self::Haproxy { path, splice } => {
                let made = folder.insert(Folder::new()?);
                let file = made.path.join("haproxy.cfg");
                fs::write(&file, haproxy(*splice, listen, origin, clients, tuning))?;
                let mut command = Command::new(path);
                // In the foreground, without messages about the settings.
                command.args(["-db", "-q", "-f"]).arg(file);
                command.stdout(Stdio::null());
                command
            }
        };
        let prefix = match self {
            Self::Program { .. } | Self::Floor(_) => format!("/http/{origin}"),
            Self::Nginx { .. } | Self::Haproxy { .. } => String::new(),
        };
        let server = Server::launch(&self.name(), command, listen, cores)?;
        Ok(Proxy {
            server,
            prefix,
            _folder: folder,
        })
    }
}

/// Never a file for what a client does not take yet: an upstream is to be slowed down instead.
fn nginx(
    buffering: bool,
    listen: SocketAddr,
    origin: SocketAddr,
    clients: usize,
    tuning: Tuning,
    folders: &str,
) -> String {
    let switch = if buffering { "on" } else { "off" };
    let connections = 4 * clients + 64;
    let kept = clients + 64;
    // Without buffering there is one buffer, the first.
    let buffers = match (tuning, buffering) {
        (Tuning::Throughput, true) => {
            "proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k;"
        }
        (Tuning::Throughput, false) => {
            "proxy_buffer_size 1m; proxy_buffers 4 1m; proxy_busy_buffers_size 1m;"
        }
        (Tuning::Requests, _) => "proxy_buffer_size 16k; proxy_buffers 8 16k;",
        (Tuning::Memory, _) => "",
    };
    format!(
        "daemon off; user root; worker_processes 1; worker_rlimit_nofile {connections};\n\
         pid pid; error_log stderr crit;\n\
         events {{ use epoll; multi_accept on; worker_connections {connections}; }}\n\
         http {{\n\
         access_log off; tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000000;\n\
         {folders}\n\
         upstream origin {{ server {origin}; keepalive {kept}; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen} backlog=4096; location / {{\n\
         proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_buffering {switch}; proxy_max_temp_file_size 0; {buffers}\n\
         }} }} }}\n"
    )
}

/// Places in `folder` for files of every module that is built in: nginx makes their folders even if they are not
/// used, and only root may make the usual ones.
fn nginx_folders(program: &Path, folder: &Path) -> io::Result<String> {
    let built = Command::new(program).arg("-V").output()?;
    let built = String::from_utf8_lossy(&built.stderr).into_owned();
    let folder = folder.display();
    let is_in = |module: &&str| !built.contains(&format!("--without-http_{module}_module"));
    let modules = ["proxy", "fastcgi", "uwsgi", "scgi"]
        .into_iter()
        .filter(is_in);
    let folders = modules.map(|module| format!("{module}_temp_path {folder}/{module};"));
    let first = format!("client_body_temp_path {folder}/body;");
    Ok(std::iter::once(first)
        .chain(folders)
        .collect::<Vec<_>>()
        .join(" "))
}

/// By default it keeps connections only while few descriptors are in use.
fn haproxy(
    splice: bool,
    listen: SocketAddr,
    origin: SocketAddr,
    clients: usize,
    tuning: Tuning,
) -> String {
    let connections = clients + 64;
    let buffers = match tuning {
        Tuning::Throughput => "tune.bufsize 65536\ntune.pipesize 1048576\n",
        Tuning::Requests | Tuning::Memory => "",
    };
    // Short bodies are better off where it may decide.
    let splice = match (splice, tuning) {
        (false, _) => "",
        (true, Tuning::Throughput) => "option splice-response\n",
        (true, _) => "option splice-auto\n",
    };
    format!(
        "global\nnbthread 1\nmaxconn {connections}\n{buffers}\
         tune.pool-low-fd-ratio 100\ntune.pool-high-fd-ratio 100\n\
         defaults\nmode http\nmaxconn {connections}\n\
         timeout connect 10s\ntimeout client 300s\ntimeout server 300s\ntimeout http-keep-alive 300s\n\
         option http-keep-alive\nhttp-reuse always\n{splice}\
         listen proxy\nbind {listen} backlog 4096\nserver origin {origin} pool-max-conn -1\n"
    )
}

/// A folder for settings, removed when dropped.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("flowgate-bench-{}", std::process::id()));
        // One proxy runs at a time; what a run that was killed left behind is in nobody's way.
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
