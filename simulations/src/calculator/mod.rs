//! The privacy calculator: of epsilon, noise, sampling rate and rounds three are given and the fourth
//! follows; with a federation, epsilon against the four adversaries and the bits of a lane.
//!
//! Knows no job, file or data. Bounds come from the Renyi accountant; what is called an estimate comes
//! from privacy-loss distributions and is never charged.

mod table;
mod text;

use serde::Serialize;
use tributary_dp::{
    Adversary, Compact, DpError, FixedReleases, JobPrivacy, LossMechanism, NoiseScope, RdpCurve,
    Release, ReleaseParameters, calibrate, epsilon_for_noise, max_sampling_rate, max_steps,
    pld_epsilon,
};

pub use table::{Sweep, SweepRow};

use crate::error::SimulationError;

/// Hard cap on the units in a node's batch that is assumed: it decides the width of a lane.
const ASSUMED_UNITS: u64 = 10_000;
/// Rounding in a node's sum that is assumed, as in a job.
const FLOAT_ERROR: f64 = 1e-6;

/// What is given; exactly three of the first four.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Epsilon of all rounds.
    pub epsilon: Option<f64>,
    /// Noise multiplier z: honest noise over sensitivity.
    pub noise_multiplier: Option<f64>,
    /// Poisson sampling rate q.
    pub sampling_rate: Option<f64>,
    /// Rounds, retries included.
    pub rounds: Option<u32>,
    /// Delta of all rounds.
    pub delta: f64,
    /// Who takes part; without it the noise is one central share.
    pub federation: Option<Federation>,
}

/// The parties of secure aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Federation {
    /// Nodes n.
    pub nodes: u16,
    /// Smallest survivor set that is opened.
    pub min_survivors: u16,
    /// Colluding nodes tolerated; at least one is assumed.
    pub colluders: u16,
    /// Parameters of the model.
    pub dimension: usize,
}

/// The four quantities, all known, and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Which of the four was calculated.
    pub calculated: &'static str,
    /// Noise multiplier z.
    pub noise_multiplier: f64,
    /// Poisson sampling rate q.
    pub sampling_rate: f64,
    /// Rounds.
    pub rounds: u32,
    /// Delta.
    pub delta: f64,
    /// Epsilon, upper bound; with a federation the one in the book.
    pub epsilon_bound: f64,
    /// Renyi order that gave the bound.
    pub order: u32,
    /// Epsilon, numerical estimate; absent where the noise is too small for one.
    pub epsilon_estimate: Option<f64>,
    /// The four adversaries, if there is a federation.
    pub adversaries: Vec<Against>,
    /// What a vector takes in wide encoding, if there is a federation.
    pub lanes: Option<Lanes>,
    /// Bytes against noise of every encoding, if there is a federation.
    pub encodings: Vec<Encoding>,
}

/// What holds against one adversary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// Who looks.
    pub adversary: Adversary,
    /// Noise shares that it does not know.
    pub honest_shares: u16,
    /// Upper bound; absent if none can be stated.
    pub epsilon_bound: Option<f64>,
    /// Numerical estimate.
    pub epsilon_estimate: Option<f64>,
}

/// Bytes and noise of one encoding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Encoding {
    /// `privacy.compact.resolution` of a job; absent for the wide encoding.
    pub resolution: Option<f64>,
    /// Bits of a lane.
    pub bits: u8,
    /// Bytes of a node's vector and round, packed.
    pub vector_bytes: u64,
    /// Noise over what it would be if nothing were rounded.
    pub relative_noise: f64,
}

/// What a vector takes on the wire in wide encoding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lanes {
    /// Parameters.
    pub dimension: usize,
    /// Bits of a lane: the sum with its noise fits.
    pub bits: u8,
    /// Bytes of a parameter, packed.
    pub bytes_per_parameter: f64,
    /// Bytes of a node's vector and round, packed.
    pub vector_bytes: u64,
    /// Parameter of one node's noise, in integer units.
    pub sigma_local: f64,
}

impl Question {
    /// Calculates what is not given.
    ///
    /// # Errors
    /// If not exactly three of the four are given, or a number is outside its domain; the message
    /// says what to change.
    pub fn answer(&self) -> Result<Answer, SimulationError> {
        self.solve().map_err(|e| match e {
            Failure::Settings(text) => SimulationError::Settings(text),
            Failure::Accountant(e) => SimulationError::Settings(e.to_string()),
        })
    }

    fn solve(&self) -> Result<Answer, Failure> {
        let none = RdpCurve::zero();
        let delta = self.delta;
        let (calculated, z, q, rounds) = match self.given() {
            (Some(target), None, Some(q), Some(t)) => {
                let z = match &self.federation {
                    Some(federation) => {
                        let shape = federation.parameters(1.0, q);
                        let job = JobPrivacy::calibrate(
                            target,
                            delta,
                            FixedReleases::default(),
                            &shape,
                            t,
                        )?;
                        job.training.parameters.noise_multiplier
                    }
                    None => calibrate(target, delta, &none, t, q, &none)?,
                };
                ("noise multiplier", z, q, t)
            }
            (None, Some(z), Some(q), Some(t)) => ("epsilon", z, q, t),
            (Some(target), Some(z), Some(q), None) => {
                let t = max_steps(target, delta, &none, q, z, &none)?;
                if t == 0 {
                    return Err(Failure::Settings(format!(
                        "not even one round fits into epsilon {target} at noise multiplier {z}; \
                         raise --epsilon or --noise-multiplier, or lower --sampling-rate"
                    )));
                }
                ("rounds", z, q, t)
            }
            (Some(target), Some(z), None, Some(t)) => {
                let q = max_sampling_rate(target, delta, &none, t, z, &none)?;
                ("sampling rate", z, q, t)
            }
            _ => {
                return Err(Failure::Settings(
                    "give exactly three of --epsilon, --noise-multiplier, --sampling-rate and \
                     --rounds: the fourth is calculated (or --job JOB.toml for a whole job)"
                        .to_owned(),
                ));
            }
        };
        let mut answer = Answer {
            calculated,
            noise_multiplier: z,
            sampling_rate: q,
            rounds,
            delta,
            epsilon_bound: 0.0,
            order: 0,
            epsilon_estimate: None,
            adversaries: Vec::new(),
            lanes: None,
            encodings: Vec::new(),
        };
        match &self.federation {
            None => {
                let bound = epsilon_for_noise(z, delta, &none, rounds, q, &none)?;
                (answer.epsilon_bound, answer.order) = (bound.epsilon, bound.order);
                let sampled =
                    LossMechanism::SampledGaussian { sampling_rate: q, noise_multiplier: z };
                answer.epsilon_estimate = pld_epsilon(&[(sampled, rounds)], delta).ok();
            }
            Some(federation) => answer.against(federation)?,
        }
        Ok(answer)
    }

    fn given(&self) -> (Option<f64>, Option<f64>, Option<f64>, Option<u32>) {
        (self.epsilon, self.noise_multiplier, self.sampling_rate, self.rounds)
    }
}

impl Answer {
    /// Fills in the adversaries and the lanes.
    fn against(&mut self, federation: &Federation) -> Result<(), Failure> {
        let parameters = federation.parameters(self.noise_multiplier, self.sampling_rate);
        let training = Release::derive(&parameters)?;
        let job = JobPrivacy {
            statistics: None,
            statistics_releases: 0,
            evaluation: None,
            evaluation_releases: 0,
            training,
            training_releases: self.rounds,
            delta: self.delta,
        };
        let book = job.epsilon()?;
        (self.epsilon_bound, self.order) = (book.epsilon, book.order);
        self.adversaries = Adversary::ALL
            .into_iter()
            .map(|adversary| Against {
                adversary,
                honest_shares: adversary.honest_shares(&job.training),
                epsilon_bound: job.guarantee(adversary).ok().map(|g| g.epsilon.epsilon),
                epsilon_estimate: job.pld_estimate(adversary).ok(),
            })
            .collect();
        let book = self.adversaries.iter().find(|a| a.adversary == Adversary::Colluders);
        self.epsilon_estimate = book.and_then(|a| a.epsilon_estimate);
        let bits = job.training.lane_bits;
        self.lanes = Some(Lanes {
            dimension: federation.dimension,
            bits,
            bytes_per_parameter: f64::from(bits) / 8.0,
            vector_bytes: packed_bytes(federation.dimension, bits),
            sigma_local: job.training.sigma_local,
        });
        self.encodings = Encoding::table(&parameters);
        Ok(())
    }
}

impl Encoding {
    /// Wide, and compact at the resolutions from 8 down to 1/2; those that do not fit are left out.
    fn table(parameters: &ReleaseParameters) -> Vec<Self> {
        let of = |resolution: Option<f64>| {
            let compact = resolution.map(|resolution| Compact { resolution });
            let release =
                Release::derive(&ReleaseParameters { compact, ..parameters.clone() }).ok()?;
            let unit = release.scale * parameters.clip_norm;
            Some(Self {
                resolution,
                bits: release.lane_bits,
                vector_bytes: packed_bytes(parameters.dimension, release.lane_bits),
                relative_noise: release.sensitivity / unit,
            })
        };
        let compact = [8.0, 4.0, 2.0, 1.0, 0.5].map(Some);
        [None].into_iter().chain(compact).filter_map(of).collect()
    }
}

/// Bytes of `dimension` lanes of `bits` bits, packed.
fn packed_bytes(dimension: usize, bits: u8) -> u64 {
    (dimension as u64 * u64::from(bits)).div_ceil(8)
}

impl Federation {
    fn parameters(&self, noise_multiplier: f64, sampling_rate: f64) -> ReleaseParameters {
        ReleaseParameters {
            clip_norm: 1.0,
            dimension: self.dimension,
            noise_multiplier,
            sampling_rate,
            cohort: self.nodes,
            min_survivors: self.min_survivors,
            colluders: self.colluders,
            float_error: FLOAT_ERROR,
            max_units_per_node: ASSUMED_UNITS,
            noise: NoiseScope::Distributed,
            count_noise: None,
            compact: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    Settings(String),
    Accountant(DpError),
}

impl From<DpError> for Failure {
    fn from(e: DpError) -> Self {
        Self::Accountant(e)
    }
}

#[cfg(test)]
mod tests;
