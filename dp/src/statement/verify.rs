//! Recomputes a statement from its own parameters and compares every claim.

use std::fmt::Debug;

use super::{Claims, Mode, PrivacyStatement, ReleaseKind};
use crate::accountant::Epsilon;
use crate::budget::{Guarantee, JobPrivacy};
use crate::error::DpError;

/// Relative difference allowed between processors, whose logarithms differ in the last place.
const TOLERANCE: f64 = 1e-9;

impl PrivacyStatement {
    /// Epsilon in the book, recomputed from the stated release parameters, counts and delta.
    ///
    /// # Errors
    /// [`DpError::NoGuarantee`] in mode `none`; else whatever the parameters are refused for.
    pub fn recompute(&self) -> Result<Epsilon, DpError> {
        self.job()?.epsilon()
    }

    /// The job that the statement describes.
    ///
    /// # Errors
    /// [`DpError::NoGuarantee`] in mode `none`, or if the list of releases is not one training
    /// release and at most one of statistics and of evaluation, which are charged at least once.
    pub fn job(&self) -> Result<JobPrivacy, DpError> {
        let claims = self.claims.as_ref().ok_or(DpError::NoGuarantee)?;
        let of = |kind| claims.releases.iter().filter(move |r| r.kind == kind);
        let mismatch = |stated: usize, derived: &str| DpError::Mismatch {
            field: "releases".to_owned(),
            stated: format!("{stated} entries"),
            derived: derived.to_owned(),
        };
        let (statistics, training) = (of(ReleaseKind::Statistics), of(ReleaseKind::Training));
        let statistics: Vec<_> = statistics.collect();
        let training: Vec<_> = training.collect();
        let [training] = training.as_slice() else {
            return Err(mismatch(training.len(), "one training entry"));
        };
        if statistics.len() > 1 || statistics.iter().any(|s| s.count == 0) {
            return Err(mismatch(statistics.len(), "at most one statistics entry, not counted 0"));
        }
        let evaluation: Vec<_> = of(ReleaseKind::Evaluation).collect();
        if evaluation.len() > 1 || evaluation.iter().any(|e| e.count == 0) {
            return Err(mismatch(evaluation.len(), "at most one evaluation entry, not counted 0"));
        }
        Ok(JobPrivacy {
            statistics: statistics.first().map(|s| s.release.clone()),
            statistics_releases: statistics.first().map_or(0, |s| s.count),
            evaluation: evaluation.first().map(|e| e.release.clone()),
            evaluation_releases: evaluation.first().map_or(0, |e| e.count),
            training: training.release.clone(),
            training_releases: training.count,
            delta: claims.delta,
        })
    }

    /// Recomputes everything and compares: texts exactly, numbers to 1e-9. The software's version and
    /// what the statement is about are not derived and not compared, except that an audit's lower
    /// bound above epsilon refutes the statement.
    ///
    /// # Errors
    /// [`DpError::Mismatch`] with the first claim that does not hold.
    pub fn verify(&self) -> Result<(), DpError> {
        let about = self.about.clone();
        let derived = match self.mode {
            Mode::None => Self::for_plain_job(about),
            _ => Self::for_job(&self.job()?, about)?,
        };
        same("mode", &self.mode, &derived.mode)?;
        same("format", &self.format, &derived.format)?;
        same("adjacency", &self.adjacency, &derived.adjacency)?;
        same("not_covered", &self.not_covered, &derived.not_covered)?;
        same("trust", &self.trust, &derived.trust)?;
        same("cryptography", &self.cryptography, &derived.cryptography)?;
        match (&self.claims, &derived.claims) {
            (Some(stated), Some(derived)) => compare(stated, derived)?,
            (None, None) => {}
            (stated, derived) => same("claims", &stated.is_some(), &derived.is_some())?,
        }
        self.verify_estimates()?;
        match (&self.claims, self.about.audit_lower_bound) {
            (Some(claims), Some(audit)) if audit.is_nan() || audit > claims.epsilon => {
                Err(mismatch("audit_lower_bound", &audit, &format!("at most {}", claims.epsilon)))
            }
            _ => Ok(()),
        }
    }
}

fn compare(stated: &Claims, derived: &Claims) -> Result<(), DpError> {
    same("nature", &stated.nature, &derived.nature)?;
    same("accountant", &stated.accountant, &derived.accountant)?;
    close("epsilon", stated.epsilon, derived.epsilon)?;
    close("delta", stated.delta, derived.delta)?;
    same("order", &stated.order, &derived.order)?;
    same("orders", &stated.orders, &derived.orders)?;
    for (stated, derived) in stated.rdp.values().iter().zip(derived.rdp.values()) {
        close("rdp", *stated, *derived)?;
    }
    same("adversaries", &stated.adversaries.len(), &derived.adversaries.len())?;
    for (stated, derived) in stated.adversaries.iter().zip(&derived.adversaries) {
        same("adversary", &stated.adversary, &derived.adversary)?;
        same("honest_shares", &stated.honest_shares, &derived.honest_shares)?;
        match (&stated.guarantee, &derived.guarantee) {
            (Some(stated), Some(derived)) => compare_guarantee(stated, derived)?,
            (stated, derived) => same("guarantee", &stated.is_some(), &derived.is_some())?,
        }
    }
    same("releases", &stated.releases.len(), &derived.releases.len())?;
    for (stated, derived) in stated.releases.iter().zip(&derived.releases) {
        same("release kind", &stated.kind, &derived.kind)?;
        same("sampler", &stated.sampler.name, &derived.sampler.name)?;
        let (tv, expected) = (stated.sampler.total_variation, derived.sampler.total_variation);
        close("total_variation", tv, expected)?;
        // Deserialising derives a release again; one that was changed in memory is caught here.
        let again = crate::mechanism::Release::derive(&stated.release.parameters)?;
        same("release", &stated.release, &again)?;
    }
    same("sampling", &stated.sampling, &derived.sampling)?;
    same("mechanism", &stated.mechanism, &derived.mechanism)?;
    same("floating_point", &stated.floating_point, &derived.floating_point)
}

fn compare_guarantee(stated: &Guarantee, derived: &Guarantee) -> Result<(), DpError> {
    close("adversary epsilon", stated.epsilon.epsilon, derived.epsilon.epsilon)?;
    close("adversary delta", stated.epsilon.delta, derived.epsilon.delta)?;
    same("adversary order", &stated.epsilon.order, &derived.epsilon.order)?;
    let (s, d) = (&stated.delta_terms, &derived.delta_terms);
    close("delta_terms.rounding", s.rounding, d.rounding)?;
    // e^epsilon magnifies a difference of 1e-9 in a large epsilon.
    let magnified = 1.0 + d.at_epsilon;
    within("delta_terms.sampler", s.sampler, d.sampler, magnified)?;
    close("delta_terms.masking", s.masking, d.masking)?;
    within("delta_terms.cryptography", s.cryptography, d.cryptography, magnified)?;
    close("delta_terms.at_epsilon", s.at_epsilon, d.at_epsilon)?;
    within("delta_terms.remaining", s.remaining, d.remaining, magnified)
}

/// Estimates may differ by what transforms on other processors round differently.
pub(super) fn compare_estimate(stated: Option<f64>, derived: Option<f64>) -> Result<(), DpError> {
    match (stated, derived) {
        (Some(stated), Some(derived)) => within("pld_estimate", stated, derived, 1e3),
        (stated, derived) => same("pld_estimate", &stated, &derived),
    }
}

fn same<T: PartialEq + Debug>(field: &str, stated: &T, derived: &T) -> Result<(), DpError> {
    if stated == derived { Ok(()) } else { Err(mismatch(field, stated, derived)) }
}

fn close(field: &str, stated: f64, derived: f64) -> Result<(), DpError> {
    within(field, stated, derived, 1.0)
}

fn within(field: &str, stated: f64, derived: f64, factor: f64) -> Result<(), DpError> {
    let allowed = TOLERANCE * factor * stated.abs().max(derived.abs());
    if (stated - derived).abs() <= allowed {
        Ok(())
    } else {
        Err(mismatch(field, &stated, &derived))
    }
}

fn mismatch(field: &str, stated: &impl Debug, derived: &impl Debug) -> DpError {
    DpError::Mismatch {
        field: field.to_owned(),
        stated: format!("{stated:?}"),
        derived: format!("{derived:?}"),
    }
}
