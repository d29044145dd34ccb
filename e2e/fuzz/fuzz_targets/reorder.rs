//! Operations on a window: nothing is delivered twice or forgotten, and every bound holds.
#![no_main]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use flowgate::proto::reorder::{RIVAL_PACKETS, WINDOW_MAX, WINDOW_MIN, Window};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[w0, w1], operations)) = bytes.split_first_chunk() else {
        return;
    };
    let window_packets = u16::from_be_bytes([w0, w1]);
    let mut window = Window::new(
        window_packets,
        Duration::from_millis(50),
        Duration::from_millis(200),
    );
    let held_max = usize::from(window_packets.clamp(WINDOW_MIN, WINDOW_MAX)) + RIVAL_PACKETS;

    let mut now = Instant::now();
    let mut out = Vec::new();
    let mut delivered = HashSet::new();
    let (mut received, mut accepted, mut reset) = (0u64, 0u64, 0u64);
    let mut sequence = 0u16;
    for &[operation, argument, fine] in operations.as_chunks().0 {
        let step = u16::from(argument);
        let ssrc = u32::from(operation >> 6);
        match operation & 7 {
            // The stream goes on, perhaps with a few packets missing.
            0..=2 => sequence = sequence.wrapping_add(1 + step / 64),
            // A step back, a small jump, anywhere.
            3 => sequence = sequence.wrapping_sub(step),
            4 => sequence = sequence.wrapping_add(step * 8),
            5 => sequence = u16::from_be_bytes([argument, fine]),
            6 => {
                now += Duration::from_millis(u64::from(argument));
                window.expire(now, &mut out);
                assert!(window.deadline().is_none_or(|deadline| deadline > now));
            }
            _ if argument == 0 => {
                reset += window.held() as u64;
                window.reset();
                assert_eq!((window.held(), window.deadline()), (0, None));
            }
            _ => {
                let held = window.held();
                if window.accept_run(ssrc, sequence, step) {
                    assert_eq!(held, 0);
                    accepted += u64::from(step);
                    sequence = sequence.wrapping_add(step);
                }
            }
        }
        if operation & 7 < 6 {
            window.insert(now, ssrc, sequence, received, &mut out);
            received += 1;
        }
        for item in out.drain(..) {
            assert!(delivered.insert(item), "{item} delivered twice");
        }
        let counters = window.counters();
        assert!(window.held() < held_max);
        assert_eq!(counters.received, received + accepted);
        let gone = counters.duplicates + counters.late + reset;
        assert_eq!(
            received,
            delivered.len() as u64 + window.held() as u64 + gone
        );
    }
});
