//! One node of a virtual round: its machines, the frames that wait for it, and what it has used.

use anyhow::{Context as _, Result};
use tonic::codegen::Bytes;
use tributary_secagg::messages::Kind;
use tributary_secagg::{LaneBits, Lanes, Limits, NodeMessage, NodeSet, ServerMessage};

use crate::federation::Federation;
use crate::usage::thread_cpu_s;
use tributary_simulations::secagg::party::{self, Party, Reply, Vectors};

/// A node.
pub struct Member {
    /// Its number.
    pub node: u16,
    /// Its machines.
    pub party: Party<Made>,
    /// Frames that it has not read yet.
    pub inbox: Vec<(Kind, Bytes)>,
    /// Whether it has vanished.
    pub gone: bool,
    /// What it has used.
    pub used: Use,
}

/// Time and traffic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    /// Processor time, without that of making vectors.
    pub cpu_s: f64,
    /// Of this, to put the masks on.
    pub mask_s: f64,
    /// Bytes to the aggregator.
    pub up: u64,
    /// Bytes from it.
    pub down: u64,
    /// Of these, chunks of vectors.
    pub vector_up: u64,
    /// Of these, chunks of the sum.
    pub vector_down: u64,
}

impl Use {
    /// Processor time of each of `nodes`.
    pub fn per(&self, nodes: usize) -> f64 {
        self.cpu_s / nodes.max(1) as f64
    }

    /// Adds another node's.
    pub fn add(&mut self, other: &Self) {
        self.cpu_s += other.cpu_s;
        self.mask_s += other.mask_s;
        self.up += other.up;
        self.down += other.down;
        self.vector_up += other.vector_up;
        self.vector_down += other.vector_down;
    }
}

/// Vectors made up from the node's number and the round.
pub struct Made {
    node: u16,
    dim: u32,
    bits: LaneBits,
    spent_s: f64,
}

impl Vectors for Made {
    fn vector(&mut self, round: u32) -> party::Result<Lanes> {
        let before = thread_cpu_s();
        let mut lanes = Lanes::zeros(self.bits, self.dim as usize);
        add_vector(&mut lanes, self.node, round);
        self.spent_s += thread_cpu_s() - before;
        Ok(lanes)
    }

    fn opened(&mut self, _: Lanes) -> party::Result<()> {
        Ok(())
    }
}

/// The sum of the vectors of some nodes.
pub fn sum_of(nodes: &NodeSet, dim: u32, bits: LaneBits, round: u32) -> Lanes {
    let mut sum = Lanes::zeros(bits, dim as usize);
    nodes.iter().for_each(|node| add_vector(&mut sum, node.0, round));
    sum.reduced(bits)
}

/// SplitMix64 (Steele, Lea, Flood, 2014): any lanes will do that differ between nodes.
fn add_vector(lanes: &mut Lanes, node: u16, round: u32) {
    let mut state = u64::from(round) << 32 | u64::from(node) << 8;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
    };
    match lanes {
        Lanes::Narrow(words) => {
            words.iter_mut().for_each(|word| *word = word.wrapping_add(next() as u16));
        }
        Lanes::Wide(words) => {
            words.iter_mut().for_each(|word| *word = word.wrapping_add(next() as u32));
        }
    }
}

impl Member {
    /// A node of a federation.
    ///
    /// # Errors
    /// If it is none of its nodes.
    pub fn new(federation: &Federation, node: u16) -> Result<Self> {
        let (dim, bits) = (federation.size.dim, federation.bits()?);
        let made = Made { node, dim, bits, spent_s: 0.0 };
        let party = Party::new(federation.node(node)?, federation.view()?, made)?;
        Ok(Self { node, party, inbox: Vec::new(), gone: false, used: Use::default() })
    }

    /// Reads all frames and says what it has to say to them.
    ///
    /// # Errors
    /// If it refuses one.
    pub fn answer(&mut self, limits: &Limits) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        for (kind, bytes) in std::mem::take(&mut self.inbox) {
            let before = thread_cpu_s();
            self.used.down += bytes.len() as u64;
            if kind == Kind::SumChunk {
                self.used.vector_down += bytes.len() as u64;
            }
            let message = ServerMessage::decode(&bytes, limits)?;
            let replies = self.party.handle(message);
            for reply in replies.with_context(|| format!("node {}", self.node))? {
                match reply {
                    Reply::Message(message) => self.say(&message, &mut frames),
                    Reply::Upload(upload) => {
                        upload.for_each(|message| self.say(&message, &mut frames));
                    }
                }
            }
            let making = std::mem::take(&mut self.party.vectors.spent_s);
            let spent = thread_cpu_s() - before - making;
            self.used.cpu_s += spent;
            if kind == Kind::UploadGrant {
                self.used.mask_s += spent;
            }
        }
        Ok(frames)
    }

    fn say(&mut self, message: &NodeMessage, frames: &mut Vec<Vec<u8>>) {
        let bytes = message.encode();
        self.used.up += bytes.len() as u64;
        if message.kind() == Kind::MaskedChunk {
            self.used.vector_up += bytes.len() as u64;
        }
        frames.push(bytes);
    }
}
