//! A query of a PostgreSQL database as a table: read only, through a cursor, some thousand rows in
//! memory.
//!
//! The query is the agency's own and stands in a file beside the password's; no job can change it, so
//! what it fails over is no answer to anybody. A thread of its own drives the connection, because
//! tables are read where nothing may wait for a network.

mod config;
mod reader;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tributary_training::DataError;
use tributary_training::source::{Row, Table};

pub use self::config::{Config, Tls};

/// Batches of rows that wait to be used.
const WAITING: usize = 2;

/// The result of a query.
pub struct Query {
    path: PathBuf,
    names: Vec<String>,
    choice: Option<SyncSender<Vec<usize>>>,
    batches: Receiver<Result<Vec<Row>, String>>,
    batch: std::vec::IntoIter<Row>,
}

impl Query {
    /// Connects and prepares the query that a file describes.
    ///
    /// # Errors
    /// If the file is wrong, the database cannot be reached or does not take the query.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let of = |text: String| failed(path, text);
        let config = Config::load(path).map_err(of)?;
        let (names_out, names) = sync_channel(1);
        let (choice, choice_in) = sync_channel(1);
        let (batches_out, batches) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("postgres".into());
        let run = move || reader::run(&config, &names_out, &choice_in, &batches_out);
        thread.spawn(run).map_err(|e| of(e.to_string()))?;
        let names = names.recv().unwrap_or_else(|_| Err(ENDED.into())).map_err(of)?;
        let batch = Vec::new().into_iter();
        Ok(Self { path: path.to_owned(), names, choice: Some(choice), batches, batch })
    }
}

const ENDED: &str = "the reading thread ended unexpectedly";

impl Table for Query {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let mut found = (0..).zip(&self.names).filter(|(_, name)| name.trim() == column.trim());
            match (found.next(), found.next()) {
                (Some((place, _)), None) => places.push(place),
                (Some(_), Some(_)) => {
                    return Err(DataError::AmbiguousColumn { column: column.clone() });
                }
                (None, _) => {
                    return Err(DataError::MissingColumn { column: column.clone(), nearest: None });
                }
            }
        }
        let choice = self.choice.take();
        let sent = choice.is_some_and(|choice| choice.send(places).is_ok());
        if sent { Ok(()) } else { Err(failed(&self.path, ENDED.into())) }
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        loop {
            if let Some(next) = self.batch.next() {
                *row = next;
                return Ok(true);
            }
            match self.batches.recv() {
                // The reader says that it is through with an empty batch.
                Ok(Ok(rows)) if rows.is_empty() => return Ok(false),
                Ok(Ok(rows)) => self.batch = rows.into_iter(),
                Ok(Err(text)) => return Err(failed(&self.path, text)),
                Err(_) => return Err(failed(&self.path, ENDED.into())),
            }
        }
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.names.clone())
    }
}

fn failed(path: &Path, text: String) -> DataError {
    DataError::Io { path: path.to_owned(), source: std::io::Error::other(text) }
}

#[cfg(test)]
mod tests;
