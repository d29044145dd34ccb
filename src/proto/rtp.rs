//! RTP headers and the classes of datagrams on a media port (RFC 3550).
//!
//! A decoder: bytes in, numbers and one range out. It knows nothing of order (see `reorder`) and does not
//! look into the payload, except to tell raw MPEG-TS and parity packets from everything else.

use std::fmt;
use std::ops::Range;

use super::mpegts;

/// Length of the fixed RTP header in bytes (RFC 3550 §5.1).
pub const HEADER_BYTES: usize = 12;

/// Payload type of parity on the media port at the operators that send it.
const PARITY_TYPE: u8 = 127;

/// Payload type that carries parity at some operators and media at others.
const PARITY_OR_MEDIA_TYPE: u8 = 97;

/// Length in bytes of what precedes the parity bytes in a parity packet.
const PARITY_HEADER_BYTES: usize = 12;

/// Longest media packet a parity packet may protect, in bytes, RTP header included.
const PROTECTED_BYTES_MAX: u16 = 1536;

/// The fields of an RTP packet the router uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// Sequence number; wraps, compare with [`distance`].
    pub sequence: u16,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Media timestamp in units of the payload's clock (90 kHz for MPEG-TS).
    pub timestamp: u32,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Where the payload is in the packet, without CSRCs, extension and padding. May be empty: such a
    /// packet carries nothing but still takes a place in the sequence.
    pub payload: Range<usize>,
}

/// Why a packet is not RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// The packet, its CSRC list or its extension ends before its stated length.
    Truncated,
    /// The version field is not 2.
    Version,
    /// The padding is longer than what follows the header.
    Padding,
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RtpError::Truncated => "RTP packet shorter than its header says",
            RtpError::Version => "RTP version is not 2",
            RtpError::Padding => "RTP padding longer than the payload",
        })
    }
}

impl std::error::Error for RtpError {}

/// Decodes an RTP packet (RFC 3550 §5.1; the extension is skipped, §5.3.1).
///
/// A padding count of 0, which the RFC does not allow, removes nothing.
///
/// # Errors
///
/// `Truncated` if a length points past the end, `Version` unless V = 2, `Padding` if the padding count
/// exceeds what follows the header.
#[inline]
pub fn decode(packet: &[u8]) -> Result<Rtp, RtpError> {
    let (header, rest) = packet
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(RtpError::Truncated)?;
    let &[flags, kind, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = header;
    if flags >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let csrc_bytes = 4 * usize::from(flags & 0x0f);
    let (_, mut rest) = rest
        .split_at_checked(csrc_bytes)
        .ok_or(RtpError::Truncated)?;
    if flags & 0x10 != 0 {
        let (&[_, _, w0, w1], behind) = rest.split_first_chunk().ok_or(RtpError::Truncated)?;
        let extension_bytes = 4 * usize::from(u16::from_be_bytes([w0, w1]));
        (_, rest) = behind
            .split_at_checked(extension_bytes)
            .ok_or(RtpError::Truncated)?;
    }
    let start = packet.len() - rest.len();
    let mut end = packet.len();
    if flags & 0x20 != 0 {
        let padding_bytes = usize::from(*rest.last().ok_or(RtpError::Padding)?);
        if padding_bytes > rest.len() {
            return Err(RtpError::Padding);
        }
        end -= padding_bytes;
    }
    Ok(Rtp {
        sequence: u16::from_be_bytes([s0, s1]),
        ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        payload_type: kind & 0x7f,
        payload: start..end,
    })
}

/// Sequence, SSRC and payload type of a packet whose payload is everything behind the fixed header.
///
/// The fast path of [`classify`]: `None` says that the packet has CSRCs, an extension or padding, is RTCP
/// or is no RTP, so that it needs the long way. The caller still has to look at the payload type, see
/// [`is_fec_parity`].
#[inline]
pub fn plain_header(header: &[u8; HEADER_BYTES]) -> Option<(u16, u32, u8)> {
    let &[flags, kind, s0, s1, _, _, _, _, r0, r1, r2, r3] = header;
    if flags != 0x80 || is_rtcp_type(kind) {
        return None;
    }
    Some((
        u16::from_be_bytes([s0, s1]),
        u32::from_be_bytes([r0, r1, r2, r3]),
        kind & 0x7f,
    ))
}

/// What arrived on a media port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// An RTP packet, parity included (see [`is_fec_parity`]).
    Rtp(Rtp),
    /// Raw MPEG-TS: the whole datagram is the payload.
    Ts,
    /// Has the RTP version but not the structure. Must not be counted as received media.
    Malformed(RtpError),
    /// Anything else, RTCP included: keep-alive echo, NAT-punch reply. To be dropped, or the 188-byte grid
    /// of the output breaks.
    Other,
}

/// Says what a datagram is.
///
/// RTP is anything of at least [`HEADER_BYTES`] with version 2, except that the RTCP packet types 200 to
/// 207 count as RTCP (RFC 5761 §4). MPEG-TS starts with 0x47, whose version bits are 01, so the two cannot
/// be confused.
#[inline]
pub fn classify(datagram: &[u8]) -> Datagram {
    match datagram.first_chunk::<HEADER_BYTES>() {
        Some(&[flags, kind, ..]) if flags >> 6 == 2 => {
            if is_rtcp_type(kind) {
                return Datagram::Other;
            }
            match decode(datagram) {
                Ok(rtp) => Datagram::Rtp(rtp),
                Err(error) => Datagram::Malformed(error),
            }
        }
        _ if mpegts::looks_like_ts(datagram) => Datagram::Ts,
        _ => Datagram::Other,
    }
}

/// How far `a` is ahead of `b`, in packets; negative if behind (RFC 1982 serial arithmetic).
///
/// Half the number space apart counts as behind.
#[inline]
pub fn distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b).cast_signed()
}

/// Whether a packet of this payload type needs [`is_fec_parity`] to tell it from media.
#[inline]
pub fn may_be_parity(payload_type: u8) -> bool {
    matches!(payload_type, PARITY_TYPE | PARITY_OR_MEDIA_TYPE)
}

/// Whether an RTP packet on the media port is parity and not media.
///
/// Payload type 127 is, unless its payload is MPEG-TS without a parity header: such a sender has taken the last of the
/// dynamic types for its media. 97 is media at more senders, so it is parity only if its payload has the header and is
/// not MPEG-TS. A sound parity header is 16-bit big-endian first and last protected sequence, number of parity packets,
/// index below it, 16-bit length of the parity bytes that fill the rest exactly, 16-bit length of a protected packet
/// (12 to 1536 bytes).
pub fn is_fec_parity(datagram: &[u8], rtp: &Rtp) -> bool {
    let payload = datagram.get(rtp.payload.clone()).unwrap_or_default();
    match rtp.payload_type {
        PARITY_TYPE => has_parity_header(payload) || !mpegts::looks_like_ts(payload),
        PARITY_OR_MEDIA_TYPE => has_parity_header(payload) && !mpegts::looks_like_ts(payload),
        _ => false,
    }
}

fn has_parity_header(payload: &[u8]) -> bool {
    let Some((header, parity)) = payload.split_first_chunk::<PARITY_HEADER_BYTES>() else {
        return false;
    };
    let &[b0, b1, e0, e1, group_parity, index, f0, f1, p0, p1, _, _] = header;
    let begin = u16::from_be_bytes([b0, b1]);
    let end = u16::from_be_bytes([e0, e1]);
    let parity_bytes = u16::from_be_bytes([f0, f1]);
    let protected_bytes = u16::from_be_bytes([p0, p1]);
    distance(end, begin) >= 0
        && index < group_parity
        && usize::from(parity_bytes) == parity.len()
        && (HEADER_BYTES as u16..=PROTECTED_BYTES_MAX).contains(&protected_bytes)
}

/// Whether the second byte names an RTCP packet type (RFC 5761 §4: 72 to 79 is no RTP payload type).
#[inline]
fn is_rtcp_type(kind: u8) -> bool {
    (200..=207).contains(&kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of a packet as a sender would choose them.
    #[derive(Clone, Debug)]
    struct Parts {
        sequence: u16,
        ssrc: u32,
        timestamp: u32,
        payload_type: u8,
        marker: bool,
        csrcs: Vec<u32>,
        extension: Option<Vec<u32>>,
        padding_bytes: u8,
        payload: Vec<u8>,
    }

    fn encode(parts: &Parts) -> Vec<u8> {
        let mut packet = vec![
            0x80 | parts.csrcs.len() as u8,
            parts.payload_type | u8::from(parts.marker) << 7,
        ];
        if parts.extension.is_some() {
            packet[0] |= 0x10;
        }
        if parts.padding_bytes > 0 {
            packet[0] |= 0x20;
        }
        packet.extend(parts.sequence.to_be_bytes());
        packet.extend(parts.timestamp.to_be_bytes());
        packet.extend(parts.ssrc.to_be_bytes());
        packet.extend(parts.csrcs.iter().flat_map(|csrc| csrc.to_be_bytes()));
        if let Some(words) = &parts.extension {
            packet.extend([0xbe, 0xde]);
            packet.extend((words.len() as u16).to_be_bytes());
            packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        packet.extend(&parts.payload);
        if parts.padding_bytes > 0 {
            packet.resize(packet.len() + usize::from(parts.padding_bytes) - 1, 0);
            packet.push(parts.padding_bytes);
        }
        packet
    }

    fn any_parts() -> impl Strategy<Value = Parts> {
        (
            (
                any::<u16>(),
                any::<u32>(),
                any::<u32>(),
                0u8..72,
                any::<bool>(),
            ),
            prop::collection::vec(any::<u32>(), 0..16),
            prop::option::of(prop::collection::vec(any::<u32>(), 0..20)),
            any::<u8>(),
            prop::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(
                |(
                    (sequence, ssrc, timestamp, payload_type, marker),
                    csrcs,
                    extension,
                    padding_bytes,
                    payload,
                )| {
                    Parts {
                        sequence,
                        ssrc,
                        timestamp,
                        payload_type,
                        marker,
                        csrcs,
                        extension,
                        padding_bytes,
                        payload,
                    }
                },
            )
    }

    /// RFC 3550 §5.1: V=2, PT 33 (MP2T), sequence 0x1234, timestamp 0x01020304, SSRC 0xdeadbeef.
    const PLAIN: [u8; 14] = [
        0x80, 33, 0x12, 0x34, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef, 0x47, 0x11,
    ];

    #[test]
    fn plain_packet_decodes() {
        let rtp = decode(&PLAIN).unwrap();
        assert_eq!(
            rtp,
            Rtp {
                sequence: 0x1234,
                ssrc: 0xdead_beef,
                timestamp: 0x0102_0304,
                payload_type: 33,
                payload: 12..14
            }
        );
        assert_eq!(
            plain_header(PLAIN.first_chunk().unwrap()),
            Some((0x1234, 0xdead_beef, 33))
        );
    }

    #[test]
    fn empty_payload_still_has_a_sequence() {
        let rtp = decode(&PLAIN[..12]).unwrap();
        assert_eq!((rtp.sequence, rtp.payload), (0x1234, 12..12));
    }

    #[test]
    fn padding_may_take_the_whole_payload_but_not_more() {
        let mut packet = PLAIN.to_vec();
        packet[0] = 0xa0;
        packet[13] = 2;
        assert_eq!(decode(&packet).unwrap().payload, 12..12);
        packet[13] = 3;
        assert_eq!(decode(&packet), Err(RtpError::Padding));
        packet[13] = 0;
        assert_eq!(decode(&packet).unwrap().payload, 12..14);
        assert_eq!(decode(&packet[..12]), Err(RtpError::Padding));
    }

    #[test]
    fn extension_length_past_the_end_is_truncated() {
        let mut packet = PLAIN.to_vec();
        packet[0] = 0x90;
        assert_eq!(decode(&packet), Err(RtpError::Truncated));
        packet.extend([0, 0]);
        packet[14..].copy_from_slice(&[0, 1]);
        assert_eq!(decode(&packet), Err(RtpError::Truncated));
        packet.extend([1, 2, 3, 4]);
        assert_eq!(decode(&packet).unwrap().payload, 20..20);
    }

    #[test]
    fn wrong_version_is_reported() {
        assert_eq!(decode(&[0x47; 20]), Err(RtpError::Version));
        assert_eq!(decode(&[0x80; 11]), Err(RtpError::Truncated));
    }

    #[test]
    fn datagrams_are_told_apart() {
        let mut ts = vec![0u8; 188 * 2];
        ts[0] = 0x47;
        ts[188] = 0x47;
        assert_eq!(classify(&ts), Datagram::Ts);
        ts[188] = 0;
        assert_eq!(classify(&ts), Datagram::Other);
        assert!(matches!(classify(&PLAIN), Datagram::Rtp(_)));
        assert_eq!(classify(&PLAIN[..11]), Datagram::Other);
        assert_eq!(classify(b""), Datagram::Other);
        let mut broken = PLAIN;
        broken[0] = 0x8f;
        assert_eq!(classify(&broken), Datagram::Malformed(RtpError::Truncated));
    }

    #[test]
    fn rtcp_is_not_media() {
        // A sender report: V=2, PT=200.
        let mut report = PLAIN;
        report[1] = 200;
        assert_eq!(classify(&report), Datagram::Other);
        assert_eq!(plain_header(report.first_chunk().unwrap()), None);
    }

    #[test]
    fn payload_type_97_is_parity_only_with_a_sound_header() {
        let parity = |payload_type: u8, header: [u8; 12], parity_bytes: usize| {
            let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            packet.extend(header);
            packet.resize(packet.len() + parity_bytes, 0x55);
            let rtp = decode(&packet).unwrap();
            is_fec_parity(&packet, &rtp)
        };
        // begin 65500, end 63 (k = 100), m = 5, index 4, parity and protected length 1328.
        let sound = [0xff, 0xdc, 0x00, 0x3f, 5, 4, 0x05, 0x30, 0x05, 0x30, 0, 0];
        assert!(parity(97, sound, 1328));
        assert!(parity(127, [0; 12], 0));
        assert!(!parity(33, sound, 1328));
        assert!(!parity(97, sound, 1327));
        assert!(!parity(
            97,
            [0xff, 0xdc, 0x00, 0x3f, 5, 5, 0x05, 0x30, 0x05, 0x30, 0, 0],
            1328
        ));
        assert!(!parity(
            97,
            [0x00, 0x3f, 0xff, 0xdc, 5, 4, 0x05, 0x30, 0x05, 0x30, 0, 0],
            1328
        ));
        assert!(!parity(
            97,
            [0xff, 0xdc, 0x00, 0x3f, 5, 4, 0x05, 0x30, 0x00, 0x0b, 0, 0],
            1328
        ));
    }

    #[test]
    fn media_with_payload_type_97_or_127_is_not_parity() {
        let is_parity = |payload_type: u8, beginning: [u8; 12]| {
            let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            packet.extend(beginning);
            packet.resize(12 + 376, 0);
            packet[12 + 188] = 0x47;
            is_fec_parity(&packet, &decode(&packet).unwrap())
        };
        let media = [0x47, 0x10, 0x47, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(!is_parity(97, media));
        assert!(!is_parity(127, media));
        // TS packets whose first bytes happen to be a sound parity header.
        let either = [0x47, 0x10, 0x47, 0x20, 5, 4, 0x01, 0x6c, 0x05, 0x30, 0, 0];
        assert!(!is_parity(97, either));
        assert!(is_parity(127, either));
    }

    #[test]
    fn distance_wraps() {
        assert_eq!(distance(2, 65534), 4);
        assert_eq!(distance(65534, 2), -4);
        assert_eq!(distance(7, 7), 0);
        assert_eq!(distance(32768, 0), i16::MIN);
    }

    proptest! {
        #[test]
        fn encoded_packets_decode_to_their_parts(parts in any_parts()) {
            let packet = encode(&parts);
            let rtp = decode(&packet).unwrap();
            prop_assert_eq!(&packet[rtp.payload.clone()], &parts.payload[..]);
            prop_assert_eq!(rtp.sequence, parts.sequence);
            prop_assert_eq!(rtp.ssrc, parts.ssrc);
            prop_assert_eq!(rtp.timestamp, parts.timestamp);
            prop_assert_eq!(rtp.payload_type, parts.payload_type);
            prop_assert!(matches!(classify(&packet), Datagram::Rtp(other) if other == rtp));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), first in any::<u8>()) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = 0x80 | first & 0x3f;
            }
            if let Ok(rtp) = decode(&bytes) {
                prop_assert!(rtp.payload.start <= rtp.payload.end && rtp.payload.end <= bytes.len());
                is_fec_parity(&bytes, &rtp);
            }
            classify(&bytes);
        }

        #[test]
        fn fast_path_agrees_with_decode(bytes in prop::array::uniform12(any::<u8>()), plain in any::<bool>()) {
            let mut bytes = bytes;
            if plain {
                bytes[0] = 0x80;
            }
            if let Some((sequence, ssrc, payload_type)) = plain_header(&bytes) {
                let expected = Datagram::Rtp(decode(&bytes).unwrap());
                prop_assert_eq!(classify(&bytes), expected);
                let rtp = decode(&bytes).unwrap();
                prop_assert_eq!((rtp.sequence, rtp.ssrc, rtp.payload_type), (sequence, ssrc, payload_type));
                prop_assert_eq!(rtp.payload, 12..12);
            }
        }
    }
}
