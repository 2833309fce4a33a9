//! A job's evidence and its model, as files.

use std::path::Path;

use anyhow::{Context, bail};
use tributary_job::{Manifest, Plan};
use tributary_model::ModelDescription;
use tributary_store::{Job, Store};

/// Writes `manifest.json`, `rounds.jsonl` and `sums/NNNN.bin` into a folder.
///
/// # Errors
/// If the job has no manifest yet, or from the file system.
pub async fn export<S: Store>(store: &S, job: &Job, out: &Path) -> anyhow::Result<()> {
    let manifest = manifest_text(job)?;
    let sums = out.join("sums");
    std::fs::create_dir_all(&sums).with_context(|| format!("making {}", sums.display()))?;
    let mut record = store.record(&job.id).await?.join("\n");
    record.push('\n');
    write(&out.join("manifest.json"), manifest.as_bytes())?;
    write(&out.join("rounds.jsonl"), record.as_bytes())?;
    for (round, lanes) in store.sums(&job.id).await? {
        write(&sums.join(format!("{round:04}.bin")), &lanes)?;
    }
    Ok(())
}

/// Writes the newest certified model as safetensors; returns how many rounds it has seen.
///
/// # Errors
/// If there is none yet, or from the file system.
pub async fn model<S: Store>(store: &S, job: &Job, out: &Path) -> anyhow::Result<u32> {
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
    metadata.insert("tributary.rounds".into(), state.completed.to_string());
    metadata.insert("tributary.certificate".into(), hex::encode(&stored.certificate));
    tributary_model::export::write_model(out, &plan.layout, &state.parameters, &metadata)
        .with_context(|| format!("writing {}", out.display()))?;
    tributary_model::hugging_face::write_config(out, &description.model, &description.data)?;
    Ok(state.completed)
}

fn manifest_text(job: &Job) -> anyhow::Result<&str> {
    job.manifest.as_deref().with_context(|| format!("job {} has not begun: {}", job.id, job.reason))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
