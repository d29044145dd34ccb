//! From datagrams to ordered runs of payload.
//!
//! Datagrams of the shape seen last land in the buffer as one contiguous run ([`Layout`]): their RTP headers
//! are read where they were put aside, and nothing is copied or moved. A batch in which anything is different
//! (another length, CSRCs, an extension, a hole, a duplicate, bare TS among RTP) is sorted packet by packet.

use std::io;
use std::time::Instant;

use crate::limits::{BUFFER_BYTES_MIN, CHANNEL_BUFFERS_PER_TURN, WARM_BYTES_MAX};
use crate::net::{Batch, Io, Layout, SocketId};
use crate::pool::{PacketMut, Pool, Run};
use crate::proto::grid::Grid;
use crate::proto::mpegts;
use crate::proto::reorder;
use crate::proto::rtp::{self, Datagram};
use crate::sequencer::Sequencer;
use crate::shared::Shared;
use crate::sys::udp::BATCH_MAX;
use crate::tick::Received;

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

/// The shape of the first datagrams expected: seven TS packets in RTP.
const FIRST_LAYOUT: Layout = Layout {
    aside: rtp::HEADER_BYTES,
    body: 7 * mpegts::PACKET_BYTES,
};

/// Receives one group.
pub struct Receiver {
    sequencer: Sequencer,
    /// Where bare TS was cut.
    grid: Grid,
    /// The media is bare TS in datagrams that begin inside a packet, which may look like anything.
    is_cut: bool,
    layout: Layout,
    /// Bytes one turn is expected to bring; sizes the buffer.
    expected_bytes: usize,
    /// Many subscribers share each run.
    is_wide: bool,
    payload_kind: Option<PayloadKind>,
    counters: Counters,
}

impl Receiver {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self {
            sequencer: Sequencer::new(),
            grid: Grid::default(),
            is_cut: false,
            layout: FIRST_LAYOUT,
            expected_bytes: 4 * BUFFER_BYTES_MIN,
            is_wide: false,
            payload_kind: None,
            counters: Counters::default(),
        }
    }

    /// Notes whether many subscribers share each run.
    pub fn note_audience(&mut self, is_wide: bool) {
        self.is_wide = is_wide;
    }

    /// What became of the datagrams.
    pub fn counters(&self) -> Counters {
        Counters {
            rtp: self.sequencer.counters(),
            bytes: self.counters.bytes + self.sequencer.bytes(),
            overrun: self.sequencer.overrun(),
            ..self.counters
        }
    }

    /// How the media arrives, once some was recognised.
    pub fn payload_kind(&self) -> Option<PayloadKind> {
        self.payload_kind
    }

    /// When packets that wait for a missing one will have waited long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.sequencer.deadline()
    }

    /// Bytes of the buffer the next turn starts with.
    pub fn buffer_bytes(&self, pool: &Pool) -> usize {
        debug_assert!(self.layout.body <= pool.buffer_bytes_max());
        // A run in two pieces costs every client of a large audience a second write; a few pages do not matter.
        let headroom = if self.is_wide {
            self.expected_bytes / 2
        } else {
            0
        };
        let most = pool.buffer_bytes_max().min(WARM_BYTES_MAX);
        (self.expected_bytes + headroom)
            .clamp(BUFFER_BYTES_MIN, most)
            .max(self.layout.body)
    }

    /// Bytes that must be free for the next turn: for that buffer, and at the least for the smallest one that will do and
    /// a packet copied out of it. Without room for copies nothing could be put in order any more, and what is not in order
    /// is all that would follow.
    pub fn wanted_bytes(&self, pool: &Pool) -> usize {
        self.buffer_bytes(pool)
            .max(2 * Pool::charge(self.layout.body))
    }

    /// Receives until the socket is empty or the turn has brought enough.
    ///
    /// When much has gathered during a delay, it is not read all at once: it would go to one client after the other
    /// cold, and that would take so long that still more had gathered.
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
        let mut received = Received::default();
        let mut result = Ok(());
        for _ in 0..CHANNEL_BUFFERS_PER_TURN {
            if received.bytes >= WARM_BYTES_MAX {
                break;
            }
            result = match self.take_buffer(&shared.pool) {
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

    /// A buffer for the rest of the turn; a smaller one where the pool has no room for it and a copied packet.
    fn take_buffer(&self, pool: &Pool) -> Option<PacketMut> {
        let least = self.layout.body.max(BUFFER_BYTES_MIN);
        let room = pool.live_room();
        let copy = Pool::charge(self.layout.body);
        let mut bytes = self.buffer_bytes(pool);
        while bytes > least && Pool::charge(bytes) + copy > room {
            bytes = (bytes / 2).max(least);
        }
        pool.take(bytes)
    }

    /// Delivers what has been held back for too long.
    pub fn expire(&mut self, shared: &mut Shared, runs: &mut Vec<Run>) {
        self.sequencer.expire(shared, runs);
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
        // No more at once than could be copied.
        let copies = (shared.pool.live_room() / Pool::charge(self.layout.body)).max(1);
        while !received.drained && sorted.is_empty() {
            let layout = self.layout;
            let space = &mut buffer.bytes_mut()[filled..];
            let wanted = (space.len() / layout.body).min(BATCH_MAX).min(copies);
            if wanted == 0 {
                break;
            }
            let space = &mut space[..wanted * layout.body];
            let Io::Done(count) = shared.net.receive(socket, batch, space, layout)? else {
                received.drained = true;
                break;
            };
            // A batch that is not full has emptied the socket; asking again would cost a call per tick.
            received.drained = count < wanted;
            received.datagrams += count;
            self.counters.datagrams += count as u64;
            let bodies = &buffer.bytes()[filled..];
            if self.is_as_expected(batch, bodies, shared.now) {
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
                start: None,
            });
        }
        runs.append(&mut sorted);
        Ok(())
    }

    /// Whether the whole batch has the expected shape and continues the stream without a hole; if so it is
    /// accounted for.
    fn is_as_expected(&mut self, batch: &Batch, bodies: &[u8], now: Instant) -> bool {
        let Layout { aside, body } = self.layout;
        let count = batch.len();
        if count == 0 || self.grid.is_cut() {
            return false;
        }
        if (0..count).any(|index| batch.datagram_len(index) != aside + body) {
            return false;
        }
        let Some(first_body) = bodies.get(..body) else {
            return false;
        };
        if aside == 0 {
            // Bare TS; an RTP header cannot look like it.
            let all_ts = body % mpegts::PACKET_BYTES == 0
                && bodies
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
        let accepted = in_order && self.sequencer.accept_run(now, ssrc, first, count as u16);
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
        let mut joined = Vec::new();
        let mut bytes = 0;
        for index in 0..batch.len() {
            batch.datagram(index, bodies).gather(&mut gathered);
            bytes += gathered.len();
            match self.grid.go_on(&gathered, &mut joined) {
                Some(packets) => {
                    self.is_cut = true;
                    self.sequencer.append(packets, shared);
                }
                None => self.sort_one(&gathered, shared),
            }
        }
        shared.scratch = gathered;
        self.sequencer.hand_on(&shared.pool, runs);
        bytes
    }

    fn sort_one(&mut self, datagram: &[u8], shared: &mut Shared) {
        let kind = rtp::classify(datagram);
        if self.may_be_cut(datagram, &kind) {
            if let Some(packets) = self.grid.find(datagram) {
                self.is_cut = true;
                self.learn_kind(packets, PayloadKind::Ts);
                return self.sequencer.append(packets, shared);
            }
            if self.is_cut {
                return self.drop_foreign(datagram);
            }
        }
        match kind {
            Datagram::Rtp(rtp) if rtp::is_fec_parity(datagram, &rtp) => self.counters.parity += 1,
            Datagram::Rtp(rtp) => {
                let payload = datagram.get(rtp.payload.clone()).unwrap_or_default();
                self.is_cut = false;
                self.learn_kind(payload, PayloadKind::TsInRtp);
                if datagram.len() == rtp::HEADER_BYTES + payload.len() {
                    self.expect(rtp::HEADER_BYTES, payload.len(), &shared.pool);
                }
                self.sequencer.insert(&rtp, payload, shared);
            }
            Datagram::Ts => {
                self.learn_kind(datagram, PayloadKind::Ts);
                self.expect(0, datagram.len(), &shared.pool);
                self.sequencer.append(self.grid.begin(datagram), shared);
            }
            Datagram::Malformed(error) => {
                self.counters.malformed += 1;
                log::debug!("Dropped {}-byte datagram: {error}", datagram.len());
            }
            Datagram::Other => self.drop_foreign(datagram),
        }
    }

    fn drop_foreign(&mut self, datagram: &[u8]) {
        self.counters.foreign += 1;
        log::debug!(
            "Dropped {}-byte datagram that is neither RTP nor MPEG-TS",
            datagram.len()
        );
    }

    /// Whether a datagram may be bare TS that begins inside a packet. By its first bits that may look like RTP. It does
    /// not where the media is bare and the payload is not as that of RTP, nor where nothing is known of the media yet and
    /// the header is an odd one: it has CSRCs, or a payload type that MPEG-TS never has (RFC 3551 §6).
    fn may_be_cut(&self, datagram: &[u8], kind: &Datagram) -> bool {
        match kind {
            Datagram::Other | Datagram::Malformed(_) => true,
            Datagram::Rtp(rtp) => {
                let payload = datagram.get(rtp.payload.clone()).unwrap_or_default();
                let is_ts = mpegts::looks_like_ts(payload);
                let is_whole = is_ts && payload.len() % mpegts::PACKET_BYTES == 0;
                let has_csrcs = datagram.first().is_some_and(|flags| flags & 0x0f != 0);
                let is_odd = has_csrcs || !matches!(rtp.payload_type, 33 | 96..);
                match self.payload_kind {
                    _ if self.is_cut => !is_whole,
                    Some(PayloadKind::Ts) => !is_ts,
                    Some(PayloadKind::TsInRtp) => false,
                    None => !is_ts && is_odd,
                }
            }
            Datagram::Ts => false,
        }
    }

    /// Expects further datagrams of this shape, unless one would not fit the largest buffer worth asking for:
    /// such a datagram is taken out of the overflow area instead.
    fn expect(&mut self, aside: usize, body: usize, pool: &Pool) {
        if (1..=pool.buffer_bytes_max()).contains(&body) {
            self.layout = Layout { aside, body };
        }
    }

    fn learn_kind(&mut self, payload: &[u8], kind: PayloadKind) {
        if self.payload_kind.is_none() && mpegts::looks_like_ts(payload) {
            self.payload_kind = Some(kind);
        }
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
                self.sequencer.note_overrun(count as u64, shared);
            }
        }
        Ok(())
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
