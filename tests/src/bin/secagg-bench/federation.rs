//! Who takes part in a measured round and what all parties agree on. Keys are derived from one seed,
//! so that every process of a run knows the roster without being told it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tributary_secagg::{
    Digest, Identity, LaneBits, Limits, NodeIndex, NodeSeat, Roster, RoundView, ServerSeat,
    Thresholds, hash,
};

/// The least survivors asked for where the cohort allows it.
const FLOOR: u16 = 5;

/// How many nodes sum what.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Size {
    /// Nodes.
    #[arg(long)]
    pub nodes: u16,
    /// Parameters of the vector.
    #[arg(long)]
    pub dim: u32,
    /// Bits of a lane.
    #[arg(long, default_value_t = 26, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub bits: u8,
}

/// The parties of a run.
#[derive(Debug, Clone)]
pub struct Federation {
    /// Nodes, parameters, bits.
    pub size: Size,
    /// The parties' public keys and the thresholds.
    pub roster: Arc<Roster>,
    seed: Digest,
}

impl Federation {
    /// A federation of `size.nodes` nodes that tolerates a share `gamma` of corrupt and a share
    /// `delta` of missing ones.
    ///
    /// # Errors
    /// If there are no such thresholds.
    pub fn new(size: &Size, gamma: f64, delta: f64, seed: Digest) -> Result<Self> {
        let thresholds = Thresholds::solve(size.nodes, gamma, delta, FLOOR.min(size.nodes))
            .with_context(|| format!("{} nodes cannot be protected like this", size.nodes))?;
        let key = |number| identity(&seed, number).map(|identity| identity.verifying_key());
        let members = (0..size.nodes).map(key).collect::<Result<_>>()?;
        let roster =
            Roster::new(hash("bench job", &[&seed.0]), members, key(u16::MAX)?, thresholds)?;
        Ok(Self { size: size.clone(), roster: Arc::new(roster), seed })
    }

    /// The hash of the job, for frames.
    pub fn job(&self) -> [u8; 32] {
        self.roster.job.0
    }

    /// The limits of what may be decoded.
    pub fn limits(&self) -> Limits {
        Limits::for_members(self.size.nodes)
    }

    /// The width of a lane.
    ///
    /// # Errors
    /// If it is none.
    pub fn bits(&self) -> Result<LaneBits> {
        LaneBits::new(self.size.bits).context("a lane has 1 to 32 bits")
    }

    /// A node's seat.
    ///
    /// # Errors
    /// If the node is none of the federation.
    pub fn node(&self, node: u16) -> Result<NodeSeat> {
        let identity = Arc::new(identity(&self.seed, node)?);
        Ok(NodeSeat::new(self.roster.clone(), NodeIndex(node), identity)?)
    }

    /// The aggregator's seat.
    ///
    /// # Errors
    /// Never, as the roster is our own.
    pub fn aggregator(&self, uploads: NonZeroUsize, threads: NonZeroUsize) -> Result<ServerSeat> {
        let identity = Arc::new(identity(&self.seed, u16::MAX)?);
        let seat = ServerSeat::new(self.roster.clone(), identity)?;
        Ok(seat.with_uploads(uploads).with_threads(threads))
    }

    /// What every round's view has in common.
    ///
    /// # Errors
    /// As [`Self::bits`].
    pub fn view(&self) -> Result<RoundView> {
        Ok(RoundView {
            round: 0,
            attempt: 0,
            operation: 1,
            vector_len: self.size.dim,
            lane_bits: self.bits()?,
            state_hash: Digest::ZERO,
            params_hash: hash("bench params", &[]),
            previous: Digest::ZERO,
        })
    }
}

/// The key of a node, or of the aggregator for the last number.
fn identity(seed: &Digest, number: u16) -> Result<Identity> {
    Ok(Identity::from_seed(&hash("bench identity", &[&seed.0, &number.to_le_bytes()]).0)?)
}
