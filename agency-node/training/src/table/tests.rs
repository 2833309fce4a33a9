//! What the strict reader takes, what it refuses, and that no error repeats a cell.

use tributary_job::spec::{FeatureSpec, LabelSpec, Transform};

use super::*;

fn spec() -> DataSpec {
    DataSpec::new(
        LabelSpec::binary("income", ">50K", "<=50K"),
        vec![
            FeatureSpec::numeric("age", 0.0, 100.0, Transform::Identity),
            FeatureSpec::Category {
                column: "work".into(),
                values: vec!["Private".into(), " State".into()],
            },
            FeatureSpec::numeric("gain", 0.0, (3.0f64).exp_m1(), Transform::Log1p),
        ],
    )
}

fn rows(text: &str) -> Result<Vec<Cells>, DataError> {
    let mut out = Vec::new();
    read(text.as_bytes(), &spec(), |cells| out.push(cells.clone()))?;
    Ok(out)
}

#[test]
fn cells_are_trimmed_scaled_and_indexed_in_any_column_order() {
    let text = "\u{feff}work, gain,income ,age,unused\nPrivate,0, >50K, 50,\u{e9}\n\
                State,6.38905609893065,<=50K,120,\n?,,<=50K,,x\n";
    let rows = rows(text).unwrap();
    assert_eq!(rows[0].numerics, [Some(0.0), Some(-1.0)]);
    assert_eq!((rows[0].label, &rows[0].categories[..]), (1, &[Some(0)][..]));
    assert_eq!(rows[1].numerics[0], Some(1.0), "clamped");
    assert!((rows[1].numerics[1].unwrap() - (2.0 * 2.0 / 3.0 - 1.0)).abs() < 1e-6);
    assert_eq!(rows[1].categories, [Some(1)]);
    assert_eq!(rows[2].numerics, [None, None]);
    assert_eq!((rows[2].label, &rows[2].categories[..]), (0, &[None][..]));
}

#[test]
fn every_bad_table_has_its_own_error() {
    let head = "age,work,gain,income\n";
    let error = |text: &str| rows(text).unwrap_err();
    assert!(matches!(error(""), DataError::Empty));
    assert!(matches!(error("\n\n"), DataError::Empty));
    assert!(matches!(error(head), DataError::Empty));
    let missing = error("Age,work,gain,income\n1,Private,0,>50K\n");
    assert!(missing.to_string().ends_with("no column \"age\"; is \"Age\" meant?"), "{missing}");
    let twice = error("age,age,work,gain,income\n1,1,Private,0,>50K\n");
    assert!(matches!(twice, DataError::AmbiguousColumn { .. }));
    let ragged = error(&format!("{head}1,Private,0,>50K\n1,Private,0\n"));
    assert!(matches!(ragged, DataError::Ragged { line: 3, expected: 4, found: 3 }), "{ragged}");
    let label = error(&format!("{head}1,Private,0,50K\n"));
    assert!(matches!(label, DataError::Label { line: 2, .. }));
    let empty_label = error(&format!("{head}1,Private,0,\n"));
    assert!(matches!(empty_label, DataError::Label { line: 2, .. }));
    for cell in ["NaN", "inf", "-inf", "1e999", "12 years", "?"] {
        let bad = error(&format!("{head}\n1,Private,0,>50K\n{cell},Private,0,>50K\n"));
        assert!(matches!(bad, DataError::Number { line: 4, .. }), "{bad}");
        assert!(!bad.to_string().contains(cell), "errors never repeat a cell");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_are_read_and_ignored_elsewhere() {
    let mut seen = 0;
    let text = b"age,work,gain,income,note\n1,Private,0,>50K,\xff\n";
    read(&text[..], &spec(), |_| seen += 1).unwrap();
    assert_eq!(seen, 1);
    let text = b"age,work,gain,income\n\xff,Private,0,>50K\n";
    let error = read(&text[..], &spec(), |_| ()).unwrap_err();
    assert!(matches!(error, DataError::Malformed(_)) && error.to_string().contains("line 2"));
}

#[test]
fn bounds_without_room_are_refused() {
    let mut spec = spec();
    for (min, max) in [(1e16, 1e16 + 2.0), (-f64::MAX, f64::MAX)] {
        let transform = if min > 0.0 { Transform::Log1p } else { Transform::Identity };
        spec.features[0] = FeatureSpec::numeric("age", min, max, transform);
        let text = "age,work,gain,income\n1,Private,0,>50K\n";
        let error = read(text.as_bytes(), &spec, |_| ()).unwrap_err();
        assert!(matches!(error, DataError::Bounds { .. }));
    }
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("no-such-table.csv");
    let error = open(path).unwrap_err();
    assert!(error.to_string().starts_with("no-such-table.csv: "));
}

#[test]
fn blocks_and_unit_numerics_are_scaled_by_their_bounds_in_the_order_of_the_features() {
    let mut spec = spec();
    spec.label = LabelSpec::classes("digit", ["a", "b", " c "]);
    spec.features = vec![
        FeatureSpec::Block { prefix: "p".into(), count: 3, min: 0.0, max: 255.0 },
        FeatureSpec::numeric("age", 0.0, 100.0, Transform::Identity),
        FeatureSpec::Numeric {
            column: "dose".into(),
            min: 0.0,
            max: 8.0,
            transform: Transform::Identity,
            scaling: tributary_job::spec::Scaling::Unit,
        },
    ];
    let text = "p2,digit,age,p0,dose,p1\n255,c,50,51,6,0\n999,a,,-3,,\n0,b,1,0.5e2,0,x\n";
    let mut rows = Vec::new();
    let error = read(text.as_bytes(), &spec, |cells| rows.push(cells.clone())).unwrap_err();
    assert!(matches!(&error, DataError::Number { line: 4, column } if column == "p1"), "{error}");
    assert_eq!((rows[0].label, rows[1].label), (2, 0));
    assert_eq!(rows[0].plain, [0.2, 0.0, 1.0, 0.5]);
    assert_eq!(rows[1].plain, [0.0, 0.0, 1.0, 0.0], "clamped; missing is 0");
    assert_eq!(rows[0].numerics, [Some(0.0)]);
    let text = "p2,digit,age,p0,dose,p1\n255,d,50,51,6,0\n";
    let error = read(text.as_bytes(), &spec, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: column \"digit\" is none of the 3 classes");
}

#[test]
fn a_row_without_a_person_is_refused() {
    let mut spec = spec();
    spec.person_column = Some("who".into());
    let head = "age,work,gain,income,who\n";
    let text = format!("{head}1,Private,0,>50K, p 1 \n1,Private,0,>50K,\n");
    let mut persons = Vec::new();
    let error = read(text.as_bytes(), &spec, |c| persons.push(c.person.clone())).unwrap_err();
    assert!(matches!(error, DataError::Person { line: 3, .. }), "{error}");
    assert_eq!(persons, [b"p 1".to_vec()]);
    let missing = read(&b"age,work,gain,income\n1,Private,0,>50K\n"[..], &spec, |_| ());
    assert!(matches!(missing, Err(DataError::MissingColumn { .. })));
}
