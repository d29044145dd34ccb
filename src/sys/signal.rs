//! Signals as bytes of a pipe, so that they arrive through the poll like everything else.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

use super::check;

/// A signal the router acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop, draining what is queued.
    Stop,
}

/// Write end of the pipe the handler writes to; -1 until [`Signals::install`].
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// The read end of the signal pipe.
#[derive(Debug)]
pub struct Signals {
    read_end: UnixStream,
}

impl Signals {
    /// Routes SIGTERM and SIGINT into a pipe and ignores SIGPIPE.
    ///
    /// # Errors
    ///
    /// What `socketpair` or `sigaction` report.
    pub fn install() -> io::Result<Self> {
        let (read_end, write_end) = UnixStream::pair()?;
        read_end.set_nonblocking(true)?;
        write_end.set_nonblocking(true)?;
        // The write end stays open for the life of the process: the handler may run at any time.
        WRITE_END.store(write_end.into_raw_fd(), Ordering::SeqCst);
        for signal in [libc::SIGTERM, libc::SIGINT] {
            set_action(signal, on_signal as *const () as libc::sighandler_t)?;
        }
        set_action(libc::SIGPIPE, libc::SIG_IGN)?;
        Ok(Self { read_end })
    }

    /// Takes the oldest signal not yet seen.
    pub fn take(&mut self) -> Option<Signal> {
        let mut byte = [0];
        match self.read_end.read(&mut byte) {
            Ok(1) => Some(Signal::Stop),
            _ => None,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> libc::c_int {
        self.read_end.as_raw_fd()
    }
}

fn set_action(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid value: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and outlives the call; the handler only makes async-signal-safe calls.
    check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }).map(drop)
}

extern "C" fn on_signal(_: libc::c_int) {
    let fd = WRITE_END.load(Ordering::SeqCst);
    let byte = [1_u8];
    // SAFETY: errno belongs to the interrupted thread and is put back; `write` is async-signal-safe, and the
    // descriptor is never closed. A full pipe loses nothing: a stop is then waiting in it already.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, byte.as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}
