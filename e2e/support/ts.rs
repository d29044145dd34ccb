//! Transport stream packets, made and taken apart for the tests alone (ISO/IEC 13818-1 §2.4.3).

pub(crate) const PACKET: usize = 188;

/// A packet that carries its number and a filling that depends on it.
pub(crate) fn numbered(number: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | (number & 15) as u8]);
    packet[4..12].copy_from_slice(&number.to_be_bytes());
    for (index, byte) in packet.iter_mut().enumerate().skip(12) {
        *byte = (number as u8).wrapping_mul(31).wrapping_add(index as u8);
    }
    packet
}

/// The numbers of whole packets made by [`numbered`]; insists that every byte is as it was sent.
pub(crate) fn numbers(bytes: &[u8]) -> Vec<u64> {
    assert_eq!(bytes.len() % PACKET, 0, "the stream ends inside a packet");
    bytes
        .chunks_exact(PACKET)
        .enumerate()
        .map(|(index, packet)| {
            let number = u64::from_be_bytes(packet[4..12].try_into().expect("eight bytes"));
            assert_eq!(
                packet,
                numbered(number),
                "packet {index} of the stream was changed"
            );
            number
        })
        .collect()
}

/// Insists on whole packets in order without a gap; returns the first and the last number.
pub(crate) fn assert_gapless(bytes: &[u8]) -> (u64, u64) {
    let numbers = numbers(bytes);
    for pair in numbers.windows(2) {
        assert_eq!(
            pair[1],
            pair[0] + 1,
            "{} is followed by {}",
            pair[0],
            pair[1]
        );
    }
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => panic!("no packet"),
    }
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

/// Insists that the continuity counter of every PID with payload goes up by one (ISO 13818-1 §2.4.3.3), which two
/// streams under the same PIDs would not.
pub(crate) fn assert_continuous(bytes: &[u8]) {
    let mut counters = std::collections::HashMap::new();
    let packets = bytes.chunks_exact(PACKET);
    for packet in packets.filter(|packet| pid(packet) != 0x1fff && packet[3] & 0x10 != 0) {
        let counter = packet[3] & 0xf;
        if let Some(before) = counters.insert(pid(packet), counter) {
            let expected: u8 = (before + 1) & 0xf;
            assert_eq!(counter, expected, "in PID {}", pid(packet));
        }
    }
    assert!(!counters.is_empty(), "no packet");
}

/// Insists that a decoder can start with the first bytes: PAT, its PMT, and then a packet of the stream with
/// the random-access indicator.
pub(crate) fn assert_starts_a_decoder(bytes: &[u8]) {
    let packets: Vec<&[u8]> = bytes.chunks_exact(PACKET).take(3).collect();
    let [pat, pmt, first] = packets[..] else {
        panic!("fewer than three packets");
    };
    assert!(packets.iter().all(|packet| packet[0] == 0x47));
    assert_eq!(pid(pat), 0, "the first packet is no PAT");
    // Pointer field, then the section: 8 bytes of header and program 1 (§2.4.4.3).
    let section = &pat[5 + usize::from(pat[4])..];
    assert_eq!(section[0], 0, "no PAT section");
    let pmt_pid = u16::from_be_bytes([section[10], section[11]]) & 0x1fff;
    assert_eq!(pid(pmt), pmt_pid, "the second packet is not the PMT");
    assert_eq!(pmt[5 + usize::from(pmt[4])], 2, "no PMT section");
    assert_ne!(
        first[1] & 0x40,
        0,
        "no PES packet begins in the third packet"
    );
    assert_eq!(
        first[3] & 0x20,
        0x20,
        "the third packet has no adaptation field"
    );
    assert_eq!(
        first[5] & 0x40,
        0x40,
        "the third packet is no random-access point"
    );
}

/// Cuts the stream where its last picture begins, which is not complete as a rule. The picture is what the first
/// packet with the random-access indicator belongs to.
pub(crate) fn without_unfinished_frame(bytes: &[u8]) -> &[u8] {
    let packets = || bytes.chunks_exact(PACKET);
    let random_access =
        |packet: &[u8]| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0;
    let picture = packets().find(|packet| random_access(packet)).map(pid);
    let begins = |packet: &[u8]| Some(pid(packet)) == picture && packet[1] & 0x40 != 0;
    let last = packets().rposition(begins);
    &bytes[..last.expect("a picture") * PACKET]
}
