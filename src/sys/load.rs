//! What only the benchmarks need: threads kept to a core and put first on it, many datagrams sent by one call,
//! bytes received without being looked at.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{check, check_bytes, set_option};

/// Datagrams sent by one system call at most.
pub const SEND_MAX: usize = 64;

/// Keeps the calling thread, and whatever it starts from now on, to one core.
///
/// # Errors
///
/// `InvalidInput` for a core the machine does not have; otherwise what `sched_setaffinity` reports.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: zero is a valid, empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `core` is below `CPU_SETSIZE`, the number of bits in `set`.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` has the size that is passed and outlives the call, which only reads it.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
}

/// Sets how far the calling thread, and whatever it starts from now on, stands back for others of its core:
/// -20 to 19. Below 0 needs `CAP_SYS_NICE`.
///
/// # Errors
///
/// What `setpriority` reports.
pub fn set_nice(level: i32) -> io::Result<()> {
    // SAFETY: `setpriority` takes no pointers; on Linux 0 names the calling thread.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) }).map(drop)
}

/// Sends the datagrams of `len` bytes that lie one behind the other in `datagrams` to the peer of a
/// connected socket, at most [`SEND_MAX`] of them, and returns how many were sent.
///
/// # Errors
///
/// What `sendmmsg` reports about the first of them.
///
/// # Panics
///
/// If `len` is 0.
pub fn send_many(fd: BorrowedFd<'_>, datagrams: &[u8], len: usize) -> io::Result<usize> {
    let mut parts = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; SEND_MAX];
    // SAFETY: zero is a valid `mmsghdr`: no name, no parts, no control data.
    let mut messages: [libc::mmsghdr; SEND_MAX] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut count = 0;
    for ((message, part), datagram) in messages
        .iter_mut()
        .zip(&mut parts)
        .zip(datagrams.chunks_exact(len))
    {
        part.iov_base = datagram.as_ptr().cast_mut().cast();
        part.iov_len = datagram.len();
        message.msg_hdr.msg_iov = &raw mut *part;
        message.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` messages point at one part each, and those at bytes of `datagrams`; all of
    // them outlive the call, which only reads the bytes.
    let sent = check(unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, 0) })?;
    Ok(sent as usize)
}

/// Cuts whatever is sent into datagrams of `len` bytes (`UDP_SEGMENT`, udp(7)): one `send` makes a train of
/// them at a fraction of the cost, as long as it fits the largest IPv4 datagram.
///
/// # Errors
///
/// What `setsockopt` reports: `ENOPROTOOPT` before Linux 4.18.
pub fn cut_datagrams(fd: BorrowedFd<'_>, len: u16) -> io::Result<()> {
    let len = libc::c_int::from(len);
    set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, &len)
}

/// Takes up to `max` bytes from a TCP connection without copying them anywhere (`MSG_TRUNC`, tcp(7)) and
/// returns how many; 0 is the end of the stream, unless `max` is 0.
///
/// # Errors
///
/// What `recv` reports, `WouldBlock` included.
pub fn discard(fd: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    // SAFETY: on a TCP socket nothing is written with this flag; on any other the null pointer makes the call
    // fail with `EFAULT`.
    check_bytes(unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), max, libc::MSG_TRUNC) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    #[test]
    fn sends_each_datagram_of_the_run() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bound");
        sender
            .connect(receiver.local_addr().expect("address"))
            .expect("connected");
        assert_eq!(
            send_many(sender.as_fd(), b"onetwosixen", 3).expect("sent"),
            3
        );
        expect_three(&receiver);
    }

    #[test]
    fn cuts_a_train_into_datagrams() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bound");
        cut_datagrams(sender.as_fd(), 3).expect("a kernel that cuts");
        sender
            .send_to(b"onetwosix", receiver.local_addr().expect("address"))
            .expect("sent");
        expect_three(&receiver);
    }

    #[test]
    fn discarded_bytes_are_counted_and_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        let mut sender = TcpStream::connect(address).expect("connected");
        let (mut receiver, _) = listener.accept().expect("accepted");
        sender.write_all(b"0123456789").expect("sent");
        drop(sender);
        receiver.peek(&mut [0]).expect("readable");
        assert_eq!(discard(receiver.as_fd(), 7).expect("discarded"), 7);
        let mut rest = String::new();
        receiver.read_to_string(&mut rest).expect("received");
        assert_eq!(rest, "789");
        assert_eq!(discard(receiver.as_fd(), 7).expect("the end"), 0);
    }

    fn expect_three(receiver: &UdpSocket) {
        let mut bytes = [0; 16];
        for expected in [b"one", b"two", b"six"] {
            let len = receiver.recv(&mut bytes).expect("received");
            assert_eq!(&bytes[..len], expected);
        }
    }
}
