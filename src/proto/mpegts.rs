//! MPEG transport stream (ISO/IEC 13818-1): recognising it, and finding where a decoder can start.
//!
//! A [`Scanner`] follows PAT and PMT of the first program and looks at the beginning of each access unit of
//! its video. It does not demultiplex, keeps no media, and reads 4 bytes of each packet that is of no
//! interest. Section numbers below are those of ISO/IEC 13818-1.

/// Length of a TS packet in bytes (§2.4.3.2).
pub const PACKET_BYTES: usize = 188;

/// First byte of every TS packet.
pub const SYNC: u8 = 0x47;

/// Most TS packets one PAT or PMT section may span. Its 1024 bytes need 6; the rest is for packets cut short
/// by an adaptation field.
const SECTION_PACKETS_MAX: usize = 8;

/// Longest PAT or PMT section in bytes: 3 of header and a `section_length` of at most 1021 (§2.4.4.3).
const SECTION_BYTES_MAX: usize = 1024;

/// Most TS packets of one access unit that are searched for its first slice. Parameter sets and SEI before
/// it rarely fill more than two.
const UNIT_PACKETS_MAX: usize = 8;

/// PID of the PAT.
const PAT_PID: u16 = 0;

/// Whether a payload looks like MPEG-TS.
///
/// At least one whole packet, and the sync byte at the start of the first three packets as far as they are
/// whole. A tail that is not a multiple of [`PACKET_BYTES`] is allowed.
#[inline]
pub fn looks_like_ts(payload: &[u8]) -> bool {
    let mut packets = payload.chunks_exact(PACKET_BYTES).take(3).peekable();
    packets.peek().is_some() && packets.all(|packet| packet.first() == Some(&SYNC))
}

/// Finds the TS packets at which a decoder can start; see [`Scanner::scan`].
#[derive(Debug, Default)]
pub struct Scanner {
    pat: Table,
    pmt: Table,
    program: Option<Program>,
    entry: Option<Entry>,
    tables_at_start: Vec<u8>,
}

/// The first program of the PAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Program {
    number: u16,
    pmt_pid: u16,
}

/// The elementary stream whose access units are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    pid: u16,
    codec: Codec,
}

impl Scanner {
    /// A scanner that knows no tables yet, and so reports no starts.
    pub fn new() -> Self {
        Scanner::default()
    }

    /// Walks the TS packets of `payload` and appends to `starts` the byte offset of each at which a decoder
    /// can start, in ascending order.
    ///
    /// `payload` starts on a packet boundary; what follows its last whole packet is ignored, and so are
    /// packets without sync byte or with the error indicator.
    ///
    /// A start is the first packet of a PES packet of the first program's first video stream, if
    ///
    /// - its `random_access_indicator` is set (§2.4.3.5), or
    /// - within its first 8 TS packets comes, before any other slice, an IDR or SPS of H.264, an IRAP, VPS or
    ///   SPS of HEVC or VVC, a sequence header or I picture of MPEG-1, MPEG-2 or AVS, or an I-VOP or
    ///   configuration of MPEG-4 part 2.
    ///
    /// Without video it is the first packet of each PES packet of the first audio stream.
    ///
    /// The access unit is searched only within this payload: a start without `random_access_indicator`
    /// whose parameter sets or slice come in a later payload is missed, and the next one is found. Scrambled
    /// video is recognised by its `random_access_indicator` alone.
    pub fn scan(&mut self, payload: &[u8], starts: &mut Vec<usize>) {
        let mut unit: Option<Unit> = None;
        for (index, bytes) in payload.chunks_exact(PACKET_BYTES).enumerate() {
            let Some(packet) = Packet::decode(bytes) else {
                continue;
            };
            let start = index * PACKET_BYTES;
            if packet.pid == PAT_PID {
                self.receive_pat(&packet);
            } else if self.entry.is_some_and(|entry| entry.pid == packet.pid) {
                let Some(Entry { codec, .. }) = self.entry else {
                    continue;
                };
                if packet.starts_unit {
                    unit = None;
                    if codec == Codec::Audio || packet.is_random_access() {
                        self.report(start, starts);
                        continue;
                    }
                    unit = Some(Unit::new(codec, start));
                }
                let Some(searched) = &mut unit else { continue };
                match searched.search(&packet) {
                    Search::Start => {
                        let start = searched.start;
                        unit = None;
                        self.report(start, starts);
                    }
                    Search::NoStart => unit = None,
                    Search::Undecided => {}
                }
            } else if self
                .program
                .is_some_and(|program| program.pmt_pid == packet.pid)
            {
                self.receive_pmt(&packet);
            }
        }
    }

    /// PAT and then PMT as whole TS packets, as they stood at the last start reported; at most 16 packets.
    ///
    /// Empty before the first start. The packets are as received, continuity counters included.
    pub fn tables_at_start(&self) -> &[u8] {
        &self.tables_at_start
    }

    fn report(&mut self, start: usize, starts: &mut Vec<usize>) {
        self.tables_at_start.clear();
        self.tables_at_start
            .extend_from_slice(&self.pat.accepted_packets);
        self.tables_at_start
            .extend_from_slice(&self.pmt.accepted_packets);
        starts.push(start);
    }

    fn receive_pat(&mut self, packet: &Packet<'_>) {
        let mut program = None;
        self.pat.receive(packet, |section| {
            program = decode_pat(section);
            program.is_some()
        });
        if program.is_some() && program != self.program {
            self.program = program;
            self.pmt = Table::default();
            self.entry = None;
        }
    }

    fn receive_pmt(&mut self, packet: &Packet<'_>) {
        let Some(program) = self.program else { return };
        let mut entry = None;
        self.pmt.receive(packet, |section| {
            entry = decode_pmt(section, program.number);
            entry.is_some()
        });
        if let Some(entry) = entry {
            self.entry = entry;
        }
    }
}

/// A TS packet (§2.4.3.2).
struct Packet<'a> {
    bytes: &'a [u8],
    pid: u16,
    /// `payload_unit_start_indicator`
    starts_unit: bool,
    /// Scrambling, adaptation field control and continuity counter.
    control: u8,
}

impl<'a> Packet<'a> {
    #[inline]
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            &[SYNC, high, low, control, ..] if high & 0x80 == 0 => Some(Packet {
                bytes,
                pid: u16::from_be_bytes([high & 0x1f, low]),
                starts_unit: high & 0x40 != 0,
                control,
            }),
            _ => None,
        }
    }

    fn is_scrambled(&self) -> bool {
        self.control & 0xc0 != 0
    }

    fn has_payload(&self) -> bool {
        self.control & 0x10 != 0
    }

    fn continuity(&self) -> u8 {
        self.control & 0x0f
    }

    /// Adaptation field without its length byte; empty if there is none.
    fn adaptation(&self) -> &'a [u8] {
        match self.bytes.get(4..) {
            Some([length, field @ ..]) if self.control & 0x20 != 0 => {
                field.get(..usize::from(*length)).unwrap_or_default()
            }
            _ => &[],
        }
    }

    fn is_random_access(&self) -> bool {
        self.adaptation()
            .first()
            .is_some_and(|flags| flags & 0x40 != 0)
    }

    /// Bytes behind header and adaptation field; empty if there are none.
    fn payload(&self) -> &'a [u8] {
        let behind_header = self.bytes.get(4..).unwrap_or_default();
        match behind_header {
            _ if !self.has_payload() => &[],
            [length, field @ ..] if self.control & 0x20 != 0 => {
                field.get(usize::from(*length)..).unwrap_or_default()
            }
            _ => behind_header,
        }
    }
}

/// Collects the sections of one PID and keeps the last one that was accepted (§2.4.4).
#[derive(Debug, Default)]
struct Table {
    /// Section being collected; empty while waiting for one to start.
    section: Vec<u8>,
    /// The TS packets `section` came in.
    packets: Vec<u8>,
    continuity: u8,
    accepted: Vec<u8>,
    accepted_packets: Vec<u8>,
}

impl Table {
    /// Takes a packet; `accept` is asked about each whole section that differs from the last one accepted
    /// and has a sound CRC.
    fn receive(&mut self, packet: &Packet<'_>, mut accept: impl FnMut(&[u8]) -> bool) {
        if packet.is_scrambled() || !packet.has_payload() {
            return;
        }
        let collecting = !self.section.is_empty();
        if collecting && packet.continuity() == self.continuity && !packet.starts_unit {
            // A packet may be sent twice (§2.4.3.3).
            return;
        }
        let continues = collecting && packet.continuity() == (self.continuity + 1) & 0x0f;
        self.continuity = packet.continuity();
        let payload = packet.payload();
        let (ending, starting) = match payload {
            [pointer, rest @ ..] if packet.starts_unit => rest
                .split_at_checked(usize::from(*pointer))
                .unwrap_or((rest, &[])),
            _ => (payload, &[][..]),
        };
        if continues {
            self.collect(ending, packet, &mut accept);
        }
        if packet.starts_unit || !continues {
            self.abandon();
        }
        let mut rest = starting;
        // Sections follow each other without gap; 0xff is stuffing up to the end of the packet.
        while rest.first().is_some_and(|&table_id| table_id != 0xff) {
            let before = rest.len();
            rest = self.collect(rest, packet, &mut accept);
            if rest.len() == before || !self.section.is_empty() {
                break;
            }
        }
    }

    /// Appends to the section what belongs to it, and settles it once it is whole. Returns the bytes behind.
    fn collect<'b>(
        &mut self,
        mut bytes: &'b [u8],
        packet: &Packet<'_>,
        accept: &mut impl FnMut(&[u8]) -> bool,
    ) -> &'b [u8] {
        if self.packets.len() >= SECTION_PACKETS_MAX * PACKET_BYTES {
            self.abandon();
            return &[];
        }
        self.packets.extend_from_slice(packet.bytes);
        loop {
            let whole_bytes = match self.section.as_slice() {
                &[_, high, low, ..] => 3 + usize::from(u16::from_be_bytes([high & 0x0f, low])),
                _ => 3,
            };
            if whole_bytes > SECTION_BYTES_MAX {
                self.abandon();
                return &[];
            }
            let missing_bytes = whole_bytes.saturating_sub(self.section.len());
            if missing_bytes == 0 {
                break;
            }
            let (taken, rest) = bytes
                .split_at_checked(missing_bytes)
                .unwrap_or((bytes, &[]));
            self.section.extend_from_slice(taken);
            bytes = rest;
            if taken.len() < missing_bytes {
                return &[];
            }
        }
        let repeated = self.section == self.accepted;
        if repeated || (crc32(&self.section) == 0 && accept(&self.section)) {
            std::mem::swap(&mut self.accepted, &mut self.section);
            std::mem::swap(&mut self.accepted_packets, &mut self.packets);
        }
        self.abandon();
        bytes
    }

    fn abandon(&mut self) {
        self.section.clear();
        self.packets.clear();
    }
}

/// CRC-32 of §2.4.4 and annex A; 0 over a section that ends with its own.
fn crc32(section: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        let index = (crc >> 24) as u8 ^ byte;
        crc << 8
            ^ CRC_TABLE
                .get(usize::from(index))
                .copied()
                .unwrap_or_default()
    };
    section.iter().fold(u32::MAX, step)
}

static CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 {
                crc << 1 ^ 0x04c1_1db7
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// Content of a long-form section behind `last_section_number`, and its `table_id_extension`; `None` unless
/// it is the first section of a table with this id that applies now.
fn section_content(section: &[u8], wanted_id: u8) -> Option<(u16, &[u8])> {
    let (&[table_id, syntax, _, id0, id1, version, number, _], rest) =
        section.split_first_chunk()?;
    let (content, _crc) = rest.split_last_chunk::<4>()?;
    let applies = table_id == wanted_id && syntax & 0x80 != 0 && version & 1 == 1 && number == 0;
    applies.then_some((u16::from_be_bytes([id0, id1]), content))
}

/// The first program of a PAT (§2.4.4.3); number 0 names the network PID.
fn decode_pat(section: &[u8]) -> Option<Program> {
    let (_, content) = section_content(section, 0x00)?;
    content.chunks_exact(4).find_map(|entry| match *entry {
        [n0, n1, p0, p1] if (n0, n1) != (0, 0) => {
            let pmt_pid = u16::from_be_bytes([p0 & 0x1f, p1]);
            Some(Program {
                number: u16::from_be_bytes([n0, n1]),
                pmt_pid,
            })
        }
        _ => None,
    })
}

/// What a PMT (§2.4.4.8) says to look at: the first video stream, else the first audio stream, else nothing.
/// The outer `None` is for what is not the PMT of this program.
fn decode_pmt(section: &[u8], program_number: u16) -> Option<Option<Entry>> {
    let (number, content) = section_content(section, 0x02)?;
    let (&[_, _, info0, info1], rest) = content.split_first_chunk()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes([info0 & 0x0f, info1]))..)?;
    if number != program_number {
        return None;
    }
    let mut audio = None;
    while let Some((&[stream_type, p0, p1, l0, l1], behind)) = rest.split_first_chunk() {
        let descriptor_bytes = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
        let (descriptors, behind) = behind
            .split_at_checked(descriptor_bytes)
            .unwrap_or((behind, &[]));
        let pid = u16::from_be_bytes([p0 & 0x1f, p1]);
        match Codec::of(stream_type, descriptors) {
            Some(Codec::Audio) => {
                audio = audio.or(Some(Entry {
                    pid,
                    codec: Codec::Audio,
                }))
            }
            Some(codec) => return Some(Some(Entry { pid, codec })),
            None => {}
        }
        rest = behind;
    }
    Some(audio)
}

/// How the first slice of an access unit is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    /// MPEG-1 and MPEG-2 (ISO/IEC 11172-2, 13818-2).
    Mpeg2,
    /// MPEG-4 part 2 (ISO/IEC 14496-2).
    Mpeg4,
    H264,
    Hevc,
    Vvc,
    /// AVS, AVS2 and AVS3.
    Avs,
    /// Video of which only the random access indicator is understood.
    OtherVideo,
    Audio,
}

impl Codec {
    /// By `stream_type` (§2.4.4.9, table 2-34, and what is registered in its user range).
    fn of(stream_type: u8, descriptors: &[u8]) -> Option<Codec> {
        match stream_type {
            0x01 | 0x02 | 0x80 => Some(Codec::Mpeg2),
            0x10 => Some(Codec::Mpeg4),
            0x1b => Some(Codec::H264),
            0x24 => Some(Codec::Hevc),
            0x33 => Some(Codec::Vvc),
            0x42 | 0xd2 | 0xd4 => Some(Codec::Avs),
            0x21 | 0xd1 | 0xea => Some(Codec::OtherVideo),
            0x03
            | 0x04
            | 0x0f
            | 0x11
            | 0x1c
            | 0x2d
            | 0x2e
            | 0x43
            | 0x81..=0x88
            | 0x8a
            | 0xc1
            | 0xd3
            | 0xd5 => Some(Codec::Audio),
            0x06 if has_audio_descriptor(descriptors) => Some(Codec::Audio),
            _ => None,
        }
    }
}

/// AC-3, enhanced AC-3, DTS or AAC descriptor (ETSI EN 300 468 §6.1) of a stream of private data.
fn has_audio_descriptor(mut descriptors: &[u8]) -> bool {
    while let Some((&[tag, length], rest)) = descriptors.split_first_chunk() {
        if matches!(tag, 0x6a | 0x7a | 0x7b | 0x7c) {
            return true;
        }
        descriptors = rest.get(usize::from(length)..).unwrap_or_default();
    }
    false
}

/// What the search of an access unit has found so far.
enum Search {
    Start,
    NoStart,
    Undecided,
}

/// The beginning of an access unit that is being searched.
struct Unit {
    codec: Codec,
    /// Offset of its first TS packet in the payload being scanned.
    start: usize,
    packets: usize,
    /// Bytes of the PES header still to be skipped; `None` until its length is known.
    header_bytes: Option<usize>,
    /// The last four bytes, most recent lowest; ones, which are no start code, at the beginning.
    last_bytes: u32,
    /// Bytes of `last_bytes` that are still to come until a start code can be judged.
    pending_bytes: u8,
}

/// Start of a PES packet up to `PES_header_data_length` (§2.4.3.6).
const PES_HEADER_BYTES: usize = 9;

impl Unit {
    fn new(codec: Codec, start: usize) -> Self {
        Unit {
            codec,
            start,
            packets: 0,
            header_bytes: None,
            last_bytes: u32::MAX,
            pending_bytes: 0,
        }
    }

    fn search(&mut self, packet: &Packet<'_>) -> Search {
        self.packets += 1;
        if packet.is_scrambled() || self.packets > UNIT_PACKETS_MAX {
            return Search::NoStart;
        }
        let mut payload = packet.payload();
        if self.header_bytes.is_none() {
            let Some((&[0, 0, 1, _, _, _, _, _, length], rest)) =
                payload.split_first_chunk::<PES_HEADER_BYTES>()
            else {
                return Search::NoStart;
            };
            self.header_bytes = Some(usize::from(length));
            payload = rest;
        }
        let header_bytes = self.header_bytes.unwrap_or_default().min(payload.len());
        self.header_bytes = self.header_bytes.map(|missing| missing - header_bytes);
        for &byte in payload.get(header_bytes..).unwrap_or_default() {
            match self.push(byte) {
                Search::Undecided => {}
                decided => return decided,
            }
        }
        Search::Undecided
    }

    /// Takes one byte of the elementary stream.
    fn push(&mut self, byte: u8) -> Search {
        let before = self.last_bytes;
        self.last_bytes = before << 8 | u32::from(byte);
        if self.pending_bytes > 0 {
            self.pending_bytes -= 1;
            if self.pending_bytes == 0 {
                return self.judge_behind_code(byte);
            }
        } else if before & 0x00ff_ffff == 1 {
            return self.judge_code(byte);
        }
        Search::Undecided
    }

    /// Judges the byte behind the prefix 00 00 01: a start code value or the first byte of a NAL header.
    fn judge_code(&mut self, code: u8) -> Search {
        match self.codec {
            // Rec. H.264 table 7-1: 5 IDR, 7 SPS, 1 to 4 other slices.
            Codec::H264 => match code & 0x1f {
                5 | 7 => Search::Start,
                1..=4 => Search::NoStart,
                _ => Search::Undecided,
            },
            // Rec. H.265 table 7-1: 16 to 21 IRAP, 32 VPS, 33 SPS, 0 to 9 other slices.
            Codec::Hevc => match code >> 1 & 0x3f {
                16..=21 | 32 | 33 => Search::Start,
                0..=9 => Search::NoStart,
                _ => Search::Undecided,
            },
            // Rec. H.266: the type is in the second byte.
            Codec::Vvc => self.wait_for(1),
            // ISO/IEC 13818-2 table 6-1: sequence header, picture, slices.
            Codec::Mpeg2 => match code {
                0xb3 => Search::Start,
                0x00 => self.wait_for(2),
                0x01..=0xaf => Search::NoStart,
                _ => Search::Undecided,
            },
            // ISO/IEC 14496-2 table 6-3: video object (layer), visual object sequence, VOP.
            Codec::Mpeg4 => match code {
                0x00..=0x2f | 0xb0 => Search::Start,
                0xb6 => self.wait_for(1),
                _ => Search::Undecided,
            },
            // GB/T 20090.2: sequence header, I picture, other pictures.
            Codec::Avs => match code {
                0xb0 | 0xb3 => Search::Start,
                0xb6 => Search::NoStart,
                _ => Search::Undecided,
            },
            Codec::OtherVideo | Codec::Audio => Search::NoStart,
        }
    }

    fn wait_for(&mut self, bytes: u8) -> Search {
        self.pending_bytes = bytes;
        Search::Undecided
    }

    /// Judges the last byte [`Unit::judge_code`] waited for.
    fn judge_behind_code(&self, byte: u8) -> Search {
        match self.codec {
            // Rec. H.266 table 5: 7 to 10 IRAP and GDR, 14 VPS, 15 SPS, 0 to 6 other slices.
            Codec::Vvc => match byte >> 3 {
                7..=10 | 14 | 15 => Search::Start,
                0..=6 => Search::NoStart,
                _ => Search::Undecided,
            },
            // `picture_coding_type` follows 10 bits of `temporal_reference`.
            Codec::Mpeg2 if byte >> 3 & 7 == 1 => Search::Start,
            // `vop_coding_type`
            Codec::Mpeg4 if byte >> 6 == 0 => Search::Start,
            _ => Search::NoStart,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOWHERE: [usize; 0] = [];

    #[test]
    fn sync_is_checked_in_up_to_three_whole_packets() {
        let mut payload = vec![0u8; 4 * PACKET_BYTES];
        for start in [0, 188, 376] {
            assert!(!looks_like_ts(&payload));
            payload[start] = SYNC;
        }
        assert!(
            looks_like_ts(&payload),
            "the fourth packet is not looked at"
        );
        assert!(looks_like_ts(&payload[..3 * PACKET_BYTES + 1]));
        payload[188] = 0;
        assert!(
            looks_like_ts(&payload[..375]),
            "a packet that is not whole is not looked at"
        );
        assert!(!looks_like_ts(&payload[..187]));
        assert!(!looks_like_ts(b""));
    }

    /// A TS packet with `payload` at its end behind as much adaptation field as is needed.
    fn packet(
        pid: u16,
        starts_unit: bool,
        continuity: u8,
        random_access: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut bytes = vec![SYNC, high | u8::from(starts_unit) << 6, low];
        let stuffing = PACKET_BYTES - 4 - payload.len();
        assert!(stuffing > 1 || !random_access);
        bytes.push(continuity & 0x0f | if stuffing > 0 { 0x30 } else { 0x10 });
        if stuffing > 0 {
            bytes.push(stuffing as u8 - 1);
        }
        if stuffing > 1 {
            bytes.push(u8::from(random_access) << 6);
        }
        bytes.resize(PACKET_BYTES - payload.len(), 0xff);
        bytes.extend(payload);
        bytes
    }

    /// A PES packet cut into TS packets of at most `chunk` payload bytes.
    fn pes(pid: u16, random_access: bool, chunk: usize, elementary: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
        bytes.extend(elementary);
        let packets = bytes.chunks(chunk).enumerate();
        packets
            .flat_map(|(index, part)| {
                packet(
                    pid,
                    index == 0,
                    index as u8,
                    random_access && index == 0,
                    part,
                )
            })
            .collect()
    }

    /// A section with its CRC, cut into TS packets.
    fn section(pid: u16, table_id: u8, id: u16, version: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, table_id, 0, 0];
        bytes.extend(id.to_be_bytes());
        bytes.extend([0xc1 | version << 1, 0, 0]);
        bytes.extend(content);
        let length = (bytes.len() as u16 - 4 + 4) | 0xb000;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let crc = slow_crc32(&bytes[1..]);
        bytes.extend(crc.to_be_bytes());
        bytes.resize(bytes.len().next_multiple_of(184), 0xff);
        let packets = bytes.chunks(184).enumerate();
        packets
            .flat_map(|(index, part)| packet(pid, index == 0, index as u8, false, part))
            .collect()
    }

    /// Bit by bit, as annex A draws it.
    fn slow_crc32(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for bit in bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1))
        {
            let feedback = crc >> 31 != u32::from(bit);
            crc = crc << 1 ^ if feedback { 0x04c1_1db7 } else { 0 };
        }
        crc
    }

    fn pat(programs: &[(u16, u16)]) -> Vec<u8> {
        let entry = |&(number, pid): &(u16, u16)| {
            [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat()
        };
        section(
            0,
            0,
            1,
            0,
            &programs.iter().flat_map(entry).collect::<Vec<_>>(),
        )
    }

    fn pmt_with(
        pid: u16,
        number: u16,
        version: u8,
        descriptors: &[u8],
        streams: &[(u8, u16)],
    ) -> Vec<u8> {
        let mut content = vec![
            0xe1,
            0x00,
            0xf0 | (descriptors.len() >> 8) as u8,
            descriptors.len() as u8,
        ];
        content.extend(descriptors);
        for &(stream_type, pid) in streams {
            content.push(stream_type);
            content.extend((pid | 0xe000).to_be_bytes());
            content.extend([0xf0, 2, 0x0a, 0]);
        }
        section(pid, 2, number, version, &content)
    }

    fn pmt(streams: &[(u8, u16)]) -> Vec<u8> {
        pmt_with(0x20, 1, 0, &[], streams)
    }

    fn starts(scanner: &mut Scanner, payload: &[u8]) -> Vec<usize> {
        let mut starts = Vec::new();
        scanner.scan(payload, &mut starts);
        starts
    }

    /// A scanner that knows program 1 with one video stream on PID 0x100.
    fn scanner(stream_type: u8) -> Scanner {
        let mut scanner = Scanner::new();
        let tables = [
            pat(&[(0, 0x10), (1, 0x20)]),
            pmt(&[(0x0f, 0x101), (stream_type, 0x100)]),
        ]
        .concat();
        assert_eq!(starts(&mut scanner, &tables), NOWHERE);
        scanner
    }

    fn is_start(stream_type: u8, elementary: &[u8]) -> bool {
        let found = starts(
            &mut scanner(stream_type),
            &pes(0x100, false, 184, elementary),
        );
        assert!(found.is_empty() || found == [0]);
        !found.is_empty()
    }

    /// The example every CRC catalogue gives for CRC-32/MPEG-2.
    #[test]
    fn crc_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
        assert_eq!(slow_crc32(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn random_access_indicator_makes_a_start() {
        let mut scanner = scanner(0x1b);
        let payload = [
            pes(0x101, true, 100, &[0; 300]),
            pes(0x100, false, 100, &[0, 0, 1, 0x41, 0x9a]),
            pes(0x100, true, 100, &[0, 0, 1, 0x41, 0x9a]),
        ]
        .concat();
        assert_eq!(starts(&mut scanner, &payload), [5 * 188]);
    }

    #[test]
    fn h264_starts_at_idr_and_sps() {
        assert!(is_start(
            0x1b,
            &[0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x67, 0x64]
        ));
        assert!(is_start(0x1b, &[0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88]));
        assert!(!is_start(
            0x1b,
            &[0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 0x88, 0, 0, 1, 0x65]
        ));
        assert!(!is_start(0x1b, &[0, 0, 1, 9, 0xf0, 0, 1, 0x65]));
    }

    #[test]
    fn hevc_starts_at_irap_and_vps() {
        for nal_type in 0..64 {
            let expected = matches!(nal_type, 16..=21 | 32 | 33);
            assert_eq!(
                is_start(0x24, &[0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, nal_type << 1, 1]),
                expected,
                "{nal_type}"
            );
        }
    }

    #[test]
    fn older_and_newer_codecs_have_starts() {
        assert!(is_start(0x02, &[0, 0, 1, 0xb3, 0x2d]));
        assert!(
            is_start(0x01, &[0, 0, 1, 0xb8, 0, 0, 0, 1, 0, 0x00, 0x08]),
            "an I picture"
        );
        assert!(
            !is_start(0x02, &[0, 0, 1, 0, 0x00, 0x10, 0, 0, 1, 0xb3]),
            "a P picture"
        );
        assert!(is_start(0x10, &[0, 0, 1, 0xb6, 0x10]));
        assert!(!is_start(0x10, &[0, 0, 1, 0xb6, 0x50]));
        assert!(is_start(0x42, &[0, 0, 1, 0xb0]) && is_start(0xd2, &[0, 0, 1, 0xb3]));
        assert!(!is_start(0x42, &[0, 0, 1, 0xb6, 0, 0, 1, 0xb3]));
        assert!(is_start(0x33, &[0, 0, 1, 0x00, 0xa1, 0, 0, 1, 0x00, 0x39]));
        assert!(!is_start(0x33, &[0, 0, 1, 0x00, 0x01, 0, 0, 1, 0x00, 0x39]));
    }

    #[test]
    fn start_is_the_first_packet_of_its_pes_packet() {
        let mut elementary = vec![0, 0, 1, 9, 0xf0, 0, 0, 1, 6];
        elementary.resize(700, 0x55);
        elementary.extend([0, 0, 1, 0x65, 0x88]);
        elementary.resize(1500, 0x55);
        let payload = [
            pes(0x101, false, 184, &[0; 400]),
            pes(0x100, false, 184, &elementary),
            pes(0x101, false, 184, &[0; 20]),
        ];
        let payload = payload.concat();
        let mut scanner = scanner(0x1b);
        assert_eq!(starts(&mut scanner, &payload), [3 * 188]);
        // The slice is in the fourth packet of the PES packet.
        assert_eq!(starts(&mut scanner, &payload[..7 * 188]), [3 * 188]);
        assert_eq!(starts(&mut scanner, &payload[..6 * 188]), NOWHERE);
        assert_eq!(
            starts(&mut scanner, &payload[6 * 188..]),
            NOWHERE,
            "its PES packet began in another payload"
        );
    }

    #[test]
    fn search_of_an_access_unit_is_bounded() {
        let unit = |filler: usize| {
            let mut elementary = vec![0x55; filler];
            elementary.extend([0, 0, 1, 0x65]);
            is_start(0x1b, &elementary)
        };
        assert!(unit(8 * 184 - 14 - 4));
        assert!(!unit(8 * 184 - 14 - 3));
    }

    #[test]
    fn radio_starts_at_every_pes_packet_of_the_first_audio() {
        let mut scanner = Scanner::new();
        let payload = [
            pat(&[(1, 0x20)]),
            pmt(&[(0x05, 0x102), (0x03, 0x100), (0x0f, 0x101)]),
            pes(0x100, false, 184, &[0; 300]),
            pes(0x101, false, 184, &[0; 100]),
            pes(0x100, false, 184, &[0; 100]),
        ];
        assert_eq!(starts(&mut scanner, &payload.concat()), [2 * 188, 5 * 188]);
    }

    #[test]
    fn tables_are_those_of_the_last_start() {
        let mut scanner = Scanner::new();
        let (pat, long) = (pat(&[(1, 0x20)]), [0x80; 400]);
        let first = pmt_with(0x20, 1, 0, &long, &[(0x1b, 0x100)]);
        assert_eq!(first.len(), 3 * 188, "the PMT spans packets");
        let second = pmt_with(0x20, 1, 1, &[], &[(0x24, 0x110)]);
        let key = |pid| pes(pid, true, 100, &[0; 10]);
        assert_eq!(
            starts(&mut scanner, &[&first[..], &key(0x100)].concat()),
            NOWHERE
        );
        assert_eq!(scanner.tables_at_start(), [0_u8; 0]);
        assert_eq!(starts(&mut scanner, &[&pat[..], &first].concat()), NOWHERE);
        assert_eq!(scanner.tables_at_start(), [0_u8; 0]);
        assert_eq!(
            starts(&mut scanner, &[key(0x100), second.clone()].concat()),
            [0]
        );
        assert_eq!(scanner.tables_at_start(), [&pat[..], &first].concat());
        assert_eq!(
            starts(&mut scanner, &[key(0x100), key(0x110)].concat()),
            [188]
        );
        assert_eq!(scanner.tables_at_start(), [&pat[..], &second].concat());
    }

    #[test]
    fn change_of_the_pmt_pid_is_followed() {
        let mut scanner = scanner(0x1b);
        let key = pes(0x100, true, 100, &[0; 10]);
        assert_eq!(
            starts(&mut scanner, &[pat(&[(2, 0x21)]), key.clone()].concat()),
            NOWHERE
        );
        assert_eq!(
            starts(
                &mut scanner,
                &[pmt_with(0x21, 1, 0, &[], &[(0x1b, 0x100)]), key.clone()].concat()
            ),
            NOWHERE
        );
        assert_eq!(
            starts(
                &mut scanner,
                &[pmt_with(0x21, 2, 0, &[], &[(0x1b, 0x100)]), key].concat()
            ),
            [188]
        );
    }

    #[test]
    fn damaged_tables_are_ignored() {
        let key = pes(0x100, true, 100, &[0; 10]);
        let good = [
            pat(&[(1, 0x20)]),
            pmt_with(0x20, 1, 0, &[0x80; 400], &[(0x1b, 0x100)]),
        ]
        .concat();
        for damaged in 0..good.len() {
            if matches!(damaged % 188, 1..=3) {
                continue;
            }
            let mut payload = good.clone();
            payload[damaged] ^= 0x08;
            payload.extend(&key);
            let mut scanner = Scanner::new();
            let found = starts(&mut scanner, &payload);
            // Only stuffing behind the PAT (16 bytes) and the PMT (423 bytes) may be damaged.
            let harmless =
                (4 + 1 + 16..188).contains(&damaged) || damaged >= 188 + 2 * 188 + 4 + 56;
            assert_eq!(!found.is_empty(), harmless, "byte {damaged}");
        }
        let lost_packet = [&good[..2 * 188], &good[3 * 188..], &key].concat();
        assert_eq!(starts(&mut Scanner::new(), &lost_packet), NOWHERE);
        let twice = [&good[..3 * 188], &good[2 * 188..], &key].concat();
        assert_eq!(
            starts(&mut Scanner::new(), &twice).len(),
            1,
            "a packet may be sent twice"
        );
    }

    #[test]
    fn section_may_begin_behind_the_end_of_another() {
        let long = pmt_with(0x20, 1, 1, &[0x80; 200], &[(0x1b, 0x100)]);
        let short = pmt_with(0x20, 1, 2, &[], &[(0x1b, 0x110)]);
        // The second packet ends the long section, and the short one follows at once.
        let end_bytes = 1 + 8 + 4 + 200 + 7 + 4 - 184;
        let mut payload = vec![end_bytes as u8];
        payload.extend(&long[188 + 4..188 + 4 + end_bytes]);
        payload.extend(&short[5..5 + 8 + 4 + 7 + 4]);
        payload.resize(184, 0xff);
        let joined = [&long[..188], &packet(0x20, true, 1, false, &payload)].concat();
        let key = |pid| pes(pid, true, 100, &[0; 10]);
        let mut scanner = scanner(0x02);
        assert_eq!(
            starts(
                &mut scanner,
                &[&joined[..], &key(0x100), &key(0x110)].concat()
            ),
            [3 * 188]
        );
        assert!(scanner.tables_at_start().ends_with(&joined[188..]));
        // And without the second section the first one is complete.
        let mut alone = joined.clone();
        alone[188 + 5 + end_bytes..].fill(0xff);
        assert_eq!(
            starts(
                &mut scanner,
                &[&alone[..], &key(0x100), &key(0x110)].concat()
            ),
            [2 * 188]
        );
        assert!(scanner.tables_at_start().ends_with(&alone));
    }

    #[test]
    fn scrambled_video_starts_by_its_indicator_only() {
        let mut scanner = scanner(0x1b);
        let mut payload = [
            pes(0x100, false, 100, &[0, 0, 1, 0x65]),
            pes(0x100, true, 100, &[0, 0, 1, 0x65]),
        ]
        .concat();
        payload[3] |= 0x80;
        payload[188 + 3] |= 0x80;
        assert_eq!(starts(&mut scanner, &payload), [188]);
    }

    proptest! {
        /// Without search across packets, what is found does not depend on how the stream is cut.
        #[test]
        fn splitting_between_packets_does_not_change_the_starts(
            units in prop::collection::vec((any::<bool>(), prop::sample::select(vec![0x65u8, 0x41, 0x67]), 0usize..600, 0u8..6), 1..30),
            step in 1usize..9,
        ) {
            let mut stream = [pat(&[(1, 0x20)]), pmt(&[(0x1b, 0x100)])].concat();
            let mut expected = Vec::new();
            for &(random_access, nal, filler, tables) in &units {
                if random_access || nal != 0x41 {
                    expected.push(stream.len());
                }
                let mut elementary = vec![0, 0, 1, nal];
                elementary.resize(elementary.len() + filler, 0x55);
                stream.extend(pes(0x100, random_access, 150, &elementary));
                if tables == 0 {
                    stream.extend(pat(&[(1, 0x20)]));
                    stream.extend(pmt_with(0x20, 1, 0, &[0x80; 400], &[(0x1b, 0x100)]));
                }
            }
            prop_assert_eq!(starts(&mut Scanner::new(), &stream), &expected[..]);
            let mut scanner = Scanner::new();
            let parts = stream.chunks(step * PACKET_BYTES).enumerate();
            let found: Vec<usize> = parts
                .flat_map(|(index, part)| {
                    starts(&mut scanner, part).into_iter().map(move |start| index * step * PACKET_BYTES + start)
                })
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_scanned_without_panic(
            packets in prop::collection::vec((prop::sample::select(vec![0u16, 0x20, 0x100]), any::<u8>(), prop::collection::vec(any::<u8>(), 184)), 0..20),
            spoil in any::<bool>(),
        ) {
            let mut scanner = scanner(0x02);
            let mut payload = Vec::new();
            for (pid, flags, bytes) in packets {
                let [high, low] = pid.to_be_bytes();
                payload.extend([SYNC, high | flags & 0x40, low, if spoil { flags } else { flags & 0x3f | 0x10 }]);
                payload.extend(bytes);
            }
            let found = starts(&mut scanner, &payload);
            prop_assert!(found.is_sorted() && found.iter().all(|start| start % PACKET_BYTES == 0));
            prop_assert!(scanner.tables_at_start().len() <= 2 * SECTION_PACKETS_MAX * PACKET_BYTES);
        }
    }
}
