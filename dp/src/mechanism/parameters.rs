//! The public parameters of one kind of release, and their domains.

use serde::{Deserialize, Serialize};

use crate::accountant::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER};
use crate::clip::summation_error;
use crate::error::{DpError, in_range};

use super::compact::{Compact, ROTATION_ERROR};

/// Whose noise a guarantee counts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseScope {
    /// The honest survivors' shares together carry the noise (modes `record`, `person`, `silo`).
    #[default]
    Distributed,
    /// Every node adds the whole noise itself and trusts nobody (mode `record-local`).
    Local,
    /// Nobody drops out and nobody colludes, as if a trusted aggregator added the noise once (mode
    /// `central`: the yardstick of simulations, never offered to an agency).
    Central,
}

impl NoiseScope {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything that a release is derived from. All of it is public and fixed in the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseParameters {
    /// L2 clip norm of one unit's contribution, in real units.
    pub clip_norm: f64,
    /// Coordinates d of the vector.
    pub dimension: usize,
    /// Noise multiplier z: standard deviation of the honest noise over the sensitivity.
    pub noise_multiplier: f64,
    /// Poisson sampling rate q in (0, 1].
    pub sampling_rate: f64,
    /// Cohort n: nodes that are asked.
    pub cohort: u16,
    /// Smallest survivor set t = u_min that nodes agree to open.
    pub min_survivors: u16,
    /// Colluding nodes c. At least one is always assumed: any agency can subtract its own share.
    pub colluders: u16,
    /// Bound eta on what rounding in a node's sum adds to one unit's influence, relative to the clip
    /// norm. The bound of a plain f64 sum over `max_units_per_node` is taken if it is larger.
    pub float_error: f64,
    /// Units in a node's batch that clamp and lanes are made for. A batch with more may be clamped,
    /// which privacy does not notice; `float_error` has to cover it.
    pub max_units_per_node: u64,
    /// Whose noise the guarantee counts on.
    #[serde(default, skip_serializing_if = "NoiseScope::is_default")]
    pub noise: NoiseScope,
    /// Adaptive clipping: the last coordinate counts the units within the clip norm, with a noise of
    /// at least this standard deviation, in units. `clip_norm` is then that of the first round; see
    /// [`Release::count_scale`](super::Release).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_noise: Option<f64>,
    /// Compact encoding; wide without it. The caller turns the vector (without the count) by a
    /// [`Rotation`](crate::Rotation) before it is rounded, and the sum back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<Compact>,
}

impl ReleaseParameters {
    /// c = max(1, colluders).
    pub fn assumed_colluders(&self) -> u16 {
        self.colluders.max(1)
    }

    /// h: noise shares that are always there. Distributed noise has t - c, the honest of the smallest
    /// survivor set; local noise 1, the unit's own node; central noise n.
    ///
    /// # Errors
    /// [`DpError::NoHonestNoise`] if that is below 1.
    pub fn honest_survivors(&self) -> Result<u16, DpError> {
        match self.noise {
            NoiseScope::Distributed => {}
            NoiseScope::Local => return Ok(1),
            NoiseScope::Central => return Ok(self.cohort),
        }
        let colluders = self.assumed_colluders();
        match self.min_survivors.checked_sub(colluders) {
            Some(h) if h >= 1 => Ok(h),
            _ => Err(DpError::NoHonestNoise { min_survivors: self.min_survivors, colluders }),
        }
    }

    /// Share r of the count's influence in the gradient's: a unit moves the count by at most r times
    /// what it moves the rest of the vector. With the sum's noise z D per coordinate the count has the
    /// standard deviation `z sqrt(1 + r^2) / (2 r)` units, hence `r^2 = z^2 / (4 sigma_b^2 - z^2)`, which
    /// is the split of Andrew et al. 2021, "Differentially private learning with adaptive clipping",
    /// theorem 1. 0 without adaptive clipping.
    ///
    /// # Errors
    /// If the count would take more than half of the privacy: `sigma_b < z / sqrt(2)`.
    pub fn count_share(&self) -> Result<f64, DpError> {
        let Some(sigma) = self.count_noise else { return Ok(0.0) };
        let z = self.noise_multiplier;
        let rest = 4.0 * sigma * sigma - z * z;
        if !(sigma.is_finite() && rest >= z * z) {
            let requirement = "at least the noise multiplier over the square root of 2, in units: \
                               the count must not cost more than the gradient";
            return Err(DpError::parameter("count_noise", sigma, requirement));
        }
        Ok((z * z / rest).sqrt())
    }

    /// max(float_error, bound of a plain f64 sum), and the rotation's rounding in compact encoding.
    ///
    /// # Errors
    /// If `max_units_per_node` is outside its domain.
    pub fn effective_float_error(&self) -> Result<f64, DpError> {
        let rotation = self.compact.map_or(0.0, |_| ROTATION_ERROR);
        Ok(self.float_error.max(summation_error(self.max_units_per_node)?) + rotation)
    }

    /// Checks every domain.
    ///
    /// # Errors
    /// The first parameter that is outside its domain.
    pub fn validate(&self) -> Result<(), DpError> {
        in_range("clip_norm", self.clip_norm, 1e-30, 1e30, "between 1e-30 and 1e30")?;
        if self.dimension == 0 || self.dimension > 1 << 40 {
            return Err(DpError::parameter("dimension", self.dimension, "between 1 and 2^40"));
        }
        let (low, high) = (MIN_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER);
        in_range("noise_multiplier", self.noise_multiplier, low, high, "between 0.01 and 1e9")?;
        let least = f64::MIN_POSITIVE;
        in_range("sampling_rate", self.sampling_rate, least, 1.0, "in (0, 1]")?;
        in_range("float_error", self.float_error, 0.0, 1.0, "between 0 and 1")?;
        if self.min_survivors > self.cohort {
            let requirement = "at most the cohort";
            return Err(DpError::parameter("min_survivors", self.min_survivors, requirement));
        }
        self.honest_survivors()?;
        self.effective_float_error()?;
        self.count_share()?;
        self.compact.map_or(Ok(()), Compact::validate)?;
        if self.count_noise.is_some() && self.dimension < 2 {
            return Err(DpError::parameter("dimension", self.dimension, "at least 2 with a count"));
        }
        Ok(())
    }
}
