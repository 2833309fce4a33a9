//! The `agency-node` binary: parses the command line and hands over to the library.

use std::process::ExitCode;

use clap::Parser;
use tributary_node::commands::Cli;

fn main() -> ExitCode {
    tributary_transport::process::end_quietly_on_closed_pipe();
    let cli = Cli::parse();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("error: cannot start: {error}");
                return ExitCode::FAILURE;
            }
        };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
