//! Bytes and seconds of one round, from the sizes of the messages and the rates of this machine.
//! [`super::trial`] measures the same on real messages.

use std::num::NonZeroUsize;
use std::time::Instant;

use serde::Serialize;
use tributary_secagg::mask::{MaskKey, Sign, apply_all};
use tributary_secagg::{CHUNK_LANES, LaneBits, Thresholds};

/// What the sizes depend on.
pub(super) struct Shape {
    pub(super) thresholds: Thresholds,
    pub(super) cohort: u16,
    pub(super) dim: u32,
    pub(super) bits: LaneBits,
}

/// Bytes of one round if nobody drops out, protocol frames only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// A node's masked vector.
    pub vector_up: u64,
    /// Everything else that a node sends.
    pub control_up: u64,
    /// The sum that a node receives.
    pub sum_down: u64,
    /// Everything else that a node receives.
    pub control_down: u64,
    /// All that the aggregator receives and sends.
    pub aggregator: u64,
}

impl Traffic {
    pub(super) fn of(shape: &Shape) -> Self {
        let t = shape.thresholds;
        let cohort = u64::from(shape.cohort);
        // Peers within the cohort; on average if the cohort is a part of the roster.
        let others = u64::from(t.n - 1).max(1);
        let peers = (u64::from(t.degree) * (cohort - 1)).div_ceil(others);
        let own = u64::from(t.is_complete());
        let (tau, set) = (u64::from(t.quorum), 2 + u64::from(t.n).div_ceil(8));
        let (header, hash, signature) = (3, 32, 64);
        let signed = header + hash + signature;
        let chunks = u64::from(shape.dim).div_ceil(CHUNK_LANES as u64);
        let packed = shape.bits.packed_bytes(shape.dim as usize) as u64;
        let vector = packed + chunks * (header + hash + 8);
        let parcel = 2 + 2 + 1 + 16 + 92 + 2 * hash;
        let commit =
            signed + 2 * hash + 1 + own * 2 * hash + 2 + peers * (hash + parcel) + signature;
        let acknowledgement = signed + hash + 2 + peers * 18;
        let shares = signed + 4 + (peers + own) * 34;
        let attestation = signed + 3 * hash + set;
        let start = signed + 4 + 4 + 2 + 1 + 4 + 1 + 3 * hash + set;
        let relay = signed + set + 2 + peers * parcel + 2 + tau * 66;
        let manifest = signed + hash + set + 2 + cohort * hash;
        let quorum = header + 2 * hash + 2 + cohort * 66 + 2 + peers * 18;
        let certificate = header + 4 * hash + set + 2 + tau * 66;
        let control_up = commit
            + (signed + hash) // ready
            + (signed + 2 * hash) // done
            + acknowledgement
            + shares
            + attestation;
        let control_down = start
            + relay
            + (signed + set) // grant
            + (header + hash + 4) // turn
            + manifest
            + quorum
            + (signed + 2 * hash) // result
            + certificate;
        let node = vector * 2 + control_up + control_down;
        Self {
            vector_up: vector,
            control_up,
            sum_down: vector,
            control_down,
            aggregator: node * cohort,
        }
    }
}

/// Seconds that one core of a machine needs for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// One mask on one lane, for lanes of up to 16 bits.
    pub mask_narrow: f64,
    /// One mask on one lane of 17 to 32 bits.
    pub mask_wide: f64,
}

impl Rates {
    /// Measured on this machine, in a few hundredths of a second.
    #[must_use]
    pub fn measured() -> Self {
        Self { mask_narrow: measure(vec![0u16; LANES]), mask_wide: measure(vec![0u32; LANES]) }
    }

    /// Those of one core of an EPYC Milan class machine, for tests.
    #[must_use]
    pub fn of_reference() -> Self {
        Self { mask_narrow: 0.16e-9, mask_wide: 0.32e-9 }
    }
}

const LANES: usize = 1 << 18;

/// Seconds per lane and mask, the best of a few.
fn measure<L: tributary_secagg::mask::Lane>(mut lanes: Vec<L>) -> f64 {
    let masks: Vec<_> = (0..8u8).map(|i| (MaskKey::copied(&[i; 32]), Sign::Plus)).collect();
    let mut best = f64::MAX;
    for _ in 0..6 {
        let started = Instant::now();
        apply_all(&masks, 0, &mut lanes, NonZeroUsize::MIN);
        best = best.min(started.elapsed().as_secs_f64());
    }
    best / (lanes.len() * masks.len()) as f64
}

/// Seconds of one round on one core, masks only: the arithmetic that grows with the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// A node puts its masks on.
    pub node_masking: f64,
    /// The aggregator takes the self masks off if nobody drops out.
    pub unmasking: f64,
    /// The same if the expected share drops out after the grant.
    pub unmasking_with_dropouts: f64,
}

impl Times {
    pub(super) fn of(shape: &Shape, dropout: f64, rates: &Rates) -> Self {
        let rate = if shape.bits.is_narrow() { rates.mask_narrow } else { rates.mask_wide };
        let one = f64::from(shape.dim) * rate;
        let peers = f64::from(shape.thresholds.degree.min(shape.cohort - 1));
        let cohort = f64::from(shape.cohort);
        let most = f64::from(shape.thresholds.tolerated_dropouts(shape.cohort));
        let gone = (dropout * cohort).floor().min(most);
        Self {
            node_masking: one * (peers + 1.0),
            unmasking: one * cohort,
            unmasking_with_dropouts: one * (cohort - gone + gone * peers * (1.0 - gone / cohort)),
        }
    }
}
