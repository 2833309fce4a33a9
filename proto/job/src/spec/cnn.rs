//! The sizes of a convolutional network: what each block sees and gives.
//!
//! Bounds and arithmetic of shapes only; must not know tensors, trainers or files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{DataSpec, FeatureSpec, MAX_INPUTS};
use super::{SpecError, model::bounded};

/// Pictures computed at a time, if the job does not say.
pub(super) const DEFAULT_PICTURES: u32 = 64;

/// Most blocks of a network.
const MAX_BLOCKS: usize = 6;

/// Most values that a microbatch may take at one block: half a gigabyte in f64.
const MAX_MICROBATCH_VALUES: u64 = 1 << 26;

/// Height, width and channels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageShape {
    /// Rows of points.
    pub height: u32,
    /// Points in a row.
    pub width: u32,
    /// Values of a point: 1 for shades of grey, 3 for red, green and blue.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub channels: u32,
}

/// A network as it was checked: its blocks, and what they leave for the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CnnShape {
    /// The blocks, first to last, at least one.
    pub blocks: Vec<CnnBlock>,
    /// Values that the head reads: filters times points after the last block.
    pub head_inputs: u64,
}

/// One block: a convolution of stride 1 without padding, ReLU, and the largest of every square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CnnBlock {
    /// Channels that it reads.
    pub inputs: u64,
    /// Filters, which are the channels that it gives.
    pub filters: u64,
    /// Height and width after the convolution.
    pub convolved: [u64; 2],
    /// Height and width after pooling.
    pub pooled: [u64; 2],
}

impl ImageShape {
    /// Values of a picture.
    pub fn values(self) -> u64 {
        u64::from(self.height)
            .saturating_mul(u64::from(self.width))
            .saturating_mul(u64::from(self.channels))
    }

    fn validate(self) -> Result<(), SpecError> {
        bounded("model.image.height", self.height, 1024)?;
        bounded("model.image.width", self.width, 1024)?;
        bounded("model.image.channels", self.channels, 64)?;
        match self.values() {
            0..=MAX_VALUES => Ok(()),
            n => {
                let problem = format!("{n} values a picture; at most {MAX_INPUTS}");
                Err(SpecError::new("model.image", problem))
            }
        }
    }

    /// How messages call it.
    fn words(self) -> String {
        format!("{} x {} points of {} channel(s)", self.height, self.width, self.channels)
    }
}

const MAX_VALUES: u64 = MAX_INPUTS as u64;

impl CnnShape {
    /// The shape of a network over such pictures with these filters a block, a square kernel and
    /// square pooling.
    ///
    /// # Errors
    /// The field and the block at which a picture becomes too small, or sizes beyond their bounds.
    pub fn of(
        image: ImageShape,
        channels: &[u32],
        kernel: u32,
        pool: u32,
    ) -> Result<Self, SpecError> {
        image.validate()?;
        bounded("model.kernel", kernel, 31)?;
        bounded("model.pool", pool, 16)?;
        if channels.is_empty() || channels.len() > MAX_BLOCKS {
            let problem = format!("{} blocks: between 1 and {MAX_BLOCKS}", channels.len());
            return Err(SpecError::new("model.channels", problem));
        }
        let (kernel, pool) = (u64::from(kernel), u64::from(pool));
        let (mut inputs, mut seen) =
            (u64::from(image.channels), [u64::from(image.height), u64::from(image.width)]);
        let mut blocks = Vec::with_capacity(channels.len());
        for (number, filters) in (1..).zip(channels) {
            bounded("model.channels", *filters, 4096)?;
            let [height, width] = seen;
            if kernel > height.min(width) {
                let problem = format!(
                    "a kernel of {kernel} x {kernel} does not fit into the {height} x {width} points \
                     that block {number} reads: make it smaller, or leave out blocks"
                );
                return Err(SpecError::new("model.kernel", problem));
            }
            let convolved = seen.map(|side| side - kernel + 1);
            let pooled = convolved.map(|side| side / pool);
            if pooled.contains(&0) {
                let [height, width] = convolved;
                let problem = format!(
                    "squares of {pool} x {pool} leave nothing of the {height} x {width} points of \
                     block {number}: make them smaller, or leave out blocks"
                );
                return Err(SpecError::new("model.pool", problem));
            }
            let filters = u64::from(*filters);
            blocks.push(CnnBlock { inputs, filters, convolved, pooled });
            (inputs, seen) = (filters, pooled);
        }
        Ok(Self { blocks, head_inputs: inputs * seen[0] * seen[1] })
    }

    /// Parameters with a head of `outputs` logits; `None` beyond u64.
    pub(super) fn parameters(&self, kernel: u32, outputs: u64) -> Option<u64> {
        let mut total = self.head_inputs.checked_add(1)?.checked_mul(outputs)?;
        for block in &self.blocks {
            let filters = (block.patch(kernel) + 1).checked_mul(block.filters)?;
            total = total.checked_add(filters)?;
        }
        Some(total)
    }

    /// What a microbatch takes of a node's memory is bounded before anything is made.
    pub(super) fn check_memory(&self, kernel: u32, microbatch: u32) -> Result<(), SpecError> {
        bounded("model.microbatch", microbatch, 256)?;
        for (number, block) in (1..).zip(&self.blocks) {
            let patch = block.patch(kernel);
            // What each position of the convolution reads, and a picture's gradient by the filters.
            let values = patch.saturating_mul(block.positions().max(block.filters));
            if values.saturating_mul(u64::from(microbatch)) > MAX_MICROBATCH_VALUES {
                let problem = format!(
                    "{microbatch} pictures take {values} values each at block {number}, more than \
                     {MAX_MICROBATCH_VALUES} in all: compute fewer at a time"
                );
                return Err(SpecError::new("model.microbatch", problem));
            }
        }
        Ok(())
    }
}

impl CnnBlock {
    /// Positions of the convolution.
    pub fn positions(&self) -> u64 {
        self.convolved[0] * self.convolved[1]
    }

    /// Values that one position reads.
    pub fn patch(&self, kernel: u32) -> u64 {
        self.inputs * u64::from(kernel) * u64::from(kernel)
    }
}

/// Whether the features are a picture's values.
pub(super) fn validate_for(image: ImageShape, data: &DataSpec) -> Result<(), SpecError> {
    if data.text.is_some() {
        let problem = "\"cnn\" reads the points of pictures; text needs \"decoder\" or \"encoder\"";
        return Err(SpecError::new("model.family", problem));
    }
    for feature in &data.features {
        if let FeatureSpec::Category { column, .. } = feature {
            let problem = format!("{column} is a category; a picture's points are numbers");
            return Err(SpecError::new("data.features", problem));
        }
    }
    let (wanted, found) = (image.values(), data.input_width() as u64);
    if wanted != found {
        let problem = format!(
            "{} are {wanted} values, the features are {found}: list every point, row by row, the \
             channels of a point together",
            image.words()
        );
        return Err(SpecError::new("model.image", problem));
    }
    Ok(())
}

fn one() -> u32 {
    1
}

fn is_one(channels: &u32) -> bool {
    *channels == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::LabelSpec;

    const DIGIT: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };

    #[test]
    fn a_small_network_for_digits_by_hand() {
        let shape = CnnShape::of(DIGIT, &[8, 16], 5, 2).unwrap();
        let sides: Vec<_> = shape.blocks.iter().map(|b| (b.convolved, b.pooled)).collect();
        assert_eq!(sides, [([24, 24], [12, 12]), ([8, 8], [4, 4])]);
        assert_eq!(shape.head_inputs, 16 * 4 * 4);
        let wanted = 8 * (25 + 1) + 16 * (8 * 25 + 1) + 10 * (256 + 1);
        assert_eq!(shape.parameters(5, 10), Some(wanted));
        assert!(shape.check_memory(5, 64).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_block() {
        let refused = |image, channels: &[u32], kernel, pool| {
            let error = CnnShape::of(image, channels, kernel, pool).unwrap_err();
            (error.field, error.problem)
        };
        let (field, problem) = refused(DIGIT, &[4], 29, 2);
        assert_eq!(field, "model.kernel");
        assert!(problem.contains("29 x 29 does not fit into the 28 x 28 points that block 1"));
        let (field, problem) = refused(DIGIT, &[4, 4, 4], 5, 2);
        assert_eq!(field, "model.kernel");
        assert!(problem.contains("4 x 4 points that block 3 reads"), "{problem}");
        let (field, problem) = refused(DIGIT, &[4, 4], 12, 16);
        assert_eq!(field, "model.kernel");
        assert!(problem.contains("block 2"), "{problem}");
        assert_eq!(refused(DIGIT, &[4], 20, 10).0, "model.pool");
        for (channels, kernel, pool, field) in [
            (&[][..], 3, 2, "model.channels"),
            (&[1; 7], 1, 1, "model.channels"),
            (&[0], 3, 2, "model.channels"),
            (&[4], 0, 2, "model.kernel"),
            (&[4], 3, 0, "model.pool"),
        ] {
            assert_eq!(refused(DIGIT, channels, kernel, pool).0, field, "{channels:?}");
        }
        let flat = ImageShape { height: 0, ..DIGIT };
        assert_eq!(refused(flat, &[4], 1, 1).0, "model.image.height");
        let huge = ImageShape { height: 1000, width: 1000, channels: 1 };
        assert_eq!(refused(huge, &[4], 3, 2).0, "model.image");
        let wide = CnnShape::of(ImageShape { height: 256, width: 256, channels: 1 }, &[4], 31, 2);
        assert_eq!(wide.unwrap().check_memory(31, 64).unwrap_err().field, "model.microbatch");
    }

    #[test]
    fn the_features_are_the_points() {
        let block = |count| FeatureSpec::Block { prefix: "p".into(), count, min: 0.0, max: 255.0 };
        let data = |features| DataSpec::new(LabelSpec::binary("y", "1", "0"), features);
        assert!(validate_for(DIGIT, &data(vec![block(784)])).is_ok());
        let error = validate_for(DIGIT, &data(vec![block(196)])).unwrap_err();
        assert_eq!(error.field, "model.image");
        assert!(error.problem.contains("784 values, the features are 196"), "{error}");
        let colour = FeatureSpec::Category { column: "colour".into(), values: vec!["red".into()] };
        let error = validate_for(DIGIT, &data(vec![block(783), colour])).unwrap_err();
        assert!(error.to_string().contains("colour is a category"), "{error}");
    }
}
