//! Whether two registered files hold the same records: the same file, a copy, or rows in common.
//!
//! For the operator who registers a dataset. What it finds stays at the agency. It cannot see that a
//! file was edited, sorted by column or exported anew: that two tables hold the same people is for
//! people to know.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use aws_lc_rs::digest;

use crate::storage::DatasetRow;

/// Share of the rows of the smaller table from which two tables count as overlapping.
pub const NOTABLE: f64 = 0.1;

/// How a file is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// The same path.
    Path,
    /// Another path to the same file (a hard link).
    Link,
    /// A copy, byte by byte, of what is there now or was there at registration.
    Copy,
}

impl std::fmt::Display for Sameness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Path => "is registered already",
            Self::Link => "is another path to a file that is registered already",
            Self::Copy => "is a copy of a file that is registered already",
        })
    }
}

/// SHA-256 of a file's bytes, hex.
///
/// # Errors
/// From the file system.
pub fn content_hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(context.finish())),
            read => context.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Every registered dataset that is the same file or a copy of it. A registered file that cannot be
/// read any more is compared with what it held at registration.
pub fn twins<'a>(
    path: &Path,
    content: &str,
    known: &'a [DatasetRow],
) -> Vec<(&'a DatasetRow, Sameness)> {
    let here = std::fs::metadata(path).ok();
    let same = |row: &DatasetRow| {
        let there = Path::new(&row.path);
        if there == path {
            return Some(Sameness::Path);
        }
        let linked = here.as_ref().zip(std::fs::metadata(there).ok());
        if linked.is_some_and(|(a, b)| is_same_file(a, &b)) {
            return Some(Sameness::Link);
        }
        let copy = row.content.as_deref() == Some(content)
            || content_hash(there).is_ok_and(|now| now == content);
        copy.then_some(Sameness::Copy)
    };
    known.iter().filter_map(|row| Some((row, same(row)?))).collect()
}

/// Pairs of registered datasets that are the same file or copies now, as the caller's rule says that
/// they must not be.
pub fn conflicts(
    known: &[DatasetRow],
    allowed: impl Fn(&str, &str) -> bool,
) -> Vec<(&str, &str, Sameness)> {
    let mut found = Vec::new();
    for (i, row) in known.iter().enumerate() {
        let Ok(content) = content_hash(Path::new(&row.path)) else { continue };
        let others = known.get(i + 1..).unwrap_or_default();
        for (other, how) in twins(Path::new(&row.path), &content, others) {
            if !allowed(&row.name, &other.name) {
                found.push((row.name.as_str(), other.name.as_str(), how));
            }
        }
    }
    found
}

#[cfg(unix)]
fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    false
}

/// Share of the distinct rows of the smaller table that stand in the other one too, letter by
/// letter, in whatever order. Tables of few columns share rows by chance.
///
/// # Errors
/// From the file system.
pub fn common_rows(a: &Path, b: &Path) -> io::Result<f64> {
    let (a, b) = (rows(a)?, rows(b)?);
    let smaller = a.len().min(b.len());
    let common = a.intersection(&b).count();
    Ok(if smaller == 0 { 0.0 } else { common as f64 / smaller as f64 })
}

/// Hashes of a table's rows, without its header.
fn rows(path: &Path) -> io::Result<HashSet<u64>> {
    let (mut reader, mut line, mut found) = (BufReader::new(File::open(path)?), Vec::new(), None);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(found.unwrap_or_default());
        }
        match &mut found {
            None => found = Some(HashSet::new()),
            Some(_) if line.trim_ascii().is_empty() => {}
            Some(rows) => {
                let mut hasher = DefaultHasher::new();
                line.trim_ascii().hash(&mut hasher);
                rows.insert(hasher.finish());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_copies_are_seen_and_what_was_there_at_registration_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        write("a.csv", "x\n1\n");
        let row = DatasetRow {
            name: "a".into(),
            path: path("a.csv").to_str().unwrap().into(),
            declared_records: 1,
            content: Some(content_hash(&path("a.csv")).unwrap()),
        };
        let known = [row];
        let of = |name: &str| {
            let content = content_hash(&path(name)).unwrap();
            twins(&path(name), &content, &known).first().map(|(_, how)| *how)
        };
        std::fs::hard_link(path("a.csv"), path("link.csv")).unwrap();
        std::fs::copy(path("a.csv"), path("copy.csv")).unwrap();
        write("other.csv", "x\n2\n");
        assert_eq!(of("a.csv"), Some(Sameness::Path));
        assert_eq!(of("link.csv"), Some(Sameness::Link));
        assert_eq!(of("copy.csv"), Some(Sameness::Copy));
        assert_eq!(of("other.csv"), None);
        // The registered file has moved on: its first content is known, and its present one.
        write("a.csv", "x\n2\n");
        assert_eq!(of("copy.csv"), Some(Sameness::Copy));
        assert_eq!(of("other.csv"), Some(Sameness::Copy));
        std::fs::remove_file(path("a.csv")).unwrap();
        assert_eq!(of("copy.csv"), Some(Sameness::Copy));
        assert_eq!(of("other.csv"), None);
    }

    #[test]
    fn files_that_became_copies_after_registration_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let row = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let content = content_hash(&path).ok();
            let path = path.to_str().unwrap().into();
            DatasetRow { name: name.into(), path, declared_records: 1, content }
        };
        let known = [row("a", "x\n1\n"), row("b", "x\n2\n"), row("c", "x\n3\n")];
        assert_eq!(conflicts(&known, |_, _| false), []);
        std::fs::copy(&known[2].path, &known[0].path).unwrap();
        assert_eq!(conflicts(&known, |_, _| false), [("a", "c", Sameness::Copy)]);
        assert_eq!(conflicts(&known, |a, b| (a, b) == ("a", "c")), []);
    }

    #[test]
    fn rows_in_common_are_counted_in_whatever_order() {
        let dir = tempfile::tempdir().unwrap();
        let table = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let a = table("a", "x,y\n1,2\n3,4\n5,6\n7,8\n");
        let b = table("b", "x,y\r\n7,8\r\n3,4\r\n\r\n");
        let c = table("c", "x,y\n9,9\n");
        assert_eq!(common_rows(&a, &b).unwrap(), 1.0);
        assert_eq!(common_rows(&a, &c).unwrap(), 0.0);
        assert_eq!(common_rows(&a, &table("empty", "x,y\n")).unwrap(), 0.0);
    }
}
