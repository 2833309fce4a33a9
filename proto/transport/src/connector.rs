//! One connection attempt of a node: TCP, TLS, and the server's first bytes.
//!
//! In TLS 1.3 the client's handshake is over before the server has looked at the client's
//! certificate. An HTTP/2 server speaks first (its settings), so waiting for one byte tells
//! whether we were let in, and if not, the alert says why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Step, TransportError};
use crate::proxy::Proxy;
use crate::socket;

/// Everything an attempt needs; a channel keeps it for reconnecting.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) proxy: Option<Proxy>,
    /// `host:port`, for errors.
    pub(crate) endpoint: String,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
    /// End of our own certificate, for errors.
    pub(crate) own_not_after: Option<SystemTime>,
    pub(crate) connect_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
}

/// A TLS connection whose first bytes have already been read.
pub(crate) struct Admitted {
    tls: TlsStream<TcpStream>,
    first: Vec<u8>,
    taken: usize,
}

impl Connector {
    pub(crate) async fn connect(self) -> Result<Admitted, TransportError> {
        let timed_out = |step, limit| {
            let endpoint = self.endpoint.clone();
            move |_| TransportError::TimedOut { endpoint, step, limit }
        };
        let stream = timeout(self.connect_timeout, self.tcp())
            .await
            .map_err(timed_out(Step::Connect, self.connect_timeout))??;
        timeout(self.handshake_timeout, self.tls(stream))
            .await
            .map_err(timed_out(Step::Handshake, self.handshake_timeout))?
    }

    async fn tcp(&self) -> Result<TcpStream, TransportError> {
        let connected = async {
            let stream = match &self.proxy {
                Some(proxy) => proxy.connect(&self.endpoint).await?,
                None => TcpStream::connect((self.host.as_str(), self.port)).await?,
            };
            socket::tune(&stream)?;
            Ok(stream)
        };
        connected.await.map_err(|e: io::Error| match &self.proxy {
            Some(proxy) => TransportError::Proxy {
                endpoint: self.endpoint.clone(),
                proxy: proxy.to_string(),
                problem: e.to_string(),
            },
            None => TransportError::from_connect(&self.endpoint, &e),
        })
    }

    async fn tls(&self, stream: TcpStream) -> Result<Admitted, TransportError> {
        let refused =
            |e: &io::Error| TransportError::from_handshake(&self.endpoint, e, self.own_not_after);
        let mut tls = TlsConnector::from(self.config.clone())
            .connect(self.server_name.clone(), stream)
            .await
            .map_err(|e| refused(&e))?;
        let mut first = vec![0; 1024];
        let length = tls.read(&mut first).await.map_err(|e| refused(&e))?;
        if length == 0 {
            return Err(TransportError::Closed { endpoint: self.endpoint.clone() });
        }
        first.truncate(length);
        Ok(Admitted { tls, first, taken: 0 })
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.first.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.tls).poll_read(cx, buf);
        }
        let length = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..length).unwrap_or_default());
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
