//! The binary `simulate`: reads the command line, calls the library, sets the exit code.

mod cli;
mod commands;
mod progress;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tributary_simulations::SimulationError;

/// A piece of evidence was refused.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    tributary_transport::process::end_quietly_on_closed_pipe();
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("SIMULATE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let refused = error.downcast_ref().is_some_and(SimulationError::is_refusal);
            if refused { ExitCode::from(REFUSED) } else { ExitCode::FAILURE }
        }
    }
}
