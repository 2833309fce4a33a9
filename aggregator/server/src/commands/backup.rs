//! `aggregator backup`: copy the state while the service runs, or put a copy back.

use std::path::PathBuf;

use clap::Subcommand;
use tributary_store::{JobState, Store};

use super::Dir;
use crate::audit::{Act, Actor};
use crate::authorities::Authorities;
use crate::backup;
use crate::data_dir::DataDir;
use crate::status::JobStatus;
use crate::unix_now;

/// Copy the state while the service runs, or put a copy back.
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Write state, configuration and the authority's certificate into one file, with hashes. The
    /// service may run meanwhile.
    Create {
        #[command(flatten)]
        dir: Dir,
        /// The file to make; it is readable by its owner alone.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Put the two secret keys into it too. Whoever has the file then can be the aggregator; keep
        /// it as you keep the keys.
        #[arg(long)]
        with_keys: bool,
    },
    /// Put a backup back into a directory that has no database. The service must not run.
    Restore {
        /// The backup.
        file: PathBuf,
        #[command(flatten)]
        dir: Dir,
        /// Folder with `ca-key.pem` and `signing-key.hex`, if they are neither in the backup nor in
        /// the directory.
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
    },
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create { dir, out, with_keys } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let made = backup::create(&dir, &out, with_keys, unix_now()).await?;
                let event = Act::BackupMade { keys: with_keys };
                Actor::local(&dir)?.note(&dir.store().await?, event).await?;
                let bytes: u64 = made.files.values().map(|item| item.bytes).sum();
                println!("{}: {} files, {bytes} bytes", out.display(), made.files.len());
                if !with_keys {
                    println!(
                        "without ca-key.pem and signing-key.hex: keep one copy of them where secrets \
                         are kept, and a new one of ca-key.pem whenever the authority is replaced"
                    );
                }
                Ok(())
            }
            Self::Restore { file, dir, keys } => restore(&file, &dir, keys).await,
        }
    }
}

async fn restore(file: &std::path::Path, dir: &Dir, keys: Option<PathBuf>) -> anyhow::Result<()> {
    let dir = DataDir::at(&dir.data_dir);
    let contents = backup::restore(file, &dir, keys.as_deref())?;
    // Everything that `serve` will need, read once.
    dir.config()?;
    dir.identity()?;
    Authorities::load(&dir)?;
    let store = dir.store().await?;
    let event = Act::BackupRestored { made_at: contents.made_at };
    Actor::local(&dir)?.note(&store, event).await?;
    let agencies = store.agencies().await?;
    let jobs = store.jobs().await?;
    store.close().await;
    println!("{} is as it was when the backup was made", dir.path().display());
    println!(
        "  made by version {} at Unix time {}, {} agencies, {} jobs",
        contents.software,
        contents.made_at,
        agencies.len(),
        jobs.len()
    );
    println!("  enrolled since: needs a new token; revoked since: revoke again");
    for job in jobs.iter().filter(|job| job.state == JobState::Training) {
        let status = JobStatus::of(job);
        println!(
            "  {} was at round {} of {}: it goes on if its agencies are no further, else it ends and \
             says so",
            job.id, status.round, status.rounds
        );
    }
    println!("next: aggregator serve --data-dir {}", dir.path().display());
    Ok(())
}
