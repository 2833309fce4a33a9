//! Whole blocks: attention of both kinds, tied embeddings, adapters.

use tch::{Kind, Tensor};

use super::{KINDS, Net, agrees, agrees_by_units, indices, probe_loss, values};
use crate::private::nn::{Attention, AttentionOptions, BlockOptions, Rotary, cross_entropy};
use crate::private::{Network, Parameters, Tape, models};

const ATTENTION: AttentionOptions =
    AttentionOptions { width: 8, heads: 2, causal: true, bias: false, rotary_base: Some(10_000.0) };

#[test]
fn attention_of_every_kind() {
    for kind in KINDS {
        for options in [
            ATTENTION,
            AttentionOptions { causal: false, bias: true, rotary_base: None, ..ATTENTION },
        ] {
            let mut p = Parameters::new(kind, 1);
            let layer = Attention::new(&mut p, "a", options).unwrap();
            let network = Net(|t: &mut Tape<'_>, x: &[Tensor]| {
                let mask = (!options.causal).then(|| x[1].view([-1, 1, 1, 5]).gt(0));
                Ok(probe_loss(&layer.forward(t, &x[0], mask.as_ref())?))
            });
            // The first position of each row may always be seen.
            let mask = indices(&[6, 5], 2, 5).index_fill(1, &Tensor::from_slice(&[0i64]), 1);
            agrees(&network, &p, &[values(&[6, 5, 8], 2, kind), mask]);
        }
    }
}

#[test]
fn a_causal_position_does_not_see_later_ones_and_rotary_positions_are_relative() {
    let mut p = Parameters::new(Kind::Double, 1);
    let layer = Attention::new(&mut p, "a", ATTENTION).unwrap();
    let x = values(&[1, 5, 8], 2, Kind::Double);
    let changed = Tensor::cat(&[x.narrow(1, 0, 3), values(&[1, 2, 8], 3, Kind::Double)], 1);
    let of = |x: &Tensor| layer.forward(&mut Tape::plain(&p), x, None).unwrap();
    let (a, b) = (of(&x), of(&changed));
    assert!(a.narrow(1, 0, 3).allclose(&b.narrow(1, 0, 3), 1e-12, 1e-12, false));
    assert!(!a.narrow(1, 3, 2).allclose(&b.narrow(1, 3, 2), 1e-3, 1e-3, false));
    // Products of turned vectors depend on the distance alone.
    let rotary = Rotary::new(6, 4, 10_000.0, Kind::Double).unwrap();
    let (q, k) = (values(&[4], 4, Kind::Double), values(&[4], 5, Kind::Double));
    let turned = |v: &Tensor| rotary.turn(&v.expand([1, 1, 6, 4], false)).unwrap().view([6, 4]);
    let products = turned(&q).matmul(&turned(&k).tr());
    for distance in 0..4 {
        let diagonal = products.diagonal(distance, 0, 1);
        assert!(f64::try_from(diagonal.std(false)).unwrap() < 1e-12);
    }
    assert!((products.double_value(&[0, 0]) - products.double_value(&[0, 1])).abs() > 1e-3);
    assert!(Rotary::new(6, 3, 10_000.0, Kind::Double).is_err());
}

fn decoder(kind: Kind, rms: bool) -> (Parameters, models::Decoder) {
    let mut p = Parameters::new(kind, 1);
    // Gated with one kind of normalisation, not with the other: both are tried.
    let options = BlockOptions { attention: ATTENTION, hidden: 12, gated: rms, rms, eps: 1e-5 };
    let network = models::decoder(&mut p, 13, 2, options).unwrap();
    (p, network)
}

#[test]
fn a_decoder_with_tied_embeddings() {
    for kind in KINDS {
        for rms in [true, false] {
            let (p, network) = decoder(kind, rms);
            agrees(&network, &p, &[indices(&[5, 6], 13, 2), indices(&[5, 6], 13, 3)]);
        }
    }
}

#[test]
fn a_decoder_by_persons_with_padded_positions() {
    let (p, network) = decoder(Kind::Double, true);
    let targets = indices(&[7, 6], 13, 3);
    // Padding is told by the target -100; whole rows may be padding but for one position.
    let padded = indices(&[7, 6], 2, 4).index_fill(1, &Tensor::from_slice(&[0i64]), 1).eq(0);
    let targets = targets.masked_fill(&padded, -100);
    let inputs = [indices(&[7, 6], 13, 2), targets];
    agrees_by_units(&network, &p, &inputs, &[2, 1, 3, 1], 3, &[7, 3, 5]);
}

#[test]
fn adapters_of_a_decoder_whose_base_is_frozen() {
    for kind in KINDS {
        let (mut p, mut network) = decoder(kind, true);
        p.freeze_all();
        for (i, block) in network.blocks.iter_mut().enumerate() {
            for (part, linear) in [
                ("q_proj", &mut block.attention.query),
                ("v_proj", &mut block.attention.value),
                ("down", &mut block.down),
            ] {
                linear.adapt(&mut p, &format!("{i}.{part}"), 2, 4.0).unwrap();
                let b = linear.lora.as_ref().unwrap().b;
                let size = p.value(b).unwrap().size();
                p.set(b, &values(&size, 9, kind)).unwrap();
            }
        }
        assert_eq!(p.dimension(), 2 * (2 * 2 * (8 + 8) + 2 * (12 + 8)));
        agrees(&network, &p, &[indices(&[5, 6], 13, 2), indices(&[5, 6], 13, 3)]);
    }
}

#[test]
fn tied_embeddings_with_adapters_and_a_trained_table() {
    let (mut p, mut network) = decoder(Kind::Double, true);
    p.freeze_all();
    // A table of its own that is trained, beside adapters.
    let table = p.add("table", &[13, 8], crate::private::Init::Uniform(0.5)).unwrap();
    network.table = table;
    network.blocks[0].attention.key.adapt(&mut p, "k", 2, 4.0).unwrap();
    let inputs = [indices(&[5, 6], 13, 2), indices(&[5, 6], 13, 3)];
    agrees(&network, &p, &inputs);
    // The loss of a row is the sum over its positions.
    let losses = network.losses(&mut Tape::plain(&p), &inputs).unwrap();
    assert_eq!(losses.size(), [5]);
    let logits = values(&[2, 3, 4], 1, Kind::Double);
    let targets = Tensor::from_slice(&[0i64, -100, 2, 1, -100, -100]).view([2, 3]);
    let found = cross_entropy(&logits, &targets).unwrap();
    let wanted = logits.log_softmax(-1, None::<Kind>);
    let wanted = -wanted.double_value(&[1, 0, 1]);
    assert!((found.double_value(&[1]) - wanted).abs() < 1e-12);
}
