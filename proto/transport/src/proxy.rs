//! The way out through an HTTP proxy: one `CONNECT`, after which the proxy passes bytes on. TLS is
//! between node and aggregator all the same, so a proxy sees where to and how much, and nothing else.
//!
//! A proxy that opens TLS itself is refused by the handshake: its certificate is not the federation's.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Bytes that a proxy's answer may have.
const ANSWER_BYTES: usize = 8 * 1024;

/// A proxy's address, with a name and a password if it wants them.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// `user:password` in base64, a secret.
    basic: Option<Zeroizing<String>>,
}

/// Why a proxy's address is refused. Never repeats a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the proxy named by {from} cannot be used: {problem}; write http://[user:password@]host:port"
)]
pub struct ProxyError {
    from: String,
    problem: &'static str,
}

impl Proxy {
    /// The proxy for an aggregator: the one that is configured, or else `HTTPS_PROXY`; none if
    /// `"none"` is configured or `NO_PROXY` names the host. `variable` looks up the environment; the
    /// lower-case names count, too.
    ///
    /// # Errors
    /// [`ProxyError`] names where the address was found.
    pub fn choose(
        configured: Option<&str>,
        endpoint: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        if let Some(text) = configured {
            return if text == "none" { Ok(None) } else { Self::parse(text, "proxy").map(Some) };
        }
        let either = |name: &str| {
            let found = variable(name).or_else(|| variable(&name.to_lowercase()));
            found.filter(|text| !text.is_empty())
        };
        let Some(text) = either("HTTPS_PROXY") else { return Ok(None) };
        let uri: Option<Uri> = endpoint.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let spared = either("NO_PROXY").is_some_and(|list| spares(&list, host));
        if spared { Ok(None) } else { Self::parse(&text, "HTTPS_PROXY").map(Some) }
    }

    fn parse(text: &str, from: &str) -> Result<Self, ProxyError> {
        let refuse = |problem| ProxyError { from: from.to_owned(), problem };
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let text = Zeroizing::new(text);
        let uri: Uri = text.parse().map_err(|_| refuse("it cannot be parsed"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("only http:// proxies are spoken to (what passes is TLS anyway)"));
        }
        let authority = uri.authority().ok_or_else(|| refuse("the host is missing"))?;
        let basic = match authority.as_str().rsplit_once('@') {
            Some((user, _)) => {
                let plain = Zeroizing::new(percent_decoded(user));
                Some(Zeroizing::new(STANDARD.encode(&*plain)))
            }
            None => None,
        };
        let port = authority.port_u16().ok_or_else(|| refuse("the port is missing"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, basic })
    }

    /// A connection to `authority` (`host:port`) through the proxy.
    ///
    /// # Errors
    /// What the proxy, or the way to it, says.
    pub(crate) async fn connect(&self, authority: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let mut request =
            Zeroizing::new(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"));
        if let Some(basic) = &self.basic {
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(basic);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let answer = answer(&mut stream).await?;
        match status(&answer) {
            Some(code) if (200..300).contains(&code) => Ok(stream),
            Some(407) if self.basic.is_none() => {
                Err(io::Error::other("it wants a user and a password (407)"))
            }
            Some(407) => Err(io::Error::other("it does not accept this user or password (407)")),
            Some(code) => Err(io::Error::other(format!("it refuses the connection ({code})"))),
            None => Err(io::Error::other("it does not speak HTTP")),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Reads up to the empty line and not a byte further: what follows belongs to TLS.
async fn answer(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_BYTES {
            return Err(io::Error::other("its answer has no end"));
        }
        answer.push(stream.read_u8().await?);
    }
    Ok(answer)
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// Whether `NO_PROXY` names a host: itself, a domain that it lies in, or everything.
fn spares(list: &str, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).any(|item| {
        let domain = item.trim_start_matches('.').to_lowercase();
        item == "*" || host == domain || host.ends_with(&format!(".{domain}"))
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|two| hex::decode(two).ok());
        match hex {
            Some(byte) => {
                out.extend(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(configured: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let look = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let chosen = Proxy::choose(configured, "https://agg.example.gov:7443", look).unwrap();
        chosen.map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_configuration_wins_over_the_environment() {
        let env = ("HTTPS_PROXY", "http://proxy:3128");
        assert_eq!(choose(None, &[]), None);
        assert_eq!(choose(None, &[env]).unwrap(), "proxy:3128");
        assert_eq!(choose(None, &[("https_proxy", "low:1")]).unwrap(), "low:1");
        assert_eq!(choose(Some("http://mine:8080"), &[env]).unwrap(), "mine:8080");
        assert_eq!(choose(Some("none"), &[env]), None);
        for spared in ["agg.example.gov", ".example.gov", "example.gov", "a, *"] {
            assert_eq!(choose(None, &[env, ("NO_PROXY", spared)]), None, "{spared}");
        }
        for other in ["example.com", "xample.gov", "agg.example", ""] {
            assert!(choose(None, &[env, ("NO_PROXY", other)]).is_some(), "{other}");
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy:3128", "proxy").unwrap();
        assert_eq!(proxy.basic.as_deref().unwrap(), &STANDARD.encode("me:p@ss"));
        assert_eq!(format!("{proxy:?} {proxy}"), "Proxy(proxy:3128) proxy:3128");
        for wrong in ["https://me:secret@proxy:1", "http://me:secret@proxy", "socks5://x:1"] {
            let error = Proxy::parse(wrong, "HTTPS_PROXY").unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn answers() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
