//! Unix stream sockets that listen: a path that is taken, and given back at the end (server spec §4.3).

use std::fmt;
use std::fs::{self, FileType};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use socket2::{Domain, SockAddr, Socket, Type};

use super::Access;
use crate::limits::{LISTEN_BACKLOG, UNIX_PATH_BYTES_MAX};
use crate::sys;

/// A listening socket and its path. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct UnixPlace {
    socket: Rc<OwnedFd>,
    path: Rc<UnixPath>,
}

/// The path of a socket, which is removed when the value is dropped by the process that made it, provided that it
/// still names this very socket. A process forked from that one leaves it alone.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    /// Device and inode of what was bound.
    identity: (u64, u64),
    /// The process that made it.
    process: u32,
}

impl UnixPlace {
    /// Binds `path` and listens. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    ///
    /// [`UnixError`], which says what is in the way. Nothing is changed then, but for a stale socket.
    pub(super) fn open(path: &Path, access: &Access) -> Result<UnixPlace, UnixError> {
        let failed = |problem| UnixError {
            path: path.to_owned(),
            problem,
        };
        check_length(path)?;
        make_way(path).map_err(failed)?;
        let socket = bind(path, access.mode).map_err(|error| failed(Problem::Bind(error)))?;
        let metadata = fs::symlink_metadata(path).map_err(|error| failed(Problem::Bind(error)))?;
        // From here on the path is removed again if anything fails.
        let guard = UnixPath {
            path: path.to_owned(),
            identity: identity(&metadata),
            process: std::process::id(),
        };
        if let Some((user, group)) = access.owner {
            std::os::unix::fs::lchown(path, Some(user), Some(group))
                .map_err(|error| failed(Problem::Owner(error)))?;
        }
        socket
            .listen(LISTEN_BACKLOG)
            .map_err(|error| failed(Problem::Bind(error)))?;
        Ok(UnixPlace {
            socket: Rc::new(socket.into()),
            path: Rc::new(guard),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path.path
    }

    /// Another descriptor of the socket; all workers accept from the same one.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        let is_ours = |metadata: &fs::Metadata| identity(metadata) == self.identity;
        let is_there = || fs::symlink_metadata(&self.path).is_ok_and(|metadata| is_ours(&metadata));
        if self.process == std::process::id()
            && is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("Unix socket {} stays behind: {error}", self.path.display());
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Removes a stale socket.
fn make_way(path: &Path) -> Result<(), Problem> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(metadata) => return Err(Problem::NotASocket(metadata.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Problem::Inspect(error)),
    }
    if probe(path)? {
        return Err(Problem::InUse);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Problem::Stale(error)),
        _ => Ok(()),
    }
}

/// Whether somebody listens.
fn probe(path: &Path) -> Result<bool, Problem> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose queue is full would hold up a call that blocks.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(Problem::Probe(error)),
        },
    }
}

/// A socket at `path` with exactly these permissions, from the first moment on.
fn bind(path: &Path, mode: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    // The file gets every permission that is not masked out (`unix(7)`).
    sys::process::with_file_mask(!mode & 0o777, || socket.bind(&address))?;
    Ok(socket)
}

/// Why a Unix socket cannot be listened on; shows itself with the path.
#[derive(Debug)]
pub struct UnixError {
    path: PathBuf,
    problem: Problem,
}

/// Whether the system can name a socket so.
///
/// # Errors
///
/// That it cannot.
pub(super) fn check_length(path: &Path) -> Result<(), UnixError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes <= UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(UnixError {
        path: path.to_owned(),
        problem: Problem::TooLong(bytes),
    })
}

impl UnixError {
    /// The same path was given twice.
    pub(super) fn duplicate(path: &Path) -> UnixError {
        UnixError {
            path: path.to_owned(),
            problem: Problem::Duplicate,
        }
    }
}

#[derive(Debug)]
enum Problem {
    /// So many bytes.
    TooLong(usize),
    Duplicate,
    NotASocket(FileType),
    InUse,
    /// It cannot be told what is there.
    Inspect(io::Error),
    /// It cannot be told whether anybody listens.
    Probe(io::Error),
    /// A stale socket cannot be removed.
    Stale(io::Error),
    /// It cannot be given to the user of `--user`.
    Owner(io::Error),
    Bind(io::Error),
}

impl fmt::Display for UnixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::TooLong(bytes) => write!(
                f,
                "Unix socket path {path} is too long: {bytes} bytes, at most {UNIX_PATH_BYTES_MAX} are possible"
            ),
            Problem::Duplicate => write!(f, "Unix socket {path} is given twice"),
            Problem::NotASocket(kind) => {
                let kind = kind_name(*kind);
                write!(
                    f,
                    "Unix socket path exists and is not a socket: {path} is {kind}"
                )
            }
            Problem::InUse => write!(f, "Unix socket {path} is already in use"),
            Problem::Inspect(error) => write!(f, "cannot look at Unix socket path {path}: {error}"),
            Problem::Probe(error) => write!(
                f,
                "cannot tell whether Unix socket {path} is in use: {error}"
            ),
            Problem::Stale(error) => {
                write!(f, "cannot remove the stale Unix socket {path}: {error}")
            }
            Problem::Owner(error) => {
                write!(f, "cannot give Unix socket {path} to its user: {error}")
            }
            Problem::Bind(error) => write!(f, "cannot listen on Unix socket {path}: {error}"),
        }
    }
}

impl std::error::Error for UnixError {}

fn kind_name(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a file"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    /// Everything may be done, so that the mask, which is the whole process's, does not change.
    const ACCESS: Access = Access {
        mode: 0o777,
        owner: None,
    };

    fn open(path: &Path) -> Result<UnixPlace, String> {
        UnixPlace::open(path, &ACCESS).map_err(|error| error.to_string())
    }

    #[test]
    fn stale_socket_is_replaced_and_the_new_one_removed_at_the_end() {
        let scratch = Scratch::new();
        drop(UnixListener::bind(scratch.path("s")).expect("a socket"));
        assert!(scratch.path("s").exists());
        let place = open(&scratch.path("s")).expect("in place of a stale one");
        UnixStream::connect(scratch.path("s")).expect("somebody listens");
        drop(place);
        assert!(!scratch.path("s").exists());
    }

    #[test]
    fn socket_in_use_is_left_alone() {
        let scratch = Scratch::new();
        let other = UnixListener::bind(scratch.path("s")).expect("a socket");
        let error = open(&scratch.path("s")).expect_err("somebody listens");
        assert!(error.contains("already in use"), "{error}");
        other.set_nonblocking(true).expect("it does not block");
        other.accept().expect("the probe");
        UnixStream::connect(scratch.path("s")).expect("still there");
    }

    #[test]
    fn socket_with_a_full_queue_is_in_use() {
        let scratch = Scratch::new();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(scratch.path("s")).expect("short enough");
        socket.bind(&address).expect("bound");
        socket.listen(0).expect("listening");
        let _waiting = UnixStream::connect(scratch.path("s")).expect("room for one");
        let error = open(&scratch.path("s")).expect_err("somebody listens");
        assert!(error.contains("already in use"), "{error}");
    }

    #[test]
    fn whatever_is_no_stream_socket_is_left_alone() {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let target = scratch.path("target");
        let _listener = UnixListener::bind(&target).expect("a socket");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        let error = open(&scratch.path("s")).expect_err("a link is not followed");
        assert!(error.contains("path exists and is not a socket"), "{error}");
        assert!(error.ends_with("a symbolic link"), "{error}");
        fs::remove_file(&path).expect("removed");

        fs::write(&path, "precious").expect("a file");
        let error = open(&scratch.path("s")).expect_err("a file");
        assert!(error.contains("not a socket") && error.ends_with("a file"));
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
        fs::remove_file(&path).expect("removed");

        fs::create_dir(&path).expect("a directory");
        let error = open(&scratch.path("s")).expect_err("a directory");
        assert!(error.contains("not a socket") && error.ends_with("a directory"));
        fs::remove_dir(&path).expect("removed");

        let _datagrams = UnixDatagram::bind(&path).expect("a socket of another type");
        let error = open(&scratch.path("s")).expect_err("somebody else's");
        assert!(error.contains("cannot tell whether"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn path_that_names_something_else_by_now_is_not_removed() {
        let scratch = Scratch::new();
        let place = open(&scratch.path("s")).expect("a free path");
        fs::remove_file(scratch.path("s")).expect("removed");
        let _other = UnixListener::bind(scratch.path("s")).expect("another socket");
        drop(place);
        assert!(scratch.path("s").exists());
    }

    #[test]
    fn path_too_long_for_the_system_is_refused() {
        let longest = format!("/{}", "a".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(SockAddr::unix(&longest).is_ok());
        let longer = format!("{longest}a");
        assert!(SockAddr::unix(&longer).is_err());
        let error = UnixPlace::open(Path::new(&longer), &ACCESS).expect_err("too long");
        assert!(error.to_string().contains("108 bytes, at most 107"));
    }

    #[test]
    fn missing_directory_is_told() {
        let scratch = Scratch::new();
        let path = scratch.path("nowhere/s");
        let error = UnixPlace::open(&path, &ACCESS).expect_err("no directory");
        let error = error.to_string();
        assert!(error.contains("No such file or directory"), "{error}");
    }
}
