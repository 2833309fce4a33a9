//! A registered table is read through its mapping, tolerantly for jobs and strictly for the owner.

use super::*;
use crate::storage::Source;

const MAPPING: &str = "missing = [\"NA\"]\n[columns.x]\nfrom = \"Wert\"\nscale = 0.5\n\
                       [columns.y]\nfrom = \"krank\"\nvalues = { ja = \"1\", nein = \"0\" }\n";

fn spec() -> DataSpec {
    tributary_job::JobSpec::from_toml(crate::fixtures::JOB).unwrap().data
}

#[test]
fn a_registered_table_is_read_through_its_mapping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.jsonl");
    let text = "{\"Wert\":2,\"krank\":\"ja\"}\n{\"Wert\":\"NA\",\"krank\":\"nein\"}\n{\"Wert\":\"?\",\"krank\":\"weiß nicht\"}\n7\n";
    std::fs::write(&path, text).unwrap();
    let source = Source { kind: String::new(), mapping: Some(MAPPING.into()) };
    let row = DatasetRow {
        name: "d".into(),
        path: path.to_str().unwrap().into(),
        declared_records: 10,
        content: None,
        source,
    };
    let records = Records::of(&row).unwrap();
    assert_eq!(records.description(), "jsonl, 2 mapped columns");
    let (data, skipped) = records.load(&spec(), &Assets::none()).unwrap();
    assert_eq!((data.len(), skipped.malformed, skipped.unknown_labels), (2, 1, 1));
    let report = records.report(&spec()).unwrap();
    assert_eq!((report.rows, report.used), (4, 2));
    assert!(records.check().unwrap_err().to_string().contains("line 4"));
    // As CSV it is something else.
    let csv = Records::new(path, Kind::parse("csv").unwrap(), Some(MAPPING)).unwrap();
    let error = csv.check().unwrap_err().to_string();
    assert!(error.starts_with("mapping: columns.x: "), "{error}");
}

#[test]
fn what_is_stored_and_not_understood_is_said() {
    let row = DatasetRow {
        name: "d".into(),
        path: "t.csv".into(),
        declared_records: 10,
        content: None,
        source: Source { kind: "tape".into(), mapping: None },
    };
    assert!(Records::of(&row).unwrap_err().contains("no kind of source \"tape\""));
    let mapping = Some("[columns.x]\nunit = \"ell -> m\"".to_owned());
    let row = DatasetRow { source: Source { kind: String::new(), mapping }, ..row };
    assert!(Records::of(&row).unwrap_err().contains("columns.x"));
}
