//! Datagrams in batches, group membership, receive buffers.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

use super::{check, set_option};

/// Datagrams received by one system call at most.
pub const BATCH_MAX: usize = 64;
/// Bytes of every datagram that can be kept aside: the fixed RTP header, RFC 3550 §5.1.
pub const ASIDE_BYTES: usize = 12;
/// Room for what a datagram has beyond the expected length; the largest IPv4 datagram fits.
const OVERFLOW_BYTES: usize = 65_536;
/// Parts a datagram is scattered over: aside, body, overflow.
const PARTS: usize = 3;

/// How datagrams are expected to look, which decides where their bytes land.
///
/// The first `aside` bytes of each go to a place of their own, the next `body` bytes straight behind the body
/// of the datagram before, so that datagrams of the expected shape leave one contiguous run of payload.
/// Whatever is longer continues in the overflow area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Leading bytes to keep out of the run: 0 to [`ASIDE_BYTES`].
    pub aside: usize,
    /// Bytes of each datagram that go to the run; at least 1.
    pub body: usize,
}

/// Scratch space and bookkeeping for one batch of datagrams; reused for every socket.
///
/// The overflow area is large but its pages are touched only by datagrams that need them.
pub struct Batch {
    aside: Vec<[u8; ASIDE_BYTES]>,
    overflow: Vec<u8>,
    lens: [usize; BATCH_MAX],
    /// Who sent each; room is made when that is first asked for.
    senders: Vec<libc::sockaddr_storage>,
    /// Who is said to have sent each, where the batch came from memory.
    named: Vec<SocketAddr>,
    /// The last batch was received with its senders.
    has_senders: bool,
    layout: Layout,
    count: usize,
}

/// One received datagram, in the parts it was scattered over.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The first bytes, up to [`Layout::aside`].
    pub aside: &'a [u8],
    /// What followed, up to [`Layout::body`] bytes; lies in the buffer given to [`Batch::receive`].
    pub body: &'a [u8],
    /// The rest.
    pub overflow: &'a [u8],
}

impl Datagram<'_> {
    /// Bytes of the datagram.
    pub fn len(&self) -> usize {
        self.aside.len() + self.body.len() + self.overflow.len()
    }

    /// Whether the datagram carries nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the whole datagram to the front of `out`, replacing what was there.
    pub fn gather(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.aside);
        out.extend_from_slice(self.body);
        out.extend_from_slice(self.overflow);
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            aside: vec![[0; ASIDE_BYTES]; BATCH_MAX],
            overflow: vec![0; BATCH_MAX * OVERFLOW_BYTES],
            lens: [0; BATCH_MAX],
            senders: Vec::new(),
            named: Vec::new(),
            has_senders: false,
            layout: Layout { aside: 0, body: 1 },
            count: 0,
        }
    }

    /// Datagrams of the last batch.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the last batch brought nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length of datagram `index` as the kernel gave it.
    pub fn datagram_len(&self, index: usize) -> usize {
        self.lens[..self.count][index]
    }

    /// The bytes kept aside of datagram `index`, if it filled them.
    pub fn full_aside(&self, index: usize) -> Option<&[u8; ASIDE_BYTES]> {
        (self.layout.aside == ASIDE_BYTES && self.datagram_len(index) >= ASIDE_BYTES)
            .then(|| &self.aside[index])
    }

    /// Datagram `index` of the last batch; `run` is the buffer that batch was received into.
    pub fn datagram<'a>(&'a self, index: usize, run: &'a [u8]) -> Datagram<'a> {
        let Layout { aside, body } = self.layout;
        let len = self.datagram_len(index);
        let aside_len = len.min(aside);
        let body_len = (len - aside_len).min(body);
        let overflow_len = (len - aside_len - body_len).min(OVERFLOW_BYTES);
        Datagram {
            aside: &self.aside[index][..aside_len],
            body: &run[index * body..][..body_len],
            overflow: &self.overflow[index * OVERFLOW_BYTES..][..overflow_len],
        }
    }

    /// Who sent datagram `index`; `None` unless the batch came from [`Batch::receive_from`].
    pub fn sender(&self, index: usize) -> Option<SocketAddr> {
        if let Some(named) = self.named.get(index) {
            return Some(*named);
        }
        let sender = self.senders.get(index).filter(|_| self.has_senders)?;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: the type is the one that `SockAddrStorage` wraps.
        *unsafe { storage.view_as::<libc::sockaddr_storage>() } = *sender;
        let len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the storage was zero before the kernel wrote an address of the socket's family into it, so all of
        // its bytes are initialised, and what the kernel left out reads as zeros.
        unsafe { SockAddr::new(storage, len) }.as_socket()
    }

    /// Receives as many datagrams as `run` has room for bodies, at most [`BATCH_MAX`], without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing waits; otherwise what `recvmmsg` reports.
    ///
    /// # Panics
    ///
    /// If `layout` is out of bounds or `run` has no room for a single body.
    pub fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<usize> {
        self.receive_batch(fd, run, layout, false)
    }

    /// As [`Batch::receive`], and notes who sent each datagram.
    ///
    /// # Errors
    ///
    /// As [`Batch::receive`].
    ///
    /// # Panics
    ///
    /// As [`Batch::receive`].
    pub fn receive_from(
        &mut self,
        fd: BorrowedFd<'_>,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<usize> {
        self.receive_batch(fd, run, layout, true)
    }

    fn receive_batch(
        &mut self,
        fd: BorrowedFd<'_>,
        run: &mut [u8],
        layout: Layout,
        with_senders: bool,
    ) -> io::Result<usize> {
        let wanted = self.begin(run, layout);
        self.has_senders = with_senders;
        if with_senders {
            self.senders.clear();
            // SAFETY: zero is a valid `sockaddr_storage`, of no family.
            self.senders
                .resize(BATCH_MAX, unsafe { MaybeUninit::zeroed().assume_init() });
        }
        // Only what is wanted is written at all: clearing the rest would cost more than all that follows.
        let mut parts = [const { MaybeUninit::<[libc::iovec; PARTS]>::uninit() }; BATCH_MAX];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH_MAX];
        let bodies = run.chunks_exact_mut(layout.body);
        let overflows = self.overflow.chunks_exact_mut(OVERFLOW_BYTES);
        let places = self.aside.iter_mut().zip(bodies).zip(overflows);
        let mut senders = self.senders.iter_mut();
        for ((message, parts), ((aside, body), overflow)) in
            messages.iter_mut().zip(&mut parts).zip(places).take(wanted)
        {
            let parts = parts.write([
                libc::iovec {
                    iov_base: aside.as_mut_ptr().cast(),
                    iov_len: layout.aside,
                },
                libc::iovec {
                    iov_base: body.as_mut_ptr().cast(),
                    iov_len: body.len(),
                },
                libc::iovec {
                    iov_base: overflow.as_mut_ptr().cast(),
                    iov_len: overflow.len(),
                },
            ]);
            // SAFETY: zero is a valid `mmsghdr`: no name, no parts, no control data.
            let message = message.write(unsafe { MaybeUninit::zeroed().assume_init() });
            message.msg_hdr.msg_iov = parts.as_mut_ptr();
            message.msg_hdr.msg_iovlen = PARTS as _;
            if with_senders && let Some(sender) = senders.next() {
                message.msg_hdr.msg_name = (&raw mut *sender).cast();
                message.msg_hdr.msg_namelen =
                    size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            }
        }
        // SAFETY: the first `wanted` messages are written. They point at `parts`, which point at disjoint areas of
        // `self` and `run`, and at `senders` or no name; all of them outlive the call, and their lengths are those of
        // the areas.
        let received = check(unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                messages.as_mut_ptr().cast(),
                wanted as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })? as usize;
        self.count = received.min(wanted);
        for (len, message) in self.lens.iter_mut().zip(&messages).take(self.count) {
            // SAFETY: the first `wanted` messages were written above, and `count` is no more.
            *len = unsafe { message.assume_init_ref() }.msg_len as usize;
        }
        Ok(self.count)
    }

    /// Fills the batch from memory instead of a socket: what the simulation and tests receive from.
    ///
    /// # Panics
    ///
    /// As [`Batch::receive`].
    pub fn fill(
        &mut self,
        run: &mut [u8],
        layout: Layout,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) -> usize {
        let wanted = self.begin(run, layout);
        while self.count < wanted {
            let Some(datagram) = next() else { break };
            let index = self.count;
            let (aside, rest) = datagram.split_at(datagram.len().min(layout.aside));
            let (body, overflow) = rest.split_at(rest.len().min(layout.body));
            self.aside[index][..aside.len()].copy_from_slice(aside);
            run[index * layout.body..][..body.len()].copy_from_slice(body);
            self.overflow[index * OVERFLOW_BYTES..][..overflow.len()].copy_from_slice(overflow);
            self.lens[index] = datagram.len();
            self.count += 1;
        }
        self.count
    }

    /// Says who has sent the datagrams that [`Batch::fill`] took from memory, one after the other.
    pub fn name_senders(&mut self, senders: Vec<SocketAddr>) {
        self.named = senders;
    }

    fn begin(&mut self, run: &[u8], layout: Layout) -> usize {
        assert!(
            layout.aside <= ASIDE_BYTES && layout.body > 0,
            "layout {layout:?}"
        );
        let wanted = (run.len() / layout.body).min(BATCH_MAX);
        assert!(
            wanted > 0,
            "{} bytes have no room for a body of {}",
            run.len(),
            layout.body
        );
        self.layout = layout;
        self.count = 0;
        self.has_senders = false;
        self.named.clear();
        wanted
    }
}

/// Asks for a receive buffer of `bytes`, past the system's limit where the process may (`SO_RCVBUFFORCE`),
/// and returns what the kernel accounts for it: twice the request, if it was granted.
///
/// # Errors
///
/// What `setsockopt` or `getsockopt` report.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let socket = socket2::SockRef::from(&fd);
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &wanted).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.recv_buffer_size()
}

/// A multicast group on one interface, from any source or from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The group's address; an IPv6 scope id is not looked at.
    pub group: IpAddr,
    /// The only source to receive from, of the same family.
    pub source: Option<IpAddr>,
    /// Index of the interface; 0 leaves the choice to the routing table.
    pub interface: u32,
}

/// Joins a group (RFC 3678 §5: `MCAST_JOIN_GROUP`, `MCAST_JOIN_SOURCE_GROUP`).
///
/// # Errors
///
/// What `setsockopt` reports: `InvalidInput` for an address that is not a group or families that differ.
pub fn join(fd: BorrowedFd<'_>, membership: &Membership) -> io::Result<()> {
    match membership.source {
        None => group_request(fd, libc::MCAST_JOIN_GROUP, membership),
        Some(source) => source_request(fd, libc::MCAST_JOIN_SOURCE_GROUP, membership, source),
    }
}

/// Stops receiving `source` on an any-source membership (RFC 3678 §5.1.2).
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn block_source(fd: BorrowedFd<'_>, membership: &Membership, source: IpAddr) -> io::Result<()> {
    source_request(fd, libc::MCAST_BLOCK_SOURCE, membership, source)
}

/// Undoes [`block_source`].
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn unblock_source(
    fd: BorrowedFd<'_>,
    membership: &Membership,
    source: IpAddr,
) -> io::Result<()> {
    source_request(fd, libc::MCAST_UNBLOCK_SOURCE, membership, source)
}

/// Sets the IPv4 options of every datagram sent, for instance Router Alert (RFC 2113).
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn set_ipv4_options(fd: BorrowedFd<'_>, options: [u8; 4]) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IP, libc::IP_OPTIONS, &options)
}

/// Sends multicast through the interface with this index.
///
/// # Errors
///
/// What `setsockopt` reports.
pub fn set_multicast_interface_v4(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let any = libc::in_addr {
        s_addr: libc::INADDR_ANY,
    };
    let imr_ifindex = libc::c_int::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex,
    };
    set_option(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Index of the interface called `name`, or `None` if there is none.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Name of the interface with this index, or `None` if there is none.
pub fn interface_name(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the `IF_NAMESIZE` bytes that the call may fill in.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    std::ffi::CStr::from_bytes_until_nul(&name)
        .ok()?
        .to_str()
        .ok()
        .map(str::to_owned)
}

fn level(group: IpAddr) -> libc::c_int {
    if group.is_ipv4() {
        libc::IPPROTO_IP
    } else {
        libc::IPPROTO_IPV6
    }
}

fn group_request(fd: BorrowedFd<'_>, name: libc::c_int, membership: &Membership) -> io::Result<()> {
    let request = libc::group_req {
        gr_interface: membership.interface,
        gr_group: storage(membership.group),
    };
    set_option(fd, level(membership.group), name, &request)
}

fn source_request(
    fd: BorrowedFd<'_>,
    name: libc::c_int,
    membership: &Membership,
    source: IpAddr,
) -> io::Result<()> {
    let request = libc::group_source_req {
        gsr_interface: membership.interface,
        gsr_group: storage(membership.group),
        gsr_source: storage(source),
    };
    set_option(fd, level(membership.group), name, &request)
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: zero is a valid `sockaddr_storage`.
    let mut storage: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    debug_assert!(address.len() as usize <= size_of::<libc::sockaddr_storage>());
    // SAFETY: `address` has `len()` initialised bytes, no more than a `sockaddr_storage` holds, and the two
    // do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast(),
            address.len() as usize,
        );
    }
    storage
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn sent_and_received(payloads: &[Vec<u8>], layout: Layout) -> (Batch, Vec<u8>) {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bound");
        for payload in payloads {
            sender
                .send_to(payload, receiver.local_addr().expect("address"))
                .expect("sent");
        }
        let mut run = vec![0; layout.body * BATCH_MAX];
        let mut batch = Batch::new();
        let received = batch
            .receive(receiver.as_fd(), &mut run, layout)
            .expect("received");
        assert_eq!(received, payloads.len());
        (batch, run)
    }

    #[test]
    fn datagrams_of_the_expected_shape_leave_one_run() {
        let payloads: Vec<Vec<u8>> = (0..5).map(|i| vec![i; ASIDE_BYTES + 20]).collect();
        let (batch, run) = sent_and_received(
            &payloads,
            Layout {
                aside: ASIDE_BYTES,
                body: 20,
            },
        );
        let expected: Vec<u8> = (0..5).flat_map(|i| [i; 20]).collect();
        assert_eq!(run[..100], expected);
        assert_eq!(batch.full_aside(4), Some(&[4; ASIDE_BYTES]));
    }

    #[test]
    fn senders_are_told_apart_if_they_are_asked_for() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let to = receiver.local_addr().expect("address");
        let senders = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("bound"));
        let layout = Layout { aside: 0, body: 8 };
        let (mut run, mut batch) = (vec![0; 8 * BATCH_MAX], Batch::new());
        for sender in &senders {
            sender.send_to(b"x", to).expect("sent");
        }
        let received = batch.receive_from(receiver.as_fd(), &mut run, layout);
        assert_eq!(received.expect("received"), 3);
        for (index, sender) in senders.iter().enumerate() {
            assert_eq!(batch.sender(index), sender.local_addr().ok());
        }
        assert_eq!(batch.sender(3), None);
        senders[0].send_to(b"x", to).expect("sent");
        batch
            .receive(receiver.as_fd(), &mut run, layout)
            .expect("received");
        assert_eq!(batch.sender(0), None);
    }

    #[test]
    fn any_other_shape_can_be_gathered_whole() {
        let payloads = vec![
            vec![],
            vec![1; 5],
            vec![2; 12],
            vec![3; 40],
            vec![4; 9000],
            vec![5; 65_000],
        ];
        let (batch, run) = sent_and_received(
            &payloads,
            Layout {
                aside: ASIDE_BYTES,
                body: 20,
            },
        );
        let mut gathered = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            batch.datagram(index, &run).gather(&mut gathered);
            assert_eq!(&gathered, payload);
        }
    }

    #[test]
    fn filling_from_memory_scatters_as_the_kernel_does() {
        let payloads = vec![vec![1; 5], vec![2; 32], vec![3; 400]];
        let layout = Layout {
            aside: ASIDE_BYTES,
            body: 20,
        };
        let (received, run) = sent_and_received(&payloads, layout);
        let mut filled = Batch::new();
        let mut filled_run = vec![0; run.len()];
        let mut source = payloads.iter().cloned();
        filled.fill(&mut filled_run, layout, || source.next());
        for index in 0..payloads.len() {
            let (a, b) = (
                received.datagram(index, &run),
                filled.datagram(index, &filled_run),
            );
            assert_eq!((a.aside, a.body, a.overflow), (b.aside, b.body, b.overflow));
        }
    }

    #[test]
    fn an_empty_socket_would_block() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let mut run = vec![0; 100];
        let error = Batch::new()
            .receive(receiver.as_fd(), &mut run, Layout { aside: 0, body: 10 })
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn joining_what_is_no_group_is_an_error() {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bound");
        let unicast = Membership {
            group: "127.0.0.1".parse().expect("address"),
            source: None,
            interface: 0,
        };
        assert!(join(socket.as_fd(), &unicast).is_err());
    }

    #[test]
    fn unknown_interfaces_have_no_index() {
        assert!(interface_index("lo").is_some());
        assert_eq!(interface_index("no-such-thing0"), None);
        assert_eq!(interface_index("nul\0inside"), None);
    }
}
