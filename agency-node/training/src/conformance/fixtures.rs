//! Models, parameters and batches for the suite, all from fixed seeds.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use tributary_job::ParameterLayout;
use tributary_job::spec::ModelSpec;

use super::Make;
use crate::batch::{Batch, Rows};
use crate::mlp::MlpShape;
use crate::trainer::Trainer;

/// A trainer with a model and parameters for it.
pub(super) struct Case {
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) shape: MlpShape,
    pub(super) parameters: Vec<f32>,
}

/// Rows with labels that own their memory.
#[derive(Clone)]
pub(super) struct Records {
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
    pub(super) labels: Vec<f32>,
}

/// Logistic regression, one and two hidden layers, odd and even widths (small ones have kernels of
/// their own in many libraries), and the size of a real job.
pub(super) fn cases(make: Make<'_>) -> Vec<Case> {
    let models: [(&[u32], usize); 6] =
        [(&[], 7), (&[5], 3), (&[10], 5), (&[8, 4], 6), (&[33, 17], 19), (&[64], 82)];
    models.iter().map(|(hidden, inputs)| case(make, hidden, *inputs)).collect()
}

/// One model with its initial parameters.
pub(super) fn case(make: Make<'_>, hidden: &[u32], inputs: usize) -> Case {
    let model = ModelSpec::Mlp { hidden: hidden.to_vec() };
    let trainer = make(&model, inputs);
    let parameters = ParameterLayout::of(&model, inputs).initial_parameters(11);
    assert_eq!(trainer.dimension(), parameters.len(), "dimension of {model:?}");
    Case { trainer, shape: MlpShape::of(&model, inputs), parameters }
}

impl Case {
    pub(super) fn clipped(&mut self, records: &Records, clip: f64) -> Vec<f64> {
        let sum = self.trainer.clipped_gradient_sum(&self.parameters, &records.batch(), clip);
        sum.expect("a valid call").sum
    }

    pub(super) fn plain(&mut self, records: &Records) -> Vec<f64> {
        let sum = self.trainer.gradient_sum(&self.parameters, &records.batch());
        sum.expect("a valid call")
    }

    pub(super) fn predict(&mut self, records: &Records) -> Vec<f32> {
        let rows = records.batch().rows();
        self.trainer.predict(&self.parameters, rows).expect("a valid call")
    }
}

impl Records {
    /// Values uniform in `[-scale, scale]`, fair labels.
    pub(super) fn random(count: usize, width: usize, scale: f32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let values = (0..count * width).map(|_| random.within(scale)).collect();
        let labels = (0..count).map(|_| if random.coin() { 1.0 } else { 0.0 }).collect();
        Self { width, values, labels }
    }

    /// As many copies of one row.
    pub(super) fn constant(count: usize, width: usize, value: f32) -> Self {
        Self { width, values: vec![value; count * width], labels: vec![0.0; count] }
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        let rows = Rows::new(&self.values, self.width).expect("whole rows");
        Batch::new(rows, &self.labels).expect("one label per row")
    }

    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The records at these places, in this order.
    pub(super) fn select(&self, places: impl IntoIterator<Item = usize>) -> Self {
        let mut out = Self { width: self.width, values: Vec::new(), labels: Vec::new() };
        for i in places {
            out.values.extend_from_slice(self.row(i));
            out.labels.push(self.labels[i]);
        }
        out
    }

    /// Overwrites the record at `to` with one of another set.
    pub(super) fn put(&mut self, to: usize, other: &Self, from: usize) {
        self.values[to * self.width..(to + 1) * self.width].copy_from_slice(other.row(from));
        self.labels[to] = other.labels[from];
    }
}

/// Seeded draws.
pub(super) struct Random(ChaCha20Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    pub(super) fn within(&mut self, scale: f32) -> f32 {
        ((f64::from(self.0.next_u32()) / 2_147_483_648.0 - 1.0) * f64::from(scale)) as f32
    }

    pub(super) fn coin(&mut self) -> bool {
        self.0.next_u32() & 1 == 1
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.next_u32() as usize % from.len()]
    }
}

/// L2 norm.
pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// L2 norm of the difference.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(x, y)| x - y).collect::<Vec<_>>())
}
