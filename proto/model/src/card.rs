//! The card of a released model: what it is for, how good it is and how sure that is, what it cost in
//! privacy, whose data it saw, and how to compute all of it again.
//!
//! Everything but the author's words follows from the manifest, the certified state and the published sums
//! of the evaluation rounds, so that whoever has the evidence gets the same card. Knows no files but its
//! own two, no training and no rounds of the protocol.

mod figures;
mod text;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tributary_job::plan::{EvaluationPoint, PlanError};
use tributary_job::spec::{FeatureSpec, PrivacyMode};
use tributary_job::{Manifest, ModelState, Plan};

use crate::export::{ExportError, write_atomically};

pub use figures::{Figure, Quality};

/// Version of the form.
pub const FORMAT: &str = "tributary-model-card/1";
/// The card for programs.
pub const JSON: &str = "model-card.json";
/// The card for people.
pub const MARKDOWN: &str = "model-card.md";

/// A card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// [`FORMAT`].
    pub format: String,
    /// Hash of the job, hex.
    pub job_hash: String,
    /// Its name.
    pub job: String,
    /// What the model is for, as the job says.
    pub description: String,
    /// Who should use it for what, in the author's words.
    pub intended_use: Option<String>,
    /// What it must not be used for, in the author's words.
    pub limits: Option<String>,
    /// A warning that stands before everything else, such as that the run was a simulation.
    pub warning: Option<String>,
    /// What it is.
    pub model: Model,
    /// How it was trained and chosen.
    pub training: Training,
    /// How good it is; absent if the job does not evaluate, or nothing could be read.
    pub quality: Option<Quality>,
    /// Every evaluation, in order.
    pub evaluations: Vec<EvaluationPoint>,
    /// What it cost.
    pub privacy: Privacy,
    /// Whose data it saw.
    pub silos: Silos,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Family, as in the job.
    pub family: String,
    /// Parameters.
    pub parameters: u64,
    /// Columns that it reads.
    pub inputs: Vec<String>,
    /// What it predicts.
    pub label: String,
}

/// How a model was trained and chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Training rounds that the released parameters have seen.
    pub rounds: u32,
    /// Training rounds that were run.
    pub rounds_run: u32,
    /// Training rounds of the plan.
    pub rounds_planned: u32,
    /// Certified secure rounds in all.
    pub secure_rounds: u32,
    /// Whether the evaluations ended the job before its last round.
    pub stopped_early: bool,
    /// How the released parameters were chosen, in words.
    pub choice: String,
}

/// What a model cost in privacy: for every attempt that was reserved, used or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Mode, as in the job.
    pub mode: String,
    /// Who is protected against whom.
    pub promise: String,
    /// Whose presence is hidden.
    pub unit: String,
    /// Epsilon of the whole job against the aggregator with the tolerated colluders; absent in mode `none`.
    pub epsilon: Option<f64>,
    /// Delta of the whole job.
    pub delta: f64,
    /// Releases charged in advance: statistics, training, evaluation.
    pub releases: [u32; 3],
}

/// Whose data a model saw, as far as the job lets the card say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silos {
    /// Number of agencies.
    pub agencies: u32,
    /// Records that they declared together.
    pub declared_records: u64,
    /// Each of them with its declared records; empty unless the job says so (`card.name_agencies`).
    pub named: Vec<(String, u64)>,
    /// Fewest agencies whose sum was opened.
    pub min_survivors: u16,
}

impl ModelCard {
    /// Of a state of a job and the published sums (round and packed lanes, in order of rounds).
    ///
    /// # Errors
    /// From the accountant.
    pub fn of<'a>(
        manifest: &Manifest,
        plan: &Plan,
        state: &ModelState,
        sums: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<Self, PlanError> {
        let spec = &manifest.spec;
        let choice = plan.choice(state);
        let sums = sums.into_iter().filter(|(round, _)| *round < state.completed);
        let evaluations = plan.evaluation_points(manifest, sums);
        let author = spec.card.clone().unwrap_or_default();
        let named = manifest.roster.iter().map(|r| (r.agency.clone(), r.declared_records));
        Ok(Self {
            format: FORMAT.into(),
            job_hash: plan.job.to_string(),
            job: spec.name.clone(),
            description: spec.description.clone(),
            intended_use: author.intended_use,
            limits: author.limits,
            warning: None,
            model: Model {
                family: spec.model.family().to_owned(),
                parameters: plan.layout.total() as u64,
                inputs: inputs(manifest),
                label: spec.data.label.column.clone(),
            },
            training: Training {
                rounds: choice.trained,
                rounds_run: plan.schedule.trained_in(state.completed),
                rounds_planned: plan.schedule.training,
                secure_rounds: state.completed,
                stopped_early: choice.stopped,
                choice: text::choice(plan, &choice),
            },
            quality: figures::quality(plan, manifest, &choice, &evaluations),
            evaluations,
            privacy: privacy(manifest, plan)?,
            silos: Silos {
                agencies: manifest.roster.len() as u32,
                declared_records: manifest.roster.iter().map(|r| r.declared_records).sum(),
                named: if author.name_agencies { named.collect() } else { Vec::new() },
                min_survivors: plan.roster.thresholds.u_min,
            },
        })
    }

    /// The card as JSON, one form a card.
    ///
    /// # Errors
    /// If a figure cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, ExportError> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| ExportError::Header(e.to_string()))
    }

    /// The files of a card: names and contents.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn files(&self) -> Result<[(&'static str, String); 2], ExportError> {
        Ok([(JSON, self.to_json()?), (MARKDOWN, self.to_string())])
    }

    /// Writes both files beside a model file; returns the path of the one for people.
    ///
    /// # Errors
    /// As [`Self::to_json`], or [`ExportError::Io`].
    pub fn write(&self, beside: &Path) -> Result<PathBuf, ExportError> {
        for (name, text) in self.files()? {
            let path = beside.with_file_name(name);
            write_atomically(&path, text.as_bytes())
                .map_err(|source| ExportError::Io { path: path.clone(), source })?;
        }
        Ok(beside.with_file_name(MARKDOWN))
    }
}

fn inputs(manifest: &Manifest) -> Vec<String> {
    let data = &manifest.spec.data;
    let name = |feature: &FeatureSpec| match feature {
        FeatureSpec::Numeric { column, .. } | FeatureSpec::Category { column, .. } => {
            column.clone()
        }
        FeatureSpec::Block { prefix, count, .. } => format!("{prefix}0 to {prefix}{}", count - 1),
    };
    let text = data.text.iter().map(|text| text.column.clone());
    data.features.iter().map(name).chain(text).collect()
}

fn privacy(manifest: &Manifest, plan: &Plan) -> Result<Privacy, PlanError> {
    let spec = &manifest.spec;
    let reserved = plan.privacy.as_ref();
    Ok(Privacy {
        mode: spec.privacy.mode.name().to_owned(),
        promise: spec.privacy.mode.promise().to_owned(),
        unit: unit(spec.privacy.mode, spec.data.person_column.is_some()).to_owned(),
        epsilon: plan.epsilon()?.map(|e| e.epsilon),
        delta: spec.privacy.delta,
        releases: reserved.map_or([0; 3], |p| {
            [p.statistics_releases, p.training_releases, p.evaluation_releases]
        }),
    })
}

fn unit(mode: PrivacyMode, persons: bool) -> &'static str {
    match mode {
        PrivacyMode::None => "nobody",
        PrivacyMode::Silo => "an agency",
        PrivacyMode::Person => "a person",
        PrivacyMode::RecordLocal | PrivacyMode::Central if persons => "a person",
        PrivacyMode::Record | PrivacyMode::RecordLocal | PrivacyMode::Central => "a record",
    }
}

#[cfg(test)]
mod tests;
