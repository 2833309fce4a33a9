//! Kinds of sources by name, as the state database and the command line call them.

use tributary_training::source::Format;

/// What kind of source a dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A file; the mapping or its name says the format.
    #[default]
    File,
    /// A file of this format.
    Format(Format),
    /// A query of a PostgreSQL database; the file says which.
    Postgres,
}

impl Kind {
    /// Names on the command line.
    pub const NAMES: [&'static str; 6] =
        ["csv", "jsonl", "parquet", "texts", "pictures", "postgres"];

    /// The kind of a name; empty is a file.
    ///
    /// # Errors
    /// If there is no such kind.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "" => Ok(Self::File),
            "csv" => Ok(Self::Format(Format::Csv)),
            "jsonl" => Ok(Self::Format(Format::Jsonl)),
            "parquet" => Ok(Self::Format(Format::Parquet)),
            "texts" => Ok(Self::Format(Format::Texts)),
            "pictures" => Ok(Self::Format(Format::Pictures)),
            "postgres" => Ok(Self::Postgres),
            other => Err(format!(
                "there is no kind of source {other:?}; there are {}",
                Self::NAMES.join(", ")
            )),
        }
    }
}
