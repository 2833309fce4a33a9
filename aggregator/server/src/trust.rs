//! What the running service trusts and issues with: authorities, revocations, its own certificate.
//!
//! The command line changes files and database while the service runs; [`Trust::watch`] looks and takes
//! over what is new, without a restart. It also renews the service's own certificate. Sessions go on,
//! except those whose certificate is no longer accepted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tributary_store::Store;
use tributary_transport::{
    ClientAuthorities, Fingerprint, ForeignAuthority, Member, Refusals, Revocations,
    ServerCredentials, ServerTls, TrustDomain, certificate, files,
};

use crate::authorities::Authorities;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::metrics::Metrics;

/// How often changes by the operator's command line are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Shared by the services and the watching task.
pub struct Trust {
    dir: DataDir,
    config: Config,
    authorities: RwLock<Arc<Authorities>>,
    revocations: Revocations,
    tls: Arc<ServerTls>,
    metrics: Arc<Metrics>,
}

/// What the service shows itself with, and since which state of the files.
struct Shown {
    credentials: ServerCredentials,
    authority: Fingerprint,
    due: SystemTime,
    files: Files,
}

/// When each watched file was changed last, and its length.
type Files = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

impl Trust {
    /// Reads everything, and starts watching it. The task ends with the runtime.
    ///
    /// # Errors
    /// If an authority, a file of `[[pki]]` or the store cannot be read.
    pub async fn start<S: Store + Clone>(
        dir: &DataDir,
        config: &Config,
        store: &S,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<(Arc<Self>, tokio::task::JoinHandle<()>)> {
        let files = watched(dir, config);
        let authorities = Authorities::load(dir)?;
        let revocations = Revocations::new(refusals(store).await?);
        let shown = show(&authorities, config, files)?;
        let clients = clients(&authorities, dir, config)?;
        let domain = TrustDomain::default();
        let tls = ServerTls::new(&shown.credentials, clients, domain, revocations.list())?;
        let trust = Arc::new(Self {
            dir: dir.clone(),
            config: config.clone(),
            authorities: RwLock::new(Arc::new(authorities)),
            revocations,
            tls: Arc::new(tls),
            metrics,
        });
        trust.tell(&shown)?;
        let task = tokio::spawn(trust.clone().watch(store.clone(), shown));
        Ok((trust, task))
    }

    /// The authorities of this moment.
    pub fn authorities(&self) -> Arc<Authorities> {
        self.authorities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The settings of the listening side.
    pub fn tls(&self) -> Arc<ServerTls> {
        self.tls.clone()
    }

    /// How long certificates are valid.
    pub fn lifetime(&self) -> Duration {
        self.config.certificate_lifetime.duration()
    }

    /// Looks into the store at once, after a change of one's own.
    pub async fn refresh<S: Store>(&self, store: &S) {
        match refusals(store).await {
            Ok(refusals) => {
                if self.revocations.replace(refusals) {
                    tracing::info!("who is refused has changed");
                }
            }
            // An error must not revive the revoked: what is known stays.
            Err(error) => tracing::warn!(%error, "looking for revocations"),
        }
    }

    async fn watch<S: Store>(self: Arc<Self>, store: S, mut shown: Shown) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.refresh(&store).await;
            let files = watched(&self.dir, &self.config);
            let due = SystemTime::now() >= shown.due;
            if files == shown.files && !due {
                continue;
            }
            match self.reload(&shown, files.clone(), due) {
                Ok(fresh) => shown = fresh,
                Err(error) => {
                    tracing::error!("the service goes on with the old certificates: {error:#}");
                    // Not again before something changes, and the renewal a little later.
                    shown.files = files;
                    if due {
                        shown.due = SystemTime::now() + Duration::from_secs(60);
                    }
                }
            }
        }
    }

    /// Shows those who watch when certificates end.
    fn tell(&self, shown: &Shown) -> anyhow::Result<()> {
        self.metrics.certificate("server", shown.credentials.not_after()?);
        let authority = certificate::leaf_from_pem(self.authorities().serving().certificate_pem())?;
        self.metrics.certificate("authority", certificate::validity(&authority)?.not_after);
        Ok(())
    }

    /// Takes over changed files and, if it is due or its authority has changed, a fresh certificate.
    fn reload(&self, shown: &Shown, files: Files, due: bool) -> anyhow::Result<Shown> {
        let authorities = Authorities::load(&self.dir)?;
        let clients = clients(&authorities, &self.dir, &self.config)?;
        let fresh = if due || authorities.serving().fingerprint() != shown.authority {
            show(&authorities, &self.config, files)?
        } else {
            Shown {
                credentials: ServerCredentials {
                    chain_pem: shown.credentials.chain_pem.clone(),
                    key_pem: shown.credentials.key_pem.clone(),
                },
                authority: shown.authority,
                due: shown.due,
                files,
            }
        };
        self.tls.replace(&fresh.credentials, clients)?;
        tracing::info!(
            serving = %authorities.serving().fingerprint(),
            issuing = %authorities.issuing().fingerprint(),
            own_certificate_ends = %certificate::utc(fresh.credentials.not_after()?),
            "certificates taken over"
        );
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
        self.tell(&fresh)?;
        Ok(fresh)
    }
}

/// A fresh certificate of the service's own.
fn show(authorities: &Authorities, config: &Config, files: Files) -> anyhow::Result<Shown> {
    let hosts: Vec<&str> = config.hosts.iter().map(String::as_str).collect();
    let lifetime = config.certificate_lifetime.duration();
    let ca = authorities.serving();
    let credentials = ca.issue_server(&hosts, lifetime, SystemTime::now())?;
    let due = credentials.renewal_due()?;
    Ok(Shown { credentials, authority: ca.fingerprint(), due, files })
}

/// Whose certificates are accepted.
fn clients(
    authorities: &Authorities,
    dir: &DataDir,
    config: &Config,
) -> anyhow::Result<ClientAuthorities> {
    let foreign = config.pki.iter().map(|pki| {
        let read = |path: &PathBuf| {
            let path = dir.path().join(path);
            files::read_text(&path).with_context(|| format!("[[pki]] of {}", pki.agency))
        };
        anyhow::Ok(ForeignAuthority {
            agency: pki.agency.parse()?,
            ca_pem: read(&pki.authority)?,
            name: pki.name.parse()?,
            crl_pem: pki.crl.as_ref().map(read).transpose()?,
        })
    });
    let foreign = foreign.collect::<anyhow::Result<_>>()?;
    Ok(ClientAuthorities { own_pem: authorities.trusted_pem(), foreign })
}

/// Checks that everything that the configuration names can be used.
///
/// # Errors
/// What is wrong with it.
pub fn check(dir: &DataDir, config: &Config) -> anyhow::Result<()> {
    let authorities = Authorities::load(dir)?;
    let shown = show(&authorities, config, Files::new())?;
    let clients = clients(&authorities, dir, config)?;
    let domain = TrustDomain::default();
    ServerTls::new(&shown.credentials, clients, domain, Revocations::new([]).list())?;
    Ok(())
}

fn watched(dir: &DataDir, config: &Config) -> Files {
    let pki = config.pki.iter().flat_map(|pki| std::iter::once(&pki.authority).chain(&pki.crl));
    let mut paths = Authorities::files(dir);
    paths.extend(pki.map(|path| dir.path().join(path)));
    let state = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    paths.into_iter().map(|path| (path.clone(), state(&path))).collect()
}

async fn refusals<S: Store>(store: &S) -> anyhow::Result<Refusals> {
    let refused = store.refused(crate::unix_now()).await?;
    let at = |seconds: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    let member = |text: &String| text.parse::<Member>().ok();
    Ok(Refusals {
        members: refused.members.iter().filter_map(member).collect(),
        keys: refused.keys.into_iter().collect(),
        enrolled: refused
            .enrolled
            .iter()
            .filter_map(|(text, seconds)| Some((member(text)?, at(*seconds))))
            .collect(),
    })
}
