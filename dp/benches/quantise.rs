//! Nanoseconds per coordinate of the quantiser: to integers, which noise is added to, and straight to
//! lanes. A throughput of 1 Gelem/s is 1 ns a coordinate; a time in ms is ns a coordinate.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_dp::{SecretRng, quantise, quantise_into_lanes, quantise_into_narrow_lanes};

fn quantiser(c: &mut Criterion) {
    const COORDINATES: usize = 1_000_000;
    let mut group = c.benchmark_group("quantise");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(COORDINATES as u64));
    let mut rng = SecretRng::from_os().unwrap();
    let wide: Vec<f64> = (0..COORDINATES).map(|i| (i as f64 * 0.7).sin()).collect();
    let narrow: Vec<f32> = wide.iter().map(|v| *v as f32).collect();
    let (scale, clamp) = (1e5, 1 << 30);
    let (mut lanes, mut small) = (Vec::new(), Vec::new());
    group.bench_function("f64_to_i64", |b| {
        b.iter(|| quantise(&wide, scale, clamp, &mut rng));
    });
    group.bench_function("f64_to_u32", |b| {
        b.iter(|| quantise_into_lanes(&wide, scale, clamp, &mut rng, &mut lanes));
    });
    group.bench_function("f32_to_u32", |b| {
        b.iter(|| quantise_into_lanes(&narrow, scale, clamp, &mut rng, &mut lanes));
    });
    group.bench_function("f64_to_u16", |b| {
        b.iter(|| quantise_into_narrow_lanes(&wide, 1e3, 1000, &mut rng, &mut small));
    });
    group.bench_function("f32_to_u16", |b| {
        b.iter(|| quantise_into_narrow_lanes(&narrow, 1e3, 1000, &mut rng, &mut small));
    });
    group.finish();
}

criterion_group!(benches, quantiser);
criterion_main!(benches);
