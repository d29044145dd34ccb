//! Media and what keeps it coming: frames, datagrams, probes, receiver reports, STUN.

use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::time::Instant;

use log::{debug, trace, warn};

use super::super::super::mpegts;
use super::super::super::rtp::{self, Datagram};
use super::super::super::url::Host;
use super::super::error::Error;
use super::super::interleaved::{Buffer, Slice};
use super::super::metadata::{MediaTransport, Payload};
use super::super::rtcp;
use super::super::stun::{self, StunError, Transaction};
use super::super::transport::Choice;
use super::super::traversal::{Endpoint, PROBE_ROUNDS, RTCP_PROBE};
use super::{
    Action, EARLY_BYTES_MAX, GOODBYE_WAIT, STALL_WAIT, STUN_ATTEMPTS, STUN_WAIT, Session, Sockets,
    State, Step, Stun, UdpSocket,
};

impl Session {
    /// Takes a datagram. Every action it causes refers to this datagram.
    pub fn datagram(
        &mut self,
        now: Instant,
        socket: UdpSocket,
        from: SocketAddr,
        datagram: &[u8],
        actions: &mut Vec<Action>,
    ) {
        if socket == UdpSocket::Rtp
            && let Stun::Asking { transaction, .. } = self.stun
            && stun::looks_like_stun(datagram)
        {
            return self.receive_stun(now, transaction, datagram, actions);
        }
        let Some(server) = self.server.udp().filter(|_| self.state == State::Playing) else {
            return;
        };
        let source = server.source.as_ref().and_then(Host::ip);
        let peer = self.ends.map(|(_, peer)| peer.ip());
        let is_trusted = [source, peer]
            .into_iter()
            .flatten()
            .any(|trusted| trusted.to_canonical() == from.ip().to_canonical());
        if socket == UdpSocket::Rtcp {
            if let Some(reception) = self.server.reception.as_mut().filter(|_| is_trusted) {
                reception.note_control(now, datagram);
                if rtcp::says_goodbye(datagram, self.server.source) {
                    self.note_goodbye(now);
                }
            }
            return;
        }
        let Some(media) = media(datagram) else {
            trace!(
                "RTSP: Dropped {}-byte datagram that is neither RTP nor MPEG-TS",
                datagram.len()
            );
            return;
        };
        if !self.server.sender.accept(from.ip(), is_trusted) {
            return;
        }
        let payload = payload(&media, datagram.len());
        if !payload.is_empty() {
            self.note_media(now, &media, self.kind(&media, datagram), actions);
        }
        if !self.announced {
            return;
        }
        actions.push(match media {
            Datagram::Rtp(rtp) => {
                if let Some(reception) = &mut self.server.reception {
                    reception.note_packet(now, &rtp);
                }
                Action::Packet(rtp)
            }
            _ => Action::Media(Slice {
                buffer: Buffer::Input,
                range: payload,
            }),
        });
    }

    pub(super) fn bytes<'a>(&'a self, input: &'a [u8], slice: &Slice) -> &'a [u8] {
        let buffer = match slice.buffer {
            Buffer::Input => input,
            Buffer::Joined => self.splitter.joined(),
        };
        buffer.get(slice.range.clone()).unwrap_or_default()
    }

    pub(super) fn receive_frame(
        &mut self,
        now: Instant,
        input: &[u8],
        frame: Slice,
        actions: &mut Vec<Action>,
    ) {
        let is_early = self.state == State::Asking(Step::Play)
            && matches!(self.server.choice, Some(Choice::Interleaved(_)));
        if !is_early && self.media_expected() != Some(MediaTransport::Interleaved) {
            return;
        }
        let bytes = self.bytes(input, &frame);
        let Some(media) = media(bytes) else {
            return trace!(
                "RTSP: Dropped {}-byte frame that is neither RTP nor MPEG-TS",
                bytes.len()
            );
        };
        let payload = payload(&media, bytes.len());
        if payload.is_empty() {
            return;
        }
        let kind = self.kind(&media, bytes);
        if is_early {
            let bytes = bytes.get(payload).unwrap_or_default().to_vec();
            return self.keep_early(&bytes, kind);
        }
        self.note_media(now, &media, kind, actions);
        if self.announced {
            actions.push(Action::Media(frame.part(payload)));
        }
    }

    /// Keeps media until PLAY is answered: only then is known what it is of, and whether it is wanted at all.
    fn keep_early(&mut self, bytes: &[u8], kind: Option<Payload>) {
        let server = &mut self.server;
        if server.early.len() + bytes.len() > EARLY_BYTES_MAX {
            debug!("RTSP: too much media before the answer to PLAY");
            server.early.clear();
        }
        if server.early.is_empty() {
            server.early_payload = kind;
        }
        server.early.extend_from_slice(bytes);
    }

    /// PLAY is answered: what came before is media.
    pub(super) fn release_early(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let early = mem::take(&mut self.server.early);
        if early.is_empty() {
            return;
        }
        self.timers.media = Some(now + STALL_WAIT);
        self.announce(now, self.server.early_payload, actions);
        if self.announced {
            actions.push(Action::Media(self.splitter.adopt(&early)));
        }
    }

    /// Takes a frame of the channel for RTCP.
    pub(super) fn receive_control(&mut self, now: Instant, input: &[u8], frame: &Slice) {
        if self.media_expected() == Some(MediaTransport::Interleaved)
            && rtcp::says_goodbye(self.bytes(input, frame), self.server.source)
        {
            self.note_goodbye(now);
        }
    }

    /// Servers leave the connection open at the end of a recording: this is how they tell.
    fn note_goodbye(&mut self, now: Instant) {
        debug!("RTSP: the sender says goodbye");
        self.server.said_goodbye = true;
        self.timers.media = Some(now + GOODBYE_WAIT);
    }

    /// Media has come: says so the first time, and puts off the end of patience.
    fn note_media(
        &mut self,
        now: Instant,
        media: &Datagram,
        kind: Option<Payload>,
        actions: &mut Vec<Action>,
    ) {
        let source = match media {
            Datagram::Rtp(rtp) => Some(rtp.ssrc),
            _ => None,
        };
        // Datagrams that were sent before the goodbye may be read behind it.
        self.server.said_goodbye &= source == self.server.source;
        self.server.source = source;
        let wait = if self.server.said_goodbye {
            GOODBYE_WAIT
        } else {
            STALL_WAIT
        };
        self.timers.media = Some(now + wait);
        self.announce(now, kind, actions);
    }

    /// Says, the first time, that media begins, and what is known of it. Fails if it is not MPEG-TS, and the
    /// description has said what else.
    fn announce(&mut self, now: Instant, kind: Option<Payload>, actions: &mut Vec<Action>) {
        if self.announced {
            return;
        }
        if let (None, Some(name)) = (kind, self.server.encoding) {
            return self.fail(now, Error::Encoding { name }, actions);
        }
        self.announced = true;
        let metadata = &mut self.server.metadata;
        metadata.payload = kind.or(metadata.payload.take());
        actions.push(Action::Playing(metadata.clone()));
    }

    /// What the first media of a session is, if it looks like MPEG-TS. Later it is of no interest.
    fn kind(&self, media: &Datagram, bytes: &[u8]) -> Option<Payload> {
        let payload = bytes.get(payload(media, bytes.len()))?;
        if self.announced || !mpegts::looks_like_ts(payload) {
            return None;
        }
        Some(match media {
            Datagram::Rtp(_) => Payload::Rtp,
            _ => Payload::Direct,
        })
    }

    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        let (local, peer) = self.ends?;
        Some(Endpoint {
            local,
            peer,
            rtp_port: match self.sockets {
                Sockets::Open { rtp_port, .. } => Some(rtp_port),
                _ => None,
            },
            mapped: match self.stun {
                Stun::Answered(mapped) => Some(mapped),
                _ => None,
            },
        })
    }

    pub(super) fn may_open_sockets(&self) -> bool {
        self.request.udp && self.sockets == Sockets::None
    }

    pub(super) fn open_sockets(&mut self, actions: &mut Vec<Action>) {
        let Some((local, _)) = self.ends else {
            return;
        };
        self.sockets = Sockets::Opening { local: local.ip() };
        let address = match local.ip() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let random = self.random();
        actions.push(Action::OpenSockets { address, random });
    }

    pub(super) fn close_sockets(&mut self, actions: &mut Vec<Action>) {
        if let Sockets::Open { .. } | Sockets::Opening { .. } = self.sockets {
            self.sockets = Sockets::None;
            actions.push(Action::CloseSockets);
        }
        self.timers.stun = None;
    }

    /// Opens the way for media through address translation, if the server's ports are known.
    pub(super) fn probe(&self, actions: &mut Vec<Action>) {
        let (Some(server), Some(endpoint)) = (self.server.udp(), self.endpoint()) else {
            return;
        };
        let peer = endpoint.address().map(|_| Host::from(endpoint.peer.ip()));
        let (Some((rtp, rtcp)), Some(host)) = (server.ports, server.source.clone().or(peer)) else {
            return;
        };
        debug!("RTSP: NAT probe to {host}, ports {rtp} and {rtcp}");
        for _ in 0..PROBE_ROUNDS {
            for (socket, port, bytes) in [
                (UdpSocket::Rtp, rtp, endpoint.rtp_probe()),
                (UdpSocket::Rtcp, rtcp, RTCP_PROBE.to_vec()),
            ] {
                let host = host.clone();
                actions.push(Action::SendDatagram {
                    socket,
                    host,
                    port,
                    bytes,
                });
            }
        }
    }

    pub(super) fn report(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (Some(server), Some((_, peer))) = (self.server.udp(), self.ends) else {
            return;
        };
        let host = server.source.clone().unwrap_or(Host::from(peer.ip()));
        let Some((_, port)) = server.ports else {
            return;
        };
        if let Some(bytes) = self
            .server
            .reception
            .as_mut()
            .and_then(|reception| reception.report(now))
        {
            actions.push(Action::SendDatagram {
                socket: UdpSocket::Rtcp,
                host,
                port,
                bytes,
            });
        }
    }

    pub(super) fn ask_stun(
        &mut self,
        now: Instant,
        transaction: Transaction,
        attempts: u8,
        actions: &mut Vec<Action>,
    ) {
        let Some((host, port)) = self.request.stun.clone() else {
            return;
        };
        self.stun = Stun::Asking {
            transaction,
            attempts,
        };
        self.timers.stun = Some(now + STUN_WAIT);
        actions.push(Action::SendDatagram {
            socket: UdpSocket::Rtp,
            host,
            port,
            bytes: stun::encode_request(transaction),
        });
    }

    pub(super) fn expire_stun(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.stun {
            Stun::Asking {
                transaction,
                attempts,
            } if attempts < STUN_ATTEMPTS => {
                self.ask_stun(now, transaction, attempts + 1, actions);
            }
            Stun::Asking { .. } => {
                warn!("STUN: Timeout after {STUN_ATTEMPTS} attempts");
                self.end_stun(now, Stun::Unknown, actions);
            }
            _ => {}
        }
    }

    fn receive_stun(
        &mut self,
        now: Instant,
        transaction: Transaction,
        datagram: &[u8],
        actions: &mut Vec<Action>,
    ) {
        match stun::decode_response(datagram, transaction) {
            Ok(mapped) => {
                debug!("STUN: the media port is seen as {mapped}");
                self.end_stun(now, Stun::Answered(mapped), actions);
            }
            // An answer to our request that is no use; another would be the same.
            Err(error @ (StunError::Type(_) | StunError::NoAddress)) => {
                debug!("STUN: {error}");
                self.end_stun(now, Stun::Unknown, actions);
            }
            Err(error) => debug!("STUN: {error}"),
        }
    }

    pub(super) fn end_stun(&mut self, now: Instant, outcome: Stun, actions: &mut Vec<Action>) {
        self.stun = outcome;
        self.timers.stun = None;
        if self.state == State::AwaitingStun {
            self.ask(now, Step::Describe, actions);
        }
    }
}

/// What may be media: RTP or bare MPEG-TS. Parity packets are dropped, for nothing here can use them.
fn media(bytes: &[u8]) -> Option<Datagram> {
    match rtp::classify(bytes) {
        Datagram::Rtp(rtp)
            if rtp::may_be_parity(rtp.payload_type) && rtp::is_fec_parity(bytes, &rtp) =>
        {
            None
        }
        media @ (Datagram::Rtp(_) | Datagram::Ts) => Some(media),
        Datagram::Malformed(_) | Datagram::Other => None,
    }
}

/// Where the payload of such a packet of `bytes` bytes is.
fn payload(media: &Datagram, bytes: usize) -> Range<usize> {
    match media {
        Datagram::Rtp(rtp) => rtp.payload.clone(),
        _ => 0..bytes,
    }
}
