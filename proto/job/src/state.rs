//! The shared state of a job and the deterministic server step.
//!
//! Every node and the aggregator hold this state and compute the next one from the published sum.
//! Only `+ - * / sqrt` on IEEE floats in a fixed order, no fused multiply-add, no libm: the state is
//! bit-equal on every processor, and its hash is what the result quorum signs.

use tributary_secagg::Digest;

use crate::history::{Evaluations, TAG};
use crate::layout::ParameterLayout;
use crate::manifest::JobHash;
use crate::spec::{AdaptiveClip, OptimiserKind, TrainingSpec};

/// Model, optimiser and normalisation after `completed` secure rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelState {
    /// Secure rounds applied so far (the statistics round counts as one).
    pub completed: u32,
    /// Flat parameters, see [`ParameterLayout`].
    pub parameters: Vec<f32>,
    /// Momentum buffer (with Adam the first moment), same length.
    pub momentum: Vec<f32>,
    /// Adam's second moment, same length; absent with SGD.
    pub second_moment: Option<Vec<f32>>,
    /// SCAFFOLD's control variate c, the mean over all agencies of theirs, same length; absent
    /// without.
    pub control: Option<Vec<f32>>,
    /// Means and scales of the numeric features; identity before the statistics round.
    pub normalisation: Normalisation,
    /// The next round's clip norm over the job's, once adaptive clipping has moved it.
    pub clip_factor: Option<f64>,
    /// The evaluations so far; absent unless the job evaluates on the way.
    pub evaluations: Option<Evaluations>,
}

/// Standardisation of numeric features, in units of the scaled cell `u` in `[-1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// Mean of `u` per numeric feature.
    pub mean: Vec<f32>,
    /// One over the standard deviation of `u` per numeric feature.
    pub inverse_sd: Vec<f32>,
}

/// Why stored or received state bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model state: {0}")]
pub struct StateError(pub String);

const MAGIC: &[u8; 8] = b"TRBSTAT1";
/// With a second moment.
const MAGIC_ADAM: &[u8; 8] = b"TRBSTAT2";
/// With a control variate. No job has both.
const MAGIC_SCAFFOLD: &[u8; 8] = b"TRBSTAT3";

/// Adam's decay of the second moment and what is added under it: those of Reddi et al. 2021, section
/// 5, but for an epsilon that leaves small gradients of large models alone.
const ADAM: (f32, f32) = (0.99, 1e-8);

impl Normalisation {
    /// Leaves `u` as it is.
    pub fn identity(features: usize) -> Self {
        Self { mean: vec![0.0; features], inverse_sd: vec![1.0; features] }
    }

    /// From noisy sums `[count, sum u, sum u^2]` per feature. Noise may make the raw moments
    /// impossible, so means are clamped to `[-1, 1]` and variances to `[1e-4, 1]`.
    pub fn from_sums(sums: &[f64]) -> Self {
        let (mut mean, mut inverse_sd) = (Vec::new(), Vec::new());
        for moments in sums.chunks_exact(3) {
            let count = moments[0].max(1.0);
            let m = (moments[1] / count).clamp(-1.0, 1.0);
            let variance = (moments[2] / count - m * m).clamp(1e-4, 1.0);
            mean.push(m as f32);
            inverse_sd.push((1.0 / variance.sqrt()) as f32);
        }
        Self { mean, inverse_sd }
    }
}

impl ModelState {
    /// The state every party starts from.
    pub fn initial(layout: &ParameterLayout, numeric_features: usize, seed: u64) -> Self {
        Self {
            completed: 0,
            parameters: layout.initial_parameters(seed),
            momentum: vec![0.0; layout.total()],
            second_moment: None,
            control: None,
            normalisation: Normalisation::identity(numeric_features),
            clip_factor: None,
            evaluations: None,
        }
    }

    /// The same state with the memory that the server's rule needs.
    #[must_use]
    pub fn with_optimiser(self, kind: OptimiserKind) -> Self {
        let second_moment = match kind {
            OptimiserKind::Sgd => None,
            OptimiserKind::Adam => Some(vec![0.0; self.parameters.len()]),
        };
        Self { second_moment, ..self }
    }

    /// The parameters that a release of this state holds: of the best evaluation where the job keeps
    /// those and has one, otherwise the newest.
    #[must_use]
    pub fn released(&self) -> &[f32] {
        let best = self.evaluations.as_ref().and_then(|e| e.best.as_ref());
        best.map_or(&self.parameters, |best| &best.parameters)
    }

    /// The same state with a control variate of zeros if the job trains with SCAFFOLD.
    #[must_use]
    pub fn with_control(self, training: &TrainingSpec) -> Self {
        let scaffold = training.local.is_some_and(|local| local.scaffold);
        let control = scaffold.then(|| vec![0.0; self.parameters.len()]);
        Self { control, ..self }
    }

    /// Whether every number of the model, and of its control variate, is finite.
    pub fn is_finite(&self) -> bool {
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        finite(&self.parameters) && self.control.as_deref().is_none_or(finite)
    }

    /// The next training round's clip norm over the job's.
    pub fn clip_factor(&self) -> f64 {
        self.clip_factor.unwrap_or(1.0)
    }

    /// Moves the clip norm: `count` is the noisy sum over the sampled units of plus or minus one half,
    /// plus for those within the clip norm, `batch` the planned number of units. The rule is the first
    /// order of Andrew et al.'s `exp(-rate (b - quantile))`, which needs no mathematical library; a
    /// round moves the norm by at most a factor of two, all rounds by at most a thousand.
    pub fn adapt_clip(&mut self, rule: &AdaptiveClip, count: f64, batch: f64) {
        let within = count / batch + 0.5;
        let step = (1.0 - rule.learning_rate * (within - rule.quantile)).clamp(0.5, 2.0);
        self.clip_factor = Some((self.clip_factor() * step).clamp(1e-3, 1e3));
    }

    /// Applies the statistics round: `sums` are integers in units of `1/scale`.
    pub fn apply_statistics(&mut self, sums: &[i64], scale: f64) {
        let values: Vec<f64> = sums.iter().map(|v| *v as f64 / scale).collect();
        self.normalisation = Normalisation::from_sums(&values);
        self.completed += 1;
    }

    /// Applies one training round: heavy-ball SGD on `sum / (scale * batch)`, Adam, or the adaptive rule
    /// that the job names, the latter where the state has a second moment; `sums` one value per parameter,
    /// integers unless they were turned back.
    ///
    /// `batch` is the public constant B = sum of q N_i; `training_round` counts from 0.
    pub fn apply_training(
        &mut self,
        training: &TrainingSpec,
        training_round: u32,
        sums: impl Iterator<Item = f64>,
        scale: f64,
        batch: f64,
    ) {
        let rate = training.learning_rate_at(training_round);
        let divisor = scale * batch;
        let gradients = sums.map(|v| (v / divisor) as f32);
        let moved = self.parameters.iter_mut().zip(&mut self.momentum);
        match (&mut self.second_moment, &training.server) {
            (Some(second), Some(rule)) => {
                for (((p, m), v), g) in moved.zip(second).zip(gradients) {
                    rule.step(rate, g, p, m, v);
                }
            }
            (Some(second), None) => {
                let (first, (decay, epsilon)) = (training.momentum, ADAM);
                let unbias =
                    |decay: f32| (1.0 - power(f64::from(decay), training_round + 1)) as f32;
                let (first_share, second_share) = (unbias(first), unbias(decay));
                for (((p, m), s), g) in moved.zip(second).zip(gradients) {
                    *m = first * *m + (1.0 - first) * g;
                    *s = decay * *s + (1.0 - decay) * (g * g);
                    *p -= rate * (*m / first_share) / ((*s / second_share).sqrt() + epsilon);
                }
            }
            (None, _) => {
                for ((p, m), g) in moved.zip(gradients) {
                    *m = training.momentum * *m + g;
                    *p -= rate * *m;
                }
            }
        }
        self.completed += 1;
    }

    /// Hash over everything a next round depends on. It covers the job: a certificate of one job is
    /// no certificate of another, even between the same agencies with the same model.
    pub fn hash(&self, job: &JobHash) -> Digest {
        tributary_secagg::hash("tributary/state/v1", &[&job.0, &self.encode()])
    }

    /// Length of [`Self::encode`] as far as it follows from the job alone: without a clip norm that has
    /// moved, and without evaluations.
    pub fn fixed_len(&self) -> usize {
        let third = self.second_moment.is_some() || self.control.is_some();
        fixed_len(self.parameters.len(), third, self.normalisation.mean.len())
    }

    /// Canonical bytes, little endian.
    pub fn encode(&self) -> Vec<u8> {
        let n = &self.normalisation;
        let (second, control) = (self.second_moment.as_deref(), self.control.as_deref());
        let mut out = Vec::with_capacity(self.fixed_len());
        out.extend_from_slice(match (second, control) {
            (Some(_), _) => MAGIC_ADAM,
            (None, Some(_)) => MAGIC_SCAFFOLD,
            (None, None) => MAGIC,
        });
        out.extend_from_slice(&self.completed.to_le_bytes());
        out.extend_from_slice(&(self.parameters.len() as u32).to_le_bytes());
        out.extend_from_slice(&(n.mean.len() as u32).to_le_bytes());
        let second = second.or(control).unwrap_or_default();
        for slice in [&self.parameters[..], &self.momentum, second, &n.mean, &n.inverse_sd] {
            for v in slice {
                out.extend_from_slice(&v.to_le_bytes());
            }
        }
        if let Some(factor) = self.clip_factor {
            out.extend_from_slice(&factor.to_le_bytes());
        }
        if let Some(evaluations) = &self.evaluations {
            evaluations.encode_into(&mut out);
        }
        out
    }

    /// Reads canonical bytes of a state with `parameters` parameters and `features` numeric
    /// features; anything else is refused.
    pub fn decode(bytes: &[u8], parameters: usize, features: usize) -> Result<Self, StateError> {
        let adam = bytes.starts_with(MAGIC_ADAM);
        let scaffold = bytes.starts_with(MAGIC_SCAFFOLD);
        let expected = fixed_len(parameters, adam || scaffold, features);
        let wrong = || StateError(format!("{} bytes, expected {expected}", bytes.len()));
        let (bytes, rest) = bytes.split_at_checked(expected).ok_or_else(wrong)?;
        let (clip_factor, rest) = match rest.split_first_chunk() {
            Some((factor, rest)) if factor != TAG => (Some(f64::from_le_bytes(*factor)), rest),
            _ => (None, rest),
        };
        if clip_factor.is_some_and(|f| !(1e-3..=1e3).contains(&f)) {
            return Err(StateError("a clip norm out of bounds".into()));
        }
        let evaluations = match rest {
            [] => None,
            rest => Some(Evaluations::decode(rest, parameters).ok_or_else(wrong)?),
        };
        let (header, body) = bytes.split_at(20);
        let word = |i: usize| {
            let mut w = [0; 4];
            w.copy_from_slice(&header[8 + i * 4..12 + i * 4]);
            u32::from_le_bytes(w)
        };
        if !adam && !scaffold && &header[..8] != MAGIC {
            return Err(StateError("unknown format".into()));
        }
        if word(1) as usize != parameters || word(2) as usize != features {
            return Err(StateError("another model's shape".into()));
        }
        let mut floats = body.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        let mut take = |n: usize| -> Vec<f32> { floats.by_ref().take(n).collect() };
        Ok(Self {
            completed: word(0),
            parameters: take(parameters),
            momentum: take(parameters),
            second_moment: adam.then(|| take(parameters)),
            control: scaffold.then(|| take(parameters)),
            normalisation: Normalisation { mean: take(features), inverse_sd: take(features) },
            clip_factor,
            evaluations,
        })
    }
}

/// Bytes of the header, of two or three vectors of parameters, and of the normalisation.
fn fixed_len(parameters: usize, third: bool, features: usize) -> usize {
    20 + (parameters * (2 + usize::from(third)) + features * 2) * 4
}

/// `base^exponent` by squaring: products alone, in an order that the exponent fixes.
pub(crate) fn power(base: f64, mut exponent: u32) -> f64 {
    let (mut square, mut out) = (base, 1.0);
    while exponent > 0 {
        if exponent % 2 == 1 {
            out *= square;
        }
        square *= square;
        exponent /= 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ModelSpec;

    fn state() -> ModelState {
        let layout = ParameterLayout::of(&ModelSpec::Mlp { hidden: vec![3] }, 2, 1);
        ModelState::initial(&layout, 2, 1)
    }

    #[test]
    fn bytes_round_trip_and_foreign_bytes_are_refused() {
        let state = state();
        let bytes = state.encode();
        let d = state.parameters.len();
        assert_eq!(ModelState::decode(&bytes, d, 2).unwrap(), state);
        assert!(ModelState::decode(&bytes[1..], d, 2).is_err());
        assert!(ModelState::decode(&bytes, d + 1, 2).is_err());
        let mut other = bytes.clone();
        other[0] ^= 1;
        assert!(ModelState::decode(&other, d, 2).is_err());
    }

    #[test]
    fn the_clip_norm_follows_the_quantile_and_travels_with_the_state() {
        let rule = AdaptiveClip { quantile: 0.5, learning_rate: 0.2, count_noise: None };
        let mut s = state();
        let plain = s.encode();
        // All of 100 within: too wide. None within: too narrow. Half: as it should be.
        s.adapt_clip(&rule, 50.0, 100.0);
        assert_eq!(s.clip_factor(), 0.9);
        s.adapt_clip(&rule, -50.0, 100.0);
        assert!((s.clip_factor() - 0.99).abs() < 1e-12);
        let before = s.clip_factor();
        s.adapt_clip(&rule, 0.0, 100.0);
        assert_eq!(s.clip_factor(), before);
        let (bytes, d) = (s.encode(), s.parameters.len());
        assert_eq!(bytes.len(), plain.len() + 8);
        assert_eq!(ModelState::decode(&bytes, d, 2).unwrap(), s);
        // Absurd noise moves it by at most two, and never out of bounds.
        for _ in 0..100 {
            s.adapt_clip(&rule, -1e9, 1.0);
        }
        assert_eq!(s.clip_factor(), 1e3);
        s.clip_factor = Some(f64::NAN);
        assert!(ModelState::decode(&s.encode(), d, 2).is_err());
    }

    #[test]
    fn evaluations_travel_with_the_state_and_its_hash_covers_them() {
        use crate::history::Best;
        let mut s = state();
        let (d, job) = (s.parameters.len(), JobHash([1; 32]));
        let plain = s.hash(&job);
        s.evaluations = Some(Evaluations::default());
        let none = s.hash(&job);
        let evaluations = s.evaluations.as_mut().unwrap();
        evaluations.sums = vec![vec![1, -2, 3], vec![4, 5, 6]];
        let two = s.hash(&job);
        let best = Best { evaluation: 1, parameters: vec![0.5; d] };
        s.evaluations.as_mut().unwrap().best = Some(best);
        let hashes = [plain, none, two, s.hash(&job)];
        assert!((0..4).all(|i| (0..i).all(|j| hashes[i] != hashes[j])));
        assert_eq!(s.released(), vec![0.5; d]);
        for factor in [None, Some(0.5)] {
            s.clip_factor = factor;
            let bytes = s.encode();
            assert_eq!(ModelState::decode(&bytes, d, 2).unwrap(), s);
            assert!(ModelState::decode(&bytes[..bytes.len() - 1], d, 2).is_err());
            assert!(ModelState::decode(&[&bytes[..], &[0]].concat(), d, 2).is_err());
        }
    }

    #[test]
    fn a_training_step_is_heavy_ball_sgd() {
        let training = TrainingSpec {
            rounds: 2,
            learning_rate: 0.5,
            final_learning_rate: None,
            momentum: 0.5,
            optimiser: OptimiserKind::Sgd,
            seed: 0,
            server: None,
            local: None,
        };
        let mut s = state();
        let before = s.parameters[0];
        let sums = || std::iter::repeat_n(200.0, 99);
        s.apply_training(&training, 0, sums(), 10.0, 10.0);
        assert_eq!(s.parameters[0], before - 0.5 * 2.0);
        let after_one = s.parameters[0];
        s.apply_training(&training, 1, sums(), 10.0, 10.0);
        assert_eq!(s.parameters[0], after_one - 0.5 * 3.0);
        assert_eq!(s.completed, 2);
    }

    #[test]
    fn an_adaptive_step_has_second_moments_that_travel_with_the_state() {
        use crate::server_rule::{Rule, ServerRule};
        let rule = ServerRule { rule: Rule::Yogi, beta1: 0.0, beta2: 0.5, tau: 0.5 };
        let training = TrainingSpec {
            rounds: 2,
            learning_rate: 0.5,
            final_learning_rate: None,
            momentum: 0.0,
            optimiser: OptimiserKind::Sgd,
            seed: 0,
            server: Some(rule),
            local: None,
        };
        let mut s = state();
        let d = s.parameters.len();
        s.second_moment = Some(rule.initial(d));
        let before = s.parameters[0];
        let plain = state().encode().len();
        s.apply_training(&training, 0, std::iter::repeat_n(200.0, d), 10.0, 10.0);
        // v = 0.25 + 0.5 * 4, the step 0.5 * 2 / (1.5 + 0.5).
        assert_eq!((s.second_moment.as_ref().unwrap()[0], s.parameters[0]), (2.25, before - 0.5));
        let bytes = s.encode();
        assert_eq!(bytes.len(), plain + 4 * d);
        assert_eq!(ModelState::decode(&bytes, d, 2).unwrap(), s);
        let mut other = s.clone();
        other.second_moment.as_mut().unwrap()[1] += 1.0;
        assert_ne!(other.hash(&JobHash([1; 32])), s.hash(&JobHash([1; 32])));
    }

    #[test]
    fn adam_follows_its_definition_and_its_state_comes_back() {
        let training = TrainingSpec {
            rounds: 3,
            learning_rate: 0.1,
            final_learning_rate: None,
            momentum: 0.9,
            optimiser: OptimiserKind::Adam,
            seed: 0,
            server: None,
            local: None,
        };
        let mut s = state().with_optimiser(OptimiserKind::Adam);
        let d = s.parameters.len();
        let mut plain = f64::from(s.parameters[0]);
        let (mut m, mut v) = (0.0f64, 0.0f64);
        for (round, sum) in [(0u32, 50i64), (1, -20), (2, 5)] {
            s.apply_training(&training, round, std::iter::repeat_n(sum as f64, d), 10.0, 10.0);
            let g = sum as f64 / 100.0;
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            let t = round as i32 + 1;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.99f64.powi(t)));
            plain -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(s.parameters[0]) - plain).abs() < 1e-5, "{round}");
        }
        let bytes = s.encode();
        assert_eq!(ModelState::decode(&bytes, d, 2).unwrap(), s);
        // Neither is read as the other, whatever the lengths.
        let mut other = bytes.clone();
        other[7] = b'1';
        assert!(ModelState::decode(&other, d, 2).is_err());
        let mut short = state().encode();
        short[7] = b'2';
        assert!(ModelState::decode(&short, d, 2).is_err());
        s.clip_factor = Some(2.0);
        assert_eq!(ModelState::decode(&s.encode(), d, 2).unwrap(), s);
    }

    #[test]
    fn the_hash_covers_job_momentum_and_round() {
        let (a, job) = (state(), JobHash([1; 32]));
        let mut b = a.clone();
        b.momentum[0] = 1.0;
        let mut c = a.clone();
        c.completed = 1;
        assert_ne!(a.hash(&job), b.hash(&job));
        assert_ne!(a.hash(&job), c.hash(&job));
        assert_ne!(a.hash(&job), a.hash(&JobHash([2; 32])));
    }

    #[test]
    fn impossible_noisy_moments_are_clamped() {
        let n = Normalisation::from_sums(&[-5.0, 100.0, -3.0, 100.0, 0.0, 25.0]);
        assert_eq!(n.mean, [1.0, 0.0]);
        assert_eq!(n.inverse_sd, [100.0, 2.0]);
    }
}
