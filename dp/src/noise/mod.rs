//! The discrete Gaussian and the Skellam sampler: exact up to a stated total variation distance.
//!
//! It knows the parameter of a law and a generator, no release and no vector's meaning. Most samples
//! cost one table lookup without a branch, but values of the tails cost a search, so that the running
//! time depends a little on what was drawn: draw noise before a round opens ([`PreparedNoise`]), not
//! while a peer can time it.
//!
//! A table reads the 32-bit words of the generator lazily: 128 bits decide, 32 are enough unless they
//! equal those of a threshold. What a generator gives for a seed is therefore the same samples in every
//! run, but how many words a vector takes depends on the seed.

mod cdf;
mod layout;
mod prepared;
mod skellam;
mod sum;
mod table;

use rand_core::{CryptoRng, RngCore};

use crate::error::DpError;
use layout::Layout;
use sum::TableSum;
use table::Table;

pub use prepared::PreparedNoise;
pub use skellam::Skellam;

/// Sampler of the discrete Gaussian on the integers, `P(x) ~ exp(-x^2 / (2 sigma^2))`.
///
/// Up to sigma = 1024 one inverse-CDF table with 128-bit thresholds; above, `x1 + k x2` with two draws
/// from one small table (see [`total_variation_bound`] for why that is a discrete Gaussian).
#[derive(Debug, Clone)]
pub struct DiscreteGaussian {
    layout: Layout,
    sum: TableSum,
}

impl DiscreteGaussian {
    /// A sampler whose parameter is `sigma` or, by a few units in the last place, larger.
    ///
    /// # Errors
    /// If `sigma` is outside [0.5, 2^28].
    pub fn new(sigma: f64) -> Result<Self, DpError> {
        let layout = Layout::of(sigma)?;
        let tail = cdf::lower_tail(&cdf::gaussian_weights(layout.table_sigma));
        let table = Table::new(&tail, layout.table_sigma);
        let factors = if layout.stride == 0 { vec![1] } else { vec![1, layout.stride] };
        Ok(Self { layout, sum: TableSum::new(table, factors) })
    }

    /// Parameter realised, rounded down; never below what was asked for.
    pub fn sigma(&self) -> f64 {
        self.layout.sigma
    }

    /// Bound on the total variation distance between one sample and the discrete Gaussian with
    /// parameter [`DiscreteGaussian::sigma`] (or the few units in the last place above it).
    pub fn total_variation(&self) -> f64 {
        self.layout.total_variation
    }

    /// One sample.
    #[inline]
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> i64 {
        self.sum.sample(rng)
    }

    /// Adds an independent sample to every coordinate.
    pub fn add_noise<R: RngCore + CryptoRng + ?Sized>(&self, values: &mut [i64], rng: &mut R) {
        self.sum.each(values, rng, |value, noise| *value = value.wrapping_add(noise));
    }

    /// A vector of `len` independent samples, to be added once and later.
    pub fn prepare<R: RngCore + CryptoRng + ?Sized>(
        &self,
        len: usize,
        rng: &mut R,
    ) -> PreparedNoise {
        PreparedNoise::draw(&self.sum, len, rng)
    }
}

/// Bound on the total variation distance of one sample of [`DiscreteGaussian::new`] with this sigma,
/// without building its table.
///
/// One table: its thresholds are exact cumulative probabilities rounded down to multiples of 2^-128,
/// so every probability is off by at most 2^-128 and what lies beyond the table is below 2^-128.
///
/// Two levels: for x1, x2 from N_Z(0, s^2) the law of `x1 + k x2` is, completing the square,
/// `exp(-x^2 / (2 (1+k^2) s^2)) * sum_y exp(-(y - c_x)^2 / (2v))` up to a constant, with
/// `v = s^2 / (1+k^2)`. By Poisson summation the sum over y is constant in x up to a factor in
/// `1 +- e`, `e = 2 sum_m exp(-2 pi^2 m^2 v)`. So the law is, pointwise within `(1+e)/(1-e)`, the
/// discrete Gaussian with `sigma^2 = (1+k^2) s^2`. The rule `1 + k^2 <= sigma / 2.13` gives
/// `v >= 2.13^2`, e < 2.6e-39 and a total variation of at most `e / (1-e) < 2^-128`, plus that of two
/// tables.
///
/// # Errors
/// If `sigma` is outside [0.5, 2^28].
pub fn total_variation_bound(sigma: f64) -> Result<f64, DpError> {
    Ok(Layout::of(sigma)?.total_variation)
}

#[cfg(test)]
mod tests;
