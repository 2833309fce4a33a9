//! Every operation with parameters, alone and in the ready networks.

use tch::{Kind, Tensor};

use super::{KINDS, Net, agrees, indices, probe_loss, values};
use crate::private::nn::Linear;
use crate::private::{Geometry, Init, Parameters, Settings, Tape, clipped_sum, models};

#[test]
fn linear_over_rows() {
    for kind in KINDS {
        for bias in [true, false] {
            let mut p = Parameters::new(kind, 1);
            let layer = Linear::new(&mut p, "l", 7, 5, bias).unwrap();
            let network =
                Net(|t: &mut Tape<'_>, x: &[Tensor]| Ok(probe_loss(&layer.forward(t, &x[0])?)));
            agrees(&network, &p, &[values(&[6, 7], 2, kind)]);
        }
    }
}

#[test]
fn linear_over_sequences_by_gram_and_directly() {
    for kind in KINDS {
        // 2 T^2 = 50: below 12 * 9, above 3 * 4. The last has two dimensions of positions.
        for (inputs, outputs, shape) in
            [(12, 9, vec![6, 5, 12]), (3, 4, vec![6, 5, 3]), (12, 9, vec![6, 2, 3, 12])]
        {
            let mut p = Parameters::new(kind, 1);
            let layer = Linear::new(&mut p, "l", inputs, outputs, true).unwrap();
            let network =
                Net(|t: &mut Tape<'_>, x: &[Tensor]| Ok(probe_loss(&layer.forward(t, &x[0])?)));
            agrees(&network, &p, &[values(&shape, 2, kind)]);
        }
    }
}

#[test]
fn convolution_first_and_later() {
    for kind in KINDS {
        for (stride, padding) in [(1, 0), (2, 1)] {
            let mut p = Parameters::new(kind, 1);
            let geometry = Geometry { stride, padding };
            let w1 = p.add("w1", &[3, 2, 3, 3], Init::Uniform(0.5)).unwrap();
            let b1 = p.add("b1", &[3], Init::Uniform(0.5)).unwrap();
            let w2 = p.add("w2", &[4, 3, 2, 2], Init::Uniform(0.5)).unwrap();
            let b2 = p.add("b2", &[4], Init::Uniform(0.5)).unwrap();
            let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
                let value = t.conv2d(&x[0], w1, Some(b1), geometry)?.tanh();
                Ok(probe_loss(&t.conv2d(&value, w2, Some(b2), geometry)?))
            });
            agrees(&network, &p, &[values(&[5, 2, 7, 6], 2, kind)]);
        }
    }
}

#[test]
fn embedding_with_repeated_indices() {
    for kind in KINDS {
        let mut p = Parameters::new(kind, 1);
        let table = p.add("table", &[4, 3], Init::Uniform(1.0)).unwrap();
        let network =
            Net(|t: &mut Tape<'_>, x: &[Tensor]| Ok(probe_loss(&t.embedding(&x[0], table)?)));
        // Nine positions over four indices: every row repeats some.
        agrees(&network, &p, &[indices(&[6, 9], 4, 2)]);
        agrees(&network, &p, &[indices(&[6], 4, 2)]);
    }
}

#[test]
fn normalisations() {
    for kind in KINDS {
        let mut p = Parameters::new(kind, 1);
        let weight = p.add("w", &[5], Init::Uniform(1.0)).unwrap();
        let bias = p.add("b", &[5], Init::Uniform(1.0)).unwrap();
        let scale = p.add("s", &[5], Init::Uniform(1.0)).unwrap();
        let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
            let value = t.layer_norm(&x[0], weight, Some(bias), 1e-5)?.tanh();
            Ok(probe_loss(&t.rms_norm(&value, scale, 1e-6)?))
        });
        agrees(&network, &p, &[values(&[6, 4, 5], 2, kind)]);
        agrees(&network, &p, &[values(&[6, 5], 3, kind)]);
    }
}

#[test]
fn adapters_on_a_frozen_map() {
    for kind in KINDS {
        let mut p = Parameters::new(kind, 1);
        let mut first = Linear::new(&mut p, "first", 6, 8, true).unwrap();
        let mut second = Linear::new(&mut p, "second", 8, 7, true).unwrap();
        first.adapt(&mut p, "first", 2, 4.0).unwrap();
        second.adapt(&mut p, "second", 3, 3.0).unwrap();
        // Zero at first: give B values, or A would have no gradient.
        for b in [first.lora.as_ref().unwrap().b, second.lora.as_ref().unwrap().b] {
            let size = p.value(b).unwrap().size();
            p.set(b, &values(&size, 9, kind)).unwrap();
        }
        assert_eq!(p.dimension(), 2 * (6 + 8) + 3 * (8 + 7));
        let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
            let value = first.forward(t, &x[0])?.tanh();
            Ok(probe_loss(&second.forward(t, &value)?))
        });
        agrees(&network, &p, &[values(&[6, 4, 6], 2, kind)]);
        agrees(&network, &p, &[values(&[6, 6], 2, kind)]);
    }
}

#[test]
fn frozen_parameters_have_no_gradient_and_no_record_below_the_first_trained_one() {
    let mut p = Parameters::new(Kind::Double, 1);
    let first = Linear::new(&mut p, "first", 6, 8, true).unwrap();
    p.freeze_all();
    let second = Linear::new(&mut p, "second", 8, 7, true).unwrap();
    p.freeze(second.bias.unwrap());
    let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
        let value = first.forward(t, &x[0])?.tanh();
        assert!(!value.requires_grad() || t.leaves().len() == 1);
        Ok(probe_loss(&second.forward(t, &value)?))
    });
    agrees(&network, &p, &[values(&[6, 6], 2, Kind::Double)]);
}

#[test]
fn a_map_used_twice_is_summed_before_the_norm() {
    for kind in KINDS {
        let mut p = Parameters::new(kind, 1);
        let layer = Linear::new(&mut p, "l", 6, 6, true).unwrap();
        let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
            let value = layer.forward(t, &x[0])?.tanh();
            Ok(probe_loss(&layer.forward(t, &value)?))
        });
        agrees(&network, &p, &[values(&[6, 6], 2, kind)]);
        agrees(&network, &p, &[values(&[6, 4, 6], 2, kind)]);
    }
}

#[test]
fn a_table_that_is_also_the_output_map_is_summed_with_its_cross_terms() {
    for kind in KINDS {
        for (tokens, width) in [(11, 6), (3, 2)] {
            let mut p = Parameters::new(kind, 1);
            let table = p.add("table", &[tokens, width], Init::Uniform(1.0)).unwrap();
            let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
                let value = t.embedding(&x[0], table)?;
                Ok(probe_loss(&t.linear(&value, table, None)?))
            });
            agrees(&network, &p, &[indices(&[6, 5], tokens, 2)]);
        }
    }
}

#[test]
fn the_networks_of_the_benchmark() {
    let labels = indices(&[5], 10, 3);
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::cnn(&mut p).unwrap();
    assert_eq!(p.dimension(), 26_010);
    agrees(&network, &p, &[values(&[5, 1, 28, 28], 2, Kind::Float), labels.copy()]);
    let mut p = Parameters::new(Kind::Float, 1);
    models::mlp(&mut p, &[784, 1024, 1024, 10]).unwrap();
    assert_eq!(p.dimension(), 1_863_690);
    let mut p = Parameters::new(Kind::Float, 1);
    models::emb(&mut p, 10_000, 128, 512, 10).unwrap();
    assert_eq!(p.dimension(), 1_413_514);
    // Smaller ones of the same kind: a naive loop over millions takes long.
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::mlp(&mut p, &[20, 16, 16, 10]).unwrap();
    agrees(&network, &p, &[values(&[5, 20], 2, Kind::Float), labels.copy()]);
    let mut p = Parameters::new(Kind::Float, 1);
    let network = models::emb(&mut p, 50, 16, 24, 10).unwrap();
    agrees(&network, &p, &[indices(&[5, 12], 50, 2), labels]);
}

#[test]
fn what_cannot_be_right_is_refused() {
    let mut p = Parameters::new(Kind::Float, 1);
    let layer = Linear::new(&mut p, "l", 6, 6, true).unwrap();
    let inputs = [values(&[4, 6], 2, Kind::Float)];
    let sum = |network: &dyn crate::private::Network, p: &Parameters, settings: &Settings| {
        let examples = crate::private::Examples { inputs: &inputs, units: None };
        clipped_sum(network, p, &examples, settings).map(drop).map_err(|e| e.to_string())
    };
    let good = Settings::rows(1.0, 4);
    // Rows mixed, so that a loss does not belong to a row.
    let mean = Net(|t: &mut Tape<'_>, x: &[Tensor]| Ok(layer.forward(t, &x[0])?.mean(None)));
    assert!(sum(&mean, &p, &good).unwrap_err().contains("losses of shape"));
    // Rows moved to another dimension before a map.
    let moved = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
        Ok(probe_loss(&layer.forward(t, &x[0].unsqueeze(0))?.squeeze_dim(0)))
    });
    assert!(sum(&moved, &p, &good).unwrap_err().contains("rows first"));
    let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| Ok(probe_loss(&layer.forward(t, &x[0])?)));
    sum(&network, &p, &good).unwrap();
    for bad in [
        Settings { microbatch: 0, ..good },
        Settings { clip_norm: f64::NAN, ..good },
        Settings { max_rows_per_unit: 5, ..good },
        Settings { magnitude_slack: 0.0, ..good },
    ] {
        assert!(sum(&network, &p, &bad).is_err(), "{bad:?}");
    }
    p.freeze_all();
    assert!(sum(&network, &p, &good).unwrap_err().contains("no trainable parameter"));
}
