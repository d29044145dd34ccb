//! The packets of one stream, numbered and full of what says which they are.

use super::super::media::{Rng, payload, rtp_packet};
use super::play::Play;

#[derive(Debug)]
pub(super) struct Media {
    next: u64,
    sequence: u16,
    ssrc: u32,
}

/// A packet and what of it is to reach the client.
pub(super) struct Packet {
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

impl Media {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            next: 0,
            // Now and then the sequence wraps around.
            sequence: rng.next() as u16,
            ssrc: rng.next() as u32,
        }
    }

    /// The next packet; `None` behind the last.
    pub(super) fn next(&mut self, play: &Play, rng: &mut Rng) -> Option<Packet> {
        if self.next == play.packets {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let packets = if play.bulky {
            rng.count(100, 340)
        } else if !play.mixed {
            7
        } else if rng.one_in(60) {
            // Nearly as large as a frame or a datagram can be.
            rng.count(8, 340)
        } else {
            rng.pick(&[1, 2, 5, 6, 7, 7, 7, 7])
        };
        let payload = payload(play.channel as u16, number, packets);
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = if play.bare {
            payload.clone()
        } else {
            rtp_packet(sequence, self.ssrc, &payload, play.mixed, rng)
        };
        Some(Packet {
            number,
            payload,
            bytes,
        })
    }
}

/// A frame on the control connection (RFC 2326 §10.12).
pub(super) fn frame(channel: u8, packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).expect("it fits a frame");
    let [high, low] = length.to_be_bytes();
    [&[b'$', channel, high, low], packet].concat()
}
