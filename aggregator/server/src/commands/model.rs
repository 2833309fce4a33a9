//! `aggregator model`: release what a job has trained.

use std::path::PathBuf;

use clap::Subcommand;

use super::Dir;
use super::job::find;

/// Release models.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Write a job's newest certified model as safetensors, with its provenance in the metadata.
    Export {
        #[command(flatten)]
        dir: Dir,
        /// The job's identifier.
        job: String,
        /// The file.
        #[arg(long, default_value = "model.safetensors")]
        out: PathBuf,
    },
}

impl Model {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Export { dir, job, out } = self;
        let (store, job) = find(&dir, &job).await?;
        let rounds = crate::export::model(&store, &job, &out).await?;
        println!("{}: the model after {rounds} certified rounds", out.display());
        Ok(())
    }
}
