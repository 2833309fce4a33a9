//! The statement as a page that a person can read.

use super::words;
use super::{AdversaryClaim, Claims, PrivacyStatement, ReleaseClaim, ReleaseKind, Unit};
use crate::budget::Adversary;

impl PrivacyStatement {
    /// A plain-text page.
    pub fn to_text(&self) -> String {
        let mut lines = vec!["Privacy statement".to_owned(), String::new()];
        let hash = |h: &Option<String>| h.clone().unwrap_or_else(|| "not given".to_owned());
        match &self.claims {
            None => lines.push(
                "This job runs in mode \"none\": secure aggregation hides a node's vector within one \
                 sum, and there is NO differential privacy."
                    .to_owned(),
            ),
            Some(claims) => {
                let unit = match self.about.unit {
                    Unit::Record => "one record",
                    Unit::Person => "one person (all records of the person in one silo)",
                    Unit::Silo => "one agency (everything that it contributes)",
                };
                lines.push(format!(
                    "Whether {unit} took part is protected with epsilon = {:.4}, delta = {:e} over \
                     the whole job ({}, {}).",
                    claims.epsilon, claims.delta, self.adjacency, claims.nature
                ));
                if let Some(warning) = words::warning(self.mode) {
                    lines.push(warning.to_owned());
                }
                claims.describe(&mut lines);
            }
        }
        match self.about.audit_lower_bound {
            Some(audit) => lines.push(format!("Audit: at least epsilon {audit:.4} was measured.")),
            None => lines.push("Audit: none is attached.".to_owned()),
        }
        section(&mut lines, "Not covered", &self.not_covered);
        section(&mut lines, "Trust", &self.trust);
        section(&mut lines, "Cryptography", &self.cryptography);
        lines.push(String::new());
        lines.push(format!("Job:      {}", hash(&self.about.job_hash)));
        lines.push(format!("Book:     {}", hash(&self.about.book_hash)));
        lines.push(format!("Software: {}", self.software));
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Claims {
    fn describe(&self, lines: &mut Vec<String>) {
        let adversaries: Vec<_> = self.adversaries.iter().map(AdversaryClaim::line).collect();
        section(lines, "Against whom (epsilon at the same delta)", &adversaries);
        let releases: Vec<_> = self.releases.iter().flat_map(ReleaseClaim::lines).collect();
        section(lines, "Releases", &releases);
        let how = [
            format!("Mechanism: {}.", self.mechanism),
            format!("Sampling: {}.", self.sampling),
            format!("Accountant: {}, Renyi order {}.", self.accountant, self.order),
            format!("Floating point: {}.", self.floating_point),
        ];
        section(lines, "How", &how);
        lines.push(String::new());
    }
}

impl AdversaryClaim {
    fn line(&self) -> String {
        let who = match self.adversary {
            Adversary::Public => "the public, if every node survives",
            Adversary::Aggregator => "the aggregator alone, fewest survivors",
            Adversary::Colluders => "the aggregator and the tolerated colluders (in the book)",
            Adversary::EverybodyElse => "everybody but the unit's own node",
        };
        let epsilon = self
            .guarantee
            .as_ref()
            .map_or("no bound is claimed".to_owned(), |g| format!("{:.4}", g.epsilon.epsilon));
        let estimate = self.pld_estimate.map_or(String::new(), |e| format!(" (estimate {e:.4})"));
        format!("{who} ({} noise shares): {epsilon}{estimate}", self.honest_shares)
    }
}

impl ReleaseClaim {
    fn lines(&self) -> [String; 3] {
        let kind = match self.kind {
            ReleaseKind::Statistics => "statistics",
            ReleaseKind::Training => "training",
            ReleaseKind::Evaluation => "evaluation",
        };
        let (r, p) = (&self.release, &self.release.parameters);
        [
            format!(
                "{kind}, {} charged: clip norm {}, {} coordinates, sampling rate {}, noise multiplier {}",
                self.count, p.clip_norm, p.dimension, p.sampling_rate, p.noise_multiplier
            ),
            format!(
                "  cohort {}, fewest survivors {}, colluders {}, honest noise shares {}; scale {:.3}, \
                 sensitivity {:.3}, noise per node {:.3}",
                p.cohort,
                p.min_survivors,
                p.assumed_colluders(),
                r.honest_survivors,
                r.scale,
                r.sensitivity,
                r.sigma_local
            ),
            format!(
                "  sampler: {}; total variation {:.1e} per sample",
                self.sampler.name, self.sampler.total_variation
            ),
        ]
    }
}

fn section(lines: &mut Vec<String>, title: &str, items: &[String]) {
    lines.push(String::new());
    lines.push(title.to_owned());
    lines.extend(items.iter().map(|i| format!("  - {i}")));
}
