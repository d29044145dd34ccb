//! MPEG transport stream (ISO/IEC 13818-1): recognising it, and where a decoder can start.

/// Length of a TS packet in bytes (§2.4.3.2).
pub const PACKET_BYTES: usize = 188;

/// First byte of every TS packet.
pub const SYNC: u8 = 0x47;

/// Whether a payload looks like MPEG-TS.
///
/// At least one whole packet, and the sync byte at the start of the first three packets as far as they are
/// whole. A tail that is not a multiple of [`PACKET_BYTES`] is allowed.
#[inline]
pub fn looks_like_ts(payload: &[u8]) -> bool {
    let mut packets = payload.chunks_exact(PACKET_BYTES).take(3).peekable();
    packets.peek().is_some() && packets.all(|packet| packet.first() == Some(&SYNC))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
