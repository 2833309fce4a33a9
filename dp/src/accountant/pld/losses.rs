//! The privacy loss of one release, put on a grid.

use super::grid::LossGrid;
use super::mechanism::{Direction, LossMechanism};

/// Most pieces that a continuous output is cut into.
const MAX_PIECES: f64 = (1 << 19) as f64;
/// Nodes and weights of Gauss-Legendre quadrature with three points on [0, 1].
const NODES: [(f64, f64); 3] = [
    (0.112_701_665_379_258_3, 5.0 / 18.0),
    (0.5, 4.0 / 9.0),
    (0.887_298_334_620_741_7, 5.0 / 18.0),
];

/// Range of the finite losses of a release, if outputs of probability at most `tail` on each side
/// are left out.
pub(super) fn range(mechanism: &LossMechanism, direction: Direction, tail: f64) -> (f64, f64) {
    match *mechanism {
        LossMechanism::Laplace { scale } => (-1.0 / scale, 1.0 / scale),
        LossMechanism::DiscreteLaplace { parameter, sensitivity } => {
            let most = parameter * f64::from(sensitivity);
            (-most, most)
        }
        LossMechanism::DiscreteGaussian { sigma, sensitivity } => {
            let (s, reach) = (f64::from(sensitivity), deviations(tail) * sigma + 1.0);
            let loss = |x: f64| (2.0 * x * s - s * s) / (2.0 * sigma * sigma);
            (loss((s - reach).floor()), loss((s + reach).ceil()))
        }
        _ => {
            let mixture = Mixture::of(mechanism, direction);
            let (from, to) = mixture.support(tail);
            let (a, b) = (mixture.loss(from), mixture.loss(to));
            (a.min(b), a.max(b))
        }
    }
}

/// Puts the loss of one release on a grid of the given step. Outputs of probability at most `tail`
/// on each side are counted as a complete loss, or as the lowest loss on the grid.
pub(super) fn discretise(
    mechanism: &LossMechanism,
    direction: Direction,
    tail: f64,
    step: f64,
) -> LossGrid {
    let (low, high) = range(mechanism, direction, tail);
    let mut grid = LossGrid::new(step, low, high);
    match *mechanism {
        LossMechanism::Laplace { scale } => {
            grid.add(1.0 / scale, 0.5);
            grid.add(-1.0 / scale, 0.5 * (-1.0 / scale).exp());
            let density = |x: f64| 0.5 / scale * ((x - 1.0) / scale).exp();
            let pieces = pieces(2.0 / scale, step).max((16.0 / scale).ceil());
            integrate(&mut grid, (0.0, 1.0), pieces, density, |x| (2.0 * x - 1.0) / scale);
        }
        LossMechanism::DiscreteLaplace { parameter: a, sensitivity } => {
            let s = f64::from(sensitivity);
            let outer = 1.0 / (1.0 + (-a).exp());
            grid.add(a * s, outer);
            grid.add(-a * s, outer * (-a * s).exp());
            for x in (1..sensitivity).map(f64::from) {
                grid.add(a * (2.0 * x - s), -(-a).exp_m1() * outer * (-a * (s - x)).exp());
            }
        }
        LossMechanism::DiscreteGaussian { sigma, sensitivity } => {
            let s = f64::from(sensitivity);
            let reach = (deviations(tail) * sigma + 1.0).ceil() as i64;
            let weight = |k: i64| (-(k as f64).powi(2) / (2.0 * sigma * sigma)).exp();
            let total: f64 = (-reach..=reach).map(weight).sum();
            for k in -reach..=reach {
                let x = k as f64 + s;
                grid.add((2.0 * x * s - s * s) / (2.0 * sigma * sigma), weight(k) / total);
            }
            grid.add(f64::INFINITY, tail);
        }
        _ => {
            let mixture = Mixture::of(mechanism, direction);
            let support = mixture.support(tail);
            let z = mixture.sigma;
            let spread = (support.1 - support.0) * f64::from(mixture.group) / (z * z);
            let pieces = pieces(spread, step).max((support.1 - support.0) / z * 32.0);
            integrate(&mut grid, support, pieces, |x| mixture.density(x), |x| mixture.loss(x));
            grid.add(low, tail);
            grid.add(f64::INFINITY, tail);
        }
    }
    grid
}

/// How many pieces make the loss change by at most a third of a step in each.
fn pieces(spread: f64, step: f64) -> f64 {
    (3.0 * spread / step).clamp(1.0, MAX_PIECES).ceil()
}

/// Standard deviations beyond which a Gaussian has at most `tail` on a side.
fn deviations(tail: f64) -> f64 {
    (-2.0 * tail.ln()).sqrt()
}

/// Adds a continuous output: each piece's mass is shared between the losses at its ends so that the
/// mass under both data sets is kept, which dominates it, then put on the grid. The loss must be
/// monotone.
fn integrate(
    grid: &mut LossGrid,
    (from, to): (f64, f64),
    pieces: f64,
    density: impl Fn(f64) -> f64,
    loss: impl Fn(f64) -> f64,
) {
    let width = (to - from) / pieces;
    let mut left = loss(from);
    for piece in 0..pieces as usize {
        let start = from + width * piece as f64;
        let right = loss(start + width);
        let (low, high) = (left.min(right), left.max(right));
        let (mut mass, mut lost) = (0.0, 0.0);
        for (node, weight) in NODES {
            let x = start + width * node;
            let m = density(x) * weight * width;
            mass += m;
            lost += m * -(low - loss(x)).min(0.0).exp_m1();
        }
        let whole = -(low - high).exp_m1();
        let upper = if whole > 0.0 { (lost / whole).clamp(0.0, mass) } else { mass };
        grid.add(high, upper);
        grid.add(low, mass - upper);
        left = right;
    }
}

/// `sum_i w_i N(i, z^2)` with binomial weights, against `N(0, z^2)`.
struct Mixture {
    direction: Direction,
    sigma: f64,
    group: u16,
    /// (i, w_i) with positive weight.
    weights: Vec<(f64, f64)>,
}

impl Mixture {
    fn of(mechanism: &LossMechanism, direction: Direction) -> Self {
        let (q, sigma, group) = match *mechanism {
            LossMechanism::Gaussian { noise_multiplier } => (1.0, noise_multiplier, 1),
            LossMechanism::SampledGaussian { sampling_rate, noise_multiplier } => {
                (sampling_rate, noise_multiplier, 1)
            }
            LossMechanism::SampledGroup { sampling_rate, noise_multiplier, group } => {
                (sampling_rate, noise_multiplier, group)
            }
            // The other mechanisms are no mixtures and never come here; this is no loss at all.
            _ => (1.0, 1.0, 0),
        };
        Self { direction, sigma, group, weights: binomial(q, group) }
    }

    /// The outputs that count, for a Gaussian tail on each side.
    fn support(&self, tail: f64) -> (f64, f64) {
        let reach = deviations(tail) * self.sigma;
        let furthest = match self.direction {
            Direction::Remove => f64::from(self.group),
            Direction::Add => 0.0,
        };
        (-reach, furthest + reach)
    }

    fn density(&self, x: f64) -> f64 {
        let normal = |mean: f64| {
            let t = (x - mean) / self.sigma;
            (-0.5 * t * t).exp() / (self.sigma * (2.0 * std::f64::consts::PI).sqrt())
        };
        match self.direction {
            Direction::Remove => self.weights.iter().map(|(i, w)| w * normal(*i)).sum(),
            Direction::Add => normal(0.0),
        }
    }

    fn loss(&self, x: f64) -> f64 {
        let growth = |i: f64| i * (2.0 * x - i) / (2.0 * self.sigma * self.sigma);
        let change: f64 = self.weights.iter().map(|(i, w)| w * growth(*i).exp_m1()).sum();
        let loss = if change > -0.5 && change < 1e12 {
            change.ln_1p()
        } else {
            let exponents = || self.weights.iter().map(|(i, w)| w.ln() + growth(*i));
            let top = exponents().fold(f64::NEG_INFINITY, f64::max);
            top + exponents().map(|e| (e - top).exp()).sum::<f64>().ln()
        };
        match self.direction {
            Direction::Remove => loss,
            Direction::Add => -loss,
        }
    }
}

/// Weights of the binomial distribution, by its recurrence; sampling rate 1 is one atom.
fn binomial(q: f64, group: u16) -> Vec<(f64, f64)> {
    if q >= 1.0 {
        return vec![(f64::from(group), 1.0)];
    }
    let n = f64::from(group);
    let ln_odds = q.ln() - (-q).ln_1p();
    let mut ln_weight = n * (-q).ln_1p();
    let mut weights = Vec::with_capacity(usize::from(group) + 1);
    for i in (0..=group).map(f64::from) {
        if ln_weight > -745.0 {
            weights.push((i, ln_weight.exp()));
        }
        ln_weight += ln_odds + ((n - i) / (i + 1.0)).ln();
    }
    weights
}
