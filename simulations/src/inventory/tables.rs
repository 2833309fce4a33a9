//! The 2024 inventory of federal AI uses (OMB) as tables of the agencies that wrote it.
//!
//! From the consolidated CSV file (Windows-1252) to rows of text and label; every fifth row of an
//! agency measures. Knows no job.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, write_file};

/// The raw file.
const FILE: &str = "2024_consolidated_ai_inventory_raw_v2.csv";
/// Columns that are read, by how their names begin.
const AGENCY: &str = "Agency Abbreviation";
const TEXTS: [&str; 3] = [
    "Use Case Name",
    "What is the intended purpose and expected benefits",
    "Describe the AI system",
];
const LABEL: &str = "Is the AI use case rights-impacting, safety-impacting";
/// Every fifth row of an agency is held out.
const TEST_ONE_IN: usize = 5;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Agencies with rows to train on, in order.
    pub agencies: Vec<String>,
    /// Rows to train on, and rows that measure.
    pub rows: (usize, usize),
    /// Of them, those that affect rights or safety.
    pub positive: (usize, usize),
}

/// Reads the raw file of `dir` and writes tables below `root`. Rows that do not say yet are left out.
///
/// # Errors
/// A file that is missing or of another form, or the file system.
pub fn prepare(dir: &Path, root: &DataDir) -> Result<Prepared, SimulationError> {
    let path = dir.join(FILE);
    let bytes = std::fs::read(&path).map_err(SimulationError::io(&path))?;
    let text: String = bytes.iter().map(|byte| windows_1252(*byte)).collect();
    let refuse = |problem: &str| SimulationError::Data(format!("{}: {problem}", path.display()));
    let mut rows = records(&text).into_iter();
    let header = rows.next().ok_or_else(|| refuse("is empty"))?;
    let find = |start: &str| {
        let at = header.iter().position(|name| name.trim().starts_with(start));
        at.ok_or_else(|| refuse(&format!("has no column that begins with {start:?}")))
    };
    let (agency, label) = (find(AGENCY)?, find(LABEL)?);
    let texts = TEXTS.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut by_agency: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let cell = |at: usize| row.get(at).map_or("", |cell| cell.trim());
        let Some(positive) = impacting(cell(label)) else { continue };
        let text: Vec<&str> = texts.iter().map(|at| cell(*at)).collect();
        let text = text.join(". ").replace(['"', '\n', '\r'], " ");
        let line = format!("{},\"{text}\"\n", if positive { "yes" } else { "no" });
        by_agency.entry(slug(cell(agency))).or_default().push(line);
    }
    let mut out = Prepared { agencies: Vec::new(), rows: (0, 0), positive: (0, 0) };
    let header = "impacting,text\n";
    let mut test = header.to_owned();
    for (name, lines) in by_agency.into_iter().filter(|(name, _)| !name.is_empty()) {
        let mut train = header.to_owned();
        for (i, line) in lines.iter().enumerate() {
            let positive = usize::from(line.starts_with("yes"));
            if i % TEST_ONE_IN == TEST_ONE_IN - 1 {
                test += line;
                (out.rows.1, out.positive.1) = (out.rows.1 + 1, out.positive.1 + positive);
            } else {
                train += line;
                (out.rows.0, out.positive.0) = (out.rows.0 + 1, out.positive.0 + positive);
            }
        }
        let path = root.train(&name);
        make_folder(path.parent().unwrap_or(root.root()))?;
        write_file(&path, train.as_bytes())?;
        out.agencies.push(name);
    }
    if out.agencies.len() < 3 || out.positive.1 == 0 {
        return Err(refuse("holds too few agencies or uses that affect rights or safety"));
    }
    write_file(&root.test(), test.as_bytes())?;
    Ok(out)
}

/// Whether a use affects rights or safety; `None` if it is not said.
fn impacting(cell: &str) -> Option<bool> {
    let cell = cell.to_ascii_lowercase();
    if cell == "neither" {
        return Some(false);
    }
    let yes = ["both", "rights-impacting", "safety-impacting"];
    yes.iter().any(|start| cell.starts_with(start)).then_some(true)
}

/// A name that a job may have.
fn slug(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let kept = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    kept.collect::<String>().trim_matches('-').to_owned()
}

/// Windows-1252 differs from Latin-1 in a few bytes only; those that matter here are quotes and dashes.
fn windows_1252(byte: u8) -> char {
    match byte {
        0x91 | 0x92 => '\'',
        0x93 | 0x94 => '"',
        0x95 => '\u{2022}',
        0x96 | 0x97 => '-',
        0x85 => '\u{2026}',
        0x80..=0x9f => ' ',
        other => char::from(other),
    }
}

/// Cells of a CSV text: quoted cells may hold commas, line breaks and doubled quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quoted, c) {
            (true, '"') if characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            (true, '"') => quoted = false,
            (true, _) => cell.push(c),
            (false, '"') => quoted = true,
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\n') => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (false, '\r') => {}
            (false, _) => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_the_agencies_that_wrote_them() {
        let mut text = String::from(
            "Use Case Name,Agency Abbreviation,What is the intended purpose and expected benefits of \
             it?,\"Describe the AI system\u{92}s outputs.\",\"Is the AI use case rights-impacting, \
             safety-impacting, both, or neither?\"\n",
        );
        for i in 0..60 {
            let label = ["Neither", "Both", "Rights-Impacting\n", "", "Safety-impacting"][i % 5];
            let agency = ["HHS", "U.S. DOT", "VA"][i / 20];
            text += &format!("Use {i},{agency},\"to \"\"sort\"\",\nmail\",lists,\"{label}\"\n");
        }
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
        std::fs::write(dir.path().join(FILE), bytes).unwrap();
        let root = DataDir::new(dir.path().join("tables"));
        let prepared = prepare(dir.path(), &root).unwrap();
        assert_eq!(prepared.agencies, ["hhs", "u-s--dot", "va"]);
        assert_eq!(prepared.rows.0 + prepared.rows.1, 48);
        assert!(prepared.positive.0 > prepared.rows.0 / 2);
        let table = std::fs::read_to_string(root.train("va")).unwrap();
        assert!(
            table.starts_with("impacting,text\nno,\"Use 40. to  sort , mail. lists\"\n"),
            "{table}"
        );
    }

    #[test]
    fn another_file_is_refused_and_says_which_column() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "a,b\n1,2\n").unwrap();
        let root = DataDir::new(dir.path().join("tables"));
        let error = prepare(dir.path(), &root).unwrap_err().to_string();
        assert!(error.contains("Agency Abbreviation"), "{error}");
        assert_eq!(impacting("No, too new"), None);
    }
}
