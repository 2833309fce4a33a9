//! The daemon: keep one session open, come back after every cut, stop in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tributary_dp::SecretRng;
use tributary_ledger::Entry;
use tributary_transport::{Backoff, ClientOptions, Proxy, TransportError, observe};

use crate::audit::Event;
use crate::book::Book;
use crate::config::{Config, TrainerKind};
use crate::data_dir::DataDir;
use crate::engine::Engine;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::renewal::Keeper;
use crate::session::{self, Ended, Lasting, Outside};
use crate::stop::{self, Stopping, asked};
use crate::storage::{Change, Storage};
use crate::twins;
use crate::version::Versions;

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the node cannot start, or its state cannot be made durable any more.
pub async fn serve(dir: &DataDir, trainer: Option<TrainerKind>) -> anyhow::Result<()> {
    tributary_transport::install_provider();
    let _lock = dir.lock("serve")?;
    let config = dir.config()?;
    init_logs(config.log_json);
    let metrics = Arc::new(Metrics::new(dir.path()));
    let observer = match config.metrics {
        Some(address) => Some(observe::bind(address).await.map_err(anyhow::Error::msg)?),
        None => None,
    };
    let storage = dir.storage().await?;
    storage.check_audit().await?;
    let mut outside = Outside::open(&storage).await?;
    let mut engine = engine(dir, &config, trainer, &storage).await?;
    note_start(dir, &config, &storage, &mut outside).await?;
    metrics.show(&engine);
    if let Some(listener) = observer {
        tracing::info!(listen = ?config.metrics, "metrics and health");
        tokio::spawn(observe::serve(listener, metrics.clone()));
    }
    let mut stop = stop::on_signals(Duration::from_secs(config.drain_seconds))?;
    tracing::info!(agency = %config.agency, aggregator = %config.aggregator, "node starts");
    let kept = (&storage, &mut outside);
    let outcome = keep_session(dir, &config, &mut engine, kept, (&metrics, &mut stop)).await;
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
    let salt = storage.salt().await?;
    let setup = dir.setup(config, trainer.unwrap_or(config.trainer), &datasets, &salt)?;
    setup.policy.remarks().into_iter().for_each(|remark| tracing::warn!("{remark}"));
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
        engine.recall(storage.checkpoints(&hex::encode(stored.hash())).await?);
        if let Some(job) = engine.job() {
            let round = job.state().completed;
            tracing::info!(job = %job.manifest().spec.name, round, "job goes on after a restart");
        }
    }
    Ok(engine)
}

/// What the audit record says of every start: the policy, and files that are not what they were.
async fn note_start(
    dir: &DataDir,
    config: &Config,
    storage: &Storage,
    outside: &mut Outside,
) -> anyhow::Result<()> {
    if let Some(complaint) = outside.clock().complaint() {
        tracing::error!("{complaint}");
    }
    let at = outside.clock().now().0;
    let policy = twins::content_hash(&dir.path().join(&config.policy))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    storage.record(&at, &Event::PolicyLoaded { version, policy }, Change::None).await?;
    let (salt, mut known) = (storage.salt().await?, BTreeMap::new());
    for line in storage.audit_lines().await? {
        let entry: Entry = serde_json::from_str(&line)?;
        match Event::from_body(&entry.body) {
            Ok(Event::DatasetAdded { dataset, dataset_version: is, .. })
            | Ok(Event::DatasetChanged { dataset, is, .. }) => {
                known.insert(dataset, is);
            }
            _ => {}
        }
    }
    for row in storage.datasets().await? {
        let is = match Versions::of(&row, &salt).now() {
            Ok(is) => is,
            Err(problem) => {
                tracing::warn!(dataset = %row.name, "its file cannot be read now: {problem}");
                continue;
            }
        };
        let was = known.get(&row.name).cloned().unwrap_or_else(|| "not recorded".to_owned());
        if was != is {
            let dataset = row.name.clone();
            storage.record(&at, &Event::DatasetChanged { dataset, was, is }, Change::None).await?;
        }
    }
    Ok(())
}

async fn keep_session(
    dir: &DataDir,
    config: &Config,
    engine: &mut Engine,
    (storage, outside): (&Storage, &mut Outside),
    (metrics, stop): (&Metrics, &mut Stopping),
) -> anyhow::Result<()> {
    let heartbeat = Duration::from_secs(config.heartbeat_seconds);
    let longest = Duration::from_secs(config.max_backoff_seconds);
    let mut backoff = Backoff::new(Duration::from_millis(200), longest);
    let proxy =
        Proxy::choose(config.proxy.as_deref(), &config.aggregator, |v| std::env::var(v).ok())?;
    if let Some(proxy) = &proxy {
        tracing::info!(%proxy, "the way to the aggregator is a proxy");
    }
    let options = ClientOptions { proxy, ..ClientOptions::default() };
    let mut gate = Gate::default();
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
                    () = asked(stop) => return Ok(()),
                    () = tokio::time::sleep(longest) => continue,
                }
            }
            Err(error) => return Err(error),
        };
        let connected = tokio::select! {
            () = asked(stop) => return Ok(()),
            connected = tributary_transport::connect(&config.aggregator, &credentials, &options) => {
                connected
            }
        };
        let ended = match connected {
            Ok(channel) => {
                let kept = tokio::select! {
                    () = asked(stop) => return Ok(()),
                    kept = Keeper::start(channel.clone(), dir, config, &credentials) => kept,
                };
                match kept {
                    Some(kept) => {
                        let (engine, outside, fresh) = (&mut *engine, &mut *outside, kept.fresh());
                        let lasting =
                            Lasting { engine, storage, outside, gate: &mut gate, metrics };
                        session::run(channel, lasting, heartbeat, fresh, stop).await?
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
                metrics.no_session(&reason);
                let wait = backoff.next_delay(&mut rng);
                tracing::warn!(%reason, retry_in = ?wait, "no session with the aggregator");
                wait
            }
            Ended::Refused(reason) => {
                metrics.no_session(&reason);
                tracing::error!(%reason, retry_in = ?longest, "no session until somebody acts");
                longest
            }
        };
        tokio::select! {
            () = asked(stop) => return Ok(()),
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
