//! Against dp-accounting, against closed forms, and refusals.

use super::LossMechanism::{
    DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, SampledGaussian, SampledGroup,
};
use super::*;

fn sampled(sampling_rate: f64, noise_multiplier: f64) -> LossMechanism {
    SampledGaussian { sampling_rate, noise_multiplier }
}

fn group(sampling_rate: f64, noise_multiplier: f64, group: u16) -> LossMechanism {
    SampledGroup { sampling_rate, noise_multiplier, group }
}

/// (mechanism, uses, delta, epsilon) from dp-accounting 0.6.
fn oracle() -> Vec<(LossMechanism, u32, f64, f64)> {
    vec![
        (Gaussian { noise_multiplier: 1.0 }, 1, 1e-5, 4.3771781),
        (Gaussian { noise_multiplier: 50.0 }, 1000, 1e-6, 2.9216006),
        (Gaussian { noise_multiplier: 20.0 }, 200, 1e-9, 4.2259406),
        (sampled(0.01, 4.0), 10_000, 1e-5, 0.94699931),
        (sampled(0.004266666666666667, 0.7), 10_530, 1e-5, 5.6351291),
        (sampled(0.25, 8.0), 200, 1e-6, 2.0041011),
        (sampled(0.001, 0.6), 5000, 1e-7, 3.4373409),
        (sampled(0.1, 0.5), 10, 1e-5, 12.261239),
        (group(0.05, 1.5, 1), 300, 1e-6, 3.2937371),
        (group(0.05, 1.5, 4), 300, 1e-6, 16.677369),
        (group(0.01, 2.0, 8), 1000, 1e-5, 6.4601871),
        (DiscreteGaussian { sigma: 1.0, sensitivity: 1 }, 1, 1e-5, 4.4302381),
        (DiscreteGaussian { sigma: 20.0, sensitivity: 10 }, 10, 1e-5, 7.5113809),
        (Laplace { scale: 2.0 }, 10, 1e-6, 4.9989781),
        (DiscreteLaplace { parameter: 0.5, sensitivity: 1 }, 10, 1e-6, 4.9998855),
    ]
}

#[test]
fn oracle_values() {
    for (mechanism, uses, delta, expected) in oracle() {
        let value = pld_epsilon(&[(mechanism, uses)], delta).unwrap();
        let error = value / expected - 1.0;
        assert!((0.0..0.01).contains(&error), "{mechanism:?}: {value} against {expected}");
    }
}

#[test]
fn compositions_of_different_mechanisms() {
    // Plain Gaussians compose in closed form, whatever they are called.
    let three = [
        (Gaussian { noise_multiplier: 2.0 }, 3),
        (sampled(1.0, 2.0), 1),
        (Gaussian { noise_multiplier: 9.0 }, 0),
    ];
    assert_eq!(
        pld_epsilon(&three, 1e-5).unwrap(),
        pld_epsilon(&[(Gaussian { noise_multiplier: 1.0 }, 1)], 1e-5).unwrap()
    );
    // Two groups of the same steps are the steps.
    let apart = pld_epsilon(&[(sampled(0.1, 1.5), 60), (sampled(0.1, 1.5), 40)], 1e-6).unwrap();
    let together = pld_epsilon(&[(sampled(0.1, 1.5), 100)], 1e-6).unwrap();
    assert!((apart / together - 1.0).abs() < 1e-9, "{apart} {together}");
    let with_statistics = [(sampled(0.1, 1.5), 100), (Gaussian { noise_multiplier: 8.0 }, 1)];
    let more = pld_epsilon(&with_statistics, 1e-6).unwrap();
    assert!(more > together && more < together + 1.0, "{more} {together}");
    assert_eq!(pld_epsilon(&[], 1e-6).unwrap(), 0.0);
}

#[test]
fn never_above_the_bound_by_much_and_monotone() {
    use crate::accountant::{epsilon, subsampled_gaussian};
    for (q, z, steps, delta) in
        [(0.1, 0.3, 5, 1e-6), (0.02, 1.0, 300, 1e-12), (1.0, 0.05, 1, 1e-6), (0.5, 40.0, 2, 1e-3)]
    {
        let curve = subsampled_gaussian(q, z).unwrap().times(steps);
        let bound = epsilon(&curve, delta).unwrap().epsilon;
        let value = pld_epsilon(&[(sampled(q, z), steps)], delta);
        let value = value.unwrap_or_else(|e| panic!("q={q} z={z}: {e}"));
        assert!(value <= bound, "q={q} z={z}: {value} above {bound}");
        assert!(value > bound * 0.5 - 0.05, "q={q} z={z}: {value} against {bound}");
        let more = pld_epsilon(&[(sampled(q, z), steps + 1)], delta).unwrap();
        assert!(more >= value, "q={q} z={z}");
    }
    // So little loss that delta alone covers it.
    assert_eq!(pld_epsilon(&[(sampled(0.01, 1000.0), 1)], 1e-3).unwrap(), 0.0);
}

#[test]
fn refuses_nonsense() {
    let good = Gaussian { noise_multiplier: 1.0 };
    for delta in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(pld_epsilon(&[(good, 1)], delta).is_err());
    }
    for bad in [
        Gaussian { noise_multiplier: 0.0 },
        sampled(0.0, 1.0),
        sampled(1.5, 1.0),
        group(0.1, 1.0, 0),
        DiscreteGaussian { sigma: 1.0, sensitivity: 0 },
        DiscreteGaussian { sigma: f64::NAN, sensitivity: 1 },
        Laplace { scale: 0.0 },
        DiscreteLaplace { parameter: -1.0, sensitivity: 1 },
    ] {
        assert!(pld_epsilon(&[(bad, 1)], 1e-6).is_err(), "{bad:?}");
    }
}
