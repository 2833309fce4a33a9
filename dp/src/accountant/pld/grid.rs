//! A privacy-loss distribution on an equidistant grid that dominates what was put into it.

/// Masses at the losses `(first + i) * step`, and at infinity.
#[derive(Debug, Clone)]
pub(super) struct LossGrid {
    /// Distance of two losses (nats).
    pub step: f64,
    /// Grid index of the first entry.
    pub first: i64,
    /// Mass at each grid point.
    pub mass: Vec<f64>,
    /// Mass of what is counted as a complete loss.
    pub infinity: f64,
}

impl LossGrid {
    /// An empty grid that holds losses in `[low, high]`.
    pub fn new(step: f64, low: f64, high: f64) -> Self {
        let first = (low / step).floor() as i64 - 1;
        let last = (high / step).ceil() as i64 + 1;
        let length = usize::try_from(last - first + 1).unwrap_or(1);
        Self { step, first, mass: vec![0.0; length], infinity: 0.0 }
    }

    /// Adds mass at a loss: shared between the two grid points around it so that the mass under both
    /// data sets stays what it was (`m = a + b` and `m e^-l = a e^-l1 + b e^-l2`). The result
    /// dominates, since `e^-l` is spread and its mean kept (Doroshenko, Ghazi, Kamath, Kumar,
    /// Manurangsi, "Connect the dots", 2022).
    pub fn add(&mut self, loss: f64, mass: f64) {
        if loss == f64::INFINITY {
            self.infinity += mass;
            return;
        }
        let below = (loss / self.step).floor();
        let rest = (loss - below * self.step).max(0.0);
        let upper = mass * ((-rest).exp_m1() / (-self.step).exp_m1()).clamp(0.0, 1.0);
        let index = below as i64 - self.first;
        match usize::try_from(index) {
            Ok(i) if i + 1 < self.mass.len() => {
                self.mass[i] += mass - upper;
                self.mass[i + 1] += upper;
            }
            // Below the grid: rounded up into it. Above: a complete loss.
            Err(_) => self.mass[0] += mass,
            Ok(_) => self.infinity += mass,
        }
    }

    /// Largest loss with mass.
    pub fn highest(&self) -> f64 {
        let last = self.mass.iter().rposition(|m| *m > 0.0).unwrap_or(0);
        (self.first + last as i64) as f64 * self.step
    }

    /// Logarithm of the moment generating function at `theta`, with its first two derivatives, of the
    /// finite part.
    pub fn cumulant(&self, theta: f64) -> [f64; 3] {
        let loss = |i: usize| (self.first + i as i64) as f64 * self.step;
        let present = || self.mass.iter().enumerate().filter(|(_, m)| **m > 0.0);
        let exponent = |i: usize, m: f64| m.ln() + theta * loss(i);
        let top = present().map(|(i, m)| exponent(i, *m)).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut first) = (0.0, 0.0);
        for (i, m) in present() {
            let weight = (exponent(i, *m) - top).exp();
            sum += weight;
            first += weight * loss(i);
        }
        let mean = first / sum;
        let square = |(i, m): (usize, &f64)| {
            (exponent(i, *m) - top).exp() * (loss(i) - mean) * (loss(i) - mean)
        };
        let variance = present().map(square).sum::<f64>() / sum;
        [top + sum.ln(), mean, variance]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharing_keeps_the_mass_under_both_data_sets_and_dominates() {
        let mut grid = LossGrid::new(0.25, -1.0, 1.0);
        let atoms = [(-0.9, 0.2), (0.0, 0.3), (0.61, 0.5)];
        atoms.iter().for_each(|(loss, mass)| grid.add(*loss, *mass));
        let at = |i: usize| (grid.first + i as i64) as f64 * grid.step;
        let mass: f64 = grid.mass.iter().sum();
        let other: f64 = grid.mass.iter().enumerate().map(|(i, m)| m * (-at(i)).exp()).sum();
        let expected: f64 = atoms.iter().map(|(l, m)| m * (-l).exp()).sum();
        assert!((mass - 1.0).abs() < 1e-15 && (other - expected).abs() < 1e-15);
        for epsilon in [-0.8_f64, -0.1, 0.0, 0.3, 0.6, 0.62] {
            let part = |l: f64, m: f64| m * (1.0 - (epsilon - l).exp()).max(0.0);
            let exact: f64 = atoms.iter().map(|(l, m)| part(*l, *m)).sum();
            let ours: f64 = grid.mass.iter().enumerate().map(|(i, m)| part(at(i), *m)).sum();
            assert!(ours >= exact - 1e-15, "at {epsilon}: {ours} < {exact}");
        }
        assert!(grid.highest() < 0.76);
        grid.add(f64::INFINITY, 0.1);
        grid.add(7.0, 0.1);
        assert!((grid.infinity - 0.2).abs() < 1e-15);
    }

    #[test]
    fn cumulants_of_a_coin() {
        let mut grid = LossGrid::new(1.0, -1.0, 1.0);
        grid.add(-1.0, 0.5);
        grid.add(1.0, 0.5);
        let [k, mean, variance] = grid.cumulant(0.7);
        assert!((k - 0.7_f64.cosh().ln()).abs() < 1e-14);
        assert!((mean - 0.7_f64.tanh()).abs() < 1e-14);
        assert!((variance - (1.0 - 0.7_f64.tanh().powi(2))).abs() < 1e-14);
    }
}
