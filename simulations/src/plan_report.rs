//! What a job would cost before anybody runs it: thresholds, noise, epsilon against each
//! adversary, bytes.
//!
//! Derives the plan from the job file as every party does; the keys in it are placeholders, on
//! which no number depends.

use std::fmt;

use serde::Serialize;
use tributary_dp::Adversary;
use tributary_job::manifest::{MANIFEST_VERSION, Manifest, RosterEntry};
use tributary_job::spec::PrivacyMode;
use tributary_job::{JobSpec, OperationPlan, Plan, PlanError};
use tributary_secagg::CHUNK_LANES;

/// Declared records of an agency where nothing is known yet.
pub const ASSUMED_RECORDS: u64 = 10_000;

/// A job's plan in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanReport {
    /// The job's name.
    pub job: String,
    /// Agencies with their declared records.
    pub agencies: Vec<(String, u64)>,
    /// Colluding agencies C that the protocol tolerates.
    pub corrupt: u16,
    /// Signatures that make a quorum.
    pub quorum: u16,
    /// Smallest survivor set that is opened.
    pub min_survivors: u16,
    /// Secure rounds, the statistics round included.
    pub rounds: u32,
    /// Attempts that are charged in advance.
    pub attempts: u32,
    /// Evaluation rounds among the rounds, and attempts of theirs among the attempts; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<[u32; 2]>,
    /// Parameters d of the model.
    pub parameters: usize,
    /// The constant B that a summed gradient is divided by, in records.
    pub batch: f64,
    /// Bytes of one agency's vector in a training round; messages of the protocol add a little.
    pub vector_bytes: usize,
    /// Chunks that the vector travels in.
    pub chunks: usize,
    /// Noise of a statistics release; absent without noise or numeric features.
    pub statistics: Option<NoiseReport>,
    /// Noise of a training release; absent in mode `none`.
    pub training: Option<NoiseReport>,
    /// Noise of the evaluation release, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<NoiseReport>,
    /// Privacy mode.
    pub mode: PrivacyMode,
    /// Target delta; 0 in mode `none`.
    pub delta: f64,
    /// Epsilon of the whole job, all attempts used, against each adversary; empty in mode `none`.
    pub epsilon: Vec<AdversaryReport>,
}

/// Noise of one kind of release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoiseReport {
    /// Noise multiplier z that is charged: honest noise over sensitivity.
    pub noise_multiplier: f64,
    /// Standard deviation of one agency's share, in integer units.
    pub sigma_local: f64,
    /// Standard deviation of the sum's noise with all agencies, per coordinate, in units of the
    /// averaged gradient (or of the statistics).
    pub sigma_average: f64,
    /// Integer units per real unit.
    pub scale: f64,
    /// L2 sensitivity in integer units.
    pub sensitivity: f64,
    /// Poisson sampling rate.
    pub sampling_rate: f64,
}

/// What holds against one adversary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdversaryReport {
    /// Who looks.
    pub adversary: Adversary,
    /// Noise shares that it does not know.
    pub honest_shares: u16,
    /// Epsilon; absent if none can be stated.
    pub epsilon: Option<f64>,
}

impl PlanReport {
    /// For a job and its declared records, in the order of the job's agencies.
    ///
    /// # Errors
    /// If no plan follows; the message names the section to change.
    pub fn of(spec: &JobSpec, declared: &[u64]) -> Result<Self, PlanError> {
        let manifest = manifest_for(spec, declared)?;
        let plan = Plan::derive(&manifest)?;
        let t = plan.roster.thresholds;
        let d = plan.layout.total();
        let noise = |operation: &OperationPlan, divisor: f64| {
            operation.release.as_ref().map(|release| NoiseReport {
                noise_multiplier: release.parameters.noise_multiplier,
                sigma_local: release.sigma_local,
                sigma_average: release.sigma_local * f64::from(t.n).sqrt()
                    / (release.scale * divisor),
                scale: release.scale,
                sensitivity: release.sensitivity,
                sampling_rate: operation.sampling_rate,
            })
        };
        let against = |adversary: Adversary| {
            plan.privacy.as_ref().map(|privacy| AdversaryReport {
                adversary,
                honest_shares: adversary.honest_shares(&privacy.training),
                epsilon: privacy.guarantee(adversary).ok().map(|g| g.epsilon.epsilon),
            })
        };
        // The book's number must exist: its error is the plan's.
        plan.epsilon()?;
        Ok(Self {
            job: spec.name.clone(),
            agencies: manifest
                .roster
                .iter()
                .map(|r| (r.agency.clone(), r.declared_records))
                .collect(),
            corrupt: t.corrupt,
            quorum: t.quorum,
            min_survivors: t.u_min,
            rounds: plan.rounds,
            attempts: plan.attempts
                + plan.statistics.as_ref().map_or(0, |_| u32::from(plan.max_attempts))
                + plan.evaluation_attempts,
            evaluations: plan
                .evaluation
                .as_ref()
                .map(|_| [plan.schedule.evaluations, plan.evaluation_attempts]),
            parameters: d,
            mode: spec.privacy.mode,
            batch: plan.batch,
            vector_bytes: d * 4,
            chunks: d.div_ceil(CHUNK_LANES),
            statistics: plan.statistics.as_ref().and_then(|s| noise(s, 1.0)),
            training: noise(&plan.training, plan.batch),
            evaluation: plan.evaluation.as_ref().and_then(|e| noise(e, 1.0)),
            delta: plan.privacy.as_ref().map_or(0.0, |p| p.delta),
            epsilon: Adversary::ALL.into_iter().filter_map(against).collect(),
        })
    }
}

/// A manifest of the job with placeholder keys.
///
/// # Errors
/// If the number of declared records is not the number of agencies.
pub fn manifest_for(spec: &JobSpec, declared: &[u64]) -> Result<Manifest, PlanError> {
    if declared.len() != spec.agencies.len() {
        return Err(PlanError::Size(format!(
            "{} declared record counts for {} agencies; give one each",
            declared.len(),
            spec.agencies.len()
        )));
    }
    let key = |name: &str| {
        hex::encode(tributary_secagg::hash("tributary/placeholder-key/v1", &[name.as_bytes()]).0)
    };
    let roster = spec.agencies.iter().zip(declared).map(|(agency, records)| RosterEntry {
        agency: agency.clone(),
        signing_key: key(agency),
        declared_records: *records,
    });
    Ok(Manifest {
        version: MANIFEST_VERSION,
        spec: spec.clone(),
        roster: roster.collect(),
        aggregator_key: key("the aggregator"),
        nonce: String::new(),
    })
}

/// Who an adversary is, for people.
pub fn adversary_in_words(adversary: Adversary) -> &'static str {
    match adversary {
        Adversary::Public => "the public, if every agency survives",
        Adversary::Aggregator => "the aggregator alone, fewest survivors",
        Adversary::Colluders => "the aggregator with the tolerated colluders (the book)",
        Adversary::EverybodyElse => "the aggregator and every other agency",
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: u64 = self.agencies.iter().map(|(_, n)| n).sum();
        let n = self.agencies.len();
        writeln!(f, "job {}: {n} agencies, {records} declared records", self.job)?;
        writeln!(f, "\nsecure aggregation")?;
        writeln!(f, "  sums are opened with at least    {} of {n} agencies", self.min_survivors)?;
        writeln!(f, "  colluding agencies tolerated     {}", self.corrupt)?;
        writeln!(f, "  quorum                           {} signatures", self.quorum)?;
        writeln!(f, "\ntraining")?;
        writeln!(f, "  model parameters                 {}", self.parameters)?;
        writeln!(f, "  secure rounds                    {}", self.rounds)?;
        writeln!(f, "  attempts charged in advance      {}", self.attempts)?;
        if let Some([rounds, attempts]) = self.evaluations {
            writeln!(f, "  evaluations among the rounds     {rounds}, up to {attempts} attempts")?;
        }
        writeln!(f, "  records per round, on average    {:.0}", self.batch)?;
        writeln!(
            f,
            "  vector of an agency and round    {} bytes in {} chunk{}",
            self.vector_bytes,
            self.chunks,
            if self.chunks == 1 { "" } else { "s" }
        )?;
        for (name, noise) in [
            ("statistics", &self.statistics),
            ("training", &self.training),
            ("evaluation", &self.evaluation),
        ] {
            let Some(noise) = noise else { continue };
            writeln!(f, "\nnoise of each {name} release")?;
            writeln!(f, "  noise multiplier z               {:.3}", noise.noise_multiplier)?;
            writeln!(f, "  sampling rate q                  {}", noise.sampling_rate)?;
            writeln!(f, "  sigma of an agency's share       {:.1} units", noise.sigma_local)?;
            writeln!(f, "  sensitivity                      {:.1} units", noise.sensitivity)?;
            let what = if name == "training" { "average gradient" } else { "sums" };
            writeln!(f, "  sigma in the {what:<20}{:.3e}", noise.sigma_average)?;
        }
        writeln!(f, "\nmode {:?}: {}", self.mode.name(), self.mode.promise())?;
        if self.epsilon.is_empty() {
            return write!(f, "\nprivacy: mode \"none\": NO differential privacy");
        }
        write!(f, "\nepsilon of the whole job at delta {:e}, against", self.delta)?;
        for line in &self.epsilon {
            let who = adversary_in_words(line.adversary);
            let epsilon = line.epsilon.map_or("none stated".to_owned(), |e| format!("{e:.3}"));
            write!(f, "\n  {epsilon:>12}  {who} ({} noise shares)", line.honest_shares)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = include_str!("../scenarios/toy-job.toml");

    #[test]
    fn the_plan_in_numbers() {
        let spec = JobSpec::from_toml(JOB).unwrap();
        let report = PlanReport::of(&spec, &[6000, 4500, 3000, 1500, 600]).unwrap();
        assert_eq!((report.corrupt, report.quorum, report.min_survivors), (1, 4, 4));
        assert_eq!((report.rounds, report.attempts), (41, 48));
        assert_eq!(report.parameters, 7 * 8 + 8 + 8 + 1);
        let epsilon: Vec<_> = report.epsilon.iter().map(|a| a.epsilon.unwrap()).collect();
        assert!(epsilon.windows(2).all(|w| w[0] < w[1]), "{epsilon:?}");
        assert!(epsilon[2] <= 2.0 && epsilon[2] > 1.9, "the book meets the target: {epsilon:?}");
        let text = report.to_string();
        assert!(text.contains("at least    4 of 5") && text.contains("(the book)"), "{text}");
    }

    #[test]
    fn declared_records_must_fit_the_agencies() {
        let spec = JobSpec::from_toml(JOB).unwrap();
        let error = PlanReport::of(&spec, &[1, 2]).unwrap_err().to_string();
        assert!(error.contains("2 declared record counts for 5 agencies"), "{error}");
    }

    #[test]
    fn mode_none_says_so() {
        let text = JOB.replace("mode = \"record\"\nepsilon = 2.0", "mode = \"none\"");
        let report = PlanReport::of(&JobSpec::from_toml(&text).unwrap(), &[9; 5]).unwrap();
        assert!(report.epsilon.is_empty());
        assert!(report.to_string().contains("NO differential privacy"));
    }
}
