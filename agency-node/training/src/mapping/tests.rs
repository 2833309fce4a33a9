//! Two agencies that name things differently and mean the same, and rules that are refused.

use tributary_job::spec::{FeatureSpec, LabelSpec, Transform};

use super::*;
use crate::Dataset;
use crate::source::{Cell, CsvTable, JsonLines, Row, Table};
use crate::table::DataError;

/// What a mapping makes of a table: cells as text, `~` for missing and `!` for no number.
fn mapped(mapping: &str, table: &str, columns: &[&str]) -> Result<Vec<String>, DataError> {
    let mapping = Mapping::parse(mapping)?;
    let inner = CsvTable::new(table.as_bytes(), mapping.delimiter.unwrap_or(b','))?;
    let mut table = Mapped::new(Box::new(inner), &mapping);
    table.select(&columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())?;
    let (mut row, mut out, mut scratch) = (Row::default(), Vec::new(), Vec::new());
    while table.next(&mut row)? {
        let show = |cell: Cell<'_>, scratch: &mut Vec<u8>| match cell {
            Cell::Missing => "~".to_owned(),
            Cell::Real(value) if value.is_nan() => "!".to_owned(),
            cell => String::from_utf8_lossy(cell.text(scratch)).into_owned(),
        };
        let cells: Vec<String> = (0..row.len()).map(|i| show(row.cell(i), &mut scratch)).collect();
        out.push(if row.defect().is_some() { "defect".into() } else { cells.join(" ") });
    }
    Ok(out)
}

#[test]
fn every_kind_of_rule() {
    let mapping = r#"
        missing = ["NA", "-99"]
        rows = "status != 'draft'"
        [file]
        delimiter = ";"
        [columns.age]
        expr = "years(date(born, 'DD.MM.YYYY'), seen)"
        [columns.sex]
        from = "SX"
        values = { "1" = "male", "2" = "female", "9" = "" }
        [columns.temp]
        from = "temp_f"
        unit = "F -> C"
        [columns.weight]
        from = "kg"
        decimal = ","
        [columns.visit]
        from = "seen"
        [columns.birth]
        from = "born"
        date = "DD.MM.YYYY"
        [columns.region]
        from = "plz"
        values = { "10" = "east" }
        default = "other"
        [columns.ward]
        values = { "a" = "A" }
        keep_others = true
        [columns.dose]
        scale = 0.5
        offset = 1.0
        missing = ["?"]
    "#;
    let table = "born;seen;SX;temp_f;kg;plz;ward;dose;status;extra\n\
                 15.06.1950;2020-06-14;1;212;1.234,5;10;a;4;final;x\n\
                 NA;2020-06-14;9;-99;70,25;11;b;?;final;y\n\
                 01.01.1900;2020-06-14;3;warm;heavy;;;x;;z\n\
                 01.01.1900;2020-06-14;3;warm;heavy;;;x;draft;z\n\
                 short;row\n";
    let columns =
        ["age", "sex", "temp", "weight", "visit", "birth", "region", "ward", "dose", "extra"];
    let rows = mapped(mapping, table, &columns).unwrap();
    assert_eq!(
        rows,
        [
            "69 male 100 1234.5 2020-06-14 1950-06-15 east A 3 x",
            "~ ~ ~ 70.25 2020-06-14 ~ other b ~ y",
            // The status is missing, so it cannot be said that the row is no draft: it is left out.
            "defect",
        ]
    );
    let rows = mapped(
        &mapping.replace("status != 'draft'", "missing(status) or status != 'draft'"),
        table,
        &columns,
    );
    assert_eq!(rows.unwrap()[2], "120 ~ ! heavy 2020-06-14 1900-01-01 ~ ~ ! z");
}

fn spec() -> DataSpec {
    DataSpec {
        person_column: Some("patient".into()),
        ..DataSpec::new(
            LabelSpec::binary("readmitted", "yes", "no"),
            vec![
                FeatureSpec::numeric("age", 0.0, 110.0, Transform::Identity),
                FeatureSpec::numeric("weight", 20.0, 200.0, Transform::Identity),
                FeatureSpec::Category {
                    column: "sex".into(),
                    values: vec!["female".into(), "male".into()],
                },
            ],
        )
    }
}

/// The worked example of the guide.
const NORTH: (&str, &str) = (
    include_str!("../../../../deploy/config/mapping-north.toml"),
    "pat_id;DOB;admission;wt_lb;SEX;readm30\n\
     n1;06/15/1950;2020-06-14;150;F;1\n\
     n2;01/02/2000;2020-06-14;UNK;M;0\n\
     n3;01/02/2000;2020-06-14;180;X;1\n",
);
const SOUTH: (&str, &str) = (
    include_str!("../../../../deploy/config/mapping-south.toml"),
    "{\"patient\":{\"id\":\"n1\",\"geschlecht\":2},\"alter\":69,\"gewicht\":68.0388555,\"wiederaufnahme_tage\":12,\"fall\":\"stationär\"}\n\
     {\"patient\":{\"id\":\"n2\",\"geschlecht\":1},\"alter\":20,\"gewicht\":null,\"wiederaufnahme_tage\":45,\"fall\":\"stationär\"}\n\
     {\"patient\":{\"id\":\"n9\",\"geschlecht\":1},\"alter\":20,\"fall\":\"ambulant\"}\n\
     {\"patient\":{\"id\":\"n3\",\"geschlecht\":3},\"alter\":20,\"gewicht\":81.6466266,\"wiederaufnahme_tage\":30,\"fall\":\"stationär\"}\n",
);

#[test]
fn two_agencies_that_name_things_differently_have_the_same_table() {
    let (north, south) = (Mapping::parse(NORTH.0).unwrap(), Mapping::parse(SOUTH.0).unwrap());
    north.check(&spec()).unwrap();
    south.check(&spec()).unwrap();
    let reading = north.reading(Path::new("x.txt"));
    assert_eq!((reading.format, reading.delimiter), (Format::Csv, b';'));
    let north_table = CsvTable::new(NORTH.1.as_bytes(), reading.delimiter).unwrap();
    let tables: [(Box<dyn Table>, &Mapping); 2] =
        [(Box::new(north_table), &north), (Box::new(JsonLines::new(SOUTH.1.as_bytes())), &south)];
    let read = tables.map(|(inner, mapping)| {
        let mut table = Mapped::new(inner, mapping);
        Dataset::read_table(&mut table, &spec()).unwrap()
    });
    let seen = |data: &Dataset| {
        let norm = tributary_job::Normalisation::identity(2);
        let (rows, mut inputs) = ([0, 1, 2], Vec::new());
        data.features(&rows, &norm, &mut inputs);
        (inputs, data.labels(&rows))
    };
    assert_eq!((read[0].len(), read[1].len()), (3, 3));
    let (north, south) = (seen(&read[0]), seen(&read[1]));
    assert_eq!(north.1, [1.0, 0.0, 1.0]);
    assert_eq!(north.1, south.1);
    for (a, b) in north.0.iter().zip(&south.0) {
        assert!((a - b).abs() < 1e-6, "{north:?} {south:?}");
    }
    assert_eq!(north.0[2..4], [1.0, 0.0], "a woman");
    assert_eq!(north.0[5..8], [0.0, 0.0, 1.0], "weight unknown, a man");
    assert_eq!(north.0[10..], [0.0, 0.0], "neither");
}

#[test]
fn a_rule_that_cannot_be_is_named() {
    for (text, words) in [
        ("colums = 1", "unknown field `colums`"),
        ("[columns.age]\nfrm = \"x\"", "unknown field `frm`"),
        ("[columns.age]\nfrom = \"x\"\nexpr = \"y\"", "columns.age: either from or expr"),
        ("[columns.age]\nunit = \"lb -> cm\"", "columns.age: unit"),
        ("[columns.age]\nunit = \"lb -> kg\"\nscale = 2.0", "either unit, or scale"),
        ("[columns.age]\nscale = 0.0", "not 0"),
        ("[columns.age]\nscale = nan", "not 0"),
        ("[columns.age]\ndefault = \"x\"", "no meaning without values"),
        (
            "[columns.age]\nvalues = { a = \"b\" }\ndefault = \"x\"\nkeep_others = true",
            "either default",
        ),
        ("[columns.age]\nvalues = {}", "values is empty"),
        ("[columns.age]\ndate = \"DD.MM\"", "a pattern like"),
        ("[columns.age]\ndate = \"YYYY\"\nscale = 2.0", "no unit"),
        ("[columns.age]\ndecimal = \";\"", "decimal is"),
        ("[columns.age]\nexpr = \"years(a)\"", "columns.age: years takes 2"),
        ("[columns.\" age\"]\n", "no blanks"),
        ("rows = \"a >\"", "rows: it ends too early"),
        ("[file]\nformat = \"xml\"", "unknown variant `xml`"),
        ("[file]\ndelimiter = \"é\"", "file.delimiter"),
        ("[file]\nformat = \"parquet\"\ndelimiter = \";\"", "no meaning without"),
    ] {
        let error = Mapping::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_column_that_the_file_lacks_is_blamed_on_its_rule() {
    let table = "born,x\n1,2\n";
    let error =
        |mapping: &str, column: &str| mapped(mapping, table, &[column]).unwrap_err().to_string();
    let of_rule = error("[columns.age]\nexpr = \"year(Born)\"", "age");
    assert!(of_rule.starts_with("mapping: columns.age: "), "{of_rule}");
    assert!(of_rule.contains("is \"born\" meant?"), "{of_rule}");
    let of_rows = error("rows = \"y > 1\"", "x");
    assert!(of_rows.starts_with("mapping: rows: "), "{of_rows}");
    assert!(error("", "y").starts_with("the header has no column \"y\""));
    let hidden = error("unmapped = \"hide\"\n[columns.age]\nfrom = \"born\"", "x");
    assert!(hidden.starts_with("the header has no column \"x\""), "{hidden}");
}

#[test]
fn the_column_of_persons_may_be_renamed_and_nothing_else() {
    for rule in ["", "from = \"id\"", "expr = \"`id`\"", "from = \"id\"\nmissing = [\"?\"]"] {
        let text = format!("[columns.patient]\n{rule}");
        Mapping::parse(&text).unwrap().check(&spec()).unwrap();
    }
    for rule in
        ["values = { a = \"b\" }", "expr = \"first(id, 3)\"", "scale = 0.1", "date = \"YYYY\""]
    {
        let text = format!("[columns.patient]\n{rule}");
        let error = Mapping::parse(&text).unwrap().check(&spec()).unwrap_err().to_string();
        assert!(error.contains("columns.patient"), "{error}");
    }
}

#[test]
fn a_filter_depends_on_a_row_alone() {
    let kept = |table: &str| mapped("rows = \"part(id, 2) == 1\"", table, &["id"]).unwrap();
    let all: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
    let whole = kept(&format!("id\n{}\n", all.join("\n")));
    let without: Vec<String> = all.iter().skip(1).cloned().collect();
    let rest = kept(&format!("id\n{}\n", without.join("\n")));
    assert!((5..35).contains(&whole.len()), "{}", whole.len());
    assert_eq!(whole.iter().filter(|id| *id != "p0").cloned().collect::<Vec<_>>(), rest);
}
