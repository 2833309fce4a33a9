//! A second, local listener for those who watch a daemon: plain HTTP/1.1, GET and HEAD only, three
//! pages: `/metrics`, `/healthz`, `/readyz`.
//!
//! It has its own address and its own limits, and serves nobody else: it must not know what the
//! pages say, nor the federation's port, certificates or frames. Nothing that arrives here is handed
//! on: a request has no effect.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at the same time; further ones wait in the operating system's queue.
const CONNECTIONS: usize = 16;
/// A request line and its headers have to be here by then.
const HEADERS: Duration = Duration::from_secs(5);
/// A connection is cut off after this time, whatever it does.
const LIFETIME: Duration = Duration::from_secs(30);
/// Bytes that a request may have.
const REQUEST_BYTES: usize = 16 * 1024;
/// How long to wait when the operating system has no more file handles for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Media type of the OpenMetrics text format, version 1.0.0.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What can be seen of a daemon.
pub trait Observed: Send + Sync + 'static {
    /// The metrics, OpenMetrics text.
    fn metrics(&self) -> String;

    /// Whether the daemon does what it is there for.
    ///
    /// # Errors
    /// Why not, in a line.
    fn ready(&self) -> Result<(), String>;
}

/// Listens on `address`.
///
/// # Errors
/// With the address and what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| {
        format!(
            "listening on {address} for metrics and health: {e}; is another program using the \
             port? `metrics` in the configuration names it"
        )
    })
}

/// Serves the pages until the task is dropped.
pub async fn serve(listener: TcpListener, observed: Arc<dyn Observed>) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // A closed semaphore cannot be: nobody closes it.
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics and health");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let observed = observed.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let page = page(observed.as_ref(), &request);
                async move { Ok::<_, Infallible>(page) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADERS);
            server.keep_alive(false).max_buf_size(REQUEST_BYTES);
            let connection = server.serve_connection(TokioIo::new(stream), answer);
            // Whoever breaks off or stalls has only itself to blame.
            let _ = tokio::time::timeout(LIFETIME, connection).await;
            drop(place);
        });
    }
}

fn page(observed: &dyn Observed, request: &Request<Incoming>) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        refused.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => with_type(StatusCode::OK, OPENMETRICS, observed.metrics()),
        // It answers, so it lives.
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => match observed.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n".into()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".into()),
    }
}

fn text(status: StatusCode, body: String) -> Response<String> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct Light(AtomicBool);

    impl Observed for Light {
        fn metrics(&self) -> String {
            "# EOF\n".into()
        }
        fn ready(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("no session".into()) }
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn three_pages_and_nothing_else() {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let light = Arc::new(Light(AtomicBool::new(false)));
        tokio::spawn(serve(listener, light.clone()));
        let get = async |path: &str| {
            ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
        };
        let metrics = get("/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(metrics.contains(OPENMETRICS), "{metrics}");
        assert!(get("/healthz").await.starts_with("HTTP/1.1 200"));
        let waiting = get("/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("no session"), "{waiting}");
        light.0.store(true, Ordering::Relaxed);
        assert!(get("/readyz?x=1").await.starts_with("HTTP/1.1 200"));
        assert!(get("/").await.starts_with("HTTP/1.1 404"));
        let post = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
        assert!(ask(address, post).await.starts_with("HTTP/1.1 405"));
        // More than a request may have, and what is no request.
        let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(2 * REQUEST_BYTES));
        assert!(!ask_loosely(address, &long).await.starts_with("HTTP/1.1 200"));
        assert!(!ask_loosely(address, "\x16\x03\x01 hello\r\n\r\n").await.contains(" 200 "));
        // The port is taken, and that is said.
        let taken = bind(address).await.unwrap_err();
        assert!(taken.contains(&address.to_string()) && taken.contains("`metrics`"), "{taken}");
    }

    /// Where the server may cut the connection in the middle.
    async fn ask_loosely(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
