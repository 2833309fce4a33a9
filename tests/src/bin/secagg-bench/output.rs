//! Times, their spread, and JSON lines. It knows nothing of what is measured.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Several times of one thing, seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the times are not longer.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// How many there are.
    pub n: usize,
}

impl Spread {
    /// The spread of some times; all zero if there are none.
    pub fn of(times: &[f64]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |position: usize| sorted.get(position).copied().unwrap_or(0.0);
        let n = sorted.len();
        let upper = at(n / 2);
        let median = if n % 2 == 1 { upper } else { f64::midpoint(upper, at((n / 2).max(1) - 1)) };
        Self { median, min: at(0), max: at(n.max(1) - 1), n }
    }
}

/// The median of some times; zero if there are none.
pub fn median(times: &[f64]) -> f64 {
    Spread::of(times).median
}

/// The result of `work`, and the seconds that it took.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// One line on standard output, at once.
///
/// # Errors
/// If it cannot be written.
pub fn print(line: &impl Serialize) -> Result<()> {
    print_json(&serde_json::to_string(line).context("a result is no JSON")?)
}

/// One line that is JSON already, in the order of its fields.
///
/// # Errors
/// If it is no JSON, or cannot be written.
pub fn print_json(text: &str) -> Result<()> {
    let text = text.trim();
    let _: serde::de::IgnoredAny =
        serde_json::from_str(text).with_context(|| format!("this is no result: {text:?}"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max, spread.n), (2.0, 1.0, 3.0, 3));
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[7.0]), 7.0);
    }
}
