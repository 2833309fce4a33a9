//! A node's vector for one round: sample, clip, sum, quantise, add the noise share.
//!
//! The order of the privacy argument (see `dp/`): what leaves this function is the only thing
//! derived from records that is ever sent, and only masked.

use tributary_dp::{PreparedNoise, SecretRng};
use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::{ModelState, Operation, OperationPlan};
use tributary_secagg::Lanes;
use tributary_training::{Batch, Dataset, MICROBATCH, Rows, Trainer};

/// Rows whose features are in memory at a time: a whole number of microbatches.
const GROUP: usize = 16 * MICROBATCH;

/// A vector ready to be masked.
pub(super) struct Made {
    /// Two's complement lanes of the plan's width.
    pub(super) lanes: Lanes,
    /// Records without a finite gradient. Stays at the agency.
    pub(super) non_finite: usize,
}

/// Makes the vector and uses the noise up. An empty sample still gives zeros plus noise: whether anything was drawn must
/// not show.
pub(super) fn make(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    noise: Option<PreparedNoise>,
    rng: &mut SecretRng,
) -> Result<Made, String> {
    if operation.release.is_some() && noise.is_none() {
        return Err("a private release without its noise".into());
    }
    // The width of the lanes and the rounding bound cover this many; what is above is left out.
    let most = operation.max_records.min(MAX_RECORDS_PER_NODE);
    let records = data.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    let (sum, non_finite) = match operation.operation {
        Operation::Statistics => {
            let all: Vec<u32> = (0..records as u32).collect();
            (data.statistics_contribution(&all), 0)
        }
        Operation::Training => {
            let rows = tributary_dp::poisson_sample(records, operation.sampling_rate, rng)
                .map_err(|e| e.to_string())?;
            clipped_gradients(operation, data, trainer, state, &rows)?
        }
    };
    if sum.len() != operation.vector_len as usize {
        let (found, planned) = (sum.len(), operation.vector_len);
        return Err(format!("a vector of {found} coordinates, the plan says {planned}"));
    }
    let mut integers = tributary_dp::quantise(&sum, operation.scale, operation.clamp, rng);
    if let Some(noise) = noise {
        noise.add_to(&mut integers).map_err(|e| e.to_string())?;
    }
    Ok(Made { lanes: operation.to_lanes(&integers), non_finite })
}

/// The sum over groups of rows, so that a large batch is never in memory as a whole.
///
/// The tree of additions is one level deeper than the trainer's: within a microbatch, over the
/// microbatches of a group, over groups. The longest chain does not grow by it (see the test), and
/// the bound of `float_error` holds for any order of additions along chains of that length.
fn clipped_gradients(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    rows: &[u32],
) -> Result<(Vec<f64>, usize), String> {
    let mut total = vec![0.0; trainer.dimension()];
    let (mut non_finite, mut features) = (0, Vec::new());
    for group in rows.chunks(GROUP) {
        data.features(group, &state.normalisation, &mut features);
        let labels = data.labels(group);
        let rows = Rows::new(&features, data.input_width()).map_err(|e| e.to_string())?;
        let batch = Batch::new(rows, &labels).map_err(|e| e.to_string())?;
        let clipped = trainer
            .clipped_gradient_sum(&state.parameters, &batch, operation.clip_norm)
            .map_err(|e| e.to_string())?;
        if clipped.sum.len() != total.len() {
            return Err("the trainer's sums differ in length".into());
        }
        total.iter_mut().zip(&clipped.sum).for_each(|(t, s)| *t += s);
        non_finite += clipped.non_finite;
    }
    Ok((total, non_finite))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::plan::FLOAT_ERROR;
    use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, ModelSpec, Transform};
    use tributary_job::{Normalisation, ParameterLayout};
    use tributary_training::{ClippedSum, ReferenceTrainer, TrainerError};

    #[test]
    fn the_plan_allows_for_the_rounding_of_every_summation_used() {
        let records = MAX_RECORDS_PER_NODE;
        assert!(tributary_training::float_error(records as usize) <= FLOAT_ERROR);
        assert!(tributary_dp::summation_error(records).unwrap() <= FLOAT_ERROR);
        assert!(records as usize <= tributary_training::trainer::MAX_RECORDS);
    }

    #[test]
    fn summing_by_groups_lengthens_no_chain_of_additions() {
        // The first addition to zero is exact and rounds nothing.
        let additions = |parts: usize| parts.saturating_sub(1);
        for records in (1..40 * GROUP).step_by(37).chain([MAX_RECORDS_PER_NODE as usize]) {
            let microbatches = records.div_ceil(MICROBATCH);
            let within = additions(microbatches.min(GROUP / MICROBATCH));
            let over = additions(records.div_ceil(GROUP));
            assert!(within + over <= additions(microbatches), "{records}");
        }
    }

    /// Notes how many rows it is given at a time.
    struct Watched(ReferenceTrainer, Vec<usize>);

    impl Trainer for Watched {
        fn name(&self) -> &'static str {
            "watched"
        }
        fn dimension(&self) -> usize {
            self.0.dimension()
        }
        fn clipped_gradient_sum(
            &mut self,
            parameters: &[f32],
            batch: &Batch<'_>,
            clip_norm: f64,
        ) -> Result<ClippedSum, TrainerError> {
            self.1.push(batch.len());
            self.0.clipped_gradient_sum(parameters, batch, clip_norm)
        }
        fn gradient_sum(&mut self, p: &[f32], b: &Batch<'_>) -> Result<Vec<f64>, TrainerError> {
            self.0.gradient_sum(p, b)
        }
        fn predict(&mut self, p: &[f32], f: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
            self.0.predict(p, f)
        }
    }

    #[test]
    fn a_large_batch_comes_in_groups_and_gives_the_same_sum() {
        let spec = DataSpec {
            label: LabelSpec { column: "y".into(), positive: "1".into(), negative: "0".into() },
            features: vec![FeatureSpec::Numeric {
                column: "x".into(),
                min: 0.0,
                max: 1000.0,
                transform: Transform::Identity,
            }],
        };
        let mut text = String::from("x,y\n");
        for i in 0..2 * GROUP + 5 {
            text += &format!("{},{}\n", i * 7 % 1000, i % 2);
        }
        let data = Dataset::read_csv(text.as_bytes(), &spec).unwrap();
        let model = ModelSpec::Mlp { hidden: vec![3] };
        let layout = ParameterLayout::of(&model, 1);
        let mut state = ModelState::initial(&layout, 1, 7);
        state.normalisation = Normalisation::identity(1);
        let operation = OperationPlan {
            operation: Operation::Training,
            vector_len: layout.total() as u32,
            clip_norm: 0.5,
            scale: 1.0,
            clamp: 1,
            lane_bits: 32,
            max_records: MAX_RECORDS_PER_NODE,
            sampling_rate: 1.0,
            release: None,
        };
        let mut trainer = Watched(ReferenceTrainer::new(&model, 1), Vec::new());
        let all: Vec<u32> = (0..data.len() as u32).collect();
        let (sum, _) = clipped_gradients(&operation, &data, &mut trainer, &state, &all).unwrap();
        assert_eq!(trainer.1, [GROUP, GROUP, 5]);
        let mut features = Vec::new();
        data.features(&all, &state.normalisation, &mut features);
        let labels = data.labels(&all);
        let batch = Batch::new(Rows::new(&features, 1).unwrap(), &labels).unwrap();
        let whole = trainer.0.clipped_gradient_sum(&state.parameters, &batch, 0.5).unwrap();
        assert!(sum.iter().zip(&whole.sum).all(|(a, b)| (a - b).abs() < 1e-8));
        // Nothing drawn: zeros of the full length, not an error.
        let (none, _) = clipped_gradients(&operation, &data, &mut trainer, &state, &[]).unwrap();
        assert_eq!(none, vec![0.0; layout.total()]);
    }
}
