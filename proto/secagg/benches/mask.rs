//! Speed of the two inner loops: expanding masks into a vector, and dealing and
//! opening shares. `cargo bench -p tributary-secagg --bench mask` prints bytes of
//! mask stream per second; `-- mask` leaves the shares out.
#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]
#![allow(clippy::expect_used, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tributary_secagg::mask::{
    Kernel, Lane, MaskKey, Sign, apply, apply_all, apply_all_with, kernel,
};
use tributary_secagg::shamir::{Interpolation, deal};

/// A self mask and eight neighbours.
const MASKS: u8 = 9;

const ONE: NonZeroUsize = NonZeroUsize::MIN;

fn masks() -> Vec<(MaskKey, Sign)> {
    let sign = |byte: u8| if byte.is_multiple_of(2) { Sign::Plus } else { Sign::Minus };
    (0..MASKS).map(|byte| (MaskKey::copied(&[byte; 32]), sign(byte))).collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500));
    group
}

/// Nine masks over a million lanes through every kernel that runs here;
/// `portable` is the `aes` and `ctr` crates.
fn each_kernel<L: Lane>(criterion: &mut Criterion, name: &str) {
    const LANES: usize = 1_000_000;
    let mut group = group(criterion, name);
    group.throughput(Throughput::Bytes((LANES * L::BYTES) as u64 * u64::from(MASKS)));
    let masks = masks();
    let mut vector = vec![L::default(); LANES];
    for kernel in Kernel::available() {
        group.bench_function(kernel.name(), |bencher| {
            bencher.iter(|| apply_all_with(kernel, &masks, 0, black_box(&mut vector), ONE));
        });
    }
    group.finish();
}

fn mask_kernels(criterion: &mut Criterion) {
    each_kernel::<u32>(criterion, "mask/u32");
    each_kernel::<u16>(criterion, "mask/u16");
}

/// Ten million lanes of 32 bits: the vector does not fit a cache.
fn mask_large(criterion: &mut Criterion) {
    const LANES: usize = 10_000_000;
    let mut group = group(criterion, "mask/1e7");
    group.throughput(Throughput::Bytes(LANES as u64 * 4 * u64::from(MASKS)));
    let masks = masks();
    let mut vector = vec![0u32; LANES];
    for workers in [ONE, ONE.saturating_add(1)] {
        group.bench_function(BenchmarkId::new(kernel().name(), workers), |bencher| {
            bencher.iter(|| apply_all(&masks, 0, black_box(&mut vector), workers));
        });
    }
    group.finish();
}

/// One mask, once around: key expansion and ragged end included.
fn mask_single(criterion: &mut Criterion) {
    let mut group = group(criterion, "mask/single");
    let key = MaskKey::copied(&[7; 32]);
    for lanes in [100usize, 16_384] {
        let mut vector = vec![0u32; lanes];
        group.throughput(Throughput::Bytes(lanes as u64 * 4));
        group.bench_function(BenchmarkId::from_parameter(lanes), |bencher| {
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

criterion_group!(benches, mask_kernels, mask_large, mask_single, sharing);
criterion_main!(benches);
