//! Three million rows of a Parquet file, streamed: how long it takes and how much memory.
//!
//! `cargo xtask bench data` fetches the file (flights within the United States, five columns, from
//! the npm package `vega-datasets`) and runs this.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, Transform};
use tributary_training::mapping::{Mapped, Mapping};
use tributary_training::report::Report;
use tributary_training::source::{Reading, open};
use tributary_training::{DataError, Dataset, check_structure};

const MAPPING: &str = r#"
    unmapped = "hide"
    [columns.late]
    expr = "delay > 15"
    [columns.hour]
    expr = "hour(date)"
    [columns.weekday]
    expr = "weekday(date)"
    [columns.distance]
    unit = "mi -> km"
    [columns.origin]
    [columns.destination]
"#;

fn spec() -> DataSpec {
    let category = |column: &str, values: &[&str]| FeatureSpec::Category {
        column: column.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let airports = ["ATL", "ORD", "DFW", "LAX", "PHX", "DEN", "IAH", "LAS", "DTW", "STL"];
    DataSpec::new(
        LabelSpec::binary("late", "1", "0"),
        vec![
            FeatureSpec::numeric("hour", 0.0, 24.0, Transform::Identity),
            FeatureSpec::numeric("distance", 0.0, 8000.0, Transform::Log1p),
            category("weekday", &["1", "2", "3", "4", "5", "6", "7"]),
            category("origin", &airports),
            category("destination", &airports),
        ],
    )
}

/// Most memory that this process has had at a time, MiB.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.div_ceil(1024))
}

fn said(what: &str, start: Instant) {
    let memory = peak().map_or("unknown".to_owned(), |mib| format!("{mib} MiB"));
    println!("{what}: {:.2} s, peak memory so far {memory}", start.elapsed().as_secs_f64());
}

fn mapped<'a>(path: &Path, mapping: &'a Mapping) -> Mapped<'a> {
    Mapped::new(open(path, Reading::of(path)).unwrap(), mapping)
}

#[test]
#[ignore = "needs a file: cargo xtask bench data"]
fn three_million_rows_are_streamed() {
    let Some(path) = std::env::var_os("TRIBUTARY_FLIGHTS_3M").map(PathBuf::from) else {
        panic!("TRIBUTARY_FLIGHTS_3M must name the file: cargo xtask bench data");
    };
    println!("a file of {:.1} MB", std::fs::metadata(&path).unwrap().len() as f64 / 1e6);
    let start = Instant::now();
    let refused = check_structure(&path).unwrap_err();
    assert!(matches!(refused, DataError::TooManyRows { .. }), "{refused}");
    said("registering all of it is refused", start);

    let mapping = Mapping::parse(MAPPING).unwrap();
    let start = Instant::now();
    let report = Report::of(&mut mapped(&path, &mapping), &spec()).unwrap();
    assert_eq!(report.rows, 3_000_000);
    assert_eq!(report.used, MAX_RECORDS_PER_NODE);
    assert_eq!(report.beyond_cap + report.used + report.unknown_labels, report.rows);
    said("every cell counted for the report", start);
    println!("{}", report.shown(false));

    let third = format!("rows = \"part(concat(origin, destination, date), 3) == 1\"\n{MAPPING}");
    let third = Mapping::parse(&third).unwrap();
    let start = Instant::now();
    let mut table = mapped(&path, &third);
    let (data, skipped) = Dataset::read_table_tolerant(&mut table, &spec()).unwrap();
    assert!(!skipped.beyond_cap, "{skipped:?}");
    assert!((900_000..1_048_576).contains(&data.len()), "{}", data.len());
    said(&format!("a third of it loaded for a job, {} records", data.len()), start);
}
