//! The documented example, the deductions, calibration, and refusals of edited plans.

use super::*;
use crate::error::DpError;
use crate::mechanism::ReleaseParameters;
use crate::noise::total_variation_bound;

pub(crate) fn example(n: u16, t: u16, c: u16) -> JobPrivacy {
    let training = Release::derive(&ReleaseParameters {
        clip_norm: 1.0,
        dimension: 1_000_000,
        noise_multiplier: 2.0,
        sampling_rate: 0.04,
        cohort: n,
        min_survivors: t,
        colluders: c,
        float_error: 1e-6,
        max_units_per_node: 10_000,
        noise: NoiseScope::Distributed,
        count_noise: None,
        compact: None,
    })
    .unwrap();
    JobPrivacy {
        statistics: None,
        statistics_releases: 0,
        evaluation: None,
        evaluation_releases: 0,
        training,
        training_releases: 300,
        delta: 1e-6,
    }
}

#[test]
fn documented_example() {
    let job = example(20, 17, 2);
    let of = |adversary| job.guarantee(adversary).unwrap().epsilon.epsilon;
    for (adversary, expected, width) in [
        (Adversary::Public, 1.56, 0.005),
        (Adversary::Aggregator, 1.73, 0.005),
        (Adversary::Colluders, 1.88, 0.005),
        (Adversary::EverybodyElse, 31.7, 0.05),
    ] {
        let value = of(adversary);
        assert!((value - expected).abs() <= width, "{adversary:?}: {value}");
    }
    assert_eq!(job.epsilon().unwrap().epsilon, of(Adversary::Colluders));
}

#[test]
fn deductions_are_made_and_small() {
    let job = example(20, 17, 2);
    let g = job.guarantee(Adversary::Colluders).unwrap();
    let t = g.delta_terms;
    assert_eq!(g.epsilon.delta, 1e-6);
    assert!(t.remaining < 1e-6 && t.remaining > 0.9999 * 1e-6);
    assert!(t.rounding + t.sampler + t.masking + t.cryptography + t.remaining <= 1e-6);
    assert!(t.at_epsilon >= g.epsilon.epsilon);
    // 15 honest shares, 300 releases, a million coordinates, two-level sampler.
    let tv = total_variation_bound(job.training.sigma_local).unwrap();
    let expected = (1.0 + t.at_epsilon.exp()) * 15.0 * 300.0 * 1e6 * tv;
    assert!((t.sampler / expected - 1.0).abs() < 1e-9 && t.sampler > 0.0);
    assert_eq!(job.guarantee(Adversary::Public).unwrap().delta_terms.masking, 0.0);
    let tiny = JobPrivacy { delta: 1e-12, ..job };
    assert!(matches!(tiny.epsilon(), Err(DpError::DeltaExhausted { .. })));
}

#[test]
fn statistics_and_retries_are_charged() {
    let job = example(20, 17, 2);
    let base = job.epsilon().unwrap().epsilon;
    let retries = JobPrivacy { training_releases: 310, ..job.clone() };
    assert!(retries.epsilon().unwrap().epsilon > base);
    let parameters = ReleaseParameters {
        sampling_rate: 1.0,
        noise_multiplier: 8.0,
        ..job.training.parameters.clone()
    };
    let statistics = Some(Release::derive(&parameters).unwrap());
    let both = JobPrivacy { statistics, statistics_releases: 1, ..job };
    let once = both.epsilon().unwrap().epsilon;
    assert!(once > base);
    let repeated = JobPrivacy { statistics_releases: 3, ..both };
    assert!(repeated.epsilon().unwrap().epsilon > once);
}

#[test]
fn calibration_meets_the_target_on_a_grid() {
    let shape = ReleaseParameters { sampling_rate: 0.1, ..example(20, 17, 2).training.parameters };
    for (target, expected) in [(1.0, 6.59), (8.0, 1.28)] {
        let job =
            JobPrivacy::calibrate(target, 1e-6, FixedReleases::default(), &shape, 200).unwrap();
        let z = job.training.parameters.noise_multiplier;
        assert!(job.epsilon().unwrap().epsilon <= target);
        assert!((z - expected).abs() < 0.006, "{z}");
        assert_eq!((z * 1000.0).round() / 1000.0, z);
        let less = ReleaseParameters { noise_multiplier: z - 0.002, ..shape.clone() };
        let less = JobPrivacy { training: Release::derive(&less).unwrap(), ..job };
        assert!(less.epsilon().unwrap().epsilon > target);
    }
    assert!(JobPrivacy::calibrate(0.0, 1e-6, FixedReleases::default(), &shape, 200).is_err());
    // Every attempt of the statistics round is inside the target.
    let parameters =
        ReleaseParameters { sampling_rate: 1.0, noise_multiplier: 12.0, ..shape.clone() };
    let statistics = Release::derive(&parameters).unwrap();
    let noise = |count| {
        let statistics = Some((statistics.clone(), count));
        let with = FixedReleases { statistics, evaluation: None };
        let job = JobPrivacy::calibrate(1.0, 1e-6, with, &shape, 200).unwrap();
        assert!(job.epsilon().unwrap().epsilon <= 1.0);
        assert_eq!(job.statistics_releases, count);
        job.training.parameters.noise_multiplier
    };
    assert!(noise(3) > noise(1));
    // In few dimensions sigma_local is at its floor of 3 and less noise is needed than given.
    let scalar = ReleaseParameters { dimension: 1, ..shape };
    assert!(JobPrivacy::calibrate(1.0, 1e-6, FixedReleases::default(), &scalar, 200).is_ok());
}

#[test]
fn json_round_trip() {
    let job = example(20, 17, 2);
    let text = serde_json::to_string(&job).unwrap();
    assert_eq!(serde_json::from_str::<JobPrivacy>(&text).unwrap(), job);
    let cheaper = text.replace("\"cohort\":20", "\"cohort\":40");
    assert_ne!(cheaper, text);
    assert!(serde_json::from_str::<JobPrivacy>(&cheaper).is_err());
}

fn with_noise(noise: NoiseScope) -> JobPrivacy {
    let job = example(20, 17, 2);
    let of = |release: &Release| {
        Release::derive(&ReleaseParameters { noise, ..release.parameters.clone() }).unwrap()
    };
    JobPrivacy {
        statistics: job.statistics.as_ref().map(of),
        training: of(&job.training),
        ..job.clone()
    }
}

/// Whoever adds the whole noise needs nobody: the book's number holds against everybody else.
#[test]
fn local_noise_trusts_nobody() {
    let (local, distributed) = (with_noise(NoiseScope::Local), with_noise(NoiseScope::Distributed));
    let epsilon = |job: &JobPrivacy, a| job.guarantee(a).unwrap().epsilon.epsilon;
    let book = epsilon(&local, Adversary::Colluders);
    assert_eq!(book, epsilon(&local, Adversary::EverybodyElse));
    // The same multiplier costs the same (up to what masking takes from delta) ...
    let shared = epsilon(&distributed, Adversary::Colluders);
    assert!((book / shared - 1.0).abs() < 1e-3, "{book} {shared}");
    // ... for noise that is sqrt(h) times as large at every node.
    let h = f64::from(distributed.training.honest_survivors).sqrt();
    let ratio = local.training.sigma_local / distributed.training.sigma_local;
    assert!((ratio / h - 1.0).abs() < 1e-9);
    assert!(epsilon(&local, Adversary::Public) < book / 2.0);
    assert!(!Adversary::Colluders.relies_on_masking(NoiseScope::Local));
}

/// The yardstick: all shares count, and the sum carries exactly the central noise.
#[test]
fn central_noise_counts_every_share() {
    let central = with_noise(NoiseScope::Central).training;
    let n = central.parameters.cohort;
    assert_eq!(central.honest_survivors, n);
    for adversary in Adversary::ALL {
        assert_eq!(adversary.honest_shares(&central), n);
        assert!(!adversary.relies_on_masking(NoiseScope::Central));
    }
    let z = central.sigma_local * f64::from(n).sqrt() / central.sensitivity;
    assert!((z / central.parameters.noise_multiplier - 1.0).abs() < 1e-9);
}

/// An evaluation release costs like any other, everywhere: bound, estimate, calibration.
#[test]
fn an_evaluation_is_paid_for() {
    let job = example(20, 17, 2);
    let parameters = ReleaseParameters {
        sampling_rate: 1.0,
        noise_multiplier: 5.0,
        dimension: 41,
        ..job.training.parameters.clone()
    };
    let evaluation = Release::derive(&parameters).unwrap();
    let with = |evaluation_releases| JobPrivacy {
        evaluation: Some(evaluation.clone()),
        evaluation_releases,
        ..job.clone()
    };
    let epsilon = |job: &JobPrivacy| job.epsilon().unwrap().epsilon;
    assert!(epsilon(&job) < epsilon(&with(1)) && epsilon(&with(1)) < epsilon(&with(3)));
    let estimate = |job: &JobPrivacy| job.pld_estimate(Adversary::Colluders).unwrap();
    assert!(estimate(&job) < estimate(&with(3)));
    let shape = &job.training.parameters;
    let others = FixedReleases { statistics: None, evaluation: Some((evaluation.clone(), 3)) };
    let fitted = JobPrivacy::calibrate(2.0, 1e-6, others, shape, 300).unwrap();
    let alone = JobPrivacy::calibrate(2.0, 1e-6, FixedReleases::default(), shape, 300).unwrap();
    let z = |job: &JobPrivacy| job.training.parameters.noise_multiplier;
    assert!(z(&fitted) > z(&alone) && epsilon(&fitted) <= 2.0);
}
