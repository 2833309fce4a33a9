//! From lines to figures: medians by cell, and ratios between Flower and us.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cells::MASKS;
use super::keys::{cohort, dimension};
use super::lines::Line;
use super::machine::Machine;
use super::run::{Failure, Outcome};

/// The dimension of the one ratio that stands for node computation.
const HEADLINE: &str = "1e7";

/// Figures by cell.
pub type ByKey = BTreeMap<String, f64>;

/// The result file. What was not measured is absent or empty.
#[derive(Debug, Serialize)]
pub struct Summary {
    version: u32,
    machine: Machine,
    commit: String,
    /// Nanoseconds for each parameter and mask, in 16-bit lanes, with the fastest kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_ns_per_parameter_u16: Option<f64>,
    /// The same in 32-bit lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_ns_per_parameter_u32: Option<f64>,
    /// Median of a round.
    pub round_seconds: ByKey,
    /// Peak memory over the bytes of the model (float32).
    pub peak_rss_over_model: ByKey,
    /// Bytes from a node to the aggregator, for each parameter.
    pub bytes_up_per_parameter: ByKey,
    /// Median of a round of 100 nodes with one parameter each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead_seconds_100_nodes: Option<f64>,
    /// The line of the round with nodes in one process.
    #[serde(rename = "virtual", skip_serializing_if = "Option::is_none")]
    pub many: Option<Line>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
    lines: Vec<Line>,
    failed: Vec<Failure>,
}

/// Flower beside us: all ratios are Flower's time over ours.
#[derive(Debug, Serialize)]
pub struct Peers {
    /// One node's computation at 1e7 parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flower_node_ratio: Option<f64>,
    /// One node's computation by dimension.
    pub flower_node_ratios: ByKey,
    /// A round with SecAgg+ over one of ours.
    pub flower_round_ratio: ByKey,
    /// A round without secure aggregation over one of ours, which has it.
    pub flower_plain_ratio: ByKey,
    flower: Vec<Line>,
}

impl Summary {
    /// Sums up a run.
    pub fn new(machine: Machine, commit: String, outcome: Outcome, peers: bool) -> Self {
        let ours = &outcome.ours;
        let rounds = || ours.iter().filter(|line| line.is("round"));
        // For one parameter, what goes per parameter says nothing.
        let large = || rounds().filter(|line| line.count("dim").is_some_and(|dim| dim > 1));
        let round_seconds = by_cohort(rounds(), |line| line.seconds("round_s"));
        Self {
            version: 1,
            machine,
            commit,
            mask_ns_per_parameter_u16: mask_ns(ours, 16),
            mask_ns_per_parameter_u32: mask_ns(ours, 32),
            peak_rss_over_model: by_cohort(large(), |line| {
                ratio(line.number("peak_rss_bytes")?, line.number("model_bytes")?)
            }),
            bytes_up_per_parameter: by_cohort(large(), |line| {
                line.number("bytes_up_per_parameter")
            }),
            overhead_seconds_100_nodes: round_seconds.get(&cohort(100, 1)).copied(),
            many: ours.iter().rfind(|line| line.is("virtual")).cloned(),
            peers: peers.then(|| Peers::new(ours, &round_seconds, outcome.flower)),
            round_seconds,
            lines: outcome.ours,
            failed: outcome.failed,
        }
    }

    /// The cells without a result.
    pub fn failed(&self) -> &[Failure] {
        &self.failed
    }
}

impl Peers {
    fn new(ours: &[Line], round_seconds: &ByKey, flower: Vec<Line>) -> Self {
        let rounds = |secagg| {
            let lines = flower
                .iter()
                .filter(move |line| line.is("flower_round") && line.flag("secagg") == Some(secagg));
            over(by_cohort(lines, |line| line.seconds("round_s")), round_seconds)
        };
        let flower_node_ratios =
            over(node_seconds(&flower, "flower_node"), &node_seconds(ours, "node"));
        Self {
            flower_node_ratio: flower_node_ratios.get(HEADLINE).copied(),
            flower_node_ratios,
            flower_round_ratio: rounds(true),
            flower_plain_ratio: rounds(false),
            flower,
        }
    }
}

/// The fastest kernel's time at the largest dimension, so that caches do not flatter.
fn mask_ns(lines: &[Line], bits: u64) -> Option<f64> {
    let fits = |line: &&Line| line.is("mask") && line.count("bits") == Some(bits);
    let largest = lines.iter().filter(fits).filter_map(|line| line.count("d")).max();
    let there = lines.iter().filter(fits).filter(|line| line.count("d") == largest);
    there.filter_map(|line| line.seconds("ns_per_parameter_and_mask")).min_by(f64::total_cmp)
}

/// A node's computation with nine pairwise masks, by dimension. Of several lane widths the slowest
/// counts.
fn node_seconds(lines: &[Line], bench: &str) -> ByKey {
    let mut seconds = ByKey::new();
    for line in lines.iter().filter(|l| l.is(bench) && l.count("masks") == Some(MASKS)) {
        if let (Some(d), Some(total)) = (line.count("d"), line.seconds("total_s")) {
            let slowest = seconds.entry(dimension(d)).or_insert(total);
            *slowest = slowest.max(total);
        }
    }
    seconds
}

fn by_cohort<'a>(
    lines: impl Iterator<Item = &'a Line>,
    figure: impl Fn(&Line) -> Option<f64>,
) -> ByKey {
    let entry =
        |line: &Line| Some((cohort(line.count("nodes")?, line.count("dim")?), figure(line)?));
    lines.filter_map(entry).collect()
}

/// Ratios for the keys that both have.
fn over(theirs: ByKey, ours: &ByKey) -> ByKey {
    let entry = |(key, theirs)| Some((ratio(theirs, *ours.get(&key)?)?, key));
    theirs.into_iter().filter_map(entry).map(|(ratio, key)| (key, ratio)).collect()
}

/// A quotient, to three digits after the point; none if it is no number.
fn ratio(above: f64, below: f64) -> Option<f64> {
    let quotient = above / below;
    quotient.is_finite().then(|| (quotient * 1000.0).round() / 1000.0)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
