//! Encoders with a head: all of it trained, and adapters on a frozen base.

use tch::{Kind, Tensor};

use super::{KINDS, agrees, agrees_by_units, indices, values};
use crate::private::encoder::{Classifier, Encoder, EncoderOptions};
use crate::private::nn::Linear;
use crate::private::{Network, Parameters, Tape};

const OPTIONS: EncoderOptions =
    EncoderOptions { tokens: 13, positions: 7, layers: 2, width: 8, heads: 2, hidden: 12 };

fn classifier(kind: Kind, outputs: i64) -> (Parameters, Classifier) {
    let mut p = Parameters::new(kind, 1);
    let encoder = Encoder::new(&mut p, OPTIONS).unwrap();
    let head = Linear::new(&mut p, "classifier", 8, outputs, true).unwrap();
    (p, Classifier { encoder, head })
}

/// Texts of one to six tokens.
fn texts(rows: i64) -> Tensor {
    let tokens = indices(&[rows, 6], 13, 2);
    for row in 0..rows {
        let _ = tokens.select(0, row).narrow(0, 6 - row % 6, row % 6).fill_(-1);
    }
    tokens
}

#[test]
fn every_part_of_an_encoder_is_clipped_as_by_a_loop() {
    for kind in KINDS {
        for outputs in [1, 3] {
            let (p, network) = classifier(kind, outputs);
            agrees(&network, &p, &[texts(6), indices(&[6], outputs.max(2), 3)]);
        }
    }
}

#[test]
fn adapters_of_an_encoder_whose_base_is_frozen() {
    for kind in KINDS {
        let (mut p, mut network) = classifier(kind, 1);
        p.freeze_all();
        for (i, block) in network.encoder.blocks.iter_mut().enumerate() {
            for (part, linear) in [("query", &mut block.attention.query), ("up", &mut block.up)] {
                linear.adapt(&mut p, &format!("{i}.{part}"), 2, 4.0).unwrap();
                let b = linear.lora.as_ref().unwrap().b;
                let size = p.value(b).unwrap().size();
                p.set(b, &values(&size, 9, kind)).unwrap();
            }
        }
        network.head = Linear::new(&mut p, "head", 8, 1, true).unwrap();
        let inputs = [texts(6), indices(&[6], 2, 3)];
        agrees(&network, &p, &inputs);
        agrees_by_units(&network, &p, &inputs, &[2, 1, 3], 3, &[6, 4]);
    }
}

#[test]
fn padding_changes_nothing_and_a_text_of_nothing_has_no_loss() {
    let (p, network) = classifier(Kind::Double, 1);
    let of = |tokens: &Tensor| network.logits(&mut Tape::plain(&p), tokens).unwrap();
    let short = Tensor::from_slice(&[3i64, 7, 5]).view([1, 3]);
    let long = Tensor::from_slice(&[3i64, 7, 5, -1, -1, -1]).view([1, 6]);
    assert!(of(&short).allclose(&of(&long), 1e-12, 1e-12, false));
    let empty = Tensor::from_slice(&[-1i64; 6]).view([1, 6]);
    assert!(f64::try_from(of(&empty).isfinite().all()).unwrap() == 1.0);
    let inputs = [Tensor::cat(&[long, empty], 0), Tensor::from_slice(&[1i64, -100])];
    let losses = network.losses(&mut Tape::plain(&p), &inputs).unwrap();
    assert!(losses.double_value(&[0]) > 0.0 && losses.double_value(&[1]) == 0.0);
    let much = Tensor::from_slice(&[1i64; 8]).view([1, 8]);
    let error = network.logits(&mut Tape::plain(&p), &much).unwrap_err().to_string();
    assert!(error.contains("8 tokens, the encoder has 7 positions"), "{error}");
}
