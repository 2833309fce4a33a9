//! A calculator for secure aggregation: what follows from a number of agencies, a model's size and
//! the dropouts that are expected - thresholds, what is tolerated, traffic, time, and in plain words
//! what the aggregator can learn - and one real round at these settings ([`trial`]).
//!
//! It knows no job and no data; a job's own plan is printed by `simulate check-config`.

pub mod party;
mod traffic;
pub mod trial;
mod words;

use serde::Serialize;
use tributary_secagg::{LaneBits, Thresholds};

use crate::SimulationError;
use traffic::Shape;
pub use traffic::{Rates, Times, Traffic};

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// N, agencies on the roster.
    pub nodes: u16,
    /// Lanes of a vector.
    pub dim: u32,
    /// Share of the agencies that may be missing, `[0, 1)`.
    pub dropout: f64,
    /// Share of the agencies that may work for the aggregator, `[0, 1)`.
    pub corrupt: f64,
    /// Least survivors by policy.
    pub min_survivors: u16,
    /// Bits of a lane.
    pub bits: u8,
    /// Largest integer, positive or negative, in any agency's vector; the lanes' limit if absent.
    pub max_value: Option<u64>,
    /// Shares that open a seed; the least safe number if absent.
    pub shamir_t: Option<u16>,
    /// Agencies that are invited to a round; all of them if absent.
    pub cohort: Option<u16>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calculation {
    /// N.
    pub nodes: u16,
    /// Agencies invited to a round.
    pub cohort: u16,
    /// Lanes of a vector.
    pub dim: u32,
    /// Bits of a lane.
    pub bits: u8,
    /// `complete` or `sparse`.
    pub graph: &'static str,
    /// Peers of a node.
    pub degree: u16,
    /// C, agencies that may work for the aggregator.
    pub corrupt: u16,
    /// tau, signatures of a quorum.
    pub quorum: u16,
    /// Shares that open a seed.
    pub shamir_t: u16,
    /// Smallest survivor set that is opened.
    pub u_min: u16,
    /// Agencies of the cohort that may be missing.
    pub tolerated_dropouts: u16,
    /// Honest agencies that are in every sum at least.
    pub honest_survivors: u16,
    /// Largest integer that every agency may put into a lane without the sum wrapping.
    pub max_value: u64,
    /// Bytes of one round.
    pub traffic: Traffic,
    /// Seconds of one round on this machine, computation only.
    pub times: Times,
}

/// The thresholds of settings, or the sentence that says what to change.
///
/// # Errors
/// [`SimulationError::Settings`] if the numbers do not protect the agencies, cannot be met, or the
/// sum could wrap.
pub fn thresholds(settings: &Settings) -> Result<Thresholds, SimulationError> {
    let refuse = |text: String| Err(SimulationError::Settings(text));
    let solved = Thresholds::solve(
        settings.nodes,
        settings.corrupt,
        settings.dropout,
        settings.min_survivors,
    );
    let mut thresholds = solved.map_err(|e| SimulationError::Settings(e.to_string()))?;
    if let Some(shamir_t) = settings.shamir_t {
        thresholds.shamir_t = shamir_t;
        thresholds.check().map_err(|e| SimulationError::Settings(e.to_string()))?;
    }
    let cohort = settings.cohort.unwrap_or(settings.nodes);
    if cohort > settings.nodes {
        return refuse(format!(
            "a cohort of {cohort} out of {} agencies: invite at most all of them",
            settings.nodes
        ));
    }
    if cohort < thresholds.u_min {
        return refuse(format!(
            "a cohort of {cohort} agencies is below the floor: no sum over fewer than {} of {} is \
             opened. Invite more, or expect more dropouts (--dropout) so that the floor is lower",
            thresholds.u_min, settings.nodes
        ));
    }
    Ok(thresholds)
}

/// Everything that follows from settings, with this machine's rates.
///
/// # Errors
/// As [`thresholds`]; also if the lanes are too narrow for the values.
pub fn calculate(settings: &Settings, rates: &Rates) -> Result<Calculation, SimulationError> {
    let t = thresholds(settings)?;
    let Some(bits) = LaneBits::new(settings.bits) else {
        let text = format!("lanes of {} bits: between 1 and 32 are possible", settings.bits);
        return Err(SimulationError::Settings(text));
    };
    if settings.dim == 0 {
        return Err(SimulationError::Settings("a vector of no lanes: --dim is at least 1".into()));
    }
    let max_value = check_range(settings, bits)?;
    let cohort = settings.cohort.unwrap_or(settings.nodes);
    let shape = Shape { thresholds: t, cohort, dim: settings.dim, bits };
    Ok(Calculation {
        nodes: t.n,
        cohort,
        dim: settings.dim,
        bits: settings.bits,
        graph: if t.is_complete() { "complete" } else { "sparse" },
        degree: t.degree,
        corrupt: t.corrupt,
        quorum: t.quorum,
        shamir_t: t.shamir_t,
        u_min: t.u_min,
        tolerated_dropouts: t.tolerated_dropouts(cohort),
        honest_survivors: t.u_min.saturating_sub(t.corrupt),
        max_value,
        traffic: Traffic::of(&shape),
        times: Times::of(&shape, settings.dropout, rates),
    })
}

/// The largest value a lane takes from every agency, if the asked one does not wrap the sum.
fn check_range(settings: &Settings, bits: LaneBits) -> Result<u64, SimulationError> {
    let half = 1u64 << (bits.bits() - 1);
    let n = u64::from(settings.nodes);
    let most = (half - 1) / n;
    match settings.max_value {
        Some(asked) if asked > most => {
            let sum = u128::from(asked) * u128::from(n);
            let needed = 129 - sum.leading_zeros();
            let way_out = if needed <= 32 {
                format!("use lanes of {needed} bits (--bits {needed})")
            } else {
                format!(
                    "no lane holds that; clip or scale the values to at most {}",
                    ((1u64 << 31) - 1) / n
                )
            };
            Err(SimulationError::Settings(format!(
                "the sum could wrap: {n} agencies with values up to {asked} reach {sum}, lanes of \
                 {} bits end at {}; {way_out}",
                bits.bits(),
                half - 1
            )))
        }
        _ => Ok(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn settings(nodes: u16) -> Settings {
        Settings {
            nodes,
            dim: 1000,
            dropout: 0.2,
            corrupt: 0.2,
            min_survivors: 5,
            bits: 32,
            max_value: None,
            shamir_t: None,
            cohort: None,
        }
    }

    fn refused(settings: &Settings) -> String {
        calculate(settings, &Rates::of_reference()).unwrap_err().to_string()
    }

    #[test]
    fn the_numbers_are_those_of_the_protocol() {
        let c = calculate(&settings(10), &Rates::of_reference()).unwrap();
        assert_eq!((c.graph, c.degree, c.corrupt, c.quorum), ("complete", 9, 2, 7));
        assert_eq!((c.shamir_t, c.u_min, c.tolerated_dropouts), (7, 8, 2));
        assert_eq!(c.honest_survivors, 6);
        let large = Settings { dropout: 0.05, corrupt: 0.05, ..settings(500) };
        let c = calculate(&large, &Rates::of_reference()).unwrap();
        assert_eq!(c.graph, "sparse");
        assert!(c.degree < 100 && c.shamir_t < c.degree, "{c:?}");
    }

    #[test]
    fn mistakes_are_refused_with_the_way_out() {
        let low = refused(&Settings { shamir_t: Some(5), ..settings(10) });
        assert!(low.contains("shamir_t is 5") && low.contains("at least 7"), "{low}");
        let wrap = refused(&Settings { bits: 16, max_value: Some(5000), ..settings(10) });
        assert!(wrap.contains("could wrap") && wrap.contains("--bits 17"), "{wrap}");
        assert!(
            calculate(
                &Settings { bits: 17, max_value: Some(5000), ..settings(10) },
                &Rates::of_reference()
            )
            .is_ok()
        );
        let wide = refused(&Settings { max_value: Some(1 << 40), ..settings(10) });
        assert!(wide.contains("clip or scale"), "{wide}");
        let few = refused(&Settings { cohort: Some(6), ..settings(10) });
        assert!(few.contains("below the floor") && few.contains("fewer than 8 of 10"), "{few}");
        let floor = refused(&Settings { min_survivors: 12, ..settings(10) });
        assert!(floor.contains("u_min is 12"), "{floor}");
        assert!(refused(&Settings { bits: 33, ..settings(10) }).contains("between 1 and 32"));
        assert!(refused(&Settings { corrupt: 1.5, ..settings(10) }).contains("corrupt fraction"));
    }
}
