//! A backup: one tar file with the state database, the configuration, the authority's certificate,
//! the two keys if they are asked for, and a list of what is in it with hashes.
//!
//! The database is copied by SQLite itself in one consistent piece, also while the service runs. It
//! must not know what the tables hold.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use aws_lc_rs::digest::{Context as Context256, SHA256};
use serde::{Deserialize, Serialize};
use tributary_transport::files;
use zeroize::Zeroizing;

use crate::data_dir::DataDir;

/// Version of the layout.
const FORMAT: u32 = 1;
/// The list of contents inside the file.
const LIST: &str = "backup.json";
/// Files that a backup may hold.
const MOST_FILES: usize = 16;
/// Bytes that its list may have.
const MOST_LIST: u64 = 1 << 16;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Version of the layout.
    pub format: u32,
    /// Version of the software that made it.
    pub software: String,
    /// Unix seconds.
    pub made_at: i64,
    /// Whether the two keys are in it.
    pub keys: bool,
    /// The files by name.
    pub files: BTreeMap<String, Item>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// What a data directory consists of.
struct Part {
    name: &'static str,
    path: PathBuf,
    secret: bool,
}

/// In the order in which they are put back: the authority's key last, since its presence makes the
/// directory complete.
fn parts(dir: &DataDir) -> [Part; 5] {
    let part = |name, path, secret| Part { name, path, secret };
    [
        part("aggregator.db", dir.database(), false),
        part("aggregator.toml", dir.config_file(), false),
        part("ca.pem", dir.path().join("ca.pem"), false),
        part("signing-key.hex", dir.signing_key(), true),
        part("ca-key.pem", dir.ca_key(), true),
    ]
}

/// Makes a backup of a data directory; the service may run meanwhile.
///
/// # Errors
/// If the file is there already, or something cannot be read or written; then there is no file.
pub async fn create(dir: &DataDir, out: &Path, keys: bool, now: i64) -> anyhow::Result<Contents> {
    ensure!(!out.exists(), "{} is there already; nothing was changed", out.display());
    ensure!(
        !dir.path().join("ca-next.pem").exists(),
        "the certificate authority is being replaced: end that first (`aggregator ca status`, then \
         `aggregator ca retire`), since a backup holds one authority"
    );
    let work = Scratch::beside(out)?;
    let copy = work.0.join("aggregator.db");
    let store = dir.store().await?;
    let copied = store.snapshot(&copy).await;
    store.close().await;
    copied
        .with_context(|| format!("copying the state to {}; is the disk full?", work.0.display()))?;
    let mut contents = Contents {
        format: FORMAT,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        keys,
        files: BTreeMap::new(),
    };
    let mut files: Vec<(&str, PathBuf)> = Vec::new();
    for part in parts(dir).into_iter().filter(|part| keys || !part.secret) {
        let path = if part.name == "aggregator.db" { copy.clone() } else { part.path };
        contents.files.insert(part.name.to_owned(), item(&path)?);
        files.push((part.name, path));
    }
    let pending = work.0.join("backup.tar");
    write(&pending, &contents, &files, now)
        .with_context(|| format!("writing {}; is the disk full?", pending.display()))?;
    // What was written is read back before anybody relies on it.
    ensure!(read(&pending)? == contents, "the backup does not read back as it was written");
    fs::rename(&pending, out).with_context(|| format!("making {}", out.display()))?;
    Ok(contents)
}

/// Puts a backup back into a directory without a database. `keys` is a folder with the two keys, for
/// a backup without them; keys that lie in the directory already stay.
///
/// # Errors
/// If the file is damaged, or the directory has something else already; then nothing is changed.
pub fn restore(file: &Path, dir: &DataDir, keys: Option<&Path>) -> anyhow::Result<Contents> {
    let contents = read(file)?;
    ensure!(
        !dir.database().exists(),
        "{} is there already: nothing was changed. Stop the service, move that file (with its -wal and \
         -shm) away, and keep it",
        dir.database().display()
    );
    let (mut from_keys, mut missing) = (Vec::new(), Vec::new());
    for part in parts(dir) {
        let there = part.path.exists();
        match (contents.files.get(part.name), there, keys) {
            // The operator's configuration wins over an older one.
            (Some(_), true, _) if part.name == "aggregator.toml" => {}
            (Some(stored), true, _) => ensure!(
                item(&part.path)? == *stored,
                "{} is there already and is another one: nothing was changed. Restore into an empty \
                 directory, or move it away if it is not needed",
                part.path.display()
            ),
            (Some(_), false, _) | (None, true, _) => {}
            (None, false, Some(folder)) => {
                from_keys.push((part.path, files::read_secret(&folder.join(part.name))?));
            }
            (None, false, None) => missing.push(part.name),
        }
    }
    ensure!(
        missing.is_empty(),
        "not in the backup, which was made without keys: {}. Put them into {} from where they are kept, \
         or name their folder with --keys. Nothing was changed",
        missing.join(", "),
        dir.path().display()
    );
    fs::create_dir_all(dir.path()).with_context(|| format!("making {}", dir.path().display()))?;
    extract(file, dir)?;
    // Their presence makes the directory complete.
    for (path, text) in from_keys {
        files::save(&path, text.as_bytes(), true)?;
    }
    Ok(contents)
}

/// Puts every file in place that is not there yet: each in full or not at all.
fn extract(file: &Path, dir: &DataDir) -> anyhow::Result<()> {
    let parts = parts(dir);
    let mut archive = tar::Archive::new(File::open(file)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let Some(part) = parts.iter().find(|part| part.name == name && !part.path.exists()) else {
            continue;
        };
        let mut pending = part.path.clone().into_os_string();
        pending.push(".restored");
        let pending = PathBuf::from(pending);
        // Left over from a restore that was cut off.
        let _ = fs::remove_file(&pending);
        let at = || format!("writing {}; is the disk full?", pending.display());
        let mut out = own_file(&pending).with_context(at)?;
        std::io::copy(&mut entry, &mut out).with_context(at)?;
        out.sync_all().with_context(at)?;
        fs::rename(&pending, &part.path).with_context(at)?;
    }
    Ok(File::open(dir.path())?.sync_all()?)
}

/// A new file that its owner alone may read.
fn own_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn item(path: &Path) -> anyhow::Result<Item> {
    let at = || format!("reading {}", path.display());
    hashed(File::open(path).with_context(at)?).with_context(at)
}

/// Length and hash of a stream, a piece of it in memory at a time.
fn hashed(mut from: impl Read) -> std::io::Result<Item> {
    let (mut context, mut bytes) = (Context256::new(&SHA256), 0_u64);
    let mut piece = Zeroizing::new(vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(Item { bytes, sha256: hex::encode(context.finish()) });
        }
        bytes += length as u64;
        context.update(piece.get(..length).unwrap_or_default());
    }
}

fn write(
    path: &Path,
    contents: &Contents,
    files: &[(&str, PathBuf)],
    now: i64,
) -> anyhow::Result<()> {
    let mut tar = tar::Builder::new(own_file(path)?);
    let list = serde_json::to_vec_pretty(contents)?;
    let mut append = |name: &str, bytes: u64, from: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now).unwrap_or(0));
        tar.append_data(&mut header, name, from)
    };
    append(LIST, list.len() as u64, &mut list.as_slice())?;
    for (name, path) in files {
        let mut file = File::open(path)?;
        append(name, file.metadata()?.len(), &mut file)?;
    }
    let mut file = tar.into_inner()?;
    file.flush()?;
    Ok(file.sync_all()?)
}

/// What is in a backup, after every hash was checked.
fn read(path: &Path) -> anyhow::Result<Contents> {
    let at = || format!("backup {}", path.display());
    let damaged = || format!("backup {} is damaged or none; use another one", path.display());
    let mut archive = tar::Archive::new(File::open(path).with_context(at)?);
    let (mut found, mut contents) = (BTreeMap::new(), None);
    for entry in archive.entries().with_context(damaged)? {
        let mut entry = entry.with_context(damaged)?;
        let name = entry.path().with_context(damaged)?.to_string_lossy().into_owned();
        ensure!(found.len() < MOST_FILES, damaged());
        if contents.is_none() {
            ensure!(name == LIST, damaged());
            let list: Contents =
                serde_json::from_reader((&mut entry).take(MOST_LIST)).with_context(damaged)?;
            ensure!(
                list.format == FORMAT,
                "backup {} has format {}, this software reads {FORMAT}: use the version that made it \
                 ({})",
                path.display(),
                list.format,
                list.software
            );
            contents = Some(list);
        } else {
            ensure!(
                found.insert(name, hashed(&mut entry).with_context(damaged)?).is_none(),
                damaged()
            );
        }
    }
    let contents = contents.with_context(damaged)?;
    ensure!(found == contents.files && found.contains_key("aggregator.db"), damaged());
    Ok(contents)
}

/// A folder of one's own beside a file, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(out: &Path) -> anyhow::Result<Self> {
        let mut name = out.file_name().context("--out must name a file")?.to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = out.with_file_name(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over is of no use; the next backup has a name of its own.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_store::Store;

    async fn service(path: &Path) -> DataDir {
        let dir = DataDir::at(path);
        fs::create_dir_all(path).unwrap();
        for part in parts(&dir).iter().filter(|part| part.name != "aggregator.db") {
            files::save(&part.path, part.name.as_bytes(), part.secret).unwrap();
        }
        let store = dir.store().await.unwrap();
        store.submit("j", "n", "spec", "local", 5).await.unwrap();
        store.close().await;
        dir
    }

    async fn jobs(dir: &DataDir) -> usize {
        dir.store().await.unwrap().jobs().await.unwrap().len()
    }

    #[tokio::test]
    async fn a_backup_comes_back_and_nothing_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let dir = service(&root.path().join("a")).await;
        let file = root.path().join("b.tar");
        let made = create(&dir, &file, true, 7).await.unwrap();
        assert_eq!((made.keys, made.files.len()), (true, 5));
        assert!(create(&dir, &file, true, 7).await.unwrap_err().to_string().contains("already"));
        // The directory itself still has its database.
        assert!(restore(&file, &dir, None).unwrap_err().to_string().contains("move that file"));
        let new = DataDir::at(&root.path().join("new"));
        assert_eq!(restore(&file, &new, None).unwrap(), made);
        assert_eq!(jobs(&new).await, 1);
        assert_eq!(*files::read_secret(&new.ca_key()).unwrap(), "ca-key.pem");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "no scratch is left");
    }

    #[tokio::test]
    async fn without_keys_they_have_to_come_from_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let dir = service(&root.path().join("a")).await;
        let file = root.path().join("b.tar");
        create(&dir, &file, false, 7).await.unwrap();
        assert!(!fs::read(&file).unwrap().windows(10).any(|w| w == b"ca-key.pem"));
        let new = DataDir::at(&root.path().join("new"));
        let error = restore(&file, &new, None).unwrap_err().to_string();
        assert!(error.contains("--keys") && !new.path().exists(), "{error}");
        restore(&file, &new, Some(dir.path())).unwrap();
        assert_eq!(jobs(&new).await, 1);
        // Another authority's directory is not mixed with this state.
        let other = service(&root.path().join("other")).await;
        fs::remove_file(other.database()).unwrap();
        fs::write(other.path().join("ca.pem"), "another").unwrap();
        let error = restore(&file, &other, None).unwrap_err().to_string();
        assert!(error.contains("is another one"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_backup_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = service(&root.path().join("a")).await;
        let file = root.path().join("b.tar");
        create(&dir, &file, true, 7).await.unwrap();
        let good = fs::read(&file).unwrap();
        let at = good.windows(4).rposition(|w| w == b"spec").unwrap();
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        for bad in [&flipped[..], &good[..good.len() / 2], b"no archive", b""] {
            fs::write(&file, bad).unwrap();
            let new = DataDir::at(&root.path().join("new"));
            let error = format!("{:#}", restore(&file, &new, None).unwrap_err());
            assert!(error.contains("damaged") && !new.path().exists(), "{error}");
        }
    }
}
