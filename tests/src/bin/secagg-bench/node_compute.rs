//! `node`: what one node computes for its upload, on one thread and without a network: quantise,
//! put all masks on, pack and hash. "Quantise and mask" is what other systems are compared by.

use std::hint::black_box;
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use tributary_dp::{SecretRng, quantise_into_lanes, quantise_into_narrow_lanes};
use tributary_secagg::mask::{MaskKey, Sign, apply_all};
use tributary_secagg::{Digest, LaneBits, Lanes, VectorKind, vector_root};

use crate::kernel::masks;
use crate::output::{self, timed};

/// Timed repetitions, after one that is not counted.
const REPETITIONS: usize = 5;

/// Options of `node`.
#[derive(Args)]
pub struct NodeArgs {
    /// Parameters of the vector.
    #[arg(long)]
    pub dim: u32,
    /// Pairwise masks; the self mask comes on top.
    #[arg(long, default_value_t = 9)]
    pub masks: u16,
    /// Bits of a lane.
    #[arg(long, default_value_t = 26)]
    pub bits: u8,
}

#[derive(Serialize)]
struct Line {
    bench: &'static str,
    d: u32,
    masks: u16,
    self_mask: bool,
    bits: u8,
    threads: usize,
    quantise_s: f64,
    quantise_reused_memory_s: f64,
    mask_s: f64,
    hash_s: f64,
    hash_is: &'static str,
    total_s: f64,
    total_is: &'static str,
    with_hash_s: f64,
    repetitions: usize,
}

/// Seconds of one repetition.
struct Times {
    quantise: f64,
    reused: f64,
    mask: f64,
    hash: f64,
}

/// Runs the sub-command.
///
/// # Errors
/// If the lane width is none, or the system gives no randomness.
pub fn run(args: &NodeArgs) -> Result<()> {
    eprintln!("node: {} parameters, {} pairwise masks and its own", args.dim, args.masks);
    let bits = LaneBits::new(args.bits).context("a lane has 1 to 32 bits")?;
    let values: Vec<f32> = (0..args.dim).map(|i| (i % 2003) as f32 / 2003.0 - 0.5).collect();
    let masks = masks(args.masks.saturating_add(1));
    let mut rng = SecretRng::from_os()?;
    let mut times = Vec::new();
    for repetition in 0..=REPETITIONS {
        let found = once(&values, bits, &masks, &mut rng);
        if repetition > 0 {
            times.push(found);
        }
    }
    let of = |pick: &dyn Fn(&Times) -> f64| -> f64 {
        output::median(&times.iter().map(pick).collect::<Vec<_>>())
    };
    output::print(&Line {
        bench: "node",
        d: args.dim,
        masks: args.masks,
        self_mask: true,
        bits: args.bits,
        threads: 1,
        quantise_s: of(&|t| t.quantise),
        quantise_reused_memory_s: of(&|t| t.reused),
        mask_s: of(&|t| t.mask),
        hash_s: of(&|t| t.hash),
        hash_is: "pack+sha256",
        total_s: of(&|t| t.quantise + t.mask),
        total_is: "quantise+mask",
        with_hash_s: of(&|t| t.quantise + t.mask + t.hash),
        repetitions: REPETITIONS,
    })
}

fn once(values: &[f32], bits: LaneBits, masks: &[(MaskKey, Sign)], rng: &mut SecretRng) -> Times {
    // As many nodes as masks: their sum must fit the ring.
    let clamp = ((1i64 << (bits.bits() - 1)) - 1) / masks.len().max(1) as i64;
    let scale = clamp as f64;
    // The machine takes the vector over, so that every round needs fresh memory.
    let (mut lanes, quantise, reused) = if bits.is_narrow() {
        let mut lanes = Vec::new();
        let mut work =
            || timed(|| quantise_into_narrow_lanes(values, scale, clamp, rng, &mut lanes)).1;
        let (fresh, again) = (work(), work());
        (Lanes::from(lanes), fresh, again)
    } else {
        let mut lanes = Vec::new();
        let mut work = || timed(|| quantise_into_lanes(values, scale, clamp, rng, &mut lanes)).1;
        let (fresh, again) = (work(), work());
        (Lanes::from(lanes), fresh, again)
    };
    let ((), mask) = timed(|| match &mut lanes {
        Lanes::Narrow(words) => apply_all(masks, 0, words, NonZeroUsize::MIN),
        Lanes::Wide(words) => apply_all(masks, 0, words, NonZeroUsize::MIN),
    });
    let (root, hash) = timed(|| vector_root(VectorKind::Masked, &Digest::ZERO, bits, &lanes));
    black_box(root);
    Times { quantise, reused, mask, hash }
}
