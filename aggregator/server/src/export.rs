//! A job's evidence and its model, as files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use tributary_job::evaluation::Quality;
use tributary_job::{Manifest, ModelState, Operation, Plan};
use tributary_model::{ModelCard, ModelDescription};
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

/// Writes the released model as safetensors, with its card and configuration beside it; returns how many
/// rounds the job has seen.
///
/// # Errors
/// If there is none yet, or from the file system.
pub async fn model<S: Store>(store: &S, job: &Job, out: &Path) -> anyhow::Result<u32> {
    let Release { rounds, model, card } = release(store, job).await?;
    tributary_transport::files::save(out, &model, false)
        .with_context(|| format!("writing {}", out.display()))?;
    let spec = Manifest::from_canonical(manifest_text(job)?)?.spec;
    tributary_model::hugging_face::write_config(out, &spec.model, &spec.data)?;
    card.write(out)?;
    Ok(rounds)
}

/// What a job releases.
pub struct Release {
    /// Certified rounds so far.
    pub rounds: u32,
    /// The model, as the bytes of its file.
    pub model: Vec<u8>,
    /// Its card.
    pub card: ModelCard,
}

/// The model of the newest certified state (of the best evaluation, where the job keeps that one) and its
/// card.
///
/// # Errors
/// If there is none yet.
pub async fn release<S: Store>(store: &S, job: &Job) -> anyhow::Result<Release> {
    let manifest = Manifest::from_canonical(manifest_text(job)?)?;
    let plan = Plan::derive(&manifest)?;
    let Some(stored) = store.state(&job.id).await? else {
        bail!("job {} has no certified round yet", job.id);
    };
    let state = ModelState::decode(&stored.bytes, plan.layout.total(), plan.numeric_features)?;
    let description = ModelDescription {
        job: Some(plan.job.to_string()),
        data: manifest.spec.data.clone(),
        model: manifest.spec.model.clone(),
        normalisation: state.normalisation.clone(),
    };
    let mut metadata = description.to_metadata()?;
    let sums = evaluation_sums(store, job, &plan).await?;
    if let Some(quality) = held_out(&sums, &state, &manifest, &plan) {
        metadata.insert("tributary.held_out".into(), serde_json::to_string(&quality)?);
    }
    let sums = sums.iter().map(|(round, sum)| (*round, &sum[..]));
    let card = ModelCard::of(&manifest, &plan, &state, sums)?;
    metadata.insert("tributary.training_rounds".into(), card.training.rounds.to_string());
    metadata.insert("tributary.choice".into(), card.training.choice.clone());
    metadata.insert("tributary.rounds".into(), state.completed.to_string());
    metadata.insert("tributary.certificate".into(), hex::encode(&stored.certificate));
    let model = tributary_model::export::encode_model(&plan.layout, state.released(), &metadata)?;
    Ok(Release { rounds: state.completed, model, card })
}

/// Published sums of the evaluation rounds so far.
async fn evaluation_sums<S: Store>(
    store: &S,
    job: &Job,
    plan: &Plan,
) -> anyhow::Result<Vec<(u32, Vec<u8>)>> {
    if plan.evaluation.is_none() {
        return Ok(Vec::new());
    }
    let evaluates = |round| plan.schedule.operation(round) == Some(Operation::Evaluation);
    let sums = store.sums(&job.id).await?;
    Ok(sums.into_iter().filter(|(round, _)| evaluates(*round)).collect())
}

/// What the evaluation of the released parameters says, if there was one.
fn held_out(
    sums: &[(u32, Vec<u8>)],
    state: &ModelState,
    manifest: &Manifest,
    plan: &Plan,
) -> Option<Quality> {
    let (_, sum) = sums.get(plan.choice(state).evaluation? as usize)?;
    // The noise of the whole roster: an interval that is rather too wide.
    plan.quality(manifest, sum, usize::from(plan.roster.thresholds.n))
}

fn manifest_text(job: &Job) -> anyhow::Result<&str> {
    job.manifest.as_deref().with_context(|| format!("job {} has not begun: {}", job.id, job.reason))
}
