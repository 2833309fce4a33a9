//! Private gradients against a naive loop over units with ordinary autograd.

mod bounds;
mod convolutional;
mod encoder;
mod layers;
mod transformer;
mod units;

use tch::{Kind, Tensor};

use super::gradient::to_f64;
use super::{
    Examples, Network, Parameters, PrivateError, Settings, Tape, clipped_sum, plain_gradient,
};

/// A network made of a closure.
pub(super) struct Net<F>(pub(super) F);

impl<F> Network for Net<F>
where
    F: Fn(&mut Tape<'_>, &[Tensor]) -> Result<Tensor, PrivateError>,
{
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        (self.0)(tape, inputs)
    }
}

/// Values in [-1, 1) without any order, a function of the seed.
pub(super) fn values(shape: &[i64], seed: u64, kind: Kind) -> Tensor {
    let mut p = Parameters::new(kind, seed);
    let id = p.add("x", shape, super::Init::Uniform(1.0)).unwrap();
    p.value(id).unwrap().copy()
}

/// Indices below `below`, a function of the seed.
pub(super) fn indices(shape: &[i64], below: i64, seed: u64) -> Tensor {
    let values = (values(shape, seed, Kind::Double) + 1.0) * (below as f64 / 2.0);
    values.floor().clamp(0.0, (below - 1) as f64).to_kind(Kind::Int64)
}

/// Gradient of each unit by ordinary autograd, flat, f64.
pub(super) fn naive(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    lengths: &[usize],
) -> Vec<Vec<f64>> {
    let mut row = 0;
    let mut all = Vec::new();
    for &length in lengths {
        let part: Vec<Tensor> =
            inputs.iter().map(|input| input.narrow(0, row, length as i64)).collect();
        let sums = plain_gradient(network, parameters, &part).unwrap();
        all.push(sums.iter().flat_map(|sum| to_f64(sum).unwrap()).collect());
        row += length as i64;
    }
    all
}

pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Sum of the units' gradients, each clipped, by the naive loop.
pub(super) fn naive_clipped(gradients: &[Vec<f64>], clip: f64) -> Vec<f64> {
    let mut sum = vec![0.0; gradients[0].len()];
    for gradient in gradients {
        let factor = (clip / norm(gradient)).min(1.0);
        sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += factor * g);
    }
    sum
}

pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// Asserts that private sums equal the naive ones: units are rows, several clips (some units
/// clipped and some not), several microbatches.
pub(super) fn agrees(network: &dyn Network, parameters: &Parameters, inputs: &[Tensor]) {
    let rows = inputs[0].size()[0] as usize;
    let lengths = vec![1; rows];
    agrees_by_units(network, parameters, inputs, &lengths, 1, &[rows, 2, rows + 3]);
}

pub(super) fn agrees_by_units(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    lengths: &[usize],
    max_rows: usize,
    microbatches: &[usize],
) {
    let gradients = naive(network, parameters, inputs, lengths);
    let mut norms: Vec<f64> = gradients.iter().map(|g| norm(g)).collect();
    norms.sort_by(f64::total_cmp);
    assert!(norms[0] > 0.0, "a gradient without a norm tells nothing");
    for clip in [norms[0] / 3.0, norms[norms.len() / 2], norms[norms.len() - 1] * 2.0] {
        let wanted = naive_clipped(&gradients, clip);
        for &microbatch in microbatches {
            let settings = Settings {
                max_rows_per_unit: max_rows,
                magnitude_slack: 1e-9,
                ..Settings::rows(clip, microbatch)
            };
            let examples = Examples { inputs, units: Some(lengths) };
            let found = clipped_sum(network, parameters, &examples, &settings).unwrap();
            assert_eq!((found.units, found.non_finite), (lengths.len(), 0));
            let error = distance(&found.flat().unwrap(), &wanted) / norm(&wanted);
            let allowed = if parameters.kind() == Kind::Double { 1e-8 } else { 1e-6 };
            assert!(error < allowed, "clip {clip}, microbatch {microbatch}: {error:e}");
        }
    }
}

/// A loss that depends on everything unevenly: `sum(sin(value * weights))` of each row.
pub(super) fn probe_loss(value: &Tensor) -> Tensor {
    let flat = value.flatten(1, -1);
    let weights = values(&[flat.size()[1]], 77, value.kind()) * 2.0;
    (flat * weights).sin().sum_dim_intlist(1, false, None::<Kind>)
}

pub(super) const KINDS: [Kind; 2] = [Kind::Float, Kind::Double];

#[test]
fn the_naive_loop_itself_is_right() {
    // y = w x, loss y^2 / 2: gradient w x^2, clipped to 1.
    let mut parameters = Parameters::new(Kind::Double, 0);
    let w = parameters.add("w", &[1, 1], super::Init::Ones).unwrap();
    let network = Net(|tape: &mut Tape<'_>, inputs: &[Tensor]| {
        let y = tape.linear(&inputs[0], w, None)?;
        Ok(y.square().squeeze_dim(1) / 2.0)
    });
    let inputs = [Tensor::from_slice(&[0.5f64, 2.0, -3.0]).view([3, 1])];
    let gradients = naive(&network, &parameters, &inputs, &[1, 1, 1]);
    assert_eq!(gradients, [[0.25], [4.0], [9.0]]);
    assert_eq!(naive_clipped(&gradients, 1.0), [2.25]);
    let found = clipped_sum(
        &network,
        &parameters,
        &Examples { inputs: &inputs, units: None },
        &Settings::rows(1.0, 2),
    );
    assert!((found.unwrap().flat().unwrap()[0] - 2.25).abs() < 1e-6);
}
