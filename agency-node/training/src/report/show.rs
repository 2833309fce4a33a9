//! A report as text for a terminal.

use std::fmt::{self, Display, Formatter};

use super::{ColumnReport, Report};

/// Codes that are shown per column.
const SHOWN_CODES: usize = 20;

/// Share of a column's cells from which a remark is made.
const NOTABLE: f64 = 0.05;

/// A report to be printed.
pub struct Shown<'a> {
    report: &'a Report,
    codes: bool,
}

impl Report {
    /// The report as text; `codes` shows cells that are in no list, which only the owner of the
    /// records may see.
    pub fn shown(&self, codes: bool) -> Shown<'_> {
        Shown { report: self, codes }
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "rows")?;
        let mut line = |count: u64, what: &str| match count {
            0 => Ok(()),
            count => writeln!(f, "  {:>12}  {what}", grouped(count)),
        };
        line(report.rows + report.filtered, "in the table")?;
        line(report.filtered, "not let through by the mapping's rows")?;
        line(report.ragged, "skipped: another number of cells than the header")?;
        line(report.malformed, "skipped: cannot be read in this format")?;
        line(report.not_utf8, "skipped: a cell that is not UTF-8")?;
        line(report.unknown_labels, "skipped: the label is none of the job's values")?;
        line(report.nobodys, "skipped: they do not say whose they are")?;
        line(report.no_durations, "skipped: how long they were followed is not a number from 0")?;
        line(report.beyond_person, "skipped: more than the job uses of one person")?;
        line(report.beyond_cap, "skipped: beyond the most that one dataset may hold in a job")?;
        writeln!(f, "  {:>12}  used", grouped(report.used))?;
        if let Some(persons) = report.persons {
            writeln!(f, "  {:>12}  persons", grouped(persons))?;
        }
        writeln!(f, "labels")?;
        for (value, count) in &report.labels {
            writeln!(f, "  {:>12}  {value:?}", grouped(*count))?;
        }
        self.codes(f, "none of these", report.unknown_labels, &report.label_codes.most_frequent())?;
        writeln!(
            f,
            "columns\n  {:<24} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
            "", "cells", "missing", "no number", "below min", "above max", "unlisted"
        )?;
        for column in &report.columns {
            self.column(f, column)?;
        }
        for unmapped in &report.unmapped {
            let mut codes: Vec<_> =
                unmapped.codes.iter().map(|(code, count)| (code.as_str(), *count)).collect();
            codes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            let what = format!("codes of {} that its code table does not list", unmapped.column);
            self.codes(f, &what, unmapped.cells, &codes)?;
        }
        Ok(())
    }
}

impl Shown<'_> {
    fn column(&self, f: &mut Formatter<'_>, column: &ColumnReport) -> fmt::Result {
        let ColumnReport { cells, missing, bad, below, above, unlisted, .. } = *column;
        let number = |n: u64, applies: bool| if applies { grouped(n) } else { "-".to_owned() };
        let numeric = !column.is_category;
        writeln!(
            f,
            "  {:<24} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
            column.column,
            grouped(cells),
            grouped(missing),
            number(bad, numeric),
            number(below, numeric),
            number(above, numeric),
            number(unlisted, column.is_category),
        )?;
        let share = |n: u64| if cells == 0 { 0.0 } else { n as f64 / cells as f64 };
        let percent = |n: u64| format!("{:.0} %", share(n) * 100.0);
        if cells > 0 && missing == cells {
            writeln!(f, "    empty in every row: is the column's name right?")?;
        } else if share(below + above) >= NOTABLE {
            let much = percent(below + above);
            writeln!(f, "    {much} out of the job's bounds: is the unit right?")?;
        }
        if share(bad) >= NOTABLE {
            let much = percent(bad);
            writeln!(
                f,
                "    {much} no numbers: name the texts that mean missing, or a code table"
            )?;
        }
        let what = format!("cells of {} in none of the job's values", column.column);
        self.codes(f, &what, unlisted, &column.codes.most_frequent())
    }

    fn codes(
        &self,
        f: &mut Formatter<'_>,
        what: &str,
        cells: u64,
        codes: &[(&str, u64)],
    ) -> fmt::Result {
        if cells == 0 {
            return Ok(());
        }
        writeln!(f, "    {}  {what}", grouped(cells))?;
        if !self.codes {
            return Ok(());
        }
        for (code, count) in codes.iter().take(SHOWN_CODES) {
            writeln!(f, "      {:>12}  {code:?}", grouped(*count))?;
        }
        match codes.len().saturating_sub(SHOWN_CODES) {
            0 => Ok(()),
            more => writeln!(f, "      and {more} more"),
        }
    }
}

/// A number with commas between the thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
