//! Where things lie: the repository, its `.cache` folder and the user's cache.
//!
//! Large downloads go to the user's cache, which all clones share; the repository only links to
//! it. Knows paths and no contents.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository and the user's cache.
#[derive(Debug, Clone)]
pub struct Repo {
    root: PathBuf,
    user_cache: PathBuf,
}

impl Repo {
    /// Finds the repository from cargo's environment or the current folder, and the cache from
    /// `XDG_CACHE_HOME` or `HOME`.
    pub fn locate() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => env::current_dir().context("cannot tell the current folder")?,
        };
        let root = find_root(&start)?;
        let user_cache = user_cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?;
        Ok(Self { root, user_cache })
    }

    /// A repository at a given place, for tests.
    #[cfg(test)]
    pub fn at(root: &Path, user_cache: &Path) -> Self {
        Self { root: root.to_owned(), user_cache: user_cache.to_owned() }
    }

    /// The repository's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The link that `.cargo/config.toml` names as `LIBTORCH`.
    pub fn libtorch_link(&self) -> PathBuf {
        self.root.join(".cache").join("libtorch")
    }

    /// The folder of prepared data sets.
    pub fn data(&self) -> PathBuf {
        self.root.join(".cache").join("data")
    }

    /// The job that the demo runs.
    pub fn demo_job(&self) -> PathBuf {
        self.root.join("deploy").join("demo").join("flights.toml")
    }

    /// The project's folder in the user's cache.
    pub fn user_cache(&self) -> &Path {
        &self.user_cache
    }

    /// Holds the user's cache for this process: a second set-up waits until the first is done.
    /// The lock ends when the returned file is dropped.
    pub fn lock_user_cache(&self) -> Result<File> {
        fs::create_dir_all(&self.user_cache)
            .with_context(|| format!("cannot create {}", self.user_cache.display()))?;
        let path = self.user_cache.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                println!("  another set-up is at work; waiting for it to finish");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

/// The nearest folder at or above `start` that holds this crate.
fn find_root(start: &Path) -> Result<PathBuf> {
    let holds_xtask = |dir: &&Path| dir.join("deploy").join("xtask").join("Cargo.toml").is_file();
    match start.ancestors().find(holds_xtask) {
        Some(root) => Ok(root.to_owned()),
        None => bail!(
            "{} is not inside the Tributary repository: run `cargo xtask` from a clone",
            start.display()
        ),
    }
}

/// `${XDG_CACHE_HOME:-~/.cache}/tributary`; a relative `XDG_CACHE_HOME` is ignored, as its
/// specification demands.
fn user_cache(
    xdg: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Result<PathBuf> {
    let xdg = xdg.map(PathBuf::from).filter(|p| p.is_absolute());
    let home = home.map(PathBuf::from).filter(|p| p.is_absolute());
    match (xdg, home) {
        (Some(cache), _) => Ok(cache.join("tributary")),
        (None, Some(home)) => Ok(home.join(".cache").join("tributary")),
        (None, None) => bail!("neither HOME nor XDG_CACHE_HOME is set: set one to a full path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_follows_xdg_then_home() {
        let path = |text: &str| Some(std::ffi::OsString::from(text));
        assert_eq!(user_cache(path("/x"), path("/h")).unwrap(), Path::new("/x/tributary"));
        assert_eq!(user_cache(None, path("/h")).unwrap(), Path::new("/h/.cache/tributary"));
        assert_eq!(user_cache(path("x"), path("/h")).unwrap(), Path::new("/h/.cache/tributary"));
        assert!(user_cache(None, None).is_err());
    }

    #[test]
    fn root_is_found_from_below_and_not_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let crate_dir = dir.path().join("deploy/xtask/src");
        fs::create_dir_all(&crate_dir).unwrap();
        assert!(find_root(&crate_dir).is_err());
        fs::write(dir.path().join("deploy/xtask/Cargo.toml"), "").unwrap();
        assert_eq!(find_root(&crate_dir).unwrap(), dir.path());
    }

    #[test]
    fn the_lock_is_held_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::at(dir.path(), &dir.path().join("cache"));
        let held = repo.lock_user_cache().unwrap();
        let second = File::open(repo.user_cache().join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
