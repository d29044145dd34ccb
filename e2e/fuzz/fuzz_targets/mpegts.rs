//! A stream in two pieces. The CRC of sections is repaired so that the fuzzer gets behind it.
#![no_main]

use flowgate::proto::mpegts::{PACKET_BYTES, SYNC, Scanner, looks_like_ts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    looks_like_ts(bytes);
    let mut stream = Vec::new();
    // Each piece of input becomes a packet: control byte, length, content; the rest is stuffing.
    let mut rest = bytes;
    while let Some((&[control, length], behind)) = rest.split_first_chunk() {
        let (content, behind) = behind
            .split_at_checked(usize::from(length) % 185)
            .unwrap_or((behind, &[]));
        rest = behind;
        let pid = [0, 0x20, 0x100, 0x101][usize::from(control & 3)] as u16;
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![
            SYNC,
            high | control & 0x40,
            low,
            control >> 2 & 0x0f | if control & 0x80 == 0 { 0x10 } else { 0x30 },
        ];
        packet.extend(content);
        packet.resize(PACKET_BYTES, 0xff);
        if pid < 0x100 {
            repair_crc(&mut packet);
        }
        stream.extend(packet);
    }
    let mut scanner = Scanner::new();
    let mut starts = Vec::new();
    let middle = stream.len() / PACKET_BYTES / 2 * PACKET_BYTES;
    for payload in [&stream[..middle], &stream[middle..], bytes] {
        starts.clear();
        scanner.scan(payload, &mut starts);
        assert!(starts.is_sorted_by(|a, b| a < b));
        for start in &starts {
            assert_eq!((start % PACKET_BYTES, payload[*start]), (0, SYNC));
        }
        let tables = scanner.tables_at_start();
        assert_eq!(tables.len() % PACKET_BYTES, 0);
        assert!(tables.len() <= 16 * PACKET_BYTES);
        assert!(starts.is_empty() || !tables.is_empty());
    }
});

fn repair_crc(packet: &mut [u8]) {
    let length = usize::from(u16::from_be_bytes([packet[6] & 0x0f, packet[7]]));
    let Some(section) = packet.get_mut(5..5 + 3 + length) else {
        return;
    };
    let Some((content, end)) = section.split_last_chunk_mut::<4>() else {
        return;
    };
    let mut crc = u32::MAX;
    for byte in content {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    *end = crc.to_be_bytes();
}
