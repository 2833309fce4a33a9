//! Composes privacy-loss distributions by fast Fourier transform and reads epsilon off the result.
//!
//! The distributions are tilted by `e^(theta loss)` before the transform, with theta at the saddle
//! point of the wanted delta, and back afterwards: so the part of the composed distribution that
//! decides about delta is where the transform is exact, however small delta is. A transform of finite
//! length wraps around; mass that wraps is only ever added somewhere, and mass above the window is
//! bounded by Chernoff's inequality and added to delta.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::grid::LossGrid;
use super::losses::{discretise, range};
use super::mechanism::{Direction, LossMechanism};
use crate::error::DpError;

type Uses = [(LossMechanism, u32)];

/// Relative error of epsilon that the grid is chosen for.
const GRID_ERROR: f64 = 1e-3;
/// Share of delta that everything which is cut off may take.
const CUT_OFF: f64 = 1e-7;
/// Points of the coarse grid that finds the saddle point.
const COARSE: f64 = 4096.0;
/// Most points of a grid or a window.
const MAX_POINTS: f64 = (1 << 22) as f64;
/// Half the window in standard deviations of the tilted sum, to begin with.
const DEVIATIONS: f64 = 10.0;
/// What rounding in f64 may do to epsilon, relatively.
const ROUNDING: f64 = 1e-7;

/// Epsilon of a composition in one direction.
pub(super) fn epsilon(uses: &Uses, direction: Direction, delta: f64) -> Result<f64, DpError> {
    let total: f64 = uses.iter().map(|(_, count)| f64::from(*count)).sum();
    let tail = delta * CUT_OFF / total;
    let widest = uses
        .iter()
        .map(|(mechanism, _)| range(mechanism, direction, tail))
        .fold(0.0_f64, |widest, (low, high)| widest.max(high - low));
    let on = |step: f64| -> Vec<(LossGrid, f64)> {
        let grid = |m: &LossMechanism| discretise(m, direction, tail, step);
        uses.iter().map(|(m, count)| (grid(m), f64::from(*count))).collect()
    };
    let coarse = Composition(on(widest / COARSE));
    let theta = coarse.saddle_point(delta);
    let [_, mean, variance] = coarse.cumulant(theta);
    let wanted = 12.0 * GRID_ERROR * mean.abs().max(1e-2) / ((theta + 1.0) * total);
    let least = widest.max(2.0 * DEVIATIONS * variance.sqrt()) * 4.0 / MAX_POINTS;
    let step = wanted.sqrt().min(widest / 64.0).max(least);
    let fine = Composition(on(step));
    let mut reach = DEVIATIONS * variance.sqrt() + 30.0 / theta + 16.0 * step;
    while reach / step < MAX_POINTS / 2.0 {
        let window = Window { low: mean - reach, high: mean + reach };
        if let Some(found) = fine.epsilon_in(&window, theta, step, delta) {
            return Ok(found * (1.0 + ROUNDING));
        }
        reach *= 2.0;
    }
    Err(DpError::parameter("noise_multiplier", "too small", "large enough for an estimate"))
}

/// Losses of the sum that are looked at.
struct Window {
    low: f64,
    high: f64,
}

/// Grids of one step with the number of times each is used.
struct Composition(Vec<(LossGrid, f64)>);

impl Composition {
    /// Cumulant function of the sum with two derivatives.
    fn cumulant(&self, theta: f64) -> [f64; 3] {
        let mut total = [0.0; 3];
        for (grid, count) in &self.0 {
            for (t, v) in total.iter_mut().zip(grid.cumulant(theta)) {
                *t += count * v;
            }
        }
        total
    }

    /// Theta at which the rate function `theta K' - K` reaches ln(1/delta), or nine tenths of its
    /// supremum if that is less (the largest loss is an atom then).
    fn saddle_point(&self, delta: f64) -> f64 {
        let rate = |theta: f64| {
            let [k, mean, _] = self.cumulant(theta);
            theta * mean - k
        };
        let target = (-delta.ln()).min(0.9 * rate(1e5));
        let mut high = 1.0;
        while rate(high) < target && high < 1e5 {
            high *= 2.0;
        }
        let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
        while high - low > 1e-3 * high {
            let middle = f64::midpoint(low, high);
            if rate(middle) < target { low = middle } else { high = middle }
        }
        high
    }

    /// The smallest epsilon in the window whose delta is small enough; `None` if the window is too
    /// narrow to tell.
    fn epsilon_in(&self, window: &Window, theta: f64, step: f64, delta: f64) -> Option<f64> {
        let above = self.mass_above(window.high, theta);
        let infinity: f64 = self.0.iter().map(|(grid, count)| count * grid.infinity).sum();
        let mut reached = above + infinity;
        if above > delta * 1e-4 || reached >= delta {
            return None;
        }
        let first = (window.low / step).floor() as i64;
        let points = ((window.high - window.low) / step).ceil() as usize + 2;
        let size = points.next_power_of_two();
        let sum = self.tilted_sum(theta, size)?;
        let [k, ..] = self.cumulant(theta);
        // From the top: delta grows by (1 - e^-step) times what lies above, discounted.
        let gain = -(-step).exp_m1();
        let mut discounted = 0.0;
        for index in (first..first + size as i64).rev() {
            let next = (index + 1) as f64 * step;
            let place = usize::try_from((index + 1).rem_euclid(size as i64)).ok()?;
            // The point above the window is its lowest one, wrapped around.
            let mass = if index + 1 == first + size as i64 { 0.0 } else { sum[place].max(0.0) };
            let mass = mass * (k - theta * next).exp();
            let now = reached + gain * (mass + discounted);
            discounted = (-step).exp() * (mass + discounted);
            if now > delta || now.is_nan() {
                // Between two points delta is linear in e^epsilon.
                let part = ((now - delta) / (now - reached)).clamp(0.0, 1.0);
                let found = index as f64 * step + (part * step.exp_m1()).ln_1p();
                return Some(found.max(0.0));
            }
            reached = now;
            if index < 0 {
                return Some(0.0);
            }
        }
        None
    }

    /// Chernoff's bound on the probability that the sum is above `high`, at the better of a few
    /// tilts.
    fn mass_above(&self, high: f64, theta: f64) -> f64 {
        let most: f64 = self.0.iter().map(|(grid, count)| count * grid.highest()).sum();
        if most <= high {
            return 0.0;
        }
        let bound = |tilt: f64| (self.cumulant(tilt)[0] - tilt * high).exp();
        [1.25, 1.5, 2.0, 3.0].into_iter().map(|f| bound(f * theta)).fold(f64::MAX, f64::min)
    }

    /// The tilted sum modulo `size` grid points.
    fn tilted_sum(&self, theta: f64, size: usize) -> Option<Vec<f64>> {
        let mut planner = RealFftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(size);
        let mut product = vec![Complex::new(1.0 / size as f64, 0.0); size / 2 + 1];
        let mut spectrum = forward.make_output_vec();
        for (grid, count) in &self.0 {
            let [k, ..] = grid.cumulant(theta);
            let mut folded = vec![0.0; size];
            for (i, mass) in grid.mass.iter().enumerate() {
                let index = grid.first + i as i64;
                let place = usize::try_from(index.rem_euclid(size as i64)).ok()?;
                folded[place] += mass * (theta * index as f64 * grid.step - k).exp();
            }
            forward.process(&mut folded, &mut spectrum).ok()?;
            for (p, s) in product.iter_mut().zip(&spectrum) {
                *p *= s.powu(*count as u32);
            }
        }
        // The transform of real numbers: exactly real at both ends.
        let last = product.len() - 1;
        product[0].im = 0.0;
        product[last].im = 0.0;
        let inverse = planner.plan_fft_inverse(size);
        let mut sum = inverse.make_output_vec();
        inverse.process(&mut product, &mut sum).ok()?;
        Some(sum)
    }
}
