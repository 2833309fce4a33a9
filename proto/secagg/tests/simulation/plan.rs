//! What a run does, drawn from one number: the parties, the rounds, and how often
//! what goes wrong. It knows neither machines nor the event queue.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::messages::Kind;
use tributary_secagg::{CHUNK_LANES, LaneBits, NodeIndex, Thresholds};

/// A number out of `from..=to`.
pub fn pick(rng: &mut ChaCha20Rng, from: u64, to: u64) -> u64 {
    from + rng.next_u64() % (to - from + 1)
}

/// True `parts` times out of ten thousand.
pub fn chance(rng: &mut ChaCha20Rng, parts: u64) -> bool {
    rng.next_u64() % 10_000 < parts
}

/// Who crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Node(NodeIndex),
    Aggregator,
}

/// A point at which something becomes durable before what follows it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Before this message.
    Message(Kind),
    /// Before the upload.
    Charge,
    /// A node's state and certificate.
    Certificate,
    /// The aggregator's facts of an epoch.
    Facts,
}

/// Where exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was stored yet.
    Before,
    /// It is stored and nothing has left.
    After,
    /// It has left for some receivers and not for all.
    Midway,
}

/// How a driver keeps the durable rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Sound,
    /// Negative control: releases the upload without storing the charge.
    ForgetsCharge,
    /// Negative control: after a crash an old copy of the epoch comes back.
    RestoresOldBackup,
}

/// How often what goes wrong; chances in parts of ten thousand.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Longest delay of a frame.
    pub delay: u64,
    /// Longest time a node's own program takes.
    pub work: u64,
    /// A node that takes ten times as long.
    pub slow: Option<NodeIndex>,
    /// Per frame: a connection (or those of a group) breaks.
    pub breaks: u64,
    /// Per break or crash: it is for good.
    pub lasting: u64,
    /// Per frame: it arrives twice.
    pub twice: u64,
    /// Frames before the known one that a resend begins with, at most.
    pub overlap: u64,
    /// Per durable step of a node.
    pub crash: u64,
    /// Per durable step of the aggregator.
    pub aggregator_crash: u64,
    /// Length of a phase.
    pub timeout: u64,
    /// How long the aggregator waits for a node to come back.
    pub patience: u64,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub thresholds: Thresholds,
    pub bits: LaneBits,
    pub length: usize,
    pub rounds: u32,
    pub max_attempts: u16,
    /// Rounds after which a new epoch begins.
    pub rounds_per_epoch: u32,
    pub uploads: usize,
    pub faults: Faults,
    pub driver: Driver,
    /// The one crash of a run that has no others.
    pub crash_at: Option<(Who, Step, When)>,
}

impl Plan {
    /// The run of a seed. Every 25th has the sparse graph.
    pub fn of(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let thresholds = if seed % 25 == 7 { sparse() } else { complete(rng) };
        let n = u64::from(thresholds.n);
        let bits = LaneBits::new(pick(rng, 1, 32) as u8).unwrap();
        let length = match pick(rng, 0, 7) {
            0 if n < 7 => CHUNK_LANES + pick(rng, 0, 9) as usize,
            1 => 1,
            _ => pick(rng, 2, 40) as usize,
        };
        // A third of the runs has few faults, so that late phases see some as well.
        let rough = pick(rng, 0, 2);
        let slow = chance(rng, 3000).then(|| NodeIndex(pick(rng, 0, n - 1) as u16));
        let faults = Faults {
            delay: pick(rng, 1, 12),
            work: pick(rng, 1, 30),
            slow,
            breaks: pick(rng, 0, 40 * rough),
            lasting: pick(rng, 0, 2500),
            twice: pick(rng, 0, 400),
            overlap: pick(rng, 0, 5),
            crash: pick(rng, 0, 40 * rough),
            aggregator_crash: pick(rng, 0, 60 * rough),
            timeout: pick(rng, 60, 400),
            patience: pick(rng, 20, 300),
        };
        Self {
            seed,
            thresholds,
            bits,
            length,
            rounds: if thresholds.is_complete() { pick(rng, 1, 4) as u32 } else { 1 },
            max_attempts: pick(rng, 1, 4) as u16,
            rounds_per_epoch: pick(rng, 1, 4) as u32,
            uploads: pick(rng, 1, 5) as usize,
            faults,
            driver: Driver::Sound,
            crash_at: None,
        }
    }

    /// A run in which nothing goes wrong by itself.
    pub fn calm(seed: u64) -> Self {
        let thresholds = Thresholds::complete_graph(5, 0.0, 0.2, 4).unwrap();
        let faults = Faults {
            delay: 5,
            work: 5,
            slow: None,
            breaks: 0,
            lasting: 0,
            twice: 0,
            overlap: 3,
            crash: 0,
            aggregator_crash: 0,
            timeout: 300,
            patience: 100,
        };
        Self {
            thresholds,
            bits: LaneBits::new(11).unwrap(),
            length: 9,
            rounds: 2,
            max_attempts: 4,
            rounds_per_epoch: 8,
            uploads: 2,
            faults,
            ..Self::of(seed)
        }
    }
}

fn complete(rng: &mut ChaCha20Rng) -> Thresholds {
    loop {
        let n = pick(rng, 3, 9) as u16;
        let corrupt = [0.0, 0.1, 0.2][pick(rng, 0, 2) as usize];
        let missing = [0.0, 0.2, 0.34, 0.45][pick(rng, 0, 3) as usize];
        if let Ok(thresholds) = Thresholds::complete_graph(n, corrupt, missing, 2) {
            return thresholds;
        }
    }
}

/// A sparse graph smaller than any that the solver gives out.
pub fn sparse() -> Thresholds {
    let thresholds =
        Thresholds { n: 20, corrupt: 0, quorum: 11, shamir_t: 8, u_min: 15, degree: 12 };
    thresholds.check().unwrap();
    thresholds
}
