//! What a buffer costs: taking, sharing and giving back, against the allocator.

use divan::{Bencher, black_box};
use flowgate::pool::Pool;

fn main() {
    divan::main();
}

/// One tick of a channel: a buffer is taken, frozen and given back.
#[divan::bench(args = [2 << 10, 32 << 10, 256 << 10])]
fn take_freeze_drop(bencher: Bencher<'_, '_>, bytes: usize) {
    let pool = Pool::new(16 << 20);
    bencher.bench_local(|| pool.take(black_box(bytes)).expect("room").freeze(bytes));
}

/// The same from the allocator, which must hand out zeroed memory as the pool once did.
#[divan::bench(args = [2 << 10, 32 << 10, 256 << 10])]
fn allocate_and_free(bencher: Bencher<'_, '_>, bytes: usize) {
    bencher.bench_local(|| vec![0_u8; black_box(bytes)]);
}

/// A view for one more client.
#[divan::bench]
fn clone_and_drop_a_view(bencher: Bencher<'_, '_>) {
    let pool = Pool::new(1 << 20);
    let packet = pool.take(1316).expect("room").freeze(1316);
    bencher.bench_local(|| black_box(&packet).clone());
}

/// A run moved into pages that sockets can share.
#[divan::bench]
fn share_pages_of_100_kb(bencher: Bencher<'_, '_>) {
    let pool = Pool::new(16 << 20);
    let packet = pool.take(100_000).expect("room").freeze(100_000);
    bencher.bench_local(|| pool.share_pages(black_box(&packet).clone()));
}
