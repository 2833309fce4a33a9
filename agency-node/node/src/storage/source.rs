//! How a dataset's records are read, as text that only `records` understands.

use super::{Storage, StorageError};

/// The kind of a dataset's source and its mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Kind by name; empty for a file whose name says its format.
    pub kind: String,
    /// Text of the mapping.
    pub mapping: Option<String>,
}

impl Storage {
    /// Replaces the mapping of a registered dataset; says whether there is such a dataset.
    ///
    /// # Errors
    /// From the database.
    pub async fn set_mapping(
        &self,
        name: &str,
        mapping: Option<&str>,
    ) -> Result<bool, StorageError> {
        let update = "UPDATE dataset SET mapping = ? WHERE name = ?";
        let done = sqlx::query(update).bind(mapping).bind(name).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }
}
