//! The daemon: keep one session open, come back after every cut, stop in order.

use std::time::Duration;

use anyhow::{Context, bail};
use tributary_dp::SecretRng;
use tributary_transport::{Backoff, ClientOptions, TransportError};

use crate::book::Book;
use crate::config::{Config, TrainerKind};
use crate::data_dir::DataDir;
use crate::engine::Engine;
use crate::renewal::Keeper;
use crate::session::{self, Ended};
use crate::storage::Storage;

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the node cannot start, or its state cannot be made durable any more.
pub async fn serve(dir: &DataDir, trainer: Option<TrainerKind>) -> anyhow::Result<()> {
    tributary_transport::install_provider();
    let _lock = dir.lock("serve")?;
    let config = dir.config()?;
    init_logs(config.log_json);
    let storage = dir.storage().await?;
    let mut engine = engine(dir, &config, trainer, &storage).await?;
    let mut stop = stop_signal()?;
    tracing::info!(agency = %config.agency, aggregator = %config.aggregator, "node starts");
    let outcome = keep_session(dir, &config, &mut engine, &storage, &mut stop).await;
    storage.close().await;
    outcome?;
    tracing::info!("node stopped; its state is durable");
    Ok(())
}

async fn engine(
    dir: &DataDir,
    config: &Config,
    trainer: Option<TrainerKind>,
    storage: &Storage,
) -> anyhow::Result<Engine> {
    let datasets = storage.datasets().await?;
    if datasets.is_empty() {
        tracing::warn!("no dataset is registered; see `agency-node dataset add --help`");
    }
    let setup = dir.setup(config, trainer.unwrap_or(config.trainer), &datasets)?;
    let book = Book::replay(&storage.book().await?)?;
    let mut engine = Engine::new(setup, book);
    if let Some(stored) = storage.open_job().await? {
        if let Err(error) = engine.resume(&stored) {
            // Going down would take the agency out of the federation and tell nobody why.
            tracing::error!(
                "{error}. The node runs without it and refuses jobs until then: put right what is \
                 named above and start the node again, or end the job here for good with \
                 `agency-node job abandon --data-dir {}`",
                dir.path().display()
            );
        }
        if let Some(job) = engine.job() {
            let round = job.state().completed;
            tracing::info!(job = %job.manifest().spec.name, round, "job goes on after a restart");
        }
    }
    Ok(engine)
}

async fn keep_session(
    dir: &DataDir,
    config: &Config,
    engine: &mut Engine,
    storage: &Storage,
    stop: &mut tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let heartbeat = Duration::from_secs(config.heartbeat_seconds);
    let longest = Duration::from_secs(config.max_backoff_seconds);
    let mut backoff = Backoff::new(Duration::from_millis(200), longest);
    let options = ClientOptions::default();
    let mut rng = SecretRng::from_os()?;
    loop {
        let started = std::time::Instant::now();
        // Read each time: they may have been renewed.
        let credentials = match dir.credentials(config) {
            Ok(credentials) => credentials,
            // Whoever renews them may be writing the files just now.
            Err(error) if config.tls.is_some() => {
                tracing::error!(retry_in = ?longest, "the agency's own certificate: {error:#}");
                tokio::select! {
                    () = session::stopped(stop) => return Ok(()),
                    () = tokio::time::sleep(longest) => continue,
                }
            }
            Err(error) => return Err(error),
        };
        let connected = tokio::select! {
            () = session::stopped(stop) => return Ok(()),
            connected = tributary_transport::connect(&config.aggregator, &credentials, &options) => {
                connected
            }
        };
        let ended = match connected {
            Ok(channel) => {
                let kept = tokio::select! {
                    () = session::stopped(stop) => return Ok(()),
                    kept = Keeper::start(channel.clone(), dir, config, &credentials) => kept,
                };
                match kept {
                    Some(kept) => {
                        session::run(channel, engine, storage, heartbeat, kept.fresh(), stop)
                            .await?
                    }
                    None => Ended::Renewed,
                }
            }
            Err(error) if error.is_transient() => Ended::Lost(error.to_string()),
            // No retry mends it: an operator has to act, and must see the node down.
            Err(error) if is_own(&error) && config.tls.is_none() => bail!("{error}"),
            // The other side's to mend, and it may do so at any time.
            Err(error) => Ended::Refused(error.to_string()),
        };
        // A session that held for a while shows that the way is good.
        if started.elapsed() > longest {
            backoff.reset();
        }
        let wait = match ended {
            Ended::Stopped => return Ok(()),
            Ended::Renewed => {
                tracing::info!("connecting anew with the fresh certificate");
                continue;
            }
            Ended::Lost(reason) => {
                let wait = backoff.next_delay(&mut rng);
                tracing::warn!(%reason, retry_in = ?wait, "no session with the aggregator");
                wait
            }
            Ended::Refused(reason) => {
                tracing::error!(%reason, retry_in = ?longest, "no session until somebody acts");
                longest
            }
        };
        tokio::select! {
            () = session::stopped(stop) => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Whether the fault lies in this node's own files, so that waiting cannot help.
fn is_own(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Endpoint { .. }
            | TransportError::Credentials(_)
            | TransportError::OwnCertificateExpired { .. }
            | TransportError::OwnCertificateForeign { .. }
            | TransportError::OwnCertificateNotAnAgency { .. }
    )
}

fn stop_signal() -> anyhow::Result<tokio::sync::watch::Receiver<bool>> {
    let (tx, rx) = tokio::sync::watch::channel(false);
    #[cfg(unix)]
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        let _ = tx.send(true);
        // Keep the sender until the process ends: a closed channel would look like a change.
        std::future::pending::<()>().await;
    });
    Ok(rx)
}

fn init_logs(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json { builder.json().try_init() } else { builder.try_init() };
    if let Err(error) = done {
        eprintln!("note: logging was set up before: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_node_itself_must_mend_ends_the_daemon() {
        let endpoint = || "a:1".to_owned();
        for error in [
            TransportError::Endpoint { endpoint: endpoint(), problem: "no port" },
            TransportError::OwnCertificateExpired { endpoint: endpoint(), not_after: None },
            TransportError::OwnCertificateForeign { endpoint: endpoint() },
            TransportError::OwnCertificateNotAnAgency { endpoint: endpoint() },
        ] {
            assert!(is_own(&error) && !error.is_transient(), "{error}");
        }
        for error in [
            TransportError::NameMismatch { endpoint: endpoint(), problem: String::new() },
            TransportError::ForeignServer { endpoint: endpoint() },
            TransportError::ServerCertificateExpired { endpoint: endpoint(), not_after: None },
            TransportError::Revoked { endpoint: endpoint() },
            TransportError::Handshake { endpoint: endpoint(), problem: String::new() },
        ] {
            assert!(!is_own(&error) && !error.is_transient(), "{error}");
        }
    }
}
