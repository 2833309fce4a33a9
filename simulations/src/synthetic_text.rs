//! A small made-up corpus, so that a language model can be trained with nothing downloaded.
//!
//! Writes the same folder of CSV files that real text comes in (columns `speaker` and `text`). Every
//! agency's speakers talk about their own things in sentences of one common grammar. Knows no job.

use std::fmt::Write as _;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde::Deserialize;

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, write_file};

/// Sentences of a text, about.
const SENTENCES: u32 = 3;

const SUBJECTS: [&str; 12] = [
    "the inspector",
    "a clerk",
    "our ranger",
    "the surveyor",
    "a driver",
    "the auditor",
    "our archivist",
    "the engineer",
    "a nurse",
    "the pilot",
    "our gardener",
    "a keeper",
];
const VERBS: [&str; 10] = [
    "checks", "repairs", "counts", "files", "paints", "moves", "opens", "closes", "finds",
    "reports",
];
const OBJECTS: [&str; 16] = [
    "the bridge",
    "an old map",
    "two letters",
    "the north gate",
    "a red lantern",
    "the long report",
    "seven boxes",
    "the ferry",
    "a broken meter",
    "the garden wall",
    "new ledgers",
    "the well",
    "a stone road",
    "the signal",
    "winter coats",
    "the last key",
];
const TIMES: [&str; 8] = [
    "before noon",
    "in the rain",
    "every week",
    "after the storm",
    "at dawn",
    "without haste",
    "once more",
    "by the river",
];

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticText {
    /// Training texts of each agency; the job must name as many agencies.
    pub texts: Vec<u32>,
    /// Speakers of an agency, among whom its texts are shared out.
    pub speakers: u32,
    /// Held-out texts, from all agencies in equal parts.
    pub test_texts: u32,
    /// Seed of the generator. The same seed gives the same files.
    pub seed: u64,
}

impl SyntheticText {
    /// Checks the numbers, also against the number of agencies in the job.
    ///
    /// # Errors
    /// The field and what it must be.
    pub fn check(&self, agencies_in_job: usize) -> Result<(), String> {
        if self.texts.len() != agencies_in_job {
            return Err(format!(
                "synthetic_text.texts: {} numbers for {agencies_in_job} agencies; give one each",
                self.texts.len()
            ));
        }
        if self.texts.iter().chain([&self.test_texts]).any(|n| !(5..=100_000).contains(n)) {
            return Err("synthetic_text: texts and test_texts, each between 5 and 100,000".into());
        }
        if !(1..=10_000).contains(&self.speakers) {
            return Err("synthetic_text.speakers: between 1 and 10,000".into());
        }
        Ok(())
    }

    /// Writes `<agency>/train.csv` and `test.csv` into `root`.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, agencies: &[String], root: DataDir) -> Result<DataDir, SimulationError> {
        const HEADER: &str = "speaker,text\n";
        let mut test = HEADER.to_owned();
        let share = (self.test_texts as usize).div_ceil(agencies.len().max(1));
        for ((index, agency), texts) in agencies.iter().enumerate().zip(&self.texts) {
            let mut source = Source::new(self.seed, index);
            let mut train = HEADER.to_owned();
            for _ in 0..*texts {
                source.row(agency, self.speakers, &mut train);
            }
            let path = root.train(agency);
            make_folder(path.parent().unwrap_or(root.root()))?;
            write_file(&path, train.as_bytes())?;
            for _ in 0..share {
                source.row(agency, self.speakers, &mut test);
            }
        }
        write_file(&root.test(), test.as_bytes())?;
        Ok(root)
    }
}

/// Draws one agency's texts.
struct Source {
    rng: ChaCha20Rng,
    agency: usize,
}

impl Source {
    fn new(seed: u64, agency: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(agency as u64);
        Self { rng, agency }
    }

    fn row(&mut self, agency: &str, speakers: u32, table: &mut String) {
        let speaker = self.below(speakers as usize);
        let _ = write!(table, "{agency}-{speaker},");
        for i in 0..SENTENCES {
            let (subject, verb) = (self.own(&SUBJECTS), self.any(&VERBS));
            let (object, time) = (self.own(&OBJECTS), self.any(&TIMES));
            let gap = if i == 0 { "" } else { " " };
            let _ = write!(table, "{gap}{subject} {verb} {object} {time}.");
        }
        table.push('\n');
    }

    /// Mostly of the agency's own third of the words.
    fn own(&mut self, words: &[&'static str]) -> &'static str {
        let third = words.len() / 3;
        let at = if self.below(5) == 0 {
            self.below(words.len())
        } else {
            self.agency * third + self.below(third)
        };
        words[at % words.len()]
    }

    fn any(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    fn below(&mut self, count: usize) -> usize {
        (self.rng.next_u32() as usize) % count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_corpus_and_mistakes_are_named() {
        let spec = SyntheticText { texts: vec![6, 5], speakers: 3, test_texts: 7, seed: 1 };
        let names = ["a".to_owned(), "b".to_owned()];
        let files = |seed| {
            let dir = tempfile::tempdir().unwrap();
            let spec = SyntheticText { seed, ..spec.clone() };
            let data = spec.write(&names, DataDir::new(dir.path())).unwrap();
            data.check(&names).unwrap();
            [data.train("a"), data.train("b"), data.test()]
                .map(|path| std::fs::read_to_string(path).unwrap())
        };
        let once = files(1);
        assert_eq!(once, files(1));
        assert_ne!(once, files(2));
        assert_eq!(once.each_ref().map(|text| text.lines().count()), [7, 6, 9]);
        assert!(once[0].starts_with("speaker,text\na-") && once[0].ends_with(".\n"));
        assert!(spec.check(2).is_ok());
        assert!(spec.check(3).unwrap_err().contains("synthetic_text.texts"));
        let none = SyntheticText { speakers: 0, ..spec.clone() };
        assert!(none.check(2).unwrap_err().contains("speakers"));
        let few = SyntheticText { test_texts: 1, ..spec };
        assert!(few.check(2).unwrap_err().contains("test_texts"));
    }
}
