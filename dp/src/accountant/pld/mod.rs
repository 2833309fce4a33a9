//! Privacy-loss distributions: a numerical ESTIMATE of epsilon that stands beside the Renyi bound.
//!
//! The loss of one release is put on a grid so that the result dominates it (every rounding goes
//! towards more loss), releases are composed by fast Fourier transform, and epsilon is read off the
//! composed distribution. Discretisation, truncation and aliasing all push the result upwards; what
//! makes it an estimate and not a bound is that floating-point errors of the transform are small but
//! not proven, and that a distributed discrete Gaussian is accounted as its continuous analogue. It
//! must never be charged, and a budget whose jobs are chosen one after the other cannot use it: it is
//! no filter.
//!
//! It knows formulas only: no clip norm, scale, cohort or node.

mod compose;
mod grid;
mod losses;
mod mechanism;

pub use mechanism::LossMechanism;

use crate::error::{DpError, in_range};
use mechanism::Direction;

/// How every number from here is labelled wherever it is shown.
pub const PLD_LABEL: &str = "estimate";

/// Epsilon at `delta` of a composition: each mechanism with the number of times that it is used,
/// with add/remove adjacency (the larger of the two directions).
///
/// About 0.1 % above the true value as a rule; never deliberately below it. An estimate: see the
/// module.
///
/// # Errors
/// If a parameter is outside its domain, or if the loss is so large that no grid holds it (then take
/// the Renyi bound).
pub fn pld_epsilon(uses: &[(LossMechanism, u32)], delta: f64) -> Result<f64, DpError> {
    in_range("delta", delta, 1e-200, 1.0 - f64::EPSILON, "between 1e-200 and 1")?;
    for (mechanism, _) in uses {
        mechanism.validate()?;
    }
    let uses = merge(uses);
    if uses.is_empty() {
        return Ok(0.0);
    }
    let remove = compose::epsilon(&uses, Direction::Remove, delta)?;
    if uses.iter().all(|(mechanism, _)| mechanism.is_symmetric()) {
        return Ok(remove);
    }
    Ok(remove.max(compose::epsilon(&uses, Direction::Add, delta)?))
}

/// Drops what is used 0 times and composes the plain Gaussians in closed form: their noise
/// multipliers add like `1/z^2`.
fn merge(uses: &[(LossMechanism, u32)]) -> Vec<(LossMechanism, u32)> {
    let (mut precision, mut rest) = (0.0, Vec::new());
    for (mechanism, count) in uses.iter().filter(|(_, count)| *count > 0) {
        match mechanism.as_plain_gaussian() {
            Some(z) => precision += f64::from(*count) / (z * z),
            None => rest.push((*mechanism, *count)),
        }
    }
    if precision > 0.0 {
        let noise_multiplier = 1.0 / f64::sqrt(precision);
        rest.push((LossMechanism::Gaussian { noise_multiplier }, 1));
    }
    rest
}

#[cfg(test)]
mod tests;
