//! Measures the secure-aggregation stack: mask kernels, one node's computation, rounds of real
//! processes over mutual TLS, and rounds of many nodes inside one process.
//!
//! Every measurement is one JSON object on a line of standard output; progress and errors go to
//! standard error. It knows the protocol's crates, the transport and the quantiser; it must not
//! know the daemons, jobs, budgets or a peer that it is compared with.

mod federation;
mod kernel;
mod node_compute;
mod output;
mod round;
mod usage;
mod virtual_round;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the secure-aggregation stack, one JSON object a line.
#[derive(Parser)]
#[command(name = "secagg-bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every mask kernel of this machine, then one node's computation.
    Kernel(kernel::KernelArgs),
    /// One node's computation on one thread: quantise, mask, hash.
    Node(node_compute::NodeArgs),
    /// Rounds of real processes over mutual TLS on the loopback interface.
    Round(round::RoundArgs),
    /// Rounds of many nodes inside this process, without a network.
    Virtual(virtual_round::VirtualArgs),
    /// A node of `round`; started by it.
    #[command(hide = true)]
    NodeProcess(round::NodeProcessArgs),
    /// The aggregator of `round`; started by it.
    #[command(hide = true)]
    AggregatorProcess(round::AggregatorProcessArgs),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Kernel(args) => kernel::run(&args),
        What::Node(args) => node_compute::run(&args),
        What::Round(args) => round::run(&args),
        What::Virtual(args) => virtual_round::run(&args),
        What::NodeProcess(args) => round::node_process(&args),
        What::AggregatorProcess(args) => round::aggregator_process(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("secagg-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
