//! The mechanisms whose privacy loss is known here, and the domains of their parameters.

use crate::accountant::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER};
use crate::error::{DpError, in_range};

/// Most records of a group.
const MAX_GROUP: u16 = 1024;
/// Widest discrete Gaussian that is taken atom by atom; above, the continuous one is the same.
const MAX_DISCRETE_SIGMA: f64 = 1e5;

/// One release of a mechanism. Sensitivities are 1 unless stated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LossMechanism {
    /// Gaussian noise; every unit takes part.
    Gaussian {
        /// Standard deviation of the noise over the sensitivity.
        noise_multiplier: f64,
    },
    /// Gaussian noise on a Poisson sample.
    SampledGaussian {
        /// Probability that a unit is in the sample, in (0, 1].
        sampling_rate: f64,
        /// Standard deviation of the noise over the sensitivity.
        noise_multiplier: f64,
    },
    /// As `SampledGaussian`, for somebody with several units, each sampled independently and clipped
    /// singly: a mixture of Gaussians with binomial weights.
    SampledGroup {
        /// Probability that a unit is in the sample, in (0, 1].
        sampling_rate: f64,
        /// Standard deviation of the noise over the sensitivity to one unit.
        noise_multiplier: f64,
        /// Units that belong together, 1 to 1024.
        group: u16,
    },
    /// Discrete Gaussian noise on one integer.
    DiscreteGaussian {
        /// Parameter sigma, at most 1e5.
        sigma: f64,
        /// Integer sensitivity, at least 1.
        sensitivity: u32,
    },
    /// Laplace noise.
    Laplace {
        /// Scale over sensitivity.
        scale: f64,
    },
    /// Discrete Laplace noise on one integer: `Pr[x] ~ exp(-a |x|)`.
    DiscreteLaplace {
        /// The parameter a.
        parameter: f64,
        /// Integer sensitivity, at least 1.
        sensitivity: u32,
    },
}

/// Which of two neighbouring data sets produced the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The one with the unit; the loss is against the one without.
    Remove,
    /// The one without the unit.
    Add,
}

impl LossMechanism {
    /// The noise multiplier if this is a plain Gaussian, sampled or not.
    pub(super) fn as_plain_gaussian(&self) -> Option<f64> {
        match *self {
            Self::Gaussian { noise_multiplier } => Some(noise_multiplier),
            Self::SampledGaussian { sampling_rate: 1.0, noise_multiplier } => {
                Some(noise_multiplier)
            }
            _ => None,
        }
    }

    /// Whether both directions have the same loss.
    pub(super) fn is_symmetric(&self) -> bool {
        !matches!(self, Self::SampledGaussian { .. } | Self::SampledGroup { .. })
    }

    /// Refuses what no number can be given for.
    pub(super) fn validate(&self) -> Result<(), DpError> {
        let noise = |z: f64| {
            let (low, high) = (MIN_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER);
            in_range("noise_multiplier", z, low, high, "between 0.01 and 1e9")
        };
        let rate = |q: f64| in_range("sampling_rate", q, f64::MIN_POSITIVE, 1.0, "in (0, 1]");
        let sensitive = |s: u32| match s {
            0 => Err(DpError::parameter("sensitivity", s, "at least 1")),
            _ => Ok(()),
        };
        match *self {
            Self::Gaussian { noise_multiplier } => noise(noise_multiplier),
            Self::SampledGaussian { sampling_rate, noise_multiplier } => {
                rate(sampling_rate)?;
                noise(noise_multiplier)
            }
            Self::SampledGroup { sampling_rate, noise_multiplier, group } => {
                if group == 0 || group > MAX_GROUP {
                    return Err(DpError::parameter("group", group, "between 1 and 1024"));
                }
                rate(sampling_rate)?;
                noise(noise_multiplier)
            }
            Self::DiscreteGaussian { sigma, sensitivity } => {
                sensitive(sensitivity)?;
                in_range("sigma", sigma, 0.1, MAX_DISCRETE_SIGMA, "between 0.1 and 1e5")
            }
            Self::Laplace { scale } => in_range("scale", scale, 1e-3, 1e9, "between 1e-3 and 1e9"),
            Self::DiscreteLaplace { parameter, sensitivity } => {
                sensitive(sensitivity)?;
                in_range("parameter", parameter, 1e-9, 1e3, "between 1e-9 and 1e3")?;
                let total = parameter * f64::from(sensitivity);
                in_range("parameter times sensitivity", total, 1e-9, 1e3, "between 1e-9 and 1e3")
            }
        }
    }
}
