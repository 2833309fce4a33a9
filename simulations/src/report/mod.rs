//! `report.html`: one self-contained page that tells the story of a run to a person who has to
//! decide about it. No scripts, nothing loaded from elsewhere.
//!
//! Drawn from `summary.json` and `rounds.jsonl` alone.

mod bars;
mod charts;
mod evaluations;
mod privacy;
mod sections;
mod statement;
mod strip;
pub(crate) mod svg;
mod words;

use std::path::Path;

pub use statement::statement_page;

use crate::error::{SimulationError, write_file};
use crate::evidence::RECORD;
use crate::record::{self, Record};
use crate::summary::{self, Summary};

/// Name of the page in a results folder.
pub const FILE: &str = "report.html";

const STYLE: &str = include_str!("style.css");

/// Draws the page from the files in a results folder and writes it there.
///
/// # Errors
/// If a file is missing or not understood, or if the record is not the one that the summary is of.
pub fn write(out: &Path) -> Result<(), SimulationError> {
    let summary = Summary::read(&out.join(summary::FILE))?;
    let path = out.join(RECORD);
    let record = record::read_own(&path)?;
    if record.head.hash != summary.record_head.hash {
        let problem = "is not the record that summary.json was made from";
        return Err(SimulationError::evidence(path.display().to_string(), problem));
    }
    write_file(&out.join(FILE), page(&summary, &record).as_bytes())
}

/// The page.
pub fn page(s: &Summary, record: &Record) -> String {
    let body: String = [
        sections::head(s),
        "<main>".to_owned(),
        sections::figures(s),
        sections::learning(s),
        evaluations::section(s),
        sections::comparison(s),
        sections::who_took_part(s, record),
        privacy::spent(s),
        privacy::promised(s),
        sections::agencies(s),
        sections::time(s),
        sections::check(s),
        "</main>".to_owned(),
        sections::foot(s),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}: report of a federated training</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}\n</body>\n</html>\n",
        svg::escape(&s.job)
    )
}

#[cfg(test)]
pub(crate) mod tests;
