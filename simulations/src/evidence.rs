//! The evidence of a run as files: what `aggregator job export` writes and a simulation too.
//!
//! `manifest.json` (canonical bytes), `rounds.jsonl` (the signed record, one entry a line) and
//! `sums/NNNN.bin` (the published sum of each certified round, u32 lanes, little endian). Reads and
//! writes; believes nothing, see [`crate::replay`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{SimulationError, make_folder, write_file};

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// Name of the record.
pub const RECORD: &str = "rounds.jsonl";
/// Name of the folder of sums.
pub const SUMS: &str = "sums";

/// How the nonce of a simulated job begins, hex: the evidence itself says that its noise protects
/// nobody, whoever reads it later.
const SIMULATED: &str = "73696d756c6174696f6e";

/// The nonce of a simulated job, hex.
pub fn simulated_nonce(distinct: &[u8; 32]) -> String {
    format!("{SIMULATED}{}", hex::encode(distinct))
}

/// Whether a manifest says that its job was only simulated.
pub fn is_simulated(manifest: &tributary_job::Manifest) -> bool {
    manifest.nonce.starts_with(SIMULATED)
}

/// Evidence in memory, as a simulation collects it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Canonical manifest.
    pub manifest: String,
    /// Lines of the record, without line feeds.
    pub record: Vec<String>,
    /// Little-endian lanes by round.
    pub sums: BTreeMap<u32, Vec<u8>>,
}

/// A folder of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl Evidence {
    /// Writes the files into a folder.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, dir: &Path) -> Result<RunDir, SimulationError> {
        let run = RunDir(dir.to_owned());
        make_folder(&dir.join(SUMS))?;
        let mut record = self.record.join("\n");
        record.push('\n');
        write_file(&dir.join(MANIFEST), self.manifest.as_bytes())?;
        write_file(&run.record(), record.as_bytes())?;
        for (round, lanes) in &self.sums {
            write_file(&run.sum(*round), lanes)?;
        }
        Ok(run)
    }
}

impl RunDir {
    /// A folder of evidence, or one with a `run` folder of it inside.
    ///
    /// # Errors
    /// If neither holds a manifest.
    pub fn find(dir: &Path) -> Result<Self, SimulationError> {
        let candidates = [dir.to_owned(), dir.join("run")];
        let found = candidates.into_iter().find(|d| d.join(MANIFEST).is_file());
        found.map(Self).ok_or_else(|| SimulationError::Results {
            path: dir.to_owned(),
            problem: format!(
                "holds no run: {MANIFEST} is missing; give the folder that `aggregator job \
                 export` or `simulate run` wrote"
            ),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The record's file.
    pub fn record(&self) -> PathBuf {
        self.0.join(RECORD)
    }

    /// A round's sum.
    pub fn sum(&self, round: u32) -> PathBuf {
        self.0.join(SUMS).join(format!("{round:04}.bin"))
    }

    /// Bytes of the manifest.
    ///
    /// # Errors
    /// From the file system.
    pub fn read_manifest(&self) -> Result<String, SimulationError> {
        crate::error::read_text(&self.0.join(MANIFEST))
    }

    /// A round's lanes.
    ///
    /// # Errors
    /// If the file is missing.
    pub fn read_sum(&self, round: u32) -> Result<Vec<u8>, SimulationError> {
        let path = self.sum(round);
        std::fs::read(&path).map_err(SimulationError::io(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_simulation_is_readable() {
        assert_eq!(hex::decode(SIMULATED).unwrap(), b"simulation");
        assert!(simulated_nonce(&[7; 32]).starts_with(SIMULATED));
    }

    #[test]
    fn files_come_back_and_a_folder_without_a_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RunDir::find(dir.path()).unwrap_err().to_string().contains("manifest.json"));
        let evidence = Evidence {
            manifest: "{}".into(),
            record: vec!["a".into(), "b".into()],
            sums: BTreeMap::from([(3, vec![1, 0, 0, 0, 255, 255, 255, 255]), (4, vec![1])]),
        };
        evidence.write(&dir.path().join("run")).unwrap();
        let run = RunDir::find(dir.path()).unwrap();
        assert_eq!(run.read_manifest().unwrap(), "{}");
        assert_eq!(std::fs::read_to_string(run.record()).unwrap(), "a\nb\n");
        assert_eq!(run.read_sum(3).unwrap(), [1, 0, 0, 0, 255, 255, 255, 255]);
        assert!(matches!(run.read_sum(5), Err(SimulationError::Io { .. })));
    }
}
