//! The mechanism of one release: scale, sensitivity, noise and clamp, all derived from public
//! parameters. It knows no data, no round and no budget.

mod bits;
mod compact;
mod parameters;
mod plain;
mod release;
mod tau;

pub use compact::Compact;
pub use parameters::{NoiseScope, ReleaseParameters};
pub use plain::PlainRelease;
pub use release::Release;
pub use tau::discrete_sum_tau;

use crate::error::DpError;

/// Integer units per root-mean-square coordinate of a clipped unit in wide mode: scale = 100
/// sqrt(d) / clip, so that rounding adds 1 % to the sensitivity.
pub(crate) const RESOLUTION: f64 = 100.0;

/// Largest absolute value of a sum in signed 32-bit lanes.
pub(crate) const LANE_LIMIT: f64 = 2_147_483_647.0;

/// Smallest useful clamp: sixteen times the root-mean-square coordinate of one clipped unit.
pub(crate) const MIN_CLAMP: i64 = 1600;

/// Refuses at the first `(field, stated, derived)` whose numbers differ.
fn compare(fields: &[(&str, f64, f64)]) -> Result<(), DpError> {
    match fields.iter().find(|(_, stated, derived)| stated != derived) {
        None => Ok(()),
        Some((field, stated, derived)) => Err(DpError::Mismatch {
            field: (*field).to_owned(),
            stated: stated.to_string(),
            derived: derived.to_string(),
        }),
    }
}
