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

    /// A buffer for the rest of the turn; a smaller one where the pool has no such room left.
    fn take_buffer(&self, pool: &Pool) -> Option<PacketMut> {
        let least = self.layout.body.max(BUFFER_BYTES_MIN);
        let mut bytes = self.buffer_bytes(pool);
        while bytes > least && !pool.has_room(bytes) {
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
mod tests {
    use super::*;
    use crate::limits::HOLE_WAIT;
    use crate::sim::Bench;

    fn ts(number: u8, packets: usize) -> Vec<u8> {
        let mut packet = [number; mpegts::PACKET_BYTES];
        packet[0] = mpegts::SYNC;
        packet.repeat(packets)
    }

    fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        [&[0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 7], payload].concat()
    }

    /// Receives all that was sent; returns the payload handed on and how many datagrams the runs count.
    fn receive(receiver: &mut Receiver, bench: &mut Bench) -> (Vec<u8>, u32) {
        let mut runs = Vec::new();
        receiver
            .receive(bench.socket, &mut bench.shared, &mut runs)
            .expect("received");
        receiver.expire(&mut bench.shared, &mut runs);
        let bytes = runs
            .iter()
            .flat_map(|run| run.view.bytes().expect("in memory").to_vec());
        (bytes.collect(), runs.iter().map(|run| run.packets).sum())
    }

    /// A receiver past the collection at its start, so that packet 8 is next.
    fn running(bench: &mut Bench) -> Receiver {
        let mut receiver = Receiver::new();
        for sequence in 0..8 {
            bench.send(&rtp(sequence, &ts(0, 7)));
        }
        assert_eq!(receive(&mut receiver, bench).1, 8);
        receiver
    }

    #[test]
    fn one_run_carries_a_batch_of_the_expected_shape() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        for sequence in 8..12 {
            bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
        }
        let mut runs = Vec::new();
        receiver
            .receive(bench.socket, &mut bench.shared, &mut runs)
            .expect("received");
        assert_eq!((runs.len(), runs[0].packets), (1, 4));
        let expected: Vec<u8> = (8..12).flat_map(|number| ts(number, 7)).collect();
        assert_eq!(runs[0].view.bytes(), Some(&expected[..]));
    }

    #[test]
    fn a_backlog_is_received_in_pieces() {
        let mut bench = Bench::new(8192);
        let mut receiver = running(&mut bench);
        let payload = ts(1, 7);
        let count = 6 * WARM_BYTES_MAX / payload.len();
        for sequence in 8..8 + count as u16 {
            bench.send(&rtp(sequence, &payload));
        }
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < count * payload.len() {
            let received = receiver
                .receive(bench.socket, &mut bench.shared, &mut Vec::new())
                .expect("received");
            // The last buffer may go beyond.
            assert!(received.bytes < 2 * WARM_BYTES_MAX);
            turns.push(received.bytes);
        }
        assert!(
            turns.iter().any(|bytes| *bytes >= WARM_BYTES_MAX),
            "{turns:?}"
        );
    }

    #[test]
    fn csrcs_extensions_and_padding_amid_plain_packets_are_cut_away() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        let mut csrc = rtp(9, &[]);
        csrc[0] |= 1;
        let mut extension = rtp(10, &[]);
        extension[0] |= 0x10;
        let mut padded = rtp(11, &ts(11, 7));
        padded[0] |= 0x20;
        bench.send(&rtp(8, &ts(8, 7)));
        bench.send(&[csrc, vec![0; 4], ts(9, 7)].concat());
        bench.send(&[extension, vec![0, 0, 0, 1, 9, 9, 9, 9], ts(10, 7)].concat());
        bench.send(&[padded, vec![0, 0, 3]].concat());
        bench.send(&rtp(12, &ts(12, 7)));
        let expected: Vec<u8> = (8..13).flat_map(|number| ts(number, 7)).collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
    }

    #[test]
    fn sizes_may_change_in_the_middle_of_a_batch() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        let sizes = [7, 7, 3, 3, 1, 7, 30, 7, 7];
        for (sequence, packets) in (8..).zip(sizes) {
            bench.send(&rtp(sequence, &ts(sequence as u8, packets)));
        }
        let expected: Vec<u8> = (8..)
            .zip(sizes)
            .flat_map(|(number, packets)| ts(number, packets))
            .collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 9));
        assert_eq!(bench.shared.pool.held_bytes(), 0);
    }

    #[test]
    fn bare_ts_goes_on_in_the_order_of_arrival() {
        let mut bench = Bench::new(1024);
        let mut receiver = Receiver::new();
        for number in [1, 2, 2, 1, 5] {
            bench.send(&ts(number, 7));
        }
        let expected: Vec<u8> = [1, 2, 2, 1, 5]
            .into_iter()
            .flat_map(|number| ts(number, 7))
            .collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
        assert_eq!(receiver.payload_kind(), Some(PayloadKind::Ts));
    }

    #[test]
    fn bare_ts_that_is_cut_anywhere_leaves_as_whole_packets() {
        let mut bench = Bench::new(1024);
        let mut receiver = Receiver::new();
        let stream: Vec<u8> = (0..200).flat_map(|number| ts(number, 1)).collect();
        let mut out = Vec::new();
        // Two turns, so that one of them begins inside a packet.
        let datagrams: Vec<&[u8]> = stream.chunks(1472).collect();
        for turn in datagrams.chunks(5) {
            turn.iter().for_each(|datagram| bench.send(datagram));
            out.extend(receive(&mut receiver, &mut bench).0);
            assert_eq!(out.len() % mpegts::PACKET_BYTES, 0);
        }
        assert!(out == stream, "{} bytes", out.len());
        assert_eq!(receiver.counters().foreign, 0);

        // Numbers below 128 cannot be taken for RTP's version; 140 can, and 150 for that with an extension too long.
        for number in [20, 140, 150] {
            let mut late = Receiver::new();
            let cut = number * mpegts::PACKET_BYTES + 100;
            for datagram in stream[cut..].chunks(1472) {
                bench.send(datagram);
            }
            let (out, _) = receive(&mut late, &mut bench);
            let whole = &stream[cut + mpegts::PACKET_BYTES - 100..];
            assert!(out == whole, "{number}: {} bytes", out.len());
            assert_eq!(late.counters().rtp.received, 0);
        }
    }

    /// After a loss the rest of a packet may look like RTP, and be too short to be known for what it is.
    #[test]
    fn a_piece_of_cut_ts_is_not_taken_for_rtp() {
        let mut bench = Bench::new(1024);
        let mut receiver = Receiver::new();
        let stream: Vec<u8> = (100..200).flat_map(|number| ts(number, 1)).collect();
        let pieces = [&stream[..1472], &stream[1472..2944], &[0x80; 650]];
        assert!(matches!(rtp::classify(pieces[2]), Datagram::Rtp(_)));
        for piece in pieces {
            bench.send(piece);
        }
        let whole = 2944 - 2944 % mpegts::PACKET_BYTES;
        let (out, _) = receive(&mut receiver, &mut bench);
        assert!(out == stream[..whole], "{} bytes", out.len());
        bench.pass(HOLE_WAIT);
        assert_eq!(receive(&mut receiver, &mut bench).0, b"");
        // Nor one that has a packet where the payload of RTP begins.
        let piece = [&[0x80; 12][..], &ts(1, 1), &ts(2, 1)[..92]].concat();
        bench.send(&piece);
        assert_eq!(receive(&mut receiver, &mut bench).0, b"");
        assert_eq!(receiver.counters().rtp.received, 0);
        // A sender of RTP that takes over is followed.
        for sequence in 0..8 {
            bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
        }
        assert_eq!(receive(&mut receiver, &mut bench).1, 8);
    }

    #[test]
    fn what_stands_behind_the_packets_of_a_datagram_is_left_out() {
        let mut bench = Bench::new(1024);
        let mut receiver = Receiver::new();
        for number in 0..5 {
            bench.send(&[ts(number, 7), vec![0; 16]].concat());
        }
        let expected: Vec<u8> = (0..5).flat_map(|number| ts(number, 7)).collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
    }

    #[test]
    fn junk_neither_reaches_a_run_nor_counts_as_media() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        let mut parity = rtp(8, &[9; 100]);
        parity[1] = 127;
        for datagram in [
            &[][..],
            b"keep-alive",
            &[0x80, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &parity,
            &[0x8f; 14],
        ] {
            bench.send(datagram);
        }
        bench.send(&rtp(8, &ts(8, 7)));
        assert_eq!(receive(&mut receiver, &mut bench), (ts(8, 7), 1));
        let counters = receiver.counters();
        assert_eq!(
            (counters.foreign, counters.parity, counters.malformed),
            (3, 1, 1)
        );
        assert_eq!(counters.rtp.received, 9);
    }

    #[test]
    fn a_hole_is_given_up_after_its_time() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        bench.send(&rtp(9, &ts(9, 7)));
        bench.send(&rtp(10, &ts(10, 7)));
        assert_eq!(receive(&mut receiver, &mut bench), (vec![], 0));
        let expected = bench.shared.now + HOLE_WAIT;
        assert_eq!(receiver.deadline(), Some(expected));
        bench.pass(HOLE_WAIT);
        let expected: Vec<u8> = [ts(9, 7), ts(10, 7)].concat();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 2));
        assert_eq!(receiver.counters().rtp.lost, 1);
    }

    #[test]
    fn a_repaired_hole_keeps_the_order_within_one_batch() {
        let mut bench = Bench::new(1024);
        let mut receiver = running(&mut bench);
        for sequence in [8, 10, 11, 9, 9, 12] {
            bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
        }
        let expected: Vec<u8> = (8..13).flat_map(|number| ts(number, 7)).collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
        assert_eq!(receiver.counters().rtp.duplicates, 1);
    }

    #[test]
    fn without_a_buffer_datagrams_are_read_and_counted() {
        let mut bench = Bench::new(64);
        let mut receiver = running(&mut bench);
        let held: Vec<_> = std::iter::from_fn(|| bench.shared.pool.take(2048)).collect();
        bench.send(&rtp(8, &ts(8, 7)));
        bench.send(&rtp(9, &ts(9, 7)));
        assert_eq!(receive(&mut receiver, &mut bench), (vec![], 0));
        assert_eq!(receiver.counters().overrun, 2);
        drop(held);
        // As no hole is known of, the next packet opens one.
        bench.send(&rtp(10, &ts(10, 7)));
        bench.pass(HOLE_WAIT);
        receive(&mut receiver, &mut bench);
        bench.pass(HOLE_WAIT);
        assert_eq!(receive(&mut receiver, &mut bench), (ts(10, 7), 1));
    }

    /// A single datagram of the largest kind must not make every later turn ask for a buffer as large.
    #[test]
    fn a_jumbo_datagram_does_not_starve_a_small_pool() {
        let mut bench = Bench::new(64);
        let mut receiver = running(&mut bench);
        bench.send(&rtp(8, &ts(8, 340)));
        receive(&mut receiver, &mut bench);
        assert!(receiver.buffer_bytes(&bench.shared.pool) <= bench.shared.pool.buffer_bytes_max());
        let held = bench.shared.pool.take_patient(32 << 10);
        bench.send(&rtp(9, &ts(9, 7)));
        assert_eq!(receive(&mut receiver, &mut bench), (ts(9, 7), 1));
        drop(held);
    }

    /// TCP upstreams leave the last part of the pool to live channels, and that may be less than one turn.
    #[test]
    fn a_small_buffer_is_used_where_no_large_one_is_left() {
        let mut bench = Bench::new(64);
        let mut receiver = running(&mut bench);
        let patient = |bench: &Bench| bench.shared.pool.take_patient(2048);
        let mut held: Vec<_> = std::iter::from_fn(|| patient(&bench)).collect();
        held.extend(bench.shared.pool.take(2048));
        let wanted = receiver.buffer_bytes(&bench.shared.pool);
        assert!(
            !bench.shared.pool.has_room(wanted),
            "{wanted} bytes are left"
        );
        for sequence in 8..11 {
            bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
        }
        let expected: Vec<u8> = (8..11).flat_map(|number| ts(number, 7)).collect();
        assert_eq!(receive(&mut receiver, &mut bench), (expected, 3));
        drop(held);
    }

    #[test]
    fn sorted_packets_follow_the_run_of_the_same_buffer() {
        let mut bench = Bench::new(16_384);
        let mut receiver = running(&mut bench);
        let mut first = 8;
        // Large turns make large buffers, with room for a second batch behind a full one.
        for _ in 0..2 {
            (first..first + 300)
                .for_each(|sequence| bench.send(&rtp(sequence, &ts(sequence as u8, 7))));
            let mut received = 0;
            while received < 300 {
                received += receive(&mut receiver, &mut bench).1;
                bench.pass(std::time::Duration::ZERO);
            }
            first += 300;
        }
        let numbers = || (first..first + 64).chain([first + 65, first + 64]);
        numbers().for_each(|sequence| bench.send(&rtp(sequence, &ts(sequence as u8, 7))));
        let expected: Vec<u8> = (first..first + 66)
            .flat_map(|number| ts(number as u8, 7))
            .collect();
        assert!(
            receive(&mut receiver, &mut bench) == (expected, 66),
            "out of order"
        );
    }
}
