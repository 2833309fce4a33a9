//! Income above 50,000 dollars in eight states (ACS public-use microdata 2018, US Census Bureau; the task of
//! Ding et al. 2021, "Retiring Adult", as published by state in FeDa4Fair, Heilmann et al. 2025).
//!
//! From the states' files to tables, every fifth record of a state held out; knows no job.

use std::fmt::Write as _;
use std::path::Path;

use super::{Split, tables::Tables, tables::refuse};
use crate::error::{SimulationError, read_text};

/// The states, in the order of the roster, as the job names them.
pub const STATES: [&str; 8] = ["co", "ct", "hi", "ia", "ks", "mo", "nv", "ut"];

/// The columns of a file.
const RAW: &str = "AGEP,COW,SCHL,MAR,OCCP,POBP,RELP,WKHP,SEX,RAC1P,PINCP";
/// Those of a table.
const COLUMNS: &str = "age,worker,school,married,occupation,born,relation,hours,sex,race,income";
/// Occupation codes are grouped: so many in a row make one group.
const OCCUPATIONS: u32 = 250;
/// Codes of places of birth up to this one are states of the US.
const LAST_STATE: u32 = 56;
/// One record in so many measures.
const HELD_OUT: usize = 5;

/// Reads `<STATE>.csv` of each state in `dir`.
///
/// # Errors
/// A file that is missing or not as expected; the message repeats no cell.
pub fn read(dir: &Path, split: Split) -> Result<Tables, SimulationError> {
    let mut tables = Tables::new(STATES, COLUMNS);
    for (silo, state) in STATES.iter().enumerate() {
        let path = dir.join(format!("{}.csv", state.to_uppercase()));
        let text = read_text(&path)?;
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, header)| header) != Some(RAW) {
            return Err(refuse(&path, 0, "is not the header that was expected"));
        }
        let mut kept = 0;
        for (number, line) in lines {
            let row = row(line).map_err(|what| refuse(&path, number, what))?;
            let held_out = number % HELD_OUT == 0;
            let place = split.place(held_out, kept);
            kept += usize::from(!held_out);
            tables.push(silo, place, &row);
        }
    }
    Ok(tables)
}

/// A raw line as a row of the table.
fn row(line: &str) -> Result<String, &'static str> {
    let cells: Vec<&str> = line.split(',').collect();
    let [numbers @ .., income] = &cells[..] else { return Err("needs 11 columns") };
    let code = |cell: &&str| {
        let value: f64 = cell.parse().map_err(|_| "has no number where one is needed")?;
        let whole = (0.0..1e6).contains(&value) && value.fract() == 0.0;
        if whole { Ok(value as u32) } else { Err("has a code that is no whole number") }
    };
    let numbers = numbers.iter().map(code).collect::<Result<Vec<u32>, _>>()?;
    let [age, worker, school, married, occupation, born, relation, hours, sex, race] = numbers[..]
    else {
        return Err("needs 11 columns");
    };
    let mut out = String::new();
    let _ = write!(
        out,
        "{age},{worker},{school},{married},{},{},{relation},{hours},{sex},{race},",
        occupation / OCCUPATIONS,
        if born <= LAST_STATE { "us" } else { "abroad" }
    );
    out += match *income {
        "True" => "1",
        "False" => "0",
        _ => return Err("has no label"),
    };
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_groups_occupations_and_places_of_birth() {
        let raw = "23.0,1.0,21.0,2.0,1970.0,363.0,2.0,30.0,1.0,5.0,False";
        assert_eq!(row(raw).unwrap(), "23,1,21,2,7,abroad,2,30,1,5,0");
        let raw = "32.0,2.0,21.0,2.0,2360.0,48.0,13.0,40.0,1.0,1.0,True";
        assert!(row(raw).unwrap().ends_with(",us,13,40,1,1,1"));
        for wrong in
            ["1,2,3", "23.5,1,21,2,1970,363,2,30,1,5,True", "a,1,21,2,1970,363,2,30,1,5,True"]
        {
            assert!(row(wrong).is_err(), "{wrong}");
        }
        assert!(row("23,1,21,2,1970,363,2,30,1,5,Maybe").is_err());
    }
}
