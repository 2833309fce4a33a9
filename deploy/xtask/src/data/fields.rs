//! Reading typed cells of a CSV table by column name, with errors that name table, row and column.

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use csv::{Reader, StringRecord};

/// A CSV table with a header.
pub struct Table<'a> {
    name: &'static str,
    reader: Reader<&'a [u8]>,
    columns: HashMap<String, usize>,
}

impl<'a> Table<'a> {
    /// Opens a table and reads its header.
    pub fn open(name: &'static str, text: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::from_reader(text);
        let header = reader.headers().with_context(|| format!("{name}: no header"))?;
        let columns = header.iter().enumerate().map(|(i, c)| (c.to_owned(), i)).collect();
        Ok(Self { name, reader, columns })
    }

    /// Position of a column; an error if the table has none of that name.
    pub fn column(&self, column: &'static str) -> Result<Field> {
        let index = self.columns.get(column).copied();
        let index = index.ok_or_else(|| anyhow!("{}: no column {column}", self.name))?;
        Ok(Field { index, column })
    }

    /// Calls `each` on every row.
    pub fn for_each(mut self, mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
        let mut row = Row(StringRecord::new());
        let mut line = 1;
        while self.reader.read_record(&mut row.0).with_context(|| self.name.to_owned())? {
            line += 1;
            each(&row).with_context(|| format!("{}, row {line}", self.name))?;
        }
        Ok(())
    }
}

/// A column of an opened table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    index: usize,
    column: &'static str,
}

/// One row.
pub struct Row(StringRecord);

impl Row {
    /// The cell's text; `NA` and missing cells are empty.
    pub fn text(&self, field: Field) -> &str {
        match self.0.get(field.index) {
            None | Some("NA") => "",
            Some(text) => text,
        }
    }

    /// The cell as a number, `None` if it is empty.
    pub fn optional<T: FromStr>(&self, field: Field) -> Result<Option<T>> {
        let text = self.text(field);
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse().ok();
        parsed.map(Some).ok_or_else(|| anyhow!("column {}: cannot read {text:?}", field.column))
    }

    /// The cell as a number; an error if it is empty.
    pub fn required<T: FromStr>(&self, field: Field) -> Result<T> {
        self.optional(field)?.ok_or_else(|| anyhow!("column {}: empty", field.column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_table_row_and_column() {
        let table = Table::open("t.csv", b"a,b\n1,NA\nx,2\n").unwrap();
        let (a, b) = (table.column("a").unwrap(), table.column("b").unwrap());
        assert!(table.column("c").unwrap_err().to_string().contains("no column c"));
        let mut seen = Vec::new();
        let error = table
            .for_each(|row| {
                seen.push((row.required::<i32>(a)?, row.optional::<i32>(b)?));
                Ok(())
            })
            .unwrap_err();
        assert_eq!(seen, [(1, None)]);
        let text = format!("{error:#}");
        assert!(text.contains("t.csv, row 3") && text.contains("column a"), "{text}");
    }

    #[test]
    fn ragged_rows_are_refused() {
        let table = Table::open("t.csv", b"a,b\n1\n").unwrap();
        assert!(table.for_each(|_| Ok(())).is_err());
    }
}
