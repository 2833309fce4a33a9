//! `aggregator serve`: opens everything, listens, and stops in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tributary_transport::{ServerOptions, routes, with_control};

use crate::audit::{Act, Actor, SERVICE};
use crate::control::ControlService;
use crate::data_dir::DataDir;
use crate::hub::Hub;
use crate::membership::MembershipService;
use crate::metrics::Metrics;
use crate::service::FederationService;
use crate::trust::Trust;

/// Frames of all nodes that may wait for the hub.
const HUB_QUEUE: usize = 1024;

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
    let (trust, watch) = Trust::start(&dir, &config, &store, metrics.clone()).await?;
    let (to_hub, from_sessions) = mpsc::channel(HUB_QUEUE);
    let signing_key = identity.verifying_key().0;
    let membership = MembershipService {
        store: store.clone(),
        trust: trust.clone(),
        signing_key,
        identity: identity.clone(),
    };
    let control =
        ControlService { store: store.clone(), trust: trust.clone(), identity: identity.clone() };
    let service = Actor::new(identity.clone(), SERVICE);
    let federation = FederationService { hub: to_hub, next_id: AtomicU64::new(0) };
    let stop = stop_signal()?;
    service.note(&store, Act::ServiceStarted { version: env!("CARGO_PKG_VERSION") }).await?;
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
    let options =
        ServerOptions { shutdown_grace: Duration::from_secs(1), ..ServerOptions::default() };
    let serving = tributary_transport::serve(
        listener,
        trust.tls(),
        with_control(routes(membership.clone(), federation), membership, control),
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
    let noted = match &outcome {
        Ok(()) => service.note(&store, Act::ServiceStopped).await,
        Err(_) => Ok(()),
    };
    store.close().await;
    outcome?;
    noted?;
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
