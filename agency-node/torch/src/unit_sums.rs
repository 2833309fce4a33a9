//! A network with its parameters, and sums of gradients over batches of any kind of input.
//!
//! Two ways to a clipped sum, chosen by what a unit is:
//!
//! * **Units are rows**: ghost clipping with book-keeping over microbatches of one fixed shape
//!   ([`crate::private`]). A row's bits must not depend on the other rows of its microbatch nor on its
//!   place among them. libtorch promises neither, so this machine is tried once for every network
//!   ([`independence`]); where it does not hold, rows are computed one by one, which makes it true.
//! * **Units are persons**: each person's gradient by itself, in microbatches of that person's rows
//!   alone, so that no other person is ever in the same tensor. It is one ordinary backward pass and
//!   costs what training without privacy costs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tch::{TchError, Tensor};
use tributary_job::ParameterLayout;
use tributary_job::plan::FLOAT_ERROR;
use tributary_training::clipping::{ClipNorm, Weighting};
use tributary_training::{ClippedSum, TrainerError};

use crate::private::gradient::{gradients, to_f64};
use crate::private::sums::Sums;
use crate::private::units::Grouping;
use crate::private::{
    Network, Parameters, PrivateError, Settings, float_error, independence, plain_gradient,
};

/// Rows of a batch as a network takes them.
pub(crate) trait Inputs {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Rows of each unit; `None` if each is one.
    fn units(&self) -> Option<&[usize]>;

    /// Whether a row holds what it must not: its unit contributes exact zeros.
    fn is_bad(&self, row: usize) -> bool;

    /// Rows `start..end` as tensors of `rows` rows; those beyond count nothing.
    fn tensors(&self, start: usize, end: usize, rows: usize) -> Result<Vec<Tensor>, TchError>;

    /// Whether any row is bad.
    fn any_bad(&self) -> bool {
        (0..self.len()).any(|row| self.is_bad(row))
    }
}

/// A network with its parameters.
#[derive(Debug)]
pub(crate) struct Core<N> {
    pub(crate) network: N,
    pub(crate) parameters: Parameters,
    /// Rows computed at a time.
    pub(crate) microbatch: usize,
    /// Names the network in what was tried.
    pub(crate) shape: String,
    /// Terms that an entry of a row's gradient is summed from, where they are not added up by
    /// themselves first.
    pub(crate) terms: usize,
    /// Most units that one node may hold.
    pub(crate) most_units: u64,
}

impl<N: Network> Core<N> {
    /// The parameters that are trained must be those that the job lays out, in that order.
    pub(crate) fn check_layout(&self, layout: &ParameterLayout) -> Result<(), TrainerError> {
        let ours = self.parameters.trainable().map(|(_, name, value)| (name, value.size()));
        let theirs = layout.tensors().iter().map(|tensor| {
            let shape = tensor.shape.iter().map(|size| *size as i64).collect();
            (tensor.name.as_str(), shape)
        });
        if ours.eq(theirs) {
            return Ok(());
        }
        let message = "the network's tensors are not those of the job's layout".into();
        Err(TrainerError::Backend { trainer: crate::NAME, message })
    }

    /// Sum of the units' gradients, each clipped. `probe` makes rows that are unlike each other.
    pub(crate) fn clipped(
        &self,
        inputs: &dyn Inputs,
        clip_norm: f64,
        probe: impl FnOnce() -> Result<Vec<Tensor>, TchError>,
    ) -> Result<ClippedSum, TrainerError> {
        let weighting = Weighting::Clip(ClipNorm::new(clip_norm)?);
        let sum = match inputs.units() {
            Some(_) => self.by_person(inputs, weighting),
            None => self
                .private_microbatch(probe)
                .and_then(|rows| self.by_row(inputs, weighting, &self.settings(clip_norm, rows))),
        };
        sum.map_err(crate::failed)
    }

    /// Without clipping.
    pub(crate) fn plain(&self, inputs: &dyn Inputs) -> Result<Vec<f64>, TrainerError> {
        let mut sum = vec![0.0; self.parameters.dimension()];
        self.add_plain(inputs, 0, inputs.len(), &mut sum).map_err(crate::failed)?;
        match sum.iter().all(|v| v.is_finite()) && !inputs.any_bad() {
            true => Ok(sum),
            false => Err(TrainerError::NonFinite),
        }
    }

    fn settings(&self, clip_norm: f64, microbatch: usize) -> Settings {
        settings(clip_norm, microbatch, self.terms, self.most_units)
    }

    /// Rows computed at a time where each is a unit: the job's, or one where this machine's kernels
    /// would let rows see each other.
    fn private_microbatch(
        &self,
        probe: impl FnOnce() -> Result<Vec<Tensor>, TchError>,
    ) -> Result<usize, PrivateError> {
        static FOUND: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(microbatch) = found.get(&self.shape) {
            return Ok(*microbatch);
        }
        let microbatch = match self.microbatch {
            1 => 1,
            many => {
                let seen = independence(&self.network, &self.parameters, &probe()?, many)?;
                if seen.of_company && seen.of_place { many } else { 1 }
            }
        };
        found.insert(self.shape.clone(), microbatch);
        Ok(microbatch)
    }

    /// Each row is a unit. Every microbatch has the same shape, filled up with rows that count nothing,
    /// so that no kernel sees how many were drawn.
    fn by_row(
        &self,
        inputs: &dyn Inputs,
        weighting: Weighting,
        settings: &Settings,
    ) -> Result<ClippedSum, PrivateError> {
        let parameters = &self.parameters;
        let rows = settings.microbatch;
        let mut sums = Sums::zeros(parameters);
        let (mut non_finite, mut within) = (0, 0);
        for start in (0..inputs.len()).step_by(rows) {
            let real = rows.min(inputs.len() - start);
            let tensors = inputs.tensors(start, start + real, rows)?;
            let grouping = Grouping::single_rows(rows);
            let gradients = gradients(&self.network, parameters, &tensors, rows, &grouping)?;
            let mut norms =
                gradients.squared_norms(parameters.dimension(), settings.magnitude_slack)?;
            for (row, norm) in norms.iter_mut().enumerate().take(real) {
                if inputs.is_bad(start + row) {
                    *norm = f64::NAN;
                }
                within += usize::from(weighting.factor(*norm) == Some(1.0));
            }
            // What fills up has no loss, so it adds nothing; where parameters are not finite, nothing
            // times them still is not, and that must not be added either.
            norms.iter_mut().skip(real).for_each(|norm| *norm = f64::NAN);
            gradients.add_to(&mut sums, parameters, &norms, weighting)?;
            non_finite += norms.iter().take(real).filter(|norm| !norm.is_finite()).count();
        }
        let mut sum = Vec::with_capacity(parameters.dimension());
        for tensor in sums.into_tensors()? {
            sum.extend(to_f64(&tensor)?);
        }
        Ok(ClippedSum { sum, non_finite, within })
    }

    /// Each unit is a person, whose gradient is computed apart from everybody else's and summed in f64.
    ///
    /// The sum over units has one term a unit, each rounded once from a gradient that depends on that
    /// unit alone, so `tributary_training::float_error` bounds it.
    fn by_person(
        &self,
        inputs: &dyn Inputs,
        weighting: Weighting,
    ) -> Result<ClippedSum, PrivateError> {
        let dimension = self.parameters.dimension();
        let mut out = ClippedSum::zeros(dimension);
        let mut own = vec![0.0; dimension];
        // What summing so many squares in f64 may lose.
        let rounding = 1.0 + (dimension + 64) as f64 * f64::EPSILON;
        let mut start = 0;
        for length in inputs.units().unwrap_or_default() {
            let rows = start..start + length;
            start += length;
            let factor = match rows.clone().any(|row| inputs.is_bad(row)) {
                true => None,
                false => {
                    own.fill(0.0);
                    self.add_plain(inputs, rows.start, rows.end, &mut own)?;
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

    /// Adds the gradients of the rows from `start` to `end`, a microbatch at a time.
    fn add_plain(
        &self,
        inputs: &dyn Inputs,
        start: usize,
        end: usize,
        sum: &mut [f64],
    ) -> Result<(), PrivateError> {
        for first in (start..end).step_by(self.microbatch) {
            let last = end.min(first + self.microbatch);
            let tensors = inputs.tensors(first, last, last - first)?;
            let mut rest = &mut *sum;
            for gradient in plain_gradient(&self.network, &self.parameters, &tensors)? {
                let gradient = to_f64(&gradient)?;
                let (here, after) = rest.split_at_mut(gradient.len());
                here.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += v);
                rest = after;
            }
        }
        Ok(())
    }
}

/// With the least slack that keeps the rounding of sums over so many units within what every plan
/// allows for. A single term a unit cannot cancel: it needs none.
fn settings(clip_norm: f64, microbatch: usize, terms: usize, most_units: u64) -> Settings {
    let whole = Settings { magnitude_slack: 1.0, ..Settings::rows(clip_norm, microbatch) };
    if terms <= 1 {
        return Settings::rows(clip_norm, microbatch);
    }
    let error = float_error(most_units as usize, terms, &whole);
    let slack = (error / FLOAT_ERROR * (1.0 + 1e-9)).max(Settings::MAGNITUDE_SLACK);
    Settings { magnitude_slack: slack, ..whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::plan::{MAX_RECORDS_PER_NODE, MAX_WINDOWS_PER_NODE};

    #[test]
    fn rounding_stays_within_what_the_plan_allows_for() {
        for (microbatch, terms) in [(16, 256), (1, 16384), (256, 512), (8, 16384), (16, 1)] {
            let settings = settings(1.0, microbatch, terms, MAX_WINDOWS_PER_NODE);
            let error = float_error(MAX_WINDOWS_PER_NODE as usize, terms, &settings);
            assert!(error <= FLOAT_ERROR, "{microbatch} {terms}: {error}");
            assert!(settings.magnitude_slack < 0.05, "{}", settings.magnitude_slack);
        }
        for (microbatch, terms, most_slack) in [(64, 1, 1e-6), (1, 1, 1e-6), (64, 16, 0.02)] {
            let settings = settings(1.0, microbatch, terms, MAX_RECORDS_PER_NODE);
            let error = float_error(MAX_RECORDS_PER_NODE as usize, terms, &settings);
            assert!(error <= FLOAT_ERROR, "{microbatch} {terms}: {error}");
            assert!(settings.magnitude_slack < most_slack, "{}", settings.magnitude_slack);
        }
        let persons = tributary_training::float_error(MAX_RECORDS_PER_NODE as usize);
        assert!(persons <= FLOAT_ERROR);
    }
}
