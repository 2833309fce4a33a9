//! The pipeline of a round for auditors: what a node would mask, made from records that the caller
//! brings, with randomness that the caller knows.
//!
//! It is the real thing up to the masks and nothing else. It must not know an identity, a key, a
//! context, a budget or a connection, so nothing that comes out of here can enter a round: what a
//! node sends is masked under keys that only a round has. The randomness follows from a stated seed,
//! so what comes out protects nobody: it is for made-up records only. The daemon never calls it.

use tributary_dp::{DiscreteGaussian, SecretRng};
use tributary_job::{ModelState, OperationPlan};
use tributary_secagg::Lanes;
use tributary_training::{Dataset, Trainer};

/// One node's vector for one round before its masks: the records are sampled, clipped, summed, scaled,
/// clamped and rounded, and the noise share is added, by the very function that every round uses.
///
/// `noise` is the sampler of the operation's release, which a round makes with `Release::sampler`.
/// The result has `vector_len` two's complement lanes, of which the lowest `lane_bits` bits count.
///
/// # Errors
/// If the model, the state and the operation do not fit together, or if the operation is private and
/// there is no sampler.
pub fn vector(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    noise: Option<&DiscreteGaussian>,
    seed: [u8; 32],
) -> Result<Lanes, String> {
    let mut rng = SecretRng::danger_deterministic(seed);
    // As a node does: the noise comes first, from a generator of its own.
    let mut apart = SecretRng::danger_deterministic(apart(seed));
    let noise = noise.map(|n| n.prepare(operation.vector_len as usize, &mut apart));
    let made = super::vector::make(operation, data, trainer, state, None, noise, &mut rng)?;
    Ok(made.lanes)
}

/// Another seed that follows from this one.
fn apart(seed: [u8; 32]) -> [u8; 32] {
    tributary_secagg::hash("tributary/audit-noise/v1", &[&seed]).0
}
