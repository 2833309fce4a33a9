//! Renyi divergence of one release with Skellam noise.
//!
//! It knows sensitivities in units of the integer lattice and a variance, no sampler and no node.

use super::curve::RdpCurve;
use crate::error::{DpError, in_range};

/// Relative error granted to the few operations of the formula.
const ROUNDING: f64 = 1.0 + 16.0 * f64::EPSILON;

/// Curve of one release of an integer vector with independent Skellam noise of variance
/// `total_variance` in every coordinate: the honest noise of all nodes together, since sums of Skellam
/// numbers are Skellam. `l2` and `l1` are the sensitivities in the two norms, in integer units.
///
/// Agarwal, Kairouz, Liu, "The Skellam mechanism for differentially private federated learning" (2021),
/// theorem 3.5, for integer orders a and variance v:
/// `R(a) = a l2^2 / (2v) + min( ((2a-1) l2^2 + 6 l1) / (4 v^2), 3 l1 / (2v) )`. Without sampling: no bound
/// for the Poisson-subsampled mechanism follows from it here. Rounded upwards.
///
/// # Errors
/// If the variance or a sensitivity is not a positive finite number.
pub fn skellam(total_variance: f64, l2: f64, l1: f64) -> Result<RdpCurve, DpError> {
    let (low, high) = (f64::MIN_POSITIVE, f64::MAX);
    in_range("total_variance", total_variance, low, high, "positive and finite")?;
    in_range("l2_sensitivity", l2, low, high, "positive and finite")?;
    in_range("l1_sensitivity", l1, low, high, "positive and finite")?;
    Ok(RdpCurve::from_fn(|order| {
        let a = f64::from(order);
        let (square, v) = (l2 * l2, total_variance);
        let near = ((2.0 * a - 1.0) * square + 6.0 * l1) / v / v / 4.0;
        let far = 1.5 * l1 / v;
        (a * square / v / 2.0 + near.min(far)) * ROUNDING
    }))
}

#[cfg(test)]
mod tests {
    use super::super::convert::epsilon;
    use super::*;
    use std::path::Path;

    /// (variance, l2, l1, steps, delta, epsilon), from an independent implementation.
    const KNOWN: [(f64, f64, f64, u32, f64, f64); 4] = [
        (100.0, 10.0, 100.0, 1, 1e-5, 4.7902283),
        (1e4, 20.0, 400.0, 10, 1e-5, 2.8143192),
        (1.8e12, 101_000.0, 1.01e8, 200, 1e-6, 5.622762),
        (1e6, 1000.0, 1e5, 1, 1e-6, 5.2224316),
    ];

    fn agrees((v, l2, l1, steps, delta, expected): (f64, f64, f64, u32, f64, f64)) {
        let curve = skellam(v, l2, l1).unwrap().times(steps);
        let found = epsilon(&curve, delta).unwrap().epsilon;
        assert!((found / expected - 1.0).abs() < 1e-6, "variance {v}: {found}, {expected}");
    }

    #[test]
    fn known_values() {
        KNOWN.into_iter().for_each(agrees);
    }

    #[test]
    fn every_row_of_the_reference_table() {
        let table = "../../shared/reference/dp_reference.csv";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(table);
        let Ok(mut reader) = csv::Reader::from_path(&path) else {
            println!("skipped: no reference table at ../shared/reference");
            return;
        };
        let mut rows = 0;
        for row in reader.records().map(Result::unwrap).filter(|row| &row[1] == "skellam") {
            let p: serde_json::Value = serde_json::from_str(&row[2]).unwrap();
            let number = |key: &str| p[key].as_f64().unwrap();
            let delta = row[3].parse().unwrap();
            let expected = row[5].parse().unwrap();
            let (v, l2, l1) = (number("total_variance"), number("l2"), number("l1"));
            agrees((v, l2, l1, number("steps") as u32, delta, expected));
            rows += 1;
        }
        assert_eq!(rows, KNOWN.len());
    }

    /// The divergence itself, of scalars, by summation.
    fn divergence(mu: f64, shift: i64, order: i32) -> f64 {
        let points = 512;
        let probability = |k: i64| {
            let term = |j: u32| {
                let t = 2.0 * std::f64::consts::PI * f64::from(j) / f64::from(points);
                (mu * (t.cos() - 1.0)).exp() * (k as f64 * t).cos()
            };
            (0..points).map(term).sum::<f64>() / f64::from(points)
        };
        // Beyond this, the formula for probabilities is exact to 1e-17 only.
        let reach = (5.5 * mu.sqrt()) as i64;
        let sum: f64 = (-reach..=reach)
            .map(|x| probability(x - shift).powi(order) / probability(x).powi(order - 1))
            .sum();
        sum.ln() / f64::from(order - 1)
    }

    #[test]
    fn the_bound_is_above_the_divergence_and_near_it() {
        for (mu, shift, order) in [(25.0, 1, 2), (25.0, 2, 4), (100.0, 1, 8), (100.0, 3, 2)] {
            let exact = divergence(mu, shift, order);
            let d = shift as f64;
            let bound = skellam(mu, d, d).unwrap().at(order as u32).unwrap();
            assert!(bound >= exact, "{mu} {shift} {order}: {bound} < {exact}");
            assert!(bound < 1.2 * exact, "{mu} {shift} {order}: {bound} far above {exact}");
        }
    }

    #[test]
    fn never_below_the_gaussian_and_near_it_for_large_variances() {
        let (v, l2, l1) = (1e8, 100.0, 1000.0);
        for (order, value) in skellam(v, l2, l1).unwrap().iter() {
            let gaussian = f64::from(order) * l2 * l2 / (2.0 * v);
            assert!(value > gaussian && value < gaussian * 1.0001);
        }
    }

    #[test]
    fn refuses_nonsense() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(skellam(bad, 1.0, 1.0).is_err());
            assert!(skellam(1.0, bad, 1.0).is_err());
            assert!(skellam(1.0, 1.0, bad).is_err());
        }
    }
}
