//! What a job would do here, in plain words, for the person who has to approve it.
//!
//! Made from the manifest, its plan, the policy, the book and the list of peers: nothing in it is the
//! aggregator's own description but the job's name and purpose.

mod words;

use serde::Serialize;
use tributary_dp::Adversary;
use tributary_job::spec::{FeatureSpec, ModelSpec};
use tributary_job::{Manifest, Plan};

use super::pins::{Pin, fingerprint_of, pin_of};
use super::{Consent, Decision};
use crate::book::{Book, JobCost, ProtectedUnit};
use crate::policy::{Policy, resources};

/// The brief.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Brief {
    /// The job's hash, hex.
    pub job: String,
    /// Its name.
    pub name: String,
    /// What it is for, as its author says.
    pub purpose: String,
    /// Who asks: the aggregator's address and the fingerprint of its pinned key.
    pub aggregator: [String; 2],
    /// What runs.
    pub work: Work,
    /// On which data.
    pub data: Data,
    /// At what privacy cost.
    pub privacy: Privacy,
    /// What it does to the budget; absent in mode `none`.
    pub budget: Option<Budget>,
    /// Who else takes part.
    pub roster: Vec<Member>,
    /// Fewest agencies whose sum is opened, and colluding agencies that the noise allows for.
    pub least_survivors: u16,
    /// Colluding agencies that the noise allows for.
    pub colluders: u16,
    /// What leaves this node, in words.
    pub leaves: Vec<String>,
    /// What the policy says against it; absent if nothing.
    pub policy: Option<String>,
    /// What was decided about it last.
    pub decision: Option<Decision>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Work {
    /// The model, in words.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// Secure rounds of training.
    pub training_rounds: u32,
    /// Whether a round of statistics comes first.
    pub statistics: bool,
    /// Passes over the records between two rounds; 0 for one step a round.
    pub local_epochs: u32,
    /// With SCAFFOLD, the steps that take their place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_steps: Option<u32>,
    /// Estimate of memory, MiB.
    pub memory_mib: u64,
}

/// On which data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Data {
    /// The dataset.
    pub dataset: String,
    /// Version of its file now, as this node names it, or why there is none.
    pub version: Result<String, String>,
    /// Rows of the file now, if it can be read.
    pub rows: Option<u64>,
    /// The count that others are told.
    pub declared_records: u64,
    /// Columns that are read, with what they are used for.
    pub columns: Vec<String>,
}

/// At what privacy cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Privacy {
    /// The mode.
    pub mode: String,
    /// Who is protected against whom.
    pub promise: String,
    /// Whose presence is hidden; absent in mode `none`.
    pub unit: Option<String>,
    /// Delta.
    pub delta: f64,
    /// Epsilon by adversary, in words; empty in mode `none`.
    pub epsilon: Vec<(String, f64)>,
}

/// What it does to the budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// Epsilon committed over all jobs now.
    pub committed: f64,
    /// The same after this job.
    pub would_be: f64,
    /// The limit for good.
    pub limit: f64,
    /// Epsilon committed in the last 365 days.
    pub year: f64,
    /// The same after this job.
    pub year_would_be: f64,
    /// The policy's limit for a year.
    pub year_limit: f64,
    /// Delta of all of them.
    pub delta: f64,
}

/// A member of the roster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// The agency.
    pub agency: String,
    /// Fingerprint of its key in this job.
    pub fingerprint: String,
    /// `own`, `pinned`, `unknown`, or the other fingerprint that is pinned.
    pub pin: String,
}

/// What a brief is made from.
pub struct Sources<'a> {
    /// This agency.
    pub agency: &'a str,
    /// The aggregator's address and the fingerprint of its pinned key.
    pub aggregator: [String; 2],
    /// The policy.
    pub policy: &'a Policy,
    /// The book.
    pub book: &'a Book,
    /// What was decided so far.
    pub consent: &'a Consent,
    /// Version of the dataset's file.
    pub version: Result<String, String>,
    /// Its rows.
    pub rows: Option<u64>,
    /// The time.
    pub now: Option<time::OffsetDateTime>,
}

impl Brief {
    /// Of a job.
    pub fn of(manifest: &Manifest, plan: &Plan, from: &Sources<'_>) -> Self {
        let (spec, job) = (&manifest.spec, plan.job.to_string());
        let declared = manifest.roster.iter().find(|entry| entry.agency == from.agency);
        let declared = declared.map_or(0, |entry| entry.declared_records);
        let member = |entry: &tributary_job::RosterEntry| Member {
            agency: entry.agency.clone(),
            fingerprint: fingerprint_of(entry),
            pin: match pin_of(from.consent, from.agency, entry) {
                Pin::Own => "own".into(),
                Pin::Pinned => "pinned".into(),
                Pin::Unknown => "unknown".into(),
                Pin::Other { pinned } => pinned,
            },
        };
        Self {
            name: spec.name.clone(),
            purpose: spec.description.clone(),
            aggregator: from.aggregator.clone(),
            work: work(manifest, plan, declared),
            data: Data {
                dataset: spec.dataset.clone(),
                version: from.version.clone(),
                rows: from.rows,
                declared_records: declared,
                columns: columns(manifest),
            },
            privacy: privacy(manifest, plan),
            budget: budget(manifest, plan, &job, from),
            roster: manifest.roster.iter().map(member).collect(),
            least_survivors: plan.roster.thresholds.u_min,
            colluders: plan.roster.thresholds.corrupt,
            leaves: leaves(plan),
            policy: from.policy.check(manifest, plan).err().map(|refusal| refusal.to_string()),
            decision: from.consent.decisions.get(&job).cloned(),
            job,
        }
    }
}

fn work(manifest: &Manifest, plan: &Plan, declared: u64) -> Work {
    let spec = &manifest.spec;
    let outputs = spec.data.output_width();
    let model = match &spec.model {
        ModelSpec::Mlp { hidden } if hidden.is_empty() => {
            format!("logistic regression with {outputs} outputs")
        }
        ModelSpec::Mlp { hidden } => {
            let widths: Vec<_> = hidden.iter().map(u32::to_string).collect();
            format!("neural network with layers of {} and {outputs} outputs", widths.join(", "))
        }
        ModelSpec::Decoder { layers, width, heads, .. } => format!(
            "language model: a transformer of {layers} blocks of width {width} with {heads} heads; it \
             can repeat texts that it was trained on"
        ),
        ModelSpec::Encoder { .. } => format!(
            "adapters and a head with {outputs} outputs on a base model that this agency holds; the base \
             itself does not change and does not travel"
        ),
        ModelSpec::Cnn { image, channels, .. } => format!(
            "convolutional network of {} blocks for pictures of {} x {} points, with {outputs} outputs",
            channels.len(),
            image.height,
            image.width
        ),
        ModelSpec::Cox { intervals } => format!(
            "proportional hazards over {} intervals: how much each feature raises or lowers the rate of \
             an event",
            intervals.len()
        ),
    };
    Work {
        model,
        parameters: plan.layout.total() as u64,
        training_rounds: spec.training.rounds,
        statistics: plan.statistics.is_some(),
        local_epochs: spec.training.local.map_or(0, |local| local.epochs),
        local_steps: plan.training.local_steps,
        memory_mib: resources::memory_mib(spec, plan, declared),
    }
}

fn columns(manifest: &Manifest) -> Vec<String> {
    let data = &manifest.spec.data;
    let feature = |feature: &FeatureSpec| match feature {
        FeatureSpec::Numeric { column, min, max, .. } => {
            format!("{column} (a number, cut to {min} to {max})")
        }
        FeatureSpec::Category { column, values } => {
            format!("{column} (which of {} listed values)", values.len())
        }
        FeatureSpec::Block { prefix, count, min, max } => {
            format!("{prefix}0 to {prefix}{} (numbers, cut to {min} to {max})", count - 1)
        }
    };
    let person = data.person_column.iter().map(|column| format!("{column} (whose a record is)"));
    let label = [format!("{} (what is to be predicted)", data.label.column)];
    let duration = &data.label.duration;
    let duration = duration.iter().map(|column| format!("{column} (after how long)"));
    data.features.iter().map(feature).chain(label).chain(duration).chain(person).collect()
}

fn privacy(manifest: &Manifest, plan: &Plan) -> Privacy {
    let spec = &manifest.spec;
    let against = |adversary: Adversary| {
        let guarantee = plan.privacy.as_ref()?.guarantee(adversary).ok()?;
        Some((words::adversary(adversary).to_owned(), guarantee.epsilon.epsilon))
    };
    Privacy {
        mode: spec.privacy.mode.name().to_owned(),
        promise: spec.privacy.mode.promise().to_owned(),
        unit: ProtectedUnit::of(spec).map(|unit| unit.to_string()),
        delta: spec.privacy.delta,
        epsilon: Adversary::ALL.into_iter().filter_map(against).collect(),
    }
}

fn budget(manifest: &Manifest, plan: &Plan, job: &str, from: &Sources<'_>) -> Option<Budget> {
    let (spec, privacy) = (&manifest.spec, plan.privacy.as_ref()?);
    let spare = spec.secure_aggregation.spare_attempts;
    let cost = JobCost::of(privacy, ProtectedUnit::of(spec)?, spare).ok()?;
    let status = from.book.status(&spec.dataset)?;
    let year = from.book.year(&spec.dataset, job, Some(&cost), from.now)?;
    Some(Budget {
        committed: status.committed,
        would_be: from.book.after(&spec.dataset, job, &cost)?,
        limit: status.limit,
        year: year.committed,
        year_would_be: year.would_be,
        year_limit: from.policy.max_epsilon_per_year,
        delta: status.delta,
    })
}

fn leaves(plan: &Plan) -> Vec<String> {
    let attempts = plan.attempts;
    let training = plan.training.vector_len;
    let mut leaves = Vec::new();
    if let Some(statistics) = &plan.statistics {
        leaves.push(format!(
            "one masked vector of {} numbers for the means and variances of the numeric columns (up to \
             {} attempts)",
            statistics.vector_len, plan.max_attempts
        ));
    }
    leaves.push(format!(
        "one masked vector of {training} numbers a round of training, {attempts} at most in all"
    ));
    if let Some(evaluation) = &plan.evaluation {
        let ends = match plan.rules.is_some_and(|rules| rules.patience.is_some()) {
            true => "; the job ends early once they stop improving",
            false => "",
        };
        leaves.push(format!(
            "one masked vector of {} numbers for each of {} evaluations on held-out records (up to {} \
             attempts in all){ends}",
            evaluation.vector_len, plan.schedule.evaluations, plan.evaluation_attempts
        ));
    }
    let noise = match plan.privacy {
        Some(_) => "with this node's share of noise in it",
        None => "without any noise: what hides it is the sum alone",
    };
    leaves.push(format!(
        "each of them {noise}; only sums over at least {} agencies are opened, and those are public in \
         the federation",
        plan.roster.thresholds.u_min
    ));
    leaves.push(
        "keys, signatures, shares of random seeds, codes and times; no record, no cell, no count of \
         rows but the declared one"
            .to_owned(),
    );
    leaves
}
