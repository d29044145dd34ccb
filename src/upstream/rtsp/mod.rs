//! A session with an RTSP server: drives [`Session`], which knows the protocol, and owns its sockets.
//!
//! Media that comes over the control connection is never lost: while the client is full, that connection is not
//! read. Media in datagrams does not wait; it is put in order and brought as [`Outcome::Live`].
//!
//! The session outlives its client for as long as it takes to end it at the server, which is a few seconds at most.

mod backlog;
mod control;
mod datagrams;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use super::{Ending, Grant, Outcome, Upstream, UpstreamError, freeze};
use crate::config::Denied;
use crate::limits::{
    RTSP_BATCH_DATAGRAMS, RTSP_BATCHES_PER_TURN, RTSP_DATAGRAM_BYTES, UPSTREAM_BYTES_PER_TURN,
    UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_FAST,
};
use crate::net::{Edge, Io, Layout, SocketId};
use crate::pool::{PacketMut, Run};
use crate::proto::rtsp::{
    Action, Buffer, Error, MediaTransport, Request, Session, Slice, UdpSocket,
};
use crate::proto::url::Host;
use crate::sequencer::Sequencer;
use crate::shared::Shared;
use crate::tick::Received;
use backlog::Backlog;
use control::{Control, Report, Target};
use datagrams::{Datagram, Datagrams};

/// What the sockets of a session depend on, besides the session itself.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The network interface to go through.
    pub interface: Option<String>,
    /// The client sits on this host and may reach what others may not.
    pub is_local: bool,
    /// The STUN server that the operator has named.
    pub stun: Option<(Host, u16)>,
}

/// Why the connection could not be made, as it is told to the client.
enum Blame {
    Detail(String),
    Denied(Denied),
}

/// What the session has to be told of its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    /// The session has not begun.
    New,
    Present,
    /// It has gone, and the session does not know yet.
    Leaving,
    Gone,
}

/// A session with a server, for one client.
pub struct RtspUpstream {
    session: Session,
    circumstances: Circumstances,
    client: Client,
    control: Control,
    datagrams: Datagrams,
    sequencer: Sequencer,
    backlog: Backlog,
    blame: Option<Blame>,
    /// The last read filled its buffer.
    is_behind: bool,
    /// Some live media was brought.
    has_brought: bool,
    /// All sockets are given up.
    is_over: bool,
    /// What the session wants; scratch between calls.
    actions: Vec<Action>,
    /// Scratch.
    runs: Vec<Run>,
    /// Scratch for one batch of datagrams, once there are any.
    bodies: Vec<u8>,
}

impl RtspUpstream {
    /// Will do what `request` says; `seed` is to be random.
    pub fn new(request: Request, circumstances: Circumstances, seed: u64) -> Self {
        Self {
            session: Session::new(request, seed),
            circumstances,
            client: Client::New,
            control: Control::default(),
            datagrams: Datagrams::default(),
            sequencer: Sequencer::new(),
            backlog: Backlog::default(),
            blame: None,
            is_behind: false,
            has_brought: false,
            is_over: false,
            actions: Vec::new(),
            runs: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Media comes in datagrams.
    fn is_live(&self) -> bool {
        self.session.media_expected() == Some(MediaTransport::Udp)
    }

    fn begin_or_leave(&mut self, now: Instant) {
        match self.client {
            Client::New => {
                self.client = Client::Present;
                self.session.open(now, &mut self.actions);
            }
            Client::Leaving => {
                self.client = Client::Gone;
                self.backlog.clear();
                self.session.close(now, &mut self.actions);
            }
            Client::Present | Client::Gone => {}
        }
    }

    fn connect_further(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let Some(report) = self.control.advance(&self.circumstances, shared, outcomes) else {
            return;
        };
        let (now, actions) = (shared.now, &mut self.actions);
        match report {
            Report::Connected { local, peer } => {
                let interface = self.circumstances.interface.as_deref();
                log::info!(
                    "RTSP: Upstream interface {}, local endpoint {local}",
                    interface.unwrap_or("route-selected")
                );
                self.session.connected(now, local, peer, actions);
            }
            Report::Failed(error, detail) => {
                self.blame = Some(Blame::Detail(detail));
                self.session.connect_failed(now, error, actions);
            }
            Report::Denied(denied) => {
                self.blame = Some(Blame::Denied(denied));
                let error = crate::proto::rtsp::ConnectError::Refused;
                self.session.connect_failed(now, error, actions);
            }
        }
        self.carry_out(shared, outcomes);
    }

    /// Reads the control connection until it is empty, the room is used up, or the turn is over.
    fn receive(&mut self, grant: Grant, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if self.is_live() && self.control.can_read() {
            // What is said here may end the media: what arrived before that comes first.
            self.datagrams.hurry(shared.now);
            self.receive_datagrams(shared, outcomes);
        }
        let mut room = if self.is_live() {
            usize::MAX
        } else {
            grant.room
        };
        let mut budget = UPSTREAM_BYTES_PER_TURN;
        while room > 0 && budget > 0 {
            let brought = if !self.backlog.is_empty() {
                self.hand_on_backlog(shared, outcomes)
            } else if self.control.can_read() {
                let is_fast = grant.keeps_up && self.is_behind;
                self.read(room, is_fast, shared, outcomes)
            } else {
                None
            };
            let Some(brought) = brought else {
                return;
            };
            room = room.saturating_sub(brought.held);
            budget = budget.saturating_sub(brought.read);
        }
    }

    /// One read of at most `room` bytes; nothing when there is no more to be had now.
    fn read(
        &mut self,
        room: usize,
        is_fast: bool,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let small = UPSTREAM_READ_BYTES.min(shared.pool.buffer_bytes_max());
        if self.client == Client::Gone || self.is_live() {
            return self.read_answers(small.min(room), shared, outcomes);
        }
        // Room for what the session has kept: together with it, the media of this read finds place. Before PLAY is
        // answered hardly any of it is media, and an empty pool must hold no handshake up.
        let carried = self.session.carried_bytes();
        if carried > small / 2 || self.session.media_expected().is_none() {
            return self.read_aside(small.min(room), shared, outcomes);
        }
        let large = if is_fast {
            UPSTREAM_READ_BYTES_FAST.min(shared.pool.buffer_bytes_max())
        } else {
            small
        };
        let taken = [large, small]
            .into_iter()
            .find_map(|bytes| Some((bytes - carried, shared.pool.take_patient(bytes)?)));
        let Some((len, mut chunk)) = taken else {
            outcomes.push(Outcome::Starved);
            return None;
        };
        let len = len.min(room);
        let space = chunk.bytes_mut().get_mut(carried..carried + len)?;
        let result = self.control.read(space, shared);
        let count = self.note_read(result, len, shared, outcomes)?;
        let input = chunk.bytes().get(carried..carried + count)?;
        self.session.receive(shared.now, input, &mut self.actions);
        let filled = self.gather(&mut chunk, carried);
        self.announce(outcomes);
        let mut held = 0;
        if filled > 0 {
            let view = freeze(chunk, filled, &shared.pool);
            held = view.held_bytes();
            outcomes.push(Outcome::Body(view));
        }
        self.carry_out(shared, outcomes);
        Some(Brought { read: count, held })
    }

    /// As [`RtspUpstream::read`], in the middle of a frame that is large for a buffer, or before there is media: it goes
    /// to the backlog.
    fn read_aside(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let brought = self.read_scratch(len, shared, outcomes, Self::store)?;
        self.announce(outcomes);
        self.carry_out(shared, outcomes);
        Some(brought)
    }

    /// As [`RtspUpstream::read`], when nothing that is read can be media for the client.
    fn read_answers(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let brought = self.read_scratch(len, shared, outcomes, |this, _| {
            this.actions
                .retain(|action| !matches!(action, Action::Media(_)));
        });
        self.carry_out(shared, outcomes);
        brought
    }

    /// Reads without a buffer of the pool; `take_media` takes the media out of the actions, for which it is given
    /// the input.
    fn read_scratch(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
        take_media: impl FnOnce(&mut Self, &[u8]),
    ) -> Option<Brought> {
        let mut scratch = std::mem::take(&mut shared.scratch);
        scratch.resize(scratch.len().max(len), 0);
        let space = scratch.get_mut(..len).unwrap_or_default();
        let result = self.control.read(space, shared);
        let count = self.note_read(result, len, shared, outcomes);
        if let Some(input) = count.and_then(|count| scratch.get(..count)) {
            self.session.receive(shared.now, input, &mut self.actions);
            take_media(self, input);
        }
        shared.scratch = scratch;
        count.map(|read| Brought { read, held: 0 })
    }

    /// Puts the media of the last [`Session::receive`] into the backlog.
    fn store(&mut self, input: &[u8]) {
        let Self {
            session,
            actions,
            backlog,
            ..
        } = self;
        actions.retain(|action| {
            let Action::Media(Slice { buffer, range }) = action else {
                return true;
            };
            let bytes = match buffer {
                Buffer::Input => input,
                Buffer::Joined => session.joined(),
            };
            backlog.push(bytes.get(range.clone()).unwrap_or_default());
            false
        });
    }

    /// Brings a piece of the backlog.
    fn hand_on_backlog(
        &mut self,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let bytes_max = UPSTREAM_READ_BYTES.min(shared.pool.buffer_bytes_max());
        let piece = self.backlog.front(bytes_max);
        let Some(mut chunk) = shared.pool.take_patient(piece.len()) else {
            outcomes.push(Outcome::Starved);
            return None;
        };
        let count = piece.len();
        chunk.bytes_mut().get_mut(..count)?.copy_from_slice(piece);
        let view = chunk.freeze(count);
        let held = view.held_bytes();
        outcomes.push(Outcome::Body(view));
        outcomes.extend(self.backlog.advance(count));
        Some(Brought { read: count, held })
    }

    /// Acts on the end of the connection. Returns how many bytes were read, unless there are none.
    fn note_read(
        &mut self,
        result: io::Result<Io<usize>>,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<usize> {
        match result {
            Ok(Io::Done(0)) => self.end_of_input(false, shared, outcomes),
            Ok(Io::Done(count)) => {
                self.is_behind = count == len;
                return Some(count);
            }
            Ok(Io::Blocked) => {}
            Err(error) => {
                log::debug!("RTSP: reading failed: {error}");
                let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
                self.end_of_input(!is_end, shared, outcomes);
            }
        }
        None
    }

    /// The control connection has ended; what has arrived besides is brought first.
    fn end_of_input(&mut self, is_broken: bool, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let is_broken = is_broken || self.control.has_failed();
        self.datagrams.hurry(shared.now);
        self.receive_datagrams(shared, outcomes);
        self.lose_connection(is_broken, shared, outcomes);
    }

    fn lose_connection(
        &mut self,
        is_broken: bool,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) {
        self.control.close(outcomes);
        if is_broken {
            self.session.broken(shared.now, &mut self.actions);
        } else {
            self.session.finish(shared.now, &mut self.actions);
        }
        self.carry_out(shared, outcomes);
    }

    /// Moves the media of the last [`Session::receive`], whose input stands at `offset` of the chunk, together at
    /// its front. Returns how much that is.
    ///
    /// What is moved is never longer than what was consumed for it, so nothing is overwritten that is still needed.
    fn gather(&mut self, chunk: &mut PacketMut, offset: usize) -> usize {
        let Self {
            session, actions, ..
        } = self;
        let bytes = chunk.bytes_mut();
        let mut filled = 0;
        actions.retain(|action| {
            let Action::Media(Slice { buffer, range }) = action else {
                return true;
            };
            match buffer {
                Buffer::Input => {
                    bytes.copy_within(offset + range.start..offset + range.end, filled);
                }
                Buffer::Joined => {
                    let place = bytes.get_mut(filled..filled + range.len());
                    if let (Some(place), Some(media)) = (place, session.joined().get(range.clone()))
                    {
                        place.copy_from_slice(media);
                    }
                }
            }
            filled += range.len();
            false
        });
        filled
    }

    /// Media is about to be brought: what is known of it comes first.
    fn announce(&mut self, outcomes: &mut Vec<Outcome>) {
        self.actions.retain(|action| match action {
            Action::Playing(metadata) => {
                outcomes.push(Outcome::Stream(metadata.clone()));
                false
            }
            _ => true,
        });
    }

    /// Takes what waits in the pair, for a turn at most.
    fn receive_datagrams(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if !self.session.datagrams_wanted() {
            return;
        }
        for which in [UdpSocket::Rtp, UdpSocket::Rtcp] {
            let Some(socket) = self.datagrams.due(which, shared.now) else {
                continue;
            };
            let received = self.receive_from(which, socket, shared);
            self.sequencer.hand_on(&shared.pool, &mut self.runs);
            self.announce(outcomes);
            self.has_brought |= !self.runs.is_empty();
            self.bring_runs(outcomes);
            let noted = self
                .datagrams
                .note_received(which, received, !self.has_brought, shared);
            if let Err(error) = noted {
                log::warn!("RTSP: no more datagrams can be received: {error}");
                self.lose_connection(true, shared, outcomes);
            }
        }
        self.carry_out(shared, outcomes);
    }

    /// Gives the session what waits in one socket of the pair, and puts the media among it in order.
    fn receive_from(
        &mut self,
        which: UdpSocket,
        socket: SocketId,
        shared: &mut Shared,
    ) -> Received {
        let mut batch = shared.take_batch();
        let mut bodies = std::mem::take(&mut self.bodies);
        bodies.resize(RTSP_BATCH_DATAGRAMS * RTSP_DATAGRAM_BYTES, 0);
        let mut whole = std::mem::take(&mut shared.scratch);
        let layout = Layout {
            aside: 0,
            body: RTSP_DATAGRAM_BYTES,
        };
        let mut received = Received::default();
        for _ in 0..RTSP_BATCHES_PER_TURN {
            let result = shared
                .net
                .receive_from(socket, &mut batch, &mut bodies, layout);
            let count = match result {
                Ok(Io::Done(count)) => count,
                Ok(Io::Blocked) => 0,
                Err(error) => {
                    log::debug!("RTSP: receiving datagrams failed: {error}");
                    0
                }
            };
            for index in 0..count {
                let datagram = batch.datagram(index, &bodies);
                received.bytes += datagram.len();
                let Some(from) = batch.sender(index) else {
                    continue;
                };
                datagram.gather(&mut whole);
                self.session
                    .datagram(shared.now, which, from, &whole, &mut self.actions);
                self.sequence(&whole, shared);
            }
            received.datagrams += count;
            received.drained = count < RTSP_BATCH_DATAGRAMS;
            if received.drained {
                break;
            }
        }
        shared.return_batch(batch);
        shared.scratch = whole;
        self.bodies = bodies;
        received
    }

    /// Puts the media of the last datagram in order.
    fn sequence(&mut self, datagram: &[u8], shared: &mut Shared) {
        let sequencer = &mut self.sequencer;
        self.actions.retain(|action| match action {
            Action::Packet(rtp) => {
                let payload = datagram.get(rtp.payload.clone()).unwrap_or_default();
                sequencer.insert(rtp, payload, shared);
                false
            }
            Action::Media(slice) => {
                let payload = datagram.get(slice.range.clone()).unwrap_or_default();
                sequencer.append(payload, shared);
                false
            }
            _ => true,
        });
    }

    fn bring_runs(&mut self, outcomes: &mut Vec<Outcome>) {
        if self.client == Client::Present {
            outcomes.extend(self.runs.drain(..).map(Outcome::Live));
        }
        self.runs.clear();
    }

    fn expire(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        self.sequencer.expire(shared, &mut self.runs);
        self.bring_runs(outcomes);
        let deadline = self.session.deadline();
        if deadline.is_some_and(|deadline| deadline <= shared.now) {
            self.session.expire(shared.now, &mut self.actions);
            self.carry_out(shared, outcomes);
        }
    }

    fn send(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if !self.control.flush(shared) {
            self.end_of_input(true, shared, outcomes);
        }
    }

    /// Does what the session wants, in order; what follows from it comes behind.
    fn carry_out(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let mut wanted = VecDeque::from(std::mem::take(&mut self.actions));
        while let Some(action) = wanted.pop_front() {
            self.carry_out_one(action, shared, outcomes);
            wanted.extend(self.actions.drain(..));
        }
        self.actions = wanted.into();
    }

    fn carry_out_one(&mut self, action: Action, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        match action {
            Action::Connect { host, port, tls } => {
                self.control.flush(shared);
                self.control.connect(Target { host, port, tls }, outcomes);
            }
            Action::Send(bytes) => self.control.push(&bytes),
            Action::OpenSockets { address, random } => {
                let circumstances = &self.circumstances;
                let port = self
                    .datagrams
                    .open(address, random, circumstances, shared, outcomes);
                self.session
                    .sockets_opened(shared.now, port, &mut self.actions);
            }
            Action::CloseSockets => self.datagrams.close(outcomes),
            Action::SendDatagram {
                socket,
                host,
                port,
                bytes,
            } => {
                let datagram = Datagram {
                    socket,
                    host,
                    port,
                    bytes,
                };
                let circumstances = &self.circumstances;
                if !self
                    .datagrams
                    .send(datagram, circumstances, shared, outcomes)
                {
                    // Does nothing unless the session waits for a STUN server.
                    self.session.stun_failed(shared.now, &mut self.actions);
                }
            }
            Action::Playing(metadata) => outcomes.push(Outcome::Stream(metadata)),
            Action::Media(_) | Action::Packet(_) => {
                debug_assert!(false, "media is taken where it was received");
            }
            Action::Described(metadata) => {
                outcomes.push(Outcome::End(Ending::Described(metadata)));
            }
            Action::Duration(duration) => outcomes.push(Outcome::End(Ending::Lasts(duration))),
            Action::End => {
                self.sequencer.finish(&shared.pool, &mut self.runs);
                self.bring_runs(outcomes);
                outcomes.extend(self.backlog.conclude(Outcome::End(Ending::Whole)));
            }
            Action::Failed(error) => {
                let error = self.explain(error);
                outcomes.extend(self.backlog.conclude(Outcome::Failed(error)));
            }
            Action::Done => {
                self.control.flush(shared);
                self.give_up(outcomes);
            }
        }
    }

    fn explain(&mut self, error: Error) -> UpstreamError {
        let blame = self.blame.take();
        match (error, blame) {
            (Error::Connect(_), Some(Blame::Denied(denied))) => UpstreamError::Denied(denied),
            (Error::Connect(_), Some(Blame::Detail(detail))) => UpstreamError::Rtsp {
                error,
                detail: Some(detail),
            },
            _ => UpstreamError::Rtsp {
                error,
                detail: None,
            },
        }
    }

    fn give_up(&mut self, outcomes: &mut Vec<Outcome>) {
        self.control.close(outcomes);
        self.datagrams.close(outcomes);
        self.is_over = true;
    }
}

/// What one read has brought.
struct Brought {
    /// Bytes read.
    read: usize,
    /// Bytes that the client's queue will hold for it.
    held: usize,
}

impl Upstream for RtspUpstream {
    fn visit_sockets(&self, visit: &mut dyn FnMut(SocketId)) {
        let control = self.control.sockets().into_iter();
        control.chain(self.datagrams.sockets()).for_each(visit);
    }

    fn note(&mut self, socket: SocketId, edge: Edge) {
        self.control.note(socket, edge);
        self.datagrams.note(socket, edge);
    }

    fn state_number(&self) -> u8 {
        self.session.state_number()
    }

    fn transport(&self) -> &'static str {
        match self.session.media_expected() {
            Some(MediaTransport::Interleaved) => "interleaved",
            Some(MediaTransport::Udp) => "udp",
            None => "tcp",
        }
    }

    fn runnable(&self, may_read: bool) -> bool {
        let has_backlog = may_read && !self.backlog.is_empty();
        has_backlog
            || !self.is_over
                && (matches!(self.client, Client::New | Client::Leaving)
                    || self.control.runnable(may_read)
                    || self.datagrams.has_news()
                    || (self.session.datagrams_wanted() && self.datagrams.can_read()))
    }

    fn deadline(&self, _paused: bool, _shared: &Shared) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let deadlines = [
            self.session.deadline(),
            self.control.deadline(),
            self.sequencer.deadline(),
            self.datagrams
                .deadline()
                .filter(|_| self.session.datagrams_wanted()),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        self.is_over && self.backlog.is_empty()
    }

    fn run(&mut self, grant: Option<Grant>, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if self.is_closed() {
            return;
        }
        self.begin_or_leave(shared.now);
        self.carry_out(shared, outcomes);
        self.connect_further(shared, outcomes);
        if self.datagrams.has_news()
            && !self
                .datagrams
                .send_waiting(&self.circumstances, shared, outcomes)
        {
            self.session.stun_failed(shared.now, &mut self.actions);
            self.carry_out(shared, outcomes);
        }
        if let Some(grant) = grant {
            self.receive(grant, shared, outcomes);
        }
        self.receive_datagrams(shared, outcomes);
        self.expire(shared, outcomes);
        self.send(shared, outcomes);
    }

    fn close(&mut self) -> Vec<SocketId> {
        let sockets = self.sockets();
        self.control = Control::default();
        self.datagrams = Datagrams::default();
        self.backlog.clear();
        self.is_over = true;
        sockets
    }

    fn leave(&mut self) -> bool {
        self.client = match self.client {
            Client::Present => Client::Leaving,
            state => state,
        };
        self.backlog.clear();
        // What never began needs no end.
        !self.is_over && self.client != Client::New
    }

    fn is_finite(&self) -> bool {
        false
    }

    fn is_patient(&self) -> bool {
        !self.is_live()
    }

    fn pause(&mut self, now: Instant) {
        self.session.set_paused(now, true);
    }

    fn resume(&mut self, now: Instant) {
        self.session.set_paused(now, false);
    }

    fn resolved(&mut self, name: &str, result: Result<&[IpAddr], &str>) {
        self.control.resolved(name, result);
        self.datagrams.resolved(name, result);
    }
}
