//! Speed of the two inner loops: expanding masks into a vector, and dealing and
//! opening shares. `cargo bench -p tributary-secagg` prints bytes per second.
#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]
#![allow(clippy::expect_used, reason = "a benchmark may stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tributary_secagg::mask::{MaskKey, Sign, apply};
use tributary_secagg::shamir::{Interpolation, deal};

fn mask_expansion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    let key = MaskKey::copied(&[7; 32]);
    for lanes in [16_384usize, 1_000_000] {
        let mut vector = vec![0u32; lanes];
        group.throughput(Throughput::Bytes(lanes as u64 * 4));
        group.bench_function(BenchmarkId::new("apply", lanes), |bencher| {
            bencher.iter(|| apply(&key, Sign::Plus, black_box(&mut vector)));
        });
    }
    group.finish();
}

fn sharing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shamir");
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for (n, threshold) in [(10u8, 7usize), (100, 61)] {
        let slots: Vec<u8> = (1..=n).collect();
        group.bench_function(BenchmarkId::new("deal", n), |bencher| {
            bencher.iter(|| deal(&[5; 32], threshold, &slots, &mut rng));
        });
        let shares = deal(&[5; 32], threshold, &slots, &mut rng).expect("sound parameters");
        let few: Vec<&[u8; 32]> = shares.iter().take(threshold).map(|share| &**share).collect();
        let held = slots.get(..threshold).expect("enough slots");
        group.bench_function(BenchmarkId::new("open", n), |bencher| {
            bencher.iter(|| Interpolation::at_zero(black_box(held)).map(|at| at.secret(&few)));
        });
    }
    group.finish();
}

criterion_group!(benches, mask_expansion, sharing);
criterion_main!(benches);
