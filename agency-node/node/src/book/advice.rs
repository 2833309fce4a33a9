//! When a job that does not fit would fit: with how many rounds, or with how much noise.
//!
//! Searches over public parameters only. Knows amounts at an account's order, and no account.

use std::collections::BTreeMap;

use tributary_dp::{Release, ReleaseParameters};

use super::grant::{JobCost, Line, PlannedReleases, ReleaseKind, total};

/// Noise beyond which nobody would train.
const MOST_NOISE: f64 = 1e6;

/// What would fit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Advice {
    /// Most training rounds at the planned noise, with these spare attempts.
    pub rounds: Option<(u32, u32)>,
    /// The planned noise multiplier of training, if it is known.
    pub planned_noise: Option<f64>,
    /// Least noise multiplier of training at the planned number of rounds.
    pub noise_multiplier: Option<f64>,
}

impl Advice {
    /// For a job and what is left at an account's order.
    pub(super) fn find(
        cost: &JobCost,
        lines: &BTreeMap<ReleaseKind, Line>,
        order: u32,
        left: f64,
    ) -> Self {
        let others = lines.iter().filter(|(kind, _)| **kind != ReleaseKind::Training);
        let others = total(others.map(|(_, line)| (line.each, line.releases)));
        let planned = cost.releases.get(&ReleaseKind::Training);
        let line = lines.get(&ReleaseKind::Training);
        let (Some(planned), Some(line)) = (planned, line) else { return Self::default() };
        // As the account compares, and a little less.
        let room = left * (1.0 - 1e-9) - others;
        if !(room > 0.0 && line.each > 0.0) {
            return Self::default();
        }
        let releases = (room / line.each).min(f64::from(planned.count)) as u32;
        let rounds = releases.checked_sub(planned.spare).filter(|rounds| *rounds > 0);
        Self {
            rounds: rounds.map(|rounds| (rounds, planned.spare)),
            planned_noise: planned.parameters.as_ref().map(|p| p.noise_multiplier),
            noise_multiplier: noise(planned, order, room),
        }
    }
}

/// The least noise multiplier, in thousandths, at which all planned releases fit.
fn noise(planned: &PlannedReleases, order: u32, room: f64) -> Option<f64> {
    let parameters = planned.parameters.as_ref()?;
    let fits = |thousandths: u64| {
        let noise_multiplier = thousandths as f64 / 1000.0;
        let with = ReleaseParameters { noise_multiplier, ..parameters.clone() };
        let each = Release::derive(&with).and_then(|r| r.rdp()).ok().and_then(|c| c.at(order));
        each.is_some_and(|each| total([(each, planned.count)].into_iter()) <= room)
    };
    let mut low = (parameters.noise_multiplier * 1000.0) as u64;
    let mut high = low.max(1);
    while !fits(high) {
        // Also where the noise does not fit into the lanes any more.
        (low, high) = (high, high.checked_mul(2)?);
        if high as f64 > MOST_NOISE * 1000.0 {
            return None;
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    Some(high as f64 / 1000.0)
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounds = self.rounds.map(|(rounds, spare)| {
            let planned =
                self.planned_noise.map(|z| format!(" at the planned noise_multiplier {z}"));
            let planned = planned.unwrap_or_default();
            format!("with at most {rounds} training rounds and {spare} spare attempts{planned}")
        });
        let noise = self.noise_multiplier.map(|z| {
            format!("with a noise_multiplier of at least {z} for as many rounds as it has")
        });
        match (rounds, noise) {
            (Some(rounds), Some(noise)) => write!(f, "It would fit {rounds}, or {noise}"),
            (Some(one), None) | (None, Some(one)) => write!(f, "It would fit {one}"),
            (None, None) => f.write_str(
                "No number of rounds and no noise of training makes it fit any more; the limit is \
                 for good",
            ),
        }
    }
}
