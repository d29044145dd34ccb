//! The reorder window on the paths every packet takes.
//!
//! `cargo bench --bench reorder`

use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use flowgate::proto::reorder::{WINDOW, Window};

const PACKETS: u16 = 4096;
const SSRC: u32 = 7;

fn main() {
    divan::main();
}

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary point to count from"
)]
fn some_instant() -> Instant {
    Instant::now()
}

fn running() -> Window<u64> {
    let mut window = Window::new(WINDOW, Duration::from_millis(50), Duration::ZERO);
    let mut out = Vec::new();
    let now = some_instant();
    window.insert(now, SSRC, u16::MAX, 0, &mut out);
    window.expire(now, &mut out);
    window
}

fn insert_all(bencher: Bencher<'_, '_>, sequences: &[u16]) {
    let now = some_instant();
    let mut out = Vec::with_capacity(sequences.len());
    bencher
        .counter(ItemsCount::new(sequences.len()))
        .with_inputs(running)
        .bench_local_refs(|window| {
            out.clear();
            for &sequence in sequences {
                window.insert(now, SSRC, sequence, u64::from(sequence), &mut out);
            }
            out.len()
        });
}

/// Packets in order, one call each.
#[divan::bench]
fn in_order(bencher: Bencher<'_, '_>) {
    insert_all(bencher, &(0..PACKETS).collect::<Vec<_>>());
}

/// Packets in order, in runs of 16 as they come from one system call.
#[divan::bench]
fn in_order_runs(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PACKETS))
        .with_inputs(running)
        .bench_local_refs(|window| {
            (0..PACKETS / 16)
                .filter(|&run| window.accept_run(SSRC, run * 16, 16))
                .count()
        });
}

/// Every fourth pair of packets swapped.
#[divan::bench]
fn swapped_pairs(bencher: Bencher<'_, '_>) {
    let swap = |sequence: u16| {
        if sequence & 7 >= 6 {
            sequence ^ 1
        } else {
            sequence
        }
    };
    insert_all(bencher, &(0..PACKETS).map(swap).collect::<Vec<_>>());
}

/// One packet of 64 comes 16 positions late.
#[divan::bench]
fn late_by_16(bencher: Bencher<'_, '_>) {
    let mut sequences: Vec<u16> = (0..PACKETS).collect();
    sequences.chunks_exact_mut(64).for_each(|block| {
        if let Some(late) = block.get_mut(8..=24) {
            late.rotate_left(1);
        }
    });
    insert_all(bencher, &sequences);
}

/// One packet of 64 is missing, and each hole has to be given up.
#[divan::bench]
fn lost_one_of_64(bencher: Bencher<'_, '_>) {
    insert_all(
        bencher,
        &(0..PACKETS)
            .filter(|sequence| sequence % 64 != 8)
            .collect::<Vec<_>>(),
    );
}
