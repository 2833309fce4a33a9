//! `kernel`: nanoseconds for each parameter and mask, every kernel that this machine has, in lanes
//! of 16 and of 32 bits, on one thread; then one node's computation.

use std::num::NonZeroUsize;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tributary_secagg::hash;
use tributary_secagg::mask::{Kernel, Lane, MaskKey, Sign, apply_all_with, kernel};

use crate::node_compute::{self, NodeArgs};
use crate::output;

/// Timed repetitions of each kernel, after one that is not counted.
const REPETITIONS: usize = 9;

/// Options of `kernel`.
#[derive(Args)]
pub struct KernelArgs {
    /// Parameters of the vector that takes the masks.
    #[arg(long, default_value_t = 1_000_000)]
    dim: usize,
    /// Masks that are put on in one pass.
    #[arg(long, default_value_t = 9)]
    masks: u16,
    /// Sizes at which one node's whole computation is measured after the kernels.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
    node_dims: Vec<u32>,
    /// Bits of a lane in the node's computation.
    #[arg(long, default_value_t = 26)]
    bits: u8,
    /// Only the kernels.
    #[arg(long)]
    no_node: bool,
}

#[derive(Serialize)]
struct Line {
    bench: &'static str,
    kernel: &'static str,
    in_use: bool,
    bits: usize,
    d: usize,
    masks: u16,
    ns_per_parameter_and_mask: f64,
    gb_per_s: f64,
    repetitions: usize,
}

/// Runs the sub-command.
///
/// # Errors
/// If a line cannot be written, or the node's computation cannot be measured.
pub fn run(args: &KernelArgs) -> Result<()> {
    for kernel in Kernel::available() {
        eprintln!("kernel {kernel}: {} parameters, {} masks", args.dim, args.masks);
        output::print(&measure::<u16>(kernel, args))?;
        output::print(&measure::<u32>(kernel, args))?;
    }
    if args.no_node {
        return Ok(());
    }
    for &dim in &args.node_dims {
        let (masks, bits) = (args.masks, args.bits);
        node_compute::run(&NodeArgs { dim, masks, bits })?;
    }
    Ok(())
}

/// As many mask keys with alternating signs, as a node in the middle of its peers has them.
pub fn masks(count: u16) -> Vec<(MaskKey, Sign)> {
    let sign = |number: u16| if number.is_multiple_of(2) { Sign::Plus } else { Sign::Minus };
    let key = |number: u16| MaskKey::copied(&hash("bench mask", &[&number.to_le_bytes()]).0);
    (0..count).map(|number| (key(number), sign(number))).collect()
}

fn measure<L: Lane>(which: Kernel, args: &KernelArgs) -> Line {
    let masks = masks(args.masks);
    let mut lanes = vec![L::default(); args.dim];
    let mut once = || {
        let work = || apply_all_with(which, &masks, 0, &mut lanes, NonZeroUsize::MIN);
        output::timed(work).1
    };
    once();
    let times: Vec<f64> = (0..REPETITIONS).map(|_| once()).collect();
    let per = output::median(&times) / (args.dim.max(1) * masks.len().max(1)) as f64;
    Line {
        bench: "mask",
        kernel: which.name(),
        in_use: which == kernel(),
        bits: L::BYTES * 8,
        d: args.dim,
        masks: args.masks,
        ns_per_parameter_and_mask: per * 1e9,
        gb_per_s: L::BYTES as f64 / per / 1e9,
        repetitions: REPETITIONS,
    }
}
