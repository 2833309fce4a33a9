//! Variance and correlation of the noise in a stream of releases of one data set.
//!
//! Everything is taken from differences of releases, in which the unknown sum cancels, so that it
//! needs to know nothing but the releases.

use super::statistics::normal_p;

/// Sums of products of pairs with mean 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Products {
    xy: f64,
    xx: f64,
    yy: f64,
    pairs: u64,
}

/// Running sums over releases.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    /// Releases that wait until there are four.
    waiting: Vec<Vec<i64>>,
    squares: f64,
    differences: u64,
    rounds: Products,
    coordinates: Products,
}

impl Products {
    /// Counts a pair.
    pub fn add(&mut self, x: f64, y: f64) {
        self.xy += x * y;
        self.xx += x * x;
        self.yy += y * y;
        self.pairs += 1;
    }

    /// Correlation; not a number if one side never moves.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        self.xy / (self.xx * self.yy).sqrt()
    }

    /// Two-sided p-value of the correlation against none: `r sqrt(n)` is about standard normal. 0 if
    /// one side never moves.
    #[must_use]
    pub fn p(&self) -> f64 {
        normal_p(self.correlation() * (self.pairs as f64).sqrt())
    }
}

impl Moments {
    /// Takes a release in.
    pub fn add(&mut self, release: &[i64]) {
        self.waiting.push(release.to_vec());
        let [a, b, c, d] = self.waiting.as_slice() else { return };
        let mut before: Option<f64> = None;
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let (near, far) = ((a - b) as f64, (c - d) as f64);
            self.squares += near * near + far * far;
            self.differences += 2;
            // Neither difference has a release in common with the other.
            self.rounds.add((a - c) as f64, (b - d) as f64);
            if let Some(before) = before {
                self.coordinates.add(before, near);
            }
            before = Some(near);
        }
        self.waiting.clear();
    }

    /// Variance of one coordinate's noise, and the degrees of freedom it is estimated with.
    #[must_use]
    pub fn variance(&self) -> (f64, f64) {
        let freedom = self.differences as f64;
        (self.squares / (2.0 * freedom), freedom)
    }

    /// Noise of one round against that of the next.
    #[must_use]
    pub fn rounds(&self) -> &Products {
        &self.rounds
    }

    /// Noise of one coordinate against that of the next.
    #[must_use]
    pub fn coordinates(&self) -> &Products {
        &self.coordinates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_dp::{DiscreteGaussian, SecretRng};

    #[test]
    fn variance_and_correlations_of_known_noise() {
        let sampler = DiscreteGaussian::new(50.0).unwrap();
        let mut rng = SecretRng::danger_deterministic([1; 32]);
        let (mut fresh, mut repeated, mut flat) =
            (Moments::default(), Moments::default(), Moments::default());
        let mut last = Vec::new();
        for round in 0..800 {
            let noise: Vec<i64> = (0..40).map(|j| 7 * j + sampler.sample(&mut rng)).collect();
            fresh.add(&noise);
            if round % 2 == 0 {
                last = noise.clone();
            }
            repeated.add(&last);
            flat.add(&[noise[0]; 40]);
        }
        let (variance, freedom) = fresh.variance();
        assert_eq!(freedom, 16_000.0);
        assert!((variance / 2500.0 - 1.0).abs() < 5.0 * (2.0 / freedom).sqrt(), "{variance}");
        assert!(fresh.rounds().p() > 1e-6 && fresh.coordinates().p() > 1e-6);
        assert!(repeated.rounds().p() < 1e-12);
        assert!(flat.coordinates().p() < 1e-12);
        assert_eq!(Products::default().p(), 0.0);
    }
}
