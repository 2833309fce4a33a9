//! Times to an event by walking through the intervals one after the other.

/// Ends of intervals, and how many features come before the baseline.
pub(in crate::conformance) struct Cox {
    ends: Vec<f64>,
    inputs: usize,
}

impl Cox {
    pub(super) fn new(ends: &[f64], inputs: usize) -> Self {
        Self { ends: ends.to_vec(), inputs }
    }

    fn score(&self, parameters: &[f64], row: &[f32]) -> f64 {
        parameters[..self.inputs].iter().zip(row).map(|(b, x)| b * f64::from(*x)).sum()
    }

    /// Minus the log-likelihood: of the hazard at the event, if there is one, and of living until then.
    /// Time runs at one interval a unit.
    pub(super) fn loss(&self, parameters: &[f64], row: &[f32], label: f32) -> f64 {
        let score = self.score(parameters, row);
        let (time, event) = (f64::from(label.abs()), label > 0.0);
        let (mut loss, mut start) = (0.0, 0.0);
        for (end, alpha) in self.ends.iter().zip(&parameters[self.inputs..]) {
            let hazard = (alpha + score).exp();
            if time <= *end {
                let share = (time - start) / (end - start);
                return loss + share * hazard - if event { hazard.ln() } else { 0.0 };
            }
            loss += hazard;
            start = *end;
        }
        loss
    }

    /// Of the event by the last end.
    pub(super) fn probability(&self, parameters: &[f64], row: &[f32]) -> f64 {
        let score = self.score(parameters, row);
        let survived: f64 =
            parameters[self.inputs..].iter().map(|alpha| (-(alpha + score).exp()).exp()).product();
        1.0 - survived
    }
}
