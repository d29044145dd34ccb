//! PAT and PMT: their sections, put together and checked, and what they say of the first program (§2.4.4).
//!
//! Keeps the TS packets that the last sound section came in, so that they can be sent to a decoder that starts.

use super::PACKET_BYTES;
use super::codec::Codec;
use super::packet::Packet;

/// Most TS packets one PAT or PMT section may span. Its 1024 bytes need 6; the rest is for packets cut short
/// by an adaptation field.
pub(super) const SECTION_PACKETS_MAX: usize = 8;

/// Longest PAT or PMT section in bytes: 3 of header and a `section_length` of at most 1021 (§2.4.4.3).
const SECTION_BYTES_MAX: usize = 1024;

/// The first program of the PAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) number: u16,
    pub(super) pmt_pid: u16,
}

/// The elementary stream whose access units are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: u16,
    pub(super) codec: Codec,
}

/// Collects the sections of one PID and keeps the last one that was accepted (§2.4.4).
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Section being collected; empty while waiting for one to start.
    section: Vec<u8>,
    /// The TS packets `section` came in.
    packets: Vec<u8>,
    continuity: u8,
    accepted: Vec<u8>,
    pub(super) accepted_packets: Vec<u8>,
}

impl Table {
    /// Takes a packet; `accept` is asked about each whole section that differs from the last one accepted
    /// and has a sound CRC.
    pub(super) fn receive(&mut self, packet: &Packet<'_>, mut accept: impl FnMut(&[u8]) -> bool) {
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
pub(super) fn crc32(section: &[u8]) -> u32 {
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
pub(super) fn decode_pat(section: &[u8]) -> Option<Program> {
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
pub(super) fn decode_pmt(section: &[u8], program_number: u16) -> Option<Option<Entry>> {
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
