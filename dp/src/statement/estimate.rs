//! The numerical estimates that may stand beside a statement's bounds.

use super::{PrivacyStatement, verify};
use crate::error::DpError;

impl PrivacyStatement {
    /// Adds, for each adversary with a guarantee, the estimate by privacy-loss distributions
    /// ([`JobPrivacy::pld_estimate`](crate::JobPrivacy::pld_estimate)). It stands beside the bound
    /// and is none; in mode `none` nothing changes. Where the noise is too small for an estimate there
    /// is none.
    ///
    /// # Errors
    /// If the statement's parameters describe no job.
    pub fn with_estimates(mut self) -> Result<Self, DpError> {
        if self.claims.is_none() {
            return Ok(self);
        }
        let job = self.job()?;
        for claim in self.claims.iter_mut().flat_map(|claims| &mut claims.adversaries) {
            claim.pld_estimate = match &claim.guarantee {
                Some(_) => job.pld_estimate(claim.adversary).ok(),
                None => None,
            };
        }
        Ok(self)
    }

    /// Compares the estimates with what the parameters give, if the statement has any.
    pub(super) fn verify_estimates(&self) -> Result<(), DpError> {
        let estimates = |statement: &Self| -> Vec<Option<f64>> {
            let claims = statement.claims.iter().flat_map(|c| &c.adversaries);
            claims.map(|claim| claim.pld_estimate).collect()
        };
        let stated = estimates(self);
        if stated.iter().all(Option::is_none) {
            return Ok(());
        }
        for (stated, derived) in stated.iter().zip(estimates(&self.clone().with_estimates()?)) {
            verify::compare_estimate(*stated, derived)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Identification, Unit};
    use super::*;
    use crate::budget::tests::example;

    #[test]
    fn estimates_are_optional_below_the_bounds_and_recomputed() {
        let about = Identification {
            unit: Unit::Record,
            job_hash: None,
            book_hash: None,
            audit_lower_bound: None,
        };
        let plain = PrivacyStatement::for_job(&example(20, 17, 2), about.clone()).unwrap();
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("pld_estimate"), "statements without estimates stay as they were");
        let full = plain.with_estimates().unwrap();
        full.verify().unwrap();
        let text = serde_json::to_string(&full).unwrap();
        let back: PrivacyStatement = serde_json::from_str(&text).unwrap();
        assert_eq!(back, full);
        assert!(full.to_text().contains("(estimate 1."), "{}", full.to_text());
        for i in 0..4 {
            let mut lie = full.clone();
            let claim = &mut lie.claims.as_mut().unwrap().adversaries[i];
            let honest = claim.pld_estimate.unwrap();
            assert!(honest < claim.guarantee.as_ref().unwrap().epsilon.epsilon);
            claim.pld_estimate = Some(honest * 0.999);
            assert!(lie.verify().unwrap_err().to_string().contains("pld_estimate"), "{i}");
        }
        let none = PrivacyStatement::for_plain_job(about).with_estimates().unwrap();
        none.verify().unwrap();
    }
}
