//! The same table in every format is the same dataset, and what is wrong with a row or file is said.

use std::io::Write;
use std::sync::Arc;

use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use tributary_job::Normalisation;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, Scaling, Transform};

use super::*;
use crate::Dataset;

fn spec() -> DataSpec {
    let unit = FeatureSpec::Numeric {
        column: "dose".into(),
        min: 0.0,
        max: 8.0,
        transform: Transform::Log1p,
        scaling: Scaling::Unit,
    };
    let site = FeatureSpec::Category {
        column: "site".into(),
        values: vec!["1".into(), "2".into(), "north".into()],
    };
    let age = FeatureSpec::numeric("age", 0.0, 100.0, Transform::Identity);
    DataSpec {
        person_column: Some("who".into()),
        max_records_per_person: Some(2),
        ..DataSpec::new(LabelSpec::binary("ill", "1", "0"), vec![age, site, unit])
    }
}

/// A row as any format holds it: person, age, site, dose, label.
type Record = (i64, Option<f64>, Option<String>, Option<f64>, i64);

fn csv(records: &[Record]) -> Vec<u8> {
    let mut text = String::from("ill,who,age,note,site,dose\n");
    let show = |value: &Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    for (who, age, site, dose, ill) in records {
        let site = site.as_deref().unwrap_or_default();
        text += &format!("{ill},{who}, {},\"a, b\",{site},{}\n", show(age), show(dose));
    }
    text.into_bytes()
}

fn json(records: &[Record]) -> Vec<u8> {
    let mut text = String::from("\u{feff}");
    for (i, (who, age, site, dose, ill)) in records.iter().enumerate() {
        let mut object = serde_json::json!({ "who": who, "ill": ill, "note": [1, { "ill": 9 }] });
        // A cell that is not there is left out in some rows and null in others.
        if age.is_some() || i % 2 == 0 {
            object["age"] = serde_json::json!(age);
        }
        object["site"] = match site.as_deref().map(|s| (s, s.parse::<i64>())) {
            None => serde_json::json!(null),
            Some((_, Ok(number))) => serde_json::json!(number),
            Some((text, Err(_))) => serde_json::json!(format!(" {text} ")),
        };
        object["dose"] = serde_json::json!(dose);
        text += &format!("{object}\n\n");
    }
    text.into_bytes()
}

/// Several row groups, null cells and a column that nobody asks for.
pub(crate) fn parquet(path: &Path, records: &[Record]) {
    let schema = "message t { required int64 who; optional double age; optional binary site (UTF8); \
                  optional group extra { optional int32 note; } optional double dose; \
                  required boolean flag; required int32 ill; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    for group in records.chunks(7) {
        let mut columns = writer.next_row_group().unwrap();
        let reals = |of: fn(&Record) -> Option<f64>| {
            let levels: Vec<i16> = group.iter().map(|r| i16::from(of(r).is_some())).collect();
            (group.iter().filter_map(of).collect::<Vec<f64>>(), levels)
        };
        let mut at = 0;
        while let Some(mut column) = columns.next_column().unwrap() {
            match (column.untyped(), at) {
                (ColumnWriter::Int64ColumnWriter(w), _) => {
                    let who: Vec<i64> = group.iter().map(|r| r.0).collect();
                    w.write_batch(&who, None, None).unwrap();
                }
                (ColumnWriter::DoubleColumnWriter(w), _) => {
                    let (values, levels) = reals(if at == 1 { |r| r.1 } else { |r| r.3 });
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::ByteArrayColumnWriter(w), _) => {
                    let levels: Vec<i16> = group.iter().map(|r| i16::from(r.2.is_some())).collect();
                    let sites = group.iter().filter_map(|r| r.2.as_deref());
                    let sites: Vec<ByteArray> = sites.map(ByteArray::from).collect();
                    w.write_batch(&sites, Some(&levels), None).unwrap();
                }
                (ColumnWriter::BoolColumnWriter(w), _) => {
                    w.write_batch(&vec![true; group.len()], None, None).unwrap();
                }
                (ColumnWriter::Int32ColumnWriter(w), 3) => {
                    let levels = vec![1; group.len()];
                    w.write_batch(&[], Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int32ColumnWriter(w), _) => {
                    let ill: Vec<i32> = group.iter().map(|r| r.4 as i32).collect();
                    w.write_batch(&ill, None, None).unwrap();
                }
                _ => panic!("no such column"),
            }
            column.close().unwrap();
            at += 1;
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
}

/// Everything that a job sees of a dataset.
fn seen(data: &Dataset) -> (Vec<u32>, Vec<f32>, Vec<Vec<u32>>) {
    let rows: Vec<u32> = (0..data.len() as u32).collect();
    let norm = Normalisation { mean: vec![0.25], inverse_sd: vec![3.0] };
    let mut inputs = Vec::new();
    data.features(&rows, &norm, &mut inputs);
    inputs.extend(data.labels(&rows));
    let persons = data.persons().unwrap();
    let persons = (0..persons.len() as u32).map(|p| persons.rows_of(p).to_vec()).collect();
    (inputs.iter().map(|v| v.to_bits()).collect(), inputs, persons)
}

fn in_every_format(records: &[Record]) -> Vec<Dataset> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("t.csv"), csv(records)).unwrap();
    std::fs::write(path("t.jsonl"), json(records)).unwrap();
    parquet(&path("t.PARQUET"), records);
    ["t.csv", "t.jsonl", "t.PARQUET"]
        .map(|name| Dataset::load(&path(name), &spec()).unwrap())
        .into()
}

#[test]
fn a_table_means_the_same_in_every_format() {
    let site = |s: &str| Some(s.to_owned());
    let records: Vec<Record> = (0..20)
        .map(|i| {
            let age = (i % 3 != 0).then_some(f64::from(i) * 7.3 - 5.0);
            let site = [site("1"), site("north"), None, site("7")][i as usize % 4].clone();
            (
                i64::from(i % 5),
                age,
                site,
                (i % 4 == 1).then_some(0.1 * f64::from(i)),
                i64::from(i % 2),
            )
        })
        .collect();
    let all = in_every_format(&records);
    let first = seen(&all[0]);
    assert_eq!(all[0].len(), 10, "two of each person");
    assert!(first.1.iter().any(|v| *v != 0.0));
    assert!(all.iter().all(|data| seen(data).0 == first.0 && seen(data).2 == first.2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_cells(records in proptest::collection::vec((
        any::<i64>(), proptest::option::of(-200.0..200.0f64),
        proptest::option::of("[a-z12]{1,3}"), proptest::option::of(0.0..10.0f64), 0i64..2), 1..40)) {
        let all = in_every_format(&records);
        let first = seen(&all[0]).0;
        prop_assert!(all.iter().all(|data| seen(data).0 == first));
    }

    #[test]
    fn no_line_of_json_is_an_error(lines in
        proptest::collection::vec("[\\[\\]{}\":,a-z0-9 .\\\\-]{0,60}", 0..8)) {
        let text = lines.join("\n");
        let mut table = JsonLines::new(text.as_bytes());
        table.select(&["a".into(), "b.c".into()]).unwrap();
        let mut row = Row::default();
        while table.next(&mut row).unwrap() {
            prop_assert_eq!(row.len(), 2);
        }
    }
}

#[test]
fn objects_within_objects_and_large_numbers_of_json() {
    let text = r#"{"a":{"b":{"c":5}},"n":18446744073709551615,"t":true,"x":1e400}
{"a":{"b":7},"n":-0.0,"t":"  "}
"#;
    let mut table = JsonLines::new(text.as_bytes());
    table.select(&["a.b.c".into(), "n".into(), "t".into(), "a.b.c".into()]).unwrap();
    let mut row = Row::default();
    assert!(table.next(&mut row).unwrap());
    assert!(row.defect().is_some(), "a number that no computer holds");
    assert!(table.next(&mut row).unwrap());
    assert_eq!(
        (row.cell(0), row.cell(1), row.cell(2)),
        (Cell::Missing, Cell::Real(-0.0), Cell::Missing)
    );
    let text = text.replace(",\"x\":1e400", "");
    let mut table = JsonLines::new(text.as_bytes());
    table.select(&["a.b.c".into(), "n".into(), "t".into(), "a.b.c".into()]).unwrap();
    assert!(table.next(&mut row).unwrap());
    assert_eq!((row.cell(0), row.cell(3)), (Cell::Integer(5), Cell::Integer(5)));
    assert_eq!(row.cell(1), Cell::Text(b"18446744073709551615"));
    assert_eq!(row.cell(2), Cell::Text(b"true"));
}

#[test]
fn a_bad_line_of_json_costs_itself_and_its_number_is_said() {
    let good = r#"{"ill":1,"who":"p","age":40,"site":"1","dose":1}"#;
    let twice = good.replace("\"age\":40", "\"age\":40,\"age\":41");
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let text = format!("{good}\n[1]\n{twice}\n{good}]\n\n{{\"ill\":\n{deep}\n{good}\n");
    let read = |text: &str| {
        Dataset::read_table_tolerant(&mut JsonLines::new(text.as_bytes()), &spec()).unwrap()
    };
    let (data, skipped) = read(&text);
    assert_eq!((data.len(), skipped.malformed, skipped.unknown_labels), (2, 4, 1));
    let error = Dataset::read_table(&mut JsonLines::new(text.as_bytes()), &spec()).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    assert!(!error.to_string().contains('['), "{error}");
    // Which keys there are depends on records: a column that nobody has refuses nothing.
    let (none, skipped) = read("{\"x\":1}\n");
    assert_eq!((none.len(), skipped.unknown_labels), (0, 1));
}

#[test]
fn who_cannot_be_told_apart_is_nobody() {
    let line =
        |who: &str| format!("{{\"ill\":1,\"who\":{who},\"age\":1,\"site\":\"1\",\"dose\":1}}\n");
    let text: String =
        ["1", "1.5", "9007199254740993.5", "null", "\"\"", "9007199254740993"].map(line).concat();
    let (data, skipped) =
        Dataset::read_table_tolerant(&mut JsonLines::new(text.as_bytes()), &spec()).unwrap();
    assert_eq!((data.len(), data.persons().unwrap().len(), skipped.nobodys), (3, 3, 3));
}

#[test]
fn columns_of_parquet_are_found_by_path_and_named_where_they_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    parquet(&path, &[(1, None, None, None, 1)]);
    let reading = Reading::of(&path);
    let select = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        open(&path, reading).unwrap().select(&columns)
    };
    select(&["extra.note", "age", "age"]).unwrap();
    let error = select(&["Age"]).unwrap_err().to_string();
    assert!(error.contains("no column \"Age\"; is \"age\" meant?"), "{error}");
    assert_eq!(open(&path, reading).unwrap().names().unwrap()[3], "extra.note");
    assert_eq!(crate::check_structure(&path).unwrap(), 1);
}

#[test]
fn lists_are_no_cells() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let schema = "message t { optional group l (LIST) { repeated group list { optional int32 element; } } \
                  required fixed_len_byte_array(3) raw; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(&path).unwrap();
    SerializedFileWriter::new(file, schema, Default::default()).unwrap().close().unwrap();
    for column in ["l.list.element", "raw"] {
        let mut table = open(&path, Reading::of(&path)).unwrap();
        let error = table.select(&[column.to_owned()]).unwrap_err();
        assert!(matches!(&error, DataError::ColumnType { .. }), "{error}");
    }
}

#[test]
fn what_is_no_parquet_file_is_said_at_once_and_a_cut_one_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let check = |bytes: &[u8]| {
        File::create(&path).unwrap().write_all(bytes).unwrap();
        crate::check_structure(&path)
    };
    assert!(matches!(check(b"a,b\n1,2\n"), Err(DataError::Malformed(_))));
    assert!(matches!(check(b""), Err(DataError::Malformed(_))));
    parquet(&path, &[(1, Some(1.0), Some("1".into()), None, 1)]);
    let whole = std::fs::read(&path).unwrap();
    assert!(matches!(check(&whole[..whole.len() / 2]), Err(DataError::Malformed(_))));
    // Damaged pages: an error or other cells, never a panic.
    for at in (4..whole.len()).step_by(11) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let _ = check(&damaged);
        let _ = Dataset::load(&path, &spec());
    }
}

#[test]
fn other_separators_and_formats_by_name() {
    let mut table = CsvTable::new(&b"a;b\n1,5;x\n"[..], b';').unwrap();
    table.select(&["b".into(), "a".into()]).unwrap();
    let mut row = Row::default();
    assert!(table.next(&mut row).unwrap());
    assert_eq!((row.cell(0), row.cell(1)), (Cell::Text(b"x"), Cell::Text(b"1,5")));
    for (name, format) in [
        ("a.ndjson", Format::Jsonl),
        ("a.pq", Format::Parquet),
        ("a", Format::Csv),
        ("a.tsv", Format::Csv),
    ] {
        assert_eq!(Format::of(Path::new(name)), format);
    }
}
