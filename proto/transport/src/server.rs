//! The aggregator's one port: TLS settings that can be replaced while it runs, limits, and
//! [`serve`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tonic::service::Routes;

use crate::accept;
use crate::access::GateLayer;
use crate::credentials::{CredentialsError, ServerCredentials};
use crate::error::TransportError;
use crate::identity::TrustDomain;
use crate::members::{ClientAuthorities, MemberVerifier};
use crate::revocation::RevocationList;
use crate::tls;

/// HTTP/2 flow-control windows: one stream may have this much in flight.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Largest HTTP/2 frame; messages are cut into frames of at most this size.
const FRAME_BYTES: u32 = 256 * 1024;
/// Largest set of HTTP headers.
const HEADER_BYTES: u32 = 16 * 1024;
/// Calls that one connection may have open.
const STREAMS: u32 = 16;

/// Limits of the server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// A handshake that takes longer is cut off.
    pub handshake_timeout: Duration,
    /// Handshakes at the same time; further connections wait in the operating system's queue.
    pub max_handshakes: usize,
    /// Handshakes of one address at the same time; further connections are closed at once.
    pub max_handshakes_per_address: usize,
    /// Connections of members at the same time; further ones are refused.
    pub max_connections: usize,
    /// Connections of one member at the same time; further ones are refused. A node needs one, and
    /// for a moment a second where it replaces a lost one.
    pub max_connections_per_member: usize,
    /// Connections without a certificate at the same time; further ones are refused.
    pub max_anonymous_connections: usize,
    /// A connection without a certificate is closed after this time: enrolment is one call.
    pub anonymous_lifetime: Duration,
    /// HTTP/2 ping interval.
    pub keep_alive_interval: Duration,
    /// A peer that does not answer a ping for this long is gone.
    pub keep_alive_timeout: Duration,
    /// How long calls may go on after the shutdown signal.
    pub shutdown_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 128,
            max_handshakes_per_address: 64,
            max_connections: 4096,
            max_connections_per_member: 8,
            max_anonymous_connections: 128,
            anonymous_lifetime: Duration::from_secs(60),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(20),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// The aggregator's TLS settings. They can be replaced while it serves: the new ones hold for new
/// connections, and a live one whose certificate they no longer accept is closed.
#[derive(Debug)]
pub struct ServerTls {
    current: watch::Sender<Arc<Current>>,
    trust_domain: TrustDomain,
    revocations: RevocationList,
}

/// The settings of one moment.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) config: Arc<rustls::ServerConfig>,
    pub(crate) members: Arc<MemberVerifier>,
}

impl ServerTls {
    /// Settings from the aggregator's credentials and the authorities whose members may connect (PEM
    /// of the federation's own, or [`ClientAuthorities`]).
    ///
    /// # Errors
    /// [`CredentialsError`] if they cannot be used.
    pub fn new(
        credentials: &ServerCredentials,
        clients: impl Into<ClientAuthorities>,
        trust_domain: TrustDomain,
        revocations: RevocationList,
    ) -> Result<Self, CredentialsError> {
        let current =
            Current::new(credentials, &clients.into(), &trust_domain, revocations.clone())?;
        Ok(Self { current: watch::Sender::new(Arc::new(current)), trust_domain, revocations })
    }

    /// Replaces credentials and authorities. On an error the old ones stay.
    ///
    /// # Errors
    /// [`CredentialsError`] if the new ones cannot be used.
    pub fn replace(
        &self,
        credentials: &ServerCredentials,
        clients: impl Into<ClientAuthorities>,
    ) -> Result<(), CredentialsError> {
        let revocations = self.revocations.clone();
        let fresh = Current::new(credentials, &clients.into(), &self.trust_domain, revocations)?;
        self.current.send_replace(Arc::new(fresh));
        Ok(())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    pub(crate) fn revocations(&self) -> &RevocationList {
        &self.revocations
    }
}

impl Current {
    fn new(
        credentials: &ServerCredentials,
        clients: &ClientAuthorities,
        trust_domain: &TrustDomain,
        revocations: RevocationList,
    ) -> Result<Self, CredentialsError> {
        let members = MemberVerifier::new(clients, trust_domain.clone(), revocations)?;
        let members = Arc::new(members);
        let config = Arc::new(tls::aggregator(credentials, members.clone())?);
        Ok(Self { config, members })
    }
}

/// Serves until `shutdown` completes. Then no connection is accepted, open calls have
/// `options.shutdown_grace` to end, and what is left is closed.
///
/// # Errors
/// [`TransportError::Serve`] if the server cannot go on.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    routes: Routes,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), TransportError> {
    let (stop, stopped) = watch::channel(false);
    let (draining, drain) = oneshot::channel();
    let grace = options.shutdown_grace;
    let mut server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(options.keep_alive_interval))
        .http2_keepalive_timeout(Some(options.keep_alive_timeout))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS)
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(HEADER_BYTES)
        .layer(GateLayer);
    let incoming = accept::incoming(listener, tls, options, stopped);
    let signal = async move {
        shutdown.await;
        let _ = draining.send(());
    };
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, signal);
    tokio::pin!(serving);
    let cut_off = async move {
        if drain.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(grace).await;
    };
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = cut_off => {
            stop.send_replace(true);
            serving.await
        }
    };
    outcome.map_err(|e| TransportError::Serve(e.to_string()))
}
