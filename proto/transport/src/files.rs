//! Small files that must be there in full or not at all, and secret files that only their owner
//! may read.
//!
//! A group of files that belong together (a key and its certificate) changes as one: see
//! [`save_group`]. Knows nothing of what the files contain.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// One file of a group.
pub struct Entry<'a> {
    /// Name within the folder.
    pub name: &'a str,
    /// Its new content.
    pub content: &'a [u8],
    /// Whether only the owner may read it (mode 0600).
    pub secret: bool,
}

/// What a file operation ran into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {problem}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What kind of refusal.
        kind: io::ErrorKind,
        /// The operating system's words.
        problem: String,
    },
    /// A secret file that others may read.
    #[error(
        "{} is a secret but its mode is {mode:o}: others may have read it. Treat it as lost (enrol \
         again), or if nobody could, run chmod 600",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not text.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Suffix of a file that is written in full but not yet in place.
const PENDING: &str = ".new";
/// Present while a group is being put in place.
const MARKER: &str = ".commit";

/// Replaces a file in one step: after a crash it holds the old content or the new one.
///
/// # Errors
/// [`FileError::Io`].
pub fn save(path: &Path, content: &[u8], secret: bool) -> Result<(), FileError> {
    let pending = with_suffix(path, PENDING);
    write_synced(&pending, content, secret)?;
    rename(&pending, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Replaces several files of one folder so that after a crash, and a [`recover`], either all are
/// old or all are new. `group` names the marker file. Creates the folder (mode 0700) if need be.
///
/// First every new content is written beside its file; then the marker makes the change final;
/// then the files are put in place and the marker is removed. A group always has the same names.
///
/// # Errors
/// [`FileError::Io`]; unless the marker was written, nothing has changed.
pub fn save_group(folder: &Path, group: &str, entries: &[Entry<'_>]) -> Result<(), FileError> {
    create_folder(folder)?;
    // A change that was already final must not be mixed with this one.
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    recover(folder, group, &names)?;
    for entry in entries {
        let pending = with_suffix(&folder.join(entry.name), PENDING);
        write_synced(&pending, entry.content, entry.secret)?;
    }
    sync_folder(folder)?;
    write_synced(&marker(folder, group), b"", false)?;
    sync_folder(folder)?;
    recover(folder, group, &names)
}

/// Finishes a [`save_group`] that a crash interrupted, if its marker is there. Call before reading.
///
/// # Errors
/// [`FileError::Io`].
pub fn recover(folder: &Path, group: &str, names: &[&str]) -> Result<(), FileError> {
    let marker = marker(folder, group);
    if !marker.exists() {
        return Ok(());
    }
    for name in names {
        let path = folder.join(name);
        let pending = with_suffix(&path, PENDING);
        // Another process that reads this folder may be finishing the same change beside us.
        match fs::rename(&pending, &path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&path, &e)),
            _ => {}
        }
    }
    sync_folder(folder)?;
    match fs::remove_file(&marker) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&marker, &e)),
        _ => {}
    }
    sync_folder(folder)
}

/// Reads a text file.
///
/// # Errors
/// Any [`FileError`] but `Exposed`.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let bytes = fs::read(path).map_err(|e| io_error(path, &e))?;
    String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.to_owned() })
}

/// Reads a secret text file, and refuses one that group or others may read or write (on Unix).
///
/// # Errors
/// Any [`FileError`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let file = File::open(path).map_err(|e| io_error(path, &e))?;
    refuse_exposed(path, &file)?;
    let length = file.metadata().map_err(|e| io_error(path, &e))?.len();
    // Reserved in full: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    io::Read::read_to_end(&mut &file, &mut bytes).map_err(|e| io_error(path, &e))?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| FileError::NotText { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn write_synced(path: &Path, content: &[u8], secret: bool) -> Result<(), FileError> {
    let error = |e: io::Error| io_error(path, &e);
    // A left-over may have another mode, and `create_new` follows no link.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error(e)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut file = options.open(path).map_err(error)?;
    file.write_all(content).map_err(error)?;
    file.sync_all().map_err(error)
}

fn create_folder(folder: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder).map_err(|e| io_error(folder, &e))
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|e| io_error(to, &e))
}

/// A renamed file is durable only when its folder is.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_error(folder, &e))?;
    Ok(())
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, file: &File) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|e| io_error(path, &e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _file: &File) -> Result<(), FileError> {
    Ok(())
}

fn marker(folder: &Path, group: &str) -> PathBuf {
    folder.join(format!("{group}{MARKER}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn io_error(path: &Path, error: &io::Error) -> FileError {
    FileError::Io { path: path.to_owned(), kind: error.kind(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["key", "chain"];

    fn pair<'a>(key: &'a [u8], chain: &'a [u8]) -> [Entry<'a>; 2] {
        [
            Entry { name: "key", content: key, secret: true },
            Entry { name: "chain", content: chain, secret: false },
        ]
    }

    fn read_pair(folder: &Path) -> (String, String) {
        recover(folder, "group", &NAMES).unwrap();
        let key = read_secret(&folder.join("key")).unwrap();
        (key.as_str().to_owned(), read_text(&folder.join("chain")).unwrap())
    }

    fn strings(key: &str, chain: &str) -> (String, String) {
        (key.to_owned(), chain.to_owned())
    }

    #[test]
    fn a_group_is_written_and_replaced() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new/data");
        save_group(&folder, "group", &pair(b"k1", b"c1")).unwrap();
        assert_eq!(read_pair(&folder), strings("k1", "c1"));
        save_group(&folder, "group", &pair(b"k2", b"c2")).unwrap();
        assert_eq!(read_pair(&folder), strings("k2", "c2"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left over");
    }

    /// The states a crash can leave, one after the other.
    #[test]
    fn a_crash_leaves_all_old_or_all_new() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        save_group(folder, "group", &pair(b"k1", b"c1")).unwrap();
        write_synced(&folder.join("key.new"), b"k2", true).unwrap();
        assert_eq!(read_pair(folder), strings("k1", "c1"), "one new file written");
        write_synced(&folder.join("chain.new"), b"c2", false).unwrap();
        assert_eq!(read_pair(folder), strings("k1", "c1"), "all new files written");
        write_synced(&folder.join("group.commit"), b"", false).unwrap();
        fs::rename(folder.join("key.new"), folder.join("key")).unwrap();
        assert_eq!(read_pair(folder), strings("k2", "c2"), "one file in place");
        assert!(!folder.join("group.commit").exists());
        write_synced(&folder.join("group.commit"), b"", false).unwrap();
        assert_eq!(read_pair(folder), strings("k2", "c2"), "only the marker is left");
    }

    #[test]
    fn a_half_written_change_is_not_mixed_into_the_next() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        save_group(folder, "group", &pair(b"k1", b"c1")).unwrap();
        write_synced(&folder.join("chain.new"), b"c2", false).unwrap();
        save_group(folder, "group", &pair(b"k3", b"c3")).unwrap();
        assert_eq!(read_pair(folder), strings("k3", "c3"));
    }

    #[test]
    fn a_final_change_is_finished_before_the_next_begins() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        save_group(folder, "group", &pair(b"k1", b"c1")).unwrap();
        write_synced(&folder.join("key.new"), b"k2", true).unwrap();
        write_synced(&folder.join("chain.new"), b"c2", false).unwrap();
        write_synced(&folder.join("group.commit"), b"", false).unwrap();
        // The next change fails half-way, as in a crash.
        let [key, chain] = pair(b"k3", b"c3");
        let impossible = Entry { name: "no/such/folder", content: b"", secret: false };
        save_group(folder, "group", &[key, impossible, chain]).unwrap_err();
        assert_eq!(read_pair(folder), strings("k2", "c2"));
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_private_and_exposed_ones_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        save(&path, b"secret", true).unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert_eq!(read_secret(&path).unwrap().as_str(), "secret");
        for exposed in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
            let error = read_secret(&path).unwrap_err();
            assert_eq!(error, FileError::Exposed { path: path.clone(), mode: exposed });
        }
        // Saving again repairs the mode.
        save(&path, b"other", true).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn errors_name_the_file() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let error = read_secret(&missing).unwrap_err();
        assert!(matches!(&error, FileError::Io { kind: io::ErrorKind::NotFound, .. }));
        assert!(error.to_string().contains("missing"));
        let binary = root.path().join("binary");
        save(&binary, &[0xff], false).unwrap();
        assert_eq!(read_text(&binary), Err(FileError::NotText { path: binary }));
    }
}
