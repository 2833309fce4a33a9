//! Public files that a job names by their SHA-256: tokenizers and base models.
//!
//! They lie in one folder under any name; what counts is the content. Nothing is ever downloaded. Knows
//! no format.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where public files lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assets(Option<PathBuf>);

/// Why a public file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// No folder is set.
    #[error("the job needs the {what} with SHA-256 {sha256}, and no folder of public files is set")]
    NoFolder {
        /// What it is.
        what: &'static str,
        /// The hash, hex.
        sha256: String,
    },
    /// No file of the folder has this content.
    #[error("no file in {folder} is the {what} with SHA-256 {sha256}: put it there")]
    Missing {
        /// What it is.
        what: &'static str,
        /// The hash, hex.
        sha256: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Assets {
    /// Files of this folder; nothing is looked at yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(Some(folder.into()))
    }

    /// No files at all.
    pub fn none() -> Self {
        Self(None)
    }

    /// The file with this SHA-256 (64 hex digits, lower case).
    ///
    /// # Errors
    /// [`AssetError`].
    pub fn find(&self, what: &'static str, sha256: &str) -> Result<PathBuf, AssetError> {
        let owned = || sha256.to_owned();
        let Some(folder) = &self.0 else {
            return Err(AssetError::NoFolder { what, sha256: owned() });
        };
        let failed = |source| AssetError::Io { path: folder.clone(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            if file_sha256(&path)? == sha256 {
                return Ok(path);
            }
        }
        Err(AssetError::Missing { what, sha256: owned(), folder: folder.clone() })
    }
}

/// SHA-256 of a file, hex.
///
/// # Errors
/// [`AssetError::Io`].
pub fn file_sha256(path: &Path) -> Result<String, AssetError> {
    let failed = |source| AssetError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_its_content_and_what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), b"x").unwrap();
        std::fs::write(folder.path().join("any name"), b"abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let assets = Assets::new(folder.path());
        assert_eq!(assets.find("tokenizer", abc).unwrap(), folder.path().join("any name"));
        let other = "00".repeat(32);
        let error = assets.find("tokenizer", &other).unwrap_err().to_string();
        assert!(error.contains(&other) && error.contains("put it there"), "{error}");
        let none = Assets::none().find("base model", abc).unwrap_err().to_string();
        assert!(none.contains("no folder of public files is set"), "{none}");
        let gone = Assets::new(folder.path().join("gone")).find("tokenizer", abc);
        assert!(matches!(gone, Err(AssetError::Io { .. })));
    }
}
