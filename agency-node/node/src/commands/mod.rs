//! The command line of the node, one file per group of commands.

mod audit;
mod book;
mod budget;
mod clock;
mod dataset;
mod desk;
mod enrol;
mod history;
mod job;
mod peers;
mod plan;
mod reference;
mod renew;
mod requests;
mod status;
mod steward;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::TrainerKind;
use crate::data_dir::DataDir;

/// The agency's side of a Tributary federation: trains beside the data, adds differential-privacy
/// noise, and sends only masked sums. Connects outwards; needs no inbound port.
#[derive(Debug, Parser)]
#[command(
    name = "agency-node",
    version,
    after_help = "\
First steps:
  agency-node enrol --data-dir /var/lib/tributary --aggregator https://HOST:7443 --token-file TOKEN
  agency-node policy example > /var/lib/tributary/policy.toml     (then edit it: it decides)
  agency-node dataset add --data-dir /var/lib/tributary --name flights --path flights.csv
  agency-node steward add --data-dir /var/lib/tributary data-steward --key steward.key
  agency-node peers import --data-dir /var/lib/tributary PEERS    (fingerprints of the other agencies)
  agency-node serve --data-dir /var/lib/tributary"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Dir {
    /// Directory with keys, state and configuration, made by `agency-node enrol`.
    #[arg(long, env = "TRIBUTARY_NODE_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys here, and get a certificate with a one-time token. The keys never leave.
    Enrol(enrol::Enrol),
    /// Renew the certificate now: with the old one while it is valid, else with a one-time token.
    /// Signing key, budget book and datasets stay as they are.
    Renew(renew::Renew),
    /// Print the fingerprints to compare with the central team.
    Fingerprint(Dir),
    /// Register and list the datasets that jobs may ask for.
    #[command(subcommand)]
    Dataset(dataset::Dataset),
    /// Look at the job in progress, or end it here.
    #[command(subcommand)]
    Job(job::Job),
    /// Jobs that wait for a data steward's word, and the word.
    #[command(subcommand)]
    Requests(requests::Requests),
    /// Whose signature counts as an approval.
    #[command(subcommand)]
    Steward(steward::Steward),
    /// Which signing keys the other agencies have, by this agency's own list.
    #[command(subcommand)]
    Peers(peers::Peers),
    /// The node's own record of what was done here, by whom and when.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The time that the node goes by.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Run the daemon until SIGTERM or Ctrl-C.
    Serve {
        #[command(flatten)]
        dir: Dir,
        /// Use this trainer instead of the configured one.
        #[arg(long, value_enum)]
        trainer: Option<TrainerKind>,
    },
    /// Show identity, datasets and the job in progress.
    Status {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at what has been spent of each dataset's privacy budget.
    #[command(subcommand)]
    Budget(budget::Budget),
    /// The policy that decides what may run here.
    #[command(subcommand)]
    Policy(Policy),
    /// Read configuration, policy, keys and budget book, and say whether they are valid.
    CheckConfig(Dir),
    /// Print every setting of a file, its default and what it means, as Markdown.
    Reference {
        /// The file.
        #[arg(value_enum)]
        file: reference::File,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum Policy {
    /// Print a commented policy to start from.
    Example,
    /// Check the policy of a data directory.
    Check(Dir),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With a message for the operator.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Enrol(enrol) => enrol.run().await,
            Command::Renew(renew) => renew.run().await,
            Command::Fingerprint(dir) => renew::fingerprints(&DataDir::open(&dir.data_dir)?),
            Command::Dataset(dataset) => dataset.run().await,
            Command::Job(job) => job.run().await,
            Command::Requests(requests) => requests.run().await,
            Command::Steward(steward) => steward.run().await,
            Command::Peers(peers) => peers.run().await,
            Command::Audit(audit) => audit.run().await,
            Command::Clock(clock) => clock.run().await,
            Command::Serve { dir, trainer } => {
                crate::serve::serve(&DataDir::open(&dir.data_dir)?, trainer).await
            }
            Command::Status { dir, json } => {
                status::status(&DataDir::open(&dir.data_dir)?, json).await
            }
            Command::Budget(budget) => budget.run().await,
            Command::Policy(Policy::Example) => {
                print!("{}", crate::policy::EXAMPLE);
                Ok(())
            }
            Command::Policy(Policy::Check(dir)) => {
                let dir = DataDir::open(&dir.data_dir)?;
                let policy = dir.policy(&dir.config()?)?;
                println!("the policy is valid");
                policy.remarks().into_iter().for_each(|remark| println!("note: {remark}"));
                Ok(())
            }
            Command::CheckConfig(dir) => status::check(&DataDir::open(&dir.data_dir)?).await,
            Command::Reference { file } => {
                print!("{}", file.markdown());
                Ok(())
            }
            Command::Completions { shell } => {
                let mut out = std::io::stdout();
                clap_complete::generate(shell, &mut Self::command(), "agency-node", &mut out);
                Ok(())
            }
        }
    }
}
