//! Which table realises a requested sigma, and how well.

use crate::error::{DpError, in_range};

/// Largest sigma served by one table.
const SINGLE_TABLE_MAX: f64 = 1024.0;

/// `1 + k^2 <= sigma / SMOOTHING`.
const SMOOTHING: f64 = 2.13;

/// How far a table reaches, in units of its sigma: `exp(-13.4^2 / 2) < 2^-129`.
const REACH: f64 = 13.4;

/// How a sampler is put together: `x1` alone if the stride is 0, else `x1 + stride * x2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// Parameter realised, rounded down.
    pub sigma: f64,
    /// Parameter of the table, exact.
    pub table_sigma: f64,
    /// k, or 0.
    pub stride: i64,
    /// Total variation of one sample.
    pub total_variation: f64,
}

impl Layout {
    /// The layout for a sigma.
    pub fn of(sigma: f64) -> Result<Self, DpError> {
        let high = 2.0_f64.powi(28);
        in_range("sigma", sigma, 0.5, high, "between 0.5 and 2^28")?;
        if sigma <= SINGLE_TABLE_MAX {
            let total_variation = table_variation(sigma);
            return Ok(Self { sigma, table_sigma: sigma, stride: 0, total_variation });
        }
        let stride = (sigma / SMOOTHING - 1.0).sqrt().floor();
        let root = (1.0 + stride * stride).sqrt();
        // 1 + k^2 is exact; root and quotient are correctly rounded, so four units in the last place
        // on top make sure that (1 + k^2) table_sigma^2 >= sigma^2.
        let table_sigma = sigma / root * (1.0 + 4.0 * f64::EPSILON);
        let total_variation = 2.0 * table_variation(table_sigma) + ULP_128;
        Ok(Self { sigma, table_sigma, stride: stride as i64, total_variation })
    }
}

/// Entries on one side of a table, zero excluded.
pub(super) fn reach(table_sigma: f64) -> u32 {
    (REACH * table_sigma).ceil() as u32 + 2
}

/// 2^-128.
pub(super) const ULP_128: f64 = 1.0 / (18_446_744_073_709_551_616.0 * 18_446_744_073_709_551_616.0);

/// Half the sum over all entries of 2^-128 each, twice that at 0, and the tails, generously.
fn table_variation(table_sigma: f64) -> f64 {
    (2.0 * f64::from(reach(table_sigma)) + 8.0) * ULP_128
}

#[cfg(test)]
mod tests {
    use super::*;
    use dashu::rational::RBig;
    use proptest::prelude::*;

    fn exact(v: f64) -> RBig {
        RBig::try_from(v).unwrap()
    }

    #[test]
    fn total_variation_is_as_small_as_promised() {
        assert_eq!(ULP_128, 2.0_f64.powi(-128));
        for sigma in [0.5, 1.0, 1024.0, 1025.0, 8000.0, 1e5, 2.0_f64.powi(28)] {
            let layout = Layout::of(sigma).unwrap();
            // A million coordinates a round, a thousand rounds, a hundred nodes.
            assert!(layout.total_variation * 1e11 < 1e-21, "{sigma}: {layout:?}");
        }
        assert!(Layout::of(8000.0).unwrap().table_sigma < 200.0);
        for sigma in [0.4, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Layout::of(sigma).is_err());
        }
    }

    proptest! {
        #[test]
        fn realised_sigma_is_never_smaller(log_sigma in 10.01..28.0_f64) {
            let sigma = 2.0_f64.powf(log_sigma);
            let layout = Layout::of(sigma).unwrap();
            let factor = RBig::from(1 + layout.stride * layout.stride);
            let realised = &factor * exact(layout.table_sigma) * exact(layout.table_sigma);
            let asked = exact(sigma) * exact(sigma);
            prop_assert!(realised >= asked);
            prop_assert!(realised <= asked * exact(1.0 + 1e-14));
            // The smoothing condition, exactly.
            prop_assert!(factor * exact(SMOOTHING) <= exact(sigma));
        }
    }
}
