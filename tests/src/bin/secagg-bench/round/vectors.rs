//! The vectors of a measured round and the arithmetic between parameters and lanes, the same at the
//! nodes and at the aggregator.
//!
//! A node hands in the global model plus its own step, 0.005 or 0.015 a parameter in turn, 0.01 in
//! the mean; the next model is the mean of what was handed in. So the aggregator knows the exact
//! mean before rounding, and from what the nodes write down the exact sum after it.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tributary_dp::{SecretRng, quantise_into_lanes, quantise_into_narrow_lanes};
use tributary_secagg::{CHUNK_LANES, LaneBits, Lanes};

use crate::federation::Size;
use crate::usage::Cpu;

/// Coordinates of a vector that a node writes down.
const SAMPLES: usize = 64;
/// Parameters that are worked on together.
const GROUP: usize = 8;
/// The two steps.
const STEPS: [f32; 2] = [0.005, 0.015];

/// From parameters to lanes and back.
#[derive(Debug, Clone, Copy)]
pub struct Arithmetic {
    bits: LaneBits,
    nodes: u16,
    clamp: i64,
    scale: f64,
    /// From a sum's integer to the mean.
    factor: f64,
}

/// What a node writes down about the integers it handed in: all of it adds up modulo 2 to the lane
/// width.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checks {
    /// Sum of each chunk's lanes.
    pub chunks: Vec<u32>,
    /// Lanes at fixed places.
    pub samples: Vec<u32>,
}

/// What a node says about a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandedIn {
    /// Its integers.
    pub checks: Checks,
    /// Processor time it had used by then.
    pub cpu: Cpu,
}

impl Arithmetic {
    /// For that many rounds, with as fine a step as the ring allows.
    pub fn new(size: &Size, bits: LaneBits, rounds: u32) -> Self {
        let clamp = ((1i64 << (bits.bits() - 1)) - 1) / i64::from(size.nodes.max(1));
        // The first model lies within 0.1, and every round adds at most the larger step.
        let largest = 0.1 + f64::from(rounds + 2) * f64::from(STEPS[1]);
        let scale = clamp as f64 / largest;
        let factor = 1.0 / (scale * f64::from(size.nodes.max(1)));
        Self { bits, nodes: size.nodes, clamp, scale, factor }
    }

    /// The distance between two neighbouring values of a parameter.
    pub fn step(&self) -> f64 {
        1.0 / self.scale
    }

    /// The model that a job begins with.
    pub fn first_model(dim: u32) -> Vec<f32> {
        let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0;
        (0..dim).map(|i| 0.2 * value(i) - 0.1).collect()
    }

    /// A node's parameters for the next round: the model plus its own step.
    pub fn stepped(&self, mut model: Vec<f32>, node: u16) -> Vec<f32> {
        let steps = steps_of(node);
        model.iter_mut().enumerate().for_each(|(i, value)| *value += steps[i % 2]);
        model
    }

    /// A node's vector: its parameters rounded to lanes. `spare` is memory that is not needed any
    /// more; fresh memory costs more than the arithmetic.
    pub fn hand_in(
        &self,
        parameters: &[f32],
        rng: &mut SecretRng,
        spare: Option<Lanes>,
    ) -> (Lanes, Checks) {
        let (scale, clamp) = (self.scale, self.clamp);
        let lanes = if self.bits.is_narrow() {
            let mut words = if let Some(Lanes::Narrow(words)) = spare { words } else { Vec::new() };
            quantise_into_narrow_lanes(parameters, scale, clamp, rng, &mut words);
            Lanes::from(words)
        } else {
            let mut words = if let Some(Lanes::Wide(words)) = spare { words } else { Vec::new() };
            quantise_into_lanes(parameters, scale, clamp, rng, &mut words);
            Lanes::from(words)
        };
        let checks = self.checks(&lanes);
        (lanes, checks)
    }

    /// Replaces a node's parameters by the mean that a sum stands for, plus its own step.
    ///
    /// # Errors
    /// If the sum is of another length.
    pub fn follow(&self, sum: &Lanes, parameters: &mut [f32], node: u16) -> Result<()> {
        ensure!(sum.len() == parameters.len(), "a sum of {} lanes", sum.len());
        let steps = steps_of(node);
        match sum {
            Lanes::Narrow(words) => self.follow_words(words, parameters, steps),
            Lanes::Wide(words) => self.follow_words(words, parameters, steps),
        }
        Ok(())
    }

    /// Replaces the model by the mean that a sum stands for; the largest difference between that
    /// mean and the exact one.
    ///
    /// # Errors
    /// If the sum is as long as no model.
    pub fn apply(&self, sum: &Lanes, model: &mut [f32]) -> Result<f64> {
        ensure!(sum.len() == model.len(), "a sum of {} lanes", sum.len());
        Ok(match sum {
            Lanes::Narrow(words) => self.apply_words(words, model),
            Lanes::Wide(words) => self.apply_words(words, model),
        })
    }

    /// The checks of a sum of vectors.
    pub fn checks(&self, sum: &Lanes) -> Checks {
        let mut checks = Checks::default();
        match sum {
            Lanes::Narrow(words) => self.note(words, &mut checks),
            Lanes::Wide(words) => self.note(words, &mut checks),
        }
        checks
    }

    /// Adds another vector's checks.
    pub fn add(&self, checks: &mut Checks, other: &Checks) {
        let mask = self.mask();
        let pairs = |a: &mut Vec<u32>, b: &[u32]| {
            a.resize(b.len(), 0);
            a.iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(*b) & mask);
        };
        pairs(&mut checks.chunks, &other.chunks);
        pairs(&mut checks.samples, &other.samples);
    }

    fn follow_words<W: Copy + Into<u32>>(
        &self,
        words: &[W],
        parameters: &mut [f32],
        steps: [f32; 2],
    ) {
        let (word_groups, last_words) = words.as_chunks::<GROUP>();
        let (value_groups, last_values) = parameters.as_chunks_mut::<GROUP>();
        let next = |i: usize, word: W| self.mean(word.into()) as f32 + steps[i % 2];
        for (words, values) in word_groups.iter().zip(value_groups) {
            for i in 0..GROUP {
                values[i] = next(i, words[i]);
            }
        }
        for (i, (word, value)) in last_words.iter().zip(last_values).enumerate() {
            *value = next(i, *word);
        }
    }

    fn note<W: Copy + Into<u32>>(&self, words: &[W], checks: &mut Checks) {
        let total = |chunk: &[W]| chunk.iter().fold(0u32, |sum, w| sum.wrapping_add((*w).into()));
        checks.chunks.extend(words.chunks(CHUNK_LANES).map(|chunk| total(chunk) & self.mask()));
        let count = SAMPLES.min(words.len());
        let inside = (0..count).filter_map(|k| words.get(k * words.len() / count));
        checks.samples.extend(inside.map(|word| (*word).into() & self.mask()));
    }

    /// Groups of eight, so that the compiler works on several parameters at once.
    fn apply_words<W: Copy + Into<u32>>(&self, words: &[W], model: &mut [f32]) -> f64 {
        let (word_groups, last_words) = words.as_chunks::<GROUP>();
        let (value_groups, last_values) = model.as_chunks_mut::<GROUP>();
        let weights = self.weights();
        let mut largest = [0.0f64; GROUP];
        for (words, values) in word_groups.iter().zip(value_groups) {
            for i in 0..GROUP {
                let error = self.apply_word(words[i].into(), &mut values[i], weights[i % 2]);
                largest[i] = if error > largest[i] { error } else { largest[i] };
            }
        }
        for (i, (word, value)) in last_words.iter().zip(last_values).enumerate() {
            let error = self.apply_word((*word).into(), value, weights[i % 2]);
            largest[i] = largest[i].max(error);
        }
        largest.into_iter().fold(0.0, f64::max)
    }

    /// The share of the nodes that take each step, at even places and at odd ones.
    fn weights(&self) -> [[f64; 2]; 2] {
        let even = f64::from(self.nodes.div_ceil(2)) / f64::from(self.nodes);
        [[even, 1.0 - even], [1.0 - even, even]]
    }

    #[inline(always)]
    fn apply_word(&self, word: u32, value: &mut f32, weights: [f64; 2]) -> f64 {
        let exact =
            weights[0] * f64::from(*value + STEPS[0]) + weights[1] * f64::from(*value + STEPS[1]);
        let mean = self.mean(word);
        *value = mean as f32;
        (mean - exact).abs()
    }

    #[inline(always)]
    fn mean(&self, word: u32) -> f64 {
        let unused = 32 - u32::from(self.bits.bits());
        f64::from((word << unused) as i32 >> unused) * self.factor
    }

    fn mask(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.bits.bits()))
    }
}

/// The steps of a node at even places and at odd ones.
fn steps_of(node: u16) -> [f32; 2] {
    if node.is_multiple_of(2) { STEPS } else { [STEPS[1], STEPS[0]] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_three_is_their_mean_and_its_checks_add_up() {
        for bits in [12, 16, 26, 32] {
            let size = Size { nodes: 3, dim: 70_001, bits };
            let bits = LaneBits::new(bits).unwrap();
            let arithmetic = Arithmetic::new(&size, bits, 5);
            let model = Arithmetic::first_model(size.dim);
            let mut rng = SecretRng::danger_deterministic([1; 32]);
            let (mut sum, mut expected) = (vec![0u32; model.len()], Checks::default());
            for node in 0..3 {
                let own = arithmetic.stepped(model.clone(), node);
                let (lanes, checks) = arithmetic.hand_in(&own, &mut rng, None);
                assert_eq!(checks, arithmetic.checks(&lanes));
                assert_eq!((checks.chunks.len(), checks.samples.len()), (2, SAMPLES));
                arithmetic.add(&mut expected, &checks);
                let lanes: Vec<u32> = match lanes {
                    Lanes::Narrow(words) => words.into_iter().map(u32::from).collect(),
                    Lanes::Wide(words) => words,
                };
                sum.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum = sum.wrapping_add(lane));
            }
            let mut sum = if bits.is_narrow() {
                Lanes::from(sum.into_iter().map(|word| word as u16).collect::<Vec<_>>())
            } else {
                Lanes::from(sum)
            };
            assert_eq!(arithmetic.checks(&sum), expected);
            let mut next = model.clone();
            assert!(arithmetic.apply(&sum, &mut next).unwrap() < arithmetic.step());
            for node in 0..2 {
                let mut own = model.clone();
                arithmetic.follow(&sum, &mut own, node).unwrap();
                assert_eq!(own, arithmetic.stepped(next.clone(), node));
            }
            if let Lanes::Wide(words) = &mut sum {
                words[69_999] = words[69_999].wrapping_add(30);
                assert_ne!(arithmetic.checks(&sum), expected);
                next = model;
                assert!(arithmetic.apply(&sum, &mut next).unwrap() > arithmetic.step());
            }
        }
    }
}
