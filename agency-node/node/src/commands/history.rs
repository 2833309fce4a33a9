//! `agency-node job checkpoints`: the aggregator's signed word, and whether a record keeps it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tributary_job::JobHash;
use tributary_ledger::verify_lines;
use tributary_secagg::VerifyingKey;

use crate::data_dir::DataDir;
use crate::engine::Kept;

/// Lists what was kept, or checks a job's evidence.
pub(super) async fn checkpoints(dir: &DataDir, evidence: Option<&Path>) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    if let Some(folder) = evidence {
        let manifest = read(&folder.join("manifest.json"))?;
        let job = JobHash::of(manifest.trim_end().as_bytes()).to_string();
        let key = VerifyingKey::from_hex(&dir.config()?.aggregator_key)?;
        let kept = storage.checkpoints(&job).await?;
        let entries = check(&folder.join("rounds.jsonl"), &key, &job, &kept)?;
        println!(
            "the record of {entries} entries is signed by the pinned key and goes through all {} \
             checkpoints kept here",
            kept.len()
        );
        return Ok(());
    }
    let jobs = storage.checkpointed_jobs().await?;
    if jobs.is_empty() {
        println!("none kept yet: they come with every certified round");
    }
    for job in jobs {
        println!("job {job}");
        for kept in storage.checkpoints(&job).await? {
            println!("  {:>6} entries, head {}", kept.length, hex::encode(kept.head));
            if let Some(conflict) = &kept.conflict {
                println!("         CONTRADICTS an earlier one: {conflict}");
            }
        }
    }
    Ok(())
}

/// Holds a record against what was kept; returns its number of entries.
fn check(record: &Path, key: &VerifyingKey, job: &str, kept: &[Kept]) -> anyhow::Result<u64> {
    ensure!(
        !kept.is_empty(),
        "no checkpoint of job {job} was kept here: this node was not in it, or saw no certified round"
    );
    let file = File::open(record).with_context(|| format!("reading {}", record.display()))?;
    let mut hashes = Vec::new();
    verify_lines(BufReader::new(file), &key.0, |entry| hashes.push(entry.hash.clone()))
        .with_context(|| format!("{}", record.display()))?;
    for kept in kept {
        let at = usize::try_from(kept.length).ok().and_then(|length| length.checked_sub(1));
        let found = at.and_then(|at| hashes.get(at));
        let signed = hex::encode(kept.head);
        match found {
            Some(hash) if *hash == signed => {}
            Some(hash) => bail!(
                "the record was rewritten: the aggregator signed that entry {} is {signed}, in {} it is \
                 {hash}. Keep both: together they prove it",
                kept.length - 1,
                record.display()
            ),
            None => bail!(
                "the record was cut off: the aggregator signed {} entries ending in {signed}, {} has {}. \
                 Ask for the whole record; if there is none, keep both",
                kept.length,
                record.display(),
                hashes.len()
            ),
        }
    }
    Ok(hashes.len() as u64)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_ledger::{Chain, Entry};
    use tributary_secagg::Identity;

    fn record(dir: &Path, identity: &Identity, rounds: u32, word: &str) -> Vec<Entry> {
        let mut chain = Chain::new();
        let body = |i| serde_json::json!({ "round": i, "word": word });
        let entries: Vec<Entry> = (0..rounds)
            .map(|i| chain.append("t", "round", body(i), |b| identity.sign(b)).unwrap())
            .collect();
        let lines: Vec<_> = entries.iter().map(|e| e.to_line().unwrap()).collect();
        std::fs::write(dir.join("rounds.jsonl"), lines.join("\n") + "\n").unwrap();
        entries
    }

    #[test]
    fn a_rewritten_or_cut_record_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rounds.jsonl");
        let identity = Identity::from_seed(&[9; 32]).unwrap();
        let key = identity.verifying_key();
        let entries = record(dir.path(), &identity, 6, "a");
        let kept: Vec<Kept> = [2, 5]
            .map(|at: usize| Kept {
                length: at as u64 + 1,
                head: hex::decode(&entries[at].hash).unwrap().try_into().unwrap(),
                signature: [0; 64],
                conflict: None,
            })
            .to_vec();
        assert_eq!(check(&path, &key, "j", &kept).unwrap(), 6);
        record(dir.path(), &identity, 5, "a");
        let cut = check(&path, &key, "j", &kept).unwrap_err().to_string();
        assert!(cut.contains("cut off") && cut.contains("6 entries"), "{cut}");
        record(dir.path(), &identity, 8, "b");
        let other = check(&path, &key, "j", &kept).unwrap_err().to_string();
        assert!(other.contains("rewritten") && other.contains("entry 2"), "{other}");
        let foreign = Identity::from_seed(&[8; 32]).unwrap().verifying_key();
        assert!(check(&path, &foreign, "j", &kept).is_err());
        assert!(check(&path, &key, "j", &[]).is_err());
    }
}
