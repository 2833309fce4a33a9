//! The smallest noise multiplier that meets a target.

use super::convert::epsilon;
use super::curve::RdpCurve;
use super::gaussian::subsampled_gaussian;
pub use super::gaussian::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER};
use crate::error::{DpError, in_range};

/// Relative width at which the bisection stops.
const WIDTH: f64 = 1e-7;

/// Noise multiplier z, rounded upwards, so that `fixed` plus `steps` releases at sampling rate `q`
/// cost at most `target_epsilon` at `delta`.
///
/// `fixed` is the curve of everything else in the job (the statistics release); `correction` is what
/// each step costs on top of its Gaussian part and does not depend on z
/// ([`discrete_correction`](super::discrete_correction), or [`RdpCurve::zero`] in wide mode). The
/// returned z is checked: its epsilon is at most the target.
///
/// # Errors
/// If a parameter is outside its domain, or [`DpError::Unreachable`] if even a very large z does not
/// meet the target because `fixed` alone exceeds it.
pub fn calibrate(
    target_epsilon: f64,
    delta: f64,
    fixed: &RdpCurve,
    steps: u32,
    q: f64,
    correction: &RdpCurve,
) -> Result<f64, DpError> {
    in_range("target_epsilon", target_epsilon, 1e-6, 1e6, "between 1e-6 and 1e6")?;
    if steps == 0 {
        return Err(DpError::parameter("steps", steps, "at least 1"));
    }
    let cost = |z: f64| -> Result<f64, DpError> {
        let step = &subsampled_gaussian(q, z)? + correction;
        Ok(epsilon(&(fixed + &step.times(steps)), delta)?.epsilon)
    };
    let mut high = 1.0;
    while cost(high)? > target_epsilon {
        high *= 2.0;
        if high > 1e6 {
            let floor = cost(high)?;
            return Err(DpError::Unreachable { target: target_epsilon, delta, floor });
        }
    }
    let mut low = high / 2.0;
    while high > 2.0 * MIN_NOISE_MULTIPLIER && cost(low)? <= target_epsilon {
        high = low;
        low /= 2.0;
    }
    while high - low > WIDTH * high {
        let middle = low + (high - low) / 2.0;
        if cost(middle)? <= target_epsilon {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_table() {
        for (target, expected) in [(1.0, 6.59), (2.0, 3.58), (4.0, 2.05), (8.0, 1.28)] {
            let none = RdpCurve::zero();
            let z = calibrate(target, 1e-6, &none, 200, 0.1, &none).unwrap();
            assert!((z - expected).abs() < 0.0051, "epsilon {target}: z = {z}");
            let at = |z| {
                let curve = subsampled_gaussian(0.1, z).unwrap().times(200);
                epsilon(&curve, 1e-6).unwrap().epsilon
            };
            assert!(at(z) <= target);
            assert!(at(z * (1.0 - 2e-7)) > target, "not the smallest");
        }
    }

    #[test]
    fn fixed_part_is_counted() {
        let none = RdpCurve::zero();
        let statistics = subsampled_gaussian(1.0, 10.0).unwrap();
        let alone = calibrate(2.0, 1e-6, &none, 200, 0.1, &none).unwrap();
        let together = calibrate(2.0, 1e-6, &statistics, 200, 0.1, &none).unwrap();
        assert!(together > alone * 1.01);
        let expensive = subsampled_gaussian(1.0, 1.0).unwrap();
        let refused = calibrate(2.0, 1e-6, &expensive, 200, 0.1, &none);
        assert!(matches!(refused, Err(DpError::Unreachable { floor, .. }) if floor > 5.0));
        assert!(calibrate(2.0, 1e-6, &none, 0, 0.1, &none).is_err());
        assert!(calibrate(f64::NAN, 1e-6, &none, 1, 0.1, &none).is_err());
    }
}
