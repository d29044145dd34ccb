//! Signals as bytes of a pipe, so that they arrive through the poll like everything else.
//!
//! The handler only sets a bit and wakes whoever waits, so that a flood of one signal cannot hide another. Signals
//! of one kind that arrive together count as one, as they do in the kernel.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::check;

/// A signal that the program acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop, draining what is queued.
    Stop,
    /// SIGINT: the same, from a terminal, which sends it to every process of the program.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: replace the workers.
    Restart,
    /// SIGCHLD: a child may have ended.
    Child,
}

impl Signal {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 5] = [
        Self::Stop,
        Self::Interrupt,
        Self::Child,
        Self::Reload,
        Self::Restart,
    ];

    /// Those that a supervisor acts on for the processes it has made, which ignore them: a terminal and some service
    /// managers send them to every process.
    pub const FOR_SUPERVISOR: [Self; 3] = [Self::Interrupt, Self::Reload, Self::Restart];

    fn number(self) -> libc::c_int {
        match self {
            Self::Stop => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Reload => libc::SIGHUP,
            Self::Restart => libc::SIGUSR1,
            Self::Child => libc::SIGCHLD,
        }
    }

    /// Its bit in [`PENDING`]. All numbers are below 32 (`signal(7)`).
    fn bit(self) -> u32 {
        1 << self.number()
    }
}

/// Write end of the pipe the handler writes to; -1 until [`Signals::install`].
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// Bits of the signals that have arrived and that nobody has taken.
static PENDING: AtomicU32 = AtomicU32::new(0);

/// The read end of the signal pipe.
#[derive(Debug)]
pub struct Signals {
    read_end: UnixStream,
}

impl Signals {
    /// Routes `wanted` into a pipe, which replaces an earlier one, and ignores SIGPIPE, SIGXFSZ and `ignored`. The rest
    /// of [`Signal::ALL`] gets back the effect that the system gives it.
    ///
    /// What has arrived since a fork is kept if it is wanted.
    ///
    /// # Errors
    ///
    /// What `socketpair` or `sigaction` report.
    pub fn install(wanted: &[Signal], ignored: &[Signal]) -> io::Result<Self> {
        let (read_end, write_end) = UnixStream::pair()?;
        read_end.set_nonblocking(true)?;
        write_end.set_nonblocking(true)?;
        // The write end stays open for the life of the process: the handler may run at any time.
        replace_write_end(write_end.into_raw_fd());
        for signal in Signal::ALL {
            let handler = match signal {
                _ if wanted.contains(&signal) => on_signal as *const () as libc::sighandler_t,
                _ if ignored.contains(&signal) => libc::SIG_IGN,
                _ => libc::SIG_DFL,
            };
            set_action(signal.number(), handler)?;
        }
        // A log that has grown to the limit of a file's size fails to be written, which is no reason to die.
        for error_instead in [libc::SIGPIPE, libc::SIGXFSZ] {
            set_action(error_instead, libc::SIG_IGN)?;
        }
        let wanted = wanted.iter().fold(0, |bits, signal| bits | signal.bit());
        if PENDING.fetch_and(wanted, Ordering::SeqCst) & wanted != 0 {
            wake();
        }
        Ok(Self { read_end })
    }

    /// Makes it look as if `signal` had arrived.
    pub fn raise(&self, signal: Signal) {
        PENDING.fetch_or(signal.bit(), Ordering::SeqCst);
        wake();
    }

    /// Takes the most urgent signal not yet seen.
    pub fn take(&mut self) -> Option<Signal> {
        // What the pipe holds only says that there are bits; those that come later write again.
        while matches!(self.read_end.read(&mut [0; 64]), Ok(1..)) {}
        let pending = PENDING.load(Ordering::SeqCst);
        let signal = Signal::ALL
            .into_iter()
            .find(|signal| pending & signal.bit() != 0)?;
        PENDING.fetch_and(!signal.bit(), Ordering::SeqCst);
        Some(signal)
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

/// Keeps every signal from being delivered until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    before: libc::sigset_t,
}

impl Held {
    /// Begins to hold signals back in this thread.
    ///
    /// # Errors
    ///
    /// What `sigprocmask` reports.
    pub(super) fn begin() -> io::Result<Self> {
        // SAFETY: a `sigset_t` is plain bits, for which zero is valid; the call below sets them all.
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both sets are valid and outlive the calls.
        check(unsafe {
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const all, &raw mut before)
        })?;
        Ok(Self { before })
    }

    /// In a new child: signals go on, and none of them reaches the parent's pipe any more. The handlers stay and
    /// remember what arrives until [`Signals::install`].
    pub(super) fn end_in_child(self) {
        replace_write_end(-1);
        PENDING.store(0, Ordering::SeqCst);
        drop(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by the kernel and outlives the call.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}

/// Closes the write end there has been, of an earlier pipe or of the parent's, in this process.
fn replace_write_end(fd: libc::c_int) {
    let before = WRITE_END.swap(fd, Ordering::SeqCst);
    if before >= 0 {
        // SAFETY: the descriptor came out of `into_raw_fd`, and from now on nothing names it.
        drop(unsafe { OwnedFd::from_raw_fd(before) });
    }
}

fn set_action(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid value: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: `action` is initialised and outlives the call; the handler only makes async-signal-safe calls.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }).map(drop)
}

extern "C" fn on_signal(number: libc::c_int) {
    if let Ok(shift) = u32::try_from(number) {
        PENDING.fetch_or(1_u32.checked_shl(shift).unwrap_or(0), Ordering::SeqCst);
    }
    // SAFETY: errno belongs to the interrupted thread and is put back.
    let errno = unsafe { *libc::__errno_location() };
    wake();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Makes the read end readable. A full pipe is readable already.
fn wake() {
    let fd = WRITE_END.load(Ordering::SeqCst);
    if fd >= 0 {
        let byte = [1_u8];
        // SAFETY: `write` is async-signal-safe and reads one byte that is there; the descriptor is open as long as
        // it can be loaded from here.
        unsafe { libc::write(fd, byte.as_ptr().cast(), 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_all_signals_are_distinct() {
        let bits = Signal::ALL
            .iter()
            .fold(0, |bits, signal| bits | signal.bit());
        assert_eq!(bits.count_ones() as usize, Signal::ALL.len());
    }
}
