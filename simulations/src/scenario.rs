//! A scenario: one TOML file that says which job runs on which data, with which mishaps.
//!
//! Parses and checks; runs nothing. Paths are relative to the scenario's own folder.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tributary_job::JobSpec;

use crate::data::DataDir;
use crate::error::{SimulationError, read_text};
use crate::synthetic::Synthetic;
use crate::synthetic_text::SyntheticText;

/// A checked scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The job, with the scenario's overrides applied.
    pub job: JobSpec,
    /// Where the job was read from.
    pub job_path: PathBuf,
    /// Where the records come from.
    pub source: DataSource,
    /// Seed of every random choice in the run. The noise protects nobody then: simulation only.
    pub seed: u64,
    /// Agencies that are lost for a while.
    pub faults: Vec<Fault>,
}

/// Where the records come from.
#[derive(Debug, Clone, PartialEq)]
pub enum DataSource {
    /// A folder of tables.
    Folder(DataDir),
    /// Made up and written into the results folder first.
    Synthetic(Synthetic),
    /// A made-up corpus, likewise.
    SyntheticText(SyntheticText),
}

/// An agency's process dies and, perhaps, comes back.
///
/// It dies in the middle of secure round `from_round`, after its keys for the round are dealt and
/// before its vector is sent, as with SIGKILL: only what it had made durable remains. It starts
/// again in time for `to_round`; without one it never does. Rounds count from 0, the statistics
/// round included.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The agency.
    pub agency: String,
    /// The round it dies in.
    pub from_round: u32,
    /// The first round it takes part in again.
    #[serde(default)]
    pub to_round: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    job: PathBuf,
    data: Option<PathBuf>,
    synthetic: Option<Synthetic>,
    synthetic_text: Option<SyntheticText>,
    seed: u64,
    rounds: Option<u32>,
    agencies: Option<usize>,
    #[serde(default)]
    faults: Vec<Fault>,
}

impl Scenario {
    /// Reads a scenario and the job it names.
    ///
    /// # Errors
    /// The file, the field and what it must be.
    pub fn load(path: &Path) -> Result<Self, SimulationError> {
        let text = read_text(path)?;
        let refuse = |problem: String| SimulationError::Scenario { path: path.to_owned(), problem };
        let file: ScenarioFile =
            toml::from_str(&text).map_err(|e| refuse(e.to_string().trim().to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let job_path = folder.join(&file.job);
        let mut job = load_job(&job_path)?;
        if let Some(synthetic) = &file.synthetic {
            synthetic.check(job.agencies.len()).map_err(refuse)?;
        }
        if let Some(corpus) = &file.synthetic_text {
            corpus.check(job.agencies.len()).map_err(refuse)?;
        }
        override_job(&mut job, file.rounds, file.agencies).map_err(refuse)?;
        let source = match (file.data, file.synthetic, file.synthetic_text) {
            (Some(data), None, None) => DataSource::Folder(DataDir::new(folder.join(data))),
            (None, Some(synthetic), None) => DataSource::Synthetic(synthetic),
            (None, None, Some(corpus)) => DataSource::SyntheticText(corpus),
            _ => {
                let text = "data: give either a folder or a [synthetic] (or [synthetic_text]) \
                            section, and one alone";
                return Err(refuse(text.into()));
            }
        };
        check_faults(&job, &file.faults).map_err(refuse)?;
        Ok(Self { job, job_path, source, seed: file.seed, faults: file.faults })
    }

    /// The folder of tables; makes them below `out` first if the scenario is synthetic.
    ///
    /// # Errors
    /// If a table is missing or cannot be written.
    pub fn data(&self, out: &Path) -> Result<DataDir, SimulationError> {
        match &self.source {
            DataSource::Folder(data) => {
                data.check(&self.job.agencies)?;
                Ok(data.clone())
            }
            DataSource::Synthetic(synthetic) => {
                synthetic.write(&self.job.agencies, DataDir::new(out.join("data")))
            }
            DataSource::SyntheticText(corpus) => {
                corpus.write(&self.job.agencies, DataDir::new(out.join("data")))
            }
        }
    }
}

/// Reads a job file.
///
/// # Errors
/// The file, the field and what it must be.
pub fn load_job(path: &Path) -> Result<JobSpec, SimulationError> {
    JobSpec::from_toml(&read_text(path)?)
        .map_err(|e| SimulationError::Job { path: path.to_owned(), problem: e.to_string() })
}

fn override_job(
    job: &mut JobSpec,
    rounds: Option<u32>,
    agencies: Option<usize>,
) -> Result<(), String> {
    if let Some(rounds) = rounds {
        job.training.rounds = rounds;
    }
    if let Some(count) = agencies {
        if count > job.agencies.len() {
            return Err(format!("agencies: {count}, but the job names {}", job.agencies.len()));
        }
        job.agencies.truncate(count);
    }
    job.validate().map_err(|e| format!("with its overrides the job is not valid: {e}"))
}

fn check_faults(job: &JobSpec, faults: &[Fault]) -> Result<(), String> {
    let rounds = job.training.rounds + u32::from(job.data.numeric_count() > 0);
    for (i, fault) in faults.iter().enumerate() {
        let Fault { agency, from_round, to_round } = fault;
        if !job.agencies.contains(agency) {
            let all = job.agencies.join(", ");
            return Err(format!("faults: agency {agency:?} is not in the job ({all})"));
        }
        if *from_round >= rounds {
            return Err(format!("faults: {agency}: from_round {from_round}: there are {rounds}"));
        }
        if to_round.is_some_and(|to| to <= *from_round) {
            return Err(format!("faults: {agency}: to_round must come after from_round"));
        }
        let overlaps = |other: &&Fault| {
            let end = |f: &Fault| f.to_round.unwrap_or(u32::MAX);
            other.agency == *agency && *from_round < end(other) && other.from_round < end(fault)
        };
        if faults.iter().take(i).any(|other| overlaps(&other)) {
            return Err(format!("faults: {agency} is lost twice at the same time"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: &str = include_str!("../scenarios/toy.toml");

    fn load(text: &str) -> Result<Scenario, SimulationError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("toy.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("toy-job.toml"), include_str!("../scenarios/toy-job.toml"))
            .unwrap();
        Scenario::load(&path)
    }

    #[test]
    fn the_shipped_scenarios_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let toy = Scenario::load(&folder.join("toy.toml")).unwrap();
        assert!(matches!(toy.source, DataSource::Synthetic(_)) && !toy.faults.is_empty());
        let babble = Scenario::load(&folder.join("babble.toml")).unwrap();
        assert!(matches!(babble.source, DataSource::SyntheticText(_)));
        let flights = Scenario::load(&folder.join("flights.toml")).unwrap();
        assert!(matches!(flights.source, DataSource::Folder(_)));
        assert_eq!(flights.job.agencies.len(), 10);
    }

    #[test]
    fn overrides_shorten_the_job() {
        let text = TOY.replacen("seed", "rounds = 20\nseed", 1);
        let scenario = load(&text).unwrap();
        assert_eq!(scenario.job.training.rounds, 20);
    }

    #[test]
    fn every_mistake_names_the_file_and_the_field() {
        let toy = |from: &str, to: &str| {
            assert!(TOY.contains(from), "the test expects {from:?} in toy.toml");
            load(&TOY.replacen(from, to, 1)).unwrap_err().to_string()
        };
        for (from, to, expected) in [
            ("seed =", "sede =", "sede"),
            ("job = \"toy-job.toml\"", "job = \"nowhere.toml\"", "nowhere.toml"),
            ("seed =", "data = \"x\"\nseed =", "either a folder or a [synthetic]"),
            ("agencies = 5", "agencies = 4", "synthetic.agencies"),
            ("seed =", "agencies = 9\nseed =", "the job names 5"),
            ("seed =", "agencies = 2\nseed =", "between 3 and 2000"),
            ("seed =", "rounds = 0\nseed =", "training.rounds"),
            ("from_round = ", "from_round = 9", "from_round"),
            ("agency = \"", "agency = \"no-", "not in the job"),
            ("to_round = ", "to_rounds = ", "to_rounds"),
        ] {
            let error = toy(from, to);
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
        let twice = format!(
            "{TOY}\n[[faults]]\nagency = \"north\"\nfrom_round = 0\n\
             [[faults]]\nagency = \"north\"\nfrom_round = 3\nto_round = 4\n"
        );
        assert!(load(&twice).unwrap_err().to_string().contains("lost twice"));
        let backwards =
            format!("{TOY}\n[[faults]]\nagency = \"north\"\nfrom_round = 3\nto_round = 3\n");
        assert!(load(&backwards).unwrap_err().to_string().contains("after from_round"));
    }
}
