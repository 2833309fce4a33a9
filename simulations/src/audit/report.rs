//! What an audit found: one line per check, the verdict, and the words that go with it.
//!
//! It knows no mechanism and computes no statistic.

use std::fmt;

use serde::Serialize;

/// Whether a check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What was measured is allowed.
    Pass,
    /// It is not: noise, sensitivity or sampling are not what the accountant believes.
    Fail,
    /// A figure without a verdict: it rests on a model of the mechanism.
    Estimate,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Short name, `group.what`.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// Least value allowed.
    pub at_least: Option<f64>,
    /// Largest value allowed.
    pub at_most: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// What the number is, in words.
    pub what: String,
}

impl Check {
    /// A figure that must lie within bounds; one that is not a number fails.
    pub(crate) fn within(
        name: impl Into<String>,
        measured: f64,
        at_least: Option<f64>,
        at_most: Option<f64>,
        what: impl Into<String>,
    ) -> Self {
        let holds = measured.is_finite()
            && at_least.is_none_or(|low| measured >= low)
            && at_most.is_none_or(|high| measured <= high);
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        Self { name: name.into(), measured, at_least, at_most, verdict, what: what.into() }
    }

    /// A p-value, which must not be below the significance.
    pub(crate) fn p_value(name: impl Into<String>, p: f64, what: impl Into<String>) -> Self {
        Self::within(name, p, Some(super::SIGNIFICANCE_PER_CHECK), None, what)
    }

    /// A figure without a verdict, and what it is compared with.
    pub(crate) fn estimate(
        name: impl Into<String>,
        measured: f64,
        at_most: f64,
        what: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            measured,
            at_least: None,
            at_most: Some(at_most),
            verdict: Verdict::Estimate,
            what: what.into(),
        }
    }
}

/// The release that was audited, as its plan states it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// Coordinates of the vector.
    pub dimension: usize,
    /// Noise multiplier z against the aggregator with the tolerated colluders.
    pub noise_multiplier: f64,
    /// Poisson sampling rate.
    pub sampling_rate: f64,
    /// Honest survivors assumed; so many noise shares are summed.
    pub honest_survivors: u16,
    /// Standard deviation of one node's share, integer units.
    pub sigma_local: f64,
    /// L2 sensitivity, integer units.
    pub sensitivity: f64,
    /// The job's delta.
    pub delta: f64,
    /// The accountant's epsilon of one release at that delta.
    pub epsilon_one_release: f64,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Software, name and version.
    pub software: String,
    /// The job's name.
    pub job: String,
    /// The mechanism that was looked at.
    pub mechanism: String,
    /// Who computed gradients.
    pub trainer: String,
    /// Seed of the audit; the same seed gives the same report.
    pub seed: u64,
    /// Repetitions of the black-box audit, in each of the two worlds.
    pub repetitions: u64,
    /// Samples of each sampler.
    pub samples: u64,
    /// What the plan claims.
    pub claim: Claim,
    /// Every check.
    pub checks: Vec<Check>,
    /// Lower bound on the epsilon of the job at the job's delta, with confidence `confidence`: that of
    /// one release as the plan has it, since a job releases more than that. For the field of this name
    /// in a privacy statement.
    pub audit_lower_bound: f64,
    /// Confidence of each epsilon bound.
    pub confidence: f64,
    /// Whether every check holds.
    pub passed: bool,
}

/// What the audit cannot see, in words.
pub const LIMITS: [&str; 6] = [
    "A pass is no proof. It says that the gap between promise and practice is smaller than what this \
     many repetitions can see; the proof is in the accountant and its tests.",
    "It sees: a missing or weak noise share, a wrong standard deviation, a missing or wrong clip, a sum \
     divided by the real batch size, noise used twice, sampling that is not Poisson, biased rounding, a \
     sampler with the wrong shape.",
    "It does not see: faults far below its resolution (a leak of probability 1e-5 or so), faults that \
     only other records than its canaries set off, timing, memory, what else a process writes or sends.",
    "It draws from seeds, so it says nothing of the operating system's randomness; and it looks at \
     vectors before their masks, so nothing of the masks or of who survives.",
    "Its records are made up within the job's bounds. No agency's records are used, and no budget is \
     spent.",
    "It audits the program that it is compiled with, on the machine it runs on, and no other.",
];

impl Report {
    /// Names of the checks that fail.
    #[must_use]
    pub fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|c| c.verdict == Verdict::Fail);
        failed.map(|c| c.name.as_str()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.claim;
        writeln!(
            f,
            "Privacy audit of {} for the job {:?}, seed {}",
            self.mechanism, self.job, self.seed
        )?;
        writeln!(
            f,
            "One release: {} coordinates, noise multiplier {:.3} made of {} shares, sampling rate {}; \
             the accountant says epsilon {:.3} at delta {:e}",
            c.dimension,
            c.noise_multiplier,
            c.honest_survivors,
            c.sampling_rate,
            c.epsilon_one_release,
            c.delta
        )?;
        writeln!(f)?;
        let width = self.checks.iter().map(|c| c.name.len()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  {:>10}  {:>22}  {:8}", "check", "measured", "allowed", "verdict")?;
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::Estimate => "estimate",
            };
            writeln!(
                f,
                "{:width$}  {:>10}  {:>22}  {verdict:8}  {}",
                check.name,
                number(check.measured),
                allowed(check),
                check.what
            )?;
        }
        writeln!(f)?;
        for line in LIMITS {
            writeln!(f, "{}", wrapped(line))?;
        }
        writeln!(f)?;
        let failed = self.failed();
        if failed.is_empty() {
            write!(
                f,
                "PASS: all {} checks hold. Lower bound on the job's epsilon at delta {:e}: {:.3}",
                self.checks.len(),
                c.delta,
                self.audit_lower_bound
            )
        } else {
            write!(
                f,
                "FAIL: {} of {} checks: {}",
                failed.len(),
                self.checks.len(),
                failed.join(", ")
            )
        }
    }
}

fn allowed(check: &Check) -> String {
    match (check.at_least, check.at_most) {
        (Some(low), Some(high)) => format!("{} to {}", number(low), number(high)),
        (Some(low), None) => format!("at least {}", number(low)),
        (None, Some(high)) if check.verdict == Verdict::Estimate => {
            format!("beside {}", number(high))
        }
        (None, Some(high)) => format!("at most {}", number(high)),
        (None, None) => String::new(),
    }
}

/// Four significant digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.decimals$}")
}

/// Wrapped at about 96 characters, indented under a dash.
fn wrapped(text: &str) -> String {
    let (mut out, mut column) = (String::from("-"), 1);
    for word in text.split_whitespace() {
        if column + 1 + word.chars().count() > 96 {
            out.push_str("\n ");
            column = 1;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.chars().count();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_decide_and_nonsense_fails() {
        let verdict = |measured| Check::within("a.b", measured, Some(1.0), Some(2.0), "").verdict;
        assert_eq!([verdict(1.0), verdict(2.0)], [Verdict::Pass; 2]);
        for bad in [0.99, 2.01, f64::NAN, f64::INFINITY] {
            assert_eq!(verdict(bad), Verdict::Fail, "{bad}");
        }
        assert_eq!(Check::p_value("a.p", 0.0, "").verdict, Verdict::Fail);
        assert_eq!(Check::p_value("a.p", 0.5, "").verdict, Verdict::Pass);
        assert_eq!(Check::estimate("a.e", 9.0, 1.0, "").verdict, Verdict::Estimate);
    }

    #[test]
    fn numbers_for_people() {
        let shown: Vec<_> = [0.0, 1.23456, 1234.56, 0.012345, 1e-9, 123_456.0].map(number).into();
        assert_eq!(shown, ["0", "1.235", "1235", "0.01235", "1.00e-9", "1.23e5"]);
    }
}
