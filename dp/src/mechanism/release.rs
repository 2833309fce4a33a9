//! One private release, derived. Nobody types a sensitivity: it follows from the clip norm, the
//! scale and the rounding, and a release that is read from a file is derived again and compared.

use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};

use super::bits::lane_bits;
use super::compact::{BETA, rounded_distance, sampled_at_most};
use super::parameters::ReleaseParameters;
use super::tau::discrete_sum_tau;
use super::{LANE_LIMIT, MIN_CLAMP, RESOLUTION, compare};
use crate::accountant::{RdpCurve, discrete_correction, subsampled_gaussian};
use crate::error::DpError;
use crate::lanes::to_lanes;
use crate::noise::DiscreteGaussian;
use crate::quantise::quantise;
use crate::rotation::Rotation;

/// Smallest noise share at which a sum of discrete Gaussians is as good as one.
const MIN_SIGMA_LOCAL: f64 = 3.0;

/// What a few correctly rounded operations may lose, relatively.
const SLACK: f64 = 8.0 * f64::EPSILON;

/// A release and everything that follows from its [`ReleaseParameters`]. Only `+ - * /` and square
/// roots are used, so that every party derives the same bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stated")]
#[non_exhaustive]
pub struct Release {
    /// What it was derived from.
    pub parameters: ReleaseParameters,
    /// Integer units per real unit: `s = 100 sqrt(d) / C`, in compact encoding `resolution sqrt(d) / C`.
    pub scale: f64,
    /// Integer units per unit counted, `s_b = 2 r s C`, in the last coordinate, where a unit within
    /// the clip norm adds 1/2 and another one takes 1/2 away. Absent without adaptive clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_scale: Option<f64>,
    /// L2 sensitivity in integer units: `D = s C (1 + eta) + sqrt(d)`; with a count
    /// `M + sqrt(d)`, `M = sqrt((s C (1 + eta))^2 + (s_b / 2)^2)`. In compact encoding the smaller of
    /// that and `sqrt(M'^2 + d/4 + sqrt(2 ln 10^15) (M' + sqrt(d)/2))`, `M' = M + sqrt(d) 2^-16`, which
    /// holds but for a chance of 10^-15 a release.
    pub sensitivity: f64,
    /// Parameter of one node's discrete Gaussian: `z D / sqrt(h)`, rounded up, at least 3.
    pub sigma_local: f64,
    /// h = t - c: honest survivors assumed, whatever survives in fact.
    pub honest_survivors: u16,
    /// Bound L of a node's coordinate before noise, in integer units.
    pub clamp: i64,
    /// Loss tau of h noise shares against one discrete Gaussian (per coordinate).
    pub tau: f64,
    /// Bound of the sum's noise in every coordinate, broken with probability at most 1e-6 per
    /// release, when all n nodes survive. In integer units.
    pub noise_tail: f64,
    /// Bits b of a lane of secure aggregation: the smallest in 8..=32 with
    /// `n L + noise_tail < 2^(b-1)`, so that the sum opens modulo 2^b as itself unless the noise
    /// exceeds its tail.
    pub lane_bits: u8,
}

impl Release {
    /// Derives a release.
    ///
    /// The clamp is the smaller of what a batch can reach at most (`s C (1 + eta)
    /// max_units_per_node`) and of the largest L with `n L + kappa sigma_local sqrt(n) < 2^31`,
    /// `kappa = sqrt(2 ln(2d / 1e-6))`. In the first case nothing is ever clamped; in the second
    /// [`Release::units_before_clamp`] says how many units it takes. A clamp below both would trade
    /// truth for bandwidth, and how much can only be said by looking at data; so lanes are narrow
    /// exactly where `max_units_per_node` is a node's true maximum, and 32 bits wide where it is a
    /// generous cap. In compact encoding the first is `kappa s C (1 + eta) m / sqrt(block)`, m the most
    /// units that sampling at the rate q draws: what the rotation leaves in a coordinate of the sum,
    /// but for one chance in a million.
    ///
    /// Privacy depends on neither clamp nor lane width, and the accountant reads neither. The clamp is
    /// 1-Lipschitz and comes before the noise, so the sensitivity holds with any; the reduction
    /// modulo 2^b comes after the noise and is a function of the noisy sum. A wrap is a wrong number
    /// in a coordinate.
    ///
    /// # Errors
    /// If a parameter is outside its domain, if no honest noise is left (h < 1), or if noise and
    /// values do not fit into the lanes.
    pub fn derive(parameters: &ReleaseParameters) -> Result<Self, DpError> {
        parameters.validate()?;
        let p = parameters;
        let honest_survivors = p.honest_survivors()?;
        let eta = p.effective_float_error()?;
        let (root_d, n) = ((p.dimension as f64).sqrt(), f64::from(p.cohort));
        let resolution = p.compact.map_or(RESOLUTION, |c| c.resolution);
        let scale = resolution * root_d / p.clip_norm;
        let one_unit = scale * p.clip_norm * (1.0 + eta) * (1.0 + SLACK);
        // Rounding adds less than one unit per coordinate. The product scale * S is itself rounded,
        // by at most 2^-22 below the clamp's limit of 2^31, on both of two neighbouring sums.
        let rounding = root_d * (1.0 + 2.0_f64.powi(-20));
        let count_scale = match p.count_share()? {
            share if share > 0.0 => Some(2.0 * share * scale * p.clip_norm),
            _ => None,
        };
        let count = count_scale.map_or(0.0, |s| s / 2.0);
        let joint = (one_unit * one_unit + count * count).sqrt() * (1.0 + SLACK);
        let certain = (joint + rounding) * (1.0 + SLACK);
        let sensitivity = match p.compact {
            // The product's rounding moves what is rounded; it counts before.
            Some(_) => {
                let product = root_d * 2.0_f64.powi(-20);
                certain.min(rounded_distance(joint + product, p.dimension as f64))
            }
            None => certain,
        };
        let share = p.noise_multiplier * sensitivity / f64::from(honest_survivors).sqrt();
        let sigma_local = (share * (1.0 + SLACK)).max(MIN_SIGMA_LOCAL);
        let noise_tail = kappa(p.dimension) * sigma_local * n.sqrt();
        let largest = ((LANE_LIMIT - noise_tail) / n).floor();
        let least = min_clamp(p, resolution);
        if largest < least {
            let (clamp, needed) = (largest as i64, least as i64);
            return Err(DpError::LanesOverflow { cohort: p.cohort, clamp, needed });
        }
        let reachable = reachable(p, one_unit, count_scale).ceil();
        let clamp = largest.min(reachable).max(least) as i64;
        Ok(Self {
            parameters: p.clone(),
            scale,
            count_scale,
            sensitivity,
            sigma_local,
            honest_survivors,
            clamp,
            tau: discrete_sum_tau(sigma_local, honest_survivors),
            noise_tail,
            lane_bits: lane_bits(p.cohort, clamp, noise_tail),
        })
    }

    /// Chance that the sensitivity does not hold in one release: 0 in wide encoding.
    pub fn rounding_failure(&self) -> f64 {
        self.parameters.compact.map_or(0.0, |_| BETA)
    }

    /// Curve of one release in the worst case that is charged: h honest shares.
    ///
    /// # Errors
    /// If the fields were changed to nonsense.
    pub fn rdp(&self) -> Result<RdpCurve, DpError> {
        self.rdp_with_honest(self.honest_survivors)
    }

    /// Curve of one release with `honest` noise shares that the adversary does not know.
    ///
    /// # Errors
    /// If `honest` is 0.
    pub fn rdp_with_honest(&self, honest: u16) -> Result<RdpCurve, DpError> {
        let z = self.noise_multiplier_with(honest)?;
        let tau = discrete_sum_tau(self.sigma_local, honest);
        let gaussian = subsampled_gaussian(self.parameters.sampling_rate, z)?;
        Ok(&gaussian + &discrete_correction(tau, self.parameters.dimension))
    }

    /// Noise multiplier with `honest` shares, rounded down: `sigma_local sqrt(honest) / D`.
    ///
    /// # Errors
    /// If `honest` is 0.
    pub fn noise_multiplier_with(&self, honest: u16) -> Result<f64, DpError> {
        if honest == 0 {
            return Err(DpError::parameter("honest", honest, "at least 1"));
        }
        Ok(self.sigma_local * f64::from(honest).sqrt() / self.sensitivity * (1.0 - SLACK))
    }

    /// How many clipped units, all pointing along one coordinate, a node's sum may hold before it is
    /// clamped. At least `max_units_per_node` if no batch is ever clamped. In compact encoding nothing
    /// stays in one coordinate, and the number says little.
    pub fn units_before_clamp(&self) -> f64 {
        self.clamp as f64 / (self.scale * self.parameters.clip_norm)
    }

    /// The sampler of one node's noise share. Building it takes milliseconds: keep it for the job.
    ///
    /// # Errors
    /// If the fields were changed to nonsense.
    pub fn sampler(&self) -> Result<DiscreteGaussian, DpError> {
        DiscreteGaussian::new(self.sigma_local)
    }

    /// A node's sum of clipped contributions, shape `[d]`, as noisy lanes: clamp, round, add this
    /// node's noise share. Of every lane the lowest `lane_bits` count (see
    /// [`from_lanes`](crate::from_lanes)). The caller masks them, and charges the budget before they
    /// leave.
    ///
    /// # Errors
    /// If the sum has not `dimension` coordinates, or if the sampler has less noise than this release
    /// needs.
    pub fn noisy_lanes<R: RngCore + CryptoRng + ?Sized>(
        &self,
        sum: &[f64],
        sampler: &DiscreteGaussian,
        rng: &mut R,
    ) -> Result<Vec<u32>, DpError> {
        let expected = self.parameters.dimension;
        if sum.len() != expected {
            return Err(DpError::Length { what: "the node's sum", actual: sum.len(), expected });
        }
        if sampler.sigma() < self.sigma_local {
            let requirement = "at least the release's sigma_local";
            return Err(DpError::parameter("sampler sigma", sampler.sigma(), requirement));
        }
        let mut values = quantise(sum, self.scale, self.clamp, rng);
        sampler.add_noise(&mut values, rng);
        Ok(to_lanes(&values))
    }
}

/// A release as read; the derived part is only compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    parameters: ReleaseParameters,
    scale: f64,
    #[serde(default)]
    count_scale: Option<f64>,
    sensitivity: f64,
    sigma_local: f64,
    honest_survivors: u16,
    clamp: i64,
    tau: f64,
    noise_tail: f64,
    lane_bits: u8,
}

impl TryFrom<Stated> for Release {
    type Error = DpError;

    fn try_from(s: Stated) -> Result<Self, DpError> {
        let derived = Self::derive(&s.parameters)?;
        let h = derived.honest_survivors;
        compare(&[
            ("scale", s.scale, derived.scale),
            ("count_scale", s.count_scale.unwrap_or(0.0), derived.count_scale.unwrap_or(0.0)),
            ("sensitivity", s.sensitivity, derived.sensitivity),
            ("sigma_local", s.sigma_local, derived.sigma_local),
            ("honest_survivors", f64::from(s.honest_survivors), f64::from(h)),
            ("clamp", s.clamp as f64, derived.clamp as f64),
            ("tau", s.tau, derived.tau),
            ("noise_tail", s.noise_tail, derived.noise_tail),
            ("lane_bits", f64::from(s.lane_bits), f64::from(derived.lane_bits)),
        ])?;
        Ok(derived)
    }
}

/// What a coordinate of a node's sum can reach before noise, in integer units, where `one_unit` is what
/// a clipped unit can.
fn reachable(p: &ReleaseParameters, one_unit: f64, count_scale: Option<f64>) -> f64 {
    let units = p.max_units_per_node as f64;
    if p.compact.is_none() {
        return one_unit * units + 1.0;
    }
    let sampled = units.min(sampled_at_most(p.sampling_rate * units));
    let turned = p.dimension - usize::from(count_scale.is_some());
    let block = Rotation::block(turned) as f64;
    let spread = kappa(p.dimension) / block.sqrt();
    // A count lies in one coordinate.
    let count = count_scale.map_or(0.0, |s| s / 2.0);
    (one_unit * spread.min(1.0)).max(count) * sampled + 1.0
}

/// The smallest clamp that is of use: sixteen root-mean-square coordinates of one unit.
fn min_clamp(p: &ReleaseParameters, resolution: f64) -> f64 {
    p.compact.map_or(MIN_CLAMP as f64, |_| (16.0 * resolution).ceil())
}

/// `sqrt(2 ln(2d / 1e-6))` from above: the logarithm is bounded by the bit length of `2d * 10^6`, so
/// that no mathematical library is involved.
fn kappa(dimension: usize) -> f64 {
    let bits = 128 - (2_000_000 * dimension as u128).leading_zeros();
    (2.0 * std::f64::consts::LN_2 * f64::from(bits)).sqrt()
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lane_tests.rs"]
mod lane_tests;
