//! The public bound on what floating-point summation may add to a sensitivity.
//!
//! Depends on nothing but the number of records and the microbatch: never on data.

use crate::batch::MICROBATCH;
use crate::clipping::LEAST_OF_SUM;

/// Relative increase eta of the sensitivity of a sum of at most `max_records` clipped records: for
/// two batches that differ in one record the computed sums differ by at most `C * (1 + eta)` in L2.
///
/// # Derivation
/// Let `x_i` be the exact product of a record's rounded factors, `||x_i|| <= C` (the norm is
/// rounded up by more than the roundings cost, see [`crate::clipping`]), the same in both batches
/// because a record's bits do not depend on its neighbours. Each coordinate is a sum of at most
/// m = `max_records` terms through at most `k = MICROBATCH + ceil(m / MICROBATCH) + 4` roundings,
/// in any order and with or without fused multiply-add, so (Higham, *Accuracy and Stability of
/// Numerical Algorithms*, section 4.2) the computed sum errs by at most
/// `gamma_k * sum_i |x_i|` with `gamma_k = k u / (1 - k u)`, `u = 2^-53`. In L2 that is at most
/// `gamma_k * m * C`, and it may happen to both sums: `eta = 2 m gamma_k`. The factor m is not
/// pessimism about one sum: a changed record may change the rounding of every other one
/// (Casacuberta et al. 2022, "Widespread Underestimation of Sensitivity in Differentially
/// Private Libraries").
///
/// The result is rounded up. It is 6.7e-10 at ten thousand and 2.4e-4 at
/// [`MAX_RECORDS`](crate::trainer::MAX_RECORDS) records.
pub fn float_error(max_records: usize) -> f64 {
    let records = max_records.max(1) as f64;
    let depth = (MICROBATCH + max_records.div_ceil(MICROBATCH) + 4) as f64;
    2.0 * records * gamma(depth) * (1.0 + 1e-9)
}

/// As [`float_error`], for units of several records that are summed before they are clipped: at most
/// `max_units` units that have at most `max_records` records together.
///
/// # Derivation
/// A unit's records are not summed apart: each enters the sum with the unit's factor f, so a term is
/// `f g_i a_i` and the terms of one unit may cancel. Their sum is within C, because the factor comes
/// from an upper bound of the norm that exceeds rounding (see
/// [`ClipNorm::factor_of_sum`](crate::clipping::ClipNorm::factor_of_sum)); but what summation errs by
/// grows with the sum of their norms A, and that is bounded because the factor also keeps
/// `f A <= C / LEAST_OF_SUM`. Hence, with m units, `gamma_k * m * C / LEAST_OF_SUM` bounds the error
/// of one sum, and `eta = 2 m gamma_k / LEAST_OF_SUM`. Units are packed into microbatches in order,
/// as many as fit, so any two neighbouring microbatches hold more than [`MICROBATCH`] records, and
/// the same goes for groups of microbatches that a caller makes:
/// `k = MICROBATCH + 2 ceil(records / MICROBATCH) + 64` roundings suffice.
///
/// It is 1.3e-4 for a million units of one record each, and 2.7e-6 for ten thousand persons with a
/// hundred thousand records.
pub fn unit_float_error(max_units: usize, max_records: usize) -> f64 {
    let units = max_units.max(1) as f64;
    let depth = (MICROBATCH + 2 * max_records.div_ceil(MICROBATCH) + 64) as f64;
    2.0 * units * gamma(depth) / LEAST_OF_SUM * (1.0 + 1e-9)
}

/// `gamma_k = k u / (1 - k u)` with `u = 2^-53`.
fn gamma(depth: f64) -> f64 {
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;
    depth * UNIT_ROUNDOFF / (1.0 - depth * UNIT_ROUNDOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::MAX_RECORDS;

    #[test]
    fn the_bound_grows_and_stays_small_where_it_is_used() {
        assert!(float_error(1) > 0.0 && float_error(1) < 1e-12);
        assert!(float_error(10_000) < 1e-9);
        assert!(float_error(1_000_000) < 1e-6);
        assert!(float_error(MAX_RECORDS) < 3e-4);
        let at = [1, 100, 10_000, 1_000_000, MAX_RECORDS].map(float_error);
        assert!(at.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn units_cost_more_than_records_and_still_little() {
        assert!(unit_float_error(1 << 20, 1 << 20) < 1.3e-4);
        assert!(unit_float_error(10_000, 100_000) < 2.7e-6);
        assert!(unit_float_error(100, 100) > float_error(100));
        assert!(unit_float_error(0, 0) > 0.0);
    }

    #[test]
    fn units_whose_records_cancel_stay_within_the_bound() {
        // Each unit is a pair of opposite terms as large as the factor lets them be, plus one of
        // norm up to 1; a tiny unit in front shifts the rounding of everything behind it.
        let clip = 1.0;
        let large = clip / LEAST_OF_SUM / 2.0;
        let sum = |lead: f64| {
            let mut total = lead;
            for block in 0..16 {
                let mut inner = 0.0;
                for i in 0..85 {
                    let own = 1.0 - f64::from(block * 85 + i) * 1e-5;
                    inner += large / 3.0;
                    inner += own / 7.0;
                    inner -= large / 3.0;
                }
                total += inner;
            }
            total
        };
        let mut worst = 0.0f64;
        for i in 1..2000 {
            let lead = f64::from(i) * 1e-13;
            worst = worst.max(((sum(lead) - sum(0.0)) - lead).abs());
        }
        let bound = unit_float_error(16 * 85 + 1, 3 * 16 * 85 + 1);
        assert!(worst > 0.0 && worst <= bound, "{worst} {bound}");
    }

    #[test]
    fn the_worst_rounding_that_a_search_finds_stays_within_the_bound() {
        // A tiny record in front shifts the rounding of every later term of a running sum.
        let terms: Vec<f64> = (0..4096).map(|i| 1.0 - f64::from(i) * 1e-5).collect();
        let sum = |lead: f64| {
            let mut total = lead;
            for block in terms.chunks(MICROBATCH) {
                total += block.iter().sum::<f64>();
            }
            total
        };
        let mut worst = 0.0f64;
        for i in 1..2000 {
            let lead = f64::from(i) * 1e-13;
            worst = worst.max(((sum(lead) - sum(0.0)) - lead).abs());
        }
        assert!(worst > 0.0 && worst <= float_error(4097));
    }
}
