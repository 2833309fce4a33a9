//! Counts of a table with everything wrong in it, and that codes are shown on request alone.

use tributary_job::spec::{FeatureSpec, LabelSpec, Transform};

use super::*;
use crate::mapping::{Mapped, Mapping};
use crate::source::CsvTable;

fn spec() -> DataSpec {
    let age = FeatureSpec::numeric("age", 0.0, 100.0, Transform::Identity);
    let sex = FeatureSpec::Category { column: "sex".into(), values: vec!["f".into(), " m".into()] };
    let block = FeatureSpec::Block { prefix: "p".into(), count: 2, min: 0.0, max: 1.0 };
    DataSpec {
        person_column: Some("who".into()),
        max_records_per_person: Some(2),
        ..DataSpec::new(LabelSpec::binary("ill", "1", "0"), vec![age, sex, block])
    }
}

const TABLE: &[u8] = b"who,age,sex,p0,p1,ill\n\
    a,10,f,0,1,1\na,-1,m,2,,0\na,5,f,0,0,1\nb,120,secret,x,0,0\n,1,f,0,0,1\nc,,,0,0,maybe\n\
    d,1\nd,\xff,f,0,0,1\nd,7,F,0,0,1\n";

#[test]
fn everything_is_counted_and_the_first_problem_kept() {
    let report = Report::of(&mut CsvTable::new(TABLE, b',').unwrap(), &spec()).unwrap();
    assert_eq!((report.rows, report.used, report.persons), (9, 4, Some(3)));
    assert_eq!((report.ragged, report.not_utf8, report.unknown_labels), (1, 1, 1));
    assert_eq!((report.nobodys, report.beyond_person, report.filtered), (1, 1, 0));
    assert_eq!(report.labels, [("0".to_owned(), 2), ("1".to_owned(), 3)]);
    let age = &report.columns[0];
    assert_eq!((age.cells, age.missing, age.bad, age.below, age.above), (7, 1, 0, 1, 1));
    let sex = &report.columns[1];
    assert_eq!((sex.missing, sex.unlisted), (1, 2));
    assert_eq!(sex.codes.most_frequent(), [("F", 1), ("secret", 1)]);
    let block = &report.columns[2];
    assert_eq!((block.column.as_str(), block.cells), ("p0..p1", 14));
    assert_eq!((block.missing, block.bad, block.above), (1, 1, 1));
    let quiet = report.shown(false).to_string();
    assert!(!quiet.contains("secret") && !quiet.contains("maybe"), "{quiet}");
    assert!(quiet.contains("29 % out of the job's bounds"), "{quiet}");
    let open = report.shown(true).to_string();
    assert!(open.contains("\"secret\"") && open.contains("\"maybe\""), "{open}");
    let problem = report.verdict().unwrap_err().to_string();
    assert_eq!(problem, "line 5: column \"p0\" is not a finite number (leave it empty if missing)");
}

#[test]
fn a_good_table_has_no_problem_and_an_empty_column_is_remarked_on() {
    let table = b"who,age,sex,p0,p1,ill\na,,f,0,1,1\nb,,m,0,1,0\n";
    let report = Report::of(&mut CsvTable::new(&table[..], b',').unwrap(), &spec()).unwrap();
    let text = report.shown(true).to_string();
    assert!(text.contains("empty in every row"), "{text}");
    report.verdict().unwrap();
    let empty = Report::of(&mut CsvTable::new(&table[..22], b',').unwrap(), &spec()).unwrap();
    assert!(matches!(empty.verdict(), Err(DataError::Empty)));
    assert!(Report::of(&mut CsvTable::new(&b"who\na\n"[..], b',').unwrap(), &spec()).is_err());
}

#[test]
fn codes_that_a_mapping_does_not_list_are_counted() {
    let mapping = "rows = \"p1 >= 0\"\n[columns.sex]\nvalues = { f = \"f\", m = \"m\" }";
    let mapping = Mapping::parse(mapping).unwrap();
    let inner = Box::new(CsvTable::new(TABLE, b',').unwrap());
    let report = Report::of(&mut Mapped::new(inner, &mapping).observed(), &spec()).unwrap();
    assert_eq!((report.rows, report.filtered), (8, 1));
    let [sex] = &report.unmapped[..] else { panic!("one column has codes") };
    assert_eq!((sex.column.as_str(), sex.cells), ("sex", 2));
    assert_eq!(sex.codes, [("F".to_owned(), 1), ("secret".to_owned(), 1)]);
    let quiet = report.shown(false).to_string();
    assert!(quiet.contains("codes of sex") && !quiet.contains("secret"), "{quiet}");
}
