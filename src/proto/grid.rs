//! Bare MPEG-TS in datagrams that end inside a TS packet.
//!
//! Senders that fill datagrams with bytes, and not with packets, cut the stream anywhere: ffmpeg without `pkt_size`
//! (1472 bytes), or a file sent with socat. The rest of a packet then begins the next datagram. A [`Grid`] keeps the
//! beginning until the rest comes, so that what leaves it is whole packets, as everything behind it expects.

use super::mpegts::{self, PACKET_BYTES, SYNC};

/// Sync bytes by which packets are found in the midst of a datagram. Chosen: three in a row after the first one are no
/// chance, and the smallest datagrams that are filled with bytes, of 1400 or so, have seven.
const SYNCS_MIN: usize = 4;

/// Keeps the beginning of a packet that was cut: less than [`PACKET_BYTES`] bytes.
#[derive(Debug, Default)]
pub struct Grid {
    /// Begins with the sync byte. Empty if the last datagram ended with a packet.
    cut: Vec<u8>,
}

impl Grid {
    /// Whether the last datagram ended inside a packet.
    pub fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// The whole packets up to the end of `datagram`, if that goes on where the last one ended: with the rest of the
    /// packet, and sync bytes wherever packets begin behind it. They are put together in `joined`.
    ///
    /// `None` if it does not; the beginning is kept then, unless the datagram is so large that the rest must have been
    /// lost.
    pub fn go_on<'a>(&mut self, datagram: &[u8], joined: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if !self.is_cut() {
            return None;
        }
        let goes_on = PACKET_BYTES
            .checked_sub(self.cut.len())
            .and_then(|missing| datagram.get(missing..))
            .is_some_and(all_begin_with_sync);
        if !goes_on {
            if datagram.len() >= PACKET_BYTES {
                self.cut.clear();
            }
            return None;
        }
        joined.clear();
        joined.append(&mut self.cut);
        joined.extend_from_slice(datagram);
        Some(self.keep_tail(joined))
    }

    /// The whole packets of a datagram that begins inside a packet whose beginning is not known, as it is after a
    /// loss and at first: sync bytes stand wherever packets begin from some place on, four at least.
    ///
    /// `None` also if its last packet is whole: that is a rare chance where packets are cut, but the rule with packets
    /// behind a header of some other protocol, or of RTP in a version that is none.
    pub fn find<'a>(&mut self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let mut places = (1..PACKET_BYTES).filter_map(|at| datagram.get(at..));
        let packets = places.find(|rest| {
            rest.chunks(PACKET_BYTES).len() >= SYNCS_MIN
                && !rest.len().is_multiple_of(PACKET_BYTES)
                && all_begin_with_sync(rest)
        })?;
        Some(self.begin(packets))
    }

    /// The whole packets of a datagram that [looks like TS](mpegts::looks_like_ts). What follows them is kept if it may
    /// be the beginning of a packet, and dropped otherwise.
    pub fn begin<'a>(&mut self, datagram: &'a [u8]) -> &'a [u8] {
        debug_assert!(mpegts::looks_like_ts(datagram));
        self.cut.clear();
        self.keep_tail(datagram)
    }

    fn keep_tail<'a>(&mut self, packets: &'a [u8]) -> &'a [u8] {
        let whole_bytes = packets.len() - packets.len() % PACKET_BYTES;
        let (whole, tail) = packets
            .split_at_checked(whole_bytes)
            .unwrap_or((packets, b""));
        if tail.first() == Some(&SYNC) {
            self.cut.extend_from_slice(tail);
        }
        whole
    }
}

fn all_begin_with_sync(packets: &[u8]) -> bool {
    packets
        .chunks(PACKET_BYTES)
        .all(|packet| packet.first() == Some(&SYNC))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets(numbers: std::ops::Range<u8>) -> Vec<u8> {
        numbers
            .flat_map(|number| {
                let mut packet = [number; PACKET_BYTES];
                packet[0] = SYNC;
                packet
            })
            .collect()
    }

    /// What comes out of a grid, and how many datagrams were not understood.
    fn through(datagrams: &[&[u8]]) -> (Vec<u8>, usize) {
        let mut grid = Grid::default();
        let (mut out, mut foreign) = (Vec::new(), 0);
        let mut joined = Vec::new();
        for datagram in datagrams {
            if let Some(whole) = grid.go_on(datagram, &mut joined) {
                out.extend_from_slice(whole);
            } else if mpegts::looks_like_ts(datagram) {
                out.extend_from_slice(grid.begin(datagram));
            } else if let Some(whole) = grid.find(datagram) {
                out.extend_from_slice(whole);
            } else {
                foreign += 1;
            }
        }
        (out, foreign)
    }

    #[test]
    fn a_datagram_that_is_lost_costs_no_more_than_the_packets_it_had_a_part_of() {
        let stream = packets(0..80);
        let mut datagrams: Vec<&[u8]> = stream.chunks(1472).collect();
        // Bytes 2944 to 4415: the end of packet 15 to the beginning of packet 23.
        datagrams.remove(2);
        assert_eq!(
            through(&datagrams),
            ([packets(0..15), packets(24..80)].concat(), 0)
        );
        datagrams.remove(0);
        // And whoever comes in the middle begins with the first whole packet there: byte 1472 is in packet 7.
        assert_eq!(
            through(&datagrams).0,
            [packets(8..15), packets(24..80)].concat()
        );
    }

    #[test]
    fn few_packets_are_not_found_behind_something_else() {
        let short = [&[0; 12][..], &packets(0..3)].concat();
        let other_version = [&[0x40, 33][..], &[0; 10], &packets(0..7)].concat();
        assert_eq!(through(&[&other_version]), (vec![], 1));
        let gap = [&packets(0..2)[1..], &[0; 3], &packets(0..5)].concat();
        assert_eq!(through(&[&short, &gap[..1000], b""]), (vec![], 3));
        let timed: Vec<u8> = packets(0..7)
            .chunks(PACKET_BYTES)
            .flat_map(|packet| [&[0; 4], packet].concat())
            .collect();
        assert_eq!(through(&[&timed]), (vec![], 1));
    }

    #[test]
    fn what_is_no_part_of_the_stream_does_not_come_between() {
        let stream = packets(0..4);
        let (front, back) = stream.split_at(500);
        let (out, foreign) = through(&[front, b"keep-alive", b"", back]);
        assert_eq!((out, foreign), (stream, 2));
    }

    #[test]
    fn a_tail_that_nothing_continues_is_dropped() {
        let padded = [packets(0..3), vec![0; 20]].concat();
        assert_eq!(through(&[&padded, &padded]).0, packets(0..3).repeat(2));
        let cut = &packets(0..4)[..3 * PACKET_BYTES + 20];
        assert_eq!(through(&[cut, cut]).0, packets(0..3).repeat(2));
    }

    proptest! {
        /// Any split with a packet in front; datagrams that neither complete a packet nor have one are not understood.
        #[test]
        fn a_stream_cut_anywhere_comes_out_whole(sizes in proptest::collection::vec(188usize..2000, 1..40)) {
            let stream = packets(0..80);
            let mut rest = &stream[..];
            let mut datagrams = Vec::new();
            for size in sizes {
                let (datagram, behind) = rest.split_at(size.min(rest.len()));
                datagrams.push(datagram);
                rest = behind;
            }
            let sent = stream.len() - rest.len();
            let (out, _) = through(&datagrams);
            prop_assert_eq!(&out, &stream[..sent - sent % PACKET_BYTES]);
        }

        #[test]
        fn what_comes_out_is_whole_packets(datagrams in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![Just(SYNC), any::<u8>()], 0..400), 0..8)) {
            let datagrams: Vec<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
            let (out, _) = through(&datagrams);
            prop_assert_eq!(out.len() % PACKET_BYTES, 0);
            prop_assert!(out.chunks(PACKET_BYTES).all(|packet| packet[0] == SYNC || out.is_empty()));
        }
    }
}
