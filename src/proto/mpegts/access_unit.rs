//! The beginning of an access unit: can a decoder start with it?
//!
//! Looks for the first start code that tells, through as many TS packets as are likely to hold it. Of the codecs it
//! knows which start codes those are, and nothing else.

use super::codec::Codec;
use super::packet::Packet;

/// Most TS packets of one access unit that are searched for its first slice. Parameter sets and SEI before
/// it rarely fill more than two.
const UNIT_PACKETS_MAX: usize = 8;

/// Start of a PES packet up to `PES_header_data_length` (§2.4.3.6).
const PES_HEADER_BYTES: usize = 9;

/// What the search of an access unit has found so far.
pub(super) enum Search {
    Start,
    NoStart,
    Undecided,
}

/// The beginning of an access unit that is being searched.
pub(super) struct Unit {
    codec: Codec,
    /// Offset of its first TS packet in the payload being scanned.
    pub(super) start: usize,
    packets: usize,
    /// Bytes of the PES header still to be skipped; `None` until its length is known.
    header_bytes: Option<usize>,
    /// The last four bytes, most recent lowest; ones, which are no start code, at the beginning.
    last_bytes: u32,
    /// Bytes of `last_bytes` that are still to come until a start code can be judged.
    pending_bytes: u8,
}

impl Unit {
    pub(super) fn new(codec: Codec, start: usize) -> Self {
        Unit {
            codec,
            start,
            packets: 0,
            header_bytes: None,
            last_bytes: u32::MAX,
            pending_bytes: 0,
        }
    }

    pub(super) fn search(&mut self, packet: &Packet<'_>) -> Search {
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
