//! A descriptor by which one process wakes others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// An `eventfd` that all processes forked after it share (`eventfd(2)`). Every ring makes an edge in every poll that
/// watches it; nobody has to read it.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that has not been rung.
    ///
    /// # Errors
    ///
    /// What `eventfd` reports.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call has no preconditions.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes everybody who watches. Never waits.
    pub fn ring(&self) {
        if self.add_one().is_err() {
            // The counter is full after 2^64 - 1 rings; emptied, it takes this one.
            let mut count = [0_u8; 8];
            // SAFETY: the buffer holds the eight bytes that the call fills in; the descriptor is open.
            unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
            let _ = self.add_one();
        }
    }

    fn add_one(&self) -> io::Result<usize> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer holds eight readable bytes; the descriptor is open.
        let written = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        super::check_bytes(written)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::time::Duration;

    #[test]
    fn every_ring_is_an_edge_for_everybody_who_watches() {
        let bell = Bell::new().expect("a bell");
        let fd = bell.as_fd().as_raw_fd();
        let mut polls = [Poll::new().expect("a poll"), Poll::new().expect("a poll")];
        for poll in &polls {
            let registry = poll.registry();
            registry
                .register(&mut SourceFd(&fd), Token(7), Interest::READABLE)
                .expect("registered");
        }
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            bell.ring();
            for poll in &mut polls {
                poll.poll(&mut events, Some(Duration::from_secs(5)))
                    .expect("polled");
                assert_eq!(events.iter().count(), 1);
            }
        }
        polls[0]
            .poll(&mut events, Some(Duration::ZERO))
            .expect("polled");
        assert!(events.is_empty(), "a ring is an edge only once");
    }

    #[test]
    fn a_full_counter_does_not_hold_up_the_ring() {
        let bell = Bell::new().expect("a bell");
        let almost_full = (u64::MAX - 1).to_ne_bytes();
        // SAFETY: eight readable bytes, and an open descriptor.
        unsafe { libc::write(bell.0.as_raw_fd(), almost_full.as_ptr().cast(), 8) };
        bell.ring();
        assert!(bell.add_one().is_ok());
    }
}
