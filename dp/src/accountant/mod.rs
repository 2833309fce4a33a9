//! Renyi accountant: curves at fixed integer orders, their composition, conversion to (epsilon,
//! delta) and calibration of a noise multiplier.
//!
//! It knows formulas only: no clip norm, scale, cohort or node. Every result is an upper bound:
//! rounding errors of f64 are bounded and added.

mod calibrate;
mod convert;
mod curve;
mod gaussian;
mod log_binomial;
mod orders;
mod skellam;

pub use calibrate::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER, calibrate};
pub use convert::{Epsilon, epsilon};
pub use curve::RdpCurve;
pub use gaussian::{discrete_correction, subsampled_gaussian};
pub use orders::{ORDERS, orders};
pub use skellam::skellam;

/// Name of the accountant as published in statements.
pub const ACCOUNTANT_NAME: &str = "tributary-rdp-integer";
/// Version of the formulas; changes whenever a published number could change.
pub const ACCOUNTANT_VERSION: u32 = 1;
