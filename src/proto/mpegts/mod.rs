//! MPEG transport stream (ISO/IEC 13818-1): recognising it, and finding where a decoder can start.
//!
//! A [`Scanner`] follows PAT and PMT of the first program and looks at the beginning of each access unit of
//! its video. It does not demultiplex, keeps no media, and reads 4 bytes of each packet that is of no
//! interest. Section numbers below are those of ISO/IEC 13818-1.

mod access_unit;
mod codec;
mod packet;
mod tables;

use access_unit::{Search, Unit};
use codec::Codec;
use packet::Packet;
use tables::{Entry, Program, Table};

/// Length of a TS packet in bytes (§2.4.3.2).
pub const PACKET_BYTES: usize = 188;

/// First byte of every TS packet.
pub const SYNC: u8 = 0x47;

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
            program = tables::decode_pat(section);
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
            entry = tables::decode_pmt(section, program.number);
            entry.is_some()
        });
        if let Some(entry) = entry {
            self.entry = entry;
        }
    }
}

#[cfg(test)]
mod tests;
