//! A node's data directory: credentials, signing key, state database, configuration.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tributary_dp::SecretRng;
use tributary_secagg::{Identity, VerifyingKey};
use tributary_training::Assets;
use tributary_transport::{NodeCredentials, files};

use zeroize::Zeroizing;

use crate::config::{Config, TrainerKind};
use crate::engine::{DatasetSource, Setup};
use crate::lock::{DirLock, LockError};
use crate::policy::Policy;
use crate::records::Records;
use crate::storage::{DatasetRow, Storage};

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// A directory that `agency-node enrol` has made.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let dir = Self(path.to_owned());
        if !dir.config_file().exists() {
            bail!(
                "{} is no node's data directory; make one with `agency-node enrol`",
                path.display()
            );
        }
        Ok(dir)
    }

    /// A directory for a new node; refuses one that is enrolled.
    ///
    /// # Errors
    /// If it is in use or cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let dir = Self(path.to_owned());
        if dir.config_file().exists() {
            bail!("{} is enrolled already; nothing was changed", path.display());
        }
        std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        Ok(dir)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `node.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.0.join(crate::config::FILE)
    }

    /// The key that signs protocol messages, PKCS#8 in hex.
    pub fn signing_key(&self) -> PathBuf {
        self.0.join("signing-key.hex")
    }

    /// The configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.0)?)
    }

    /// The policy that the configuration names.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn policy(&self, config: &Config) -> anyhow::Result<Policy> {
        Ok(Policy::load(&self.0.join(&config.policy))?)
    }

    /// The signing identity.
    ///
    /// # Errors
    /// If the file is missing, readable by others or no key.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        let path = self.signing_key();
        let broken = || format!("signing key {}", path.display());
        let text = files::read_secret(&path)?;
        let bytes = Zeroizing::new(hex::decode(text.trim()).with_context(broken)?);
        Identity::from_pkcs8(&bytes).with_context(broken)
    }

    /// Stores a new signing identity.
    ///
    /// # Errors
    /// From the file system.
    pub fn save_identity(&self, identity: &Identity) -> anyhow::Result<()> {
        let text = Zeroizing::new(hex::encode(&*identity.to_pkcs8()));
        Ok(files::save(&self.signing_key(), text.as_bytes(), true)?)
    }

    /// Certificates and key of the connection.
    ///
    /// # Errors
    /// If a file is missing, readable by others or malformed.
    pub fn credentials(&self, config: &Config) -> anyhow::Result<NodeCredentials> {
        crate::renewal::load(&self.0, config.tls.as_ref())
    }

    /// The state database, if its budget book is the newest.
    ///
    /// # Errors
    /// As [`Storage::open`] and [`Storage::check_anchor`].
    pub async fn storage(&self) -> anyhow::Result<Storage> {
        let storage = self.storage_as_it_is().await?;
        storage.check_anchor().await?;
        Ok(storage)
    }

    /// The state database, whether its budget book is the newest or not: to look at it, or to mend
    /// it.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub async fn storage_as_it_is(&self) -> anyhow::Result<Storage> {
        Storage::open(&self.0)
            .await
            .with_context(|| format!("opening the state of {}", self.0.display()))
            // Without the key nothing is appended to the audit record, and all of it can be read.
            .map(|storage| storage.with_signer(self.identity().ok().map(Arc::new)))
    }

    /// Makes this process the only one that writes here, until the lock is dropped.
    ///
    /// # Errors
    /// If another process holds the lock; the message says which.
    pub fn lock(&self, command: &str) -> Result<DirLock, LockError> {
        DirLock::take(&self.0, command)
    }

    /// Public files that jobs name by their hash: tokenizers and base models.
    pub(crate) fn assets(&self) -> Assets {
        Assets::new(self.0.join("assets"))
    }

    /// What the engine is given.
    ///
    /// # Errors
    /// If key, policy or configuration cannot be used.
    pub fn setup(
        &self,
        config: &Config,
        trainer: TrainerKind,
        datasets: &[DatasetRow],
        salt: &[u8],
    ) -> anyhow::Result<Setup> {
        let policy = self.policy(config)?;
        let most = policy.max_threads.unwrap_or(NonZeroUsize::MAX);
        Ok(Setup {
            agency: config.agency.clone(),
            identity: Arc::new(self.identity()?),
            aggregator: VerifyingKey::from_hex(&config.aggregator_key)?,
            policy,
            datasets: datasets
                .iter()
                .map(|row| source(row, salt, self.assets()))
                .collect::<BTreeMap<_, _>>(),
            trainers: crate::trainers::factory(trainer, self.assets()),
            threads: config.threads().min(most),
            randomness: Box::new(|| SecretRng::from_os().map_err(|e| e.to_string())),
        })
    }
}

fn source(row: &DatasetRow, salt: &[u8], assets: Assets) -> (String, DatasetSource) {
    let (path, records) = (PathBuf::from(&row.path), Records::of(row));
    let load = Box::new(move |spec: &_| {
        let read = records.as_ref().map_err(Clone::clone)?.load(spec, &assets);
        let (data, skipped) = read.map_err(|e| format!("{}: {e}", path.display()))?;
        if skipped.any() {
            // For this log alone: the counts depend on the records.
            tracing::warn!(
                path = %path.display(), ?skipped, records = data.len(),
                "parts of the table are left out; `agency-node dataset check` says where"
            );
        }
        Ok(data)
    });
    let version = crate::version::Versions::of(row, salt);
    let version = Box::new(move || version.now());
    (row.name.clone(), DatasetSource { declared_records: row.declared_records, load, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_file_is_read_whatever_its_cells_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "x,y\n1,0\nNaN,1\n3,maybe\n4\n").unwrap();
        let row = DatasetRow {
            name: "d".into(),
            path: path.to_str().unwrap().into(),
            declared_records: 10,
            content: None,
            source: crate::storage::Source::default(),
        };
        let (_, source) = source(&row, &[7; 32], Assets::none());
        let spec = tributary_job::JobSpec::from_toml(crate::fixtures::JOB).unwrap();
        assert_eq!((source.load)(&spec.data).unwrap().len(), 2);
        (source.version)().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!((source.load)(&spec.data).is_err());
    }
}
