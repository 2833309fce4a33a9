//! The command line of the aggregator, one file per group of commands.

mod audit;
mod backup;
mod certificate;
mod init;
mod job;
mod model;
mod node;
mod place;
mod role;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::data_dir::DataDir;

/// The central service of a Tributary federation: enrols agencies, runs jobs in secure rounds,
/// and can open only the sum over the surviving agencies.
#[derive(Debug, Parser)]
#[command(
    name = "aggregator",
    version,
    after_help = "\
First steps:
  aggregator init --data-dir /var/lib/tributary --listen 0.0.0.0:7443 --host aggregator.example.gov
  aggregator serve --data-dir /var/lib/tributary
  aggregator enrol token --data-dir /var/lib/tributary --agency nih
  aggregator job submit --data-dir /var/lib/tributary job.toml

The commands besides `serve` work on the data directory while the service runs. People with a role
work from their own machines:
  aggregator role token --data-dir /var/lib/tributary --role researcher --name ada
  aggregator connect --aggregator https://aggregator.example.gov:7443 --token-file TOKEN --identity ada
  aggregator job submit --identity ada job.toml"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Dir {
    /// Directory with keys, state and configuration, made by `aggregator init`.
    #[arg(long, env = "TRIBUTARY_AGGREGATOR_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory: certificate authority, signing key, configuration.
    Init(init::Init),
    /// Run the service until SIGTERM or Ctrl-C.
    Serve(Dir),
    /// Read the configuration and say whether it is valid.
    CheckConfig(Dir),
    /// Show the service, its agencies and its jobs.
    Status {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let agencies in.
    #[command(subcommand)]
    Enrol(node::Enrol),
    /// Look at the enrolled agencies, or revoke one.
    #[command(subcommand, visible_alias = "agency")]
    Node(node::Node),
    /// Give people a role, or take it away.
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Turn a one-time token into a role's certificate, on one's own machine.
    Connect(role::Connect),
    /// Look at certificates, or revoke a single one.
    #[command(subcommand)]
    Certificate(certificate::CertificateCommand),
    /// Replace the certificate authority while the service runs.
    #[command(subcommand)]
    Ca(certificate::Ca),
    /// Submit jobs and follow them.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Release models.
    #[command(subcommand)]
    Model(model::Model),
    /// The aggregator's own record of who did what and when.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Copy the state while the service runs, or put a copy back.
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Print every setting of a file, its default and what it means, as Markdown.
    Reference {
        /// The file.
        #[arg(value_enum)]
        file: ReferenceFile,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// A file with settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReferenceFile {
    /// `aggregator.toml`.
    Aggregator,
    /// A job, as a researcher writes it.
    Job,
}

impl ReferenceFile {
    fn markdown(self) -> String {
        // Depth of the headings of sections.
        const LEVEL: usize = 3;
        match self {
            Self::Aggregator => tributary_job::reference::markdown::<crate::config::Config>(LEVEL),
            Self::Job => tributary_job::reference::markdown::<tributary_job::JobSpec>(LEVEL),
        }
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With a message for the operator.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(init) => init.run().await,
            Command::Serve(dir) => crate::serve::serve(DataDir::open(&dir.data_dir)?).await,
            Command::CheckConfig(dir) => {
                let dir = DataDir::open(&dir.data_dir)?;
                let config = dir.config()?;
                dir.identity()?;
                crate::trust::check(&dir, &config)?;
                println!("{} is valid", dir.config_file().display());
                Ok(())
            }
            Command::Status { dir, json } => {
                node::status(&DataDir::open(&dir.data_dir)?, json).await
            }
            Command::Enrol(enrol) => enrol.run().await,
            Command::Node(node) => node.run().await,
            Command::Role(role) => role.run().await,
            Command::Connect(connect) => connect.run().await,
            Command::Certificate(certificate) => certificate.run().await,
            Command::Ca(ca) => ca.run().await,
            Command::Job(job) => job.run().await,
            Command::Model(model) => model.run().await,
            Command::Audit(audit) => audit.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Reference { file } => {
                print!("{}", file.markdown());
                Ok(())
            }
            Command::Completions { shell } => {
                let mut out = std::io::stdout();
                clap_complete::generate(shell, &mut Self::command(), "aggregator", &mut out);
                Ok(())
            }
        }
    }
}
