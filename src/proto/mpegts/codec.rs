//! Which codec an elementary stream is of, as far as its access units are to be searched.

/// How the first slice of an access unit is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
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
    pub(super) fn of(stream_type: u8, descriptors: &[u8]) -> Option<Codec> {
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
