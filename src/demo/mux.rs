//! The transport stream: one programme with one picture, at a constant bit rate.
//!
//! [`Mux`] is pure: the stream is a function of its start state and of the time of day that the caller gives
//! for each picture. It has no clock; the position in the stream *is* the clock, and PCR says so. ISO/IEC
//! 13818-1 is cited as “Systems”.
//!
//! ```text
//! frame      n                        n + 1                    n + 2
//! packets    |S|A|M|v v v v v v v v v v v v|v v v v|v v v - - -|v v v v v - - - - |
//!             tables, then IDR picture n    n + 1   null packets
//! PCR                 ^           ^           ^           ^           ^
//! ```
//!
//! Picture n is drawn at packet n · `PACKETS_PER_FRAME`, or when the picture before it is sent, whichever is
//! later. It is due at the decoder `DELAY` after the former.

use super::{
    h264::{Encoder, Kind},
    picture::{FRAME_RATE, Painter, TimeOfDay},
};

/// Bytes in a TS packet (Systems 2.4.3.2).
const PACKET: usize = 188;
/// TS packets in a datagram: what fits an Ethernet frame, and what everybody sends.
const PACKETS_PER_DATAGRAM: usize = 7;
/// Bytes of TS in a datagram.
pub const DATAGRAM: usize = PACKETS_PER_DATAGRAM * PACKET;

/// Chosen: an IDR picture takes about three and a half frames, and a predicted one about two thirds of one.
const DATAGRAMS_PER_FRAME: u64 = 14;
const PACKETS_PER_FRAME: u64 = DATAGRAMS_PER_FRAME * PACKETS_PER_DATAGRAM as u64;
/// Datagrams in a second of stream.
pub const DATAGRAMS_PER_SECOND: u64 = DATAGRAMS_PER_FRAME * FRAME_RATE;

/// From the drawing of a picture to its decoding, in 90 kHz ticks: 5 frames, as the largest IDR picture takes
/// three and a half to arrive. At this bit rate that is 92 kB, far below the 1.5 MB that a decoder of level
/// 3.0 can hold (ITU-T H.264, table A-1).
const DELAY: u64 = 5 * FRAME_TICKS;
const FRAME_TICKS: u64 = 90_000 / FRAME_RATE;
/// Of PTS, and of the PCR base (Systems 2.4.3.5, 2.4.3.7).
const TIMESTAMP_MASK: u64 = (1 << 33) - 1;

/// One IDR picture a second, so that a client that joins waits no longer.
const FRAMES_PER_IDR: u64 = FRAME_RATE;
/// Chosen: 20 ms in packets. Systems 2.7.2 allows 100 ms.
const PCR_INTERVAL: u64 = PACKETS_PER_FRAME / 2;
/// Chosen: 80 ms in packets, so that a client soon knows the PIDs. ETSI TR 101 290, 5.2.1 allows 500 ms.
const TABLES_INTERVAL: u64 = 2 * PACKETS_PER_FRAME;

const PID_NULL: u16 = 0x1fff;
const PID_PAT: u16 = 0;
const PID_SDT: u16 = 0x11;
const PID_PMT: u16 = 0x1000;
const PID_VIDEO: u16 = 0x100;
const PROGRAM: u16 = 1;
const TRANSPORT_STREAM: u16 = 1;
/// From the range for private, temporary use (ETSI TS 101 162).
const ORIGINAL_NETWORK: u16 = 0xff01;
const PROVIDER: &str = "flowgate";
const SERVICE: &str = "flowgate demo";

/// The endless stream.
pub struct Mux {
    /// What the stream clock says at the first packet, in 90 kHz ticks.
    start: u64,
    /// Packets made so far; at 2450 a second this never wraps.
    packets: u64,
    painter: Painter,
    encoder: Encoder,
    /// Pictures drawn so far.
    frames: u64,
    /// The PES packet of the picture on its way; only one is ever held.
    pes: Vec<u8>,
    pes_sent: usize,
    pes_kind: Kind,
    /// The packet that last carried a PCR, and the one at which the tables last fell due.
    pcr_at: Option<u64>,
    tables_at: u64,
    /// Tables still to be sent, before anything else.
    tables_due: &'static [Table],
    tables: Tables,
    video_continuity: Continuity,
}

impl Mux {
    /// A stream whose clock begins at `start`, in 90 kHz ticks, modulo 2^33.
    pub fn new(start: u64) -> Mux {
        Mux {
            start,
            packets: 0,
            painter: Painter::new(),
            encoder: Encoder::new(),
            frames: 0,
            pes: Vec::new(),
            pes_sent: 0,
            pes_kind: Kind::Idr,
            pcr_at: None,
            tables_at: 0,
            tables_due: &[],
            tables: Tables::new(),
            video_continuity: Continuity::default(),
        }
    }

    /// The next seven packets.
    ///
    /// `time_of_day` is asked for what the clock in picture n shows, n · 40 ms after the start. Pictures are
    /// in time for the decoder as long as that is a clock that runs, is set at times, but not all the time:
    /// each digit that changes costs bits.
    pub fn next_datagram(
        &mut self,
        time_of_day: &mut dyn FnMut(u64) -> TimeOfDay,
    ) -> [u8; DATAGRAM] {
        let mut datagram = [0xff; DATAGRAM];
        for packet in datagram.as_chunks_mut::<PACKET>().0 {
            self.write_packet(packet, time_of_day);
        }
        datagram
    }

    /// `packet` is all ones, which is what stuffing wants.
    fn write_packet(
        &mut self,
        packet: &mut [u8; PACKET],
        time_of_day: &mut dyn FnMut(u64) -> TimeOfDay,
    ) {
        let frame_due = self.packets >= self.frames * PACKETS_PER_FRAME;
        if frame_due && self.pes_sent == self.pes.len() {
            let time = time_of_day(self.frames);
            self.draw(time);
        }
        if self.packets - self.tables_at >= TABLES_INTERVAL {
            self.tables_at = self.packets;
            self.tables_due = &[Table::Pat, Table::Pmt];
        }
        let pcr_due = self
            .pcr_at
            .is_none_or(|at| self.packets - at >= PCR_INTERVAL);
        let pes_begins = self.pes_sent == 0;
        if let Some((&table, later)) = self.tables_due.split_first() {
            self.tables_due = later;
            self.tables.write(table, packet);
        } else if pcr_due || (pes_begins && self.pes_kind == Kind::Idr) {
            self.pcr_at = Some(self.packets);
            self.write_video(packet, Some(self.clock_27_mhz()));
        } else if self.pes_sent < self.pes.len() {
            self.write_video(packet, None);
        } else {
            // Systems 2.4.3.3, null packet: the continuity counter is undefined.
            write_header(packet, PID_NULL, false, PAYLOAD, 0);
        }
        self.packets += 1;
    }

    fn draw(&mut self, time: TimeOfDay) {
        self.pes_kind = match self.frames % FRAMES_PER_IDR {
            0 => Kind::Idr,
            _ => Kind::Predicted,
        };
        if self.pes_kind == Kind::Idr {
            self.tables_at = self.packets;
            self.tables_due = &[Table::Sdt, Table::Pat, Table::Pmt];
        }
        let pts = self.start.wrapping_add(self.frames * FRAME_TICKS + DELAY) & TIMESTAMP_MASK;
        self.pes.clear();
        self.pes_sent = 0;
        self.pes.extend_from_slice(&pes_header(pts));
        let picture = self.painter.draw(self.frames, time);
        self.encoder.encode(picture, self.pes_kind, &mut self.pes);
        self.frames += 1;
    }

    /// Now, by the number of packets, modulo the wrap of PCR.
    fn clock_27_mhz(&self) -> u64 {
        let since_start = self.packets * 300 * FRAME_TICKS / PACKETS_PER_FRAME;
        ((self.start & TIMESTAMP_MASK) * 300 + since_start) % ((TIMESTAMP_MASK + 1) * 300)
    }

    /// A packet with as much of the picture as fits, perhaps nothing. Systems 2.4.3.3 and 2.4.3.5.
    fn write_video(&mut self, packet: &mut [u8; PACKET], pcr: Option<u64>) {
        const ROOM: usize = PACKET - 4;
        let unsent = &self.pes[self.pes_sent..];
        let begins = self.pes_sent == 0 && !unsent.is_empty();
        let random_access = begins && self.pes_kind == Kind::Idr;
        // Length byte, flags and PCR; stuffing fills up what the picture does not.
        let adaptation_min = match pcr {
            Some(_) => 8,
            None if random_access => 2,
            None => 0,
        };
        let adaptation = adaptation_min.max(ROOM.saturating_sub(unsent.len()));
        let payload = &unsent[..ROOM - adaptation];
        let control = match (adaptation, payload) {
            (0, _) => PAYLOAD,
            (_, []) => ADAPTATION,
            _ => ADAPTATION | PAYLOAD,
        };
        let continuity = match payload {
            [] => self.video_continuity.unchanged(),
            _ => self.video_continuity.next(),
        };
        write_header(packet, PID_VIDEO, begins, control, continuity);
        if adaptation > 0 {
            packet[4] = adaptation as u8 - 1;
        }
        if adaptation > 1 {
            packet[5] = u8::from(random_access) << 6 | u8::from(pcr.is_some()) << 4;
        }
        if let Some(pcr) = pcr {
            // 33 bits of base, 6 reserved, 9 of extension.
            let field = (pcr / 300) << 15 | 0x3f << 9 | (pcr % 300);
            packet[6..12].copy_from_slice(&field.to_be_bytes()[2..]);
        }
        packet[4 + adaptation..].copy_from_slice(payload);
        self.pes_sent += payload.len();
    }
}

/// `adaptation_field_control` (Systems table 2-5).
const PAYLOAD: u8 = 0b01;
const ADAPTATION: u8 = 0b10;

/// Systems 2.4.3.2.
fn write_header(packet: &mut [u8; PACKET], pid: u16, begins: bool, control: u8, continuity: u8) {
    let [pid_high, pid_low] = pid.to_be_bytes();
    let header = [
        0x47,
        u8::from(begins) << 6 | pid_high,
        pid_low,
        control << 4 | continuity,
    ];
    packet[..4].copy_from_slice(&header);
}

/// The four bits that count the packets of a PID that carry payload (Systems 2.4.3.3).
#[derive(Clone, Copy, Default)]
struct Continuity(u8);

impl Continuity {
    fn next(&mut self) -> u8 {
        let value = self.0;
        self.0 = (value + 1) % 16;
        value
    }

    /// For a packet without payload: what the last one had.
    fn unchanged(self) -> u8 {
        self.0.wrapping_sub(1) % 16
    }
}

/// The head of a PES packet of video with a PTS and no length (Systems 2.4.3.6 and 2.4.3.7).
fn pes_header(pts: u64) -> [u8; 14] {
    // Three marker bits split the 33 bits into 3, 15 and 15.
    let stamp = 0b0010 << 36
        | (pts >> 30 & 0x7) << 33
        | 1 << 32
        | (pts >> 15 & 0x7fff) << 17
        | 1 << 16
        | (pts & 0x7fff) << 1
        | 1;
    let mut header = [
        0,
        0,
        1,
        0xe0,
        0,
        0,
        0b1000_0100,
        0b1000_0000,
        5,
        0,
        0,
        0,
        0,
        0,
    ];
    header[9..].copy_from_slice(&stamp.to_be_bytes()[3..]);
    header
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Table {
    Pat,
    Pmt,
    Sdt,
}

/// The finished tables, each in one packet.
struct Tables {
    pat: Vec<u8>,
    pmt: Vec<u8>,
    sdt: Vec<u8>,
    continuity: [Continuity; 3],
}

impl Tables {
    fn new() -> Tables {
        Tables {
            pat: pat(),
            pmt: pmt(),
            sdt: sdt(),
            continuity: [Continuity::default(); 3],
        }
    }

    fn write(&mut self, table: Table, packet: &mut [u8; PACKET]) {
        let (pid, section) = match table {
            Table::Pat => (PID_PAT, &self.pat),
            Table::Pmt => (PID_PMT, &self.pmt),
            Table::Sdt => (PID_SDT, &self.sdt),
        };
        write_header(
            packet,
            pid,
            true,
            PAYLOAD,
            self.continuity[table as usize].next(),
        );
        packet[4] = 0; // pointer_field: the section begins at once
        packet[5..5 + section.len()].copy_from_slice(section);
    }
}

/// Systems 2.4.4.3.
fn pat() -> Vec<u8> {
    let [program_high, program_low] = PROGRAM.to_be_bytes();
    let [pid_high, pid_low] = PID_PMT.to_be_bytes();
    section(
        0x00,
        0xb0,
        TRANSPORT_STREAM,
        &[program_high, program_low, 0xe0 | pid_high, pid_low],
    )
}

/// Systems 2.4.4.8.
fn pmt() -> Vec<u8> {
    const AVC: u8 = 0x1b; // Systems table 2-34
    let [pid_high, pid_low] = PID_VIDEO.to_be_bytes();
    let pid = [0xe0 | pid_high, pid_low];
    let no_descriptors = [0xf0, 0x00];
    let body = [&pid[..], &no_descriptors, &[AVC], &pid, &no_descriptors].concat();
    section(0x02, 0xb0, PROGRAM, &body)
}

/// ETSI EN 300 468, 5.2.3 and 6.2.33 (`service_descriptor`).
fn sdt() -> Vec<u8> {
    const AVC_SD_TELEVISION: u8 = 0x16; // `service_type`, EN 300 468, 6.2.33
    let provider = [&[PROVIDER.len() as u8], PROVIDER.as_bytes()].concat();
    let service = [&[SERVICE.len() as u8], SERVICE.as_bytes()].concat();
    let content = [&[AVC_SD_TELEVISION][..], &provider, &service].concat();
    let descriptor = [&[0x48, content.len() as u8], &content[..]].concat();
    let [network_high, network_low] = ORIGINAL_NETWORK.to_be_bytes();
    let [service_high, service_low] = PROGRAM.to_be_bytes();
    let body = [
        &[network_high, network_low, 0xff][..],
        // No event information; running_status 4, running; not scrambled.
        &[
            service_high,
            service_low,
            0xfc,
            0x80,
            descriptor.len() as u8,
        ],
        &descriptor,
    ]
    .concat();
    section(0x42, 0xf0, TRANSPORT_STREAM, &body)
}

/// A section in the long syntax (Systems 2.4.4.10), version 0, the only one of its table.
///
/// `flags` are the bits before the length.
fn section(table_id: u8, flags: u8, table_id_extension: u16, body: &[u8]) -> Vec<u8> {
    let [extension_high, extension_low] = table_id_extension.to_be_bytes();
    // After the length: five bytes of head, the body, the CRC.
    let length = 5 + body.len() + 4;
    debug_assert!(3 + length <= PACKET - 5, "one packet must do");
    let mut section = vec![
        table_id,
        flags,
        length as u8,
        extension_high,
        extension_low,
        0xc1,
        0,
        0,
    ];
    section.extend_from_slice(body);
    section.extend_from_slice(&crc_32(&section).to_be_bytes());
    section
}

/// Systems annex A: polynomial 0x04c11db7, all ones at first, nothing reflected or inverted.
fn crc_32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            let carry = crc >> 31;
            crc = (crc << 1) ^ (0x04c1_1db7 * carry);
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WRAP: u64 = 1 << 33;

    fn clock(frame: u64) -> TimeOfDay {
        TimeOfDay::since_epoch(Duration::from_millis(86_398_000 + 40 * frame))
    }

    /// `seconds` of a stream that wraps after two.
    fn packets(seconds: u64) -> Vec<[u8; PACKET]> {
        let mut mux = Mux::new(WRAP - 180_000);
        let datagrams = (0..seconds * DATAGRAMS_PER_SECOND).map(|_| mux.next_datagram(&mut clock));
        datagrams
            .flat_map(|datagram| datagram.as_chunks::<PACKET>().0.to_vec())
            .collect()
    }

    fn pid(packet: &[u8; PACKET]) -> u16 {
        u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
    }

    fn has_payload(packet: &[u8; PACKET]) -> bool {
        packet[3] & 0x10 != 0
    }

    fn begins(packet: &[u8; PACKET]) -> bool {
        packet[1] & 0x40 != 0
    }

    /// The flags of the adaptation field, if it has any.
    fn flags(packet: &[u8; PACKET]) -> Option<u8> {
        (packet[3] & 0x20 != 0 && packet[4] > 0).then(|| packet[5])
    }

    fn is_random_access(packet: &[u8; PACKET]) -> bool {
        flags(packet).is_some_and(|flags| flags & 0x40 != 0)
    }

    fn pcr(packet: &[u8; PACKET]) -> Option<u64> {
        flags(packet).filter(|flags| flags & 0x10 != 0)?;
        let field = u64::from_be_bytes([&[0, 0], &packet[6..12]].concat().try_into().unwrap());
        Some((field >> 15) * 300 + (field & 0x1ff))
    }

    fn payload(packet: &[u8; PACKET]) -> &[u8] {
        match packet[3] >> 4 & 3 {
            0b01 => &packet[4..],
            0b11 => &packet[5 + usize::from(packet[4])..],
            _ => &[],
        }
    }

    fn pts(pes: &[u8]) -> u64 {
        let [a, b, c, d, e] = pes[9..14]
            .try_into()
            .map(|bytes: [u8; 5]| bytes.map(u64::from))
            .unwrap();
        assert_eq!((a & 0xf1, c & 1, e & 1), (0x21, 1, 1), "markers");
        (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
    }

    #[test]
    fn crc_has_the_published_check_value() {
        assert_eq!(crc_32(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn crc_over_a_whole_section_is_zero() {
        for section in [pat(), pmt(), sdt()] {
            assert_eq!(crc_32(&section), 0);
            assert_eq!(usize::from(section[2]), section.len() - 3);
        }
    }

    #[test]
    fn tables_are_those_of_systems_2_4_4() {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let (pat, pmt) = (pat(), pmt());
        assert_eq!(hex(&pat[..12]), "00b00d0001c100000001f000");
        assert_eq!(hex(&pmt[..17]), "02b0120001c10000e100f0001be100f000");
    }

    #[test]
    fn continuity_counts_payload_of_each_pid_without_a_gap() {
        let mut last = std::collections::BTreeMap::new();
        for packet in packets(20) {
            assert_eq!(packet[0], 0x47);
            if pid(&packet) == PID_NULL {
                continue;
            }
            let counter = packet[3] & 15;
            if let Some(last) = last.insert(pid(&packet), counter) {
                assert_eq!(counter, (last + u8::from(has_payload(&packet))) % 16);
            }
        }
        assert_eq!(last.len(), 4);
    }

    #[test]
    fn pcr_is_the_position_in_the_stream_across_the_wrap() {
        let packets = packets(5);
        let pcrs = packets
            .iter()
            .enumerate()
            .filter_map(|(at, packet)| Some((at as u64, pcr(packet)?)));
        let pcrs: Vec<(u64, u64)> = pcrs.collect();
        let start = (WRAP - 180_000) * 300;
        for &(at, pcr) in &pcrs {
            assert_eq!(
                pcr,
                (start + at * 1_080_000 / PACKETS_PER_FRAME) % (WRAP * 300)
            );
        }
        assert!(pcrs.windows(2).any(|pair| pair[1].1 < pair[0].1), "wrapped");
        // 40 ms of 27 MHz.
        assert!(
            pcrs.windows(2)
                .all(|pair| (pair[1].0 - pair[0].0) * 2 <= PACKETS_PER_FRAME * 2)
        );
    }

    #[test]
    fn pts_advances_by_a_frame_across_the_wrap() {
        let packets = packets(5);
        let begun = packets
            .iter()
            .filter(|packet| pid(packet) == PID_VIDEO && begins(packet));
        let stamps: Vec<u64> = begun.map(|packet| pts(payload(packet))).collect();
        assert_eq!(stamps.len(), 125);
        assert!(
            stamps
                .windows(2)
                .all(|pair| pair[1] == (pair[0] + 3600) % WRAP)
        );
        assert!(stamps[0] > stamps[124], "wrapped");
    }

    #[test]
    fn pictures_arrive_before_they_are_due() {
        // The worst that a real clock does: all digits change at midnight, and someone sets it.
        let mut mux = Mux::new(0);
        let mut clock = |frame: u64| match frame {
            26 => TimeOfDay::since_epoch(Duration::from_secs(11 * 3600)),
            _ => clock(frame),
        };
        let mut due = 0;
        let mut at = 0;
        for _ in 0..10 * DATAGRAMS_PER_SECOND {
            for packet in mux.next_datagram(&mut clock).as_chunks::<PACKET>().0 {
                at += 1;
                if pid(packet) != PID_VIDEO || !has_payload(packet) {
                    continue;
                }
                if begins(packet) {
                    due = pts(payload(packet));
                }
                let arrived = at * FRAME_TICKS / PACKETS_PER_FRAME;
                assert!(arrived < due, "{arrived} {due}");
                assert!(due - arrived <= DELAY, "{arrived} {due}");
            }
        }
    }

    #[test]
    fn tables_come_before_each_idr_picture_and_every_100_ms() {
        let packets = packets(5);
        let mut idr_pictures = 0;
        let mut pat_at = 0;
        for (at, packet) in packets.iter().enumerate() {
            if is_random_access(packet) {
                idr_pictures += 1;
                let before = packets[at - 3..at].iter().map(pid);
                assert!(before.eq([PID_SDT, PID_PAT, PID_PMT]));
                assert!(begins(packet) && pcr(packet).is_some());
            }
            if pid(packet) == PID_PAT {
                assert!(at - pat_at <= PACKETS_PER_FRAME as usize * 5 / 2);
                assert_eq!(pid(&packets[at + 1]), PID_PMT);
                pat_at = at;
            }
        }
        assert_eq!(idr_pictures, 5);
    }

    #[test]
    fn stream_is_a_function_of_its_start() {
        assert!(packets(2) == packets(2));
    }

    #[test]
    fn stuffing_leaves_exactly_the_picture() {
        // Any size of the rest of a picture, with and without PCR.
        let mut mux = Mux::new(0);
        for (rest, with_pcr) in (0..400).flat_map(|rest| [(rest, false), (rest, true)]) {
            mux.pes = (0..rest + 1).map(|byte| byte as u8).collect();
            mux.pes_sent = 1;
            let mut sent = Vec::new();
            while mux.pes_sent < mux.pes.len() {
                let mut packet = [0xff; PACKET];
                mux.write_video(&mut packet, with_pcr.then_some(12_345));
                assert_eq!(pcr(&packet), with_pcr.then_some(12_345));
                sent.extend_from_slice(payload(&packet));
            }
            assert_eq!(sent, mux.pes[1..]);
        }
    }
}
