//! A sweep: noise for a grid of epsilons and rounds.

use serde::Serialize;

use super::Question;
use crate::error::SimulationError;

/// Epsilons of a sweep.
const EPSILONS: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];
/// Rounds of a sweep if none are given.
const ROUNDS: [u32; 3] = [100, 300, 1000];

/// A sweep over epsilon and rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// Poisson sampling rate.
    pub sampling_rate: f64,
    /// Delta.
    pub delta: f64,
    /// By epsilon, then rounds.
    pub rows: Vec<SweepRow>,
}

/// One line of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepRow {
    /// Epsilon asked for.
    pub epsilon: f64,
    /// Rounds.
    pub rounds: u32,
    /// Noise multiplier that meets it; absent if none does.
    pub noise_multiplier: Option<f64>,
    /// Upper bound reached.
    pub epsilon_bound: Option<f64>,
    /// Numerical estimate.
    pub epsilon_estimate: Option<f64>,
    /// Bits of a lane, with a federation.
    pub lane_bits: Option<u8>,
}

impl Sweep {
    /// The sweep of a question: its sampling rate and delta, its rounds (half, once, twice) or 100,
    /// 300, 1000, and epsilon 0.5 to 8.
    ///
    /// # Errors
    /// If a sampling rate is missing or a number is outside its domain.
    pub fn of(question: &Question) -> Result<Self, SimulationError> {
        let Some(sampling_rate) = question.sampling_rate else {
            let text = "--table needs --sampling-rate; --rounds is optional";
            return Err(SimulationError::Settings(text.to_owned()));
        };
        if question.epsilon.is_some() || question.noise_multiplier.is_some() {
            let text = "--table goes through epsilons and calculates the noise: leave --epsilon and \
                        --noise-multiplier out";
            return Err(SimulationError::Settings(text.to_owned()));
        }
        let rounds = match question.rounds {
            Some(t) => [t.div_ceil(2), t, t.saturating_mul(2)],
            None => ROUNDS,
        };
        // What is wrong with the other numbers is said once, not in every line.
        let probe = Question { noise_multiplier: Some(1.0), rounds: Some(1), ..question.clone() };
        let federation = None;
        Question { federation, ..probe }.answer()?;
        let mut rows = Vec::new();
        for epsilon in EPSILONS {
            for rounds in rounds {
                let line =
                    Question { epsilon: Some(epsilon), rounds: Some(rounds), ..question.clone() };
                let answer = line.answer().ok();
                rows.push(SweepRow {
                    epsilon,
                    rounds,
                    noise_multiplier: answer.as_ref().map(|a| a.noise_multiplier),
                    epsilon_bound: answer.as_ref().map(|a| a.epsilon_bound),
                    epsilon_estimate: answer.as_ref().and_then(|a| a.epsilon_estimate),
                    lane_bits: answer.and_then(|a| a.lanes).map(|lanes| lanes.bits),
                });
            }
        }
        Ok(Self { sampling_rate, delta: question.delta, rows })
    }
}
