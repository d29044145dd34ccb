//! The decoders on hot paths.
//!
//! `cargo bench --bench parse`

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use flowgate::proto::mpegts::{PACKET_BYTES, SYNC, Scanner};
use flowgate::proto::{http, rtp, url};

fn main() {
    divan::main();
}

/// A datagram as IPTV networks send it: RTP with 7 TS packets.
fn datagram() -> Vec<u8> {
    let mut datagram = vec![0x80, 33, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 7];
    for _ in 0..7 {
        datagram.extend([SYNC, 0x01, 0x00, 0x10]);
        datagram.resize(datagram.len() + PACKET_BYTES - 4, 0x55);
    }
    datagram
}

#[divan::bench]
fn rtp_classify(bencher: Bencher<'_, '_>) {
    let datagram = datagram();
    bencher
        .counter(ItemsCount::new(1u8))
        .bench(|| rtp::classify(black_box(&datagram)));
}

#[divan::bench]
fn rtp_plain_header(bencher: Bencher<'_, '_>) {
    let datagram = datagram();
    bencher.counter(ItemsCount::new(1u8)).bench(|| {
        black_box(&datagram)
            .first_chunk()
            .and_then(rtp::plain_header)
    });
}

#[divan::bench]
fn http_head(bencher: Bencher<'_, '_>) {
    let head = b"GET /rtp/239.1.1.1:5000?fcc=10.0.0.1:8027 HTTP/1.1\r\n\
        Host: 192.168.1.1:5140\r\n\
        User-Agent: VLC/3.0.20 LibVLC/3.0.20\r\n\
        Accept: */*\r\n\
        Accept-Language: en_US\r\n\
        Range: bytes=0-\r\n\
        Connection: close\r\n\r\n";
    bencher
        .counter(BytesCount::of_slice(head))
        .bench(|| http::decode(black_box(head)).is_ok());
}

#[divan::bench]
fn multicast_url(bencher: Bencher<'_, '_>) {
    let rest = "10.0.0.1@239.1.1.1:5000/?fcc=10.0.0.1:8027&r2h-ifname=eth0$HD";
    bencher
        .counter(ItemsCount::new(1u8))
        .bench(|| url::parse_multicast(black_box(rest)));
}

/// One MiB of one video PID: an access unit every 128 packets, tables never repeated.
#[divan::bench]
fn mpegts_scan_mebibyte(bencher: Bencher<'_, '_>) {
    let mut stream = hex(TABLES);
    for index in 0.. {
        if stream.len() >= 1 << 20 {
            break;
        }
        let start = stream.len();
        if index % 128 == 0 {
            stream.extend([
                SYNC, 0x41, 0x00, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1,
            ]);
            let nal = if index % 1024 == 0 { 0x65 } else { 0x41 };
            stream.extend([0, 0, 1, 9, 0xf0, 0, 0, 1, nal]);
        } else {
            stream.extend([SYNC, 0x01, 0x00, 0x10]);
        }
        stream.resize(start + PACKET_BYTES, 0x55);
    }
    let mut scanner = Scanner::new();
    let mut starts = Vec::new();
    scanner.scan(&stream, &mut starts);
    assert!(!starts.is_empty(), "the bench must find what it looks for");
    bencher
        .counter(BytesCount::of_slice(&stream))
        .bench_local(|| {
            starts.clear();
            // Seven packets at a time, as they arrive.
            for payload in black_box(&stream).chunks(7 * PACKET_BYTES) {
                scanner.scan(payload, &mut starts);
            }
            starts.len()
        });
}

/// PAT and PMT of program 1: PMT on PID 0x20, H.264 on PID 0x100.
const TABLES: [&str; 2] = [
    "474000100000b00d0001c100000001e020",
    "474020100002b0120001c10000e100f0001be100f000",
];

/// TS packets from their front, without the CRC of the section in them.
fn hex(packets: [&str; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in packets {
        let digits = text
            .as_bytes()
            .chunks_exact(2)
            .filter_map(|digits| std::str::from_utf8(digits).ok());
        let front: Vec<u8> = digits
            .filter_map(|digits| u8::from_str_radix(digits, 16).ok())
            .collect();
        let start = bytes.len();
        bytes.extend(&front);
        bytes.extend(crc32(front.get(5..).unwrap_or_default()).to_be_bytes());
        bytes.resize(start + PACKET_BYTES, 0xff);
    }
    bytes
}

/// CRC-32/MPEG-2, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1))
        .fold(u32::MAX, |crc, bit| {
            let feedback = crc >> 31 != u32::from(bit);
            crc << 1 ^ if feedback { 0x04c1_1db7 } else { 0 }
        })
}
