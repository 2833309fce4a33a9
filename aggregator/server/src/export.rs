//! A job's evidence and its model, as files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use tributary_job::evaluation::Quality;
use tributary_job::{Manifest, Plan};
use tributary_model::ModelDescription;
use tributary_store::{Job, Store};

/// Writes `manifest.json`, `rounds.jsonl` and `sums/NNNN.bin` into a folder.
///
/// # Errors
/// If the job has no manifest yet, or from the file system.
pub async fn export<S: Store>(store: &S, job: &Job, out: &Path) -> anyhow::Result<()> {
    write_files(out, &evidence(store, job).await?)
}

/// The files of a job's evidence: relative paths and contents.
///
/// # Errors
/// If the job has no manifest yet, or from the store.
pub async fn evidence<S: Store>(store: &S, job: &Job) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let manifest = manifest_text(job)?;
    let mut record = store.record(&job.id).await?.join("\n");
    record.push('\n');
    let mut files = BTreeMap::from([
        ("manifest.json".to_owned(), manifest.as_bytes().to_vec()),
        ("rounds.jsonl".to_owned(), record.into_bytes()),
    ]);
    for (round, lanes) in store.sums(&job.id).await? {
        files.insert(format!("sums/{round:04}.bin"), lanes);
    }
    Ok(files)
}

/// Writes evidence into a folder.
///
/// # Errors
/// From the file system.
pub fn write_files(out: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let sums = out.join("sums");
    std::fs::create_dir_all(&sums).with_context(|| format!("making {}", sums.display()))?;
    for (name, bytes) in files {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Writes the newest certified model as safetensors; returns how many rounds it has seen.
///
/// # Errors
/// If there is none yet, or from the file system.
pub async fn model<S: Store>(store: &S, job: &Job, out: &Path) -> anyhow::Result<u32> {
    let (rounds, bytes) = model_bytes(store, job).await?;
    tributary_transport::files::save(out, &bytes, false)
        .with_context(|| format!("writing {}", out.display()))?;
    let spec = Manifest::from_canonical(manifest_text(job)?)?.spec;
    tributary_model::hugging_face::write_config(out, &spec.model, &spec.data)?;
    Ok(rounds)
}

/// The newest certified model as the bytes of its file, and how many rounds it has seen.
///
/// # Errors
/// If there is none yet.
pub async fn model_bytes<S: Store>(store: &S, job: &Job) -> anyhow::Result<(u32, Vec<u8>)> {
    let manifest = Manifest::from_canonical(manifest_text(job)?)?;
    let plan = Plan::derive(&manifest)?;
    let Some(stored) = store.state(&job.id).await? else {
        bail!("job {} has no certified round yet", job.id);
    };
    let state = tributary_job::ModelState::decode(
        &stored.bytes,
        plan.layout.total(),
        plan.numeric_features,
    )?;
    let description = ModelDescription {
        job: Some(plan.job.to_string()),
        data: manifest.spec.data.clone(),
        model: manifest.spec.model.clone(),
        normalisation: state.normalisation.clone(),
    };
    let mut metadata = description.to_metadata()?;
    if let Some(quality) = held_out(store, job, &manifest, &plan).await? {
        metadata.insert("tributary.held_out".into(), serde_json::to_string(&quality)?);
    }
    metadata.insert("tributary.rounds".into(), state.completed.to_string());
    metadata.insert("tributary.certificate".into(), hex::encode(&stored.certificate));
    let bytes = tributary_model::export::encode_model(&plan.layout, &state.parameters, &metadata)?;
    Ok((state.completed, bytes))
}

/// What the evaluation round released, if it has been.
async fn held_out<S: Store>(
    store: &S,
    job: &Job,
    manifest: &Manifest,
    plan: &Plan,
) -> anyhow::Result<Option<Quality>> {
    let last = plan.rounds.saturating_sub(1);
    let sums = store.sums(&job.id).await?;
    let sum = sums.iter().find(|(round, _)| *round == last);
    // The noise of the whole roster: an interval that is rather too wide.
    let most = usize::from(plan.roster.thresholds.n);
    Ok(sum.and_then(|(_, lanes)| plan.quality(manifest, lanes, most)))
}

fn manifest_text(job: &Job) -> anyhow::Result<&str> {
    job.manifest.as_deref().with_context(|| format!("job {} has not begun: {}", job.id, job.reason))
}
