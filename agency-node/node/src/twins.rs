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
use tributary_training::DataError;
use tributary_training::source::Row;

use crate::records::Records;
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

/// SHA-256 of a file's bytes, hex; of a folder, of the names and hashes of all that it holds.
///
/// # Errors
/// From the file system.
pub fn content_hash(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.is_dir() {
        let entries: io::Result<Vec<_>> = std::fs::read_dir(path)?.collect();
        let mut entries = entries?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let mut context = digest::Context::new(&digest::SHA256);
        // Links are not followed: they may lead back here, and no reader follows them either.
        for entry in entries.iter().filter(|e| e.file_type().is_ok_and(|kind| !kind.is_symlink())) {
            let name = entry.file_name();
            let hash = content_hash(&entry.path())?;
            context.update(format!("{}\0{hash}\n", name.to_string_lossy()).as_bytes());
        }
        return Ok(hex::encode(context.finish()));
    }
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

/// Share of the distinct rows of the smaller table that stand in the other one too, cell by cell, in
/// whatever order of rows and columns and whatever the format; JSON lines are compared letter by letter
/// and only among themselves. Tables of few columns share rows by chance.
///
/// # Errors
/// If one cannot be read.
pub fn common_rows(a: &Records, b: &Records) -> Result<f64, DataError> {
    let (a, b) = (rows(a)?, rows(b)?);
    let smaller = a.len().min(b.len());
    let common = a.intersection(&b).count();
    Ok(if smaller == 0 { 0.0 } else { common as f64 / smaller as f64 })
}

/// Hashes of a table's rows as they are, before any mapping.
fn rows(records: &Records) -> Result<HashSet<u64>, DataError> {
    let mut table = records.open()?;
    let Some(mut columns) = table.names() else {
        let path = records.path();
        return lines(path).map_err(|source| DataError::Io { path: path.to_owned(), source });
    };
    columns.sort();
    columns.dedup();
    table.select(&columns)?;
    let (mut row, mut scratch, mut found) = (Row::default(), Vec::new(), HashSet::new());
    while table.next(&mut row)? {
        let mut hasher = DefaultHasher::new();
        for (at, column) in columns.iter().enumerate() {
            column.hash(&mut hasher);
            row.cell(at).text(&mut scratch).hash(&mut hasher);
        }
        found.insert(hasher.finish());
    }
    Ok(found)
}

/// Hashes of a file's lines.
fn lines(path: &Path) -> io::Result<HashSet<u64>> {
    let (mut reader, mut line) = (BufReader::new(File::open(path)?), Vec::new());
    let mut found = HashSet::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !line.trim_ascii().is_empty() {
            let mut hasher = DefaultHasher::new();
            line.trim_ascii().hash(&mut hasher);
            found.insert(hasher.finish());
        }
        line.clear();
    }
    Ok(found)
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
            source: Default::default(),
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
            let source = Default::default();
            DatasetRow { name: name.into(), path, declared_records: 1, content, source }
        };
        let known = [row("a", "x\n1\n"), row("b", "x\n2\n"), row("c", "x\n3\n")];
        assert_eq!(conflicts(&known, |_, _| false), []);
        std::fs::copy(&known[2].path, &known[0].path).unwrap();
        assert_eq!(conflicts(&known, |_, _| false), [("a", "c", Sameness::Copy)]);
        assert_eq!(conflicts(&known, |a, b| (a, b) == ("a", "c")), []);
    }

    #[test]
    fn a_folder_is_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, text: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir_all(folder.join("x")).unwrap();
            std::fs::write(folder.join("x/a.txt"), text).unwrap();
            content_hash(&folder).unwrap()
        };
        let first = make("one", "1");
        assert_eq!(make("two", "1"), first);
        assert_ne!(make("two", "2"), first);
        std::fs::rename(dir.path().join("one/x/a.txt"), dir.path().join("one/x/b.txt")).unwrap();
        assert_ne!(content_hash(&dir.path().join("one")).unwrap(), first);
    }

    #[test]
    fn rows_in_common_are_counted_in_whatever_order() {
        let dir = tempfile::tempdir().unwrap();
        let table = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Records::new(path, Default::default(), None).unwrap()
        };
        let a = table("a", "x,y\n1,2\n3,4\n5,6\n7,8\n");
        let b = table("b", "x,y\r\n7,8\r\n3,4\r\n\r\n");
        let c = table("c", "y,x\n9,9\n4,3\n");
        let d = table("d.jsonl", "{\"x\":1}\n{\"x\":2}\n");
        let e = table("e.jsonl", "{\"x\":2}\n");
        assert_eq!(common_rows(&a, &b).unwrap(), 1.0);
        assert_eq!(common_rows(&a, &c).unwrap(), 0.5, "columns in another order");
        assert_eq!(common_rows(&d, &e).unwrap(), 1.0);
        assert_eq!(common_rows(&d, &a).unwrap(), 0.0);
        assert_eq!(common_rows(&a, &table("empty", "x,y\n")).unwrap(), 0.0);
    }
}
