use proptest::prelude::*;

use super::tables::{SECTION_PACKETS_MAX, crc32};
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
    let entry =
        |&(number, pid): &(u16, u16)| [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat();
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
        let harmless = (4 + 1 + 16..188).contains(&damaged) || damaged >= 188 + 2 * 188 + 4 + 56;
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
