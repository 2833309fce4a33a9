//! Tests of the derivation: formulas, refusals, and the sensitivity against real neighbouring sums.

use proptest::prelude::*;
use rand_core::RngCore;

use super::*;
use crate::clip::add_clipped;
use crate::lanes::from_lanes;
use crate::mechanism::Compact;
use crate::rng::SecretRng;

pub(crate) fn parameters() -> ReleaseParameters {
    ReleaseParameters {
        clip_norm: 0.5,
        dimension: 10_000,
        noise_multiplier: 2.0,
        sampling_rate: 0.04,
        cohort: 20,
        min_survivors: 17,
        colluders: 2,
        float_error: 1e-6,
        max_units_per_node: 10_000,
        noise: Default::default(),
        count_noise: None,
        compact: None,
    }
}

#[test]
fn documented_formulas() {
    let release = Release::derive(&parameters()).unwrap();
    assert_eq!(release.scale, 20_000.0);
    assert_eq!(release.honest_survivors, 15);
    // D = 1.01 s C, up to eta and the roundings of the product.
    assert!((release.sensitivity / (1.01 * 10_000.0) - 1.0).abs() < 2e-6);
    assert!(release.sensitivity >= 1.01 * 10_000.0);
    let sigma = 2.0 * release.sensitivity / 15.0_f64.sqrt();
    assert!(release.sigma_local >= sigma && release.sigma_local < sigma * (1.0 + 1e-12));
    assert!(release.tau < 1e-300);
    assert!(release.noise_multiplier_with(15).unwrap() >= 2.0 * (1.0 - 1e-12));
    let kappa = (2.0 * (2.0e4_f64 / 1e-6).ln()).sqrt();
    let tail = kappa * sigma * 20.0_f64.sqrt();
    assert!(release.noise_tail >= tail && release.noise_tail < 1.05 * tail);
    assert!(20.0 * release.clamp as f64 + release.noise_tail < 2_147_483_648.0);
}

#[test]
fn clamp_is_as_large_as_useful() {
    let small = ReleaseParameters { max_units_per_node: 100, ..parameters() };
    let release = Release::derive(&small).unwrap();
    assert!(release.units_before_clamp() >= 100.0 && release.units_before_clamp() < 100.1);
    let large = ReleaseParameters { max_units_per_node: 1 << 26, ..parameters() };
    let release = Release::derive(&large).unwrap();
    let beyond = 20.0 * (release.clamp + 1) as f64 + release.noise_tail;
    assert!(beyond > 2_147_483_647.0, "the clamp could be larger");
}

#[test]
fn at_least_one_colluder_and_a_plain_sum_are_assumed() {
    let none = ReleaseParameters { colluders: 0, float_error: 0.0, ..parameters() };
    let release = Release::derive(&none).unwrap();
    assert_eq!(release.honest_survivors, 16);
    assert!(release.sensitivity > 10_100.0 * (1.0 + 1e-8));
}

#[test]
fn refusals() {
    let change = |f: fn(&mut ReleaseParameters)| {
        let mut p = parameters();
        f(&mut p);
        Release::derive(&p).unwrap_err()
    };
    assert!(matches!(change(|p| p.colluders = 17), DpError::NoHonestNoise { .. }));
    assert!(matches!(change(|p| p.min_survivors = 2), DpError::NoHonestNoise { .. }));
    assert!(matches!(change(|p| p.min_survivors = 21), DpError::Parameter { .. }));
    assert!(matches!(change(|p| p.noise_multiplier = 1e6), DpError::LanesOverflow { .. }));
    for error in [
        change(|p| p.clip_norm = 0.0),
        change(|p| p.clip_norm = f64::NAN),
        change(|p| p.dimension = 0),
        change(|p| p.noise_multiplier = 0.0),
        change(|p| p.sampling_rate = 0.0),
        change(|p| p.sampling_rate = 1.5),
        change(|p| p.float_error = -1.0),
        change(|p| p.max_units_per_node = 0),
    ] {
        assert!(matches!(error, DpError::Parameter { .. }), "{error}");
    }
    let text = change(|p| p.noise_multiplier = 1e6).to_string();
    assert!(text.contains("lower noise_multiplier"), "{text}");
}

#[test]
fn a_release_from_a_file_is_derived_again() {
    let release = Release::derive(&parameters()).unwrap();
    let text = serde_json::to_string(&release).unwrap();
    assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), release);
    for field in [
        "scale",
        "sensitivity",
        "sigma_local",
        "honest_survivors",
        "clamp",
        "tau",
        "noise_tail",
        "lane_bits",
    ] {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value[field] = serde_json::json!(7);
        let error = serde_json::from_value::<Release>(value).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let extra = text.replacen('{', "{\"more\":1,", 1);
    assert!(serde_json::from_str::<Release>(&extra).is_err());
}

#[test]
fn the_discrete_correction_is_charged_for_more_than_one_share() {
    let p = ReleaseParameters { dimension: 1, noise_multiplier: 0.05, ..parameters() };
    let release = Release::derive(&p).unwrap();
    assert_eq!(release.sigma_local, 3.0);
    for (honest, more) in [(15, true), (1, false)] {
        let z = release.noise_multiplier_with(honest).unwrap();
        let ideal = subsampled_gaussian(p.sampling_rate, z).unwrap();
        let charged = release.rdp_with_honest(honest).unwrap();
        // The correction is far below one unit in the last place; adding it rounds up by one.
        let pairs = || charged.values().iter().zip(ideal.values());
        assert!(if more { pairs().all(|(c, i)| c > i) } else { charged == ideal });
    }
    assert!(release.rdp_with_honest(0).is_err());
}

#[test]
fn noisy_lanes_carry_sum_and_noise() {
    let p = ReleaseParameters { dimension: 4000, max_units_per_node: 100, ..parameters() };
    let release = Release::derive(&p).unwrap();
    let sampler = release.sampler().unwrap();
    let mut rng = SecretRng::danger_deterministic([5; 32]);
    let sum = vec![0.01; 4000];
    let values = from_lanes(&release.noisy_lanes(&sum, &sampler, &mut rng).unwrap(), 32);
    let noise: Vec<f64> = values.iter().map(|v| *v as f64 - 0.01 * release.scale).collect();
    let mean = noise.iter().sum::<f64>() / 4000.0;
    let deviation = (noise.iter().map(|e| e * e).sum::<f64>() / 4000.0).sqrt();
    assert!(mean.abs() < 5.0 * release.sigma_local / 4000.0_f64.sqrt());
    assert!((deviation / release.sigma_local - 1.0).abs() < 0.06);
    assert!(release.noisy_lanes(&sum[1..], &sampler, &mut rng).is_err());
    let weak = DiscreteGaussian::new(release.sigma_local * 0.99).unwrap();
    assert!(release.noisy_lanes(&sum, &weak, &mut rng).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Neighbouring batches (one more unit, of any size) through clipping, summation, clamp and
    /// rounding, with the same and with unrelated rounding randomness: with the same randomness the
    /// integer vectors differ by at most D; with unrelated randomness by at most D + sqrt(d).
    #[test]
    fn realised_sensitivity(
        seed: [u8; 32], d in 1..60_usize, units in 0..40_usize,
        log_clip in -3.0..3.0_f64, log_size in -6.0..6.0_f64, cohort in 3..1000_u16,
    ) {
        let p = ReleaseParameters {
            clip_norm: 10.0_f64.powf(log_clip), dimension: d, cohort, min_survivors: cohort,
            colluders: 1, max_units_per_node: 50, ..parameters()
        };
        let release = Release::derive(&p).unwrap();
        let mut rng = SecretRng::danger_deterministic(seed);
        let size = p.clip_norm * 10.0_f64.powf(log_size);
        let mut unit = || -> Vec<f64> {
            (0..d).map(|_| (rng.next_u64() as f64 / 2.0_f64.powi(63) - 1.0) * size).collect()
        };
        let (mut without, mut with) = (vec![0.0; d], vec![0.0; d]);
        add_clipped(&unit(), p.clip_norm, &mut with).unwrap();
        for _ in 0..units {
            let u = unit();
            add_clipped(&u, p.clip_norm, &mut with).unwrap();
            add_clipped(&u, p.clip_norm, &mut without).unwrap();
        }
        let rounded = |sum: &[f64], seed| {
            let mut rng = SecretRng::danger_deterministic(seed);
            quantise(sum, release.scale, release.clamp, &mut rng)
        };
        let distance = |a: &[i64], b: &[i64]| {
            a.iter().zip(b).map(|(a, b)| ((a - b) * (a - b)) as f64).sum::<f64>().sqrt()
        };
        let (a, b) = (rounded(&with, seed), rounded(&without, seed));
        prop_assert!(distance(&a, &b) <= release.sensitivity);
        let c = rounded(&without, [9; 32]);
        prop_assert!(distance(&a, &c) <= release.sensitivity + (d as f64).sqrt());
    }
}

/// The split between count and gradient: the count's noise is what was asked for, and both together
/// cost what the noise multiplier says.
#[test]
fn a_count_of_units_shares_the_sensitivity() {
    let plain = Release::derive(&parameters()).unwrap();
    let z = plain.parameters.noise_multiplier;
    for sigma_b in [z / 2.0_f64.sqrt() * 1.0001, 3.0 * z, 50.0 * z] {
        let p = ReleaseParameters { count_noise: Some(sigma_b), ..parameters() };
        let release = Release::derive(&p).unwrap();
        let s_b = release.count_scale.unwrap();
        let sum = release.sigma_local * f64::from(release.honest_survivors).sqrt();
        assert!(sum / s_b >= sigma_b * 0.999, "{} {sigma_b}", sum / s_b);
        assert!(sum / s_b <= sigma_b * 1.02);
        // z_delta = (z^-2 - (2 sigma_b)^-2)^-1/2 of Andrew et al.: the gradient's own multiplier.
        let own = (z.powi(-2) - (2.0 * sigma_b).powi(-2)).powf(-0.5);
        let ratio = release.sensitivity / plain.sensitivity;
        assert!(ratio >= 1.0 && (ratio / (own / z) - 1.0).abs() < 1e-2, "{ratio} {}", own / z);
        let (shared, alone) = (release.rdp().unwrap(), plain.rdp().unwrap());
        let mut pairs = shared.values().iter().zip(alone.values());
        assert!(pairs.all(|(a, b)| (a / b - 1.0).abs() < 1e-12), "the same cost");
        let text = serde_json::to_string(&release).unwrap();
        assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), release);
        let edited = text.replace("\"count_noise\"", "\"count_noisy\"");
        assert!(serde_json::from_str::<Release>(&edited).is_err());
    }
    for bad in [0.0, z / 2.0, -1.0, f64::NAN, f64::INFINITY] {
        let p = ReleaseParameters { count_noise: Some(bad), ..parameters() };
        assert!(Release::derive(&p).is_err(), "{bad}");
    }
}

/// Compact encoding: fewer bits at little more noise, and the documented formula.
#[test]
fn compact_encoding_trades_bytes_for_noise() {
    let wide = ReleaseParameters {
        dimension: 1_000_000,
        cohort: 10,
        min_survivors: 9,
        colluders: 1,
        max_units_per_node: 2_500,
        float_error: 2.5e-4,
        ..parameters()
    };
    let of = |resolution: Option<f64>| {
        let compact = resolution.map(|resolution| Compact { resolution });
        Release::derive(&ReleaseParameters { compact, ..wide.clone() }).unwrap()
    };
    // What a unit weighs against the noise, relative to no rounding at all.
    let widened = |r: &Release| r.sensitivity / (r.scale * r.parameters.clip_norm * 1.00025);
    let plain = of(None);
    assert_eq!((plain.lane_bits, plain.rounding_failure()), (32, 0.0));
    for (resolution, bits, most) in
        [(8.0, 20, 1.006), (4.0, 19, 1.012), (2.0, 18, 1.04), (1.0, 17, 1.13)]
    {
        let r = of(Some(resolution));
        assert_eq!(r.lane_bits, bits, "{resolution}");
        assert!(widened(&r) < most && widened(&r) > 1.0, "{resolution}: {}", widened(&r));
        assert_eq!(r.rounding_failure(), 1e-15);
        let (d, before) = (1e6_f64, r.scale * 0.5 * 1.000_251);
        let m = before + d.sqrt() / 65_536.0;
        let bound = (m * m + d / 4.0 + (30.0 * 10.0_f64.ln()).sqrt() * (m + d.sqrt() / 2.0)).sqrt();
        assert!(r.sensitivity >= bound * (1.0 - 1e-6) && r.sensitivity < bound * (1.0 + 1e-4));
        let text = serde_json::to_string(&r).unwrap();
        assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), r);
        let edited = text.replace("\"resolution\":", "\"resolution\":3");
        assert!(serde_json::from_str::<Release>(&edited).is_err());
    }
    for resolution in [0.0, 0.1, 200.0, f64::NAN] {
        let compact = Some(Compact { resolution });
        assert!(Release::derive(&ReleaseParameters { compact, ..wide.clone() }).is_err());
    }
}

/// Neighbouring sums through the rotation and the rounding of compact encoding, the worst of them in
/// one coordinate: never beyond D, and never clamped.
#[test]
fn realised_sensitivity_of_compact_encoding() {
    let p = ReleaseParameters {
        dimension: 3000,
        max_units_per_node: 50,
        sampling_rate: 1.0,
        compact: Some(Compact { resolution: 1.0 }),
        ..parameters()
    };
    let release = Release::derive(&p).unwrap();
    for trial in 0..40_u8 {
        let mut rng = SecretRng::danger_deterministic([trial; 32]);
        let mut sum: Vec<f64> =
            (0..3000).map(|i| f64::from((i * 37 + 11) % 19 - 9) * 1e-3).collect();
        sum[7] = 20.0;
        let mut more = sum.clone();
        if trial % 2 == 0 {
            more[usize::from(trial)] += p.clip_norm;
        } else {
            let each = p.clip_norm / 3000.0_f64.sqrt();
            more.iter_mut().for_each(|v| *v -= each);
        }
        let rotation = Rotation::new(3000, [rng.next_u64() as u8; 32]);
        let rounded = |v: &[f64]| {
            let mut v = v.to_vec();
            rotation.forward(&mut v);
            let mut rng = SecretRng::danger_deterministic([trial ^ 0x55; 32]);
            quantise(&v, release.scale, release.clamp, &mut rng)
        };
        let (a, b) = (rounded(&sum), rounded(&more));
        let largest = a.iter().map(|v| v.abs()).max().unwrap();
        assert!(largest < release.clamp);
        let square: i64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!((square as f64).sqrt() <= release.sensitivity);
        assert!((square as f64).sqrt() >= 0.9 * release.scale * p.clip_norm);
    }
}
