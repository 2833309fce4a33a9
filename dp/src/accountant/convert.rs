//! From a Renyi curve to (epsilon, delta).

use serde::{Deserialize, Serialize};

use super::curve::RdpCurve;
use crate::error::{DpError, in_range};

/// An (epsilon, delta) guarantee and the order that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epsilon {
    /// Epsilon (nats), rounded upwards.
    pub epsilon: f64,
    /// Delta it holds for.
    pub delta: f64,
    /// Renyi order at which the minimum was found.
    pub order: u32,
}

/// Smallest epsilon over all orders:
/// `min_a [ R(a) + ln((a-1)/a) - (ln delta + ln a)/(a-1) ]`, never below 0
/// (Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy", 2020,
/// proposition 12). Choosing the order afterwards is sound for a curve that was fixed beforehand;
/// an adaptive budget must commit to one order.
///
/// # Errors
/// If `delta` is not in (0, 1).
pub fn epsilon(curve: &RdpCurve, delta: f64) -> Result<Epsilon, DpError> {
    in_range("delta", delta, f64::MIN_POSITIVE, 1.0 - f64::EPSILON, "in (0, 1)")?;
    let mut best = Epsilon { epsilon: f64::MAX, delta, order: 2 };
    for (order, rdp) in curve.iter() {
        let epsilon = at_order(rdp, order, delta);
        if epsilon < best.epsilon {
            best = Epsilon { epsilon, delta, order };
        }
    }
    Ok(best)
}

fn at_order(rdp: f64, order: u32, delta: f64) -> f64 {
    let a = f64::from(order);
    let shrink = (-1.0 / a).ln_1p();
    let tail = -(delta.ln() + a.ln()) / (a - 1.0);
    let slack = (rdp + shrink.abs() + (delta.ln().abs() + a.ln()) / (a - 1.0)) * 8.0 * f64::EPSILON;
    (rdp + shrink + tail + slack).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::gaussian::subsampled_gaussian;
    use super::*;

    /// (q, z, steps, delta, epsilon) from dp-accounting 0.6 restricted to integer orders.
    const ORACLE: [(f64, f64, u32, f64, f64); 14] = [
        (1.0, 1.0, 1, 1e-5, 4.7527283),
        (1.0, 0.5, 1, 1e-5, 10.801691),
        (1.0, 4.0, 1, 1e-6, 1.1431687),
        (1.0, 50.0, 1000, 1e-6, 3.1345027),
        (1.0, 20.0, 200, 1e-9, 4.4413818),
        (0.01, 4.0, 10000, 1e-5, 1.0354901),
        (0.004266666666666667, 0.7, 10530, 1e-5, 6.3678576),
        (0.08192, 3.0, 875, 1e-5, 3.9103781),
        (0.25, 8.0, 200, 1e-6, 2.1583228),
        (0.5, 10.0, 100, 1e-6, 2.4542051),
        (0.02, 0.8, 500, 1e-6, 6.1645473),
        (0.001, 0.6, 5000, 1e-7, 4.8299834),
        (1.0, 20.0, 100, 1e-6, 2.4214513),
        (0.1, 0.5, 10, 1e-5, 14.418327),
    ];

    #[test]
    fn oracle_values() {
        for (q, z, steps, delta, expected) in ORACLE {
            let curve = subsampled_gaussian(q, z).unwrap().times(steps);
            let value = epsilon(&curve, delta).unwrap();
            let error = value.epsilon / expected - 1.0;
            assert!(error.abs() < 1e-6, "q={q} z={z}: {} against {expected}", value.epsilon);
        }
    }

    #[test]
    fn zero_concentrated_oracle() {
        // R(a) = rho * a, the zCDP rows of the same oracle.
        for (rho, delta, expected) in
            [(0.1, 1e-6, 2.1430435), (1.0, 1e-6, 7.8283746), (0.5, 1e-9, 6.4754086)]
        {
            let value = epsilon(&RdpCurve::from_fn(|a| rho * f64::from(a)), delta).unwrap().epsilon;
            assert!((value / expected - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn reports_the_order_and_refuses_bad_delta() {
        let curve = subsampled_gaussian(0.01, 4.0).unwrap().times(10_000);
        assert_eq!(epsilon(&curve, 1e-5).unwrap().order, 17);
        for delta in [0.0, 1.0, -1e-6, 2.0, f64::NAN] {
            assert!(epsilon(&curve, delta).is_err());
        }
        assert!(epsilon(&RdpCurve::zero(), 1e-5).unwrap().epsilon < 0.02);
    }
}
