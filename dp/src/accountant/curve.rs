//! A Renyi-DP curve: one value per order in [`ORDERS`](super::ORDERS), composable by addition.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use super::orders::{COUNT, ORDERS};
use crate::error::DpError;

/// Renyi divergence bound (nats) per order of [`ORDERS`](super::ORDERS). Values are finite, never
/// negative and only ever rounded upwards. Serialises as the list of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct RdpCurve([f64; COUNT]);

impl RdpCurve {
    /// The curve of releasing nothing.
    pub fn zero() -> Self {
        Self([0.0; COUNT])
    }

    /// The curve of `k` releases, each with this curve.
    #[must_use]
    pub fn times(&self, k: u32) -> Self {
        Self(self.0.map(|v| up(v * f64::from(k))))
    }

    /// Values in the sequence of the orders.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Values in the sequence of the orders, as a vector.
    pub fn to_vec(&self) -> Vec<f64> {
        self.0.to_vec()
    }

    /// Value at one order; `None` if the order is not in the list.
    pub fn at(&self, order: u32) -> Option<f64> {
        self.iter().find(|(a, _)| *a == order).map(|(_, v)| v)
    }

    /// Pairs (order, value).
    pub fn iter(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        ORDERS.iter().copied().zip(self.0.iter().copied())
    }

    /// A curve from a function of the order; values are clamped to finite non-negative numbers
    /// from above (an infinite bound becomes the largest number, which no budget admits).
    pub(crate) fn from_fn(mut f: impl FnMut(u32) -> f64) -> Self {
        Self(ORDERS.map(|a| {
            let v = f(a);
            if v.is_nan() { f64::MAX } else { v.clamp(0.0, f64::MAX) }
        }))
    }
}

impl Add<&RdpCurve> for &RdpCurve {
    type Output = RdpCurve;

    fn add(self, other: &RdpCurve) -> RdpCurve {
        let mut sum = self.clone();
        sum += other;
        sum
    }
}

impl AddAssign<&RdpCurve> for RdpCurve {
    fn add_assign(&mut self, other: &RdpCurve) {
        for (v, o) in self.0.iter_mut().zip(&other.0) {
            // Adding an exact zero needs no rounding and must not change the curve.
            if *o != 0.0 {
                *v = if *v == 0.0 { *o } else { up(*v + o) };
            }
        }
    }
}

impl From<RdpCurve> for Vec<f64> {
    fn from(curve: RdpCurve) -> Self {
        curve.to_vec()
    }
}

impl TryFrom<Vec<f64>> for RdpCurve {
    type Error = DpError;

    fn try_from(values: Vec<f64>) -> Result<Self, DpError> {
        if let Some(v) = values.iter().find(|v| !v.is_finite() || **v < 0.0) {
            return Err(DpError::parameter("rdp", v, "a list of finite non-negative numbers"));
        }
        let actual = values.len();
        let array = values.try_into().map_err(|_| DpError::Length {
            what: "the RDP curve",
            actual,
            expected: COUNT,
        })?;
        Ok(Self(array))
    }
}

/// Next number up, kept finite.
fn up(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.next_up().min(f64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composition_rounds_up() {
        let third = RdpCurve::from_fn(|_| 1.0 / 3.0);
        let three = &(&third + &third) + &third;
        assert!(three.values().iter().all(|v| *v >= 1.0 && *v < 1.0 + 1e-14));
        assert!(third.times(3).values().iter().all(|v| *v >= 1.0 && *v < 1.0 + 1e-14));
        assert_eq!(&third + &RdpCurve::zero(), third);
        assert_eq!(third.times(0), RdpCurve::zero());
    }

    #[test]
    fn overflow_stays_finite_and_never_shrinks() {
        let huge = RdpCurve::from_fn(|_| f64::INFINITY).times(9);
        assert!(huge.values().iter().all(|v| *v == f64::MAX));
        assert!(RdpCurve::from_fn(|_| f64::NAN).values().iter().all(|v| *v == f64::MAX));
    }

    #[test]
    fn json_round_trip_and_refusals() {
        let curve = RdpCurve::from_fn(|a| 0.1 * f64::from(a));
        let text = serde_json::to_string(&curve).unwrap();
        assert_eq!(serde_json::from_str::<RdpCurve>(&text).unwrap(), curve);
        assert!(serde_json::from_str::<RdpCurve>("[1.0, 2.0]").is_err());
        let negative = text.replacen("[0.2", "[-0.2", 1);
        assert_ne!(negative, text);
        assert!(serde_json::from_str::<RdpCurve>(&negative).is_err());
    }
}
