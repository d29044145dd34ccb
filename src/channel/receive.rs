//! From datagrams to ordered runs of payload.
//!
//! Datagrams of the shape seen last land in the buffer as one contiguous run ([`Layout`]): their RTP headers
//! are read where they were put aside, and nothing is copied or moved. A batch in which anything is different
//! (another length, CSRCs, an extension, a hole, a duplicate, bare TS among RTP) is sorted packet by packet.

use std::io;
use std::time::Instant;

use crate::limits::{BUFFER_BYTES_MIN, CHANNEL_BUFFERS_PER_TURN, HOLE_WAIT, START_WAIT};
use crate::net::{Batch, Io, Layout, SocketId};
use crate::pool::{Packet, PacketMut, Pool, Run};
use crate::proto::mpegts;
use crate::proto::reorder::{self, Window};
use crate::proto::rtp::{self, Datagram};
use crate::shared::Shared;
use crate::sys::udp::BATCH_MAX;

/// How media arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// MPEG-TS in RTP.
    TsInRtp,
    /// Bare MPEG-TS in UDP.
    Ts,
}

/// What became of the datagrams of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received, of any kind.
    pub datagrams: u64,
    /// Payload bytes handed on.
    pub bytes: u64,
    /// RTP packets as the reorder window saw them.
    pub rtp: reorder::Counters,
    /// RTP packets that claim more than they contain.
    pub malformed: u64,
    /// Datagrams that are neither RTP nor MPEG-TS.
    pub foreign: u64,
    /// Parity packets on the media port.
    pub parity: u64,
    /// Datagrams for which the pool had no buffer.
    pub overrun: u64,
}

/// What one turn has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Datagrams, of any kind.
    pub datagrams: usize,
    /// Their payload, whatever became of it.
    pub bytes: usize,
    /// The socket is empty.
    pub drained: bool,
}

/// The shape of the first datagrams expected: seven TS packets in RTP.
const FIRST_LAYOUT: Layout = Layout {
    aside: rtp::HEADER_BYTES,
    body: 7 * mpegts::PACKET_BYTES,
};

/// Receives one group.
pub struct Receiver {
    window: Window<Packet>,
    layout: Layout,
    /// Bytes one turn is expected to bring; sizes the buffer.
    expected_bytes: usize,
    payload_kind: Option<PayloadKind>,
    counters: Counters,
    /// Packets that have become deliverable; scratch.
    ready: Vec<Packet>,
}

impl Receiver {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self {
            window: Window::new(reorder::WINDOW, HOLE_WAIT, START_WAIT),
            layout: FIRST_LAYOUT,
            expected_bytes: 4 * BUFFER_BYTES_MIN,
            payload_kind: None,
            counters: Counters::default(),
            ready: Vec::new(),
        }
    }

    /// What became of the datagrams.
    pub fn counters(&self) -> Counters {
        Counters {
            rtp: self.window.counters(),
            ..self.counters
        }
    }

    /// How the media arrives, once some was recognised.
    pub fn payload_kind(&self) -> Option<PayloadKind> {
        self.payload_kind
    }

    /// When packets that wait for a missing one will have waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.window.deadline()
    }

    /// Bytes of the buffer the next turn starts with.
    pub fn buffer_bytes(&self, pool: &Pool) -> usize {
        self.expected_bytes
            .clamp(BUFFER_BYTES_MIN, pool.buffer_bytes_max())
            .max(self.layout.body)
    }

    /// Receives until the socket is empty or the turn's buffers are full.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn receive(
        &mut self,
        socket: SocketId,
        shared: &mut Shared,
        runs: &mut Vec<Run>,
    ) -> io::Result<Received> {
        let mut batch = shared.take_batch();
        let mut received = Received {
            datagrams: 0,
            bytes: 0,
            drained: false,
        };
        let mut result = Ok(());
        for _ in 0..CHANNEL_BUFFERS_PER_TURN {
            result = match shared.pool.take(self.buffer_bytes(&shared.pool)) {
                Some(buffer) => self.fill(buffer, socket, &mut batch, shared, runs, &mut received),
                None => self.overrun(socket, &mut batch, shared, &mut received),
            };
            if result.is_err() || received.drained {
                break;
            }
        }
        shared.return_batch(batch);
        // Smoothed over a few turns. One that brings more takes a second buffer; to provide for that would often
        // double the first, since sizes are powers of two.
        self.expected_bytes = (3 * self.expected_bytes + received.bytes) / 4;
        result.map(|()| received)
    }

    /// Delivers what has been held back for too long.
    pub fn expire(&mut self, shared: &mut Shared, runs: &mut Vec<Run>) {
        if self
            .window
            .deadline()
            .is_some_and(|deadline| deadline <= shared.now)
        {
            self.window.expire(shared.now, &mut self.ready);
            self.hand_on_ready(&shared.pool, runs);
        }
    }

    /// Fills one buffer with batches of the expected shape; a batch of another shape ends it.
    fn fill(
        &mut self,
        mut buffer: PacketMut,
        socket: SocketId,
        batch: &mut Batch,
        shared: &mut Shared,
        runs: &mut Vec<Run>,
        received: &mut Received,
    ) -> io::Result<()> {
        let mut filled = 0;
        let mut packets = 0;
        let mut sorted = Vec::new();
        while !received.drained && sorted.is_empty() {
            let layout = self.layout;
            let space = &mut buffer.bytes_mut()[filled..];
            let wanted = (space.len() / layout.body).min(BATCH_MAX);
            if wanted == 0 {
                break;
            }
            let Io::Done(count) = shared.net.receive(socket, batch, space, layout)? else {
                received.drained = true;
                break;
            };
            // A batch that is not full has emptied the socket; asking again would cost a call per tick.
            received.drained = count < wanted;
            received.datagrams += count;
            self.counters.datagrams += count as u64;
            let bodies = &buffer.bytes()[filled..];
            if self.is_as_expected(batch, bodies) {
                filled += count * layout.body;
                packets += count as u32;
                received.bytes += count * layout.body;
            } else {
                received.bytes += self.sort(batch, bodies, shared, &mut sorted);
                // Its bodies lie behind the run, and what follows must come after both.
                break;
            }
        }
        if packets > 0 {
            self.counters.bytes += filled as u64;
            runs.push(Run {
                view: buffer.freeze(filled),
                packets,
            });
        }
        runs.append(&mut sorted);
        Ok(())
    }

    /// Whether the whole batch has the expected shape and continues the stream without a hole; if so it is
    /// accounted for.
    fn is_as_expected(&mut self, batch: &Batch, bodies: &[u8]) -> bool {
        let Layout { aside, body } = self.layout;
        let count = batch.len();
        if count == 0 || (0..count).any(|index| batch.datagram_len(index) != aside + body) {
            return false;
        }
        let Some(first_body) = bodies.get(..body) else {
            return false;
        };
        if aside == 0 {
            // Bare TS; an RTP header cannot look like it.
            let all_ts = bodies
                .chunks_exact(body)
                .take(count)
                .all(mpegts::looks_like_ts);
            if all_ts {
                self.learn_kind(first_body, PayloadKind::Ts);
            }
            return all_ts;
        }
        let Some((first, ssrc, _)) = batch.full_aside(0).and_then(rtp::plain_header) else {
            return false;
        };
        let in_order = (0..count).all(|offset| {
            batch
                .full_aside(offset)
                .and_then(rtp::plain_header)
                .is_some_and(|(sequence, its_ssrc, payload_type)| {
                    sequence == first.wrapping_add(offset as u16)
                        && its_ssrc == ssrc
                        && !rtp::may_be_parity(payload_type)
                })
        });
        let accepted = in_order && self.window.accept_run(ssrc, first, count as u16);
        if accepted {
            self.learn_kind(first_body, PayloadKind::TsInRtp);
        }
        accepted
    }

    /// Takes a batch packet by packet. Returns the bytes it had.
    fn sort(
        &mut self,
        batch: &Batch,
        bodies: &[u8],
        shared: &mut Shared,
        runs: &mut Vec<Run>,
    ) -> usize {
        let mut gathered = std::mem::take(&mut shared.scratch);
        let mut bytes = 0;
        for index in 0..batch.len() {
            batch.datagram(index, bodies).gather(&mut gathered);
            bytes += gathered.len();
            self.sort_one(&gathered, shared);
        }
        shared.scratch = gathered;
        self.hand_on_ready(&shared.pool, runs);
        bytes
    }

    fn sort_one(&mut self, datagram: &[u8], shared: &mut Shared) {
        match rtp::classify(datagram) {
            Datagram::Rtp(rtp) if rtp::is_fec_parity(datagram, &rtp) => self.counters.parity += 1,
            Datagram::Rtp(rtp) => {
                let payload = datagram.get(rtp.payload.clone()).unwrap_or_default();
                self.learn_kind(payload, PayloadKind::TsInRtp);
                if !payload.is_empty() && datagram.len() == rtp::HEADER_BYTES + payload.len() {
                    self.layout = Layout {
                        aside: rtp::HEADER_BYTES,
                        body: payload.len(),
                    };
                }
                match copy(payload, &shared.pool) {
                    Some(packet) => {
                        self.window.insert(
                            shared.now,
                            rtp.ssrc,
                            rtp.sequence,
                            packet,
                            &mut self.ready,
                        );
                    }
                    None => self.note_overrun(1, shared),
                }
            }
            Datagram::Ts => {
                self.learn_kind(datagram, PayloadKind::Ts);
                self.layout = Layout {
                    aside: 0,
                    body: datagram.len(),
                };
                // Bare TS has no sequence: it goes on in the order of arrival.
                match copy(datagram, &shared.pool) {
                    Some(packet) => self.ready.push(packet),
                    None => self.note_overrun(1, shared),
                }
            }
            Datagram::Malformed(error) => {
                self.counters.malformed += 1;
                log::debug!("Dropped {}-byte datagram: {error}", datagram.len());
            }
            Datagram::Other => {
                self.counters.foreign += 1;
                log::debug!(
                    "Dropped {}-byte datagram that is neither RTP nor MPEG-TS",
                    datagram.len()
                );
            }
        }
    }

    fn learn_kind(&mut self, payload: &[u8], kind: PayloadKind) {
        if self.payload_kind.is_none() && mpegts::looks_like_ts(payload) {
            self.payload_kind = Some(kind);
        }
    }

    /// Hands on what is deliverable, as one run where the pool has a buffer for it.
    fn hand_on_ready(&mut self, pool: &Pool, runs: &mut Vec<Run>) {
        self.ready.retain(|packet| !packet.is_empty());
        let bytes: usize = self.ready.iter().map(Packet::len).sum();
        self.counters.bytes += bytes as u64;
        if let [_, _, ..] = self.ready[..]
            && let Some(mut joined) = pool.take(bytes)
        {
            let mut rest = joined.bytes_mut();
            for part in self.ready.iter().filter_map(Packet::bytes) {
                let (front, back) = rest.split_at_mut(part.len());
                front.copy_from_slice(part);
                rest = back;
            }
            runs.push(Run {
                view: joined.freeze(bytes),
                packets: self.ready.len() as u32,
            });
            self.ready.clear();
        }
        runs.extend(self.ready.drain(..).map(|view| Run { view, packets: 1 }));
    }

    /// Without a buffer the datagrams are read and lost: left in the socket they would only come late.
    fn overrun(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        shared: &mut Shared,
        received: &mut Received,
    ) -> io::Result<()> {
        let mut nowhere = [0; BATCH_MAX];
        match shared
            .net
            .receive(socket, batch, &mut nowhere, Layout { aside: 0, body: 1 })?
        {
            Io::Blocked => received.drained = true,
            Io::Done(count) => {
                received.drained = count < BATCH_MAX;
                received.datagrams += count;
                received.bytes += (0..count)
                    .map(|index| batch.datagram_len(index))
                    .sum::<usize>();
                self.counters.datagrams += count as u64;
                self.note_overrun(count as u64, shared);
            }
        }
        Ok(())
    }

    fn note_overrun(&mut self, packets: u64, shared: &mut Shared) {
        self.counters.overrun += packets;
        shared.stats.packets_overrun += packets;
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(payload: &[u8], pool: &Pool) -> Option<Packet> {
    let mut packet = pool.take(payload.len())?;
    packet.bytes_mut()[..payload.len()].copy_from_slice(payload);
    Some(packet.freeze(payload.len()))
}
