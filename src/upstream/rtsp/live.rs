//! What comes in datagrams: media, which is put in order and brought as it comes, and reports.

use super::{Client, RtspUpstream};
use crate::limits::{
    RTSP_BATCH_DATAGRAMS, RTSP_BATCHES_PER_TURN, RTSP_DATAGRAM_BYTES, RTSP_LAST_TURNS_MAX,
};
use crate::net::{Io, Layout, SocketId};
use crate::proto::rtsp::{Action, UdpSocket};
use crate::shared::Shared;
use crate::tick::Received;
use crate::upstream::Outcome;

impl RtspUpstream {
    /// Takes all that waits in the pair, as the session may be over then.
    pub(super) fn receive_last_datagrams(
        &mut self,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) {
        for _ in 0..RTSP_LAST_TURNS_MAX {
            self.datagrams.hurry(shared.now);
            if self.receive_datagrams(shared, outcomes) {
                return;
            }
        }
    }

    /// Takes what waits in the pair, for a turn at most. Returns whether that was all.
    pub(super) fn receive_datagrams(
        &mut self,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        let mut is_dry = true;
        if !self.session.datagrams_wanted() {
            return is_dry;
        }
        for which in [UdpSocket::Rtp, UdpSocket::Rtcp] {
            let Some(socket) = self.datagrams.due(which, shared.now) else {
                continue;
            };
            let received = self.receive_from(which, socket, shared);
            is_dry &= received.drained;
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
        is_dry
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

    pub(super) fn bring_runs(&mut self, outcomes: &mut Vec<Outcome>) {
        if self.client == Client::Present {
            outcomes.extend(self.runs.drain(..).map(Outcome::Live));
        }
        self.runs.clear();
    }
}
