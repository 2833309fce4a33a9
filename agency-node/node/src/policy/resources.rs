//! What a job may take of this machine: estimates from public numbers, to refuse a job before anything
//! is loaded. The service manager's limits (`MemoryMax=`, `CPUQuota=`) hold whatever happens.
//!
//! Knows no machine and no table: the answer to a job must not depend on a record.

use tributary_job::Plan;
use tributary_job::evaluation::Keep;
use tributary_job::spec::{FeatureSpec, JobSpec};

/// Bytes in memory per coordinate of a round's vector, all at once at the worst moment: parameters and
/// momentum of the state and of the next one (16), the clipped sum in f64 (8), the drawn noise (8), the
/// rounded vector (8), the masked one (4), the published sum (4), the encoded state and its copy on the
/// way to disk (16).
const PER_COORDINATE: u64 = 64;

/// Bytes per cell of a table in memory, counted twice for the time in which it is read.
const PER_CELL: u64 = 8;

/// What a process takes without a job, libtorch included, bytes.
const BASE: u64 = 256 << 20;

/// Bytes on disk per parameter: parameter and momentum, once in the database, once in its log, once
/// while the log is written back.
const DISK_PER_PARAMETER: u64 = 3 * 8;

/// The same per parameter of the best evaluation's model where a job keeps it: in the state, in the next
/// one, encoded and its copy.
const PER_KEPT: u64 = 16;

/// On disk three times, as the others.
const DISK_PER_KEPT: u64 = 3 * 4;

/// With SCAFFOLD, what comes on top: the shared control variate, this agency's, and what the vector
/// under way would make of it.
const DISK_PER_CONTROL: u64 = 3 * 12;

/// The same in memory, and a copy of each on its way to disk; the correction of the steps in f64.
const MEMORY_PER_CONTROL: u64 = 40;

/// Mebibytes of memory that a job needs at a node which declares so many records, rounded up.
pub fn memory_mib(spec: &JobSpec, plan: &Plan, declared_records: u64) -> u64 {
    let statistics = plan.statistics.as_ref().map_or(0, |s| u64::from(s.vector_len));
    let coordinates = u64::from(plan.training.vector_len).max(statistics);
    let cells = columns(spec).saturating_mul(declared_records);
    let control = plan.training.local_steps.map_or(0, |_| MEMORY_PER_CONTROL);
    let each = PER_COORDINATE + control + kept(plan, PER_KEPT);
    let vectors = coordinates.saturating_mul(each);
    mib(vectors.saturating_add(cells.saturating_mul(PER_CELL)).saturating_add(BASE))
}

/// Mebibytes that a job's state takes on disk, rounded up.
pub fn disk_mib(plan: &Plan) -> u64 {
    let control = plan.training.local_steps.map_or(0, |_| DISK_PER_CONTROL);
    let each = DISK_PER_PARAMETER + control + kept(plan, DISK_PER_KEPT);
    mib((plan.layout.total() as u64).saturating_mul(each))
}

/// `bytes` if the job keeps the model of its best evaluation beside the newest.
fn kept(plan: &Plan, bytes: u64) -> u64 {
    let keeps = plan.rules.is_some_and(|rules| rules.keep == Keep::Best);
    if keeps { bytes } else { 0 }
}

/// Columns of the table that a job reads: features, label with its duration, person.
fn columns(spec: &JobSpec) -> u64 {
    let width = |feature: &FeatureSpec| match feature {
        FeatureSpec::Block { count, .. } => u64::from(*count),
        FeatureSpec::Numeric { .. } | FeatureSpec::Category { .. } => 1,
    };
    let features: u64 = spec.data.features.iter().map(width).sum();
    let optional = [&spec.data.label.duration, &spec.data.person_column];
    features + 1 + optional.into_iter().flatten().count() as u64
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
