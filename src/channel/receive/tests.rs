use super::*;
use crate::limits::HOLE_WAIT;
use crate::sim::Bench;

fn ts(number: u8, packets: usize) -> Vec<u8> {
    let mut packet = [number; mpegts::PACKET_BYTES];
    packet[0] = mpegts::SYNC;
    packet.repeat(packets)
}

fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    [&[0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 7], payload].concat()
}

/// Receives all that was sent; returns the payload handed on and how many datagrams the runs count.
fn receive(receiver: &mut Receiver, bench: &mut Bench) -> (Vec<u8>, u32) {
    let mut runs = Vec::new();
    receiver
        .receive(bench.socket, &mut bench.shared, &mut runs)
        .expect("received");
    receiver.expire(&mut bench.shared, &mut runs);
    let bytes = runs
        .iter()
        .flat_map(|run| run.view.bytes().expect("in memory").to_vec());
    (bytes.collect(), runs.iter().map(|run| run.packets).sum())
}

/// A receiver past the collection at its start, so that packet 8 is next.
fn running(bench: &mut Bench) -> Receiver {
    let mut receiver = Receiver::new();
    for sequence in 0..8 {
        bench.send(&rtp(sequence, &ts(0, 7)));
    }
    assert_eq!(receive(&mut receiver, bench).1, 8);
    receiver
}

#[test]
fn one_run_carries_a_batch_of_the_expected_shape() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    for sequence in 8..12 {
        bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
    }
    let mut runs = Vec::new();
    receiver
        .receive(bench.socket, &mut bench.shared, &mut runs)
        .expect("received");
    assert_eq!((runs.len(), runs[0].packets), (1, 4));
    let expected: Vec<u8> = (8..12).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(runs[0].view.bytes(), Some(&expected[..]));
}

#[test]
fn a_backlog_is_received_in_pieces() {
    let mut bench = Bench::new(8192);
    let mut receiver = running(&mut bench);
    let payload = ts(1, 7);
    let count = 6 * WARM_BYTES_MAX / payload.len();
    for sequence in 8..8 + count as u16 {
        bench.send(&rtp(sequence, &payload));
    }
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < count * payload.len() {
        let received = receiver
            .receive(bench.socket, &mut bench.shared, &mut Vec::new())
            .expect("received");
        // The last buffer may go beyond.
        assert!(received.bytes < 2 * WARM_BYTES_MAX);
        turns.push(received.bytes);
    }
    assert!(
        turns.iter().any(|bytes| *bytes >= WARM_BYTES_MAX),
        "{turns:?}"
    );
}

#[test]
fn csrcs_extensions_and_padding_amid_plain_packets_are_cut_away() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    let mut csrc = rtp(9, &[]);
    csrc[0] |= 1;
    let mut extension = rtp(10, &[]);
    extension[0] |= 0x10;
    let mut padded = rtp(11, &ts(11, 7));
    padded[0] |= 0x20;
    bench.send(&rtp(8, &ts(8, 7)));
    bench.send(&[csrc, vec![0; 4], ts(9, 7)].concat());
    bench.send(&[extension, vec![0, 0, 0, 1, 9, 9, 9, 9], ts(10, 7)].concat());
    bench.send(&[padded, vec![0, 0, 3]].concat());
    bench.send(&rtp(12, &ts(12, 7)));
    let expected: Vec<u8> = (8..13).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
}

#[test]
fn packets_of_another_source_are_no_part_of_the_run() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    for sequence in 8..12 {
        let mut packet = rtp(sequence, &ts(sequence as u8, 7));
        // The last byte of the SSRC.
        packet[11] += u8::from(sequence == 10);
        bench.send(&packet);
    }
    let expected: Vec<u8> = [8, 9, 11]
        .iter()
        .flat_map(|number| ts(*number, 7))
        .collect();
    let (mut bytes, _) = receive(&mut receiver, &mut bench);
    bench.pass(HOLE_WAIT);
    bytes.extend(receive(&mut receiver, &mut bench).0);
    assert!(bytes == expected, "a stranger's packet is among them");
}

#[test]
fn sizes_may_change_in_the_middle_of_a_batch() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    let sizes = [7, 7, 3, 3, 1, 7, 30, 7, 7];
    for (sequence, packets) in (8..).zip(sizes) {
        bench.send(&rtp(sequence, &ts(sequence as u8, packets)));
    }
    let expected: Vec<u8> = (8..)
        .zip(sizes)
        .flat_map(|(number, packets)| ts(number, packets))
        .collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 9));
    assert_eq!(bench.shared.pool.held_bytes(), 0);
}

#[test]
fn bare_ts_goes_on_in_the_order_of_arrival() {
    let mut bench = Bench::new(1024);
    let mut receiver = Receiver::new();
    for number in [1, 2, 2, 1, 5] {
        bench.send(&ts(number, 7));
    }
    let expected: Vec<u8> = [1, 2, 2, 1, 5]
        .into_iter()
        .flat_map(|number| ts(number, 7))
        .collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
    assert_eq!(receiver.payload_kind(), Some(PayloadKind::Ts));
}

#[test]
fn bare_ts_that_is_cut_anywhere_leaves_as_whole_packets() {
    let mut bench = Bench::new(1024);
    let mut receiver = Receiver::new();
    let stream: Vec<u8> = (0..200).flat_map(|number| ts(number, 1)).collect();
    let mut out = Vec::new();
    // Two turns, so that one of them begins inside a packet.
    let datagrams: Vec<&[u8]> = stream.chunks(1472).collect();
    for turn in datagrams.chunks(5) {
        turn.iter().for_each(|datagram| bench.send(datagram));
        out.extend(receive(&mut receiver, &mut bench).0);
        assert_eq!(out.len() % mpegts::PACKET_BYTES, 0);
    }
    assert!(out == stream, "{} bytes", out.len());
    assert_eq!(receiver.counters().foreign, 0);

    // Numbers below 128 cannot be taken for RTP's version; 140 can, and 150 for that with an extension too long.
    for number in [20, 140, 150] {
        let mut late = Receiver::new();
        let cut = number * mpegts::PACKET_BYTES + 100;
        for datagram in stream[cut..].chunks(1472) {
            bench.send(datagram);
        }
        let (out, _) = receive(&mut late, &mut bench);
        let whole = &stream[cut + mpegts::PACKET_BYTES - 100..];
        assert!(out == whole, "{number}: {} bytes", out.len());
        assert_eq!(late.counters().rtp.received, 0);
    }
}

/// After a loss the rest of a packet may look like RTP, and be too short to be known for what it is.
#[test]
fn a_piece_of_cut_ts_is_not_taken_for_rtp() {
    let mut bench = Bench::new(1024);
    let mut receiver = Receiver::new();
    let stream: Vec<u8> = (100..200).flat_map(|number| ts(number, 1)).collect();
    let pieces = [&stream[..1472], &stream[1472..2944], &[0x80; 650]];
    assert!(matches!(rtp::classify(pieces[2]), Datagram::Rtp(_)));
    for piece in pieces {
        bench.send(piece);
    }
    let whole = 2944 - 2944 % mpegts::PACKET_BYTES;
    let (out, _) = receive(&mut receiver, &mut bench);
    assert!(out == stream[..whole], "{} bytes", out.len());
    bench.pass(HOLE_WAIT);
    assert_eq!(receive(&mut receiver, &mut bench).0, b"");
    // Nor one that has a packet where the payload of RTP begins.
    let piece = [&[0x80; 12][..], &ts(1, 1), &ts(2, 1)[..92]].concat();
    bench.send(&piece);
    assert_eq!(receive(&mut receiver, &mut bench).0, b"");
    assert_eq!(receiver.counters().rtp.received, 0);
    // A sender of RTP that takes over is followed.
    for sequence in 0..8 {
        bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
    }
    assert_eq!(receive(&mut receiver, &mut bench).1, 8);
}

#[test]
fn what_stands_behind_the_packets_of_a_datagram_is_left_out() {
    let mut bench = Bench::new(1024);
    let mut receiver = Receiver::new();
    for number in 0..5 {
        bench.send(&[ts(number, 7), vec![0; 16]].concat());
    }
    let expected: Vec<u8> = (0..5).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
}

#[test]
fn junk_neither_reaches_a_run_nor_counts_as_media() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    let mut parity = rtp(8, &[9; 100]);
    parity[1] = 127;
    for datagram in [
        &[][..],
        b"keep-alive",
        &[0x80, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &parity,
        &[0x8f; 14],
    ] {
        bench.send(datagram);
    }
    bench.send(&rtp(8, &ts(8, 7)));
    assert_eq!(receive(&mut receiver, &mut bench), (ts(8, 7), 1));
    let counters = receiver.counters();
    assert_eq!(
        (counters.foreign, counters.parity, counters.malformed),
        (3, 1, 1)
    );
    assert_eq!(counters.rtp.received, 9);
}

#[test]
fn a_hole_is_given_up_after_its_time() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    bench.send(&rtp(9, &ts(9, 7)));
    bench.send(&rtp(10, &ts(10, 7)));
    assert_eq!(receive(&mut receiver, &mut bench), (vec![], 0));
    let expected = bench.shared.now + HOLE_WAIT;
    assert_eq!(receiver.deadline(), Some(expected));
    bench.pass(HOLE_WAIT);
    let expected: Vec<u8> = [ts(9, 7), ts(10, 7)].concat();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 2));
    assert_eq!(receiver.counters().rtp.lost, 1);
}

#[test]
fn a_repaired_hole_keeps_the_order_within_one_batch() {
    let mut bench = Bench::new(1024);
    let mut receiver = running(&mut bench);
    for sequence in [8, 10, 11, 9, 9, 12] {
        bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
    }
    let expected: Vec<u8> = (8..13).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 5));
    assert_eq!(receiver.counters().rtp.duplicates, 1);
}

#[test]
fn without_a_buffer_datagrams_are_read_and_counted() {
    let mut bench = Bench::new(64);
    let mut receiver = running(&mut bench);
    let held: Vec<_> = std::iter::from_fn(|| bench.shared.pool.take(2048)).collect();
    bench.send(&rtp(8, &ts(8, 7)));
    bench.send(&rtp(9, &ts(9, 7)));
    assert_eq!(receive(&mut receiver, &mut bench), (vec![], 0));
    assert_eq!(receiver.counters().overrun, 2);
    drop(held);
    // As no hole is known of, the next packet opens one.
    bench.send(&rtp(10, &ts(10, 7)));
    bench.pass(HOLE_WAIT);
    receive(&mut receiver, &mut bench);
    bench.pass(HOLE_WAIT);
    assert_eq!(receive(&mut receiver, &mut bench), (ts(10, 7), 1));
}

/// A single datagram of the largest kind must not make every later turn ask for a buffer as large.
#[test]
fn a_jumbo_datagram_does_not_starve_a_small_pool() {
    let mut bench = Bench::new(64);
    let mut receiver = running(&mut bench);
    bench.send(&rtp(8, &ts(8, 340)));
    receive(&mut receiver, &mut bench);
    assert!(receiver.buffer_bytes(&bench.shared.pool) <= bench.shared.pool.buffer_bytes_max());
    let held = bench.shared.pool.take_patient(32 << 10);
    bench.send(&rtp(9, &ts(9, 7)));
    assert_eq!(receive(&mut receiver, &mut bench), (ts(9, 7), 1));
    drop(held);
}

/// TCP upstreams leave the last part of the pool to live channels, and that may be less than one turn.
#[test]
fn a_small_buffer_is_used_where_no_large_one_is_left() {
    let mut bench = Bench::new(64);
    let mut receiver = running(&mut bench);
    let patient = |bench: &Bench| bench.shared.pool.take_patient(2048);
    let mut held: Vec<_> = std::iter::from_fn(|| patient(&bench)).collect();
    held.extend(bench.shared.pool.take(2048));
    let wanted = receiver.buffer_bytes(&bench.shared.pool);
    assert!(
        !bench.shared.pool.has_room(wanted),
        "{wanted} bytes are left"
    );
    for sequence in 8..11 {
        bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
    }
    let expected: Vec<u8> = (8..11).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 3));
    drop(held);
}

#[test]
fn a_buffer_leaves_room_for_what_is_copied_out_of_it() {
    let mut bench = Bench::new(64);
    let mut receiver = running(&mut bench);
    let wanted = receiver.buffer_bytes(&bench.shared.pool);
    let take = |bench: &Bench| bench.shared.pool.take(2048).expect("room");
    let mut held = Vec::new();
    while bench.shared.pool.has_room(wanted) {
        held.push(take(&bench));
    }
    held.pop();
    assert!(bench.shared.pool.has_room(wanted), "by a hair");
    for sequence in [9, 8, 10] {
        bench.send(&rtp(sequence, &ts(sequence as u8, 7)));
    }
    let expected: Vec<u8> = (8..11).flat_map(|number| ts(number, 7)).collect();
    assert_eq!(receive(&mut receiver, &mut bench), (expected, 3));
    assert_eq!(receiver.counters().overrun, 0);
    drop(held);
}

#[test]
fn sorted_packets_follow_the_run_of_the_same_buffer() {
    let mut bench = Bench::new(16_384);
    let mut receiver = running(&mut bench);
    let mut first = 8;
    // Large turns make large buffers, with room for a second batch behind a full one.
    for _ in 0..2 {
        (first..first + 300)
            .for_each(|sequence| bench.send(&rtp(sequence, &ts(sequence as u8, 7))));
        let mut received = 0;
        while received < 300 {
            received += receive(&mut receiver, &mut bench).1;
            bench.pass(std::time::Duration::ZERO);
        }
        first += 300;
    }
    let numbers = || (first..first + 64).chain([first + 65, first + 64]);
    numbers().for_each(|sequence| bench.send(&rtp(sequence, &ts(sequence as u8, 7))));
    let expected: Vec<u8> = (first..first + 66)
        .flat_map(|number| ts(number as u8, 7))
        .collect();
    assert!(
        receive(&mut receiver, &mut bench) == (expected, 66),
        "out of order"
    );
}
