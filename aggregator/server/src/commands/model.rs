//! `aggregator model`: release what a job has trained.

use std::path::PathBuf;

use clap::Subcommand;

use super::place::{Desk, Place};
use crate::audit::{Act, Actor};
use crate::operations;

/// Release models.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Write a job's released model as safetensors, with its provenance in the metadata and its card
    /// beside it: of the newest certified state, or of the best evaluation where the job keeps that one.
    Export {
        #[command(flatten)]
        place: Place,
        /// The job's identifier.
        job: String,
        /// The file.
        #[arg(long, default_value = "model.safetensors")]
        out: PathBuf,
    },
}

impl Model {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Export { place, job, out } = self;
        match place.open().await? {
            Desk::Local(dir) => {
                let store = dir.store().await?;
                let job = operations::job(&store, &job).await?;
                let rounds = crate::export::model(&store, &job, &out).await?;
                Actor::local(&dir)?.note(&store, Act::ModelReleased { job: job.id }).await?;
                println!("{}: the model after {rounds} certified rounds", out.display());
            }
            Desk::Remote(mut remote) => {
                let (model, card) = remote.model(&job).await?;
                tributary_transport::files::save(&out, &model, false)?;
                for (name, text) in card {
                    tributary_transport::files::save(&out.with_file_name(name), &text, false)?;
                }
                println!("{}: the newest certified model of {job}", out.display());
            }
        }
        Ok(())
    }
}
