//! The convolutional network of jobs against a naive loop, with convolutions of both kinds.

use tch::Kind;
use tributary_job::spec::{CnnShape, ImageShape};

use super::{KINDS, agrees, agrees_by_units, indices, values};
use crate::private::convolutional::{Convolutional, ConvolutionalOptions};
use crate::private::{Parameters, by_gram};

fn network(kind: Kind, channels: &[u32], outputs: i64) -> (Parameters, Convolutional) {
    let image = ImageShape { height: 12, width: 10, channels: 2 };
    let shape = CnnShape::of(image, channels, 3, 2).unwrap();
    let options = ConvolutionalOptions { image: [12, 10, 2], kernel: 3, pool: 2, outputs };
    let mut p = Parameters::new(kind, 1);
    let network = Convolutional::new(&mut p, &shape, options).unwrap();
    (p, network)
}

/// Per-record sums equal a loop over records to 1e-6, and so do units of several.
#[test]
fn sums_are_those_of_a_loop_over_records() {
    // The second convolution has 3 x 2 positions: 72 <= 9 * 45, by a Gram matrix; the first has 80.
    assert!(by_gram(6, 9, 45) && !by_gram(80, 5, 18));
    for kind in KINDS {
        for (channels, outputs) in [(&[5][..], 1), (&[5, 9], 3)] {
            let (p, network) = network(kind, channels, outputs);
            let inputs = [values(&[6, 240], 2, kind), indices(&[6], outputs.max(2), 3)];
            agrees(&network, &p, &inputs);
            agrees_by_units(&network, &p, &inputs, &[2, 1, 3], 3, &[6, 4]);
        }
    }
}
