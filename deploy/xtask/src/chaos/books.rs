//! An agency's budget book held against the aggregator's record: whatever is in a certified sum was
//! paid for exactly once, and nothing else was.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// A certified round in the record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Round {
    /// Its number, from 0.
    pub round: u32,
    /// The attempt that succeeded.
    pub attempt: u16,
    /// Agencies whose vectors are in the sum.
    pub survivors: Vec<String>,
}

/// The certified rounds of a record, in its order.
pub fn rounds(record: &str) -> Result<Vec<Round>> {
    let mut out = Vec::new();
    for line in record.lines() {
        let entry: Value = serde_json::from_str(line).context("a line of the record is no JSON")?;
        if entry["kind"] == "round" {
            let body = entry["body"].clone();
            out.push(serde_json::from_value(body).context("a round of the record is none")?);
        }
    }
    Ok(out)
}

/// What an agency has charged and noted as sent, per job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    /// Job, round and attempt of every charge, in order.
    charges: Vec<(String, u32, u16)>,
    /// The same of every upload that was noted as sent.
    sent: Vec<(String, u32, u16)>,
}

impl Book {
    /// Reads an export, one entry a line.
    pub fn parse(export: &str) -> Result<Self> {
        let mut book = Self::default();
        for line in export.lines() {
            let entry: Value = serde_json::from_str(line).context("a line of a book is no JSON")?;
            let body = &entry["body"];
            let (list, from) = match entry["kind"].as_str() {
                Some("budget-charged") => (&mut book.charges, &body["charge"]),
                Some("budget-sent") => (&mut book.sent, body),
                _ => continue,
            };
            let number = |key: &str| from[key].as_u64();
            let job = from["job"].as_str().context("an entry names no job")?;
            let (round, attempt) = number("round").zip(number("attempt")).context("no round")?;
            list.push((job.to_owned(), u32::try_from(round)?, u16::try_from(attempt)?));
        }
        Ok(book)
    }

    /// The job that charged last.
    pub fn newest(&self) -> Option<&str> {
        self.charges.last().map(|(job, ..)| job.as_str())
    }

    /// Charges of a job.
    pub fn attempts(&self, job: &str) -> u64 {
        self.charges.iter().filter(|(j, ..)| j == job).count() as u64
    }

    /// What is wrong with a job's entries: charged too much, and too little.
    pub fn check(&self, agency: &str, job: &str, rounds: &[Round]) -> (Vec<String>, Vec<String>) {
        let (mut over, mut under) = (Vec::new(), Vec::new());
        let mut count: BTreeMap<(u32, u16), u32> = BTreeMap::new();
        for (_, round, attempt) in self.charges.iter().filter(|(j, ..)| j == job) {
            *count.entry((*round, *attempt)).or_default() += 1;
        }
        let certified: BTreeMap<u32, &Round> = rounds.iter().map(|r| (r.round, r)).collect();
        for ((round, attempt), times) in &count {
            if *times > 1 {
                over.push(format!("{agency}: round {round}, attempt {attempt}: {times} charges"));
            }
            // An attempt that broke leaves no trace where the aggregator died with it.
            let may_be = match certified.get(round) {
                Some(entry) => *attempt <= entry.attempt,
                None => *round as usize == rounds.len(),
            };
            if !may_be {
                let text = format!("{agency}: round {round}, attempt {attempt}: never was");
                over.push(text);
            }
        }
        let mine = rounds.iter().filter(|r| r.survivors.iter().any(|s| s == agency));
        for r in mine.filter(|r| !count.contains_key(&(r.round, r.attempt))) {
            let (round, attempt) = (r.round, r.attempt);
            under.push(format!(
                "{agency}: round {round}, attempt {attempt}: in the sum, not charged"
            ));
        }
        for (_, round, attempt) in self.sent.iter().filter(|(j, ..)| j == job) {
            if !count.contains_key(&(*round, *attempt)) {
                under
                    .push(format!("{agency}: round {round}, attempt {attempt}: sent, not charged"));
            }
        }
        (over, under)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(round: u32, attempt: u16) -> String {
        format!(
            r#"{{"kind":"budget-charged","body":{{"charge":{{"job":"j","round":{round},"attempt":{attempt}}}}}}}"#
        )
    }

    fn round(round: u32, attempt: u16) -> Round {
        Round { round, attempt, survivors: vec!["isle".into()] }
    }

    fn check(lines: &[String]) -> (usize, usize) {
        let rounds = [round(0, 1), round(1, 0)];
        let (over, under) = Book::parse(&lines.join("\n")).unwrap().check("isle", "j", &rounds);
        (over.len(), under.len())
    }

    #[test]
    fn a_book_must_fit_the_record() {
        let sent = r#"{"kind":"budget-sent","body":{"job":"j","round":1,"attempt":0}}"#.to_owned();
        // An attempt that broke, the two that count, and one that may still run.
        let good = vec![charge(0, 0), charge(0, 1), charge(1, 0), sent, charge(2, 0)];
        assert_eq!(check(&good), (0, 0));
        // Twice; after the round was certified; of a round that nobody got to.
        for wrong in [charge(0, 1), charge(1, 1), charge(3, 0)] {
            assert_eq!(check(&[good.clone(), vec![wrong]].concat()), (1, 0));
        }
        // In the sum and noted as sent without a charge.
        let short: Vec<_> = good.iter().filter(|l| **l != charge(1, 0)).cloned().collect();
        assert_eq!(check(&short), (0, 2));
    }

    #[test]
    fn rounds_are_read_from_a_record() {
        let record = concat!(
            "{\"kind\":\"manifest\",\"body\":{}}\n",
            "{\"kind\":\"round\",\"body\":{\"round\":0,\"attempt\":1,\"survivors\":[\"isle\"],\"more\":1}}\n"
        );
        assert_eq!(rounds(record).unwrap(), [round(0, 1)]);
    }
}
