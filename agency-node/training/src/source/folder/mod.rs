//! A folder of files as a table: one file per record, its label the sub-folder that it lies in.
//!
//! Columns are `file` (the path below the folder, with `/`), `label` (the first part of that path) and
//! what the files hold: `text`, or the values of a picture's points `p0`, `p1`, ... Files are read one
//! at a time, in the order of their paths. One that cannot be read as what it should be is a row with
//! a defect and no error, so that no file decides whether the folder can be read.

mod picture;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::picture::Shape;
use super::Table;
use super::row::{Defect, Row};
use crate::nearest::nearest;
use crate::table::DataError;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 64 << 20;

/// Deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// A folder.
pub struct Folder {
    root: PathBuf,
    content: Content,
    /// Paths below the folder, in order.
    files: Vec<PathBuf>,
    columns: Vec<Column>,
    next: usize,
}

/// What the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Text in UTF-8.
    Texts,
    /// PNG or JPEG pictures, brought to one size.
    Pictures(Shape),
}

#[derive(Debug, Clone, Copy)]
enum Column {
    File,
    Label,
    Text,
    /// One value of a picture.
    Point(usize),
}

impl Folder {
    /// Lists the files. Hidden ones and links are left out.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be listed.
    pub fn new(root: &Path, content: Content) -> Result<Self, DataError> {
        let mut files = Vec::new();
        list(root, Path::new(""), 0, &mut files)?;
        files.sort();
        Ok(Self { root: root.to_owned(), content, files, columns: Vec::new(), next: 0 })
    }

    fn column(&self, name: &str) -> Option<Column> {
        match (name.trim(), self.content) {
            ("file", _) => Some(Column::File),
            ("label", _) => Some(Column::Label),
            ("text", Content::Texts) => Some(Column::Text),
            (name, Content::Pictures(shape)) => {
                let digits = name.strip_prefix('p')?;
                let point: usize = digits.parse().ok()?;
                let plain = point.to_string() == digits && point < shape.values();
                plain.then_some(Column::Point(point))
            }
            _ => None,
        }
    }

    fn fill(&self, file: &Path, row: &mut Row) -> Result<(), Defect> {
        let needs = |column: &Column| matches!(column, Column::Text | Column::Point(_));
        let (mut bytes, needed) = (Vec::new(), self.columns.iter().any(needs));
        if needed {
            let path = self.root.join(file);
            let small = fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_FILE);
            let read = if small { fs::read(&path).ok() } else { None };
            bytes = read.ok_or(Defect::Malformed("a file that can be read, of at most 64 MiB"))?;
        }
        let points = match self.content {
            Content::Pictures(shape) if needed => shape
                .points(&bytes)
                .ok_or(Defect::Malformed("no PNG or JPEG picture of reasonable size"))?,
            _ => Vec::new(),
        };
        let name = file.to_string_lossy().replace('\\', "/");
        for (at, column) in self.columns.iter().enumerate() {
            match column {
                Column::File => row.set_text(at, name.as_bytes()),
                Column::Label => {
                    let label = name.split_once('/').map(|(label, _)| label).unwrap_or_default();
                    row.set_text(at, label.as_bytes());
                }
                Column::Text => row.set_text(at, &bytes),
                Column::Point(point) => {
                    if let Some(value) = points.get(*point) {
                        row.set_integer(at, i64::from(*value));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Table for Folder {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let find = |column: &String| {
            self.column(column).ok_or_else(|| {
                let names = self.names().unwrap_or_default();
                let near = nearest(column.trim(), names.iter().take(3).map(String::as_str));
                DataError::MissingColumn {
                    column: column.clone(),
                    nearest: near.map(str::to_owned),
                }
            })
        };
        self.columns = columns.iter().map(find).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        let Some(file) = self.files.get(self.next) else { return Ok(false) };
        self.next += 1;
        row.start(self.next as u64, self.columns.len());
        if let Err(defect) = self.fill(file, row) {
            row.start(self.next as u64, self.columns.len());
            row.set_defect(defect);
        }
        Ok(true)
    }

    fn names(&self) -> Option<Vec<String>> {
        let mut names = vec!["file".to_owned(), "label".to_owned()];
        match self.content {
            Content::Texts => names.push("text".to_owned()),
            Content::Pictures(shape) => {
                names.extend((0..shape.values()).map(|point| format!("p{point}")));
            }
        }
        Some(names)
    }
}

fn list(
    root: &Path,
    below: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let dir = root.join(below);
    let io = |source| DataError::Io { path: dir.clone(), source };
    for entry in fs::read_dir(&dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(io)?);
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = below.join(name);
        if kind.is_dir() && depth < MAX_DEPTH {
            list(root, &path, depth + 1, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
