//! Tails of the hypergeometric distribution, with the same outcome on every
//! processor. It knows no protocol, only marked balls in an urn.
//!
//! Only `+ - * /` on `f64` in a fixed order (IEEE 754 rounds each of them in one
//! way) and no function of libm, so that all parties solve the same numbers.
//! Weights are relative to one near the peak, so nothing overflows, and what
//! underflows is below `2^-1000` of the whole. All summands are positive; with
//! at most `2^8` of them, each a product of at most `2^8` ratios, and two
//! roundings a ratio, the relative error is below `2^-40`. [`ROUNDING`] is a
//! thousand times that and lies on the safe side.

/// Relative margin by which a computed tail must stay below its bound.
const ROUNDING: f64 = 1.0 / (1u64 << 30) as f64;

/// An urn with `marked` marked balls among `population`, of which `draws` (at
/// most 254) are drawn and not put back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Urn {
    pub population: u16,
    pub marked: u16,
    pub draws: u16,
}

impl Urn {
    /// The smallest q such that more than q drawn balls are marked with
    /// probability at most `bound`, which must be above `2^-900`.
    pub(super) fn exceeded_at_most(self, bound: f64) -> u16 {
        let weights = self.weights();
        let whole: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut tail = 0.0;
        for (marked, weight) in weights.iter().rev() {
            tail += weight;
            if tail * (1.0 + ROUNDING) > bound * whole {
                return *marked;
            }
        }
        0
    }

    /// Numbers of marked balls that can be drawn, ascending, each with its
    /// probability up to a common factor.
    fn weights(self) -> Vec<(u16, f64)> {
        let Self { population, draws, .. } = self;
        let marked = self.marked.min(population);
        let least = draws.saturating_sub(population - marked);
        let most = draws.min(marked);
        // The mode: floor((draws + 1)(marked + 1) / (population + 2)).
        let peak = (u32::from(draws) + 1) * (u32::from(marked) + 1) / (u32::from(population) + 2);
        let peak = u16::try_from(peak).unwrap_or(most).clamp(least, most.max(least));

        let mut weights = Vec::with_capacity(usize::from(most) + 1);
        let mut weight = 1.0;
        weights.push((peak, weight));
        for x in (least..peak).rev() {
            weight /= self.ratio(x);
            weights.push((x, weight));
        }
        weights.reverse();
        weight = 1.0;
        for x in peak..most {
            weight *= self.ratio(x);
            weights.push((x + 1, weight));
        }
        weights
    }

    /// `P(x + 1) / P(x)`; both numbers of marked balls can be drawn. The
    /// products are exact.
    fn ratio(self, x: u16) -> f64 {
        let [x, population, marked, draws] =
            [x, self.population, self.marked.min(self.population), self.draws].map(f64::from);
        (marked - x) * (draws - x) / ((x + 1.0) * (population - marked - draws + x + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(n: u16, k: u16) -> u128 {
        if k > n {
            return 0;
        }
        (0..u128::from(k)).fold(1, |c, i| c * (u128::from(n) - i) / (i + 1))
    }

    /// By exact counting: the smallest q with `P(X > q) < 2^-bits`; a tail just on
    /// the bound counts as above it.
    fn counted(urn: Urn, bits: u32) -> u16 {
        let all = choose(urn.population, urn.draws);
        let mut tail = 0u128;
        for x in (0..=urn.draws).rev() {
            tail += choose(urn.marked, x)
                * choose(urn.population - urn.marked, urn.draws.saturating_sub(x));
            if tail << bits >= all {
                return x;
            }
        }
        0
    }

    #[test]
    fn agrees_with_exact_counting() {
        let mut informative = 0;
        for population in [5, 12, 30, 60] {
            for marked in (0..=population).step_by(3) {
                for draws in (1..=population).step_by(4) {
                    let urn = Urn { population, marked, draws };
                    for bits in [1u32, 5, 20, 40] {
                        let q = urn.exceeded_at_most(0.5f64.powi(bits.cast_signed()));
                        assert_eq!(q, counted(urn, bits), "{urn:?}, 2^-{bits}");
                        informative += u32::from(q < draws.min(marked));
                    }
                }
            }
        }
        assert!(informative > 200, "{informative}");
    }

    #[test]
    fn certain_outcomes() {
        let all = |marked, draws| Urn { population: 10, marked, draws }.exceeded_at_most(1e-9);
        assert_eq!(all(0, 4), 0);
        assert_eq!(all(10, 4), 4);
        assert_eq!(all(3, 10), 3);
        assert_eq!(all(99, 4), 4, "more marked balls than balls count as all");
    }

    #[test]
    fn a_tail_on_its_bound_is_on_the_safe_side() {
        // P(X > 0) is exactly 1/4: the margin makes it count as above.
        let urn = Urn { population: 4, marked: 1, draws: 1 };
        assert_eq!(urn.exceeded_at_most(0.25), 1);
        assert_eq!(urn.exceeded_at_most(0.25 * (1.0 + 4.0 * ROUNDING)), 0);
    }

    #[test]
    fn the_largest_urns_do_not_overflow() {
        for marked in [1, 254, 1000, 1999] {
            for draws in [1, 127, 254] {
                let urn = Urn { population: 2000, marked, draws };
                let q = urn.exceeded_at_most(1e-20);
                assert!(f64::from(q) >= f64::from(marked) * f64::from(draws) / 2000.0 - 1.0);
                assert!(urn.weights().iter().all(|(_, weight)| weight.is_finite()));
            }
        }
    }
}
