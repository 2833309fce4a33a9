//! Whether records are sampled as the accountant believes: each one independently, with one
//! probability, afresh in every round.
//!
//! It looks at releases of a laboratory whose noise is so faint that the sum shows who was drawn.

use statrs::distribution::{Binomial, Discrete, DiscreteCDF};
use tributary_training::Dataset;

use super::bench::{Bench, FAINT, Stream};
use super::moments::Products;
use super::records::{Record, norm};
use super::report::Check;
use super::setting::Setting;
use super::statistics::chi_square_upper_p;
use crate::error::SimulationError;

/// Nodes that hold records.
const NODES: usize = 4;

/// Records drawn of a node's crowd, by expectation.
const DRAWN: f64 = 12.0;

/// Times a canary is drawn in the whole check, by expectation, at least.
const CANARY_DRAWN: f64 = 300.0;

/// Rounds, whatever the sampling rate.
const MOST_ROUNDS: u64 = 50_000;

/// Sampling rate that is looked at where the job takes every record.
const IF_ALL: f64 = 0.5;

/// Bins of the chi-square test hold at least so many batches by expectation.
const LEAST_IN_A_BIN: f64 = 30.0;

/// Who was drawn at one node in one release.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    crowd: u64,
    canary: bool,
}

impl Bench<'_> {
    /// Batch sizes, inclusion and independence.
    pub(super) fn sampling(&mut self, checks: &mut Vec<Check>) -> Result<(), SimulationError> {
        let q = match self.subject.release().parameters.sampling_rate {
            q if q < 1.0 => q,
            _ => IF_ALL,
        };
        let crowd = (DRAWN / q).ceil().clamp(20.0, 20_000.0) as usize;
        let honest = usize::from(self.subject.release().honest_survivors);
        let nodes = honest.min(NODES);
        let mut setting = self.subject.laboratory(2 * NODES, crowd + 1, q, FAINT)?;
        let tables = (0..nodes).map(|node| table(&setting, node, crowd));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        let steps = steps(&mut setting)?;
        let wanted = (CANARY_DRAWN / (q * nodes as f64)).ceil() as u64;
        let rounds = wanted.max(self.effort.sampling).min(MOST_ROUNDS);

        let mut sizes = vec![0_u64; crowd + 1];
        let (mut outside, mut included) = (0_u64, 0_u64);
        let (mut together, mut apart, mut next) =
            (Products::default(), Products::default(), Products::default());
        let mut before = [Drawn::default(); NODES];
        let mean = q * crowd as f64;
        for round in 0..rounds {
            if round.is_multiple_of(256) {
                (self.progress)("sampling", round, rounds);
            }
            let seed = self.seed(Stream::Sampling, 0, round);
            let release = setting.release_sum(self.mechanism, &tables, seed)?;
            let mut now = [Drawn::default(); NODES];
            for node in 0..nodes {
                let Some(drawn) = read(&release, &steps, node) else {
                    outside += 1;
                    continue;
                };
                match sizes.get_mut(drawn.crowd as usize) {
                    Some(count) => *count += 1,
                    None => outside += 1,
                }
                included += u64::from(drawn.canary);
                let (size, canary) = (drawn.crowd as f64 - mean, centred(drawn.canary, q));
                together.add(canary, size);
                if round > 0 {
                    next.add(before[node].crowd as f64 - mean, size);
                    next.add(centred(before[node].canary, q), canary);
                }
                if let Some(other) = node.checked_sub(1).map(|other| now[other].crowd as f64) {
                    apart.add(other - mean, size);
                }
                now[node] = drawn;
            }
            before = now;
        }
        let draws = rounds * nodes as u64;
        checks.push(Check::within(
            "sampling.readable",
            outside as f64,
            None,
            Some(0.0),
            format!("sums of {draws} that no sample explains"),
        ));
        let p = sizes_p(&sizes, crowd as u64, q);
        let what = format!("p-value of batch sizes against Poisson sampling at rate {q}");
        checks.push(Check::p_value("sampling.sizes", p, what));
        let p = included_p(included, draws, q);
        checks.push(Check::p_value("sampling.inclusion", p, "p-value of how often a canary is in"));
        let p = together.p();
        checks.push(Check::p_value("sampling.records", p, "p-value: a canary and the rest"));
        let p = next.p();
        checks.push(Check::p_value("sampling.rounds", p, "p-value: successive rounds"));
        if nodes > 1 {
            checks.push(Check::p_value("sampling.nodes", apart.p(), "p-value: two nodes"));
        }
        Ok(())
    }
}

/// A node's crowd sets its own input, its canary another.
fn table(setting: &Setting, node: usize, crowd: usize) -> Result<Dataset, SimulationError> {
    let record = |input| Record::of_laboratory(2 * NODES, input, 1.0, false);
    let mut records = vec![record(node); crowd];
    records.push(record(NODES + node));
    setting.dataset(&records)
}

/// How far one record that sets an input moves its coordinate, in integer units, for every input.
fn steps(setting: &mut Setting) -> Result<Vec<f64>, SimulationError> {
    let (scale, clip) = (setting.operation.scale, setting.operation.clip_norm);
    let mut steps = Vec::new();
    for input in 0..2 * NODES {
        let record = Record::of_laboratory(2 * NODES, input, 1.0, false);
        let gradient = setting.gradient(&record)?;
        let factor = (clip / norm(&gradient)).min(1.0);
        steps.push(gradient.get(input).map_or(0.0, |g| scale * factor * g));
    }
    Ok(steps)
}

/// Who was drawn at a node; `None` if the sum is none of whole records.
fn read(release: &[i64], steps: &[f64], node: usize) -> Option<Drawn> {
    let count = |input: usize| -> Option<u64> {
        let count = *release.get(input)? as f64 / steps.get(input)?;
        let whole = count.round();
        // What one record moves is known to much better than this, and so is the noise.
        let near = (count - whole).abs() < 0.3 && whole >= 0.0;
        near.then_some(whole as u64)
    };
    let canary = count(NODES + node)?;
    (canary <= 1).then_some(Drawn { crowd: count(node)?, canary: canary == 1 })
}

fn centred(included: bool, q: f64) -> f64 {
    f64::from(u8::from(included)) - q
}

/// Chi-square p-value of batch sizes against the binomial law; neighbouring sizes share a bin where
/// few are expected.
fn sizes_p(counts: &[u64], crowd: u64, q: f64) -> f64 {
    let Ok(law) = Binomial::new(q, crowd) else { return 0.0 };
    let total = counts.iter().sum::<u64>() as f64;
    let mut bins: Vec<(f64, f64)> = Vec::new();
    let (mut expected, mut seen) = (0.0, 0.0);
    for (size, count) in counts.iter().enumerate() {
        expected += total * law.pmf(size as u64);
        seen += *count as f64;
        if expected >= LEAST_IN_A_BIN {
            bins.push((expected, seen));
            (expected, seen) = (0.0, 0.0);
        }
    }
    match bins.last_mut() {
        Some(last) => {
            last.0 += expected;
            last.1 += seen;
        }
        None => return 0.0,
    }
    let statistic = bins.iter().map(|(e, s)| (s - e).powi(2) / e).sum();
    chi_square_upper_p(statistic, (bins.len() as f64 - 1.0).max(1.0))
}

/// Exact two-sided p-value.
fn included_p(included: u64, draws: u64, q: f64) -> f64 {
    let Ok(law) = Binomial::new(q, draws) else { return 0.0 };
    let at_least = included.checked_sub(1).map_or(1.0, |below| law.sf(below));
    (2.0 * law.cdf(included).min(at_least)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_held_against_the_binomial_law() {
        let law = Binomial::new(0.25, 40).unwrap();
        let right: Vec<u64> = (0..=40).map(|k| (4000.0 * law.pmf(k)).round() as u64).collect();
        assert!(sizes_p(&right, 40, 0.25) > 0.9);
        assert!(sizes_p(&right, 40, 0.3) < 1e-12);
        let mut fixed = vec![0; 41];
        fixed[10] = 4000;
        assert!(sizes_p(&fixed, 40, 0.25) < 1e-12);
        assert_eq!(sizes_p(&[0; 41], 40, 0.25), 0.0);
    }

    #[test]
    fn inclusion_is_two_sided() {
        assert!(included_p(250, 1000, 0.25) > 0.9);
        assert!(included_p(0, 1000, 0.25) < 1e-12 && included_p(1000, 1000, 0.25) < 1e-12);
    }

    #[test]
    fn only_whole_records_explain_a_sum() {
        let steps = [50.0; 2 * NODES];
        let mut release = [0_i64; 2 * NODES + 1];
        (release[1], release[NODES + 1]) = (349, 52);
        let drawn = read(&release, &steps, 1).unwrap();
        assert!(drawn.crowd == 7 && drawn.canary);
        for (place, bad) in [(1, 325), (1, -50), (NODES + 1, 100), (NODES + 1, 25)] {
            let mut changed = release;
            changed[place] = bad;
            assert!(read(&changed, &steps, 1).is_none(), "{place} {bad}");
        }
    }
}
