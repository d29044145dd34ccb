//! Messages between processes of the program, each with the descriptors that go with it.
//!
//! A message arrives whole or not at all (`SOCK_SEQPACKET`, `unix(7)`), and nothing here waits.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{check, check_bytes};

/// Bytes of a message at most.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Descriptors of a message at most; the kernel takes 253 (`SCM_MAX_FD`).
pub const MESSAGE_DESCRIPTORS_MAX: usize = 64;

/// One end of a connection between two processes; the other sees its end when this one is dropped.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What came over a [`Channel`].
#[derive(Debug)]
pub enum Received {
    /// A message: 1 to [`MESSAGE_BYTES_MAX`] bytes, and at most [`MESSAGE_DESCRIPTORS_MAX`] descriptors.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing now.
    Nothing,
    /// The other end is gone.
    End,
}

/// Room for the control message, aligned as `cmsghdr` asks.
type Control = [u64; CONTROL_BYTES.div_ceil(size_of::<u64>())];

const NO_CONTROL: Control = [0; CONTROL_BYTES.div_ceil(size_of::<u64>())];

// SAFETY: the macro is arithmetic.
const CONTROL_BYTES: usize =
    unsafe { libc::CMSG_SPACE((MESSAGE_DESCRIPTORS_MAX * size_of::<RawFd>()) as u32) as usize };

impl Channel {
    /// Two connected ends, closed when another program is executed.
    ///
    /// # Errors
    ///
    /// What `socketpair` reports.
    pub fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `ends` has room for the two descriptors that the call fills in.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        // SAFETY: the kernel has just returned both, and nothing else owns them.
        let [one, other] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// Sends a message; the other side gets copies of `descriptors`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty message or one beyond the bounds, `WouldBlock` when the other side has left too
    /// many unread, `BrokenPipe` when it is gone.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if !(1..=MESSAGE_BYTES_MAX).contains(&bytes.len())
            || descriptors.len() > MESSAGE_DESCRIPTORS_MAX
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut part = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut control = NO_CONTROL;
        let mut message = header(&mut part);
        if !descriptors.is_empty() {
            let len = (descriptors.len() * size_of::<RawFd>()) as u32;
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: the control area is zeroed, aligned, and has room for `MESSAGE_DESCRIPTORS_MAX` descriptors, of
            // which there are no more; so its first header and the data behind it lie inside.
            unsafe {
                message.msg_controllen = libc::CMSG_SPACE(len) as _;
                let first = libc::CMSG_FIRSTHDR(&raw const message);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(len) as _;
                let mut data = libc::CMSG_DATA(first).cast::<RawFd>();
                for descriptor in descriptors {
                    data.write_unaligned(descriptor.as_raw_fd());
                    data = data.add(1);
                }
            }
        }
        // SAFETY: the message points at `bytes` and `control`, which outlive the call and are only read.
        check_bytes(unsafe {
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const message,
                libc::MSG_NOSIGNAL,
            )
        })
        .map(drop)
    }

    /// Takes the next message.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a message beyond the bounds, otherwise what `recvmsg` reports.
    pub fn receive(&self) -> io::Result<Received> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut part = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let mut control = NO_CONTROL;
        let mut message = header(&mut part);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the message points at `bytes` and `control`, which outlive the call and are as long as it says.
        let received = check_bytes(unsafe {
            libc::recvmsg(
                self.socket.as_raw_fd(),
                &raw mut message,
                libc::MSG_CMSG_CLOEXEC,
            )
        });
        let len = match received {
            Ok(0) => return Ok(Received::End),
            Ok(len) => len,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
                    // Sent while we had unread messages of its; it is gone.
                    io::ErrorKind::ConnectionReset => Ok(Received::End),
                    _ => Err(error),
                };
            }
        };
        let descriptors = take_descriptors(&message);
        if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.truncate(len);
        Ok(Received::Message(bytes, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is a valid value: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = ptr::from_mut(part);
    message.msg_iovlen = 1;
    message
}

/// Takes possession of all descriptors in a message that the kernel has just filled in.
fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: the kernel has set `msg_controllen` to what it wrote into the control area, whose headers the macros
    // walk without leaving it.
    let mut current = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: `current` is null or points at a header inside the control area.
    while let Some(head) = unsafe { current.as_ref() } {
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: arithmetic, and the data lies behind its header, as long as that says.
            unsafe {
                #[allow(clippy::unnecessary_cast, reason = "musl has another type")]
                let len = head.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(current).cast::<RawFd>();
                for index in 0..len / size_of::<RawFd>() {
                    let fd = data.add(index).read_unaligned();
                    // The kernel has just made the descriptor, and nothing else owns it.
                    taken.push(OwnedFd::from_raw_fd(fd));
                }
            }
        }
        // SAFETY: as for the first header.
        current = unsafe { libc::CMSG_NXTHDR(message, current) };
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn messages_keep_their_bounds_and_their_order() {
        let (near, far) = Channel::pair().expect("a pair");
        assert!(matches!(far.receive(), Ok(Received::Nothing)));
        near.send(b"first", &[]).expect("sent");
        near.send(&[7; MESSAGE_BYTES_MAX], &[]).expect("sent");
        for expected in [b"first".as_slice(), &[7; MESSAGE_BYTES_MAX]] {
            let Ok(Received::Message(bytes, descriptors)) = far.receive() else {
                panic!("no message");
            };
            assert_eq!(bytes, expected);
            assert!(descriptors.is_empty());
        }
        assert!(matches!(far.receive(), Ok(Received::Nothing)));
        drop(near);
        assert!(matches!(far.receive(), Ok(Received::End)));
        let error = far.send(b"x", &[]).expect_err("nobody there");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn descriptors_arrive_open_and_closed_on_exec() {
        let (near, far) = Channel::pair().expect("a pair");
        let pairs: Vec<_> = (0..MESSAGE_DESCRIPTORS_MAX)
            .map(|_| UnixStream::pair().expect("a pair"))
            .collect();
        let sent: Vec<_> = pairs.iter().map(|(one, _)| one.as_fd()).collect();
        near.send(b"all", &sent).expect("sent");
        let Ok(Received::Message(_, descriptors)) = far.receive() else {
            panic!("no message");
        };
        assert_eq!(descriptors.len(), MESSAGE_DESCRIPTORS_MAX);
        for (index, (descriptor, (_, other))) in descriptors.into_iter().zip(&pairs).enumerate() {
            // SAFETY: the descriptor is open, and the command takes no pointer.
            let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            let byte = [index as u8];
            UnixStream::from(descriptor)
                .write_all(&byte)
                .expect("written");
            let mut read = [0];
            (&*other).read_exact(&mut read).expect("read");
            assert_eq!(read, byte);
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let (near, far) = Channel::pair().expect("a pair");
        for bytes in [&[][..], &[0; MESSAGE_BYTES_MAX + 1]] {
            let error = near.send(bytes, &[]).expect_err("out of bounds");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let many = [far.as_fd(); MESSAGE_DESCRIPTORS_MAX + 1];
        assert!(near.send(b"x", &many).is_err());
        assert!(matches!(far.receive(), Ok(Received::Nothing)));
    }

    #[test]
    fn a_side_that_never_reads_does_not_hold_up_the_other() {
        let (near, _far) = Channel::pair().expect("a pair");
        let error = (0..100_000)
            .find_map(|_| near.send(&[0; MESSAGE_BYTES_MAX], &[]).err())
            .expect("full at some time");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
