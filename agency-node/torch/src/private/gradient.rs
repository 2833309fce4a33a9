//! One microbatch: forward, one backward pass, norms, and the weighted sums.
//!
//! Knows how gradients are made and not how examples are cut into microbatches.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, no_grad};
use tributary_training::clipping::Weighting;

use super::contribution::{Contribution, merge};
use super::ops::{Form, forms};
use super::sums::Sums;
use super::tape::{Network, Tape};
use super::units::Grouping;
use super::{ParameterId, Parameters, PrivateError};

/// The units' gradients of one microbatch by every trainable parameter that took part.
pub(crate) struct Gradients {
    by_parameter: Vec<(ParameterId, Contribution)>,
    units: usize,
}

/// Forward and one backward pass over `rows` rows.
pub(crate) fn gradients(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    rows: usize,
    grouping: &Grouping,
) -> Result<Gradients, PrivateError> {
    let mut by_parameter: BTreeMap<ParameterId, Vec<Form>> = BTreeMap::new();
    for (record, form) in row_forms(network, parameters, inputs, rows)? {
        by_parameter.entry(record).or_default().push(no_grad(|| grouping.group(form))?);
    }
    let merged = |(id, forms)| -> Result<_, PrivateError> {
        let first = parameters.value(id)?.size().first().copied().unwrap_or(1);
        Ok((id, no_grad(|| merge(forms, first))?))
    };
    let by_parameter = by_parameter.into_iter().map(merged).collect::<Result<_, _>>()?;
    Ok(Gradients { by_parameter, units: grouping.units() })
}

/// The forms of the rows' gradients, in the order of the pass.
pub(crate) fn row_forms(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    rows: usize,
) -> Result<Vec<(ParameterId, Form)>, PrivateError> {
    let mut tape = Tape::recording(parameters, rows as i64);
    let losses = network.losses(&mut tape, inputs)?;
    if losses.size() != [rows as i64] {
        let message = format!("losses of shape {:?} for {rows} rows", losses.size());
        return Err(PrivateError::Network(message));
    }
    let records = tape.into_records();
    let outputs: Vec<&Tensor> = records.iter().map(|record| &record.output).collect();
    if outputs.is_empty() {
        return Err(PrivateError::Network("no trainable parameter takes part".into()));
    }
    let loss = losses.f_sum(losses.kind())?;
    let gradients = Tensor::f_run_backward(&[loss], &outputs, false, false)?;
    let mut all = Vec::new();
    for (record, gradient) in records.iter().zip(&gradients) {
        // An output that the loss does not depend on has no gradient.
        if !gradient.defined() {
            continue;
        }
        let (weight, bias) = no_grad(|| forms(record, gradient))?;
        all.extend(record.weight.zip(weight));
        all.extend(record.bias.zip(bias));
    }
    Ok(all)
}

impl Gradients {
    /// Squared upper bounds of the units' norms, f64: `(|g| + slack * M)^2` with the magnitude M.
    /// Not finite where anything in a unit's gradient is not.
    pub(crate) fn squared_norms(
        &self,
        dimension: usize,
        slack: f64,
    ) -> Result<Vec<f64>, PrivateError> {
        let (mut squared, mut magnitude) = (vec![0.0; self.units], vec![0.0; self.units]);
        for (_, contribution) in &self.by_parameter {
            let here = to_f64(&contribution.squared)?;
            squared.iter_mut().zip(&here).for_each(|(sum, value)| *sum += value);
            let terms = match &contribution.magnitude {
                Some(magnitude) => to_f64(&magnitude.f_square()?)?,
                None => here,
            };
            magnitude.iter_mut().zip(&terms).for_each(|(sum, value)| *sum += value);
        }
        // What summing d squares in f64 may lose.
        let rounding = 1.0 + (dimension + 64) as f64 * f64::EPSILON;
        let bound = |(squared, magnitude): (&f64, &f64)| {
            ((squared * rounding).sqrt() + slack * magnitude.sqrt()).powi(2)
        };
        Ok(squared.iter().zip(&magnitude).map(bound).collect())
    }

    /// Adds every unit's gradient with its weight to the sums; returns how many units were not
    /// finite and added exact zeros.
    pub(crate) fn add_to(
        &self,
        sums: &mut Sums,
        parameters: &Parameters,
        squared_norms: &[f64],
        weighting: Weighting,
    ) -> Result<usize, PrivateError> {
        let weights: Vec<Option<f64>> =
            squared_norms.iter().map(|squared| weighting.factor(*squared)).collect();
        let missing: Vec<bool> = weights.iter().map(Option::is_none).collect();
        let non_finite = missing.iter().filter(|missing| **missing).count();
        let weights: Vec<f64> = weights.iter().map(|weight| weight.unwrap_or(0.0)).collect();
        let weights = Tensor::f_from_slice(&weights)?;
        let dropped = match non_finite {
            0 => None,
            _ => Some(Tensor::f_from_slice(&missing)?),
        };
        let places: BTreeMap<ParameterId, usize> =
            parameters.trainable().enumerate().map(|(place, (id, _, _))| (id, place)).collect();
        for (id, contribution) in &self.by_parameter {
            let place = places.get(id).copied().unwrap_or(usize::MAX);
            for part in &contribution.parts {
                no_grad(|| sums.add(place, part, &weights, dropped.as_ref()))?;
            }
        }
        Ok(non_finite)
    }
}

/// The values of a tensor in f64.
pub(crate) fn to_f64(tensor: &Tensor) -> Result<Vec<f64>, PrivateError> {
    let tensor = tensor.f_to_kind(Kind::Double)?.f_contiguous()?;
    let mut out = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut out, tensor.numel())?;
    Ok(out)
}
