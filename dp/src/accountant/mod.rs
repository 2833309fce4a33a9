//! Renyi accountant: curves at fixed integer orders, their composition, conversion to (epsilon,
//! delta), calibration of a noise multiplier and its inverses; and, apart from them, a numerical estimate
//! by privacy-loss distributions.
//!
//! It knows formulas only: no clip norm, scale, cohort or node. Every Renyi result is an upper
//! bound: rounding errors of f64 are bounded and added. What [`pld_epsilon`] gives is an estimate.

mod calibrate;
mod convert;
mod curve;
mod gaussian;
mod log_binomial;
mod orders;
mod other;
mod pld;
mod skellam;
mod solve;

pub use calibrate::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER, calibrate};
pub use convert::{Epsilon, epsilon};
pub use curve::RdpCurve;
pub use gaussian::{discrete_correction, subsampled_gaussian};
pub use orders::{ORDERS, orders};
pub use other::{laplace, sampled_without_replacement, tree_aggregation, zero_concentrated};
pub use pld::{LossMechanism, PLD_LABEL, pld_epsilon};
pub use skellam::skellam;
pub use solve::{epsilon_for_noise, max_sampling_rate, max_steps};

/// Name of the accountant as published in statements.
pub const ACCOUNTANT_NAME: &str = "tributary-rdp-integer";
/// Version of the formulas; changes whenever a published number could change.
pub const ACCOUNTANT_VERSION: u32 = 1;
