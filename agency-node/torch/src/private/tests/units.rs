//! Units of several rows, values that are not finite, and what must not depend on company.

use tch::{Kind, Tensor};

use super::{Net, agrees_by_units, distance, indices, norm, probe_loss, values};
use crate::private::nn::Linear;
use crate::private::{
    Examples, Geometry, Init, Parameters, Settings, Tape, clipped_sum, independence, models,
};

#[test]
fn persons_are_summed_before_the_norm_by_every_kind_of_operation() {
    for kind in [Kind::Float, Kind::Double] {
        let mut p = Parameters::new(kind, 1);
        let w = p.add("conv", &[3, 1, 2, 2], Init::Uniform(0.5)).unwrap();
        let b = p.add("bias", &[3], Init::Uniform(0.5)).unwrap();
        let table = p.add("table", &[5, 4], Init::Uniform(0.5)).unwrap();
        let linear = Linear::new(&mut p, "l", 4, 6, true).unwrap();
        let scale = p.add("scale", &[6], Init::Uniform(1.0)).unwrap();
        let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
            let image = t.conv2d(&x[0], w, Some(b), Geometry { stride: 1, padding: 0 })?;
            let words = t.embedding(&x[1], table)?;
            let words = linear.forward(t, &words)?;
            let words = t.rms_norm(&words.tanh(), scale, 1e-6)?;
            Ok(probe_loss(&image) + probe_loss(&words))
        });
        let inputs = [values(&[8, 1, 4, 4], 2, kind), indices(&[8, 3], 5, 3)];
        agrees_by_units(&network, &p, &inputs, &[1, 3, 2, 1, 1], 3, &[8, 3, 11]);
    }
}

fn classifier() -> (Parameters, models::Emb, [Tensor; 2]) {
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::emb(&mut p, 50, 16, 24, 10).unwrap();
    (p, network, [indices(&[8, 12], 50, 2), indices(&[8], 10, 3)])
}

#[test]
fn units_that_do_not_fit_are_refused() {
    let (p, network, inputs) = classifier();
    let settings = Settings { max_rows_per_unit: 3, ..Settings::rows(1.0, 4) };
    for (units, says) in [
        (&[4, 4][..], "the settings allow"),
        (&[3, 3, 1], "8 rows in all"),
        (&[3, 0, 3, 2], "a unit has 0 rows"),
    ] {
        let examples = Examples { inputs: &inputs, units: Some(units) };
        let error = clipped_sum(&network, &p, &examples, &settings).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_microbatch_does_not_change_the_sum() {
    let (p, network, inputs) = classifier();
    let of = |microbatch| {
        let examples = Examples { inputs: &inputs, units: None };
        let settings = Settings::rows(0.5, microbatch);
        clipped_sum(&network, &p, &examples, &settings).unwrap().flat().unwrap()
    };
    let whole = of(8);
    for microbatch in [1, 3, 5, 64] {
        assert!(distance(&of(microbatch), &whole) < 1e-6 * norm(&whole), "{microbatch}");
    }
}

#[test]
fn no_rows_give_exact_zeros() {
    let (p, network, inputs) = classifier();
    let none = inputs.map(|input| input.narrow(0, 0, 0));
    let examples = Examples { inputs: &none, units: None };
    let sum = clipped_sum(&network, &p, &examples, &Settings::rows(1.0, 4)).unwrap();
    assert_eq!(sum.units, 0);
    assert!(sum.flat().unwrap().iter().all(|v| *v == 0.0));
}

#[test]
fn values_that_are_not_finite_add_exact_zeros() {
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::cnn(&mut p).unwrap();
    let images = values(&[6, 1, 28, 28], 2, Kind::Float);
    let labels = indices(&[6], 10, 3);
    let sum = |images: &Tensor, rows: &[i64]| {
        let rows = Tensor::from_slice(rows);
        let inputs = [images.index_select(0, &rows), labels.index_select(0, &rows)];
        let examples = Examples { inputs: &inputs, units: None };
        clipped_sum(&network, &p, &examples, &Settings::rows(1.0, 6)).unwrap()
    };
    let good = sum(&images, &[0, 2, 3, 5]).flat().unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let spoiled = images.copy();
        for row in [1, 4] {
            let _ = spoiled.select(0, row).narrow(1, 3, 9).fill_(bad);
        }
        let found = sum(&spoiled, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(found.non_finite, 2, "{bad}");
        let error = distance(&found.flat().unwrap(), &good);
        assert!(error < 1e-9 * norm(&good), "{bad}: {error}");
    }
    let all = images.full_like(f64::NAN);
    let found = sum(&all, &[0, 1, 2]);
    assert!(found.flat().unwrap().iter().all(|v| *v == 0.0));
    assert_eq!(found.non_finite, 3);
}

#[test]
fn a_person_with_one_bad_row_adds_exact_zeros() {
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::mlp(&mut p, &[4, 6, 3]).unwrap();
    let inputs = [values(&[5, 4], 2, Kind::Float), indices(&[5], 3, 3)];
    let _ = inputs[0].select(0, 1).fill_(f64::NAN);
    let settings = Settings { max_rows_per_unit: 2, ..Settings::rows(1.0, 5) };
    let examples = Examples { inputs: &inputs, units: Some(&[2, 2, 1]) };
    let found = clipped_sum(&network, &p, &examples, &settings).unwrap();
    assert_eq!((found.units, found.non_finite), (3, 1));
    let rest = inputs.map(|input| input.narrow(0, 2, 3));
    let examples = Examples { inputs: &rest, units: Some(&[2, 1]) };
    let wanted = clipped_sum(&network, &p, &examples, &settings).unwrap().flat().unwrap();
    assert!(distance(&found.flat().unwrap(), &wanted) < 1e-9 * norm(&wanted));
}

/// The guarantee that sensitivity needs, on the machine that runs the tests: who else is in the
/// microbatch does not change a row's bits. Whether the slot does is the machine's affair.
#[test]
fn company_does_not_change_a_rows_bits() {
    let (p, network, inputs) = classifier();
    assert!(independence(&network, &p, &inputs, 16).unwrap().of_company);
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::cnn(&mut p).unwrap();
    let inputs = [values(&[6, 1, 28, 28], 2, Kind::Float), indices(&[6], 10, 3)];
    assert!(independence(&network, &p, &inputs, 16).unwrap().of_company);
}

#[test]
fn rows_that_see_each_other_are_noticed() {
    let mut p = Parameters::new(Kind::Float, 1);
    let layer = Linear::new(&mut p, "l", 4, 6, true).unwrap();
    let inputs = [values(&[6, 4], 2, Kind::Float)];
    // Batch normalisation by hand.
    let normed = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
        let value = layer.forward(t, &x[0])?;
        let mean = value.mean_dim(0, true, None::<Kind>);
        Ok(probe_loss(&(value - mean)))
    });
    assert!(!independence(&normed, &p, &inputs, 12).unwrap().of_company);
    // A slot that is treated differently.
    let placed = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
        let value = layer.forward(t, &x[0])?;
        let slots = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).view([12, 1]);
        Ok(probe_loss(&(value * (slots * 1e-6 + 1.0))))
    });
    let found = independence(&placed, &p, &inputs, 12).unwrap();
    assert!(found.of_company && !found.of_place);
}
