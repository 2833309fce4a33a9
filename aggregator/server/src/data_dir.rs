//! The aggregator's data directory: CA, signing identity, state database, configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tributary_secagg::Identity;
use tributary_store::SqliteStore;
use tributary_transport::files;

use crate::config::Config;

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// A directory that `aggregator init` has made.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let dir = Self(path.to_owned());
        if !dir.ca_key().exists() {
            bail!("{} is no aggregator's data directory; make one with `aggregator init`",
                path.display());
        }
        Ok(dir)
    }

    /// A directory that must not be one yet.
    ///
    /// # Errors
    /// If it is, or cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let dir = Self(path.to_owned());
        if dir.ca_key().exists() || dir.config_file().exists() {
            bail!("{} is an aggregator's data directory already; nothing was changed",
                path.display());
        }
        files::create_private_dir(path)
            .with_context(|| format!("making {}", path.display()))?;
        Ok(dir)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `aggregator.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.0.join(crate::config::FILE)
    }

    /// The CA's certificate.
    pub fn ca_certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The CA's key.
    pub fn ca_key(&self) -> PathBuf {
        self.0.join("ca-key.pem")
    }

    /// The key that signs protocol messages, PKCS#8.
    pub fn signing_key(&self) -> PathBuf {
        self.0.join("signing-key.p8")
    }

    /// The configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.0)?)
    }

    /// The signing identity.
    ///
    /// # Errors
    /// If the file is missing, readable by others or no key.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        let bytes = files::read_private(&self.signing_key())?;
        Identity::from_pkcs8(&bytes)
            .with_context(|| format!("signing key {}", self.signing_key().display()))
    }

    /// The state database.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn store(&self) -> anyhow::Result<SqliteStore> {
        let path = self.0.join("aggregator.db");
        SqliteStore::open(&path).await.with_context(|| format!("opening {}", path.display()))
    }
}
