//! The round record, read: every line checked against the chain and the aggregator's key, then
//! sorted by kind.
//!
//! Knows what entries say; not whether what they say is true of sums and states
//! ([`crate::replay`]).

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tributary_ledger::{Entry, Head, canonical_json, verify_lines};
use tributary_round::record::{
    AbortEntry, AgencyEntry, KIND_ABORT, KIND_AGENCY, KIND_END, KIND_EPOCH, KIND_MANIFEST,
    KIND_ROUND, RoundEntry,
};
use tributary_secagg::VerifyingKey;

use crate::error::SimulationError;

/// An epoch's entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochEntry {
    /// Its number.
    pub epoch: u32,
    /// Transcript of the key agreement, hex.
    pub transcript: String,
    /// Joint coin of the graph, hex; zero in the complete graph.
    pub coin: String,
}

/// An agency that is accused with evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    /// The agency.
    pub agency: String,
    /// The evidence, hex.
    pub evidence: String,
}

/// The last entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndEntry {
    /// Whether every round is certified.
    pub complete: bool,
    /// Why the job ended.
    pub reason: String,
    /// Certified rounds.
    pub rounds: u32,
    /// Attempts of all rounds.
    pub attempts: u32,
}

/// A certified round and the epoch whose keys it used.
#[derive(Debug, Clone, PartialEq)]
pub struct CertifiedRound {
    /// The entry.
    pub entry: RoundEntry,
    /// Transcript of the epoch, hex.
    pub transcript: String,
}

/// A record whose chain and signatures hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Certified rounds in order.
    pub rounds: Vec<CertifiedRound>,
    /// Attempts that opened nothing lasting.
    pub aborts: Vec<AbortEntry>,
    /// Reports and faults of agencies.
    pub agencies: Vec<AgencyEntry>,
    /// Accusations that come with evidence.
    pub accusations: Vec<Accusation>,
    /// The last entry, if the job is over.
    pub end: Option<EndEntry>,
    /// Where the record ends.
    pub head: Head,
}

/// Reads a record that must begin with this manifest and be signed with this key.
///
/// # Errors
/// The first line that is changed, missing, out of order, forged or not understood.
pub fn read(path: &Path, manifest: &str, key: &[u8; 32]) -> Result<Record, SimulationError> {
    let file = File::open(path).map_err(SimulationError::io(path))?;
    let refuse = |problem: String| SimulationError::evidence(path.display().to_string(), problem);
    let mut entries = Vec::new();
    let head = verify_lines(BufReader::new(file), key, |entry| entries.push(entry.clone()))
        .map_err(|e| refuse(e.to_string()))?;
    sort(&entries, manifest, head).map_err(refuse)
}

/// Reads a record by the manifest and the key that its own first entry names: whole in itself, but
/// only as trustworthy as that manifest.
///
/// # Errors
/// As [`read`].
pub fn read_own(path: &Path) -> Result<Record, SimulationError> {
    let text = crate::error::read_text(path)?;
    let refuse = |problem: String| SimulationError::evidence(path.display().to_string(), problem);
    let first = text.lines().next().ok_or_else(|| refuse("is empty".into()))?;
    let entry: Entry =
        serde_json::from_str(first).map_err(|e| refuse(format!("line 1: not an entry: {e}")))?;
    let manifest = canonical_json(&entry.body).map_err(|e| refuse(e.to_string()))?;
    let key = entry.body.get("aggregator_key").and_then(serde_json::Value::as_str);
    let key = key.and_then(|text| VerifyingKey::from_hex(text).ok());
    let key = key.ok_or_else(|| refuse("line 1: names no aggregator key".into()))?;
    read(path, &manifest, &key.0)
}

fn sort(entries: &[Entry], manifest: &str, head: Head) -> Result<Record, String> {
    let mut record = Record {
        rounds: Vec::new(),
        aborts: Vec::new(),
        agencies: Vec::new(),
        accusations: Vec::new(),
        end: None,
        head,
    };
    let mut epoch: Option<EpochEntry> = None;
    let mut entries = entries.iter();
    let first = entries.next().ok_or("is empty")?;
    let recorded = canonical_json(&first.body).map_err(|e| e.to_string())?;
    if first.kind != KIND_MANIFEST || recorded != manifest {
        return Err(
            "does not begin with this run's manifest: it is the record of another job".into()
        );
    }
    for entry in entries {
        if record.end.is_some() {
            return Err(format!("line {}: an entry after the end", entry.sequence + 1));
        }
        match entry.kind.as_str() {
            KIND_EPOCH => epoch = Some(body(entry)?),
            KIND_ROUND => {
                let transcript = epoch.as_ref().map(|epoch| epoch.transcript.clone());
                let transcript = transcript.ok_or_else(|| {
                    format!("line {}: a round before any epoch", entry.sequence + 1)
                })?;
                record.rounds.push(CertifiedRound { entry: body(entry)?, transcript });
            }
            KIND_ABORT => record.aborts.push(body(entry)?),
            KIND_AGENCY => {
                let said: AgencyEntry = body(entry)?;
                if let Some(evidence) = said.evidence.clone() {
                    let agency = said.agency.clone();
                    record.accusations.push(Accusation { agency, evidence });
                }
                record.agencies.push(said);
            }
            KIND_END => record.end = Some(body(entry)?),
            other => return Err(format!("line {}: unknown kind {other:?}", entry.sequence + 1)),
        }
    }
    Ok(record)
}

fn body<T: DeserializeOwned>(entry: &Entry) -> Result<T, String> {
    serde_json::from_value(entry.body.clone())
        .map_err(|e| format!("line {}: {}: {e}", entry.sequence + 1, entry.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tributary_ledger::Chain;
    use tributary_secagg::Identity;

    /// Writes a record of these entries and reads it back.
    fn reread(entries: &[(&str, Value)], manifest: &str) -> Result<Record, SimulationError> {
        let identity = Identity::from_seed(&[7; 32]).unwrap();
        let mut chain = Chain::new();
        let lines: Vec<String> = entries
            .iter()
            .map(|(kind, body)| {
                let sign = |bytes: &[u8]| identity.sign(bytes);
                let entry = chain.append("2026-01-01T00:00:00Z", kind, body.clone(), sign);
                entry.unwrap().to_line().unwrap()
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rounds.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        read(&path, manifest, &identity.verifying_key().0)
    }

    fn end() -> (&'static str, Value) {
        (KIND_END, json!({"complete": false, "reason": "x", "rounds": 0, "attempts": 2}))
    }

    #[test]
    fn entries_are_sorted_by_kind() {
        let manifest = (KIND_MANIFEST, json!({"a": 1}));
        let abort =
            json!({"round": 0, "attempt": 0, "cohort": ["a"], "late": [], "reason": "lost"});
        let epoch = json!({"epoch": 1, "transcript": "00", "coin": "00"});
        let record =
            reread(&[manifest, (KIND_EPOCH, epoch), (KIND_ABORT, abort), end()], r#"{"a":1}"#);
        let record = record.unwrap();
        assert_eq!((record.aborts.len(), record.head.length), (1, 4));
        assert_eq!(record.end.unwrap().attempts, 2);
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        let manifest = || (KIND_MANIFEST, json!({"a": 1}));
        let error = |entries: &[(&str, Value)]| {
            let error = reread(entries, r#"{"a":1}"#).unwrap_err();
            assert!(error.is_refusal());
            error.to_string()
        };
        assert!(error(&[]).contains("empty"));
        assert!(error(&[(KIND_MANIFEST, json!({"a": 2}))]).contains("another job"));
        assert!(error(&[end()]).contains("another job"));
        assert!(error(&[manifest(), ("party", json!({}))]).contains("line 2: unknown kind"));
        assert!(error(&[manifest(), end(), end()]).contains("line 3: an entry after the end"));
        let (kind, mut body) = end();
        body["extra"] = json!(1);
        assert!(error(&[manifest(), (kind, body)]).contains("extra"));
        let round = json!({"round": 0, "attempt": 0, "operation": "training", "cohort": [],
            "survivors": [], "dropped": [], "ctx": "", "sum_root": "", "state_hash": "",
            "certificate": "", "bytes_up": 0, "millis": 0});
        assert!(error(&[manifest(), (KIND_ROUND, round)]).contains("before any epoch"));
    }
}
