//! The pair of UDP sockets of a session, and what is sent from it.
//!
//! Owns the sockets, the names that datagrams are addressed to, and the datagrams that wait for one. Which
//! datagrams are media is not known here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::super::Outcome;
use super::super::connect::SocketChange;
use super::Circumstances;
use crate::limits::{RTSP_DATAGRAMS_WAITING_MAX, RTSP_NAMES_MAX, RTSP_PORT_PAIRS_MAX};
use crate::net::{Edge, Io, SocketId, Watched};
use crate::proto::rtsp::UdpSocket;
use crate::proto::rtsp::transport::port_pairs;
use crate::proto::url::Host;
use crate::shared::Shared;
use crate::tick::{Demand, Received, Ticker};

/// A datagram to be sent.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) socket: UdpSocket,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) bytes: Vec<u8>,
}

struct Pair {
    rtp: Watched,
    rtcp: Watched,
    /// When media is read. What comes to the other socket is rare, and read at its edges.
    ticker: Ticker,
    is_ipv4: bool,
}

impl Pair {
    fn id(&self, which: UdpSocket) -> SocketId {
        match which {
            UdpSocket::Rtp => self.rtp.id,
            UdpSocket::Rtcp => self.rtcp.id,
        }
    }
}

/// The pair, while there is one.
#[derive(Default)]
pub(super) struct Datagrams {
    pair: Option<Pair>,
    /// Those whose address is being looked up.
    waiting: Vec<Datagram>,
    /// Names that were looked up; one that was not found has no address.
    names: Vec<(String, Vec<IpAddr>)>,
    /// A look-up has ended since the last turn.
    has_news: bool,
}

impl Datagrams {
    /// Opens a pair on `address` and returns its even port; `None` if there is none to be had.
    pub(super) fn open(
        &mut self,
        address: IpAddr,
        random: u64,
        circumstances: &Circumstances,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<u16> {
        self.close(outcomes);
        let bytes = shared.config.udp_receive_buffer_bytes;
        let interface = circumstances.interface.as_deref();
        for port in port_pairs(random).take(RTSP_PORT_PAIRS_MAX) {
            let pair = shared
                .net
                .bind_pair(SocketAddr::new(address, port), interface, bytes);
            match pair {
                Ok([rtp, rtcp]) => {
                    let opened = [rtp, rtcp].map(|id| Outcome::Socket(SocketChange::Opened(id)));
                    outcomes.extend(opened);
                    // Asked for once more, to learn what was granted.
                    let granted = shared.net.set_receive_buffer(rtp, bytes).unwrap_or(bytes);
                    self.pair = Some(Pair {
                        rtp: Watched::new(rtp),
                        rtcp: Watched::new(rtcp),
                        ticker: Ticker::new(shared.config.flush_interval, granted),
                        is_ipv4: address.is_ipv4(),
                    });
                    let watched = [rtp, rtcp].map(|id| shared.net.watch(id));
                    if let Some(error) = watched.into_iter().find_map(Result::err) {
                        log::warn!("RTSP: no UDP: {error}");
                        self.close(outcomes);
                        return None;
                    }
                    return Some(port);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    log::warn!("RTSP: no UDP: {error}");
                    return None;
                }
            }
        }
        log::warn!("RTSP: no UDP: {RTSP_PORT_PAIRS_MAX} pairs of ports are in use");
        None
    }

    /// The sockets in use.
    pub(super) fn sockets(&self) -> impl Iterator<Item = SocketId> {
        self.pair
            .iter()
            .flat_map(|pair| [pair.rtp.id, pair.rtcp.id])
    }

    /// Notes an edge.
    pub(super) fn note(&mut self, socket: SocketId, edge: Edge) {
        if let Some(pair) = &mut self.pair {
            for watched in [&mut pair.rtp, &mut pair.rtcp] {
                if watched.id == socket {
                    watched.note(edge);
                }
            }
        }
    }

    /// Whether an edge says that something waits to be read.
    pub(super) fn can_read(&self) -> bool {
        let pair = self.pair.as_ref();
        pair.is_some_and(|pair| pair.ticker.runnable(&pair.rtp) || pair.rtcp.readable)
    }

    /// When media is to be read although no edge comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pair.as_ref()?.ticker.deadline()
    }

    /// Has media read in the coming turn.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(pair) = &mut self.pair {
            pair.ticker.hurry(now);
        }
    }

    /// Whether datagrams that waited may be sent.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// A socket that is to be read now.
    pub(super) fn due(&self, which: UdpSocket, now: Instant) -> Option<SocketId> {
        let pair = self.pair.as_ref()?;
        let is_due = match which {
            UdpSocket::Rtp => pair.ticker.is_due(&pair.rtp, now),
            UdpSocket::Rtcp => pair.rtcp.readable,
        };
        is_due.then(|| pair.id(which))
    }

    /// Notes what a turn has brought from a socket. `starving` says that the client still waits for a first byte.
    ///
    /// # Errors
    ///
    /// As [`Ticker::note`].
    pub(super) fn note_received(
        &mut self,
        which: UdpSocket,
        received: Received,
        starving: bool,
        shared: &mut Shared,
    ) -> io::Result<()> {
        let Some(pair) = &mut self.pair else {
            return Ok(());
        };
        match which {
            UdpSocket::Rtp => {
                let demand = Demand {
                    clients: 1,
                    starving,
                };
                pair.ticker.note(&mut pair.rtp, received, demand, shared)
            }
            UdpSocket::Rtcp => {
                pair.rtcp.readable &= !received.drained;
                Ok(())
            }
        }
    }

    /// A look-up has ended.
    pub(super) fn resolved(&mut self, name: &str, result: Result<&[IpAddr], &str>) {
        if self
            .waiting
            .iter()
            .any(|datagram| is_named(&datagram.host, name))
        {
            if self.names.len() >= RTSP_NAMES_MAX {
                self.names.remove(0);
            }
            let addresses = result.unwrap_or_default().to_vec();
            self.names.push((name.to_owned(), addresses));
            self.has_news = true;
        }
    }

    /// Sends the datagrams whose look-up has ended. Says whether one of them could not be sent to anybody.
    pub(super) fn send_waiting(
        &mut self,
        circumstances: &Circumstances,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        self.has_news = false;
        let mut all_sent = true;
        for datagram in std::mem::take(&mut self.waiting) {
            all_sent &= self.send(datagram, circumstances, shared, outcomes);
        }
        all_sent
    }

    /// Sends a datagram, at once or when its name has been looked up; false if there is nobody to send it to.
    pub(super) fn send(
        &mut self,
        datagram: Datagram,
        circumstances: &Circumstances,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        let Some(pair) = &self.pair else { return false };
        let addresses = match &datagram.host {
            Host::Ip { address, .. } => vec![*address],
            Host::Name(name) => match self.names.iter().find(|(known, _)| known == name) {
                Some((_, addresses)) => addresses.clone(),
                None => {
                    let is_asked = self.waiting.iter().any(|other| is_named(&other.host, name));
                    if !is_asked {
                        outcomes.push(Outcome::Resolve(name.clone()));
                    }
                    if self.waiting.len() < RTSP_DATAGRAMS_WAITING_MAX {
                        self.waiting.push(datagram);
                    }
                    return true;
                }
            },
        };
        let of_family = addresses
            .into_iter()
            .find(|address| address.is_ipv4() == pair.is_ipv4);
        let Some(address) = of_family else {
            log::debug!("RTSP: {} has no address of our family", datagram.host);
            return false;
        };
        let (host, port) = (datagram.host, datagram.port);
        // The operator has named the STUN server; everything else a server may have made up.
        let is_stun = circumstances.stun.as_ref() == Some(&(host.clone(), port));
        if !is_stun
            && let Err(denied) =
                shared.permitted(&host.to_string(), &[address], port, circumstances.is_local)
        {
            log::debug!("RTSP: no datagram is sent: {denied}");
            return false;
        }
        let (id, to) = (pair.id(datagram.socket), SocketAddr::new(address, port));
        match shared.net.send_to(id, to, &datagram.bytes) {
            Ok(Io::Done(()) | Io::Blocked) => true,
            Err(error) => {
                log::debug!("RTSP: sending a datagram to {to}: {error}");
                false
            }
        }
    }

    /// Closes the pair.
    pub(super) fn close(&mut self, outcomes: &mut Vec<Outcome>) {
        let closed = self.sockets().map(SocketChange::Closed);
        outcomes.extend(closed.map(Outcome::Socket));
        self.pair = None;
        self.waiting.clear();
        self.has_news = false;
    }
}

fn is_named(host: &Host, name: &str) -> bool {
    matches!(host, Host::Name(own) if own == name)
}
