//! A small made-up problem, so that a scenario can run with nothing downloaded.
//!
//! Writes the same folder of CSV files that real data come in, and nothing else: the code that
//! loads, trains and checks cannot tell. Each agency sees its own corner of the inputs and no
//! agency alone sees enough to learn the whole rule.

use std::fmt::Write as _;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde::Deserialize;

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, write_file};

/// Values of the category column `kind`.
pub const KINDS: [&str; 3] = ["red", "green", "blue"];

/// One cell in so many is empty.
const EMPTY_ONE_IN: u64 = 50;

/// What to generate. Columns: `x1` .. `xN` within ±4, `kind` (one of [`KINDS`]) and the label `y`
/// (`1` or `0`), drawn from a logistic model with one interaction.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Number of agencies; the job must name as many.
    pub agencies: usize,
    /// Training records of each agency.
    pub records: Vec<u32>,
    /// Numeric columns, at least 2.
    pub features: usize,
    /// Held-out records, drawn from all agencies' populations in equal parts.
    #[serde(default = "default_test_records")]
    pub test_records: u32,
    /// How far apart the agencies' populations are, in standard deviations.
    #[serde(default = "default_spread")]
    pub spread: f64,
    /// Seed of the generator. The same seed gives the same files.
    pub seed: u64,
}

fn default_test_records() -> u32 {
    2000
}

fn default_spread() -> f64 {
    1.0
}

impl Synthetic {
    /// Checks the numbers against each other and against the number of agencies in the job.
    ///
    /// # Errors
    /// The field and what it must be.
    pub fn check(&self, agencies_in_job: usize) -> Result<(), String> {
        if self.agencies != agencies_in_job {
            return Err(format!(
                "synthetic.agencies: {} but the job names {agencies_in_job} agencies",
                self.agencies
            ));
        }
        if self.records.len() != self.agencies {
            return Err(format!(
                "synthetic.records: {} numbers for {} agencies; give one each",
                self.records.len(),
                self.agencies
            ));
        }
        if self.records.iter().any(|n| !(20..=1_000_000).contains(n)) {
            return Err("synthetic.records: each between 20 and 1,000,000".into());
        }
        if !(20..=1_000_000).contains(&self.test_records) {
            return Err("synthetic.test_records: between 20 and 1,000,000".into());
        }
        if !(2..=64).contains(&self.features) {
            return Err("synthetic.features: between 2 and 64".into());
        }
        if !(0.0..=3.0).contains(&self.spread) {
            return Err("synthetic.spread: between 0 and 3".into());
        }
        Ok(())
    }

    /// Writes `<agency>/train.csv` and `test.csv` into `root`.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, agencies: &[String], root: DataDir) -> Result<DataDir, SimulationError> {
        let mut test = Table::new(self.features);
        let share = (self.test_records as usize).div_ceil(agencies.len().max(1));
        for (index, (agency, records)) in agencies.iter().zip(&self.records).enumerate() {
            let mut source = Source::new(self, index);
            let mut train = Table::new(self.features);
            (0..*records).for_each(|_| source.row(&mut train));
            let path = root.train(agency);
            make_folder(path.parent().unwrap_or(root.root()))?;
            write_file(&path, train.text.as_bytes())?;
            (0..share).for_each(|_| source.row(&mut test));
        }
        write_file(&root.test(), test.text.as_bytes())?;
        Ok(root)
    }
}

struct Table {
    text: String,
}

impl Table {
    fn new(features: usize) -> Self {
        let mut text = String::new();
        for i in 1..=features {
            let _ = write!(text, "x{i},");
        }
        text += "kind,y\n";
        Self { text }
    }
}

/// Draws one agency's population.
struct Source {
    rng: ChaCha20Rng,
    features: usize,
    centre: Vec<f64>,
}

impl Source {
    fn new(spec: &Synthetic, index: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(spec.seed);
        rng.set_stream(index as u64);
        let centre = (0..spec.features).map(|_| spec.spread * normal(&mut rng)).collect();
        Self { rng, features: spec.features, centre }
    }

    fn row(&mut self, table: &mut Table) {
        let mut logit = -0.4;
        let mut values = Vec::with_capacity(self.features);
        for i in 0..self.features {
            let value = (self.centre[i] + normal(&mut self.rng)).clamp(-4.0, 4.0);
            // Weights fall off: the first columns matter most.
            let weight = if i % 2 == 0 { 1.2 } else { -0.9 } / (1.0 + i as f64 / 2.0);
            logit += weight * value;
            values.push(value);
        }
        let kind = (self.rng.next_u32() % KINDS.len() as u32) as usize;
        logit += [0.8, 0.0, -0.8][kind];
        logit += 0.6 * values[0] * values[1];
        let positive = uniform(&mut self.rng) < 1.0 / (1.0 + (-logit).exp());
        for value in values {
            if !self.rng.next_u64().is_multiple_of(EMPTY_ONE_IN) {
                let _ = write!(table.text, "{value:.4}");
            }
            table.text.push(',');
        }
        let _ = writeln!(table.text, "{},{}", KINDS[kind], u8::from(positive));
    }
}

/// Uniform in `[0, 1)`.
fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Close to a standard normal: twelve uniforms, the same bits on every machine.
fn normal(rng: &mut ChaCha20Rng) -> f64 {
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Synthetic {
        Synthetic {
            agencies: 2,
            records: vec![40, 30],
            features: 3,
            test_records: 50,
            spread: 1.0,
            seed: 7,
        }
    }

    #[test]
    fn one_seed_gives_one_set_of_files() {
        let names = ["a".to_owned(), "b".to_owned()];
        let read = |seed| {
            let dir = tempfile::tempdir().unwrap();
            let data = DataDir::new(dir.path());
            let data = Synthetic { seed, ..spec() }.write(&names, data).unwrap();
            data.check(&names).unwrap();
            let read = |path| std::fs::read_to_string(path).unwrap();
            [read(data.train("a")), read(data.train("b")), read(data.test())]
        };
        let [a, b, test] = read(7);
        assert_eq!([a.clone(), b.clone(), test.clone()], read(7));
        assert_ne!(a, read(8)[0]);
        assert_eq!(a.lines().next(), Some("x1,x2,x3,kind,y"));
        assert_eq!([a.lines().count(), b.lines().count(), test.lines().count()], [41, 31, 51]);
        assert!(a.lines().any(|l| l.ends_with(",1")) && a.lines().any(|l| l.ends_with(",0")));
    }

    #[test]
    fn mistakes_are_named() {
        let problem = |change: fn(&mut Synthetic)| {
            let mut spec = spec();
            change(&mut spec);
            spec.check(2).unwrap_err()
        };
        assert!(spec().check(3).unwrap_err().contains("synthetic.agencies"));
        assert!(problem(|s| s.records = vec![40]).contains("synthetic.records"));
        assert!(problem(|s| s.records = vec![40, 3]).contains("synthetic.records"));
        assert!(problem(|s| s.features = 1).contains("synthetic.features"));
        assert!(problem(|s| s.spread = f64::NAN).contains("synthetic.spread"));
        assert!(problem(|s| s.test_records = 1).contains("synthetic.test_records"));
    }
}
