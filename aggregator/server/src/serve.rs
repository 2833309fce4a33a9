//! `aggregator serve`: opens everything, listens, and stops in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tributary_store::{SqliteStore, Store};
use tributary_transport::certificate::{leaf_from_pem, validity};
use tributary_transport::{Revocations, ServerOptions, ServerTls, TrustDomain, routes};

use crate::data_dir::DataDir;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::service::{EnrolmentService, FederationService, revoked_names};

/// Validity of the service's own certificate; a new one is made at every start.
const SERVER_CERTIFICATE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Frames of all nodes that may wait for the hub.
const HUB_QUEUE: usize = 1024;

/// How often revocations by the operator's command line are looked for.
const REVOCATIONS: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the service cannot start, or its state cannot be made durable any more.
pub async fn serve(dir: DataDir) -> anyhow::Result<()> {
    tributary_transport::install_provider();
    let config = dir.config()?;
    init_logs(config.log_json);
    let identity = Arc::new(dir.identity()?);
    let store = dir.store().await?;
    let ca = Arc::new(dir.authority()?);
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("listening on {}; is another program using the port?", config.listen)
    })?;
    let metrics = Arc::new(Metrics::new());
    let observer = match config.metrics {
        Some(address) => {
            Some(tributary_transport::observe::bind(address).await.map_err(anyhow::Error::msg)?)
        }
        None => None,
    };
    let hosts: Vec<&str> = config.hosts.iter().map(String::as_str).collect();
    let server = ca.issue_server(&hosts, SERVER_CERTIFICATE, SystemTime::now())?;
    for (name, pem) in [("server", server.chain_pem.as_str()), ("authority", ca.certificate_pem())]
    {
        metrics.certificate(name, validity(&leaf_from_pem(pem)?)?.not_after);
    }
    let revocations = Arc::new(Revocations::new(revoked_names(&store.agencies().await?)));
    let tls =
        ServerTls::new(&server, ca.certificate_pem(), TrustDomain::default(), revocations.list())?;
    let (to_hub, from_sessions) = mpsc::channel(HUB_QUEUE);
    let enrolment = EnrolmentService {
        store: store.clone(),
        ca,
        signing_key: identity.verifying_key().0,
        validity: Duration::from_secs(u64::from(config.certificate_days) * 24 * 3600),
        revocations: revocations.clone(),
    };
    let federation = FederationService { hub: to_hub, next_id: AtomicU64::new(0) };
    let stop = stop_signal()?;
    tracing::info!(listen = %config.listen, "aggregator serves");
    let hub =
        Hub::new(store.clone(), identity, config.timeouts.timeouts(), config.capacity.capacity())
            .with_metrics(metrics.clone());
    let drain = Duration::from_secs(config.timeouts.drain_seconds.into());
    let hub = tokio::spawn(hub.run(from_sessions, stopped(stop), drain));
    if let Some(listener) = observer {
        tracing::info!(listen = ?config.metrics, "metrics and health");
        tokio::spawn(tributary_transport::observe::serve(listener, metrics));
    }
    let watch = tokio::spawn(watch_revocations(store.clone(), revocations));
    let options = ServerOptions::default();
    let serving = tributary_transport::serve(
        listener,
        Arc::new(tls),
        routes(enrolment, federation),
        options,
        // Sessions live as long as the hub, which ends when it has drained.
        std::future::pending(),
    );
    // Without its hub the service must not go on taking frames.
    let outcome = tokio::select! {
        outcome = serving => outcome.map_err(anyhow::Error::from),
        outcome = hub => outcome.context("the hub failed").and_then(|o| o),
    };
    watch.abort();
    store.close().await;
    outcome?;
    tracing::info!("aggregator stopped; its state is durable");
    Ok(())
}

/// An address at which a local client reaches a listening one.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn watch_revocations(store: SqliteStore, revocations: Arc<Revocations>) {
    let mut known = Vec::new();
    loop {
        tokio::time::sleep(REVOCATIONS).await;
        match store.agencies().await {
            Ok(agencies) => {
                let names = revoked_names(&agencies);
                if names != known {
                    known.clone_from(&names);
                    revocations.replace(names);
                }
            }
            Err(error) => tracing::warn!(%error, "looking for revocations"),
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as a signal.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (tx, rx) = watch::channel(false);
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
        tx.closed().await;
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
