//! Whether a file is a table at all, before any job says what its columns mean.
//!
//! For the operator who registers a dataset: strict, with line numbers. Knows no specification.

use std::path::Path;

use tributary_job::plan::MAX_RECORDS_PER_NODE;

use crate::source::{self, Reading, Row, Table};
use crate::table::DataError;

/// Checks that a file has a UTF-8 header, at least one row, no row that cannot be read (of another
/// length than the header, or no JSON object), and no more than [`MAX_RECORDS_PER_NODE`] rows.
/// Returns the number of rows.
///
/// # Errors
/// [`DataError`], for local eyes only.
pub fn check_structure(path: &Path) -> Result<u64, DataError> {
    let mut table = source::open(path, Reading::of(path))?;
    check_table(table.as_mut()).map_err(|error| error.of_file(path))
}

/// As [`check_structure`], of any table; rows that a mapping's filter leaves out do not count.
///
/// # Errors
/// [`DataError`], for local eyes only.
pub fn check_table(table: &mut dyn Table) -> Result<u64, DataError> {
    rows(table, MAX_RECORDS_PER_NODE)
}

fn rows(table: &mut dyn Table, limit: u64) -> Result<u64, DataError> {
    if table
        .names()
        .is_some_and(|names| names.iter().any(|n| n.contains(char::REPLACEMENT_CHARACTER)))
    {
        return Err(DataError::Malformed("line 1: the header is not UTF-8".into()));
    }
    table.select(&[])?;
    let (mut row, mut rows) = (Row::default(), 0);
    while table.next(&mut row)? {
        if let Some(defect) = row.defect() {
            return Err(DataError::of_defect(defect, row.line()));
        }
        rows += 1;
        if rows > limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Err(DataError::TooManyRows { limit });
        }
    }
    if rows == 0 { Err(DataError::Empty) } else { Ok(rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::CsvTable;

    #[test]
    fn a_table_is_counted_and_everything_else_is_refused_with_its_line() {
        let check = |text: &[u8]| rows(&mut CsvTable::new(text, b',')?, 3);
        assert_eq!(check(b"a,b\n1,\xff\n\n2,\n").unwrap(), 2);
        assert!(matches!(check(b""), Err(DataError::Empty)));
        assert!(matches!(check(b"a,b\n"), Err(DataError::Empty)));
        let ragged = check(b"a,b\n1,2\n1\n");
        assert!(matches!(ragged, Err(DataError::Ragged { line: 3, expected: 2, found: 1 })));
        assert!(matches!(check(b"a,\xff\n1,2\n"), Err(DataError::Malformed(_))));
        let many = check(b"a\n1\n2\n3\n4\n").unwrap_err();
        assert!(many.to_string().contains("more than 3 rows"), "{many}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = check_structure(Path::new("none.csv")).unwrap_err();
        assert!(error.to_string().starts_with("none.csv: "), "{error}");
    }
}
