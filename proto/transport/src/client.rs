//! A node's channel to the aggregator. The channel reconnects by itself when it is used again;
//! when and how often to try is the caller's business ([`crate::Backoff`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};

use crate::certificate::Fingerprint;
use crate::connector::Connector;
use crate::credentials::NodeCredentials;
use crate::error::TransportError;
use crate::identity::TrustDomain;
use crate::proxy::Proxy;
use crate::tls;

/// HTTP/2 flow-control windows: the aggregator may have this much in flight to us.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Largest HTTP/2 frame that the aggregator may send: sums come in few frames.
const FRAME_BYTES: u32 = 256 * 1024;

/// Settings of a node's connections.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The federation's trust domain.
    pub trust_domain: TrustDomain,
    /// The way out, if it is not a direct one.
    pub proxy: Option<Proxy>,
    /// Limit for name resolution and TCP.
    pub connect_timeout: Duration,
    /// Limit for the TLS handshake.
    pub handshake_timeout: Duration,
    /// HTTP/2 ping interval, also while nothing is going on.
    pub keep_alive_interval: Duration,
    /// An aggregator that does not answer a ping for this long is gone.
    pub keep_alive_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(20),
        }
    }
}

/// Connects to `endpoint` (`https://host:port`) with a client certificate. Returns once the
/// aggregator has accepted it.
///
/// # Errors
/// Any [`TransportError`] but `WrongFingerprint` and `Serve`.
pub async fn connect(
    endpoint: &str,
    credentials: &NodeCredentials,
    options: &ClientOptions,
) -> Result<Channel, TransportError> {
    let config = tls::node(credentials, &options.trust_domain)?;
    let not_after = credentials.not_after()?;
    open(endpoint, config, Some(not_after), options).await
}

/// Connects to `endpoint` (`https://host:port`) without a certificate, to enrol. The server must
/// show a chain to the authority with exactly this fingerprint and be the aggregator under it.
///
/// # Errors
/// Any [`TransportError`] that does not speak of our own certificate.
pub async fn connect_for_enrolment(
    endpoint: &str,
    ca: Fingerprint,
    options: &ClientOptions,
) -> Result<Channel, TransportError> {
    let config = tls::enrolling_node(ca, &options.trust_domain)?;
    open(endpoint, config, None, options).await
}

/// As [`connect_for_enrolment`], with a certificate of the agency's own authority (chain and key,
/// PEM).
///
/// # Errors
/// Any [`TransportError`].
pub async fn connect_for_enrolment_with(
    endpoint: &str,
    ca: Fingerprint,
    chain_pem: &str,
    key_pem: &str,
    options: &ClientOptions,
) -> Result<Channel, TransportError> {
    let config = tls::enrolling_with(ca, Some((chain_pem, key_pem)), &options.trust_domain)?;
    let not_after = crate::credentials::not_after(chain_pem)?;
    open(endpoint, config, Some(not_after), options).await
}

async fn open(
    endpoint: &str,
    config: ClientConfig,
    own_not_after: Option<SystemTime>,
    options: &ClientOptions,
) -> Result<Channel, TransportError> {
    let invalid = |problem| TransportError::Endpoint { endpoint: endpoint.to_owned(), problem };
    let (host, port) = parse(endpoint).map_err(invalid)?;
    let server_name = ServerName::try_from(host.clone())
        .map_err(|_| invalid("the host is neither a DNS name nor an IP address"))?;
    // IPv6 addresses need their brackets back.
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let origin: Uri =
        format!("https://{authority}").parse().map_err(|_| invalid("it cannot be parsed"))?;
    let connector = Connector {
        host,
        port,
        proxy: options.proxy.clone(),
        endpoint: authority.clone(),
        server_name,
        config: Arc::new(config),
        own_not_after,
        connect_timeout: options.connect_timeout,
        handshake_timeout: options.handshake_timeout,
    };
    // TLS is the connector's business: tonic must not add its own because of the scheme.
    Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|_| invalid("it cannot be parsed"))?
        .origin(origin)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        }))
        .await
        .map_err(|error| {
            TransportError::behind(&error).unwrap_or_else(|| TransportError::Rpc {
                endpoint: authority,
                problem: error.to_string(),
            })
        })
}

/// Host (without brackets) and port of `https://host:port`, which may end in a slash.
fn parse(endpoint: &str) -> Result<(String, u16), &'static str> {
    let uri: Uri = endpoint.parse().map_err(|_| "it cannot be parsed")?;
    if uri.scheme_str() != Some("https") {
        return Err("the scheme must be https");
    }
    if !matches!(uri.path_and_query().map(|p| p.as_str()), None | Some("/")) {
        return Err("there must be nothing after the port");
    }
    let authority = uri.authority().ok_or("the host is missing")?;
    if authority.as_str().contains('@') {
        return Err("there must be no user name");
    }
    let port = authority.port_u16().ok_or("the port is missing")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        assert_eq!(parse("https://a.example:7443"), Ok(("a.example".into(), 7443)));
        assert_eq!(parse("https://10.0.0.1:1/"), Ok(("10.0.0.1".into(), 1)));
        assert_eq!(parse("https://[::1]:9"), Ok(("::1".into(), 9)));
        for (wrong, problem) in [
            ("http://a:1", "the scheme must be https"),
            ("a:1", "the scheme must be https"),
            ("https://a", "the port is missing"),
            ("https://a:1/x", "there must be nothing after the port"),
            ("https://a:1/?x", "there must be nothing after the port"),
            ("https://me@a:1", "there must be no user name"),
            ("https://a:99999", "the port is missing"),
            ("", "it cannot be parsed"),
        ] {
            assert_eq!(parse(wrong), Err(problem), "{wrong}");
        }
    }
}
