//! The budget equation solved for what is unknown: epsilon, the number of steps, or the sampling rate
//! (for the noise multiplier see [`calibrate`](super::calibrate)). Every answer is on the safe side:
//! epsilon from above, steps and sampling rate from below.

use super::convert::{Epsilon, epsilon};
use super::curve::RdpCurve;
use super::gaussian::subsampled_gaussian;
use crate::error::{DpError, in_range};

/// Relative width at which a bisection stops.
const WIDTH: f64 = 1e-7;
/// Smallest sampling rate that is looked at.
const LEAST_RATE: f64 = 1e-9;

/// Epsilon, rounded upwards, of `fixed` plus `steps` releases at sampling rate `q` and noise
/// multiplier `z`: the inverse of [`calibrate`](super::calibrate). `fixed` is the curve of everything
/// else; `correction` what each step costs on top of its Gaussian part.
///
/// # Errors
/// If a parameter is outside its domain.
pub fn epsilon_for_noise(
    z: f64,
    delta: f64,
    fixed: &RdpCurve,
    steps: u32,
    q: f64,
    correction: &RdpCurve,
) -> Result<Epsilon, DpError> {
    let step = &subsampled_gaussian(q, z)? + correction;
    epsilon(&(fixed + &step.times(steps)), delta)
}

/// The most steps that cost at most `target_epsilon` together with `fixed`; 0 if not even one does.
/// A step that costs next to nothing is counted up to `u32::MAX` times.
///
/// # Errors
/// If a parameter is outside its domain.
pub fn max_steps(
    target_epsilon: f64,
    delta: f64,
    fixed: &RdpCurve,
    q: f64,
    z: f64,
    correction: &RdpCurve,
) -> Result<u32, DpError> {
    in_range("target_epsilon", target_epsilon, 1e-6, 1e6, "between 1e-6 and 1e6")?;
    let step = &subsampled_gaussian(q, z)? + correction;
    let fits = |steps: u32| -> Result<bool, DpError> {
        Ok(epsilon(&(fixed + &step.times(steps)), delta)?.epsilon <= target_epsilon)
    };
    if !fits(0)? {
        return Ok(0);
    }
    // Invariant: `low` fits, `high` does not.
    let (mut low, mut high) = (0_u32, 1_u32);
    while fits(high)? {
        low = high;
        if high == u32::MAX {
            return Ok(high);
        }
        high = high.saturating_mul(2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? { low = middle } else { high = middle }
    }
    Ok(low)
}

/// The largest sampling rate, rounded downwards, at which `steps` releases with noise multiplier `z`
/// cost at most `target_epsilon` together with `fixed`.
///
/// # Errors
/// If a parameter is outside its domain, or [`DpError::Unreachable`] if even a sampling rate of 1e-9
/// costs more.
pub fn max_sampling_rate(
    target_epsilon: f64,
    delta: f64,
    fixed: &RdpCurve,
    steps: u32,
    z: f64,
    correction: &RdpCurve,
) -> Result<f64, DpError> {
    in_range("target_epsilon", target_epsilon, 1e-6, 1e6, "between 1e-6 and 1e6")?;
    let cost = |q: f64| Ok(epsilon_for_noise(z, delta, fixed, steps, q, correction)?.epsilon);
    if cost(1.0)? <= target_epsilon {
        return Ok(1.0);
    }
    let floor = cost(LEAST_RATE)?;
    if floor > target_epsilon {
        return Err(DpError::Unreachable { target: target_epsilon, delta, floor });
    }
    // Geometric: rates span nine decades.
    let (mut low, mut high) = (LEAST_RATE, 1.0_f64);
    while high > low * (1.0 + WIDTH) {
        let middle = (low * high).sqrt();
        if cost(middle)? <= target_epsilon { low = middle } else { high = middle }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::super::calibrate::calibrate;
    use super::*;

    #[test]
    fn each_unknown_is_the_last_that_fits() {
        let none = RdpCurve::zero();
        let (delta, q, steps) = (1e-6, 0.1, 200);
        for target in [0.5, 2.0, 8.0] {
            let z = calibrate(target, delta, &none, steps, q, &none).unwrap();
            let back = epsilon_for_noise(z, delta, &none, steps, q, &none).unwrap().epsilon;
            assert!(back <= target && back > target * (1.0 - 1e-5), "{back}");
            assert_eq!(max_steps(target, delta, &none, q, z, &none).unwrap(), steps);
            let rate = max_sampling_rate(target, delta, &none, steps, z, &none).unwrap();
            assert!((rate / q - 1.0).abs() < 1e-4 && rate >= q * (1.0 - 1e-6), "{rate}");
            let cost = |q| epsilon_for_noise(z, delta, &none, steps, q, &none).unwrap().epsilon;
            assert!(cost(rate) <= target && cost(rate * (1.0 + 3e-7)) > target);
        }
    }

    #[test]
    fn what_is_fixed_counts_and_extremes_have_answers() {
        let none = RdpCurve::zero();
        let statistics = subsampled_gaussian(1.0, 10.0).unwrap();
        let of = |fixed| max_steps(2.0, 1e-6, fixed, 0.1, 4.0, &none).unwrap();
        assert!(of(&statistics) < of(&none) && of(&statistics) > 0);
        let spent = subsampled_gaussian(1.0, 0.5).unwrap();
        assert_eq!(of(&spent), 0);
        assert_eq!(max_steps(9.0, 1e-6, &none, 1e-9, 1e9, &none).unwrap(), u32::MAX);
        assert_eq!(max_sampling_rate(9.0, 1e-6, &none, 1, 50.0, &none).unwrap(), 1.0);
        let refused = max_sampling_rate(2.0, 1e-6, &spent, 1, 50.0, &none);
        assert!(matches!(refused, Err(DpError::Unreachable { .. })));
        assert!(max_steps(f64::NAN, 1e-6, &none, 0.1, 1.0, &none).is_err());
        assert!(max_steps(1.0, 2.0, &none, 0.1, 1.0, &none).is_err());
        assert!(max_sampling_rate(1.0, 1e-6, &none, 5, 0.0, &none).is_err());
    }
}
