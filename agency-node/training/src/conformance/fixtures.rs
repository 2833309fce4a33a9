//! Models, parameters and batches for the suite, all from fixed seeds.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use tributary_job::ParameterLayout;
use tributary_job::spec::ModelSpec;

use super::oracle::Subject;
use super::{Model, Over};
use crate::batch::{Batch, MICROBATCH, Rows};
use crate::trainer::{ClippedSum, Trainer};

/// A trainer with a model and parameters for it.
pub(super) struct Case {
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) model: ModelSpec,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
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
/// their own in many libraries), the size of a real job, and several classes.
pub(super) fn perceptrons() -> Vec<Model> {
    let models: [(&[u32], usize, usize); 9] = [
        (&[], 7, 1),
        (&[5], 3, 1),
        (&[10], 5, 1),
        (&[8, 4], 6, 1),
        (&[33, 17], 19, 1),
        (&[64], 82, 1),
        (&[], 30, 10),
        (&[9], 5, 2),
        (&[16], 12, 17),
    ];
    let model = |(hidden, inputs, outputs): &(&[u32], usize, usize)| {
        (ModelSpec::Mlp { hidden: hidden.to_vec() }, *inputs, *outputs)
    };
    models.iter().map(model).collect()
}

/// Every model with a trainer and its initial parameters.
pub(super) fn cases(over: &Over<'_>) -> Vec<Case> {
    over.models.iter().map(|model| case(over, model)).collect()
}

/// One model with its initial parameters, or made-up ones where those tell nothing apart.
fn case(over: &Over<'_>, (model, inputs, outputs): &Model) -> Case {
    let trainer = (over.make)(model, *inputs, *outputs);
    let mut parameters = ParameterLayout::of(model, *inputs, *outputs).initial_parameters(11);
    assert_eq!(trainer.dimension(), parameters.len(), "dimension of {model:?}");
    if matches!(model, ModelSpec::Cox { .. }) {
        let mut random = Random::new(11);
        parameters.fill_with(|| random.within(0.5));
    }
    Case { trainer, model: model.clone(), inputs: *inputs, outputs: *outputs, parameters }
}

impl Case {
    /// Records for this model.
    pub(super) fn random(&self, count: usize, scale: f32, seed: u64) -> Records {
        self.random_of(count, self.inputs, scale, seed)
    }

    /// Records of any width: values uniform in `[-scale, scale]`, fair labels; times to an event run
    /// past the last interval.
    pub(super) fn random_of(&self, count: usize, width: usize, scale: f32, seed: u64) -> Records {
        let mut random = Random::new(seed);
        let values = (0..count * width).map(|_| random.within(scale)).collect();
        let last = self.horizon();
        let label = |_| match last {
            None => random.below(self.outputs.max(2)) as f32,
            Some(last) => random.within(last * 1.3),
        };
        Records { width, values, labels: (0..count).map(label).collect() }
    }

    /// The end of the last interval, of a model of times to an event.
    fn horizon(&self) -> Option<f32> {
        match &self.model {
            ModelSpec::Cox { intervals } => intervals.last().map(|end| *end as f32),
            _ => None,
        }
    }

    /// The model as the oracle sees it.
    pub(super) fn subject(&self) -> Subject {
        Subject::of(&self.model, self.inputs, self.outputs)
    }

    /// Clipped per unit.
    pub(super) fn clipped_units(
        &mut self,
        records: &Records,
        lengths: &[u32],
        clip: f64,
    ) -> ClippedSum {
        let batch = Batch::with_units(records.batch().rows(), &records.labels, lengths);
        let batch = batch.expect("units that cover the rows");
        let sum = self.trainer.clipped_gradient_sum(&self.parameters, &batch, clip);
        sum.expect("a valid call")
    }

    /// The bits of one row's prediction.
    pub(super) fn predicted_bits(&mut self, records: &Records, row: usize) -> Vec<u32> {
        let outputs = self.outputs;
        let predicted = self.predict(records);
        predicted[row * outputs..(row + 1) * outputs].iter().map(|p| p.to_bits()).collect()
    }

    /// Records with an exactly zero gradient although every value is finite: the model is so sure of
    /// their labels that the probability of everything else is exactly 0.
    pub(super) fn certain(&mut self, count: usize) -> Records {
        if self.horizon().is_some() {
            // Lost sight of at once: nothing was seen of it.
            let mut nothing = self.random(count, 1.0, 9);
            nothing.labels.fill(-0.0);
            assert_eq!(norm(&self.clipped(&nothing, 1.0)), 0.0, "no time, no gradient");
            return nothing;
        }
        let outputs = self.outputs;
        let mut pool = self.random(4 * MICROBATCH, 1e4, 9);
        let predicted = self.predict(&pool);
        let mut sure = Vec::new();
        for (i, row) in predicted.chunks_exact(outputs).enumerate() {
            if row.iter().all(|p| matches!(p, 0.0 | 1.0)) {
                let class = row.iter().position(|p| *p == 1.0);
                pool.labels[i] = if outputs == 1 { row[0] } else { class.unwrap_or(0) as f32 };
                sure.push(i);
            }
        }
        let certain = pool.select(sure.into_iter().cycle().take(count));
        assert_eq!(certain.len(), count, "the fixture has certain records");
        assert_eq!(norm(&self.clipped(&certain, 1.0)), 0.0, "certain records have no gradient");
        certain
    }

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

    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0.next_u32() as usize % count
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
