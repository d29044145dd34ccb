//! Child processes that go on with what the parent has in memory.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::check;
use super::signal::Held;

/// Names a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(libc::pid_t);

impl ProcessId {
    /// The number, as tools show it.
    pub fn number(self) -> u32 {
        self.0.unsigned_abs()
    }

    /// An id that names no process, for tests of what only compares ids.
    #[cfg(test)]
    pub(crate) fn fake(number: i32) -> Self {
        Self(number)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which side of a [`fork`] this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process there was before; the id is its new child's.
    Parent(ProcessId),
    /// The new process.
    Child,
}

/// Makes a child that is a copy of this process: memory, descriptors, and the place in the code.
///
/// The child receives no signal of the parent's; its own arrive once it has installed handlers. Whatever the child
/// must not have of the parent's descriptors it closes by dropping the owner.
///
/// # Errors
///
/// `Unsupported` in a process with several threads, of which the child would have only one, with the locks of the
/// others held for ever; otherwise what `fork` reports.
pub fn fork() -> io::Result<Fork> {
    if !is_alone()? {
        let text = "a process with several threads cannot be copied";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let held = Held::begin()?;
    // SAFETY: there is only this thread, so that the child finds all memory and locks in the state they have here.
    match check(unsafe { libc::fork() })? {
        0 => {
            held.end_in_child();
            Ok(Fork::Child)
        }
        child => Ok(Fork::Parent(ProcessId(child))),
    }
}

/// Whether this process has one thread.
fn is_alone() -> io::Result<bool> {
    match std::fs::read_dir("/proc/self/task") {
        Ok(threads) => Ok(threads.take(2).count() == 1),
        // Nothing is mounted there, as in many a chroot.
        Err(_) => is_alone_without_proc(),
    }
}

/// As [`is_alone`]. It asks for something that a process with one thread has already and another cannot have
/// (unshare(2)); containers often forbid the call, so it comes second.
fn is_alone_without_proc() -> io::Result<bool> {
    // SAFETY: the flag changes nothing where the call succeeds, and no memory is involved.
    match check(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => {
            let text =
                format!("neither /proc nor unshare tells how many threads there are: {error}");
            Err(io::Error::new(error.kind(), text))
        }
    }
}

/// Has the kernel send SIGTERM to this process when its parent ends; if that has ended already, nothing comes.
///
/// The kernel forgets it when the process changes its user, so that comes first (`prctl(2)`).
///
/// # Errors
///
/// What `prctl` reports.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: the option takes a signal number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) }).map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Takes note of a child that has ended, if there is one; its id may name another process from then on.
pub fn reap() -> Option<(ProcessId, Exit)> {
    let mut status = 0;
    // SAFETY: `status` is an `int` that outlives the call.
    let child = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if child <= 0 {
        return None;
    }
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Status(libc::WEXITSTATUS(status))
    };
    Some((ProcessId(child), exit))
}

/// Ends a child at once, SIGKILL. It must not have been reaped, so that the id is still its own.
pub fn kill(child: ProcessId) {
    // SAFETY: no memory is involved. The only error is that the process has ended, which is what was wanted.
    unsafe { libc::kill(child.0, libc::SIGKILL) };
}

/// Waits until one of `descriptors` can be read or has been closed by its peer, at most `timeout` or for ever.
/// Answers for each of them; none if a signal came first.
///
/// # Errors
///
/// What `poll` reports.
pub fn wait_readable(
    descriptors: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up, or the last fraction of a millisecond would be spent going round.
    let milliseconds = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: the array has as many entries as are named and outlives the call.
    let result = check(unsafe {
        libc::poll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            milliseconds,
        )
    });
    match result {
        Ok(_) => Ok(polled.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Ok(vec![false; descriptors.len()])
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_process_with_threads_is_not_copied() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let error = fork().expect_err("the test program has threads");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        drop(stop);
        thread.join().expect("no panic").expect_err("nothing sent");
    }

    #[test]
    fn waiting_tells_who_can_be_read_and_ends_in_time() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let (silent, _other) = UnixStream::pair().expect("a pair");
        let both = [silent.as_fd(), near.as_fd()];
        let brief = Some(Duration::from_millis(1));
        assert_eq!(wait_readable(&both, brief).expect("waited"), [false, false]);
        far.write_all(b"x").expect("sent");
        assert_eq!(wait_readable(&both, None).expect("waited"), [false, true]);
        drop(_other);
        assert_eq!(wait_readable(&both, None).expect("waited"), [true, true]);
    }
}
