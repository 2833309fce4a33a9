//! Ours and opendp's samplers side by side; a throughput of 1 Melem/s is 1000 ns a sample.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_dp::{DiscreteGaussian, SecretRng, Skellam};

fn noise(c: &mut Criterion) {
    let mut rng = SecretRng::from_os().unwrap();
    let mut group = c.benchmark_group("discrete_gaussian");
    group.sample_size(20);
    for sigma in [10.0, 100.0, 1000.0, 1e4, 1e5] {
        let (ours, theirs) = (100_000, 1_000);
        let sampler = DiscreteGaussian::new(sigma).unwrap();
        let mut values = vec![0; ours];
        group.throughput(Throughput::Elements(ours as u64));
        group.bench_function(format!("tributary/{sigma}"), |b| {
            b.iter(|| sampler.add_noise(&mut values, &mut rng));
        });
        group.throughput(Throughput::Elements(theirs as u64));
        group.bench_function(format!("opendp/{sigma}"), |b| {
            b.iter(|| tributary_dp_oracle::samples(sigma, theirs).unwrap());
        });
    }
    group.finish();
    let mut group = c.benchmark_group("skellam");
    group.sample_size(20);
    for deviation in [10.0, 100.0, 1000.0, 2048.0] {
        let sampler = Skellam::new(deviation * deviation).unwrap();
        let mut values = vec![0; 100_000];
        group.throughput(Throughput::Elements(values.len() as u64));
        group.bench_function(format!("tributary/{deviation}"), |b| {
            b.iter(|| sampler.add_noise(&mut values, &mut rng));
        });
    }
    group.finish();
}

criterion_group!(benches, noise);
criterion_main!(benches);
