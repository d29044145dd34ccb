//! Watching a socket that several processes accept from (`epoll(7)`, `EPOLLEXCLUSIVE`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Puts `fd` into `epoll`: edges of readability come as `data`, and of all processes that watch the same socket so,
/// one that waits is woken, instead of all of them. It is the one that was put in first; taking it [out](remove) and
/// putting it in again moves it to the end. If `fd` is readable now, that is an edge too.
///
/// # Errors
///
/// What `epoll_ctl` reports.
pub fn add_exclusive(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32,
        u64: data,
    };
    // SAFETY: both descriptors are open, and the event lives for the whole call, which copies it.
    check(unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd.as_raw_fd(),
            &raw mut event,
        )
    })
    .map(drop)
}

/// Takes `fd` out of `epoll`.
///
/// # Errors
///
/// What `epoll_ctl` reports, for instance that it is not in there.
pub fn remove(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open; the event may be null for this operation since Linux 2.6.9.
    check(unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            fd.as_raw_fd(),
            std::ptr::null_mut(),
        )
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn edges_come_with_their_token_and_the_first_in_line_is_woken() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        let mut polls = [0, 1].map(|_| Poll::new().expect("a poll"));
        for (number, poll) in polls.iter().enumerate() {
            add_exclusive(poll.registry().as_fd(), far.as_fd(), 7 + number as u64).expect("added");
        }
        remove(polls[0].registry().as_fd(), far.as_fd()).expect("it was in");
        assert!(remove(polls[0].registry().as_fd(), far.as_fd()).is_err());
        near.write_all(b"x").expect("sent");
        let mut events = Events::with_capacity(4);
        let mut tokens = polls.each_mut().map(|poll| {
            poll.poll(&mut events, Some(Duration::ZERO))
                .expect("polled");
            events.iter().map(|event| event.token()).collect::<Vec<_>>()
        });
        assert_eq!(tokens, [vec![], vec![Token(8)]]);
        // What is readable when it is put in is an edge.
        add_exclusive(polls[0].registry().as_fd(), far.as_fd(), 9).expect("added");
        polls[0]
            .poll(&mut events, Some(Duration::ZERO))
            .expect("polled");
        tokens[0] = events.iter().map(|event| event.token()).collect();
        assert_eq!(tokens[0], [Token(9)]);
    }
}
