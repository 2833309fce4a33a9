//! Convolutions as seven nested loops over a picture's points.

use tributary_job::spec::ImageShape;

/// Sizes, as the job has them.
pub(in crate::conformance) struct Pictures {
    image: [usize; 3],
    filters: Vec<usize>,
    kernel: usize,
    pool: usize,
    outputs: usize,
}

impl Pictures {
    pub(super) fn new(
        image: ImageShape,
        filters: &[u32],
        (kernel, pool): (usize, usize),
        outputs: usize,
    ) -> Self {
        let image = [image.channels, image.height, image.width].map(|size| size as usize);
        let filters = filters.iter().map(|n| *n as usize).collect();
        Self { image, filters, kernel, pool, outputs }
    }

    /// The logits of one row, whose values are the points row by row, the channels of a point together.
    pub(super) fn logits(&self, parameters: &[f64], row: &[f64]) -> Vec<f64> {
        let [mut channels, mut height, mut width] = self.image;
        // Channel by channel from here on.
        let mut values = vec![0.0; row.len()];
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    values[(c * height + y) * width + x] = row[(y * width + x) * channels + c];
                }
            }
        }
        let (k, p, mut rest) = (self.kernel, self.pool, parameters);
        for filters in &self.filters {
            let (weights, after) = rest.split_at(filters * channels * k * k);
            let (biases, after) = after.split_at(*filters);
            let (high, wide) = ((height + 1 - k) / p, (width + 1 - k) / p);
            let mut pooled = vec![0.0; filters * high * wide];
            for f in 0..*filters {
                for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
                    let mut largest = 0.0f64;
                    for (py, px) in (0..p).flat_map(|py| (0..p).map(move |px| (py, px))) {
                        let (top, left) = (y * p + py, x * p + px);
                        let mut sum = biases[f];
                        for c in 0..channels {
                            for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                                let weight = weights[((f * channels + c) * k + ky) * k + kx];
                                let point = (c * height + top + ky) * width + left + kx;
                                sum += weight * values[point];
                            }
                        }
                        largest = largest.max(sum);
                    }
                    pooled[(f * high + y) * wide + x] = largest;
                }
            }
            (channels, height, width) = (*filters, high, wide);
            (values, rest) = (pooled, after);
        }
        let (weights, biases) = rest.split_at(self.outputs * values.len());
        let head = weights.chunks(values.len()).zip(biases);
        head.map(|(w, b)| b + w.iter().zip(&values).map(|(w, v)| w * v).sum::<f64>()).collect()
    }
}
