//! Time per sample of the discrete Gaussian and of the Skellam law (a time in µs over 100 is ns a
//! sample), and the time to build a table. Beside opendp: `dp/oracle/benches`.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_dp::{DiscreteGaussian, SecretRng, Skellam};

fn noise(c: &mut Criterion) {
    const COORDINATES: usize = 100_000;
    let mut group = c.benchmark_group("discrete_gaussian");
    group.sample_size(20);
    for sigma in [10.0, 100.0, 1000.0, 1e4, 1e5] {
        group.throughput(Throughput::Elements(COORDINATES as u64));
        let sampler = DiscreteGaussian::new(sigma).unwrap();
        let mut rng = SecretRng::from_os().unwrap();
        let mut values = vec![0; COORDINATES];
        group.bench_function(format!("sample/{sigma}"), |b| {
            b.iter(|| sampler.add_noise(&mut values, &mut rng));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("skellam");
    group.sample_size(20);
    group.throughput(Throughput::Elements(COORDINATES as u64));
    for deviation in [10.0, 100.0, 1000.0] {
        let sampler = Skellam::new(deviation * deviation).unwrap();
        let mut rng = SecretRng::from_os().unwrap();
        let mut values = vec![0; COORDINATES];
        group.bench_function(format!("sample/{deviation}"), |b| {
            b.iter(|| sampler.add_noise(&mut values, &mut rng));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("table");
    group.sample_size(10);
    for sigma in [10.0, 1000.0, 5000.0, 1e6] {
        group.bench_function(format!("build/{sigma}"), |b| {
            b.iter(|| DiscreteGaussian::new(sigma).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, noise);
criterion_main!(benches);
