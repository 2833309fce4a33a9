//! Reading a table so that no cell can decide whether the reading succeeds.
//!
//! A node tells the aggregator whether it takes a job. If one bad cell could turn the answer, an
//! offer with a chosen specification would be an exact, unpaid query about that cell. So only the
//! header and the file may be refused here; what is wrong with a row costs that row (or that cell)
//! and nothing else, which is a function of the row alone and so keeps the sensitivity of one
//! record. The operator finds bad rows with the strict reader of [`crate::table`].

use std::io::Read;

use tributary_job::spec::DataSpec;

use crate::columns::{Columns, RowKind};
use crate::source::{CsvTable, Defect, Row, Table};
use crate::table::{Cells, DataError};

/// What a tolerant reading left out. It depends on the records: for the operator's log, it must
/// never leave the agency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Rows left out: the label is none of the values.
    pub unknown_labels: u64,
    /// Rows left out: how long they were followed is not a number from 0.
    pub no_durations: u64,
    /// Rows left out: another number of cells than the header.
    pub ragged: u64,
    /// Rows left out: they cannot be read in their format (JSON lines).
    pub malformed: u64,
    /// Rows left out: a cell that the job uses is not UTF-8.
    pub not_utf8: u64,
    /// Rows left out: the cell that says whose row it is is empty.
    pub nobodys: u64,
    /// Rows left out: their text is empty.
    pub empty_texts: u64,
    /// Rows (or windows of text) left out: beyond what is used of one person.
    pub beyond_person: u64,
    /// Numeric cells taken as missing: not a finite number.
    pub bad_numbers: u64,
    /// Whether rows beyond the cap were not read.
    pub beyond_cap: bool,
}

impl Skipped {
    /// Whether anything was left out.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Reads a CSV table and calls `row` for each usable row, until it has said `limit` times that it
/// keeps the row.
///
/// Beyond the limit nothing is read. There, adding one record in front pushes another one out: two
/// neighbouring files differ in two records, which the noise does not cover. Registration refuses
/// such a file, so this is met only by one that grew afterwards, and is the operator's to mend.
pub(crate) fn read(
    source: impl Read,
    spec: &DataSpec,
    limit: usize,
    row: impl FnMut(&Cells) -> bool,
) -> Result<Skipped, DataError> {
    read_table(&mut CsvTable::new(source, b',')?, spec, limit, row)
}

/// As [`read`], of any format.
pub(crate) fn read_table(
    table: &mut dyn Table,
    spec: &DataSpec,
    limit: usize,
    mut row: impl FnMut(&Cells) -> bool,
) -> Result<Skipped, DataError> {
    let columns = Columns::resolve(table, spec)?;
    let (mut skipped, mut cells) = (Skipped::default(), Cells::default());
    let (mut found, mut rows) = (Row::default(), 0);
    while table.next(&mut found)? {
        match found.defect() {
            Some(Defect::Ragged { .. }) => {
                skipped.ragged += 1;
                continue;
            }
            Some(Defect::Malformed(_)) => {
                skipped.malformed += 1;
                continue;
            }
            None if !found.is_text() => {
                skipped.not_utf8 += 1;
                continue;
            }
            None => {}
        }
        let mut bad_numbers = 0;
        let Ok(kind) = columns.fill::<std::convert::Infallible>(&found, &mut cells, |_| {
            bad_numbers += 1;
            Ok(())
        });
        match kind {
            RowKind::Usable => {}
            RowKind::UnknownLabel => {
                skipped.unknown_labels += 1;
                continue;
            }
            RowKind::Nobody => {
                skipped.nobodys += 1;
                continue;
            }
            RowKind::NoDuration => {
                skipped.no_durations += 1;
                continue;
            }
        }
        if rows == limit {
            skipped.beyond_cap = true;
            break;
        }
        if row(&cells) {
            rows += 1;
            skipped.bad_numbers += bad_numbers;
        } else {
            skipped.beyond_person += 1;
        }
    }
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_job::spec::{FeatureSpec, LabelSpec, Transform};

    use crate::Dataset;

    fn spec() -> DataSpec {
        DataSpec::new(
            LabelSpec::binary("y", "1", "0"),
            vec![
                FeatureSpec::numeric("a", -1.0, 1.0, Transform::Identity),
                FeatureSpec::Category { column: "c".into(), values: vec!["r".into(), "g".into()] },
            ],
        )
    }

    fn rows(text: &[u8], limit: usize) -> Result<(Vec<Cells>, Skipped), DataError> {
        let mut out = Vec::new();
        let skipped = read(text, &spec(), limit, |cells| {
            out.push(cells.clone());
            true
        })?;
        Ok((out, skipped))
    }

    #[test]
    fn a_bad_row_or_cell_costs_itself_alone() {
        let text = b"a,c,y,note\n1,r,1,\nNaN,g,0,\n0,r,maybe,\n0,r,1\n0,r,1,x,x\n\
                     1e999,b,1,\xff\n0,\xff,1,\nyes,,,\n-1,g,0,\n";
        let (rows, skipped) = rows(text, 100).unwrap();
        let seen: Vec<_> = rows.iter().map(|c| (c.label, c.numerics[0], c.categories[0])).collect();
        assert_eq!(
            seen,
            [
                (1, Some(1.0), Some(0)),
                (0, None, Some(1)),
                (1, None, None),
                (0, Some(-1.0), Some(1)),
            ]
        );
        let expected = Skipped {
            unknown_labels: 2,
            ragged: 2,
            not_utf8: 1,
            bad_numbers: 2,
            ..Skipped::default()
        };
        assert_eq!(skipped, expected);
        assert!(skipped.any());
    }

    #[test]
    fn no_usable_row_is_an_empty_table_and_only_the_header_is_refused() {
        for text in ["a,c,y\n", "a,c,y\n1,r,2\n", "a,c,y\n,,\n1\n"] {
            assert!(rows(text.as_bytes(), 9).unwrap().0.is_empty(), "{text:?}");
        }
        assert!(matches!(rows(b"", 9), Err(DataError::Empty)));
        assert!(matches!(rows(b"a,b,y\n1,r,1\n", 9), Err(DataError::MissingColumn { .. })));
        assert!(matches!(rows(b"a,a,c,y\n1,1,r,1\n", 9), Err(DataError::AmbiguousColumn { .. })));
    }

    #[test]
    fn rows_beyond_the_cap_are_not_read() {
        let text = b"a,c,y\n1,r,1\n0,r,2\n0,r,0\n-1,r,1\n";
        let (two, skipped) = rows(text, 2).unwrap();
        assert_eq!(two.iter().map(|c| c.numerics[0]).collect::<Vec<_>>(), [Some(1.0), Some(0.0)]);
        assert!(skipped.beyond_cap);
        assert!(!rows(text, 3).unwrap().1.beyond_cap, "exactly the cap is all of it");
    }

    #[test]
    fn rows_of_nobody_and_beyond_a_person_are_counted_and_do_not_reach_the_cap() {
        let spec = DataSpec { person_column: Some("c".into()), ..spec() };
        let spec = DataSpec {
            features: vec![spec.features[0].clone()],
            max_records_per_person: Some(2),
            ..spec
        };
        let text = b"a,c,y\n1,r,1\n0,,1\n1,r,1\n-1,r,1\n-1,r,1\n0,\xff,1\n1,s,0\n";
        let (data, skipped) = Dataset::read_tolerant(&text[..], &spec).unwrap();
        let persons = data.persons().unwrap();
        assert_eq!(
            (data.len(), persons.rows_of(0), persons.rows_of(1)),
            (3, &[0, 1][..], &[2][..])
        );
        let expected = Skipped { nobodys: 1, beyond_person: 2, not_utf8: 1, ..Skipped::default() };
        assert_eq!(skipped, expected);
        let columns = read(&text[..], &spec, 3, |cells| cells.numerics[0] == Some(1.0)).unwrap();
        assert!(!columns.beyond_cap, "rows that are not kept do not count");
    }

    #[test]
    fn a_duration_is_a_number_from_zero_and_the_label_says_whether_the_event_came() {
        let label = LabelSpec::time_to_event("y", "1", "0", "t");
        let spec = DataSpec { label, ..spec() };
        let text = b"a,c,t,y\n1,r,2.5,1\n0,r,0,0\n0,r,-1,1\n0,r,,1\n0,r,nan,0\n0,r,x,0\n0,r,7,2\n";
        let (data, skipped) = Dataset::read_tolerant(&text[..], &spec).unwrap();
        let labels = data.labels(&[0, 1]);
        assert_eq!(labels, [2.5, 0.0]);
        assert!(labels[1].is_sign_negative(), "no event: minus the duration");
        let expected = Skipped { no_durations: 4, unknown_labels: 1, ..Skipped::default() };
        assert_eq!(skipped, expected);
        let error = Dataset::read_csv(&text[..], &spec).unwrap_err().to_string();
        assert_eq!(error, "line 4: column \"t\" is no duration: a number from 0 is needed");
        let neither = b"a,c,t,y\n1,r,2.5,1\n0,r,3,2\n";
        let error = Dataset::read_csv(&neither[..], &spec).unwrap_err().to_string();
        assert!(error.contains("line 3: column \"y\" is neither \"1\" nor \"0\""), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Dataset::load_tolerant(std::path::Path::new("none.csv"), &spec()).unwrap_err();
        assert!(error.to_string().starts_with("none.csv: "), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_below_the_header_are_an_error(tail in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b','), Just(b'\n'), Just(b'"'), Just(b'1')], 0..200)) {
            let text = [b"a,c,y\n".as_slice(), &tail].concat();
            prop_assert!(rows(&text, 1000).is_ok());
        }

        #[test]
        fn what_the_strict_reader_takes_reads_the_same(cells in
            proptest::collection::vec((any::<Option<i8>>(), 0u8..4, any::<bool>()), 1..40)) {
            let mut text = String::from("y,a,c\n");
            for (a, c, y) in cells {
                let a = a.map_or(String::new(), |a| format!("{}", f32::from(a) / 64.0));
                let c = ["r", "g", "violet", ""][usize::from(c)];
                text += &format!("{},{a},{c}\n", u8::from(y));
            }
            let mut strict = Vec::new();
            crate::table::read(text.as_bytes(), &spec(), |c| strict.push(c.clone())).unwrap();
            let (tolerant, skipped) = rows(text.as_bytes(), 1000).unwrap();
            prop_assert_eq!(tolerant, strict);
            prop_assert!(!skipped.any());
        }
    }
}
