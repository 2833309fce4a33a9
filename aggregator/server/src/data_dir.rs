//! The aggregator's data directory: CA, signing identity, state database, configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tributary_secagg::Identity;
use tributary_store::SqliteStore;
use tributary_transport::files;

use zeroize::Zeroizing;

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
            bail!(
                "{} is no aggregator's data directory; make one with `aggregator init`",
                path.display()
            );
        }
        Ok(dir)
    }

    /// A path that may become one.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// A directory that must not be one yet.
    ///
    /// # Errors
    /// If it is, or cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let dir = Self(path.to_owned());
        if dir.ca_key().exists() || dir.config_file().exists() {
            bail!(
                "{} is an aggregator's data directory already; nothing was changed",
                path.display()
            );
        }
        std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
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

    /// The CA's key.
    pub fn ca_key(&self) -> PathBuf {
        self.0.join("ca-key.pem")
    }

    /// The key that signs protocol messages, PKCS#8 in hex.
    pub fn signing_key(&self) -> PathBuf {
        self.0.join("signing-key.hex")
    }

    /// The state database.
    pub fn database(&self) -> PathBuf {
        self.0.join("aggregator.db")
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

    /// The state database.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn store(&self) -> anyhow::Result<SqliteStore> {
        let path = self.database();
        let opened = SqliteStore::open(&path).await;
        opened.with_context(|| match unwritable(self.path()) {
            Some(why) => format!("opening {}, which must be written to: {why}", path.display()),
            None => format!("opening {}", path.display()),
        })
    }
}

/// Why nothing can be written in a folder, if so: SQLite says only that it cannot open its file.
fn unwritable(folder: &Path) -> Option<std::io::Error> {
    let probe = folder.join(format!(".write-probe-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    // Nothing depends on it.
    let _ = std::fs::remove_file(&probe);
    made.err()
}
