//! A TCP relay between a node and the aggregator that behaves like a bad network: slow, late, cut in
//! the middle of a frame, or silent while both ends believe that the connection stands. It can also
//! be an HTTP proxy that wants a `CONNECT` first.
//!
//! It sees TLS and understands nothing of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that are passed on at a time.
const PIECE: usize = 8 * 1024;
/// How often a silent line is looked at again.
const NAP: Duration = Duration::from_millis(10);

/// The relay. Dropping it cuts every connection.
#[derive(Debug)]
pub struct LossyLine {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    delay_millis: AtomicU64,
    /// Bytes a second in each direction; 0 is no limit.
    rate: AtomicU64,
    silent: AtomicBool,
    closed: AtomicBool,
    /// Bytes towards the aggregator until every connection is cut; negative numbers do not exist, so
    /// the largest stands for never.
    fuse: AtomicU64,
    up: AtomicU64,
    connections: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
    /// What a `CONNECT` must bring: nothing is asked for if it is none.
    proxy: Option<ProxyRule>,
    asked: Mutex<Vec<String>>,
}

/// What an HTTP proxy lets through.
#[derive(Debug, Clone)]
pub struct ProxyRule {
    /// Value of `Proxy-Authorization`, if one is wanted.
    pub authorization: Option<String>,
}

impl LossyLine {
    /// A perfect line to `to`, for now.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn to(to: SocketAddr) -> Self {
        Self::start(to, None)
    }

    /// An HTTP proxy that lets through what the rule says, to whatever address.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn proxy(rule: ProxyRule) -> Self {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(rule))
    }

    fn start(to: SocketAddr, proxy: Option<ProxyRule>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let fuse = AtomicU64::new(u64::MAX);
        let state = Arc::new(State { fuse, proxy, ..State::default() });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || shared.relay(stream, to));
            }
        });
        Self { address, state }
    }

    /// Where a node connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as nodes are told an aggregator's address.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Every piece comes so much later.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_millis.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// So many bytes a second pass in each direction.
    pub fn limit(&self, bytes_per_second: u64) {
        self.state.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Nothing passes any more, and nobody is told; or it passes again.
    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// Cuts every connection after so many bytes more towards the aggregator.
    pub fn cut_after(&self, bytes: u64) {
        self.state.fuse.store(bytes, Ordering::SeqCst);
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Bytes that went towards the aggregator.
    pub fn bytes_up(&self) -> u64 {
        self.state.up.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// First lines of the requests to the proxy.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for LossyLine {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn relay(self: Arc<Self>, mut down: TcpStream, to: SocketAddr) {
        let to = match &self.proxy {
            None => to,
            Some(rule) => match self.admit(&mut down, rule) {
                Some(to) => to,
                None => return,
            },
        };
        let Ok(up) = TcpStream::connect(to) else { return };
        self.connections.fetch_add(1, Ordering::Relaxed);
        let _ = (down.set_nodelay(true), up.set_nodelay(true));
        let (Ok(down_again), Ok(up_again)) = (down.try_clone(), up.try_clone()) else { return };
        if let (Ok(a), Ok(b)) = (down.try_clone(), up.try_clone()) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).extend([a, b]);
        }
        let other = self.clone();
        let back = std::thread::spawn(move || other.pass(up_again, down_again, false));
        self.pass(down, up, true);
        let _ = back.join();
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, upwards: bool) {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            std::thread::sleep(Duration::from_millis(self.delay_millis.load(Ordering::Relaxed)));
            let rate = self.rate.load(Ordering::Relaxed);
            if rate > 0 {
                std::thread::sleep(Duration::from_secs_f64(length as f64 / rate as f64));
            }
            while self.silent.load(Ordering::Relaxed) {
                std::thread::sleep(NAP);
            }
            let mut data = &piece[..length];
            if upwards {
                self.up.fetch_add(length as u64, Ordering::Relaxed);
                let fuse = self.fuse.load(Ordering::SeqCst);
                if fuse != u64::MAX {
                    let left = fuse.saturating_sub(length as u64);
                    self.fuse.store(left, Ordering::SeqCst);
                    if left == 0 {
                        // In the middle of whatever it is.
                        data = &data[..(fuse as usize).min(length)];
                        let _ = to.write_all(data);
                        self.fuse.store(u64::MAX, Ordering::SeqCst);
                        self.cut();
                        return;
                    }
                }
            }
            if to.write_all(data).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// Reads a `CONNECT`; says where to, if it is let through.
    fn admit(&self, stream: &mut TcpStream, rule: &ProxyRule) -> Option<SocketAddr> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let first = head.lines().next()?.to_owned();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(first.clone());
        let wanted = rule.authorization.as_ref().map(|a| format!("Proxy-Authorization: {a}"));
        if wanted.is_some_and(|line| !head.lines().any(|l| l == line)) {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            let _ = stream.write_all(refusal.as_bytes());
            return None;
        }
        let to = first.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1")?.parse().ok()?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_bytes_and_breaks_where_it_is_told_to() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = LossyLine::to(echo.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut &stream, &mut back);
                });
            }
        });
        let mut stream = TcpStream::connect(line.address()).unwrap();
        let mut answer = [0; 5];
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((&answer, line.bytes_up()), (b"hello", 5));
        line.cut_after(3);
        stream.write_all(b"world").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 3, "{rest:?}");
        let mut again = TcpStream::connect(line.address()).unwrap();
        again.write_all(b"again").unwrap();
        again.read_exact(&mut answer).unwrap();
        assert_eq!((&answer, line.connections()), (b"again", 2));
    }
}
