//! A pipe that carries bytes from one socket to another without copying them through the program (splice(2)).
//!
//! It owns the two ends and knows how much it holds. It does not wait, and it does not know which of its two
//! neighbours is to be waited for; see [`Pipe::fill`].

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{check, check_bytes};

/// A pipe between two descriptors, of which neither is the program's memory.
///
/// What it holds when it is dropped is lost.
#[derive(Debug)]
pub struct Pipe {
    read_end: OwnedFd,
    write_end: OwnedFd,
    capacity_bytes: usize,
    /// Bytes filled in and not yet drained.
    held_bytes: Cell<usize>,
}

impl Pipe {
    /// Makes an empty pipe of about `capacity_bytes`, closed when another program is executed.
    ///
    /// The kernel rounds up to a power of two pages. It refuses more than `/proc/sys/fs/pipe-max-size`, and more
    /// than `pipe-user-pages-soft` for all pipes of a user; then the pipe keeps the size it was born with,
    /// 64 KiB or two pages. [`capacity_bytes`](Self::capacity_bytes) tells.
    ///
    /// # Errors
    ///
    /// What `pipe2` reports: no descriptor left. What `splice` reports where it is forbidden or does not exist, so
    /// that nothing gets into a pipe that it could not get out of again.
    pub fn new(capacity_bytes: usize) -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two descriptors that the call fills in.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: the kernel has just returned both, and nothing else owns them.
        let [read_end, write_end] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // To move nothing succeeds wherever there is such a call.
        splice(read_end.as_fd(), write_end.as_fd(), 0)?;
        let fd = write_end.as_raw_fd();
        let capacity_bytes = grow(write_end.as_fd(), capacity_bytes).or_else(|_| {
            // SAFETY: `fd` is open, and the command takes no pointer.
            let granted = check(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) })?;
            io::Result::Ok(granted as usize)
        })?;
        Ok(Self {
            read_end,
            write_end,
            capacity_bytes,
            held_bytes: Cell::new(0),
        })
    }

    /// Bytes of whole pages that fit.
    ///
    /// The kernel counts pieces, not bytes: a pipe may be full of many small pieces with less in it, and hold
    /// more when the pieces are larger than a page.
    pub fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// Bytes filled in and not yet drained.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held_bytes() == 0
    }

    /// Moves up to `max` bytes from the socket `from` into the pipe and returns how many; 0 is the end of the
    /// stream, unless `max` is 0.
    ///
    /// # Errors
    ///
    /// What `splice` reports about `from`. `WouldBlock` from an empty pipe says that `from` has nothing; from
    /// any other it may also mean that the pipe is full, so only a fill after the next drain tells.
    pub fn fill(&self, from: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let filled = splice(from, self.write_end.as_fd(), max)?;
        self.held_bytes.set(self.held_bytes() + filled);
        Ok(filled)
    }

    /// Moves up to `max` bytes out of the pipe into `to` and returns how many; 0 only if the pipe is empty or
    /// `max` is 0.
    ///
    /// # Errors
    ///
    /// What `splice` reports about `to`: `WouldBlock` when it takes nothing now, `BrokenPipe` when its peer is
    /// gone (the process must ignore SIGPIPE, as Rust programs do). The bytes not moved stay in the pipe.
    pub fn drain(&self, to: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        // An empty pipe would block too, and then the caller could not tell which side did.
        let wanted = max.min(self.held_bytes());
        if wanted == 0 {
            return Ok(0);
        }
        let drained = splice(self.read_end.as_fd(), to, wanted)?;
        debug_assert!(drained <= self.held_bytes());
        self.held_bytes.set(self.held_bytes() - drained);
        Ok(drained)
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    // SAFETY: both descriptors are open for the whole call; without offsets it touches no memory of ours.
    check_bytes(unsafe {
        libc::splice(
            from.as_raw_fd(),
            ptr::null_mut(),
            to.as_raw_fd(),
            ptr::null_mut(),
            max,
            libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
        )
    })
}

/// Makes the pipe that `fd` is an end of hold about `bytes`, and returns what it holds.
///
/// # Errors
///
/// What `fcntl` reports: not a pipe, or more than this user may have.
pub fn grow(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: `fd` is open, and the command takes no pointer.
    let granted = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, wanted) })?;
    Ok(granted as usize)
}

/// Whether `fd` takes something now: `PIPE_BUF` bytes if it is a pipe. Does not wait.
pub fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `asked` is one valid `pollfd`, and outlives the call.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    const CAPACITY: usize = 64 << 10;

    /// A connection: the end that the pipe uses, which does not block, and its peer, which does.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connected");
        let (near, _) = listener.accept().expect("accepted");
        near.set_nonblocking(true).expect("set");
        (near, peer)
    }

    /// Fills as soon as something has arrived: data sent over loopback may take a moment to be there.
    fn fill_when_ready(pipe: &Pipe, from: &TcpStream, max: usize) -> usize {
        from.set_nonblocking(false).expect("set");
        from.peek(&mut [0]).expect("readable");
        from.set_nonblocking(true).expect("set");
        pipe.fill(from.as_fd(), max).expect("filled")
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        let (from, mut sender) = connection();
        let (to, mut receiver) = connection();
        let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = body.clone();
        let sending = std::thread::spawn(move || sender.write_all(&sent));
        let receiving = std::thread::spawn(move || {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).map(|_| received)
        });
        // Blocks where there is nothing to do: for the source when the pipe is empty, for the sink otherwise.
        to.set_nonblocking(false).expect("set");
        loop {
            if fill_when_ready(&pipe, &from, usize::MAX >> 1) == 0 {
                break;
            }
            while !pipe.is_empty() {
                pipe.drain(to.as_fd(), 30_000).expect("drained");
            }
        }
        drop(to);
        sending.join().expect("ended").expect("sent");
        let received = receiving.join().expect("ended").expect("received");
        assert!(received == body, "{} of {}", received.len(), body.len());
    }

    #[test]
    fn an_empty_source_would_block_and_an_ended_one_gives_nothing() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        let (from, sender) = connection();
        let error = pipe.fill(from.as_fd(), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(sender);
        assert_eq!(fill_when_ready(&pipe, &from, 10), 0);
        assert!(pipe.is_empty());
    }

    #[test]
    fn no_more_is_moved_than_asked_for() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        let (from, mut sender) = connection();
        let (to, mut receiver) = connection();
        sender.write_all(b"0123456789").expect("sent");
        assert_eq!(fill_when_ready(&pipe, &from, 6), 6);
        assert_eq!(pipe.drain(to.as_fd(), 4).expect("drained"), 4);
        assert_eq!(pipe.held_bytes(), 2);
        assert_eq!(pipe.drain(to.as_fd(), 4).expect("drained"), 2);
        assert_eq!(pipe.drain(to.as_fd(), 4).expect("drained"), 0);
        drop(to);
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).expect("received");
        assert_eq!(received, b"012345");
        let mut rest = [0; 8];
        assert_eq!((&from).read(&mut rest).expect("read"), 4);
    }

    #[test]
    fn a_full_pipe_would_block_until_it_is_drained() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        let (from, mut sender) = connection();
        let (to, mut receiver) = connection();
        // Ends when this test drops the receiving side.
        std::thread::spawn(move || while sender.write_all(&[7; 4096]).is_ok() {});
        while pipe.held_bytes() < 16 * pipe.capacity_bytes() {
            from.set_nonblocking(false).expect("set");
            from.peek(&mut [0]).expect("readable");
            from.set_nonblocking(true).expect("set");
            match pipe.fill(from.as_fd(), usize::MAX >> 1) {
                Ok(filled) => assert_ne!(filled, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let held = pipe.held_bytes();
        std::thread::spawn(move || receiver.read_to_end(&mut Vec::new()));
        to.set_nonblocking(false).expect("set");
        while !pipe.is_empty() {
            pipe.drain(to.as_fd(), held).expect("drained");
        }
        assert_ne!(fill_when_ready(&pipe, &from, 100), 0);
    }

    #[test]
    fn a_sink_that_takes_nothing_leaves_the_bytes_in_the_pipe() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        let (from, mut sender) = connection();
        // Nothing is ever on its way between these, so full is full.
        let (to, _receiver) = UnixStream::pair().expect("a socket pair");
        to.set_nonblocking(true).expect("set");
        while (&to).write(&[0; 1 << 12]).is_ok() {}
        while (&to).write(&[0]).is_ok() {}
        sender.write_all(b"kept").expect("sent");
        assert_eq!(fill_when_ready(&pipe, &from, 100), 4);
        let error = pipe.drain(to.as_fd(), 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(pipe.held_bytes(), 4);
    }

    #[test]
    fn the_capacity_is_what_the_kernel_gave() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        assert!(pipe.capacity_bytes() >= 4096);
        // More than any kernel gives: refused, and said so.
        let pipe = Pipe::new(usize::MAX).expect("a pipe");
        assert!((4096..1 << 31).contains(&pipe.capacity_bytes()));
    }

    #[test]
    fn neither_end_outlives_the_program() {
        let pipe = Pipe::new(CAPACITY).expect("a pipe");
        for end in [&pipe.read_end, &pipe.write_end] {
            // SAFETY: the descriptor is open; the command takes no pointer.
            let flags = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
    }
}
