//! Heart disease at four hospitals (UCI, Janosi et al. 1988) by the protocol of FLamby (du Terrail
//! et al. 2022, "FLamby", section 3 and its `fed_heart_disease`): ten columns, rows without gaps,
//! the published split.
//!
//! From the four raw files and the split to tables; knows no job.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::{Split, tables::Tables, tables::refuse};
use crate::error::{SimulationError, read_text};

/// The hospitals, in the order of the roster.
pub const HOSPITALS: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

/// The columns that are kept, by name; the raw files have them first.
const COLUMNS: &str = "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,disease";
const KEPT: usize = 10;
const RAW_COLUMNS: usize = 14;

/// Reads the raw files of `dir`: `processed.<hospital>.data` and `flamby_split.csv` (center, 0-based
/// line, train or test).
///
/// # Errors
/// A file that is missing or not as expected; the message repeats no cell.
pub fn read(dir: &Path, split: Split) -> Result<Tables, SimulationError> {
    let mut raw = BTreeMap::new();
    for name in HOSPITALS {
        let path = dir.join(format!("processed.{name}.data"));
        raw.insert(name, (read_text(&path)?, path));
    }
    let path = dir.join("flamby_split.csv");
    let text = read_text(&path)?;
    let mut tables = Tables::new(HOSPITALS, COLUMNS);
    let mut seen = [0usize; HOSPITALS.len()];
    for (number, line) in text.lines().enumerate().skip(1) {
        let wrong = |what: &str| refuse(&path, number, what);
        let fields: Vec<&str> = line.split(',').collect();
        let [center, at, set] = fields[..] else { return Err(wrong("needs center,line,set")) };
        let silo = HOSPITALS.iter().position(|h| *h == center);
        let silo = silo.ok_or_else(|| wrong("names none of the four hospitals"))?;
        let at: usize = at.parse().map_err(|_| wrong("has no line number"))?;
        let held_out = match set {
            "train" => false,
            "test" => true,
            _ => return Err(wrong("is neither train nor test")),
        };
        let Some((records, file)) = raw.get(center) else { continue };
        let record = records.lines().nth(at).ok_or_else(|| wrong("names a line beyond the end"))?;
        let row = row(record).map_err(|what| refuse(file, at, what))?;
        let place = split.place(held_out, seen[silo]);
        seen[silo] += usize::from(!held_out);
        tables.push(silo, place, &row);
    }
    Ok(tables)
}

/// A raw line as a row of the table.
fn row(record: &str) -> Result<String, &'static str> {
    let cells: Vec<&str> = record.split(',').map(str::trim).collect();
    if cells.len() != RAW_COLUMNS {
        return Err("needs 14 columns");
    }
    let number = |cell: &&str| cell.parse::<f64>().map_err(|_| "has a gap where none may be");
    let mut out = String::new();
    for cell in cells.iter().take(KEPT) {
        let _ = write!(out, "{},", number(cell)?);
    }
    let diagnosis = cells.last().map_or(Err("has no diagnosis"), number)?;
    out += if diagnosis > 0.0 { "1" } else { "0" };
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_ten_columns_and_the_diagnosis() {
        let raw = "63.0,1.0,4.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,2";
        assert_eq!(row(raw).unwrap(), "63,1,4,145,233,1,2,150,0,2.3,1");
        assert!(row("28,1,2,130,132,0,2,185,0,0,?,?,?,0").unwrap().ends_with(",0,0"));
        assert!(row("29,1,2,140,?,0,0,170,0,0,?,?,?,0").is_err());
        assert!(row("1,2,3").is_err());
    }
}
