//! From a listening socket to authenticated connections: the accept loop.
//!
//! Handshakes run beside each other, bounded in number and time. A connection ends by itself when
//! its member or certificate is revoked, when its certificate ends or its authority is no longer
//! trusted, when an anonymous client overstays, and when the server stops.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tributary_wire::Member;

use crate::complaints::Complaints;
use crate::peer::{PeerIdentity, PeerInfo};
use crate::revocation::{PeerCertificate, RevocationList};
use crate::seats::{Seat, Seats};
use crate::server::{Current, ServerOptions, ServerTls};
use crate::socket;

/// How long to wait when the operating system has no more file handles for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An authenticated connection.
pub(crate) struct PeerStream {
    tls: TlsStream<TcpStream>,
    info: PeerInfo,
    end: Pin<Box<dyn Future<Output = End> + Send>>,
    ended: Option<End>,
    _place: (OwnedSemaphorePermit, Option<Seat<Member>>),
}

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Revoked,
    CertificateEnded,
    AuthorityGone,
    AnonymousTooLong,
    Stopping,
}

/// Accepts until the stream is dropped or `stop` turns true.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    options: ServerOptions,
    stop: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<PeerStream>> {
    let (sender, receiver) = mpsc::channel(1);
    let door = Arc::new(Door {
        tls,
        handshakes: Arc::new(Semaphore::new(options.max_handshakes)),
        members: Arc::new(Semaphore::new(options.max_connections)),
        seats: Seats::default(),
        addresses: Seats::default(),
        complaints: Complaints::default(),
        strangers: Arc::new(Semaphore::new(options.max_anonymous_connections)),
        options,
        stop,
        sender,
    });
    tokio::spawn(door.run(listener));
    ReceiverStream::new(receiver)
}

struct Door {
    tls: Arc<ServerTls>,
    handshakes: Arc<Semaphore>,
    members: Arc<Semaphore>,
    seats: Seats<Member>,
    addresses: Seats<IpAddr>,
    complaints: Complaints,
    strangers: Arc<Semaphore>,
    options: ServerOptions,
    stop: watch::Receiver<bool>,
    sender: mpsc::Sender<io::Result<PeerStream>>,
}

impl Door {
    async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.sender.closed() => return,
                accepted = self.accept(&listener) => accepted,
            };
            let Some((stream, remote, permit)) = accepted else { continue };
            // Whoever opens connections and says nothing must not hold every place.
            let most = self.options.max_handshakes_per_address;
            let Some(address) = self.addresses.take(&remote.ip(), most) else {
                self.complain(remote, &format!("{most} handshakes from there already"));
                continue;
            };
            let door = self.clone();
            tokio::spawn(async move {
                match door.greet(stream, remote).await {
                    // The only error is a server that is stopping.
                    Ok(peer) => drop(door.sender.send(Ok(peer)).await),
                    Err(problem) => door.complain(remote, &problem),
                }
                drop((permit, address));
            });
        }
    }

    fn complain(&self, remote: SocketAddr, problem: &str) {
        match self.complaints.next(Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(%remote, problem, "connection refused"),
            Some(unsaid) => {
                tracing::warn!(%remote, problem, unsaid, "connection refused, as many others before");
            }
        }
    }

    /// The next TCP connection, once there is room for a handshake.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = self.handshakes.clone().acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, remote)) => Some((stream, remote, permit)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    /// The handshake, and what it says about the peer.
    async fn greet(&self, stream: TcpStream, remote: SocketAddr) -> Result<PeerStream, String> {
        socket::tune(&stream).map_err(|e| e.to_string())?;
        let settings = self.tls.watch();
        let current = settings.borrow().clone();
        let acceptor = TlsAcceptor::from(current.config.clone());
        let tls = tokio::time::timeout(self.options.handshake_timeout, acceptor.accept(stream))
            .await
            .map_err(|_| format!("no handshake within {:?}", self.options.handshake_timeout))?
            .map_err(|e| e.to_string())?;
        let (_, session) = tls.get_ref();
        let key_exchange = session
            .negotiated_key_exchange_group()
            .and_then(|group| group.name().as_str())
            .unwrap_or("unknown");
        // The handshake verified the chain; this says which member it was that got through.
        let chain: Vec<CertificateDer<'static>> = session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|der| der.clone().into_owned())
            .collect();
        let (identity, certificate) = match chain.split_first() {
            None => (PeerIdentity::Anonymous, None),
            Some((leaf, rest)) => {
                let found = current.members.identify(leaf, rest, UnixTime::now());
                let (member, certificate) = found.map_err(|e| e.to_string())?;
                (PeerIdentity::Member(member), Some(certificate))
            }
        };
        let (places, seat) = match &identity {
            PeerIdentity::Anonymous => (&self.strangers, None),
            PeerIdentity::Member(member) => {
                let most = self.options.max_connections_per_member;
                let seat = self.seats.take(member, most);
                let seat =
                    seat.ok_or_else(|| format!("{member} has {most} connections already"))?;
                (&self.members, Some(seat))
            }
        };
        let place = places.clone().try_acquire_owned().map_err(|_| "too many connections")?;
        let revocations = self.tls.revocations().clone();
        let info = PeerInfo { identity, certificate, remote, key_exchange, revocations };
        let shown = Shown { info: info.clone(), chain, settings };
        let end = Box::pin(end(shown, self.options.clone(), self.stop.clone()));
        Ok(PeerStream { tls, info, end, ended: None, _place: (place, seat) })
    }
}

/// What a peer has shown, and the settings it is held against.
struct Shown {
    info: PeerInfo,
    chain: Vec<CertificateDer<'static>>,
    settings: watch::Receiver<Arc<Current>>,
}

impl Shown {
    /// Waits until the settings no longer accept the chain as the same member's.
    async fn until_foreign(mut self) {
        loop {
            if self.settings.changed().await.is_err() {
                // Nobody replaces the settings any more.
                std::future::pending::<()>().await;
            }
            let members = self.settings.borrow_and_update().members.clone();
            let Some((leaf, rest)) = self.chain.split_first() else { continue };
            let same = members
                .identify(leaf, rest, UnixTime::now())
                .is_ok_and(|(member, _)| PeerIdentity::Member(member) == self.info.identity);
            if !same {
                return;
            }
        }
    }
}

/// Waits for the first reason to end a connection.
async fn end(shown: Shown, options: ServerOptions, mut stop: watch::Receiver<bool>) -> End {
    let PeerInfo { identity, certificate, revocations, .. } = shown.info.clone();
    let own = async {
        match (&identity, &certificate) {
            (PeerIdentity::Member(member), Some(certificate)) => tokio::select! {
                () = revocations.clone().until_refused(member, certificate) => End::Revoked,
                () = knocking(&revocations, member, certificate, options.anonymous_lifetime) => {
                    End::AnonymousTooLong
                }
                () = until(certificate.not_after) => End::CertificateEnded,
                () = shown.until_foreign() => End::AuthorityGone,
            },
            _ => {
                tokio::time::sleep(options.anonymous_lifetime).await;
                End::AnonymousTooLong
            }
        }
    };
    tokio::select! {
        end = own => end,
        // An error means that the server is gone.
        _ = stop.wait_for(|stop| *stop) => End::Stopping,
    }
}

/// A member that was let in only to enrol again has as long as a stranger.
async fn knocking(
    revocations: &RevocationList,
    member: &Member,
    certificate: &PeerCertificate,
    lifetime: Duration,
) {
    if revocations.reason(member, certificate).is_none() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(lifetime).await;
}

/// Sleeps in short steps until the wall clock has passed `time`, which may jump.
async fn until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_secs(60))).await;
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An HTTP/2 connection always has a read pending, so this notices the end at once.
        if self.ended.is_none()
            && let Poll::Ready(end) = self.end.as_mut().poll(cx)
        {
            self.ended = Some(end);
            tracing::info!(peer = ?self.info.identity, remote = %self.info.remote, ?end, "closed");
        }
        match self.ended {
            Some(end) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("{end:?}"),
            ))),
            None => Pin::new(&mut self.tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for PeerStream {
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
