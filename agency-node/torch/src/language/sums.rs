//! Sums of gradients over windows: clipped by window, clipped by person, or as they are.
//!
//! Knows how microbatches are made; factors come from `tributary_training::clipping`.

use tributary_training::ClippedSum;
use tributary_training::clipping::Weighting;

use super::LanguageTrainer;
use super::windows::Windows;
use crate::private::gradient::{gradients, to_f64};
use crate::private::sums::Sums;
use crate::private::units::Grouping;
use crate::private::{PrivateError, Settings, plain_gradient};

/// Each window is a unit. Every microbatch has the same shape, filled up with windows that count
/// nothing, so that no kernel sees how many were drawn.
pub(super) fn by_window(
    trainer: &LanguageTrainer,
    windows: &Windows,
    weighting: Weighting,
    settings: &Settings,
) -> Result<ClippedSum, PrivateError> {
    let parameters = &trainer.parameters;
    let rows = settings.microbatch;
    let mut sums = Sums::zeros(parameters);
    let (mut non_finite, mut within) = (0, 0);
    for start in (0..windows.len()).step_by(rows) {
        let inputs = windows.padded(start, rows)?.tensors;
        let grouping = Grouping::single_rows(rows);
        let gradients = gradients(&trainer.network, parameters, &inputs, rows, &grouping)?;
        let mut norms =
            gradients.squared_norms(parameters.dimension(), settings.magnitude_slack)?;
        let real = rows.min(windows.len() - start);
        for (row, norm) in norms.iter_mut().enumerate().take(real) {
            if windows.is_bad(start + row) {
                *norm = f64::NAN;
            }
            within += usize::from(weighting.factor(*norm) == Some(1.0));
        }
        if norms.iter().skip(real).any(|norm| *norm != 0.0) {
            // Only parameters that are not finite make something of nothing: all rows are lost then.
            norms.fill(f64::NAN);
        }
        gradients.add_to(&mut sums, parameters, &norms, weighting)?;
        non_finite += norms.iter().take(real).filter(|norm| !norm.is_finite()).count();
    }
    Ok(ClippedSum { sum: flat(sums)?, non_finite, within })
}

fn flat(sums: Sums) -> Result<Vec<f64>, PrivateError> {
    let mut out = Vec::new();
    for tensor in sums.into_tensors()? {
        out.extend(to_f64(&tensor)?);
    }
    Ok(out)
}

/// Each unit is a person, whose gradient is computed apart from everybody else's and summed in f64.
///
/// The sum over units has one term a unit, each rounded once from a gradient that depends on that unit
/// alone, so `tributary_training::float_error` bounds it.
pub(super) fn by_person(
    trainer: &LanguageTrainer,
    windows: &Windows,
    weighting: Weighting,
) -> Result<ClippedSum, PrivateError> {
    let dimension = trainer.parameters.dimension();
    let mut out = ClippedSum::zeros(dimension);
    let mut own = vec![0.0; dimension];
    // What summing so many squares in f64 may lose.
    let rounding = 1.0 + (dimension + 64) as f64 * f64::EPSILON;
    let mut start = 0;
    for length in windows.units().unwrap_or_default() {
        let rows = start..start + length;
        start += length;
        let factor = match rows.clone().any(|row| windows.is_bad(row)) {
            true => None,
            false => {
                own.fill(0.0);
                add_plain(trainer, windows, rows.start, rows.end, &mut own)?;
                let squared: f64 = own.iter().map(|v| v * v).sum();
                weighting.factor(squared * rounding)
            }
        };
        let Some(factor) = factor else {
            out.non_finite += 1;
            continue;
        };
        out.within += usize::from(factor == 1.0);
        out.sum.iter_mut().zip(&own).for_each(|(sum, v)| *sum += factor * v);
    }
    Ok(out)
}

/// Without clipping. Not finite where a gradient is not.
pub(super) fn plain(
    trainer: &LanguageTrainer,
    windows: &Windows,
) -> Result<Vec<f64>, PrivateError> {
    let mut out = vec![0.0; trainer.parameters.dimension()];
    add_plain(trainer, windows, 0, windows.len(), &mut out)?;
    Ok(out)
}

/// Adds the gradients of the windows from `start` to `end`, a microbatch at a time.
fn add_plain(
    trainer: &LanguageTrainer,
    windows: &Windows,
    start: usize,
    end: usize,
    sum: &mut [f64],
) -> Result<(), PrivateError> {
    let step = trainer.microbatch;
    for first in (start..end).step_by(step) {
        let inputs = windows.slice(first, step.min(end - first))?.tensors;
        let mut rest = &mut *sum;
        for gradient in plain_gradient(&trainer.network, &trainer.parameters, &inputs)? {
            let gradient = to_f64(&gradient)?;
            let (here, after) = rest.split_at_mut(gradient.len());
            here.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += v);
            rest = after;
        }
    }
    Ok(())
}
