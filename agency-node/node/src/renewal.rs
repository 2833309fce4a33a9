//! Keeps the node's certificate fresh while a session is open, and learns which authorities to trust.
//!
//! A fresh certificate is written beside the old one and put in its place in one step; then the session
//! is asked to reconnect at the next quiet moment. Where the agency brings certificates of its own
//! authority, whoever renews them writes the files; here they are only noticed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tributary_dp::SecretRng;
use tributary_transport::renew::{refresh, renew};
use tributary_transport::{
    Backoff, ClientOptions, NodeCredentials, TrustDomain, certificate, files,
};

use crate::config::{Config, OwnTls};
use crate::data_dir::DataDir;

/// Longest pause after a failed attempt.
const LONGEST: Duration = Duration::from_secs(300);

/// Where the authorities lie that the aggregator's certificate may come from.
const CA: &str = "ca.pem";

/// The task that keeps a connection's certificate fresh; it ends with this.
pub struct Keeper {
    task: JoinHandle<()>,
    fresh: watch::Receiver<bool>,
}

impl Keeper {
    /// Looks once, then goes on looking in a task of its own. `used` is what the connection was made
    /// with. `None` if another certificate is in place already: connect anew.
    pub async fn start(
        channel: Channel,
        dir: &DataDir,
        config: &Config,
        used: &NodeCredentials,
    ) -> Option<Self> {
        let used = used.certificate().map(|c| c.serial).unwrap_or_default();
        let look = Look { channel, dir: dir.clone(), config: config.clone(), used };
        // Before the session: also a node whose sessions are refused keeps its certificate.
        let mut backoff = look.backoff();
        let Next::Wait(wait) = look.once(&mut backoff).await else { return None };
        let (tell, fresh) = watch::channel(false);
        let task = tokio::spawn(look.keep(backoff, wait, tell));
        Some(Self { task, fresh })
    }

    /// Turns true when a connection with a fresh certificate should take this one's place.
    pub fn fresh(&self) -> watch::Receiver<bool> {
        self.fresh.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Key, chain and authorities as they are now.
///
/// # Errors
/// If a file is missing, readable by others or malformed.
pub fn load(dir: &Path, own: Option<&OwnTls>) -> anyhow::Result<NodeCredentials> {
    let Some(own) = own else { return Ok(NodeCredentials::load(dir)?) };
    Ok(NodeCredentials {
        ca_pem: files::read_text(&dir.join(CA))?,
        chain_pem: files::read_text(&dir.join(&own.certificate))?,
        key_pem: files::read_secret(&dir.join(&own.key))?,
    })
}

/// What a look needs.
#[derive(Clone)]
struct Look {
    channel: Channel,
    dir: DataDir,
    config: Config,
    /// Serial number of the connection's certificate.
    used: String,
}

impl Look {
    fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_secs(1), self.check().min(LONGEST))
    }

    fn check(&self) -> Duration {
        Duration::from_secs(self.config.renewal_check_seconds)
    }

    async fn keep(self, mut backoff: Backoff, mut wait: Duration, tell: watch::Sender<bool>) {
        loop {
            tokio::time::sleep(wait).await;
            match self.once(&mut backoff).await {
                Next::Wait(next) => wait = next,
                Next::Reconnect => break,
            }
        }
        tell.send_replace(true);
        // A closed channel would look like a change.
        std::future::pending::<()>().await;
    }

    async fn once(&self, backoff: &mut Backoff) -> Next {
        // In a task of its own: what was issued is stored also if the session ends meanwhile.
        let look = self.clone();
        let looked =
            tokio::spawn(
                async move { step(&look.channel, &look.dir, &look.config, &look.used).await },
            );
        match looked.await.map_err(anyhow::Error::from).and_then(|looked| looked) {
            Ok(Next::Wait(wait)) => {
                backoff.reset();
                Next::Wait(wait.min(self.check()))
            }
            Ok(Next::Reconnect) => Next::Reconnect,
            Err(error) => {
                let wait = SecretRng::from_os().map(|mut rng| backoff.next_delay(&mut rng));
                let wait = wait.unwrap_or(LONGEST);
                complain(&self.dir, &self.config, &error, wait);
                Next::Wait(wait)
            }
        }
    }
}

enum Next {
    /// Nothing to do for so long.
    Wait(Duration),
    /// Another certificate is in place.
    Reconnect,
}

/// Looks once, and renews if it is time.
async fn step(
    channel: &Channel,
    dir: &DataDir,
    config: &Config,
    used: &str,
) -> anyhow::Result<Next> {
    let mut credentials = dir.credentials(config)?;
    if credentials.certificate()?.serial != used {
        credentials.check(&TrustDomain::default()).context("another certificate")?;
        tracing::info!("another certificate lies in the data directory");
        return Ok(Next::Reconnect);
    }
    let refreshed = refresh(channel.clone(), &credentials).await?;
    let own = config.tls.is_some();
    let due = credentials.renewal_due()?;
    if !own && (refreshed.renew_now || SystemTime::now() >= due) {
        let fresh = renew(channel.clone(), &credentials, &ClientOptions::default()).await?;
        fresh.save(dir.path()).context("storing the fresh certificate")?;
        let (serial, until) = (fresh.certificate()?.serial, certificate::utc(fresh.not_after()?));
        tracing::info!(%serial, %until, "certificate renewed");
        return Ok(Next::Reconnect);
    }
    if let Some(ca_pem) = refreshed.ca_pem {
        credentials.ca_pem = ca_pem;
        if own {
            files::save(&dir.path().join(CA), credentials.ca_pem.as_bytes(), false)?;
        } else {
            credentials.save(dir.path())?;
        }
        tracing::info!("the authorities of the federation have changed; taken over");
        // The aggregator waits to hear it.
        refresh(channel.clone(), &credentials).await?;
    }
    // A certificate of one's own authority is looked for, not renewed.
    let left = due.duration_since(SystemTime::now()).unwrap_or_default();
    Ok(Next::Wait(if own { Duration::MAX } else { left.max(Duration::from_secs(1)) }))
}

/// Says that it failed; loudly when not much time is left.
fn complain(dir: &DataDir, config: &Config, error: &anyhow::Error, retry_in: Duration) {
    let end = dir.credentials(config).ok().and_then(|c| c.not_after().ok());
    let left = end.and_then(|end| end.duration_since(SystemTime::now()).ok()).unwrap_or_default();
    let until = end.map_or_else(|| "an unknown time".to_owned(), certificate::utc);
    if left < Duration::from_secs(3 * 24 * 3600) {
        tracing::error!(
            ?retry_in,
            "the certificate ends at {until} and was not renewed: {error:#}; talk to the people who \
             run the aggregator before then"
        );
    } else {
        tracing::warn!(?retry_in, "the certificate was not renewed: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_transport::{CertificateAuthority, CertificateRequest, files::Entry};

    fn credentials() -> NodeCredentials {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let domain = TrustDomain::default();
        let (ca, _) = CertificateAuthority::create("t", domain, now, day).unwrap();
        let request = CertificateRequest::generate().unwrap();
        let north = "north".parse().unwrap();
        let chain_pem = ca.issue_agency(&request.request_der, &north, day, now).unwrap();
        let ca_pem = ca.certificate_pem().to_owned();
        NodeCredentials { ca_pem, chain_pem, key_pem: request.key_pem }
    }

    /// A kill at any step of storing a fresh certificate leaves a pair that TLS can use.
    #[test]
    fn a_kill_between_two_files_leaves_a_usable_pair() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let (old, new) = (credentials(), credentials());
        let usable = |expected: &NodeCredentials| {
            let loaded = load(dir, None).unwrap();
            loaded.check(&TrustDomain::default()).unwrap();
            assert_eq!(loaded.chain_pem, expected.chain_pem);
        };
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        let secret = |name: &str, text: &str| {
            files::save(&dir.join(name), text.as_bytes(), true).unwrap();
        };
        for renamed in 0..=3 {
            old.save(dir).unwrap();
            usable(&old);
            secret("key.pem.new", &new.key_pem);
            usable(&old);
            write("chain.pem.new", &new.chain_pem);
            write("ca.pem.new", &new.ca_pem);
            usable(&old);
            // From here on the change is final, however many files are in place.
            write("credentials.commit", "");
            for name in ["key.pem", "chain.pem", "ca.pem"].iter().take(renamed) {
                std::fs::rename(dir.join(format!("{name}.new")), dir.join(name)).unwrap();
            }
            usable(&new);
        }
        // The control: a pair that does not belong together is noticed.
        let entries = [
            Entry { name: "key.pem", content: old.key_pem.as_bytes(), secret: true },
            Entry { name: "chain.pem", content: new.chain_pem.as_bytes(), secret: false },
            Entry { name: "ca.pem", content: new.ca_pem.as_bytes(), secret: false },
        ];
        files::save_group(dir, "credentials", &entries).unwrap();
        assert!(load(dir, None).unwrap().check(&TrustDomain::default()).is_err());
    }

    #[test]
    fn certificates_of_one_s_own_authority_are_read_from_where_they_lie() {
        let root = tempfile::tempdir().unwrap();
        let theirs = credentials();
        let elsewhere = root.path().join("pki");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("node.pem"), &theirs.chain_pem).unwrap();
        files::save(&elsewhere.join("node.key"), theirs.key_pem.as_bytes(), true).unwrap();
        let dir = root.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(CA), &theirs.ca_pem).unwrap();
        let own = OwnTls { certificate: "../pki/node.pem".into(), key: elsewhere.join("node.key") };
        let loaded = load(&dir, Some(&own)).unwrap();
        assert_eq!(loaded.chain_pem, theirs.chain_pem);
        std::fs::remove_file(elsewhere.join("node.key")).unwrap();
        assert!(load(&dir, Some(&own)).unwrap_err().to_string().contains("node.key"));
    }
}
