//! What is sent: RTP around seven TS packets, each with a sequence number, a time stamp and a filler that can
//! be checked, and the check.

use crate::clock;
use crate::tally::Tally;

/// Bytes of a TS packet.
pub(crate) const TS_BYTES: usize = 188;
/// TS packets in a datagram.
pub(crate) const TS_PER_DATAGRAM: usize = 7;
/// Bytes of media in a datagram.
pub(crate) const MEDIA_BYTES: usize = TS_BYTES * TS_PER_DATAGRAM;
/// Bytes of the RTP header.
pub(crate) const RTP_BYTES: usize = 12;
/// Bytes of a datagram.
pub(crate) const DATAGRAM_BYTES: usize = RTP_BYTES + MEDIA_BYTES;

// A TS packet: sync byte and header (4), sequence number (8), time stamp in ns (8), group (4), filler (160)
// of little-endian words that count up from a key, stuffing (4). Numbers are little-endian.
const SYNC: [u8; 3] = [0x47, 0x01, 0x00];
const SEQUENCE_AT: usize = 4;
const STAMP_AT: usize = 12;
const GROUP_AT: usize = 20;
const FILLER_AT: usize = 24;
const FILLER_END: usize = 184;

/// Writes datagram number `number` of `group`; `datagram` is [`DATAGRAM_BYTES`] long.
pub(crate) fn encode(datagram: &mut [u8], group: u32, number: u64, stamp: u64) {
    let (rtp, media) = datagram.split_at_mut(RTP_BYTES);
    rtp[0] = 0x80;
    rtp[1] = 33;
    rtp[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    // RFC 3551 §6: MP2T has a clock of 90 kHz.
    rtp[4..8].copy_from_slice(&((stamp / 100_000 * 9) as u32).to_be_bytes());
    rtp[8..12].copy_from_slice(&group.to_be_bytes());
    let first = number * TS_PER_DATAGRAM as u64;
    for (sequence, ts) in (first..).zip(media.chunks_exact_mut(TS_BYTES)) {
        ts[..3].copy_from_slice(&SYNC);
        ts[3] = 0x10 | (sequence as u8 & 0x0f);
        ts[SEQUENCE_AT..STAMP_AT].copy_from_slice(&sequence.to_le_bytes());
        ts[STAMP_AT..GROUP_AT].copy_from_slice(&stamp.to_le_bytes());
        ts[GROUP_AT..FILLER_AT].copy_from_slice(&group.to_le_bytes());
        let key = key(group, sequence);
        let words = ts[FILLER_AT..FILLER_END].chunks_exact_mut(8);
        for (word, index) in words.zip(0_u64..) {
            word.copy_from_slice(&key.wrapping_add(index).to_le_bytes());
        }
        ts[FILLER_END..].fill(0xff);
    }
}

fn key(group: u32, sequence: u64) -> u64 {
    (sequence ^ (u64::from(group) << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Follows one stream of TS packets.
///
/// Of every packet sync byte, header, group and sequence number are looked at; a `deep` check compares the
/// filler too, which costs about as much as receiving the bytes.
#[derive(Debug)]
pub(crate) struct Check {
    group: u32,
    deep: bool,
    expected: Option<u64>,
}

impl Check {
    /// Expects packets of `group`, starting anywhere.
    pub(crate) fn new(group: u32, deep: bool) -> Self {
        Self {
            group,
            deep,
            expected: None,
        }
    }

    /// The sequence number that comes next, once anything has come.
    pub(crate) fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Checks the whole packets at the front of `bytes` and returns how many bytes they were.
    pub(crate) fn receive(&mut self, bytes: &[u8], tally: &mut Tally) -> usize {
        let now = clock::nanoseconds();
        let mut rest = bytes;
        while let Some((ts, after)) = rest.split_at_checked(TS_BYTES) {
            if ts[..3] != SYNC || number::<4>(ts, GROUP_AT) != u64::from(self.group) {
                // Torn: one count per tear, then on from the next place that looks like a packet.
                tally.corrupt += 1;
                rest = &rest[1..];
                while rest.len() >= TS_BYTES && rest[..3] != SYNC {
                    rest = &rest[1..];
                }
                continue;
            }
            rest = after;
            let sequence = number::<8>(ts, SEQUENCE_AT);
            tally.packets += 1;
            if self.deep && !filler_is_whole(ts, key(self.group, sequence)) {
                tally.corrupt += 1;
            }
            match self.expected {
                Some(expected) if sequence < expected => {
                    tally.duplicated += 1;
                    continue;
                }
                Some(expected) => tally.lost += sequence - expected,
                None => {}
            }
            self.expected = Some(sequence + 1);
            if sequence.is_multiple_of(TS_PER_DATAGRAM as u64) {
                tally
                    .latency
                    .note(now.saturating_sub(number::<8>(ts, STAMP_AT)));
            }
        }
        bytes.len() - rest.len()
    }
}

/// A little-endian number of `N` bytes, at most 8.
fn number<const N: usize>(ts: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word[..N].copy_from_slice(&ts[at..at + N]);
    u64::from_le_bytes(word)
}

fn filler_is_whole(ts: &[u8], key: u64) -> bool {
    let words = ts[FILLER_AT..FILLER_END].as_chunks::<8>().0;
    let difference = words.iter().zip(0_u64..).fold(0, |all, (word, index)| {
        all | (u64::from_le_bytes(*word) ^ key.wrapping_add(index))
    });
    difference == 0 && ts[FILLER_END..] == [0xff; 4]
}

/// Plants each fault the check is there to find; run before anything is measured.
///
/// # Panics
///
/// If a fault goes unnoticed.
pub(crate) fn prove_check() {
    let mut datagrams = vec![0; DATAGRAM_BYTES * 4];
    let mut media = Vec::new();
    for (number, datagram) in (0..).zip(datagrams.chunks_exact_mut(DATAGRAM_BYTES)) {
        encode(datagram, 3, number, clock::nanoseconds());
        media.extend_from_slice(&datagram[RTP_BYTES..]);
    }
    let outcome = |media: &[u8]| {
        let mut tally = Tally::default();
        Check::new(3, true).receive(media, &mut tally);
        (tally.lost, tally.duplicated, tally.corrupt)
    };
    assert_eq!(outcome(&media), (0, 0, 0), "whole");
    let cut = [&media[..TS_BYTES * 5], &media[TS_BYTES * 8..]].concat();
    assert_eq!(outcome(&cut), (3, 0, 0), "three packets lost");
    let again = [&media[..TS_BYTES * 5], &media[TS_BYTES * 4..]].concat();
    assert_eq!(outcome(&again), (0, 1, 0), "one packet twice");
    let torn = [&media[..TS_BYTES * 5 + 40], &media[TS_BYTES * 6 + 40..]].concat();
    assert_ne!(outcome(&torn).2, 0, "torn inside a packet");
    let mut flipped = media.clone();
    flipped[TS_BYTES * 6 + 100] ^= 0x10;
    assert_eq!(outcome(&flipped), (0, 0, 1), "one bit");
    let mut tally = Tally::default();
    Check::new(4, false).receive(&media, &mut tally);
    assert_ne!(tally.corrupt, 0, "another group's packets");
}
