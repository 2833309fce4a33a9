//! A clipped unit never exceeds the clip norm, also where Gram matrices cancel.

use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::{Net, naive, norm, values};
use crate::private::gradient::gradients;
use crate::private::nn::Linear;
use crate::private::units::Grouping;
use crate::private::{Examples, Init, Parameters, Settings, Tape, clipped_sum, models};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The sum over one unit is its clipped gradient.
    #[test]
    fn one_units_sum_is_within_the_clip(
        seed in 0u64..1000, clip in 1e-6f64..10.0, scale in -3f64..3.0, rms in any::<bool>(),
        terms in 1i64..7, width in 1i64..9,
    ) {
        let mut p = Parameters::new(Kind::Float, seed);
        let linear = Linear::new(&mut p, "l", width, 5, true).unwrap();
        let weight = p.add("w", &[5], Init::Uniform(1.0)).unwrap();
        let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
            let value = linear.forward(t, &x[0])?;
            let value = match rms {
                true => t.rms_norm(&value, weight, 1e-6)?,
                false => t.layer_norm(&value, weight, None, 1e-5)?,
            };
            let value = linear.forward(t, &value.narrow(2, 0, 1).expand([1, terms, width], false))?;
            Ok(value.sin().flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>))
        });
        let x = values(&[1, terms, width], seed, Kind::Float) * 10f64.powf(scale);
        let inputs = [x];
        let examples = Examples { inputs: &inputs, units: None };
        let sum = clipped_sum(&network, &p, &examples, &Settings::rows(clip, 1)).unwrap();
        let found = norm(&sum.flat().unwrap());
        prop_assert!(found <= clip, "{found} > {clip}");
        let true_norm = norm(&naive(&network, &p, &inputs, &[1])[0]);
        // Not needlessly small either.
        prop_assert!(found >= clip.min(true_norm) * (1.0 - 1e-4), "{found} of {true_norm}");
    }
}

/// Positions in pairs whose gradients cancel but for one part in 10^7: a Gram matrix of f32, or
/// one of f64 without its error, would find a norm far too small or none.
#[test]
fn cancelling_positions_do_not_escape_the_clip() {
    let mut p = Parameters::new(Kind::Float, 1);
    let linear = Linear::new(&mut p, "l", 8, 8, false).unwrap();
    let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
        let value = linear.forward(t, &x[0])?;
        Ok((value * &x[1]).flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>))
    });
    let half = values(&[1, 2, 8], 2, Kind::Float);
    let weights = values(&[1, 2, 8], 3, Kind::Float);
    let nearly = &half * (1.0 + 1e-6);
    let inputs =
        [Tensor::cat(&[&half, &nearly], 1) * 1e4, Tensor::cat(&[&weights, &(-&weights)], 1) * 1e4];
    // The gradient is linear in what is recorded, so f64 has it exactly but for 1e-16.
    let wide = inputs.each_ref().map(|t| t.to_kind(Kind::Double));
    let exact = wide[1].transpose(1, 2).bmm(&wide[0]);
    let exact = f64::try_from(exact.square().sum(Kind::Double)).unwrap().sqrt();
    let grouping = Grouping::single_rows(1);
    let found = gradients(&network, &p, &inputs, 1, &grouping).unwrap();
    let bound = found.squared_norms(p.dimension(), Settings::MAGNITUDE_SLACK).unwrap()[0].sqrt();
    assert!(exact > 0.0 && bound >= exact, "{bound} {exact}");
    // In f32 the cancellation is total: the squared norm is below zero or off by its own size.
    let gram = |t: &Tensor| t.bmm(&t.transpose(1, 2));
    let single = f64::try_from((gram(&inputs[0]) * gram(&inputs[1])).sum(Kind::Float)).unwrap();
    assert!((single - exact * exact).abs() > 0.1 * exact * exact, "{single} {}", exact * exact);
    for clip in [1e-3, exact / 2.0] {
        let examples = Examples { inputs: &inputs, units: None };
        let sum = clipped_sum(&network, &p, &examples, &Settings::rows(clip, 1)).unwrap();
        assert!(norm(&sum.flat().unwrap()) <= clip);
    }
}

#[test]
fn norms_are_upper_bounds_and_tight() {
    let mut p = Parameters::new(Kind::Double, 1);
    let network = models::emb(&mut p, 50, 16, 24, 10).unwrap();
    let inputs = [super::indices(&[6, 12], 50, 2), super::indices(&[6], 10, 3)];
    let found = gradients(&network, &p, &inputs, 6, &Grouping::single_rows(6)).unwrap();
    let bounds = found.squared_norms(p.dimension(), Settings::MAGNITUDE_SLACK).unwrap();
    for (bound, exact) in bounds.iter().zip(naive(&network, &p, &inputs, &[1; 6])) {
        let ratio = bound.sqrt() / norm(&exact);
        assert!((1.0..1.0 + 1e-5).contains(&ratio), "{ratio}");
    }
}
