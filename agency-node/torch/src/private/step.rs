//! One private step: the sum of clipped unit gradients over any number of rows.
//!
//! Cuts the examples into microbatches of one fixed shape, whole units each, so that memory does
//! not depend on the number of rows. Where a unit stands depends on the units before it; that its
//! place does not change its bits is a property of the machine's kernels, which
//! [`independence`](super::independence) tries.

use tch::Tensor;
use tributary_training::clipping::{ClipNorm, Weighting};

use super::gradient::{gradients, to_f64};
use super::sums::Sums;
use super::units::Grouping;
use super::{Network, Parameters, PrivateError, Tape};

/// Rows to compute on.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// What the network takes, each `[N, ...]`.
    pub inputs: &'a [Tensor],
    /// For each unit its number of consecutive rows, N in all; `None`: each row is a unit.
    pub units: Option<&'a [usize]>,
}

/// How to clip, and in which pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Bound of a unit's gradient in L2.
    pub clip_norm: f64,
    /// Rows of a microbatch, padding included.
    pub microbatch: usize,
    /// Most rows of a unit; 1 where units are rows.
    pub max_rows_per_unit: usize,
    /// Share of a unit's magnitude (the sum of the absolute values of all terms of its gradient,
    /// in L2) that is added to its norm. It bounds what rounding makes of terms that cancel; see
    /// [`float_error`].
    pub magnitude_slack: f64,
}

impl Settings {
    /// [`Settings::magnitude_slack`] where nothing else is needed.
    pub const MAGNITUDE_SLACK: f64 = 1e-7;

    /// Each row is a unit.
    pub fn rows(clip_norm: f64, microbatch: usize) -> Self {
        let magnitude_slack = Self::MAGNITUDE_SLACK;
        Self { clip_norm, microbatch, max_rows_per_unit: 1, magnitude_slack }
    }
}

/// A sum of clipped gradients.
#[derive(Debug)]
pub struct ClippedGradient {
    /// One f64 tensor for each trainable parameter, in their order and shapes.
    pub sums: Vec<Tensor>,
    /// Units in the sum.
    pub units: usize,
    /// Units that added exact zeros because something in their gradient was not finite. It depends
    /// on the data and must not leave the agency.
    pub non_finite: usize,
}

impl ClippedGradient {
    /// The flat sum, length d.
    ///
    /// # Errors
    /// A failure of libtorch.
    pub fn flat(&self) -> Result<Vec<f64>, PrivateError> {
        let mut flat = Vec::with_capacity(self.sums.iter().map(Tensor::numel).sum());
        for sum in &self.sums {
            flat.extend(to_f64(sum)?);
        }
        Ok(flat)
    }
}

/// The sum over units of their gradients, each clipped to [`Settings::clip_norm`] in L2 (Abadi et
/// al. 2016, Algorithm 1, before the noise). Exact zeros for no rows.
///
/// # Errors
/// Settings out of range, examples that do not fit (also a unit with more rows than settings
/// allow), a network put together wrongly, or a failure of libtorch.
pub fn clipped_sum(
    network: &dyn Network,
    parameters: &Parameters,
    examples: &Examples<'_>,
    settings: &Settings,
) -> Result<ClippedGradient, PrivateError> {
    let weighting = Weighting::Clip(ClipNorm::new(settings.clip_norm)?);
    let lengths = check(examples, settings)?;
    let mut sums = Sums::zeros(parameters);
    let (mut non_finite, mut units, mut row) = (0, 0, 0);
    let dimension = parameters.dimension();
    let step = settings.microbatch;
    for group in pack(&lengths, step) {
        let count: usize = group.iter().sum();
        let inputs = slice(examples.inputs, row, count, step)?;
        let grouping = Grouping::of_lengths(group, settings.max_rows_per_unit, step)?;
        let gradients = gradients(network, parameters, &inputs, step, &grouping)?;
        let norms = gradients.squared_norms(dimension, settings.magnitude_slack)?;
        non_finite += gradients.add_to(&mut sums, parameters, &norms, weighting)?;
        row += count;
        units += group.len();
    }
    Ok(ClippedGradient { sums: sums.into_tensors()?, units, non_finite })
}

/// The sum over rows of their gradients without clipping, by ordinary backward passes: for
/// baselines, and for the mode without privacy. One tensor for each trainable parameter, in the
/// kind of the network.
///
/// # Errors
/// Examples that do not fit, or a failure of libtorch.
pub fn plain_gradient(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, PrivateError> {
    let mut tape = Tape::differentiable(parameters)?;
    let losses = network.losses(&mut tape, inputs)?;
    let leaves = tape.leaves();
    let loss = losses.f_sum(losses.kind())?;
    let gradients = Tensor::f_run_backward(&[loss], &leaves, false, false)?;
    let filled = |(gradient, leaf): (Tensor, &Tensor)| match gradient.defined() {
        true => Ok(gradient),
        false => Ok(leaf.f_detach()?.f_zeros_like()?),
    };
    gradients.into_iter().zip(&leaves).map(filled).collect()
}

/// Relative increase eta of the sensitivity of [`ClippedGradient::sums`]: for two sets of examples
/// that differ in one unit the computed sums differ by at most `clip_norm * (1 + eta)` in L2,
/// provided a unit's bits do not depend on the other units.
///
/// `max_units` bounds the units of a step, `terms_per_unit` the terms that an entry of a unit's
/// gradient is summed from (positions times rows; 1 for networks over single vectors).
///
/// # Derivation
/// As in [`tributary_training::float_error`], with `k` roundings along the way of a term: at most
/// `microbatch * terms_per_unit` within a microbatch, then one for each microbatch. A sum errs by
/// at most `gamma_k` times the sum of the absolute values of its terms. For a single term a unit
/// these are the clipped gradients, at most C in L2 each. Otherwise they are bounded by the unit's
/// magnitude M, and since the norm that divides C contains `magnitude_slack * M`, by
/// `C / magnitude_slack`.
pub fn float_error(max_units: usize, terms_per_unit: usize, settings: &Settings) -> f64 {
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;
    let units = max_units.max(1) as f64;
    // Units are packed whole: at worst every microbatch holds one.
    let microbatches = match settings.max_rows_per_unit {
        0 | 1 => max_units.div_ceil(settings.microbatch.max(1)),
        _ => max_units,
    };
    let terms = settings.microbatch.saturating_mul(terms_per_unit.max(1));
    let depth = terms as f64 + microbatches as f64 + 8.0;
    let gamma = depth * UNIT_ROUNDOFF / (1.0 - depth * UNIT_ROUNDOFF);
    let single = terms_per_unit <= 1 && settings.max_rows_per_unit <= 1;
    let share = if single { 1.0 } else { settings.magnitude_slack };
    2.0 * units * gamma / share * (1.0 + 1e-9)
}

/// The units' lengths, after a check of everything that the caller chose.
fn check(examples: &Examples<'_>, settings: &Settings) -> Result<Vec<usize>, PrivateError> {
    let Settings { microbatch, max_rows_per_unit, magnitude_slack, .. } = *settings;
    if microbatch == 0 || max_rows_per_unit == 0 || max_rows_per_unit > microbatch {
        let message = format!("{max_rows_per_unit} rows a unit in microbatches of {microbatch}");
        return Err(PrivateError::Settings(message));
    }
    if !(1e-12..=1.0).contains(&magnitude_slack) {
        let message = format!("a magnitude slack of {magnitude_slack}, not within 1e-12..=1");
        return Err(PrivateError::Settings(message));
    }
    let rows = examples.inputs.first().and_then(|input| input.size().first().copied());
    let rows = rows.ok_or_else(|| PrivateError::Examples("no input has rows".into()))?;
    if examples.inputs.iter().any(|input| input.size().first() != Some(&rows)) {
        return Err(PrivateError::Examples("inputs have different numbers of rows".into()));
    }
    let rows = rows as usize;
    let Some(lengths) = examples.units else { return Ok(vec![1; rows]) };
    if let Some(bad) = lengths.iter().find(|length| !(1..=max_rows_per_unit).contains(*length)) {
        let message = format!("a unit has {bad} rows, the settings allow 1 to {max_rows_per_unit}");
        return Err(PrivateError::Examples(message));
    }
    match lengths.iter().sum::<usize>() == rows {
        true => Ok(lengths.to_vec()),
        false => Err(PrivateError::Examples(format!("the units do not have {rows} rows in all"))),
    }
}

/// Units in order, as many whole ones at a time as fit into `rows` rows.
fn pack(lengths: &[usize], rows: usize) -> Vec<&[usize]> {
    let (mut groups, mut start, mut filled) = (Vec::new(), 0, 0);
    for (i, &length) in lengths.iter().enumerate() {
        if filled + length > rows {
            groups.push(&lengths[start..i]);
            (start, filled) = (i, 0);
        }
        filled += length;
    }
    if filled > 0 {
        groups.push(&lengths[start..]);
    }
    groups
}

/// `count` rows from `row` on, padded with zeros to `rows`.
fn slice(
    inputs: &[Tensor],
    row: usize,
    count: usize,
    rows: usize,
) -> Result<Vec<Tensor>, PrivateError> {
    let part = |input: &Tensor| -> Result<Tensor, PrivateError> {
        let part = input.f_narrow(0, row as i64, count as i64)?;
        if count == rows {
            return Ok(part);
        }
        let mut size = part.size();
        size[0] = (rows - count) as i64;
        let padding = Tensor::f_zeros(&size[..], (part.kind(), part.device()))?;
        Ok(Tensor::f_cat(&[part, padding], 0)?)
    };
    inputs.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_stay_whole_and_in_order() {
        assert_eq!(pack(&[1, 1, 1, 1, 1], 2), [&[1, 1][..], &[1, 1], &[1]]);
        assert_eq!(pack(&[2, 3, 1, 4, 1], 4), [&[2][..], &[3, 1], &[4], &[1]]);
        assert!(pack(&[], 4).is_empty());
    }

    #[test]
    fn the_float_bound_is_small_where_it_is_used() {
        let rows = Settings::rows(1.0, 256);
        assert!(float_error(10_000, 1, &rows) < 1e-9);
        let sequences = Settings::rows(1.0, 16);
        let error = float_error(1000, 128, &sequences);
        assert!(error > 1e-6 && error < 0.01, "{error}");
        assert!(float_error(2000, 128, &sequences) > error);
        let persons = Settings { max_rows_per_unit: 4, ..rows };
        assert!(float_error(100, 1, &persons) > float_error(100, 1, &rows));
    }
}
