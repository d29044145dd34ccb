//! Receiver reports (RFC 3550 §6.4): some servers stop a UDP stream whose receiver is silent. And what tells
//! that a sender has no more (§6.6).
//!
//! Keeps the few numbers a report needs. Reports are sent at a fixed interval, for there is one receiver.

use std::time::Instant;

use super::super::rtp::{Rtp, distance};

const RECEIVER_REPORT: u8 = 201;
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// Clock of MPEG-TS in RTP, Hz (RFC 2250 §2).
const CLOCK: u128 = 90_000;

/// What has been received of one synchronisation source.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    first: u16,
    highest: u16,
    /// Times the sequence number has wrapped.
    cycles: u16,
    received: u32,
    /// Expected and received when the last report was made.
    reported: (u32, u32),
    /// Transit time of the last packet, in clock units; only differences mean anything.
    transit: u32,
    /// Interarrival jitter times 16, in clock units (§A.8).
    jitter: u32,
}

/// Reception statistics of a session.
#[derive(Clone, Debug)]
pub struct Reception {
    /// Our own synchronisation source.
    ssrc: u32,
    began: Instant,
    source: Option<Source>,
    /// Middle bits of the time in the last sender report, and when it came.
    sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Nothing received yet; `ssrc` is to be random.
    pub fn new(ssrc: u32, now: Instant) -> Self {
        Self {
            ssrc,
            began: now,
            source: None,
            sender_report: None,
        }
    }

    /// Counts a packet. A new source starts over.
    pub fn note_packet(&mut self, now: Instant, rtp: &Rtp) {
        let arrival = now.saturating_duration_since(self.began).as_micros() * CLOCK / 1_000_000;
        // Truncation is meant: timestamps count modulo 2^32.
        let transit = (arrival as u32).wrapping_sub(rtp.timestamp);
        let Some(source) = self
            .source
            .as_mut()
            .filter(|source| source.ssrc == rtp.ssrc)
        else {
            self.sender_report = None;
            self.source = Some(Source {
                ssrc: rtp.ssrc,
                first: rtp.sequence,
                highest: rtp.sequence,
                cycles: 0,
                received: 1,
                reported: (0, 0),
                transit,
                jitter: 0,
            });
            return;
        };
        source.received = source.received.wrapping_add(1);
        if distance(rtp.sequence, source.highest) > 0 {
            if rtp.sequence < source.highest {
                source.cycles = source.cycles.wrapping_add(1);
            }
            source.highest = rtp.sequence;
        }
        let difference = transit
            .wrapping_sub(source.transit)
            .cast_signed()
            .unsigned_abs();
        source.transit = transit;
        source.jitter = source
            .jitter
            .saturating_add(difference)
            .saturating_sub(source.jitter.saturating_add(8) >> 4);
    }

    /// Takes what arrived on the RTCP port; only sender reports are of interest.
    pub fn note_control(&mut self, now: Instant, packet: &[u8]) {
        if let Some(
            &[
                flags,
                SENDER_REPORT,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                n0,
                n1,
                n2,
                n3,
                _,
                _,
            ],
        ) = packet.first_chunk::<16>()
            && flags >> 6 == 2
        {
            self.sender_report = Some((u32::from_be_bytes([n0, n1, n2, n3]), now));
        }
    }

    /// A compound packet of a receiver report and a name (§6.1); `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        let source = self.source.as_mut()?;
        let highest = u32::from(source.cycles) << 16 | u32::from(source.highest);
        let expected = highest
            .wrapping_sub(u32::from(source.first))
            .wrapping_add(1);
        let lost = i64::from(expected) - i64::from(source.received);
        let lost = lost.clamp(-0x80_0000, 0x7f_ffff);
        let expected_since = expected.wrapping_sub(source.reported.0);
        let received_since = source.received.wrapping_sub(source.reported.1);
        source.reported = (expected, source.received);
        let lost_since = u64::from(expected_since.saturating_sub(received_since));
        // At most 255, since not everything can be lost when the highest number has moved.
        let fraction = (lost_since << 8)
            .checked_div(u64::from(expected_since))
            .map_or(0, |fraction| fraction.min(255) as u8);
        let (last_report, delay) = self.sender_report.map_or((0, 0), |(middle, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (middle, u32::try_from(delay).unwrap_or(u32::MAX))
        });

        let mut packet = vec![0x81, RECEIVER_REPORT, 0, 7];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(source.ssrc.to_be_bytes());
        let [_, _, _, _, _, l0, l1, l2] = lost.to_be_bytes();
        packet.extend([fraction, l0, l1, l2]);
        for word in [highest, source.jitter >> 4, last_report, delay] {
            packet.extend(word.to_be_bytes());
        }
        // Source description: one chunk with a canonical name of eight digits, and the end of the list.
        packet.extend([0x81, SOURCE_DESCRIPTION, 0, 4]);
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend([1, 8]);
        packet.extend(format!("{:08x}", self.ssrc).bytes());
        packet.extend([0, 0]);
        Some(packet)
    }
}

/// Whether a compound packet says that `source` sends no more (RFC 3550 §6.6); any source if it is not known.
pub fn says_goodbye(mut compound: &[u8], source: Option<u32>) -> bool {
    while let Some((&[flags, kind, high, low], behind)) = compound.split_first_chunk::<4>() {
        let bytes = usize::from(u16::from_be_bytes([high, low])) * 4;
        let Some((body, rest)) = behind.split_at_checked(bytes).filter(|_| flags >> 6 == 2) else {
            return false;
        };
        let mut sources = body
            .chunks_exact(4)
            .take(usize::from(flags & 0x1f))
            .filter_map(|word| word.first_chunk::<4>().copied().map(u32::from_be_bytes));
        if kind == GOODBYE && sources.any(|gone| source.is_none_or(|source| source == gone)) {
            return true;
        }
        compound = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::super::rtp;
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn packet(sequence: u16, timestamp: u32) -> Rtp {
        Rtp {
            sequence,
            ssrc: 0xdead_beef,
            timestamp,
            payload_type: 33,
            payload: 12..12,
        }
    }

    #[test]
    fn report_counts_loss_over_the_wrap() {
        let now = start();
        let mut reception = Reception::new(0x0102_0304, now);
        assert_eq!(reception.report(now), None);
        // 65534, 65535, 0 lost, 1, and one late duplicate of 65535.
        for sequence in [65_534, 65_535, 1] {
            reception.note_packet(now, &packet(sequence, 0));
        }
        let report = reception.report(now).unwrap();
        assert_eq!(report.len(), 32 + 20);
        assert_eq!(
            report[..12],
            *b"\x81\xc9\x00\x07\x01\x02\x03\x04\xde\xad\xbe\xef"
        );
        // One of four lost: fraction 64/256, cumulative 1; highest number 1 in the second cycle.
        assert_eq!(report[12..20], *b"\x40\x00\x00\x01\x00\x01\x00\x01");
        assert_eq!(report[20..32], [0; 12]);
        assert_eq!(
            report[32..],
            *b"\x81\xca\x00\x04\x01\x02\x03\x04\x01\x0801020304\x00\x00"
        );
        assert_eq!(rtp::classify(&report), rtp::Datagram::Other);

        reception.note_packet(now, &packet(2, 0));
        reception.note_packet(now, &packet(2, 0));
        let report = reception.report(now).unwrap();
        assert_eq!(
            report[12..16],
            [0, 0, 0, 0],
            "a duplicate makes up for the loss"
        );
    }

    #[test]
    fn sender_report_is_dated() {
        let now = start();
        let mut reception = Reception::new(1, now);
        reception.note_packet(now, &packet(1, 0));
        let mut sender_report = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
        sender_report.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        reception.note_control(now, &sender_report);
        reception.note_control(now, &sender_report[..15]);
        let report = reception.report(now + Duration::from_millis(500)).unwrap();
        assert_eq!(report[24..32], *b"\x03\x04\x05\x06\x00\x00\x80\x00");
    }

    #[test]
    fn jitter_follows_the_spacing() {
        let now = start();
        let mut reception = Reception::new(1, now);
        // Sent 10 ms apart, received 10 ms apart: none.
        for step in 0..10u16 {
            let at = now + Duration::from_millis(10) * u32::from(step);
            reception.note_packet(at, &packet(step, 900 * u32::from(step)));
        }
        let report = reception.report(now).unwrap();
        assert_eq!(report[20..24], [0; 4]);
        // Now 10 ms late: a sixteenth of 900 units.
        let at = now + Duration::from_millis(110);
        reception.note_packet(at, &packet(10, 9000));
        let report = reception.report(now).unwrap();
        assert_eq!(report[20..24], 56u32.to_be_bytes());
    }

    #[test]
    fn goodbye_is_found_behind_a_report_and_names_its_source() {
        let report = b"\x80\xc8\x00\x06\xde\xad\xbe\xefNTP-TIMERTP-PCKTOCTS".as_slice();
        let goodbye = b"\x82\xcb\x00\x03\x00\x00\x00\x01\xde\xad\xbe\xef\x03end".as_slice();
        let both = [report, goodbye].concat();
        assert!(says_goodbye(&both, Some(0xdead_beef)));
        assert!(says_goodbye(&both, Some(1)));
        assert!(says_goodbye(&both, None));
        assert!(
            !says_goodbye(&both, Some(0x0365_6e64)),
            "the reason is no source"
        );
        assert!(!says_goodbye(report, None), "a report is none");
        assert!(!says_goodbye(b"\x80\xcb\x00\x00", None), "nobody goes");
        assert!(!says_goodbye(&both[..both.len() - 1], None), "cut");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_through(bytes: Vec<u8>, source: Option<u32>) {
            says_goodbye(&bytes, source);
        }
    }
}
