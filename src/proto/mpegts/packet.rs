//! One TS packet: header, adaptation field and payload (§2.4.3.2). Owns nothing, and looks only at what it is asked
//! for.

use super::SYNC;

/// A TS packet (§2.4.3.2).
pub(super) struct Packet<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pid: u16,
    /// `payload_unit_start_indicator`
    pub(super) starts_unit: bool,
    /// Scrambling, adaptation field control and continuity counter.
    control: u8,
}

impl<'a> Packet<'a> {
    #[inline]
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
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

    pub(super) fn is_scrambled(&self) -> bool {
        self.control & 0xc0 != 0
    }

    pub(super) fn has_payload(&self) -> bool {
        self.control & 0x10 != 0
    }

    pub(super) fn continuity(&self) -> u8 {
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

    pub(super) fn is_random_access(&self) -> bool {
        self.adaptation()
            .first()
            .is_some_and(|flags| flags & 0x40 != 0)
    }

    /// Bytes behind header and adaptation field; empty if there are none.
    pub(super) fn payload(&self) -> &'a [u8] {
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
