//! What is audited: whatever turns one node's records into the vector that it would mask.
//!
//! The audit sees a mechanism through this trait only. It knows the plan that the accountant believes
//! in and hands it over; whether the mechanism keeps to it is the question.

use tributary_dp::DiscreteGaussian;
use tributary_job::{ModelState, OperationPlan};
use tributary_node::engine::audit;
use tributary_secagg::Lanes;
use tributary_training::{Dataset, Trainer};

use crate::error::SimulationError;

/// One node's part in one release.
#[derive(Debug)]
pub struct Call<'a> {
    /// What the plan says of the release.
    pub operation: &'a OperationPlan,
    /// The node's records.
    pub data: &'a Dataset,
    /// The model that everybody holds.
    pub state: &'a ModelState,
    /// The sampler of the plan's noise share; `None` where the noise is left off to look at the
    /// rounding alone.
    pub noise: Option<&'a DiscreteGaussian>,
    /// Where the node's randomness comes from.
    pub seed: Seed,
}

/// Makes one node's vector.
pub trait Mechanism {
    /// What it is called in the report.
    fn name(&self) -> String;

    /// The node's vector before its masks, `vector_len` lanes.
    ///
    /// # Errors
    /// [`SimulationError::Trainer`] if the mechanism refuses.
    fn vector(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
    ) -> Result<Lanes, SimulationError>;
}

/// Randomness of one node in one release. Different values are different keys of ChaCha20, so all
/// releases of an audit are independent, and the same audit can be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// Seed of the audit.
    pub audit: u64,
    /// Which check asks.
    pub check: u32,
    /// Which data set: 0 without the canary, 1 with it.
    pub world: u32,
    /// Which repetition.
    pub round: u64,
    /// Which node.
    pub node: u32,
}

impl Seed {
    /// As a generator's seed.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.audit.to_le_bytes());
        key[8..12].copy_from_slice(&self.check.to_le_bytes());
        key[12..16].copy_from_slice(&self.world.to_le_bytes());
        key[16..24].copy_from_slice(&self.round.to_le_bytes());
        key[24..28].copy_from_slice(&self.node.to_le_bytes());
        key
    }
}

/// The pipeline of the agency node, as every round uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodePipeline;

impl Mechanism for NodePipeline {
    fn name(&self) -> String {
        "the node's pipeline".into()
    }

    fn vector(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
    ) -> Result<Lanes, SimulationError> {
        let key = call.seed.key();
        audit::vector(call.operation, call.data, trainer, call.state, call.noise, key)
            .map_err(SimulationError::Trainer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_seed_counts() {
        let seed = Seed { audit: 1, check: 1, world: 1, round: 1, node: 1 };
        let others = [
            Seed { audit: 2, ..seed },
            Seed { check: 2, ..seed },
            Seed { world: 2, ..seed },
            Seed { round: 2, ..seed },
            Seed { node: 2, ..seed },
        ];
        assert!(others.iter().all(|s| s.key() != seed.key()));
    }
}
