//! A node's vector for one round: sample, clip, sum, quantise, add the noise share.
//!
//! The order of the privacy argument (see `dp/`): what leaves this function is the only thing
//! derived from records that is ever sent, and only masked.

use tributary_dp::{DiscreteGaussian, SecretRng};
use tributary_job::{ModelState, Operation, OperationPlan};
use tributary_training::{Batch, Dataset, Rows, Trainer};

/// A vector ready to be masked.
pub(super) struct Made {
    /// u32 lanes, two's complement.
    pub(super) lanes: Vec<u32>,
    /// Records without a finite gradient. Stays at the agency.
    pub(super) non_finite: usize,
}

/// Makes the vector. An empty sample still gives zeros plus noise: whether anything was drawn must
/// not show.
pub(super) fn make(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    noise: Option<&DiscreteGaussian>,
    rng: &mut SecretRng,
) -> Result<Made, String> {
    if operation.release.is_some() && noise.is_none() {
        return Err("a private release without its noise sampler".into());
    }
    let (sum, non_finite) = match operation.operation {
        Operation::Statistics => {
            let all: Vec<u32> = (0..data.len() as u32).collect();
            (data.statistics_contribution(&all), 0)
        }
        Operation::Training => {
            let rows = tributary_dp::poisson_sample(data.len(), operation.sampling_rate, rng)
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
        noise.add_noise(&mut integers, rng);
    }
    Ok(Made { lanes: tributary_dp::to_lanes(&integers), non_finite })
}

fn clipped_gradients(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    rows: &[u32],
) -> Result<(Vec<f64>, usize), String> {
    let mut features = Vec::new();
    data.features(rows, &state.normalisation, &mut features);
    let labels = data.labels(rows);
    let rows = Rows::new(&features, data.input_width()).map_err(|e| e.to_string())?;
    let batch = Batch::new(rows, &labels).map_err(|e| e.to_string())?;
    let clipped = trainer
        .clipped_gradient_sum(&state.parameters, &batch, operation.clip_norm)
        .map_err(|e| e.to_string())?;
    Ok((clipped.sum, clipped.non_finite))
}

#[cfg(test)]
mod tests {
    use tributary_job::plan::{FLOAT_ERROR, MAX_RECORDS_PER_NODE};

    #[test]
    fn the_plan_allows_for_the_rounding_of_every_summation_used() {
        let records = MAX_RECORDS_PER_NODE;
        assert!(tributary_training::float_error(records as usize) <= FLOAT_ERROR);
        assert!(tributary_dp::summation_error(records).unwrap() <= FLOAT_ERROR);
        assert!(records as usize <= tributary_training::trainer::MAX_RECORDS);
    }
}
